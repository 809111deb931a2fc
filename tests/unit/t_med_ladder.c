/* SPDX-License-Identifier: Apache-2.0 */
/* mediator/ladder.h in virtual time, alone and around the scheduler. */
#include "mediator/ladder.h"

#include "tests/unit/fixture.h"

#define MS  Q_NSEC_PER_MSEC
#define US  Q_NSEC_PER_USEC
#define SEC Q_NSEC_PER_SEC
#define TARGET (10 * MS)

START_TEST(words)
{
	ck_assert_str_eq(ladder_step_str(LADDER_FREE), "free");
	ck_assert_str_eq(ladder_step_str(LADDER_THROTTLE), "throttle");
	ck_assert_str_eq(ladder_step_str(LADDER_PAUSE), "pause");
	ck_assert_str_eq(ladder_step_str(LADDER_FREEZE), "freeze");
	ck_assert_str_eq(ladder_step_str(LADDER_STEPS), "unknown");
}
END_TEST

/* A row: what is told at a time, and where the ladder stands afterwards. Each row from FREE. */
struct told {
	uint64_t at_us, took_us;	/* took 0: a tick */
	bool lower, waits;
	enum ladder_step step;
};

static const struct told rows[][8] = {
	/* A miss is answered at once, each further one after a rest, and no step is left out. */
	{ { 100, 10001, true, false, LADDER_THROTTLE },
	  { 200, 10001, true, false, LADDER_THROTTLE },
	  { 4099, 20000, true, false, LADDER_THROTTLE },
	  { 4100, 20000, true, false, LADDER_PAUSE },
	  { 8100, 20000, true, false, LADDER_FREEZE },
	  { 99000, 20000, true, false, LADDER_FREEZE } },
	/* What waits counts like what ended. */
	{ { 100, 10001, true, true, LADDER_THROTTLE }, { 4100, 14001, true, true, LADDER_PAUSE } },
	/* Exactly the target is no miss. */
	{ { 100, 10000, true, false, LADDER_FREE } },
	/* Nobody else was there, or is long gone: no step helps. */
	{ { 100, 90000, false, false, LADDER_FREE } },
	{ { 100, 1, true, false, LADDER_FREE }, { 1000100, 90000, false, false, LADDER_THROTTLE },
	  { 1000101 + 4000, 90000, false, false, LADDER_THROTTLE } },
	{ { 100, 1, true, false, LADDER_FREE }, { 1000101, 90000, false, false, LADDER_FREE } },
	/* Down after a second, a step at a time. */
	{ { 100, 10001, true, false, LADDER_THROTTLE }, { 4100, 10001, true, false, LADDER_PAUSE },
	  { 1004099, 0, false, false, LADDER_PAUSE }, { 1004100, 0, false, false, LADDER_THROTTLE },
	  { 2004099, 0, false, false, LADDER_THROTTLE },
	  { 2004100, 0, false, false, LADDER_FREE } },
	/* Near the target is not calm, but no miss either. */
	{ { 100, 10001, true, false, LADDER_THROTTLE },
	  { 900000, 7501, true, false, LADDER_THROTTLE },
	  { 1000100, 0, false, false, LADDER_THROTTLE },
	  { 1899999, 7500, true, false, LADDER_THROTTLE },
	  { 1900000, 0, false, false, LADDER_FREE } },
	/* Up again soon after a step down: twice as long. */
	{ { 100, 10001, true, false, LADDER_THROTTLE }, { 1000100, 0, true, false, LADDER_FREE },
	  { 1500000, 10001, true, false, LADDER_THROTTLE },
	  { 3499999, 0, false, false, LADDER_THROTTLE },
	  { 3500000, 0, false, false, LADDER_FREE } },
	/* Long after: as at first. */
	{ { 100, 10001, true, false, LADDER_THROTTLE }, { 1000100, 0, true, false, LADDER_FREE },
	  { 2500000, 10001, true, false, LADDER_THROTTLE },
	  { 3499999, 0, false, false, LADDER_THROTTLE },
	  { 3500000, 0, false, false, LADDER_FREE } },
};

START_TEST(steps)
{
	const struct told *t = rows[_i];
	struct ladder l = { .top = LADDER_FREEZE };

	for (unsigned i = 0; i < Q_ARRAY_LEN(rows[0]) && t[i].at_us; i++) {
		uint64_t now = t[i].at_us * US;
		enum ladder_step was = l.step;
		bool moved;

		if (t[i].lower)
			ladder_lower(&l, now);
		if (t[i].took_us)
			moved = ladder_seen(&l, t[i].took_us * US, TARGET, t[i].waits, now);
		else
			moved = ladder_tick(&l, now);
		ck_assert_msg(l.step == t[i].step, "row %d, %u: %s", _i, i,
			      ladder_step_str(l.step));
		ck_assert_int_eq(moved, was != l.step);
	}
}
END_TEST

/* The policy says how far: not at all, one step, all; and may say so anew at any time. */
START_TEST(no_further_than_the_top)
{
	for (int top = LADDER_FREE; top <= LADDER_FREEZE; top++) {
		struct ladder l = { .top = (enum ladder_step)top };

		for (unsigned i = 1; i < 9; i++) {
			ladder_lower(&l, i * SEC);
			ck_assert_int_eq(ladder_seen(&l, TARGET + 1, TARGET, false, i * SEC),
					 (int)i <= top);
		}
		ck_assert_int_eq(l.step, top);
		ck_assert_uint_eq(l.n_missed, 8);
	}
	struct ladder l = { .step = LADDER_FREEZE, .top = LADDER_THROTTLE, .calm_ns = SEC,
			    .since_ns = SEC, .bad_ns = SEC };

	ck_assert(ladder_tick(&l, 2 * SEC) && l.step == LADDER_PAUSE);
	ladder_lower(&l, 2 * SEC);
	ck_assert(!ladder_seen(&l, 2 * TARGET, TARGET, false, 2 * SEC + 5 * MS));
}
END_TEST

