/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mixer (mix.h): who speaks, what that does to the others, and the sum. On the thread of its
 * owner.
 *
 * Theory of operation. The voices that are open stand in one order, highest level first. A period
 * walks it once: what is above a voice has already been pulled when its turn comes, so that it is
 * known who speaks, in the same period. Voices of class safety are added to one bus, all others to
 * a second, which is cut to the headroom while a safety voice speaks; the output is the sum. Order
 * of addition is the order of levels, never of arrival: the same samples give the same output.
 *
 * Invariant: between two periods gain.pos and tail_left of a voice are what a mixer would have that
 * had made the same frames in periods of any other length.
 */
#include "mediator/mix.h"

#include <stdlib.h>
#include <string.h>

struct ramp {
	float from, to;
	uint32_t pos, len;	/* pos frames of it were made */
};

struct voice {
	struct mix_voice_cfg cfg;
	bool open;
	bool fresh;		/* not heard yet: its gain needs no ramp */
	bool ruled;		/* its rule holds */
	uint32_t unruled_frames; /* since the last that spoke above it, while ruled */
	struct ramp gain;
	bool sounding;		/* its last sample stands in last[] */
	bool after_gap;		/* what comes next follows a gap */
	float last[MIX_CHANNELS_MAX];
	float tail[MIX_CHANNELS_MAX];	/* where the fade to zero began */
	uint32_t tail_left;	/* frames of it */
	struct mix_voice_now now;
};

struct mix {
	struct mix_cfg cfg;
	uint32_t fade_frames;
	unsigned n_order;
	uint16_t order[MIX_VOICES_MAX];	/* open or fading voices, highest level first */
	struct ramp limit;
	struct mix_totals totals;
	size_t bytes;
	float *pulled, *safety, *lower;	/* a period each, behind the voices */
	struct voice v[];
};

static const char *const why_str[] = { "full", "ducked", "paused", "muted by rule", "muted" };
static_assert(Q_ARRAY_LEN(why_str) == MIX_WHYS, "every reason has a word");

const char *mix_why_str(enum mix_why w)
{
	return (unsigned)w < MIX_WHYS ? why_str[w] : "unknown";
}

/* ---- ramps ---- */

static float ramp_at(const struct ramp *r, uint32_t pos)
{
	return pos >= r->len ? r->to : r->from + (r->to - r->from) * ((float)pos / (float)r->len);
}

static float ramp_now(const struct ramp *r)
{
	return ramp_at(r, r->pos);
}

static void ramp_to(struct ramp *r, float to, uint32_t len)
{
	if (r->to == to)
		return;
	*r = (struct ramp){ .from = ramp_now(r), .to = to, .len = len };
}

static void ramp_skip(struct ramp *r, uint32_t frames)
{
	r->pos += Q_MIN(frames, r->len - r->pos);
}

/* ---- life ---- */

struct mix *mix_new(const struct mix_cfg *cfg)
{
	size_t samples = (size_t)cfg->period_frames * cfg->channels;
	size_t voices = cfg->n_voices * sizeof(struct voice);
	size_t bytes = sizeof(struct mix) + voices + 3 * samples * sizeof(float);

	qassert(cfg->n_voices <= MIX_VOICES_MAX && cfg->channels <= MIX_CHANNELS_MAX &&
		cfg->channels > 0 && cfg->period_frames <= MIX_PERIOD_FRAMES_MAX);
	struct mix *m = calloc(1, bytes);
	if (!m)
		return NULL;
	m->cfg = *cfg;
	m->bytes = bytes;
	m->fade_frames = (uint32_t)(MIX_FADE_NS * cfg->rate_hz / Q_NSEC_PER_SEC);
	m->limit = (struct ramp){ .from = 1, .to = 1 };
	m->pulled = (float *)&m->v[cfg->n_voices];
	m->safety = m->pulled + samples;
	m->lower = m->safety + samples;
	return m;
}

