/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversion of samples: formats to the bit, channels by their places, rates by spectrum and by
 * counting frames.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/mix_conv.h"

#define S16 VIRTIO_SND_PCM_FMT_S16
#define TAU 6.283185307179586

/* A guest's bytes, given in pieces of @step. */
struct bytes {
	uint8_t *at;
	uint32_t len, pos, step;
};

static uint32_t read_bytes(void *ctx, void *buf, uint32_t len)
{
	struct bytes *b = ctx;
	uint32_t n = Q_MIN(len, b->len - b->pos);

	n = b->step ? Q_MIN(n, b->step) : n;
	memcpy(buf, b->at + b->pos, n);
	b->pos += n;
	return n;
}

static uint32_t write_bytes(void *ctx, const void *buf, uint32_t len)
{
	struct bytes *b = ctx;
	uint32_t n = Q_MIN(len, b->len - b->pos);

	memcpy(b->at + b->pos, buf, n);
	b->pos += n;
	return n;
}

static const struct { uint8_t format; uint32_t wire; float value; } samples[] = {
	{ S16, 0x0000, 0 },
	{ S16, 0x7fff, 32767.0f / 32768 },
	{ S16, 0x8000, -1 },
	{ S16, 0x4000, 0.5f },
	{ VIRTIO_SND_PCM_FMT_S24, 0x400000, 0.5f },
	{ VIRTIO_SND_PCM_FMT_S24, 0x800000, -1 },
	{ VIRTIO_SND_PCM_FMT_S32, 0xc0000000, -0.5f },
	{ VIRTIO_SND_PCM_FMT_S32, 0x80000000, -1 },
	{ VIRTIO_SND_PCM_FMT_FLOAT, 0x3e800000, 0.25f },
	{ VIRTIO_SND_PCM_FMT_FLOAT, 0xbf800000, -1 },
};

START_TEST(sample_both_ways)
{
	uint32_t wire = htole32(samples[_i].wire), back = 0;
	float f;

	mix_decode(samples[_i].format, &wire, 1, &f);
	ck_assert(f == samples[_i].value);
	mix_encode(samples[_i].format, &f, 1, &back);
	ck_assert_uint_eq(le32toh(back), samples[_i].wire);
}
END_TEST

/* What no mixer may add up, and what is too loud. */
static const struct { uint32_t wire; float value; } odd_floats[] = {
	{ 0x7fc00000, 0 }, { 0xffc00001, 0 }, { 0x7f800000, 1 }, { 0xff800000, -1 },
	{ 0x40000000, 1 }, { 0xc0a00000, -1 },
};

START_TEST(odd_float)
{
	uint32_t wire = htole32(odd_floats[_i].wire);
	float f;

	mix_decode(VIRTIO_SND_PCM_FMT_FLOAT, &wire, 1, &f);
	ck_assert(f == odd_floats[_i].value);
}
END_TEST

START_TEST(s16_unchanged_in_any_pieces)
{
	static const uint32_t steps[] = { 0, 1, 3, 64, 1001 };
	enum { FRAMES = 1000 };
	int16_t in[FRAMES * 2], back[FRAMES * 2];
	float out[FRAMES * 2];
	struct mix_conv_side side = { 48000, 2 };

	for (int i = 0; i < FRAMES * 2; i++)
		in[i] = (int16_t)(i * 31 - 32768);
	struct mix_conv *c = mix_conv_new(S16, side, side, false);
	struct bytes b = { (uint8_t *)in, sizeof(in), 0, steps[_i] };
	uint32_t done = 0;
	for (unsigned n = 0; n < 100000 && done < FRAMES; n++)
		done += mix_conv_pull(c, read_bytes, &b, out + done * 2, FRAMES - done);
	ck_assert_uint_eq(done, FRAMES);
	mix_encode(S16, out, FRAMES * 2, back);
	ck_assert_mem_eq(in, back, sizeof(in));
	ck_assert_uint_eq(mix_conv_held_bytes(c), 0);
	mix_conv_free(c);
}
END_TEST

#define H 0.70710678f
static const struct { unsigned from, to; float in[8], out[8]; } maps[] = {
	{ 1, 1, { 0.5f }, { 0.5f } },
	{ 1, 2, { 0.5f }, { 0.5f, 0.5f } },
	{ 2, 1, { 0.5f, 0.25f }, { 0.375f } },
	{ 2, 4, { 0.5f, 0.25f }, { 0.5f, 0.25f, 0, 0 } },
	{ 4, 2, { 0.1f, 0.2f, 0.3f, 0.4f }, { 0.1f + H * 0.3f, 0.2f + H * 0.4f } },
	/* FL FR RL RR FC LFE: nobody has a speaker for the last */
	{ 6, 2, { 0, 0, 0, 0, 0.5f, 1 }, { H * 0.5f, H * 0.5f } },
	{ 8, 6, { 0, 0, 0, 0, 0, 0, 0.5f, 0.25f }, { 0, 0, H * 0.5f, H * 0.25f, 0, 0 } },
	{ 1, 6, { 0.5f }, { 0.5f, 0.5f, 0, 0, 0, 0 } },
};

