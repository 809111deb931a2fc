/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prometheus' text. A metric is a row: its name, its type, its help, the field that it shows; a
 * family's rows are written one after another, each with all its samples behind it, as the format
 * wants it. Pure, any thread.
 *
 * Invariant: names are letters, digits and '_', counters end in _total, times are seconds; a label
 * is escaped, whatever a VM or a share is called.
 */
#include "metrics/prom.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/qp_chan.h"

enum kind {
	U32, U64, BOOL,
	NS,		/* uint64_t in nanoseconds, shown in seconds */
	PPM,		/* uint32_t in millionths, shown as a ratio */
};

struct row {
	const char *name, *help;
	bool counter;		/* else a gauge */
	enum kind kind;
	size_t offset;
	size_t latency;		/* of a Latency * in which @offset is, 0: there is none */
};

#define SHARE(f) offsetof(Parley__ShareStats, f)
#define LATENCY(f) offsetof(Parley__Latency, f)
#define DEVICE(f) offsetof(Parley__DeviceStats, f)
#define SOUND(f) offsetof(Parley__SoundStats, f)
#define VOICE(f) offsetof(Parley__VoiceStats, f)

static const struct row share_rows[] = {
	{ "connected", "1 while a client is connected", false, BOOL, SHARE(connected) },
	{ "quarantined", "1 while it is refused for its faults", false, BOOL, SHARE(quarantined) },
	{ "reads_total", "Reads that were done", true, U64, SHARE(read_ops) },
	{ "read_bytes_total", "Bytes that were read", true, U64, SHARE(read_bytes) },
	{ "writes_total", "Writes that were done", true, U64, SHARE(write_ops) },
	{ "written_bytes_total", "Bytes that were written", true, U64, SHARE(write_bytes) },
	{ "flushes_total", "Flushes that were done", true, U64, SHARE(flush_ops) },
	{ "errors_total", "I/O errors given to the guest", true, U64, SHARE(errors) },
	{ "faults_total", "Times that the client broke the protocol", true, U64, SHARE(faults) },
	{ "queued", "Requests waiting in the scheduler", false, U32, SHARE(queued) },
	{ "in_flight", "Requests at the device", false, U32, SHARE(in_flight) },
	{ "latency_count_total", "Requests whose latency was measured", true, U64, LATENCY(n),
	  SHARE(latency) },
	{ "latency_p50_seconds", "Half of the requests took no longer", false, NS,
	  LATENCY(p50_ns), SHARE(latency) },
	{ "latency_p99_seconds", "99 of 100 requests took no longer", false, NS, LATENCY(p99_ns),
	  SHARE(latency) },
	{ "latency_p999_seconds", "999 of 1000 requests took no longer", false, NS,
	  LATENCY(p999_ns), SHARE(latency) },
	{ "latency_worst_seconds", "No request took longer", false, NS, LATENCY(max_ns),
	  SHARE(latency) },
	{ "wait_worst_seconds", "No request waited longer for the device", false, NS,
	  LATENCY(max_ns), SHARE(wait) },
	{ "bound_seconds", "What is promised of the worst latency; 0: nothing", false, NS,
	  SHARE(bound_ns) },
	{ "bound_violations_total", "Requests that took longer than was promised", true, U64,
	  SHARE(bound_violations) },
	{ "target_seconds", "What a promised request may take; 0: none is", false, NS,
	  SHARE(target_ns) },
	{ "missed_total", "Promised requests that took longer than the target", true, U64,
	  SHARE(missed) },
	{ "throttled_total", "Requests that waited for the cap of their class", true, U64,
	  SHARE(throttled) },
	{ "limited_total", "Requests that waited for a limit of their share", true, U64,
	  SHARE(limited) },
	{ "signals_total", "Interrupts that were asked for", true, U64, SHARE(signals) },
	{ "cpu_seconds_total", "Time spent on taking and checking requests", true, NS,
	  SHARE(cpu_ns) },
	{ "cpu_waits_total", "Rounds in which requests waited for the CPU budget", true, U64,
	  SHARE(cpu_waits) },
	{ NULL },
};

