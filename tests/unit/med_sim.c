/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the rules that hold at all times, written anew from scheduler.h: what may be given, what
 * must be given first, what may be at the device together, and that a promise is kept while the
 * device keeps to what it has shown.
 */
#include "tests/unit/med_sim.h"

/* ck_assert() tells its parent that it was passed, by a system call: too slow for millions. */
#define SIM_CHECK(w, cond, fmt, ...)                                                               \
	do {                                                                                       \
		if (!(cond))                                                                       \
			ck_abort_msg("seed %llu, at %llu ns: " #cond ": " fmt,                     \
				     (unsigned long long)(w)->seed,                                \
				     (unsigned long long)(w)->sim.now_ns, __VA_ARGS__);            \
	} while (0)

static bool is_lower(const struct sim *m, unsigned i)
{
	return m->share[i].cfg.class != SCHED_SAFETY;
}

/* Slices at the device that count against the cap, by our own books. */
static uint32_t at_device(const struct sim *m, bool barriers_only)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < m->sched.cfg.slots; i++) {
		const struct sim_slice *s = &m->slices[i];

		n += s->used && s->ticket.lower &&
		     (!barriers_only || s->ticket.kind == SCHED_BARRIER);
	}
	return n;
}

/* The buckets are the scheduler's own: that they deliver what they say is tested from outside. */
static bool limits_hold_back(const struct sim *m, unsigned i)
{
	const struct sched_share *sh = &m->sched.share[i];
	enum limit_dir dir = sh->head_kind == SCHED_READ    ? LIMIT_READ :
			     sh->head_kind == SCHED_BARRIER ? LIMIT_FLUSH : LIMIT_WRITE;
	bool op = sh->op_seq != sh->head_arrival + 1;
	uint64_t at = limits_free_ns(&m->sched.limits[i], dir, op);

	if (sh->group)
		at = Q_MAX(at, limits_free_ns(&m->sched.group[sh->group - 1], dir, op));
	return at > m->now_ns;
}

/* True when share @i could be given to the device now by the rules of scheduler.h. */
static bool may_give(const struct sim *m, unsigned i)
{
	const struct sched *s = &m->sched;
	const struct sim_share *sh = &m->share[i];

	if (!sh->head || s->in_flight >= s->cfg.slots || limits_hold_back(m, i))
		return false;
	if (!s->priorities)
		return true;
	if (!is_lower(m, i))
		return s->n_safety < 2 || s->share[i].safety_in_flight < sh->cfg.depth ||
		       (s->lower_in_flight + s->orphans + s->over_in_flight < s->cap &&
			!sim_is_barrier(sh->head->op));
	if (s->lower_in_flight + s->orphans + (s->n_safety > 1 ? s->over_in_flight : 0) >= s->cap)
		return false;
	return !sim_is_barrier(sh->head->op) || at_device(m, true) == 0;
}

/* The highest class that has something that may be given. */
static enum sched_class first_class(const struct sim *m)
{
	enum sched_class c = SCHED_CLASSES;

	for (unsigned i = 0; i < m->n_shares; i++)
		if (m->share[i].cfg.class < c && may_give(m, i))
			c = m->share[i].cfg.class;
	return c;
}

static void on_choosing(void *ctx, const struct sim *m)
{
	struct med_sim *w = ctx;

	w->class = first_class(m);
	w->lower_before = m->sched.lower_in_flight;
}

/* No idle device while work waits. */
static void on_none(void *ctx, const struct sim *m)
{
	struct med_sim *w = ctx;

	for (unsigned i = 0; i < m->n_shares; i++)
		SIM_CHECK(w, !may_give(m, i), "share %u has work, could be given, and is not", i);
}

/* The promise holds while the device keeps to what it has shown. */
static bool device_as_shown(const struct med_sim *w)
{
	const struct sched *s = &w->sim.sched;

	return w->dev.unit_ns <= sched_unit_ns(s) &&
	       w->dev.flush_ns <= Q_MAX(s->flush.cur, s->flush.prev) &&
	       w->dev.flush_ns <= Q_MAX(s->sync.cur, s->sync.prev);
}

static void on_given(void *ctx, const struct sim *m, const struct sim_slice *slice)
{
	struct med_sim *w = ctx;
	const struct sched *s = &m->sched;
	struct sim_req *r = slice->req;

	SIM_CHECK(w, s->in_flight <= s->cfg.slots, "%u", s->in_flight);
	if (r->slices == 1 && r->bytes_left + slice->len_bytes == r->bytes)
		r->exempt = !device_as_shown(w);
	if (!s->priorities)
		return;
	SIM_CHECK(w, m->share[r->share].cfg.class == w->class, "share %u before class %d", r->share,
		  (int)w->class);
	SIM_CHECK(w, s->strays || at_device(m, true) <= 1, "%u lower barriers at the device",
		  at_device(m, true));
	if (is_lower(m, r->share)) {
		SIM_CHECK(w, w->lower_before < s->cap, "%u lower slices, cap %u", w->lower_before,
			  s->cap);
		uint32_t own = m->share[r->share].cfg.slice_bytes, all = s->cfg.slice_bytes;

		uint32_t most = own ? Q_MIN(own, all) : all;

		SIM_CHECK(w, sim_is_barrier(r->op) || slice->len_bytes <= most, "%u",
			  slice->len_bytes);
	}
}

