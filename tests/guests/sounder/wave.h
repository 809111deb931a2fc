/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sounder plays, made of whole numbers alone: a script of segments, frame by frame.
 */
#pragma once
#include "tests/guests/rt/rt.h"

#define WAVE_SEGMENTS	32

enum wave_kind { WAVE_SILENCE, WAVE_TONE, WAVE_IMPULSE, WAVE_CHIME };

struct wave_segment {
	enum wave_kind kind;
	uint32_t hz, level;		/* level: peak, of 32767 */
	uint64_t frames;
};

struct wave {
	struct wave_segment seg[WAVE_SEGMENTS];
	unsigned n;
	uint32_t rate;
	/* where it is */
	unsigned at;
	uint64_t frame;
	uint32_t phase;
};

/* The words play=KIND:HZ:LEVEL:MS of the command line, in their order; a malformed one ends the
 * guest. */
void wave_read(struct wave *w, uint32_t rate);
uint64_t wave_frames(const struct wave *w);
void wave_rewind(struct wave *w);
/* The next sample, -32767..32767; 0 behind the end. */
int32_t wave_next(struct wave *w);
