/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session is made of: shared by snd_session.c (connection, queues) and snd_ctl.c (what the
 * control queue asks, and the state of the streams), and by nobody else.
 */
#pragma once

#include "mediator/snd_session.h"

enum { SND_Q_CTL, SND_Q_EVT, SND_Q_TX, SND_Q_RX, SND_QUEUES };
#define SND_CTL_IOV 32
#define SND_CTL_WINDOW_NS (10 * Q_NSEC_PER_MSEC)

/* A queue that the session serves itself. */
struct snd_ring {
	struct qring ring;
	struct qmem *mem;		/* our reference while it runs */
	struct qvhu_inflight_queue *inflight;
	struct loop_watch *kick;
	int call_fd;			/* borrowed */
	bool running;
};

/* A control request that waits for its stream's flush. */
struct snd_pending {
	bool waits;
	struct qsnd_req req;
	struct qring_chain chain;
	struct iovec iov[SND_CTL_IOV];
};

struct snd_session {
	struct snd_voice *voice;
	struct qvhu_be *be;
	struct qvhu_be_ops ops;
	struct loop_watch *sock;
	bool sock_ready, dying, restored;
	struct snd_ring ctl, evt;
	struct snd_queue *pcm_q[2];	/* tx, rx: the engine's while they are set */
	bool pcm_stopping[2];
	unsigned calls_out;		/* CALL commands without a reply */
	struct qsnd_pcm pcm[QSND_ITEMS_MAX];
	bool prepared[QSND_ITEMS_MAX];	/* the engine has a converter for it */
	bool flushing[QSND_ITEMS_MAX];
	unsigned n_flushing;
	struct qsnd_events events;
	struct snd_pending pending;
	uint16_t replay[SND_QUEUE_SIZE_MAX];	/* control requests of a mediator before us */
	unsigned n_replay, replayed;
	uint64_t window_ns;		/* control requests are served at a rate */
	unsigned served, floods;
	bool throttled;
};

/* snd_session.c: answers one chain of a queue that the session serves. */
void snd_ring_answer(struct snd_session *s, struct snd_ring *r, uint16_t head, uint32_t written);

/* ---- snd_ctl.c ---- */

extern const uint32_t snd_ctl_saved_bytes;	/* of the in-flight region's own part */

/* Serves control requests, within the budget. True when more may be there. */
bool snd_ctl_serve(struct snd_session *s, uint64_t now_ns);
/* The control queue stops: what waits is answered, or (the client is gone) stays in flight. */
void snd_ctl_stopped(struct snd_session *s);
/* A flush has ended: @slot is the stream's in the engine. */
void snd_ctl_flushed(struct snd_session *s, unsigned stream, struct mix_conv *take_conv);
/* The driver starts anew: all streams are idle. */
void snd_ctl_reset(struct snd_session *s);
/* The streams as the mediator before us left them, from the in-flight region. */
void snd_ctl_restore(struct snd_session *s);
/* The client is gone: its streams leave the engine. */
void snd_ctl_drop(struct snd_session *s);
/* Gives the driver what it has to be told, as far as it has given buffers. */
void snd_ctl_events(struct snd_session *s);
