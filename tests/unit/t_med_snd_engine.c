/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A period of a sound device, with real sessions and in virtual time: what is heard of each guest,
 * sample by sample, when all goes well and when one of them, or the device, does not.
 */
#include <errno.h>
#include <linux/virtio_snd.h>
#include <math.h>

#include "tests/unit/fixture.h"
#include "tests/unit/sndmed.h"

#define SOUND "[sound speaker]\nperiods = 2\nvoices = 1\n"
#define VOICE(name, rest) "[voice " name "/v]\ndevice = speaker\n" rest
#define SAFE VOICE("cluster", "class = safety\n")
#define OTHERS                                                                                     \
	VOICE("ivi", "class = normal\nrole = media\nduck = 20\n")                                  \
	VOICE("rear", "class = normal\nrole = media\n")
enum { CLUSTER, IVI, REAR };

#define FULL 32767
#define HALF 16384

static float heard(const struct sm *w, size_t at)
{
	ck_assert_uint_lt(at, w->speaker.n_heard);
	return w->speaker.heard[at];
}

static void ck_near(float a, float b)
{
	ck_assert_msg(fabsf(a - b) < 1e-4f, "%g is not %g", (double)a, (double)b);
}

/* Keeps @c's stream fed while @n periods pass. */
static void play(struct sm *w, struct sm_client *c, int16_t level, unsigned n)
{
	while (n--) {
		sm_send_level(c, 0, level, SM_PERIOD);
		sm_periods(w, 1);
		sm_take(c, true);
	}
}

/* The largest change from one sample to the next, from frame @from on. */
static float steepest(const struct sm *w, size_t from)
{
	float most = 0;

	for (size_t i = from + 1; i < w->speaker.n_heard; i++)
		most = fmaxf(most, fabsf(w->speaker.heard[i] - w->speaker.heard[i - 1]));
	return most;
}

/* What was sent before a period is heard from its first frame on, and counted so. */
START_TEST(heard_in_the_next_period)
{
	struct sm_client c = { 0 };
	int16_t x[SM_PERIOD];
	struct sm w;

	sm_open(&w, SOUND SAFE OTHERS);
	sm_connect(&w, &c, CLUSTER, 0);
	sm_start(&w, &c, 0);
	sm_periods(&w, 3);
	for (unsigned k = 0; k < SM_PERIOD; k++)
		x[k] = (int16_t)(1000 + k);
	size_t from = w.speaker.n_heard;
	ck_assert(sm_send(&c, 0, x, SM_PERIOD));
	sm_periods(&w, 1);
	for (unsigned k = 0; k < SM_PERIOD; k++)
		ck_assert(heard(&w, from + k) == (float)x[k] / 32768);
	ck_assert_uint_eq(sm_take(&c, true), 1);
	const struct snd_engine_stats *st = &w.sound->engine->stats;
	/* At worst it was sent right after the look before: a period, and what the device holds. */
	ck_assert_uint_eq(st->heard_worst_ns, 2 * SM_PERIOD_NS);
	ck_assert_uint_eq(st->heard_bound_ns, 3 * SM_PERIOD_NS);
	sm_client_fini(&c);
	sm_close(&w);
}
END_TEST

