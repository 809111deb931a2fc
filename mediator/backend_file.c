/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns how one I/O gets to a file and back: in place from the page cache, or through the loop; in
 * several moves when the file moves less; through a buffer of ours when direct I/O cannot take the
 * guest's; zeroes by the first way that the file system has. Device's thread, but for file_free().
 *
 * Invariant: an I/O that file_submit() took ends with exactly one call of its ended().
 */
#include "mediator/backend_file.h"

#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"

#define INLINE_MISSES_MAX 16u
#define INLINE_RETRY 64u
#define ZERO_BYTES (64u << 10)
#define BOUNCE_ALIGN 4096u

/* Never written to; not const, so that it takes no room in the program's file. */
static char zeroes[ZERO_BYTES] __attribute__((aligned(BOUNCE_ALIGN)));

static struct file_slot *slot_of(struct backend_file *f, const struct backend_io *io)
{
	return &f->slots[io->slot];
}

static int write_flags(const struct backend_io *io)
{
	return io->durable ? RWF_DSYNC : 0;
}

static int submit_zeroes(struct backend_file *f, struct backend_io *io)
{
	struct file_slot *s = slot_of(f, io);
	int mode = FALLOC_FL_ZERO_RANGE;

	s->zero_how = io->op == QBLK_DISCARD ? ZERO_PUNCH : f->zero_how;
	if (s->zero_how == ZERO_WRITE) {
		s->iov = (struct iovec){ zeroes, Q_MIN(io->len_bytes, ZERO_BYTES) };
		return loop_writev(f->loop, &io->loop, f->fd, &s->iov, 1, io->off_bytes, 0);
	}
	if (s->zero_how == ZERO_PUNCH || io->unmap)
		mode = FALLOC_FL_PUNCH_HOLE;
	return loop_fallocate(f->loop, &io->loop, f->fd, mode | FALLOC_FL_KEEP_SIZE, io->off_bytes,
			      io->len_bytes);
}

/* Copies @n bytes between the I/O's parts and its bounce buffer. */
static void copy_bounced(const struct backend_io *io, char *bounce, uint32_t n, bool out)
{
	for (unsigned i = 0; n > 0; i++) {
		uint32_t some = (uint32_t)Q_MIN(n, io->iov[i].iov_len);

		if (out)
			memcpy(bounce, io->iov[i].iov_base, some);
		else
			memcpy(io->iov[i].iov_base, bounce, some);
		bounce += some;
		n -= some;
	}
}

/*
 * A guest may put its data anywhere in its memory; direct I/O may not. Through the page cache it
 * could go, but a page there holds neighbours' sectors too, and would write them back when they
 * have changed: so it goes through a buffer of ours.
 */
static int submit_bounced(struct backend_file *f, struct backend_io *io)
{
	struct file_slot *s = slot_of(f, io);
	void *p;

	f->be.n.bounced++;

	if (!s->bounce) {
		if (posix_memalign(&p, BOUNCE_ALIGN, f->be.unaligned_bytes) != 0)
			return -ENOMEM;
		s->bounce = p;
	}
	s->iov = (struct iovec){ s->bounce, io->len_bytes };
	if (io->op == QBLK_READ)
		return loop_readv(f->loop, &io->loop, f->fd, &s->iov, 1, io->off_bytes);
	copy_bounced(io, s->bounce, io->len_bytes, true);
	return loop_writev(f->loop, &io->loop, f->fd, &s->iov, 1, io->off_bytes, write_flags(io));
}

/* From or to the guest's memory as it lies. */
static int submit_plain(struct backend_file *f, struct backend_io *io)
{
	int slot = -1;

	if (io->mem && io->n_iov == 1)
		slot = pins_find(&f->pins, io->mem, io->iov->iov_base, io->iov->iov_len);
	f->be.n.held += slot >= 0;
	f->be.n.plain += slot < 0;
	if (slot >= 0 && io->op == QBLK_READ)
		return loop_read_held(f->loop, &io->loop, f->fd, io->iov, io->off_bytes,
				      (unsigned)slot);
	if (slot >= 0)
		return loop_write_held(f->loop, &io->loop, f->fd, io->iov, io->off_bytes,
				       write_flags(io), (unsigned)slot);
	if (io->op == QBLK_READ)
		return loop_readv(f->loop, &io->loop, f->fd, io->iov, io->n_iov, io->off_bytes);
	return loop_writev(f->loop, &io->loop, f->fd, io->iov, io->n_iov, io->off_bytes,
			   write_flags(io));
}

