/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sound sections of a policy: their keys, their defaults, the rules between them, and what they
 * mean to the mixer and to the guest. Main thread. No state.
 */
#include "mediator/policy_audio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/policy_keys.h"

#define SND(field) offsetof(struct snd_device_policy, field)
#define VOI(field) offsetof(struct snd_voice_policy, field)
#define DB_MAX 96u
#define DB_DOWN 0.89125093813374556	/* 10 ** (-1 / 20) */
#define AS_LIMITED UINT32_MAX	/* until snd_policy_check() */

static const char *const rule_words[] = { "mix", "duck", "pause", "mute" };
static_assert(Q_ARRAY_LEN(rule_words) == MIX_RULES, "every rule has a word");

const struct policy_key policy_sound_keys[] = {
	{ "alsa", KEY_TEXT, SND(alsa), 0, 0, "a PCM of ALSA, such as hw:0", KEY_FIXED },
	{ "alsa-capture", KEY_TEXT, SND(alsa_capture), 0, 0, "a PCM of ALSA, such as hw:0",
	  KEY_FIXED },
	{ "file", KEY_TEXT, SND(wav), 0, 0, "a file to write", KEY_FIXED },
	{ "file-capture", KEY_TEXT, SND(wav_capture), 0, 0, "a WAV file", KEY_FIXED },
	{ "rate", KEY_U32, SND(rate_hz), 8000, 192000, "a number of Hz from 8000 to 192000",
	  KEY_FIXED },
	{ "channels", KEY_U32, SND(channels), 1, MIX_CHANNELS_MAX, "a number from 1 to 8",
	  KEY_FIXED },
	{ "period", KEY_TIME, SND(period_ns), Q_NSEC_PER_MSEC, 40 * Q_NSEC_PER_MSEC,
	  "a time from 1ms to 40ms, such as 5ms", KEY_FIXED },
	{ "periods", KEY_U32, SND(periods), 2, 16, "a number from 2 to 16", KEY_FIXED },
	{ "voices", KEY_U32, SND(voices), 1, MIX_VOICES_MAX, "a number from 1 to 256" },
	{ "headroom", KEY_U32, SND(headroom_db), 0, 40, "a number of dB from 0 to 40" },
	{ "roles", KEY_TEXT, SND(roles), 0, 0, "words, the first of which speaks first",
	  KEY_FIXED },
	{ NULL },
};

const struct policy_key policy_voice_keys[] = {
	{ "device", KEY_TEXT, VOI(device_name), 0, 0, "the name of a [sound NAME] section",
	  KEY_FIXED },
	{ "class", KEY_CLASS, VOI(class), 0, 0, "safety, normal or best-effort" },
	{ "role", KEY_TEXT, VOI(role), 0, 0, "one of the roles of its device" },
	{ "when-higher", KEY_WORD, VOI(rule), 0, MIX_RULES - 1, "mix, duck, pause or mute", 0,
	  rule_words },
	{ "duck", KEY_U32, VOI(duck_db), 0, DB_MAX, "a number of dB from 0 to 96" },
	{ "attack", KEY_TIME, VOI(attack_ns), 0, Q_NSEC_PER_SEC,
	  "a time from 0ms to 1s, such as 5ms" },
	{ "release", KEY_TIME, VOI(release_ns), 0, 10 * Q_NSEC_PER_SEC,
	  "a time from 0ms to 10s, such as 300ms" },
	{ "hold", KEY_TIME, VOI(hold_ns), 0, 10 * Q_NSEC_PER_SEC,
	  "a time from 0ms to 10s, such as 100ms" },
	{ "gain-limit", KEY_U32, VOI(limit_db), 0, DB_MAX, "a number of dB from 0 to 96" },
	{ "attenuation", KEY_U32, VOI(attenuation_db), 0, DB_MAX, "a number of dB from 0 to 96" },
	{ "muted", KEY_BOOL, VOI(muted), 0, 1, "yes or no" },
	{ "exclusive", KEY_BOOL, VOI(exclusive), 0, 1, "yes or no" },
	{ "streams", KEY_U32, VOI(streams), 0, QSND_ITEMS_MAX, "a number from 0 to 16",
	  KEY_FIXED },
	{ "capture", KEY_U32, VOI(inputs), 0, QSND_ITEMS_MAX, "a number from 0 to 16",
	  KEY_FIXED },
	{ "formats", KEY_TEXT, VOI(formats), 0, 0, "all, or some of s16,s24,s32,f32", KEY_FIXED },
	{ "rates", KEY_TEXT, VOI(rates), 0, 0, "all, or a list such as 44100,48000", KEY_FIXED },
	{ "channels", KEY_U32, VOI(channels), 1, QSND_CHANNELS_MAX, "a number from 1 to 8",
	  KEY_FIXED },
	{ "period-min", KEY_BYTES32, VOI(period_min), 1, 1 << 20, "a size from 1 to 1M",
	  KEY_FIXED },
	{ "period-max", KEY_BYTES32, VOI(period_max), 1, 1 << 20, "a size from 1 to 1M",
	  KEY_FIXED },
	{ "buffer-max", KEY_BYTES32, VOI(buffer_max), 1, 16 << 20,
	  "a size from 1 to 16M", KEY_FIXED },
	{ "fault-budget", KEY_U32, VOI(fault_budget), 1, 1000000, "a number from 1 to 1000000" },
	{ "fault-window", KEY_TIME, VOI(fault_window_ns), Q_NSEC_PER_MSEC, 86400 * Q_NSEC_PER_SEC,
	  "a time from 1ms to 86400s, such as 60s" },
	{ NULL },
};

