/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the shares of a scheduler: their room, their coming, going and changing, and the heaps that
 * they stand in. What is decided from these is in scheduler.c.
 *
 * Invariants: a share stands in the heap that home() says, by the key that it says, or in none; the
 * list of fresh ones holds those of a lower class whose head was not counted as throttled yet;
 * group_queued counts the members with work.
 */
#include "mediator/scheduler_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static_assert(SCHED_SHARES_MAX <= UINT16_MAX, "a ticket has 16 bits for a share");

/* ---- room ---- */

void sched_init(struct sched *s, const struct sched_cfg *cfg, uint64_t now_ns)
{
	memset(s, 0, sizeof(*s));
	qassert(cfg->slots > 0 && cfg->reserve < cfg->slots);
	s->cfg = *cfg;
	s->priorities = true;
	s->lower_max = UINT32_MAX;
	s->n_room = SCHED_SHARES_OWN;
	s->share = s->own_share;
	s->limits = s->own_limits;
	s->pos = s->own_pos;
	for (unsigned i = 0; i < SCHED_HEAPS; i++)
		s->heap[i].e = s->own_heap[i];
	sched_measure(s, now_ns);
	sched_choose_cap(s);
}

/* Pieces begin with a pair of lines, which the processor likes to get together. */
#define PIECE_BYTES (2 * IDHEAP_LINE)

static size_t whole_lines(size_t bytes)
{
	return (bytes + PIECE_BYTES - 1) / PIECE_BYTES * PIECE_BYTES;
}

/* Cuts the next piece of @bytes off @at. */
static void *cut(char **at, size_t bytes)
{
	char *piece = *at;

	*at += whole_lines(bytes);
	return piece;
}

int sched_reserve(struct sched *s, uint32_t n)
{
	size_t heap_bytes = (n + IDHEAP_LEAD) * sizeof(struct idheap_entry);
	size_t bytes = whole_lines(n * sizeof(s->share[0])) +
		       whole_lines(n * sizeof(s->limits[0])) + whole_lines(n * sizeof(s->pos[0])) +
		       SCHED_HEAPS * whole_lines(heap_bytes) + PIECE_BYTES;

	if (n <= s->n_room)
		return 0;
	if (n > SCHED_SHARES_MAX)
		return -ENOSPC;
	/* calloc: memory that nobody needs yet is not touched. */
	void *memory = calloc(1, bytes);
	if (!memory)
		return -ENOMEM;
	char *at = (char *)whole_lines((uintptr_t)memory);
	struct sched_share *share = cut(&at, n * sizeof(share[0]));
	struct limits *limits = cut(&at, n * sizeof(limits[0]));
	uint32_t *pos = cut(&at, n * sizeof(pos[0]));

	memcpy(share, s->share, s->n_shares * sizeof(share[0]));
	memcpy(limits, s->limits, s->n_shares * sizeof(limits[0]));
	memcpy(pos, s->pos, s->n_shares * sizeof(pos[0]));
	for (unsigned i = 0; i < SCHED_HEAPS; i++) {
		struct idheap *h = &s->heap[i];
		struct idheap_entry *e = (struct idheap_entry *)cut(&at, heap_bytes) + IDHEAP_LEAD;

		memcpy(e, h->e, h->n * sizeof(e[0]));
		h->e = e;
	}
	free(s->memory);
	s->memory = memory;
	s->share = share;
	s->limits = limits;
	s->pos = pos;
	s->n_room = n;
	return 0;
}

void sched_fini(struct sched *s)
{
	free(s->memory);
	memset(s, 0, sizeof(*s));
}

/* ---- where a share stands ---- */

/* Safety shares that must not spend each other's promise have a place beyond their own depth. */
static enum sched_heap home_of_safety(const struct sched *s, const struct sched_share *sh)
{
	if (s->n_safety < 2 || sh->safety_in_flight < sh->depth)
		return SCHED_HEAP_SAFETY;
	return sh->head_kind == SCHED_BARRIER ? SCHED_NOWHERE : SCHED_HEAP_OVER;
}

static enum sched_heap home(const struct sched *s, const struct sched_share *sh, uint64_t *ret_key)
{
	bool barrier = sh->head_kind == SCHED_BARRIER;

