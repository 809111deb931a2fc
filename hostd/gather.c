/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks children on behalf of an operator and answers with what came. Main thread.
 *
 * A job has a part for each child that was asked. It is answered when all parts are, or by its
 * deadline; then the parts that are still open are forgotten, so that no child can call into a
 * job that is gone.
 *
 * Invariant: part->child is set exactly while an answer may still come.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostd/oper.h"
#include "proto/qp_stats.h"

#define STATS_DEADLINE_MS 200u
#define RELAY_DEADLINE_MS 1000u

struct part {
	struct gather *gather;
	struct hd_child *child;		/* NULL: nothing will come any more */
	char name[HD_NAME_MAX + 1];	/* of the VM, "" for the mediator */
	ProtobufCMessage *answer;	/* Envelope, owned; NULL: there is none */
};

struct gather {
	struct hd_job job;
	struct event *ev;
	void (*reply)(struct gather *g);
	struct part *parts;		/* owned */
	unsigned n_parts, n_open;
	const char *mediator_error;	/* why it was not asked; static */
	Parley__MediatorStats *page;	/* owned: what its state page says, when it says nothing */
	char hangs[128];
};

static void gather_free(struct gather *g)
{
	for (unsigned i = 0; i < g->n_parts; i++) {
		if (g->parts[i].child)
			hd_child_forget(g->parts[i].child, &g->parts[i]);
		if (g->parts[i].answer)
			protobuf_c_message_free_unpacked(g->parts[i].answer, NULL);
	}
	qp_stats_free(g->page);
	free(g->parts);
	if (g->ev)
		event_free(g->ev);
	free(g);
}

static void gather_cancel(struct hd_job *job)
{
	gather_free(Q_CONTAINER_OF(job, struct gather, job));
}

static void finish(struct gather *g)
{
	g->reply(g);
	hd_job_remove(&g->job);
	gather_free(g);
}

/* All is in, or the time is over: from the loop, so that nobody's callback finds its job gone. */
static void on_finish(evutil_socket_t fd, short what, void *arg)
{
	finish(arg);
}

static ProtobufCMessage *copy_of(const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *bytes = malloc(len ? len : 1);
	ProtobufCMessage *copy = NULL;

	if (bytes) {
		protobuf_c_message_pack(m, bytes);
		copy = protobuf_c_message_unpack(m->descriptor, NULL, len, bytes);
	}
	free(bytes);
	return copy;
}

static void close_part(struct part *p)
{
	struct gather *g = p->gather;

	p->child = NULL;
	if (--g->n_open == 0)
		event_active(g->ev, EV_TIMEOUT, 0);
}

static void on_answer(void *ctx, const Parley__Envelope *e)
{
	struct part *p = ctx;

	if (e)
		p->answer = copy_of(&e->base);
	close_part(p);
}

static struct gather *gather_new(struct hd_client *c, uint32_t id, unsigned n_max,
				 unsigned deadline_ms, void (*reply)(struct gather *))
{
	const struct timeval tv = {
		.tv_sec = deadline_ms / 1000, .tv_usec = (suseconds_t)(deadline_ms % 1000) * 1000,
	};
	struct gather *g = calloc(1, sizeof(*g));

	if (g) {
		g->reply = reply;
		g->job.cancel = gather_cancel;
		g->parts = calloc(n_max, sizeof(g->parts[0]));
		g->ev = evtimer_new(c->oper->env->base, on_finish, g);
	}
	if (!g || !g->parts || !g->ev || event_add(g->ev, &tv) < 0) {
		if (g)
			gather_free(g);
		hd_link_send_error(c->link, id, PARLEY__CODE__E_FAILED, "out of memory");
		return NULL;
	}
	if (hd_job_add(&g->job, c, id) < 0) {
		gather_free(g);
		return NULL;
	}
	return g;
}

static void ask(struct gather *g, struct hd_child *child, const char *name, Parley__Envelope *e)
{
	struct part *p = &g->parts[g->n_parts++];

	p->gather = g;
	p->child = child;
	g->n_open++;
	snprintf(p->name, sizeof(p->name), "%s", name);
	if (!child || hd_child_ask(child, e, on_answer, p) < 0)
		close_part(p);
}

/* ---- stats ---- */

static void fill_vm(Parley__StatsReply__Vm *ret, const struct part *p)
{
	const Parley__Envelope *e = (const Parley__Envelope *)p->answer;

	*ret = (Parley__StatsReply__Vm)PARLEY__STATS_REPLY__VM__INIT;
	ret->name = (char *)p->name;
	if (e && e->body_case == PARLEY__ENVELOPE__BODY_VM_STATS)
		ret->stats = e->vm_stats;
	else if (e && e->body_case == PARLEY__ENVELOPE__BODY_ERROR)
		ret->error = e->error->text;
	else
		ret->error = (char *)"its qvm did not answer in time";
}

/* The last time that any of its threads looked for work. */
static uint64_t last_round_age_ns(const Parley__MediatorStats *s)
{
	uint64_t age = s->uptime_ns;

	for (size_t i = 0; i < s->n_devices; i++)
		age = Q_MIN(age, s->devices[i]->last_round_age_ns);
	return age;
}

/* Nobody answers; but its counters can be read without it. */
static void fill_from_page(Parley__StatsReply *ret, struct gather *g)
{
	const struct qstat_view *page = hd_med_page(g->job.client->oper->med);

	if (!page || qp_stats_new(page, "", &g->page) < 0) {
		ret->mediator_error = (char *)"the mediator did not answer in time";
		return;
	}
	uint64_t ms = last_round_age_ns(g->page) / Q_NSEC_PER_MSEC;
	snprintf(g->hangs, sizeof(g->hangs),
		 "the mediator does not answer: counters as of %llu.%03llu s ago, when a thread of "
		 "it last ran", (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000));
	ret->mediator = g->page;
	ret->mediator_hangs = g->hangs;
}