/* One voice is all there is, and it is taken. */
START_TEST(safety_needs_no_voice)
{
	struct sm_client ivi = { 0 }, rear = { 0 }, cluster = { 0 };
	struct sm w;

	sm_open(&w, SOUND SAFE OTHERS);
	sm_connect(&w, &ivi, IVI, 0);
	sm_connect(&w, &rear, REAR, 0);
	sm_connect(&w, &cluster, CLUSTER, 0);
	sm_start(&w, &ivi, 0);
	play(&w, &ivi, 1000, 1);
	ck_assert_uint_eq(sm_params(&w, &rear, 0, VIRTIO_SND_PCM_RATE_48000, 960), VIRTIO_SND_S_OK);
	ck_assert_uint_eq(sm_pcm(&w, &rear, VIRTIO_SND_R_PCM_PREPARE, 0), VIRTIO_SND_S_IO_ERR);
	ck_assert(sm_told(&w, "voice_refused", "rear/v"));
	sm_start(&w, &cluster, 0);
	size_t from = w.speaker.n_heard;
	play(&w, &cluster, HALF, 1);
	ck_assert_float_ge(heard(&w, from), 0.5f);
	/* A voice that is given back can be taken. */
	ck_assert_uint_eq(sm_pcm(&w, &ivi, VIRTIO_SND_R_PCM_STOP, 0), VIRTIO_SND_S_OK);
	ck_assert_uint_eq(sm_pcm(&w, &ivi, VIRTIO_SND_R_PCM_RELEASE, 0), VIRTIO_SND_S_OK);
	ck_assert_uint_eq(sm_pcm(&w, &rear, VIRTIO_SND_R_PCM_PREPARE, 0), VIRTIO_SND_S_OK);
	sm_client_fini(&ivi);
	sm_client_fini(&rear);
	sm_client_fini(&cluster);
	sm_close(&w);
}
END_TEST

/* Who has the device for himself keeps the others out, but not class safety. */
START_TEST(exclusive)
{
	struct sm_client ivi = { 0 }, rear = { 0 }, cluster = { 0 };
	struct sm w;

	sm_open(&w, "[sound speaker]\n" SAFE VOICE("ivi", "exclusive = yes\n")
			    VOICE("rear", ""));
	sm_connect(&w, &ivi, IVI, 0);
	sm_connect(&w, &rear, REAR, 0);
	sm_connect(&w, &cluster, CLUSTER, 0);
	sm_start(&w, &ivi, 0);
	sm_params(&w, &rear, 0, VIRTIO_SND_PCM_RATE_48000, 960);
	ck_assert_uint_eq(sm_pcm(&w, &rear, VIRTIO_SND_R_PCM_PREPARE, 0), VIRTIO_SND_S_IO_ERR);
	sm_start(&w, &cluster, 0);
	sm_hang_up(&w, &ivi);
	ck_assert_uint_eq(sm_pcm(&w, &rear, VIRTIO_SND_R_PCM_PREPARE, 0), VIRTIO_SND_S_OK);
	/* And the other way round: who wants it for himself waits until the others are gone. */
	ivi.sock = -1;
	sm_client_fini(&ivi);
	ivi = (struct sm_client){ 0 };
	sm_connect(&w, &ivi, IVI, 0);
	sm_params(&w, &ivi, 0, VIRTIO_SND_PCM_RATE_48000, 960);
	ck_assert_uint_eq(sm_pcm(&w, &ivi, VIRTIO_SND_R_PCM_PREPARE, 0), VIRTIO_SND_S_IO_ERR);
	sm_client_fini(&ivi);
	sm_client_fini(&rear);
	sm_client_fini(&cluster);
	sm_close(&w);
}
END_TEST

/* From the first frame of the period in which class safety speaks the others go down, in 5 ms. */
START_TEST(ducked_in_the_same_period)
{
	struct sm_client ivi = { 0 }, cluster = { 0 };
	struct sm w;

	sm_open(&w, SOUND SAFE OTHERS);
	sm_connect(&w, &ivi, IVI, 0);
	sm_connect(&w, &cluster, CLUSTER, 0);
	sm_start(&w, &ivi, 0);
	sm_start(&w, &cluster, 0);
	play(&w, &ivi, HALF, 4);
	size_t from = w.speaker.n_heard;
	ck_near(heard(&w, from - 1), 0.5f);
	sm_send_level(&cluster, 0, HALF / 2, SM_PERIOD);
	play(&w, &ivi, HALF, 1);
	for (unsigned k = 0; k < SM_PERIOD; k++)
		ck_near(heard(&w, from + k),
			0.25f + 0.5f * (1 - 0.9f * (float)(k + 1) / SM_PERIOD));
	const struct snd_slot *s = sm_slot(&w, &ivi, 0);
	ck_assert_uint_eq(s->stats.why, MIX_WHY_DUCKED);
	ck_assert_int_eq(s->stats.by, (int)w.sound->voices[CLUSTER].first_slot);
	ck_assert_uint_eq((s->stats.gain_ppm + 500) / 1000, 100);
	sm_client_fini(&ivi);
	sm_client_fini(&cluster);
	sm_close(&w);
}
END_TEST

