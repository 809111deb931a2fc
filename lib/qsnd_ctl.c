/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control requests of a virtio sound device (virtio 1.2, 5.14.6): bytes to a checked request, and a
 * request to the bytes of its answer. No state; any thread.
 *
 * Invariant: a request that is S_OK names items that exist, and its answer fits both
 * QSND_RESP_BYTES_MAX and what the driver made writable.
 */
#include <endian.h>
#include <string.h>

#include "lib/qsnd.h"

/* ---- in ---- */

static unsigned n_items(const struct qsnd_dev *d, uint32_t code)
{
	switch (code) {
	case VIRTIO_SND_R_JACK_INFO:
		return d->n_jacks;
	case VIRTIO_SND_R_PCM_INFO:
		return d->n_streams;
	default:
		return d->n_chmaps;
	}
}

static uint32_t parse_query(const struct qsnd_dev *d, const void *buf, size_t len_bytes,
			    uint64_t resp_bytes, struct qsnd_req *req)
{
	struct virtio_snd_query_info w;

	if (len_bytes < sizeof(w))
		return VIRTIO_SND_S_BAD_MSG;
	memcpy(&w, buf, sizeof(w));
	req->id = le32toh(w.start_id);
	req->count = le32toh(w.count);
	req->size_bytes = le32toh(w.size);
	if (!qspan_inside(req->id, req->count, n_items(d, req->code)) ||
	    req->size_bytes > QSND_INFO_BYTES_MAX ||
	    req->size_bytes < sizeof(struct virtio_snd_info) ||
	    (uint64_t)req->count * req->size_bytes > resp_bytes - sizeof(struct virtio_snd_hdr))
		return VIRTIO_SND_S_BAD_MSG;
	return VIRTIO_SND_S_OK;
}

/* No jack has VIRTIO_SND_JACK_F_REMAP. */
static uint32_t parse_remap(const struct qsnd_dev *d, const void *buf, size_t len_bytes,
			    struct qsnd_req *req)
{
	struct virtio_snd_jack_remap w;

	if (len_bytes < sizeof(w))
		return VIRTIO_SND_S_BAD_MSG;
	memcpy(&w, buf, sizeof(w));
	req->id = le32toh(w.hdr.jack_id);
	return req->id < d->n_jacks ? VIRTIO_SND_S_NOT_SUPP : VIRTIO_SND_S_BAD_MSG;
}

static bool within(uint32_t v, uint32_t min, uint32_t max)
{
	return v >= min && (!max || v <= max);
}

static bool offered(const struct qsnd_stream_desc *s, const struct qsnd_params *p)
{
	return !(p->features & ~s->features) &&
	       p->format < 64 && (s->formats & QSND_FORMATS & QSND_BIT(p->format)) &&
	       p->rate < 64 && (s->rates & QSND_RATES & QSND_BIT(p->rate)) &&
	       p->channels >= s->channels_min && p->channels <= s->channels_max && p->channels;
}

/* What the stream has not is NOT_SUPP, what no stream could have is BAD_MSG. */
static uint32_t check_params(const struct qsnd_stream_desc *s, struct qsnd_params *p)
{
	if (!offered(s, p))
		return VIRTIO_SND_S_NOT_SUPP;
	p->rate_hz = qsnd_rate_hz(p->rate);
	p->frame_bytes = p->channels * qsnd_sample_bytes(p->format);
	if (!p->period_bytes || !p->buffer_bytes || p->buffer_bytes % p->period_bytes ||
	    p->period_bytes % p->frame_bytes)
		return VIRTIO_SND_S_BAD_MSG;
	if (!within(p->period_bytes, s->period_bytes_min, s->period_bytes_max) ||
	    !within(p->buffer_bytes, 0, s->buffer_bytes_max))
		return VIRTIO_SND_S_NOT_SUPP;
	return VIRTIO_SND_S_OK;
}

static uint32_t parse_params(const struct qsnd_stream_desc *s, const void *buf, size_t len_bytes,
			     struct qsnd_params *ret)
{
	struct virtio_snd_pcm_set_params w;

	if (len_bytes < sizeof(w))
		return VIRTIO_SND_S_BAD_MSG;
	memcpy(&w, buf, sizeof(w));
	*ret = (struct qsnd_params){
		.buffer_bytes = le32toh(w.buffer_bytes), .period_bytes = le32toh(w.period_bytes),
		.features = le32toh(w.features), .channels = w.channels, .format = w.format,
		.rate = w.rate,
	};
	return check_params(s, ret);
}

