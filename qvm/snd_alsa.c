/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sound device that is a PCM of ALSA. Opened on the main thread and kept open, because a name
 * such as hw:0,0 has one user; its ops under the vdev's lock, none of which waits (the PCM is
 * opened non-blocking).
 *
 * The hardware's buffer holds what the guest's does, at most BUFFER_MS and at least two periods, so
 * that a guest which is one period late is not heard. Playing starts with the first frames after
 * run(true). An underrun stops the hardware; it starts again with the next frames.
 *
 * Invariant: pcm is NULL only after the device was lost, until begin() finds it again.
 */
#include <alsa/asoundlib.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qvm/snd.h"

#define BUFFER_MS 200u
#define NAME_BYTES 128u

struct snd_alsa {
	struct vd_snd_pcm host;
	snd_pcm_t *pcm;		/* owned */
	bool output, runs;
	char name[NAME_BYTES];
};

static struct snd_alsa *alsa_of(struct vd_snd_pcm *p)
{
	return Q_CONTAINER_OF(p, struct snd_alsa, host);
}

static snd_pcm_format_t alsa_format(uint8_t format)
{
	switch (format) {
	case VIRTIO_SND_PCM_FMT_S16:
		return SND_PCM_FORMAT_S16_LE;
	case VIRTIO_SND_PCM_FMT_S24:
		return SND_PCM_FORMAT_S24_LE;
	case VIRTIO_SND_PCM_FMT_S32:
		return SND_PCM_FORMAT_S32_LE;
	case VIRTIO_SND_PCM_FMT_FLOAT:
		return SND_PCM_FORMAT_FLOAT_LE;
	default:
		return SND_PCM_FORMAT_UNKNOWN;
	}
}

static int pcm_open(struct snd_alsa *a)
{
	int r = snd_pcm_open(&a->pcm, a->name,
			     a->output ? SND_PCM_STREAM_PLAYBACK : SND_PCM_STREAM_CAPTURE,
			     SND_PCM_NONBLOCK);

	if (r < 0)
		a->pcm = NULL;
	return r;
}

static void pcm_close(struct snd_alsa *a)
{
	if (a->pcm)
		snd_pcm_close(a->pcm);
	a->pcm = NULL;
	a->runs = false;
}

/* ---- parameters ---- */

static int set_hw(struct snd_alsa *a, const struct qsnd_params *p)
{
	snd_pcm_uframes_t period = p->period_bytes / p->frame_bytes;
	snd_pcm_uframes_t most = (snd_pcm_uframes_t)p->rate_hz * BUFFER_MS / 1000;
	snd_pcm_uframes_t buffer = Q_MIN(p->buffer_bytes / p->frame_bytes, most);
	snd_pcm_hw_params_t *hw;
	int r;

	buffer = Q_MAX(buffer, 2 * Q_MIN(period, most));
	period = Q_MIN(period, buffer / 2);
	snd_pcm_hw_params_alloca(&hw);
	if ((r = snd_pcm_hw_params_any(a->pcm, hw)) < 0 ||
	    (r = snd_pcm_hw_params_set_access(a->pcm, hw, SND_PCM_ACCESS_RW_INTERLEAVED)) < 0 ||
	    (r = snd_pcm_hw_params_set_format(a->pcm, hw, alsa_format(p->format))) < 0 ||
	    (r = snd_pcm_hw_params_set_channels(a->pcm, hw, p->channels)) < 0 ||
	    (r = snd_pcm_hw_params_set_rate(a->pcm, hw, p->rate_hz, 0)) < 0 ||
	    (r = snd_pcm_hw_params_set_period_size_near(a->pcm, hw, &period, NULL)) < 0 ||
	    (r = snd_pcm_hw_params_set_buffer_size_near(a->pcm, hw, &buffer)) < 0)
		return r;
	return snd_pcm_hw_params(a->pcm, hw);
}