/* ---- a guest that does not go on ---- */

static void is_late(struct sm *w, struct sm_client *c)
{
}

static void dies(struct sm *w, struct sm_client *c)
{
	qfd_close(&c->sock);
}

/* An available index that no ring has room for. */
static void loses_its_ring(struct sm *w, struct sm_client *c)
{
	uint16_t idx = htole16((uint16_t)(c->q[SM_TX].avail_idx + 1000));

	memcpy((char *)c->q[SM_TX].avail + 2, &idx, sizeof(idx));
}

/* A message without a header. */
static void sends_rubbish(struct sm *w, struct sm_client *c)
{
	const struct qdriver_buf b = { gpa(0x15000), 2, false };

	ck_assert_int_eq(qdriver_add(&c->q[SM_TX], &b, 1, c), QDRIVER_OK);
	qdriver_publish(&c->q[SM_TX]);
}

static void stops(struct sm *w, struct sm_client *c)
{
	ck_assert_uint_eq(sm_pcm(w, c, VIRTIO_SND_R_PCM_STOP, 0), VIRTIO_SND_S_OK);
}

static const struct {
	void (*ends)(struct sm *w, struct sm_client *c);
	bool gap, fault;
} fade_rows[] = {
	{ is_late, true, false },
	{ dies, false, false },
	{ loses_its_ring, true, true },
	{ sends_rubbish, true, true },
	{ stops, false, false },
};

/* Its last sample goes to zero in 5 ms, it is counted, and the other one plays on unchanged. */
START_TEST(fades_out)
{
	struct sm_client ivi = { 0 }, rear = { 0 };
	struct sm w;

	sm_open(&w, "[sound speaker]\n" SAFE OTHERS);
	sm_connect(&w, &ivi, IVI, 0);
	sm_connect(&w, &rear, REAR, 0);
	sm_start(&w, &ivi, 0);
	sm_start(&w, &rear, 0);
	for (unsigned n = 0; n < 4; n++) {
		sm_send_level(&rear, 0, 3277, SM_PERIOD);
		play(&w, &ivi, HALF, 1);
		sm_take(&rear, true);
	}
	size_t from = w.speaker.n_heard;
	for (unsigned n = 0; n < 8; n++)
		sm_send_level(&rear, 0, 3277, SM_PERIOD);
	fade_rows[_i].ends(&w, &ivi);
	sm_periods(&w, 8 - (unsigned)((w.speaker.n_heard - from) / SM_PERIOD));
	ck_assert_float_lt(steepest(&w, from - 1), 0.55f / SM_PERIOD);
	size_t quiet = from;
	while (quiet < w.speaker.n_heard && heard(&w, quiet) > 0.1001f)
		quiet++;
	/* It begins at the latest in the period after the next one: what was there is played. */
	ck_assert_uint_le(quiet, from + 3 * (size_t)SM_PERIOD);
	for (; quiet < w.speaker.n_heard; quiet++)
		ck_near(heard(&w, quiet), 0.1f);
	ck_assert_uint_eq(sm_slot(&w, &ivi, 0)->stats.xruns > 0, fade_rows[_i].gap);
	ck_assert_uint_eq(w.sound->voices[IVI].faults, fade_rows[_i].fault);
	ck_assert_uint_eq(sm_slot(&w, &rear, 0)->stats.gap_frames, 0);
	sm_client_fini(&ivi);
	sm_client_fini(&rear);
	sm_close(&w);
}
END_TEST

