/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of virtio-snd with a sound device of its own: options (virtio_snd_cfg.c), device and
 * control queue (virtio_snd.c), streams (virtio_snd_pcm.c). Under the vdev's lock.
 */
#pragma once

#include "lib/qsnd_msg.h"
#include "vdevs/vdsnd.h"
#include "vdevs/virtio.h"

#define VIRTIO_SND_QUEUE_SIZE 64u

/* What the options say. */
struct virtio_snd_options {
	unsigned n_out, n_in;
	struct qsnd_stream_desc limits;	/* of each stream: direction and nid are not filled */
	const struct vd_arg *hostdev;
	const struct vd_arg *capture;	/* NULL: as hostdev, or silence with a file */
};
/* False: there were errors. */
bool virtio_snd_options(const struct vd_config *cfg, struct cf_errors *errs,
			struct virtio_snd_options *ret);

struct virtio_snd_slot {
	struct qsnd_msg m;
	struct virtio_snd_slot *next_free;
	struct iovec iov[QSND_IOV_MAX];
};
/* As many as the queue has entries: as many as a driver that keeps the rules can have out. */
struct virtio_snd_slots {
	struct virtio_snd_slot *all, *free;
	unsigned n_touched;
};

struct virtio_snd_stream {
	struct virtio_snd *s;
	unsigned id;
	bool output;
	struct qsnd_pcm pcm;
	struct qsnd_fifo fifo;
	struct vd_snd_pcm *host;	/* of hostdev */
	struct vd_snd_pcm *null;	/* when that is gone */
	bool gone;
	struct vd_timer *timer;
	uint64_t gap_ns;		/* since when there is a gap, 0 = there is none */
	bool gap_told;
	uint64_t periods;		/* that have passed since it was prepared */
	uint64_t n_messages, n_xruns, n_lost;
};

struct virtio_snd {
	struct virtio_dev d;	/* first */
	struct qsnd_dev desc;
	struct qsnd_events events;
	struct virtio_snd_stream streams[QSND_ITEMS_MAX];
	struct virtio_snd_slots tx, rx;
	uint64_t n_bad;		/* control requests not answered with OK, and bad messages */
	struct iovec ctl_iov[QSND_IOV_MAX];
	uint8_t resp[QSND_RESP_BYTES_MAX];
	uint8_t bounce[16384];
};

/* ---- streams (virtio_snd_pcm.c) ---- */

/* Opens the PCM of the next stream and adds it to the device. 0 or -errno with a sentence. */
int virtio_snd_stream_add(struct virtio_snd *s, bool output, const struct virtio_snd_options *o,
			  struct cf_errors *errs);
void virtio_snd_streams_fini(struct virtio_snd *s);
/* A request that qsnd_ctl_parse() found good: does it, and says the status to answer. */
uint32_t virtio_snd_stream_request(struct virtio_snd_stream *st, const struct qsnd_req *req);
/* Takes what is in the tx or rx queue; streams that wait for it go on. True: there may be more. */
bool virtio_snd_take(struct virtio_snd *s, bool output, unsigned budget);
/* The driver is gone: messages are forgotten. */
void virtio_snd_streams_reset(struct virtio_snd *s);

/* ---- events (virtio_snd.c) ---- */

/* Tells what is noted in s->events, as far as the driver gave buffers. */
void virtio_snd_tell(struct virtio_snd *s);
