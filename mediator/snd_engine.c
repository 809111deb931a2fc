/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A period (snd_engine.h). Everything here but new, free and add_share runs on the device's
 * real-time thread.
 *
 * Theory of operation. Guests are not waited for and do not kick: each period looks at each ring
 * once, with a budget, those with a safety stream first. So what was sent before a period begins is
 * heard in it, and nobody's ring can make a period longer than the budgets are. A message is given
 * back in the period in which its last byte was mixed.
 *
 * Invariant: a message is in the fifo of its slot, or it is done; a slot that takes none has none.
 */
#include "mediator/snd_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"

#define BUDGET 64u		/* messages of a ring in a period */
#define CMD_BUDGET 256u
#define REPLIES_KEPT (SND_CMDS / 2)	/* for those that must not be lost */
#define STANDSTILL_NS (200 * Q_NSEC_PER_MSEC)
#define RELAXED memory_order_relaxed

/* Written by this thread alone: a load and a store are enough. */
static void add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, RELAXED) + n, RELAXED);
}

static void raise_to(_Atomic uint64_t *c, uint64_t v)
{
	if (v > atomic_load_explicit(c, RELAXED))
		atomic_store_explicit(c, v, RELAXED);
}

/* ---- life ---- */

int snd_engine_new(const struct snd_dev_cfg *cfg, struct snd_dev *take_dev, float lower_limit,
		   int wake_fd, struct snd_engine **ret)
{
	struct snd_engine *e = calloc(1, sizeof(*e));
	size_t samples = (size_t)cfg->period_frames * cfg->channels;
	struct mix_cfg mix = { cfg->rate_hz, cfg->channels, cfg->period_frames, MIX_VOICES_MAX,
			       lower_limit };

	if (!e) {
		take_dev->ops->close(take_dev);
		return -ENOMEM;
	}
	e->cfg = *cfg;
	e->dev = take_dev;
	e->wake_fd = wake_fd;
	e->bell = QBELL_NULL;
	int r = qbell_init(&e->bell);
	e->mix = mix_new(&mix);
	e->spare = snd_null_new(cfg);
	e->out = calloc(samples, sizeof(float));
	e->heard_in = calloc(samples, sizeof(float));
	e->cmd_store = calloc(SND_CMDS, sizeof(e->cmd_store[0]));
	e->reply_store = calloc(SND_CMDS, sizeof(e->reply_store[0]));
	if (r == 0 && (!e->mix || !e->spare || !e->out || !e->heard_in || !e->cmd_store ||
		       !e->reply_store))
		r = -ENOMEM;
	if (r < 0) {
		snd_engine_free(e);
		return r;
	}
	spsc_init(&e->cmds, e->cmd_store, SND_CMDS, sizeof(struct snd_cmd));
	spsc_init(&e->replies, e->reply_store, SND_CMDS, sizeof(struct snd_reply));
	uint64_t frames = (uint64_t)cfg->period_frames * (1 + cfg->periods);
	e->stats.heard_bound_ns = frames * Q_NSEC_PER_SEC / cfg->rate_hz;
	*ret = e;
	return 0;
}

struct snd_engine *snd_engine_free(struct snd_engine *e)
{
	struct snd_cmd c;
	struct snd_reply r;

	if (!e)
		return NULL;
	while (e->cmd_store && spsc_take(&e->cmds, &c)) {
		mix_conv_free(c.conv);
		if (c.dev)
			c.dev->ops->close(c.dev);
		if (c.kind == SND_CMD_QUEUE_ADD)
			snd_queue_free(c.queue);
		if (c.kind == SND_CMD_CALL)
			qfd_close(&c.fd);
	}
	while (e->reply_store && spsc_take(&e->replies, &r)) {
		mix_conv_free(r.conv);
		if (r.dev)
			r.dev->ops->close(r.dev);
		if (r.kind == SND_REPLY_QUEUE)
			snd_queue_free(r.queue);
		if (r.kind == SND_REPLY_CALL)
			qfd_close(&r.fd);
	}
	for (unsigned i = 0; i < e->n_shares; i++) {
		snd_queue_free(e->shares[i].tx);
		snd_queue_free(e->shares[i].rx);
	}
	for (unsigned i = 0; i < e->n_slots; i++)
		mix_conv_free(e->slots[i].conv);
	if (e->dev && e->dev != e->spare)
		e->dev->ops->close(e->dev);
	if (e->mic)
		e->mic->ops->close(e->mic);
	if (e->spare)
		e->spare->ops->close(e->spare);
	qbell_fini(&e->bell);
	mix_free(e->mix);
	free(e->out);
	free(e->heard_in);
	free(e->cmd_store);
	free(e->reply_store);
	free(e);
	return NULL;
}

