/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns how one slice gets to the device and back: in place from the page cache, or through the
 * loop; in several moves when the device moves less; through a buffer of ours when direct I/O
 * cannot take the guest's; zeroes by the first way that the file system has. Device's thread only.
 *
 * Invariant: a slice that med_slice_run() took ends with exactly one call of its ended().
 */
#include "mediator/slice.h"

#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define INLINE_MISSES_MAX 16u
#define INLINE_RETRY 64u
#define BARRIER_BYTES (16u << 20)	/* discarded or zeroed at once */
#define ZERO_BYTES (64u << 10)
#define MEM_ALIGN 512u			/* of memory, for direct I/O */
#define BOUNCE_ALIGN 4096u

/* Never written to; not const, so that it takes no room in the program's file. */
static char zeroes[ZERO_BYTES] __attribute__((aligned(BOUNCE_ALIGN)));

static struct iovec next_part(struct med_req *r, uint64_t max)
{
	const struct iovec *part = &r->iov[r->iov_at];
	struct iovec cut = {
		.iov_base = (char *)part->iov_base + r->iov_off,
		.iov_len = Q_MIN(part->iov_len - r->iov_off, max),
	};

	r->iov_off += cut.iov_len;
	if (r->iov_off == part->iov_len) {
		r->iov_at++;
		r->iov_off = 0;
	}
	return cut;
}

void med_slice_cut(struct med_slice *s, struct med_req *r, uint32_t len)
{
	uint64_t left = len;

	s->req = r;
	s->len_bytes = len;
	s->off_bytes = r->share->policy->offset_bytes + r->sector * Q_SECTOR_BYTES + r->next_byte;
	s->iov = s->iov_store;
	s->n_iov = 0;
	s->syncing = false;
	if (r->op == QBLK_READ || r->op == QBLK_WRITE) {
		while (left > 0) {
			s->iov_store[s->n_iov] = next_part(r, left);
			left -= s->iov_store[s->n_iov++].iov_len;
		}
	}
	r->next_byte += len;
}

uint32_t med_slice_next_bytes(const struct med_disk *d, const struct med_req *r)
{
	uint64_t left = r->len_bytes - r->next_byte;
	uint32_t most = sched_slice_max(&d->sched, r->share->sched_id);

	if (r->op == QBLK_WRITE_ZEROES && d->zero_how == ZERO_WRITE)
		most = d->policy->slice_bytes;
	else if (r->op != QBLK_READ && r->op != QBLK_WRITE)
		most = BARRIER_BYTES;
	else if (r->unaligned)
		most = Q_MIN(most, d->bounce_bytes);
	/* Linux moves at most 2 GiB in one read or write. */
	return (uint32_t)Q_MIN(left, Q_MIN(most, 1u << 30));
}

bool med_req_is_barrier(const struct med_req *r)
{
	return r->op != QBLK_READ && r->op != QBLK_WRITE;
}

static int write_flags(const struct med_req *r)
{
	return r->durable ? RWF_DSYNC : 0;
}

static int submit_zeroes(struct med_disk *d, struct med_slice *s)
{
	const struct med_req *r = s->req;
	int mode = FALLOC_FL_ZERO_RANGE;

	s->zero_how = (uint8_t)(r->op == QBLK_DISCARD ? ZERO_PUNCH : d->zero_how);
	if (s->zero_how == ZERO_WRITE) {
		s->bounce_iov = (struct iovec){ zeroes, Q_MIN(s->len_bytes, ZERO_BYTES) };
		return loop_writev(&d->loop, &s->io, d->fd, &s->bounce_iov, 1, s->off_bytes, 0);
	}
	if (s->zero_how == ZERO_PUNCH || r->unmap)
		mode = FALLOC_FL_PUNCH_HOLE;
	return loop_fallocate(&d->loop, &s->io, d->fd, mode | FALLOC_FL_KEEP_SIZE, s->off_bytes,
			      s->len_bytes);
}

