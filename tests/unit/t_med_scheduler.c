/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mediator/scheduler.h: rows for single decisions, and properties on a simulated disk (med_sim.h,
 * which checks after every decision what holds at all times, and the promise at every answer).
 * Random policies are in t_med_properties.c.
 */
#include "mediator/scheduler.h"

#include <errno.h>

#include "tests/unit/fixture.h"
#include "tests/unit/med_sim.h"

#define MS  Q_NSEC_PER_MSEC
#define US  Q_NSEC_PER_USEC
#define SEC Q_NSEC_PER_SEC
#define KIB 1024u

static const struct sched_cfg plain = {
	.slots = 8,
	.reserve = 2,
	.slice_bytes = 64 * KIB,
	.target_ns = 10 * MS,
	.service_limit_ns = 1 * MS,
	.flush_limit_ns = 1 * MS,
};
static const struct sched_share_cfg safety1 = { SCHED_SAFETY, 100, 1 };
static const struct sched_share_cfg normal = { SCHED_NORMAL, 100, 0 };
static const struct sched_share_cfg effort = { SCHED_BEST_EFFORT, 100, 0 };

static void head(struct sched *s, unsigned share, uint64_t seq)
{
	sched_head(s, share, 1, 4096, SCHED_READ, seq);
}

static void barrier(struct sched *s, unsigned share, uint64_t seq)
{
	sched_head(s, share, 1, 1, SCHED_BARRIER, seq);
}

/* ---- single decisions ---- */

START_TEST(class_words)
{
	ck_assert_str_eq(sched_class_str(SCHED_SAFETY), "safety");
	ck_assert_str_eq(sched_class_str(SCHED_NORMAL), "normal");
	ck_assert_str_eq(sched_class_str(SCHED_BEST_EFFORT), "best-effort");
	ck_assert_str_eq(sched_class_str(SCHED_CLASSES), "unknown");
}
END_TEST

/* Targets in units of service-limit (1 ms), 8 slots, 2 reserved, flush-limit 1 ms. */
static const struct {
	uint64_t target_us;
	uint32_t depth, cap;
	uint64_t bound_us;
} cap_rows[] = {
	{ 10000, 1, 6, 6000 + 1000 + 1000 + 40 }, /* room for 7, slots - reserve are 6 */
	{ 5040, 1, 3, 3000 + 1000 + 1000 + 40 },  /* exactly */
	{ 5039, 1, 2, 2000 + 1000 + 1000 + 40 },  /* a microsecond less: one slice less */
	{ 5040, 2, 2, 2000 + 2000 + 1000 + 40 },
	/* nothing fits: one, and the bound says so */
	{ 3000, 1, 1, 1000 + 1000 + 1000 + 40 },
	{ 1, 1, 1, 1000 + 1000 + 1000 + 40 },
};

START_TEST(cap_row)
{
	struct sched_cfg cfg = plain;
	struct sched_share_cfg safety = { SCHED_SAFETY, 100, cap_rows[_i].depth };
	struct sched s;

	cfg.target_ns = cap_rows[_i].target_us * US;
	sched_init(&s, &cfg, 0);
	ck_assert_uint_eq(sched_bound_ns(&s), 0); /* promised to nobody yet */
	ck_assert_uint_eq(s.cap, 6);		  /* so nobody is held back */
	sched_share_add(&s, &safety);
	ck_assert_uint_eq(s.cap, cap_rows[_i].cap);
	ck_assert_uint_eq(sched_bound_ns(&s), cap_rows[_i].bound_us * US);
}
END_TEST

/* A slice was 3 of 10 ms at the device, with k: what the unit became. Service is rounded up. */
START_TEST(unit_is_the_longest_part)
{
	static const struct {
		uint64_t service_ns;
		unsigned before;
		uint64_t unit_ns;
	} rows[] = {
		{ 3 * MS, 0, 3 * MS },
		{ 3 * MS, 2, 1 * MS },
		{ 3 * MS + 1, 2, 1 * MS + 1 }, /* a third of a nanosecond is not given away */
		{ 100, 0, 1 * MS },	       /* less than the seed */
	};
	struct sched s;
	struct sched_ticket t;

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &normal);
	for (unsigned i = 0; i <= rows[_i].before; i++) {
		head(&s, 0, i);
		ck_assert_int_eq(sched_pick(&s, 5, &t), 0);
	}
	sched_done(&s, &t, 5 + rows[_i].service_ns);
	ck_assert_uint_eq(sched_unit_ns(&s), rows[_i].unit_ns);
}
END_TEST