/* ---- sections ---- */

static void *grow(void **array, size_t *n, size_t elem_bytes, bool *oom)
{
	char *v = reallocarray(*array, *n + 1, elem_bytes);

	if (!v) {
		*oom = true;
		return NULL;
	}
	*array = v;
	memset(v + *n * elem_bytes, 0, elem_bytes);
	return v + (*n)++ * elem_bytes;
}

void *snd_policy_open_device(struct snd_policy *p, const char *name, const char *file,
			     unsigned line, bool *oom)
{
	struct snd_device_policy *d = grow((void **)&p->devices, &p->n_devices, sizeof(*d), oom);

	if (!d)
		return NULL;
	*d = (struct snd_device_policy){
		.name = strdup(name), .rate_hz = 48000, .channels = 2, .periods = 2,
		.period_ns = 5 * Q_NSEC_PER_MSEC, .voices = 32, .headroom_db = 6,
		.roles = strdup(SND_ROLES_DEFAULT), .file = file, .line = line,
	};
	*oom |= !d->name || !d->roles;
	return d;
}

void *snd_policy_open_voice(struct snd_policy *p, const char *name, const char *file,
			    unsigned line, bool *oom)
{
	struct snd_voice_policy *v = grow((void **)&p->voices, &p->n_voices, sizeof(*v), oom);

	if (!v)
		return NULL;
	*v = (struct snd_voice_policy){
		.name = strdup(name), .class = SCHED_NORMAL, .rule = MIX_DUCK, .duck_db = 20,
		.attack_ns = 5 * Q_NSEC_PER_MSEC, .release_ns = 300 * Q_NSEC_PER_MSEC,
		.hold_ns = 100 * Q_NSEC_PER_MSEC, .streams = 1, .formats = strdup("all"),
		.rates = strdup("all"), .channels = 2, .attenuation_db = AS_LIMITED,
		.fault_budget = 16,
		.fault_window_ns = 60 * Q_NSEC_PER_SEC, .file = file, .line = line,
	};
	*oom |= !v->name || !v->formats || !v->rates;
	return v;
}

static int anchor(char **path, const char *file)
{
	const char *slash = strrchr(file, '/');
	char *joined;

	if (!*path || **path == '/' || !slash)
		return 0;
	if (asprintf(&joined, "%.*s/%s", (int)(slash - file), file, *path) < 0)
		return -ENOMEM;
	free(*path);
	*path = joined;
	return 0;
}

int snd_policy_anchor(struct snd_policy *p)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->n_devices; i++) {
		struct snd_device_policy *d = &p->devices[i];

		r = anchor(&d->wav, d->file);
		if (r == 0)
			r = anchor(&d->wav_capture, d->file);
	}
	return r;
}

void snd_policy_fini(struct snd_policy *p)
{
	for (size_t i = 0; i < p->n_devices; i++) {
		struct snd_device_policy *d = &p->devices[i];

		free(d->name);
		free(d->alsa);
		free(d->alsa_capture);
		free(d->wav);
		free(d->wav_capture);
		free(d->roles);
	}
	for (size_t i = 0; i < p->n_voices; i++) {
		struct snd_voice_policy *v = &p->voices[i];

		free(v->name);
		free(v->device_name);
		free(v->role);
		free(v->formats);
		free(v->rates);
	}
	free(p->devices);
	free(p->voices);
	*p = (struct snd_policy){ 0 };
}