static const struct row device_rows[] = {
	{ "slots", "Requests that it takes at a time", false, U32, DEVICE(slots) },
	{ "reserve", "Slots kept for class safety", false, U32, DEVICE(reserve) },
	{ "lower_cap", "Lower-class requests allowed at it now", false, U32, DEVICE(lower_cap) },
	{ "in_flight", "Requests at it", false, U32, DEVICE(in_flight) },
	{ "service_p99_seconds", "99 of 100 requests were served in that time", false, NS,
	  LATENCY(p99_ns), DEVICE(service) },
	{ "service_worst_seconds", "No request was served slower", false, NS, LATENCY(max_ns),
	  DEVICE(service) },
	{ "priorities", "1 while classes are told apart", false, BOOL, DEVICE(priorities) },
	{ "io_inline_total", "I/Os done at once, by the page cache", true, U64, DEVICE(io_inline) },
	{ "io_fixed_total", "I/Os with a registered buffer", true, U64, DEVICE(io_fixed) },
	{ "io_plain_total", "I/Os without one", true, U64, DEVICE(io_plain) },
	{ "io_bounced_total", "I/Os by a buffer of the mediator's", true, U64,
	  DEVICE(io_bounced) },
	{ "rounds_total", "Rounds of its thread", true, U64, DEVICE(rounds) },
	{ "enters_total", "System calls of its ring", true, U64, DEVICE(enters) },
	{ "looks_total", "Looks for work before sleeping", true, U64, DEVICE(looks) },
	{ "look_seconds_total", "Time of these looks", true, NS, DEVICE(look_ns) },
	{ "look_vain_seconds_total", "Time of those of which nothing came", true, NS,
	  DEVICE(look_vain_ns) },
	{ "pinned_bytes", "Guest memory registered with its ring", false, U64,
	  DEVICE(pinned_bytes) },
	{ "pin_failures_total", "Pieces that could not be registered", true, U64,
	  DEVICE(pin_failures) },
	{ "last_round_age_seconds", "Since its thread last looked for work", false, NS,
	  DEVICE(last_round_age_ns) },
	{ "ladder_step", "0 free, 1 throttle, 2 pause, 3 freeze", false, U32,
	  DEVICE(ladder_step) },
	{ "ladder_ups_total", "Steps up the ladder", true, U64, DEVICE(ladder_ups) },
	{ NULL },
};

static const struct row sound_rows[] = {
	{ "lost", "1 while a clock stands in for it", false, BOOL, SOUND(device_lost) },
	{ "alarm", "1 while the safety stream does not get out", false, BOOL, SOUND(alarm) },
	{ "realtime", "1 when its thread has a real-time priority", false, BOOL, SOUND(realtime) },
	{ "period_seconds", "Length of a period", false, NS, SOUND(period_ns) },
	{ "periods_total", "Periods that were played", true, U64, SOUND(periods) },
	{ "late_total", "Periods in which it had run empty", true, U64, SOUND(late) },
	{ "losses_total", "Times that it vanished", true, U64, SOUND(lost) },
	{ "saturated_total", "Samples that were cut", true, U64, SOUND(saturated) },
	{ "limited_total", "Samples cut to keep the headroom", true, U64, SOUND(limited) },
	{ "alarms_total", "Alarms so far", true, U64, SOUND(alarms) },
	{ "heard_worst_seconds", "Safety: from submitted to heard, at worst", false, NS,
	  SOUND(heard_worst_ns) },
	{ "heard_bound_seconds", "Safety: from submitted to heard, as promised", false, NS,
	  SOUND(heard_bound_ns) },
	{ "busy_seconds_total", "Time that its thread worked", true, NS, SOUND(busy_ns) },
	{ "busy_worst_seconds", "The longest of a period", false, NS, SOUND(busy_max_ns) },
	{ NULL },
};

