/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams of a virtio-snd with a sound device of its own. I/O thread, under the vdev's lock.
 *
 * A stream that runs is looked at (tick) when its first message should be over, when the driver
 * kicks, and at least each period: what the device's clock lets through is moved between messages
 * and device, then the messages that the clock has passed are completed. So a completion comes when
 * the last frame of its message was heard, not when it was copied. The queue is looked at in each
 * tick, too, which is what VIRTIO_SND_PCM_F_MSG_POLLING asks for.
 *
 * A sound device that goes away is replaced by null: the guest's clock goes on, its jack is told to
 * be unplugged, and the next PREPARE tries the device again.
 *
 * Invariant: messages of a stream are in its fifo or not out; a slot is free or its message is in
 * one fifo. After a reset no slot is out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qlog.h"
#include "vdevs/vdev.h"
#include "vdevs/virtio_snd.h"

/* Moved in one tick, then others get their turn. */
#define TICK_BYTES (256u << 10)
#define TICK_MIN_NS (Q_NSEC_PER_MSEC / 2)
#define TICK_MAX_NS (20 * Q_NSEC_PER_MSEC)

/* ---- slots ---- */

static struct virtio_snd_slot *slot_get(struct virtio_snd_slots *p)
{
	struct virtio_snd_slot *s = p->free;

	if (s)
		p->free = s->next_free;
	else if (p->n_touched < VIRTIO_SND_QUEUE_SIZE)
		s = &p->all[p->n_touched++];
	return s;
}

static void slot_put(struct virtio_snd_slots *p, struct virtio_snd_slot *s)
{
	s->next_free = p->free;
	p->free = s;
}

static struct virtio_snd_slots *slots_of(struct virtio_snd *s, bool output)
{
	return output ? &s->tx : &s->rx;
}

static unsigned queue_of(bool output)
{
	return output ? VIRTIO_SND_VQ_TX : VIRTIO_SND_VQ_RX;
}

/* Gives a message back; the driver learns of it by virtio_tell(). */
static void give_back(struct virtio_snd *s, struct qsnd_msg *m, uint32_t status, uint64_t latency)
{
	uint32_t len = qsnd_msg_done(m, status, (uint32_t)Q_MIN(latency, UINT32_MAX));

	virtio_push_quiet(&s->d, queue_of(m->output), m->head, len);
	slot_put(slots_of(s, m->output), Q_CONTAINER_OF(m, struct virtio_snd_slot, m));
}

/* ---- the device ---- */

static struct vd_snd_pcm *line_of(const struct virtio_snd_stream *st)
{
	return st->gone ? st->null : st->host;
}

static uint64_t now_of(const struct virtio_snd_stream *st)
{
	return st->s->d.v.host->ops->now(st->s->d.v.host);
}

static void jack_set(struct virtio_snd_stream *st, bool connected)
{
	qsnd_events_jack(&st->s->events, &st->s->desc, st->id, connected);
}

/* From here on nobody hears it, at the same pace. */
static void lose(struct virtio_snd_stream *st, int err)
{
	struct vd_host *h = st->s->d.v.host;

	h->ops->log(h, QLOG_ERROR, "ev=sound_lost stream=%u why=\"%s\"", st->id, strerror(-err));
	st->host->ops->end(st->host);
	st->gone = true;
	st->n_lost++;
	jack_set(st, false);
	st->null->ops->begin(st->null, &st->pcm.params);
	st->null->ops->run(st->null, true);
}

static uint64_t room_of(struct virtio_snd_stream *st)
{
	int64_t n = line_of(st)->ops->room(line_of(st));

	if (n >= 0)
		return (uint64_t)n;
	lose(st, (int)n);
	return 0;
}

/* ---- gaps ---- */

/* Until so many bytes have passed, at most a period of them. */
static uint64_t ns_of(const struct virtio_snd_stream *st, uint64_t bytes)
{
	const struct qsnd_params *p = &st->pcm.params;
	uint64_t frames = ((uint64_t)Q_MIN(bytes, p->period_bytes) + p->frame_bytes - 1) /
			  p->frame_bytes;

	return (frames * Q_NSEC_PER_SEC + p->rate_hz - 1) / p->rate_hz;
}

static uint64_t period_ns(const struct virtio_snd_stream *st)
{
	return ns_of(st, UINT64_MAX);
}

static void gap_tell(struct virtio_snd_stream *st)
{
	if (st->gap_told)
		return;
	st->gap_told = true;
	st->n_xruns++;
	qsnd_events_xrun(&st->s->events, &st->pcm, st->id);
}

