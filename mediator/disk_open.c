/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the way to a device's file: opening, size, lock, and how its data can be moved. Main thread,
 * before the device's thread runs.
 */
#include "mediator/disk_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#define LOCK_WAIT_NS (5 * Q_NSEC_PER_SEC)

static int device_size(int fd, uint64_t *ret, bool *ret_block)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_block = S_ISBLK(st.st_mode);
	if (S_ISREG(st.st_mode)) {
		*ret = (uint64_t)st.st_size;
		return 0;
	}
	if (!*ret_block)
		return -ENOTBLK;
	return ioctl(fd, BLKGETSIZE64, ret) < 0 ? -errno : 0;
}

/* Two owners of one disk would destroy it: the lock is the file's, whoever opens it. */
static int lock_device(int fd)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	uint64_t until = qnow_ns() + LOCK_WAIT_NS;

	/* The I/O of a mediator that was killed holds the file until it has ended; only then may
	 * ours begin, or an old write could land on a newer one. */
	while (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		if ((errno != EAGAIN && errno != EACCES) || qnow_ns() >= until)
			return -errno;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	return 0;
}

static void choose_inline(struct med_disk *d)
{
	struct statfs fs;

	if (d->policy->direct || d->is_block_device || fstatfs(d->fd, &fs) < 0)
		d->inline_io = INLINE_NEVER;
	else if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)
		d->inline_io = INLINE_ALWAYS;
	else
		d->inline_io = INLINE_CACHED;
}

int med_disk_open(struct med_disk *d, bool lock, struct cf_errors *errs)
{
	const struct med_device_policy *p = d->policy;
	const char *what = "cannot be opened";
	int r = 0;

	if (p->null_bytes) {
		d->inline_io = INLINE_NULL;
		d->len_bytes = p->null_bytes;
		return 0;
	}
	d->fd = open(p->path, O_RDWR | O_CLOEXEC | (p->direct ? O_DIRECT : 0));
	if (d->fd < 0)
		r = -errno;
	if (r == 0) {
		what = "is no file or block device";
		r = device_size(d->fd, &d->len_bytes, &d->is_block_device);
	}
	if (r == 0)
		choose_inline(d);
	if (r == 0 && lock) {
		what = "is in use by another process (locked)";
		r = lock_device(d->fd);
	}
	if (r < 0)
		cf_error_add(errs, CF_ERROR, p->file, p->line, 0, "device '%s': %s %s: %s", p->name,
			     p->path, what, strerror(-r));
	return r;
}
