/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a simulation counted, as hostctl shows the same of a mediator that runs: a row a share, a
 * row a device; or JSON, whose first member is "schema", and members are only ever added within
 * one. No state.
 */
#include <inttypes.h>

#include "lib/qtable.h"
#include "mediator/simulate_run.h"

#define SCHEMA 1

struct view {
	const struct med_share_policy *policy;
	const char *device;
	const struct sim *disk;
	const struct sim_share *share;
	const struct sched_share *sched;
	uint64_t bound_ns;
};

static struct view view_of(const struct sim_world *w, size_t i)
{
	const struct med_share_policy *p = &w->file->shares[i];
	const struct sim *m = &w->disks[p->device];

	return (struct view){
		.policy = p,
		.device = w->file->policy->devices[p->device].name,
		.disk = m,
		.share = &m->share[w->share_id[i]],
		.sched = &m->sched.share[w->share_id[i]],
		.bound_ns = p->depth ? sched_bound_ns(&m->sched) : 0,
	};
}

/* @n in the time that was simulated, a second. */
static double per_second(const struct sim_world *w, uint64_t n)
{
	return (double)n * (double)Q_NSEC_PER_SEC / (double)w->time_ns;
}

static void ns_cell(struct qtable *t, uint64_t ns)
{
	char buf[QTABLE_UNIT_BYTES];

	qtable_add(t, "%s", qtable_ns(buf, ns));
}

static void bytes_cell(struct qtable *t, uint64_t bytes)
{
	char buf[QTABLE_UNIT_BYTES];

	qtable_add(t, "%s", qtable_bytes(buf, bytes));
}

static void share_row(struct qtable *t, const struct sim_world *w, const struct view *v)
{
	const struct sim_share *s = v->share;
	char buf[QTABLE_UNIT_BYTES];

	qtable_add(t, "%s", v->policy->name);
	qtable_add(t, "%s", sched_class_str(v->policy->class));
	qtable_add(t, "%" PRIu64, sim_share_ops(s));
	bytes_cell(t, s->bytes[SIM_READ]);
	bytes_cell(t, s->bytes[SIM_WRITE]);
	qtable_add(t, "%.0f", per_second(w, sim_share_ops(s)));
	qtable_add(t, "%s/s", qtable_bytes(buf, (uint64_t)per_second(w, sim_share_bytes(s))));
	ns_cell(t, qhist_quantile(s->latency, 500));
	ns_cell(t, qhist_quantile(s->latency, 990));
	ns_cell(t, s->latency->max_ns);
	ns_cell(t, v->bound_ns);
	if (v->bound_ns)
		qtable_add(t, "%" PRIu64, s->violations);
	else
		qtable_add(t, "-");
	qtable_add(t, "%" PRIu64, v->sched->throttled - s->throttled_before);
	qtable_add(t, "%" PRIu64, v->sched->limited - s->limited_before);
}

static void print_shares(const struct sim_world *w, FILE *to)
{
	static const char *const heads[] = {
		"SHARE", "CLASS", ">OPS", ">READ", ">WRITTEN", ">OPS/S", ">BYTES/S", ">P50", ">P99",
		">WORST", ">BOUND", ">ABOVE", ">THROTTLED", ">LIMITED",
	};
	struct qtable t;

	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < w->file->n_shares; i++) {
		struct view v = view_of(w, i);

		share_row(&t, w, &v);
	}
	qtable_print(&t, to);
	qtable_fini(&t);
}

/* Of all that the device could have worked. */
static double busy_of(const struct sim_world *w, const struct sim *m)
{
	return (double)m->work_ns / ((double)w->time_ns * m->model.parallel);
}

static void print_devices(const struct sim_world *w, FILE *to)
{
	static const char *const heads[] = {
		"DEVICE", ">SLOTS", ">RESERVED", ">LOWER CAP", ">PARALLEL", ">UNIT", ">FLUSH",
		">SLICES", ">BUSY",
	};
	struct qtable t;

	qtable_init(&t, heads, Q_ARRAY_LEN(heads));
	for (size_t i = 0; i < w->file->policy->n_devices; i++) {
		const struct sim *m = &w->disks[i];

		qtable_add(&t, "%s", w->file->policy->devices[i].name);
		qtable_add(&t, "%" PRIu32, m->sched.cfg.slots);
		qtable_add(&t, "%" PRIu32, m->sched.cfg.reserve);
		qtable_add(&t, "%" PRIu32, m->sched.cap);
		qtable_add(&t, "%" PRIu32, m->model.parallel);
		ns_cell(&t, sched_unit_ns(&m->sched));
		ns_cell(&t, Q_MAX(m->sched.flush.cur, m->sched.flush.prev));
		qtable_add(&t, "%" PRIu64, m->slices_done);
		qtable_add(&t, "%.1f %%", 100 * busy_of(w, m));
	}
	qtable_print(&t, to);
	qtable_fini(&t);
}

