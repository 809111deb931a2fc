/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which kind of sound device it is. Main thread.
 */
#include "qvm/snd.h"

#include <errno.h>

#include "vdevs/vdev.h"

int snd_open(struct vd_host *h, const struct vd_snd_cfg *cfg, struct cf_errors *errs,
	     struct vd_snd_pcm **ret)
{
	const struct vd_arg *a = cfg->hostdev;
	char why[200] = "is no sound device";
	int r = -EINVAL;
	const char *what;

	switch (vd_snd_form(a->text, &what)) {
	case VD_SND_ALSA:
		r = snd_alsa_open(h, cfg, what, why, sizeof(why), ret);
		break;
	case VD_SND_FILE:
		r = snd_file_open(h, cfg, what, why, sizeof(why), ret);
		break;
	default:
		break;
	}
	if (r < 0)
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col, "%s %s %s", a->opt->name,
			     a->text, why);
	return r;
}