/* Gives the I/O to the kernel: 0 when it is under way, or -errno. */
static int submit(struct backend_file *f, struct backend_io *io)
{
	if (slot_of(f, io)->syncing)
		return loop_fsync(f->loop, &io->loop, f->fd);
	if (io->unaligned)
		return submit_bounced(f, io);
	switch (io->op) {
	case QBLK_READ:
	case QBLK_WRITE:
		return submit_plain(f, io);
	case QBLK_FLUSH:
		return loop_fsync(f->loop, &io->loop, f->fd);
	case QBLK_DISCARD:
	case QBLK_WRITE_ZEROES:
		return submit_zeroes(f, io);
	default:
		return -EINVAL;
	}
}

/* The plainest call that does it: the kernel takes 5 % less for a read of a page. */
static ssize_t move(int fd, const struct backend_io *io, int flags)
{
	bool read = io->op == QBLK_READ;
	off_t off = (off_t)io->off_bytes;

	if (io->n_iov == 1 && !flags)
		return read ? pread(fd, io->iov->iov_base, io->iov->iov_len, off) :
			      pwrite(fd, io->iov->iov_base, io->iov->iov_len, off);
	return read ? preadv2(fd, io->iov, (int)io->n_iov, off, flags) :
		      pwritev2(fd, io->iov, (int)io->n_iov, off, flags);
}

/*
 * Moves the data here and now where that cannot wait for a disk: what stands in the page cache
 * costs a copy, and handing it to the kernel's workers costs several times that. Bytes moved, or
 * -EAGAIN: it has to go the long way.
 */
static int try_inline(struct backend_file *f, const struct backend_io *io)
{
	int flags = f->inline_io == INLINE_CACHED ? RWF_NOWAIT : 0;
	ssize_t n;

	if (f->inline_io == INLINE_NEVER || backend_is_barrier(io->op) ||
	    (f->inline_io == INLINE_CACHED && io->durable && io->op == QBLK_WRITE))
		return -EAGAIN;
	/* A device that is hardly ever in the cache is asked only now and then. */
	if (f->inline_misses > INLINE_MISSES_MAX && f->inline_misses++ % INLINE_RETRY)
		return -EAGAIN;
	n = move(f->fd, io, flags);
	if (n > 0 || (n < 0 && errno != EAGAIN && errno != EOPNOTSUPP && errno != EINTR)) {
		f->inline_misses = 0;
		f->be.n.at_once++;
		return n > 0 ? (int)n : -errno;
	}
	f->inline_misses++;
	return -EAGAIN;
}

/* The file moved @done bytes only: what is left is behind them. */
static void advance(struct backend_io *io, uint32_t done)
{
	io->len_bytes -= done;
	io->off_bytes += done;
	while (done > 0) {
		size_t n = Q_MIN(done, io->iov->iov_len);

		io->iov->iov_base = (char *)io->iov->iov_base + n;
		io->iov->iov_len -= n;
		done -= (uint32_t)n;
		if (io->iov->iov_len == 0) {
			io->iov++;
			io->n_iov--;
		}
	}
}

/* What came back for zeroes: true when all are there, or will never be. */
static bool zeroes_over(struct backend_file *f, struct backend_io *io, int res)
{
	const struct file_slot *s = slot_of(f, io);

	if (res == -EOPNOTSUPP && s->zero_how < ZERO_WRITE) {
		f->zero_how = Q_MAX(f->zero_how, s->zero_how + 1u);
		f->be.writes_zeroes = f->zero_how == ZERO_WRITE;
		return false;
	}
	if (s->zero_how != ZERO_WRITE || res <= 0)
		return true;
	io->off_bytes += (uint32_t)res;
	io->len_bytes -= (uint32_t)res;
	return io->len_bytes == 0;
}

/* The same for what moves no data of the guest's. */
static bool barrier_over(struct backend_file *f, struct backend_io *io, int res, int *ret_err)
{
	struct file_slot *s = slot_of(f, io);

	if (res == -EINTR || res == -EAGAIN)
		return false;
	if (res == -EOPNOTSUPP && io->op == QBLK_DISCARD)
		*ret_err = 0;	/* advice: a file system that cannot do it has followed it */
	if (io->op != QBLK_WRITE_ZEROES || s->syncing)
		return true;
	if (!zeroes_over(f, io, res))
		return false;
	s->syncing = io->durable && res >= 0;
	return !s->syncing;
}