START_TEST(seed_is_forgotten_after_two_windows)
{
	struct sched s;
	struct sched_ticket t;
	uint64_t now = 0;

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &normal);
	for (unsigned i = 0; i < 21; i++) {
		ck_assert_uint_eq(sched_unit_ns(&s), 1 * MS);
		head(&s, 0, i);
		ck_assert_int_eq(sched_pick(&s, now, &t), 0);
		sched_done(&s, &t, now + 7 * US);
		now += SEC;
	}
	ck_assert_uint_eq(sched_unit_ns(&s), 7 * US);
	/* An idle device is not a fast one: what was known stays known. */
	now += 3600 * SEC;
	head(&s, 0, 99);
	ck_assert_int_eq(sched_pick(&s, now, &t), 0);
	sched_done(&s, &t, now + 2 * US);
	ck_assert_uint_eq(sched_unit_ns(&s), 7 * US);
}
END_TEST

START_TEST(a_cap_that_shrank_leaves_what_it_let_in)
{
	struct sched s;
	struct sched_ticket t[6], st;
	struct sched_cfg cfg = plain;

	cfg.target_ns = 8040 * US;
	sched_init(&s, &cfg, 0);
	sched_share_add(&s, &safety1);
	sched_share_add(&s, &normal);
	for (unsigned i = 0; i < 6; i++) {
		head(&s, 1, i);
		ck_assert_int_eq(sched_pick(&s, 0, &t[i]), 1);
	}
	/* The device is three times as slow as was thought. */
	sched_done(&s, &t[0], 3 * MS);
	ck_assert_uint_eq(sched_unit_ns(&s), 3 * MS);
	ck_assert_uint_eq(s.cap, 1);
	ck_assert_uint_eq(s.lower_in_flight, 5);
	head(&s, 0, 7);
	ck_assert_int_eq(sched_pick(&s, 3 * MS, &st), 0);
	/* Five are in front of it, not one. */
	ck_assert_uint_eq(st.bound_ns, 5 * 3 * MS + 3 * MS + 1 * MS + 40 * US);
}
END_TEST

START_TEST(one_lower_barrier_at_a_time)
{
	struct sched s;
	struct sched_ticket a, b;

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &normal);
	sched_share_add(&s, &effort);
	barrier(&s, 0, 1);
	barrier(&s, 1, 2);
	ck_assert_int_eq(sched_pick(&s, 0, &a), 0);
	sched_head(&s, 0, 0, 0, SCHED_READ, 0);
	ck_assert_int_eq(sched_pick(&s, 0, &b), -1);
	sched_done(&s, &a, 10);
	ck_assert_int_eq(sched_pick(&s, 10, &b), 1);
	/* Data of the lowest class passes a barrier of a higher one that has to wait. */
	barrier(&s, 0, 3);
	head(&s, 1, 4);
	ck_assert_int_eq(sched_pick(&s, 10, &a), 1);
}
END_TEST

START_TEST(barriers_are_measured_apart)
{
	struct sched s;
	struct sched_ticket f, d;

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &safety1);
	sched_share_add(&s, &normal);
	barrier(&s, 1, 1);
	ck_assert_int_eq(sched_pick(&s, 0, &f), 1);
	head(&s, 1, 2);
	ck_assert_int_eq(sched_pick(&s, 0, &d), 1);
	sched_done(&s, &f, 50 * MS);
	ck_assert_uint_eq(s.flush.cur, 50 * MS);
	sched_done(&s, &d, 51 * MS);
	ck_assert_uint_eq(sched_unit_ns(&s), 1 * MS);
	ck_assert_uint_eq(s.cap, 1); /* the target is gone; the bound says what is */
	ck_assert_uint_eq(sched_bound_ns(&s), 52 * MS + 40 * US);
}
END_TEST

