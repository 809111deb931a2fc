/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking for work before sleeping, on behalf of those who had some: whether it pays says spin.h,
 * apart for the two moments that have nothing to do with each other; what it may cost, a budget a
 * class. A class without one is served by waking up. Pure state, device's thread.
 */
#pragma once

#include "mediator/policy.h"
#include "mediator/spin.h"

enum look_kind {
	LOOK_FOR_MORE,	/* something was just answered: whoever got it may ask again at once */
	LOOK_FOR_END,	/* nothing was: the device is at work, or another client thinks */
	LOOK_KINDS
};

struct look {
	struct spin spin[LOOK_KINDS];
	struct spin_budget budget[SCHED_CLASSES];
	/* Classes that had requests or answers since the thread last slept, a bit each; and whether
	 * there were answers since the last look. */
	unsigned classes;
	bool answered;
	enum look_kind kind;		/* of the look that look_begin() has allowed … */
	enum sched_class on_behalf;	/* … and who pays for it */
};

void look_init(struct look *l);
/* A request of class @c came, or was answered. */
static inline void look_note(struct look *l, enum sched_class c, bool answered)
{
	l->classes |= 1u << c;
	l->answered |= answered;
}
/*
 * There is nothing to do: how long to look for work, with @left_ns until the thread must rest
 * (UINT64_MAX: never); then tell look_end(). 0: sleep at once.
 */
uint64_t look_begin(struct look *l, const struct med_device_policy *p, uint64_t now_ns,
		    uint64_t left_ns);
void look_end(struct look *l, bool found, uint64_t took_ns);
/* The thread sleeps. */
void look_slept(struct look *l);
