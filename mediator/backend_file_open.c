/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the way to a device's file: opening, size, lock, and how its data can be moved; and opening
 * it again when the device was gone. Main thread, before the device's thread runs; the second half
 * on the device's thread.
 */
#include "mediator/backend_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "lib/qfd.h"

#define LOCK_WAIT_NS (5 * Q_NSEC_PER_SEC)
#define MEM_ALIGN 512u			/* of memory, for direct I/O */

/* What direct I/O takes on a file: its filesystem's word, where it has one. */
static uint32_t file_sector(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
	    (sx.stx_mask & STATX_DIOALIGN) && sx.stx_dio_offset_align > Q_SECTOR_BYTES)
		return sx.stx_dio_offset_align;
#endif
	return Q_SECTOR_BYTES;
}

/* The piece that offsets and lengths must be whole of. */
static uint32_t device_sector(const struct backend_file *f, bool direct)
{
	int bytes;

	if (!direct)
		return Q_SECTOR_BYTES;
	if (!f->is_block_device)
		return file_sector(f->fd);
	return ioctl(f->fd, BLKSSZGET, &bytes) == 0 && bytes > (int)Q_SECTOR_BYTES ?
		       (uint32_t)bytes : Q_SECTOR_BYTES;
}

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
static int lock_device(int fd, enum backend_lock how)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	uint64_t until = qnow_ns() + (how == BACKEND_LOCK_WAITS ? LOCK_WAIT_NS : 0);

	/* The I/O of a mediator that was killed holds the file until it has ended; only then may
	 * ours begin, or an old write could land on a newer one. */
	while (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		if ((errno != EAGAIN && errno != EACCES) || qnow_ns() >= until)
			return -errno;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	return 0;
}

static void choose_inline(struct backend_file *f, bool direct)
{
	struct statfs fs;

	if (direct || f->is_block_device || fstatfs(f->fd, &fs) < 0)
		f->inline_io = INLINE_NEVER;
	else if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)
		f->inline_io = INLINE_ALWAYS;
	else
		f->inline_io = INLINE_CACHED;
}

/* 0 or -errno; *ret_what: a sentence's middle. */
static int open_path(struct backend_file *f, const struct med_device_policy *p,
		     enum backend_lock lock, const char **ret_what)
{
	*ret_what = "cannot be opened";
	f->fd = open(f->path, f->open_flags);
	if (f->fd < 0)
		return -errno;
	*ret_what = "is no file or block device";
	int r = device_size(f->fd, &f->be.len_bytes, &f->is_block_device);
	if (r < 0)
		return r;
	choose_inline(f, p->direct);
	f->be.sector_bytes = device_sector(f, p->direct);
	*ret_what = "is in use by another process, or as another device (locked)";
	f->locked = lock != BACKEND_NO_LOCK;
	return f->locked ? lock_device(f->fd, lock) : 0;
}

static struct backend_file *file_new(const struct med_device_policy *p)
{
	struct backend_file *f = calloc(1, sizeof(*f) + p->slots * sizeof(f->slots[0]));

	if (!f)
		return NULL;
	f->be.ops = &backend_file_ops;
	f->be.mem_align = p->direct ? MEM_ALIGN : 1;
	f->be.unaligned_bytes = p->slice_bytes;
	f->fd = -1;
	f->n_slots = p->slots;
	f->pin_bytes = p->pin_bytes;
	f->open_flags = O_RDWR | O_CLOEXEC | (p->direct ? O_DIRECT : 0);
	f->path = strdup(p->path);
	if (f->path)
		return f;
	backend_free(&f->be);
	return NULL;
}

int backend_file_open(const struct med_device_policy *p, enum backend_lock lock,
		      struct cf_errors *errs, struct backend **ret)
{
	struct backend_file *f = file_new(p);
	const char *what = "cannot be opened";
	int r = f ? open_path(f, p, lock, &what) : -ENOMEM;

	if (r < 0) {
		cf_error_add(errs, CF_ERROR, p->file, p->line, 0, "device '%s': %s %s: %s", p->name,
			     p->path, what, strerror(-r));
		if (f)
			backend_free(&f->be);
		return r;
	}
	*ret = &f->be;
	return 0;
}

/* ---- again; device's thread ---- */

static int set_lock(int fd, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* The lock goes from the old file to the new; nothing is under way that the old one would guard. */
static int move_lock(const struct backend_file *f, int fd)
{
	if (!f->locked)
		return 0;
	(void)set_lock(f->fd, F_UNLCK);
	int r = set_lock(fd, F_WRLCK);
	if (r < 0)
		(void)set_lock(f->fd, F_WRLCK);
	return r;
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

/* enum backend_reopened, or -errno: -EMEDIUMTYPE when it is not what it was. */
static int take_over(struct backend_file *f, int take_fd)
{
	QCLEAN(qfd_close) int fd = take_fd;
	uint64_t len_bytes;
	bool block;
	int r = device_size(fd, &len_bytes, &block);

	if (r == 0 && (block != f->is_block_device || len_bytes < f->be.len_bytes))
		r = -EMEDIUMTYPE;
	if (r == 0)
		r = move_lock(f, fd);
	if (r < 0)
		return r;
	r = same_file(f->fd, fd) ? BACKEND_SAME : BACKEND_ANOTHER;
	int old = f->fd;
	f->fd = fd;
	if (!f->locked)
		(void)loop_register_file(f->loop, fd);	/* the old one is closed next */
	fd = old;	/* closed on return */
	return r;
}

static void on_opened(struct loop_io *io, int res)
{
	struct backend_file *f = Q_CONTAINER_OF(io, struct backend_file, opening);

	f->reopened(f->reopen_ctx, res < 0 ? res : take_over(f, res));
}

void backend_file_reopen(struct backend *b, void (*done)(void *ctx, int result), void *ctx)
{
	struct backend_file *f = Q_CONTAINER_OF(b, struct backend_file, be);

	f->reopened = done;
	f->reopen_ctx = ctx;
	f->opening.done = on_opened;
	/* Opening a disk may take as long as the disk likes: not on this thread. */
	int r = loop_open(f->loop, &f->opening, f->path, f->open_flags);
	if (r < 0)
		done(ctx, r);
}