/* A guest that flushes all the time must not hide that the device became slow. */
START_TEST(slow_data_beside_a_flush_is_seen)
{
	struct sched s;
	struct sched_ticket f, d;

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &normal);
	barrier(&s, 0, 1);
	ck_assert_int_eq(sched_pick(&s, 0, &f), 0);
	head(&s, 0, 2);
	ck_assert_int_eq(sched_pick(&s, 0, &d), 0);
	sched_done(&s, &f, 1 * MS);
	sched_done(&s, &d, 9 * MS);
	ck_assert_uint_eq(sched_unit_ns(&s), 4 * MS); /* (9 - 1) / 2 */
}
END_TEST

/* With two requests promised, one of them may be a flush of safety's own. */
START_TEST(a_flush_of_safety_itself_counts)
{
	struct sched_share_cfg two = { SCHED_SAFETY, 100, 2 };
	struct sched_ticket f, d;
	struct sched s;

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &two);
	barrier(&s, 0, 1);
	ck_assert_int_eq(sched_pick(&s, 0, &f), 0);
	ck_assert_uint_eq(f.bound_ns, 0);	/* it has no promise itself */
	sched_done(&s, &f, 3 * MS);
	head(&s, 0, 2);
	ck_assert_int_eq(sched_pick(&s, 3 * MS, &d), 0);
	ck_assert_uint_eq(d.bound_ns, (uint64_t)s.cap * MS + 3 * MS + 1 * MS + 1 * MS + 40 * US);
}
END_TEST

/* A flush that came and went while a slice was at the device is not that slice's time. */
START_TEST(a_flush_within_a_slice_is_taken_off)
{
	struct sched s;
	struct sched_ticket f, d;

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &normal);
	head(&s, 0, 1);
	ck_assert_int_eq(sched_pick(&s, 0, &d), 0);
	barrier(&s, 0, 2);
	ck_assert_int_eq(sched_pick(&s, 0, &f), 0);
	sched_done(&s, &f, 30 * MS);
	sched_done(&s, &d, 30 * MS + 500 * US);
	ck_assert_uint_eq(sched_unit_ns(&s), 1 * MS);
}
END_TEST

START_TEST(a_safety_share_cannot_spend_anothers_promise)
{
	struct sched s;
	struct sched_ticket t;
	struct sched_cfg cfg = plain;

	cfg.target_ns = 6040 * US; /* room for 3 beside two promised ones and a flush */
	sched_init(&s, &cfg, 0);
	sched_share_add(&s, &safety1);
	sched_share_add(&s, &safety1);
	ck_assert_uint_eq(s.cap, 3);
	for (unsigned i = 0; i < 4; i++) {
		head(&s, 0, i);
		ck_assert_int_eq(sched_pick(&s, 0, &t), 0);
	}
	head(&s, 0, 9);
	ck_assert_int_eq(sched_pick(&s, 0, &t), -1);
	head(&s, 1, 10);
	ck_assert_int_eq(sched_pick(&s, 0, &t), 1);
	ck_assert_uint_gt(t.bound_ns, 0);
}
END_TEST

START_TEST(a_single_safety_share_may_use_all)
{
	struct sched s;
	struct sched_ticket t;

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &safety1);
	for (unsigned i = 0; i < plain.slots; i++) {
		head(&s, 0, i);
		ck_assert_int_eq(sched_pick(&s, 0, &t), 0);
		ck_assert_int_eq(t.bound_ns > 0, i == 0); /* promised depth is 1 */
	}
	head(&s, 0, 99);
	ck_assert_int_eq(sched_pick(&s, 0, &t), -1);
}
END_TEST

