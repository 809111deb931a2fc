/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sound devices of a virtio-snd of its own (vdevs/vdsnd.h): a PCM of ALSA (snd_alsa.c) or a
 * WAV file (snd_file.c, snd_wav.c). Opened and closed on the main thread; then their ops with the
 * vdev's lock held.
 */
#pragma once

#include "vdevs/vdhost.h"

/* 0, or -errno with a sentence in @errs. */
int snd_open(struct vd_host *h, const struct vd_snd_cfg *cfg, struct cf_errors *errs,
	     struct vd_snd_pcm **ret);

/* The two kinds; @what is behind the colon. 0, or -errno with the rest of a sentence in @why. */
int snd_alsa_open(struct vd_host *h, const struct vd_snd_cfg *cfg, const char *what, char *why,
		  size_t why_bytes, struct vd_snd_pcm **ret);
int snd_file_open(struct vd_host *h, const struct vd_snd_cfg *cfg, const char *what, char *why,
		  size_t why_bytes, struct vd_snd_pcm **ret);
/* libasound is there from now on (snd_late.c). 0; -ENOENT: not installed; -ENOSYS: too old. */
int snd_alsa_late(void);
