/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the decision which share's slice goes to the device next. Runs on the device's loop, and in tests and simulations in
 * virtual time. See scheduler.h for the theory.
 *
 * Invariants: in_flight <= slots; with priorities on, lower_in_flight never grows beyond cap (it may stand above a cap that shrank);
 * sums over the shares equal the totals.
 */
#include "mediator/scheduler.h"

#include <errno.h>
#include <string.h>

#define WINDOW_NS (10 * Q_NSEC_PER_SEC)
#define COST_FIXED_BYTES 4096u	/* a request costs the device something whatever its length */
#define VTIME_SCALE 1000u	/* largest weight: costs stay whole numbers */
#define TURN_MIN_NS (20 * Q_NSEC_PER_USEC)

static const char *const class_str[] = {
	[SCHED_SAFETY] = "safety",
	[SCHED_NORMAL] = "normal",
	[SCHED_BEST_EFFORT] = "best-effort",
};
static_assert(Q_ARRAY_LEN(class_str) == SCHED_CLASSES, "every class has a word");

const char *sched_class_str(enum sched_class c)
{
	return (unsigned)c < SCHED_CLASSES ? class_str[c] : "unknown";
}

static uint64_t peak_value(const struct sched_peak *p)
{
	return Q_MAX(p->cur, p->prev);
}

static void peak_add(struct sched_peak *p, uint64_t v, uint64_t now_ns)
{
	if (now_ns - p->window_start_ns >= WINDOW_NS) {
		/* After a pause of two windows nothing of the past counts any more, except the last value known:
		 * an idle device is not a fast one. */
		p->prev = p->cur ? p->cur : p->prev;
		p->cur = 0;
		p->window_start_ns = now_ns;
	}
	p->cur = Q_MAX(p->cur, v);
}

static void peak_init(struct sched_peak *p, uint64_t seed, uint64_t now_ns)
{
	*p = (struct sched_peak){ .cur = seed, .window_start_ns = now_ns };
}

static uint64_t fixed_part_ns(const struct sched *s)
{
	return peak_value(&s->unit_flush) + Q_MAX(peak_value(&s->turn), TURN_MIN_NS);
}

static void choose_cap(struct sched *s)
{
	uint64_t unit = Q_MAX(peak_value(&s->unit), 1);
	uint64_t fixed = fixed_part_ns(s);
	uint64_t room = s->cfg.target_ns > fixed ? (s->cfg.target_ns - fixed) / unit : 0;
	uint64_t cap = room > s->depth ? room - s->depth : 1;

	s->cap = (uint32_t)Q_MIN(cap, s->cfg.slots - s->cfg.reserve);
}

void sched_init(struct sched *s, const struct sched_cfg *cfg, uint64_t now_ns)
{
	memset(s, 0, sizeof(*s));
	qassert(cfg->slots > 0 && cfg->reserve < cfg->slots);
	s->cfg = *cfg;
	s->priorities = true;
	peak_init(&s->unit, cfg->service_limit_ns, now_ns);
	peak_init(&s->unit_flush, 0, now_ns);
	peak_init(&s->turn, 0, now_ns);
	choose_cap(s);
}

int sched_share_add(struct sched *s, const struct sched_share_cfg *cfg)
{
	if (s->n_shares == SCHED_SHARES_MAX)
		return -ENOSPC;
	qassert(cfg->weight >= 1 && cfg->weight <= VTIME_SCALE && cfg->class < SCHED_CLASSES);
	s->share[s->n_shares] = (struct sched_share){ .cfg = *cfg, .used = true };
	s->depth += cfg->depth;
	choose_cap(s);
	return (int)s->n_shares++;
}

void sched_head(struct sched *s, unsigned share, uint32_t queued, uint32_t bytes,
		enum sched_kind kind, uint64_t arrival)
{
	struct sched_share *sh = &s->share[share];

	/* A share that comes back does not bring the past with it: it starts at its class' present. */
	if (sh->queued == 0 && queued > 0)
		sh->vfinish = Q_MAX(sh->vfinish, s->vtime[sh->cfg.class]);
	sh->queued = queued;
	sh->head_bytes = bytes;
	sh->head_kind = kind;
	sh->head_arrival = arrival;
}

uint32_t sched_slice_max(const struct sched *s, unsigned share)
{
	bool whole = !s->priorities || s->share[share].cfg.class == SCHED_SAFETY;

	return whole ? UINT32_MAX : s->cfg.slice_bytes;
}

