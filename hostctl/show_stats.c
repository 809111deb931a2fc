/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows statistics: a row a share with its latencies beside the bound, a row a device, the
 * counters of each VM. Main thread.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "hostctl/show.h"
#include "hostctl/show_audio.h"
#include "lib/qtable.h"

#define SCHEMA 1

const char *hc_ladder_str(uint32_t step)
{
	static const char *const words[] = { "free", "throttle", "pause", "freeze" };

	return step < Q_ARRAY_LEN(words) ? words[step] : "unknown";
}

static json_t *latency_json(const Parley__Latency *l)
{
	static const Parley__Latency none = PARLEY__LATENCY__INIT;

	if (!l)
		l = &none;
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "n", (json_int_t)l->n, "p50_ns",
			 (json_int_t)l->p50_ns, "p99_ns", (json_int_t)l->p99_ns, "p999_ns",
			 (json_int_t)l->p999_ns, "max_ns", (json_int_t)l->max_ns);
}

static json_t *share_json(const Parley__ShareStats *s)
{
	json_t *j = json_pack("{s:s, s:s, s:s, s:b, s:b}", "share", s->share, "device", s->device,
			      "class", qp_class_str(s->class_), "connected", (int)s->connected,
			      "quarantined", (int)s->quarantined);
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "read_ops", s->read_ops },	 { "read_bytes", s->read_bytes },
		{ "write_ops", s->write_ops },	 { "write_bytes", s->write_bytes },
		{ "flush_ops", s->flush_ops },	 { "errors", s->errors },
		{ "faults", s->faults },	 { "queued", s->queued },
		{ "in_flight", s->in_flight },	 { "bound_ns", s->bound_ns },
		{ "bound_violations", s->bound_violations },
		{ "throttled", s->throttled },	 { "limited", s->limited },
		{ "target_ns", s->target_ns },	 { "missed", s->missed },
		{ "cpu_ns", s->cpu_ns },	 { "cpu_waits", s->cpu_waits },
		{ "signals", s->signals },
	};

	for (size_t i = 0; j && i < Q_ARRAY_LEN(numbers); i++)
		json_object_set_new(j, numbers[i].name, json_integer((json_int_t)numbers[i].value));
	/* The promise beside the worst that was seen, in the unit in which people speak of it. */
	if (j && s->bound_ns) {
		json_object_set_new(j, "bound_us", json_integer((json_int_t)(s->bound_ns / 1000)));
		json_object_set_new(j, "worst_us",
				    json_integer((json_int_t)(s->latency ?
							      s->latency->max_ns / 1000 : 0)));
	}
	if (j) {
		json_object_set_new(j, "latency", latency_json(s->latency));
		json_object_set_new(j, "wait", latency_json(s->wait));
	}
	return j;
}

static json_t *device_json(const Parley__DeviceStats *d)
{
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "io_inline", d->io_inline },	 { "io_fixed", d->io_fixed },
		{ "io_plain", d->io_plain },	 { "io_bounced", d->io_bounced },
		{ "rounds", d->rounds },	 { "enters", d->enters },
		{ "looks", d->looks },		 { "look_ns", d->look_ns },
		{ "look_vain_ns", d->look_vain_ns },
		{ "pinned_bytes", d->pinned_bytes },
		{ "pin_failures", d->pin_failures },
		{ "last_round_age_ns", d->last_round_age_ns },
		{ "ladder_ups", d->ladder_ups },
	};
	json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "device",
			      d->device, "ladder", hc_ladder_str(d->ladder_step),
			      "slots", (json_int_t)d->slots, "reserve", (json_int_t)d->reserve,
			      "lower_cap", (json_int_t)d->lower_cap, "in_flight",
			      (json_int_t)d->in_flight, "service_max_ns",
			      (json_int_t)d->service_max_ns, "priorities", (int)d->priorities,
			      "service", latency_json(d->service));

	for (size_t i = 0; j && i < Q_ARRAY_LEN(numbers); i++)
		json_object_set_new(j, numbers[i].name, json_integer((json_int_t)numbers[i].value));
	return j;
}