static const struct row voice_rows[] = {
	{ "connected", "1 while a client is connected", false, BOOL, VOICE(connected) },
	{ "quarantined", "1 while it is refused for its faults", false, BOOL, VOICE(quarantined) },
	{ "running", "1 while the stream runs", false, BOOL, VOICE(running) },
	{ "speaks", "1 while more than silence comes", false, BOOL, VOICE(speaks) },
	{ "gain_ratio", "Its gain now, 1 is all of it", false, PPM, VOICE(gain_ppm) },
	{ "frames_total", "Frames played or recorded", true, U64, VOICE(frames) },
	{ "gap_frames_total", "Frames that the guest was late for", true, U64,
	  VOICE(gap_frames) },
	{ "xruns_total", "Times that it was late", true, U64, VOICE(xruns) },
	{ "messages_total", "Buffers that came", true, U64, VOICE(messages) },
	{ "refused_total", "Buffers that were refused", true, U64, VOICE(refused) },
	{ "faults_total", "Times that the client broke the protocol", true, U64, VOICE(faults) },
	{ "throttled_total", "Control requests that came too often", true, U64,
	  VOICE(throttled) },
	{ NULL },
};

/* ---- the format ---- */

static void head(FILE *f, const char *family, const char *name, bool counter, const char *help)
{
	fprintf(f, "# HELP parley_%s%s %s.\n# TYPE parley_%s%s %s\n", family, name, help, family,
		name, counter ? "counter" : "gauge");
}

/* name="value", escaped as the format wants it. */
static void label(FILE *f, const char *name, const char *value)
{
	fprintf(f, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", f);
		else if (*value == '"' || *value == '\\')
			fprintf(f, "\\%c", *value);
		else
			fputc(*value, f);
	}
	fputc('"', f);
}

static void value(FILE *f, enum kind kind, const void *field)
{
	switch (kind) {
	case U32:
		fprintf(f, " %" PRIu32 "\n", *(const uint32_t *)field);
		return;
	case U64:
		fprintf(f, " %" PRIu64 "\n", *(const uint64_t *)field);
		return;
	case BOOL:
		fprintf(f, " %d\n", *(const protobuf_c_boolean *)field != 0);
		return;
	case NS:
		fprintf(f, " %" PRIu64 ".%09" PRIu64 "\n",
			(uint64_t)(*(const uint64_t *)field / Q_NSEC_PER_SEC),
			(uint64_t)(*(const uint64_t *)field % Q_NSEC_PER_SEC));
		return;
	case PPM:
		fprintf(f, " %" PRIu32 ".%06" PRIu32 "\n", *(const uint32_t *)field / 1000000,
			*(const uint32_t *)field % 1000000);
		return;
	}
}

/* The field of a row in @object; NULL when the part that it is in is absent. */
static const void *field_of(const struct row *r, const void *object)
{
	const char *base = object;

	if (r->latency)
		base = *(const char *const *)(base + r->latency);
	return base ? base + r->offset : NULL;
}

/* A family: each row, and behind it a sample of each object. */
static void family(FILE *f, const char *prefix, const struct row *rows, size_t n,
		   const void *const *objects, void (*labels)(FILE *f, const void *object))
{
	for (const struct row *r = rows; r->name && n > 0; r++) {
		head(f, prefix, r->name, r->counter, r->help);
		for (size_t i = 0; i < n; i++) {
			const void *field = field_of(r, objects[i]);

			if (!field)
				continue;
			fprintf(f, "parley_%s%s{", prefix, r->name);
			labels(f, objects[i]);
			fputc('}', f);
			value(f, r->kind, field);
		}
	}
}

static void share_labels(FILE *f, const void *object)
{
	const Parley__ShareStats *s = object;

	label(f, "share", s->share);
	label(f, ",device", s->device);
	label(f, ",class", qp_class_str(s->class_));
}

static void device_labels(FILE *f, const void *object)
{
	label(f, "device", ((const Parley__DeviceStats *)object)->device);
}

static void sound_labels(FILE *f, const void *object)
{
	label(f, "sound", ((const Parley__SoundStats *)object)->sound);
}

/* A voice has several streams. */
static void voice_labels(FILE *f, const void *object)
{
	const Parley__VoiceStats *v = object;
	char stream[16];

	snprintf(stream, sizeof(stream), "%" PRIu32, v->stream);
	label(f, "voice", v->voice);
	label(f, ",sound", v->sound);
	label(f, ",class", qp_class_str(v->class_));
	label(f, ",stream", stream);
	label(f, ",direction", v->capture ? "capture" : "playback");
}

/* ---- VMs ---- */

