/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is it worth looking for work before sleeping? Looking pays when work comes sooner than a wake-up
 * costs, which is so while a client polls on another processor and never so while the client needs
 * our processor to run at all. Nobody can tell which it is, but the outcomes of the last looks can.
 * Pure state, one thread.
 */
#pragma once

#include <stdbool.h>

#define SPIN_CREDIT_MAX 32u	/* looks in vain that a long good time is worth, times SPIN_LOSS */
#define SPIN_LOSS 2u		/* a look in vain costs half of what a sleep saved brings */
#define SPIN_FIRST_PAUSE 8u	/* sleeps without a look after the credit is spent … */
#define SPIN_LAST_PAUSE 256u	/* … doubled by each trial in vain, up to this */

struct spin {
	unsigned credit;	/* > 0: look each time */
	unsigned pause;		/* sleeps without a look between trials */
	unsigned left;		/* of the present pause */
};

#define SPIN_NEW ((struct spin){ .pause = SPIN_FIRST_PAUSE })

/* There is nothing to do: look for some (then tell spin_result()) or sleep at once? */
bool spin_worth(struct spin *s);
/* What the look that spin_worth() asked for has found. */
void spin_result(struct spin *s, bool found);
