/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a virtqueue, split or packed (virtio 1.2, 2.7 and 2.8), with indirect
 * descriptors and EVENT_IDX. One thread at a time per ring. Everything in the ring is the driver's
 * and hostile: each descriptor is copied once, checked, and only the copy is used.
 *
 * A chain comes out as iovecs into guest memory: readable parts first, then writable ones. They
 * live until qring_push() of that head, and no longer than the qmem.
 *
 * Wake-up (sDDF's order): drain with qring_pop() until QRING_EMPTY; qring_arm(); when it says
 * "more came", go on draining; else sleep on the kick descriptor. That sequence exists here once.
 */
#pragma once

#include <sys/uio.h>

#include "lib/qdef.h"
#include "lib/qmem.h"

#define QRING_SIZE_MAX 32768u	/* entries, virtio 1.2 2.7 */

enum qring_feature {
	QRING_INDIRECT = 1 << 0,	/* VIRTIO_F_INDIRECT_DESC was negotiated */
	QRING_EVENT_IDX = 1 << 1,	/* VIRTIO_F_EVENT_IDX was negotiated */
	QRING_PACKED = 1 << 2,		/* VIRTIO_F_RING_PACKED was negotiated */
};

struct qring_cfg {
	uint32_t num;		/* entries: at most QRING_SIZE_MAX; split: a power of 2 */
	gpa_t desc, avail, used; /* aligned to 16, 2, 4. Packed: aligned to 16, 4, 4; avail and used
				  * are what the driver, and what the device, asks of the other */
	unsigned features;	/* enum qring_feature */
	uint16_t base;		/* avail index to go on from: 0 for a fresh ring. Packed rings are
				 * always begun afresh: it is not looked at */
};

/*
 * What qring_pop() and qring_fetch() say. Two kinds of fault, told apart by qring_chain_fault():
 *
 * A ring fault (BAD_AVAIL): no head is known and nothing was consumed. The driver has lost its
 * ring; do not use the ring again before it is reset and qring_init() ran again.
 *
 * A chain fault (everything after BAD_AVAIL): ret_chain->head is valid, the chain is consumed and
 * has no parts. The ring is sound; give the head back with 0 bytes, or call it a fault of the
 * device, as you like.
 */
enum qring_verdict {
	QRING_OK = 0,
	QRING_EMPTY,		/* nothing more is available now */
	QRING_BAD_AVAIL,	/* avail.idx ran ahead by more than num, or a head >= num; packed:
				 * more descriptors are out than there are, or a chain has no end */
	QRING_BAD_INDEX,	/* a link leads outside its table */
	QRING_BAD_CHAIN,	/* a loop, too long, zero length, readable after writable, bad
				 * or nested indirect table */
	QRING_BAD_ADDR,		/* a buffer is not wholly guest memory (read-only and to be written:
				 * not either) */
	QRING_TOO_MANY,		/* more parts than the caller's iovec array holds */
	QRING_VERDICTS
};
const char *qring_verdict_str(enum qring_verdict v);
/* True when @v condemns one chain and not the ring: the head is known and consumed. */
static inline bool qring_chain_fault(enum qring_verdict v)
{
	return v > QRING_BAD_AVAIL;
}

struct qring_chain {
	uint16_t head;		/* give it to qring_push(); less than num */
	unsigned n_out, n_in;	/* iov[0 .. n_out) readable, iov[n_out .. n_out+n_in) writable */
	uint64_t out_bytes, in_bytes;
};

struct qring_packed;

struct qring {
	const struct qmem *mem;		/* borrowed: outlives the ring */
	struct qring_packed *packed;	/* owned; NULL = a split ring */
	const void *desc;		/* num * 16 bytes, the driver's */
	const void *avail;
	void *used;			/* ours to write, the driver may scribble */
	uint32_t num;
	unsigned features;
	unsigned region;		/* of mem, where the last buffer was: a hint */
	uint16_t last_avail;		/* next avail entry to take; packed: descriptor */
	uint16_t avail_seen;		/* avail.idx when last read and found sound */
	uint16_t used_idx;		/* next used entry to write; published by qring_publish();
					 * packed: descriptor */
	uint16_t signalled_used;	/* used_idx at the last qring_publish() */
	bool signalled_valid;		/* false until the first: what it knows is unknown */
};

/*
 * Resolves the three parts. 0; -EINVAL (size, alignment); -EFAULT (not guest memory, each inside
 * one region); packed: -ENOMEM. On success qring_fini() is due for a packed ring, and does
 * nothing for a split one. The used index of a split ring goes on from what stands in the used
 * ring. Who takes a ring over after a crash interrupts the driver once, unasked: the
 * predecessor's last signal may have died with it.
 */
int qring_init(struct qring *r, const struct qmem *mem, const struct qring_cfg *cfg);
/* Chains that are out are forgotten. A zeroed ring is fine, and twice is. */
void qring_fini(struct qring *r);

/*
 * Takes the next available chain into @iov (at most @max_iov parts; a buffer that spans two
 * regions makes two parts). Kick suppression is the caller's: see qring_disarm(). Returns every
 * verdict; *ret_chain is written on QRING_OK and on chain faults.
 *
 * A chain through the ring's own table has at most num descriptors, one in an indirect table at
 * most as many as that table (stock drivers exceed num there, against the letter of 2.7.5.3.1). A
 * loop is BAD_CHAIN, or TOO_MANY when @iov is full first. A hostile driver may make a head
 * available again that is still out: who keeps a table by head must look.
 */
enum qring_verdict qring_pop(struct qring *r, struct iovec *iov, unsigned max_iov,
			     struct qring_chain *ret_chain);
/* Like qring_pop() for the chain at descriptor @head, not from the avail ring: replay after a
 * crash, which split rings alone can. Never QRING_EMPTY; QRING_BAD_AVAIL when @head is no
 * descriptor, or the ring is packed. */
enum qring_verdict qring_fetch(struct qring *r, uint16_t head, struct iovec *iov, unsigned max_iov,
			       struct qring_chain *ret_chain);
/* True when qring_pop() would find something (or find it broken). */
bool qring_pending(const struct qring *r);

/* Writes one used element; not visible to the driver before qring_publish(). Packed: @head is one
 * that is out, else it is a bug of ours. */
void qring_push(struct qring *r, uint16_t head, uint32_t written_bytes);
/* Makes all pushed elements visible; true when the driver wants to be interrupted. False when
 * nothing was pushed since the last time. */
bool qring_publish(struct qring *r);

/* Asks for a kick at the next available entry and checks again: true when more came meanwhile (do
 * not sleep). */
bool qring_arm(struct qring *r);
/* Asks for no kicks while we drain anyway. With EVENT_IDX that is the nature of things and costs
 * nothing. */
void qring_disarm(struct qring *r);
