/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sound device that is a WAV file: what a guest plays is written at the pace of the host's clock,
 * gaps as silence, so that the file is what would have been heard; what a guest records is read
 * from one, then silence. Under the vdev's lock.
 *
 * A file has one format: when the guest prepares another one, a further file is begun, NAME-2.wav
 * and so on; also when a file is as large as it can be. The pauses between a STOP and a START are
 * not in the file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qvm/snd.h"
#include "qvm/snd_wav.h"

#define PATH_BYTES 1024u
#define FILES_MAX 1000u

struct snd_file {
	struct vd_snd_pcm pcm;
	struct vd_snd_clock clock;
	struct qsnd_params params;
	struct snd_wav wav;
	unsigned n_files;
	bool output, failed;
	char path[PATH_BYTES];
};

static struct snd_file *file_of(struct vd_snd_pcm *p)
{
	return Q_CONTAINER_OF(p, struct snd_file, pcm);
}

/* "a/b.wav" is "a/b-2.wav" the second time. */
static int nth_path(const struct snd_file *f, unsigned n, char *buf, size_t buf_bytes)
{
	const char *slash = strrchr(f->path, '/'), *dot = strrchr(f->path, '.');
	int stem, len;

	if (!dot || (slash && dot < slash))
		dot = f->path + strlen(f->path);
	stem = (int)(dot - f->path);
	len = n == 1 ? snprintf(buf, buf_bytes, "%s", f->path) :
		       snprintf(buf, buf_bytes, "%.*s-%u%s", stem, f->path, n, dot);
	return len < 0 || (size_t)len >= buf_bytes ? -ENAMETOOLONG : 0;
}

static int next_file(struct snd_file *f)
{
	char path[PATH_BYTES + 16];
	int r;

	if (f->n_files == FILES_MAX)
		return -ENOSPC;
	r = nth_path(f, f->n_files + 1, path, sizeof(path));
	if (r < 0)
		return r;
	snd_wav_close(&f->wav);
	r = snd_wav_create(&f->wav, path, &f->params);
	if (r == 0)
		f->n_files++;
	return r;
}

static bool fits(const struct snd_file *f)
{
	return f->wav.fd >= 0 && f->wav.format == f->params.format &&
	       f->wav.channels == f->params.channels && f->wav.rate_hz == f->params.rate_hz;
}

static int file_begin(struct vd_snd_pcm *p, const struct qsnd_params *params)
{
	struct snd_file *f = file_of(p);

	vd_snd_clock_begin(&f->clock, params->rate_hz);
	f->params = *params;
	f->failed = false;
	return fits(f) || !f->output ? 0 : next_file(f);
}

static uint64_t now_of(struct snd_file *f)
{
	return f->pcm.host->ops->now(f->pcm.host);
}

static void sync_file(struct snd_file *f)
{
	if (f->output && f->wav.fd >= 0 && snd_wav_sync(&f->wav) < 0)
		f->failed = true;
}

static int file_run(struct vd_snd_pcm *p, bool on)
{
	struct snd_file *f = file_of(p);

	vd_snd_clock_run(&f->clock, on, now_of(f));
	if (!on)
		sync_file(f);
	return 0;
}

static int64_t file_room(struct vd_snd_pcm *p)
{
	struct snd_file *f = file_of(p);

	return f->failed ? -EIO : (int64_t)vd_snd_clock_room(&f->clock, now_of(f));
}

static int put(struct snd_file *f, const void *buf, uint32_t n)
{
	int r = snd_wav_write(&f->wav, buf, n);

	if (r == -EFBIG) {
		sync_file(f);
		r = next_file(f);
		if (r == 0)
			r = snd_wav_write(&f->wav, buf, n);
	}
	f->failed = r < 0;
	return r;
}

static int file_write(struct vd_snd_pcm *p, const void *buf, uint32_t n)
{
	struct snd_file *f = file_of(p);

	f->clock.moved += n;
	return put(f, buf, n);
}

static int file_read(struct vd_snd_pcm *p, void *buf, uint32_t n)
{
	struct snd_file *f = file_of(p);

	f->clock.moved += n;
	return snd_wav_read(&f->wav, buf, n);
}

