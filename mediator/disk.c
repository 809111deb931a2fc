/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a shared disk's data path: requests into slices, slices to the device in the scheduler's
 * order, completions back. Everything below "the device's thread" runs there only.
 *
 * Request (struct med_req):  WAITING  in its share's list; next_byte < len
 *                            PARTLY   head of the list, slices at the device, next_byte < len
 *                            GIVEN    out of the list, slices > 0
 *                            done     slices == 0 and (next_byte == len or err)
 * Invariants: only the head of a list is PARTLY; a slice in use has a ticket that the scheduler
 * counts; every request that med_disk_queue() took gets done() once, or was dropped by
 * med_share_drop() before its first slice.
 */
#include "mediator/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "mediator/client.h"
#include "mediator/spin.h"

#define RELAXED memory_order_relaxed
#define INLINE_MISSES_MAX 16u
#define INLINE_RETRY 64u
#define GIVE_SLICES 32u
#define GIVE_BYTES (256u << 10)
#define BARRIER_BYTES (16u << 20)	/* discarded or zeroed at once */
#define ZERO_BYTES (64u << 10)
#define MEM_ALIGN 512u			/* of memory, for direct I/O */
#define BOUNCE_ALIGN 4096u
#define LOCK_WAIT_NS (5 * Q_NSEC_PER_SEC)

/* Never written to; not const, so that it takes no room in the program's file. */
static char zeroes[ZERO_BYTES] __attribute__((aligned(BOUNCE_ALIGN)));

static void add_relaxed(_Atomic uint64_t *c, uint64_t v)
{
	/* One writer: no need for a locked add. */
	atomic_store_explicit(c, atomic_load_explicit(c, RELAXED) + v, RELAXED);
}

/* ---- the device's thread ---- */

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

/* Cuts the next @len bytes of @r into @s. */
static void cut_slice(struct med_slice *s, struct med_req *r, uint32_t len)
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

static uint32_t next_slice_bytes(const struct med_disk *d, const struct med_req *r)
{
	uint64_t left = r->len_bytes - r->next_byte;
	uint32_t most = sched_slice_max(&d->sched, r->share->sched_id);

	if (r->op == QBLK_WRITE_ZEROES && d->zero_how == ZERO_WRITE)
		most = d->policy->slice_bytes;
	else if (r->op != QBLK_READ && r->op != QBLK_WRITE)
		most = BARRIER_BYTES;
	else if (r->unaligned)
		most = Q_MIN(most, d->policy->slice_bytes);	/* what a bounce buffer takes */
	/* Linux moves at most 2 GiB in one read or write. */
	return (uint32_t)Q_MIN(left, Q_MIN(most, 1u << 30));
}

static bool is_barrier(const struct med_req *r)
{
	return r->op != QBLK_READ && r->op != QBLK_WRITE;
}

static void tell_sched(struct med_share *sh)
{
	const struct med_req *r = sh->head;

	sched_head(&sh->disk->sched, sh->sched_id, sh->queued,
		   r ? next_slice_bytes(sh->disk, r) : 0,
		   r && is_barrier(r) ? SCHED_BARRIER : SCHED_DATA, r ? r->seq : 0);
	atomic_store_explicit(&sh->stats.queued, sh->queued, RELAXED);
}

static void unlink_head(struct med_share *sh)
{
	sh->head = sh->head->next;
	if (!sh->head)
		sh->tail = &sh->head;
	sh->queued--;
}

/* Clients can make these at will: the first is told, then a sum a minute. */
static void tell_limited(const struct med_req *r, struct qlog_limit *limit, uint64_t now,
			 const char *kind, const char *text)
{
	const struct med_event_sink *sink = &r->share->disk->sink;
	char line[128];
	uint64_t n;

	if (!qlog_limit_hit(limit, now, &n))
		return;
	snprintf(line, sizeof(line), "%s, %llu so far", text, (unsigned long long)limit->total);
	sink->event(sink->ctx, kind, r->share->policy->name, line);
}

static void tell_violated(const struct med_req *r, uint64_t latency, uint64_t now)
{
	char text[96];

	snprintf(text, sizeof(text), "took %llu us, promised were %llu us",
		 (unsigned long long)(latency / 1000), (unsigned long long)(r->bound_ns / 1000));
	tell_limited(r, &r->share->bound_limit, now, "bound_violated", text);
}

