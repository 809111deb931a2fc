/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sound device of ALSA: a PCM for playback, or one for capture, by a name that libasound knows.
 * Opened and closed on an ordinary thread, used on the real-time thread; libasound's own
 * lock of a PCM is never contended, for nobody else has it.
 *
 * The PCM is the clock. Some plugins have none and take whatever they are given: what they take
 * beyond real time is waited for here (pace()), so that they are as fast as any other device.
 */
#include <alsa/asoundlib.h>
#include <errno.h>
#include <limits.h>
#include <time.h>

#include "mediator/mix_conv.h"
#include "mediator/snd_dev.h"

#define WAIT_PERIODS 8u
#define STALL_NS Q_NSEC_PER_SEC	/* a device that has stood still that long is gone */
#define ANCHOR_NS (10 * Q_NSEC_PER_SEC)
#define ANCHOR_PERCENT 1u	/* no clock of a real device is that wrong */

static const struct { snd_pcm_format_t alsa; uint8_t virtio; } forms[] = {
	{ SND_PCM_FORMAT_FLOAT_LE, VIRTIO_SND_PCM_FMT_FLOAT },
	{ SND_PCM_FORMAT_S32_LE, VIRTIO_SND_PCM_FMT_S32 },
	{ SND_PCM_FORMAT_S16_LE, VIRTIO_SND_PCM_FMT_S16 },
};

struct alsa_dev {
	struct snd_dev dev;
	snd_pcm_t *pcm;
	uint8_t form;
	unsigned frame_bytes;
	void *raw;			/* a period */
	uint64_t written;		/* frames */
	uint64_t anchor_ns, anchor_frames;
	uint64_t still_ns;		/* since when it stands still; 0 = it does not */
};

static struct alsa_dev *of(struct snd_dev *d)
{
	return Q_CONTAINER_OF(d, struct alsa_dev, dev);
}

static uint64_t frames_ns(const struct snd_dev *d, uint64_t frames)
{
	return frames * Q_NSEC_PER_SEC / d->cfg.rate_hz;
}

/* ---- playback, on the real-time thread ---- */

static int gone(int r)
{
	return r < 0 ? r : -EIO;
}

/* Silence before the first period, so that the PCM starts with all of its buffer but one period. */
static int prime(struct alsa_dev *a)
{
	const struct snd_dev_cfg *cfg = &a->dev.cfg;
	int r = 0;

	memset(a->raw, 0, (size_t)cfg->period_frames * a->frame_bytes);
	for (uint32_t i = 1; r >= 0 && i < cfg->periods; i++) {
		r = (int)snd_pcm_writei(a->pcm, a->raw, cfg->period_frames);
		a->written += r > 0 ? (uint64_t)r : 0;
	}
	if (r >= 0 && snd_pcm_state(a->pcm) == SND_PCM_STATE_PREPARED)
		r = snd_pcm_start(a->pcm);
	a->anchor_ns = 0;
	return Q_MIN(r, 0);
}

static int recover(struct alsa_dev *a, int err)
{
	if (err != -EPIPE && err != -ESTRPIPE)
		return gone(err);
	int r = snd_pcm_prepare(a->pcm);
	if (r == 0)
		r = prime(a);
	return r < 0 ? gone(r) : -EPIPE;
}