static json_t *vm_json(const Parley__StatsReply__Vm *v)
{
	json_t *counters = json_object();

	for (size_t i = 0; v->stats && i < v->stats->n_counters; i++)
		json_object_set_new(counters, v->stats->counters[i]->name,
				    json_integer((json_int_t)v->stats->counters[i]->value));
	if (v->stats)
		return json_pack("{s:s, s:I, s:o}", "name", v->name, "uptime_ns",
				 (json_int_t)v->stats->uptime_ns, "counters", counters);
	return json_pack("{s:s, s:s, s:o}", "name", v->name, "error", v->error, "counters",
			 counters);
}

/* The shares of a VM are those of the system of its name. */
static bool wanted(const char *share, const char *only)
{
	size_t i = 0;

	while (only[i] && share[i] == only[i])
		i++;
	return !only[0] || (!only[i] && share[i] == '/');
}

json_t *hc_stats_json(const Parley__StatsReply *m, const char *only)
{
	json_t *shares = json_array(), *devices = json_array(), *vms = json_array();

	for (size_t i = 0; m->mediator && i < m->mediator->n_shares; i++)
		if (wanted(m->mediator->shares[i]->share, only))
			json_array_append_new(shares, share_json(m->mediator->shares[i]));
	for (size_t i = 0; m->mediator && i < m->mediator->n_devices; i++)
		json_array_append_new(devices, device_json(m->mediator->devices[i]));
	for (size_t i = 0; i < m->n_vms; i++)
		json_array_append_new(vms, vm_json(m->vms[i]));
	json_t *sounds = json_array(), *voices = json_array();
	for (size_t i = 0; m->mediator && i < m->mediator->n_sounds; i++)
		json_array_append_new(sounds, hc_sound_json(m->mediator->sounds[i]));
	for (size_t i = 0; m->mediator && i < m->mediator->n_voices; i++)
		if (wanted(m->mediator->voices[i]->voice, only))
			json_array_append_new(voices, hc_voice_json(m->mediator->voices[i]));
	return json_pack("{s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "schema", SCHEMA,
			 "mediator_error", m->mediator_error, "mediator_hangs", m->mediator_hangs,
			 "shares", shares, "devices", devices, "vms", vms, "sounds", sounds,
			 "voices", voices);
}

static void ns_cell(struct qtable *t, uint64_t ns)
{
	char buf[QTABLE_UNIT_BYTES];

	qtable_add(t, "%s", qtable_ns(buf, ns));
}

static const char *share_state(const Parley__ShareStats *s)
{
	return s->quarantined ? "quarantined" : s->connected ? "connected" : "-";
}

void hc_promised_cell(struct qtable *t, uint64_t promise_ns, uint64_t n)
{
	if (promise_ns)
		qtable_add(t, "%" PRIu64, n);
	else
		qtable_add(t, "-");
}

static void print_shares(const Parley__MediatorStats *m, const char *only)
{
	static const char *const heads[] = {
		"SHARE", "CLASS", "CLIENT", ">OPS", ">READ", ">WRITTEN", ">P50", ">P99", ">WORST",
		">BOUND", ">ABOVE", ">TARGET", ">MISSED", ">CPU", ">FAULTS", ">ERRORS",
	};
	static const Parley__Latency none = PARLEY__LATENCY__INIT;
	char buf[QTABLE_UNIT_BYTES];
	struct qtable t;

	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_shares; i++) {
		const Parley__ShareStats *s = m->shares[i];
		const Parley__Latency *l = s->latency ? s->latency : &none;

		if (!wanted(s->share, only))
			continue;
		qtable_add(&t, "%s", s->share);
		qtable_add(&t, "%s", qp_class_str(s->class_));
		qtable_add(&t, "%s", share_state(s));
		qtable_add(&t, "%" PRIu64, s->read_ops + s->write_ops + s->flush_ops);
		qtable_add(&t, "%s", qtable_bytes(buf, s->read_bytes));
		qtable_add(&t, "%s", qtable_bytes(buf, s->write_bytes));
		ns_cell(&t, l->p50_ns);
		ns_cell(&t, l->p99_ns);
		ns_cell(&t, l->max_ns);
		ns_cell(&t, s->bound_ns);
		hc_promised_cell(&t, s->bound_ns, s->bound_violations);
		ns_cell(&t, s->target_ns);
		hc_promised_cell(&t, s->target_ns, s->missed);
		ns_cell(&t, s->cpu_ns);
		qtable_add(&t, "%" PRIu64, s->faults);
		qtable_add(&t, "%" PRIu64, s->errors);
	}
	qtable_print(&t, stdout);
	qtable_fini(&t);
}

