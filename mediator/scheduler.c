/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the decision which share's slice goes to the device next. Runs on the device's loop, and in
 * tests and simulations in virtual time. See scheduler.h for the theory.
 *
 * Invariants: in_flight <= slots; with priorities on, lower_in_flight never grows beyond cap (it
 * may stand above a cap that shrank); sums over the shares equal the totals.
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
		/*
		 * After a pause of two windows nothing of the past counts any more, except the last
		 * value known: an idle device is not a fast one.
		 */
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
	return peak_value(&s->flush) + 2 * Q_MAX(peak_value(&s->turn), TURN_MIN_NS);
}

/* What the safety shares' own promised requests can cost, the last of them a slice of data. */
static uint64_t depth_part_ns(const struct sched *s, uint64_t unit)
{
	return s->depth ? (s->depth - 1) * Q_MAX(unit, peak_value(&s->sync)) + unit : 0;
}

static void choose_cap(struct sched *s)
{
	uint64_t unit = Q_MAX(peak_value(&s->unit), 1);
	uint64_t taken = fixed_part_ns(s) + depth_part_ns(s, unit);
	uint64_t room = s->cfg.target_ns > taken ? (s->cfg.target_ns - taken) / unit : 0;
	uint64_t most = s->cfg.slots - s->cfg.reserve;

	/* Without a safety share there is nobody to keep a target for. */
	s->cap = (uint32_t)(s->depth ? Q_MAX(Q_MIN(room, most), 1) : most);
}

void sched_init(struct sched *s, const struct sched_cfg *cfg, uint64_t now_ns)
{
	memset(s, 0, sizeof(*s));
	qassert(cfg->slots > 0 && cfg->reserve < cfg->slots);
	s->cfg = *cfg;
	s->priorities = true;
	peak_init(&s->unit, cfg->service_limit_ns, now_ns);
	peak_init(&s->flush, cfg->flush_limit_ns, now_ns);
	peak_init(&s->sync, cfg->flush_limit_ns, now_ns);
	peak_init(&s->turn, 0, now_ns);
	choose_cap(s);
}

int sched_group_add(struct sched *s, const struct limits_cfg *cfg)
{
	if (s->n_groups == SCHED_GROUPS_MAX)
		return -ENOSPC;
	limits_set(&s->group[s->n_groups], cfg);
	return (int)s->n_groups++;
}

static void check_share_cfg(const struct sched *s, const struct sched_share_cfg *cfg)
{
	qassert(cfg->weight >= 1 && cfg->weight <= VTIME_SCALE && cfg->class < SCHED_CLASSES);
	qassert(cfg->group <= s->n_groups);
}

int sched_share_add(struct sched *s, const struct sched_share_cfg *cfg)
{
	if (s->n_shares == SCHED_SHARES_MAX)
		return -ENOSPC;
	check_share_cfg(s, cfg);
	s->share[s->n_shares] = (struct sched_share){
		.cfg = *cfg, .used = true, .has_limits = cfg->group || limits_any(&cfg->limits),
	};
	limits_set(&s->share[s->n_shares].limits, &cfg->limits);
	s->depth += cfg->depth;
	s->n_safety += cfg->class == SCHED_SAFETY;
	choose_cap(s);
	return (int)s->n_shares++;
}

/* Virtual times wrap: years apart at worst, so that a difference has a sign. */
static bool before(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b) < 0;
}

/*
 * Where in virtual time @sh begins: where its class is; in a group, where those of its class are
 * that have work. What limits hold back stays behind its class, and who came to it from there would
 * wait until the others have caught up.
 */
static uint64_t present(const struct sched *s, const struct sched_share *sh)
{
	uint64_t v = s->vtime[sh->cfg.class];

	for (unsigned i = 0; sh->cfg.group && i < s->n_shares; i++) {
		const struct sched_share *o = &s->share[i];

		if (o->cfg.group == sh->cfg.group && o->cfg.class == sh->cfg.class && o->queued &&
		    before(o->vfinish, v))
			v = o->vfinish;
	}
	return v;
}

