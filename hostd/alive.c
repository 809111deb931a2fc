/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the question that a child has not answered yet. Main thread. Invariant: asked is set exactly
 * while an answer may come, and the child is not freed meanwhile without hd_alive_stop().
 */
#include "hostd/alive.h"

#include <errno.h>
#include <stdio.h>

static double seconds(uint64_t ns)
{
	return (double)ns / (double)Q_NSEC_PER_SEC;
}

static void on_answer(void *ctx, const Parley__Envelope *e)
{
	struct hd_alive *a = ctx;
	char why[HD_HUNG_BYTES];

	a->asked = false;
	/* One of an earlier version does not know the question: that it says so is life enough. */
	if (!e || e->body_case != PARLEY__ENVELOPE__BODY_ALIVE ||
	    e->alive->stalled_ns < a->limit_ns)
		return;
	snprintf(why, sizeof(why), "it hangs: %.80s has stood still for %.3g s", e->alive->what,
		 seconds(e->alive->stalled_ns));
	a->fn(a->ctx, why);
}

static void ask(struct hd_alive *a)
{
	Parley__AliveRequest req = PARLEY__ALIVE_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	e.body_case = PARLEY__ENVELOPE__BODY_ALIVE_REQUEST;
	e.alive_request = &req;
	a->n_waited = 0;
	/* Without a channel it cannot be asked: whoever owns it has seen that too. */
	a->asked = hd_child_ask(a->child, &e, on_answer, a) == 0;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct hd_alive *a = arg;
	char why[HD_HUNG_BYTES];

	if (!a->asked) {
		ask(a);
		return;
	}
	if (++a->n_waited % (HD_ALIVE_TICKS - 1) != 0)
		return;
	snprintf(why, sizeof(why), "it hangs: it has not answered for %.3g s",
		 seconds(a->limit_ns / HD_ALIVE_TICKS * a->n_waited));
	a->fn(a->ctx, why);
}

int hd_alive_start(struct hd_alive *a, struct event_base *base, struct hd_child *child,
		   uint64_t limit_ns, hd_hung_fn fn, void *ctx)
{
	uint64_t tick_us = limit_ns / HD_ALIVE_TICKS / Q_NSEC_PER_USEC;
	const struct timeval tv = { .tv_sec = (time_t)(tick_us / 1000000),
				    .tv_usec = (suseconds_t)(tick_us % 1000000) };

	hd_alive_stop(a);
	if (limit_ns == 0 || !hd_child_has_chan(child))
		return 0;
	*a = (struct hd_alive){ .child = child, .limit_ns = limit_ns, .fn = fn, .ctx = ctx };
	a->ev = event_new(base, -1, EV_PERSIST, on_tick, a);
	if (a->ev && event_add(a->ev, &tv) == 0)
		return 0;
	hd_alive_stop(a);
	return -ENOMEM;
}

void hd_alive_stop(struct hd_alive *a)
{
	if (a->child)
		hd_child_forget(a->child, a);
	if (a->ev)
		event_free(a->ev);
	*a = (struct hd_alive){ .ev = NULL };
}
