/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sound plays on, or what it records from, by its name: opened, and looked for again when it
 * is gone. Ordinary threads, one at a time: the main one until the sound starts, its session's
 * then.
 */
#pragma once

#include "mediator/snd_inject.h"

struct snd_seek {
	struct snd_dev_cfg cfg;
	bool capture;
	char *alsa, *wav;	/* owned; neither: a clock plays, nothing records */
	const struct snd_inject *inject;	/* borrowed: what fails on purpose, or NULL */
	bool seeking;
	uint64_t next_ns;	/* when it is looked for again, while it is */
	uint64_t rest_ns;	/* and how long after that */
	uint64_t found_ns;
};

/* Copies the names. 0 or -ENOMEM. */
int snd_seek_init(struct snd_seek *k, const struct snd_dev_cfg *cfg, const char *alsa,
		  const char *wav, bool capture);
void snd_seek_fini(struct snd_seek *k);
/* 0, or -errno with a sentence in @why. *ret is NULL where nothing records. */
int snd_seek_open(const struct snd_seek *k, struct snd_dev **ret, char *why, size_t why_bytes);
/* It is gone: looked for from now on, soon at first and rarely when it does not stay. */
void snd_seek_gone(struct snd_seek *k, uint64_t now_ns);
/* NULL: it is not looked for, not now, or it is not there. */
struct snd_dev *snd_seek_look(struct snd_seek *k, uint64_t now_ns);
void snd_seek_found(struct snd_seek *k, uint64_t now_ns);
/* When snd_seek_look() has something to do; 0 = never. */
uint64_t snd_seek_deadline_ns(const struct snd_seek *k);
