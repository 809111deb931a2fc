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
 * med_share_take() before its first slice.
 */
#include "mediator/disk.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "mediator/account.h"
#include "mediator/client.h"
#include "mediator/disk_open.h"
#include "mediator/queue.h"
#include "mediator/slice.h"
#include "mediator/spin.h"

#define RELAXED memory_order_relaxed
#define GIVE_SLICES 32u
#define GIVE_BYTES (256u << 10)
#define PUBLISH_SLICES 8u
#define WATCH_ENTRIES 256u

/* ---- the device's thread ---- */

static enum sched_kind kind_of(const struct med_req *r)
{
	if (med_req_is_barrier(r))
		return SCHED_BARRIER;
	return r->op == QBLK_READ ? SCHED_READ : SCHED_WRITE;
}

static void tell_sched(struct med_share *sh)
{
	const struct med_req *r = sh->head;

	sched_head(&sh->disk->sched, sh->sched_id, sh->queued,
		   r ? med_slice_next_bytes(sh->disk, r) : 0,
		   r ? kind_of(r) : SCHED_READ, r ? r->seq : 0);
	atomic_store_explicit(&sh->stats.queued, sh->queued, RELAXED);
}

static void unlink_head(struct med_share *sh)
{
	sh->head = sh->head->next;
	if (!sh->head)
		sh->tail = &sh->head;
	sh->queued--;
}

static void finish_request(struct med_req *r, uint64_t now)
{
	struct med_share *sh = r->share;
	int err = r->err;

	sh->outstanding--;
	account_done(r, err, now);
	r->done(r, err);
}

static void release_slice(struct med_disk *d, struct med_slice *s)
{
	s->req = NULL;
	s->next_free = d->free_slices;
	d->free_slices = s;
}

static void slice_ended(struct med_slice *s, int err)
{
	struct med_req *r = s->req;
	struct med_share *sh = r->share;
	struct med_disk *d = sh->disk;
	uint64_t now = qnow_ns();

	d->now_ns = now;
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

/* Gives one slice to the device; a lower-class one counts. False when none may be given now. */
static bool give_one(struct med_disk *d, uint64_t *bytes, unsigned *n)
{
	uint64_t now = d->now_ns;
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
		account_given(r, ticket.lower);
	}
	med_slice_cut(s, r, med_slice_next_bytes(d, r));
	if (sh->policy->class != SCHED_SAFETY) {
		*bytes += s->len_bytes;
		(*n)++;
	}
	s->ticket = ticket;
	r->slices++;
	if (r->next_byte == r->len_bytes)
		unlink_head(sh);
	tell_sched(sh);
	s->ended = slice_ended;
	med_slice_run(d, s);
	/* It may have ended there, and looked. */
	if (d->now_ns == now)
		d->now_ns = qnow_ns();
	return true;
}

/*
 * A round gives so much of lower classes and then looks at the rings again: a device that answers
 * from memory works while it is given, and a safety request that comes meanwhile shall not wait for
 * all that others have queued. Its answers are told a few at a time, so that the driver wakes up
 * and makes new requests while we serve the rest of the old ones.
 */
