/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sound devices that need no host: null, whose clock is the host's time; and what `hostdev`
 * says. Under the vdev's lock.
 *
 * Invariant of a clock: moved never passes what the clock shows, and the clock never goes back.
 */
#include "vdevs/vdsnd.h"

#include <stdlib.h>
#include <string.h>

#include "vdevs/vdhost.h"

/* ---- clock ---- */

/* Whole seconds apart, so that nothing overflows in any time a machine is up. */
static uint64_t frames_in(uint64_t ns, uint32_t rate_hz)
{
	return ns / Q_NSEC_PER_SEC * rate_hz + ns % Q_NSEC_PER_SEC * rate_hz / Q_NSEC_PER_SEC;
}

static uint64_t shown(const struct vd_snd_clock *c, uint64_t now_ns)
{
	return c->base + (c->runs ? frames_in(now_ns - c->since_ns, c->rate_hz) : 0);
}

void vd_snd_clock_begin(struct vd_snd_clock *c, uint32_t rate_hz)
{
	*c = (struct vd_snd_clock){ .rate_hz = rate_hz };
}

void vd_snd_clock_run(struct vd_snd_clock *c, bool on, uint64_t now_ns)
{
	c->base = shown(c, now_ns);
	c->since_ns = now_ns;
	c->runs = on;
}

uint64_t vd_snd_clock_room(const struct vd_snd_clock *c, uint64_t now_ns)
{
	return shown(c, now_ns) - c->moved;
}

/* ---- null ---- */

struct null_pcm {
	struct vd_snd_pcm pcm;
	struct vd_snd_clock clock;
	uint32_t frame_bytes;
};

static struct null_pcm *null_of(struct vd_snd_pcm *p)
{
	return Q_CONTAINER_OF(p, struct null_pcm, pcm);
}

static int null_begin(struct vd_snd_pcm *p, const struct qsnd_params *params)
{
	vd_snd_clock_begin(&null_of(p)->clock, params->rate_hz);
	null_of(p)->frame_bytes = params->frame_bytes;
	return 0;
}

static int null_run(struct vd_snd_pcm *p, bool on)
{
	vd_snd_clock_run(&null_of(p)->clock, on, p->host->ops->now(p->host));
	return 0;
}

static int64_t null_room(struct vd_snd_pcm *p)
{
	return (int64_t)vd_snd_clock_room(&null_of(p)->clock, p->host->ops->now(p->host));
}

static int null_write(struct vd_snd_pcm *p, const void *buf, uint32_t n)
{
	null_of(p)->clock.moved += n;
	return 0;
}

static int null_read(struct vd_snd_pcm *p, void *buf, uint32_t n)
{
	memset(buf, 0, (size_t)n * null_of(p)->frame_bytes);
	null_of(p)->clock.moved += n;
	return 0;
}

static uint64_t null_delay(struct vd_snd_pcm *p)
{
	return 0;
}

static void null_gap(struct vd_snd_pcm *p)
{
	null_of(p)->clock.moved += (uint64_t)null_room(p);
}

static void null_end(struct vd_snd_pcm *p)
{
	null_of(p)->clock.runs = false;
}

static void null_close(struct vd_snd_pcm *p)
{
	free(null_of(p));
}

static const struct vd_snd_ops null_ops = {
	.begin = null_begin,
	.run = null_run,
	.room = null_room,
	.write = null_write,
	.read = null_read,
	.delay = null_delay,
	.gap = null_gap,
	.end = null_end,
	.close = null_close,
};

struct vd_snd_pcm *vd_snd_null(struct vd_host *h)
{
	struct null_pcm *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->pcm = (struct vd_snd_pcm){ .ops = &null_ops, .host = h, .formats = QSND_FORMATS,
				      .rates = QSND_RATES, .channels_min = 1,
				      .channels_max = QSND_CHANNELS_MAX };
	return &n->pcm;
}

/* ---- hostdev ---- */

enum vd_snd_form vd_snd_form(const char *text, const char **ret_rest)
{
	static const struct { const char *prefix; enum vd_snd_form form; } forms[] = {
		{ "mediator:", VD_SND_BACKEND }, { "vhost-user:", VD_SND_BACKEND },
		{ "alsa:", VD_SND_ALSA },	 { "file:", VD_SND_FILE },
	};

	for (unsigned i = 0; i < Q_ARRAY_LEN(forms); i++) {
		size_t len = strlen(forms[i].prefix);

		if (strncmp(text, forms[i].prefix, len) != 0)
			continue;
		*ret_rest = text + len;
		return text[len] ? forms[i].form : VD_SND_UNKNOWN;
	}
	*ret_rest = text;
	return strcmp(text, "null") ? VD_SND_UNKNOWN : VD_SND_NULL;
}