/* It starts when we say so, and stops when it has nothing. */
static int set_sw(struct snd_alsa *a)
{
	snd_pcm_sw_params_t *sw;
	snd_pcm_uframes_t boundary;
	int r;

	snd_pcm_sw_params_alloca(&sw);
	if ((r = snd_pcm_sw_params_current(a->pcm, sw)) < 0 ||
	    (r = snd_pcm_sw_params_get_boundary(sw, &boundary)) < 0 ||
	    (r = snd_pcm_sw_params_set_start_threshold(a->pcm, sw, boundary)) < 0)
		return r;
	return snd_pcm_sw_params(a->pcm, sw);
}

static void alsa_end(struct vd_snd_pcm *p)
{
	struct snd_alsa *a = alsa_of(p);

	a->runs = false;
	/* What is lost is closed, so that it can come back under its name. */
	if (a->pcm && (snd_pcm_state(a->pcm) == SND_PCM_STATE_DISCONNECTED ||
		       snd_pcm_drop(a->pcm) == -ENODEV))
		pcm_close(a);
}

static int alsa_begin(struct vd_snd_pcm *p, const struct qsnd_params *params)
{
	struct snd_alsa *a = alsa_of(p);
	int r;

	alsa_end(p);
	r = a->pcm ? 0 : pcm_open(a);
	if (r == 0)
		r = set_hw(a, params);
	if (r == 0)
		r = set_sw(a);
	return r == 0 ? snd_pcm_prepare(a->pcm) : r;
}

/* ---- running ---- */

static int alsa_run(struct vd_snd_pcm *p, bool on)
{
	struct snd_alsa *a = alsa_of(p);
	int r;

	if (!a->pcm)
		return -ENODEV;
	a->runs = on;
	if (!on) {
		r = snd_pcm_drop(a->pcm);
		return r < 0 ? r : snd_pcm_prepare(a->pcm);
	}
	return a->output ? 0 : snd_pcm_start(a->pcm);
}

/* After an underrun (overrun), or when the machine has slept. */
static int recover(struct snd_alsa *a, int err)
{
	int r = snd_pcm_recover(a->pcm, err, 1);

	return r < 0 || a->output ? r : snd_pcm_start(a->pcm);
}

static int64_t alsa_room(struct vd_snd_pcm *p)
{
	struct snd_alsa *a = alsa_of(p);
	snd_pcm_sframes_t n;

	if (!a->pcm)
		return -ENODEV;
	if (!a->runs)
		return 0;
	n = snd_pcm_avail(a->pcm);
	if (n == -EPIPE || n == -ESTRPIPE) {
		n = recover(a, (int)n);
		if (n == 0)
			n = snd_pcm_avail(a->pcm);
	}
	return n == -EAGAIN ? 0 : n;
}

static int moved(snd_pcm_sframes_t did, uint32_t n)
{
	return did < 0 ? (int)did : (uint32_t)did == n ? 0 : -EIO;
}

static int alsa_write(struct vd_snd_pcm *p, const void *buf, uint32_t n)
{
	struct snd_alsa *a = alsa_of(p);
	snd_pcm_sframes_t did = snd_pcm_writei(a->pcm, buf, n);

	/* Between room() and here the last frames may have run out. */
	if (did == -EPIPE && recover(a, -EPIPE) == 0)
		did = snd_pcm_writei(a->pcm, buf, n);
	if (did > 0 && snd_pcm_state(a->pcm) == SND_PCM_STATE_PREPARED) {
		int r = snd_pcm_start(a->pcm);

		if (r < 0)
			return r;
	}
	return moved(did, n);
}

static int alsa_read(struct vd_snd_pcm *p, void *buf, uint32_t n)
{
	struct snd_alsa *a = alsa_of(p);
	snd_pcm_sframes_t did = snd_pcm_readi(a->pcm, buf, n);

	/* An overrun since room(): what was there is lost, and the guest gets silence for it. */
	if (did == -EPIPE && recover(a, -EPIPE) == 0) {
		memset(buf, 0, (size_t)snd_pcm_frames_to_bytes(a->pcm, n));
		return 0;
	}
	return moved(did, n);
}

