/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credit is earned by looks that found work and spent by looks in vain; without credit only a trial
 * now and then, ever rarer. A device's thread calls it for each idle moment.
 * Invariant: while nothing is found, at most one look in SPIN_LAST_PAUSE + 1 sleeps in the long
 * run.
 */
#include "mediator/spin.h"

bool spin_worth(struct spin *s)
{
	if (s->credit > 0)
		return true;
	if (s->left > 0) {
		s->left--;
		return false;
	}
	s->left = s->pause;
	return true;
}

void spin_result(struct spin *s, bool found)
{
	if (found) {
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