static uint32_t parse_pcm(const struct qsnd_dev *d, const void *buf, size_t len_bytes,
			  struct qsnd_req *req)
{
	struct virtio_snd_pcm_hdr w;

	if (len_bytes < sizeof(w))
		return VIRTIO_SND_S_BAD_MSG;
	memcpy(&w, buf, sizeof(w));
	req->id = le32toh(w.stream_id);
	if (req->id >= d->n_streams)
		return VIRTIO_SND_S_BAD_MSG;
	if (req->code != VIRTIO_SND_R_PCM_SET_PARAMS)
		return VIRTIO_SND_S_OK;
	return parse_params(&d->streams[req->id], buf, len_bytes, &req->params);
}

uint32_t qsnd_ctl_parse(const struct qsnd_dev *d, const void *buf, size_t len_bytes,
			uint64_t resp_bytes, struct qsnd_req *ret)
{
	struct virtio_snd_hdr w;

	*ret = (struct qsnd_req){ 0 };
	if (len_bytes < sizeof(w) || resp_bytes < sizeof(w))
		return VIRTIO_SND_S_BAD_MSG;
	memcpy(&w, buf, sizeof(w));
	ret->code = le32toh(w.code);
	if (qsnd_ctl_is_pcm(ret->code))
		return parse_pcm(d, buf, len_bytes, ret);
	switch (ret->code) {
	case VIRTIO_SND_R_JACK_INFO:
	case VIRTIO_SND_R_PCM_INFO:
	case VIRTIO_SND_R_CHMAP_INFO:
		return parse_query(d, buf, len_bytes, resp_bytes, ret);
	case VIRTIO_SND_R_JACK_REMAP:
		return parse_remap(d, buf, len_bytes, ret);
	default:
		return VIRTIO_SND_S_NOT_SUPP;
	}
}

/* ---- out ---- */

static void put_jack(const struct qsnd_jack_desc *j, uint8_t *to, size_t len)
{
	struct virtio_snd_jack_info w = {
		.hdr.hda_fn_nid = htole32(j->nid), .hda_reg_defconf = htole32(j->defconf),
		.hda_reg_caps = htole32(j->caps), .connected = j->connected,
	};

	memcpy(to, &w, Q_MIN(len, sizeof(w)));
}

static void put_stream(const struct qsnd_stream_desc *s, uint8_t *to, size_t len)
{
	struct virtio_snd_pcm_info w = {
		.hdr.hda_fn_nid = htole32(s->nid), .features = htole32(s->features),
		.formats = htole64(s->formats), .rates = htole64(s->rates),
		.direction = s->direction, .channels_min = s->channels_min,
		.channels_max = s->channels_max,
	};

	memcpy(to, &w, Q_MIN(len, sizeof(w)));
}

static void put_chmap(const struct qsnd_chmap_desc *m, uint8_t *to, size_t len)
{
	struct virtio_snd_chmap_info w = {
		.hdr.hda_fn_nid = htole32(m->nid), .direction = m->direction,
		.channels = m->channels,
	};

	memcpy(w.positions, m->positions, sizeof(m->positions));
	memcpy(to, &w, Q_MIN(len, sizeof(w)));
}

static void put_item(const struct qsnd_dev *d, const struct qsnd_req *req, uint32_t i, uint8_t *to)
{
	memset(to, 0, req->size_bytes);
	if (req->code == VIRTIO_SND_R_JACK_INFO)
		put_jack(&d->jacks[i], to, req->size_bytes);
	else if (req->code == VIRTIO_SND_R_PCM_INFO)
		put_stream(&d->streams[i], to, req->size_bytes);
	else
		put_chmap(&d->chmaps[i], to, req->size_bytes);
}

static bool has_items(uint32_t code)
{
	return code == VIRTIO_SND_R_JACK_INFO || code == VIRTIO_SND_R_PCM_INFO ||
	       code == VIRTIO_SND_R_CHMAP_INFO;
}

size_t qsnd_ctl_answer(const struct qsnd_dev *d, const struct qsnd_req *req, uint32_t status,
		       void *buf)
{
	struct virtio_snd_hdr w = { .code = htole32(status) };
	uint8_t *to = buf;

	memcpy(to, &w, sizeof(w));
	to += sizeof(w);
	if (status != VIRTIO_SND_S_OK || !has_items(req->code))
		return sizeof(w);
	for (uint32_t i = 0; i < req->count; i++, to += req->size_bytes)
		put_item(d, req, req->id + i, to);
	return sizeof(w) + (size_t)req->count * req->size_bytes;
}
