/* SPDX-License-Identifier: Apache-2.0 */
/* All sound devices of a mediator, as its main thread has them. Main thread. */
#pragma once

#include "mediator/snd_sound.h"

struct med_audio {
	struct snd_sound *sounds[SND_DEVICES_MAX];
	size_t n_sounds;
	bool inject;		/* they may be made to fail; set before the start */
};

/*
 * Opens and starts every device of @policy. @listen_fds, one a voice, become the devices' (each -1
 * then). 0; -EINVAL and others with sentences in @errs, or without.
 */
int med_audio_start(struct med_audio *a, const struct snd_policy *policy,
		    const struct med_event_sink *sink, int *listen_fds, struct cf_errors *errs);
void med_audio_fini(struct med_audio *a);
/* Hands a checked policy over; it is not kept. */
void med_audio_change(struct med_audio *a, const struct snd_policy *policy);
void med_audio_reset_worst(struct med_audio *a);
/* What a policy promises, a line a device. */
void med_audio_promise(const struct snd_policy *policy, FILE *to);
