/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sound that goes on for long, or on through another policy: no sample is lost, made or moved. What
 * is sent is a row of numbers that never comes twice, so that every sample of the output says which
 * one it is.
 *
 * SND_LIVE_HOURS=24 plays a simulated day at each rate instead of seconds.
 */
#include <linux/virtio_snd.h>
#include <math.h>

#include "tests/unit/fixture.h"
#include "tests/unit/sndmed.h"

#define SOUND "[sound speaker]\nvoices = 8\n"
#define SAFE "[voice cluster/v]\ndevice = speaker\nclass = safety\n"
#define IVI "[voice ivi/v]\ndevice = speaker\n"
enum { CLUSTER, MUSIC };

static float heard(const struct sm *w, size_t at)
{
	ck_assert_uint_lt(at, w->speaker.n_heard);
	return w->speaker.heard[at];
}

/* Within the headroom that is left beside a safety stream, which this one is in some rows. */
static int16_t sample(uint64_t n)
{
	return (int16_t)((int64_t)(n * 7919 % 31991) - 15995);
}

/* A client that always has some messages out, and the next of its numbers. */
struct player {
	struct sm_client c;
	uint64_t next;
};

static void feed(struct player *p)
{
	int16_t x[SM_PERIOD];

	sm_take(&p->c, true);
	/* A ring of 32 has room for ten messages. */
	while (p->c.q[SM_TX].n_free >= 3) {
		for (unsigned k = 0; k < SM_PERIOD; k++)
			x[k] = sample(p->next + k);
		if (!sm_send(&p->c, 0, x, SM_PERIOD))
			return;
		p->next += SM_PERIOD;
	}
}

static void play(struct sm *w, struct player *p, unsigned periods)
{
	while (periods--) {
		feed(p);
		sm_periods(w, 1);
	}
}

/* ---- another policy while it plays ---- */

/* One who plays music under @policy, heard from the next sample on. */
static void begin(struct sm *w, struct player *p, const char *policy)
{
	sm_open(w, policy);
	sm_connect(w, &p->c, MUSIC, 0);
	sm_start(w, &p->c, 0);
	feed(p);
}

static const struct { const char *what, *before, *after; } quiet_rows[] = {
	{ "nothing", "", "" },
	{ "class, up", "class = best-effort\n", "class = normal\n" },
	{ "class, to safety", "class = normal\n", "class = safety\n" },
	{ "class, from safety", "class = safety\n", "class = best-effort\n" },
	{ "role", "role = media\n", "role = warning\n" },
	{ "rule", "when-higher = duck\nduck = 20\n", "when-higher = mute\n" },
	{ "gain-limit of what is quieter", "gain-limit = 3\nattenuation = 6\n",
	  "gain-limit = 6\nattenuation = 6\n" },
	{ "exclusive", "", "exclusive = yes\n" },
	{ "faults", "fault-budget = 3\n", "fault-budget = 9\nfault-window = 2s\n" },
};

/* Nobody speaks above it: each sample is where it would have been, to the bit. */
START_TEST(reload_is_not_heard)
{
	static struct player p;
	char before[256], after[256];
	struct sm w;

	(void)snprintf(before, sizeof(before), SOUND SAFE IVI "%s", quiet_rows[_i].before);
	(void)snprintf(after, sizeof(after), SOUND SAFE IVI "%s", quiet_rows[_i].after);
	begin(&w, &p, before);
	size_t from = w.speaker.n_heard;
	float gain = 0;
	for (unsigned n = 0; n < 8; n++) {
		play(&w, &p, 5);
		sm_reload(&w, n % 2 ? before : after);
	}
	gain = heard(&w, from) / ((float)sample(0) / 32768);
	ck_assert(gain > 0.4f && gain <= 1);
	for (size_t k = from; k < w.speaker.n_heard; k++)
		ck_assert_msg(fabsf(heard(&w, k) - (float)sample(k - from) / 32768 * gain) < 1e-6f,
			      "%s: sample %zu: %g of %d", quiet_rows[_i].what, k - from,
			      (double)heard(&w, k) * 32768, sample(k - from));
	ck_assert_uint_eq(sm_slot(&w, &p.c, 0)->stats.gap_frames, 0);
	ck_assert_uint_eq(sm_slot(&w, &p.c, 0)->stats.xruns, 0);
	sm_client_fini(&p.c);
	sm_close(&w);
}
END_TEST

static float down(double db)
{
	return (float)pow(10, -db / 20);
}

