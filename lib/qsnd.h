/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio sound device (virtio 1.2, 5.14) without rings and without sound: what it consists of,
 * its control requests, the state machine of a PCM stream, and what it has to tell the driver.
 * Shared by the vdev (its own hostdev) and the mediator. No allocation, lock, clock or log, so that
 * it may be used in a real-time thread; one thread at a time an object. I/O messages: qsnd_msg.h.
 *
 * A control request is served in these steps, all on a copy of what the guest wrote:
 *
 *   qsnd_ctl_parse()   bytes -> struct qsnd_req, everything checked against the device
 *   qsnd_pcm_request() a request to a PCM stream: its state machine, the only writer of the state
 *   the owner acts     PREPARE, START and STOP take effect on its sound; a flush (below) is waited
 *                      for; what fails then is answered IO_ERR and taken back by qsnd_pcm_fail()
 *   qsnd_ctl_answer()  the bytes of the response
 *
 * Requests are served in the order of the queue, one at a time: while one waits for its flush, the
 * next one is not looked at.
 */
#pragma once

#include <linux/virtio_snd.h>

#include "lib/qdef.h"

#define QSND_ITEMS_MAX 16u	/* streams, jacks, channel maps: of each */
#define QSND_CHANNELS_MAX 8u
#define QSND_REQ_BYTES_MAX 24u	/* of a control request, as far as it is looked at */
#define QSND_INFO_BYTES_MAX 256u /* of an item that a driver may ask for */
#define QSND_RESP_BYTES_MAX (4u + QSND_ITEMS_MAX * QSND_INFO_BYTES_MAX)

#define QSND_BIT(bit) (1ull << (bit))
/* What is served of 5.14.6.6.2 and .3: interleaved, little-endian. */
#define QSND_FORMATS                                                                               \
	(QSND_BIT(VIRTIO_SND_PCM_FMT_S16) | QSND_BIT(VIRTIO_SND_PCM_FMT_S24) |                     \
	 QSND_BIT(VIRTIO_SND_PCM_FMT_S32) | QSND_BIT(VIRTIO_SND_PCM_FMT_FLOAT))
#define QSND_RATES (QSND_BIT(VIRTIO_SND_PCM_RATE_384000 + 1) - 1)
#define QSND_FEATURES                                                                              \
	((uint32_t)(QSND_BIT(VIRTIO_SND_PCM_F_MSG_POLLING) |                                       \
		    QSND_BIT(VIRTIO_SND_PCM_F_EVT_SHMEM_PERIODS) |                                 \
		    QSND_BIT(VIRTIO_SND_PCM_F_EVT_XRUNS)))

/* ---- formats and rates: virtio's numbers ---- */

/* Bytes of a sample in memory (S24: 4), 0 = not served. */
unsigned qsnd_sample_bytes(uint8_t format);
/* "s16" "s24" "s32" "f32", NULL = not served. */
const char *qsnd_format_str(uint8_t format);
uint32_t qsnd_rate_hz(uint8_t rate);	/* 0 = unknown */
/* Lists, "s16,f32" and "44100,48000", or "all". False: *ret is unchanged. */
bool qsnd_formats_parse(const char *text, uint64_t *ret);
bool qsnd_rates_parse(const char *text, uint64_t *ret);

/* ---- a device ---- */

struct qsnd_stream_desc {
	uint8_t direction;		/* VIRTIO_SND_D_* */
	uint8_t channels_min, channels_max;
	uint32_t nid;			/* streams, jacks and maps of one number belong together;
					 * Linux makes it the number of the PCM device */
	uint32_t features;		/* of QSND_FEATURES */
	uint64_t formats, rates;	/* masks of virtio's numbers */
	uint32_t period_bytes_min, period_bytes_max, buffer_bytes_max;	/* 0 = no limit */
};
struct qsnd_jack_desc {
	uint32_t nid, defconf, caps;	/* HDA 7.3.3.31, 7.3.4.9 */
	bool connected;			/* the owner may change it: see qsnd_events_jack() */
};
struct qsnd_chmap_desc {
	uint32_t nid;
	uint8_t direction, channels;
	uint8_t positions[QSND_CHANNELS_MAX];
};
/* Fixed while a guest uses it, but for `connected`. */
struct qsnd_dev {
	unsigned n_streams, n_jacks, n_chmaps;
	struct qsnd_stream_desc streams[QSND_ITEMS_MAX];
	struct qsnd_jack_desc jacks[QSND_ITEMS_MAX];
	struct qsnd_chmap_desc chmaps[QSND_ITEMS_MAX];
};
/*
 * Adds a stream (checked by the caller) with a connected jack, line out or line in, and the usual
 * channel maps of 1, of each even number of channels, and of the most it can have: those that its
 * nid has not yet, as long as there is room. The number of the stream, or -ENOSPC.
 */
int qsnd_dev_add(struct qsnd_dev *d, const struct qsnd_stream_desc *s);
/* The usual positions of @channels (1..QSND_CHANNELS_MAX), as ALSA orders them. */
void qsnd_positions(unsigned channels, uint8_t ret[QSND_CHANNELS_MAX]);
void qsnd_dev_config(const struct qsnd_dev *d, struct virtio_snd_config *ret);

