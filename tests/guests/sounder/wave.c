/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of sound. A sine is Taylor's, to the ninth power, in 30 bits: off by less than one step
 * of 16 bits. The phase goes on from one tone to the next, so that a change of level is all that is
 * heard there. A chime is a tone that fades linearly to nothing.
 */
#include "tests/guests/sounder/wave.h"

#define ONE		(INT64_C(1) << 30)
#define HALF_PI		INT64_C(1686629713)	/* pi / 2, in 30 bits */

/* @phase: 2^32 is a turn. */
static int64_t sine(uint32_t phase)
{
	bool down = phase & 0x80000000u;
	uint32_t in = phase & 0x7fffffffu;
	int64_t x, xx, y;

	if (in > 0x40000000u)
		in = 0x80000000u - in;	/* the second quarter is the first one backwards */
	x = (int64_t)in * HALF_PI >> 30;
	xx = x * x >> 30;
	y = ONE - xx / 72;
	y = ONE - (xx * y >> 30) / 42;
	y = ONE - (xx * y >> 30) / 20;
	y = ONE - (xx * y >> 30) / 6;
	y = x * y >> 30;
	return down ? -y : y;
}

/* ---- the script ---- */

static bool word_is(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && !memcmp(text, word, len);
}

static enum wave_kind kind_of(const char **text)
{
	static const char *const words[] = { "silence", "tone", "impulse", "chime" };
	size_t len = 0;

	while ((*text)[len] && (*text)[len] != ':')
		len++;
	for (unsigned i = 0; i < RT_ARRAY_LEN(words); i++) {
		if (word_is(*text, len, words[i])) {
			*text += len;
			return (enum wave_kind)i;
		}
	}
	rt_fail("play=%s: no such sound", *text);
}

static uint64_t number_of(const char **text, const char *whole)
{
	uint64_t v;

	if (*(*text)++ != ':' || !rt_parse_u64(text, &v))
		rt_fail("play=%s is not KIND:HZ:LEVEL:MS", whole);
	return v;
}

void wave_read(struct wave *w, uint32_t rate)
{
	char buf[64];

	w->rate = rate;
	for (w->n = 0; w->n < WAVE_SEGMENTS && rt_arg_nth("play", w->n, buf, sizeof(buf)); w->n++) {
		struct wave_segment *s = &w->seg[w->n];
		const char *text = buf;

		s->kind = kind_of(&text);
		s->hz = (uint32_t)number_of(&text, buf);
		s->level = (uint32_t)number_of(&text, buf);
		s->frames = number_of(&text, buf) * rate / 1000;
		if (*text || s->hz >= rate || s->level > 32767)
			rt_fail("play=%s: at most half the rate and 32767", buf);
	}
	wave_rewind(w);
}

uint64_t wave_frames(const struct wave *w)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < w->n; i++)
		sum += w->seg[i].frames;
	return sum;
}

void wave_rewind(struct wave *w)
{
	w->at = 0;
	w->frame = 0;
	w->phase = 0;
}

static int32_t sample_of(struct wave *w, const struct wave_segment *s)
{
	int64_t level = s->level, v;

	if (s->kind == WAVE_SILENCE)
		return 0;
	if (s->kind == WAVE_IMPULSE)
		return w->frame ? 0 : (int32_t)level;
	if (s->kind == WAVE_CHIME)
		level = level * (int64_t)(s->frames - w->frame) / (int64_t)s->frames;
	v = (sine(w->phase) * level + ONE / 2) >> 30;
	w->phase += (uint32_t)(((uint64_t)s->hz << 32) / w->rate);
	return (int32_t)v;
}

int32_t wave_next(struct wave *w)
{
	int32_t v;

	while (w->at < w->n && w->frame == w->seg[w->at].frames) {
		w->at++;
		w->frame = 0;
	}
	if (w->at == w->n)
		return 0;
	v = sample_of(w, &w->seg[w->at]);
	w->frame++;
	return v;
}
