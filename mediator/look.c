/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides about looks: the class that had work and has a budget, the highest first, is who it is
 * for. A look that finds something is not charged: sleeping and waking up would have cost more.
 * Invariant: of any ten milliseconds and more, a class spends on looks in vain no larger part than
 * its percentage says, but for what it had saved (SPIN_BUDGET_SPAN_NS of it at most) and one look.
 */
#include "mediator/look.h"

void look_init(struct look *l)
{
	*l = (struct look){ 0 };
	for (unsigned i = 0; i < LOOK_KINDS; i++)
		l->spin[i] = SPIN_NEW;
}

/* Who may still look; false: nobody. */
static bool who_pays(struct look *l, const struct med_device_policy *p, uint64_t now_ns)
{
	for (unsigned c = 0; c < SCHED_CLASSES; c++) {
		if (!(l->classes & 1u << c) || !p->poll_percent[c])
			continue;
		if (spin_budget_ns(&l->budget[c], p->poll_percent[c], now_ns) == 0)
			continue;
		l->on_behalf = (enum sched_class)c;
		return true;
	}
	return false;
}

uint64_t look_begin(struct look *l, const struct med_device_policy *p, uint64_t now_ns,
		    uint64_t left_ns)
{
	l->kind = l->answered ? LOOK_FOR_MORE : LOOK_FOR_END;
	l->answered = false;
	/* Better asleep, which is rest as well, than to use up what real work will need. */
	if (left_ns < p->poll_ns || !who_pays(l, p, now_ns))
		return 0;
	return spin_worth(&l->spin[l->kind], p->poll_ns);
}

void look_end(struct look *l, bool found, uint64_t took_ns)
{
	spin_result(&l->spin[l->kind], found, took_ns);
	if (!found)
		spin_budget_spend(&l->budget[l->on_behalf], took_ns);
}

void look_slept(struct look *l)
{
	l->classes = 0;
}