/* ---- control requests ---- */

/* As set by the driver and found possible. */
struct qsnd_params {
	uint32_t buffer_bytes, period_bytes;	/* period: whole frames, divides buffer */
	uint32_t features;
	uint8_t channels, format, rate;		/* virtio's numbers */
	uint32_t rate_hz, frame_bytes;
};
struct qsnd_req {
	uint32_t code;			/* VIRTIO_SND_R_* */
	uint32_t id;			/* of the stream or jack; of the first item */
	uint32_t count, size_bytes;	/* of items asked for */
	struct qsnd_params params;	/* of SET_PARAMS */
};
/*
 * @buf: a private copy of the first QSND_REQ_BYTES_MAX readable bytes, @len_bytes of them there;
 * @resp_bytes is what the driver made writable. VIRTIO_SND_S_OK; else the status to answer: BAD_MSG
 * (too short, an item that does not exist, no room for the answer, sizes that do not divide) or
 * NOT_SUPP (unknown code, parameters outside the stream's limits).
 */
uint32_t qsnd_ctl_parse(const struct qsnd_dev *d, const void *buf, size_t len_bytes,
			uint64_t resp_bytes, struct qsnd_req *ret);
/* The response of @status into @buf (QSND_RESP_BYTES_MAX): with the items asked for when it is OK;
 * its length. After a failed parse @req may be NULL. */
size_t qsnd_ctl_answer(const struct qsnd_dev *d, const struct qsnd_req *req, uint32_t status,
		       void *buf);
static inline bool qsnd_ctl_is_pcm(uint32_t code)
{
	return code >= VIRTIO_SND_R_PCM_SET_PARAMS && code <= VIRTIO_SND_R_PCM_STOP;
}

/* ---- a PCM stream ---- */

/*
 *   state     entered when          SET_PARAMS  PREPARE    START    STOP     RELEASE   messages
 *   IDLE      start, reset          SET         -          -        -        IDLE      IO_ERR
 *   SET       parameters are known  SET         PREPARED   -        -        SET       IO_ERR
 *   PREPARED  resources are there   SET, flush  PREPARED   RUNNING  -        SET, fl.  kept
 *   RUNNING   the clock runs        -           -          -        STOPPED  SET, fl.  consumed
 *   STOPPED   the clock stands      -           -          RUNNING  -        SET, fl.  kept
 *
 * "-" is answered BAD_MSG and changes nothing. Messages that come where it says IO_ERR are given
 * back with that at once. Flush: every message of the stream, those still in the queue too (take
 * them out first), is given back with S_OK and without waiting for its time, and only then the
 * request is answered. No deadline: a flush waits for our own threads alone.
 */
enum qsnd_state {
	QSND_IDLE,
	QSND_SET,
	QSND_PREPARED,
	QSND_RUNNING,
	QSND_STOPPED,
	QSND_STATES
};
const char *qsnd_state_str(enum qsnd_state s);

struct qsnd_pcm {
	enum qsnd_state state;		/* qsnd_pcm_request() and qsnd_pcm_fail() write it */
	struct qsnd_params params;	/* from SET on; not changed in PREPARED, RUNNING, STOPPED */
};
/* @req went through qsnd_ctl_parse() and is to this stream: VIRTIO_SND_S_OK, or BAD_MSG in a state
 * that has no such request. *ret_flush (on OK): flush before the answer. */
uint32_t qsnd_pcm_request(struct qsnd_pcm *p, const struct qsnd_req *req, bool *ret_flush);
/* The owner could not do what qsnd_pcm_request() allowed (PREPARE, START): back to SET. Messages
 * of it are flushed as by RELEASE. */
void qsnd_pcm_fail(struct qsnd_pcm *p);
/* Device reset: IDLE. */
void qsnd_pcm_reset(struct qsnd_pcm *p);
/* Messages are kept in this state; else they are answered with IO_ERR at once. */
static inline bool qsnd_pcm_takes(const struct qsnd_pcm *p)
{
	return p->state >= QSND_PREPARED;
}

/* ---- events ---- */

/* What the driver has not been told yet. Events of one kind and item that are waiting for a buffer
 * are one: a driver that gives no buffers costs nothing. Zeroed = none. */
struct qsnd_events {
	uint32_t xruns, periods, jacks;	/* masks of streams, streams, jacks */
};
/* Noted only when the stream negotiated EVT_XRUNS (EVT_SHMEM_PERIODS). */
void qsnd_events_xrun(struct qsnd_events *e, const struct qsnd_pcm *p, unsigned stream);
void qsnd_events_period(struct qsnd_events *e, const struct qsnd_pcm *p, unsigned stream);
/* Sets `connected` of the jack, and notes it when it is a change. */
void qsnd_events_jack(struct qsnd_events *e, struct qsnd_dev *d, unsigned jack, bool connected);
/* Takes the next: jacks, xruns, periods. False: none. */
bool qsnd_events_next(struct qsnd_events *e, const struct qsnd_dev *d,
		      struct virtio_snd_event *ret);
