/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the rounds of a device's thread: everything that can be done without waiting, then waiting,
 * then again, until the disk is stopped; and what the main thread tells it meanwhile. What happens
 * to a request within a round is disk.c's; another policy is disk_change.c's.
 *
 * Invariant: the thread sleeps only when every ring that may bring work is armed and was looked at
 * since.
 */
#include <time.h>

#include "lib/qfd.h"
#include "mediator/client.h"
#include "mediator/disk_priv.h"
#include "mediator/guard.h"
#include "mediator/queue.h"
#include "mediator/statpage.h"

#define RELAXED memory_order_relaxed
#define WATCH_ENTRIES 256u
#define BUSY_NS Q_NSEC_PER_MSEC	/* of a real-time thread, until it rests */

static void reset_share(struct med_share *sh)
{
	qstat_begin(&sh->stats->seq);
	qhist_reset(&sh->stats->latency);
	qhist_reset(&sh->stats->wait);
	atomic_store_explicit(&sh->stats->bound_violations, 0, RELAXED);
	atomic_store_explicit(&sh->stats->missed, 0, RELAXED);
	qstat_end(&sh->stats->seq);
	recorder_reset(&sh->worst);
}

static void on_wake(void *ctx)
{
	struct med_disk *d = ctx;

	qfd_event_clear(d->wake_fd);
	bool on = atomic_load_explicit(&d->want_priorities, memory_order_acquire);
	if (on != d->sched.priorities) {
		sched_set_priorities(&d->sched, on);
		for (unsigned i = 0; i < d->n_shares; i++)
			disk_tell_sched(&d->shares[i]);
	}
	disk_take_change(d);
	if (atomic_exchange(&d->want_reset, false)) {
		for (unsigned i = 0; i < d->n_shares; i++)
			reset_share(&d->shares[i]);
		qhist_reset(&d->stats->service);
	}
}

static void publish_counts(struct qstat_device *st, const struct backend_counts *n)
{
	atomic_store_explicit(&st->io_inline, n->at_once, RELAXED);
	atomic_store_explicit(&st->io_fixed, n->held, RELAXED);
	atomic_store_explicit(&st->io_plain, n->plain, RELAXED);
	atomic_store_explicit(&st->io_bounced, n->bounced, RELAXED);
	atomic_store_explicit(&st->pinned_bytes, n->held_bytes, RELAXED);
	atomic_store_explicit(&st->pin_failures, n->hold_failures, RELAXED);
}

static void publish_stats(struct med_disk *d, uint64_t start_ns)
{
	struct qstat_device *st = d->stats;

	atomic_store_explicit(&st->service_unit_ns, sched_unit_ns(&d->sched), RELAXED);
	atomic_store_explicit(&st->bound_ns, sched_bound_ns(&d->sched), RELAXED);
	atomic_store_explicit(&st->cap, d->sched.cap, RELAXED);
	atomic_store_explicit(&st->in_flight, d->sched.in_flight, RELAXED);
	atomic_store_explicit(&st->priorities, d->sched.priorities, RELAXED);
	atomic_store_explicit(&st->round_ns, start_ns, RELAXED);
	atomic_store_explicit(&st->enters, d->loop.n_enters, RELAXED);
	qstat_add(&st->rounds, 1);
	publish_counts(st, &d->backend->n);
	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];
		const struct sched_share *ss = &d->sched.share[sh->sched_id];

		if (med_share_is_none(sh))
			continue;
		atomic_store_explicit(&sh->stats->in_flight, ss->in_flight, RELAXED);
		atomic_store_explicit(&sh->stats->throttled, ss->throttled, RELAXED);
		atomic_store_explicit(&sh->stats->limited, ss->limited, RELAXED);
		atomic_store_explicit(&sh->stats->cpu_ns, sh->cpu.spent_ns, RELAXED);
		atomic_store_explicit(&sh->stats->cpu_waits, sh->cpu.n_waits, RELAXED);
	}
}

/* Work is there, or comes while we ask. */
static bool work_waits(struct med_disk *d)
{
	return loop_pending(&d->loop) || med_clients_pending(d);
}

/*
 * Everything that can be done without waiting, once. True when more is left to do, or has come
 * since: who gets an answer often asks again before the round is over.
 */
static bool run_round(struct med_disk *d)
{
	uint64_t start = qnow_ns();

	d->now_ns = start;
	loop_dispatch(&d->loop, 512);
	if (d->outage.due_ns && start >= d->outage.due_ns)
		outage_run(d, start);
	bool more = med_clients_accept(d, start);
	more |= med_clients_serve(d);
	guard_run(d, start);
	enum disk_gave gave = disk_give(d);
	more |= gave == DISK_GAVE_SOME;
	more |= med_clients_finish_round(d);
	if (d->changing)
		disk_end_change(d);
	if (gave)
		loop_submit(&d->loop, false);
	const struct backend_ops *ops = d->backend->ops;
	bool tends = ops->tend && ops->tend(d->backend);
	if (gave || tends) {
		d->now_ns = qnow_ns();
		d->last_turn_ns = d->now_ns - start;
		sched_turn(&d->sched, d->last_turn_ns, d->now_ns);
	}
	publish_stats(d, start);
	return more || tends || (gave && work_waits(d));
}