START_TEST(channels_by_place)
{
	struct mix_conv_side guest = { 48000, maps[_i].from }, dev = { 48000, maps[_i].to };
	float in[8], out[8];

	memcpy(in, maps[_i].in, sizeof(in));
	struct bytes b = { (uint8_t *)in, maps[_i].from * 4, 0, 0 };
	struct mix_conv *c = mix_conv_new(VIRTIO_SND_PCM_FMT_FLOAT, guest, dev, false);
	ck_assert_uint_eq(mix_conv_pull(c, read_bytes, &b, out, 1), 1);
	for (unsigned i = 0; i < maps[_i].to; i++)
		ck_assert_msg(fabsf(out[i] - maps[_i].out[i]) < 1e-6f, "channel %u: %g", i,
			      (double)out[i]);
	mix_conv_free(c);
}
END_TEST

/* Amplitude of @hz in @x, @n a whole number of its waves long. */
static double level(const float *x, unsigned n, double hz, double rate)
{
	double re = 0, im = 0;

	for (unsigned i = 0; i < n; i++) {
		re += (double)x[i] * cos(TAU * hz * i / rate);
		im += (double)x[i] * sin(TAU * hz * i / rate);
	}
	return 2 * sqrt(re * re + im * im) / n;
}

static double power(const float *x, unsigned n)
{
	double sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += (double)x[i] * (double)x[i];
	return sum / n;
}

static const uint32_t rates[][2] = {
	{ 44100, 48000 }, { 48000, 44100 }, { 8000, 48000 }, { 96000, 48000 }, { 22050, 48000 },
};

/* A second of 1 kHz at half scale: it is there at its level, and nothing else is. */
START_TEST(rate_by_spectrum)
{
	uint32_t from = rates[_i][0], to = rates[_i][1];
	float *in = calloc(2 * from, sizeof(float)), *out = calloc(2 * to, sizeof(float));
	struct mix_conv_side guest = { from, 1 }, dev = { to, 1 };
	struct mix_conv *c = mix_conv_new(VIRTIO_SND_PCM_FMT_FLOAT, guest, dev, false);
	struct bytes b = { (uint8_t *)in, 2 * from * 4, 0, 0 };
	uint32_t done = 0, got;

	for (uint32_t i = 0; i < 2 * from; i++)
		in[i] = 0.5f * (float)sin(TAU * 1000 * i / from);
	while ((got = mix_conv_pull(c, read_bytes, &b, out + done,
				    Q_MIN(240u, 2 * to - done))) > 0)
		done += got;
	ck_assert_uint_ge(done, 2 * to - to / 50);
	const float *x = out + to / 2;	/* a second in the middle */
	double tone = level(x, to, 1000, to);
	ck_assert_msg(fabs(tone - 0.5) < 0.005, "level %g", tone);
	double rest = power(x, to) - tone * tone / 2;
	ck_assert_msg(rest < tone * tone / 2 * 1e-6, "the rest is %g dB",
		      10 * log10(rest / (tone * tone / 2)));
	mix_conv_free(c);
	free(in);
	free(out);
}
END_TEST

/* Two minutes at odd rates: as many frames go in as the rates say, and the window. */
START_TEST(rates_do_not_drift)
{
	enum { PERIOD = 240, SECONDS = 120 };
	struct mix_conv_side guest = { 44100, 1 }, dev = { 48000, 1 };
	struct mix_conv *c = mix_conv_new(S16, guest, dev, false);
	uint8_t *zero = calloc(2, PERIOD * 2);
	float out[PERIOD];
	uint64_t in = 0;

	for (unsigned p = 0; p < SECONDS * 48000 / PERIOD; p++) {
		struct bytes b = { zero, PERIOD * 4, 0, 0 };

		ck_assert(mix_conv_pull(c, read_bytes, &b, out, PERIOD) == PERIOD);
		in += b.pos / 2;
	}
	in -= mix_conv_held_bytes(c) / 2;
	ck_assert_uint_ge(in, (uint64_t)SECONDS * 44100);
	ck_assert_uint_le(in, (uint64_t)SECONDS * 44100 + 64);
	mix_conv_free(c);
	free(zero);
}
END_TEST

START_TEST(capture_to_the_guest)
{
	struct mix_conv_side guest = { 16000, 1 }, dev = { 48000, 2 };
	struct mix_conv *c = mix_conv_new(S16, guest, dev, true);
	int16_t got[16000];
	float in[480 * 2], back[16000];
	struct bytes b = { (uint8_t *)got, sizeof(got), 0, 0 };

	for (unsigned p = 0; p < 100; p++) {
		for (unsigned k = 0; k < 480; k++)
			in[2 * k] = in[2 * k + 1] =
				0.5f * (float)sin(TAU * 400 * (p * 480 + k) / 48000);
		mix_conv_push(c, in, 480, write_bytes, &b);
	}
	ck_assert_uint_ge(b.pos, sizeof(got) - 200);
	mix_decode(S16, got, 16000, back);
	double tone = level(back + 4000, 8000, 400, 16000);
	ck_assert_msg(fabs(tone - 0.5) < 0.005, "level %g", tone);
	mix_conv_free(c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_mix_conv");
	TCase *t = tcase_create("conv");

	tcase_add_loop_test(t, sample_both_ways, 0, Q_ARRAY_LEN(samples));
	tcase_add_loop_test(t, odd_float, 0, Q_ARRAY_LEN(odd_floats));
	tcase_add_loop_test(t, s16_unchanged_in_any_pieces, 0, 5);
	tcase_add_loop_test(t, channels_by_place, 0, Q_ARRAY_LEN(maps));
	tcase_add_loop_test(t, rate_by_spectrum, 0, Q_ARRAY_LEN(rates));
	tcase_add_test(t, rates_do_not_drift);
	tcase_add_test(t, capture_to_the_guest);
	suite_add_tcase(s, t);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
