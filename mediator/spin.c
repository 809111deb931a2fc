/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credit is earned by looks that found work and spent by looks in vain; without credit only a trial
 * now and then, ever rarer. A device's thread calls it for each idle moment.
 * Invariant: while nothing is found, at most one look in SPIN_LAST_PAUSE + 1 sleeps in the long
 * run.
 */
#include "mediator/spin.h"

#include "lib/qdef.h"

uint64_t spin_worth(struct spin *s, uint64_t max_ns)
{
	if (s->credit > 0) {
		uint64_t ns = Q_MAX(s->usual_ns * SPIN_TIMES, (uint64_t)SPIN_MIN_NS);

		return Q_MIN(ns, max_ns);
	}
	if (s->left > 0) {
		s->left--;
		return 0;
	}
	s->left = s->pause;
	return max_ns;	/* a trial: what is usual may have changed */
}

void spin_result(struct spin *s, bool found, uint64_t took_ns)
{
	if (found) {
		s->usual_ns = s->credit ? (s->usual_ns * 7 + took_ns) / 8 : took_ns;
		s->credit += s->credit < SPIN_CREDIT_MAX;
		s->pause = SPIN_FIRST_PAUSE;
		s->left = 0;
		return;
	}
	if (s->credit == 0)
		s->pause = s->pause < SPIN_LAST_PAUSE ? s->pause * 2 : SPIN_LAST_PAUSE;
	s->credit -= s->credit > SPIN_LOSS ? SPIN_LOSS : s->credit;
	if (s->credit == 0)
		s->left = s->pause;
}

uint64_t spin_budget_ns(struct spin_budget *b, unsigned percent, uint64_t now_ns)
{
	uint64_t most = SPIN_BUDGET_SPAN_NS / 100 * percent;
	uint64_t past_ns = Q_MIN(now_ns - b->at_ns, (uint64_t)SPIN_BUDGET_SPAN_NS);

	b->left_ns = Q_MIN(b->left_ns + past_ns * percent / 100, most);
	b->at_ns = now_ns;
	return b->left_ns;
}

void spin_budget_spend(struct spin_budget *b, uint64_t ns)
{
	b->left_ns -= Q_MIN(b->left_ns, ns);
}
