/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mixer in virtual time: every expectation is arithmetic on frames. Voices are functions of the
 * frame's number.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/mix.h"

#define RATE 48000u
#define PERIOD 240u
#define CH 2u
#define FADE 240u	/* 5 ms */
#define NEVER UINT64_MAX

/* What a voice plays: a constant, from frame @from to @until of its own time; @impulse is 1. */
struct source {
	float level;
	uint64_t until, impulse;
	uint64_t at;		/* frames pulled */
	uint64_t pulls;
};

struct world {
	struct mix *m;
	struct source s[MIX_VOICES_MAX];
	unsigned order[64], n_order;	/* voices as they were pulled in the last period */
	float out[PERIOD * CH];
};

static uint32_t pull(void *ctx, unsigned voice, float *buf, uint32_t n)
{
	struct world *w = ctx;
	struct source *s = &w->s[voice];
	uint32_t k = 0;

	s->pulls++;
	if (w->n_order < Q_ARRAY_LEN(w->order))
		w->order[w->n_order++] = voice;
	for (; k < n && s->at < s->until; k++, s->at++)
		for (unsigned c = 0; c < CH; c++)
			buf[k * CH + c] = s->at == s->impulse ? 1 : s->level;
	return k;
}

static struct mix_voice_cfg cfg_of(enum sched_class class, uint32_t rank, enum mix_rule rule)
{
	return (struct mix_voice_cfg){ .class = class, .rank = rank, .rule = rule, .duck = 0.25f,
				       .attack_frames = 120, .release_frames = 480,
				       .gain = 1 };
}

static void world_init(struct world *w)
{
	const struct mix_cfg cfg = { RATE, CH, PERIOD, MIX_VOICES_MAX, 0.5f };

	memset(w, 0, sizeof(*w));
	w->m = mix_new(&cfg);
	ck_assert_ptr_nonnull(w->m);
}

static void add(struct world *w, unsigned voice, struct mix_voice_cfg cfg, float level)
{
	w->s[voice] = (struct source){ .level = level, .until = NEVER, .impulse = NEVER };
	mix_voice_set(w->m, voice, &cfg);
	mix_voice_open(w->m, voice);
}

static void period(struct world *w)
{
	w->n_order = 0;
	mix_period(w->m, pull, w, w->out);
}

static void periods(struct world *w, unsigned n)
{
	while (n--)
		period(w);
}

static float ramp(float from, float to, unsigned k, unsigned len)
{
	return k + 1 >= len ? to : from + (to - from) * ((float)(k + 1) / (float)len);
}

static void ck_near(float a, float b)
{
	ck_assert_msg(fabsf(a - b) < 1e-6f, "%g is not %g", (double)a, (double)b);
}

START_TEST(impulse_is_where_it_was)
{
	struct world w;

	world_init(&w);
	add(&w, 3, cfg_of(SCHED_NORMAL, 0, MIX_DUCK), 0);
	w.s[3].impulse = 2 * PERIOD + 17;
	for (unsigned p = 0; p < 4; p++) {
		period(&w);
		for (unsigned i = 0; i < PERIOD * CH; i++)
			ck_assert(w.out[i] == (p == 2 && i / CH == 17 ? 1.0f : 0.0f));
	}
	mix_free(w.m);
}
END_TEST

/* What each rule does to a voice of 0.5 when class safety speaks, and afterwards. */
static const struct {
	enum mix_rule rule;
	float ruled;		/* factor while it holds */
	bool pulled;		/* while it holds */
	enum mix_why why;
} rules[] = {
	{ MIX_MIX, 1, true, MIX_WHY_FULL },
	{ MIX_DUCK, 0.25f, true, MIX_WHY_DUCKED },
	{ MIX_PAUSE, 0, false, MIX_WHY_PAUSED },
	{ MIX_MUTE, 0, true, MIX_WHY_RULED_OUT },
};