START_TEST(priorities_off_is_order_of_arrival)
{
	struct sched s;
	struct sched_ticket t[8], st;

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &safety1);
	sched_share_add(&s, &effort);
	sched_set_priorities(&s, false);
	ck_assert_uint_eq(sched_slice_max(&s, 1), UINT32_MAX);
	head(&s, 0, 2);
	head(&s, 1, 1);
	for (unsigned i = 0; i < 7; i++) { /* more than the cap, and the reserve */
		ck_assert_int_eq(sched_pick(&s, 0, &t[i]), 1);
		ck_assert_uint_eq(t[i].bound_ns, 0);
	}
	sched_head(&s, 1, 0, 0, SCHED_READ, 0);
	/*
	 * On again: nothing is promised while what was given without rules is there, or measured.
	 */
	sched_set_priorities(&s, true);
	ck_assert_int_eq(sched_pick(&s, 0, &st), 0);
	ck_assert_uint_eq(st.bound_ns, 0);
	for (unsigned i = 0; i < 7; i++)
		sched_done(&s, &t[i], SEC);
	sched_done(&s, &st, SEC);
	ck_assert_uint_eq(sched_unit_ns(&s), 1 * MS);
	head(&s, 0, 9);
	ck_assert_int_eq(sched_pick(&s, SEC, &st), 0);
	ck_assert_uint_gt(st.bound_ns, 0);
}
END_TEST

START_TEST(throttled_counts_requests)
{
	struct sched s;
	struct sched_ticket t;

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &normal);
	for (unsigned i = 0; i < 6; i++) {
		head(&s, 0, i);
		ck_assert_int_eq(sched_pick(&s, 0, &t), 0);
	}
	ck_assert_uint_eq(s.share[0].throttled, 0);
	head(&s, 0, 6);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(sched_pick(&s, 0, &t), -1);
	ck_assert_uint_eq(s.share[0].throttled, 1);
	sched_done(&s, &t, 10);
	ck_assert_int_eq(sched_pick(&s, 10, &t), 0);
	head(&s, 0, 7);
	ck_assert_int_eq(sched_pick(&s, 10, &t), -1);
	ck_assert_uint_eq(s.share[0].throttled, 2);
}
END_TEST

START_TEST(virtual_time_may_wrap)
{
	struct sched s;
	struct sched_ticket t;
	unsigned got[2] = { 0 };

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &normal);
	sched_share_add(&s, &normal);
	s.vtime[SCHED_NORMAL] = UINT64_MAX - 100 * 8192 * 10;
	s.share[0].vfinish = s.share[1].vfinish = s.vtime[SCHED_NORMAL];
	for (unsigned i = 0; i < 1000; i++) {
		head(&s, 0, 2 * i);
		head(&s, 1, 2 * i + 1);
		int id = sched_pick(&s, i, &t);

		ck_assert_int_ge(id, 0);
		got[id]++;
		sched_done(&s, &t, i);
	}
	ck_assert_uint_eq(got[0], 500);
	ck_assert_uint_eq(got[1], 500);
}
END_TEST

START_TEST(who_was_away_gets_no_credit)
{
	struct sched s;
	struct sched_ticket t;
	unsigned got[2] = { 0 };

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &normal);
	sched_share_add(&s, &normal);
	for (unsigned i = 0; i < 1000; i++) {
		head(&s, 0, i);
		ck_assert_int_eq(sched_pick(&s, i, &t), 0);
		sched_done(&s, &t, i);
	}
	for (unsigned i = 0; i < 100; i++) {
		head(&s, 0, 1000 + i);
		head(&s, 1, 2000 + i);
		got[sched_pick(&s, i, &t)]++;
		sched_done(&s, &t, i);
	}
	ck_assert_uint_ge(got[0], 49);
	ck_assert_uint_le(got[0], 51);
}
END_TEST

START_TEST(a_huge_discard_costs_no_more_than_a_slice)
{
	struct sched s;
	struct sched_ticket t;
	unsigned got[2] = { 0 };

	sched_init(&s, &plain, 0);
	sched_share_add(&s, &normal);
	sched_share_add(&s, &normal);
	sched_head(&s, 0, 1, 1u << 30, SCHED_BARRIER, 0);
	ck_assert_int_eq(sched_pick(&s, 0, &t), 0);
	sched_done(&s, &t, 0);
	for (unsigned i = 0; i < 100; i++) {
		head(&s, 0, i);
		head(&s, 1, i);
		got[sched_pick(&s, i, &t)]++;
		sched_done(&s, &t, i);
	}
	ck_assert_uint_ge(got[0], 45);
}
END_TEST

/* ---- properties ---- */