struct mix *mix_free(struct mix *m)
{
	free(m);
	return NULL;
}

void mix_memory(const struct mix *m, const void **ret, size_t *ret_bytes)
{
	*ret = m;
	*ret_bytes = m->bytes;
}

/* Whether voice @a comes before @b. */
static bool before(const struct mix *m, unsigned a, unsigned b)
{
	const struct mix_voice_cfg *x = &m->v[a].cfg, *y = &m->v[b].cfg;

	if (x->class != y->class)
		return x->class < y->class;
	if (x->rank != y->rank)
		return x->rank < y->rank;
	return a < b;
}

static void order_remove(struct mix *m, unsigned voice)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < m->n_order; i++)
		if (m->order[i] != voice)
			m->order[kept++] = m->order[i];
	m->n_order = kept;
}

static void order_insert(struct mix *m, unsigned voice)
{
	unsigned i = m->n_order++;

	for (; i > 0 && before(m, voice, m->order[i - 1]); i--)
		m->order[i] = m->order[i - 1];
	m->order[i] = (uint16_t)voice;
}

static float volume(const struct mix_voice_cfg *cfg)
{
	return cfg->muted ? 0 : cfg->gain;
}

void mix_voice_set(struct mix *m, unsigned voice, const struct mix_voice_cfg *cfg)
{
	struct voice *v = &m->v[voice];
	bool listed = v->open || v->tail_left;

	if (listed)
		order_remove(m, voice);
	v->cfg = *cfg;
	if (listed)
		order_insert(m, voice);
}

void mix_voice_open(struct mix *m, unsigned voice)
{
	struct voice *v = &m->v[voice];

	if (v->open)
		return;
	if (!v->tail_left)
		order_insert(m, voice);
	v->open = v->fresh = true;
	v->unruled_frames = 0;
	v->ruled = v->sounding = v->after_gap = false;
	v->gain = (struct ramp){ .from = volume(&v->cfg), .to = volume(&v->cfg) };
}

/* From frame @at of this period on, the last sample goes to zero. */
static void tail_begin(const struct mix *m, struct voice *v)
{
	float left = v->tail_left ? (float)v->tail_left / (float)m->fade_frames : 0;

	for (unsigned c = 0; c < m->cfg.channels; c++)
		v->tail[c] = v->last[c] + v->tail[c] * left;
	v->tail_left = m->fade_frames;
	v->sounding = false;
}

void mix_voice_close(struct mix *m, unsigned voice)
{
	struct voice *v = &m->v[voice];

	if (!v->open)
		return;
	v->open = false;
	if (v->sounding)
		tail_begin(m, v);
	v->now = (struct mix_voice_now){ .by = -1, .frames = v->now.frames,
					 .gap_frames = v->now.gap_frames, .gaps = v->now.gaps };
	if (!v->tail_left)
		order_remove(m, voice);
}

bool mix_voice_is_safety(const struct mix *m, unsigned voice)
{
	return m->v[voice].cfg.class == SCHED_SAFETY;
}

void mix_set_lower_limit(struct mix *m, float limit)
{
	m->cfg.lower_limit = limit;
}

/* ---- a voice in a period ---- */

static bool is_above(const struct mix *m, int top, const struct voice *v)
{
	const struct mix_voice_cfg *t = top >= 0 ? &m->v[top].cfg : NULL;

	return t && (t->class < v->cfg.class || (t->class == v->cfg.class &&
						 t->rank < v->cfg.rank));
}

static enum mix_why why_of(const struct voice *v)
{
	static const enum mix_why of_rule[] = { [MIX_MIX] = MIX_WHY_FULL,
						[MIX_DUCK] = MIX_WHY_DUCKED,
						[MIX_PAUSE] = MIX_WHY_PAUSED,
						[MIX_MUTE] = MIX_WHY_RULED_OUT };

