/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest asks on its control queue, and the state of its streams. Session's thread.
 *
 * Requests are served one at a time, in order (qsnd.h): while a stream is flushed by the engine,
 * the next one waits. They are served at a rate: a guest that asks more often waits, and one that
 * does nothing else for a second is a client that breaks the protocol.
 *
 * The state of the streams is also kept in the in-flight region, behind the queues
 * (qvhu_be_extra()), so that the mediator after this one can go on (docs/decisions). A request is
 * saved before it is answered; one that was saved and not answered comes again with the in-flight
 * requests, and finds that it was done. The region is the front end's to scribble in: what is read
 * from it goes the way of a guest's requests.
 *
 * Invariant: prepared[i] is true exactly while the engine has a converter for stream i, and counts
 * as one of the device's voices.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "lib/qiov.h"
#include "mediator/snd_session_priv.h"

#define WINDOW_REQUESTS 32u
#define FLOOD_WINDOWS 100u
#define CMDS_SPARE 64u	/* of the engine's queue, for what must not wait */
#define SAVED_MAGIC 0x31444e53u	/* "SND1" */

struct saved_stream {
	uint8_t state, channels, format, rate;
	uint32_t buffer_bytes, period_bytes, features;
};
struct saved {
	uint32_t magic;
	struct saved_stream s[QSND_ITEMS_MAX];
};
static_assert(sizeof(struct saved) <= 4096, "fits the in-flight region's own part");

const uint32_t snd_ctl_saved_bytes = sizeof(struct saved);

static struct snd_engine *engine_of(const struct snd_session *s)
{
	return s->voice->sound->engine;
}

static void tell(struct snd_session *s, enum snd_cmd_kind kind, unsigned stream)
{
	struct snd_cmd c = { .kind = kind, .slot = s->voice->first_slot + stream };

	/* There is room: snd_ctl_serve() looked, and everything else asks once a stream. */
	bool told = snd_engine_tell(engine_of(s), &c);
	qassert(told);
}

/* ---- what outlives us ---- */

static void save(struct snd_session *s, unsigned i)
{
	struct saved *to = qvhu_be_extra(s->be);
	const struct qsnd_params *p = &s->pcm[i].params;

	if (!to)
		return;
	/* The state comes last: before it stands there the request comes again, and repairs. Pairs
	 * with the load of the process after us, which starts after our last store. */
	__atomic_store_n(&to->s[i].state, QSND_IDLE, __ATOMIC_RELEASE);
	to->s[i].channels = p->channels;
	to->s[i].format = p->format;
	to->s[i].rate = p->rate;
	to->s[i].buffer_bytes = p->buffer_bytes;
	to->s[i].period_bytes = p->period_bytes;
	to->s[i].features = p->features;
	__atomic_store_n(&to->s[i].state, (uint8_t)s->pcm[i].state, __ATOMIC_RELEASE);
	__atomic_store_n(&to->magic, SAVED_MAGIC, __ATOMIC_RELEASE);
}

/* ---- requests ---- */

static uint32_t prepare(struct snd_session *s, unsigned i)
{
	const struct qsnd_params *p = &s->pcm[i].params;
	const struct snd_sound *snd = s->voice->sound;
	bool capture = s->voice->dev.streams[i].direction == VIRTIO_SND_D_INPUT;

	if (s->prepared[i])
		return VIRTIO_SND_S_OK;
	if (!snd_sound_admits(s->voice)) {
		atomic_fetch_add(&s->voice->refused, 1);
		snd_sound_tell(s->voice, "voice_refused", "no voice is left, or one is exclusive");
		return VIRTIO_SND_S_IO_ERR;
	}
	struct snd_cmd c = {
		.kind = SND_CMD_PREPARE, .slot = s->voice->first_slot + i,
		.frame_bytes = p->frame_bytes, .period_bytes = p->period_bytes,
		.rate_hz = p->rate_hz,
		.conv = mix_conv_new(p->format, (struct mix_conv_side){ p->rate_hz, p->channels },
				     (struct mix_conv_side){ snd->cfg.rate_hz, snd->cfg.channels },
				     capture),
	};
	if (!c.conv)
		return VIRTIO_SND_S_IO_ERR;
	bool told = snd_engine_tell(engine_of(s), &c);
	qassert(told);
	s->prepared[i] = true;
	s->voice->n_prepared++;
	s->voice->sound->n_prepared += s->voice->class != SCHED_SAFETY;
	return VIRTIO_SND_S_OK;
}

static void begin_flush(struct snd_session *s, unsigned i)
{
	if (!s->prepared[i] || s->flushing[i])
		return;
	s->flushing[i] = true;
	s->n_flushing++;
	tell(s, SND_CMD_FLUSH, i);
}

