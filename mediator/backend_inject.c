/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the rules of a disk and the I/Os that it keeps back.
 *
 * An I/O that a rule hits:  error, full, gone  ends at once with an error, and has not been done
 *                           stall              kept, and given to the device when the rule ends
 *                           late, lost         given; its end is kept for the delay, or until the
 *                                              rule ends
 * Invariants: a slot is kept exactly while keep[slot].due_ns != 0; the timer is set for the first
 * thing that is due, or earlier. The main thread adds and clears rules under the lock and sets the
 * timer off; what becomes of it happens on the device's thread.
 */
#include "mediator/backend_inject.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qsched.h"
#include "mediator/client.h"
#include "mediator/disk_priv.h"

struct kept {
	uint64_t due_ns;		/* 0 = not kept */
	uint32_t rule;			/* it is let go when that one is cleared */
	struct backend_io *io;
	void (*ended)(struct backend_io *io, int err);	/* its owner's */
	int err;
	bool to_give;			/* the device does not have it yet */
	uint64_t delay_ns;		/* once it comes back; 0 = until the rule ends */
};

struct backend_inject {
	struct backend be;
	struct backend *inner;		/* owned */
	struct med_disk *disk;
	int timer_fd;
	struct loop_watch *timer;
	pthread_mutex_t lock;		/* of rules */
	struct inject_rule rules[INJECT_RULES_MAX];
	_Atomic bool any_rule;
	struct kept *kept;		/* owned, one a slot */
};

static struct backend_inject *inject_of(struct backend *b)
{
	return Q_CONTAINER_OF(b, struct backend_inject, be);
}

static struct backend_inject *inject_of_disk(struct med_disk *d)
{
	return inject_of(d->backend);
}

static struct med_share *share_of(const struct backend_io *io)
{
	return Q_CONTAINER_OF(io, const struct med_slice, io)->req->share;
}