static void fill_mediator(Parley__StatsReply *ret, struct gather *g, const struct part *p)
{
	const Parley__Envelope *e = (const Parley__Envelope *)p->answer;

	if (e && e->body_case == PARLEY__ENVELOPE__BODY_MEDIATOR_STATS)
		ret->mediator = e->mediator_stats;
	else if (e && e->body_case == PARLEY__ENVELOPE__BODY_ERROR)
		ret->mediator_error = e->error->text;
	else
		fill_from_page(ret, g);
}

static void reply_stats(struct gather *g)
{
	Parley__StatsReply reply = PARLEY__STATS_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	struct hd_client *c = g->job.client;
	Parley__StatsReply__Vm *vms = calloc(g->n_parts + 1, sizeof(vms[0]));
	Parley__StatsReply__Vm **v = calloc(g->n_parts + 1, sizeof(v[0]));

	if (!vms || !v) {
		hd_link_send_error(c->link, g->job.id, PARLEY__CODE__E_FAILED, "out of memory");
	} else {
		for (unsigned i = 0; i < g->n_parts; i++) {
			if (!*g->parts[i].name) {
				fill_mediator(&reply, g, &g->parts[i]);
				continue;
			}
			fill_vm(&vms[reply.n_vms], &g->parts[i]);
			v[reply.n_vms] = &vms[reply.n_vms];
			reply.n_vms++;
		}
		if (g->mediator_error)
			reply.mediator_error = (char *)g->mediator_error;
		reply.vms = v;
		e.body_case = PARLEY__ENVELOPE__BODY_STATS_REPLY;
		e.stats_reply = &reply;
		hd_client_reply(c, g->job.id, &e);
	}
	free(v);
	free(vms);
}

static void ask_mediator_stats(struct gather *g, struct hd_med *med, bool reset)
{
	Parley__MediatorStatsRequest req = PARLEY__MEDIATOR_STATS_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	struct hd_child *child = hd_med_child(med);

	if (!child) {
		if (hd_med_state(med) == HD_MED_RUNNING)
			g->mediator_error = "the mediator was started by an earlier hostd";
		else if (hd_med_state(med) != HD_MED_OFF)
			g->mediator_error = "the mediator is not running; see 'hostctl list'";
		return;
	}
	req.reset_worst = reset;
	e.body_case = PARLEY__ENVELOPE__BODY_MEDIATOR_STATS_REQUEST;
	e.mediator_stats_request = &req;
	ask(g, child, "", &e);
}

static void ask_vm_stats(struct gather *g, struct hd_vm *vm)
{
	Parley__VmStatsRequest req = PARLEY__VM_STATS_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	e.body_case = PARLEY__ENVELOPE__BODY_VM_STATS_REQUEST;
	e.vm_stats_request = &req;
	ask(g, vm->child, vm->name, &e);
}

void hd_gather_stats(struct hd_client *c, const Parley__Envelope *e)
{
	const Parley__StatsRequest *req = e->stats_request;
	struct hd_vms *vms = c->oper->vms;
	struct hd_vm *vm, *one = *req->name ? hd_vms_find(vms, req->name) : NULL;

	if (*req->name && !one) {
		hd_link_send_error(c->link, e->id, PARLEY__CODE__E_NO_SUCH,
				   "there is no VM of that name; see 'hostctl list'");
		return;
	}
	if (one && one->state != HD_VM_RUNNING) {
		hd_link_send_error(c->link, e->id, PARLEY__CODE__E_NOT_RUNNING,
				   "%s is %s: it has no statistics", one->name,
				   hd_vm_state_str(one->state));
		return;
	}
	struct gather *g = gather_new(c, e->id, vms->n + 1, STATS_DEADLINE_MS, reply_stats);
	if (!g)
		return;
	ask_mediator_stats(g, c->oper->med, req->reset_worst);
	LIST_FOREACH(vm, &vms->list, entry)
		if (vm->state == HD_VM_RUNNING && (!one || vm == one))
			ask_vm_stats(g, vm);
	if (g->n_open == 0)
		event_active(g->ev, EV_TIMEOUT, 0);
}

/* ---- what only the mediator knows ---- */

static void reply_relayed(struct gather *g)
{
	const Parley__Envelope *e = (const Parley__Envelope *)g->parts[0].answer;
	struct hd_link *link = g->job.client->link;

	if (!e) {
		hd_link_send_error(link, g->job.id, PARLEY__CODE__E_TIMEOUT,
				   "the mediator did not answer in time");
	} else if (e->body_case == PARLEY__ENVELOPE__BODY_ERROR) {
		hd_link_send_error(link, g->job.id, e->error->code, "%s", e->error->text);
	} else {
		Parley__Envelope reply = *e;

		hd_client_reply(g->job.client, g->job.id, &reply);
	}
}

void hd_gather_relay(struct hd_client *c, const Parley__Envelope *req)
{
	struct hd_child *child = hd_med_child(c->oper->med);

	if (!child) {
		hd_link_send_error(c->link, req->id, PARLEY__CODE__E_NOT_RUNNING,
				   "the mediator is %s; see 'hostctl list'",
				   hd_med_state_str(hd_med_state(c->oper->med)));
		return;
	}
	struct gather *g = gather_new(c, req->id, 1, RELAY_DEADLINE_MS, reply_relayed);
	if (!g)
		return;
	Parley__Envelope e = *req;
	ask(g, child, "", &e);
}
