/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of mediator/scheduler.h in virtual time, for random policies, devices and loads
 * (med_sim.h checks after every decision that what may be given is given, in order, and at every
 * answer that the promise was kept). What breaks tells its seed.
 *
 * PARLEY_PROPERTY_CASES (2000): so many cases; PARLEY_PROPERTY_SEED (1): of the first.
 */
#include "mediator/scheduler.h"

#include "tests/unit/fixture.h"
#include "tests/unit/med_sim.h"

#define MS  Q_NSEC_PER_MSEC
#define US  Q_NSEC_PER_USEC
#define SEC Q_NSEC_PER_SEC
#define KIB 1024u
#define SLICE (64 * KIB)

#define CASES 2000u
#define PARTS 10u	/* that the cases are run in: a failure tells the first of each */
#define CASE_SLICES 300u
#define CASE_NS (300 * MS)

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static uint64_t first_seed(void)
{
	return env_number("PARLEY_PROPERTY_SEED", 1);
}

static unsigned cases_of_part(void)
{
	return (unsigned)(env_number("PARLEY_PROPERTY_CASES", CASES) / PARTS);
}

static uint64_t draw(uint64_t *rng, uint64_t lo, uint64_t hi)
{
	return sim_random_in(rng, lo, hi);
}

/* One in @n times. */
static bool now_and_then(uint64_t *rng, uint64_t n)
{
	return draw(rng, 1, n) == 1;
}

/* ---- random worlds ---- */

struct world {
	struct sched_cfg cfg;
	struct med_sim_device dev;
	uint32_t reserve_left;
	unsigned n_shares, n_groups;
};

static struct limits_cfg draw_limits(uint64_t *rng)
{
	struct limits_cfg l = { .burst_ns = draw(rng, 0, 10) * MS };
	unsigned dir = (unsigned)draw(rng, 0, LIMIT_DIRS - 1);

	l.ops[dir] = now_and_then(rng, 2) ? draw(rng, 1, 5000) : 0;
	l.bytes[dir] = now_and_then(rng, 2) ? draw(rng, 64 * KIB, 64 << 20) : 0;
	return l;
}

static struct world draw_world(uint64_t *rng)
{
	struct world w = { .cfg = { .slice_bytes = SLICE } };

	w.cfg.slots = (uint32_t)draw(rng, 2, MED_SIM_SLOTS_MAX);
	w.cfg.reserve = w.reserve_left = (uint32_t)draw(rng, 1, Q_MIN(w.cfg.slots - 1, 16u));
	w.cfg.target_ns = draw(rng, 1, 20) * MS;
	w.dev.unit_ns = draw(rng, 5, 300) * US;
	w.dev.flush_ns = draw(rng, 1, 30) * w.dev.unit_ns;
	w.dev.servers = now_and_then(rng, 2) ? 1 : (unsigned)draw(rng, 1, 8);
	w.dev.vary = now_and_then(rng, 2);
	w.dev.by_bytes = now_and_then(rng, 2);
	w.cfg.service_limit_ns = w.dev.unit_ns * draw(rng, 1, 3);
	w.cfg.flush_limit_ns = w.dev.flush_ns * draw(rng, 1, 2);
	w.n_shares = (unsigned)draw(rng, 1, 8);
	w.n_groups = (unsigned)draw(rng, 0, 2);
	return w;
}

static struct sim_load draw_load(uint64_t *rng)
{
	struct sim_load l = med_sim_load((uint32_t)draw(rng, 1, 40), 512,
					 (uint32_t)draw(rng, 1, 8) * SLICE);

	l.mix[SIM_READ] = (uint32_t)draw(rng, 1, 100);
	l.mix[SIM_WRITE] = (uint32_t)draw(rng, 0, 100);
	l.mix[SIM_FLUSH] = now_and_then(rng, 3) ? (uint32_t)draw(rng, 1, 30) : 0;
	l.mix[SIM_DISCARD] = now_and_then(rng, 3) ? (uint32_t)draw(rng, 1, 30) : 0;
	l.discard_bytes = (uint32_t)draw(rng, 1, 64 << 20);
	l.open = now_and_then(rng, 3);
	l.poisson = now_and_then(rng, 2);
	l.gap_ns = draw(rng, 20 * US, 5 * MS);
	l.think_ns = draw(rng, 0, 3) * draw(rng, 0, 5 * MS);
	if (now_and_then(rng, 4)) {
		l.begin_ns = draw(rng, 0, 20 * MS);
		l.end_ns = l.begin_ns + draw(rng, 1, 100 * MS);
	}
	return l;
}

