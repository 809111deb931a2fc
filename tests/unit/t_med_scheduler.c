/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mediator/scheduler.h: rows for single decisions, and properties on a simulated disk (med_sim.h,
 * which checks after every decision what holds at all times, and the promise at every answer).
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

START_TEST(shares_run_out)
{
	struct sched s;

	sched_init(&s, &plain, 0);
	for (unsigned i = 0; i < SCHED_SHARES_MAX; i++)
		ck_assert_int_eq(sched_share_add(&s, &normal), (int)i);
	ck_assert_int_eq(sched_share_add(&s, &normal), -ENOSPC);
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
	static struct sim m;
	const struct sim_device dev = { .servers = 1 + (unsigned)_i % 3, .unit_ns = 100 * US };
	const uint32_t *w = weight_rows[_i / 3];
	uint64_t sum = 0, bytes = 0;
	struct sched_cfg cfg = plain;

	cfg.slots = 32;
	sim_init(&m, &cfg, &dev, 5 + (uint64_t)_i);
	for (unsigned i = 0; i < 4; i++) {
		struct sched_share_cfg c = { SCHED_NORMAL, w[i], 0 };
		struct sim_load l = { .qd = 40, .bytes_min = 64 * KIB, .bytes_max = 512 * KIB };

		sim_add(&m, &c, &l);
		sum += w[i];
	}
	sim_run(&m, 20 * SEC);
	for (unsigned i = 0; i < 4; i++)
		bytes += m.share[i].bytes_done;
	for (unsigned i = 0; i < 4; i++) {
		double want = (double)w[i] / (double)sum;
		double got = (double)m.share[i].bytes_done / (double)bytes;

		ck_assert_double_ge(got, want * 0.95 - 0.0002);
		ck_assert_double_le(got, want * 1.05 + 0.0002);
	}
}
END_TEST

/* Shares come and go; those that are there share by weight in each phase. */
START_TEST(weights_hold_with_changing_backlog)
{
	static struct sim m;
	const struct sim_device dev = { .servers = 1, .unit_ns = 100 * US };
	struct sched_share_cfg c = { SCHED_NORMAL, 100, 0 }, c3 = { SCHED_NORMAL, 300, 0 };
	struct sim_load l = { .qd = 20, .bytes_min = 64 * KIB, .bytes_max = 64 * KIB };
	struct sim_load late = l;
	uint64_t before[3];

	late.begin_ns = 10 * SEC;
	sim_init(&m, &plain, &dev, 3);
	sim_add(&m, &c, &l);
	sim_add(&m, &c3, &l);
	sim_add(&m, &c3, &late);
	sim_run(&m, 10 * SEC);
	ck_assert_double_eq_tol((double)m.share[1].bytes_done / (double)m.share[0].bytes_done, 3,
				0.15);
	for (unsigned i = 0; i < 3; i++)
		before[i] = m.share[i].bytes_done;
	sim_run(&m, 20 * SEC);
	double one = (double)(m.share[0].bytes_done - before[0]);
	ck_assert_double_eq_tol((double)(m.share[1].bytes_done - before[1]) / one, 3, 0.15);
	ck_assert_double_eq_tol((double)(m.share[2].bytes_done - before[2]) / one, 3, 0.15);
}
END_TEST

static void add_random_share(struct sim *m, uint32_t *reserve_left)
{
	struct sched_share_cfg c = {
		.class = (enum sched_class)sim_rand(m, 0, 2),
		.weight = (uint32_t)sim_rand(m, 1, 1000),
	};
	struct sim_load l = {
		.qd = (uint32_t)sim_rand(m, 1, 40),
		.bytes_min = 512,
		.bytes_max = (uint32_t)sim_rand(m, 1, 8) * 64 * KIB,
		.barrier_permille = (uint32_t)(sim_rand(m, 0, 2) ? 0 : sim_rand(m, 1, 300)),
		.think_ns = sim_rand(m, 0, 3) * sim_rand(m, 0, 5 * MS),
	};

	if (c.class == SCHED_SAFETY && *reserve_left == 0)
		c.class = SCHED_NORMAL;
	if (c.class == SCHED_SAFETY) {
		c.depth = (uint32_t)sim_rand(m, 1, Q_MIN(*reserve_left, 4u));
		*reserve_left -= c.depth;
		/* A request of safety is one slice; a flush of its own has no promise. */
		l.bytes_max = 64 * KIB;
		l.qd = sim_rand(m, 0, 1) ? c.depth : l.qd;
		l.think_ns = sim_rand(m, 0, 5 * MS);
	}
	sim_add(m, &c, &l);
}

