/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mediator/bucket.h, and the limits of shares and groups in mediator/scheduler.h: rows for a
 * bucket, and what is delivered on a simulated disk.
 */
#include "mediator/bucket.h"

#include <errno.h>

#include "tests/unit/fixture.h"
#include "tests/unit/med_sim.h"

#define MS  Q_NSEC_PER_MSEC
#define US  Q_NSEC_PER_USEC
#define SEC Q_NSEC_PER_SEC
#define KIB 1024u

static const struct sched_cfg plain = {
	.slots = 32,
	.reserve = 4,
	.slice_bytes = 64 * KIB,
	.target_ns = 10 * MS,
	.service_limit_ns = 1 * MS,
	.flush_limit_ns = 1 * MS,
};
static const struct med_sim_device quick = {
	.servers = 4, .unit_ns = 20 * US, .flush_ns = 20 * US
};

/* ---- a bucket ---- */

START_TEST(none_limits_nothing)
{
	struct limits l = { 0 };
	const struct limits_cfg none = { .burst_ns = 5 * MS };

	ck_assert(!limits_any(&none));
	limits_set(&l, &none);
	limits_take(&l, LIMIT_READ, true, UINT32_MAX, 7);
	ck_assert_uint_eq(limits_free_ns(&l, LIMIT_READ, true), 0);
}
END_TEST

/* One limit of each kind: what it holds back after one operation of 4 KiB at time 100 ms. */
static const struct {
	struct limits_cfg cfg;
	enum limit_dir taken;
	uint64_t read_op_ms, write_op_ms, read_part_ms, write_part_ms;
} hold_rows[] = {
	{ { .ops = { [LIMIT_READ] = 10 } }, LIMIT_READ, 200, 0, 0, 0 },
	{ { .ops = { [LIMIT_READ] = 10 } }, LIMIT_WRITE, 0, 0, 0, 0 },
	{ { .ops = { [LIMIT_WRITE] = 10 } }, LIMIT_WRITE, 0, 200, 0, 0 },
	{ { .ops = { [LIMIT_BOTH] = 10 } }, LIMIT_READ, 200, 200, 0, 0 },
	{ { .bytes = { [LIMIT_READ] = 40960 } }, LIMIT_READ, 200, 0, 200, 0 },
	{ { .bytes = { [LIMIT_WRITE] = 40960 } }, LIMIT_WRITE, 0, 200, 0, 200 },
	{ { .bytes = { [LIMIT_BOTH] = 40960 } }, LIMIT_WRITE, 200, 200, 200, 200 },
	/* The stricter one decides. */
	{ { .ops = { [LIMIT_BOTH] = 10 }, .bytes = { [LIMIT_BOTH] = 20480 } },
	  LIMIT_READ, 300, 300, 300, 300 },
	/* What was saved up is there at once. */
	{ { .ops = { [LIMIT_BOTH] = 10 }, .burst_ns = 60 * MS }, LIMIT_READ, 140, 140, 0, 0 },
	{ { .ops = { [LIMIT_BOTH] = 10 }, .burst_ns = SEC }, LIMIT_READ, 0, 0, 0, 0 },
};

START_TEST(what_holds_back)
{
	struct limits l = { 0 };

	limits_set(&l, &hold_rows[_i].cfg);
	ck_assert(limits_any(&hold_rows[_i].cfg));
	/* At first nothing is owed. */
	ck_assert_uint_le(limits_free_ns(&l, LIMIT_READ, true), 100 * MS);
	limits_take(&l, hold_rows[_i].taken, true, 4096, 100 * MS);
	ck_assert_uint_eq(limits_free_ns(&l, LIMIT_READ, true), hold_rows[_i].read_op_ms * MS);
	ck_assert_uint_eq(limits_free_ns(&l, LIMIT_WRITE, true), hold_rows[_i].write_op_ms * MS);
	ck_assert_uint_eq(limits_free_ns(&l, LIMIT_READ, false), hold_rows[_i].read_part_ms * MS);
	ck_assert_uint_eq(limits_free_ns(&l, LIMIT_WRITE, false), hold_rows[_i].write_part_ms * MS);
}
END_TEST

static const uint64_t odd_rates[] = { 1, 3, 7, 999983, 1000000, 999999999, LIMIT_RATE_MAX };

