/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sound device records: who hears it, and what becomes of them and of those who play when it
 * is gone. And what is made to fail on purpose, of both.
 */
#include <errno.h>
#include <linux/virtio_snd.h>

#include "tests/unit/fixture.h"
#include "tests/unit/sndmed.h"

#define SOUND "[sound speaker]\nperiods = 2\n"
#define VOICE(name, rest) "[voice " name "/v]\ndevice = speaker\n" rest
#define VOICES VOICE("cluster", "class = safety\n") VOICE("ivi", "capture = 1\n")
enum { CLUSTER, IVI };

#define PLAYED 0u	/* ivi's streams */
#define RECORDED 1u
#define BYTES (SM_PERIOD * 4)

/* A microphone that hears one value on the left and its negative on the right. */
struct mic {
	struct snd_dev dev;
	float level;
	int err;
	unsigned n_read;
	bool closed;
};

static int mic_read(struct snd_dev *d, float *frames)
{
	struct mic *m = Q_CONTAINER_OF(d, struct mic, dev);

	m->n_read++;
	for (uint32_t i = 0; m->err == 0 && i < d->cfg.period_frames; i++) {
		frames[2 * i] = m->level;
		frames[2 * i + 1] = -m->level;
	}
	return m->err;
}

static void mic_close(struct snd_dev *d)
{
	Q_CONTAINER_OF(d, struct mic, dev)->closed = true;
}

static const struct snd_dev_ops mic_ops = { .name = "mic", .read = mic_read, .close = mic_close };

static void open_mic(struct sm *w, struct mic *m)
{
	struct snd_cmd c = { .kind = SND_CMD_CAPTURE, .dev = &m->dev };

	*m = (struct mic){ .dev = { .ops = &mic_ops, .cfg = w->sound->engine->cfg },
			   .level = 0.5f };
	ck_assert(snd_engine_tell(w->sound->engine, &c));
}

/* A period is recorded into slot 0: what the left channel's first frame is, and the right one's. */
static void record(struct sm *w, struct sm_client *c, int16_t *left, int16_t *right)
{
	int16_t at[2];

	ck_assert(sm_offer(c, RECORDED, BYTES));
	for (unsigned n = 0; n < 4 && sm_take(c, false) == 0; n++)
		sm_periods(w, 1);
	memcpy(at, sm_offered(c, 0), sizeof(at));
	*left = (int16_t)le16toh((uint16_t)at[0]);
	*right = (int16_t)le16toh((uint16_t)at[1]);
	ck_assert_uint_eq(c->n_refused, 0);
}

static void ck_level(int16_t got, int want)
{
	ck_assert_int_le(abs(got - want), 1);
}

/* Lost while somebody listens and somebody speaks: silence, and not a sample less is played. */
START_TEST(lost_microphone)
{
	struct sm_client cluster = { 0 }, ivi = { 0 };
	int16_t left, right;
	struct mic mic;
	struct sm w;

	sm_open(&w, SOUND VOICES);
	open_mic(&w, &mic);
	sm_connect(&w, &cluster, CLUSTER, 0);
	sm_connect(&w, &ivi, IVI, 0);
	sm_start(&w, &cluster, 0);
	sm_start(&w, &ivi, RECORDED);
	record(&w, &ivi, &left, &right);
	ck_level(left, 16384);
	ck_level(right, -16384);
	mic.err = -ENODEV;
	size_t from = w.speaker.n_heard;
	for (unsigned n = 0; n < 5; n++) {
		ck_assert(sm_send_level(&cluster, 0, 16384, SM_PERIOD));
		record(&w, &ivi, &left, &right);
		sm_take(&cluster, true);
	}
	ck_assert(mic.closed && sm_told(&w, "capture_lost", "speaker"));
	ck_assert(!w.sound->engine->lost && !sm_told(&w, "sound_lost", "speaker"));
	ck_level(left, 0);
	ck_level(right, 0);
	for (size_t i = from; i < from + SM_PERIOD; i++)
		ck_assert_msg(w.speaker.heard[i] > 0.49f, "frame %zu: %g", i - from,
			      (double)w.speaker.heard[i]);
	/* One that came meanwhile is heard; a second one is not wanted. */
	struct mic another, third;
	open_mic(&w, &another);
	open_mic(&w, &third);
	record(&w, &ivi, &left, &right);
	record(&w, &ivi, &left, &right);
	ck_level(left, 16384);
	ck_assert(third.closed && !another.closed && third.n_read == 0);
	sm_client_fini(&ivi);
	sm_client_fini(&cluster);
	sm_close(&w);
}
END_TEST

