/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine of a PCM stream (virtio 1.2, 5.14.6.6.1), and the events that wait for the
 * driver's buffers. The table of states stands in qsnd.h. One thread at a time an object.
 *
 * Invariant: set_state() is the only writer of a stream's state; its parameters change in IDLE, SET
 * and PREPARED only, and never while messages of older ones are pending.
 */
#include <endian.h>

#include "lib/qsnd.h"

static const char *const state_str[] = {
	[QSND_IDLE] = "idle",
	[QSND_SET] = "set",
	[QSND_PREPARED] = "prepared",
	[QSND_RUNNING] = "running",
	[QSND_STOPPED] = "stopped",
};
static_assert(Q_ARRAY_LEN(state_str) == QSND_STATES, "every state has a word");

const char *qsnd_state_str(enum qsnd_state s)
{
	return (unsigned)s < QSND_STATES ? state_str[s] : "unknown";
}

/* Where each request leads, QSND_STATES = nowhere. */
#define NONE QSND_STATES
#define REQ(code) ((code) - VIRTIO_SND_R_PCM_SET_PARAMS)
#define N_REQS (REQ(VIRTIO_SND_R_PCM_STOP) + 1)
static const uint8_t state_next[][N_REQS] = {
	/*		    SET_PARAMS PREPARE        RELEASE    START         STOP */
	[QSND_IDLE] =	  { QSND_SET,  NONE,          QSND_IDLE, NONE,         NONE },
	[QSND_SET] =	  { QSND_SET,  QSND_PREPARED, QSND_SET,  NONE,         NONE },
	[QSND_PREPARED] = { QSND_SET,  QSND_PREPARED, QSND_SET,  QSND_RUNNING, NONE },
	[QSND_RUNNING] =  { NONE,      NONE,          QSND_SET,  NONE,         QSND_STOPPED },
	[QSND_STOPPED] =  { NONE,      NONE,          QSND_SET,  QSND_RUNNING, NONE },
};
static_assert(Q_ARRAY_LEN(state_next) == QSND_STATES, "every state has a row");
static_assert(REQ(VIRTIO_SND_R_PCM_PREPARE) == 1 && REQ(VIRTIO_SND_R_PCM_RELEASE) == 2 &&
	      REQ(VIRTIO_SND_R_PCM_START) == 3 && N_REQS == 5, "the columns' order");

static void set_state(struct qsnd_pcm *p, enum qsnd_state to)
{
	qassert(to < QSND_STATES);
	p->state = to;
}

uint32_t qsnd_pcm_request(struct qsnd_pcm *p, const struct qsnd_req *req, bool *ret_flush)
{
	enum qsnd_state to;

	qassert(qsnd_ctl_is_pcm(req->code));
	to = state_next[p->state][REQ(req->code)];
	if (to == NONE)
		return VIRTIO_SND_S_BAD_MSG;
	/* What a stream that takes messages has, it has no more in a state that takes none. */
	*ret_flush = qsnd_pcm_takes(p) && to < QSND_PREPARED;
	if (req->code == VIRTIO_SND_R_PCM_SET_PARAMS)
		p->params = req->params;
	set_state(p, to);
	return VIRTIO_SND_S_OK;
}

void qsnd_pcm_fail(struct qsnd_pcm *p)
{
	qassert(qsnd_pcm_takes(p));
	set_state(p, QSND_SET);
}

void qsnd_pcm_reset(struct qsnd_pcm *p)
{
	p->params = (struct qsnd_params){ 0 };
	set_state(p, QSND_IDLE);
}

/* ---- events ---- */

static void note(uint32_t *mask, const struct qsnd_pcm *p, unsigned feature, unsigned stream)
{
	if (p->params.features & QSND_BIT(feature))
		*mask |= 1u << stream;
}

void qsnd_events_xrun(struct qsnd_events *e, const struct qsnd_pcm *p, unsigned stream)
{
	note(&e->xruns, p, VIRTIO_SND_PCM_F_EVT_XRUNS, stream);
}

void qsnd_events_period(struct qsnd_events *e, const struct qsnd_pcm *p, unsigned stream)
{
	note(&e->periods, p, VIRTIO_SND_PCM_F_EVT_SHMEM_PERIODS, stream);
}

void qsnd_events_jack(struct qsnd_events *e, struct qsnd_dev *d, unsigned jack, bool connected)
{
	qassert(jack < d->n_jacks);
	if (d->jacks[jack].connected == connected)
		return;
	d->jacks[jack].connected = connected;
	/* Twice since the driver was told is not at all: it tells what is so now. */
	e->jacks ^= 1u << jack;
}

static bool take(uint32_t *mask, uint32_t *ret_item)
{
	if (!*mask)
		return false;
	*ret_item = (uint32_t)__builtin_ctz(*mask);
	*mask &= *mask - 1;
	return true;
}

bool qsnd_events_next(struct qsnd_events *e, const struct qsnd_dev *d,
		      struct virtio_snd_event *ret)
{
	uint32_t item, code;

	if (take(&e->jacks, &item))
		code = d->jacks[item].connected ? VIRTIO_SND_EVT_JACK_CONNECTED :
						  VIRTIO_SND_EVT_JACK_DISCONNECTED;
	else if (take(&e->xruns, &item))
		code = VIRTIO_SND_EVT_PCM_XRUN;
	else if (take(&e->periods, &item))
		code = VIRTIO_SND_EVT_PCM_PERIOD_ELAPSED;
	else
		return false;
	*ret = (struct virtio_snd_event){ .hdr.code = htole32(code), .data = htole32(item) };
	return true;
}