static void random_run(struct sim *m, uint64_t seed, uint64_t until_ns)
{
	struct sim_device dev = { 0 };
	struct sched_cfg cfg = { .slice_bytes = 64 * KIB };
	struct sim draw = { .rng = seed * 2 + 1 };
	uint32_t reserve;

	cfg.slots = (uint32_t)sim_rand(&draw, 2, SIM_SLOTS_MAX);
	cfg.reserve = reserve = (uint32_t)sim_rand(&draw, 1, Q_MIN(cfg.slots - 1, 16u));
	cfg.target_ns = sim_rand(&draw, 1, 20) * MS;
	dev.unit_ns = sim_rand(&draw, 5, 300) * US;
	dev.flush_ns = sim_rand(&draw, 1, 30) * dev.unit_ns;
	dev.servers = sim_rand(&draw, 0, 1) ? 1 : (unsigned)sim_rand(&draw, 1, 8);
	dev.vary = sim_rand(&draw, 0, 1);
	dev.by_bytes = sim_rand(&draw, 0, 1);
	cfg.service_limit_ns = dev.unit_ns * sim_rand(&draw, 1, 3);
	cfg.flush_limit_ns = dev.flush_ns * sim_rand(&draw, 1, 2);
	sim_init(m, &cfg, &dev, seed);
	for (uint64_t n = sim_rand(&draw, 1, SIM_SHARES_MAX); n > 0; n--)
		add_random_share(m, &reserve);
	sim_run(m, until_ns);
}

/* Whatever the policy, the device and the guests: the rules hold, and so does the promise. */
START_TEST(random_policies_and_loads)
{
	static struct sim m;
	uint64_t promised = 0;

	for (unsigned i = 0; i < 6; i++) {
		random_run(&m, 100 * (uint64_t)_i + i, 300 * MS);
		ck_assert_uint_gt(m.slices_done, 0);
		for (unsigned k = 0; k < m.n_shares; k++)
			promised += m.share[k].reqs_promised;
	}
	ck_assert_uint_gt(promised, 100); /* else nothing was shown */
}
END_TEST

/* Another class, weight, depth and limit for a share that is there, as far as the reserve goes. */
static void change_random_share(struct sim *m, struct sim *draw)
{
	unsigned i = (unsigned)sim_rand(draw, 0, m->n_shares - 1);
	uint32_t left = m->s.cfg.reserve - (m->s.depth - m->share[i].cfg.depth);
	struct sched_share_cfg c = {
		.class = (enum sched_class)sim_rand(draw, left ? 0 : 1, 2),
		.weight = (uint32_t)sim_rand(draw, 1, 1000),
		.limits = { .ops = { [LIMIT_BOTH] = sim_rand(draw, 0, 3) * 1000 } },
	};

	if (c.class == SCHED_SAFETY)
		c.depth = (uint32_t)sim_rand(draw, 1, Q_MIN(left, 4u));
	sim_set(m, i, &c);
}

static void change_again_and_again(struct sim *m, uint64_t seed)
{
	struct sim draw = { .rng = 2 * seed + 1 };

	random_run(m, 7000 + seed, 20 * MS);
	/* Whatever becomes safety has requests of one slice. */
	for (unsigned k = 0; k < m->n_shares; k++)
		m->share[k].load.bytes_max = Q_MIN(m->share[k].load.bytes_max, 64 * KIB);
	for (unsigned n = 0; n < 200; n++) {
		change_random_share(m, &draw);
		sim_run(m, m->now_ns + sim_rand(&draw, 1, 3 * MS));
	}
}

/* The rules change under load: no request is lost, what is promised holds, and all goes on. */
START_TEST(rules_change_at_any_time)
{
	static struct sim m;
	uint64_t promised = 0;

	for (unsigned i = 0; i < 4; i++) {
		change_again_and_again(&m, 10 * (uint64_t)_i + i);
		for (unsigned k = 0; k < m.n_shares; k++)
			promised += m.share[k].reqs_promised;
		uint64_t done = m.slices_done;
		sim_run(&m, m.now_ns + 50 * MS);
		ck_assert_uint_gt(m.slices_done, done);
	}
	ck_assert_uint_gt(promised, 0);
}
END_TEST

