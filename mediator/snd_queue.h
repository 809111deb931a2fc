/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tx or rx queue of a sound client: its ring, and the messages that are out. Made and freed on
 * the session's thread, used on the device's real-time thread in between: no allocation, lock or
 * log. The ring is the guest's and hostile.
 */
#pragma once

#include "lib/qbell.h"
#include "lib/qsnd_msg.h"
#include "lib/qvhu_be.h"

#define SND_QUEUE_SIZE_MAX 1024u

struct snd_entry {
	struct qsnd_msg msg;
	bool out;
};

struct snd_queue {
	unsigned share;
	bool output;
	bool broken;		/* the driver lost it, and the session was told */
	int call_fd;		/* owned: a duplicate of the client's */
	struct qring ring;
	struct qmem *mem;	/* our reference */
	struct qvhu_inflight_queue *inflight;
	uint32_t num;
	struct snd_entry *entries;	/* by head */
	struct iovec *iov;		/* QSND_IOV_MAX a head */
	uint16_t *done;			/* heads pushed since the last publish */
	unsigned n_done;
	uint16_t *replay;		/* heads of a mediator before us */
	unsigned n_replay, replayed;
};

enum snd_next {
	SND_NEXT_NONE,
	SND_NEXT_MSG,		/* a message */
	SND_NEXT_REFUSE,	/* one that can only be answered with IO_ERR */
	SND_NEXT_FAULT,		/* the driver broke the protocol */
};

/* Session's thread. 0; -EINVAL (the ring is not in the guest's memory); -ENOMEM. */
int snd_queue_new(const struct qring_cfg *cfg, struct qmem *mem,
		  struct qvhu_inflight_queue *inflight, bool output, struct snd_queue **ret);
struct snd_queue *snd_queue_free(struct snd_queue *q);

/* ---- real-time thread ---- */

/* The next message, in the order of the guest: what was out when a mediator died comes first. */
enum snd_next snd_queue_next(struct snd_queue *q, const struct qsnd_dev *dev,
			     struct qsnd_msg **ret);
void snd_queue_done(struct snd_queue *q, struct qsnd_msg *m, uint32_t status,
		    uint32_t latency_bytes);
/* Shows the guest what is done, with the in-flight region's steps, and notes its signal. */
void snd_queue_publish(struct snd_queue *q, struct qbell *bell);
