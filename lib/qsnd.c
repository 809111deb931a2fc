/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtio sound device consists of: formats, rates, streams and what comes with them. Tables
 * and one builder; no state, any thread.
 *
 * Invariant: every chmap and jack of a device belongs to the nid of one of its streams.
 */
#include "lib/qsnd.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* ---- formats and rates ---- */

static const struct { uint8_t format, bytes; const char *name; } formats[] = {
	{ VIRTIO_SND_PCM_FMT_S16, 2, "s16" },
	{ VIRTIO_SND_PCM_FMT_S24, 4, "s24" },	/* the low 24 bits of 32 */
	{ VIRTIO_SND_PCM_FMT_S32, 4, "s32" },
	{ VIRTIO_SND_PCM_FMT_FLOAT, 4, "f32" },
};

static const uint32_t rates_hz[] = {
	[VIRTIO_SND_PCM_RATE_5512] = 5512,	[VIRTIO_SND_PCM_RATE_8000] = 8000,
	[VIRTIO_SND_PCM_RATE_11025] = 11025,	[VIRTIO_SND_PCM_RATE_16000] = 16000,
	[VIRTIO_SND_PCM_RATE_22050] = 22050,	[VIRTIO_SND_PCM_RATE_32000] = 32000,
	[VIRTIO_SND_PCM_RATE_44100] = 44100,	[VIRTIO_SND_PCM_RATE_48000] = 48000,
	[VIRTIO_SND_PCM_RATE_64000] = 64000,	[VIRTIO_SND_PCM_RATE_88200] = 88200,
	[VIRTIO_SND_PCM_RATE_96000] = 96000,	[VIRTIO_SND_PCM_RATE_176400] = 176400,
	[VIRTIO_SND_PCM_RATE_192000] = 192000,	[VIRTIO_SND_PCM_RATE_384000] = 384000,
};

unsigned qsnd_sample_bytes(uint8_t format)
{
	for (unsigned i = 0; i < Q_ARRAY_LEN(formats); i++)
		if (formats[i].format == format)
			return formats[i].bytes;
	return 0;
}

const char *qsnd_format_str(uint8_t format)
{
	for (unsigned i = 0; i < Q_ARRAY_LEN(formats); i++)
		if (formats[i].format == format)
			return formats[i].name;
	return NULL;
}

uint32_t qsnd_rate_hz(uint8_t rate)
{
	return rate < Q_ARRAY_LEN(rates_hz) ? rates_hz[rate] : 0;
}

/* The bit of a word of @len characters, 0 = unknown. */
static uint64_t format_bit(const char *word, size_t len)
{
	for (unsigned i = 0; i < Q_ARRAY_LEN(formats); i++)
		if (strlen(formats[i].name) == len && !memcmp(formats[i].name, word, len))
			return QSND_BIT(formats[i].format);
	return 0;
}

static uint64_t rate_bit(const char *word, size_t len)
{
	uint32_t hz = 0;

	if (!len || len > 6)
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (word[i] < '0' || word[i] > '9')
			return 0;
		hz = hz * 10 + (uint32_t)(word[i] - '0');
	}
	for (unsigned i = 0; i < Q_ARRAY_LEN(rates_hz); i++)
		if (rates_hz[i] == hz)
			return QSND_BIT(i);
	return 0;
}

static bool list_parse(const char *text, uint64_t (*bit_of)(const char *word, size_t len),
		       uint64_t all, uint64_t *ret)
{
	uint64_t mask = 0, bit;

	if (!strcmp(text, "all")) {
		*ret = all;
		return true;
	}
	for (;;) {
		size_t len = strcspn(text, ",");

		bit = bit_of(text, len);
		if (!bit)
			return false;
		mask |= bit;
		if (!text[len])
			break;
		text += len + 1;
	}
	*ret = mask;
	return true;
}

bool qsnd_formats_parse(const char *text, uint64_t *ret)
{
	return list_parse(text, format_bit, QSND_FORMATS, ret);
}