void sched_head(struct sched *s, unsigned share, uint32_t queued, uint32_t bytes,
		enum sched_kind kind, uint64_t arrival)
{
	struct sched_share *sh = &s->share[share];

	/* A share that comes back does not bring the past with it: it starts at the present, or
	 * behind its own last slice, which is never further ahead than that slice's cost. */
	if (sh->queued == 0 && queued > 0) {
		uint64_t now = present(s, sh);

		if (sh->vfinish - now > sh->last_cost)
			sh->vfinish = now;
	}
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

/* Slices at the device that the cap is for. */
static uint32_t capped(const struct sched *s)
{
	return s->lower_in_flight + s->orphans + (s->n_safety > 1 ? s->over_in_flight : 0);
}

/* Whether @sh may give its head now, as far as its class goes. */
static bool eligible(const struct sched *s, const struct sched_share *sh)
{
	if (sh->cfg.class != SCHED_SAFETY)
		return sh->head_kind != SCHED_BARRIER || s->lower_barriers == 0;
	if (s->n_safety < 2 || sh->safety_in_flight < sh->cfg.depth)
		return true;
	return capped(s) < s->cap && sh->head_kind != SCHED_BARRIER;
}

static enum limit_dir head_dir(const struct sched_share *sh)
{
	return sh->head_kind == SCHED_READ ? LIMIT_READ : LIMIT_WRITE;
}

/* Its head is a request of which nothing was given yet: an operation. */
static bool head_is_op(const struct sched_share *sh)
{
	return sh->op_seq != sh->head_arrival + 1;
}

/* From when on the limits of @sh and its group let its head go; 0 = at any time. */
static uint64_t free_ns(const struct sched *s, const struct sched_share *sh)
{
	if (!sh->has_limits)
		return 0;
	uint64_t at = limits_free_ns(&sh->limits, head_dir(sh), head_is_op(sh));

	if (!sh->cfg.group)
		return at;
	return Q_MAX(at, limits_free_ns(&s->group[sh->cfg.group - 1], head_dir(sh),
					head_is_op(sh)));
}

/* Counts each request that is held back once. */
static bool held_back(const struct sched *s, struct sched_share *sh, uint64_t now_ns)
{
	if (free_ns(s, sh) <= now_ns)
		return false;
	if (sh->limited_seq != sh->head_arrival + 1) {
		sh->limited++;
		sh->limited_seq = sh->head_arrival + 1;
	}
	return true;
}

/* The share of class @c that may give its head and has the smallest virtual start; -1: none. */
static int fairest(struct sched *s, enum sched_class c, uint64_t now_ns)
{
	int best = -1;

	for (unsigned i = 0; i < s->n_shares; i++) {
		struct sched_share *sh = &s->share[i];

		if (!sh->queued || sh->cfg.class != c || !eligible(s, sh) ||
		    held_back(s, sh, now_ns))
			continue;
		if (best < 0 || before(sh->vfinish, s->share[best].vfinish))
			best = (int)i;
	}
	return best;
}

static int oldest(struct sched *s, uint64_t now_ns)
{
	int best = -1;

	for (unsigned i = 0; i < s->n_shares; i++) {
		struct sched_share *sh = &s->share[i];

		if (sh->queued && !held_back(s, sh, now_ns) &&
		    (best < 0 || sh->head_arrival < s->share[best].head_arrival))
			best = (int)i;
	}
	return best;
}

uint64_t sched_next_ns(const struct sched *s, uint64_t now_ns)
{
	uint64_t first = 0;

	for (unsigned i = 0; i < s->n_shares; i++) {
		const struct sched_share *sh = &s->share[i];
		uint64_t at = sh->queued ? free_ns(s, sh) : 0;

		if (at > now_ns && (!first || at < first))
			first = at;
	}
	return first;
}

/* Each request once, however often it is passed over. */
static void count_throttled(struct sched *s)
{
	for (unsigned i = 0; i < s->n_shares; i++) {
		struct sched_share *sh = &s->share[i];

		if (!sh->queued || sh->cfg.class == SCHED_SAFETY ||
		    sh->throttled_seq == sh->head_arrival + 1)
			continue;
		sh->throttled++;
		sh->throttled_seq = sh->head_arrival + 1;
	}
}

static int choose(struct sched *s, uint64_t now_ns)
{
	if (s->in_flight >= s->cfg.slots)
		return -1;
	if (!s->priorities)
		return oldest(s, now_ns);

	int i = fairest(s, SCHED_SAFETY, now_ns);
	if (i >= 0)
		return i;
	if (capped(s) >= s->cap) {
		count_throttled(s);
		return -1;
	}
	i = fairest(s, SCHED_NORMAL, now_ns);
	return i >= 0 ? i : fairest(s, SCHED_BEST_EFFORT, now_ns);
}

static bool is_lower(const struct sched_share *sh)
{
	return sh->cfg.class != SCHED_SAFETY;
}

/*
 * Takes the slices of @sh that were given as safety out of the books, to be changed, or puts them
 * in.
 */
static void books(struct sched *s, const struct sched_share *sh, bool in)
{
	uint32_t n = sh->safety_in_flight, *sum = &s->orphans;

	if (!is_lower(sh)) {
		n -= Q_MIN(n, sh->cfg.depth);
		sum = &s->over_in_flight;
	}
	*sum = in ? *sum + n : *sum - n;
}

/* Counts the head of @sh as given. */
static void count_in(struct sched *s, struct sched_share *sh, uint64_t now_ns)
{
	bool barrier = sh->head_kind == SCHED_BARRIER;

	sh->in_flight++;
	s->in_flight++;
	s->strays += !s->priorities;
	s->given_lower += is_lower(sh);
	s->given_safety += !is_lower(sh);
	if (is_lower(sh)) {
		s->lower_in_flight++;
		s->lower_barriers += barrier;
	} else {
		books(s, sh, false);
		sh->safety_in_flight++;
		books(s, sh, true);
		s->safety_barriers += barrier;
	}
	if (barrier) {
		s->n_barriers++;
		s->last_barrier_ns = now_ns;
	}
}

static void count_out(struct sched *s, struct sched_share *sh, const struct sched_ticket *t)
{
	bool barrier = t->kind == SCHED_BARRIER;

	qassert(sh->in_flight > 0 && s->in_flight > 0);
	s->in_flight--;
	s->strays -= t->stray;
	if (t->lower) {
		s->lower_in_flight--;
		s->lower_barriers -= barrier;
	} else {
		books(s, sh, false);
		sh->safety_in_flight--;
		books(s, sh, true);
		s->safety_barriers -= barrier;
	}
	sh->in_flight--;
}

void sched_set_cfg(struct sched *s, const struct sched_cfg *cfg)
{
	qassert(cfg->slots == s->cfg.slots && cfg->reserve < cfg->slots);
	s->cfg = *cfg;
	choose_cap(s);
}

void sched_group_set(struct sched *s, unsigned group, const struct limits_cfg *cfg)
{
	qassert(group < s->n_groups);
	limits_set(&s->group[group], cfg);
}

void sched_share_set(struct sched *s, unsigned share, const struct sched_share_cfg *cfg)
{
	struct sched_share *sh = &s->share[share];
	bool elsewhere = cfg->class != sh->cfg.class || cfg->group != sh->cfg.group;

	check_share_cfg(s, cfg);
	s->depth += cfg->depth - sh->cfg.depth;
	s->n_safety += (uint32_t)(cfg->class == SCHED_SAFETY) - !is_lower(sh);
	books(s, sh, false);
	sh->cfg = *cfg;
	books(s, sh, true);
	sh->has_limits = cfg->group || limits_any(&cfg->limits);
	limits_set(&sh->limits, &cfg->limits);
	/* Virtual time is another in each class. */
	if (elsewhere) {
		sh->vfinish = present(s, sh);
		sh->last_cost = 0;
	}
	choose_cap(s);
}

static void take_from_limits(struct sched *s, struct sched_share *sh, uint64_t now_ns)
{
	uint32_t bytes = sh->head_kind == SCHED_BARRIER ? 0 : sh->head_bytes;

	if (!sh->has_limits)
		return;
	limits_take(&sh->limits, head_dir(sh), head_is_op(sh), bytes, now_ns);
	if (sh->cfg.group)
		limits_take(&s->group[sh->cfg.group - 1], head_dir(sh), head_is_op(sh), bytes,
			    now_ns);
	sh->op_seq = sh->head_arrival + 1;
}

static void charge(struct sched *s, struct sched_share *sh)
{
	uint64_t bytes = sh->head_bytes;

	/* A discard of a gigabyte moves none of it. */
	if (sh->head_kind == SCHED_BARRIER)
		bytes = Q_MIN(bytes, s->cfg.slice_bytes);
	if (before(s->vtime[sh->cfg.class], sh->vfinish))
		s->vtime[sh->cfg.class] = sh->vfinish;
	sh->last_cost = (bytes + COST_FIXED_BYTES) * VTIME_SCALE / sh->cfg.weight;
	sh->vfinish += sh->last_cost;
}

int sched_pick(struct sched *s, uint64_t now_ns, struct sched_ticket *ret)
{
	int i = choose(s, now_ns);

	if (i < 0)
		return -1;
	struct sched_share *sh = &s->share[i];
	bool stray_there = s->strays > 0;
	bool barrier_there = s->lower_barriers > 0 || s->safety_barriers > 0;

	charge(s, sh);
	take_from_limits(s, sh, now_ns);
	count_in(s, sh, now_ns);
	bool promised = !is_lower(sh) && s->strays == 0 && sh->head_kind != SCHED_BARRIER &&
			sh->safety_in_flight <= sh->cfg.depth &&
			sh->limited_seq != sh->head_arrival + 1;
	*ret = (struct sched_ticket){
		.share = (uint16_t)i,
		.kind = sh->head_kind,
		.lower = is_lower(sh),
		.k = s->in_flight,
		.at_ns = now_ns,
		.stray = !s->priorities,
		.beside_stray = stray_there,
		.beside_barrier = barrier_there,
		.n_barriers = s->n_barriers,
		.bound_ns = promised ? sched_bound_ns(s) : 0,
	};
	return i;
}

/* Learns from a slice of data that took @service. */
static void learn_unit(struct sched *s, const struct sched_ticket *t, uint64_t service,
		       uint64_t now_ns)
{
	bool there = s->lower_barriers || s->safety_barriers;

	/* What waited for a flush says nothing about a slice, but what is left when the longest
	 * flush, or the age of the one that is still there, is taken off. */
	if (there || t->beside_barrier || t->n_barriers != s->n_barriers) {
		uint64_t longest = Q_MAX(peak_value(&s->flush), peak_value(&s->sync));
		uint64_t age = there ? now_ns - s->last_barrier_ns : 0;

		service -= Q_MIN(service, Q_MAX(longest, age));
	}
	peak_add(&s->unit, (service + t->k - 1) / t->k, now_ns);
}

void sched_done(struct sched *s, const struct sched_ticket *t, uint64_t now_ns)
{
	struct sched_share *sh = &s->share[t->share];
	uint64_t service = now_ns - t->at_ns;

	/* What was given without the rules says nothing about how the device keeps them. */
	if (!t->stray && !t->beside_stray) {
		if (t->kind != SCHED_BARRIER)
			learn_unit(s, t, service, now_ns);
		else
			peak_add(t->lower ? &s->flush : &s->sync, service, now_ns);
	}
	count_out(s, sh, t);
	choose_cap(s);
}

void sched_turn(struct sched *s, uint64_t ns, uint64_t now_ns)
{
	peak_add(&s->turn, ns, now_ns);
	choose_cap(s);
}

uint64_t sched_bound_ns(const struct sched *s)
{
	uint64_t unit = peak_value(&s->unit);
	uint64_t lower = Q_MAX(s->cap, capped(s));

	if (s->depth == 0)
		return 0;
	return lower * unit + depth_part_ns(s, unit) + fixed_part_ns(s);
}

uint64_t sched_unit_ns(const struct sched *s)
{
	return peak_value(&s->unit);
}

void sched_set_priorities(struct sched *s, bool on)
{
	s->priorities = on;
}
