/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the lists of promised requests that are out, one a share, in the order in which they came,
 * and the disk's ladder. Device's thread.
 *
 * Invariant: a request stands in its share's list from guard_arrival() to guard_done() or
 * guard_drop() exactly while it is guarded.
 */
#include "mediator/guard.h"

#include <stdio.h>

#include "mediator/disk.h"
#include "mediator/slice.h"

#define RELAXED memory_order_relaxed

static uint64_t target_of(const struct med_share *sh)
{
	return sh->policy->target_ns;
}

/* ---- what is out ---- */

void guard_arrival(struct med_req *r)
{
	struct med_share *sh = r->share;

	r->guarded = r->in_depth && sh->policy->class == SCHED_SAFETY && !med_req_is_barrier(r);
	if (!r->guarded)
		return;
	r->guard_next = NULL;
	r->guard_prev = sh->guard_last;
	if (sh->guard_last)
		sh->guard_last->guard_next = r;
	else
		sh->guard_first = r;
	sh->guard_last = r;
}

void guard_drop(struct med_req *r)
{
	struct med_share *sh = r->share;

	if (!r->guarded)
		return;
	r->guarded = false;
	if (r->guard_next)
		r->guard_next->guard_prev = r->guard_prev;
	else
		sh->guard_last = r->guard_prev;
	if (r->guard_prev)
		r->guard_prev->guard_next = r->guard_next;
	else
		sh->guard_first = r->guard_next;
}

/* ---- steps ---- */

static const char *what_is_done(enum ladder_step step)
{
	static const char *const words[] = {
		[LADDER_FREE] = "lower classes: by the cap again",
		[LADDER_THROTTLE] = "lower classes: one slice at a time",
		[LADDER_PAUSE] = "lower classes: wait",
		[LADDER_FREEZE] = "lower classes: wait, hostd told",
	};

	return words[step];
}

static void take_step(struct med_disk *d)
{
	const struct ladder *l = &d->ladder;

	sched_set_lower_max(&d->sched, ladder_lower_max(l));
	atomic_store_explicit(&d->stats->ladder_step, (uint64_t)l->step, RELAXED);
	atomic_store_explicit(&d->stats->ladder_ups, l->n_up, RELAXED);
}

static void tell_up(const struct med_share *sh, uint64_t took_ns, bool waits)
{
	const struct med_disk *d = sh->disk;
	char text[MED_EVENT_TEXT];

	snprintf(text, sizeof(text), "%s: %s %llu us, target %llu us, bound %llu us; %s",
		 ladder_step_str(d->ladder.step), waits ? "waits for" : "took",
		 (unsigned long long)(took_ns / 1000), (unsigned long long)(target_of(sh) / 1000),
		 (unsigned long long)(sched_bound_ns(&d->sched) / 1000),
		 what_is_done(d->ladder.step));
	d->sink.event(d->sink.ctx, MED_EVENT_LADDER, sh->policy->name, text);
}

static void tell_down(const struct med_disk *d, uint64_t calm_ns)
{
	char text[MED_EVENT_TEXT];

	snprintf(text, sizeof(text),
		 "%s: %llu ms without a request near its target, bound %llu us; %s",
		 ladder_step_str(d->ladder.step), (unsigned long long)(calm_ns / Q_NSEC_PER_MSEC),
		 (unsigned long long)(sched_bound_ns(&d->sched) / 1000),
		 what_is_done(d->ladder.step));
	d->sink.event(d->sink.ctx, MED_EVENT_LADDER, d->policy->name, text);
}

static void see(struct med_share *sh, uint64_t took_ns, bool waits, uint64_t now)
{
	struct med_disk *d = sh->disk;

	if (!ladder_seen(&d->ladder, took_ns, target_of(sh), waits, now))
		return;
	take_step(d);
	tell_up(sh, took_ns, waits);
}

void guard_done(struct med_req *r, uint64_t now_ns)
{
	struct med_share *sh = r->share;
	uint64_t took = now_ns - r->arrival_ns;

	if (!r->guarded)
		return;
	guard_drop(r);
	/* What a limit of its own held back was promised nothing. */
	if (!r->bound_ns)
		return;
	if (took > target_of(sh))
		qstat_add(&sh->stats->missed, 1);
	see(sh, took, false, now_ns);
}

/* ---- rounds ---- */

/* The oldest of the share that is out, and may be told about; NULL: none. */
static const struct med_req *oldest(const struct med_disk *d, const struct med_share *sh)
{
	const struct med_req *r = sh->guard_first;
	bool promised = r && (r->given_ns ? r->bound_ns > 0 : !d->sched.share[sh->sched_id].held);

	return promised ? r : NULL;
}

static uint64_t look_ns(const struct med_disk *d, const struct med_req *r, uint64_t now)
{
	return ladder_look_ns(&d->ladder, r->arrival_ns, target_of(r->share), now);
}

/* Something of a lower class is at the device, or was since the last look. */
static void look_for_lower(struct med_disk *d, uint64_t now)
{
	if (d->sched.lower_in_flight || d->sched.given_lower != d->seen_lower)
		ladder_lower(&d->ladder, now);
	d->seen_lower = d->sched.given_lower;
}

void guard_run(struct med_disk *d, uint64_t now_ns)
{
	uint64_t calm = d->ladder.calm_ns;

	d->ladder.top = (enum ladder_step)d->policy->ladder_top;
	if (d->sched.n_safety == 0 && d->ladder.step == LADDER_FREE)
		return;
	look_for_lower(d, now_ns);
	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];
		const struct med_req *r = oldest(d, sh);

		uint64_t at = r ? look_ns(d, r, now_ns) : 0;

		if (at && now_ns >= at)
			see(sh, now_ns - r->arrival_ns, true, now_ns);
	}
	if (!ladder_tick(&d->ladder, now_ns))
		return;
	take_step(d);
	tell_down(d, calm);
}

uint64_t guard_due_ns(struct med_disk *d, uint64_t now_ns)
{
	uint64_t due = ladder_due_ns(&d->ladder);

	look_for_lower(d, now_ns);
	/* At the top there is nothing more to be done. */
	for (unsigned i = 0; i < d->n_shares && d->ladder.step < d->ladder.top; i++) {
		const struct med_req *r = oldest(d, &d->shares[i]);
		uint64_t at = r ? look_ns(d, r, now_ns) : 0;

		if (at && (!due || at < due))
			due = at;
	}
	return due;
}