/* Any thread; @ns 0: now. */
static void set_timer(const struct backend_inject *in, uint64_t ns)
{
	const struct itimerspec at = { .it_value = {
		.tv_sec = (time_t)(ns / Q_NSEC_PER_SEC),
		.tv_nsec = ns ? (long)(ns % Q_NSEC_PER_SEC) : 1,
	} };

	(void)timerfd_settime(in->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

/* ---- rules; with the lock ---- */

static void any_rule(struct backend_inject *in)
{
	bool any = false;

	for (unsigned i = 0; i < INJECT_RULES_MAX; i++)
		any |= in->rules[i].id != 0;
	/* Read without the lock, to save it: who misses a new rule meets it a moment later. */
	atomic_store_explicit(&in->any_rule, any, memory_order_relaxed);
}

static bool keeps(enum inject_kind k)
{
	return k == INJECT_STALL || k == INJECT_LATE || k == INJECT_LOST;
}

/* It has hit its last: it ends, unless something is kept for as long as it holds. */
static void spend(struct backend_inject *in, struct inject_rule *r, uint64_t now)
{
	r->spent = true;
	if (keeps(r->kind))
		return;
	r->until_ns = now;
	set_timer(in, 0);
}

/* The first rule that hits it, counted: a copy. */
static bool hit(struct backend_inject *in, const struct backend_io *io, uint64_t now,
		struct inject_rule *ret)
{
	unsigned share = share_of(io)->sched_id;
	bool found = false;

	pthread_mutex_lock(&in->lock);
	for (unsigned i = 0; i < INJECT_RULES_MAX && !found; i++) {
		struct inject_rule *r = &in->rules[i];

		found = inject_rule_hits(r, share, io->op, now);
		if (!found)
			continue;
		r->hits++;
		*ret = *r;
		if (r->count > 0 && --r->count == 0)
			spend(in, r, now);
	}
	pthread_mutex_unlock(&in->lock);
	return found;
}

/* Whether a rule of @kind holds; the connection it is asked for is counted as hit. */
static bool holds(struct backend_inject *in, enum inject_kind kind, int share, uint64_t now)
{
	bool found = false;

	if (!atomic_load_explicit(&in->any_rule, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&in->lock);
	for (unsigned i = 0; i < INJECT_RULES_MAX && !found; i++) {
		struct inject_rule *r = &in->rules[i];

		found = r->id && r->kind == kind && !r->spent && now < r->until_ns &&
			(share < 0 || r->share < 0 || r->share == share);
		if (!found || kind != INJECT_REFUSE)
			continue;
		r->hits++;
		if (r->count > 0 && --r->count == 0)
			spend(in, r, now);
	}
	pthread_mutex_unlock(&in->lock);
	return found;
}

static void tell(const struct backend_inject *in, const struct inject_rule *r, const char *kind)
{
	const struct med_disk *d = in->disk;
	char text[128], ops[INJECT_OPS_BYTES];

	snprintf(text, sizeof(text), "%s, %s, number %u, %llu hits so far",
		 inject_kind_str(r->kind), inject_ops_str(r, ops), r->id,
		 (unsigned long long)r->hits);
	d->sink.event(d->sink.ctx, kind,
		      r->share < 0 ? d->policy->name : d->shares[r->share].policy->name, text);
}

/* Takes out a rule that is over; false: there is none. */
static bool take_over(struct backend_inject *in, uint64_t now, struct inject_rule *ret,
		      uint64_t *next_ns)
{
	bool found = false;

	pthread_mutex_lock(&in->lock);
	*next_ns = 0;
	for (unsigned i = 0; i < INJECT_RULES_MAX && !found; i++) {
		struct inject_rule *r = &in->rules[i];

		found = r->id && now >= r->until_ns;
		if (found) {
			*ret = *r;
			r->id = 0;
		} else if (r->id && (!*next_ns || r->until_ns < *next_ns)) {
			*next_ns = r->until_ns;
		}
	}
	any_rule(in);
	pthread_mutex_unlock(&in->lock);
	return found;
}

/* ---- I/Os that are kept; device's thread ---- */

static void keep(struct backend_inject *in, struct backend_io *io, const struct inject_rule *r,
		 uint64_t due_ns)
{
	struct kept *k = &in->kept[io->slot];

	k->io = io;
	k->rule = r->id;
	k->due_ns = due_ns;
	set_timer(in, 0);
}

static void give(struct backend_inject *in, struct backend_io *io)
{
	in->inner->ops->submit(in->inner, io);
	in->be.writes_zeroes = in->inner->writes_zeroes;
}

static void let_go(struct backend_inject *in, struct kept *k)
{
	struct backend_io *io = k->io;

	k->due_ns = 0;
	if (k->to_give) {
		k->to_give = false;
		give(in, io);
	} else {
		io->ended = k->ended;
		io->ended(io, k->err);
	}
}

/* A completion that is to be told later. */
static void ended_late(struct backend_io *io, int err)
{
	struct backend_inject *in = inject_of_disk(share_of(io)->disk);
	struct kept *k = &in->kept[io->slot];
	uint64_t due_ns = qnow_ns() + k->delay_ns;

	k->io = io;
	k->err = err;
	k->due_ns = k->delay_ns ? due_ns : UINT64_MAX;
	set_timer(in, 0);
}

static void give_and_keep(struct backend_inject *in, struct backend_io *io,
			  const struct inject_rule *r)
{
	struct kept *k = &in->kept[io->slot];

	*k = (struct kept){ .ended = io->ended, .rule = r->id,
			    .delay_ns = r->kind == INJECT_LATE ? r->delay_ns : 0 };
	io->ended = ended_late;
	give(in, io);
}

static void fail(struct backend_io *io, int err)
{
	io->injected = true;
	io->ended(io, err);
}

static void inject_submit(struct backend *b, struct backend_io *io)
{
	struct backend_inject *in = inject_of(b);
	struct inject_rule r;

	io->injected = false;
	if (!atomic_load_explicit(&in->any_rule, memory_order_relaxed) ||
	    !hit(in, io, qnow_ns(), &r)) {
		give(in, io);
		return;
	}
	switch (r.kind) {
	case INJECT_ERROR:
		fail(io, -EIO);
		return;
	case INJECT_FULL:
		fail(io, -ENOSPC);
		return;
	case INJECT_GONE:
		fail(io, -ENODEV);
		return;
	case INJECT_STALL:
		in->kept[io->slot] = (struct kept){ .to_give = true };
		keep(in, io, &r, UINT64_MAX);
		return;
	case INJECT_LATE:
	case INJECT_LOST:
		give_and_keep(in, io, &r);
		return;
	default:
		give(in, io);
	}
}

/* A rule is over: what it kept goes on. */
static void let_go_of_rule(struct backend_inject *in, uint32_t rule)
{
	for (uint32_t i = 0; i < in->disk->policy->slots; i++)
		if (in->kept[i].due_ns && in->kept[i].rule == rule)
			let_go(in, &in->kept[i]);
		else if (in->kept[i].rule == rule)
			in->kept[i].delay_ns = 1;	/* at the device: no longer than that */
}

static uint64_t run_due(struct backend_inject *in, uint64_t now)
{
	uint64_t next = 0;

	for (uint32_t i = 0; i < in->disk->policy->slots; i++) {
		struct kept *k = &in->kept[i];

		if (k->due_ns && k->due_ns <= now)
			let_go(in, k);
		else if (k->due_ns && k->due_ns != UINT64_MAX && (!next || k->due_ns < next))
			next = k->due_ns;
	}
	return next;
}

/* Those that a rule cuts off lose their connection, and come again to be hung up on. */
static void cut_off(struct backend_inject *in, uint64_t now)
{
	struct med_disk *d = in->disk;

	for (unsigned i = 0; i < d->n_shares; i++)
		if (d->shares[i].client && holds(in, INJECT_REFUSE, (int)i, now))
			med_client_end(d->shares[i].client, "injected");
}

static void on_timer(void *ctx)
{
	struct backend_inject *in = ctx;
	struct inject_rule over;
	uint64_t n, next, now = qnow_ns();

	while (read(in->timer_fd, &n, sizeof(n)) > 0)
		;
	while (take_over(in, now, &over, &next)) {
		let_go_of_rule(in, over.id);
		tell(in, &over, "inject_ended");
	}
	cut_off(in, now);
	uint64_t due = run_due(in, now);
	if (due && (!next || due < next))
		next = due;
	if (next)
		set_timer(in, next);
}

void backend_inject_forget(struct med_disk *d, unsigned share)
{
	struct backend_inject *in;

	if (!d->inject)
		return;
	in = inject_of_disk(d);
	pthread_mutex_lock(&in->lock);
	for (unsigned i = 0; i < INJECT_RULES_MAX; i++)
		if (in->rules[i].id && in->rules[i].share == (int)share)
			in->rules[i].until_ns = 0;
	pthread_mutex_unlock(&in->lock);
	on_timer(in);
}

bool backend_inject_refuses(struct med_disk *d, unsigned share)
{
	return d->inject && holds(inject_of_disk(d), INJECT_REFUSE, (int)share, qnow_ns());
}

/* ---- as a back end ---- */

static int inject_start(struct backend *b, struct loop *l)
{
	struct backend_inject *in = inject_of(b);
	int r = in->inner->ops->start(in->inner, l);

	if (r < 0)
		return r;
	in->timer = loop_watch(l, in->timer_fd, on_timer, in);
	return in->timer ? 0 : -ENOMEM;
}

static void inject_stop(struct backend *b)
{
	struct backend_inject *in = inject_of(b);

	in->timer = loop_unwatch(&in->disk->loop, in->timer);
	in->inner->ops->stop(in->inner);
}

static void inject_reopen(struct backend *b, void (*done)(void *ctx, int result), void *ctx)
{
	struct backend_inject *in = inject_of(b);

	if (holds(in, INJECT_GONE, -1, qnow_ns()))
		done(ctx, -ENODEV);
	else if (in->inner->ops->reopen)
		in->inner->ops->reopen(in->inner, done, ctx);
	else
		done(ctx, BACKEND_SAME);
}

static void inject_free(struct backend *b)
{
	struct backend_inject *in = inject_of(b);

	backend_free(in->inner);
	qfd_close(&in->timer_fd);
	pthread_mutex_destroy(&in->lock);
	free(in->kept);
	free(in);
}

static const struct backend_ops inject_ops = {
	.start = inject_start,
	.submit = inject_submit,
	.reopen = inject_reopen,
	.stop = inject_stop,
	.free = inject_free,
};

/* ---- main thread ---- */

int backend_inject_wrap(struct med_disk *d)
{
	struct backend_inject *in = calloc(1, sizeof(*in));

	if (!in)
		return -ENOMEM;
	in->kept = calloc(d->policy->slots, sizeof(in->kept[0]));
	in->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	qsched_mutex_init(&in->lock);
	if (!in->kept || in->timer_fd < 0) {
		int r = in->kept ? -errno : -ENOMEM;

		inject_free(&in->be);
		return r;
	}
	in->be = *d->backend;
	in->be.ops = &inject_ops;
	in->inner = d->backend;
	in->disk = d;
	d->backend = &in->be;
	d->inject = true;
	return 0;
}

int backend_inject_add(struct med_disk *d, const struct inject_rule *rule)
{
	struct backend_inject *in = inject_of_disk(d);
	struct inject_rule *r = NULL, copy;

	pthread_mutex_lock(&in->lock);
	for (unsigned i = 0; i < INJECT_RULES_MAX && !r; i++)
		if (!in->rules[i].id)
			r = &in->rules[i];
	if (r) {
		*r = *rule;
		r->until_ns = qnow_ns() + r->for_ns;
		copy = *r;
		any_rule(in);
	}
	pthread_mutex_unlock(&in->lock);
	if (!r)
		return -ENOSPC;
	tell(in, &copy, "inject_begun");
	set_timer(in, 0);
	return 0;
}

unsigned backend_inject_clear(struct med_disk *d, uint32_t id)
{
	struct backend_inject *in = inject_of_disk(d);
	unsigned n = 0;

	pthread_mutex_lock(&in->lock);
	for (unsigned i = 0; i < INJECT_RULES_MAX; i++) {
		struct inject_rule *r = &in->rules[i];

		if (!r->id || (id && r->id != id))
			continue;
		r->until_ns = 0;
		n++;
	}
	pthread_mutex_unlock(&in->lock);
	set_timer(in, 0);
	return n;
}

unsigned backend_inject_list(struct med_disk *d, struct inject_rule *ret)
{
	struct backend_inject *in = inject_of_disk(d);
	uint64_t now = qnow_ns();
	unsigned n = 0;

	pthread_mutex_lock(&in->lock);
	for (unsigned i = 0; i < INJECT_RULES_MAX; i++)
		if (in->rules[i].id && in->rules[i].until_ns > now)
			ret[n++] = in->rules[i];
	pthread_mutex_unlock(&in->lock);
	return n;
}
