/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The restart policy. Pure, any thread. Invariant: at_ns holds only restarts of the last window, at
 * most limit of them.
 */
#include "hostd/restart.h"

#include <string.h>

static const char *const restart_str[] = {
	[HD_RESTART_NO] = "no",
	[HD_RESTART_ON_FAILURE] = "on-failure",
	[HD_RESTART_ALWAYS] = "always",
};
static_assert(Q_ARRAY_LEN(restart_str) == HD_RESTARTS, "every policy has a word");

const char *hd_restart_str(enum hd_restart r)
{
	return (unsigned)r < HD_RESTARTS ? restart_str[r] : "unknown";
}

static const char *const watchdog_str[] = {
	[HD_WATCHDOG_FAILURE] = "failure",
	[HD_WATCHDOG_RESTART] = "restart",
	[HD_WATCHDOG_STOP] = "stop",
	[HD_WATCHDOG_NOTHING] = "nothing",
};
static_assert(Q_ARRAY_LEN(watchdog_str) == HD_WATCHDOGS, "every answer has a word");

const char *hd_watchdog_str(enum hd_watchdog w)
{
	return (unsigned)w < HD_WATCHDOGS ? watchdog_str[w] : "unknown";
}

struct hd_restart_conf hd_watchdog_restart(const struct hd_restart_conf *c, enum hd_watchdog w)
{
	struct hd_restart_conf r = *c;

	if (w == HD_WATCHDOG_STOP)
		r.when = HD_RESTART_NO;
	else if (w == HD_WATCHDOG_RESTART && r.when == HD_RESTART_NO)
		r.when = HD_RESTART_ON_FAILURE;
	return r;
}

static void forget_old(struct hd_restarts *r, uint64_t now_ns, uint64_t window_ns)
{
	unsigned old = 0;

	while (old < r->n && now_ns - r->at_ns[old] > window_ns)
		old++;
	r->n -= old;
	memmove(r->at_ns, r->at_ns + old, r->n * sizeof(r->at_ns[0]));
}

static uint64_t delay_of(const struct hd_restart_conf *c, unsigned n)
{
	uint64_t max = Q_MAX(c->delay_ns, (uint64_t)HD_RESTART_DELAY_MAX_NS), d = c->delay_ns;

	while (n-- > 0 && d < max)
		d *= 2;
	return Q_MIN(d, max);
}

enum hd_restart_verdict hd_restart_decide(const struct hd_restart_conf *c, struct hd_restarts *r,
					  enum hd_ended how, uint64_t now_ns,
					  uint64_t *ret_delay_ns)
{
	if (c->when == HD_RESTART_NO || (c->when == HD_RESTART_ON_FAILURE && how == HD_ENDED_WELL))
		return HD_RESTART_STAYS;
	forget_old(r, now_ns, c->window_ns);
	/* A limit that was lowered meanwhile counts as well. */
	if (r->n >= Q_MIN(c->limit, HD_RESTARTS_MAX))
		return HD_RESTART_TOO_OFTEN;
	*ret_delay_ns = delay_of(c, r->n);
	r->at_ns[r->n++] = now_ns;
	return HD_RESTART_LATER;
}