/* The backlogged share of class @c with the smallest virtual start; -1 when none. Barriers only when @barriers. */
static int fairest(const struct sched *s, enum sched_class c, bool barriers)
{
	int best = -1;

	for (unsigned i = 0; i < s->n_shares; i++) {
		const struct sched_share *sh = &s->share[i];

		if (!sh->queued || sh->cfg.class != c)
			continue;
		if (sh->head_kind == SCHED_BARRIER && !barriers)
			continue;
		if (best < 0 || sh->vfinish < s->share[best].vfinish)
			best = (int)i;
	}
	return best;
}

static int oldest(const struct sched *s)
{
	int best = -1;

	for (unsigned i = 0; i < s->n_shares; i++) {
		const struct sched_share *sh = &s->share[i];

		if (sh->queued &&
		    (best < 0 || sh->head_arrival < s->share[best].head_arrival))
			best = (int)i;
	}
	return best;
}

static void count_throttled(struct sched *s)
{
	for (unsigned i = 0; i < s->n_shares; i++)
		if (s->share[i].queued && s->share[i].cfg.class != SCHED_SAFETY)
			s->share[i].throttled++;
}

static int choose(struct sched *s)
{
	if (s->in_flight >= s->cfg.slots)
		return -1;
	if (!s->priorities)
		return oldest(s);

	int i = fairest(s, SCHED_SAFETY, true);
	if (i >= 0)
		return i;
	if (s->lower_in_flight >= s->cap) {
		count_throttled(s);
		return -1;
	}
	bool barriers = s->lower_barriers == 0;
	i = fairest(s, SCHED_NORMAL, barriers);
	return i >= 0 ? i : fairest(s, SCHED_BEST_EFFORT, barriers);
}

static bool is_lower(const struct sched_share *sh)
{
	return sh->cfg.class != SCHED_SAFETY;
}

int sched_pick(struct sched *s, uint64_t now_ns, struct sched_ticket *ret)
{
	int i = choose(s);

	if (i < 0)
		return -1;
	struct sched_share *sh = &s->share[i];
	uint64_t cost = (uint64_t)sh->head_bytes + COST_FIXED_BYTES;

	s->vtime[sh->cfg.class] = Q_MAX(s->vtime[sh->cfg.class], sh->vfinish);
	sh->vfinish += cost * VTIME_SCALE / sh->cfg.weight;
	sh->in_flight++;
	s->in_flight++;
	if (is_lower(sh)) {
		s->lower_in_flight++;
		s->lower_barriers += sh->head_kind == SCHED_BARRIER;
	}
	bool promised = !is_lower(sh) && s->priorities && sh->head_kind == SCHED_DATA &&
			sh->in_flight <= sh->cfg.depth;
	*ret = (struct sched_ticket){
		.share = (uint16_t)i,
		.kind = sh->head_kind,
		.k = s->in_flight,
		.at_ns = now_ns,
		.beside_barrier = s->lower_barriers > 0,
		.bound_ns = promised ? sched_bound_ns(s) : 0,
	};
	return i;
}

void sched_done(struct sched *s, const struct sched_ticket *t, uint64_t now_ns)
{
	struct sched_share *sh = &s->share[t->share];
	uint64_t service = now_ns - t->at_ns;
	/* What waited for a flush says nothing about a slice: the bound counts the flush apart. */
	bool beside_barrier = t->beside_barrier || s->lower_barriers > 0;

	qassert(sh->in_flight > 0 && s->in_flight > 0);
	sh->in_flight--;
	s->in_flight--;
	if (is_lower(sh)) {
		s->lower_in_flight--;
		s->lower_barriers -= t->kind == SCHED_BARRIER;
	}
	if (t->kind == SCHED_DATA && !beside_barrier)
		peak_add(&s->unit, service / t->k, now_ns);
	else if (t->kind == SCHED_BARRIER && is_lower(sh))
		peak_add(&s->unit_flush, service, now_ns);
	choose_cap(s);
}

void sched_turn(struct sched *s, uint64_t ns, uint64_t now_ns)
{
	peak_add(&s->turn, ns, now_ns);
}

uint64_t sched_bound_ns(const struct sched *s)
{
	if (s->depth == 0)
		return 0;
	return ((uint64_t)s->cap + s->depth) * peak_value(&s->unit) + fixed_part_ns(s);
}

uint64_t sched_unit_ns(const struct sched *s)
{
	return peak_value(&s->unit);
}

void sched_set_priorities(struct sched *s, bool on)
{
	s->priorities = on;
}
