/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mixer of a sound device: samples of many voices in, one period of samples out. No device, no
 * clock, no thread, no lock and, after mix_new(), no allocation: time is the number of periods, so
 * that everything it promises is tested to the sample. One thread.
 *
 * Voices speak in the order of their level: class first, role second, place last. While a voice of
 * a higher level speaks, the rule of each lower voice holds: it goes on (mix), gets quieter (duck),
 * stands still (pause) or is not heard (mute). Every change of a gain is a ramp, straight in
 * amplitude: frame k of a ramp of n frames from a to b has a + (b - a) * (k + 1) / n.
 *
 * Class safety: no rule holds for it, its samples reach the output in the period in which they
 * were pulled, and it is pulled first. From the first frame of that period on the others go down,
 * in MIX_FADE_NS at most, and what they are together stays below the headroom.
 *
 * A voice whose samples end without warning does not click: its last sample is led to zero in
 * MIX_FADE_NS.
 */
#pragma once

#include "mediator/scheduler.h"

#define MIX_CHANNELS_MAX 8u
#define MIX_VOICES_MAX 256u
#define MIX_PERIOD_FRAMES_MAX 8192u
#define MIX_FADE_NS (5 * Q_NSEC_PER_MSEC)
/* Quieter than this is silence (-90 dB): an open stream of zeros is nobody who speaks. */
#define MIX_SILENCE (1.0f / 32768)

enum mix_rule { MIX_MIX, MIX_DUCK, MIX_PAUSE, MIX_MUTE, MIX_RULES };

/* Why a gain is what it is. */
enum mix_why {
	MIX_WHY_FULL,		/* its own volume, nothing else */
	MIX_WHY_DUCKED,
	MIX_WHY_PAUSED,
	MIX_WHY_RULED_OUT,	/* rule mute */
	MIX_WHY_OPERATOR,	/* muted by hand */
	MIX_WHYS
};
const char *mix_why_str(enum mix_why w);

struct mix_voice_cfg {
	enum sched_class class;
	uint32_t rank;		/* of its role: lower speaks first */
	enum mix_rule rule;
	float duck;		/* factor while ducked */
	uint32_t attack_frames, release_frames;	/* of the rule's ramps */
	uint32_t hold_frames;	/* how long the rule holds after the last that spoke */
	float gain;		/* its volume */
	bool muted;		/* by hand */
};

struct mix_cfg {
	uint32_t rate_hz, channels, period_frames, n_voices;
	/* What the voices below class safety may be together while one of it speaks. */
	float lower_limit;
};

/* Of the period that was mixed last, and totals. */
struct mix_voice_now {
	float gain;		/* at the end of the period */
	enum mix_why why;
	int by;			/* the voice that speaks above it; -1: none */
	float peak;		/* of its samples, before the gain */
	bool speaks;
	uint64_t frames, gap_frames, gaps;
};
struct mix_totals {
	uint64_t periods;
	uint64_t saturated;	/* samples of the output that were cut */
	uint64_t limited;	/* samples of lower voices cut to keep the headroom */
	bool safety_speaks;	/* in the last period */
};

/*
 * Writes the next frames of @voice, interleaved, at most @n_frames, and returns how many: fewer is
 * a gap. Called at most once a voice and period, highest level first.
 */
typedef uint32_t (*mix_pull_fn)(void *ctx, unsigned voice, float *buf, uint32_t n_frames);

struct mix;
/* NULL when out of memory. */
struct mix *mix_new(const struct mix_cfg *cfg);
struct mix *mix_free(struct mix *m);
/* All memory that mix_period() touches, for mlock(2). */
void mix_memory(const struct mix *m, const void **ret, size_t *ret_bytes);

/* From the next period on, by ramps where it is heard. */
void mix_voice_set(struct mix *m, unsigned voice, const struct mix_voice_cfg *cfg);
/* It starts: the first sample has its full gain, unless a rule holds. */
void mix_voice_open(struct mix *m, unsigned voice);
/* It is pulled no more; what was heard last fades out. */
void mix_voice_close(struct mix *m, unsigned voice);
bool mix_voice_is_safety(const struct mix *m, unsigned voice);
void mix_set_lower_limit(struct mix *m, float limit);

/* The next period: period_frames * channels samples within -1 … 1. */
void mix_period(struct mix *m, mix_pull_fn pull, void *ctx, float *out);
const struct mix_voice_now *mix_voice_now(const struct mix *m, unsigned voice);
const struct mix_totals *mix_totals(const struct mix *m);