	*ret_key = sh->vfinish;
	if (!sh->queued)
		return SCHED_NOWHERE;
	if (sh->held) {
		*ret_key = sh->held_ns;
		return SCHED_HEAP_HELD;
	}
	if (!s->priorities) {
		*ret_key = sh->head_arrival;
		return SCHED_HEAP_ARRIVAL;
	}
	if (sh->class == SCHED_SAFETY)
		return home_of_safety(s, sh);
	if (sh->class == SCHED_NORMAL)
		return barrier ? SCHED_HEAP_NORMAL_BARRIER : SCHED_HEAP_NORMAL;
	return barrier ? SCHED_HEAP_EFFORT_BARRIER : SCHED_HEAP_EFFORT;
}

/* The list of those that would be counted as throttled if lower classes had to wait now. */
static void set_fresh(struct sched *s, uint32_t id, bool fresh)
{
	struct sched_share *sh = &s->share[id];

	if (sh->fresh == fresh)
		return;
	sh->fresh = fresh;
	if (fresh) {
		sh->fresh_prev = 0;
		sh->fresh_next = s->fresh;
		s->fresh = id + 1;
	} else if (sh->fresh_prev) {
		s->share[sh->fresh_prev - 1].fresh_next = sh->fresh_next;
	} else {
		s->fresh = sh->fresh_next;
	}
	if (sh->fresh_next)
		s->share[sh->fresh_next - 1].fresh_prev = fresh ? id + 1 : sh->fresh_prev;
}

/* Who stands first in @heap now is who the next decision looks at. */
static void fetch_first(const struct sched *s, enum sched_heap heap)
{
	const struct idheap *h = &s->heap[heap];

	if (!h->n)
		return;
	const char *sh = (const char *)&s->share[h->e[0].id];
	for (unsigned i = 0; i < SCHED_SHARE_LINES; i++)
		__builtin_prefetch(sh + i * IDHEAP_LINE, 1);
}

void sched_place(struct sched *s, uint32_t id)
{
	struct sched_share *sh = &s->share[id];
	uint64_t key;
	enum sched_heap to = home(s, sh, &key);

	set_fresh(s, id, sh->queued && sched_is_lower(sh) &&
				 sh->throttled_seq != sh->head_arrival + 1);
	if (to == sh->heap) {
		if (to == SCHED_NOWHERE)
			return;
		idheap_rekey(&s->heap[to], s->pos, id, key);
		fetch_first(s, to);
		return;
	}
	if (sh->heap != SCHED_NOWHERE) {
		idheap_take(&s->heap[sh->heap], s->pos, id);
		fetch_first(s, sh->heap);
	}
	sh->heap = (uint8_t)to;
	if (to != SCHED_NOWHERE)
		idheap_put(&s->heap[to], s->pos, id, key);
}

void sched_place_all(struct sched *s)
{
	for (uint32_t i = 0; i < s->n_shares; i++)
		sched_place(s, i);
}

/*
 * Where in virtual time @sh begins: where its class is; in a group, where those of its class are
 * that have work. What limits hold back stays behind its class, and who came to it from there would
 * wait until the others have caught up.
 */
static uint64_t present(const struct sched *s, const struct sched_share *sh)
{
	uint64_t v = s->vtime[sh->class];
	uint32_t g = sh->group;

	if (g && s->group_queued[g - 1][sh->class] > 0 &&
	    idheap_before(s->group_vtime[g - 1][sh->class], v))
		v = s->group_vtime[g - 1][sh->class];
	return v;
}

/* @sh has work now, or has none any more. */
static void count_queued(struct sched *s, const struct sched_share *sh, bool in)
{
	uint32_t g = sh->group;
	enum sched_class c = (enum sched_class)sh->class;

	if (!g)
		return;
	if (in && s->group_queued[g - 1][c]++ == 0)
		s->group_vtime[g - 1][c] = sh->vfinish;
	s->group_queued[g - 1][c] -= !in;
}

/* Its head or its limits are others: what is held back may be free at another time. */
static void place_again(struct sched *s, uint32_t id)
{
	struct sched_share *sh = &s->share[id];

	sh->held &= sh->queued > 0;
	if (sh->has_limits)
		sh->own_ns = limits_free_ns(&s->limits[id], sched_head_dir(sh),
					    sched_head_is_op(sh));
	if (sh->held)
		sh->held_ns = sched_free_ns(s, sh);
	sched_place(s, id);
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
	if (!sh->queued != !queued)
		count_queued(s, sh, queued > 0);
	sh->queued = queued;
	sh->head_bytes = bytes;
	sh->head_kind = (uint8_t)kind;
	sh->head_arrival = arrival;
	place_again(s, share);
}

/* ---- coming, going, changing ---- */

