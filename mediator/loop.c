/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns one io_uring. Runs on the device's thread only (SINGLE_ISSUER where the kernel has it).
 *
 * user_data of a submission is a pointer with its kind in the low bits. A watch outlives
 * loop_unwatch() until the kernel's last event for it: that one has no IORING_CQE_F_MORE.
 * Invariants: no callback runs for a watch without fn; a watch with fn is known to the kernel or
 * stands in the unarmed list, and the loop does not sleep while one stands there.
 */
#include "mediator/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

enum tag { TAG_IO = 0, TAG_WATCH = 1, TAG_NONE = 2, TAG_MASK = 3 };

struct loop_watch {
	void (*fn)(void *ctx);	/* NULL: unwatched, freed at its last event */
	void *ctx;
	struct loop_watch *next;	/* in the unarmed list */
	int fd;
	bool armed;		/* the kernel has it: an event with our address will still come */
};

int loop_init(struct loop *l, unsigned entries)
{
	/*
	 * Completions are reaped when we ask for them, not by interrupting the thread. Older
	 * kernels know fewer flags: what they refuse is only speed.
	 */
	static const unsigned flag_sets[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE,
		IORING_SETUP_CQSIZE,
	};
	int r = -EINVAL;

	for (size_t i = 0; i < Q_ARRAY_LEN(flag_sets) && r == -EINVAL; i++) {
		struct io_uring_params p = { .flags = flag_sets[i], .cq_entries = entries * 4 };

		r = io_uring_queue_init_params(entries, &l->ring, &p);
	}
	l->up = r == 0;
	l->file_fd = -1;
	return r;
}

void loop_fini(struct loop *l)
{
	if (!l->up)
		return;
	/*
	 * Watches that the kernel still holds: let their last events come, so that their memory is
	 * freed.
	 */
	while (l->n_watches > 0 && loop_submit(l, true) == 0)
		loop_dispatch(l, UINT32_MAX);
	io_uring_queue_exit(&l->ring);
	l->up = false;
}

static struct io_uring_sqe *get_sqe(struct loop *l)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);

	if (sqe)
		return sqe;
	if (io_uring_submit(&l->ring) < 0)
		return NULL;
	return io_uring_get_sqe(&l->ring);
}

static void set_tag(struct io_uring_sqe *sqe, void *p, enum tag tag)
{
	io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)p | tag);
}

static bool arm(struct loop *l, struct loop_watch *w)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	if (!sqe)
		return false;
	io_uring_prep_poll_multishot(sqe, w->fd, POLLIN);
	set_tag(sqe, w, TAG_WATCH);
	w->armed = true;
	l->n_watches++;
	return true;
}

struct loop_watch *loop_watch(struct loop *l, int fd, void (*fn)(void *ctx), void *ctx)
{
	struct loop_watch *w = malloc(sizeof(*w));

	if (!w)
		return NULL;
	*w = (struct loop_watch){ .fn = fn, .ctx = ctx, .fd = fd };
	if (arm(l, w))
		return w;
	free(w);
	return NULL;
}

static void forget_unarmed(struct loop *l, const struct loop_watch *w)
{
	for (struct loop_watch **at = &l->unarmed; *at; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			return;
		}
	}
}

/* Arms what is to be armed, as far as there is room. True when all is. */
static bool arm_all(struct loop *l)
{
	while (l->unarmed && arm(l, l->unarmed))
		l->unarmed = l->unarmed->next;
	return !l->unarmed;
}

bool loop_is_eventfd(struct loop *l, int fd)
{
	/* No call tells; but the ring takes no other descriptor for its own signal. */
	if (io_uring_register_eventfd(&l->ring, fd) < 0)
		return false;
	io_uring_unregister_eventfd(&l->ring);
	return true;
}