/* Long enough that the seeds are forgotten, the device constant: what was measured is enough. */
START_TEST(the_promise_holds_on_what_was_measured)
{
	static struct sim m;
	const struct sim_device dev = {
		.servers = _i & 1 ? 4 : 1,
		.unit_ns = 300 * US,
		.flush_ns = _i & 2 ? 4 * MS : 0,
	};
	const struct sched_share_cfg two = { SCHED_SAFETY, 100, 2 };
	const struct sim_load calm = {
		.qd = 1, .bytes_min = 4096, .bytes_max = 4096, .think_ns = 3 * MS
	};
	const struct sim_load pair = {
		.qd = 2, .bytes_min = 4096, .bytes_max = 65536, .think_ns = 2 * MS
	};
	const struct sim_load flood = {
		.qd = 40,
		.bytes_min = 4096,
		.bytes_max = 1 << 20,
		.barrier_permille = _i & 2 ? 50 : 0,
	};
	const struct sim_load syncs = {
		.qd = 1,
		.bytes_min = 512,
		.bytes_max = 512,
		.barrier_permille = _i & 2 ? 1000 : 0,
		.think_ns = 50 * MS,
	};
	struct sched_cfg cfg = plain;

	cfg.slots = 32;
	cfg.reserve = 4;
	cfg.flush_limit_ns = dev.flush_ns;
	sim_init(&m, &cfg, &dev, 77);
	sim_add(&m, &safety1, &calm);
	sim_add(&m, &two, &pair);
	sim_add(&m, &normal, &flood);
	sim_add(&m, &effort, &flood);
	sim_add(&m, &safety1, &syncs);
	sim_run(&m, 30 * SEC);
	ck_assert_uint_eq(m.share[0].violations + m.share[1].violations, 0);
	ck_assert_uint_gt(m.share[0].reqs_promised, 3000);
	ck_assert_uint_gt(m.share[1].reqs_promised, 3000);
	if (dev.servers == 1)
		ck_assert_uint_lt(sched_unit_ns(&m.s), 1 * MS); /* the seed went */
	/* The bound is no idle figure: some request came near to half of it. */
	if (dev.servers == 1 && !flood.barrier_permille)
		ck_assert_uint_gt(m.share[0].worst_ns * 2, sched_bound_ns(&m.s));
	ck_assert_uint_gt(m.busy_ns, 29 * SEC);
}
END_TEST

/* Off and on again under load: nothing is promised that the disorder can break. */
START_TEST(priorities_toggled_under_load)
{
	static struct sim m;
	const struct sim_device dev = { .servers = 1, .unit_ns = 200 * US, .by_bytes = true };
	const struct sim_load calm = {
		.qd = 1, .bytes_min = 4096, .bytes_max = 4096, .think_ns = MS
	};
	const struct sim_load flood = { .qd = 40, .bytes_min = 65536, .bytes_max = 1 << 20 };

	sim_init(&m, &plain, &dev, 4);
	sim_add(&m, &safety1, &calm);
	sim_add(&m, &effort, &flood);
	for (unsigned i = 1; i <= 60; i++) {
		sched_set_priorities(&m.s, i % 2);
		for (unsigned k = 0; k < m.n_shares; k++)
			sim_tell(&m, k);
		sim_run(&m, i * 500 * MS);
	}
	ck_assert_uint_gt(m.share[0].reqs_promised, 100);
	ck_assert_uint_le(sched_unit_ns(&m.s), 1 * MS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_scheduler");
	TCase *tc = fixture_case(s, "decisions");

	tcase_add_test(tc, class_words);
	tcase_add_test(tc, shares_run_out);
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
	tcase_add_loop_test(tc, random_policies_and_loads, 0, 20);
	tcase_add_loop_test(tc, rules_change_at_any_time, 0, 10);
	tcase_add_loop_test(tc, the_promise_holds_on_what_was_measured, 0, 4);
	tcase_add_test(tc, priorities_toggled_under_load);
	return fixture_main(s);
}