static void tell_error(const struct med_req *r, int err, uint64_t now)
{
	static const char *const words[] = {
		[QBLK_READ] = "read", [QBLK_WRITE] = "write", [QBLK_FLUSH] = "flush",
		[QBLK_GET_ID] = "id", [QBLK_DISCARD] = "discard",
		[QBLK_WRITE_ZEROES] = "write-zeroes",
	};
	char text[96];

	snprintf(text, sizeof(text), "%s at sector %llu: %s", words[r->op],
		 (unsigned long long)r->sector, strerror(-err));
	tell_limited(r, &r->share->error_limit, now, "device_error", text);
}

static void count_done(struct med_req *r, int err, uint64_t now)
{
	struct med_share_stats *st = &r->share->stats;
	uint64_t latency = now - r->arrival_ns;

	add_relaxed(&st->ops[r->op], 1);
	add_relaxed(&st->bytes[r->op], r->len_bytes);
	if (err) {
		add_relaxed(&st->errors, 1);
		tell_error(r, err, now);
	}
	if (is_barrier(r))
		return;
	qhist_add(&st->latency, latency);
	qhist_add(&st->wait, r->given_ns - r->arrival_ns);
	if (r->bound_ns && latency > r->bound_ns) {
		add_relaxed(&st->bound_violations, 1);
		tell_violated(r, latency, now);
	}
}

static void finish_request(struct med_req *r, uint64_t now)
{
	struct med_share *sh = r->share;
	int err = r->err;

	sh->outstanding--;
	count_done(r, err, now);
	r->done(r, err);
}

static void release_slice(struct med_disk *d, struct med_slice *s)
{
	s->req = NULL;
	s->next_free = d->free_slices;
	d->free_slices = s;
}

static void slice_io_done(struct loop_io *io, int res);