int snd_engine_add_share(struct snd_engine *e, const struct qsnd_dev *dev,
			 const struct mix_voice_cfg *voice)
{
	if (e->n_shares == SND_SHARES_MAX || e->n_slots + dev->n_streams > MIX_VOICES_MAX)
		return -ENOSPC;
	struct snd_share_rt *sh = &e->shares[e->n_shares];
	*sh = (struct snd_share_rt){ .dev = *dev, .first_slot = e->n_slots,
				     .n_slots = dev->n_streams };
	for (unsigned i = 0; i < dev->n_streams; i++, e->n_slots++) {
		struct snd_slot *s = &e->slots[e->n_slots];

		s->share = e->n_shares;
		s->output = dev->streams[i].direction == VIRTIO_SND_D_OUTPUT;
		s->stats.by = -1;
		mix_voice_set(e->mix, e->n_slots, voice);
	}
	return (int)e->n_shares++;
}

bool snd_engine_tell(struct snd_engine *e, const struct snd_cmd *cmd)
{
	return spsc_put(&e->cmds, cmd);
}

bool snd_engine_reply(struct snd_engine *e, struct snd_reply *ret)
{
	return spsc_take(&e->replies, ret);
}

static void reply(struct snd_engine *e, const struct snd_reply *r)
{
	/* The session has at most REPLIES_KEPT questions out. */
	bool put = spsc_put(&e->replies, r);

	qassert(put);
	e->wake = true;
}

/* One that may be lost. */
static void reply_if_room(struct snd_engine *e, const struct snd_reply *r)
{
	if (spsc_room(&e->replies) > REPLIES_KEPT)
		reply(e, r);
}

/* ---- messages ---- */

static struct snd_queue *queue_of(struct snd_engine *e, const struct snd_slot *s)
{
	struct snd_share_rt *sh = &e->shares[s->share];

	return s->output ? sh->tx : sh->rx;
}

static void take_message(struct snd_engine *e, struct snd_queue *q, struct qsnd_msg *m)
{
	struct snd_slot *s = &e->slots[e->shares[q->share].first_slot + m->stream];

	if (!s->takes) {
		snd_queue_done(q, m, VIRTIO_SND_S_IO_ERR, 0);
		add(&s->stats.refused, 1);
		return;
	}
	if (qsnd_fifo_left(&s->fifo) == 0 && !s->timing) {
		/* Had it been there at the look before this one, it would have been taken then. */
		s->timing = true;
		s->asked_ns = e->looked_ns;
	}
	qsnd_fifo_put(&s->fifo, m);
	add(&s->stats.messages, 1);
}

static void poll_queue(struct snd_engine *e, struct snd_queue *q, unsigned budget)
{
	struct qsnd_msg *m;

	for (; q && !q->broken && budget > 0; budget--) {
		switch (snd_queue_next(q, &e->shares[q->share].dev, &m)) {
		case SND_NEXT_NONE:
			return;
		case SND_NEXT_MSG:
			take_message(e, q, m);
			break;
		case SND_NEXT_REFUSE:
			snd_queue_done(q, m, VIRTIO_SND_S_IO_ERR, 0);
			break;
		case SND_NEXT_FAULT:
			q->broken = true;
			reply(e, &(struct snd_reply){ .kind = SND_REPLY_FAULT, .queue = q });
			return;
		}
	}
}

/* Gives all messages of @s back, or forgets them: they stay in flight. */
static void flush(struct snd_engine *e, struct snd_slot *s, bool forget)
{
	struct snd_queue *q = queue_of(e, s);
	struct qsnd_msg *m;

	while ((m = qsnd_fifo_flush(&s->fifo)))
		if (!forget)
			snd_queue_done(q, m, VIRTIO_SND_S_OK, 0);
	s->timing = s->gap = s->gap_told = false;
}

static void silence(struct snd_engine *e, unsigned slot)
{
	e->slots[slot].running = false;
	if (e->slots[slot].output)
		mix_voice_close(e->mix, slot);
}

/* ---- commands ---- */

