/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a sound client as a connection, and its queues (snd_session.h). Session's thread.
 *
 * Life: accepted → serving → dying (its streams fade out, its queues come back from the engine) →
 * reaped. Control and event queue are served here; tx and rx belong to the engine from queue_start
 * until its reply to QUEUE_DEL, so that stopping one takes a period.
 *
 * Invariant: a session is freed only when the engine has nothing of it.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "mediator/snd_session_priv.h"

#define MSG_BUDGET 16u		/* messages of a client in a round */
#define CALLS_MAX 8u		/* changes of a call descriptor under way */
#define MEM_TIMES_MAX 4u	/* of the host's memory, that one client may have mapped */

static struct snd_sound *sound_of(const struct snd_session *s)
{
	return s->voice->sound;
}

void snd_session_end(struct snd_session *s, const char *why)
{
	if (s->dying)
		return;
	s->dying = true;
	atomic_store(&s->voice->connected, false);
	snd_sound_tell(s->voice, "client_gone", why);
}

void snd_session_fault(struct snd_session *s, const char *why)
{
	struct snd_voice *v = s->voice;
	uint64_t now = qnow_ns();

	if (s->dying)
		return;
	atomic_fetch_add(&v->faults, 1);
	if (now - v->window_ns >= v->fault_window_ns) {
		v->window_ns = now;
		v->window_faults = 0;
	}
	bool last = ++v->window_faults >= v->fault_budget;
	if (last)
		v->quarantine_until_ns = now + v->fault_window_ns;
	atomic_store(&v->quarantined, last);
	snd_sound_tell(v, last ? "client_quarantined" : "client_dropped", why);
	snd_session_end(s, why);
}

/* ---- queues that are served here ---- */

void snd_ring_answer(struct snd_session *s, struct snd_ring *r, uint16_t head, uint32_t written)
{
	struct qbell *bell = &sound_of(s)->bell;

	if (r->inflight)
		qvhu_inflight_batch(r->inflight, head);
	qring_push(&r->ring, head, written);
	bool signal = qring_publish(&r->ring);
	if (r->inflight) {
		qvhu_inflight_done(r->inflight, head);
		qvhu_inflight_used(r->inflight, r->ring.used_idx);
	}
	if (signal && r->call_fd >= 0)
		qbell_ring(bell, r->call_fd);
}

/* A kick wakes the loop, and that is all it is for: each round looks at the rings. */
static void on_kick(void *ctx)
{
}

static int ring_start(struct snd_session *s, struct snd_ring *r, const struct qvhu_be_queue *bq,
		      struct qmem *mem, struct qvhu_inflight_queue *inflight)
{
	*r = (struct snd_ring){ .call_fd = bq->call_fd, .inflight = inflight };
	if (bq->kick_fd < 0 || !loop_is_eventfd(&sound_of(s)->loop, bq->kick_fd) ||
	    qring_init(&r->ring, mem, &bq->ring) < 0)
		return QVHU_FAULT;
	r->kick = loop_watch(&sound_of(s)->loop, bq->kick_fd, on_kick, s);
	if (!r->kick) {
		qring_fini(&r->ring);
		return -ENOMEM;
	}
	r->mem = qmem_ref(mem);
	r->running = true;
	return QVHU_OK;
}

static void ring_stop(struct snd_session *s, struct snd_ring *r, uint16_t *ret_base)
{
	/* Its descriptors may be closed next. */
	qbell_flush(&sound_of(s)->bell);
	*ret_base = r->ring.last_avail;
	r->kick = loop_unwatch(&sound_of(s)->loop, r->kick);
	qring_fini(&r->ring);
	r->mem = qmem_unref(r->mem);
	r->running = false;
}

static int ctl_start(struct snd_session *s, const struct qvhu_be_queue *bq, struct qmem *mem)
{
	struct qvhu_inflight_queue *inflight = qvhu_be_inflight(s->be, SND_Q_CTL);
	int r = ring_start(s, &s->ctl, bq, mem, inflight);

	if (r != QVHU_OK)
		return r;
	s->replayed = s->n_replay = 0;
	if (inflight)
		s->n_replay = qvhu_inflight_recover(inflight, s->ctl.ring.used_idx, s->replay,
						    SND_QUEUE_SIZE_MAX);
	s->n_replay = Q_MIN(s->n_replay, SND_QUEUE_SIZE_MAX);
	/* A queue that was never used is a driver that starts: its streams are as after a reset. */
	if (bq->ring.base == 0 && s->ctl.ring.used_idx == 0 && s->n_replay == 0)
		snd_ctl_reset(s);
	return QVHU_OK;
}