	if (v->cfg.muted)
		return MIX_WHY_OPERATOR;
	return v->ruled ? of_rule[v->cfg.rule] : MIX_WHY_FULL;
}

static float ruled_gain(const struct voice *v)
{
	if (!v->ruled || v->cfg.rule == MIX_MIX)
		return volume(&v->cfg);
	return v->cfg.rule == MIX_DUCK ? volume(&v->cfg) * v->cfg.duck : 0;
}

/* Decides where the gain of @v goes, @top being the highest that speaks in this period. */
static void aim(struct mix *m, struct voice *v, int top)
{
	bool above = v->cfg.class != SCHED_SAFETY && is_above(m, top, v);
	uint32_t len = m->fade_frames;

	v->unruled_frames = above ? 0 : v->unruled_frames;
	if (above && !v->ruled) {
		v->ruled = true;
		len = v->cfg.attack_frames;
	} else if (!above && v->ruled && v->unruled_frames >= v->cfg.hold_frames) {
		v->ruled = false;
		len = v->cfg.release_frames;
	}
	if (above && m->v[top].cfg.class == SCHED_SAFETY)
		len = Q_MIN(len, m->fade_frames);
	if (!above)
		v->unruled_frames += Q_MIN(m->cfg.period_frames, UINT32_MAX - v->unruled_frames);
	ramp_to(&v->gain, ruled_gain(v), len);
	/* A slow ramp that was under way must not keep class safety waiting. */
	if (above && m->v[top].cfg.class == SCHED_SAFETY &&
	    v->gain.len - v->gain.pos > m->fade_frames)
		v->gain = (struct ramp){ .from = ramp_now(&v->gain), .to = v->gain.to,
					 .len = m->fade_frames };
	if (v->fresh)
		v->gain = (struct ramp){ .from = v->gain.to, .to = v->gain.to };
	v->fresh = false;
	v->now.by = above ? top : -1;
	v->now.why = why_of(v);
}

static float peak_of(const float *x, size_t n)
{
	uint32_t peak = 0;
	float ret;

	/* Floats without their signs are in the order of their bits: compilers vectorize that. */
	for (size_t i = 0; i < n; i++) {
		uint32_t bits;

		memcpy(&bits, &x[i], sizeof(bits));
		peak = Q_MAX(peak, bits & INT32_MAX);
	}
	memcpy(&ret, &peak, sizeof(ret));
	return ret;
}

static void add_ramped(const struct mix *m, struct ramp *r, float *bus, const float *x,
		       uint32_t frames)
{
	unsigned ch = m->cfg.channels;
	uint32_t k = 0;

	for (; k < frames && r->pos < r->len; k++) {
		float g = ramp_at(r, ++r->pos);

		for (unsigned c = 0; c < ch; c++)
			bus[k * ch + c] += x[k * ch + c] * g;
	}
	for (size_t i = (size_t)k * ch; i < (size_t)frames * ch; i++)
		bus[i] += x[i] * r->to;
}

static void add_tail(const struct mix *m, struct voice *v, float *bus, uint32_t from)
{
	unsigned ch = m->cfg.channels;

	for (uint32_t k = from; k < m->cfg.period_frames && v->tail_left; k++) {
		float g = (float)--v->tail_left / (float)m->fade_frames;

		for (unsigned c = 0; c < ch; c++)
			bus[k * ch + c] += v->tail[c] * g;
	}
}

/* After a gap the voice comes back by a ramp; class safety is never changed. */
static void comes_back(const struct mix *m, struct voice *v)
{
	if (v->after_gap && v->cfg.class != SCHED_SAFETY)
		v->gain = (struct ramp){ .to = v->gain.to, .len = m->fade_frames };
	v->after_gap = false;
}

static bool stands_still(const struct voice *v)
{
	return v->ruled && v->cfg.rule == MIX_PAUSE && ramp_now(&v->gain) == 0;
}

