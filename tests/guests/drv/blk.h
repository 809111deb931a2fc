/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk: requests on one queue or several in turn, many at a time. */
#pragma once
#include "tests/guests/drv/vq.h"

#define BLK_T_IN	0
#define BLK_T_OUT	1
#define BLK_T_FLUSH	4
#define BLK_T_GET_ID	8
#define BLK_T_DISCARD	11
#define BLK_T_WRITE_ZEROES 13
#define BLK_F_SEG_MAX	(UINT64_C(1) << 2)
#define BLK_F_RO	(UINT64_C(1) << 5)
#define BLK_F_FLUSH	(UINT64_C(1) << 9)
#define BLK_F_MQ	(UINT64_C(1) << 12)
#define BLK_QUEUES_MAX	8
#define BLK_S_OK	0
#define BLK_S_PENDING	0xff	/* written by the driver before the device answers */

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct blk_req {
	struct blk_header header;
	void *data;
	uint32_t len;
	uint32_t used_len;		/* as the device returned it */
	volatile uint8_t status;
};

struct blk {
	struct vio_dev *dev;
	struct vq q, more[BLK_QUEUES_MAX - 1];	/* n_queues of them, q first */
	unsigned n_queues;		/* set before blk_open(); 0 is 1 */
	unsigned put, get;		/* queue of the next request, and where to look next */
	uint64_t capacity;		/* sectors */
	unsigned n_segs;		/* pieces that the data of one request is cut into */
	bool read_only, can_flush;
	uint32_t irqs_acked;
};

/* Brings device and queue up; NULL or what went wrong. May be called again after a reset. */
const char *blk_open(struct blk *b, struct vio_dev *d, uint64_t features, uint16_t queue_size);
/* False if the queue is full. @r and its data stay with the device until blk_reap() returns @r. */
bool blk_submit(struct blk *b, struct blk_req *r);
/* Queue @i, which is below n_queues. */
struct vq *blk_queue(struct blk *b, unsigned i);
/* Makes the device see what was submitted. */
void blk_kick(struct blk *b);
/* A finished request, or NULL. */
struct blk_req *blk_reap(struct blk *b);