/* What a request that was served before the last mediator died finds when it comes again. */
static bool was_done(const struct snd_session *s, const struct qsnd_req *req)
{
	enum qsnd_state state = s->pcm[req->id].state;

	return (req->code == VIRTIO_SND_R_PCM_START && state == QSND_RUNNING) ||
	       (req->code == VIRTIO_SND_R_PCM_STOP && state == QSND_STOPPED);
}

static uint32_t act(struct snd_session *s, const struct qsnd_req *req)
{
	switch (req->code) {
	case VIRTIO_SND_R_PCM_PREPARE: {
		uint32_t status = prepare(s, req->id);

		if (status != VIRTIO_SND_S_OK)
			qsnd_pcm_fail(&s->pcm[req->id]);
		return status;
	}
	case VIRTIO_SND_R_PCM_START:
		tell(s, SND_CMD_START, req->id);
		return VIRTIO_SND_S_OK;
	case VIRTIO_SND_R_PCM_STOP:
		tell(s, SND_CMD_STOP, req->id);
		return VIRTIO_SND_S_OK;
	default:
		return VIRTIO_SND_S_OK;
	}
}

static uint32_t pcm_request(struct snd_session *s, const struct qsnd_req *req, bool again,
			    bool *ret_flush)
{
	bool flush = false;

	if (again && was_done(s, req))
		return VIRTIO_SND_S_OK;
	uint32_t status = qsnd_pcm_request(&s->pcm[req->id], req, &flush);
	if (status != VIRTIO_SND_S_OK)
		return status;
	if (flush)
		begin_flush(s, req->id);
	else
		status = act(s, req);
	save(s, req->id);
	*ret_flush = flush;
	return status;
}

/* ---- the queue ---- */

static void answer(struct snd_session *s, const struct qsnd_req *req, uint32_t status,
		   const struct qring_chain *c, const struct iovec *iov)
{
	uint8_t buf[QSND_RESP_BYTES_MAX];
	size_t len = qsnd_ctl_answer(&s->voice->dev, req, status, buf);

	snd_ring_answer(s, &s->ctl, c->head,
			(uint32_t)qiov_scatter(iov + c->n_out, c->n_in, buf, len));
}

static void handle(struct snd_session *s, const struct qring_chain *c, const struct iovec *iov,
		   bool again)
{
	uint8_t buf[QSND_REQ_BYTES_MAX];
	size_t len = qiov_gather(iov, c->n_out, buf, sizeof(buf));
	bool flush = false;
	struct qsnd_req req;
	uint32_t status = qsnd_ctl_parse(&s->voice->dev, buf, len, c->in_bytes, &req);

	if (status == VIRTIO_SND_S_OK && qsnd_ctl_is_pcm(req.code))
		status = pcm_request(s, &req, again, &flush);
	if (!flush || s->n_flushing == 0) {
		answer(s, &req, status, c, iov);
		return;
	}
	s->pending = (struct snd_pending){ .waits = true, .req = req, .chain = *c };
	memcpy(s->pending.iov, iov, (c->n_out + c->n_in) * sizeof(iov[0]));
}

/* False when nothing (more) is to be served now. */
static bool serve_one(struct snd_session *s)
{
	struct iovec iov[SND_CTL_IOV];
	struct qring_chain c;
	bool again = s->replayed < s->n_replay;
	enum qring_verdict v =
		again ? qring_fetch(&s->ctl.ring, s->replay[s->replayed++], iov, SND_CTL_IOV, &c) :
			qring_pop(&s->ctl.ring, iov, SND_CTL_IOV, &c);

	if (v == QRING_EMPTY)
		return false;
	if (v != QRING_OK) {
		snd_session_fault(s, qring_verdict_str(v));
		return false;
	}
	if (!again && s->ctl.inflight && !qvhu_inflight_take(s->ctl.inflight, c.head)) {
		snd_session_fault(s, "a head that is out came again");
		return false;
	}
	s->served++;
	handle(s, &c, iov, again);
	return true;
}

static bool may_serve(struct snd_session *s)
{
	return s->ctl.running && !s->dying && !s->pending.waits && s->n_flushing == 0 &&
	       spsc_room(&engine_of(s)->cmds) > CMDS_SPARE;
}

static void new_window(struct snd_session *s, uint64_t now_ns)
{
	if (now_ns - s->window_ns < SND_CTL_WINDOW_NS)
		return;
	s->floods = s->served < WINDOW_REQUESTS ? 0 : s->floods + 1;
	s->window_ns = now_ns;
	s->served = 0;
	if (s->floods == FLOOD_WINDOWS)
		snd_session_fault(s, "floods the control queue");
}