static void vm_sample(FILE *f, const char *metric, const Parley__VmInfo *vm, uint64_t v)
{
	fprintf(f, "parley_vm_%s{", metric);
	label(f, "vm", vm->name);
	label(f, ",class", qp_class_str(vm->class_));
	fprintf(f, "} %" PRIu64 "\n", v);
}

static void vms(FILE *f, const Parley__ListReply *list)
{
	head(f, "vm_", "state", false,
	     "0 off, 1 starting, 2 running, 3 stopping, 4 failed, 5 waiting for its next start");
	for (size_t i = 0; i < list->n_vms; i++)
		vm_sample(f, "state", list->vms[i], (uint64_t)list->vms[i]->state);
	head(f, "vm_", "paused", false, "1 while an operator holds it");
	for (size_t i = 0; i < list->n_vms; i++)
		vm_sample(f, "paused", list->vms[i], list->vms[i]->paused != 0);
	head(f, "vm_", "starts_total", true, "Times that it was started since hostd was");
	for (size_t i = 0; i < list->n_vms; i++)
		vm_sample(f, "starts_total", list->vms[i], list->vms[i]->starts);
	head(f, "vm_", "uptime_seconds", false, "Since its guest runs");
	for (size_t i = 0; i < list->n_vms; i++)
		vm_sample(f, "uptime_seconds", list->vms[i], list->vms[i]->uptime_ms / 1000);
}

/* What qvm counts has names of its own: one metric, with the counter's name as a label. */
static void vm_counters(FILE *f, const Parley__StatsReply *stats)
{
	head(f, "vm_", "events_total", true, "What the VM's process counts, by the counter's name");
	for (size_t i = 0; i < stats->n_vms; i++) {
		const Parley__StatsReply__Vm *vm = stats->vms[i];

		for (size_t k = 0; vm->stats && k < vm->stats->n_counters; k++) {
			fputs("parley_vm_events_total{", f);
			label(f, "vm", vm->name);
			label(f, ",counter", vm->stats->counters[k]->name);
			fprintf(f, "} %" PRIu64 "\n", vm->stats->counters[k]->value);
		}
	}
}

static void modes(FILE *f, const Parley__ListReply *list)
{
	static const char *const words[] = { "normal", "degraded", "safe" };

	head(f, "", "mode", false, "1 for the mode that the host is in");
	for (size_t i = 0; i < Q_ARRAY_LEN(words); i++)
		fprintf(f, "parley_mode{mode=\"%s\"} %d\n", words[i],
			strcmp(list->mode, words[i]) == 0);
	head(f, "", "process_up", false, "1 while the process runs");
	for (size_t i = 0; i < list->n_procs; i++) {
		fputs("parley_process_up{", f);
		label(f, "process", list->procs[i]->name);
		fprintf(f, "} %d\n", strcmp(list->procs[i]->state, "running") == 0);
	}
	head(f, "", "process_starts_total", true, "Times that it was started since hostd was");
	for (size_t i = 0; i < list->n_procs; i++) {
		fputs("parley_process_starts_total{", f);
		label(f, "process", list->procs[i]->name);
		fprintf(f, "} %" PRIu32 "\n", list->procs[i]->starts);
	}
}

static void mediator(FILE *f, const Parley__MediatorStats *m)
{
	family(f, "share_", share_rows, m->n_shares, (const void *const *)m->shares, share_labels);
	family(f, "device_", device_rows, m->n_devices, (const void *const *)m->devices,
	       device_labels);
	family(f, "sound_", sound_rows, m->n_sounds, (const void *const *)m->sounds, sound_labels);
	family(f, "voice_", voice_rows, m->n_voices, (const void *const *)m->voices, voice_labels);
}

int mt_prom_text(const Parley__ListReply *list, const Parley__StatsReply *stats, char **ret,
		 size_t *ret_bytes)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_bytes);

	if (!f)
		return -ENOMEM;
	head(f, "", "up", false, "1 while hostd answers");
	fprintf(f, "parley_up %d\n", list && stats);
	if (list) {
		modes(f, list);
		vms(f, list);
	}
	if (stats) {
		vm_counters(f, stats);
		if (stats->mediator)
			mediator(f, stats->mediator);
	}
	bool failed = ferror(f);
	if (fclose(f) != 0 || failed) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	return 0;
}
