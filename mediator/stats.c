/* SPDX-License-Identifier: Apache-2.0 */
/* Turns what the disks remember into protocol messages. Main thread. */
#include "mediator/stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/disks.h"

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

int med_explain(struct med_disk *disks, const char *name, Parley__ExplainReply **ret)
{
	const struct med_share *sh = med_disks_share(disks, name);
	struct flight worst[RECORDER_WORST];

	if (!sh)
		return -ENOENT;
	struct explain_out *o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	parley__explain_reply__init(&o->msg);
	o->msg.n_flights = recorder_read(&sh->worst, worst);
	o->msg.flights = o->list;
	o->msg.target_ns = sh->policy->depth ? sh->policy->target_ns : 0;
	o->msg.missed = sh->stats->missed;
	o->msg.bound_ns = sh->policy->depth ? sh->disk->stats->bound_ns : 0;
	o->msg.ladder_step = (uint32_t)sh->disk->stats->ladder_step;
	o->msg.ladder_ups = sh->disk->stats->ladder_ups;
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
