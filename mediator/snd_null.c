/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock of a device that has none, and the device that is nothing but that clock. The n-th
 * deadline comes from n in whole frames: 24 hours at any rate end on the nanosecond.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "mediator/snd_dev.h"

void snd_clock_init(struct snd_clock *c, const struct snd_dev_cfg *cfg, uint64_t now_ns)
{
	*c = (struct snd_clock){ .start_ns = now_ns, .rate_hz = cfg->rate_hz,
				 .period_frames = cfg->period_frames };
}

uint64_t snd_clock_at(const struct snd_clock *c, uint64_t n)
{
	uint64_t frames = n * c->period_frames;

	/* Whole seconds apart: no product leaves 64 bits. */
	return c->start_ns + frames / c->rate_hz * Q_NSEC_PER_SEC +
	       frames % c->rate_hz * Q_NSEC_PER_SEC / c->rate_hz;
}

uint64_t snd_clock_next(struct snd_clock *c, uint64_t now_ns, uint32_t slack, bool *ret_late)
{
	*ret_late = now_ns > snd_clock_at(c, c->n + 1 + slack);
	if (*ret_late) {
		c->start_ns = now_ns;
		c->n = 0;
		return now_ns;
	}
	return snd_clock_at(c, ++c->n);
}

struct null_dev {
	struct snd_dev dev;
	struct snd_clock clock;
	uint64_t written, done;	/* periods */
};

static int null_wait(struct snd_dev *d)
{
	struct null_dev *n = Q_CONTAINER_OF(d, struct null_dev, dev);
	bool late;
	uint64_t at = snd_clock_next(&n->clock, qnow_ns(), d->cfg.periods, &late);
	struct timespec until = { .tv_sec = (time_t)(at / Q_NSEC_PER_SEC),
				  .tv_nsec = (long)(at % Q_NSEC_PER_SEC) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
	n->done = n->written;
	return late ? -EPIPE : 0;
}

static int null_write(struct snd_dev *d, const float *frames)
{
	Q_CONTAINER_OF(d, struct null_dev, dev)->written++;
	return 0;
}

static uint32_t null_delay(struct snd_dev *d)
{
	return 0;
}

static uint64_t null_consumed(struct snd_dev *d)
{
	return Q_CONTAINER_OF(d, struct null_dev, dev)->done * d->cfg.period_frames;
}

static void null_close(struct snd_dev *d)
{
	free(Q_CONTAINER_OF(d, struct null_dev, dev));
}

static const struct snd_dev_ops null_ops = {
	.name = "null", .wait = null_wait, .write = null_write,
	.delay = null_delay, .consumed = null_consumed, .close = null_close,
};

struct snd_dev *snd_null_new(const struct snd_dev_cfg *cfg)
{
	struct null_dev *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->dev = (struct snd_dev){ .ops = &null_ops, .cfg = *cfg };
	snd_clock_init(&n->clock, cfg, qnow_ns());
	return &n->dev;
}