START_TEST(rule_by_arithmetic)
{
	const float chime = 0.125f, music = 0.25f;
	struct world w;

	world_init(&w);
	add(&w, 0, cfg_of(SCHED_BEST_EFFORT, 4, rules[_i].rule), music);
	periods(&w, 2);
	add(&w, 1, cfg_of(SCHED_SAFETY, 0, MIX_MIX), chime);
	w.s[1].until = 3 * PERIOD;
	/* The first period in which it speaks: the others go down in it, in 120 frames. */
	period(&w);
	for (unsigned k = 0; k < PERIOD; k++)
		ck_near(w.out[k * CH], chime + music * ramp(1, rules[_i].ruled, k, 120));
	ck_assert_int_eq(mix_voice_now(w.m, 0)->why, rules[_i].why);
	ck_assert_int_eq(mix_voice_now(w.m, 0)->by, 1);
	uint64_t pulls = w.s[0].pulls;
	periods(&w, 2);
	for (unsigned k = 0; k < PERIOD; k++)
		ck_near(w.out[k * CH + 1], chime + music * rules[_i].ruled);
	ck_assert_uint_eq(w.s[0].pulls - pulls, rules[_i].pulled ? 2 : 0);
	/* It has ended: a tail of its last sample, and the others come up in 480 frames. */
	for (unsigned p = 0; p < 3; p++) {
		period(&w);
		for (unsigned k = 0; k < PERIOD; k++) {
			float tail = p == 0 ? chime * ramp(1, 0, k, FADE) : 0;

			ck_near(w.out[k * CH],
				tail + music * ramp(rules[_i].ruled, 1, p * PERIOD + k, 480));
		}
	}
	ck_assert_int_eq(mix_voice_now(w.m, 0)->why, MIX_WHY_FULL);
	ck_assert_uint_eq(mix_voice_now(w.m, 0)->gaps, 0);
	/* A paused voice goes on where it stood. */
	uint64_t stood = rules[_i].pulled ? 0 : 2 * PERIOD;
	ck_assert_uint_eq(w.s[0].at, 8 * PERIOD - stood);
	mix_free(w.m);
}
END_TEST

START_TEST(hold_keeps_the_rule)
{
	struct mix_voice_cfg music = cfg_of(SCHED_NORMAL, 4, MIX_DUCK);
	struct world w;

	music.hold_frames = 2 * PERIOD;
	world_init(&w);
	add(&w, 0, music, 0.5f);
	add(&w, 1, cfg_of(SCHED_NORMAL, 1, MIX_MIX), 0.125f);
	w.s[1].until = PERIOD;
	periods(&w, 3);		/* spoke in the first; the rule holds in two more */
	ck_near(mix_voice_now(w.m, 0)->gain, 0.25f);
	ck_assert_int_eq(mix_voice_now(w.m, 0)->by, -1);
	period(&w);
	ck_near(mix_voice_now(w.m, 0)->gain, 0.25f + 0.75f / 2);
	mix_free(w.m);
}
END_TEST

START_TEST(safety_does_not_wait_for_a_slow_ramp)
{
	struct mix_voice_cfg music = cfg_of(SCHED_BEST_EFFORT, 4, MIX_DUCK);
	struct world w;

	music.attack_frames = RATE;
	world_init(&w);
	add(&w, 0, music, 0.5f);
	period(&w);
	add(&w, 1, cfg_of(SCHED_NORMAL, 0, MIX_MIX), 0.1f);
	periods(&w, 2);		/* a slow ramp is under way */
	ck_assert(mix_voice_now(w.m, 0)->gain > 0.9f);
	add(&w, 2, cfg_of(SCHED_SAFETY, 0, MIX_MIX), 0.1f);
	period(&w);
	ck_near(mix_voice_now(w.m, 0)->gain, 0.25f);
	mix_free(w.m);
}
END_TEST

/* Whatever its rule says, and whoever else speaks. */
START_TEST(safety_is_never_changed)
{
	struct world w;

	world_init(&w);
	add(&w, 0, cfg_of(SCHED_SAFETY, 9, MIX_MUTE), 0.25f);
	add(&w, 1, cfg_of(SCHED_SAFETY, 0, MIX_MIX), 0.125f);
	add(&w, 2, cfg_of(SCHED_NORMAL, 0, MIX_MUTE), 0.0625f);
	w.s[2].until = 0;
	for (unsigned p = 0; p < 3; p++) {
		period(&w);
		for (unsigned i = 0; i < PERIOD * CH; i++)
			ck_assert(w.out[i] == 0.375f);
	}
	/* Class safety was pulled before the others, in the order of its roles. */
	ck_assert_uint_eq(w.order[0], 1);
	ck_assert_uint_eq(w.order[1], 0);
	ck_assert_uint_eq(w.order[2], 2);
	mix_free(w.m);
}
END_TEST

