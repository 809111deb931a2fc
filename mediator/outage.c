/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns requests that have failed and wait for their device, and the way back to a device that is
 * gone: it is opened again by its path. Device's thread only.
 *
 * Invariants: a request that is held has no slice at the device and has given none that counts;
 * due_ns is never later than the first thing to be done, while there is one; the file is changed
 * for another only while nothing is at the device, because the lock on it goes with it.
 */
#include "mediator/outage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mediator/disk_priv.h"
#include "mediator/guard.h"
#include "mediator/order.h"

#define PAUSE_FIRST_NS (5 * Q_NSEC_PER_MSEC)
#define PAUSE_MAX_NS (100 * Q_NSEC_PER_MSEC)
#define LIMIT_LOOK_MIN_NS (10 * Q_NSEC_PER_MSEC)
#define LIMIT_LOOK_MAX_NS Q_NSEC_PER_SEC
/* A device that has not answered for so long is told, and counts as one that fails. */
#define STALL_NS Q_NSEC_PER_SEC

static void tell(const struct med_disk *d, const char *kind, const char *subject, const char *text)
{
	d->sink.event(d->sink.ctx, kind, subject, text);
}

static void due_at(struct med_disk *d, uint64_t ns)
{
	d->outage.due_ns = d->outage.due_ns ? Q_MIN(d->outage.due_ns, ns) : ns;
}

static uint64_t longer(uint64_t pause_ns)
{
	return pause_ns ? Q_MIN(pause_ns * 2, PAUSE_MAX_NS) : PAUSE_FIRST_NS;
}

static bool is_gone(int err)
{
	return err == -ENODEV || err == -ENXIO || err == -ENOMEDIUM || err == -ESHUTDOWN;
}

/* What no time mends. */
static bool is_final(int err)
{
	return err == -EINVAL || err == -EOPNOTSUPP || err == -EFAULT || err == -EFBIG;
}

static bool too_old(const struct med_req *r, uint64_t now)
{
	uint64_t limit = r->share->policy->wait_limit_ns;

	return limit && now - r->arrival_ns >= limit;
}

/* ---- shares that wait ---- */

static void show(struct med_share *sh, enum outage_state to)
{
	sh->wait.state = to;
	disk_tell_sched(sh);
}

/* Nothing is promised on a device that fails, and no lower class is to blame for it. */
static void unpromise(struct med_req *r)
{
	r->in_depth = false;
	r->bound_ns = 0;
	guard_drop(r);
}

static void hold_share(struct med_share *sh, int err, uint64_t now)
{
	char text[96];

	if (sh->wait.state == OUTAGE_OFF) {
		sh->wait.since_ns = now;
		sh->wait.pause_ns = 0;
		snprintf(text, sizeof(text), "its requests wait: %s", strerror(-err));
		tell(sh->disk, "share_waits", sh->policy->name, text);
	}
	sh->wait.pause_ns = longer(sh->wait.pause_ns);
	sh->wait.retry_ns = now + sh->wait.pause_ns;
	due_at(sh->disk, sh->wait.retry_ns);
	for (struct med_req *r = sh->head; r; r = r->next)
		unpromise(r);
	show(sh, OUTAGE_HELD);
}

static void keep(struct med_req *r)
{
	struct med_req **at = &r->share->wait.held;

	while (*at && (*at)->seq < r->seq)
		at = &(*at)->next;
	r->next = *at;
	*at = r;
	r->err = 0;
	r->next_byte = 0;
	r->iov_at = 0;
	r->iov_off = 0;
	unpromise(r);
}

static void back(struct med_share *sh, uint64_t now)
{
	char text[96];

	snprintf(text, sizeof(text), "requests are served again, after %llu ms",
		 (unsigned long long)((now - sh->wait.since_ns) / Q_NSEC_PER_MSEC));
	tell(sh->disk, "share_served", sh->policy->name, text);
	show(sh, OUTAGE_OFF);
}

static void note_gone(struct med_disk *d, int err, uint64_t now)
{
	struct outage *o = &d->outage;

	if (o->gone || !d->backend->ops->reopen)
		return;
	o->gone = true;
	o->gone_ns = now;
	o->pause_ns = PAUSE_FIRST_NS;
	o->open_ns = now + o->pause_ns;
	due_at(d, o->open_ns);
	tell(d, "device_gone", d->policy->name, strerror(-err));
}