/* Copies @n bytes between the slice's parts and its bounce buffer. */
static void copy_bounced(struct med_slice *s, uint32_t n, bool out)
{
	char *at = s->bounce;

	for (unsigned i = 0; n > 0; i++) {
		uint32_t some = (uint32_t)Q_MIN(n, s->iov[i].iov_len);

		if (out)
			memcpy(at, s->iov[i].iov_base, some);
		else
			memcpy(s->iov[i].iov_base, at, some);
		at += some;
		n -= some;
	}
}

/*
 * A guest may put its data anywhere in its memory; direct I/O may not. Through the page cache it
 * could go, but a page there holds neighbours' sectors too, and would write them back when they
 * have changed: so it goes through a buffer of ours.
 */
static int submit_bounced(struct med_disk *d, struct med_slice *s)
{
	bool out = s->req->op == QBLK_WRITE;
	void *p;

	if (!s->bounce) {
		if (posix_memalign(&p, BOUNCE_ALIGN, d->bounce_bytes) != 0)
			return -ENOMEM;
		s->bounce = p;
	}
	s->bounce_iov = (struct iovec){ s->bounce, s->len_bytes };
	if (!out)
		return loop_readv(&d->loop, &s->io, d->fd, &s->bounce_iov, 1, s->off_bytes);
	copy_bounced(s, s->len_bytes, true);
	return loop_writev(&d->loop, &s->io, d->fd, &s->bounce_iov, 1, s->off_bytes,
			   write_flags(s->req));
}

/* Gives the slice to the kernel: 0 when it is under way, or -errno. */
static int submit_slice(struct med_disk *d, struct med_slice *s)
{
	const struct med_req *r = s->req;

	if (s->syncing)
		return loop_fsync(&d->loop, &s->io, d->fd);
	if (r->unaligned)
		return submit_bounced(d, s);
	switch (r->op) {
	case QBLK_READ:
		return loop_readv(&d->loop, &s->io, d->fd, s->iov, s->n_iov, s->off_bytes);
	case QBLK_WRITE:
		return loop_writev(&d->loop, &s->io, d->fd, s->iov, s->n_iov, s->off_bytes,
				   write_flags(r));
	case QBLK_FLUSH:
		return loop_fsync(&d->loop, &s->io, d->fd);
	case QBLK_DISCARD:
	case QBLK_WRITE_ZEROES:
		return submit_zeroes(d, s);
	default:
		return -EINVAL;
	}
}

/* The null device: reads as zeroes, forgets writes. Bytes moved. */
static int null_io(const struct med_slice *s)
{
	for (unsigned i = 0; s->req->op == QBLK_READ && i < s->n_iov; i++)
		memset(s->iov[i].iov_base, 0, s->iov[i].iov_len);
	return (int)s->len_bytes;
}

/* The plainest call that does it: the kernel takes 5 % less for a read of a page. */
static ssize_t move(int fd, const struct med_slice *s, int flags)
{
	bool read = s->req->op == QBLK_READ;
	off_t off = (off_t)s->off_bytes;

	if (s->n_iov == 1 && !flags)
		return read ? pread(fd, s->iov->iov_base, s->iov->iov_len, off) :
			      pwrite(fd, s->iov->iov_base, s->iov->iov_len, off);
	return read ? preadv2(fd, s->iov, (int)s->n_iov, off, flags) :
		      pwritev2(fd, s->iov, (int)s->n_iov, off, flags);
}

/*
 * Moves the slice here and now where that cannot wait for a disk: what stands in the page cache
 * costs a copy, and handing it to the kernel's workers costs several times that. Bytes moved, or
 * -EAGAIN: it has to go the long way.
 */
static int try_inline(struct med_disk *d, const struct med_slice *s)
{
	int flags = d->inline_io == INLINE_CACHED ? RWF_NOWAIT : 0;
	ssize_t n;

	if (d->inline_io == INLINE_NULL)
		return null_io(s);
	if (d->inline_io == INLINE_NEVER || med_req_is_barrier(s->req) ||
	    (d->inline_io == INLINE_CACHED && s->req->durable && s->req->op == QBLK_WRITE))
		return -EAGAIN;
	/* A device that is hardly ever in the cache is asked only now and then. */
	if (d->inline_misses > INLINE_MISSES_MAX && d->inline_misses++ % INLINE_RETRY)
		return -EAGAIN;
	n = move(d->fd, s, flags);
	if (n > 0 || (n < 0 && errno != EAGAIN && errno != EOPNOTSUPP && errno != EINTR)) {
		d->inline_misses = 0;
		return n > 0 ? (int)n : -errno;
	}
	d->inline_misses++;
	return -EAGAIN;
}