bool qsnd_rates_parse(const char *text, uint64_t *ret)
{
	return list_parse(text, rate_bit, QSND_RATES, ret);
}

/* ---- a device ---- */

/* HDA 7.3.3.31: port, default device, connector, colour; association 1, sequence by number. */
#define DEFCONF_LINE_OUT 0x01014010u	/* jack, line out, 1/8", green */
#define DEFCONF_LINE_IN 0x01813020u	/* jack, line in, 1/8", blue */
/* HDA 7.3.4.9 */
#define CAPS_PRESENCE (1u << 2)
#define CAPS_OUT (1u << 4)
#define CAPS_IN (1u << 5)

void qsnd_positions(unsigned channels, uint8_t ret[QSND_CHANNELS_MAX])
{
	static const uint8_t row[QSND_CHANNELS_MAX] = {
		VIRTIO_SND_CHMAP_FL, VIRTIO_SND_CHMAP_FR, VIRTIO_SND_CHMAP_RL, VIRTIO_SND_CHMAP_RR,
		VIRTIO_SND_CHMAP_FC, VIRTIO_SND_CHMAP_LFE, VIRTIO_SND_CHMAP_SL, VIRTIO_SND_CHMAP_SR,
	};

	memset(ret, VIRTIO_SND_CHMAP_NONE, QSND_CHANNELS_MAX);
	memcpy(ret, row, Q_MIN(channels, QSND_CHANNELS_MAX));
	if (channels == 1)
		ret[0] = VIRTIO_SND_CHMAP_MONO;
	if (channels == 3)
		ret[2] = VIRTIO_SND_CHMAP_FC;
	if (channels == 5)
		ret[4] = VIRTIO_SND_CHMAP_FC;
	if (channels == 7)
		ret[6] = VIRTIO_SND_CHMAP_RC;
}

static bool has_chmap(const struct qsnd_dev *d, const struct qsnd_chmap_desc *m)
{
	for (unsigned i = 0; i < d->n_chmaps; i++)
		if (d->chmaps[i].nid == m->nid && d->chmaps[i].direction == m->direction &&
		    d->chmaps[i].channels == m->channels)
			return true;
	return false;
}

static void add_chmap(struct qsnd_dev *d, const struct qsnd_stream_desc *s, unsigned channels)
{
	struct qsnd_chmap_desc m = { .nid = s->nid, .direction = s->direction,
				     .channels = (uint8_t)channels };

	if (has_chmap(d, &m) || d->n_chmaps == QSND_ITEMS_MAX)
		return;
	qsnd_positions(channels, m.positions);
	d->chmaps[d->n_chmaps++] = m;
}

int qsnd_dev_add(struct qsnd_dev *d, const struct qsnd_stream_desc *s)
{
	bool out = s->direction == VIRTIO_SND_D_OUTPUT;

	if (d->n_streams == QSND_ITEMS_MAX || d->n_jacks == QSND_ITEMS_MAX)
		return -ENOSPC;
	d->jacks[d->n_jacks] = (struct qsnd_jack_desc){
		.nid = s->nid, .connected = true,
		.defconf = (out ? DEFCONF_LINE_OUT : DEFCONF_LINE_IN) + d->n_jacks % 16,
		.caps = CAPS_PRESENCE | (out ? CAPS_OUT : CAPS_IN),
	};
	d->n_jacks++;
	for (unsigned n = s->channels_min; n <= s->channels_max; n++)
		if (n == 1 || n % 2 == 0 || n == s->channels_max)
			add_chmap(d, s, n);
	d->streams[d->n_streams] = *s;
	return (int)d->n_streams++;
}

void qsnd_dev_config(const struct qsnd_dev *d, struct virtio_snd_config *ret)
{
	*ret = (struct virtio_snd_config){
		.jacks = htole32(d->n_jacks), .streams = htole32(d->n_streams),
		.chmaps = htole32(d->n_chmaps),
	};
}
