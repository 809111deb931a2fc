/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the decision which share's slice goes to the device next; the shares themselves are in
 * scheduler_shares.c. Runs on the device's loop, and in
 * tests and simulations in virtual time. See scheduler.h for the theory.
 *
 * Invariants: in_flight <= slots; with priorities on, lower_in_flight never grows beyond cap (it
 * may stand above a cap that shrank); sums over the shares equal the totals.
 */
#include "mediator/scheduler_priv.h"

#define WINDOW_NS (10 * Q_NSEC_PER_SEC)
#define COST_FIXED_BYTES 4096u	/* a request costs the device something whatever its length */
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

void sched_choose_cap(struct sched *s)
{
	uint64_t unit = Q_MAX(peak_value(&s->unit), 1);
	uint64_t taken = fixed_part_ns(s) + depth_part_ns(s, unit);
	uint64_t room = s->cfg.target_ns > taken ? (s->cfg.target_ns - taken) / unit : 0;
	uint64_t most = s->cfg.slots - s->cfg.reserve;

	/* Without a safety share there is nobody to keep a target for. */
	s->cap = (uint32_t)(s->depth ? Q_MAX(Q_MIN(room, most), 1) : most);
}

void sched_measure(struct sched *s, uint64_t now_ns)
{
	peak_init(&s->unit, s->cfg.service_limit_ns, now_ns);
	peak_init(&s->flush, s->cfg.flush_limit_ns, now_ns);
	peak_init(&s->sync, s->cfg.flush_limit_ns, now_ns);
	peak_init(&s->turn, 0, now_ns);
}

uint32_t sched_slice_max(const struct sched *s, unsigned share)
{
	const struct sched_share *sh = &s->share[share];

	if (!s->priorities || !sched_is_lower(sh))
		return UINT32_MAX;
	return sh->slice_bytes ? Q_MIN(sh->slice_bytes, s->cfg.slice_bytes) : s->cfg.slice_bytes;
}

enum limit_dir sched_head_dir(const struct sched_share *sh)
{
	static const enum limit_dir dirs[] = {
		[SCHED_READ] = LIMIT_READ,
		[SCHED_WRITE] = LIMIT_WRITE,
		[SCHED_BARRIER] = LIMIT_FLUSH,
	};

	return dirs[sh->head_kind];
}

bool sched_head_is_op(const struct sched_share *sh)
{
	return sh->op_seq != sh->head_arrival + 1;
}

uint64_t sched_free_ns(const struct sched *s, const struct sched_share *sh)
{
	if (!sh->has_limits)
		return 0;
	if (!sh->group)
		return sh->own_ns;
	return Q_MAX(sh->own_ns, limits_free_ns(&s->group[sh->group - 1], sched_head_dir(sh),
						sched_head_is_op(sh)));
}

/* A request that is held back is counted once. */
static void count_limited(struct sched_share *sh)
{
	sh->limited += sh->limited_seq != sh->head_arrival + 1;
	sh->limited_seq = sh->head_arrival + 1;
}

/* True when limits hold the head of @id back: it is put aside then, until they do not. */
static bool held_back(struct sched *s, uint32_t id, uint64_t now_ns)
{
	struct sched_share *sh = &s->share[id];
	uint64_t at = sched_free_ns(s, sh);

	if (at <= now_ns)
		return false;
	count_limited(sh);
	sh->held = true;
	sh->held_ns = at;
	sched_place(s, id);
	return true;
}

/*
 * When the first of those that limits hold back is free. Who shares a limit with one that took
 * from it is free later than it was told: that is seen here. 0 = there is none.
 */
static uint64_t first_free_ns(struct sched *s)
{
	const struct idheap *h = &s->heap[SCHED_HEAP_HELD];

	while (h->n > 0) {
		struct sched_share *sh = &s->share[h->e[0].id];
		uint64_t at = sched_free_ns(s, sh);

		if (at <= sh->held_ns)
			return Q_MAX(sh->held_ns, 1);
		sh->held_ns = at;
		sched_place(s, h->e[0].id);
	}
	return 0;
}

