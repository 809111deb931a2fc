/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the mediator's control conversations. Main thread only, except the event pipe's writing end,
 * which the devices' threads write to: an event is one write(2) of a fixed size below PIPE_BUF, so
 * events of several threads do not mix.
 *
 * hostd's channel may end at any time (a hostd that is upgraded): the mediator goes on serving. A
 * tool's connection that breaks a rule ends alone.
 */
#include "mediator/control_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qlog.h"

#define MSG_BUDGET 16u
#define RARE_A_MINUTE 8u
#define ASK_TIMEOUT_NS (10 * Q_NSEC_PER_SEC)

struct event_record {
	char kind[32], share[72], text[MED_EVENT_TEXT];
};

/* What one share tells of one kind: the first is logged, then a sum a minute. */
struct told {
	char kind[32], share[72];
	struct qlog_limit limit;
	uint64_t minute_ns;
	unsigned n_minute;
};

static void peer_close(struct peer *p)
{
	if (p->ev_read)
		event_free(p->ev_read);
	if (p->ev_write)
		event_free(p->ev_write);
	p->chan = qp_chan_free(p->chan);
	p->ev_read = p->ev_write = NULL;
	if (p->is_hostd)
		control_listen_drop(p->control);
}

static void peer_flush(struct peer *p)
{
	int r = qp_chan_flush(p->chan);

	if (r != QP_OK)
		peer_close(p);
	else if (qp_chan_wants_write(p->chan))
		event_add(p->ev_write, NULL);
}

static void send_fds(struct peer *p, const Parley__Envelope *e, const int *fds, unsigned n_fds)
{
	int r = qp_chan_send(p->chan, e, fds, n_fds);

	if (r == QP_OK)
		peer_flush(p);
	else
		peer_close(p);
}

void control_send(struct peer *p, const Parley__Envelope *e)
{
	send_fds(p, e, NULL, 0);
}

void control_done(struct peer *p, uint32_t id)
{
	Parley__Done done = PARLEY__DONE__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	e.id = id;
	e.body_case = PARLEY__ENVELOPE__BODY_DONE;
	e.done = &done;
	control_send(p, &e);
}

