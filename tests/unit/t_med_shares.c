/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shares of mediator/scheduler.h: coming, going, and who of many is picked, against a search
 * from end to end over what the scheduler knows.
 */
#include <errno.h>

#include "mediator/scheduler_priv.h"
#include "tests/unit/fixture.h"

#define MS  Q_NSEC_PER_MSEC
#define US  Q_NSEC_PER_USEC
#define KIB 1024u
#define MANY 60u
#define IN_FLIGHT_MAX 16u

static const struct sched_cfg plain = {
	.slots = 8,
	.reserve = 2,
	.slice_bytes = 64 * KIB,
	.target_ns = 10 * MS,
	.service_limit_ns = 1 * MS,
	.flush_limit_ns = 1 * MS,
};
static const struct sched_share_cfg safety1 = { .class = SCHED_SAFETY, .weight = 100, .depth = 1 };
static const struct sched_share_cfg normal = { .class = SCHED_NORMAL, .weight = 100 };
static const struct sched_share_cfg effort = { .class = SCHED_BEST_EFFORT, .weight = 100 };

static void head(struct sched *s, unsigned share, uint64_t seq)
{
	sched_head(s, share, 1, 4096, SCHED_READ, seq);
}

START_TEST(shares_run_out)
{
	static const uint32_t rooms[] = { SCHED_SHARES_OWN, 300, SCHED_SHARES_MAX };
	static struct sched s;

	sched_init(&s, &plain, 0);
	for (unsigned i = 0, n = 0; i < Q_ARRAY_LEN(rooms); i++) {
		ck_assert_int_eq(sched_reserve(&s, rooms[i]), 0);
		for (; n < rooms[i]; n++)
			ck_assert_int_eq(sched_share_add(&s, &normal), (int)n);
		ck_assert_int_eq(sched_share_add(&s, &normal), -ENOSPC);
	}
	ck_assert_int_eq(sched_reserve(&s, SCHED_SHARES_MAX + 1), -ENOSPC);
	sched_fini(&s);
}
END_TEST

/* More room is made while shares have work: they keep their places. */
START_TEST(room_grows_under_work)
{
	static struct sched s;
	struct sched_ticket t;

	sched_init(&s, &plain, 0);
	for (unsigned i = 0; i < 6; i++) {
		sched_share_add(&s, &normal);
		head(&s, i, i);
	}
	ck_assert_int_eq(sched_pick(&s, 0, &t), 0);
	ck_assert_int_eq(sched_reserve(&s, 100), 0);
	ck_assert_int_eq(sched_share_add(&s, &effort), 6);
	head(&s, 6, 7);
	for (int i = 1; i < 6; i++) {
		ck_assert_int_eq(sched_pick(&s, 0, &t), i);
		sched_head(&s, (unsigned)i, 0, 0, SCHED_READ, 0);
		sched_done(&s, &t, 1);
	}
	sched_fini(&s);
}
END_TEST