struct loop_watch *loop_unwatch(struct loop *l, struct loop_watch *w)
{
	if (!w)
		return NULL;
	if (!w->armed) {
		forget_unarmed(l, w);
		free(w);
		return NULL;
	}
	w->fn = NULL;
	struct io_uring_sqe *sqe = get_sqe(l);
	if (sqe) {
		/*
		 * Not POLL_REMOVE: that one fails, for good, while the descriptor is just
		 * signalled.
		 */
		io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)w | TAG_WATCH, 0);
		set_tag(sqe, NULL, TAG_NONE);
		/*
		 * The kernel must let go of the descriptor before its owner closes it and another
		 * gets its number.
		 */
		io_uring_submit(&l->ring);
	}
	return NULL;
}

int loop_register_file(struct loop *l, int fd)
{
	int r;

	if (fd == l->file_fd)
		return 0;
	if (l->file_fd >= 0) {
		l->file_fd = -1;
		r = io_uring_unregister_files(&l->ring);
		if (r < 0)
			return r;
	}
	if (fd < 0)
		return 0;
	r = io_uring_register_files(&l->ring, &fd, 1);
	if (r == 0)
		l->file_fd = fd;
	return r;
}

static int start(struct loop *l, struct io_uring_sqe *sqe, struct loop_io *io)
{
	if (sqe->fd == l->file_fd) {
		sqe->fd = 0;
		sqe->flags |= IOSQE_FIXED_FILE;
	}
	set_tag(sqe, io, TAG_IO);
	return 0;
}

int loop_readv(struct loop *l, struct loop_io *io, int fd, const struct iovec *iov, unsigned n,
	       uint64_t off)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	if (!sqe)
		return -EBUSY;
	if (n == 1)
		io_uring_prep_read(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, off);
	else
		io_uring_prep_readv(sqe, fd, iov, n, off);
	return start(l, sqe, io);
}

int loop_writev(struct loop *l, struct loop_io *io, int fd, const struct iovec *iov, unsigned n,
		uint64_t off, int flags)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	if (!sqe)
		return -EBUSY;
	if (n == 1)
		io_uring_prep_write(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, off);
	else
		io_uring_prep_writev(sqe, fd, iov, n, off);
	sqe->rw_flags = flags;
	return start(l, sqe, io);
}

int loop_buffers_init(struct loop *l, unsigned n)
{
	return io_uring_register_buffers_sparse(&l->ring, n);
}

int loop_buffer_set(struct loop *l, unsigned slot, void *at, size_t len_bytes)
{
	const struct iovec iov = { at, len_bytes };
	const __u64 tag = 0;
	int r = io_uring_register_buffers_update_tag(&l->ring, slot, &iov, &tag, 1);

	return r == 1 ? 0 : Q_MIN(r, 0);
}

int loop_read_held(struct loop *l, struct loop_io *io, int fd, const struct iovec *part,
		   uint64_t off, unsigned slot)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	if (!sqe)
		return -EBUSY;
	io_uring_prep_read_fixed(sqe, fd, part->iov_base, (unsigned)part->iov_len, off, (int)slot);
	return start(l, sqe, io);
}

int loop_write_held(struct loop *l, struct loop_io *io, int fd, const struct iovec *part,
		    uint64_t off, int flags, unsigned slot)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	if (!sqe)
		return -EBUSY;
	io_uring_prep_write_fixed(sqe, fd, part->iov_base, (unsigned)part->iov_len, off,
				  (int)slot);
	sqe->rw_flags = flags;
	return start(l, sqe, io);
}

int loop_open(struct loop *l, struct loop_io *io, const char *path, int flags)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	if (!sqe)
		return -EBUSY;
	io_uring_prep_openat(sqe, AT_FDCWD, path, flags, 0);
	return start(l, sqe, io);
}

int loop_fsync(struct loop *l, struct loop_io *io, int fd)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	if (!sqe)
		return -EBUSY;
	io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	return start(l, sqe, io);
}

int loop_fallocate(struct loop *l, struct loop_io *io, int fd, int mode, uint64_t off,
		   uint64_t len)
{
	struct io_uring_sqe *sqe = get_sqe(l);

	if (!sqe)
		return -EBUSY;
	io_uring_prep_fallocate(sqe, fd, mode, off, len);
	return start(l, sqe, io);
}