static void count(const struct mix *m, struct voice *v, uint32_t got, bool asked)
{
	uint32_t missing = asked ? m->cfg.period_frames - got : 0;

	v->now.frames += got;
	v->now.gap_frames += missing;
	v->now.gaps += missing && v->sounding;
	v->now.gain = ramp_now(&v->gain);
	v->now.speaks = v->now.peak > MIX_SILENCE && v->cfg.gain > 0 && !v->cfg.muted;
}

static void run(struct mix *m, unsigned voice, mix_pull_fn pull, void *ctx, float *bus)
{
	struct voice *v = &m->v[voice];
	uint32_t n = m->cfg.period_frames, got = 0;
	unsigned ch = m->cfg.channels;
	bool asked = v->open && !stands_still(v);

	add_tail(m, v, bus, 0);
	if (asked)
		got = pull(ctx, voice, m->pulled, n);
	qassert(got <= n);
	v->now.peak = peak_of(m->pulled, (size_t)got * ch);
	if (got > 0) {
		comes_back(m, v);
		add_ramped(m, &v->gain, bus, m->pulled, got);
		for (unsigned c = 0; c < ch; c++)
			v->last[c] = m->pulled[(size_t)(got - 1) * ch + c] * ramp_now(&v->gain);
		v->sounding = true;
	}
	ramp_skip(&v->gain, n - got);
	count(m, v, got, asked);
	if (got < n && v->sounding) {
		v->after_gap = asked;
		tail_begin(m, v);
		add_tail(m, v, bus, got);
	}
}

/* ---- the sum ---- */

static uint32_t cut(float *x, float limit)
{
	float was = *x;

	*x = was > limit ? limit : was < -limit ? -limit : was;
	return *x != was;
}

/* The voices below class safety keep out of its headroom. */
static void limit_lower(struct mix *m)
{
	unsigned ch = m->cfg.channels;

	ramp_to(&m->limit, m->totals.safety_speaks ? m->cfg.lower_limit : 1, m->fade_frames);
	if (m->limit.to == 1 && m->limit.pos == m->limit.len)
		return;
	for (uint32_t k = 0; k < m->cfg.period_frames; k++) {
		m->limit.pos += m->limit.pos < m->limit.len;
		for (unsigned c = 0; c < ch; c++)
			m->totals.limited += cut(&m->lower[k * ch + c], ramp_now(&m->limit));
	}
}

static void drop_silent(struct mix *m)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < m->n_order; i++) {
		const struct voice *v = &m->v[m->order[i]];

		if (v->open || v->tail_left)
			m->order[kept++] = m->order[i];
	}
	m->n_order = kept;
}

void mix_period(struct mix *m, mix_pull_fn pull, void *ctx, float *out)
{
	size_t n = (size_t)m->cfg.period_frames * m->cfg.channels;
	int top = -1;

	memset(m->safety, 0, n * sizeof(float));
	memset(m->lower, 0, n * sizeof(float));
	m->totals.safety_speaks = false;
	for (unsigned i = 0; i < m->n_order; i++) {
		unsigned voice = m->order[i];
		struct voice *v = &m->v[voice];
		bool safety = v->cfg.class == SCHED_SAFETY;

		if (v->open)
			aim(m, v, top);
		run(m, voice, pull, ctx, safety ? m->safety : m->lower);
		if (v->now.speaks && top < 0)
			top = (int)voice;
		m->totals.safety_speaks |= v->now.speaks && safety;
	}
	limit_lower(m);
	for (size_t i = 0; i < n; i++) {
		out[i] = m->safety[i] + m->lower[i];
		m->totals.saturated += cut(&out[i], 1);
	}
	m->totals.periods++;
	drop_silent(m);
}

const struct mix_voice_now *mix_voice_now(const struct mix *m, unsigned voice)
{
	return &m->v[voice].now;
}

const struct mix_totals *mix_totals(const struct mix *m)
{
	return &m->totals;
}