/* A PCM that nobody reads stops: it is read, whoever listens. */
START_TEST(read_for_nobody)
{
	struct mic mic;
	struct sm w;

	sm_open(&w, SOUND VOICES);
	open_mic(&w, &mic);
	sm_periods(&w, 7);
	ck_assert_uint_eq(mic.n_read, 7);
	sm_close(&w);
}
END_TEST

/* Who may not record has no stream for it, and what he asks of one is refused. */
START_TEST(may_not)
{
	struct sm_client cluster = { 0 };
	struct mic mic;
	struct sm w;

	sm_open(&w, SOUND VOICES);
	open_mic(&w, &mic);
	sm_connect(&w, &cluster, CLUSTER, 0);
	ck_assert_uint_eq(w.sound->voices[CLUSTER].dev.n_streams, 1);
	ck_assert_uint_eq(sm_params(&w, &cluster, 1, VIRTIO_SND_PCM_RATE_48000, BYTES),
			  VIRTIO_SND_S_BAD_MSG);
	sm_start(&w, &cluster, 0);
	ck_assert(sm_offer(&cluster, 0, BYTES));
	sm_periods(&w, 2);
	ck_assert_uint_eq(sm_take(&cluster, false), 1);
	ck_assert_uint_eq(cluster.n_refused, 1);
	sm_client_fini(&cluster);
	sm_close(&w);
}
END_TEST

/* ---- on purpose ---- */

static struct inject_rule rule(const char *kind, uint32_t id)
{
	char why[64];
	struct inject_rule r;

	ck_assert(inject_rule_parse(kind, NULL, 0, &r, why, sizeof(why)));
	r.id = id;
	return r;
}

START_TEST(rules)
{
	struct inject_rule gone = rule("gone", 7), stall = rule("stall", 8), late = rule("late", 9);
	struct inject_rule list[SND_INJECT_KINDS];
	struct snd_inject in = { .on = true };
	enum inject_kind kind;
	uint32_t id;

	ck_assert_int_eq(snd_inject_add(&in, &late), -EINVAL);
	ck_assert_uint_eq(snd_inject_deadline_ns(&in), 0);
	ck_assert_int_eq(snd_inject_add(&in, &gone), 0);
	ck_assert_int_eq(snd_inject_add(&in, &gone), -EBUSY);
	ck_assert_int_eq(snd_inject_add(&in, &stall), 0);
	ck_assert_uint_eq(snd_inject_list(&in, list), 2);
	ck_assert_uint_eq(list[0].id, 7);
	ck_assert_uint_eq(list[1].id, 8);
	ck_assert(!snd_inject_over(&in, list[0].until_ns - 1, &kind, &id));
	ck_assert_uint_eq(snd_inject_clear(&in, 99), 0);
	ck_assert_uint_eq(snd_inject_clear(&in, 8), 1);
	ck_assert_uint_eq(snd_inject_list(&in, list), 1);
	/* What was cleared holds until that was told. */
	ck_assert(snd_inject_holds(&in, SND_INJECT_STALL));
	ck_assert_uint_eq(snd_inject_deadline_ns(&in), 1);
	ck_assert(snd_inject_over(&in, 2, &kind, &id));
	ck_assert(kind == INJECT_STALL && id == 8);
	ck_assert(!snd_inject_holds(&in, SND_INJECT_STALL));
	ck_assert(snd_inject_over(&in, list[0].until_ns, &kind, &id));
	ck_assert(kind == INJECT_GONE && id == 7);
	ck_assert_uint_eq(snd_inject_clear(&in, 0), 0);
}
END_TEST

