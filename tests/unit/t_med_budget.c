/* SPDX-License-Identifier: Apache-2.0 */
/* mediator/budget.h: what clients get of a device's thread, counted in rounds. */
#include "mediator/budget.h"

#include "tests/unit/fixture.h"

#define US Q_NSEC_PER_USEC
#define ROUNDS 10000u

/* A client with work in every round, whose steps cost that; steps until the budget is spent. */
struct client {
	uint64_t step_ns;
	struct budget b;
	uint64_t n_steps;
};

static uint64_t serve(struct client *c)
{
	uint64_t ns = 0;

	for (bool may = budget_round(&c->b); may; may = budget_left(&c->b)) {
		budget_spend(&c->b, c->step_ns);
		ns += c->step_ns;
		c->n_steps++;
	}
	return ns;
}

static const uint64_t steps_ns[] = { 200, 5 * US, 40 * US, 60 * US, 1000 * US, 900000 * US };

/* In the long run a client has its part of a round and no more, whatever its steps cost. */
START_TEST(a_round_each)
{
	struct client c = { .step_ns = steps_ns[_i] };
	uint64_t ns = 0;

	for (unsigned i = 0; i < ROUNDS; i++)
		ns += serve(&c);
	ck_assert_uint_eq(ns, c.b.spent_ns);
	ck_assert_uint_le(ns, ROUNDS * (uint64_t)BUDGET_ROUND_NS + c.step_ns);
	ck_assert_uint_ge(ns + c.step_ns, ROUNDS * (uint64_t)BUDGET_ROUND_NS * 9 / 10);
	/* Only who overdraws is left out of rounds. */
	ck_assert_int_eq(c.b.n_waits > 0, c.step_ns > (uint64_t)BUDGET_ROUND_NS);
}
END_TEST

/* One that makes each of its steps cost a millisecond does not keep the other from any round. */
START_TEST(the_other_is_served_each_round)
{
	struct client hostile = { .step_ns = 1000 * US }, honest = { .step_ns = 1 * US };
	uint64_t longest = 0, between = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t before = honest.n_steps;

		between += serve(&hostile);
		serve(&honest);
		ck_assert_uint_gt(honest.n_steps, before);
		longest = Q_MAX(longest, between);
		between = 0;
	}
	ck_assert_uint_eq(honest.b.n_waits, 0);
	ck_assert_uint_gt(hostile.b.n_waits, ROUNDS / 2);
	/* One step of it, which nobody can cut, is the longest wait. */
	ck_assert_uint_eq(longest, hostile.step_ns);
}
END_TEST

/* Nothing is saved up: who was idle has one round's worth, not that of all he missed. */
START_TEST(idle_saves_nothing)
{
	struct client c = { .step_ns = 1 * US };

	for (unsigned i = 0; i < ROUNDS; i++)
		budget_round(&c.b);
	ck_assert_uint_le(serve(&c), (uint64_t)BUDGET_ROUND_NS + c.step_ns);
}
END_TEST

START_TEST(one_step_owes_a_second_at_most)
{
	struct budget b = { 0 };

	ck_assert(budget_round(&b));
	budget_spend(&b, UINT64_MAX / 2);
	ck_assert_int_eq(b.left_ns, BUDGET_ROUND_NS - (int64_t)Q_NSEC_PER_SEC);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_budget");
	TCase *tc = fixture_case(s, "budget");

	tcase_add_loop_test(tc, a_round_each, 0, Q_ARRAY_LEN(steps_ns));
	tcase_add_test(tc, the_other_is_served_each_round);
	tcase_add_test(tc, idle_saves_nothing);
	tcase_add_test(tc, one_step_owes_a_second_at_most);
	return fixture_main(s);
}