/* Who is late comes back by a ramp, and its samples go on where they were. */
START_TEST(comes_back_after_a_gap)
{
	struct sm_client ivi = { 0 };
	struct sm w;

	sm_open(&w, "[sound speaker]\n" SAFE OTHERS);
	sm_connect(&w, &ivi, IVI, 0);
	sm_start(&w, &ivi, 0);
	play(&w, &ivi, HALF, 2);
	sm_periods(&w, 3);
	size_t from = w.speaker.n_heard;
	play(&w, &ivi, HALF, 2);
	for (unsigned k = 0; k < SM_PERIOD; k++)
		ck_near(heard(&w, from + k), 0.5f * (float)(k + 1) / SM_PERIOD);
	ck_near(heard(&w, from + SM_PERIOD), 0.5f);
	ck_assert_uint_eq(sm_slot(&w, &ivi, 0)->stats.xruns, 1);
	ck_assert_uint_eq(sm_slot(&w, &ivi, 0)->stats.gap_frames, 3 * SM_PERIOD);
	sm_client_fini(&ivi);
	sm_close(&w);
}
END_TEST

/* It played what it had, stopped, and goes on later without a PREPARE: nobody missed anything. */
START_TEST(stopped_is_no_gap)
{
	struct sm_client ivi = { 0 };
	struct sm w;

	sm_open(&w, "[sound speaker]\n" SAFE OTHERS);
	sm_connect(&w, &ivi, IVI, 0);
	/* Its periods are long: what is missing before it stops is not one yet. */
	ck_assert_uint_eq(sm_params(&w, &ivi, 0, VIRTIO_SND_PCM_RATE_48000, 4 * SM_PERIOD * 4),
			  VIRTIO_SND_S_OK);
	ck_assert_uint_eq(sm_pcm(&w, &ivi, VIRTIO_SND_R_PCM_PREPARE, 0), VIRTIO_SND_S_OK);
	ck_assert_uint_eq(sm_pcm(&w, &ivi, VIRTIO_SND_R_PCM_START, 0), VIRTIO_SND_S_OK);
	play(&w, &ivi, HALF, 2);
	sm_periods(&w, 1);
	const struct snd_slot_stats *st = &sm_slot(&w, &ivi, 0)->stats;
	const uint64_t gap_frames = st->gap_frames;
	ck_assert_uint_ge(gap_frames, SM_PERIOD);
	stops(&w, &ivi);
	sm_periods(&w, 100);
	ck_assert(sm_send_level(&ivi, 0, HALF, SM_PERIOD));
	ck_assert_uint_eq(sm_pcm(&w, &ivi, VIRTIO_SND_R_PCM_START, 0), VIRTIO_SND_S_OK);
	play(&w, &ivi, HALF, 2);
	ck_near(heard(&w, w.speaker.n_heard - 1), 0.5f);
	ck_assert_uint_eq(st->xruns, 0);
	ck_assert_uint_eq(st->gap_frames, gap_frames);
	sm_client_fini(&ivi);
	sm_close(&w);
}
END_TEST

START_TEST(saturation_is_counted)
{
	struct sm_client ivi = { 0 }, rear = { 0 };
	struct sm w;

	sm_open(&w, "[sound speaker]\n" VOICE("x", "") VOICE("ivi", "when-higher = mix\n")
			    VOICE("rear", "when-higher = mix\n"));
	sm_connect(&w, &ivi, IVI, 0);
	sm_connect(&w, &rear, REAR, 0);
	sm_start(&w, &ivi, 0);
	sm_start(&w, &rear, 0);
	play(&w, &ivi, FULL, 1);
	ck_assert_uint_eq(w.sound->engine->stats.saturated, 0);
	for (unsigned n = 0; n < 2; n++) {
		sm_send_level(&rear, 0, HALF, SM_PERIOD);
		play(&w, &ivi, FULL, 1);
	}
	ck_assert(heard(&w, w.speaker.n_heard - 1) == 1.0f);
	/* Both channels of every frame but those of the first ramps. */
	ck_assert_uint_eq(w.sound->engine->stats.saturated, 2 * 2 * SM_PERIOD);
	sm_client_fini(&ivi);
	sm_client_fini(&rear);
	sm_close(&w);
}
END_TEST

