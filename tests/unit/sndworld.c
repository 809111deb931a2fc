/* SPDX-License-Identifier: Apache-2.0 */
/* See sndworld.h. */
#include "tests/unit/sndworld.h"

#include <endian.h>
#include <errno.h>

#define RING_NUM 64u
#define RING_BYTES 0x10000u
#define INDIRECT_MAX 8u
#define CTL (VDH_RAM_GPA + 4 * RING_BYTES)
#define EVENTS (CTL + 0x4000)
#define TX (EVENTS + 0x1000)
#define RX (TX + SW_MSGS * SW_SLOT_BYTES)
#define STATUS_OFF (SW_SLOT_BYTES - 16)
#define DATA_OFF 16u

/* ---- the fake device ---- */

static struct sw_fake *fake_of(struct vd_snd_pcm *p)
{
	return Q_CONTAINER_OF(p, struct sw_fake, pcm);
}

static uint64_t now_of(struct sw_fake *f)
{
	return f->pcm.host->ops->now(f->pcm.host);
}

static int fake_begin(struct vd_snd_pcm *p, const struct qsnd_params *params)
{
	struct sw_fake *f = fake_of(p);

	if (f->begin_err)
		return f->begin_err;
	vd_snd_clock_begin(&f->clock, params->rate_hz);
	f->params = *params;
	f->begun = true;
	f->n_begun++;
	return 0;
}

static int fake_run(struct vd_snd_pcm *p, bool on)
{
	vd_snd_clock_run(&fake_of(p)->clock, on, now_of(fake_of(p)));
	return fake_of(p)->run_err;
}

/* It takes what it will be heard delay_frames later. */
static int64_t fake_room(struct vd_snd_pcm *p)
{
	struct sw_fake *f = fake_of(p);

	if (f->room_err)
		return f->room_err;
	return (int64_t)(vd_snd_clock_room(&f->clock, now_of(f)) +
			 (f->clock.runs ? f->delay_frames : 0));
}

static int fake_write(struct vd_snd_pcm *p, const void *buf, uint32_t n)
{
	struct sw_fake *f = fake_of(p);
	uint32_t len = n * f->params.frame_bytes;

	if (f->write_err)
		return f->write_err;
	ck_assert_uint_le(len, SW_HEARD_BYTES - f->heard_bytes);
	memcpy(f->heard + f->heard_bytes, buf, len);
	f->heard_bytes += len;
	f->clock.moved += n;
	return 0;
}

static int fake_read(struct vd_snd_pcm *p, void *buf, uint32_t n)
{
	struct sw_fake *f = fake_of(p);
	uint8_t *to = buf;

	for (uint32_t i = 0; i < n * f->params.frame_bytes; i++)
		to[i] = ++f->next;
	f->clock.moved += n;
	return 0;
}

static uint64_t fake_delay(struct vd_snd_pcm *p)
{
	struct sw_fake *f = fake_of(p);
	uint64_t shown = f->clock.moved + vd_snd_clock_room(&f->clock, now_of(f));

	/* The room may be negative here: more was moved than the clock shows. */
	return f->clock.moved > shown ? f->clock.moved - shown : 0;
}

static void fake_gap(struct vd_snd_pcm *p)
{
	struct sw_fake *f = fake_of(p);
	uint64_t n = vd_snd_clock_room(&f->clock, now_of(f));

	if ((int64_t)n <= 0)
		return;
	f->gap_frames += (uint32_t)n;
	f->clock.moved += n;
}

static void fake_end(struct vd_snd_pcm *p)
{
	fake_of(p)->n_ended += fake_of(p)->begun;
	fake_of(p)->begun = false;
	fake_of(p)->clock.runs = false;
}

static void fake_close(struct vd_snd_pcm *p)
{
	fake_of(p)->closed = true;
}

static const struct vd_snd_ops fake_ops = {
	.begin = fake_begin, .run = fake_run, .room = fake_room, .write = fake_write,
	.read = fake_read, .delay = fake_delay, .gap = fake_gap, .end = fake_end,
	.close = fake_close,
};

static int fake_open(struct vdh *h, const struct vd_snd_cfg *cfg, struct vd_snd_pcm **ret)
{
	struct sw *w = h->snd_ctx;
	struct sw_fake *f = &w->fakes[w->n_fakes];

	if (w->n_fakes == Q_ARRAY_LEN(w->fakes))
		return -EBUSY;
	w->n_fakes++;
	f->pcm = (struct vd_snd_pcm){ .ops = &fake_ops, .host = &h->host,
		.formats = QSND_BIT(VIRTIO_SND_PCM_FMT_S16) | QSND_BIT(VIRTIO_SND_PCM_FMT_FLOAT),
		.rates = QSND_BIT(VIRTIO_SND_PCM_RATE_48000), .channels_min = 2,
		.channels_max = 2 };
	f->output = cfg->output;
	*ret = &f->pcm;
	return 0;
}