/* Frames for which there are messages. */
static uint64_t frames_left(const struct virtio_snd_stream *st)
{
	return qsnd_fifo_left(&st->fifo) / st->pcm.params.frame_bytes;
}

/* Before new messages are looked at: what has passed until now, has passed without them. */
static void pass_gap(struct virtio_snd_stream *st)
{
	struct vd_snd_pcm *line;

	if (frames_left(st) || !room_of(st))
		return;
	line = line_of(st);
	if (st->output && line->ops->delay(line))
		return;		/* it still has what to play */
	line->ops->gap(line);
	if (!st->gap_ns)
		st->gap_ns = now_of(st);
	else if (now_of(st) - st->gap_ns >= period_ns(st))
		gap_tell(st);
}

static void end_gap(struct virtio_snd_stream *st)
{
	if (st->gap_ns)
		gap_tell(st);
	st->gap_ns = 0;
	st->gap_told = false;
}

/* ---- moving and completing ---- */

static int move_frames(struct virtio_snd_stream *st, uint32_t n)
{
	uint32_t len = n * st->pcm.params.frame_bytes;
	struct vd_snd_pcm *line = line_of(st);
	uint8_t *buf = st->s->bounce;
	int r;

	if (st->output) {
		qsnd_fifo_read(&st->fifo, buf, len);
		return line->ops->write(line, buf, n);
	}
	r = line->ops->read(line, buf, n);
	if (r < 0)
		return r;
	qsnd_fifo_write(&st->fifo, buf, len);
	return 0;
}

/* True: the turn is over before all was moved. */
static bool move(struct virtio_snd_stream *st)
{
	uint32_t frame = st->pcm.params.frame_bytes;
	uint32_t left = TICK_BYTES / frame, at_once = sizeof(st->s->bounce) / frame;

	if (frames_left(st))
		end_gap(st);
	while (left > 0) {
		uint64_t n = Q_MIN(Q_MIN(room_of(st), frames_left(st)), Q_MIN(left, at_once));
		int r;

		if (!n)
			return false;
		r = move_frames(st, (uint32_t)n);
		if (r < 0)
			lose(st, r);
		left -= (uint32_t)n;
	}
	return true;
}

static uint64_t latency_bytes(struct virtio_snd_stream *st)
{
	struct vd_snd_pcm *line = line_of(st);

	return st->output ? line->ops->delay(line) * st->pcm.params.frame_bytes : 0;
}

/* Where the device is in the stream: what was moved and is not inside any more. */
static uint64_t clock_bytes(struct virtio_snd_stream *st)
{
	uint64_t inside = latency_bytes(st);

	return st->fifo.moved_bytes - Q_MIN(inside, st->fifo.moved_bytes);
}

static void complete(struct virtio_snd_stream *st)
{
	uint64_t clock = clock_bytes(st), periods = clock / st->pcm.params.period_bytes;
	struct qsnd_msg *m;

	while ((m = qsnd_fifo_passed(&st->fifo, clock))) {
		st->n_messages++;
		give_back(st->s, m, VIRTIO_SND_S_OK, latency_bytes(st));
	}
	if (periods > st->periods) {
		st->periods = periods;
		qsnd_events_period(&st->s->events, &st->pcm, st->id);
	}
	virtio_tell(&st->s->d, queue_of(st->output));
	virtio_snd_tell(st->s);
}

/* When the first message should be over; without one, when a period is. */
static void arm(struct virtio_snd_stream *st, bool more)
{
	const struct qsnd_msg *m = st->fifo.first;
	uint64_t ns = ns_of(st, m ? m->end_bytes - clock_bytes(st) : UINT64_MAX);
	struct vd_host *h = st->s->d.v.host;

	ns = more ? 0 : Q_MIN(Q_MAX(ns, TICK_MIN_NS), TICK_MAX_NS);
	h->ops->timer_arm(h, st->timer, h->ops->now(h) + ns);
}

static bool runs(const struct virtio_snd_stream *st)
{
	return st->s->d.run == VIRTIO_RUNNING && st->pcm.state == QSND_RUNNING;
}

static bool take_all(struct virtio_snd *s, bool output, unsigned budget);

static void tick(struct virtio_snd_stream *st)
{
	bool more;

	if (!runs(st))
		return;
	pass_gap(st);
	take_all(st->s, st->output, VIRTIO_BUDGET);
	if (!runs(st))
		return;		/* the queue was broken */
	more = move(st);
	complete(st);
	if (runs(st))
		arm(st, more);
}

static void timer_fired(struct vdev *v, void *arg)
{
	tick(arg);
}

/* ---- messages ---- */