/* A share that goes takes its promise along, and its place is the next one's. */
START_TEST(shares_go_and_come)
{
	struct sched s;
	struct sched_ticket t;

	sched_init(&s, &plain, 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(sched_share_add(&s, i == 1 ? &safety1 : &normal), (int)i);
	ck_assert_uint_gt(sched_bound_ns(&s), 0);
	head(&s, 1, 1);
	ck_assert_int_eq(sched_pick(&s, 0, &t), 1);
	sched_head(&s, 1, 0, 0, SCHED_READ, 0);
	sched_done(&s, &t, 10);
	sched_share_remove(&s, 1);
	ck_assert_uint_eq(sched_bound_ns(&s), 0);
	head(&s, 2, 2);
	ck_assert_int_eq(sched_pick(&s, 10, &t), 2);
	ck_assert_int_eq(sched_share_add(&s, &effort), 1);
	ck_assert_uint_eq(s.n_safety, 0);
	ck_assert_int_eq(sched_share_add(&s, &safety1), 3);
	ck_assert_uint_gt(sched_bound_ns(&s), 0);
}
END_TEST

/* The ladder's rule for lower classes, beside the cap. */
START_TEST(lower_classes_are_held_down)
{
	struct sched s;
	struct sched_ticket t, first;

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &safety1);
	sched_share_add(&s, &normal);
	sched_set_lower_max(&s, 1);
	head(&s, 1, 1);
	ck_assert_int_eq(sched_pick(&s, 0, &first), 1);
	head(&s, 1, 2);
	ck_assert_int_eq(sched_pick(&s, 0, &t), -1);
	sched_set_lower_max(&s, 0);
	sched_done(&s, &first, 10);
	ck_assert_int_eq(sched_pick(&s, 10, &t), -1);
	head(&s, 0, 3);
	ck_assert_int_eq(sched_pick(&s, 10, &t), 0);
	sched_head(&s, 0, 0, 0, SCHED_READ, 0);
	sched_set_lower_max(&s, UINT32_MAX);
	ck_assert_int_eq(sched_pick(&s, 10, &t), 1);
}
END_TEST

/* ---- against a search ---- */

/* By the buckets themselves: what the scheduler remembers of them must say the same. */
static bool limits_hold_back(const struct sched *s, const struct sched_share *sh, uint64_t now)
{
	enum limit_dir dir = sched_head_dir(sh);
	bool op = sched_head_is_op(sh);

	return limits_free_ns(&s->limits[sh - s->share], dir, op) > now ||
	       (sh->group && limits_free_ns(&s->group[sh->group - 1], dir, op) > now);
}

/* The rules of scheduler.h, share by share. */
static bool may_give(const struct sched *s, const struct sched_share *sh, uint64_t now)
{
	if (!sh->queued || limits_hold_back(s, sh, now))
		return false;
	if (!s->priorities)
		return true;
	if (sched_is_lower(sh))
		return sched_capped(s) < Q_MIN(s->cap, s->lower_max) &&
		       (sh->head_kind != SCHED_BARRIER || s->lower_barriers == 0);
	if (s->n_safety < 2 || sh->safety_in_flight < sh->depth)
		return true;
	return sched_capped(s) < s->cap && sh->head_kind != SCHED_BARRIER;
}

static bool goes_first(const struct sched *s, const struct sched_share *a,
		       const struct sched_share *b)
{
	if (!s->priorities)
		return a->head_arrival < b->head_arrival;
	if (a->class != b->class)
		return a->class < b->class;
	return (int64_t)(a->vfinish - b->vfinish) < 0;
}

static int search(const struct sched *s, uint64_t now)
{
	int best = -1;

	for (unsigned i = 0; i < s->n_shares && s->in_flight < s->cfg.slots; i++)
		if (may_give(s, &s->share[i], now) &&
		    (best < 0 || goes_first(s, &s->share[i], &s->share[best])))
			best = (int)i;
	return best;
}

/* When time alone lets somebody go who may not go now; 0: only something that happens does. */
static uint64_t search_next_ns(const struct sched *s, uint64_t now)
{
	uint64_t first = 0;

	for (unsigned i = 0; i < s->n_shares && s->in_flight < s->cfg.slots; i++) {
		uint64_t at = sched_free_ns(s, &s->share[i]);

		if (at > now && may_give(s, &s->share[i], at) && (!first || at < first))
			first = at;
	}
	return first;
}

struct world {
	struct sched s;
	struct sched_ticket out[IN_FLIGHT_MAX];
	unsigned n_out, picked, waits;
	uint64_t rng, now, seq;
};

static uint64_t draw(struct world *w, uint64_t n)
{
	return fixture_rand(&w->rng) % n;
}

static struct sched_share_cfg any_share(struct world *w)
{
	struct sched_share_cfg c = {
		.class = (enum sched_class)draw(w, SCHED_CLASSES),
		.weight = (uint32_t)draw(w, 1000) + 1,
		.group = (uint32_t)draw(w, 4),
	};

