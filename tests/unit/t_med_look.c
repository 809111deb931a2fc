/* SPDX-License-Identifier: Apache-2.0 */
/* mediator/look.h: who is looked for, who pays, and that neither moment spoils the other. */
#include "mediator/look.h"

#include "tests/unit/fixture.h"

#define MAX_NS 30000u
#define NEVER UINT64_MAX

static const struct med_device_policy policy = {
	.poll_ns = MAX_NS, .poll_percent = { 50, 25, 0 },
};

static struct look look;
static uint64_t now_ns = 1000 * Q_NSEC_PER_SEC;

/* The time that a look got, and what came of it. */
static uint64_t once(bool found, uint64_t left_ns)
{
	now_ns += 10 * Q_NSEC_PER_USEC;
	uint64_t ns = look_begin(&look, &policy, now_ns, left_ns);

	if (!ns)
		return 0;
	now_ns += found ? 1000 : ns;
	look_end(&look, found, found ? 1000 : ns);
	return ns;
}

/* Time passes, so that every class has its budget. */
static void rest(void)
{
	look_slept(&look);
	now_ns += Q_NSEC_PER_SEC;
}

static void begin(void)
{
	look_init(&look);
	look_note(&look, SCHED_SAFETY, false);
	look_note(&look, SCHED_NORMAL, false);
	once(true, NEVER);	/* the budgets' clocks run from here */
	rest();
}

START_TEST(who_had_no_work_is_not_looked_for)
{
	begin();
	ck_assert_uint_eq(once(true, NEVER), 0);
	look_note(&look, SCHED_BEST_EFFORT, true);	/* has no budget */
	ck_assert_uint_eq(once(true, NEVER), 0);
	look_note(&look, SCHED_NORMAL, true);
	ck_assert_uint_gt(once(true, NEVER), 0);
	ck_assert_int_eq(look.on_behalf, SCHED_NORMAL);
	look_note(&look, SCHED_SAFETY, true);
	ck_assert_uint_gt(once(true, NEVER), 0);
	ck_assert_int_eq(look.on_behalf, SCHED_SAFETY);
	rest();
	ck_assert_uint_eq(once(true, NEVER), 0);
}
END_TEST

START_TEST(the_next_class_pays_when_one_cannot)
{
	begin();
	look_note(&look, SCHED_SAFETY, true);
	look_note(&look, SCHED_NORMAL, true);
	ck_assert_uint_gt(once(true, NEVER), 0);
	spin_budget_spend(&look.budget[SCHED_SAFETY], UINT64_MAX);
	now_ns -= 10 * Q_NSEC_PER_USEC;	/* nothing is earned meanwhile */
	look.budget[SCHED_SAFETY].at_ns = now_ns + 10 * Q_NSEC_PER_USEC;
	ck_assert_uint_gt(once(true, NEVER), 0);
	ck_assert_int_eq(look.on_behalf, SCHED_NORMAL);
}
END_TEST

START_TEST(only_looks_in_vain_are_paid)
{
	uint64_t before;

	begin();
	for (unsigned i = 0; i < 1000; i++) {
		look_note(&look, SCHED_NORMAL, true);
		ck_assert_uint_gt(once(true, NEVER), 0);
	}
	before = look.budget[SCHED_NORMAL].left_ns;
	look_note(&look, SCHED_NORMAL, true);
	uint64_t ns = once(false, NEVER);
	ck_assert_uint_gt(ns, 0);
	ck_assert_uint_le(look.budget[SCHED_NORMAL].left_ns, before + 2500 - ns);
}
END_TEST

/* A device takes longer than a look: that says nothing of how soon a client asks again. */
START_TEST(two_moments)
{
	unsigned n_more = 0, n_end = 0;

	begin();
	for (unsigned i = 0; i < 2000; i++) {
		look_note(&look, SCHED_SAFETY, true);
		n_more += once(true, NEVER) > 0;
		look_note(&look, SCHED_SAFETY, false);
		n_end += once(false, NEVER) > 0;
		now_ns += Q_NSEC_PER_MSEC;
	}
	ck_assert_uint_eq(n_more, 2000);
	ck_assert_uint_lt(n_end, 40);
}
END_TEST

START_TEST(no_look_where_rest_is_near)
{
	begin();
	look_note(&look, SCHED_SAFETY, true);
	ck_assert_uint_eq(once(true, 10), 0);
	look_note(&look, SCHED_SAFETY, true);
	ck_assert_uint_gt(once(true, MAX_NS), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("look");
	TCase *t = tcase_create("look");

	fixture_add(t);
	tcase_add_test(t, who_had_no_work_is_not_looked_for);
	tcase_add_test(t, the_next_class_pays_when_one_cannot);
	tcase_add_test(t, only_looks_in_vain_are_paid);
	tcase_add_test(t, two_moments);
	tcase_add_test(t, no_look_where_rest_is_near);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return fixture_main(suite());
}