static void on_slice_done(void *ctx, const struct sim *m)
{
	const struct med_sim *w = ctx;
	const struct sched *s = &m->sched;
	uint32_t n = 0;

	for (unsigned i = 0; i < s->cfg.slots; i++)
		n += m->slices[i].used;
	SIM_CHECK(w, s->in_flight == n, "%u of %u", s->in_flight, n);
	SIM_CHECK(w, s->lower_in_flight == at_device(m, false), "%u", s->lower_in_flight);
	SIM_CHECK(w, s->cap >= 1 && s->cap <= s->cfg.slots - s->cfg.reserve, "%u", s->cap);
}

static void on_req_done(void *ctx, const struct sim *m, const struct sim_req *r)
{
	const struct med_sim *w = ctx;
	uint64_t latency = m->now_ns - r->arrival_ns;

	if (r->bound_ns && !r->exempt)
		SIM_CHECK(w, latency <= r->bound_ns,
			  "share %u was promised %llu ns, took %llu ns (unit %llu, cap %u)",
			  r->share, (unsigned long long)r->bound_ns, (unsigned long long)latency,
			  (unsigned long long)sched_unit_ns(&m->sched), m->sched.cap);
}

/* ---- what tests say ---- */

struct sim_load med_sim_load(uint32_t depth, uint32_t bytes_min, uint32_t bytes_max)
{
	return (struct sim_load){
		.depth = depth,
		.size = { { bytes_min, bytes_max, 1 } },
		.n_sizes = 1,
		.mix = { [SIM_READ] = 1000 },
	};
}

struct sim_load med_sim_syncs(struct sim_load l, uint32_t permille)
{
	l.mix[SIM_FLUSH] = permille;
	l.mix[SIM_READ] = 1000 - permille;
	return l;
}

static struct sim_model model_of(const struct med_sim_device *d, uint32_t slice_bytes)
{
	struct sim_model model = {
		.parallel = d->servers,
		.distribution = d->vary ? SIM_UNIFORM : SIM_FIXED,
		.spread_percent = 81,
	};

	for (unsigned op = 0; op < SIM_OPS; op++) {
		uint64_t most = sim_is_barrier((enum sim_op)op) ? d->flush_ns : d->unit_ns;
		/* 0.55 of it, 81 % more or less: from a tenth to just below the whole. */
		uint64_t mean = d->vary ? most * 55 / 100 : most;

		if (d->by_bytes && !sim_is_barrier((enum sim_op)op))
			model.kib_ns[op] = mean / (slice_bytes / 1024);
		else
			model.base_ns[op] = mean;
	}
	return model;
}

void med_sim_init(struct med_sim *m, const struct sched_cfg *cfg, const struct med_sim_device *dev,
		  uint64_t seed)
{
	struct sim_model model = model_of(dev, cfg->slice_bytes);

	ck_assert_uint_le(cfg->slots, MED_SIM_SLOTS_MAX);
	*m = (struct med_sim){ .dev = *dev, .seed = seed };
	ck_assert_int_eq(sim_init(&m->sim, cfg, &model, seed), 0);
	ck_assert_int_eq(sim_reserve(&m->sim, MED_SIM_SHARES_MAX), 0);
	m->sim.watch = (struct sim_watch){
		.ctx = m,
		.choosing = on_choosing,
		.given = on_given,
		.none = on_none,
		.slice_done = on_slice_done,
		.req_done = on_req_done,
	};
}

void med_sim_fini(struct med_sim *m)
{
	sim_fini(&m->sim);
}

unsigned med_sim_add(struct med_sim *m, const struct sched_share_cfg *cfg,
		     const struct sim_load *load)
{
	int id = sim_add(&m->sim, cfg, load);

	ck_assert_int_eq(id, (int)m->sim.n_shares - 1);
	return (unsigned)id;
}

void med_sim_run(struct med_sim *m, uint64_t until_ns)
{
	ck_assert_int_eq(sim_run(&m->sim, until_ns), 0);
}

uint64_t med_sim_bytes(const struct med_sim *m, unsigned share)
{
	return sim_share_bytes(&m->sim.share[share]);
}

uint64_t med_sim_ops(const struct med_sim *m, unsigned share)
{
	return sim_share_ops(&m->sim.share[share]);
}
