/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sound vdev may ask of its host: one PCM of `hostdev` a stream. The host makes a struct
 * vd_snd_pcm (snd_open() of vdhost.h); the vdev calls its ops. All with the vdev's lock held; none
 * of it blocks, but snd_open() and close().
 *
 * A PCM is between begin() and end() when the guest has prepared the stream. Its clock counts
 * frames while it runs: at most room() frames may be moved now, and of those that were, delay() are
 * still inside. Nothing calls back: the vdev looks again when it is time.
 */
#pragma once

#include "lib/cferr.h"
#include "lib/qsnd.h"

struct vd_arg;
struct vd_host;
struct vd_snd_pcm;

struct vd_snd_ops {
	/* Ready for frames of @params, the clock stands. Also when it has begun already. 0 or
	 * -errno, then it has ended. */
	int (*begin)(struct vd_snd_pcm *p, const struct qsnd_params *params);
	/* The clock goes on or stands. 0 or -errno. */
	int (*run)(struct vd_snd_pcm *p, bool on);
	/* Frames that the device takes or has now. -errno: it is gone. */
	int64_t (*room)(struct vd_snd_pcm *p);
	/* Moves @n frames, at most room(). 0 or -errno: it is gone. Playback: write; capture:
	 * read. */
	int (*write)(struct vd_snd_pcm *p, const void *buf, uint32_t n);
	int (*read)(struct vd_snd_pcm *p, void *buf, uint32_t n);
	/* Frames moved that were not heard yet. Capture: 0. */
	uint64_t (*delay)(struct vd_snd_pcm *p);
	/* The guest has nothing for room() (takes nothing of it): it passes as silence (is
	 * lost). */
	void (*gap)(struct vd_snd_pcm *p);
	void (*end)(struct vd_snd_pcm *p);
	void (*close)(struct vd_snd_pcm *p);
};

/* Made by the host, read by the vdev. */
struct vd_snd_pcm {
	const struct vd_snd_ops *ops;
	struct vd_host *host;
	/* What it can do, of what was asked for: virtio's numbers. */
	uint64_t formats, rates;
	uint8_t channels_min, channels_max;
};

struct vd_snd_cfg {
	const struct vd_arg *hostdev;	/* hostdev, or capture */
	bool output;
	uint64_t formats, rates;	/* what the configuration allows */
	uint8_t channels_min, channels_max;
};

/* ---- a clock of its own, for what has no device that gives one ---- */

struct vd_snd_clock {
	uint32_t rate_hz;
	bool runs;
	uint64_t since_ns, base;	/* frames at since_ns */
	uint64_t moved;			/* frames moved and passed */
};
void vd_snd_clock_begin(struct vd_snd_clock *c, uint32_t rate_hz);
void vd_snd_clock_run(struct vd_snd_clock *c, bool on, uint64_t now_ns);
/* Frames that the clock is ahead of what was moved. */
uint64_t vd_snd_clock_room(const struct vd_snd_clock *c, uint64_t now_ns);

/* A PCM that nobody hears, and that records silence. NULL when out of memory. */
struct vd_snd_pcm *vd_snd_null(struct vd_host *h);

/* ---- what the text of hostdev means ---- */

enum vd_snd_form {
	VD_SND_UNKNOWN,
	VD_SND_BACKEND,	/* mediator:NAME, vhost-user:PATH */
	VD_SND_ALSA,	/* alsa:PCM */
	VD_SND_FILE,	/* file:PATH */
	VD_SND_NULL,	/* null */
};
/* *ret_rest: behind the colon. */
enum vd_snd_form vd_snd_form(const char *text, const char **ret_rest);
