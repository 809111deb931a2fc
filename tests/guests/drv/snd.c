/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-snd driver (virtio 1.2, 5.14): four queues, requests one after the other. */
#include "tests/guests/drv/snd.h"

#define N_EVENTS	16u
#define CTL_WAIT_NS	(20 * RT_NS_PER_S)
#define CTL_BYTES	4096u

struct event {
	uint32_t code, data;
};

/* ---- control ---- */

uint32_t snd_request(struct snd *s, const void *req, uint32_t len, void *resp, uint32_t room)
{
	static uint8_t *out, *in;
	uint64_t until = arch_ticks() + rt_ticks(CTL_WAIT_NS);
	uint32_t used, status;

	if (!out) {
		out = rt_need(CTL_BYTES, 64, "a request");
		in = rt_need(CTL_BYTES, 64, "a response");
	}
	memcpy(out, req, len);
	memset(in, 0, CTL_BYTES);
	const struct vq_seg seg[2] = { { out, len }, { in, room + 4 } };
	if (!vq_add(&s->ctl, seg, 1, 1, out))
		rt_fail("the control queue is full");
	vq_kick(&s->ctl);
	while (!vq_poll(&s->ctl, &used)) {
		uint32_t seen = rt_wake;

		if (arch_ticks() > until)
			rt_fail("request 0x%x was not answered", *(const uint32_t *)req);
		if (!vq_arm(&s->ctl))
			rt_wait(seen, arch_ticks() + rt_ticks(RT_NS_PER_MS));
		snd_irq_ack(s);
	}
	memcpy(&status, in, 4);
	if (used < 4 || used > room + 4)
		rt_fail("request 0x%x was answered with %u bytes", *(const uint32_t *)req, used);
	if (resp)
		memcpy(resp, in + 4, room);
	return status;
}

uint32_t snd_command(struct snd *s, uint32_t code, uint32_t stream)
{
	const uint32_t req[2] = { code, stream };

	return snd_request(s, req, sizeof(req), NULL, 0);
}

static const char *ask_streams(struct snd *s)
{
	const uint32_t req[4] = { SND_R_PCM_INFO, 0, s->n_streams, sizeof(s->info[0]) };

	return snd_request(s, req, sizeof(req), s->info,
			   s->n_streams * (uint32_t)sizeof(s->info[0])) == SND_S_OK ?
		       NULL : "PCM_INFO was refused";
}

/* ---- messages ---- */

static struct vq *queue_of(struct snd *s, bool output)
{
	return output ? &s->tx : &s->rx;
}

bool snd_put(struct snd *s, bool output, struct snd_msg *m, uint32_t bytes)
{
	const struct vq_seg seg[3] = { { &m->stream, 4 }, { m->data, bytes }, { &m->result, 8 } };

	m->result.status = 0;
	return vq_add(queue_of(s, output), seg, output ? 2 : 1, output ? 1 : 2, m);
}

void snd_kick(struct snd *s, bool output)
{
	vq_kick(queue_of(s, output));
}

struct snd_msg *snd_get(struct snd *s, bool output, uint32_t *ret_bytes)
{
	uint32_t used;
	struct snd_msg *m = vq_poll(queue_of(s, output), &used);

	if (!m)
		return NULL;
	if (used < 8 || used - 8 > (output ? 0 : m->data_bytes))
		rt_fail("a message of %u came back with %u bytes", m->data_bytes, used);
	*ret_bytes = used - 8;
	return m;
}

/* ---- events ---- */

static void give_event(struct snd *s, struct event *e)
{
	const struct vq_seg seg = { e, sizeof(*e) };

	if (!vq_add(&s->event, &seg, 0, 1, e))
		rt_fail("the event queue is full of what it gave back");
}

void snd_look_at_events(struct snd *s)
{
	struct event *e;
	uint32_t used;

	while ((e = vq_poll(&s->event, &used)) != NULL) {
		if (used != sizeof(*e))
			rt_fail("an event has %u bytes", used);
		if (e->code == SND_EVT_JACK_ON || e->code == SND_EVT_JACK_OFF)
			s->n_jack_events++;
		else if (e->data >= s->n_streams)
			rt_fail("event 0x%x of stream %u", e->code, e->data);
		else if (e->code == SND_EVT_XRUN)
			s->n_xruns[e->data]++;
		else if (e->code == SND_EVT_PERIOD)
			s->n_periods[e->data]++;
		else
			rt_fail("event 0x%x is none", e->code);
		give_event(s, e);
	}
	vq_kick(&s->event);
}

void snd_irq_ack(struct snd *s)
{
	uint32_t now = 0;

	for (unsigned i = 0; i <= SND_Q_RX; i++)
		if (s->dev->irq[i] >= 0)
			now += rt_irq_count[s->dev->irq[i]];
	if (now != s->irqs_acked)
		s->dev->ops->irq_ack(s->dev);
	s->irqs_acked = now;
}

/* ---- the whole ---- */

const char *snd_open(struct snd *s, struct vio_dev *d, uint64_t features)
{
	struct vq *q[] = { &s->ctl, &s->event, &s->tx, &s->rx };
	const char *why = vio_begin(d, features);

	s->dev = d;
	for (unsigned i = 0; i < RT_ARRAY_LEN(q) && !why; i++)
		why = vq_init(q[i], d, i, VQ_MAX_SIZE);
	if (why)
		return why;
	s->n_jacks = d->ops->config_read(d, 0, 4);
	s->n_streams = d->ops->config_read(d, 4, 4);
	s->n_chmaps = d->ops->config_read(d, 8, 4);
	if (s->n_streams > SND_STREAMS_MAX)
		return "more streams than this driver knows";
	for (unsigned i = 0; i < N_EVENTS; i++)
		give_event(s, rt_need(sizeof(struct event), 16, "an event"));
	vio_run(d);
	vq_kick(&s->event);
	return ask_streams(s);
}