/* Rates that do not divide a second: after a million takes not a nanosecond was lost. */
START_TEST(no_rounding_adds_up)
{
	const struct limits_cfg cfg = { .ops = { [LIMIT_BOTH] = odd_rates[_i] } };
	struct limits l = { 0 };
	const uint64_t n = 1000000;

	limits_set(&l, &cfg);
	for (uint64_t i = 0; i < n; i++)
		limits_take(&l, LIMIT_READ, true, 0, 1);
	ck_assert_uint_eq(l.ops[LIMIT_BOTH].full_ns - 1,
			  (uint64_t)((unsigned __int128)n * SEC / odd_rates[_i]));
}
END_TEST

START_TEST(the_largest_request_at_the_largest_rate)
{
	const struct limits_cfg cfg = { .bytes = { [LIMIT_BOTH] = LIMIT_RATE_MAX } };
	struct limits l = { 0 };

	limits_set(&l, &cfg);
	limits_take(&l, LIMIT_WRITE, true, UINT32_MAX, 5);
	limits_take(&l, LIMIT_WRITE, true, UINT32_MAX, 5);
	ck_assert_uint_eq(l.bytes[LIMIT_BOTH].full_ns,
			  5 + (uint64_t)((unsigned __int128)UINT32_MAX * 2 * SEC / LIMIT_RATE_MAX));
}
END_TEST

/* What is owed under the old rate stays owed, what comes is counted at the new one. */
START_TEST(a_new_rate_forgives_nothing)
{
	const struct limits_cfg slow = { .ops = { [LIMIT_BOTH] = 1 } };
	const struct limits_cfg fast = { .ops = { [LIMIT_BOTH] = 1000 } };
	struct limits l = { 0 };

	limits_set(&l, &slow);
	limits_take(&l, LIMIT_READ, true, 0, SEC);
	limits_set(&l, &fast);
	ck_assert_uint_eq(limits_free_ns(&l, LIMIT_READ, true), 2 * SEC);
	limits_take(&l, LIMIT_READ, true, 0, 2 * SEC);
	ck_assert_uint_eq(limits_free_ns(&l, LIMIT_READ, true), 2 * SEC + MS);
}
END_TEST

/* ---- what is delivered ---- */

static const struct {
	uint64_t ops, bytes;
	uint32_t request_bytes;
	uint64_t burst_ns;
} rate_rows[] = {
	{ 1, 0, 4096, 5 * MS },
	{ 10, 0, 4096, 5 * MS },
	{ 333, 0, 65536, 5 * MS },
	{ 5000, 0, 4096, 5 * MS },
	{ 20000, 0, 4096, MS },
	{ 20000, 0, 4096, 0 },
	{ 0, 40960, 4096, 5 * MS },
	{ 0, 10 << 20, 4096, 5 * MS },
	{ 0, 50 << 20, 65536, 5 * MS },
	{ 0, 50 << 20, 1 << 20, 5 * MS }, /* cut into slices, each of which is charged */
	{ 1000, 2 << 20, 4096, 5 * MS },  /* 512 of 4 KiB a second: bytes decide */
};

/* What share 0 did in [from, until) must be within @permille of its rate, or one request. */
static void check_rate(const struct med_sim *m, uint64_t reqs, uint64_t bytes, uint64_t span_ns,
		       unsigned row, unsigned permille)
{
	double secs = (double)span_ns / (double)SEC, part = permille / 1000.0;
	double ops = (double)rate_rows[row].ops * secs, want = (double)rate_rows[row].bytes * secs;
	double got_ops = (double)(med_sim_ops(m, 0) - reqs);
	double got = (double)(med_sim_bytes(m, 0) - bytes);

	if (ops > 0)
		ck_assert_double_le(got_ops, ops * (1 + part) + 1);
	if (want > 0)
		ck_assert_double_le(got, want * (1 + part) + rate_rows[row].request_bytes);
	/* And no less than the stricter of the two allows. */
	double least = want > 0 && (ops == 0 || want / rate_rows[row].request_bytes < ops) ?
			       want / rate_rows[row].request_bytes : ops;
	ck_assert_double_ge(got / rate_rows[row].request_bytes, least * (1 - part) - 1);
}

