/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-snd, a driver of it, and a sound device that keeps what it hears, in virtual time. The
 * driver's memory: rings, then a page a request, then MSGS slots of SLOT_BYTES a queue.
 */
#pragma once

#include "lib/qsnd.h"
#include "tests/unit/fixture.h"
#include "tests/unit/vddriver.h"
#include "vdevs/vdsnd.h"

#define SW_MSGS 32u		/* slots of each data queue */
#define SW_SLOT_BYTES 0x2000u
#define SW_HEARD_BYTES (1u << 20)
#define SW_MS Q_NSEC_PER_MSEC

enum sw_flag {
	SW_MMIO = 1,
	SW_PACKED = 2,
	SW_INDIRECT = 4,
	SW_EVENT_IDX = 8,
	SW_FAKE = 16,	/* hostdev is alsa:fake: the fake below; else null */
};

/* The fake device: heard at the pace of the host's clock, delay_frames later. */
struct sw_fake {
	struct vd_snd_pcm pcm;
	struct vd_snd_clock clock;
	struct qsnd_params params;
	uint8_t heard[SW_HEARD_BYTES];	/* capture: what it gives, endlessly 1, 2, 3 … */
	uint32_t heard_bytes, gap_frames;
	uint64_t delay_frames;
	int begin_err, run_err, room_err, write_err;
	unsigned n_begun, n_ended;
	bool begun, output, closed;
	uint8_t next;
};

struct sw {
	struct vdh h;
	struct vdd d;
	struct qdriver q[VIRTIO_SND_VQ_MAX];
	struct sw_fake fakes[4];
	unsigned n_fakes;
	uint8_t resp[QSND_RESP_BYTES_MAX];
	uint32_t resp_bytes;
};

/* Opens it with what vdh_arg() was given since vdh_init(&w->h); the driver is live. */
void sw_init(struct sw *w, unsigned flags);
void sw_open(struct sw *w, unsigned flags);
/* The handshake again: after a reset. */
void sw_live(struct sw *w, unsigned flags);
void sw_fini(struct sw *w);

/* A control request of @len bytes, with room for @room; the status, or 0 when it is not answered
 * (yet). The response is in w->resp. */
uint32_t sw_ctl(struct sw *w, const void *req, size_t len, size_t room);
/* The same, added and kicked only. */
void sw_ctl_send(struct sw *w, const void *req, size_t len, size_t room);
bool sw_ctl_poll(struct sw *w, uint32_t *ret_status);
uint32_t sw_pcm(struct sw *w, uint32_t code, uint32_t stream);
/* S16 stereo at 48 kHz; a period of @frames, four of them a buffer. */
uint32_t sw_params(struct sw *w, uint32_t stream, uint32_t frames, uint32_t features);
/* SET_PARAMS and PREPARE; both must do. */
void sw_prepare(struct sw *w, uint32_t stream, uint32_t frames, uint32_t features);

/* A message in slot @i: header, @len bytes of data (output: bytes of @fill counting up), status. */
void sw_msg(struct sw *w, bool output, unsigned i, uint32_t stream, uint32_t len, uint8_t fill,
	    bool kick);
/* Takes one completion: its slot, or -1. */
int sw_done(struct sw *w, bool output, uint32_t *ret_status, uint32_t *ret_latency,
	    uint32_t *ret_len);
/* Completions that are there, all of which must be @status. */
unsigned sw_done_all(struct sw *w, bool output, uint32_t status);
/* What an input message has in slot @i. */
void sw_recorded(struct sw *w, unsigned i, void *buf, uint32_t len);

/* Event buffers; and the next event, false when there is none. */
void sw_event_bufs(struct sw *w, unsigned n);
bool sw_event(struct sw *w, uint32_t *ret_code, uint32_t *ret_data);

/* The status text has @word. */
bool sw_says(struct sw *w, const char *word);