static const struct { const char *before, *after; double from_db, to_db; } gain_rows[] = {
	{ "", "attenuation = 6\n", 0, 6 },
	{ "attenuation = 20\n", "", 20, 0 },
	{ "attenuation = 6\n", "gain-limit = 12\nattenuation = 12\n", 6, 12 },
	{ "", "muted = yes\n", 0, 1000 },
	{ "muted = yes\n", "attenuation = 3\n", 1000, 3 },
};

/* Another gain is a ramp of 5 ms over the same samples, from the first frame of a period on. */
START_TEST(gain_is_a_ramp)
{
	float a = down(gain_rows[_i].from_db), b = down(gain_rows[_i].to_db);
	static struct player p;
	char before[256], after[256];
	struct sm w;

	(void)snprintf(before, sizeof(before), SOUND SAFE IVI "%s", gain_rows[_i].before);
	(void)snprintf(after, sizeof(after), SOUND SAFE IVI "%s", gain_rows[_i].after);
	begin(&w, &p, before);
	size_t from = w.speaker.n_heard;
	play(&w, &p, 4);
	size_t change = w.speaker.n_heard;
	sm_reload(&w, after);
	play(&w, &p, 4);
	for (size_t k = from; k < w.speaker.n_heard; k++) {
		float t = k < change ? 0 : fminf(1, (float)(k - change + 1) / SM_PERIOD);
		float want = (float)sample(k - from) / 32768 * (a + (b - a) * t);

		ck_assert_msg(fabsf(heard(&w, k) - want) < 2e-6f, "sample %zu: %g is not %g",
			      k - from, (double)heard(&w, k), (double)want);
	}
	ck_assert_uint_eq(sm_slot(&w, &p.c, 0)->stats.gap_frames, 0);
	sm_client_fini(&p.c);
	sm_close(&w);
}
END_TEST

/* The depth changes while it is ducked: one ramp from old to new, and the chime the same. */
START_TEST(ducked_deeper)
{
	static struct player p;
	struct sm_client chime = { 0 };
	struct sm w;

	sm_open(&w, SOUND SAFE IVI "when-higher = duck\nduck = 6\nattack = 5ms\n");
	sm_connect(&w, &p.c, MUSIC, 0);
	sm_connect(&w, &chime, CLUSTER, 0);
	sm_start(&w, &p.c, 0);
	sm_start(&w, &chime, 0);
	feed(&p);
	size_t from = w.speaker.n_heard;
	play(&w, &p, 1);
	for (unsigned n = 0; n < 4; n++) {
		if (n == 2)
			sm_reload(&w, SOUND SAFE IVI
				  "when-higher = duck\nduck = 26\nattack = 5ms\n");
		sm_send_level(&chime, 0, 3277, SM_PERIOD);
		play(&w, &p, 1);
	}
	const float at[] = { 1, 1, down(6), down(6), down(26), down(26) };
	for (size_t k = from; k < w.speaker.n_heard; k++) {
		size_t n = (k - from) / SM_PERIOD;
		float t = (float)((k - from) % SM_PERIOD + 1) / SM_PERIOD;
		float g = at[n] + (at[n + 1] - at[n]) * t;
		float want = (n > 0 ? 3277.0f / 32768 : 0) + (float)sample(k - from) / 32768 * g;

		ck_assert_msg(fabsf(heard(&w, k) - want) < 2e-6f, "sample %zu", k - from);
	}
	sm_client_fini(&p.c);
	sm_client_fini(&chime);
	sm_close(&w);
}
END_TEST

/* ---- long ---- */

static double hours(void)
{
	const char *h = getenv("SND_LIVE_HOURS");

	return h ? strtod(h, NULL) : 20.0 / 3600;
}

static const struct { uint8_t rate; uint32_t hz; } rate_rows[] = {
	{ VIRTIO_SND_PCM_RATE_44100, 44100 },
	{ VIRTIO_SND_PCM_RATE_48000, 48000 },
	{ VIRTIO_SND_PCM_RATE_96000, 96000 },
};

/* 1 kHz at @hz, a whole number of waves in each tenth of a second. */
static void feed_tone(struct sm_client *c, uint32_t hz, const int16_t *wave, uint64_t *next)
{
	int16_t x[SM_PERIOD];

	sm_take(c, true);
	while (c->q[SM_TX].n_free >= 3) {
		for (unsigned k = 0; k < SM_PERIOD; k++)
			x[k] = wave[(*next + k) % (hz / 10)];
		if (!sm_send(c, 0, x, SM_PERIOD))
			return;
		*next += SM_PERIOD;
	}
}