START_TEST(a_limit_delivers_what_it_says)
{
	static struct med_sim m;
	struct sched_share_cfg c = {
		SCHED_NORMAL, 100, 0, .limits = { .ops = { [LIMIT_BOTH] = rate_rows[_i].ops },
						  .bytes = { [LIMIT_BOTH] = rate_rows[_i].bytes },
						  .burst_ns = rate_rows[_i].burst_ns },
	};
	struct sim_load l =
		med_sim_load(32, rate_rows[_i].request_bytes, rate_rows[_i].request_bytes);

	l.mix[SIM_WRITE] = l.mix[SIM_READ];
	med_sim_init(&m, &plain, &quick, 9);
	med_sim_add(&m, &c, &l);
	med_sim_run(&m, SEC);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t reqs = med_sim_ops(&m, 0), bytes = med_sim_bytes(&m, 0);

		med_sim_run(&m, m.sim.now_ns + 100 * MS);
		check_rate(&m, reqs, bytes, 100 * MS, (unsigned)_i, 100);
	}
	uint64_t from = m.sim.now_ns, reqs = med_sim_ops(&m, 0), bytes = med_sim_bytes(&m, 0);
	med_sim_run(&m, from + 10 * SEC);
	check_rate(&m, reqs, bytes, 10 * SEC, (unsigned)_i, 30);
	ck_assert_uint_gt(m.sim.sched.share[0].limited, 0);
	med_sim_fini(&m);
}
END_TEST

/* Reads and writes by themselves, the sum by a third limit. */
START_TEST(directions_have_their_own)
{
	static struct med_sim m;
	struct sched_share_cfg c = {
		SCHED_NORMAL, 100, 0,
		.limits = { .ops = { [LIMIT_READ] = 1000, [LIMIT_WRITE] = 200 } },
	};
	struct sim_load reads = med_sim_load(16, 4096, 4096), writes = reads;

	writes.mix[SIM_WRITE] = 1;
	writes.mix[SIM_READ] = 0;
	med_sim_init(&m, &plain, &quick, 4);
	med_sim_add(&m, &c, &reads);
	med_sim_add(&m, &c, &writes);
	med_sim_run(&m, 10 * SEC);
	ck_assert_double_eq_tol((double)med_sim_ops(&m, 0), 10000, 50);
	ck_assert_double_eq_tol((double)m.sim.share[1].ops[SIM_WRITE], 2000, 50);
	ck_assert_uint_eq(m.sim.share[1].ops[SIM_WRITE], med_sim_ops(&m, 1));
	med_sim_fini(&m);
}
END_TEST

/* A group has its limit once, its members share it by weight; who is not in it has the rest. */
START_TEST(a_group_shares_one_limit)
{
	static struct med_sim m;
	const struct med_sim_device slow = { .servers = 1, .unit_ns = 100 * US };
	const struct limits_cfg limit = { .ops = { [LIMIT_BOTH] = 3000 }, .burst_ns = 5 * MS };
	struct sched_share_cfg one = { SCHED_NORMAL, 100, 0, .group = 1 };
	struct sched_share_cfg two = { SCHED_NORMAL, 200, 0, .group = 1 };
	struct sched_share_cfg out = { SCHED_NORMAL, 1, 0 };
	struct sim_load l = med_sim_load(16, 4096, 4096);

	med_sim_init(&m, &plain, &slow, 4);
	ck_assert_int_eq(sched_group_add(&m.sim.sched, &limit), 0);
	med_sim_add(&m, &one, &l);
	med_sim_add(&m, &two, &l);
	med_sim_add(&m, &out, &l);
	med_sim_run(&m, 10 * SEC);
	ck_assert_double_eq_tol((double)(med_sim_ops(&m, 0) + med_sim_ops(&m, 1)), 30000, 100);
	ck_assert_double_eq_tol((double)med_sim_ops(&m, 1), 20000, 100);
	/* What the group leaves is not left idle. */
	ck_assert_double_ge((double)med_sim_ops(&m, 2), 100000 - 31000);
	med_sim_fini(&m);
}
END_TEST