/* Sleeps as long as the PCM has taken more than real time and its buffer can explain. */
static void pace(struct alsa_dev *a)
{
	const struct snd_dev *d = &a->dev;
	uint64_t now = qnow_ns(), since = now - a->anchor_ns;

	if (!a->anchor_ns || since > ANCHOR_NS) {
		a->anchor_ns = now;
		a->anchor_frames = a->written;
		return;
	}
	uint64_t ran = frames_ns(d, a->written - a->anchor_frames);
	uint64_t fair = since + since * ANCHOR_PERCENT / 100 +
			frames_ns(d, (uint64_t)d->cfg.period_frames * d->cfg.periods);
	if (ran <= fair)
		return;
	struct timespec t = { .tv_sec = (time_t)((ran - fair) / Q_NSEC_PER_SEC),
			      .tv_nsec = (long)((ran - fair) % Q_NSEC_PER_SEC) };
	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* Late for a while, as the guests may be too; then gone. */
static int stands_still(struct alsa_dev *a)
{
	uint64_t now = qnow_ns();

	if (!a->still_ns)
		a->still_ns = now;
	return now - a->still_ns > STALL_NS ? -ETIMEDOUT : -EPIPE;
}

static int alsa_wait(struct snd_dev *d)
{
	struct alsa_dev *a = of(d);
	int timeout_ms = (int)(frames_ns(d, (uint64_t)WAIT_PERIODS * d->cfg.period_frames) /
			       Q_NSEC_PER_MSEC) + 1;

	pace(a);
	for (unsigned n = 0; n < WAIT_PERIODS; n++) {
		int r = snd_pcm_wait(a->pcm, timeout_ms);
		snd_pcm_sframes_t room = r < 0 ? r : snd_pcm_avail_update(a->pcm);

		if (room < 0)
			return recover(a, (int)room);
		if (room >= (snd_pcm_sframes_t)d->cfg.period_frames) {
			a->still_ns = 0;
			return 0;
		}
		if (r == 0)
			break;
	}
	return stands_still(a);
}

static int alsa_write(struct snd_dev *d, const float *frames)
{
	struct alsa_dev *a = of(d);
	uint32_t done = 0;

	mix_encode(a->form, frames, (size_t)d->cfg.period_frames * d->cfg.channels, a->raw);
	for (unsigned n = 0; n < WAIT_PERIODS && done < d->cfg.period_frames; n++) {
		snd_pcm_sframes_t r =
			snd_pcm_writei(a->pcm, (char *)a->raw + (size_t)done * a->frame_bytes,
				       d->cfg.period_frames - done);

		if (r < 0 && r != -EAGAIN)
			return recover(a, (int)r);
		done += r > 0 ? (uint32_t)r : 0;
	}
	a->written += done;
	return done == d->cfg.period_frames ? 0 : -EPIPE;
}

static uint32_t alsa_delay(struct snd_dev *d)
{
	snd_pcm_sframes_t delay = 0;

	if (snd_pcm_delay(of(d)->pcm, &delay) < 0 || delay < 0)
		return 0;
	return (uint32_t)delay;
}

static uint64_t alsa_consumed(struct snd_dev *d)
{
	uint64_t waits = alsa_delay(d);

	return of(d)->written - Q_MIN(waits, of(d)->written);
}

/* ---- recording, on the real-time thread ---- */

/* After an overrun: what was there is lost. */
static snd_pcm_sframes_t restart(struct alsa_dev *a)
{
	int r = snd_pcm_prepare(a->pcm);

	return r < 0 ? r : snd_pcm_start(a->pcm);
}

static int alsa_read(struct snd_dev *d, float *frames)
{
	struct alsa_dev *a = of(d);
	uint32_t want = d->cfg.period_frames, ch = d->cfg.channels;
	snd_pcm_sframes_t r = snd_pcm_readi(a->pcm, a->raw, want);

	if (r == -EPIPE || r == -ESTRPIPE)
		r = restart(a);
	if (r < 0 && r != -EAGAIN)
		return gone((int)r);
	uint32_t got = r > 0 ? (uint32_t)r : 0;
	mix_decode(a->form, a->raw, (size_t)got * ch, frames);
	memset(frames + (size_t)got * ch, 0, (size_t)(want - got) * ch * sizeof(float));
	return 0;
}

/* ---- life ---- */

static void alsa_close(struct snd_dev *d)
{
	struct alsa_dev *a = of(d);

	if (a->pcm)
		snd_pcm_close(a->pcm);
	free(a->raw);
	free(a);
}

static const struct snd_dev_ops alsa_ops = {
	.name = "alsa", .wait = alsa_wait, .write = alsa_write, .read = alsa_read,
	.delay = alsa_delay, .consumed = alsa_consumed, .close = alsa_close,
};

static int set_form(struct alsa_dev *a, snd_pcm_hw_params_t *hw)
{
	for (size_t i = 0; i < Q_ARRAY_LEN(forms); i++) {
		if (snd_pcm_hw_params_set_format(a->pcm, hw, forms[i].alsa) == 0) {
			a->form = forms[i].virtio;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_hw(struct alsa_dev *a, const char **step)
{
	const struct snd_dev_cfg *cfg = &a->dev.cfg;
	snd_pcm_uframes_t period = cfg->period_frames, buffer = period * cfg->periods;
	snd_pcm_hw_params_t *hw;
	int r;

	snd_pcm_hw_params_alloca(&hw);
	*step = "parameters";
	r = snd_pcm_hw_params_any(a->pcm, hw);
	if (r >= 0)
		r = snd_pcm_hw_params_set_access(a->pcm, hw, SND_PCM_ACCESS_RW_INTERLEAVED);
	*step = "format";
	r = r < 0 ? r : set_form(a, hw);
	*step = "channels";
	r = r < 0 ? r : snd_pcm_hw_params_set_channels(a->pcm, hw, cfg->channels);
	*step = "rate";
	r = r < 0 ? r : snd_pcm_hw_params_set_rate(a->pcm, hw, cfg->rate_hz, 0);
	*step = "period";
	r = r < 0 ? r : snd_pcm_hw_params_set_period_size_near(a->pcm, hw, &period, NULL);
	*step = "periods";
	r = r < 0 ? r : snd_pcm_hw_params_set_buffer_size_near(a->pcm, hw, &buffer);
	*step = "device";
	r = r < 0 ? r : snd_pcm_hw_params(a->pcm, hw);
	if (r >= 0 && buffer < 2 * (snd_pcm_uframes_t)cfg->period_frames) {
		*step = "buffer of two periods";
		return -EINVAL;
	}
	return Q_MIN(r, 0);
}

static int set_sw(struct alsa_dev *a, bool capture)
{
	snd_pcm_sw_params_t *sw;
	int r;

	snd_pcm_sw_params_alloca(&sw);
	r = snd_pcm_sw_params_current(a->pcm, sw);
	r = r < 0 ? r : snd_pcm_sw_params_set_avail_min(a->pcm, sw, a->dev.cfg.period_frames);
	/* Started by prime(), never by how much was written. */
	r = r < 0 || capture ? r : snd_pcm_sw_params_set_start_threshold(a->pcm, sw, LONG_MAX);
	return r < 0 ? r : snd_pcm_sw_params(a->pcm, sw);
}

static int open_pcm(struct alsa_dev *a, const char *name, bool capture, const char **step)
{
	*step = "open";
	int r = snd_pcm_open(&a->pcm, name, capture ? SND_PCM_STREAM_CAPTURE :
						      SND_PCM_STREAM_PLAYBACK, SND_PCM_NONBLOCK);
	if (r < 0) {
		a->pcm = NULL;
		return r;
	}
	r = set_hw(a, step);
	if (r == 0) {
		*step = "software parameters";
		r = set_sw(a, capture);
	}
	a->frame_bytes = a->dev.cfg.channels * qsnd_sample_bytes(a->form);
	a->raw = malloc((size_t)a->dev.cfg.period_frames * a->frame_bytes + 1);
	return r < 0 ? r : a->raw ? 0 : -ENOMEM;
}

static int start(struct alsa_dev *a, bool capture, const char **step)
{
	*step = "start";
	if (capture)
		return snd_pcm_start(a->pcm);
	int r = snd_pcm_prepare(a->pcm);
	return r == 0 ? prime(a) : r;
}

/* What libasound would say on stderr is in the sentence that is returned. */
static void say_nothing(const char *file, int line, const char *function, int err, const char *fmt,
			...)
{
}

int snd_alsa_new(const struct snd_dev_cfg *cfg, const char *pcm, bool capture,
		 struct snd_dev **ret, char *why, size_t why_bytes)
{
	struct alsa_dev *a = calloc(1, sizeof(*a));
	const char *step;

	if (!a)
		return -ENOMEM;
	a->dev = (struct snd_dev){ .ops = &alsa_ops, .cfg = *cfg };
	snd_lib_error_set_handler(say_nothing);
	int r = open_pcm(a, pcm, capture, &step);
	r = r < 0 ? r : start(a, capture, &step);
	if (r < 0) {
		snprintf(why, why_bytes, "PCM %s: %s: %s", pcm, step, snd_strerror(r));
		alsa_close(&a->dev);
		return r;
	}
	*ret = &a->dev;
	return 0;
}