START_TEST(what_a_step_allows)
{
	static const uint32_t want[] = { UINT32_MAX, 1, 0, 0 };

	for (unsigned i = 0; i < LADDER_STEPS; i++) {
		struct ladder l = { .step = (enum ladder_step)i };

		ck_assert_uint_eq(ladder_lower_max(&l), want[i]);
	}
}
END_TEST

/* Only ended requests are counted, each once. */
START_TEST(misses_are_counted_once)
{
	struct ladder l = { 0 };

	for (unsigned i = 0; i < 5; i++)
		ladder_seen(&l, TARGET + i, TARGET, true, SEC + i);
	ck_assert_uint_eq(l.n_missed, 0);
	ladder_seen(&l, TARGET + 9, TARGET, false, SEC + 9);
	ck_assert_uint_eq(l.n_missed, 1);
}
END_TEST

/* Who swings stays longer each time, up to a limit, and is free again in the end. */
START_TEST(the_calm_grows)
{
	struct ladder l = { .top = LADDER_THROTTLE };
	uint64_t now = SEC, longest = 0;

	for (unsigned i = 0; i < 10; i++) {
		ladder_lower(&l, now);
		ck_assert(ladder_seen(&l, TARGET + 1, TARGET, false, now));
		uint64_t due = ladder_due_ns(&l);

		ck_assert_uint_ge(due - now, longest);
		longest = due - now;
		ck_assert(!ladder_tick(&l, due - 1));
		ck_assert(ladder_tick(&l, due));
		ck_assert_int_eq(l.step, LADDER_FREE);
		ck_assert_uint_eq(ladder_due_ns(&l), 0);
		now = due + 100 * MS;
	}
	ck_assert_uint_eq(longest, LADDER_CALM_MAX_NS);
}
END_TEST

/*
 * A device that stands still with one request out: whoever looks when he is told to takes each step
 * within 5 ms of the time when it is due, and no look is in vain but the first of a step.
 */
START_TEST(reaction_to_a_standstill)
{
	struct ladder l = { .top = LADDER_FREEZE };
	const uint64_t came = SEC;
	uint64_t missed = came + TARGET, now = came;
	unsigned looks = 0;

	ladder_lower(&l, came);
	for (enum ladder_step want = LADDER_THROTTLE; want <= LADDER_FREEZE; want++) {
		while (l.step != want) {
			uint64_t at = ladder_look_ns(&l, came, TARGET, now);

			ck_assert_uint_ne(at, 0);
			now = Q_MAX(at, now);
			ladder_lower(&l, now);
			ladder_seen(&l, now - came, TARGET, true, now);
			ck_assert_uint_lt(++looks, 10);
		}
		ck_assert_uint_le(now - missed, 5 * MS);
		missed = now;
	}
}
END_TEST

/* Who waits alone is not looked at again and again. */
START_TEST(nobody_looks_for_nothing)
{
	struct ladder l = { 0 };

	ck_assert_uint_eq(ladder_look_ns(&l, SEC, TARGET, SEC), 0);
	ladder_lower(&l, SEC);
	ck_assert_uint_eq(ladder_look_ns(&l, SEC, TARGET, SEC), SEC + TARGET + 1);
	ck_assert_uint_eq(ladder_look_ns(&l, SEC, 2 * SEC, SEC), 0);
	ck_assert_uint_eq(ladder_look_ns(&l, SEC, TARGET, 3 * SEC), 0);
}
END_TEST

/* Whatever is told: a step at a time, none up within the rest, and down to FREE when it is calm. */
START_TEST(random_walk)
{
	struct ladder l = { .top = LADDER_FREEZE };
	uint64_t rng = 3 + (uint64_t)_i, now = SEC, last = 0;

	for (unsigned i = 0; i < 20000; i++) {
		enum ladder_step was = l.step;
		uint64_t r = fixture_rand(&rng);

		/* Now and then it is quiet for long. */
		now += 1 + r % (50 * MS) + (i % 100 ? 0 : 20 * SEC);
		if (r >> 60 < 4)
			ladder_lower(&l, now);
		if (i % 100)
			ladder_seen(&l, fixture_rand(&rng) % (12 * MS), TARGET, r >> 41 & 1, now);
		if (!(i % 100))
			ladder_tick(&l, now);
		int by = (int)l.step - (int)was;
		ck_assert(by >= -1 && by <= 1);
		if (by > 0 && was != LADDER_FREE)
			ck_assert_uint_ge(now - last, LADDER_SETTLE_NS);
		last = by ? now : last;
	}
	ck_assert_uint_gt(l.n_up, 10);
	for (unsigned i = 0; i < LADDER_STEPS && l.step != LADDER_FREE; i++)
		ladder_tick(&l, ladder_due_ns(&l));
	ck_assert_int_eq(l.step, LADDER_FREE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_ladder");
	TCase *tc = fixture_case(s, "steps");

	tcase_add_test(tc, words);
	tcase_add_loop_test(tc, steps, 0, Q_ARRAY_LEN(rows));
	tcase_add_test(tc, no_further_than_the_top);
	tcase_add_test(tc, what_a_step_allows);
	tcase_add_test(tc, misses_are_counted_once);
	tcase_add_test(tc, the_calm_grows);
	tcase_add_test(tc, reaction_to_a_standstill);
	tcase_add_test(tc, nobody_looks_for_nothing);
	tcase_add_loop_test(tc, random_walk, 0, 5);
	return fixture_main(s);
}