void control_error(struct peer *p, uint32_t id, Parley__Code code, const char *text)
{
	if (qp_chan_send_error(p->chan, id, code, 0, "%s", text) == QP_OK)
		peer_flush(p);
	else
		peer_close(p);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct peer *p = arg;

	for (unsigned n = 0; n < MSG_BUDGET && p->chan; n++) {
		Parley__Envelope *e = NULL;
		int fds[QP_FDS_MAX];
		unsigned n_fds = 0;
		int r = qp_chan_recv(p->chan, &e, fds, &n_fds);

		bool answer = r == QP_OK && p->is_hostd &&
			      control_listen_reply(p->control, e, fds, n_fds);
		for (unsigned i = 0; i < n_fds; i++)
			qfd_close(&fds[i]);	/* no other message carries any */
		if (r == QP_AGAIN)
			return;
		if (r != QP_OK) {
			qlog_info("ev=control_closed peer=%s why=%s",
				  p->is_hostd ? "hostd" : "tool",
				  r == QP_FAULT ? qp_chan_fault(p->chan) : "hung_up");
			peer_close(p);
			return;
		}
		if (!answer)
			control_handle(p, e);
		qp_msg_free(e);
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	peer_flush(arg);
}

/* Takes @take_chan on success and failure. */
static struct peer *peer_add(struct control *c, struct qp_chan *take_chan, bool is_hostd)
{
	struct peer *p = NULL;

	for (size_t i = 0; i < PEERS_MAX && !p; i++)
		if (!c->peers[i].chan)
			p = &c->peers[i];
	if (!p || !take_chan) {
		qp_chan_free(take_chan);
		return NULL;
	}
	*p = (struct peer){ .control = c, .chan = take_chan, .is_hostd = is_hostd };
	int fd = qp_chan_fd(take_chan);
	p->ev_read = event_new(c->base, fd, EV_READ | EV_PERSIST, on_readable, p);
	p->ev_write = event_new(c->base, fd, EV_WRITE, on_writable, p);
	if (!p->ev_read || !p->ev_write || event_add(p->ev_read, NULL) < 0) {
		peer_close(p);
		return NULL;
	}
	return p;
}

/* The newest hostd is the one: the lock on its state folder says that there is no other. */
static void on_successor(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;
	struct qp_chan *chan;
	pid_t pid;
	uid_t uid;
	int r = qp_chan_succeed(fd, "mediator", c->owner, &chan, &pid, &uid);

	if (r == -EACCES)
		qlog_warn("ev=control_refused pid=%d uid=%u", (int)pid, (unsigned)uid);
	if (r < 0)
		return;
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (c->peers[i].chan && c->peers[i].is_hostd)
			peer_close(&c->peers[i]);
	if (!peer_add(c, chan, true))
		return;
	qlog_info("ev=control_taken_over pid=%d", (int)pid);
	control_ready(c);
}

static void on_tool(evutil_socket_t fd, short what, void *arg)
{
	int sock = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (sock >= 0)
		peer_add(arg, qp_chan_new(sock, "mediator"), false);
}

/* ---- events of the devices ---- */

static void put_event(void *ctx, const char *kind, const char *share, const char *text)
{
	struct control *c = ctx;
	struct event_record rec = { 0 };

	snprintf(rec.kind, sizeof(rec.kind), "%s", kind);
	snprintf(rec.share, sizeof(rec.share), "%s", share);
	snprintf(rec.text, sizeof(rec.text), "%s", text);
	if (write(c->pipe_fd[1], &rec, sizeof(rec)) != (ssize_t)sizeof(rec))
		atomic_fetch_add(&c->events_lost, 1);
}

/* What was told of that share and kind; NULL when out of memory. */
static struct told *told_of(struct control *c, const struct event_record *rec)
{
	for (size_t i = 0; i < c->n_told; i++)
		if (!strcmp(c->told[i].kind, rec->kind) && !strcmp(c->told[i].share, rec->share))
			return &c->told[i];
	struct told *v = reallocarray(c->told, c->n_told + 1, sizeof(v[0]));
	if (!v)
		return NULL;
	c->told = v;
	struct told *t = &v[c->n_told++];
	*t = (struct told){ 0 };
	memcpy(t->kind, rec->kind, sizeof(t->kind));
	memcpy(t->share, rec->share, sizeof(t->share));
	return t;
}

/* No client makes these: a few a minute are told one by one. */
static bool is_rare(const char *kind)
{
	static const char *const rare[] = {
		"device_gone", "device_back", "device_stalled", "device_moves", "share_waits",
		"share_served", "quarantine_ended",
	};

	for (size_t i = 0; i < Q_ARRAY_LEN(rare); i++)
		if (strcmp(kind, rare[i]) == 0)
			return true;
	return false;
}

/* Whether it is told now, and for how many. An operator's own doing always is. */
static bool is_due(struct told *t, const char *kind, uint64_t now, uint64_t *ret_n)
{
	*ret_n = 1;
	if (!t || strncmp(kind, "inject_", 7) == 0)
		return true;
	/* Its own rules keep it from swinging. */
	if (strcmp(kind, MED_EVENT_LADDER) == 0)
		return true;
	if (strncmp(kind, "share_", 6) == 0 && !is_rare(kind))
		return true;
	if (now - t->minute_ns >= 60 * Q_NSEC_PER_SEC) {
		t->minute_ns = now;
		t->n_minute = 0;
	}
	if (is_rare(kind) && t->n_minute++ < RARE_A_MINUTE)
		return true;
	return qlog_limit_hit(&t->limit, now, ret_n);
}

void control_tell_hostd(struct control *c, const Parley__Envelope *e)
{
	for (size_t i = 0; i < PEERS_MAX; i++) {
		struct peer *p = &c->peers[i];

		if (!p->chan || !p->is_hostd)
			continue;
		int r = qp_chan_send(p->chan, e, NULL, 0);
		if (r == QP_FULL)
			atomic_fetch_add(&c->events_lost, 1);
		else if (r == QP_OK)
			peer_flush(p);
		else
			peer_close(p);
	}
}

/* Clients can make events at will: the first of a kind is told, then sums. */
static void tell_event(struct control *c, struct event_record *rec)
{
	Parley__MediatorEvent m = PARLEY__MEDIATOR_EVENT__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	char shown[sizeof(rec->text) * 4];
	uint64_t n;

	if (strcmp(rec->kind, MED_EVENT_TAKEN) == 0) {
		live_settle(c->live);
		return;
	}
	if (!is_due(told_of(c, rec), rec->kind, qnow_ns(), &n))
		return;
	/* Of a ladder there are numbers and our own words only: no need to cut it as a peer's. */
	if (strcmp(rec->kind, MED_EVENT_LADDER) == 0)
		snprintf(shown, sizeof(shown), "%s", rec->text);
	else
		qlog_escape(shown, sizeof(shown), rec->text, strlen(rec->text));
	qlog_info("ev=%s share=%s n=%llu why=\"%s\"", rec->kind, rec->share,
		  (unsigned long long)n, shown);
	m.kind = rec->kind;
	m.share = rec->share;
	m.text = shown;
	e.body_case = PARLEY__ENVELOPE__BODY_MEDIATOR_EVENT;
	e.mediator_event = &m;
	control_tell_hostd(c, &e);
	if (strcmp(rec->kind, MED_EVENT_LADDER) == 0)
		control_freeze(c);
}

static void on_pipe(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;
	struct event_record rec;

	for (unsigned n = 0; n < MSG_BUDGET; n++) {
		if (read(fd, &rec, sizeof(rec)) != (ssize_t)sizeof(rec))
			break;
		tell_event(c, &rec);
	}
	uint64_t lost = atomic_exchange(&c->events_lost, 0);
	if (lost)
		qlog_warn("ev=events_lost n=%llu", (unsigned long long)lost);
}

struct med_event_sink control_sink(struct control *c)
{
	return (struct med_event_sink){ .event = put_event, .ctx = c };
}

void control_ready(struct control *c)
{
	Parley__Ready ready = PARLEY__READY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	e.body_case = PARLEY__ENVELOPE__BODY_READY;
	e.ready = &ready;
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (c->peers[i].chan && c->peers[i].is_hostd)
			send_fds(&c->peers[i], &e, &c->page->page.fd, 1);
}

struct control *control_new(struct event_base *base, struct med_disk *disks,
			    const struct statpage *page, struct qp_chan *take_chan,
			    int take_listen_fd)
{
	struct control *c = calloc(1, sizeof(*c));
	bool by_hostd = take_chan != NULL;

	if (!c) {
		qp_chan_free(take_chan);
		qfd_close(&take_listen_fd);
		return NULL;
	}
	c->base = base;
	c->disks = disks;
	c->page = page;
	c->listen_fd = take_listen_fd;
	c->pipe_fd[0] = c->pipe_fd[1] = -1;
	bool ok = pipe2(c->pipe_fd, O_CLOEXEC | O_NONBLOCK) == 0;
	if (by_hostd) {
		pid_t pid;
		gid_t gid;

		/* Without its user's name nobody can be known to be its successor. */
		if (qp_chan_peer(take_chan, &pid, &c->owner, &gid) < 0)
			qfd_close(&c->listen_fd);
		ok = peer_add(c, take_chan, true) && ok;
	}
	if (ok) {
		c->ev_pipe = event_new(base, c->pipe_fd[0], EV_READ | EV_PERSIST, on_pipe, c);
		ok = c->ev_pipe && event_add(c->ev_pipe, NULL) == 0;
	}
	if (ok && c->listen_fd >= 0) {
		c->ev_listen = event_new(base, c->listen_fd, EV_READ | EV_PERSIST,
					 by_hostd ? on_successor : on_tool, c);
		ok = c->ev_listen && event_add(c->ev_listen, NULL) == 0;
	}
	return ok ? c : control_free(c);
}

void control_set_audio(struct control *c, struct med_audio *audio)
{
	c->audio = audio;
}

void control_set_live(struct control *c, struct live *live)
{
	c->live = live;
}

struct control *control_free(struct control *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < PEERS_MAX; i++)
		peer_close(&c->peers[i]);
	if (c->ev_listen)
		event_free(c->ev_listen);
	if (c->ev_pipe)
		event_free(c->ev_pipe);
	if (c->ev_freeze)
		event_free(c->ev_freeze);
	qfd_close(&c->listen_fd);
	qfd_close(&c->pipe_fd[0]);
	qfd_close(&c->pipe_fd[1]);
	free(c->told);
	free(c);
	return NULL;
}

