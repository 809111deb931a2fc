/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins a qp_chan to libevent. Owns the channel and three events. Main thread.
 *
 * Invariants: ops->end is called at most once, from ev_end, as the last call; while one of our
 * callbacks runs (in_call), hd_link_free() only marks, and the callback frees when it comes back.
 */
#include "hostd/link.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"

#define MSG_BUDGET 16u
#define DRAIN_BUDGET 256u

struct hd_link {
	struct qp_chan *chan;
	struct event *ev_read, *ev_write, *ev_end;
	const struct hd_link_ops *ops;
	void *ctx;
	char why[64];
	bool ending;		/* ev_end will come; nothing is received or sent any more */
	bool finishing;		/* ends when all is sent */
	unsigned in_call;
	bool dead;		/* freed while in_call */
};

static void destroy(struct hd_link *l)
{
	if (l->ev_read)
		event_free(l->ev_read);
	if (l->ev_write)
		event_free(l->ev_write);
	if (l->ev_end)
		event_free(l->ev_end);
	qp_chan_free(l->chan);
	free(l);
}

static void leave(struct hd_link *l)
{
	if (--l->in_call == 0 && l->dead)
		destroy(l);
}

struct hd_link *hd_link_free(struct hd_link *l)
{
	if (!l)
		return NULL;
	l->dead = true;
	l->ending = true;
	if (l->in_call == 0)
		destroy(l);
	return NULL;
}

void hd_link_break(struct hd_link *l, const char *why)
{
	if (l->ending)
		return;
	l->ending = true;
	snprintf(l->why, sizeof(l->why), "%s", why);
	event_del(l->ev_read);
	event_del(l->ev_write);
	event_active(l->ev_end, EV_TIMEOUT, 0);
}

void hd_link_finish(struct hd_link *l, const char *why)
{
	const struct timeval limit = { .tv_sec = 1 };

	if (!qp_chan_wants_write(l->chan)) {
		hd_link_break(l, why);
		return;
	}
	if (l->ending || l->finishing)
		return;
	l->finishing = true;
	snprintf(l->why, sizeof(l->why), "%s", why);
	event_del(l->ev_read);
	event_add(l->ev_end, &limit);
}

static const char *why_of(struct hd_link *l, int r)
{
	if (r == QP_CLOSED)
		return "hung_up";
	if (r == QP_FAULT)
		return qp_chan_fault(l->chan);
	if (r == QP_FULL)
		return "does_not_read";
	return "io_error";
}

static void after_send(struct hd_link *l, int r)
{
	/* What a peer said before it hung up is still to be read: that side ends the link. */
	if (r == QP_CLOSED)
		return;
	if (r != QP_OK)
		hd_link_break(l, why_of(l, r));
	else if (qp_chan_wants_write(l->chan))
		event_add(l->ev_write, NULL);
	else if (l->finishing)
		hd_link_break(l, l->why);
}

int hd_link_send(struct hd_link *l, const Parley__Envelope *e, const int *fds, unsigned n_fds)
{
	if (l->ending || l->finishing)
		return -EPIPE;
	int r = qp_chan_send(l->chan, e, fds, n_fds);
	if (r == -ENOMEM || r == -EMSGSIZE || r == -EMFILE || r == -ENFILE)
		return r;	/* ours, not the peer's: nothing was queued */
	after_send(l, r);
	return r == QP_OK ? 0 : -EPIPE;
}

int hd_link_send_error(struct hd_link *l, uint32_t id, Parley__Code code, const char *fmt, ...)
{
	char text[QP_STRING_MAX];
	va_list ap;

	if (l->ending || l->finishing)
		return -EPIPE;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	int r = qp_chan_send_error(l->chan, id, code, 0, "%s", text);
	after_send(l, r);
	return r == QP_OK ? 0 : -EPIPE;
}

/* One message. False when there is none, or the link ends. */
static bool receive(struct hd_link *l)
{
	Parley__Envelope *e = NULL;
	int fds[QP_FDS_MAX];
	unsigned n_fds = 0;
	int r = qp_chan_recv(l->chan, &e, fds, &n_fds);

	if (r == QP_AGAIN)
		return false;
	if (r != QP_OK) {
		hd_link_break(l, why_of(l, r));
		return false;
	}
	l->ops->msg(l->ctx, e, fds, n_fds);
	for (unsigned i = 0; i < n_fds; i++)
		qfd_close(&fds[i]);
	qp_msg_free(e);
	return !l->ending && !l->finishing;
}

static void serve(struct hd_link *l, unsigned budget)
{
	l->in_call++;
	while (budget-- > 0 && receive(l))
		;
	leave(l);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	serve(arg, MSG_BUDGET);
}

void hd_link_drain(struct hd_link *l)
{
	if (!l->ending && !l->finishing)
		serve(l, DRAIN_BUDGET);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct hd_link *l = arg;

	after_send(l, qp_chan_flush(l->chan));
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct hd_link *l = arg;

	l->ending = true;
	event_del(l->ev_read);
	event_del(l->ev_write);
	l->in_call++;
	l->ops->end(l->ctx, l->why);
	leave(l);
}

struct hd_link *hd_link_new(struct event_base *base, int take_fd, const struct hd_link_ops *ops,
			    void *ctx)
{
	struct hd_link *l = calloc(1, sizeof(*l));

	if (!l) {
		qfd_close(&take_fd);
		return NULL;
	}
	l->ops = ops;
	l->ctx = ctx;
	l->chan = qp_chan_new(take_fd, "hostd");
	if (!l->chan)
		return hd_link_free(l);
	int fd = qp_chan_fd(l->chan);
	l->ev_read = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, l);
	l->ev_write = event_new(base, fd, EV_WRITE, on_writable, l);
	l->ev_end = event_new(base, -1, 0, on_end, l);
	if (!l->ev_read || !l->ev_write || !l->ev_end || event_add(l->ev_read, NULL) < 0)
		return hd_link_free(l);
	if (qp_chan_wants_write(l->chan))
		event_add(l->ev_write, NULL);
	return l;
}

int hd_link_peer(const struct hd_link *l, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid)
{
	return qp_chan_peer(l->chan, ret_pid, ret_uid, ret_gid);
}

int hd_link_fd(const struct hd_link *l)
{
	return qp_chan_fd(l->chan);
}
