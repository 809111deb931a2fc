/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to hostd. Owns it, the last answers and the lines of the plots. Main thread.
 *
 * Theory of operation: each tick asks for the list and the statistics; an answer takes the place of
 * the one before. Four ticks without one, and whatever breaks the connection, forget both: what is
 * shown is never old. The next tick connects again.
 */
#include "metrics/feed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"
#include "lib/qlog.h"

#define TICK_S 2
#define SILENT_MAX 4u

enum { ID_LIST = 1, ID_STATS = 2 };

static void forget(struct mt_feed *f)
{
	if (f->list)
		qp_msg_free(f->list);
	if (f->stats)
		qp_msg_free(f->stats);
	f->list = f->stats = NULL;
}

static void disconnect(struct mt_feed *f)
{
	if (f->ev_read)
		event_free(f->ev_read);
	if (f->ev_write)
		event_free(f->ev_write);
	f->ev_read = f->ev_write = NULL;
	f->chan = qp_chan_free(f->chan);
	forget(f);
}

static void want_write(struct mt_feed *f)
{
	if (f->chan && qp_chan_wants_write(f->chan))
		event_add(f->ev_write, NULL);
}

static struct mt_line *line_of(struct mt_feed *f, const char *share)
{
	for (size_t i = 0; i < f->n_lines; i++)
		if (strcmp(f->lines[i].share, share) == 0)
			return &f->lines[i];
	if (f->n_lines == MT_LINES_MAX)
		return NULL;
	struct mt_line *lines = reallocarray(f->lines, f->n_lines + 1, sizeof(lines[0]));
	if (!lines)
		return NULL;
	f->lines = lines;
	struct mt_line *l = &lines[f->n_lines++];
	*l = (struct mt_line){ .n = 0 };
	snprintf(l->share, sizeof(l->share), "%s", share);
	return l;
}

static void draw(struct mt_feed *f, const Parley__MediatorStats *m)
{
	for (size_t i = 0; m && i < m->n_shares; i++) {
		const Parley__ShareStats *s = m->shares[i];
		struct mt_line *l = line_of(f, s->share);

		if (!l || !s->latency)
			continue;
		l->points[l->n++ % MT_POINTS] = (struct mt_point){
			.worst_ns = s->latency->max_ns,
			.p99_ns = s->latency->p99_ns,
			.bound_ns = s->bound_ns,
		};
	}
}

/* Takes @take_e. */
static void on_message(struct mt_feed *f, Parley__Envelope *take_e)
{
	Parley__Envelope **place = NULL;

	f->n_silent = 0;
	if (take_e->body_case == PARLEY__ENVELOPE__BODY_LIST_REPLY && take_e->id == ID_LIST)
		place = &f->list;
	else if (take_e->body_case == PARLEY__ENVELOPE__BODY_STATS_REPLY && take_e->id == ID_STATS)
		place = &f->stats;
	if (take_e->body_case == PARLEY__ENVELOPE__BODY_ERROR)
		qlog_warn("ev=refused why=\"%.200s\"", take_e->error->text);
	if (!place) {
		qp_msg_free(take_e);
		return;
	}
	if (*place)
		qp_msg_free(*place);
	*place = take_e;
	if (place == &f->stats)
		draw(f, take_e->stats_reply->mediator);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct mt_feed *f = arg;
	int fds[QP_FDS_MAX], r;
	unsigned n_fds = 0;
	Parley__Envelope *e;

	while ((r = qp_chan_recv(f->chan, &e, fds, &n_fds)) == QP_OK) {
		while (n_fds > 0)	/* nobody is asked for any */
			qfd_close(&fds[--n_fds]);
		on_message(f, e);
	}
	if (r != QP_AGAIN)
		disconnect(f);
	want_write(f);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct mt_feed *f = arg;

	if (qp_chan_flush(f->chan) != QP_OK)
		disconnect(f);
	want_write(f);
}

static void connect_hostd(struct mt_feed *f)
{
	int fd = qfd_connect_unix_now(f->socket);

	if (fd < 0 || qfd_nonblock(fd, true) < 0) {
		qfd_close(&fd);
		return;
	}
	f->chan = qp_chan_new(fd, "parley-metrics");
	if (!f->chan)
		return;
	f->n_silent = 0;
	f->ev_read = event_new(f->base, fd, EV_READ | EV_PERSIST, on_readable, f);
	f->ev_write = event_new(f->base, fd, EV_WRITE, on_writable, f);
	if (!f->ev_read || !f->ev_write || event_add(f->ev_read, NULL) < 0)
		disconnect(f);
}

static void ask(struct mt_feed *f)
{
	Parley__ListRequest list = PARLEY__LIST_REQUEST__INIT;
	Parley__StatsRequest stats = PARLEY__STATS_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	e.id = ID_LIST;
	e.body_case = PARLEY__ENVELOPE__BODY_LIST_REQUEST;
	e.list_request = &list;
	int r = qp_chan_send(f->chan, &e, NULL, 0);
	e.id = ID_STATS;
	e.body_case = PARLEY__ENVELOPE__BODY_STATS_REQUEST;
	e.stats_request = &stats;
	if (r == QP_OK)
		r = qp_chan_send(f->chan, &e, NULL, 0);
	if (r != QP_OK)
		disconnect(f);
	want_write(f);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct mt_feed *f = arg;

	if (f->chan && f->n_silent++ >= SILENT_MAX)
		disconnect(f);
	if (!f->chan)
		connect_hostd(f);
	if (f->chan)
		ask(f);
}

int mt_feed_init(struct mt_feed *f, struct event_base *base, const char *socket)
{
	static const struct timeval tick = { .tv_sec = TICK_S };

	*f = (struct mt_feed){ .base = base, .socket = socket };
	f->ev_tick = event_new(base, -1, EV_PERSIST, on_tick, f);
	if (!f->ev_tick || event_add(f->ev_tick, &tick) < 0)
		return -ENOMEM;
	on_tick(-1, EV_TIMEOUT, f);
	return 0;
}

void mt_feed_fini(struct mt_feed *f)
{
	disconnect(f);
	if (f->ev_tick)
		event_free(f->ev_tick);
	free(f->lines);
	*f = (struct mt_feed){ .base = NULL };
}

const Parley__ListReply *mt_feed_list(const struct mt_feed *f)
{
	return f->list ? f->list->list_reply : NULL;
}

const Parley__StatsReply *mt_feed_stats(const struct mt_feed *f)
{
	return f->stats ? f->stats->stats_reply : NULL;
}
