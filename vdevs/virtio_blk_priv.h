/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-blk with a file of its own, for virtio_blk.c (requests) and virtio_blk_media.c (the
 * file) alone.
 */
#pragma once

#include "lib/qblk.h"
#include "vdevs/virtio.h"

struct blk_slot;

struct virtio_blk {
	struct virtio_dev d;
	struct vd_blk *blk;		/* NULL while the file is waited for */
	struct qblk_dev qd;
	unsigned in_flight;
	uint64_t n_read, n_write, n_other, n_errors;
	/*
	 * As many slots as the queue has entries. Those that were never used are not linked: a
	 * queue that is never deep leaves most of their half a megabyte untouched.
	 */
	struct blk_slot *slots, *free;
	unsigned n_touched;
	/* `delayed` */
	const struct vd_arg *hostdev;
	struct vd_timer *timer;
	uint64_t since_ns, until_ns;
};

#define VIRTIO_BLK_QUEUE_SIZE 256u

/*
 * Opens the file, or begins to wait for it, and describes the device: features and config space. 0
 * or -errno with a sentence in @errs.
 */
int virtio_blk_media_open(struct virtio_blk *b, const struct vd_arg *hostdev,
			  struct cf_errors *errs);
void virtio_blk_media_close(struct virtio_blk *b);
/* Words for the status. */
const char *virtio_blk_media_str(const struct virtio_blk *b);
