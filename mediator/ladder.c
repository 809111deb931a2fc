/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of ladder.h. Invariant: move() is the only writer of step. */
#include "mediator/ladder.h"

static const char *const step_str[] = {
	[LADDER_FREE] = "free",
	[LADDER_THROTTLE] = "throttle",
	[LADDER_PAUSE] = "pause",
	[LADDER_FREEZE] = "freeze",
};
static_assert(Q_ARRAY_LEN(step_str) == LADDER_STEPS, "every step has a word");

const char *ladder_step_str(enum ladder_step s)
{
	return (unsigned)s < LADDER_STEPS ? step_str[s] : "unknown";
}

static void move(struct ladder *l, int by, uint64_t now_ns)
{
	l->step = (enum ladder_step)((int)l->step + by);
	qassert(l->step < LADDER_STEPS);
	l->since_ns = now_ns;
}

/* Lower classes can have to do with what is seen now. */
static bool lower_matter(const struct ladder *l, uint64_t now_ns)
{
	return l->lower_ns && now_ns - l->lower_ns <= LADDER_ALONE_NS;
}

static void climb(struct ladder *l, uint64_t now_ns)
{
	bool again = l->down_ns && now_ns - l->down_ns < Q_MAX(l->calm_ns, LADDER_CALM_NS);

	if (again)
		l->calm_ns = Q_MIN(l->calm_ns * 2, LADDER_CALM_MAX_NS);
	else if (l->step == LADDER_FREE)
		l->calm_ns = LADDER_CALM_NS;
	/* One doubling a way down, however many steps it is up again. */
	l->down_ns = again ? 0 : l->down_ns;
	l->n_up++;
	move(l, 1, now_ns);
}

bool ladder_seen(struct ladder *l, uint64_t took_ns, uint64_t target_ns, bool waits,
		 uint64_t now_ns)
{
	bool missed = took_ns > target_ns;

	l->n_missed += missed && !waits;
	if (!lower_matter(l, now_ns))
		return false;
	if (took_ns > target_ns - target_ns / 4)
		l->bad_ns = now_ns;
	if (!missed || l->step >= l->top)
		return false;
	if (l->step != LADDER_FREE && now_ns - l->since_ns < LADDER_SETTLE_NS)
		return false;
	climb(l, now_ns);
	return true;
}

void ladder_lower(struct ladder *l, uint64_t now_ns)
{
	l->lower_ns = now_ns;
}

uint64_t ladder_due_ns(const struct ladder *l)
{
	return l->step == LADDER_FREE ? 0 : Q_MAX(l->since_ns, l->bad_ns) + l->calm_ns;
}

bool ladder_tick(struct ladder *l, uint64_t now_ns)
{
	if (l->step == LADDER_FREE || now_ns < ladder_due_ns(l))
		return false;
	move(l, -1, now_ns);
	l->down_ns = now_ns;
	return true;
}

uint64_t ladder_look_ns(const struct ladder *l, uint64_t arrival_ns, uint64_t target_ns,
			uint64_t now_ns)
{
	uint64_t at = arrival_ns + target_ns + 1;

	if (l->step != LADDER_FREE)
		at = Q_MAX(at, l->since_ns + LADDER_SETTLE_NS);
	return lower_matter(l, Q_MAX(at, now_ns)) ? at : 0;
}

uint32_t ladder_lower_max(const struct ladder *l)
{
	return l->step == LADDER_FREE ? UINT32_MAX : l->step == LADDER_THROTTLE;
}