	if (c.class == SCHED_SAFETY)
		c.depth = 1 + (uint32_t)draw(w, 2);
	if (draw(w, 3) == 0)
		c.limits = (struct limits_cfg){
			.ops = { [LIMIT_BOTH] = 1 + draw(w, 2000) }, .burst_ns = draw(w, 5) * MS };
	return c;
}

static void any_head(struct world *w, unsigned i)
{
	bool work = draw(w, 4) > 0;
	enum sched_kind kind = draw(w, 8) ? (enum sched_kind)draw(w, 2) : SCHED_BARRIER;

	sched_head(&w->s, i, work, (uint32_t)draw(w, 16) * 4096 + 512, kind, w->seq++);
}

static void end_one(struct world *w)
{
	unsigned k = (unsigned)draw(w, w->n_out);

	sched_done(&w->s, &w->out[k], w->now);
	w->out[k] = w->out[--w->n_out];
}

static void give(struct world *w)
{
	struct sched_ticket t;

	for (;;) {
		int want = search(&w->s, w->now);
		int got = sched_pick(&w->s, w->now, &t);

		ck_assert_int_eq(got, want);
		if (got < 0)
			return;
		w->out[w->n_out++] = t;
		w->picked++;
		any_head(w, (unsigned)got);
	}
}

static void change(struct world *w)
{
	struct sched_share_cfg c = any_share(w);
	unsigned i = (unsigned)draw(w, MANY);

	switch (draw(w, 8)) {
	case 0:
		sched_share_set(&w->s, i, &c);
		break;
	case 1:
		sched_set_priorities(&w->s, draw(w, 4) > 0);
		break;
	case 2:
		sched_set_lower_max(&w->s, draw(w, 2) ? UINT32_MAX : (uint32_t)draw(w, 2));
		break;
	case 3:
		sched_group_set(&w->s, (unsigned)draw(w, 3), &c.limits);
		break;
	default:
		any_head(w, i);
		break;
	}
}

START_TEST(the_pick_is_what_a_search_finds)
{
	static struct world w;
	const struct limits_cfg slow = { .ops = { [LIMIT_BOTH] = 3000 } };

	w = (struct world){ .rng = 99 + (uint64_t)_i, .now = 1 };
	sched_init(&w.s, &plain, 1);
	ck_assert_int_eq(sched_reserve(&w.s, MANY), 0);
	for (unsigned i = 0; i < 3; i++)
		sched_group_add(&w.s, &slow);
	for (unsigned i = 0; i < MANY; i++) {
		struct sched_share_cfg c = any_share(&w);

		sched_share_add(&w.s, &c);
	}
	for (unsigned i = 0; i < 20000; i++) {
		w.now += draw(&w, 300) * US;
		if (w.n_out > 0 && draw(&w, 3))
			end_one(&w);
		change(&w);
		give(&w);
		/* A limit that ends is told, and in time: who sleeps until then misses nothing. */
		uint64_t next = sched_next_ns(&w.s, w.now), must = search_next_ns(&w.s, w.now);
		ck_assert(next == 0 || next > w.now);
		ck_assert(must == 0 || (next > 0 && next <= must));
		w.waits += must > 0;
	}
	ck_assert_uint_gt(w.picked, 5000);
	ck_assert_uint_gt(w.waits, 1000);
	sched_fini(&w.s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_shares");
	TCase *tc = fixture_case(s, "shares");

	tcase_add_test(tc, shares_run_out);
	tcase_add_test(tc, room_grows_under_work);
	tcase_add_test(tc, shares_go_and_come);
	tcase_add_test(tc, lower_classes_are_held_down);
	tcase_add_loop_test(tc, the_pick_is_what_a_search_finds, 0, 5);
	return fixture_main(s);
}