START_TEST(silence_is_nobody_who_speaks)
{
	struct world w;

	world_init(&w);
	add(&w, 0, cfg_of(SCHED_NORMAL, 4, MIX_DUCK), 0.5f);
	add(&w, 1, cfg_of(SCHED_SAFETY, 0, MIX_MIX), 0);
	periods(&w, 3);
	ck_near(mix_voice_now(w.m, 0)->gain, 1);
	w.s[1].impulse = w.s[1].at + PERIOD - 1;
	period(&w);		/* the last sample of the period: the others go down in it all */
	ck_near(w.out[0], 0.5f * ramp(1, 0.25f, 0, 120));
	mix_free(w.m);
}
END_TEST

START_TEST(gap_of_one_is_its_own)
{
	struct world w;

	world_init(&w);
	add(&w, 0, cfg_of(SCHED_NORMAL, 4, MIX_DUCK), 0.25f);
	add(&w, 1, cfg_of(SCHED_NORMAL, 4, MIX_DUCK), 0.5f);
	w.s[1].until = PERIOD + 100;
	period(&w);
	for (unsigned p = 0; p < 3; p++) {
		period(&w);
		for (unsigned k = 0; k < PERIOD; k++) {
			unsigned n = p * PERIOD + k;
			float late = n < 100 ? 0.5f : 0.5f * ramp(1, 0, n - 100, FADE);

			ck_near(w.out[k * CH], 0.25f + late);
		}
	}
	ck_assert_uint_eq(mix_voice_now(w.m, 1)->gaps, 1);
	ck_assert_uint_eq(mix_voice_now(w.m, 1)->gap_frames, 140 + 2 * PERIOD);
	ck_assert_uint_eq(mix_voice_now(w.m, 0)->gaps, 0);
	w.s[1].until = NEVER;	/* it comes back by a ramp */
	period(&w);
	for (unsigned k = 0; k < PERIOD; k++)
		ck_near(w.out[k * CH], 0.25f + 0.5f * ramp(0, 1, k, FADE));
	mix_free(w.m);
}
END_TEST

START_TEST(closed_voice_fades_and_is_gone)
{
	struct world w;

	world_init(&w);
	add(&w, 0, cfg_of(SCHED_NORMAL, 4, MIX_MIX), 0.5f);
	period(&w);
	mix_voice_close(w.m, 0);
	uint64_t pulls = w.s[0].pulls;
	period(&w);
	for (unsigned k = 0; k < PERIOD; k++)
		ck_near(w.out[k * CH], 0.5f * ramp(1, 0, k, FADE));
	period(&w);
	ck_assert(w.out[0] == 0.0f && w.out[PERIOD * CH - 1] == 0.0f);
	ck_assert_uint_eq(w.s[0].pulls, pulls);
	mix_free(w.m);
}
END_TEST

START_TEST(lower_voices_keep_the_headroom)
{
	struct world w;

	world_init(&w);
	for (unsigned v = 0; v < 3; v++)
		add(&w, v, cfg_of(SCHED_NORMAL, 4, MIX_MIX), 0.5f);
	period(&w);
	ck_assert_uint_eq(mix_totals(w.m)->saturated, PERIOD * CH);
	ck_assert_uint_eq(mix_totals(w.m)->limited, 0);
	add(&w, 9, cfg_of(SCHED_SAFETY, 0, MIX_MIX), 0.5f);
	period(&w);		/* 1.5 of the others, cut to a limit that goes from 1 to 0.5 */
	for (unsigned k = 0; k < PERIOD; k++)
		ck_near(w.out[k * CH], fminf(1, 0.5f + ramp(1, 0.5f, k, FADE)));
	uint64_t was = mix_totals(w.m)->saturated;
	period(&w);
	ck_near(w.out[0], 1.0f);
	ck_assert_uint_eq(mix_totals(w.m)->saturated, was);
	ck_assert_uint_eq(mix_totals(w.m)->limited, 2 * PERIOD * CH);
	mix_free(w.m);
}
END_TEST

