/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sound device that is a WAV file (S16): one that is written, at the pace of the clock of null,
 * or one that is heard, which is read whole when it is opened. Owns the file, a ring of samples,
 * and the thread that carries them from the ring to the file: a disk may make that one wait, never
 * the real-time thread. A file of an earlier run that has our form is continued, so that a mediator
 * that was killed and started again leaves one recording.
 *
 * Threads: wait, write, read, delay and consumed on the real-time thread; writer() on its own.
 * Invariant: what stands in the file is what was mixed, in order; the header's lengths are right
 * whenever the writer rests.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "mediator/mix_conv.h"
#include "mediator/snd_dev.h"

#define REST_NS (20 * Q_NSEC_PER_MSEC)
#define RING_SECONDS 2u
#define CAPTURE_BYTES_MAX (64u << 20)
#define HEADER_BYTES 44u
#define PIECE_SAMPLES 4096u

struct file_dev {
	struct snd_dev dev;
	struct snd_dev *clock;		/* null: owned */
	int fd;				/* -1: of one that records */
	bool regular;
	uint64_t data_bytes;		/* in the file; writer's */
	float *ring;
	uint32_t ring_samples;
	/* Samples ever, each written by one thread; release pairs with the other's acquire. */
	_Atomic uint64_t put, taken;
	_Atomic uint64_t lost;		/* periods that found no room */
	_Atomic bool stop;
	pthread_t thread;
	bool running;
	float *capture;			/* samples that are still to be heard */
	size_t capture_samples, capture_at;
};

static struct file_dev *of(struct snd_dev *d)
{
	return Q_CONTAINER_OF(d, struct file_dev, dev);
}

/* ---- the form of the file ---- */

static void put32(uint8_t *at, uint32_t v)
{
	v = htole32(v);
	memcpy(at, &v, sizeof(v));
}

static void put16(uint8_t *at, uint16_t v)
{
	v = htole16(v);
	memcpy(at, &v, sizeof(v));
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return le32toh(v);
}

static void make_header(const struct snd_dev_cfg *cfg, uint64_t data_bytes, uint8_t *h)
{
	uint32_t len = (uint32_t)Q_MIN(data_bytes, (uint64_t)UINT32_MAX - HEADER_BYTES);

	memcpy(h, "RIFF....WAVEfmt ", 16);
	put32(h + 4, len + HEADER_BYTES - 8);
	put32(h + 16, 16);
	put16(h + 20, 1);
	put16(h + 22, (uint16_t)cfg->channels);
	put32(h + 24, cfg->rate_hz);
	put32(h + 28, cfg->rate_hz * cfg->channels * 2);
	put16(h + 32, (uint16_t)(cfg->channels * 2));
	put16(h + 34, 16);
	memcpy(h + 36, "data", 4);
	put32(h + 40, len);
}

/* Whether @h is a header of ours, whatever its lengths are. */
static bool same_form(const struct snd_dev_cfg *cfg, const uint8_t *h)
{
	uint8_t want[HEADER_BYTES];

	make_header(cfg, get32(h + 40), want);
	return memcmp(want + 8, h + 8, HEADER_BYTES - 8) == 0 && memcmp(want, h, 4) == 0;
}

static int write_header(const struct file_dev *f)
{
	uint8_t h[HEADER_BYTES];

	if (!f->regular)
		return 0;
	make_header(&f->dev.cfg, f->data_bytes, h);
	return pwrite(f->fd, h, sizeof(h), 0) == (ssize_t)sizeof(h) ? 0 : -EIO;
}

/* ---- the thread that writes ---- */

static int write_piece(struct file_dev *f, uint64_t from, uint32_t n)
{
	uint8_t bytes[PIECE_SAMPLES * 2];
	uint32_t at = (uint32_t)(from % f->ring_samples);
	ssize_t done;

	mix_encode(VIRTIO_SND_PCM_FMT_S16, f->ring + at, n, bytes);
	if (f->regular)
		done = pwrite(f->fd, bytes, n * 2, (off_t)(HEADER_BYTES + f->data_bytes));
	else
		done = write(f->fd, bytes, n * 2);
	if (done != (ssize_t)n * 2)
		return -EIO;
	f->data_bytes += n * 2;
	return 0;
}

/* All that is there, but not what cannot be written: that is tried again, until there is no room.
 * (Then it counts as lost, and the heard-path check sees that nothing gets out.) */
static void drain(struct file_dev *f)
{
	uint64_t taken = atomic_load_explicit(&f->taken, memory_order_relaxed);
	uint64_t put = atomic_load_explicit(&f->put, memory_order_acquire);
	bool any = taken < put;

	while (taken < put) {
		uint32_t to_end = f->ring_samples - (uint32_t)(taken % f->ring_samples);
		uint32_t n = (uint32_t)Q_MIN(put - taken, (uint64_t)Q_MIN(to_end, PIECE_SAMPLES));

		if (write_piece(f, taken, n) < 0)
			break;
		taken += n;
		atomic_store_explicit(&f->taken, taken, memory_order_release);
	}
	if (any)
		(void)write_header(f);
}

static void *writer(void *arg)
{
	static const struct timespec rest = { .tv_nsec = REST_NS };
	struct file_dev *f = arg;

	/* Relaxed: the last drain comes after the join's order. */
	while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
		drain(f);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
	}
	drain(f);
	return NULL;
}