/* Those whose guests wanted more than their rings hold. */
static void print_late(const struct sim_world *w, FILE *to)
{
	for (size_t i = 0; i < w->file->n_shares; i++) {
		struct view v = view_of(w, i);

		if (v.share->late)
			fprintf(to, "%s: %" PRIu64 " arrivals waited in the guest: %" PRIu32
				" were out\n", v.policy->name, v.share->late, v.share->load.depth);
	}
}

void sim_print_table(const struct sim_world *w, FILE *to)
{
	print_shares(w, to);
	fputc('\n', to);
	print_devices(w, to);
	print_late(w, to);
}

/* Names are words of the policy: nothing in them is to be escaped. */
static void share_json(const struct sim_world *w, const struct view *v, FILE *to)
{
	const struct sim_share *s = v->share;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "read_ops", s->ops[SIM_READ] },
		{ "read_bytes", s->bytes[SIM_READ] },
		{ "write_ops", s->ops[SIM_WRITE] },
		{ "write_bytes", s->bytes[SIM_WRITE] },
		{ "flush_ops", s->ops[SIM_FLUSH] },
		{ "discard_ops", s->ops[SIM_DISCARD] },
		{ "bound_ns", v->bound_ns },
		{ "promised", s->promised },
		{ "bound_violations", s->violations },
		{ "throttled", v->sched->throttled - s->throttled_before },
		{ "limited", v->sched->limited - s->limited_before },
		{ "late", s->late },
	};

	fprintf(to, "{\"share\": \"%s\", \"device\": \"%s\", \"class\": \"%s\"", v->policy->name,
		v->device, sched_class_str(v->policy->class));
	for (size_t i = 0; i < Q_ARRAY_LEN(numbers); i++)
		fprintf(to, ", \"%s\": %" PRIu64, numbers[i].name, numbers[i].value);
	fprintf(to, ", \"ops_per_s\": %.1f, \"bytes_per_s\": %.0f", per_second(w, sim_share_ops(s)),
		per_second(w, sim_share_bytes(s)));
	fprintf(to,
		", \"latency\": {\"n\": %" PRIu64 ", \"p50_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64
		", \"p999_ns\": %" PRIu64 ", \"max_ns\": %" PRIu64 "}}",
		s->latency->n, qhist_quantile(s->latency, 500), qhist_quantile(s->latency, 990),
		qhist_quantile(s->latency, 999), s->latency->max_ns);
}

static void device_json(const struct sim_world *w, size_t i, FILE *to)
{
	const struct sim *m = &w->disks[i];

	fprintf(to,
		"{\"device\": \"%s\", \"slots\": %" PRIu32 ", \"reserve\": %" PRIu32
		", \"lower_cap\": %" PRIu32 ", \"parallel\": %" PRIu32
		", \"service_max_ns\": %" PRIu64 ", \"bound_ns\": %" PRIu64 ", \"slices\": %" PRIu64
		", \"busy\": %.4f, \"active\": %.4f}",
		w->file->policy->devices[i].name, m->sched.cfg.slots, m->sched.cfg.reserve,
		m->sched.cap, m->model.parallel, sched_unit_ns(&m->sched),
		sched_bound_ns(&m->sched), m->slices_done, busy_of(w, m),
		(double)m->active_ns / (double)w->time_ns);
}

void sim_print_json(const struct sim_world *w, FILE *to)
{
	fprintf(to, "{\"schema\": %d, \"time_ns\": %" PRIu64 ", \"seed\": %" PRIu64
		", \"shares\": [\n", SCHEMA, w->time_ns, w->file->seed);
	for (size_t i = 0; i < w->file->n_shares; i++) {
		struct view v = view_of(w, i);

		share_json(w, &v, to);
		fputs(i + 1 < w->file->n_shares ? ",\n" : "\n", to);
	}
	fputs("], \"devices\": [\n", to);
	for (size_t i = 0; i < w->file->policy->n_devices; i++) {
		device_json(w, i, to);
		fputs(i + 1 < w->file->policy->n_devices ? ",\n" : "\n", to);
	}
	fputs("]}\n", to);
}
