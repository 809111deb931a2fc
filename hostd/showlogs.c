/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostctl logs: the books of one writer or of all, as one stream in order of time, and what comes
 * to them. Main thread. Of many lines the newest are sent: an answer holds at most 2,000.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostd/oper.h"

#define ANSWER_LINES 2000u

static void fill(Parley__LogLine *ret, const struct hd_book *b, const struct hd_log_line *line)
{
	*ret = (Parley__LogLine)PARLEY__LOG_LINE__INIT;
	ret->time_ms = line->time_ms;
	ret->name = (char *)b->name;
	ret->console = b->console;
	ret->priority = line->prio;
	ret->text = line->text;
}

static bool wanted(const char *name, bool no_console, const struct hd_book *b)
{
	return (!*name || strcmp(name, b->name) == 0) && !(no_console && b->console);
}

static int by_time(const void *a, const void *b)
{
	const Parley__LogLine *x = *(Parley__LogLine *const *)a, *y = *(Parley__LogLine *const *)b;

	if (x->time_ms != y->time_ms)
		return x->time_ms < y->time_ms ? -1 : 1;
	/* Of one book they stand in order. */
	return x < y ? -1 : x > y;
}

static size_t count(const struct hd_logs *l)
{
	const struct hd_book *b;
	size_t n = 0;

	LIST_FOREACH(b, &l->books, entry)
		n += b->n;
	return n;
}

static size_t collect(const struct hd_logs *l, const Parley__LogsRequest *q, Parley__LogLine *m,
		      Parley__LogLine **v)
{
	const struct hd_log_line *line;
	const struct hd_book *b;
	size_t n = 0;

	LIST_FOREACH(b, &l->books, entry)
		for (unsigned i = 0; wanted(q->name, q->no_console, b) && (line = hd_book_at(b, i));
		     i++)
			if (line->time_ms >= q->since_ms) {
				fill(&m[n], b, line);
				v[n] = &m[n];
				n++;
			}
	qsort(v, n, sizeof(v[0]), by_time);
	return n;
}

void hd_show_logs(struct hd_client *c, const Parley__Envelope *req)
{
	const Parley__LogsRequest *q = req->logs_request;
	const struct hd_logs *l = &c->oper->env->logs;
	Parley__LogsReply reply = PARLEY__LOGS_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	size_t all = count(l);
	Parley__LogLine *m = calloc(all + 1, sizeof(m[0])), **v = calloc(all + 1, sizeof(v[0]));

	if (m && v) {
		size_t n = collect(l, q, m, v), skip = n - Q_MIN(n, (size_t)ANSWER_LINES);

		reply.lines = v + skip;
		reply.n_lines = n - skip;
		reply.dropped = l->n_dropped;
		e.body_case = PARLEY__ENVELOPE__BODY_LOGS_REPLY;
		e.logs_reply = &reply;
		hd_client_reply(c, req->id, &e);
		c->follows_logs = q->follow;
		c->logs_no_console = q->no_console;
		snprintf(c->logs_name, sizeof(c->logs_name), "%s", q->name);
	} else {
		hd_link_send_error(c->link, req->id, PARLEY__CODE__E_FAILED, "out of memory");
	}
	free(v);
	free(m);
}

void hd_tell_log(struct hd_oper *o, const struct hd_book *b, const struct hd_log_line *line)
{
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	Parley__LogLine m;
	struct hd_client *c;

	fill(&m, b, line);
	e.body_case = PARLEY__ENVELOPE__BODY_LOG_LINE;
	e.log_line = &m;
	LIST_FOREACH(c, &o->clients, entry)
		if (c->follows_logs && wanted(c->logs_name, c->logs_no_console, b))
			hd_link_send(c->link, &e, NULL, 0);	/* who does not read is ended */
}
