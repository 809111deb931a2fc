/* SPDX-License-Identifier: Apache-2.0 */
/* mediator/freeze.h: whose VM may be frozen. */
#include "mediator/freeze.h"

#include <stdio.h>

#include "tests/unit/fixture.h"

#define SHARES_MAX 4u

struct row {
	struct {
		const char *name;
		unsigned device;
		enum sched_class class;
		bool freeze;
	} share[SHARES_MAX];
	bool at_top[2];
	const char *want;	/* names with a space behind each */
};

static const struct row rows[] = {
	{ { { "ivi/a", 0, SCHED_BEST_EFFORT, true } }, { true, false }, "ivi " },
	{ { { "ivi/a", 0, SCHED_NORMAL, true } }, { true, false }, "ivi " },
	/* Another device's ladder, or nobody's. */
	{ { { "ivi/a", 0, SCHED_BEST_EFFORT, true } }, { false, true }, "" },
	{ { { "ivi/a", 1, SCHED_BEST_EFFORT, true } }, { false, true }, "ivi " },
	/* It was not allowed. */
	{ { { "ivi/a", 0, SCHED_BEST_EFFORT, false } }, { true, true }, "" },
	/* One word of a VM is enough, and it is frozen once. */
	{ { { "ivi/a", 0, SCHED_BEST_EFFORT, false }, { "ivi/b", 0, SCHED_BEST_EFFORT, true },
	    { "ivi/c", 0, SCHED_NORMAL, true }, { "iv/a", 0, SCHED_NORMAL, true } },
	  { true, false }, "ivi iv " },
	/* Who has a safety share is not frozen, wherever it is. */
	{ { { "ivi/a", 0, SCHED_BEST_EFFORT, true }, { "ivi/b", 1, SCHED_SAFETY, false },
	    { "ivy/b", 0, SCHED_NORMAL, true } },
	  { true, false }, "ivy " },
};

START_TEST(who)
{
	struct med_share_policy shares[SHARES_MAX] = { 0 };
	struct med_policy p = { .shares = shares };
	char names[FREEZE_MAX][FREEZE_NAME_BYTES], got[256] = "";

	for (; p.n_shares < SHARES_MAX && rows[_i].share[p.n_shares].name; p.n_shares++)
		shares[p.n_shares] = (struct med_share_policy){
			.name = (char *)rows[_i].share[p.n_shares].name,
			.device = rows[_i].share[p.n_shares].device,
			.class = rows[_i].share[p.n_shares].class,
			.freeze = rows[_i].share[p.n_shares].freeze,
		};
	size_t n = freeze_systems(&p, rows[_i].at_top, names);
	for (size_t i = 0, at = 0; i < n; i++)
		at += (size_t)snprintf(got + at, sizeof(got) - at, "%s ", names[i]);
	ck_assert_str_eq(got, rows[_i].want);
}
END_TEST

/* More than can be told in one message: so many, and no more. */
START_TEST(many)
{
	struct med_share_policy shares[FREEZE_MAX + 3] = { 0 };
	struct med_policy p = { .shares = shares, .n_shares = Q_ARRAY_LEN(shares) };
	char names[FREEZE_MAX][FREEZE_NAME_BYTES], own[Q_ARRAY_LEN(shares)][16];
	const bool top[1] = { true };

	for (unsigned i = 0; i < Q_ARRAY_LEN(shares); i++) {
		snprintf(own[i], sizeof(own[i]), "vm%u/a", i);
		shares[i].name = own[i];
		shares[i].class = SCHED_NORMAL;
		shares[i].freeze = true;
	}
	ck_assert_uint_eq(freeze_systems(&p, top, names), FREEZE_MAX);
	ck_assert_str_eq(names[FREEZE_MAX - 1], "vm15");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_freeze");
	TCase *tc = fixture_case(s, "freeze");

	tcase_add_loop_test(tc, who, 0, Q_ARRAY_LEN(rows));
	tcase_add_test(tc, many);
	return fixture_main(s);
}