int snd_policy_device(const struct snd_policy *p, const char *name)
{
	for (size_t i = 0; i < p->n_devices; i++)
		if (strcmp(p->devices[i].name, name) == 0)
			return (int)i;
	return -1;
}

int snd_policy_voice(const struct snd_policy *p, const char *name)
{
	for (size_t i = 0; i < p->n_voices; i++)
		if (strcmp(p->voices[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* ---- rules ---- */

/* The place of @role in @roles, -1: it is none of them. *ret_n: how many there are. */
static int role_rank(const char *roles, const char *role, unsigned *ret_n)
{
	int found = -1;
	unsigned n = 0;

	for (const char *at = roles + strspn(roles, " ,"); *at; n++) {
		size_t len = strcspn(at, " ,");

		if (role && found < 0 && strlen(role) == len && strncmp(at, role, len) == 0)
			found = (int)n;
		at += len;
		at += strspn(at, " ,");
	}
	*ret_n = n;
	return found;
}

static void check_device(const struct snd_policy *p, size_t i, struct cf_errors *errs)
{
	const struct snd_device_policy *d = &p->devices[i];
	unsigned n_roles;

	if (snd_policy_device(p, d->name) != (int)i)
		cf_error_add(errs, CF_ERROR, d->file, d->line, 0, "sound '%s' is there twice",
			     d->name);
	if ((d->alsa || d->alsa_capture) && (d->wav || d->wav_capture))
		cf_error_add(errs, CF_ERROR, d->file, d->line, 0,
			     "sound '%s': expected alsa = PCM or file = FILE, or neither, and not "
			     "both",
			     d->name);
	role_rank(d->roles, NULL, &n_roles);
	if (n_roles == 0 || n_roles > SND_ROLES_MAX)
		cf_error_add(errs, CF_ERROR, d->file, d->line, 0,
			     "sound '%s': %u roles; expected from 1 to %u", d->name, n_roles,
			     SND_ROLES_MAX);
	if (snd_policy_period_frames(d) > MIX_PERIOD_FRAMES_MAX)
		cf_error_add(errs, CF_ERROR, d->file, d->line, 0,
			     "sound '%s': a period of %u frames; expected at most %u", d->name,
			     snd_policy_period_frames(d), MIX_PERIOD_FRAMES_MAX);
}

/* The device and the role that @v names. */
static void find_device(struct snd_policy *p, struct snd_voice_policy *v, struct cf_errors *errs)
{
	int device = v->device_name ? snd_policy_device(p, v->device_name) : -1;
	unsigned n_roles;

	v->device = device < 0 ? UINT32_MAX : (unsigned)device;
	if (device < 0) {
		cf_error_add(errs, CF_ERROR, v->file, v->line, 0,
			     "voice '%s': there is no [sound %s]; expected device = NAME of one",
			     v->name, v->device_name ? v->device_name : "…");
		return;
	}
	const char *roles = p->devices[device].roles;
	int rank = role_rank(roles, v->role, &n_roles);
	if (v->role && rank < 0)
		cf_error_add(errs, CF_ERROR, v->file, v->line, 0,
			     "voice '%s': role '%s' is none of its device's: %s", v->name, v->role,
			     roles);
	v->rank = rank < 0 ? n_roles : (uint32_t)rank;
}

static void check_voice(struct snd_policy *p, size_t i, struct cf_errors *errs)
{
	struct snd_voice_policy *v = &p->voices[i];

	if (snd_policy_voice(p, v->name) != (int)i)
		cf_error_add(errs, CF_ERROR, v->file, v->line, 0, "voice '%s' is there twice",
			     v->name);
	if (!strchr(v->name, '/') || strlen(v->name) > 64)
		cf_error_add(errs, CF_ERROR, v->file, v->line, 0,
			     "'%s': expected SYSTEM/NAME, at most 64 characters", v->name);
	find_device(p, v, errs);
	if (!qsnd_formats_parse(v->formats, &v->formats_mask))
		cf_error_add(errs, CF_ERROR, v->file, v->line, 0,
			     "voice '%s': formats = %s: expected all, or some of s16,s24,s32,f32",
			     v->name, v->formats);
	if (!qsnd_rates_parse(v->rates, &v->rates_mask))
		cf_error_add(errs, CF_ERROR, v->file, v->line, 0,
			     "voice '%s': rates = %s: expected all, or rates of virtio sound, "
			     "such as 44100,48000",
			     v->name, v->rates);
	if (v->attenuation_db == AS_LIMITED)
		v->attenuation_db = v->limit_db;
	if (v->attenuation_db < v->limit_db)
		cf_error_add(errs, CF_ERROR, v->file, v->line, 0,
			     "voice '%s': an attenuation of %u dB is louder than its gain-limit of "
			     "%u dB allows",
			     v->name, v->attenuation_db, v->limit_db);
	if (v->streams + v->inputs == 0 || v->streams + v->inputs > QSND_ITEMS_MAX)
		cf_error_add(errs, CF_ERROR, v->file, v->line, 0,
			     "voice '%s': %u streams and %u of capture; expected from 1 to %u in "
			     "all",
			     v->name, v->streams, v->inputs, QSND_ITEMS_MAX);
	if (v->class == SCHED_SAFETY && v->muted)
		cf_error_add(errs, CF_ERROR, v->file, v->line, 0,
			     "voice '%s' is of class safety: it cannot be muted", v->name);
}

static void check_count(const struct snd_policy *p, struct cf_errors *errs)
{
	for (size_t i = 0; i < p->n_devices; i++) {
		const struct snd_device_policy *d = &p->devices[i];
		uint32_t n = 0;

		for (size_t k = 0; k < p->n_voices; k++)
			if (p->voices[k].device == i)
				n += p->voices[k].streams + p->voices[k].inputs;
		if (n > MIX_VOICES_MAX)
			cf_error_add(errs, CF_ERROR, d->file, d->line, 0,
				     "sound '%s': its voices have %u streams; expected at most %u",
				     d->name, n, MIX_VOICES_MAX);
	}
	if (p->n_devices > SND_DEVICES_MAX)
		cf_error_add(errs, CF_ERROR, p->devices[SND_DEVICES_MAX].file,
			     p->devices[SND_DEVICES_MAX].line, 0,
			     "%zu sound devices: one mediator serves at most %u", p->n_devices,
			     SND_DEVICES_MAX);
}

void snd_policy_check(struct snd_policy *p, struct cf_errors *errs)
{
	for (size_t i = 0; i < p->n_devices; i++)
		check_device(p, i, errs);
	for (size_t i = 0; i < p->n_voices; i++)
		check_voice(p, i, errs);
	check_count(p, errs);
}

/* ---- meaning ---- */

static float factor(uint32_t db_down)
{
	double f = 1;

	for (; db_down > 0; db_down--)
		f *= DB_DOWN;
	return (float)f;
}

uint32_t snd_policy_period_frames(const struct snd_device_policy *d)
{
	return (uint32_t)((d->period_ns * d->rate_hz + Q_NSEC_PER_SEC / 2) / Q_NSEC_PER_SEC);
}

static uint32_t frames(const struct snd_device_policy *d, uint64_t ns)
{
	return (uint32_t)(ns * d->rate_hz / Q_NSEC_PER_SEC);
}

struct mix_voice_cfg snd_policy_mix(const struct snd_device_policy *d,
				    const struct snd_voice_policy *v)
{
	return (struct mix_voice_cfg){
		.class = v->class, .rank = v->rank, .rule = v->rule, .duck = factor(v->duck_db),
		.attack_frames = frames(d, v->attack_ns),
		.release_frames = frames(d, v->release_ns),
		.hold_frames = frames(d, v->hold_ns),
		.gain = factor(Q_MAX(v->attenuation_db, v->limit_db)), .muted = v->muted,
	};
}

float snd_policy_limit(const struct snd_device_policy *d)
{
	return factor(d->headroom_db);
}

void snd_policy_dev(const struct snd_voice_policy *v, struct qsnd_dev *ret)
{
	struct qsnd_stream_desc s = {
		.channels_min = 1, .channels_max = (uint8_t)v->channels,
		.features = 1u << VIRTIO_SND_PCM_F_EVT_XRUNS, .formats = v->formats_mask,
		.rates = v->rates_mask, .period_bytes_min = v->period_min,
		.period_bytes_max = v->period_max, .buffer_bytes_max = v->buffer_max,
	};

	*ret = (struct qsnd_dev){ 0 };
	for (uint32_t i = 0; i < v->streams + v->inputs; i++) {
		bool out = i < v->streams;

		s.direction = out ? VIRTIO_SND_D_OUTPUT : VIRTIO_SND_D_INPUT;
		s.nid = out ? i : i - v->streams;
		(void)qsnd_dev_add(ret, &s);
	}
}