/* In front of a device: what it says itself, what it says while it stalls, and that it is gone. */
START_TEST(in_front)
{
	const struct snd_dev_cfg cfg = { .rate_hz = 192000, .channels = 1, .period_frames = 192,
					 .periods = 2 };
	struct inject_rule gone = rule("gone", 1), stall = rule("stall", 2);
	struct snd_dev *dev = snd_null_new(&cfg);
	struct snd_inject in = { .on = true };
	float frames[192] = { 0 };
	enum inject_kind kind;
	uint32_t id;

	ck_assert_int_eq(snd_inject_wrap(&in, &dev), 0);
	ck_assert_int_eq(dev->ops->write(dev, frames), 0);
	ck_assert_int_le(dev->ops->wait(dev), 0);
	uint64_t played = dev->ops->consumed(dev);
	ck_assert_uint_eq(played, 192);
	ck_assert_int_eq(snd_inject_add(&in, &stall), 0);
	for (unsigned n = 0; n < 3; n++) {
		int r = dev->ops->wait(dev);

		ck_assert(r == 0 || r == -EPIPE);	/* the clock's word, on a slow machine */
		ck_assert_int_eq(dev->ops->write(dev, frames), 0);
		ck_assert_uint_eq(dev->ops->consumed(dev), played);
	}
	ck_assert_int_eq(snd_inject_add(&in, &gone), 0);
	ck_assert_int_eq(dev->ops->wait(dev), -ENODEV);
	ck_assert_int_eq(dev->ops->read(dev, frames), -ENODEV);
	snd_inject_clear(&in, 0);
	ck_assert(snd_inject_over(&in, 1, &kind, &id) && snd_inject_over(&in, 1, &kind, &id));
	ck_assert(dev->ops->wait(dev) != -ENODEV);
	ck_assert_int_eq(dev->ops->write(dev, frames), 0);
	ck_assert(dev->ops->wait(dev) != -ENODEV);
	ck_assert_uint_gt(dev->ops->consumed(dev), played);
	dev->ops->close(dev);
}
END_TEST

/* ---- looking for what is gone ---- */

/* After half a second; later and later when it does not stay, and again so when it did. */
START_TEST(sought)
{
	const struct snd_dev_cfg cfg = { .rate_hz = 48000, .channels = 2, .period_frames = 240,
					 .periods = 2 };
	const uint64_t half = Q_NSEC_PER_SEC / 2;
	uint64_t now = 100 * Q_NSEC_PER_SEC;
	struct snd_seek k;

	ck_assert_int_eq(snd_seek_init(&k, &cfg, NULL, NULL, false), 0);
	ck_assert_ptr_null(snd_seek_look(&k, now));
	ck_assert_uint_eq(snd_seek_deadline_ns(&k), 0);
	for (uint64_t rest = half; rest <= 16 * half; rest *= 2) {
		snd_seek_gone(&k, now);
		ck_assert_uint_eq(snd_seek_deadline_ns(&k), now + rest);
		ck_assert_ptr_null(snd_seek_look(&k, now + rest - 1));
		now += rest;
		struct snd_dev *d = snd_seek_look(&k, now);
		ck_assert_ptr_nonnull(d);
		snd_seek_found(&k, now);
		ck_assert_ptr_null(snd_seek_look(&k, now + 100 * Q_NSEC_PER_SEC));
		d->ops->close(d);
	}
	snd_seek_gone(&k, now);
	ck_assert_uint_eq(snd_seek_deadline_ns(&k), now + 16 * half);
	snd_seek_found(&k, now);
	now += 9 * Q_NSEC_PER_SEC;
	snd_seek_gone(&k, now);
	ck_assert_uint_eq(snd_seek_deadline_ns(&k), now + half);
	snd_seek_fini(&k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snd_capture");
	TCase *tc = fixture_case(s, "snd_capture");

	tcase_add_test(tc, lost_microphone);
	tcase_add_test(tc, read_for_nobody);
	tcase_add_test(tc, may_not);
	tcase_add_test(tc, rules);
	tcase_add_test(tc, in_front);
	tcase_add_test(tc, sought);
	return fixture_main(s);
}