/* ---- a device that does not go on ---- */

/* The clock of null plays it, until it is found again: no guest sees anything. */
START_TEST(lost_device)
{
	struct sm_client ivi = { 0 };
	struct sm w;

	sm_open(&w, "[sound speaker]\n" SAFE OTHERS);
	sm_connect(&w, &ivi, IVI, 0);
	sm_start(&w, &ivi, 0);
	play(&w, &ivi, HALF, 3);
	w.speaker.err = -ENODEV;
	play(&w, &ivi, HALF, 10);
	ck_assert(w.speaker.closed && sm_told(&w, "sound_lost", "speaker"));
	ck_assert(w.sound->engine->lost && w.sound->engine->stats.device_lost);
	ck_assert_uint_eq(w.sound->engine->stats.lost, 1);
	ck_assert_uint_eq(ivi.n_done, 13);
	/* It is looked for now and then; what is found here is a new null, by the policy. */
	w.now_ns += Q_NSEC_PER_SEC;
	play(&w, &ivi, HALF, 2);
	ck_assert(sm_told(&w, "sound_back", "speaker"));
	ck_assert(!w.sound->engine->lost && !w.sound->engine->stats.device_lost);
	ck_assert_uint_eq(ivi.n_done, 15);
	ck_assert_uint_eq(ivi.n_refused, 0);
	ck_assert_uint_eq(sm_slot(&w, &ivi, 0)->stats.gap_frames, 0);
	sm_client_fini(&ivi);
	sm_close(&w);
}
END_TEST

/* What is mixed is taken, but not played: class safety alone makes that an alarm. */
START_TEST(not_heard)
{
	struct sm_client ivi = { 0 }, cluster = { 0 };
	struct sm w;

	sm_open(&w, "[sound speaker]\n" SAFE OTHERS);
	sm_connect(&w, &ivi, IVI, 0);
	sm_connect(&w, &cluster, CLUSTER, 0);
	sm_start(&w, &ivi, 0);
	sm_start(&w, &cluster, 0);
	w.speaker.stands = true;
	play(&w, &ivi, HALF, 100);
	ck_assert(!sm_told(&w, "safety_not_heard", "speaker"));
	play(&w, &cluster, HALF, 40);
	ck_assert(!sm_told(&w, "safety_not_heard", "speaker"));
	play(&w, &cluster, HALF, 2);
	ck_assert(sm_told(&w, "safety_not_heard", "speaker"));
	ck_assert(w.sound->engine->stats.alarm && !sm_told(&w, "safety_heard_again", "speaker"));
	w.speaker.stands = false;
	play(&w, &cluster, HALF, 2);
	ck_assert(sm_told(&w, "safety_heard_again", "speaker"));
	ck_assert(!w.sound->engine->stats.alarm);
	ck_assert_uint_eq(w.sound->engine->stats.alarms, 1);
	sm_client_fini(&ivi);
	sm_client_fini(&cluster);
	sm_close(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snd_engine");
	TCase *tc = fixture_case(s, "snd_engine");

	tcase_add_test(tc, heard_in_the_next_period);
	tcase_add_test(tc, safety_needs_no_voice);
	tcase_add_test(tc, exclusive);
	tcase_add_test(tc, ducked_in_the_same_period);
	tcase_add_loop_test(tc, fades_out, 0, Q_ARRAY_LEN(fade_rows));
	tcase_add_test(tc, comes_back_after_a_gap);
	tcase_add_test(tc, stopped_is_no_gap);
	tcase_add_test(tc, saturation_is_counted);
	tcase_add_test(tc, lost_device);
	tcase_add_test(tc, not_heard);
	return fixture_main(s);
}