START_TEST(volume_and_mute_are_ramps)
{
	struct mix_voice_cfg cfg = cfg_of(SCHED_NORMAL, 4, MIX_MIX);
	struct world w;

	world_init(&w);
	add(&w, 0, cfg, 0.5f);
	period(&w);
	cfg.gain = 0.5f;
	mix_voice_set(w.m, 0, &cfg);
	period(&w);
	for (unsigned k = 0; k < PERIOD; k++)
		ck_near(w.out[k * CH], 0.5f * ramp(1, 0.5f, k, FADE));
	cfg.muted = true;
	mix_voice_set(w.m, 0, &cfg);
	period(&w);
	for (unsigned k = 0; k < PERIOD; k++)
		ck_near(w.out[k * CH], 0.5f * ramp(0.5f, 0, k, FADE));
	ck_assert_int_eq(mix_voice_now(w.m, 0)->why, MIX_WHY_OPERATOR);
	mix_free(w.m);
}
END_TEST

/* The sum does not know who came first. */
START_TEST(order_of_arrival_is_not_heard)
{
	static const unsigned orders[2][4] = { { 0, 1, 2, 3 }, { 3, 1, 0, 2 } };
	struct world w[2];

	for (unsigned i = 0; i < 2; i++) {
		world_init(&w[i]);
		for (unsigned k = 0; k < 4; k++) {
			unsigned v = orders[i][k];

			add(&w[i], v, cfg_of(SCHED_NORMAL, v % 2, MIX_DUCK),
			    0.1f + (float)v * 1e-3f);
		}
		period(&w[i]);
	}
	ck_assert_mem_eq(w[0].out, w[1].out, sizeof(w[0].out));
	mix_free(w[0].m);
	mix_free(w[1].m);
}
END_TEST

struct day {
	float saw[1024 + 40], flat[40];
	uint64_t at[2];
};

static uint32_t pull_day(void *ctx, unsigned voice, float *buf, uint32_t n)
{
	struct day *d = ctx;

	memcpy(buf, voice ? d->flat : &d->saw[d->at[0] & 1023], n * sizeof(float));
	d->at[voice] += n;
	return n;
}

/* 24 hours of periods of 5 ms (8000 Hz, one channel): not a frame too many or too few. */
START_TEST(a_day_without_drift)
{
	const uint64_t n_periods = 24ull * 3600 * 200;
	const struct mix_cfg cfg = { 8000, 1, 40, 2, 0.5f };
	struct mix_voice_cfg v = cfg_of(SCHED_NORMAL, 0, MIX_MIX);
	struct mix *m = mix_new(&cfg);
	static struct day d;
	float out[40];
	uint64_t wrong = 0;

	for (unsigned i = 0; i < Q_ARRAY_LEN(d.saw); i++)
		d.saw[i] = (float)(i & 1023) / 4096;
	for (unsigned i = 0; i < Q_ARRAY_LEN(d.flat); i++)
		d.flat[i] = 0.25f;
	for (unsigned i = 0; i < 2; i++) {
		mix_voice_set(m, i, &v);
		mix_voice_open(m, i);
	}
	for (uint64_t p = 0; p < n_periods; p++) {
		mix_period(m, pull_day, &d, out);
		wrong += out[7] != 0.25f + (float)((p * 40 + 7) & 1023) / 4096;
	}
	ck_assert_uint_eq(wrong, 0);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(d.at[i], 24ull * 3600 * 8000);
		ck_assert_uint_eq(mix_voice_now(m, i)->gaps, 0);
	}
	ck_assert_uint_eq(mix_totals(m)->saturated, 0);
	mix_free(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_mix");
	TCase *t = tcase_create("mix");

	tcase_add_test(t, impulse_is_where_it_was);
	tcase_add_loop_test(t, rule_by_arithmetic, 0, Q_ARRAY_LEN(rules));
	tcase_add_test(t, hold_keeps_the_rule);
	tcase_add_test(t, safety_does_not_wait_for_a_slow_ramp);
	tcase_add_test(t, safety_is_never_changed);
	tcase_add_test(t, silence_is_nobody_who_speaks);
	tcase_add_test(t, gap_of_one_is_its_own);
	tcase_add_test(t, closed_voice_fades_and_is_gone);
	tcase_add_test(t, lower_voices_keep_the_headroom);
	tcase_add_test(t, volume_and_mute_are_ramps);
	tcase_add_test(t, order_of_arrival_is_not_heard);
	tcase_add_test(t, a_day_without_drift);
	suite_add_tcase(s, t);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