static void do_queue_del(struct snd_engine *e, const struct snd_cmd *c)
{
	struct snd_queue *q = c->queue;
	struct snd_share_rt *sh = &e->shares[q->share];

	for (unsigned i = 0; i < sh->n_slots; i++) {
		struct snd_slot *s = &e->slots[sh->first_slot + i];

		if (s->output == q->output)
			flush(e, s, c->keep);
	}
	snd_queue_publish(q, &e->bell);
	/* Its descriptor may be closed next. */
	qbell_flush(&e->bell);
	*(q->output ? &sh->tx : &sh->rx) = NULL;
	reply(e, &(struct snd_reply){ .kind = SND_REPLY_QUEUE, .queue = q });
}

static void do_call(struct snd_engine *e, const struct snd_cmd *c)
{
	int old = c->queue->call_fd;

	qbell_flush(&e->bell);
	c->queue->call_fd = c->fd;
	/* What was done before there was anyone to call must not be forgotten. */
	if (c->fd >= 0)
		qbell_ring(&e->bell, c->fd);
	reply(e, &(struct snd_reply){ .kind = SND_REPLY_CALL, .queue = c->queue,
					.fd = old });
}

static void do_prepare(struct snd_engine *e, const struct snd_cmd *c)
{
	struct snd_slot *s = &e->slots[c->slot];

	s->conv = c->conv;
	s->frame_bytes = c->frame_bytes;
	s->period_bytes = c->period_bytes;
	s->rate_hz = c->rate_hz;
	s->takes = true;
	s->gap = s->gap_told = false;
}

static void do_flush(struct snd_engine *e, const struct snd_cmd *c)
{
	struct snd_slot *s = &e->slots[c->slot];
	struct snd_queue *q = queue_of(e, s);
	struct mix_conv *conv = s->conv;

	/* What the guest sent before it asked is flushed too. */
	if (q && s->takes)
		poll_queue(e, q, q->num);
	silence(e, c->slot);
	s->takes = false;
	if (q)
		flush(e, s, false);
	if (q)
		snd_queue_publish(q, &e->bell);
	s->conv = NULL;
	reply(e, &(struct snd_reply){ .kind = SND_REPLY_FLUSHED, .slot = c->slot, .conv = conv });
}

static void do_device(struct snd_engine *e, struct snd_dev *dev)
{
	if (!e->lost) {
		reply(e, &(struct snd_reply){ .kind = SND_REPLY_DEVICE, .dev = dev });
		return;
	}
	e->dev = dev;
	e->lost = false;
	atomic_store_explicit(&e->stats.device_lost, false, RELAXED);
}

static void do_capture(struct snd_engine *e, struct snd_dev *mic)
{
	if (e->mic)
		reply(e, &(struct snd_reply){ .kind = SND_REPLY_CAPTURE, .dev = mic });
	else
		e->mic = mic;
}

static void do_start(struct snd_engine *e, unsigned slot)
{
	struct snd_slot *s = &e->slots[slot];

	/* What passed while it stood still, nobody missed. */
	s->gap = s->gap_told = false;
	s->running = true;
	if (s->output)
		mix_voice_open(e->mix, slot);
}

static void do_command(struct snd_engine *e, const struct snd_cmd *c)
{
	switch (c->kind) {
	case SND_CMD_QUEUE_ADD:
		*(c->queue->output ? &e->shares[c->queue->share].tx :
				     &e->shares[c->queue->share].rx) = c->queue;
		break;
	case SND_CMD_QUEUE_DEL:
		do_queue_del(e, c);
		break;
	case SND_CMD_CALL:
		do_call(e, c);
		break;
	case SND_CMD_PREPARE:
		do_prepare(e, c);
		break;
	case SND_CMD_START:
		do_start(e, c->slot);
		break;
	case SND_CMD_STOP:
		silence(e, c->slot);
		break;
	case SND_CMD_FLUSH:
		do_flush(e, c);
		break;
	case SND_CMD_VOICE:
		mix_voice_set(e->mix, c->slot, &c->voice);
		break;
	case SND_CMD_LIMIT:
		mix_set_lower_limit(e->mix, c->limit);
		break;
	case SND_CMD_DEVICE:
		do_device(e, c->dev);
		break;
	case SND_CMD_CAPTURE:
		do_capture(e, c->dev);
		break;
	case SND_CMD_RESET_WORST:
		atomic_store_explicit(&e->stats.heard_worst_ns, 0, RELAXED);
		atomic_store_explicit(&e->stats.busy_max_ns, 0, RELAXED);
		break;
	}
}