/* Those that limits do not hold back any more stand with the others again. */
static void release(struct sched *s, uint64_t now_ns)
{
	const struct idheap *h = &s->heap[SCHED_HEAP_HELD];

	/* The key is never later than the time: mostly there is nothing to be looked at. */
	while (h->n > 0 && h->e[0].key <= now_ns && first_free_ns(s) <= now_ns) {
		uint32_t id = h->e[0].id;

		count_limited(&s->share[id]);
		s->share[id].held = false;
		sched_place(s, id);
	}
}

/* The first of @heap that no limit holds back; -1: none. */
static int first_of(struct sched *s, enum sched_heap heap, uint64_t now_ns)
{
	const struct idheap *h = &s->heap[heap];

	while (h->n > 0 && held_back(s, h->e[0].id, now_ns))
		;
	return h->n > 0 ? (int)h->e[0].id : -1;
}

/* Of two shares, or -1, the one with the smaller virtual start, or the first of equals. */
static int fairer(const struct sched *s, int a, int b)
{
	if (a < 0 || b < 0)
		return Q_MAX(a, b);
	uint64_t va = s->share[a].vfinish, vb = s->share[b].vfinish;

	if (va == vb)
		return Q_MIN(a, b);
	return idheap_before(va, vb) ? a : b;
}

static int fairest_safety(struct sched *s, uint64_t now_ns)
{
	int i = first_of(s, SCHED_HEAP_SAFETY, now_ns);

	if (sched_capped(s) < s->cap)
		i = fairer(s, i, first_of(s, SCHED_HEAP_OVER, now_ns));
	return i;
}

/*
 * The share of a lower class that may give its head and has the smallest virtual start; -1: none.
 */
static int fairest_lower(struct sched *s, enum sched_heap data, enum sched_heap barriers,
			 uint64_t now_ns)
{
	int i = first_of(s, data, now_ns);

	return s->lower_barriers ? i : fairer(s, i, first_of(s, barriers, now_ns));
}

uint64_t sched_next_ns(struct sched *s, uint64_t now_ns)
{
	uint64_t at = first_free_ns(s);

	return at ? Q_MAX(at, now_ns + 1) : 0;
}

/* Each request once, however often it is passed over. */
static void count_throttled(struct sched *s)
{
	while (s->fresh) {
		uint32_t id = s->fresh - 1;
		struct sched_share *sh = &s->share[id];

		sh->throttled++;
		sh->throttled_seq = sh->head_arrival + 1;
		sched_place(s, id);
	}
}

static int choose(struct sched *s, uint64_t now_ns)
{
	if (s->in_flight >= s->cfg.slots)
		return -1;
	release(s, now_ns);
	if (!s->priorities)
		return first_of(s, SCHED_HEAP_ARRIVAL, now_ns);

	int i = fairest_safety(s, now_ns);
	if (i >= 0)
		return i;
	if (sched_capped(s) >= Q_MIN(s->cap, s->lower_max)) {
		count_throttled(s);
		return -1;
	}
	i = fairest_lower(s, SCHED_HEAP_NORMAL, SCHED_HEAP_NORMAL_BARRIER, now_ns);
	return i >= 0 ? i :
			fairest_lower(s, SCHED_HEAP_EFFORT, SCHED_HEAP_EFFORT_BARRIER, now_ns);
}