static void slice_ended(struct med_slice *s, int err)
{
	struct med_req *r = s->req;
	struct med_share *sh = r->share;
	struct med_disk *d = sh->disk;
	uint64_t now = qnow_ns();

	sched_done(&d->sched, &s->ticket, now);
	qhist_add(&d->stats.service, now - s->ticket.at_ns);
	release_slice(d, s);
	r->slices--;
	if (err && !r->err) {
		r->err = err;
		/* The rest of a request that failed is not given any more. */
		if (sh->head == r) {
			unlink_head(sh);
			tell_sched(sh);
		}
		r->next_byte = r->len_bytes;
	}
	if (r->slices == 0 && (r->next_byte == r->len_bytes))
		finish_request(r, now);
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
		if (posix_memalign(&p, BOUNCE_ALIGN, d->policy->slice_bytes) != 0)
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
	if (d->inline_io == INLINE_NEVER || is_barrier(s->req) ||
	    (d->inline_io == INLINE_CACHED && s->req->durable && s->req->op == QBLK_WRITE))
		return -EAGAIN;
	/* A device that is hardly ever in the cache is asked only now and then. */
	if (d->inline_misses > INLINE_MISSES_MAX && d->inline_misses++ % INLINE_RETRY)
		return -EAGAIN;
	if (s->req->op == QBLK_READ)
		n = preadv2(d->fd, s->iov, (int)s->n_iov, (off_t)s->off_bytes, flags);
	else
		n = pwritev2(d->fd, s->iov, (int)s->n_iov, (off_t)s->off_bytes, flags);
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
	if (is_barrier(s->req))
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

static void run_slice(struct med_disk *d, struct med_slice *s)
{
	int res, err;

	while ((res = try_inline(d, s)) != -EAGAIN) {
		if (slice_over(d, s, res, &err)) {
			slice_ended(s, err);
			return;
		}
	}
	s->io.done = slice_io_done;
	err = submit_slice(d, s);
	if (err < 0)
		slice_ended(s, err);
}

static void slice_io_done(struct loop_io *io, int res)
{
	struct med_slice *s = Q_CONTAINER_OF(io, struct med_slice, io);
	struct med_disk *d = s->req->share->disk;
	int err;

	if (slice_over(d, s, res, &err))
		slice_ended(s, err);
	else
		run_slice(d, s);
}

/* Gives one slice to the device; a lower-class one counts. False when none may be given now. */
static bool give_one(struct med_disk *d, uint64_t *bytes, unsigned *n)
{
	uint64_t now = qnow_ns();
	struct sched_ticket ticket;
	int id = sched_pick(&d->sched, now, &ticket);

	if (id < 0)
		return false;
	struct med_share *sh = &d->shares[id];
	struct med_req *r = sh->head;
	struct med_slice *s = d->free_slices;

	/* The scheduler counts slots, and there are as many slices. */
	qassert(r && s);
	d->free_slices = s->next_free;
	if (!r->given_ns) {
		r->given_ns = now;
		r->bound_ns = r->in_depth ? ticket.bound_ns : 0;
	}
	cut_slice(s, r, next_slice_bytes(d, r));
	if (sh->policy->class != SCHED_SAFETY) {
		*bytes += s->len_bytes;
		(*n)++;
	}
	s->ticket = ticket;
	r->slices++;
	if (r->next_byte == r->len_bytes)
		unlink_head(sh);
	tell_sched(sh);
	run_slice(d, s);
	return true;
}

/* A round gives so much of lower classes and then looks at the rings again: a device that answers
 * from memory works while it is given, and a safety request that comes meanwhile shall not wait for
 * all that others have queued. */
static bool give_some(struct med_disk *d)
{
	uint64_t bytes = 0;
	unsigned n = 0;
	bool gave = false;

	while (n < GIVE_SLICES && bytes < GIVE_BYTES && give_one(d, &bytes, &n))
		gave = true;
	return gave;
}

static bool is_unaligned(const struct med_disk *d, const struct med_req *r)
{
	uintptr_t bits = 0;

	if (!d->policy->direct || is_barrier(r))
		return false;
	for (unsigned i = 0; i < r->n_iov; i++)
		bits |= (uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len;
	return bits % MEM_ALIGN;
}

void med_disk_queue(struct med_disk *d, struct med_req *r)
{
	struct med_share *sh = r->share;

	r->next = NULL;
	r->seq = d->seq++;
	r->given_ns = r->bound_ns = 0;
	r->next_byte = 0;
	r->iov_at = 0;
	r->iov_off = 0;
	r->slices = 0;
	r->err = 0;
	r->unaligned = is_unaligned(d, r);
	sh->outstanding++;
	r->in_depth = sh->outstanding <= sh->policy->depth;
	*sh->tail = r;
	sh->tail = &r->next;
	sh->queued++;
	if (sh->queued == 1 || sh->head == r)
		tell_sched(sh);
	else
		d->sched.share[sh->sched_id].queued = sh->queued;
}

void med_share_drop(struct med_share *sh, bool (*match)(const struct med_req *r, void *arg),
		    void *arg)
{
	struct med_req **at = &sh->head;

	while (*at) {
		struct med_req *r = *at;

		if (r->slices > 0 || !match(r, arg)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		sh->queued--;
		sh->outstanding--;
	}
	sh->tail = at;
	tell_sched(sh);
}

static void on_accept(void *ctx)
{
	struct med_share *sh = ctx;

	sh->accept_waits = true;
}

static void on_wake(void *ctx)
{
	struct med_disk *d = ctx;

	qfd_event_clear(d->wake_fd);
	bool on = atomic_load_explicit(&d->want_priorities, memory_order_acquire);
	if (on != d->sched.priorities) {
		sched_set_priorities(&d->sched, on);
		for (unsigned i = 0; i < d->n_shares; i++)
			tell_sched(&d->shares[i]);
	}
	if (atomic_exchange(&d->want_reset, false)) {
		for (unsigned i = 0; i < d->n_shares; i++) {
			qhist_reset(&d->shares[i].stats.latency);
			qhist_reset(&d->shares[i].stats.wait);
			atomic_store_explicit(&d->shares[i].stats.bound_violations, 0, RELAXED);
		}
		qhist_reset(&d->stats.service);
	}
}

static void publish_stats(struct med_disk *d)
{
	struct med_disk_stats *st = &d->stats;

	atomic_store_explicit(&st->service_unit_ns, sched_unit_ns(&d->sched), RELAXED);
	atomic_store_explicit(&st->bound_ns, sched_bound_ns(&d->sched), RELAXED);
	atomic_store_explicit(&st->cap, d->sched.cap, RELAXED);
	atomic_store_explicit(&st->in_flight, d->sched.in_flight, RELAXED);
	atomic_store_explicit(&st->priorities, d->sched.priorities, RELAXED);
	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];
		const struct sched_share *ss = &d->sched.share[sh->sched_id];

		atomic_store_explicit(&sh->stats.in_flight, ss->in_flight, RELAXED);
		atomic_store_explicit(&sh->stats.throttled, ss->throttled, RELAXED);
	}
}

/* Everything that can be done without waiting, once. True when more is left to do. */
static bool run_round(struct med_disk *d)
{
	uint64_t start = qnow_ns();
	bool gave;

	loop_dispatch(&d->loop, 512);
	bool more = med_clients_accept(d, start);
	more |= med_clients_serve(d);
	gave = give_some(d);
	more |= med_clients_finish_round(d);
	if (gave) {
		loop_submit(&d->loop, false);
		uint64_t now = qnow_ns();

		d->last_turn_ns = now - start;
		sched_turn(&d->sched, d->last_turn_ns, now);
	}
	publish_stats(d);
	return more || gave;
}

/* Looks for work for @ns without sleeping. */
static bool spin(struct med_disk *d, uint64_t ns)
{
	uint64_t until = qnow_ns() + ns;

	do {
		if (loop_pending(&d->loop) || med_clients_pending(d))
			return true;
	} while (qnow_ns() < until);
	return false;
}

/*
 * Waits for work: first looking for a while, if looking has paid lately, then asleep. True when it
 * slept.
 *
 * No work is slept on. What comes as an event (sockets, kicks, the end of an I/O) is kept by the
 * kernel and ends the wait, whenever it came. What comes in a ring is told by a kick only if the
 * ring was armed: so all are armed, each with a look behind it (qring.c), and only then do we wait.
 * Between that look and the wait nothing is taken from a ring.
 */
static bool wait_for_work(struct med_disk *d, struct spin *look)
{
	uint64_t look_ns = d->policy->poll_ns ? spin_worth(look, d->policy->poll_ns) : 0;

	if (look_ns) {
		uint64_t from = qnow_ns();
		bool found = spin(d, look_ns);

		spin_result(look, found, qnow_ns() - from);
		if (found)
			return false;
	}
	if (med_clients_arm(d))
		return false;
	loop_submit_until(&d->loop, med_clients_deadline_ns(d));
	return true;
}

/*
 * A real-time thread that never sleeps starves its processor until the kernel takes it away for 50
 * ms, and then a safety request waits for that. So a busy one rests by itself, a little and often:
 * 100 us a millisecond.
 */
static void rest_if_due(struct med_disk *d, uint64_t *busy_since)
{
	static const struct timespec rest = { .tv_nsec = 100000 };
	uint64_t now;

	if (!atomic_load_explicit(&d->realtime, RELAXED))
		return;
	now = qnow_ns();
	if (now - *busy_since < Q_NSEC_PER_MSEC)
		return;
	clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
	*busy_since = qnow_ns();
	/* What comes meanwhile waits for the rest, and for the round behind it. */
	sched_turn(&d->sched, *busy_since - now + d->last_turn_ns, *busy_since);
}

static void end_all(struct med_disk *d)
{
	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];

		sh->listen_watch = loop_unwatch(&d->loop, sh->listen_watch);
		sh->accept_waits = false;
		if (sh->client)
			med_client_end(sh->client, "mediator stops");
	}
	d->wake_watch = loop_unwatch(&d->loop, d->wake_watch);
}

