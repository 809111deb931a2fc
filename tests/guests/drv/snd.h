/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-snd: control requests, events, and messages of PCM streams in both directions. Written
 * from the specification alone.
 */
#pragma once
#include "tests/guests/drv/vq.h"

#define VIO_ID_SND	25

#define SND_Q_CTL	0
#define SND_Q_EVENT	1
#define SND_Q_TX	2
#define SND_Q_RX	3

#define SND_R_JACK_INFO		1
#define SND_R_PCM_INFO		0x100
#define SND_R_SET_PARAMS	0x101
#define SND_R_PREPARE		0x102
#define SND_R_RELEASE		0x103
#define SND_R_START		0x104
#define SND_R_STOP		0x105
#define SND_R_CHMAP_INFO	0x200
#define SND_EVT_JACK_ON		0x1000
#define SND_EVT_JACK_OFF	0x1001
#define SND_EVT_PERIOD		0x1100
#define SND_EVT_XRUN		0x1101
#define SND_S_OK		0x8000

#define SND_F_POLLING	(1u << 2)
#define SND_F_PERIODS	(1u << 3)
#define SND_F_XRUNS	(1u << 4)

#define SND_STREAMS_MAX	16

struct snd_info {
	uint32_t nid, features;
	uint64_t formats, rates;
	uint8_t direction, channels_min, channels_max, zero[5];
};

struct snd_params {
	uint32_t code, stream, buffer_bytes, period_bytes, features;
	uint8_t channels, format, rate, zero;
};

struct snd_msg {
	uint32_t stream;
	uint32_t data_bytes;		/* room in data */
	struct {
		uint32_t status, latency_bytes;
	} result;
	uint8_t *data;
};

struct snd {
	struct vio_dev *dev;
	uint32_t n_jacks, n_streams, n_chmaps;
	struct snd_info info[SND_STREAMS_MAX];
	struct vq ctl, event, tx, rx;
	uint32_t irqs_acked;
	uint32_t n_xruns[SND_STREAMS_MAX], n_periods[SND_STREAMS_MAX], n_jack_events;
};

/* Brings the device up and asks what it has; NULL or what went wrong. */
const char *snd_open(struct snd *s, struct vio_dev *d, uint64_t features);
/* A request of @len bytes; its status. The response, @room bytes with it, goes to @resp. */
uint32_t snd_request(struct snd *s, const void *req, uint32_t len, void *resp, uint32_t room);
/* SND_R_PREPARE to SND_R_STOP. */
uint32_t snd_command(struct snd *s, uint32_t code, uint32_t stream);
/* Queues the first @bytes of @m; false: no room. Then snd_kick(). */
bool snd_put(struct snd *s, bool output, struct snd_msg *m, uint32_t bytes);
void snd_kick(struct snd *s, bool output);
/* A message that came back, with the bytes that were recorded in *ret_bytes; NULL: none. */
struct snd_msg *snd_get(struct snd *s, bool output, uint32_t *ret_bytes);
/* Counts events, and gives their buffers back. */
void snd_look_at_events(struct snd *s);
void snd_irq_ack(struct snd *s);
