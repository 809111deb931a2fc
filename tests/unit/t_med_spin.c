/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mediator/spin.h: looking goes on while it pays, ends soon when it does not, and is tried again.
 */
#include "mediator/spin.h"

#include "tests/unit/fixture.h"

/* @n idle moments in which work would have been found if @there. Looks made. */
static unsigned idle(struct spin *s, unsigned n, bool there)
{
	unsigned looks = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!spin_worth(s))
			continue;
		looks++;
		spin_result(s, there);
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
	/* The credit, then the trials with doubled pauses: 16 + 9, 17, 33, 65, 129, 257, 257, … */
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
	while (!spin_worth(&s))
		missed++;
	ck_assert_uint_le(missed, SPIN_LAST_PAUSE);
	spin_result(&s, true);
	ck_assert_uint_eq(idle(&s, 100, true), 100);
}
END_TEST

/* What a look brings against what it costs: two finds make up for a look in vain. */
static const struct {
	unsigned found, vain;
	bool goes_on;
} mix_rows[] = {
	{ 9, 1, true }, { 3, 1, true }, { 1, 1, false }, { 1, 3, false }, { 0, 1, false },
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

static Suite *suite(void)
{
	Suite *s = suite_create("spin");
	TCase *t = tcase_create("spin");

	fixture_add(t);
	tcase_add_test(t, looks_each_time_while_it_pays);
	tcase_add_test(t, gives_up_when_it_does_not_pay);
	tcase_add_test(t, begins_again_when_a_trial_finds_work);
	tcase_add_loop_test(t, mix_row, 0, Q_ARRAY_LEN(mix_rows));
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return fixture_main(suite());
}