static bool any_client(const struct med_disk *d)
{
	for (unsigned i = 0; i < d->n_shares; i++)
		if (d->shares[i].client)
			return true;
	return false;
}

static void *disk_thread(void *arg)
{
	struct med_disk *d = arg;
	struct spin look = SPIN_NEW;
	uint64_t busy_since = qnow_ns();

	while (!atomic_load_explicit(&d->want_stop, memory_order_acquire)) {
		if (!run_round(d) && wait_for_work(d, &look))
			busy_since = qnow_ns();
		rest_if_due(d, &busy_since);
	}
	end_all(d);
	while (any_client(d))
		if (!run_round(d) && any_client(d))
			loop_submit(&d->loop, true);
	qbell_fini(&d->bell);
	loop_fini(&d->loop);
	return NULL;
}

/* ---- main thread ---- */

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

static int open_device(struct med_disk *d, bool lock, struct cf_errors *errs)
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

int med_disk_init(struct med_disk *d, const struct med_device_policy *policy,
		  const struct med_event_sink *sink, bool lock, struct cf_errors *errs)
{
	memset(d, 0, sizeof(*d));
	d->policy = policy;
	d->sink = *sink;
	d->fd = d->wake_fd = -1;
	d->bell = QBELL_NULL;
	d->unmapper = UNMAPPER_NULL;
	atomic_store(&d->want_priorities, true);

	struct sched_cfg cfg = med_policy_sched(policy);
	sched_init(&d->sched, &cfg, qnow_ns());
	qhist_reset(&d->stats.service);
	d->slices = calloc(policy->slots, sizeof(d->slices[0]));
	d->wake_fd = qfd_eventfd();
	int r = !d->slices ? -ENOMEM : Q_MIN(d->wake_fd, 0);
	if (r < 0)
		cf_error_add(errs, CF_ERROR, policy->file, policy->line, 0, "device '%s': %s",
			     policy->name, strerror(-r));
	else
		r = open_device(d, lock, errs);
	if (r < 0) {
		med_disk_fini(d);
		return r;
	}
	for (uint32_t i = 0; i < policy->slots; i++)
		release_slice(d, &d->slices[i]);
	return 0;
}