/*
 * A flush that the kernel failed is not tried again: the kernel tells it once, and what it could
 * not write it may have thrown away. One that was failed on purpose never reached it.
 */
static bool may_wait(const struct med_req *r, uint64_t now)
{
	if (!r->share->policy->wait_on_error || is_final(r->err) || too_old(r, now))
		return false;
	return r->op != QBLK_FLUSH || r->err_injected;
}

bool outage_takes(struct med_req *r, uint64_t now)
{
	struct med_share *sh = r->share;
	struct outage_wait *w = &sh->wait;
	bool probe = w->state == OUTAGE_PROBE && r->seq == w->probe_seq;

	if (!r->err && w->unsure && r->op == QBLK_FLUSH) {
		/* The device did it. What is not there was written to another. */
		if (probe)
			back(sh, now);
		w->unsure = false;
		r->err = -EIO;
		return false;
	}
	if (is_gone(r->err))
		note_gone(sh->disk, r->err, now);
	if (r->err && may_wait(r, now)) {
		int err = r->err;

		keep(r);
		if (w->state != OUTAGE_HELD)
			hold_share(sh, err, now);
		return true;
	}
	if (probe) {
		if (r->err)
			hold_share(sh, r->err, now);
		else
			back(sh, now);
	}
	return false;
}

uint32_t outage_shown(const struct med_share *sh)
{
	switch (sh->wait.state) {
	case OUTAGE_OFF:
		return sh->queued;
	case OUTAGE_PROBE:
		return sh->head && sh->head->seq == sh->wait.probe_seq ? 1 : 0;
	case OUTAGE_HELD:
		break;
	}
	return 0;
}

/* Those that are held go before those that came since, by their order of arrival. */
static void merge_held(struct med_share *sh)
{
	struct med_req **at = &sh->head;

	while (sh->wait.held) {
		struct med_req *r = sh->wait.held;

		while (*at && (*at)->seq < r->seq)
			at = &(*at)->next;
		sh->wait.held = r->next;
		r->next = *at;
		*at = r;
		if (!r->next)
			sh->tail = &r->next;
		at = &r->next;
		sh->queued++;
	}
	order_relink(sh);
}

static void probe(struct med_share *sh, uint64_t now)
{
	/* Its head is in the middle of being given: that ends first. */
	if (sh->head && sh->head->slices > 0) {
		sh->wait.retry_ns = now + PAUSE_FIRST_NS;
		return;
	}
	merge_held(sh);
	if (!sh->head) {
		back(sh, now);
		return;
	}
	sh->wait.probe_seq = sh->head->seq;
	show(sh, OUTAGE_PROBE);
}

static struct med_req *take_from(struct med_req **at,
				 bool (*match)(const struct med_req *r, void *arg), void *arg,
				 struct med_req *taken, uint32_t *n)
{
	while (*at) {
		struct med_req *r = *at;

		if (!match(r, arg)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		r->next = taken;
		taken = r;
		(*n)++;
	}
	return taken;
}

struct med_req *outage_take(struct med_share *sh,
			    bool (*match)(const struct med_req *r, void *arg), void *arg,
			    struct med_req *taken)
{
	uint32_t n = 0;