static void add_share(struct med_sim *m, struct world *w, uint64_t *rng)
{
	struct sched_share_cfg c = {
		.class = (enum sched_class)draw(rng, w->reserve_left ? 0 : 1, SCHED_CLASSES - 1),
		.weight = (uint32_t)draw(rng, 1, 1000),
		.group = now_and_then(rng, 3) ? (uint32_t)draw(rng, 0, w->n_groups) : 0,
		.slice_bytes = now_and_then(rng, 3) ? (uint32_t)draw(rng, 1, 20) * 4096 : 0,
	};
	struct sim_load l = draw_load(rng);

	if (now_and_then(rng, 4))
		c.limits = draw_limits(rng);
	if (c.class == SCHED_SAFETY) {
		c.depth = (uint32_t)draw(rng, 1, Q_MIN(w->reserve_left, 4u));
		w->reserve_left -= c.depth;
		/* A request of safety is one slice: the longest counts in unit. */
		l.size[0].max = SLICE;
		l.depth = now_and_then(rng, 2) ? c.depth : l.depth;
		l.think_ns = draw(rng, 0, 5 * MS);
	}
	med_sim_add(m, &c, &l);
}

static void make_world(struct med_sim *m, uint64_t seed)
{
	uint64_t rng = sim_seed(seed);
	struct world w = draw_world(&rng);

	med_sim_init(m, &w.cfg, &w.dev, seed);
	for (unsigned i = 0; i < w.n_groups; i++) {
		struct limits_cfg l = draw_limits(&rng);

		l.ops[LIMIT_BOTH] = draw(&rng, 10, 5000);
		ck_assert_int_eq(sched_group_add(&m->sim.sched, &l), (int)i);
	}
	for (unsigned i = 0; i < w.n_shares; i++)
		add_share(m, &w, &rng);
}

static uint64_t promised(const struct med_sim *m)
{
	uint64_t n = 0;

	for (unsigned k = 0; k < m->sim.n_shares; k++)
		n += m->sim.share[k].promised;
	return n;
}

static void run_case(struct med_sim *m)
{
	while (m->sim.slices_done < CASE_SLICES && m->sim.now_ns < CASE_NS)
		med_sim_run(m, m->sim.now_ns + 2 * MS);
}

/* Whatever the policy, the device and the guests: the rules hold, and so does the promise. */
START_TEST(random_policies_and_loads)
{
	static struct med_sim m;
	uint64_t n = 0, slices = 0;

	for (unsigned i = 0; i < cases_of_part(); i++) {
		make_world(&m, first_seed() + (uint64_t)_i * cases_of_part() + i);
		run_case(&m);
		n += promised(&m);
		slices += m.sim.slices_done;
		med_sim_fini(&m);
	}
	/* Else nothing was shown. */
	ck_assert_uint_gt(slices, 20ull * cases_of_part());
	ck_assert_uint_gt(n, 3ull * cases_of_part());
}
END_TEST

/* The same seed is the same run, whoever asks. */
START_TEST(a_seed_is_a_run)
{
	static struct med_sim a, b;

	make_world(&a, first_seed());
	make_world(&b, first_seed());
	med_sim_run(&a, 50 * MS);
	for (unsigned i = 1; i <= 50; i++)
		med_sim_run(&b, i * MS);
	ck_assert_uint_eq(a.sim.slices_done, b.sim.slices_done);
	for (unsigned i = 0; i < a.sim.n_shares; i++) {
		ck_assert_uint_eq(med_sim_bytes(&a, i), med_sim_bytes(&b, i));
		ck_assert_uint_eq(a.sim.share[i].latency->sum_ns, b.sim.share[i].latency->sum_ns);
	}
	med_sim_fini(&a);
	med_sim_fini(&b);
}
END_TEST

/* Another class, weight, depth and limit for a share that is there, as far as the reserve goes. */
static void change_share(struct med_sim *m, uint64_t *rng)
{
	struct sim *s = &m->sim;
	unsigned i = (unsigned)draw(rng, 0, s->n_shares - 1);
	uint32_t left = s->sched.cfg.reserve - (s->sched.depth - s->share[i].cfg.depth);
	struct sched_share_cfg c = {
		.class = (enum sched_class)draw(rng, left ? 0 : 1, SCHED_CLASSES - 1),
		.weight = (uint32_t)draw(rng, 1, 1000),
		.limits = { .ops = { [LIMIT_BOTH] = draw(rng, 0, 3) * 1000 } },
	};

	if (c.class == SCHED_SAFETY)
		c.depth = (uint32_t)draw(rng, 1, Q_MIN(left, 4u));
	sim_set(s, i, &c);
}