/* One that pauses now and then is not made to wait for what the others could not do meanwhile. */
START_TEST(a_group_forgives_a_pause)
{
	static struct med_sim m;
	const struct med_sim_device slow = { .servers = 1, .unit_ns = 100 * US };
	const struct limits_cfg limit = { .ops = { [LIMIT_BOTH] = 3000 }, .burst_ns = 5 * MS };
	struct sched_share_cfg in = { SCHED_NORMAL, 100, 0, .group = 1 };
	struct sched_share_cfg out = { SCHED_NORMAL, 1, 0 };
	struct sim_load l = med_sim_load(16, 4096, 4096), late = l;

	late.begin_ns = 20 * SEC;
	med_sim_init(&m, &plain, &slow, 4);
	ck_assert_int_eq(sched_group_add(&m.sim.sched, &limit), 0);
	med_sim_add(&m, &in, &l);
	med_sim_add(&m, &in, &late);
	med_sim_add(&m, &out, &l);
	med_sim_run(&m, 30 * SEC);
	ck_assert_double_eq_tol((double)med_sim_ops(&m, 1), 15000, 150);
	ck_assert_double_eq_tol((double)med_sim_ops(&m, 0), 75000, 400);
	med_sim_fini(&m);
}
END_TEST

/* A limit of a higher class leaves the disk to the lower one, and safety keeps its promise. */
START_TEST(what_a_limit_leaves_is_for_others)
{
	static struct med_sim m;
	const struct med_sim_device slow = {
		.servers = 1, .unit_ns = 100 * US, .flush_ns = 100 * US
	};
	struct sched_share_cfg safety = {
		SCHED_SAFETY, 100, 1, .limits = { .ops = { [LIMIT_BOTH] = 100 } },
	};
	struct sched_share_cfg normal = {
		SCHED_NORMAL, 100, 0, .limits = { .ops = { [LIMIT_BOTH] = 2000 } },
	};
	struct sched_share_cfg effort = { SCHED_BEST_EFFORT, 100, 0 };
	struct sim_load one = med_sim_load(1, 4096, 4096), calm = one;
	struct sim_load flood = med_sim_load(32, 4096, 65536);

	calm.think_ns = 100 * MS;
	med_sim_init(&m, &plain, &slow, 4);
	med_sim_add(&m, &safety, &one);
	med_sim_add(&m, &normal, &flood);
	med_sim_add(&m, &effort, &flood);
	med_sim_add(&m, &safety, &calm);
	med_sim_run(&m, 10 * SEC);
	ck_assert_double_eq_tol((double)med_sim_ops(&m, 0), 1000, 20);
	ck_assert_double_eq_tol((double)med_sim_ops(&m, 1), 20000, 200);
	ck_assert_double_ge((double)med_sim_ops(&m, 2), 100000 - 22000);
	ck_assert_uint_ge(m.sim.active_ns, 10 * SEC - 50 * MS);
	/* The one that is always held back was promised nothing then; the calm one was. */
	ck_assert_uint_le(m.sim.share[0].promised, 2);
	ck_assert_uint_gt(m.sim.share[3].promised, 50);
	med_sim_fini(&m);
}
END_TEST

START_TEST(groups_run_out)
{
	const struct limits_cfg limit = { .ops = { [LIMIT_BOTH] = 1 } };
	static struct sched s;

	sched_init(&s, &plain, 0);
	for (int i = 0; i < (int)SCHED_GROUPS_MAX; i++)
		ck_assert_int_eq(sched_group_add(&s, &limit), i);
	ck_assert_int_eq(sched_group_add(&s, &limit), -ENOSPC);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("limits");
	TCase *t = tcase_create("limits");

	fixture_add(t);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, none_limits_nothing);
	tcase_add_loop_test(t, what_holds_back, 0, Q_ARRAY_LEN(hold_rows));
	tcase_add_loop_test(t, no_rounding_adds_up, 0, Q_ARRAY_LEN(odd_rates));
	tcase_add_test(t, the_largest_request_at_the_largest_rate);
	tcase_add_test(t, a_new_rate_forgives_nothing);
	tcase_add_loop_test(t, a_limit_delivers_what_it_says, 0, Q_ARRAY_LEN(rate_rows));
	tcase_add_test(t, directions_have_their_own);
	tcase_add_test(t, a_group_shares_one_limit);
	tcase_add_test(t, a_group_forgives_a_pause);
	tcase_add_test(t, what_a_limit_leaves_is_for_others);
	tcase_add_test(t, groups_run_out);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return fixture_main(suite());
}
