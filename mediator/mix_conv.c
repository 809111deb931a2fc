/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns what a stream's conversion remembers: the rest of a frame that was cut between two messages,
 * the rate converter's window, and what that has not taken yet. One thread at a time.
 *
 * Playback: bytes → floats → channels of the device → rate of the device. Capture is the same road
 * back. Rates are last (first) so that the converter has as few channels as the device.
 *
 * Invariant: frames go through in order, none is lost or made: what was read is written, or stands
 * in part[] or rate_in[].
 */
#include "mediator/mix_conv.h"

#include <endian.h>
#include <math.h>
#include <speex/speex_resampler.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_FRAMES 256u
#define FRAME_BYTES_MAX (MIX_CHANNELS_MAX * 4u)
#define QUALITY 5	/* of speexdsp: its best for speech and alarms in little time */
#define HALF_POWER 0.70710678f

struct mix_conv {
	uint8_t format;
	struct mix_conv_side guest, device;
	bool capture;
	uint32_t frame_bytes;
	float matrix[MIX_CHANNELS_MAX][MIX_CHANNELS_MAX];	/* to, from */
	bool plain;			/* the matrix changes nothing */
	SpeexResamplerState *rate;	/* NULL: none is needed */
	uint8_t part[FRAME_BYTES_MAX];	/* the beginning of a frame */
	uint32_t part_bytes;
	float rate_in[CHUNK_FRAMES * MIX_CHANNELS_MAX];
	uint32_t in_frames, in_at;
	uint8_t raw[CHUNK_FRAMES * FRAME_BYTES_MAX];
	float wide[CHUNK_FRAMES * MIX_CHANNELS_MAX];
};

/* ---- samples ---- */

static float checked(float x)
{
	/* The comparisons are false for what is no number. */
	return x > 1 ? 1 : x >= -1 ? x : x < -1 ? -1 : 0;
}

static float decode_one(uint8_t format, const uint8_t *from)
{
	uint32_t w;
	uint16_t h;
	float f;

	if (format == VIRTIO_SND_PCM_FMT_S16) {
		memcpy(&h, from, sizeof(h));
		return (float)(int16_t)le16toh(h) / 32768;
	}
	memcpy(&w, from, sizeof(w));
	w = le32toh(w);
	if (format == VIRTIO_SND_PCM_FMT_S24)
		return (float)((int32_t)(w << 8) >> 8) / 8388608;
	if (format == VIRTIO_SND_PCM_FMT_S32)
		return (float)((double)(int32_t)w / 2147483648.0);
	memcpy(&f, &w, sizeof(f));
	return checked(f);
}

void mix_decode(uint8_t format, const void *from, size_t n_samples, float *to)
{
	unsigned bytes = qsnd_sample_bytes(format);
	const uint8_t *at = from;

	for (size_t i = 0; i < n_samples; i++)
		to[i] = decode_one(format, at + i * bytes);
}

static int32_t rounded(float x, double full)
{
	double v = rint((double)checked(x) * full);

	return (int32_t)(v < full ? v : full - 1);
}

static void encode_one(uint8_t format, float x, uint8_t *to)
{
	uint32_t w;
	uint16_t h;

	switch (format) {
	case VIRTIO_SND_PCM_FMT_S16:
		h = htole16((uint16_t)rounded(x, 32768));
		memcpy(to, &h, sizeof(h));
		return;
	case VIRTIO_SND_PCM_FMT_S24:
		w = htole32((uint32_t)rounded(x, 8388608) & 0xffffff);
		break;
	case VIRTIO_SND_PCM_FMT_S32:
		w = htole32((uint32_t)rounded(x, 2147483648.0));
		break;
	default:
		memcpy(&w, &x, sizeof(w));
		w = htole32(w);
		break;
	}
	memcpy(to, &w, sizeof(w));
}

void mix_encode(uint8_t format, const float *from, size_t n_samples, void *to)
{
	unsigned bytes = qsnd_sample_bytes(format);
	uint8_t *at = to;

	for (size_t i = 0; i < n_samples; i++)
		encode_one(format, from[i], at + i * bytes);
}

/* ---- channels ---- */

static int find(const uint8_t *positions, unsigned n, uint8_t what)
{
	for (unsigned i = 0; i < n; i++)
		if (positions[i] == what)
			return (int)i;
	return -1;
}