static void take_one(struct virtio_snd *s, struct virtio_snd_slot *slot, bool output,
		     const struct qring_chain *c)
{
	struct qsnd_msg *m = &slot->m;
	enum qsnd_msg_verdict v = qsnd_msg_parse(&s->desc, output, c, slot->iov, m);

	if (v == QSND_MSG_BROKEN) {
		slot_put(slots_of(s, output), slot);
		virtio_broken(&s->d, VD_FAULT_BAD_REQUEST);
	} else if (v == QSND_MSG_OK && qsnd_pcm_takes(&s->streams[m->stream].pcm)) {
		qsnd_fifo_put(&s->streams[m->stream].fifo, m);
	} else {
		s->n_bad++;
		give_back(s, m, VIRTIO_SND_S_IO_ERR, 0);
	}
}

static bool take_all(struct virtio_snd *s, bool output, unsigned budget)
{
	unsigned q = queue_of(output);
	struct qring_chain c;

	for (; budget > 0 && s->d.run == VIRTIO_RUNNING; budget--) {
		struct virtio_snd_slot *slot = slot_get(slots_of(s, output));

		if (!slot) {	/* more chains are out than the queue has entries */
			if (qring_pending(&s->d.q[q].ring))
				virtio_broken(&s->d, VD_FAULT_BAD_INDEX);
			return false;
		}
		if (!virtio_pop(&s->d, q, slot->iov, QSND_IOV_MAX, &c)) {
			slot_put(slots_of(s, output), slot);
			return false;
		}
		take_one(s, slot, output, &c);
	}
	return s->d.run == VIRTIO_RUNNING;
}

/* A gap begins and ends with a message, not with the next look at the clock. */
bool virtio_snd_take(struct virtio_snd *s, bool output, unsigned budget)
{
	bool more;

	for (unsigned i = 0; i < s->desc.n_streams; i++)
		if (s->streams[i].output == output && runs(&s->streams[i]) &&
		    !frames_left(&s->streams[i]))
			tick(&s->streams[i]);
	more = take_all(s, output, budget);
	virtio_tell(&s->d, queue_of(output));
	return more;
}

/* ---- requests ---- */

static void flush(struct virtio_snd_stream *st)
{
	struct qsnd_msg *m;

	while ((m = qsnd_fifo_flush(&st->fifo)))
		give_back(st->s, m, VIRTIO_SND_S_OK, 0);
	virtio_tell(&st->s->d, queue_of(st->output));
}

static void release(struct virtio_snd_stream *st)
{
	line_of(st)->ops->end(line_of(st));
	st->periods = 0;
	st->gap_ns = 0;
	st->gap_told = false;
	flush(st);
}

static int prepare(struct virtio_snd_stream *st)
{
	int r = st->host->ops->begin(st->host, &st->pcm.params);
	struct vd_host *h = st->s->d.v.host;

	if (r < 0) {
		h->ops->log(h, QLOG_ERROR, "ev=sound_refused stream=%u why=\"%s\"", st->id,
			    strerror(-r));
		return r;
	}
	st->gone = false;
	jack_set(st, true);
	return 0;
}

/* The device was there when it was prepared: what fails now is its end, not the guest's. */
static void start_or_stop(struct virtio_snd_stream *st, bool on)
{
	int r = line_of(st)->ops->run(line_of(st), on);

	st->gap_ns = 0;
	st->gap_told = false;
	if (r < 0 && on)
		lose(st, r);
	if (on)
		tick(st);
}

static uint32_t act(struct virtio_snd_stream *st, uint32_t code)
{
	if (code == VIRTIO_SND_R_PCM_START || code == VIRTIO_SND_R_PCM_STOP) {
		start_or_stop(st, code == VIRTIO_SND_R_PCM_START);
		return VIRTIO_SND_S_OK;
	}
	/* Repeated, with messages waiting: they stay, and so does what they wait for. */
	if (code != VIRTIO_SND_R_PCM_PREPARE || st->fifo.first || prepare(st) == 0)
		return VIRTIO_SND_S_OK;
	qsnd_pcm_fail(&st->pcm);
	release(st);
	return VIRTIO_SND_S_IO_ERR;
}

uint32_t virtio_snd_stream_request(struct virtio_snd_stream *st, const struct qsnd_req *req)
{
	bool must_flush = false;
	uint32_t status;

	/* What was sent before the request is there before it is done. */
	tick(st);
	take_all(st->s, st->output, VIRTIO_SND_QUEUE_SIZE);
	if (st->s->d.run != VIRTIO_RUNNING)
		return VIRTIO_SND_S_BAD_MSG;	/* that queue was broken, and nobody hears this */
	status = qsnd_pcm_request(&st->pcm, req, &must_flush);
	if (status == VIRTIO_SND_S_OK && must_flush)
		release(st);
	else if (status == VIRTIO_SND_S_OK)
		status = act(st, req->code);
	virtio_tell(&st->s->d, queue_of(st->output));
	virtio_snd_tell(st->s);
	return status;
}

