/* SPDX-License-Identifier: Apache-2.0 */
/* The sound devices in the statistics, as tables and as JSON. Main thread. */
#include "hostctl/show_audio.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "lib/qtable.h"
#include "proto/qp_chan.h"

#define SILENT_PPM 1u

static void gain_cell(struct qtable *t, const Parley__VoiceStats *v)
{
	if (v->capture || !v->running)
		qtable_add(t, "-");
	else if (v->gain_ppm <= SILENT_PPM)
		qtable_add(t, "silent");
	else
		qtable_add(t, "%.1f %%", v->gain_ppm / 1e4);
}

/* Who is the reason of its gain; "" while it is heard in full, or not at all. */
static const char *by_of(const Parley__VoiceStats *v)
{
	return v->running && strcmp(v->why, "full") != 0 ? v->by : "";
}

static void ns_cell(struct qtable *t, uint64_t ns)
{
	char buf[QTABLE_UNIT_BYTES];

	qtable_add(t, "%s", qtable_ns(buf, ns));
}

void hc_print_voices(const Parley__MediatorStats *m, bool (*wanted)(const char *, const char *),
		     const char *only)
{
	static const char *const heads[] = {
		"VOICE", ">STREAM", "CLASS", "CLIENT", "STATE", ">GAIN", "WHY", "BY", ">FRAMES",
		">GAPS", ">XRUNS", ">REFUSED", ">FAULTS",
	};
	struct qtable t;

	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_voices; i++) {
		const Parley__VoiceStats *v = m->voices[i];

		if (!wanted(v->voice, only))
			continue;
		qtable_add(&t, "%s", v->voice);
		qtable_add(&t, "%" PRIu32 "%s", v->stream, v->capture ? " in" : "");
		qtable_add(&t, "%s", qp_class_str(v->class_));
		qtable_add(&t, "%s", v->quarantined ? "quarantined" :
			   v->connected ? "connected" : "-");
		qtable_add(&t, "%s", v->speaks ? "speaks" : v->running ? "runs" : "-");
		gain_cell(&t, v);
		qtable_add(&t, "%s", v->running && !v->capture ? v->why : "-");
		qtable_add(&t, "%s", *by_of(v) ? by_of(v) : "-");
		qtable_add(&t, "%" PRIu64, v->frames);
		qtable_add(&t, "%" PRIu64, v->gap_frames);
		qtable_add(&t, "%" PRIu64, v->xruns);
		qtable_add(&t, "%" PRIu64, v->refused);
		qtable_add(&t, "%" PRIu64, v->faults);
	}
	qtable_print(&t, stdout);
	qtable_fini(&t);
}

void hc_print_sounds(const Parley__MediatorStats *m)
{
	static const char *const heads[] = {
		"SOUND", "STATE", ">PERIOD", ">PERIODS", ">LATE", ">BUSY WORST", ">SAFETY HEARD",
		">BOUND", ">CUT", ">LIMITED", ">LOST", ">ALARMS",
	};
	struct qtable t;

	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_sounds; i++) {
		const Parley__SoundStats *s = m->sounds[i];

		qtable_add(&t, "%s", s->sound);
		qtable_add(&t, "%s", s->alarm ? "NOT HEARD" : s->device_lost ? "lost" : "plays");
		ns_cell(&t, s->period_ns);
		qtable_add(&t, "%" PRIu64, s->periods);
		qtable_add(&t, "%" PRIu64, s->late);
		ns_cell(&t, s->busy_max_ns);
		ns_cell(&t, s->heard_worst_ns);
		ns_cell(&t, s->heard_bound_ns);
		qtable_add(&t, "%" PRIu64, s->saturated);
		qtable_add(&t, "%" PRIu64, s->limited);
		qtable_add(&t, "%" PRIu64, s->lost);
		qtable_add(&t, "%" PRIu64, s->alarms);
	}
	qtable_print(&t, stdout);
	qtable_fini(&t);
}

json_t *hc_sound_json(const Parley__SoundStats *s)
{
	return json_pack("{s:s, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:I}",
			 "sound", s->sound, "device_lost", (int)s->device_lost, "alarm",
			 (int)s->alarm, "realtime", (int)s->realtime, "period_ns",
			 (json_int_t)s->period_ns, "periods", (json_int_t)s->periods, "late",
			 (json_int_t)s->late, "lost", (json_int_t)s->lost, "saturated",
			 (json_int_t)s->saturated, "limited", (json_int_t)s->limited, "alarms",
			 (json_int_t)s->alarms, "heard_worst_ns", (json_int_t)s->heard_worst_ns,
			 "heard_bound_ns", (json_int_t)s->heard_bound_ns, "busy_ns",
			 (json_int_t)s->busy_ns, "busy_max_ns", (json_int_t)s->busy_max_ns);
}

json_t *hc_voice_json(const Parley__VoiceStats *v)
{
	return json_pack("{s:s, s:s, s:I, s:s, s:b, s:b, s:b, s:b, s:b, s:I, s:s, s:s, s:I, s:I, "
			 "s:I, s:I, s:I, s:I, s:I}",
			 "voice", v->voice, "sound", v->sound, "stream", (json_int_t)v->stream,
			 "class", qp_class_str(v->class_), "capture", (int)v->capture, "connected",
			 (int)v->connected, "quarantined", (int)v->quarantined, "running",
			 (int)v->running, "speaks", (int)v->speaks, "gain_ppm",
			 (json_int_t)v->gain_ppm, "why", v->why, "by", by_of(v), "frames",
			 (json_int_t)v->frames, "gap_frames", (json_int_t)v->gap_frames, "xruns",
			 (json_int_t)v->xruns, "messages", (json_int_t)v->messages, "refused",
			 (json_int_t)v->refused, "faults", (json_int_t)v->faults, "throttled",
			 (json_int_t)v->throttled);
}