/* ---- queues of the engine ---- */

/* Its own descriptor, for the client's is closed when the client likes. */
static int call_of(struct snd_session *s, int call_fd)
{
	if (call_fd < 0 || !loop_is_eventfd(&sound_of(s)->loop, call_fd))
		return -1;
	return qfd_dup(call_fd);
}

static int pcm_start(struct snd_session *s, unsigned i, const struct qvhu_be_queue *bq,
		     struct qmem *mem)
{
	bool output = i == SND_Q_TX;
	struct snd_queue *q;
	int r = snd_queue_new(&bq->ring, mem, qvhu_be_inflight(s->be, i), output, &q);

	if (r < 0)
		return r == -EINVAL ? QVHU_FAULT : r;
	q->share = s->voice->place;
	q->call_fd = call_of(s, bq->call_fd);
	struct snd_cmd c = { .kind = SND_CMD_QUEUE_ADD, .queue = q };
	if (!snd_engine_tell(sound_of(s)->engine, &c)) {
		snd_queue_free(q);
		return -EAGAIN;
	}
	s->pcm_q[!output] = q;
	return QVHU_OK;
}

static int queue_start(void *ctx, unsigned i, const struct qvhu_be_queue *bq, struct qmem *mem)
{
	struct snd_session *s = ctx;

	snd_ctl_restore(s);
	if (i == SND_Q_CTL)
		return ctl_start(s, bq, mem);
	if (i == SND_Q_EVT)
		return ring_start(s, &s->evt, bq, mem, qvhu_be_inflight(s->be, i));
	return pcm_start(s, i, bq, mem);
}

static bool queue_stop(void *ctx, unsigned i, uint16_t *ret_base)
{
	struct snd_session *s = ctx;

	if (i == SND_Q_CTL)
		snd_ctl_stopped(s);
	if (i < SND_Q_TX) {
		ring_stop(s, i == SND_Q_CTL ? &s->ctl : &s->evt, ret_base);
		return true;
	}
	struct snd_cmd c = { .kind = SND_CMD_QUEUE_DEL, .queue = s->pcm_q[i - SND_Q_TX],
			     .keep = s->dying };
	if (!s->pcm_stopping[i - SND_Q_TX])
		s->pcm_stopping[i - SND_Q_TX] = snd_engine_tell(sound_of(s)->engine, &c);
	qassert(s->pcm_stopping[i - SND_Q_TX]);
	return false;
}

static void queue_call(void *ctx, unsigned i, int call_fd)
{
	struct snd_session *s = ctx;
	struct snd_ring *r = i == SND_Q_CTL ? &s->ctl : &s->evt;

	if (i < SND_Q_TX) {
		qbell_flush(&sound_of(s)->bell);
		r->call_fd = call_fd;
		if (call_fd >= 0 && r->running)
			qbell_ring(&sound_of(s)->bell, call_fd);
		return;
	}
	struct snd_cmd c = { .kind = SND_CMD_CALL, .queue = s->pcm_q[i - SND_Q_TX],
			     .fd = call_of(s, call_fd) };
	if (s->calls_out == CALLS_MAX || !snd_engine_tell(sound_of(s)->engine, &c)) {
		qfd_close(&c.fd);
		snd_session_fault(s, "call descriptors come too fast");
		return;
	}
	s->calls_out++;
}

void snd_session_reply(struct snd_session *s, const struct snd_reply *r)
{
	struct snd_queue *q = r->queue;
	unsigned i = q && !q->output;
	int fd = r->fd;

	switch (r->kind) {
	case SND_REPLY_QUEUE: {
		uint16_t base = q->ring.last_avail;

		s->pcm_q[i] = snd_queue_free(q);
		s->pcm_stopping[i] = false;
		qvhu_be_queue_stopped(s->be, SND_Q_TX + i, base);
		break;
	}
	case SND_REPLY_CALL:
		s->calls_out--;
		qfd_close(&fd);
		break;
	case SND_REPLY_FLUSHED:
		snd_ctl_flushed(s, r->slot - s->voice->first_slot, r->conv);
		break;
	case SND_REPLY_FAULT:
		snd_session_fault(s, q->output ? "tx queue" : "rx queue");
		break;
	case SND_REPLY_XRUN:
		i = r->slot - s->voice->first_slot;
		qsnd_events_xrun(&s->events, &s->pcm[i], i);
		break;
	default:
		break;
	}
}

/* ---- the connection ---- */