static void change_again_and_again(struct med_sim *m, uint64_t seed)
{
	uint64_t rng = sim_seed(seed ^ 7000);

	make_world(m, seed);
	/* Whatever becomes safety has requests of one slice, and goes on. */
	for (unsigned k = 0; k < m->sim.n_shares; k++) {
		m->sim.share[k].load.size[0].max = SLICE;
		m->sim.share[k].load.end_ns = 0;
	}
	for (unsigned n = 0; n < 40; n++) {
		change_share(m, &rng);
		med_sim_run(m, m->sim.now_ns + draw(&rng, 1, 2 * MS));
	}
}

/* The rules change under load: no request is lost, what is promised holds, and all goes on. */
START_TEST(rules_change_at_any_time)
{
	static struct med_sim m;
	uint64_t n = 0, slices = 0;

	for (unsigned i = 0; i < cases_of_part() / 20; i++) {
		change_again_and_again(&m, first_seed() + (uint64_t)_i * cases_of_part() + i);
		n += promised(&m);
		slices += m.sim.slices_done;
		med_sim_fini(&m);
	}
	ck_assert_uint_gt(slices, 100ull * (cases_of_part() / 20));
	ck_assert_uint_gt(n, 0);
}
END_TEST

/* ---- weights ---- */

/* What a share was given, in the scheduler's measure. */
struct costs {
	struct med_sim m;
	void (*given)(void *ctx, const struct sim *m, const struct sim_slice *s);
	uint64_t cost[MED_SIM_SHARES_MAX];
};

static void add_cost(void *ctx, const struct sim *m, const struct sim_slice *s)
{
	struct costs *c = Q_CONTAINER_OF(ctx, struct costs, m);

	c->given(ctx, m, s);
	c->cost[s->req->share] += s->len_bytes + 4096;
}

/* A crowd in backlog, @n of them, behind others of any kind. */
static void make_crowd(struct costs *c, uint64_t seed, unsigned n)
{
	uint64_t rng = sim_seed(seed);
	struct world w = draw_world(&rng);
	struct sched_share_cfg other = { SCHED_SAFETY, 100, 1 };
	struct sim_load calm = draw_load(&rng);

	calm.size[0].max = SLICE;
	calm.depth = 1;
	calm.think_ns += MS;
	calm.open = false;
	med_sim_init(&c->m, &w.cfg, &w.dev, seed);
	c->given = c->m.sim.watch.given;
	c->m.sim.watch.given = add_cost;
	memset(c->cost, 0, sizeof(c->cost));
	for (unsigned i = 0; i < n; i++) {
		struct sched_share_cfg crowd = {
			SCHED_BEST_EFFORT, (uint32_t)draw(&rng, 1, 20), 0
		};
		uint32_t bytes = (uint32_t)draw(&rng, 1, 4) * SLICE;
		/* More than the device can hold of it, so that it always waits. */
		struct sim_load l = med_sim_load(w.cfg.slots + 4, bytes / 4, bytes);

		l.mix[SIM_WRITE] = (uint32_t)draw(&rng, 0, 1000);
		med_sim_add(&c->m, &crowd, &l);
	}
	med_sim_add(&c->m, &other, &calm);
	other = (struct sched_share_cfg){ SCHED_NORMAL, 100, 0 };
	other.limits.ops[LIMIT_BOTH] = draw(&rng, 1, 500);
	med_sim_add(&c->m, &other, &calm);
}

static void check_weights(const struct costs *c, uint64_t seed, unsigned n)
{
	const struct sim_share *sh = c->m.sim.share;
	double sum = 0, weights = 0;

	for (unsigned i = 0; i < n; i++) {
		sum += (double)c->cost[i];
		weights += sh[i].cfg.weight;
	}
	for (unsigned i = 0; i < n; i++) {
		double want = sum * sh[i].cfg.weight / weights;
		double off = (double)c->cost[i] - want;

		/* Nobody is ahead of another by more than a slice of each. */
		ck_assert_msg(off <= want * 0.05 + 2 * (SLICE + 4096) &&
				      -off <= want * 0.05 + 2 * (SLICE + 4096),
			      "seed %llu: share %u of weight %u was given %.0f, not %.0f",
			      (unsigned long long)seed, i, sh[i].cfg.weight, (double)c->cost[i],
			      want);
	}
}

/* Every share gets its weight ±5 %, whatever goes before and whatever it asks for. */
START_TEST(weights_hold)
{
	static struct costs c;

	for (unsigned i = 0; i < Q_MAX(cases_of_part() / 40, 1); i++) {
		uint64_t seed = first_seed() + (uint64_t)_i * cases_of_part() + i;
		uint64_t rng = sim_seed(~seed);
		unsigned n = (unsigned)draw(&rng, 2, 8);

		make_crowd(&c, seed, n);
		/* The first that came had the disk alone for a moment. */
		med_sim_run(&c.m, 20 * MS);
		memset(c.cost, 0, sizeof(c.cost));
		while (c.m.sim.slices_done < 4000)
			med_sim_run(&c.m, c.m.sim.now_ns + 20 * MS);
		check_weights(&c, seed, n);
		med_sim_fini(&c.m);
	}
}
END_TEST

