/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens in a period of a sound device: commands of the session are taken, the guests'
 * rings are looked at, a period is mixed and written, what was consumed is given back.
 * snd_engine_period()
 * is a function of time, rings and policy; the real-time thread is a loop around it (snd_sound.c),
 * and a test calls it by itself. After snd_engine_new() it allocates nothing, takes no lock and
 * logs nothing.
 *
 * The session's thread and this one have two queues between them, commands and replies. Who made an
 * object frees it: queues, converters and devices go over with a command and come back with a
 * reply.
 */
#pragma once

#include "lib/qhist.h"
#include "mediator/mix_conv.h"
#include "mediator/snd_dev.h"
#include "mediator/snd_heard.h"
#include "mediator/snd_queue.h"
#include "mediator/spsc.h"

#define SND_SHARES_MAX 64u
#define SND_CMDS 2048u

enum snd_cmd_kind {
	SND_CMD_QUEUE_ADD,	/* queue: of share */
	SND_CMD_QUEUE_DEL,	/* answered QUEUE; keep: what is out stays in flight */
	SND_CMD_CALL,		/* queue, fd (its own now); answered CALL */
	SND_CMD_PREPARE,	/* slot takes messages; conv, frame_bytes, period_bytes, rate_hz */
	SND_CMD_START,
	SND_CMD_STOP,
	SND_CMD_FLUSH,		/* all messages back, no more taken; answered FLUSHED */
	SND_CMD_VOICE,		/* slot: voice */
	SND_CMD_LIMIT,		/* limit */
	SND_CMD_DEVICE,		/* dev is back; answered DEVICE when it is not wanted */
	SND_CMD_CAPTURE,	/* dev records from now on; answered CAPTURE when one does */
	SND_CMD_RESET_WORST,
};

struct snd_cmd {
	enum snd_cmd_kind kind;
	unsigned slot, share;
	bool keep;
	int fd;
	struct snd_queue *queue;
	struct mix_conv *conv;
	uint32_t frame_bytes, period_bytes, rate_hz;
	struct mix_voice_cfg voice;
	float limit;
	struct snd_dev *dev;
};

enum snd_reply_kind {
	SND_REPLY_QUEUE,	/* queue is the session's again */
	SND_REPLY_CALL,		/* queue; fd, its old descriptor, is the session's to close */
	SND_REPLY_FLUSHED,	/* slot; conv (or NULL) is the session's again */
	SND_REPLY_FAULT,	/* queue's driver broke the protocol */
	SND_REPLY_XRUN,		/* slot; not told when the session is slow */
	SND_REPLY_DEVICE,	/* dev is the session's; err: why it is gone, 0 = not wanted */
	SND_REPLY_CAPTURE,	/* the same of what records: its loss silences nobody */
	SND_REPLY_ALARM,	/* the safety stream does not get out */
	SND_REPLY_HEARD,	/* it does again */
};

struct snd_reply {
	enum snd_reply_kind kind;
	unsigned slot;
	int err, fd;
	struct snd_queue *queue;
	struct mix_conv *conv;
	struct snd_dev *dev;
};

/* Written by the real-time thread, read by any (relaxed: one counter may be newer than another). */
struct snd_slot_stats {
	_Atomic uint64_t frames, gap_frames, xruns, messages, refused;
	_Atomic uint32_t gain_ppm, why;
	_Atomic int by;			/* slot that speaks above it; -1 */
	_Atomic bool running, speaks;
};
struct snd_engine_stats {
	_Atomic uint64_t periods, late, lost, saturated, limited, alarms, busy_ns, busy_max_ns;
	_Atomic uint64_t heard_worst_ns, heard_bound_ns;
	_Atomic bool device_lost, alarm;
};

struct snd_slot {
	unsigned share;
	bool output, takes, running;
	struct mix_conv *conv;
	struct qsnd_fifo fifo;
	uint32_t frame_bytes, period_bytes, rate_hz;
	uint64_t gap_frames;		/* of the device, in the gap that is */
	bool gap, gap_told;
	uint64_t asked_ns;		/* the earliest that what waits alone can have been sent */
	bool timing;
	struct snd_slot_stats stats;
};

struct snd_share_rt {
	struct qsnd_dev dev;
	unsigned first_slot, n_slots;
	struct snd_queue *tx, *rx;
};

struct snd_engine {
	struct snd_dev_cfg cfg;
	struct snd_dev *dev, *spare;	/* spare: null's clock; owned both */
	struct snd_dev *mic;		/* what records; NULL: silence does. Owned */
	bool lost;
	int wake_fd;			/* borrowed: the session's eventfd */
	bool wake;
	struct mix *mix;
	float *out, *heard_in;
	struct spsc cmds, replies;
	struct snd_cmd *cmd_store;
	struct snd_reply *reply_store;
	struct qbell bell;
	struct snd_heard heard;
	uint64_t now_ns, looked_ns;	/* of this period, and of the one before */
	uint32_t delay_frames;
	unsigned n_shares, n_slots;
	struct snd_share_rt shares[SND_SHARES_MAX];
	struct snd_slot slots[MIX_VOICES_MAX];
	struct snd_engine_stats stats;
};

/* @take_dev is consumed. 0 or -errno. */
int snd_engine_new(const struct snd_dev_cfg *cfg, struct snd_dev *take_dev, float lower_limit,
		   int wake_fd, struct snd_engine **ret);
/* After the thread has ended; what is out is dropped. */
struct snd_engine *snd_engine_free(struct snd_engine *e);
/* Before the thread starts. The share's number, or -ENOSPC. */
int snd_engine_add_share(struct snd_engine *e, const struct qsnd_dev *dev,
			 const struct mix_voice_cfg *voice);

/* Real-time thread: waits for the device, or for the clock that stands in for it. */
void snd_engine_wait(struct snd_engine *e);
void snd_engine_period(struct snd_engine *e, uint64_t now_ns);

/* Session's thread. False: the queue is full, which it never is of commands that wait for their
 * replies. */
bool snd_engine_tell(struct snd_engine *e, const struct snd_cmd *cmd);
bool snd_engine_reply(struct snd_engine *e, struct snd_reply *ret);
