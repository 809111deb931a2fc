/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a sound's device, and looking for one that is gone (snd_seek.h). Opening may take its
 * time: never on the real-time thread.
 *
 * A device that comes back and is gone again at once is looked for after twice the time, so that
 * one that only blinks does not fill the log. Invariant: next_ns is meant while seeking, and not
 * else.
 */
#include "mediator/snd_seek.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REST_MIN_NS (500 * Q_NSEC_PER_MSEC)
#define REST_MAX_NS (8 * Q_NSEC_PER_SEC)

static bool copy_text(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return !from || *to;
}

int snd_seek_init(struct snd_seek *k, const struct snd_dev_cfg *cfg, const char *alsa,
		  const char *wav, bool capture)
{
	*k = (struct snd_seek){ .cfg = *cfg, .capture = capture, .rest_ns = REST_MIN_NS };
	return copy_text(&k->alsa, alsa) && copy_text(&k->wav, wav) ? 0 : -ENOMEM;
}

void snd_seek_fini(struct snd_seek *k)
{
	free(k->alsa);
	free(k->wav);
	k->alsa = k->wav = NULL;
}

static int open_real(const struct snd_seek *k, struct snd_dev **ret, char *why, size_t why_bytes)
{
	if (k->alsa)
		return snd_alsa_new(&k->cfg, k->alsa, k->capture, ret, why, why_bytes);
	if (k->wav)
		return snd_file_new(&k->cfg, k->wav, k->capture, ret, why, why_bytes);
	*ret = k->capture ? NULL : snd_null_new(&k->cfg);
	return *ret || k->capture ? 0 : -ENOMEM;
}

int snd_seek_open(const struct snd_seek *k, struct snd_dev **ret, char *why, size_t why_bytes)
{
	struct snd_dev *dev;

	if (k->inject && snd_inject_holds(k->inject, SND_INJECT_GONE))
		return -ENODEV;
	int r = open_real(k, &dev, why, why_bytes);
	if (r < 0)
		return r;
	if (dev && k->inject && snd_inject_wrap(k->inject, &dev) < 0) {
		dev->ops->close(dev);
		return -ENOMEM;
	}
	*ret = dev;
	return 0;
}

void snd_seek_gone(struct snd_seek *k, uint64_t now_ns)
{
	bool stayed = now_ns - k->found_ns > REST_MAX_NS;

	k->rest_ns = stayed ? REST_MIN_NS : Q_MIN(2 * k->rest_ns, REST_MAX_NS);
	k->next_ns = now_ns + k->rest_ns;
	k->seeking = true;
}

struct snd_dev *snd_seek_look(struct snd_seek *k, uint64_t now_ns)
{
	struct snd_dev *dev = NULL;
	char why[128];

	if (!k->seeking || now_ns < k->next_ns)
		return NULL;
	k->next_ns = now_ns + k->rest_ns;
	return snd_seek_open(k, &dev, why, sizeof(why)) < 0 ? NULL : dev;
}

void snd_seek_found(struct snd_seek *k, uint64_t now_ns)
{
	k->seeking = false;
	k->found_ns = now_ns;
}

uint64_t snd_seek_deadline_ns(const struct snd_seek *k)
{
	return k->seeking ? k->next_ns : 0;
}
