/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7), with indirect descriptors and EVENT_IDX.
 * One thread at a time per ring. Everything in the ring is the driver's and hostile: each descriptor
 * is copied once, checked, and only the copy is used.
 *
 * A chain comes out as iovecs into guest memory: readable parts first, then writable ones. They live
 * until qring_push() of that head, and no longer than the qmem.
 *
 * Wake-up (sDDF's order): drain with qring_pop() until QRING_EMPTY; qring_arm(); when it says "more came",
 * go on draining; else sleep on the kick descriptor. That sequence exists here once.
 */
#pragma once

#include <sys/uio.h>

#include "lib/qdef.h"
#include "lib/qmem.h"

#define QRING_SIZE_MAX 32768u	/* entries, virtio 1.2 2.7 */

enum qring_feature {
	QRING_INDIRECT = 1 << 0,	/* VIRTIO_F_INDIRECT_DESC was negotiated */
	QRING_EVENT_IDX = 1 << 1,	/* VIRTIO_F_EVENT_IDX was negotiated */
};

struct qring_cfg {
	uint32_t num;		/* entries: a power of 2, at most QRING_SIZE_MAX */
	gpa_t desc, avail, used; /* aligned to 16, 2, 4 */
	unsigned features;	/* enum qring_feature */
	uint16_t base;		/* avail index to go on from: 0 for a fresh ring */
};

enum qring_verdict {
	QRING_OK = 0,
	QRING_EMPTY,		/* nothing more is available now */
	QRING_BAD_AVAIL,	/* avail.idx ran ahead by more than the ring size */
	QRING_BAD_INDEX,	/* a descriptor index is outside its table */
	QRING_BAD_CHAIN,	/* a loop, too long, zero length, writable before readable, nested indirect */
	QRING_BAD_ADDR,		/* a buffer is not wholly guest memory (or read-only and to be written) */
	QRING_TOO_MANY,		/* more parts than the caller's iovec array holds */
	QRING_VERDICTS
};
const char *qring_verdict_str(enum qring_verdict v);

struct qring_chain {
	uint16_t head;		/* give it to qring_push() */
	unsigned n_out, n_in;	/* iov[0 .. n_out) readable, iov[n_out .. n_out+n_in) writable */
	uint64_t out_bytes, in_bytes;
};

struct qring {
	const struct qmem *mem;		/* borrowed: outlives the ring */
	const void *desc;		/* num * 16 bytes, the driver's */
	const void *avail;
	void *used;			/* ours to write, the driver may scribble */
	uint32_t num;
	unsigned features;
	uint16_t last_avail;		/* next avail entry to take */
	uint16_t used_idx;		/* next used entry to write; published by qring_publish() */
	uint16_t signalled_used;	/* used_idx at the last signal (EVENT_IDX) */
	bool signalled_valid;
};

/* Resolves the three parts. 0; -EINVAL (size, alignment); -EFAULT (not guest memory). On success the
 * used index goes on from what stands in the used ring (a ring that is taken over after a crash). */
int qring_init(struct qring *r, const struct qmem *mem, const struct qring_cfg *cfg);

/*
 * Takes the next available chain into @iov (at most @max_iov parts; a buffer that spans two regions makes
 * two parts). Kick suppression is the caller's: see qring_disarm(). On a BAD_* verdict ret_chain->head is
 * valid only when *ret_head_ok is set by the verdict's nature: it is for BAD_CHAIN, BAD_ADDR, TOO_MANY and
 * BAD_INDEX of a later link; the chain is consumed then and may be pushed with 0 bytes.
 */
enum qring_verdict qring_pop(struct qring *r, struct iovec *iov, unsigned max_iov,
			     struct qring_chain *ret_chain);
/* Like qring_pop() for the chain at descriptor @head, not from the avail ring: replay after a crash. */
enum qring_verdict qring_fetch(struct qring *r, uint16_t head, struct iovec *iov, unsigned max_iov,
			       struct qring_chain *ret_chain);
/* True when qring_pop() would find something (or find it broken). */
bool qring_pending(const struct qring *r);

/* Writes one used element; not visible to the driver before qring_publish(). */
void qring_push(struct qring *r, uint16_t head, uint32_t written_bytes);
/* Makes all pushed elements visible; true when the driver wants to be interrupted. */
bool qring_publish(struct qring *r);

/* Asks for a kick at the next available entry and checks again: true when more came meanwhile (do not sleep). */
bool qring_arm(struct qring *r);
/* Asks for no kicks while we drain anyway. */
void qring_disarm(struct qring *r);
