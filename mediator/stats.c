/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns counters of the disks into a MediatorStats message. Main thread. Strings are borrowed from
 * the policy, everything else is one allocation each, freed together.
 */
#include "mediator/stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A message and the submessages it points to, in one piece. */
struct share_out {
	Parley__ShareStats msg;
	Parley__Latency latency, wait;
};

struct device_out {
	Parley__DeviceStats msg;
	Parley__Latency service;
};

/* From a copy: the device's thread goes on counting in @h. */
static void fill_latency(Parley__Latency *l, const struct qhist *h)
{
	struct qhist seen;

	qhist_reset(&seen);
	qhist_merge(&seen, h);
	parley__latency__init(l);
	l->n = seen.n;
	l->p50_ns = qhist_quantile(&seen, 500);
	l->p99_ns = qhist_quantile(&seen, 990);
	l->p999_ns = qhist_quantile(&seen, 999);
	l->max_ns = seen.max_ns;
}

static Parley__Class class_of(const struct med_share *sh)
{
	static const Parley__Class classes[] = {
		[SCHED_SAFETY] = PARLEY__CLASS__CLASS_SAFETY,
		[SCHED_NORMAL] = PARLEY__CLASS__CLASS_NORMAL,
		[SCHED_BEST_EFFORT] = PARLEY__CLASS__CLASS_BEST_EFFORT,
	};

	return classes[sh->policy->class];
}

static struct share_out *share_out_new(const struct med_disk *d, const struct med_share *sh)
{
	struct share_out *o = calloc(1, sizeof(*o));
	const struct med_share_stats *st = &sh->stats;

	if (!o)
		return NULL;
	parley__share_stats__init(&o->msg);
	o->msg.share = sh->policy->name;
	o->msg.device = d->policy->name;
	o->msg.class_ = class_of(sh);
	o->msg.connected = st->connected;
	o->msg.quarantined = st->quarantined;
	o->msg.read_ops = st->ops[QBLK_READ];
	o->msg.read_bytes = st->bytes[QBLK_READ];
	o->msg.write_ops = st->ops[QBLK_WRITE];
	o->msg.write_bytes = st->bytes[QBLK_WRITE];
	o->msg.flush_ops = st->ops[QBLK_FLUSH];
	o->msg.errors = st->errors;
	o->msg.faults = st->faults;
	o->msg.queued = st->queued;
	o->msg.in_flight = st->in_flight;
	o->msg.bound_ns = sh->policy->depth ? d->stats.bound_ns : 0;
	o->msg.bound_violations = st->bound_violations;
	o->msg.throttled = st->throttled;
	o->msg.limited = st->limited;
	fill_latency(&o->latency, &st->latency);
	fill_latency(&o->wait, &st->wait);
	o->msg.latency = &o->latency;
	o->msg.wait = &o->wait;
	return o;
}

static struct device_out *device_out_new(const struct med_disk *d)
{
	struct device_out *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	parley__device_stats__init(&o->msg);
	o->msg.device = d->policy->name;
	o->msg.slots = d->policy->slots;
	o->msg.reserve = d->policy->reserve;
	o->msg.lower_cap = d->stats.cap;
	o->msg.in_flight = d->stats.in_flight;
	o->msg.service_max_ns = d->stats.service_unit_ns;
	o->msg.priorities = d->stats.priorities;
	fill_latency(&o->service, &d->stats.service);
	o->msg.service = &o->service;
	return o;
}

static int add_disk(Parley__MediatorStats *s, const struct med_disk *d, const char *share)
{
	struct device_out *dev = device_out_new(d);

	if (!dev)
		return -ENOMEM;
	s->devices[s->n_devices++] = &dev->msg;
	for (unsigned i = 0; i < d->n_shares; i++) {
		const struct med_share *sh = &d->shares[i];

		if (*share && strcmp(share, sh->policy->name) != 0)
			continue;
		struct share_out *o = share_out_new(d, sh);
		if (!o)
			return -ENOMEM;
		s->shares[s->n_shares++] = &o->msg;
	}
	return 0;
}

int med_stats_collect(const struct med_disk *disks, size_t n_disks, const char *share,
		      uint64_t uptime_ns, Parley__MediatorStats **ret)
{
	Parley__MediatorStats *s = malloc(sizeof(*s));
	size_t n_shares = 0;

	if (!s)
		return -ENOMEM;
	parley__mediator_stats__init(s);
	s->uptime_ns = uptime_ns;
	for (size_t i = 0; i < n_disks; i++)
		n_shares += disks[i].n_shares;
	s->devices = calloc(n_disks + 1, sizeof(s->devices[0]));
	s->shares = calloc(n_shares + 1, sizeof(s->shares[0]));
	int r = s->devices && s->shares ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < n_disks; i++)
		r = add_disk(s, &disks[i], share);
	if (r < 0) {
		med_stats_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

Parley__MediatorStats *med_stats_free(Parley__MediatorStats *s)
{
	if (!s)
		return NULL;
	/* Each message is the first member of the allocation that holds it. */
	for (size_t i = 0; i < s->n_shares; i++)
		free(s->shares[i]);
	for (size_t i = 0; i < s->n_devices; i++)
		free(s->devices[i]);
	free(s->shares);
	free(s->devices);
	free(s);
	return NULL;
}

/* One allocation: the reply, its list, and what the list points to. */
struct explain_out {
	Parley__ExplainReply msg;
	Parley__Flight *list[RECORDER_WORST], flights[RECORDER_WORST];
};

static void fill_flight(Parley__Flight *to, const struct flight *f, uint64_t now)
{
	parley__flight__init(to);
	to->age_ns = now - f->arrival_ns;
	to->op = (char *)med_op_str((enum qblk_op)f->op);
	to->sector = f->sector;
	to->bytes = f->len_bytes;
	to->latency_ns = f->latency_ns;
	to->wait_ns = f->wait_ns;
	to->bound_ns = f->bound_ns;
	to->safety_there = f->safety_there;
	to->lower_there = f->lower_there;
	to->barriers_there = f->barriers_there;
	to->own_before = f->own_before;
	to->safety_passed = f->safety_passed;
	to->lower_passed = f->lower_passed;
}

static const struct med_share *find_share(const struct med_disk *disks, size_t n_disks,
					  const char *name)
{
	for (size_t i = 0; i < n_disks; i++)
		for (unsigned k = 0; k < disks[i].n_shares; k++)
			if (strcmp(disks[i].shares[k].policy->name, name) == 0)
				return &disks[i].shares[k];
	return NULL;
}

int med_explain(const struct med_disk *disks, size_t n_disks, const char *name,
		Parley__ExplainReply **ret)
{
	const struct med_share *sh = find_share(disks, n_disks, name);
	struct flight worst[RECORDER_WORST];

	if (!sh)
		return -ENOENT;
	struct explain_out *o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	parley__explain_reply__init(&o->msg);
	o->msg.n_flights = recorder_read(&sh->stats.worst, worst);
	o->msg.flights = o->list;
	uint64_t now = qnow_ns();
	for (size_t i = 0; i < o->msg.n_flights; i++) {
		fill_flight(&o->flights[i], &worst[i], now);
		o->list[i] = &o->flights[i];
	}
	*ret = &o->msg;
	return 0;
}

Parley__ExplainReply *med_explain_free(Parley__ExplainReply *e)
{
	free(e);	/* the first member of its struct explain_out */
	return NULL;
}
