/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a period of the mediator's mixer costs one processor (mediator/mix.h, mix_conv.h): STREAMS
 * guests' streams of S16 stereo, all of which sound, taken from memory, converted and added into
 * periods of 5 ms at 48 kHz. At the device's own rate, and at 44.1 kHz. One JSON object a line, in
 * nanoseconds of the processor's time.
 *
 * mixload STREAMS [PERIODS]
 */
#include <linux/virtio_snd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mediator/mix_conv.h"

#define RATE_HZ 48000u
#define FRAMES 240u
#define CHANNELS 2u
#define PERIODS 4000u
#define WARM_UP 100u
#define SOURCE_BYTES 65536u

struct load {
	struct mix *mix;
	struct mix_conv *conv[MIX_VOICES_MAX];
	uint32_t at[MIX_VOICES_MAX];
	uint8_t source[SOURCE_BYTES];
};

static uint64_t worked_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * Q_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

struct reader {
	struct load *l;
	unsigned voice;
};

static uint32_t read_source(void *ctx, void *buf, uint32_t len)
{
	const struct reader *r = ctx;
	uint32_t *at = &r->l->at[r->voice], n = Q_MIN(len, SOURCE_BYTES - *at);

	memcpy(buf, r->l->source + *at, n);
	*at = (*at + n) % SOURCE_BYTES;
	return n;
}

static uint32_t pull(void *ctx, unsigned voice, float *buf, uint32_t n)
{
	struct load *l = ctx;
	struct reader r = { l, voice };

	return mix_conv_pull(l->conv[voice], read_source, &r, buf, n);
}

static bool load_init(struct load *l, unsigned streams, uint32_t hz)
{
	const struct mix_cfg cfg = { RATE_HZ, CHANNELS, FRAMES, streams, 0.5f };

	memset(l, 0, sizeof(*l));
	l->mix = mix_new(&cfg);
	for (unsigned i = 0; i < SOURCE_BYTES; i++)
		l->source[i] = (uint8_t)(i * 7 + i / 256);
	for (unsigned i = 0; i < streams && l->mix; i++) {
		/* One of class safety, so that the others are ducked, and the headroom kept. */
		const struct mix_voice_cfg v = {
			.class = i ? SCHED_NORMAL : SCHED_SAFETY, .rule = MIX_DUCK, .duck = 0.1f,
			.attack_frames = FRAMES, .release_frames = FRAMES, .gain = 0.02f,
		};

		l->conv[i] = mix_conv_new(VIRTIO_SND_PCM_FMT_S16,
					  (struct mix_conv_side){ hz, CHANNELS },
					  (struct mix_conv_side){ RATE_HZ, CHANNELS }, false);
		if (!l->conv[i])
			return false;
		mix_voice_set(l->mix, i, &v);
		mix_voice_open(l->mix, i);
	}
	return l->mix;
}

static void load_fini(struct load *l)
{
	for (unsigned i = 0; i < MIX_VOICES_MAX; i++)
		mix_conv_free(l->conv[i]);
	mix_free(l->mix);
}

static void run(struct load *l, unsigned streams, uint32_t hz, uint64_t *took, unsigned periods)
{
	float out[FRAMES * CHANNELS];

	for (unsigned i = 0; i < WARM_UP; i++)
		mix_period(l->mix, pull, l, out);
	for (unsigned i = 0; i < periods; i++) {
		uint64_t t = worked_ns();

		mix_period(l->mix, pull, l, out);
		took[i] = worked_ns() - t;
	}
	qsort(took, periods, sizeof(took[0]), by_value);
	printf("{\"streams\": %u, \"rate\": %u, \"p50_ns\": %llu, \"p99_ns\": %llu, "
	       "\"max_ns\": %llu}\n", streams, hz, (unsigned long long)took[periods / 2],
	       (unsigned long long)took[(size_t)(periods - 1) * 99 / 100],
	       (unsigned long long)took[periods - 1]);
}

int main(int argc, char **argv)
{
	static const uint32_t rates[] = { RATE_HZ, 44100 };
	unsigned streams = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 0;
	unsigned periods = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : PERIODS;
	static struct load l;

	if (!streams || streams > MIX_VOICES_MAX || !periods) {
		fputs("usage: mixload STREAMS [PERIODS]\n", stderr);
		return 2;
	}
	uint64_t *took = calloc(periods, sizeof(*took));
	if (!took)
		return 1;
	for (unsigned i = 0; i < Q_ARRAY_LEN(rates); i++) {
		bool ok = load_init(&l, streams, rates[i]);

		if (ok)
			run(&l, streams, rates[i], took, periods);
		load_fini(&l);
		if (!ok) {
			free(took);
			return 1;
		}
	}
	free(took);
	return 0;
}
