/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers what is asked of the flight recorder, a piece a request. Main thread. Invariant: a
 * request reads at most RECORDS_READ records and is answered with at most RECORDS_TOLD, so that
 * nobody who asks holds up the loop, whatever the recorder holds.
 */
#include <stdlib.h>
#include <string.h>

#include "hostd/oper.h"

#define RECORDS_READ 4096u
#define RECORDS_TOLD 512u

struct piece {
	struct hd_record records[RECORDS_TOLD];
	Parley__Event events[RECORDS_TOLD], *v[RECORDS_TOLD];
	size_t n;
};

static bool is_asked_for(const Parley__EventsRequest *q, const char *boot,
			 const struct hd_record *rec)
{
	return rec->event.time_ms >= q->since_ms &&
	       (!q->until_ms || rec->event.time_ms <= q->until_ms) &&
	       (!boot || strcmp(rec->boot, boot) == 0);
}

/* Number of the first record that was not looked at; 0: none is left. */
static uint64_t collect(const struct hd_recorder *r, const Parley__EventsRequest *q,
			const char *boot, struct piece *p)
{
	uint64_t seq = Q_MAX(q->from_seq, hd_recorder_first(r));
	uint64_t end = r->next - Q_MIN(r->next, seq) > RECORDS_READ ? seq + RECORDS_READ : r->next;

	for (; seq < end && p->n < RECORDS_TOLD; seq++) {
		struct hd_record *rec = &p->records[p->n];
		Parley__Event *ev = &p->events[p->n];

		if (!hd_recorder_get(r, seq, rec) || !is_asked_for(q, boot, rec))
			continue;
		hd_event_to_proto(&rec->event, ev);
		ev->seq = seq;
		ev->uptime_ms = rec->uptime_ms;
		ev->boot = rec->boot;
		p->v[p->n++] = ev;
	}
	return seq < r->next ? seq : 0;
}

static void reply(struct hd_client *c, uint32_t id, struct piece *p, uint64_t next)
{
	Parley__EventsReply m = PARLEY__EVENTS_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	m.n_events = p->n;
	m.events = p->v;
	m.next_seq = next;
	e.body_case = PARLEY__ENVELOPE__BODY_EVENTS_REPLY;
	e.events_reply = &m;
	hd_client_reply(c, id, &e);
}

void hd_recall(struct hd_client *c, const Parley__Envelope *e)
{
	const Parley__EventsRequest *q = e->events_request;
	const struct hd_recorder *r = &c->oper->env->recorder;
	const char *boot = *q->boot ? hd_recorder_boot(r, q->boot) : NULL;

	if (r->fd < 0) {
		hd_link_send_error(c->link, e->id, PARLEY__CODE__E_NOT_RUNNING,
				   "nothing is recorded: %s",
				   c->oper->env->conf.events_kept ?
					   "the recorder's file cannot be used, see the log" :
					   "hostd.conf says events-kept = 0");
		return;
	}
	if (*q->boot && !boot) {
		hd_link_send_error(c->link, e->id, PARLEY__CODE__E_NO_SUCH,
				   "no boot of that name is recorded");
		return;
	}
	struct piece *p = calloc(1, sizeof(*p));
	if (!p) {
		hd_link_send_error(c->link, e->id, PARLEY__CODE__E_FAILED, "out of memory");
		return;
	}
	uint64_t next = collect(r, q, boot, p);
	reply(c, e->id, p, next);
	free(p);
	/* What comes from now on follows without a gap. */
	if (next == 0)
		c->follows = q->follow;
}
