/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mediator/spin.h: looking goes on while it pays, ends soon when it does not, and is tried again.
 */
#include "mediator/spin.h"

#include "tests/unit/fixture.h"

#define MAX_NS 30000u

/* @n idle moments in which work would have been found if @there. Looks made. */
static unsigned idle(struct spin *s, unsigned n, bool there)
{
	unsigned looks = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t ns = spin_worth(s, MAX_NS);

		ck_assert_uint_le(ns, MAX_NS);
		if (!ns)
			continue;
		looks++;
		spin_result(s, there, there ? 1000 : ns);
	}
	return looks;
}

START_TEST(looks_each_time_while_it_pays)
{
	struct spin s = SPIN_NEW;

	ck_assert_uint_eq(idle(&s, 1000, true), 1000);
}
END_TEST

START_TEST(gives_up_when_it_does_not_pay)
{
	struct spin s = SPIN_NEW;

	idle(&s, 1000, true);
	/* The credit, then trials with doubled pauses: after 9, 17, 33, 65, 129, 257, 257, … */
	ck_assert_uint_eq(idle(&s, SPIN_CREDIT_MAX / SPIN_LOSS, false),
			  SPIN_CREDIT_MAX / SPIN_LOSS);
	ck_assert_uint_le(idle(&s, 1000, false), 8);
	ck_assert_uint_le(idle(&s, 100 * (SPIN_LAST_PAUSE + 1), false), 100);
	ck_assert_uint_ge(idle(&s, 100 * (SPIN_LAST_PAUSE + 1), false), 99);
}
END_TEST

START_TEST(begins_again_when_a_trial_finds_work)
{
	struct spin s = SPIN_NEW;
	unsigned missed = 0;

	idle(&s, 100000, false);
	while (!spin_worth(&s, MAX_NS))
		missed++;
	ck_assert_uint_le(missed, SPIN_LAST_PAUSE);
	spin_result(&s, true, 1000);
	ck_assert_uint_eq(idle(&s, 100, true), 100);
}
END_TEST

/* How long a look goes on after finds that took so long. */
static const struct {
	uint64_t took_ns, max_ns, want_ns;
} length_rows[] = {
	{ 1, MAX_NS, SPIN_MIN_NS },
	{ 5000, MAX_NS, 5000 * SPIN_TIMES },
	{ 29000, MAX_NS, MAX_NS },
	{ 1, 2000, 2000 },	/* the policy says less than our least */
};

START_TEST(length_row)
{
	struct spin s = SPIN_NEW;

	/* A trial is long, whatever was usual. */
	ck_assert_uint_eq(spin_worth(&s, length_rows[_i].max_ns), length_rows[_i].max_ns);
	for (unsigned i = 0; i < 100; i++)
		spin_result(&s, true, length_rows[_i].took_ns);
	ck_assert_uint_eq(spin_worth(&s, length_rows[_i].max_ns), length_rows[_i].want_ns);
}
END_TEST

/* What a look brings against what it costs: eight finds make up for a look in vain. */
static const struct {
	unsigned found, vain;
	bool goes_on;
} mix_rows[] = {
	{ 19, 1, true }, { 9, 1, true }, { 3, 1, false }, { 1, 1, false }, { 1, 3, false },
	{ 0, 1, false },
};

START_TEST(mix_row)
{
	struct spin s = SPIN_NEW;
	unsigned looks = 0, moments = 0;

	idle(&s, 1000, true);
	for (unsigned round = 0; round < 1000; round++) {
		looks += idle(&s, mix_rows[_i].found, true) + idle(&s, mix_rows[_i].vain, false);
		moments += mix_rows[_i].found + mix_rows[_i].vain;
	}
	if (mix_rows[_i].goes_on)
		ck_assert_uint_eq(looks, moments);
	else
		ck_assert_uint_lt(looks, moments / 2);
}
END_TEST

/* Of @n moments 100 us apart, how many had @ns left; each takes them. */
static unsigned spend(struct spin_budget *b, unsigned percent, uint64_t *now_ns, unsigned n,
		      uint64_t ns)
{
	unsigned got = 0;

	for (unsigned i = 0; i < n; i++) {
		*now_ns += 100000;
		if (spin_budget_ns(b, percent, *now_ns) < ns)
			continue;
		spin_budget_spend(b, ns);
		got++;
	}
	return got;
}

START_TEST(a_budget_is_a_part_of_the_time)
{
	struct spin_budget b = { 0 };
	uint64_t now = 1000000000000;

	/* 10 us each 100 us are 10 %: all, half and none of them. */
	spin_budget_ns(&b, 0, now);
	ck_assert_uint_eq(spend(&b, 10, &now, 1000, 10000), 1000);
	ck_assert_uint_eq(spend(&b, 5, &now, 1000, 10000), 500);
	ck_assert_uint_eq(spend(&b, 0, &now, 1000, 1), 0);
	/* An hour of silence saves up no more than the span. */
	now += 3600 * Q_NSEC_PER_SEC;
	ck_assert_uint_eq(spin_budget_ns(&b, 50, now), SPIN_BUDGET_SPAN_NS / 2);
	spin_budget_spend(&b, UINT64_MAX);
	ck_assert_uint_eq(spin_budget_ns(&b, 50, now), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("spin");
	TCase *t = tcase_create("spin");

	fixture_add(t);
	tcase_add_test(t, looks_each_time_while_it_pays);
	tcase_add_test(t, gives_up_when_it_does_not_pay);
	tcase_add_test(t, begins_again_when_a_trial_finds_work);
	tcase_add_test(t, a_budget_is_a_part_of_the_time);
	tcase_add_loop_test(t, length_row, 0, Q_ARRAY_LEN(length_rows));
	tcase_add_loop_test(t, mix_row, 0, Q_ARRAY_LEN(mix_rows));
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return fixture_main(suite());
}
