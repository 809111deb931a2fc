/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is it worth looking for work before sleeping? Looking pays when work comes sooner than a wake-up
 * costs, which is so while a client polls on another processor and never so while the client needs
 * our processor to run at all. Nobody can tell which it is, but the outcomes of the last looks can.
 * Pure state, one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SPIN_CREDIT_MAX 64u	/* looks in vain that a long good time is worth, times SPIN_LOSS */
/* A look in vain may keep a client from our processor; a find saves less than that costs. */
#define SPIN_LOSS 8u
#define SPIN_TIMES 2u		/* a look goes on for so many times what it usually takes … */
#define SPIN_MIN_NS 4000u	/* … but for so long at least */
#define SPIN_FIRST_PAUSE 8u	/* sleeps without a look after the credit is spent … */
#define SPIN_LAST_PAUSE 256u	/* … doubled by each trial in vain, up to this */

struct spin {
	unsigned credit;	/* > 0: look each time */
	unsigned pause;		/* sleeps without a look between trials */
	unsigned left;		/* of the present pause */
	uint64_t usual_ns;	/* that looks took which found something; 0 = not known */
};

/*
 * What looks in vain may cost: a percentage of the time, of which SPIN_BUDGET_SPAN_NS can be saved
 * up. A zeroed one begins without savings.
 */
#define SPIN_BUDGET_SPAN_NS 10000000u

struct spin_budget {
	uint64_t left_ns;
	uint64_t at_ns;		/* when that was */
};

/* What is left of it now. */
uint64_t spin_budget_ns(struct spin_budget *b, unsigned percent, uint64_t now_ns);
/* The last look may take more than was left. */
void spin_budget_spend(struct spin_budget *b, uint64_t ns);

#define SPIN_NEW ((struct spin){ .pause = SPIN_FIRST_PAUSE })

/* There is nothing to do: how long to look for some, at most @max_ns (then tell spin_result()); 0:
 * sleep at once. */
uint64_t spin_worth(struct spin *s, uint64_t max_ns);
/* What the look that spin_worth() asked for has found, and after how long. */
void spin_result(struct spin *s, bool found, uint64_t took_ns);
