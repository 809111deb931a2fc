/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file or block device as a disk, through io_uring. Submissions come with the owner's lock held,
 * completions run on the I/O thread with it held, so the two never overlap.
 */
#pragma once

#include <pthread.h>

#include "vdevs/vdev.h"

struct loop;

struct blkfile_cfg {
	const char *path; /* a leading '<' asks for read-only */
	const char *name; /* of the vdev, for the log */
	/*
	 * Past the host's cache, where the file can: the first request that the host refuses
	 * because of it, or an open that it refuses, ends that for good, and is logged.
	 */
	bool direct;
	struct loop *loop;
	pthread_mutex_t *lock; /* of the owner */
	struct vdev **owner;   /* handed to done(); set by the time of the first completion */
	/* Once, from kick or the I/O thread: the host takes no requests any more, and those that it
	 * has may never end. */
	void (*failed)(void *failed_arg, const char *why);
	void *failed_arg;
};

/* 0; -errno with a sentence in @text. */
int blkfile_open(const struct blkfile_cfg *cfg, char *text, size_t text_bytes, struct vd_blk **ret,
		 struct vd_blk_info *ret_info);
/* Queues @io. 0, or -errno (done() is not called then). */
int blkfile_submit(struct vd_blk *b, struct vd_blk_io *io);
/* Gives what was queued to the kernel. */
void blkfile_kick(struct vd_blk *b);
/* Waits for what is in flight (done() is called for it), then closes. */
void blkfile_close(struct vd_blk *b);