/* Where a position goes that the other side has not, by 5.14's names: left, right, or both. */
static const struct { uint8_t what, to[2]; float gain; } folds[] = {
	{ VIRTIO_SND_CHMAP_MONO, { VIRTIO_SND_CHMAP_FL, VIRTIO_SND_CHMAP_FR }, 1 },
	{ VIRTIO_SND_CHMAP_FC, { VIRTIO_SND_CHMAP_FL, VIRTIO_SND_CHMAP_FR }, HALF_POWER },
	{ VIRTIO_SND_CHMAP_RC, { VIRTIO_SND_CHMAP_RL, VIRTIO_SND_CHMAP_RR }, HALF_POWER },
	{ VIRTIO_SND_CHMAP_RC, { VIRTIO_SND_CHMAP_FL, VIRTIO_SND_CHMAP_FR }, 0.5f },
	{ VIRTIO_SND_CHMAP_SL, { VIRTIO_SND_CHMAP_RL, VIRTIO_SND_CHMAP_RL }, HALF_POWER },
	{ VIRTIO_SND_CHMAP_SR, { VIRTIO_SND_CHMAP_RR, VIRTIO_SND_CHMAP_RR }, HALF_POWER },
	{ VIRTIO_SND_CHMAP_SL, { VIRTIO_SND_CHMAP_FL, VIRTIO_SND_CHMAP_FL }, HALF_POWER },
	{ VIRTIO_SND_CHMAP_SR, { VIRTIO_SND_CHMAP_FR, VIRTIO_SND_CHMAP_FR }, HALF_POWER },
	{ VIRTIO_SND_CHMAP_RL, { VIRTIO_SND_CHMAP_FL, VIRTIO_SND_CHMAP_FL }, HALF_POWER },
	{ VIRTIO_SND_CHMAP_RR, { VIRTIO_SND_CHMAP_FR, VIRTIO_SND_CHMAP_FR }, HALF_POWER },
};

static void place_channel(struct mix_conv *c, unsigned from, uint8_t what, const uint8_t *to_pos,
			  unsigned n_to)
{
	int at = find(to_pos, n_to, what);

	if (at >= 0) {
		c->matrix[at][from] = 1;
		return;
	}
	for (unsigned i = 0; i < Q_ARRAY_LEN(folds); i++) {
		int left = find(to_pos, n_to, folds[i].to[0]);
		int right = find(to_pos, n_to, folds[i].to[1]);

		if (folds[i].what != what || left < 0 || right < 0)
			continue;
		c->matrix[left][from] = c->matrix[right][from] = folds[i].gain;
		return;
	}
	/* Low frequencies that no speaker is for are left out, as every decoder does. */
}

static void make_matrix(struct mix_conv *c, unsigned n_from, unsigned n_to)
{
	uint8_t from[QSND_CHANNELS_MAX], to[QSND_CHANNELS_MAX];

	qsnd_positions(n_from, from);
	qsnd_positions(n_to, to);
	c->plain = n_from == n_to;
	for (unsigned i = 0; i < n_from; i++) {
		if (n_to == 1)
			c->matrix[0][i] = from[i] == VIRTIO_SND_CHMAP_LFE ? 0 :
					  1.0f / (float)n_from;
		else
			place_channel(c, i, from[i], to, n_to);
	}
}

static void map_channels(const struct mix_conv *c, const float *from, unsigned n_from, float *to,
			 unsigned n_to, uint32_t frames)
{
	if (c->plain) {
		memcpy(to, from, (size_t)frames * n_to * sizeof(float));
		return;
	}
	for (uint32_t k = 0; k < frames; k++) {
		for (unsigned o = 0; o < n_to; o++) {
			float sum = 0;

			for (unsigned i = 0; i < n_from; i++)
				sum += from[k * n_from + i] * c->matrix[o][i];
			to[k * n_to + o] = sum;
		}
	}
}

/* ---- life ---- */

static bool make_rate(struct mix_conv *c, uint32_t from_hz, uint32_t to_hz)
{
	int err = RESAMPLER_ERR_SUCCESS;

	if (from_hz == to_hz)
		return true;
	c->rate = speex_resampler_init(c->device.channels, from_hz, to_hz, QUALITY, &err);
	if (!c->rate || err != RESAMPLER_ERR_SUCCESS)
		return false;
	/* The window's first half would be silence that nobody played. */
	speex_resampler_skip_zeros(c->rate);
	return true;
}