/* The device moved @done bytes of the slice only: what is left is behind them. */
static void advance_slice(struct med_slice *s, uint32_t done)
{
	s->len_bytes -= done;
	s->off_bytes += done;
	while (done > 0) {
		size_t n = Q_MIN(done, s->iov->iov_len);

		s->iov->iov_base = (char *)s->iov->iov_base + n;
		s->iov->iov_len -= n;
		done -= (uint32_t)n;
		if (s->iov->iov_len == 0) {
			s->iov++;
			s->n_iov--;
		}
	}
}

/* What came back for zeroes: true when all are there, or will never be. */
static bool zeroes_over(struct med_disk *d, struct med_slice *s, int res)
{
	if (res == -EOPNOTSUPP && s->zero_how < ZERO_WRITE) {
		d->zero_how = Q_MAX(d->zero_how, s->zero_how + 1u);
		return false;
	}
	if (s->zero_how != ZERO_WRITE || res <= 0 || d->inline_io == INLINE_NULL)
		return true;
	s->off_bytes += (uint32_t)res;
	s->len_bytes -= (uint32_t)res;
	return s->len_bytes == 0;
}

/* The same for what moves no data of the guest's. */
static bool barrier_over(struct med_disk *d, struct med_slice *s, int res, int *ret_err)
{
	enum qblk_op op = s->req->op;

	if (res == -EINTR || res == -EAGAIN)
		return false;
	if (res == -EOPNOTSUPP && op == QBLK_DISCARD)
		*ret_err = 0;	/* advice: a file system that cannot do it has followed it */
	if (op != QBLK_WRITE_ZEROES || s->syncing)
		return true;
	if (!zeroes_over(d, s, res))
		return false;
	s->syncing = s->req->durable && res >= 0 && d->inline_io != INLINE_NULL;
	return !s->syncing;
}

/* What came back for the slice: true when it is over (*ret_err tells how), false when some of it
 * is left to do. */
static bool slice_over(struct med_disk *d, struct med_slice *s, int res, int *ret_err)
{
	*ret_err = Q_MIN(res, 0);
	if (med_req_is_barrier(s->req))
		return barrier_over(d, s, res, ret_err);
	if (res == -EINTR || res == -EAGAIN)
		return false;
	if (res == 0)
		*ret_err = -EIO;	/* the file ends here: it shrank under us */
	if (res <= 0)
		return true;
	uint32_t n = Q_MIN((uint32_t)res, s->len_bytes);
	if (s->req->unaligned && s->req->op == QBLK_READ)
		copy_bounced(s, n, false);
	advance_slice(s, n);
	return s->len_bytes == 0;
}

static void slice_io_done(struct loop_io *io, int res);

void med_slice_run(struct med_disk *d, struct med_slice *s)
{
	int res, err;

	while ((res = try_inline(d, s)) != -EAGAIN) {
		if (slice_over(d, s, res, &err)) {
			s->ended(s, err);
			return;
		}
	}
	s->io.done = slice_io_done;
	err = submit_slice(d, s);
	if (err < 0)
		s->ended(s, err);
}

static void slice_io_done(struct loop_io *io, int res)
{
	struct med_slice *s = Q_CONTAINER_OF(io, struct med_slice, io);
	struct med_disk *d = s->req->share->disk;
	int err;

	if (slice_over(d, s, res, &err))
		s->ended(s, err);
	else
		med_slice_run(d, s);
}

bool med_req_is_unaligned(const struct med_disk *d, const struct med_req *r)
{
	uintptr_t bits = 0;

	if (!d->policy->direct || med_req_is_barrier(r))
		return false;
	for (unsigned i = 0; i < r->n_iov; i++)
		bits |= (uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len;
	return bits % MEM_ALIGN;
}