/* ---- life ---- */

void sw_init(struct sw *w, unsigned flags)
{
	memset(w, 0, sizeof(*w));
	vdh_init(&w->h);
	w->h.snd_open = fake_open;
	w->h.snd_ctx = w;
	vdh_arg(&w->h, "hostdev", flags & SW_FAKE ? "alsa:fake" : "null", 0);
}

void sw_live(struct sw *w, unsigned flags)
{
	uint64_t f = VDD_VERSION_1 | (flags & SW_PACKED ? VDD_PACKED : 0) |
		     (flags & SW_INDIRECT ? VDD_INDIRECT : 0) |
		     (flags & SW_EVENT_IDX ? VDD_EVENT_IDX : 0);
	unsigned rf = (flags & SW_PACKED ? QRING_PACKED : 0) |
		      (flags & SW_INDIRECT ? QRING_INDIRECT : 0) |
		      (flags & SW_EVENT_IDX ? QRING_EVENT_IDX : 0);

	vdd_negotiate(&w->d, f);
	for (unsigned i = 0; i < VIRTIO_SND_VQ_MAX; i++) {
		uint64_t at = VDH_RAM_GPA + i * RING_BYTES;

		qdriver_fini(&w->q[i]);
		ck_assert_int_eq(qdriver_init(&w->q[i], w->h.mem, gpa(at), RING_NUM, rf,
					      gpa(at + 0x8000), INDIRECT_MAX), 0);
		vdd_queue_set(&w->d, i, &w->q[i].cfg);
		vdd_queue_enable(&w->d, i);
	}
	vdd_set_status(&w->d, VDD_STATUS_LIVE);
	vdh_settle(&w->h);
}

void sw_open(struct sw *w, unsigned flags)
{
	if (flags & SW_MMIO)
		ck_assert_int_eq(vdh_create(&w->h, "virtio-snd", VD_MEM, VDD_MMIO, 1), 0);
	else
		ck_assert_int_eq(vdh_create(&w->h, "virtio-snd", VD_PCI, 0, 0), 0);
	vdd_init(&w->d, &w->h);
	vdh_advance(&w->h, 1);	/* time stands still from here on */
	sw_live(w, flags);
}

void sw_fini(struct sw *w)
{
	vdh_fini(&w->h);
	for (unsigned i = 0; i < VIRTIO_SND_VQ_MAX; i++)
		qdriver_fini(&w->q[i]);
	for (unsigned i = 0; i < w->n_fakes; i++)
		ck_assert(w->fakes[i].closed);
}

static void add(struct sw *w, unsigned q, const struct qdriver_buf *bufs, unsigned n,
		uintptr_t token, bool kick)
{
	ck_assert_int_eq(qdriver_add(&w->q[q], bufs, n, (void *)token), QDRIVER_OK);
	qdriver_publish(&w->q[q]);
	if (!kick)
		return;
	vdd_notify(&w->d, q);
	vdh_settle(&w->h);
}

/* ---- control ---- */

void sw_ctl_send(struct sw *w, const void *req, size_t len, size_t room)
{
	const struct qdriver_buf b[] = { { gpa(CTL), (uint32_t)len, false },
					 { gpa(CTL + 0x1000), (uint32_t)room, true } };

	qmem_write(w->h.mem, gpa(CTL), req, len);
	add(w, VIRTIO_SND_VQ_CONTROL, len ? b : b + 1, (len ? 1 : 0) + (room ? 1 : 0), 1, true);
}

bool sw_ctl_poll(struct sw *w, uint32_t *ret_status)
{
	struct virtio_snd_hdr hdr;
	void *token;

	if (qdriver_poll(&w->q[VIRTIO_SND_VQ_CONTROL], &token, &w->resp_bytes) != QDRIVER_OK)
		return false;
	qmem_read(w->h.mem, gpa(CTL + 0x1000), w->resp, sizeof(w->resp) & ~0xfu);
	memcpy(&hdr, w->resp, sizeof(hdr));
	*ret_status = le32toh(hdr.code);
	return true;
}

uint32_t sw_ctl(struct sw *w, const void *req, size_t len, size_t room)
{
	uint32_t status = 0;

	sw_ctl_send(w, req, len, room);
	return sw_ctl_poll(w, &status) ? status : 0;
}

uint32_t sw_pcm(struct sw *w, uint32_t code, uint32_t stream)
{
	struct virtio_snd_pcm_hdr req = { .hdr.code = htole32(code), .stream_id = htole32(stream) };

	return sw_ctl(w, &req, sizeof(req), 4);
}

