/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the sound devices from the main thread's side (audio.h). No thread of its own. */
#include "mediator/audio.h"

#include <errno.h>

#include "lib/qlog.h"

static int add_voices(struct med_audio *a, const struct snd_policy *policy, int *listen_fds)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < policy->n_voices; i++) {
		int fd = listen_fds[i];

		listen_fds[i] = -1;
		r = snd_sound_add(a->sounds[policy->voices[i].device], policy, i, fd);
	}
	return r;
}

int med_audio_start(struct med_audio *a, const struct snd_policy *policy,
		    const struct med_event_sink *sink, int *listen_fds, struct cf_errors *errs)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < policy->n_devices; i++) {
		r = snd_sound_new(policy, i, a->inject, sink, errs, &a->sounds[i]);
		a->n_sounds += r == 0;
	}
	r = r < 0 ? r : add_voices(a, policy, listen_fds);
	for (size_t i = 0; r == 0 && i < a->n_sounds; i++)
		r = snd_sound_start(a->sounds[i]);
	return r;
}

void med_audio_fini(struct med_audio *a)
{
	while (a->n_sounds > 0) {
		a->n_sounds--;
		a->sounds[a->n_sounds] = snd_sound_free(a->sounds[a->n_sounds]);
	}
}

void med_audio_change(struct med_audio *a, const struct snd_policy *policy)
{
	for (size_t i = 0; i < a->n_sounds; i++)
		if (snd_sound_change(a->sounds[i], policy) < 0)
			qlog_errno(QLOG_ERROR, ENOMEM, "ev=sound_not_changed sound=%s",
				   a->sounds[i]->name);
}

void med_audio_reset_worst(struct med_audio *a)
{
	for (size_t i = 0; i < a->n_sounds; i++)
		snd_sound_reset_worst(a->sounds[i]);
}

void med_audio_promise(const struct snd_policy *policy, FILE *to)
{
	for (size_t i = 0; i < policy->n_devices; i++) {
		const struct snd_device_policy *d = &policy->devices[i];
		uint32_t period = snd_policy_period_frames(d);
		unsigned n = 0;

		for (size_t k = 0; k < policy->n_voices; k++)
			n += policy->voices[k].device == i;
		fprintf(to, "sound %s: %u voices, a period of %u frames at %u Hz, safety is heard "
			    "within %llu us\n",
			d->name, n, period, d->rate_hz,
			(unsigned long long)period * (1 + d->periods) * 1000000 / d->rate_hz);
	}
}