static const uint32_t weight_rows[][4] = {
	{ 100, 100, 100, 100 },
	{ 1, 2, 3, 4 },
	{ 1000, 10, 100, 500 },
	{ 1, 1000, 1, 1 },
};

/* In backlog every share gets its weight of the bytes, whatever its requests' lengths are. */
START_TEST(weights_hold_in_backlog)
{
	static struct med_sim m;
	const struct med_sim_device dev = { .servers = 1 + (unsigned)_i % 3, .unit_ns = 100 * US };
	const uint32_t *w = weight_rows[_i / 3];
	uint64_t sum = 0, bytes = 0;
	struct sched_cfg cfg = plain;

	cfg.slots = 32;
	med_sim_init(&m, &cfg, &dev, 5 + (uint64_t)_i);
	for (unsigned i = 0; i < 4; i++) {
		struct sched_share_cfg c = { SCHED_NORMAL, w[i], 0 };
		struct sim_load l = med_sim_load(40, 64 * KIB, 512 * KIB);

		med_sim_add(&m, &c, &l);
		sum += w[i];
	}
	med_sim_run(&m, 20 * SEC);
	for (unsigned i = 0; i < 4; i++)
		bytes += med_sim_bytes(&m, i);
	for (unsigned i = 0; i < 4; i++) {
		double want = (double)w[i] / (double)sum;
		double got = (double)med_sim_bytes(&m, i) / (double)bytes;

		ck_assert_double_ge(got, want * 0.95 - 0.0002);
		ck_assert_double_le(got, want * 1.05 + 0.0002);
	}
	med_sim_fini(&m);
}
END_TEST

/* Shares come and go; those that are there share by weight in each phase. */
START_TEST(weights_hold_with_changing_backlog)
{
	static struct med_sim m;
	const struct med_sim_device dev = { .servers = 1, .unit_ns = 100 * US };
	struct sched_share_cfg c = { SCHED_NORMAL, 100, 0 }, c3 = { SCHED_NORMAL, 300, 0 };
	struct sim_load l = med_sim_load(20, 64 * KIB, 64 * KIB), late = l;
	uint64_t before[3];

	late.begin_ns = 10 * SEC;
	med_sim_init(&m, &plain, &dev, 3);
	med_sim_add(&m, &c, &l);
	med_sim_add(&m, &c3, &l);
	med_sim_add(&m, &c3, &late);
	med_sim_run(&m, 10 * SEC);
	ck_assert_double_eq_tol((double)med_sim_bytes(&m, 1) / (double)med_sim_bytes(&m, 0), 3,
				0.15);
	for (unsigned i = 0; i < 3; i++)
		before[i] = med_sim_bytes(&m, i);
	med_sim_run(&m, 20 * SEC);
	double one = (double)(med_sim_bytes(&m, 0) - before[0]);
	ck_assert_double_eq_tol((double)(med_sim_bytes(&m, 1) - before[1]) / one, 3, 0.15);
	ck_assert_double_eq_tol((double)(med_sim_bytes(&m, 2) - before[2]) / one, 3, 0.15);
	med_sim_fini(&m);
}
END_TEST