/* Looks for work for @ns from @from_ns on without sleeping. */
static bool spin(struct med_disk *d, uint64_t from_ns, uint64_t ns)
{
	do {
		if (work_waits(d))
			return true;
	} while (qnow_ns() - from_ns < ns);
	return false;
}

/* The first of two times, of which 0 means never. */
static uint64_t earliest_ns(uint64_t a, uint64_t b)
{
	return a && b ? Q_MIN(a, b) : a + b;
}

/* Looks for a while, if that has paid lately and somebody pays for it. True when work is there. */
static bool look_for_work(struct med_disk *d, uint64_t busy_since)
{
	uint64_t from = d->now_ns, left_ns = UINT64_MAX;

	if (atomic_load_explicit(&d->realtime, RELAXED))
		left_ns = BUSY_NS - Q_MIN(from - busy_since, (uint64_t)BUSY_NS);
	uint64_t look_ns = look_begin(&d->look, d->policy, from, left_ns);
	if (!look_ns)
		return false;
	bool found = spin(d, from, look_ns);
	uint64_t took_ns = qnow_ns() - from;
	look_end(&d->look, found, took_ns);
	qstat_add(&d->stats->looks, 1);
	qstat_add(&d->stats->look_ns, took_ns);
	qstat_add(&d->stats->look_vain_ns, found ? 0 : took_ns);
	return found;
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
static bool wait_for_work(struct med_disk *d, uint64_t busy_since)
{
	if (look_for_work(d, busy_since) || med_clients_arm(d))
		return false;
	look_slept(&d->look);
	uint64_t now = qnow_ns();
	uint64_t due = earliest_ns(med_clients_deadline_ns(d), sched_next_ns(&d->sched, now));
	due = earliest_ns(due, guard_due_ns(d, now));
	loop_submit_until(&d->loop, earliest_ns(due, d->outage.due_ns));
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
	if (now - *busy_since < BUSY_NS)
		return;
	clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
	*busy_since = qnow_ns();
	/* What comes meanwhile waits for the rest, and for the round behind it. */
	sched_turn(&d->sched, *busy_since - now + d->last_turn_ns, *busy_since);
}

static void on_accept(void *ctx)
{
	struct med_share *sh = ctx;

	sh->accept_waits = true;
}

void disk_watch_share(struct med_share *sh)
{
	sh->listen_watch = sockets_watch(&sh->disk->sockets, sh->listen_fd, on_accept, sh);
	sh->accept_waits = true;
}

void disk_unwatch_share(struct med_share *sh)
{
	sh->listen_watch = sockets_unwatch(&sh->disk->sockets, sh->listen_watch);
	sh->accept_waits = false;
}

static void unwatch_all(struct med_disk *d)
{
	for (unsigned i = 0; i < d->n_shares; i++)
		disk_unwatch_share(&d->shares[i]);
	d->wake_watch = loop_unwatch(&d->loop, d->wake_watch);
}

static int watch_all(struct med_disk *d)
{
	for (unsigned i = 0; i < d->n_shares; i++) {
		disk_watch_share(&d->shares[i]);
		if (!d->shares[i].listen_watch)
			return -ENOMEM;
	}
	d->wake_watch = loop_watch(&d->loop, d->wake_fd, on_wake, d);
	return d->wake_watch ? 0 : -ENOMEM;
}

static void tear_down(struct med_disk *d)
{
	d->backend->ops->stop(d->backend);
	sockets_fini(&d->sockets);
	qbell_fini(&d->bell);
	loop_fini(&d->loop);
}

/* The loop is made on the thread that uses it: the kernel binds it to its first user. */
int disk_set_up(struct med_disk *d)
{
	/* Room for every slice beside what watches take: a slice finds its place always. */
	int r = loop_init(&d->loop, WATCH_ENTRIES + d->policy->slots);

	if (r == 0)
		r = sockets_init(&d->sockets, &d->loop);
	if (r == 0)
		r = qbell_init(&d->bell);
	if (r == 0)
		r = watch_all(d);
	if (r == 0)
		r = d->backend->ops->start(d->backend, &d->loop);
	if (r < 0) {
		unwatch_all(d);
		tear_down(d);
	}
	return r;
}

static void end_all(struct med_disk *d)
{
	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];

		if (med_share_is_none(sh))
			continue;
		disk_unwatch_share(sh);
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

void disk_run(struct med_disk *d)
{
	uint64_t busy_since = qnow_ns();

	outage_policy(d, busy_since);
	while (!atomic_load_explicit(&d->want_stop, memory_order_acquire)) {
		if (!run_round(d) && wait_for_work(d, busy_since))
			busy_since = qnow_ns();
		rest_if_due(d, &busy_since);
	}
	end_all(d);
	while (any_client(d))
		if (!run_round(d) && any_client(d))
			loop_submit(&d->loop, true);
	tear_down(d);
}