static uint64_t alsa_delay(struct vd_snd_pcm *p)
{
	struct snd_alsa *a = alsa_of(p);
	snd_pcm_sframes_t n = 0;

	if (!a->pcm || !a->output || !a->runs || snd_pcm_delay(a->pcm, &n) < 0)
		return 0;
	return n > 0 ? (uint64_t)n : 0;
}

/* Playback: the hardware has nothing and stops by itself. */
static void alsa_gap(struct vd_snd_pcm *p)
{
	struct snd_alsa *a = alsa_of(p);
	snd_pcm_sframes_t n = a->output ? 0 : snd_pcm_avail(a->pcm);

	if (n > 0)
		snd_pcm_forward(a->pcm, (snd_pcm_uframes_t)n);
}

static void alsa_close(struct vd_snd_pcm *p)
{
	pcm_close(alsa_of(p));
	free(alsa_of(p));
}

static const struct vd_snd_ops alsa_ops = {
	.begin = alsa_begin,
	.run = alsa_run,
	.room = alsa_room,
	.write = alsa_write,
	.read = alsa_read,
	.delay = alsa_delay,
	.gap = alsa_gap,
	.end = alsa_end,
	.close = alsa_close,
};

/* ---- what it can do ---- */

static void ask_formats(struct snd_alsa *a, snd_pcm_hw_params_t *hw, const struct vd_snd_cfg *cfg)
{
	for (uint8_t i = 0; i < 64; i++)
		if ((cfg->formats & QSND_BIT(i)) &&
		    snd_pcm_hw_params_test_format(a->pcm, hw, alsa_format(i)) == 0)
			a->host.formats |= QSND_BIT(i);
	for (uint8_t i = 0; qsnd_rate_hz(i); i++)
		if ((cfg->rates & QSND_BIT(i)) &&
		    snd_pcm_hw_params_test_rate(a->pcm, hw, qsnd_rate_hz(i), 0) == 0)
			a->host.rates |= QSND_BIT(i);
}

static int ask(struct snd_alsa *a, const struct vd_snd_cfg *cfg)
{
	snd_pcm_hw_params_t *hw;
	unsigned min, max;
	int r;

	snd_pcm_hw_params_alloca(&hw);
	if ((r = snd_pcm_hw_params_any(a->pcm, hw)) < 0 ||
	    (r = snd_pcm_hw_params_get_channels_min(hw, &min)) < 0 ||
	    (r = snd_pcm_hw_params_get_channels_max(hw, &max)) < 0)
		return r;
	a->host.channels_min = (uint8_t)Q_MIN(Q_MAX(min, 1u), QSND_CHANNELS_MAX + 1);
	a->host.channels_max = (uint8_t)Q_MIN(max, QSND_CHANNELS_MAX);
	ask_formats(a, hw, cfg);
	return 0;
}

/* What libasound would say on stderr is in the error that is returned. */
static void say_nothing(const char *file, int line, const char *function, int err, const char *fmt,
			...)
{
}

int snd_alsa_open(struct vd_host *h, const struct vd_snd_cfg *cfg, const char *what, char *why,
		  size_t why_bytes, struct vd_snd_pcm **ret)
{
	int r = snd_alsa_late();

	if (r < 0) {
		snprintf(why, why_bytes, "needs libasound (package libasound2), which is %s here",
			 r == -ENOENT ? "not installed" : "too old");
		return r;
	}
	struct snd_alsa *a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->host = (struct vd_snd_pcm){ .ops = &alsa_ops, .host = h };
	a->output = cfg->output;
	snd_lib_error_set_handler(say_nothing);
	r = snprintf(a->name, sizeof(a->name), "%s", what);
	r = (size_t)r >= sizeof(a->name) ? -ENAMETOOLONG : pcm_open(a);
	if (r == 0)
		r = ask(a, cfg);
	if (r < 0) {
		snprintf(why, why_bytes, "cannot be opened for %s: %s",
			 cfg->output ? "playback" : "capture", snd_strerror(r));
		alsa_close(&a->host);
		return r;
	}
	*ret = &a->host;
	return 0;
}
