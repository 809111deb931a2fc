/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sound half of a policy: [sound NAME] is a device, [voice SYSTEM/NAME] what one guest may do
 * with it (docs/parley-policy.5). Read, checked and freed with the policy that it is part of. Main
 * thread.
 */
#pragma once

#include "lib/cferr.h"
#include "lib/qsnd.h"
#include "mediator/mix.h"

#define SND_DEVICES_MAX 8u
#define SND_ROLES_MAX 16u
#define SND_ROLES_DEFAULT "warning chime navigation phone media"

struct snd_device_policy {
	char *name;
	char *alsa, *alsa_capture;	/* PCMs of libasound */
	char *wav, *wav_capture;	/* files; neither: a null device */
	uint32_t rate_hz, channels, periods;
	uint64_t period_ns;
	uint32_t voices;	/* prepared at once; class safety is not counted */
	uint32_t headroom_db;	/* that the others stay below full scale while safety speaks */
	char *roles;		/* who speaks first, first */
	const char *file;
	unsigned line;
};

struct snd_voice_policy {
	char *name;		/* "SYSTEM/NAME" */
	char *device_name;
	unsigned device;	/* its index */
	enum sched_class class;
	char *role;
	uint32_t rank;		/* of the role on its device */
	enum mix_rule rule;
	uint32_t duck_db;
	uint64_t attack_ns, release_ns, hold_ns;
	uint32_t limit_db, attenuation_db;	/* below full scale: the least, and what is */
	bool muted;
	bool exclusive;
	uint32_t streams, inputs;	/* playback, capture */
	char *formats, *rates;		/* lists */
	uint64_t formats_mask, rates_mask;
	uint32_t channels;
	uint32_t period_min, period_max, buffer_max;	/* bytes; 0 = no limit */
	uint32_t fault_budget;
	uint64_t fault_window_ns;
	const char *file;
	unsigned line;
};

struct snd_policy {
	struct snd_device_policy *devices;
	size_t n_devices;
	struct snd_voice_policy *voices;
	size_t n_voices;
};

/* A new section with its defaults; NULL and *oom. @name is copied, @file borrowed. */
void *snd_policy_open_device(struct snd_policy *p, const char *name, const char *file,
			     unsigned line, bool *oom);
void *snd_policy_open_voice(struct snd_policy *p, const char *name, const char *file,
			    unsigned line, bool *oom);
/* Every rule that needs more than one key. */
void snd_policy_check(struct snd_policy *p, struct cf_errors *errs);
/* Paths start at the folder of the file that names them. 0 or -ENOMEM. */
int snd_policy_anchor(struct snd_policy *p);
void snd_policy_fini(struct snd_policy *p);
int snd_policy_device(const struct snd_policy *p, const char *name);	/* index, or -1 */
int snd_policy_voice(const struct snd_policy *p, const char *name);

uint32_t snd_policy_period_frames(const struct snd_device_policy *d);
/* What the mixer is to do with a stream of @v on @d. */
struct mix_voice_cfg snd_policy_mix(const struct snd_device_policy *d,
				    const struct snd_voice_policy *v);
float snd_policy_limit(const struct snd_device_policy *d);	/* of the lower voices */
/* The device that the guest of @v sees; playback streams come first. */
void snd_policy_dev(const struct snd_voice_policy *v, struct qsnd_dev *ret);