	taken = take_from(&sh->wait.held, match, arg, taken, &n);
	sh->outstanding -= n;
	/* The probe may be among those that went: the next one is, then. */
	for (const struct med_req *r = taken; r; r = r->next) {
		if (sh->wait.state != OUTAGE_PROBE || r->seq != sh->wait.probe_seq)
			continue;
		sh->wait.retry_ns = 0;
		due_at(sh->disk, qnow_ns());
		show(sh, OUTAGE_HELD);
	}
	return taken;
}

/* ---- those that have waited too long ---- */

/* Since when the oldest I/O is at the device; 0: none is. */
static uint64_t oldest_ns(const struct med_disk *d)
{
	uint64_t oldest = 0;

	for (uint32_t i = 0; i < d->policy->slots; i++) {
		const struct med_slice *s = &d->slices[i];

		if (s->req && (!oldest || s->ticket.at_ns < oldest))
			oldest = s->ticket.at_ns;
	}
	return oldest;
}

static void look_for_stall(struct med_disk *d, uint64_t now)
{
	uint64_t since = oldest_ns(d);
	bool stalled = since && now - since >= STALL_NS;
	char text[96];

	if (stalled == (d->outage.stalled_ns != 0))
		return;
	if (!stalled)
		since = d->outage.stalled_ns;
	snprintf(text, sizeof(text), stalled ? "nothing has come from it for %llu ms" :
					       "it has answered, after %llu ms",
		 (unsigned long long)((now - since) / Q_NSEC_PER_MSEC));
	tell(d, stalled ? "device_stalled" : "device_moves", d->policy->name, text);
	d->outage.stalled_ns = stalled ? since : 0;
}

struct age {
	uint64_t now_ns;
};

static bool is_late(const struct med_req *r, void *arg)
{
	return too_old(r, ((struct age *)arg)->now_ns);
}

static void fail_late(struct med_share *sh, uint64_t now)
{
	struct age age = { now };
	struct med_req *late = med_share_take(sh, is_late, &age);

	while (late) {
		struct med_req *next = late->next;

		late->err = -ETIMEDOUT;
		late->given_ns = late->given_ns ? late->given_ns : now;
		disk_answer(late, now);
		late = next;
	}
}

/* How often shares with a limit are looked at; 0: there is none. */
static uint64_t limit_look_ns(const struct med_disk *d)
{
	uint64_t least = 0;

	for (unsigned i = 0; i < d->n_shares; i++) {
		uint64_t limit = d->shares[i].policy->wait_limit_ns / 4;

		if (limit && (!least || limit < least))
			least = limit;
	}
	return least ? Q_MIN(Q_MAX(least, LIMIT_LOOK_MIN_NS), LIMIT_LOOK_MAX_NS) : 0;
}

static void run_limits(struct med_disk *d, uint64_t now)
{
	uint64_t look_ns = limit_look_ns(d);

	if (!look_ns)
		return;
	look_for_stall(d, now);
	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];

		if (sh->outstanding > 0 && (d->outage.stalled_ns || sh->wait.state != OUTAGE_OFF))
			fail_late(sh, now);
	}
	due_at(d, now + look_ns);
}

void outage_policy(struct med_disk *d, uint64_t now)
{
	if (limit_look_ns(d))
		due_at(d, now);
}

/* ---- a device that is gone ---- */

static void probe_all(struct med_disk *d, uint64_t now)
{
	for (unsigned i = 0; i < d->n_shares; i++)
		if (d->shares[i].wait.state == OUTAGE_HELD)
			probe(&d->shares[i], now);
}

static void on_reopened(void *ctx, int result)
{
	struct med_disk *d = ctx;
	struct outage *o = &d->outage;
	uint64_t now = qnow_ns();
	char text[96];

	o->opening = false;
	if (result < 0) {
		o->pause_ns = longer(o->pause_ns);
		o->open_ns = now + o->pause_ns;
		due_at(d, o->open_ns);
		return;
	}
	o->gone = false;
	snprintf(text, sizeof(text), "it was opened again after %llu ms%s",
		 (unsigned long long)((now - o->gone_ns) / Q_NSEC_PER_MSEC),
		 result == BACKEND_ANOTHER ? "; what was not flushed may be lost" : "");
	tell(d, "device_back", d->policy->name, text);
	for (unsigned i = 0; i < d->n_shares; i++)
		d->shares[i].wait.unsure |= result == BACKEND_ANOTHER;
	probe_all(d, now);
}

static void run_reopen(struct med_disk *d, uint64_t now)
{
	struct outage *o = &d->outage;

	if (!o->gone || o->opening)
		return;
	if (now < o->open_ns) {
		due_at(d, o->open_ns);
	} else if (d->sched.in_flight > 0) {
		o->open_ns = now + PAUSE_FIRST_NS;
		due_at(d, o->open_ns);
	} else {
		o->opening = true;
		d->backend->ops->reopen(d->backend, on_reopened, d);
	}
}

void outage_run(struct med_disk *d, uint64_t now)
{
	d->outage.due_ns = 0;
	run_reopen(d, now);
	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_share *sh = &d->shares[i];

		/* Who waits for a device that is gone is told when it is back. */
		if (sh->wait.state != OUTAGE_HELD || d->outage.gone)
			continue;
		if (now >= sh->wait.retry_ns)
			probe(sh, now);
		if (sh->wait.state == OUTAGE_HELD)
			due_at(d, sh->wait.retry_ns);
	}
	run_limits(d, now);
}