/* What came back for the I/O: true when it is over (*ret_err tells how), false when some of it is
 * left to do. */
static bool io_over(struct backend_file *f, struct backend_io *io, int res, int *ret_err)
{
	*ret_err = Q_MIN(res, 0);
	if (backend_is_barrier(io->op))
		return barrier_over(f, io, res, ret_err);
	if (res == -EINTR || res == -EAGAIN)
		return false;
	if (res == 0)
		*ret_err = -EIO;	/* the file ends here: it shrank under us */
	if (res <= 0)
		return true;
	uint32_t n = Q_MIN((uint32_t)res, io->len_bytes);
	if (io->unaligned && io->op == QBLK_READ)
		copy_bounced(io, slot_of(f, io)->bounce, n, false);
	advance(io, n);
	return io->len_bytes == 0;
}

/* Does what is left of the I/O. */
static void go_on(struct backend_file *f, struct backend_io *io)
{
	int res, err;

	while ((res = try_inline(f, io)) != -EAGAIN) {
		if (io_over(f, io, res, &err)) {
			io->ended(io, err);
			return;
		}
	}
	err = submit(f, io);
	if (err < 0)
		io->ended(io, err);
}

static void on_moved(struct loop_io *l, int res)
{
	struct backend_io *io = Q_CONTAINER_OF(l, struct backend_io, loop);
	struct backend_file *f = Q_CONTAINER_OF(io->be, struct backend_file, be);
	int err;

	if (io_over(f, io, res, &err))
		io->ended(io, err);
	else
		go_on(f, io);
}

static void file_submit(struct backend *b, struct backend_io *io)
{
	struct backend_file *f = Q_CONTAINER_OF(b, struct backend_file, be);

	io->be = b;
	io->loop.done = on_moved;
	slot_of(f, io)->syncing = false;
	go_on(f, io);
}

static int file_start(struct backend *b, struct loop *l)
{
	struct backend_file *f = Q_CONTAINER_OF(b, struct backend_file, be);

	f->loop = l;
	/*
	 * A registered file stays open, and locked, until the kernel has taken down the ring of a
	 * mediator that was killed: the next would wait 60 ms for it. An I/O of an ordinary file
	 * holds it for as long as the I/O takes, which is what the lock is for.
	 */
	if (!f->locked)
		(void)loop_register_file(l, f->fd);	/* a kernel that cannot takes longer */
	/* A kernel that cannot, or will not, takes longer for an I/O. */
	if (pins_init(&f->pins, l, f->pin_bytes) < 0)
		f->be.n.hold_failures++;
	return 0;
}

static void file_stop(struct backend *b)
{
	struct backend_file *f = Q_CONTAINER_OF(b, struct backend_file, be);

	pins_fini(&f->pins);
	f->loop = NULL;
}

static struct pins_mem *file_mem_add(struct backend *b, const struct qmem *mem)
{
	return pins_add(&Q_CONTAINER_OF(b, struct backend_file, be)->pins, mem);
}

static void file_mem_drop(struct backend *b, struct pins_mem *m)
{
	pins_drop(&Q_CONTAINER_OF(b, struct backend_file, be)->pins, m);
}

static bool file_tend(struct backend *b)
{
	struct backend_file *f = Q_CONTAINER_OF(b, struct backend_file, be);

	if (!pins_waiting(&f->pins))
		return false;
	uint64_t failures = f->pins.failures;
	bool more = pins_tend(&f->pins);
	b->n.held_bytes = f->pins.held_bytes;
	b->n.hold_failures += f->pins.failures - failures;
	return more;
}

static void file_free(struct backend *b)
{
	struct backend_file *f = Q_CONTAINER_OF(b, struct backend_file, be);

	for (unsigned i = 0; i < f->n_slots; i++)
		free(f->slots[i].bounce);
	qfd_close(&f->fd);
	free(f->path);
	free(f);
}

const struct backend_ops backend_file_ops = {
	.start = file_start,
	.submit = file_submit,
	.reopen = backend_file_reopen,
	.mem_add = file_mem_add,
	.mem_drop = file_mem_drop,
	.tend = file_tend,
	.stop = file_stop,
	.free = file_free,
};