/* ---- before the loop ---- */

/* One question for at most QP_FDS_MAX sockets. */
static int ask_some(struct qp_chan *chan, const char *const *names, size_t n, int *ret_fds)
{
	Parley__ListenRequest req = PARLEY__LISTEN_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT, *reply = NULL;
	int fds[QP_FDS_MAX];
	unsigned n_fds = 0;

	req.n_shares = n;
	req.shares = (char **)names;
	e.id = 1;
	e.body_case = PARLEY__ENVELOPE__BODY_LISTEN_REQUEST;
	e.listen_request = &req;
	int r = qp_chan_send(chan, &e, NULL, 0);
	if (r == QP_OK)
		r = qp_chan_wait(chan, qnow_ns() + ASK_TIMEOUT_NS, &reply, fds, &n_fds);
	if (r != QP_OK)
		return r < 0 ? r : -EPROTO;
	bool ok = reply->body_case == PARLEY__ENVELOPE__BODY_LISTEN_REPLY && n_fds == n;
	qp_msg_free(reply);
	for (unsigned i = 0; !ok && i < n_fds; i++)
		qfd_close(&fds[i]);
	if (!ok)
		return -EPROTO;
	memcpy(ret_fds, fds, n * sizeof(fds[0]));
	return 0;
}

int control_ask_sockets(struct qp_chan *chan, const char *const *names, size_t n, int *ret_fds)
{
	size_t have = 0;
	int r = 0;

	while (r == 0 && have < n) {
		size_t some = Q_MIN(n - have, QP_FDS_MAX);

		r = ask_some(chan, names + have, some, ret_fds + have);
		have += r == 0 ? some : 0;
	}
	for (size_t i = 0; r < 0 && i < have; i++)
		qfd_close(&ret_fds[i]);
	return r;
}

void control_start_failed(struct qp_chan *chan, const char *stage, int err, const char *text)
{
	Parley__StartFailed m = PARLEY__START_FAILED__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	if (!chan)
		return;
	m.stage = (char *)stage;
	m.sys_errno = err < 0 ? -err : err;
	m.text = (char *)text;
	e.body_case = PARLEY__ENVELOPE__BODY_START_FAILED;
	e.start_failed = &m;
	/* If hostd does not hear it, it still sees the exit. */
	(void)qp_chan_send(chan, &e, NULL, 0);
}
