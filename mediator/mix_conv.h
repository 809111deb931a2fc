/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between a guest's samples and the mixer's: formats, channels, rates. Rates are speexdsp's
 * business. Made on an ordinary thread; converting allocates nothing, waits for nothing, and may
 * happen on another thread, one at a time.
 *
 * A sample of full scale is 1. S16 without another rate goes through unchanged, bit for bit. What
 * is no number, or beyond full scale, does not reach the mixer.
 */
#pragma once

#include "lib/qsnd.h"
#include "mediator/mix.h"

struct mix_conv_side {
	uint32_t rate_hz;
	unsigned channels;	/* 1 … MIX_CHANNELS_MAX, in the order of qsnd_positions() */
};

struct mix_conv;
/*
 * @format (VIRTIO_SND_PCM_FMT_*, one that qsnd_sample_bytes() knows) is the guest's; @device has
 * floats. NULL when out of memory.
 */
struct mix_conv *mix_conv_new(uint8_t format, struct mix_conv_side guest,
			      struct mix_conv_side device, bool capture);
struct mix_conv *mix_conv_free(struct mix_conv *c);

/* Gives or takes at most @len bytes of the guest; how many. */
typedef uint32_t (*mix_read_fn)(void *ctx, void *buf, uint32_t len_bytes);
typedef uint32_t (*mix_write_fn)(void *ctx, const void *buf, uint32_t len_bytes);

/* Playback: the next frames for the mixer, at most @n_frames, from what @read gives; how many. */
uint32_t mix_conv_pull(struct mix_conv *c, mix_read_fn read, void *ctx, float *out,
		       uint32_t n_frames);
/* Capture: @n_frames of the device as the guest has them. False: @write did not take them all. */
bool mix_conv_push(struct mix_conv *c, const float *in, uint32_t n_frames, mix_write_fn write,
		   void *ctx);
/* Bytes of the guest that were read and wait for the rate converter (playback). */
uint32_t mix_conv_held_bytes(const struct mix_conv *c);

/* Samples as floats, and back with rounding to the nearest; what is beyond full scale is cut. */
void mix_decode(uint8_t format, const void *from, size_t n_samples, float *to);
void mix_encode(uint8_t format, const float *from, size_t n_samples, void *to);
