/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a virtqueue, split or packed (virtio 1.2, 2.7 and 2.8), for what drives a
 * device without a guest: VM-less clients, tests, benches. Lives in memory that a qmem describes.
 * One thread at a time. The device is the peer here: what it writes into the ring is checked.
 */
#pragma once

#include "lib/qring.h"

struct qdriver_buf {
	gpa_t at;
	uint32_t len_bytes;
	bool device_writes;
};

enum qdriver_verdict {
	QDRIVER_OK = 0,
	QDRIVER_FULL,		/* not enough free descriptors (or ever: longer than the ring) */
	QDRIVER_EMPTY,		/* nothing used */
	QDRIVER_BAD_USED,	/* the device gave back a head that is not out, claims more bytes
				 * than the chain takes, or ran ahead; the ring is lost */
};

/* What we remember of a chain, by its head. Our own copy: the device can write the shared one. */
struct qdriver_slot {
	void *token;		/* NULL = not out */
	uint64_t in_bytes;	/* device-writable bytes */
	uint16_t tail, n;	/* last of the ring's descriptors in it, and how many they are */
};

struct qdriver {
	const struct qmem *mem;	/* borrowed */
	struct qring_cfg cfg;
	void *desc, *avail, *used;
	uint16_t free_head, n_free;
	uint16_t avail_idx;	/* next to publish */
	uint16_t kicked_idx;	/* avail_idx at the last qdriver_publish(): what the device knows */
	uint16_t last_used;
	uint16_t *next;		/* owned: free list and chains, our own copy */
	struct qdriver_slot *slot; /* owned: per head */
	/* packed: the next place to fill and to look at, the places filled since the last publish,
	 * and what that will write to the first of them */
	uint16_t put_at, get_at, n_put, first_put, first_flags;
	bool put_wrap, get_wrap;
	gpa_t indirect;		/* num tables of indirect_max entries, with QRING_INDIRECT */
	void *indirect_host;
	unsigned indirect_max;	/* 0 = off */
};

/* Bytes that a ring of @num entries needs, 4096-aligned, and the offsets of its parts. */
uint64_t qdriver_layout(uint32_t num, uint64_t *ret_avail_off, uint64_t *ret_used_off);
/* Lays out and zeroes a ring at @at (4096-aligned), packed with QRING_PACKED. With QRING_INDIRECT
 * in @features, @indirect_at with room for num * indirect_max * 16 bytes (in one region) turns
 * indirect tables on for chains of 2 to indirect_max parts. 0; -EINVAL (size, alignment), -EFAULT
 * (not guest memory), -ENOMEM. @d needs no fini on failure. */
int qdriver_init(struct qdriver *d, const struct qmem *mem, gpa_t at, uint32_t num,
		 unsigned features, gpa_t indirect_at, unsigned indirect_max);
void qdriver_fini(struct qdriver *d);

/* Queues one chain of @n >= 1 parts as they stand (readable first is the caller's to keep);
 * @token (not NULL) comes back from qdriver_poll(). Not visible before qdriver_publish(). */
enum qdriver_verdict qdriver_add(struct qdriver *d, const struct qdriver_buf *bufs, unsigned n,
				 void *token);
/* Makes all added chains visible; true when the device wants a kick. False when nothing was
 * added. */
bool qdriver_publish(struct qdriver *d);
/* Takes one used element. */
enum qdriver_verdict qdriver_poll(struct qdriver *d, void **ret_token, uint32_t *ret_written_bytes);
/* Asks for an interrupt and checks again: true when something is there already. */
bool qdriver_arm(struct qdriver *d);
void qdriver_disarm(struct qdriver *d);
/* Chains that are out. */
unsigned qdriver_outstanding(const struct qdriver *d);