bool snd_ctl_serve(struct snd_session *s, uint64_t now_ns)
{
	new_window(s, now_ns);
	s->throttled = false;
	if (!may_serve(s))
		return s->ctl.running && !s->dying && !s->pending.waits && s->n_flushing == 0;
	qring_disarm(&s->ctl.ring);
	while (s->served < WINDOW_REQUESTS && may_serve(s))
		if (!serve_one(s))
			return false;
	if (s->served >= WINDOW_REQUESTS && may_serve(s) && qring_pending(&s->ctl.ring)) {
		s->throttled = true;
		atomic_fetch_add(&s->voice->throttled, 1);
	}
	return false;
}

void snd_ctl_stopped(struct snd_session *s)
{
	if (s->pending.waits && !s->dying)
		answer(s, &s->pending.req, VIRTIO_SND_S_IO_ERR, &s->pending.chain, s->pending.iov);
	s->pending.waits = false;
	s->n_replay = s->replayed = 0;
}

void snd_ctl_flushed(struct snd_session *s, unsigned stream, struct mix_conv *take_conv)
{
	mix_conv_free(take_conv);
	s->flushing[stream] = s->prepared[stream] = false;
	s->n_flushing--;
	s->voice->n_prepared--;
	s->voice->sound->n_prepared -= s->voice->class != SCHED_SAFETY;
	if (s->pending.waits && s->n_flushing == 0) {
		s->pending.waits = false;
		answer(s, &s->pending.req, VIRTIO_SND_S_OK, &s->pending.chain, s->pending.iov);
	}
}

void snd_ctl_drop(struct snd_session *s)
{
	for (unsigned i = 0; i < s->voice->dev.n_streams; i++)
		begin_flush(s, i);
}

void snd_ctl_reset(struct snd_session *s)
{
	for (unsigned i = 0; i < s->voice->dev.n_streams; i++) {
		begin_flush(s, i);
		qsnd_pcm_reset(&s->pcm[i]);
		save(s, i);
	}
	s->events = (struct qsnd_events){ 0 };
}

/* ---- after a crash ---- */

/* Takes stream @i where @from says that it was, as if the guest had asked for it. False: there is
 * no such place. */
static bool restore_stream(struct snd_session *s, unsigned i, const struct saved_stream *from)
{
	static const uint32_t road[] = { VIRTIO_SND_R_PCM_SET_PARAMS, VIRTIO_SND_R_PCM_PREPARE,
					 VIRTIO_SND_R_PCM_START, VIRTIO_SND_R_PCM_STOP };
	struct virtio_snd_pcm_set_params w = {
		.hdr.hdr.code = htole32(VIRTIO_SND_R_PCM_SET_PARAMS), .hdr.stream_id = htole32(i),
		.buffer_bytes = htole32(from->buffer_bytes),
		.period_bytes = htole32(from->period_bytes), .features = htole32(from->features),
		.channels = from->channels, .format = from->format, .rate = from->rate,
	};
	struct qsnd_req req;

	if (qsnd_ctl_parse(&s->voice->dev, &w, sizeof(w), sizeof(struct virtio_snd_hdr), &req) !=
	    VIRTIO_SND_S_OK)
		return false;
	for (unsigned step = 0; step < Q_ARRAY_LEN(road) && s->pcm[i].state < from->state; step++) {
		bool flush;

		req.code = road[step];
		if (pcm_request(s, &req, false, &flush) != VIRTIO_SND_S_OK)
			return false;
	}
	return true;
}

void snd_ctl_restore(struct snd_session *s)
{
	const struct saved *from = qvhu_be_extra(s->be);
	struct saved copy;

	if (s->restored || !from)
		return;
	s->restored = true;
	memcpy(&copy, from, sizeof(copy));
	if (copy.magic != SAVED_MAGIC)
		return;
	for (unsigned i = 0; i < s->voice->dev.n_streams; i++) {
		if (copy.s[i].state == QSND_IDLE || copy.s[i].state >= QSND_STATES)
			continue;
		if (!restore_stream(s, i, &copy.s[i]))
			snd_sound_tell(s->voice, "stream_not_restored",
				       qsnd_state_str(copy.s[i].state));
	}
}

/* ---- events ---- */

void snd_ctl_events(struct snd_session *s)
{
	struct virtio_snd_event ev;
	struct iovec iov[SND_CTL_IOV];
	struct qring_chain c;

	while (s->evt.running && !s->dying && (s->events.xruns | s->events.jacks |
					       s->events.periods)) {
		enum qring_verdict v = qring_pop(&s->evt.ring, iov, SND_CTL_IOV, &c);

		if (v == QRING_EMPTY)
			return;
		if (v != QRING_OK || (s->evt.inflight &&
				      !qvhu_inflight_take(s->evt.inflight, c.head))) {
			snd_session_fault(s, "event queue");
			return;
		}
		uint32_t put = 0;
		if (qsnd_events_next(&s->events, &s->voice->dev, &ev))
			put = (uint32_t)qiov_scatter(iov + c.n_out, c.n_in, &ev,
						     sizeof(ev));
		snd_ring_answer(s, &s->evt, c.head, put);
	}
}