/* ---- life ---- */

static void stream_reset(struct virtio_snd_stream *st)
{
	struct vd_host *h = st->s->d.v.host;

	if (qsnd_pcm_takes(&st->pcm))
		line_of(st)->ops->end(line_of(st));
	qsnd_pcm_reset(&st->pcm);
	st->fifo = (struct qsnd_fifo){ 0 };
	st->gap_ns = st->periods = 0;
	st->gap_told = false;
	if (st->timer)
		h->ops->timer_arm(h, st->timer, 0);
}

void virtio_snd_streams_reset(struct virtio_snd *s)
{
	for (unsigned i = 0; i < s->desc.n_streams; i++)
		stream_reset(&s->streams[i]);
	s->tx.free = s->rx.free = NULL;
	s->tx.n_touched = s->rx.n_touched = 0;
	s->events = (struct qsnd_events){ 0 };
}

static int line_open(struct virtio_snd_stream *st, const struct virtio_snd_options *o,
		     struct cf_errors *errs)
{
	struct vd_host *h = st->s->d.v.host;
	const struct vd_snd_cfg cfg = {
		.hostdev = !st->output && o->capture ? o->capture : o->hostdev,
		.output = st->output, .formats = o->limits.formats, .rates = o->limits.rates,
		.channels_min = o->limits.channels_min, .channels_max = o->limits.channels_max,
	};
	const char *rest;
	enum vd_snd_form form = vd_snd_form(cfg.hostdev->text, &rest);

	/* What a guest plays into a file is not what it hears. */
	if (form == VD_SND_NULL || (form == VD_SND_FILE && !st->output && !o->capture)) {
		st->host = vd_snd_null(h);
		return st->host ? 0 : -ENOMEM;
	}
	return h->ops->snd_open(h, &cfg, errs, &st->host);
}

static int stream_open(struct virtio_snd_stream *st, const struct virtio_snd_options *o,
		       struct cf_errors *errs)
{
	struct vd_host *h = st->s->d.v.host;
	int r = line_open(st, o, errs);

	if (r < 0)
		return r;
	st->null = vd_snd_null(h);
	st->timer = h->ops->timer_new(h, timer_fired, st);
	return st->null && st->timer ? 0 : -ENOMEM;
}

int virtio_snd_stream_add(struct virtio_snd *s, bool output, const struct virtio_snd_options *o,
			  struct cf_errors *errs)
{
	struct virtio_snd_stream *st = &s->streams[s->desc.n_streams];
	struct qsnd_stream_desc desc = o->limits;
	int r;

	*st = (struct virtio_snd_stream){ .s = s, .id = s->desc.n_streams, .output = output };
	r = stream_open(st, o, errs);
	if (r < 0)
		return r;
	desc.direction = output ? VIRTIO_SND_D_OUTPUT : VIRTIO_SND_D_INPUT;
	desc.nid = output ? st->id : st->id - o->n_out;
	desc.formats &= st->host->formats;
	desc.rates &= st->host->rates;
	desc.channels_min = Q_MAX(desc.channels_min, st->host->channels_min);
	desc.channels_max = Q_MIN(desc.channels_max, st->host->channels_max);
	if (!desc.formats || !desc.rates || desc.channels_min > desc.channels_max) {
		cf_error_add(errs, CF_ERROR, o->hostdev->file, o->hostdev->line, o->hostdev->col,
			     "%s: hostdev %s has no format, rate or number of channels of those "
			     "that are allowed", s->d.v.cfg->name, o->hostdev->text);
		return -EINVAL;
	}
	return qsnd_dev_add(&s->desc, &desc) < 0 ? -ENOSPC : 0;
}

void virtio_snd_streams_fini(struct virtio_snd *s)
{
	struct vd_host *h = s->d.v.host;

	/* Also the one that could not be added. */
	for (unsigned i = 0; i < QSND_ITEMS_MAX; i++) {
		struct virtio_snd_stream *st = &s->streams[i];

		if (st->timer)
			h->ops->timer_free(h, st->timer);
		if (st->null)
			st->null->ops->close(st->null);
		if (st->host)
			st->host->ops->close(st->host);
		*st = (struct virtio_snd_stream){ .s = s };
	}
}
