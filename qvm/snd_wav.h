/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WAV files: RIFF with PCM of 16, 24 (packed) or 32 bits or IEEE float, up to QSND_CHANNELS_MAX
 * channels. The writer's file can be read at any time: its header is made true again and again. A
 * file that was given to us is checked. No thread of its own.
 */
#pragma once

#include "lib/qsnd.h"

struct snd_wav {
	int fd;			/* owned; -1 = none */
	uint8_t format, channels;	/* VIRTIO_SND_PCM_FMT_* */
	uint32_t rate_hz;
	uint32_t data_bytes;	/* in the file */
	uint32_t said_bytes;	/* as the header says */
	uint64_t data_off;
	uint64_t at_bytes;	/* reader */
};
#define SND_WAV_NULL ((struct snd_wav){ .fd = -1 })

/* Makes @path, or empties it. 0 or -errno. */
int snd_wav_create(struct snd_wav *w, const char *path, const struct qsnd_params *p);
/* Appends @n frames as a guest has them (S24 in 32 bits); @buf NULL: silence. 0; -EFBIG: the file
 * can have no more; -errno. */
int snd_wav_write(struct snd_wav *w, const void *buf, uint32_t n);
/* Makes the header true. 0 or -errno. */
int snd_wav_sync(struct snd_wav *w);
/* 0; -EINVAL: no WAV of such samples; -errno. */
int snd_wav_open(struct snd_wav *w, const char *path);
/* The next @n frames; silence behind the end. 0 or -errno. */
int snd_wav_read(struct snd_wav *w, void *buf, uint32_t n);
void snd_wav_close(struct snd_wav *w);