/* Amplitude and phase of 1 kHz in @n frames from @at on; frame @at is @first of all. */
static void tone_of(const struct sm *w, size_t at, size_t n, uint64_t first, double *ret_amplitude,
		    double *ret_phase)
{
	double re = 0, im = 0;

	for (size_t k = 0; k < n; k++) {
		double turn = (double)((first + k) % 48) / 48;

		re += (double)heard(w, at + k) * cos(2 * M_PI * turn);
		im += (double)heard(w, at + k) * sin(2 * M_PI * turn);
	}
	*ret_amplitude = 2 * hypot(re, im) / (double)n;
	*ret_phase = atan2(re, im);
}

/* As many frames as the time has, no xrun, and the tone's phase at the end is the one at first. */
START_TEST(long_without_drift)
{
	const uint32_t hz = rate_rows[_i].hz;
	const uint64_t periods = (uint64_t)(hours() * 3600 * 200);
	struct sm_client c = { 0 };
	static int16_t wave[9600];
	double level[2], phase[2];
	uint64_t next = 0;
	struct sm w;

	for (unsigned k = 0; k < hz / 10; k++)
		wave[k] = (int16_t)lrint(16000 * sin(2 * M_PI * 1000 * k / hz));
	sm_open(&w, SOUND SAFE IVI);
	sm_connect(&w, &c, MUSIC, 0);
	ck_assert_uint_eq(sm_params(&w, &c, 0, rate_rows[_i].rate, SM_PERIOD * 4),
			  VIRTIO_SND_S_OK);
	ck_assert_uint_eq(sm_pcm(&w, &c, VIRTIO_SND_R_PCM_PREPARE, 0), VIRTIO_SND_S_OK);
	feed_tone(&c, hz, wave, &next);
	ck_assert_uint_eq(sm_pcm(&w, &c, VIRTIO_SND_R_PCM_START, 0), VIRTIO_SND_S_OK);
	sm_rest(&w);
	w.speaker.n_heard = 0;
	const uint64_t before = w.speaker.written;
	for (uint64_t n = 0; n < periods; n++) {
		feed_tone(&c, hz, wave, &next);
		/* The sessions have nothing to do, and 24 hours of them take long. */
		w.now_ns += SM_PERIOD_NS;
		snd_engine_period(w.sound->engine, w.now_ns);
		if (n == 39)
			tone_of(&w, 20 * SM_PERIOD, 4800, 20 * SM_PERIOD, &level[0], &phase[0]);
		if (n == 39 || n == periods - 21)
			w.speaker.n_heard = 0;
	}
	const uint64_t made = w.speaker.written - before;
	tone_of(&w, 0, 4800, made - 20 * SM_PERIOD, &level[1], &phase[1]);
	const struct snd_slot *s = sm_slot(&w, &c, 0);
	ck_assert_uint_eq(made, periods * SM_PERIOD);
	ck_assert_uint_eq(s->stats.frames, made);
	ck_assert_uint_eq(s->stats.gap_frames, 0);
	ck_assert_uint_eq(s->stats.xruns, 0);
	/* What was read is what the rates say, but for the converter's window and one message. */
	double read = (double)s->fifo.moved_bytes / 4, want = (double)made * hz / 48000;
	ck_assert_msg(fabs(read - want) <= 512, "%g frames of the guest, not %g", read, want);
	ck_assert_msg(fabs(level[0] - 16000.0 / 32768) < 1e-3 && fabs(level[1] - level[0]) < 1e-4,
		      "level %g, then %g", level[0], level[1]);
	ck_assert_msg(fabs(remainder(phase[1] - phase[0], 2 * M_PI)) < 1e-3,
		      "phase %g, then %g: %g frames of drift", phase[0], phase[1],
		      (phase[1] - phase[0]) / (2 * M_PI) * 48);
	sm_client_fini(&c);
	sm_close(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snd_live");
	TCase *tc = fixture_case(s, "snd_live");

	tcase_add_loop_test(tc, reload_is_not_heard, 0, Q_ARRAY_LEN(quiet_rows));
	tcase_add_loop_test(tc, gain_is_a_ramp, 0, Q_ARRAY_LEN(gain_rows));
	tcase_add_test(tc, ducked_deeper);
	tcase_add_loop_test(tc, long_without_drift, 0, Q_ARRAY_LEN(rate_rows));
	if (getenv("SND_LIVE_HOURS"))
		tcase_set_timeout(tc, 0);
	return fixture_main(s);
}