/* The kernel has work for us that becomes events only when we call it. */
static bool kernel_waits(const struct loop *l)
{
	return IO_URING_READ_ONCE(*l->ring.sq.kflags) &
	       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* The kernel is about to make events of all that waits, and to sleep only if there is none. */
static void about_to_enter(struct loop *l)
{
	l->n_enters++;
	l->stale = false;
}

int loop_submit(struct loop *l, bool wait)
{
	wait = arm_all(l) && wait;
	/* A device that answered from memory left nothing to be submitted: no system call then. */
	if (!wait && io_uring_sq_ready(&l->ring) == 0 && !kernel_waits(l))
		return 0;
	about_to_enter(l);
	int r = wait ? io_uring_submit_and_wait(&l->ring, 1) :
		       io_uring_submit_and_get_events(&l->ring);

	/* EBUSY: the completion queue is full; handling events makes room. */
	return r >= 0 || r == -EINTR || r == -EBUSY || r == -EAGAIN ? 0 : r;
}

int loop_submit_until(struct loop *l, uint64_t deadline_ns)
{
	struct io_uring_cqe *cqe;
	uint64_t now;

	if (!deadline_ns || l->unarmed)
		return loop_submit(l, true);
	now = qnow_ns();
	uint64_t left = deadline_ns > now ? deadline_ns - now : 1;
	struct __kernel_timespec ts = {
		.tv_sec = (int64_t)(left / Q_NSEC_PER_SEC),
		.tv_nsec = (int64_t)(left % Q_NSEC_PER_SEC),
	};
	about_to_enter(l);
	int r = io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &ts, NULL);
	return r >= 0 || r == -ETIME || r == -EINTR || r == -EBUSY || r == -EAGAIN ? 0 : r;
}

bool loop_pending(struct loop *l)
{
	if (io_uring_cq_ready(&l->ring) > 0)
		return true;
	if (l->stale || !kernel_waits(l))
		return false;
	/*
	 * The flag promises nothing. Who adds work sets it after he has added it; when we are
	 * quick, the work is done and the flag cleared by then, and it is set over an empty list.
	 * From then on it stays set until there is work again. Who took it for work would never
	 * sleep, and never ask a driver for a kick.
	 */
	about_to_enter(l);
	io_uring_get_events(&l->ring);
	l->stale = io_uring_cq_ready(&l->ring) == 0;
	return !l->stale;
}

static void on_watch(struct loop *l, struct loop_watch *w, const struct io_uring_cqe *cqe)
{
	bool last = !(cqe->flags & IORING_CQE_F_MORE);

	if (last) {
		w->armed = false;
		l->n_watches--;
	}
	if (!w->fn) {
		if (last)
			free(w);
		return;
	}
	/*
	 * The kernel gave up on a multishot (completion queue overflow, no memory): watch again.
	 * What came in between is seen when the kernel takes the new one, which looks first.
	 */
	if (last && !arm(l, w)) {
		w->next = l->unarmed;
		l->unarmed = w;
	}
	w->fn(w->ctx);
}

unsigned loop_dispatch(struct loop *l, unsigned budget)
{
	struct io_uring_cqe *cqe;
	unsigned n = 0;

	if (kernel_waits(l)) {
		about_to_enter(l);
		io_uring_get_events(&l->ring);
	}
	while (n < budget && io_uring_peek_cqe(&l->ring, &cqe) == 0) {
		struct io_uring_cqe copy = *cqe;
		uint64_t data = cqe->user_data;
		void *p = (void *)(uintptr_t)(data & ~(uint64_t)TAG_MASK);

		/* Seen before the callback: it may submit, and must find room. */
		io_uring_cqe_seen(&l->ring, cqe);
		n++;
		switch (data & TAG_MASK) {
		case TAG_IO:
			((struct loop_io *)p)->done(p, copy.res);
			break;
		case TAG_WATCH:
			on_watch(l, p, &copy);
			break;
		default:
			break;
		}
	}
	l->n_cqes += n;
	return n;
}