uint32_t sw_params(struct sw *w, uint32_t stream, uint32_t frames, uint32_t features)
{
	struct virtio_snd_pcm_set_params req = {
		.hdr.hdr.code = htole32(VIRTIO_SND_R_PCM_SET_PARAMS),
		.hdr.stream_id = htole32(stream), .buffer_bytes = htole32(frames * 4 * 4),
		.period_bytes = htole32(frames * 4), .features = htole32(features),
		.channels = 2, .format = VIRTIO_SND_PCM_FMT_S16, .rate = VIRTIO_SND_PCM_RATE_48000,
	};

	return sw_ctl(w, &req, sizeof(req), 4);
}

void sw_prepare(struct sw *w, uint32_t stream, uint32_t frames, uint32_t features)
{
	ck_assert_uint_eq(sw_params(w, stream, frames, features), VIRTIO_SND_S_OK);
	ck_assert_uint_eq(sw_pcm(w, VIRTIO_SND_R_PCM_PREPARE, stream), VIRTIO_SND_S_OK);
}

/* ---- messages ---- */

static uint64_t slot_at(bool output, unsigned i)
{
	return (output ? TX : RX) + (uint64_t)i * SW_SLOT_BYTES;
}

void sw_msg(struct sw *w, bool output, unsigned i, uint32_t stream, uint32_t len, uint8_t fill,
	    bool kick)
{
	uint64_t at = slot_at(output, i);
	const uint32_t half = len / 2;
	const struct qdriver_buf b[] = {
		{ gpa(at), 4, false },
		{ gpa(at + DATA_OFF), half, !output },
		{ gpa(at + DATA_OFF + half), len - half, !output },
		{ gpa(at + STATUS_OFF), 8, true },
	};
	struct qdriver_buf used[4];
	unsigned n = 0;
	uint8_t data[SW_SLOT_BYTES];

	for (uint32_t k = 0; k < len; k++)
		data[k] = output ? (uint8_t)(fill + k) : 0x77;
	stream = htole32(stream);
	qmem_write(w->h.mem, gpa(at), &stream, 4);
	qmem_write(w->h.mem, gpa(at + DATA_OFF), data, len);
	for (unsigned k = 0; k < 4; k++)
		if (b[k].len_bytes)
			used[n++] = b[k];
	add(w, output ? VIRTIO_SND_VQ_TX : VIRTIO_SND_VQ_RX, used, n, i + 1, kick);
}

int sw_done(struct sw *w, bool output, uint32_t *ret_status, uint32_t *ret_latency,
	    uint32_t *ret_len)
{
	struct virtio_snd_pcm_status s;
	void *token;
	int i;

	if (qdriver_poll(&w->q[output ? VIRTIO_SND_VQ_TX : VIRTIO_SND_VQ_RX], &token, ret_len) !=
	    QDRIVER_OK)
		return -1;
	i = (int)(uintptr_t)token - 1;
	qmem_read(w->h.mem, gpa(slot_at(output, (unsigned)i) + STATUS_OFF), &s, sizeof(s));
	*ret_status = le32toh(s.status);
	*ret_latency = le32toh(s.latency_bytes);
	return i;
}

unsigned sw_done_all(struct sw *w, bool output, uint32_t status)
{
	uint32_t got, latency, len;
	unsigned n = 0;

	while (sw_done(w, output, &got, &latency, &len) >= 0) {
		ck_assert_uint_eq(got, status);
		n++;
	}
	return n;
}

void sw_recorded(struct sw *w, unsigned i, void *buf, uint32_t len)
{
	qmem_read(w->h.mem, gpa(slot_at(false, i) + DATA_OFF), buf, len);
}

/* ---- events ---- */

void sw_event_bufs(struct sw *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		add(w, VIRTIO_SND_VQ_EVENT, &(struct qdriver_buf){ gpa(EVENTS + i * 16), 8, true },
		    1, EVENTS + i * 16, true);
}

bool sw_event(struct sw *w, uint32_t *ret_code, uint32_t *ret_data)
{
	struct virtio_snd_event ev;
	uint32_t len;
	void *token;

	if (qdriver_poll(&w->q[VIRTIO_SND_VQ_EVENT], &token, &len) != QDRIVER_OK)
		return false;
	ck_assert_uint_eq(len, sizeof(ev));
	qmem_read(w->h.mem, gpa((uintptr_t)token), &ev, sizeof(ev));
	*ret_code = le32toh(ev.hdr.code);
	*ret_data = le32toh(ev.data);
	return true;
}

bool sw_says(struct sw *w, const char *word)
{
	char text[1024];

	w->h.v->ops->status(w->h.v, text, sizeof(text));
	return strstr(text, word);
}