static void take_commands(struct snd_engine *e)
{
	struct snd_cmd c;

	for (unsigned n = 0; n < CMD_BUDGET && spsc_take(&e->cmds, &c); n++)
		do_command(e, &c);
}

/* ---- samples ---- */

static void xrun(struct snd_engine *e, struct snd_slot *s)
{
	s->gap_told = true;
	add(&s->stats.xruns, 1);
	reply_if_room(e, &(struct snd_reply){ .kind = SND_REPLY_XRUN,
					      .slot = (unsigned)(s - e->slots) });
}

/* An xrun a gap: when data come again, or a period of the guest has passed (qsnd_msg.h). */
static void note_gap(struct snd_engine *e, struct snd_slot *s, uint32_t got, uint32_t wanted)
{
	uint64_t period = (uint64_t)s->period_bytes / s->frame_bytes * e->cfg.rate_hz / s->rate_hz;

	if (got > 0 && s->gap) {
		if (!s->gap_told)
			xrun(e, s);
		s->gap = s->gap_told = false;
	}
	/* A stream that has had no message yet has no gap either. */
	if (got == wanted || s->fifo.put_bytes == 0)
		return;
	s->gap_frames = s->gap ? s->gap_frames + wanted : wanted - got;
	s->gap = true;
	add(&s->stats.gap_frames, wanted - got);
	if (!s->gap_told && s->gap_frames >= period)
		xrun(e, s);
}

static uint32_t read_fifo(void *ctx, void *buf, uint32_t len)
{
	return qsnd_fifo_read(ctx, buf, len);
}

static uint32_t write_fifo(void *ctx, const void *buf, uint32_t len)
{
	return qsnd_fifo_write(ctx, buf, len);
}

static uint32_t pull(void *ctx, unsigned slot, float *buf, uint32_t n)
{
	struct snd_engine *e = ctx;
	struct snd_slot *s = &e->slots[slot];
	uint32_t got = mix_conv_pull(s->conv, read_fifo, &s->fifo, buf, n);

	note_gap(e, s, got, n);
	add(&s->stats.frames, got);
	return got;
}

static void record(struct snd_engine *e, struct snd_slot *s)
{
	uint32_t n = e->cfg.period_frames;
	bool all = mix_conv_push(s->conv, e->heard_in, n, write_fifo, &s->fifo);

	note_gap(e, s, all ? n : 0, n);
	add(&s->stats.frames, all ? n : 0);
}

static uint32_t latency_bytes(const struct snd_engine *e, const struct snd_slot *s)
{
	return (uint32_t)((uint64_t)e->delay_frames * s->rate_hz / e->cfg.rate_hz) *
	       s->frame_bytes;
}

/* Gives back what was consumed, or filled, whole. */
static void give_back(struct snd_engine *e, struct snd_slot *s)
{
	struct snd_queue *q = queue_of(e, s);
	uint64_t held = s->output ? mix_conv_held_bytes(s->conv) : 0;
	struct qsnd_msg *m;

	while (q && (m = qsnd_fifo_passed(&s->fifo, s->fifo.moved_bytes - held)))
		snd_queue_done(q, m, VIRTIO_SND_S_OK, s->output ? latency_bytes(e, s) : 0);
}

/* Of class safety: from when it can have been sent, to the loudspeaker. */
static void note_heard(struct snd_engine *e, unsigned slot)
{
	struct snd_slot *s = &e->slots[slot];
	uint32_t ahead = e->delay_frames - Q_MIN(e->delay_frames, e->cfg.period_frames);

	if (!s->timing || mix_voice_now(e->mix, slot)->peak == 0)
		return;
	s->timing = false;
	if (mix_voice_now(e->mix, slot)->why == MIX_WHY_FULL && s->asked_ns)
		raise_to(&e->stats.heard_worst_ns, e->now_ns - s->asked_ns +
			 (uint64_t)ahead * Q_NSEC_PER_SEC / e->cfg.rate_hz);
}