static uint64_t file_delay(struct vd_snd_pcm *p)
{
	return 0;
}

/* What was not fetched of a recording is lost, as on a device. */
static void skip_read(struct snd_file *f, uint64_t n)
{
	uint8_t buf[256 * QSND_CHANNELS_MAX * 4];

	for (; n > 0; n -= Q_MIN(n, 256u))
		if (snd_wav_read(&f->wav, buf, (uint32_t)Q_MIN(n, 256u)) < 0)
			f->failed = true;
}

/* A guest that says nothing for hours costs a sector a moment, not hours at once. */
static void file_gap(struct vd_snd_pcm *p)
{
	struct snd_file *f = file_of(p);
	uint64_t n = Q_MIN(vd_snd_clock_room(&f->clock, now_of(f)), f->params.rate_hz);

	f->clock.moved += n;
	if (f->output)
		put(f, NULL, (uint32_t)n);
	else
		skip_read(f, n);
}

static void file_end(struct vd_snd_pcm *p)
{
	struct snd_file *f = file_of(p);

	f->clock.runs = false;
	sync_file(f);
}

static void file_close(struct vd_snd_pcm *p)
{
	struct snd_file *f = file_of(p);

	sync_file(f);
	snd_wav_close(&f->wav);
	free(f);
}

static const struct vd_snd_ops file_ops = {
	.begin = file_begin,
	.run = file_run,
	.room = file_room,
	.write = file_write,
	.read = file_read,
	.delay = file_delay,
	.gap = file_gap,
	.end = file_end,
	.close = file_close,
};

/* Made at once, so that a path of no use is an error before the guest runs. */
static int make_first(struct snd_file *f, const struct vd_snd_cfg *cfg)
{
	f->params = (struct qsnd_params){ .format = VIRTIO_SND_PCM_FMT_S16, .rate_hz = 48000,
					  .channels = Q_MAX(cfg->channels_min, 1) };
	int r;

	r = next_file(f);
	snd_wav_close(&f->wav);
	f->n_files = 0;		/* the first of the guest's own format is the same file */
	return r;
}

static int open_given(struct snd_file *f)
{
	int r = snd_wav_open(&f->wav, f->path);
	uint8_t rate = 0;

	if (r < 0)
		return r;
	while (qsnd_rate_hz(rate) && qsnd_rate_hz(rate) != f->wav.rate_hz)
		rate++;
	if (!qsnd_rate_hz(rate))
		return -EINVAL;
	f->pcm.formats = QSND_BIT(f->wav.format);
	f->pcm.rates = QSND_BIT(rate);
	f->pcm.channels_min = f->pcm.channels_max = f->wav.channels;
	return 0;
}

static int file_init(struct snd_file *f, const struct vd_snd_cfg *cfg, const char *what)
{
	if (strlen(what) >= sizeof(f->path))
		return -ENAMETOOLONG;
	memcpy(f->path, what, strlen(what) + 1);
	return f->output ? make_first(f, cfg) : open_given(f);
}

int snd_file_open(struct vd_host *h, const struct vd_snd_cfg *cfg, const char *what, char *why,
		  size_t why_bytes, struct vd_snd_pcm **ret)
{
	struct snd_file *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->pcm = (struct vd_snd_pcm){ .ops = &file_ops, .host = h, .formats = QSND_FORMATS,
				      .rates = QSND_RATES, .channels_min = 1,
				      .channels_max = QSND_CHANNELS_MAX };
	f->wav = SND_WAV_NULL;
	f->output = cfg->output;
	r = file_init(f, cfg, what);
	if (r < 0) {
		snprintf(why, why_bytes, "%s: %s", f->output ? "cannot be made" :
			 "cannot be recorded from", r == -EINVAL ?
			 "no WAV file of 16, 24 or 32 bits, up to 8 channels, and a usual rate" :
			 strerror(-r));
		file_close(&f->pcm);
		return r;
	}
	*ret = &f->pcm;
	return 0;
}