void sched_books(struct sched *s, const struct sched_share *sh, bool in)
{
	uint32_t n = sh->safety_in_flight, *sum = &s->orphans;

	if (!sched_is_lower(sh)) {
		n -= Q_MIN(n, sh->depth);
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
	s->given_lower += sched_is_lower(sh);
	s->given_safety += !sched_is_lower(sh);
	if (sched_is_lower(sh)) {
		s->lower_in_flight++;
		s->lower_barriers += barrier;
	} else {
		sched_books(s, sh, false);
		sh->safety_in_flight++;
		sched_books(s, sh, true);
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
		sched_books(s, sh, false);
		sh->safety_in_flight--;
		sched_books(s, sh, true);
		s->safety_barriers -= barrier;
	}
	sh->in_flight--;
}

static void take_from_limits(struct sched *s, uint32_t id, uint64_t now_ns)
{
	struct sched_share *sh = &s->share[id];
	uint32_t bytes = sh->head_kind == SCHED_BARRIER ? 0 : sh->head_bytes;

	if (!sh->has_limits)
		return;
	limits_take(&s->limits[id], sched_head_dir(sh), sched_head_is_op(sh), bytes, now_ns);
	if (sh->group)
		limits_take(&s->group[sh->group - 1], sched_head_dir(sh), sched_head_is_op(sh),
			    bytes, now_ns);
	sh->op_seq = sh->head_arrival + 1;
}

static void charge(struct sched *s, struct sched_share *sh)
{
	uint64_t bytes = sh->head_bytes;

	/* A discard of a gigabyte moves none of it. */
	if (sh->head_kind == SCHED_BARRIER)
		bytes = Q_MIN(bytes, s->cfg.slice_bytes);
	if (idheap_before(s->vtime[sh->class], sh->vfinish))
		s->vtime[sh->class] = sh->vfinish;
	if (sh->group)
		s->group_vtime[sh->group - 1][sh->class] = sh->vfinish;
	sh->last_cost = (bytes + COST_FIXED_BYTES) * SCHED_VTIME_SCALE / sh->weight;
	sh->vfinish += sh->last_cost;
}

/*
 * Whether a limit made the head of @sh wait: by itself, or behind one that had to, in whose place
 * those behind it have stood until now. Once for each head that is given.
 */
static bool limit_delayed(struct sched_share *sh)
{
	bool held = sh->limited_seq == sh->head_arrival + 1, behind = sh->behind_held > 0;

	if (held)
		sh->behind_held = sh->queued - 1;
	else if (behind && sched_head_is_op(sh))
		sh->behind_held--;
	sh->behind_held = Q_MIN(sh->behind_held, sh->queued - 1);
	return held || behind;
}

int sched_pick(struct sched *s, uint64_t now_ns, struct sched_ticket *ret)
{
	int i = choose(s, now_ns);

	if (i < 0)
		return -1;
	struct sched_share *sh = &s->share[i];
	bool stray_there = s->strays > 0;
	bool barrier_there = s->lower_barriers > 0 || s->safety_barriers > 0;

	bool delayed = limit_delayed(sh);

	charge(s, sh);
	take_from_limits(s, (uint32_t)i, now_ns);
	count_in(s, sh, now_ns);
	bool promised = !sched_is_lower(sh) && s->strays == 0 && sh->head_kind != SCHED_BARRIER &&
			sh->safety_in_flight <= sh->depth && !delayed;
	sched_place(s, (uint32_t)i);
	*ret = (struct sched_ticket){
		.share = (uint16_t)i,
		.kind = sh->head_kind,
		.lower = sched_is_lower(sh),
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
	if (!sched_is_lower(sh))
		sched_place(s, t->share);
	sched_choose_cap(s);
}

void sched_turn(struct sched *s, uint64_t ns, uint64_t now_ns)
{
	peak_add(&s->turn, ns, now_ns);
	sched_choose_cap(s);
}

uint64_t sched_bound_ns(const struct sched *s)
{
	uint64_t unit = peak_value(&s->unit);
	uint64_t lower = Q_MAX(s->cap, sched_capped(s));

	if (s->depth == 0)
		return 0;
	return lower * unit + depth_part_ns(s, unit) + fixed_part_ns(s);
}

uint64_t sched_unit_ns(const struct sched *s)
{
	return peak_value(&s->unit);
}