static bool give_some(struct med_disk *d)
{
	uint64_t bytes = 0;
	unsigned n = 0, n_given = 0;

	d->now_ns = qnow_ns();
	while (n < GIVE_SLICES && bytes < GIVE_BYTES && give_one(d, &bytes, &n))
		if (++n_given % PUBLISH_SLICES == 0 && d->answered)
			med_queues_publish(d);
	return n_given > 0;
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
	r->unaligned = med_req_is_unaligned(d, r);
	account_arrival(r);
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

struct med_req *med_share_take(struct med_share *sh,
			       bool (*match)(const struct med_req *r, void *arg), void *arg)
{
	struct med_req *taken = NULL, **at = &sh->head;

	while (*at) {
		struct med_req *r = *at;

		if (r->slices > 0 || !match(r, arg)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		r->next = taken;
		taken = r;
		sh->queued--;
		sh->outstanding--;
	}
	sh->tail = at;
	tell_sched(sh);
	return taken;
}

static void on_accept(void *ctx)
{
	struct med_share *sh = ctx;

	sh->accept_waits = true;
}

static struct sched_share_cfg sched_cfg_of(const struct med_share_policy *p)
{
	return (struct sched_share_cfg){
		.class = p->class,
		.weight = p->weight,
		.depth = p->depth,
		.group = p->group,
		.limits = p->limits,
	};
}

static void set_groups(struct med_disk *d, const struct med_policy *p)
{
	static const struct limits_cfg none;

	while (d->sched.n_groups < p->n_places)
		sched_group_add(&d->sched, &none);
	for (unsigned i = 0; i < p->n_places; i++)
		sched_group_set(&d->sched, i, &none);
	for (size_t i = 0; i < p->n_groups; i++)
		sched_group_set(&d->sched, p->groups[i].place, &p->groups[i].limits);
}

static void take_change(struct med_disk *d)
{
	/* Pairs with the release store of med_disk_change(). */
	const struct med_change *c = atomic_load_explicit(&d->change, memory_order_acquire);

	if (!c)
		return;
	struct sched_cfg cfg = med_policy_sched(&c->policy->devices[c->device]);
	d->policy = &c->policy->devices[c->device];
	sched_set_cfg(&d->sched, &cfg);
	set_groups(d, c->policy);
	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];
		const struct med_share_policy *p = &c->policy->shares[c->share[i]];
		struct sched_share_cfg share = sched_cfg_of(p);

		sh->policy = p;
		sched_share_set(&d->sched, sh->sched_id, &share);
		for (struct med_req *r = sh->head; r; r = r->next)
			r->in_depth = false;
		tell_sched(sh);
	}
	/* Pairs with the acquire load of med_disk_changed(). */
	atomic_store_explicit(&d->change, NULL, memory_order_release);
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
	take_change(d);
	if (atomic_exchange(&d->want_reset, false)) {
		for (unsigned i = 0; i < d->n_shares; i++) {
			qhist_reset(&d->shares[i].stats.latency);
			qhist_reset(&d->shares[i].stats.wait);
			recorder_reset(&d->shares[i].stats.worst);
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
		atomic_store_explicit(&sh->stats.limited, ss->limited, RELAXED);
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

/* The first of two times, of which 0 means never. */
static uint64_t earliest_ns(uint64_t a, uint64_t b)
{
	return a && b ? Q_MIN(a, b) : a + b;
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
	loop_submit_until(&d->loop, earliest_ns(med_clients_deadline_ns(d),
						sched_next_ns(&d->sched, qnow_ns())));
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

int med_disk_init(struct med_disk *d, const struct med_policy *all, size_t device,
		  const struct med_event_sink *sink, bool lock, struct cf_errors *errs)
{
	const struct med_device_policy *policy = &all->devices[device];

	memset(d, 0, sizeof(*d));
	d->policy = policy;
	d->bounce_bytes = policy->slice_bytes;
	d->sink = *sink;
	d->fd = d->wake_fd = -1;
	d->bell = QBELL_NULL;
	d->unmapper = UNMAPPER_NULL;
	atomic_store(&d->want_priorities, true);

	struct sched_cfg cfg = med_policy_sched(policy);
	sched_init(&d->sched, &cfg, qnow_ns());
	set_groups(d, all);
	qhist_reset(&d->stats.service);
	d->slices = calloc(policy->slots, sizeof(d->slices[0]));
	d->wake_fd = qfd_eventfd();
	int r = !d->slices ? -ENOMEM : Q_MIN(d->wake_fd, 0);
	if (r < 0)
		cf_error_add(errs, CF_ERROR, policy->file, policy->line, 0, "device '%s': %s",
			     policy->name, strerror(-r));
	else
		r = med_disk_open(d, lock, errs);
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
	struct sched_share_cfg cfg = sched_cfg_of(policy);
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

static void unwatch_all(struct med_disk *d)
{
	for (unsigned i = 0; i < d->n_shares; i++)
		d->shares[i].listen_watch = loop_unwatch(&d->loop, d->shares[i].listen_watch);
	d->wake_watch = loop_unwatch(&d->loop, d->wake_watch);
}

static int watch_all(struct med_disk *d)
{
	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];

		sh->listen_watch = loop_watch(&d->loop, sh->listen_fd, on_accept, sh);
		sh->accept_waits = true;
		if (!sh->listen_watch)
			return -ENOMEM;
	}
	d->wake_watch = loop_watch(&d->loop, d->wake_fd, on_wake, d);
	return d->wake_watch ? 0 : -ENOMEM;
}

/* The loop is made on the thread that uses it: the kernel binds it to its first user. */
static int set_up_thread(struct med_disk *d)
{
	/* Room for every slice beside what watches take: a slice finds its place always. */
	int r = loop_init(&d->loop, WATCH_ENTRIES + d->policy->slots);

	if (r == 0)
		r = qbell_init(&d->bell);
	if (r == 0)
		r = watch_all(d);
	if (r < 0) {
		unwatch_all(d);
		qbell_fini(&d->bell);
		loop_fini(&d->loop);
	}
	return r;
}

/* On the starter's stack, until ready is posted. */
struct start {
	struct med_disk *disk;
	sem_t ready;
	int err;
};

static void *disk_thread_entry(void *arg)
{
	struct start *st = arg;
	struct med_disk *d = st->disk;
	int r = set_up_thread(d);

	d->tid = gettid();
	st->err = r;
	sem_post(&st->ready);
	return r < 0 ? NULL : disk_thread(d);
}

int med_disk_start(struct med_disk *d)
{
	struct start st = { .disk = d };
	int r = unmapper_start(&d->unmapper);

	if (r < 0)
		return r;
	sem_init(&st.ready, 0, 0);
	r = -pthread_create(&d->thread, NULL, disk_thread_entry, &st);
	if (r == 0) {
		while (sem_wait(&st.ready) < 0)
			;	/* EINTR only */
		r = st.err;
		if (r < 0)
			pthread_join(d->thread, NULL);
	}
	sem_destroy(&st.ready);
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

void med_disk_change(struct med_disk *d, struct med_change *c)
{
	qassert(med_disk_changed(d));
	atomic_store_explicit(&d->change, c, memory_order_release);
	wake(d);
}

bool med_disk_changed(const struct med_disk *d)
{
	return !atomic_load_explicit(&d->change, memory_order_acquire);
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
