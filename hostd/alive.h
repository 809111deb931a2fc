/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a child still does its work: it is asked now and then whether its loops go round, and one
 * that does not answer, or says of one of its loops that it stands still, hangs. Main thread.
 *
 * Time is counted in ticks of a timer of hostd's own loop, so that a host that stood still itself
 * (a suspended or starved one) blames nobody for it: a tick that comes late is one tick.
 */
#pragma once

#include "hostd/child.h"

#define HD_ALIVE_TICKS 5u	/* within the limit */
#define HD_HUNG_BYTES 160u

/* It hangs; @why is a sentence about it. Called from the loop, again after each further limit. */
typedef void (*hd_hung_fn)(void *ctx, const char *why);

struct hd_alive {
	struct event *ev;	/* NULL: nobody is watched */
	struct hd_child *child;	/* borrowed */
	uint64_t limit_ns;
	unsigned n_waited;	/* ticks since it was asked */
	bool asked;		/* and has not answered */
	hd_hung_fn fn;
	void *ctx;
};

/* Watches @child from now on, unless it has no channel or @limit_ns is 0. 0 or -ENOMEM. */
int hd_alive_start(struct hd_alive *a, struct event_base *base, struct hd_child *child,
		   uint64_t limit_ns, hd_hung_fn fn, void *ctx);
/* Not any more; before the child is freed. Idempotent. */
void hd_alive_stop(struct hd_alive *a);