/* Long enough that the seeds are forgotten, the device constant: what was measured is enough. */
START_TEST(the_promise_holds_on_what_was_measured)
{
	static struct med_sim m;
	const struct med_sim_device dev = {
		.servers = _i & 1 ? 4 : 1,
		.unit_ns = 300 * US,
		.flush_ns = _i & 2 ? 4 * MS : 0,
	};
	const struct sched_share_cfg two = { SCHED_SAFETY, 100, 2 };
	struct sim_load calm = med_sim_load(1, 4096, 4096), pair = med_sim_load(2, 4096, 65536);
	struct sim_load flood = med_sim_load(40, 4096, 1 << 20), syncs = med_sim_load(1, 512, 512);
	struct sched_cfg cfg = plain;

	calm.think_ns = 3 * MS;
	pair.think_ns = 2 * MS;
	syncs.think_ns = 50 * MS;
	if (dev.flush_ns) {
		flood = med_sim_syncs(flood, 50);
		syncs = med_sim_syncs(syncs, 1000);
	}
	cfg.slots = 32;
	cfg.reserve = 4;
	cfg.flush_limit_ns = dev.flush_ns;
	med_sim_init(&m, &cfg, &dev, 77);
	med_sim_add(&m, &safety1, &calm);
	med_sim_add(&m, &two, &pair);
	med_sim_add(&m, &normal, &flood);
	med_sim_add(&m, &effort, &flood);
	med_sim_add(&m, &safety1, &syncs);
	med_sim_run(&m, 30 * SEC);
	const struct sim_share *sh = m.sim.share;
	ck_assert_uint_eq(sh[0].violations + sh[1].violations, 0);
	ck_assert_uint_gt(sh[0].promised, 3000);
	ck_assert_uint_gt(sh[1].promised, 3000);
	if (dev.servers == 1)
		ck_assert_uint_lt(sched_unit_ns(&m.sim.sched), 1 * MS); /* the seed went */
	/* The bound is no idle figure: some request came near to half of it. */
	if (dev.servers == 1 && !dev.flush_ns)
		ck_assert_uint_gt(sh[0].worst_promised_ns * 2, sched_bound_ns(&m.sim.sched));
	ck_assert_uint_gt(m.sim.active_ns, 29 * SEC);
	med_sim_fini(&m);
}
END_TEST

static void tell_all(struct sim *m)
{
	for (unsigned k = 0; k < m->n_shares; k++)
		sim_tell(m, k);
}

/* Off and on again under load: nothing is promised that the disorder can break. */
START_TEST(priorities_toggled_under_load)
{
	static struct med_sim m;
	const struct med_sim_device dev = { .servers = 1, .unit_ns = 200 * US, .by_bytes = true };
	struct sim_load calm = med_sim_load(1, 4096, 4096);
	const struct sim_load flood = med_sim_load(40, 65536, 1 << 20);

	calm.think_ns = MS;
	med_sim_init(&m, &plain, &dev, 4);
	med_sim_add(&m, &safety1, &calm);
	med_sim_add(&m, &effort, &flood);
	for (unsigned i = 1; i <= 60; i++) {
		sched_set_priorities(&m.sim.sched, i % 2);
		tell_all(&m.sim);
		med_sim_run(&m, i * 500 * MS);
	}
	ck_assert_uint_gt(m.sim.share[0].promised, 100);
	ck_assert_uint_le(sched_unit_ns(&m.sim.sched), 1 * MS);
	med_sim_fini(&m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_scheduler");
	TCase *tc = fixture_case(s, "decisions");

	tcase_add_test(tc, class_words);
	tcase_add_loop_test(tc, cap_row, 0, Q_ARRAY_LEN(cap_rows));
	tcase_add_loop_test(tc, unit_is_the_longest_part, 0, 4);
	tcase_add_test(tc, seed_is_forgotten_after_two_windows);
	tcase_add_test(tc, a_cap_that_shrank_leaves_what_it_let_in);
	tcase_add_test(tc, one_lower_barrier_at_a_time);
	tcase_add_test(tc, barriers_are_measured_apart);
	tcase_add_test(tc, slow_data_beside_a_flush_is_seen);
	tcase_add_test(tc, a_flush_of_safety_itself_counts);
	tcase_add_test(tc, a_flush_within_a_slice_is_taken_off);
	tcase_add_test(tc, a_safety_share_cannot_spend_anothers_promise);
	tcase_add_test(tc, a_single_safety_share_may_use_all);
	tcase_add_test(tc, priorities_off_is_order_of_arrival);
	tcase_add_test(tc, throttled_counts_requests);
	tcase_add_test(tc, virtual_time_may_wrap);
	tcase_add_test(tc, who_was_away_gets_no_credit);
	tcase_add_test(tc, a_huge_discard_costs_no_more_than_a_slice);
	tc = fixture_case(s, "properties");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, weights_hold_in_backlog, 0, 3 * Q_ARRAY_LEN(weight_rows));
	tcase_add_test(tc, weights_hold_with_changing_backlog);
	tcase_add_loop_test(tc, the_promise_holds_on_what_was_measured, 0, 4);
	tcase_add_test(tc, priorities_toggled_under_load);
	return fixture_main(s);
}
