/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mediator is for, in figures, in virtual time: a safety guest that wants a steady rate,
 * beside eight best-effort guests that flood the disk with reads, writes, flushes and discards.
 * Isolation: what it gets of what it wants. bench/isolation shows the same in real time.
 */
#include "tests/unit/fixture.h"
#include "tests/unit/med_sim.h"

#define MS  Q_NSEC_PER_MSEC
#define US  Q_NSEC_PER_USEC
#define SEC Q_NSEC_PER_SEC
#define KIB 1024u
#define FLOODS 8u
#define RATE 500u	/* of the safety guest, a second */
#define FROM_NS (25 * SEC)	/* the policy's seeds are forgotten by then */
#define SPAN_NS (20 * SEC)

/* What an integrator writes who knows his disk: while others flush all the time, it stays that. */
static const struct sched_cfg policy = {
	.slots = 32,
	.reserve = 4,
	.slice_bytes = 64 * KIB,
	.target_ns = 10 * MS,
	.service_limit_ns = 250 * US,
	.flush_limit_ns = 5 * MS,
};

/* Disks of several kinds: quick, slow to flush, with one head, one that draws its times. */
static const struct sim_model disks[] = {
	{ .parallel = 4, .base_ns = { 80 * US, 30 * US, MS, 200 * US }, .kib_ns = { 500, 1000 } },
	{ .parallel = 8, .base_ns = { 100 * US, 50 * US, 4 * MS, MS }, .kib_ns = { 1000, 2000 } },
	{ .parallel = 1, .base_ns = { 100 * US, 100 * US, 500 * US, 100 * US },
	  .kib_ns = { 200, 200 } },
	{ .parallel = 4, .base_ns = { 80 * US, 60 * US, MS, 500 * US }, .kib_ns = { 500, 500 },
	  .distribution = SIM_UNIFORM, .spread_percent = 60 },
};

struct figures {
	double kept, p99_ns, bound_ns, busy;
	uint64_t violations, ops[SIM_OPS];
};

static struct sim_load flood(unsigned i)
{
	struct sim_load l = med_sim_load(32, 4 * KIB, 256 * KIB);

	/* Two that read, two that write, two that write and flush, two that write and discard. */
	l.mix[SIM_READ] = i % 4 == 0;
	l.mix[SIM_WRITE] = i % 4 != 0;
	l.mix[SIM_FLUSH] = i % 4 == 2;
	l.mix[SIM_DISCARD] = i % 4 == 3;
	l.discard_bytes = 1 << 20;
	return l;
}

static struct figures measure(const struct sim_model *disk, unsigned n_floods)
{
	static const struct sched_share_cfg safety = { SCHED_SAFETY, 100, 1 };
	static const struct sched_share_cfg effort = { SCHED_BEST_EFFORT, 100, 0 };
	struct sim_load calm = med_sim_load(16, 4 * KIB, 4 * KIB);
	static struct sim m;
	struct figures f = { 0 };

	calm.open = true;
	calm.gap_ns = SEC / RATE;
	calm.mix[SIM_WRITE] = calm.mix[SIM_READ] / 2;
	ck_assert_int_eq(sim_init(&m, &policy, disk, 11), 0);
	ck_assert_int_eq(sim_reserve(&m, 1 + FLOODS), 0);
	ck_assert_int_eq(sim_add(&m, &safety, &calm), 0);
	for (unsigned i = 0; i < n_floods; i++) {
		struct sim_load l = flood(i);

		ck_assert_int_eq(sim_add(&m, &effort, &l), (int)i + 1);
	}
	ck_assert_int_eq(sim_run(&m, FROM_NS), 0);
	sim_reset(&m);
	ck_assert_int_eq(sim_run(&m, FROM_NS + SPAN_NS), 0);
	f.kept = (double)sim_share_ops(&m.share[0]) / ((double)RATE * SPAN_NS / SEC);
	f.p99_ns = (double)qhist_quantile(m.share[0].latency, 990);
	f.bound_ns = (double)sched_bound_ns(&m.sched);
	f.busy = (double)m.work_ns / ((double)SPAN_NS * disk->parallel);
	f.violations = m.share[0].violations;
	for (unsigned i = 1; i <= n_floods; i++)
		for (unsigned op = 0; op < SIM_OPS; op++)
			f.ops[op] += m.share[i].ops[op];
	sim_fini(&m);
	return f;
}

START_TEST(safety_keeps_what_it_has)
{
	struct figures alone = measure(&disks[_i], 0), flooded = measure(&disks[_i], FLOODS);

	ck_assert_double_ge(alone.kept, 0.999);
	ck_assert_double_ge(flooded.kept, 0.99 * alone.kept);
	ck_assert_double_le(flooded.p99_ns, 1.2 * alone.p99_ns + flooded.bound_ns);
	ck_assert_uint_eq(flooded.violations, 0);
	/* And not by leaving the disk idle, or the others without. */
	ck_assert_double_ge(flooded.busy, 0.85);
	for (unsigned op = 0; op < SIM_OPS; op++)
		ck_assert_uint_gt(flooded.ops[op], 100);
	ck_assert_double_lt(alone.busy, 0.5);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_isolation");
	TCase *tc = fixture_case(s, "isolation");

	tcase_add_loop_test(tc, safety_keeps_what_it_has, 0, Q_ARRAY_LEN(disks));
	return fixture_main(s);
}
