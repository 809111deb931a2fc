/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostctl events: what happened, from hostd's memory, or, where a time or a boot is asked for, from
 * its flight recorder. Main thread.
 */
#include <stdio.h>
#include <time.h>

#include "hostctl/show.h"
#include "hostctl/verbs.h"
#include "hostctl/when.h"

static enum hc_exit follow(struct hc *hc)
{
	Parley__Envelope *ev = NULL;
	enum hc_exit r = HC_OK;

	while (r == HC_OK && !ferror(stdout)) {
		r = hc_next_event(hc, &ev);
		if (r == HC_OK)
			r = hc_show_event(hc, ev->event);
		if (r == HC_OK)
			qp_msg_free(ev);
	}
	return r;
}

/* One answer; *ret_next: where the next piece begins, 0: there is none. */
static enum hc_exit show_piece(struct hc *hc, const Parley__EventsRequest *req, uint64_t timeout_ns,
			       uint64_t *ret_next)
{
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;

	e.body_case = PARLEY__ENVELOPE__BODY_EVENTS_REQUEST;
	e.events_request = (Parley__EventsRequest *)req;
	enum hc_exit r = hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_EVENTS_REPLY, timeout_ns, &reply,
				NULL);
	*ret_next = 0;
	if (r != HC_OK)
		return r;
	for (size_t i = 0; r == HC_OK && i < reply->events_reply->n_events; i++)
		r = hc_show_event(hc, reply->events_reply->events[i]);
	*ret_next = reply->events_reply->next_seq;
	qp_msg_free(reply);
	return r;
}

static bool moment(const char *text, uint64_t *ret_ms)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return !text || hc_when_parse(text, (uint64_t)now.tv_sec * 1000 +
					    (uint64_t)now.tv_nsec / Q_NSEC_PER_MSEC, ret_ms);
}

static enum hc_exit bad_moment(const struct hc *hc, const char *option, const char *text)
{
	return hc_fail(hc, HC_USAGE, "--%s %.64s: expected a time such as \"2026-11-20 03:12\", "
		       "03:12, yesterday, -15min or @1795000000", option, text);
}

enum hc_exit hc_events(struct hc *hc, const struct hc_opts *o, uint64_t timeout_ns)
{
	Parley__EventsRequest req = PARLEY__EVENTS_REQUEST__INIT;
	uint64_t next, last = 0;

	if (!moment(o->since, &req.since_ms))
		return bad_moment(hc, "since", o->since);
	if (!moment(o->until, &req.until_ms))
		return bad_moment(hc, "until", o->until);
	if (o->until && req.since_ms > req.until_ms)
		return hc_fail(hc, HC_USAGE, "--until is before --since");
	req.follow = o->follow;
	req.recorded = o->since || o->until || o->boot;
	req.boot = (char *)(o->boot ? o->boot : "");
	enum hc_exit r = show_piece(hc, &req, timeout_ns, &next);
	/* Each piece begins behind the one before, or its sender is not to be followed. */
	while (r == HC_OK && next > last) {
		req.from_seq = last = next;
		r = show_piece(hc, &req, timeout_ns, &next);
	}
	return r == HC_OK && o->follow ? follow(hc) : r;
}
