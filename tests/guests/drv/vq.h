/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a virtqueue, split (vq.c) or packed (vq_packed.c) as negotiated. One queue,
 * one caller; nothing here is reentrant.
 */
#pragma once
#include "tests/guests/drv/virtio.h"

#define VQ_F_NEXT	1
#define VQ_F_WRITE	2
#define VQ_F_INDIRECT	4
#define VQ_MAX_SIZE	256
#define VQ_MAX_SEGS	8	/* of one chain, and so of one indirect table */

struct vq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct vq_avail {
	uint16_t flags, idx, ring[];	/* then used_event */
};

struct vq_used_elem {
	uint32_t id, len;
};

struct vq_used {
	uint16_t flags, idx;
	struct vq_used_elem ring[];	/* then avail_event */
};

/* Of a packed ring. */
struct vq_pdesc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

struct vq_event {
	uint16_t off_wrap, flags;
};

struct vq_seg {
	void *addr;
	uint32_t len;
};

struct vq {
	struct vio_dev *dev;
	unsigned index;
	uint16_t num;
	bool event_idx, indirect, packed;
	volatile struct vq_desc *desc;
	volatile struct vq_avail *avail;
	volatile struct vq_used *used;
	struct vq_desc *tables;		/* VQ_MAX_SEGS entries per head */
	uint16_t free_head, n_free;
	uint16_t avail_idx;		/* published */
	uint16_t kicked_idx;		/* avail_idx at the last decision about a kick */
	uint16_t used_idx;		/* seen */
	uint64_t n_kicks, n_kicks_saved;
	/* packed: desc is a ring of these; the next place to fill and to look at */
	volatile struct vq_pdesc *ring;
	volatile struct vq_event *driver_event, *device_event;
	uint16_t put, get, n_put;	/* places filled since the last decision about a kick */
	bool put_wrap, get_wrap;
	struct {
		void *cookie;		/* NULL: head not in use */
		uint16_t n_desc;
		uint16_t next_free;	/* packed */
	} head[VQ_MAX_SIZE];		/* packed: by id */
};

/*
 * Sets up queue @index with at most @max_num entries (a legacy PCI device: as many as it says) and
 * enables it; memory is taken once and used
 * again when the same @q is set up again. NULL or what went wrong.
 */
const char *vq_init(struct vq *q, struct vio_dev *d, unsigned index, uint16_t max_num);
/*
 * Queues a request of @n_out segments the device reads and @n_in it writes; @cookie, never NULL,
 * comes back from vq_poll(). False if there is no room. The device may start at once, but need not
 * before vq_kick().
 */
bool vq_add(struct vq *q, const struct vq_seg *seg, unsigned n_out, unsigned n_in, void *cookie);
/* Notifies the device unless it asked not to be. */
void vq_kick(struct vq *q);
/* A finished request or NULL. A device that returns what it was not given ends the guest. */
void *vq_poll(struct vq *q, uint32_t *ret_len);
/* Asks for an interrupt at the next completion; true if one has come meanwhile: poll again. */
bool vq_arm(struct vq *q);
/* Asks for no interrupts. */
void vq_disarm(struct vq *q);
