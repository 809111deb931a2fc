/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns the records of a state page into a MediatorStats message. Any thread. Everything in a
 * message is one allocation each, freed together. The page may be a stranger's: a number of it is
 * shown, but decides nothing, unless it was checked.
 */
#include "proto/qp_stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qblk.h"

/* A message, the submessages and strings it points to, and what they were made of. */
struct share_out {
	Parley__ShareStats msg;
	Parley__Latency latency, wait;
	char device[QSTAT_NAME_BYTES];
	struct qstat_share seen;
};

struct device_out {
	Parley__DeviceStats msg;
	Parley__Latency service;
	struct qstat_device seen;
};

static void fill_latency(Parley__Latency *l, const struct qhist *h)
{
	parley__latency__init(l);
	l->n = h->n;
	l->p50_ns = qhist_quantile(h, 500);
	l->p99_ns = qhist_quantile(h, 990);
	l->p999_ns = qhist_quantile(h, 999);
	l->max_ns = h->max_ns;
}

static Parley__Class class_of(uint32_t class)
{
	static const Parley__Class classes[] = {
		PARLEY__CLASS__CLASS_SAFETY, PARLEY__CLASS__CLASS_NORMAL,
		PARLEY__CLASS__CLASS_BEST_EFFORT,
	};

	return class < Q_ARRAY_LEN(classes) ? classes[class] : PARLEY__CLASS__CLASS_NORMAL;
}

static void fill_share(struct share_out *o)
{
	const struct qstat_share *st = &o->seen;
	Parley__ShareStats *m = &o->msg;

	parley__share_stats__init(m);
	m->share = (char *)st->name;
	m->device = o->device;
	m->class_ = class_of(st->class);
	m->connected = st->connected;
	m->quarantined = st->quarantined;
	m->read_ops = st->ops[QBLK_READ];
	m->read_bytes = st->bytes[QBLK_READ];
	m->write_ops = st->ops[QBLK_WRITE];
	m->write_bytes = st->bytes[QBLK_WRITE];
	m->flush_ops = st->ops[QBLK_FLUSH];
	m->errors = st->errors;
	m->faults = st->faults;
	m->queued = st->queued;
	m->in_flight = st->in_flight;
	m->bound_violations = st->bound_violations;
	m->throttled = st->throttled;
	m->limited = st->limited;
	m->signals = st->signals;
	m->target_ns = st->depth ? st->target_ns : 0;
	m->missed = st->missed;
	m->cpu_ns = st->cpu_ns;
	m->cpu_waits = st->cpu_waits;
	fill_latency(&o->latency, &st->latency);
	fill_latency(&o->wait, &st->wait);
	m->latency = &o->latency;
	m->wait = &o->wait;
}

static int add_share(Parley__MediatorStats *s, const struct qstat_view *v, unsigned i,
		     const char *only)
{
	struct share_out *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	qstat_view_share(v, i, &o->seen);
	/* A record without a name is of no share: one may come. */
	if (!o->seen.name[0] || (*only && strcmp(only, o->seen.name) != 0)) {
		free(o);
		return 0;
	}
	fill_share(o);
	s->shares[s->n_shares++] = &o->msg;
	if (o->seen.device >= s->n_devices)
		return 0;
	const struct device_out *d = Q_CONTAINER_OF(s->devices[o->seen.device], struct device_out,
						    msg);
	qstat_set_name(o->device, d->seen.name);
	o->msg.bound_ns = o->seen.depth ? d->seen.bound_ns : 0;
	return 0;
}

static int add_device(Parley__MediatorStats *s, const struct qstat_view *v, unsigned i)
{
	struct device_out *o = calloc(1, sizeof(*o));
	Parley__DeviceStats *m;

	if (!o)
		return -ENOMEM;
	qstat_view_device(v, i, &o->seen);
	m = &o->msg;
	parley__device_stats__init(m);
	m->device = o->seen.name;
	m->slots = o->seen.slots;
	m->reserve = o->seen.reserve;
	m->lower_cap = o->seen.cap;
	m->in_flight = o->seen.in_flight;
	m->service_max_ns = o->seen.service_unit_ns;
	m->priorities = o->seen.priorities;
	m->ladder_step = (uint32_t)Q_MIN(o->seen.ladder_step, UINT32_MAX);
	m->ladder_ups = o->seen.ladder_ups;
	m->io_inline = o->seen.io_inline;
	m->io_fixed = o->seen.io_fixed;
	m->io_plain = o->seen.io_plain;
	m->io_bounced = o->seen.io_bounced;
	m->pinned_bytes = o->seen.pinned_bytes;
	m->pin_failures = o->seen.pin_failures;
	m->rounds = o->seen.rounds;
	m->enters = o->seen.enters;
	m->looks = o->seen.looks;
	m->look_ns = o->seen.look_ns;
	m->look_vain_ns = o->seen.look_vain_ns;
	uint64_t now = qnow_ns(), last = o->seen.round_ns;
	m->last_round_age_ns = last && last < now ? now - last : 0;
	fill_latency(&o->service, &o->seen.service);
	m->service = &o->service;
	s->devices[s->n_devices++] = m;
	return 0;
}

/* Records of devices that are no more. */
static void drop_unnamed(Parley__MediatorStats *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n_devices; i++) {
		if (s->devices[i]->device[0])
			s->devices[kept++] = s->devices[i];
		else
			free(s->devices[i]);
	}
	s->n_devices = kept;
}

int qp_stats_new(const struct qstat_view *v, const char *share, Parley__MediatorStats **ret)
{
	Parley__MediatorStats *s = malloc(sizeof(*s));
	uint64_t now = qnow_ns();

	if (!s)
		return -ENOMEM;
	parley__mediator_stats__init(s);
	s->uptime_ns = v->head.start_ns < now ? now - v->head.start_ns : 0;
	unsigned n_devices = qstat_view_n_devices(v), n_shares = qstat_view_n_shares(v);
	s->devices = calloc(n_devices + 1u, sizeof(s->devices[0]));
	s->shares = calloc(n_shares + 1u, sizeof(s->shares[0]));
	int r = s->devices && s->shares ? 0 : -ENOMEM;
	for (unsigned i = 0; r == 0 && i < n_devices; i++)
		r = add_device(s, v, i);
	for (unsigned i = 0; r == 0 && i < n_shares; i++)
		r = add_share(s, v, i, share);
	if (r == 0)
		drop_unnamed(s);
	if (r < 0) {
		qp_stats_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

Parley__MediatorStats *qp_stats_free(Parley__MediatorStats *s)
{
	if (!s)
		return NULL;
	/* Each message is the first member of the allocation that holds it. */
	for (size_t i = 0; s->shares && i < s->n_shares; i++)
		free(s->shares[i]);
	for (size_t i = 0; s->devices && i < s->n_devices; i++)
		free(s->devices[i]);
	free(s->shares);
	free(s->devices);
	free(s);
	return NULL;
}