int sched_group_add(struct sched *s, const struct limits_cfg *cfg)
{
	if (s->n_groups == SCHED_GROUPS_MAX)
		return -ENOSPC;
	limits_set(&s->group[s->n_groups], cfg);
	return (int)s->n_groups++;
}

static void check_share_cfg(const struct sched *s, const struct sched_share_cfg *cfg)
{
	qassert(cfg->weight >= 1 && cfg->weight <= SCHED_VTIME_SCALE);
	qassert(cfg->class < SCHED_CLASSES && cfg->group <= s->n_groups);
}

static void set_rules(struct sched *s, uint32_t id, const struct sched_share_cfg *cfg)
{
	struct sched_share *sh = &s->share[id];

	sh->class = (uint8_t)cfg->class;
	sh->group = (uint8_t)cfg->group;
	sh->weight = cfg->weight;
	sh->depth = cfg->depth;
	sh->slice_bytes = cfg->slice_bytes;
	sh->has_limits = cfg->group || limits_any(&cfg->limits);
	limits_set(&s->limits[id], &cfg->limits);
}

/* The sums over shares, and what follows from them. */
static void sum_up(struct sched *s, uint32_t depth, int n_safety)
{
	bool alone = s->n_safety < 2;

	s->depth += depth;
	s->n_safety += (uint32_t)n_safety;
	sched_choose_cap(s);
	if (alone != (s->n_safety < 2))
		sched_place_all(s);
}

static uint32_t free_entry(const struct sched *s)
{
	uint32_t i = 0;

	while (i < s->n_shares && s->share[i].used)
		i++;
	return i;
}

int sched_share_add(struct sched *s, const struct sched_share_cfg *cfg)
{
	uint32_t id = s->n_used == s->n_shares ? s->n_shares : free_entry(s);

	if (id == s->n_room)
		return -ENOSPC;
	check_share_cfg(s, cfg);
	struct sched_share *sh = &s->share[id];
	*sh = (struct sched_share){ .used = true, .heap = SCHED_NOWHERE };
	s->limits[id] = (struct limits){ 0 };
	set_rules(s, (uint32_t)id, cfg);
	s->n_used++;
	s->n_shares = Q_MAX(s->n_shares, id + 1);
	sum_up(s, cfg->depth, cfg->class == SCHED_SAFETY);
	return (int)id;
}

void sched_share_remove(struct sched *s, unsigned share)
{
	struct sched_share *sh = &s->share[share];
	uint32_t depth = sh->depth;

	qassert(sh->used && !sh->queued && !sh->in_flight);
	bool safety = !sched_is_lower(sh);
	*sh = (struct sched_share){
		.class = SCHED_BEST_EFFORT, .weight = 1, .heap = SCHED_NOWHERE,
	};
	s->n_used--;
	sum_up(s, -depth, -(int)safety);
}

void sched_set_cfg(struct sched *s, const struct sched_cfg *cfg)
{
	qassert(cfg->slots == s->cfg.slots && cfg->reserve < cfg->slots);
	s->cfg = *cfg;
	sched_choose_cap(s);
}

void sched_group_set(struct sched *s, unsigned group, const struct limits_cfg *cfg)
{
	qassert(group < s->n_groups);
	limits_set(&s->group[group], cfg);
	for (uint32_t i = 0; i < s->n_shares; i++)
		if (s->share[i].group == group + 1)
			place_again(s, i);
}

void sched_share_set(struct sched *s, unsigned share, const struct sched_share_cfg *cfg)
{
	struct sched_share *sh = &s->share[share];
	bool elsewhere = cfg->class != sh->class || cfg->group != sh->group;
	uint32_t more = cfg->depth - sh->depth;
	int safety = (cfg->class == SCHED_SAFETY) - !sched_is_lower(sh);

	check_share_cfg(s, cfg);
	if (sh->queued)
		count_queued(s, sh, false);
	sched_books(s, sh, false);
	set_rules(s, share, cfg);
	sched_books(s, sh, true);
	/* Virtual time is another in each class. */
	if (elsewhere) {
		sh->vfinish = present(s, sh);
		sh->last_cost = 0;
	}
	if (sh->queued)
		count_queued(s, sh, true);
	sum_up(s, more, safety);
	place_again(s, share);
}

void sched_set_priorities(struct sched *s, bool on)
{
	s->priorities = on;
	sched_place_all(s);
}

void sched_set_lower_max(struct sched *s, uint32_t n)
{
	s->lower_max = n;
}