/* ---- the real-time side ---- */

static int file_wait(struct snd_dev *d)
{
	return of(d)->clock->ops->wait(of(d)->clock);
}

static int file_write(struct snd_dev *d, const float *frames)
{
	struct file_dev *f = of(d);
	uint32_t n = d->cfg.period_frames * d->cfg.channels;
	uint64_t put = atomic_load_explicit(&f->put, memory_order_relaxed);
	uint32_t at = (uint32_t)(put % f->ring_samples);

	/* Pairs with drain()'s release: what stood there has been written. */
	if (put - atomic_load_explicit(&f->taken, memory_order_acquire) > f->ring_samples - n) {
		atomic_fetch_add_explicit(&f->lost, 1, memory_order_relaxed);
		return 0;
	}
	for (uint32_t i = 0; i < n; i++)
		f->ring[(at + i) % f->ring_samples] = frames[i];
	atomic_store_explicit(&f->put, put + n, memory_order_release);
	return 0;
}

static int file_read(struct snd_dev *d, float *frames)
{
	struct file_dev *f = of(d);
	size_t n = (size_t)d->cfg.period_frames * d->cfg.channels;

	for (size_t i = 0; i < n; i++) {
		bool there = f->capture_at < f->capture_samples;

		frames[i] = there ? f->capture[f->capture_at++] : 0;
	}
	return 0;
}

static uint32_t file_delay(struct snd_dev *d)
{
	return 0;
}

static uint64_t file_consumed(struct snd_dev *d)
{
	struct file_dev *f = of(d);

	return atomic_load_explicit(&f->taken, memory_order_relaxed) / d->cfg.channels;
}

/* ---- life ---- */

static void file_close(struct snd_dev *d)
{
	struct file_dev *f = of(d);

	if (f->running) {
		atomic_store_explicit(&f->stop, true, memory_order_relaxed);
		pthread_join(f->thread, NULL);
	}
	if (f->clock)
		f->clock->ops->close(f->clock);
	qfd_close(&f->fd);
	free(f->ring);
	free(f->capture);
	free(f);
}

static const struct snd_dev_ops file_ops = {
	.name = "file", .wait = file_wait, .write = file_write, .read = file_read,
	.delay = file_delay, .consumed = file_consumed, .close = file_close,
};

static int open_output(struct file_dev *f, const char *path)
{
	uint8_t h[HEADER_BYTES];
	struct stat st;

	f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (f->fd < 0 || fstat(f->fd, &st) < 0)
		return -errno;
	f->regular = S_ISREG(st.st_mode);
	if (f->regular && pread(f->fd, h, sizeof(h), 0) == (ssize_t)sizeof(h) &&
	    same_form(&f->dev.cfg, h))
		f->data_bytes = ((uint64_t)st.st_size - HEADER_BYTES) /
				(f->dev.cfg.channels * 2) * (f->dev.cfg.channels * 2);
	else if (f->regular && ftruncate(f->fd, 0) < 0)
		return -errno;
	return write_header(f);
}

static int read_capture(struct file_dev *f, const char *path)
{
	QCLEAN(qfd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t h[HEADER_BYTES];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (read(fd, h, sizeof(h)) != (ssize_t)sizeof(h) || !same_form(&f->dev.cfg, h) ||
	    st.st_size - (off_t)HEADER_BYTES > (off_t)CAPTURE_BYTES_MAX)
		return -EINVAL;
	size_t bytes = (size_t)st.st_size - HEADER_BYTES;
	uint8_t *raw = malloc(bytes + 1);
	f->capture = malloc((bytes / 2 + 1) * sizeof(float));
	ssize_t got = raw && f->capture ? read(fd, raw, bytes) : -1;
	if (got >= 0) {
		f->capture_samples = (size_t)got / 2;
		mix_decode(VIRTIO_SND_PCM_FMT_S16, raw, f->capture_samples, f->capture);
	}
	free(raw);
	return got >= 0 ? 0 : -ENOMEM;
}

static int start(struct file_dev *f)
{
	f->ring_samples = f->dev.cfg.rate_hz * f->dev.cfg.channels * RING_SECONDS;
	f->ring = calloc(f->ring_samples, sizeof(float));
	f->clock = snd_null_new(&f->dev.cfg);
	if (!f->ring || !f->clock)
		return -ENOMEM;
	int r = pthread_create(&f->thread, NULL, writer, f);
	f->running = r == 0;
	return -r;
}

int snd_file_new(const struct snd_dev_cfg *cfg, const char *path, bool capture,
		 struct snd_dev **ret, char *why, size_t why_bytes)
{
	struct file_dev *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->dev = (struct snd_dev){ .ops = &file_ops, .cfg = *cfg };
	f->fd = -1;
	int r = capture ? read_capture(f, path) : open_output(f, path);
	if (r == 0 && !capture)
		r = start(f);
	if (r < 0) {
		snprintf(why, why_bytes, "%s: %s", path, r == -EINVAL ?
			 "expected a WAV file of 16 bits with the device's rate and channels" :
			 strerror(-r));
		file_close(&f->dev);
		return r;
	}
	*ret = &f->dev;
	return 0;
}