int med_disk_reserve(struct med_disk *d, unsigned n)
{
	qassert(!d->shares);
	d->shares = calloc(n ? n : 1, sizeof(d->shares[0]));
	return d->shares ? 0 : -ENOMEM;
}

int med_disk_add_share(struct med_disk *d, const struct med_share_policy *policy,
		       int take_listen_fd)
{
	struct sched_share_cfg cfg = {
		.class = policy->class,
		.weight = policy->weight,
		.depth = policy->depth,
	};
	int id = sched_share_add(&d->sched, &cfg);

	if (id < 0) {
		qfd_close(&take_listen_fd);
		return id;
	}
	struct med_share *sh = &d->shares[id];
	qassert((unsigned)id == d->n_shares);
	d->n_shares++;
	sh->policy = policy;
	sh->disk = d;
	sh->sched_id = (unsigned)id;
	sh->listen_fd = take_listen_fd;
	sh->tail = &sh->head;
	qhist_reset(&sh->stats.latency);
	qhist_reset(&sh->stats.wait);
	return qfd_nonblock(take_listen_fd, true);
}

/* The loop is made on the thread that uses it: the kernel binds it to its first user. */
static void *disk_thread_entry(void *arg)
{
	struct med_disk *d = arg;
	int r = loop_init(&d->loop, 256);

	if (r == 0)
		r = qbell_init(&d->bell);

	for (unsigned i = 0; r == 0 && i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];

		sh->listen_watch = loop_watch(&d->loop, sh->listen_fd, on_accept, sh);
		sh->accept_waits = true;
		r = sh->listen_watch ? 0 : -ENOMEM;
	}
	if (r == 0) {
		d->wake_watch = loop_watch(&d->loop, d->wake_fd, on_wake, d);
		r = d->wake_watch ? 0 : -ENOMEM;
	}
	if (r < 0) {
		d->sink.event(d->sink.ctx, "device_error", d->policy->name, strerror(-r));
		qbell_fini(&d->bell);
		loop_fini(&d->loop);
		return NULL;
	}
	return disk_thread(d);
}

int med_disk_start(struct med_disk *d)
{
	int r = unmapper_start(&d->unmapper);

	if (r == 0)
		r = -pthread_create(&d->thread, NULL, disk_thread_entry, d);
	if (r < 0)
		return r;
	d->running = true;
	pthread_setname_np(d->thread, "med-disk");
	return 0;
}

static void wake(struct med_disk *d)
{
	qfd_event_signal(d->wake_fd);
}

void med_disk_set_priorities(struct med_disk *d, bool on)
{
	atomic_store_explicit(&d->want_priorities, on, memory_order_release);
	wake(d);
}

void med_disk_reset_worst(struct med_disk *d)
{
	atomic_store_explicit(&d->want_reset, true, memory_order_release);
	wake(d);
}

void med_disk_fini(struct med_disk *d)
{
	if (d->running) {
		/* Pairs with the acquire load in disk_thread(). */
		atomic_store_explicit(&d->want_stop, true, memory_order_release);
		wake(d);
		pthread_join(d->thread, NULL);
		d->running = false;
	}
	unmapper_stop(&d->unmapper);
	for (unsigned i = 0; i < d->n_shares; i++)
		qfd_close(&d->shares[i].listen_fd);
	for (uint32_t i = 0; d->slices && i < d->policy->slots; i++)
		free(d->slices[i].bounce);
	free(d->shares);
	free(d->slices);
	d->shares = NULL;
	d->slices = NULL;
	d->n_shares = 0;
	qfd_close(&d->wake_fd);
	qfd_close(&d->fd);
}
