/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sound device as the real-time thread drives it: it waits for room, writes a period, and may
 * read one. The device is the clock. Opening and closing happen on an ordinary thread; the rest on
 * one real-time thread, and takes no lock of ours and no memory.
 */
#pragma once

#include "lib/qdef.h"

struct snd_dev;

struct snd_dev_cfg {
	uint32_t rate_hz, channels, period_frames, periods;
};

struct snd_dev_ops {
	const char *name;
	/*
	 * Until there is room for a period, at most for a few of them. 0; -EPIPE: the device ran
	 * empty (and goes on); other -errno: it is gone, and nothing but close() may follow.
	 */
	int (*wait)(struct snd_dev *d);
	/* One period, interleaved, -1 … 1. As wait(). */
	int (*write)(struct snd_dev *d, const float *frames);
	/* One period; frames that are not there are silence. 0 or -errno: it is gone. Of a device
	 * that records; nothing else but close() is asked of that one: another one is the clock. */
	int (*read)(struct snd_dev *d, float *frames);
	/* Frames between what is written next and the loudspeaker. */
	uint32_t (*delay)(struct snd_dev *d);
	/* Frames that have left for the loudspeaker, ever. */
	uint64_t (*consumed)(struct snd_dev *d);
	void (*close)(struct snd_dev *d);	/* ordinary thread */
};

struct snd_dev {
	const struct snd_dev_ops *ops;
	struct snd_dev_cfg cfg;
};

/*
 * Time in periods: the n-th ends at a time that is computed from n, so that nothing adds up. No
 * device has it that has a clock of its own.
 */
struct snd_clock {
	uint64_t start_ns, n;
	uint32_t rate_hz, period_frames;
};
void snd_clock_init(struct snd_clock *c, const struct snd_dev_cfg *cfg, uint64_t now_ns);
/* The end of the n-th period. */
uint64_t snd_clock_at(const struct snd_clock *c, uint64_t n);
/*
 * The next period. Returns its end; when that is more than @slack periods ago, time that was lost
 * is left out (*ret_late): the clock starts again at @now_ns.
 */
uint64_t snd_clock_next(struct snd_clock *c, uint64_t now_ns, uint32_t slack, bool *ret_late);

/* Ordinary thread. NULL when out of memory. */
struct snd_dev *snd_null_new(const struct snd_dev_cfg *cfg);
/* Each: 0 or -errno, with a sentence in @why (@why_bytes). One that plays, or (@capture) one that
 * records. */
int snd_file_new(const struct snd_dev_cfg *cfg, const char *path, bool capture,
		 struct snd_dev **ret, char *why, size_t why_bytes);
int snd_alsa_new(const struct snd_dev_cfg *cfg, const char *pcm, bool capture,
		 struct snd_dev **ret, char *why, size_t why_bytes);