/* ---- limits ---- */

struct limited {
	struct med_sim m;
	uint64_t seed;
	uint64_t ops, bytes;	/* the limits; 0 = none */
	uint32_t request_bytes;
};

/* Rates from @least to @most, the small ones as often as the large ones. */
static uint64_t draw_rate(uint64_t *rng, uint64_t least, uint64_t most)
{
	uint64_t top = least;

	while (top * 2 <= most && !now_and_then(rng, 8))
		top *= 2;
	return draw(rng, least, top);
}

static void make_limited(struct limited *x, uint64_t seed)
{
	static const struct med_sim_device quick = {
		.servers = 8, .unit_ns = 10 * US, .flush_ns = 10 * US
	};
	static const struct sched_cfg cfg = {
		.slots = 32, .reserve = 4, .slice_bytes = SLICE, .target_ns = 10 * MS,
		.service_limit_ns = MS, .flush_limit_ns = MS,
	};
	struct sched_share_cfg c = { SCHED_NORMAL, 100, 0 }, rest = { SCHED_BEST_EFFORT, 100, 0 };
	uint64_t rng = sim_seed(seed);

	*x = (struct limited){ .seed = seed };
	x->request_bytes = (uint32_t)draw(&rng, 1, 32) * 4096;
	if (now_and_then(&rng, 2))
		x->ops = draw_rate(&rng, 1, 10000);
	else
		x->bytes = draw_rate(&rng, x->request_bytes, 64 << 20);
	struct limits_cfg l = { .ops = { [LIMIT_BOTH] = x->ops },
				.bytes = { [LIMIT_BOTH] = x->bytes },
				.burst_ns = draw(&rng, 0, 10) * MS };
	struct sim_load ask = med_sim_load(32, x->request_bytes, x->request_bytes);
	struct sim_load flood = med_sim_load(2, 4096, 4096);

	med_sim_init(&x->m, &cfg, &quick, seed);
	/* Its own, or its group's. */
	if (now_and_then(&rng, 2)) {
		ck_assert_int_eq(sched_group_add(&x->m.sim.sched, &l), 0);
		c.group = 1;
	} else {
		c.limits = l;
	}
	ask.mix[SIM_WRITE] = (uint32_t)draw(&rng, 0, 1000);
	flood.think_ns = MS;
	med_sim_add(&x->m, &c, &ask);
	med_sim_add(&x->m, &rest, &flood);
}

/* What came in @span_ns is within @permille of the rate, or one request. */
static void check_rate(const struct limited *x, uint64_t ops, uint64_t span_ns, unsigned permille)
{
	double secs = (double)span_ns / (double)SEC, part = permille / 1000.0;
	double want = secs * (x->ops ? (double)x->ops : (double)x->bytes / x->request_bytes);

	ck_assert_msg((double)ops <= want * (1 + part) + 1 && (double)ops >= want * (1 - part) - 1,
		      "seed %llu: %llu requests of %u bytes in %.1f s, %.2f were allowed",
		      (unsigned long long)x->seed, (unsigned long long)ops, x->request_bytes, secs,
		      want);
}

/* Limits hold: ±3 % over a second, ±10 % over 100 ms, down to one operation a second. */
START_TEST(limits_hold)
{
	static struct limited x;

	for (unsigned i = 0; i < Q_MAX(cases_of_part() / 25, 1); i++) {
		make_limited(&x, first_seed() + (uint64_t)_i * cases_of_part() + i);
		med_sim_run(&x.m, SEC);
		uint64_t second = med_sim_ops(&x.m, 0);
		for (unsigned k = 0; k < 10; k++) {
			uint64_t before = med_sim_ops(&x.m, 0);

			med_sim_run(&x.m, x.m.sim.now_ns + 100 * MS);
			check_rate(&x, med_sim_ops(&x.m, 0) - before, 100 * MS, 100);
		}
		check_rate(&x, med_sim_ops(&x.m, 0) - second, SEC, 30);
		med_sim_fini(&x.m);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_properties");
	TCase *tc = fixture_case(s, "properties");

	tcase_set_timeout(tc, 600);
	tcase_add_loop_test(tc, random_policies_and_loads, 0, PARTS);
	tcase_add_test(tc, a_seed_is_a_run);
	tcase_add_loop_test(tc, rules_change_at_any_time, 0, PARTS);
	tcase_add_loop_test(tc, weights_hold, 0, PARTS);
	tcase_add_loop_test(tc, limits_hold, 0, PARTS);
	return fixture_main(s);
}