struct mix_conv *mix_conv_new(uint8_t format, struct mix_conv_side guest,
			      struct mix_conv_side device, bool capture)
{
	struct mix_conv *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->format = format;
	c->guest = guest;
	c->device = device;
	c->capture = capture;
	c->frame_bytes = guest.channels * qsnd_sample_bytes(format);
	make_matrix(c, capture ? device.channels : guest.channels,
		    capture ? guest.channels : device.channels);
	bool ok = make_rate(c, capture ? device.rate_hz : guest.rate_hz,
			    capture ? guest.rate_hz : device.rate_hz);
	return ok ? c : mix_conv_free(c);
}

struct mix_conv *mix_conv_free(struct mix_conv *c)
{
	if (c && c->rate)
		speex_resampler_destroy(c->rate);
	free(c);
	return NULL;
}

/* ---- playback ---- */

/* At most @want frames (and CHUNK_FRAMES) in the device's channels; how many. */
static uint32_t fetch(struct mix_conv *c, mix_read_fn read, void *ctx, float *out, uint32_t want)
{
	uint32_t frames = Q_MIN(want, CHUNK_FRAMES), have = c->part_bytes;

	memcpy(c->raw, c->part, have);
	have += read(ctx, c->raw + have, frames * c->frame_bytes - have);
	frames = have / c->frame_bytes;
	c->part_bytes = have % c->frame_bytes;
	memcpy(c->part, c->raw + frames * c->frame_bytes, c->part_bytes);
	mix_decode(c->format, c->raw, (size_t)frames * c->guest.channels, c->wide);
	map_channels(c, c->wide, c->guest.channels, out, c->device.channels, frames);
	return frames;
}

/* How many frames of the guest make @n of the device, the last one whole. */
static uint32_t frames_for(const struct mix_conv *c, uint32_t n)
{
	return (uint32_t)(((uint64_t)n * c->guest.rate_hz + c->device.rate_hz - 1) /
			  c->device.rate_hz);
}

static uint32_t resample(struct mix_conv *c, mix_read_fn read, void *ctx, float *out, uint32_t n)
{
	uint32_t done = 0;

	while (done < n) {
		if (c->in_at == c->in_frames) {
			c->in_at = 0;
			c->in_frames = fetch(c, read, ctx, c->rate_in, frames_for(c, n - done));
		}
		if (c->in_frames == 0)
			return done;
		spx_uint32_t in = c->in_frames - c->in_at, made = n - done;
		speex_resampler_process_interleaved_float(
			c->rate, c->rate_in + (size_t)c->in_at * c->device.channels, &in,
			out + (size_t)done * c->device.channels, &made);
		c->in_at += in;
		done += made;
		if (in == 0 && made == 0)
			return done;
	}
	return done;
}

uint32_t mix_conv_pull(struct mix_conv *c, mix_read_fn read, void *ctx, float *out,
		       uint32_t n_frames)
{
	uint32_t done = 0, got;

	qassert(!c->capture);
	if (c->rate)
		return resample(c, read, ctx, out, n_frames);
	while (done < n_frames) {
		got = fetch(c, read, ctx, out + (size_t)done * c->device.channels, n_frames - done);
		if (got == 0)
			break;
		done += got;
	}
	return done;
}

uint32_t mix_conv_held_bytes(const struct mix_conv *c)
{
	return (c->in_frames - c->in_at) * c->frame_bytes;
}

/* ---- capture ---- */

static bool give(struct mix_conv *c, const float *in, uint32_t frames, mix_write_fn write,
		 void *ctx)
{
	uint32_t bytes = frames * c->frame_bytes;

	map_channels(c, in, c->device.channels, c->wide, c->guest.channels, frames);
	mix_encode(c->format, c->wide, (size_t)frames * c->guest.channels, c->raw);
	return write(ctx, c->raw, bytes) == bytes;
}

bool mix_conv_push(struct mix_conv *c, const float *in, uint32_t n_frames, mix_write_fn write,
		   void *ctx)
{
	bool all = true;

	qassert(c->capture);
	while (n_frames > 0) {
		spx_uint32_t used = Q_MIN(n_frames, CHUNK_FRAMES), made = used;

		if (c->rate) {
			made = CHUNK_FRAMES;
			speex_resampler_process_interleaved_float(c->rate, in, &used, c->rate_in,
								  &made);
		}
		all &= give(c, c->rate ? c->rate_in : in, made, write, ctx);
		if (used == 0 && made == 0)
			return false;
		in += (size_t)used * c->device.channels;
		n_frames -= used;
	}
	return all;
}
