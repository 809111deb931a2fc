/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostctl logs: what VMs printed and their programs wrote, as far as hostd holds it, and with
 * --follow what comes. Main thread.
 */
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "hostctl/show.h"
#include "hostctl/verbs.h"
#include "hostctl/when.h"

static enum hc_exit show_json(const struct hc *hc, const Parley__LogLine *m)
{
	json_t *prio = m->priority < 0 ? json_null() : json_integer(m->priority);
	json_t *j = json_pack("{s:i, s:I, s:s, s:s, s:o, s:s}", "schema", 1, "time_ms",
			      (json_int_t)m->time_ms, "name", m->name, "from",
			      m->console ? "console" : "program", "priority", prio, "text",
			      m->text);

	if (!j || json_dumpf(j, stdout, JSON_COMPACT) < 0) {
		json_decref(j);
		return hc_fail(hc, HC_FAILED, "out of memory");
	}
	json_decref(j);
	putchar('\n');
	return HC_OK;
}

static enum hc_exit show(const struct hc *hc, const Parley__LogLine *m)
{
	time_t sec = (time_t)(m->time_ms / 1000);
	struct tm tm;
	char when[32];

	if (hc->json)
		return show_json(hc, m);
	localtime_r(&sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%s.%03u  %-12s %s %s\n", when, (unsigned)(m->time_ms % 1000), m->name,
	       m->console ? "|" : " ", m->text);
	return HC_OK;
}

static enum hc_exit follow(struct hc *hc)
{
	Parley__Envelope *m = NULL;
	enum hc_exit r = HC_OK;

	while (r == HC_OK && fflush(stdout) == 0) {
		r = hc_next(hc, PARLEY__ENVELOPE__BODY_LOG_LINE, &m);
		if (r != HC_OK)
			return r;
		r = show(hc, m->log_line);
		qp_msg_free(m);
	}
	return r;
}

enum hc_exit hc_logs(struct hc *hc, const struct hc_opts *o, uint64_t timeout_ns, const char *name)
{
	Parley__LogsRequest req = PARLEY__LOGS_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (o->since && !hc_when_parse(o->since, (uint64_t)now.tv_sec * 1000, &req.since_ms))
		return hc_fail(hc, HC_USAGE, "--since %.64s: expected a time such as \"2026-11-20 "
			       "03:12\", 03:12, yesterday, -15min or @1795000000", o->since);
	req.name = (char *)name;
	req.follow = o->follow;
	req.no_console = o->no_console;
	e.body_case = PARLEY__ENVELOPE__BODY_LOGS_REQUEST;
	e.logs_request = &req;
	enum hc_exit r = hc_ask(hc, &e, PARLEY__ENVELOPE__BODY_LOGS_REPLY, timeout_ns, &reply,
				NULL);
	for (size_t i = 0; r == HC_OK && i < reply->logs_reply->n_lines; i++)
		r = show(hc, reply->logs_reply->lines[i]);
	qp_msg_free(reply);
	return r == HC_OK && o->follow ? follow(hc) : r;
}
