/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is counted, told and remembered of each request of a disk. Device's thread; others read the
 * counters, and the recorder, without waiting.
 */
#include "mediator/account.h"

#include <stdio.h>
#include <string.h>

#include "mediator/slice.h"

#define RELAXED memory_order_relaxed

const char *med_op_str(enum qblk_op op)
{
	static const char *const words[] = {
		[QBLK_READ] = "read", [QBLK_WRITE] = "write", [QBLK_FLUSH] = "flush",
		[QBLK_GET_ID] = "id", [QBLK_DISCARD] = "discard",
		[QBLK_WRITE_ZEROES] = "write-zeroes",
	};

	return (unsigned)op < Q_ARRAY_LEN(words) && words[op] ? words[op] : "unknown";
}

/* Clients can make these at will: the first is told, then a sum a minute. */
static void tell_limited(const struct med_req *r, struct qlog_limit *limit, uint64_t now,
			 const char *kind, const char *text)
{
	const struct med_event_sink *sink = &r->share->disk->sink;
	char line[128];
	uint64_t n;

	if (!qlog_limit_hit(limit, now, &n))
		return;
	snprintf(line, sizeof(line), "%s, %llu so far", text, (unsigned long long)limit->total);
	sink->event(sink->ctx, kind, r->share->policy->name, line);
}

static void tell_violated(const struct med_req *r, uint64_t latency, uint64_t now)
{
	char text[96];

	snprintf(text, sizeof(text), "took %llu us, promised were %llu us",
		 (unsigned long long)(latency / 1000), (unsigned long long)(r->bound_ns / 1000));
	tell_limited(r, &r->share->bound_limit, now, "bound_violated", text);
}

static void tell_error(const struct med_req *r, int err, uint64_t now)
{
	char text[96];

	snprintf(text, sizeof(text), "%s at sector %llu: %s", med_op_str(r->op),
		 (unsigned long long)r->sector, strerror(-err));
	tell_limited(r, &r->share->error_limit, now, "device_error", text);
}

static void record(struct med_req *r, uint64_t now)
{
	r->flight.latency_ns = now - r->arrival_ns;
	r->flight.wait_ns = r->given_ns - r->arrival_ns;
	r->flight.bound_ns = r->bound_ns;
	recorder_add(&r->share->worst, &r->flight);
}

void account_done(struct med_req *r, int err, uint64_t now)
{
	struct qstat_share *st = r->share->stats;
	uint64_t latency = now - r->arrival_ns;
	bool moves = !med_req_is_barrier(r), late = moves && r->bound_ns && latency > r->bound_ns;

	qstat_begin(&st->seq);
	qstat_add(&st->ops[r->op], 1);
	qstat_add(&st->bytes[r->op], r->len_bytes);
	if (moves) {
		qhist_add(&st->latency, latency);
		qhist_add(&st->wait, r->given_ns - r->arrival_ns);
	}
	if (err)
		qstat_add(&st->errors, 1);
	if (late)
		qstat_add(&st->bound_violations, 1);
	qstat_end(&st->seq);
	if (err)
		tell_error(r, err, now);
	if (r->flight.arrival_ns && r->given_ns)
		record(r, now);
	if (late)
		tell_violated(r, latency, now);
}

/* What is there when @r comes, of class safety: what it may have to wait for. */
void account_arrival(struct med_req *r)
{
	const struct med_share *sh = r->share;
	const struct sched *s = &sh->disk->sched;

	r->flight.arrival_ns = 0;
	if (sh->policy->class != SCHED_SAFETY)
		return;
	r->flight = (struct flight){
		.arrival_ns = r->arrival_ns,
		.op = r->op,
		.sector = r->sector,
		.len_bytes = r->len_bytes,
		.safety_there = s->in_flight - s->lower_in_flight,
		.lower_there = s->lower_in_flight,
		.barriers_there = s->lower_barriers + s->safety_barriers,
		.own_before = sh->outstanding,
		.safety_passed = s->given_safety,
		.lower_passed = s->given_lower,
	};
}

/* Its first slice is one of those that were given. */
void account_given(struct med_req *r, bool as_lower)
{
	const struct sched *s = &r->share->disk->sched;

	if (!r->flight.arrival_ns)
		return;
	r->flight.safety_passed = s->given_safety - r->flight.safety_passed - !as_lower;
	r->flight.lower_passed = s->given_lower - r->flight.lower_passed - as_lower;
}