static void print_devices(const Parley__MediatorStats *m)
{
	static const char *const heads[] = {
		"DEVICE", ">SLOTS", ">RESERVED", ">LOWER CAP", ">IN FLIGHT", ">SERVICE P50", ">P99",
		">WORST", ">UNIT", "PRIORITIES", "LADDER",
	};
	static const Parley__Latency none = PARLEY__LATENCY__INIT;
	struct qtable t;

	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_devices; i++) {
		const Parley__DeviceStats *d = m->devices[i];
		const Parley__Latency *l = d->service ? d->service : &none;

		qtable_add(&t, "%s", d->device);
		qtable_add(&t, "%" PRIu32, d->slots);
		qtable_add(&t, "%" PRIu32, d->reserve);
		qtable_add(&t, "%" PRIu32, d->lower_cap);
		qtable_add(&t, "%" PRIu32, d->in_flight);
		ns_cell(&t, l->p50_ns);
		ns_cell(&t, l->p99_ns);
		ns_cell(&t, l->max_ns);
		ns_cell(&t, d->service_max_ns);
		qtable_add(&t, "%s", d->priorities ? "on" : "OFF");
		qtable_add(&t, "%s", hc_ladder_str(d->ladder_step));
	}
	qtable_print(&t, stdout);
	qtable_fini(&t);
}

static void print_vms(const Parley__StatsReply *m)
{
	static const char *const heads[] = { "VM", "COUNTER", ">VALUE" };
	struct qtable t;

	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < m->n_vms; i++) {
		const Parley__StatsReply__Vm *v = m->vms[i];

		for (size_t k = 0; v->stats && k < v->stats->n_counters; k++) {
			qtable_add(&t, "%s", v->name);
			qtable_add(&t, "%s", v->stats->counters[k]->name);
			qtable_add(&t, "%" PRIu64, v->stats->counters[k]->value);
		}
		if (v->stats)
			continue;
		qtable_add(&t, "%s", v->name);
		qtable_add(&t, "(%s)", v->error);
		qtable_add(&t, "-");
	}
	qtable_print(&t, stdout);
	qtable_fini(&t);
}

enum hc_exit hc_show_stats(const struct hc *hc, const Parley__StatsReply *m, const char *only)
{
	if (hc->json)
		return hc_print_json(hc, hc_stats_json(m, only));
	bool disks = m->mediator && (m->mediator->n_devices || !m->mediator->n_sounds);
	if (disks) {
		print_shares(m->mediator, only);
		putchar('\n');
		print_devices(m->mediator);
	}
	if (m->mediator && m->mediator->n_sounds) {
		if (disks)
			putchar('\n');
		hc_print_voices(m->mediator, wanted, only);
		putchar('\n');
		hc_print_sounds(m->mediator);
	}
	if (*m->mediator_error)
		printf("mediator: %s\n", m->mediator_error);
	if (*m->mediator_hangs)
		printf("mediator: %s\n", m->mediator_hangs);
	if (m->n_vms && m->mediator)
		putchar('\n');
	if (m->n_vms)
		print_vms(m);
	if (!m->mediator && !*m->mediator_error && !m->n_vms)
		puts("no VM is running, and there is no mediator");
	return HC_OK;
}