static int config_get(void *ctx, uint32_t off, uint8_t *buf, uint32_t len)
{
	struct snd_session *s = ctx;
	struct virtio_snd_config cfg;

	qsnd_dev_config(&s->voice->dev, &cfg);
	memset(buf, 0, len);
	if (off < sizeof(cfg))
		memcpy(buf, (const char *)&cfg + off, Q_MIN(len, sizeof(cfg) - off));
	return QVHU_OK;
}

static void on_sock(void *ctx)
{
	struct snd_session *s = ctx;

	s->sock_ready = true;
}

static struct snd_session *session_free(struct snd_session *s)
{
	s->sock = loop_unwatch(&sound_of(s)->loop, s->sock);
	s->be = qvhu_be_free(s->be);
	free(s);
	return NULL;
}

static uint64_t host_bytes(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct snd_session *snd_session_new(struct snd_voice *v, int take_fd)
{
	struct snd_session *s = calloc(1, sizeof(*s));

	if (!s) {
		qfd_close(&take_fd);
		return NULL;
	}
	s->voice = v;
	s->ops = (struct qvhu_be_ops){
		.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
			    1ull << VIRTIO_RING_F_EVENT_IDX | QVHU_F_PROTOCOL_FEATURES,
		.protocol_features = QVHU_PF_MQ | QVHU_PF_REPLY_ACK | QVHU_PF_CONFIG |
				     QVHU_PF_INFLIGHT | QVHU_PF_RESET_DEVICE |
				     QVHU_PF_CONFIGURE_MEM_SLOTS,
		.n_queues = SND_QUEUES,
		.queue_size_max = SND_QUEUE_SIZE_MAX,
		.require_sealed = true,
		.mem_bytes_max = MEM_TIMES_MAX * host_bytes(),
		.mem_heir = &v->sound->unmapper.heir,
		.extra_bytes = snd_ctl_saved_bytes,
		.config_get = config_get,
		.queue_start = queue_start,
		.queue_call = queue_call,
		.queue_stop = queue_stop,
	};
	s->be = qvhu_be_new(take_fd, &s->ops, s);
	if (s->be)
		s->sock = loop_watch(&v->sound->loop, qvhu_be_fd(s->be), on_sock, s);
	if (!s->sock)
		return session_free(s);
	s->sock_ready = true;
	atomic_store(&v->connected, true);
	snd_sound_tell(v, "client_connected", "");
	return s;
}

/* True when there may be more messages. */
static bool serve_socket(struct snd_session *s)
{
	for (unsigned n = 0; n < MSG_BUDGET && !s->dying; n++) {
		if (qvhu_be_waiting(s->be))
			return false;
		int r = qvhu_be_serve(s->be);
		if (r == QVHU_OK)
			continue;
		s->sock_ready = false;
		if (r == QVHU_FAULT)
			snd_session_fault(s, qvhu_be_fault(s->be));
		else if (r == QVHU_CLOSED)
			snd_session_end(s, "hung up");
		else if (r < 0)
			snd_session_end(s, strerror(-r));
		return false;
	}
	return true;
}

bool snd_session_serve(struct snd_session *s, uint64_t now_ns)
{
	uint64_t deadline = qvhu_be_deadline_ns(s->be);
	bool more = false;

	if (s->dying)
		return false;
	if (s->sock_ready || (deadline && now_ns >= deadline))
		more = serve_socket(s);
	if (!s->dying)
		more |= snd_ctl_serve(s, now_ns);
	snd_ctl_events(s);
	return more;
}

bool snd_session_reap(struct snd_session *s)
{
	if (!s->dying)
		return false;
	/* The queues first: what is out stays in flight, for a client that comes back. */
	bool stopped = qvhu_be_stop_all(s->be);
	snd_ctl_drop(s);
	if (!stopped || s->n_flushing > 0 || s->calls_out > 0)
		return false;
	session_free(s);
	return true;
}

bool snd_session_arm(struct snd_session *s)
{
	bool more = false;

	if (s->dying)
		return false;
	if (s->ctl.running && !s->throttled && !s->pending.waits && s->n_flushing == 0)
		more |= s->replayed < s->n_replay || qring_arm(&s->ctl.ring);
	if (s->evt.running && (s->events.xruns | s->events.jacks | s->events.periods))
		more |= qring_arm(&s->evt.ring);
	return more;
}

uint64_t snd_session_deadline_ns(const struct snd_session *s)
{
	uint64_t at = s->dying ? 0 : qvhu_be_deadline_ns(s->be);
	uint64_t window = s->throttled ? s->window_ns + SND_CTL_WINDOW_NS : 0;

	return !at || (window && window < at) ? window : at;
}
