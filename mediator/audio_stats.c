/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sound in the mediator's statistics. Main thread: everything it reads is atomic, or fixed since
 * the start. Strings are borrowed; each message is one allocation.
 */
#include "mediator/audio_stats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Parley__Class class_of(enum sched_class c)
{
	return c == SCHED_SAFETY ? PARLEY__CLASS__CLASS_SAFETY :
	       c == SCHED_NORMAL ? PARLEY__CLASS__CLASS_NORMAL :
				   PARLEY__CLASS__CLASS_BEST_EFFORT;
}

static Parley__SoundStats *sound_new(const struct snd_sound *s)
{
	const struct snd_engine_stats *st = &s->engine->stats;
	Parley__SoundStats *m = malloc(sizeof(*m));

	if (!m)
		return NULL;
	parley__sound_stats__init(m);
	m->sound = s->name;
	m->period_ns = (uint64_t)s->cfg.period_frames * Q_NSEC_PER_SEC / s->cfg.rate_hz;
	m->periods = st->periods;
	m->late = st->late;
	m->lost = st->lost;
	m->saturated = st->saturated;
	m->limited = st->limited;
	m->alarms = st->alarms;
	m->heard_worst_ns = st->heard_worst_ns;
	m->heard_bound_ns = st->heard_bound_ns;
	m->busy_ns = st->busy_ns;
	m->busy_max_ns = st->busy_max_ns;
	m->device_lost = st->device_lost;
	m->alarm = st->alarm;
	m->realtime = s->realtime;
	return m;
}

/* Who speaks above the stream: the name of his voice. */
static char *speaker(const struct snd_sound *s, int slot)
{
	return slot < 0 ? (char *)"" : s->voices[s->engine->slots[slot].share].name;
}

static Parley__VoiceStats *voice_new(const struct snd_sound *s, const struct snd_voice *v,
				     unsigned stream)
{
	const struct snd_slot *slot = &s->engine->slots[v->first_slot + stream];
	const struct snd_slot_stats *st = &slot->stats;
	Parley__VoiceStats *m = malloc(sizeof(*m));

	if (!m)
		return NULL;
	parley__voice_stats__init(m);
	m->voice = v->name;
	m->sound = s->name;
	m->class_ = class_of(v->class);
	m->connected = v->connected;
	m->quarantined = v->quarantined;
	m->stream = stream;
	m->capture = !slot->output;
	m->running = st->running;
	m->speaks = st->speaks;
	m->gain_ppm = st->gain_ppm;
	m->why = (char *)mix_why_str((enum mix_why)st->why);
	m->by = speaker(s, st->by);
	m->frames = st->frames;
	m->gap_frames = st->gap_frames;
	m->xruns = st->xruns;
	m->messages = st->messages;
	m->refused = st->refused + v->refused;
	m->faults = v->faults;
	m->throttled = v->throttled;
	return m;
}

static int add_sound(const struct snd_sound *s, const char *name, Parley__MediatorStats *to)
{
	Parley__SoundStats *m = sound_new(s);

	if (!m)
		return -ENOMEM;
	to->sounds[to->n_sounds++] = m;
	for (unsigned i = 0; i < s->n_voices; i++) {
		const struct snd_voice *v = &s->voices[i];

		for (unsigned k = 0; k < v->dev.n_streams; k++) {
			if (*name && strcmp(name, v->name) != 0)
				continue;
			Parley__VoiceStats *vm = voice_new(s, v, k);
			if (!vm)
				return -ENOMEM;
			to->voices[to->n_voices++] = vm;
		}
	}
	return 0;
}

int med_audio_stats_add(const struct med_audio *a, const char *name, Parley__MediatorStats *s)
{
	size_t n_voices = 0;
	int r = 0;

	for (size_t i = 0; i < a->n_sounds; i++)
		n_voices += a->sounds[i]->engine->n_slots;
	s->sounds = calloc(a->n_sounds + 1, sizeof(s->sounds[0]));
	s->voices = calloc(n_voices + 1, sizeof(s->voices[0]));
	if (!s->sounds || !s->voices)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < a->n_sounds; i++)
		r = add_sound(a->sounds[i], name, s);
	return r;
}

void med_audio_stats_drop(Parley__MediatorStats *s)
{
	for (size_t i = 0; i < s->n_sounds; i++)
		free(s->sounds[i]);
	for (size_t i = 0; i < s->n_voices; i++)
		free(s->voices[i]);
	free(s->sounds);
	free(s->voices);
	s->sounds = NULL;
	s->voices = NULL;
	s->n_sounds = s->n_voices = 0;
}

static void explain_stream(const struct snd_sound *s, const struct snd_voice *v, unsigned stream,
			   FILE *to)
{
	const struct snd_slot *slot = &s->engine->slots[v->first_slot + stream];
	const struct snd_slot_stats *st = &slot->stats;
	const char *by = speaker(s, st->by);

	fprintf(to, "stream %u (%s): ", stream, slot->output ? "playback" : "capture");
	if (!st->running)
		fputs("does not run", to);
	else if (!slot->output)
		fputs("records", to);
	else
		fprintf(to, "gain %u.%u %% of full scale, %s%s%s", st->gain_ppm / 10000,
			st->gain_ppm / 1000 % 10, mix_why_str((enum mix_why)st->why),
			*by ? ", because of " : "", by);
	fprintf(to, "; %llu frames, %llu gaps (%llu frames) that its guest was late for, %llu "
		    "messages refused\n",
		(unsigned long long)st->frames, (unsigned long long)st->xruns,
		(unsigned long long)st->gap_frames, (unsigned long long)st->refused);
}

static void explain_sound(const struct snd_sound *s, FILE *to)
{
	const struct snd_engine_stats *st = &s->engine->stats;

	fprintf(to, "sound %s: %llu periods, %llu late, %llu samples cut, %llu cut for the "
		    "headroom%s; safety is heard within %llu us, at worst it was %llu us\n",
		s->name, (unsigned long long)st->periods, (unsigned long long)st->late,
		(unsigned long long)st->saturated, (unsigned long long)st->limited,
		st->alarm ? ", SAFETY IS NOT HEARD" : st->device_lost ? ", the device is gone" : "",
		(unsigned long long)st->heard_bound_ns / 1000,
		(unsigned long long)st->heard_worst_ns / 1000);
}

bool med_audio_explain(const struct med_audio *a, const char *name, char *buf, size_t buf_bytes)
{
	FILE *to = fmemopen(buf, buf_bytes, "w");
	bool found = false;

	for (size_t i = 0; to && i < a->n_sounds; i++) {
		const struct snd_sound *s = a->sounds[i];

		for (unsigned k = 0; k < s->n_voices && !found; k++) {
			found = strcmp(s->voices[k].name, name) == 0;
			for (unsigned n = 0; found && n < s->voices[k].dev.n_streams; n++)
				explain_stream(s, &s->voices[k], n, to);
			if (found)
				explain_sound(s, to);
		}
	}
	if (to)
		(void)fclose(to);
	return found;
}