static void publish_stats(struct snd_engine *e, unsigned slot)
{
	const struct mix_voice_now *v = mix_voice_now(e->mix, slot);
	struct snd_slot_stats *st = &e->slots[slot].stats;

	atomic_store_explicit(&st->running, e->slots[slot].running, RELAXED);
	atomic_store_explicit(&st->gain_ppm, (uint32_t)(v->gain * 1e6f), RELAXED);
	atomic_store_explicit(&st->why, v->why, RELAXED);
	atomic_store_explicit(&st->by, v->by, RELAXED);
	atomic_store_explicit(&st->speaks, v->speaks, RELAXED);
}

/* ---- the device ---- */

static void device_said(struct snd_engine *e, int r)
{
	if (r == 0)
		return;
	if (r == -EPIPE || e->lost) {
		add(&e->stats.late, !e->lost);
		return;
	}
	reply(e, &(struct snd_reply){ .kind = SND_REPLY_DEVICE, .dev = e->dev, .err = r });
	e->dev = e->spare;
	e->lost = true;
	add(&e->stats.lost, 1);
	atomic_store_explicit(&e->stats.device_lost, true, RELAXED);
}

void snd_engine_wait(struct snd_engine *e)
{
	device_said(e, e->dev->ops->wait(e->dev));
}

static void check_heard(struct snd_engine *e)
{
	enum snd_heard_news news =
		snd_heard_look(&e->heard, e->now_ns, e->dev->ops->consumed(e->dev),
			       mix_totals(e->mix)->safety_speaks, e->lost, STANDSTILL_NS);

	if (news == SND_HEARD_SAME)
		return;
	add(&e->stats.alarms, news == SND_HEARD_ALARM);
	atomic_store_explicit(&e->stats.alarm, news == SND_HEARD_ALARM, RELAXED);
	reply_if_room(e, &(struct snd_reply){
				 .kind = news == SND_HEARD_ALARM ? SND_REPLY_ALARM :
								   SND_REPLY_HEARD });
}

static bool is_safety(const struct snd_engine *e, const struct snd_share_rt *sh)
{
	return mix_voice_is_safety(e->mix, sh->first_slot);
}

static void poll_rings(struct snd_engine *e)
{
	for (unsigned turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < e->n_shares; i++) {
			struct snd_share_rt *sh = &e->shares[i];

			if (is_safety(e, sh) != (turn == 0))
				continue;
			poll_queue(e, sh->tx, BUDGET);
			poll_queue(e, sh->rx, BUDGET);
		}
	}
}

/* A PCM that records must be read, even if nobody listens, or it stops. */
static void hear(struct snd_engine *e)
{
	int r = e->mic ? e->mic->ops->read(e->mic, e->heard_in) : -ENODEV;

	if (r == 0)
		return;
	memset(e->heard_in, 0, (size_t)e->cfg.period_frames * e->cfg.channels * sizeof(float));
	if (!e->mic)
		return;
	reply(e, &(struct snd_reply){ .kind = SND_REPLY_CAPTURE, .dev = e->mic, .err = r });
	e->mic = NULL;
}

static void after_mix(struct snd_engine *e)
{
	hear(e);
	for (unsigned i = 0; i < e->n_slots; i++) {
		struct snd_slot *s = &e->slots[i];

		if (s->running && !s->output)
			record(e, s);
		if (s->takes)
			give_back(e, s);
		note_heard(e, i);
		publish_stats(e, i);
	}
	for (unsigned i = 0; i < e->n_shares; i++) {
		if (e->shares[i].tx)
			snd_queue_publish(e->shares[i].tx, &e->bell);
		if (e->shares[i].rx)
			snd_queue_publish(e->shares[i].rx, &e->bell);
	}
	qbell_flush(&e->bell);
}

void snd_engine_period(struct snd_engine *e, uint64_t now_ns)
{
	static const uint64_t one = 1;

	e->now_ns = now_ns;
	take_commands(e);
	poll_rings(e);
	mix_period(e->mix, pull, e, e->out);
	device_said(e, e->dev->ops->write(e->dev, e->out));
	e->delay_frames = e->dev->ops->delay(e->dev);
	after_mix(e);
	check_heard(e);
	e->looked_ns = now_ns;
	add(&e->stats.periods, 1);
	atomic_store_explicit(&e->stats.saturated, mix_totals(e->mix)->saturated, RELAXED);
	atomic_store_explicit(&e->stats.limited, mix_totals(e->mix)->limited, RELAXED);
	/* Ours, and the session only reads it: it cannot be full. */
	if (e->wake)
		e->wake = write(e->wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one);
}
