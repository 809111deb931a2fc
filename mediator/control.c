/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the mediator's control conversations. Main thread only, except the event pipe's writing end,
 * which the devices' threads write to: an event is one write(2) of a fixed size below PIPE_BUF, so
 * events of several threads do not mix.
 *
 * hostd's channel may end at any time (a hostd that is upgraded): the mediator goes on serving. A
 * tool's connection that breaks a rule ends alone.
 */
#include "mediator/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cferr.h"
#include "lib/qfd.h"
#include "lib/qlog.h"
#include "mediator/stats.h"

#define PEERS_MAX 16u
#define MSG_BUDGET 16u
#define ASK_TIMEOUT_NS (10 * Q_NSEC_PER_SEC)

struct event_record {
	char kind[32], share[72], text[128];
};

/* What one share tells of one kind: the first is logged, then a sum a minute. */
struct told {
	char kind[32], share[72];
	struct qlog_limit limit;
};

struct peer {
	struct control *control;
	struct qp_chan *chan;
	struct event *ev_read, *ev_write;
	bool is_hostd;
};

struct control {
	struct event_base *base;
	struct med_disk *disks;
	size_t n_disks;
	struct live *live;
	uint64_t start_ns;
	int listen_fd;
	struct event *ev_listen, *ev_pipe;
	int pipe_fd[2];
	_Atomic uint64_t events_lost;
	struct told *told;		/* owned, n_told: kinds and shares are few */
	size_t n_told;
	struct peer peers[PEERS_MAX];
};

static void peer_close(struct peer *p)
{
	if (p->ev_read)
		event_free(p->ev_read);
	if (p->ev_write)
		event_free(p->ev_write);
	p->chan = qp_chan_free(p->chan);
	p->ev_read = p->ev_write = NULL;
}

static void peer_flush(struct peer *p)
{
	int r = qp_chan_flush(p->chan);

	if (r != QP_OK)
		peer_close(p);
	else if (qp_chan_wants_write(p->chan))
		event_add(p->ev_write, NULL);
}

static void peer_send(struct peer *p, const Parley__Envelope *e)
{
	int r = qp_chan_send(p->chan, e, NULL, 0);

	if (r == QP_OK)
		peer_flush(p);
	else
		peer_close(p);
}

static void answer_done(struct peer *p, uint32_t id)
{
	Parley__Done done = PARLEY__DONE__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	e.id = id;
	e.body_case = PARLEY__ENVELOPE__BODY_DONE;
	e.done = &done;
	peer_send(p, &e);
}

static void answer_error(struct peer *p, uint32_t id, Parley__Code code, const char *text)
{
	if (qp_chan_send_error(p->chan, id, code, 0, "%s", text) == QP_OK)
		peer_flush(p);
	else
		peer_close(p);
}

static void on_stats(struct peer *p, const Parley__Envelope *req)
{
	struct control *c = p->control;
	Parley__MediatorStats *s = NULL;

	if (med_stats_collect(c->disks, c->n_disks, req->mediator_stats_request->share,
			      qnow_ns() - c->start_ns, &s) < 0) {
		answer_error(p, req->id, PARLEY__CODE__E_FAILED, "out of memory");
		return;
	}
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	e.id = req->id;
	e.body_case = PARLEY__ENVELOPE__BODY_MEDIATOR_STATS;
	e.mediator_stats = s;
	bool no_such = *req->mediator_stats_request->share && s->n_shares == 0;
	if (no_such)
		answer_error(p, req->id, PARLEY__CODE__E_NO_SUCH, "no share of that name");
	else
		peer_send(p, &e);
	med_stats_free(s);
	for (size_t i = 0; req->mediator_stats_request->reset_worst && i < c->n_disks; i++)
		med_disk_reset_worst(&c->disks[i]);
}

static void answer_no_device(struct peer *p, uint32_t id, const char *name)
{
	const struct control *c = p->control;
	const char *names[MED_DEVICES_MAX], *near;
	char shown[80], text[256];
	size_t n = Q_MIN(c->n_disks, Q_ARRAY_LEN(names));

	for (size_t i = 0; i < n; i++)
		names[i] = c->disks[i].policy->name;
	near = cf_nearest(name, names, n);
	qlog_escape(shown, sizeof(shown), name, strlen(name));
	snprintf(text, sizeof(text), "the policy has no device '%s'%s%s%s", shown,
		 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	answer_error(p, id, PARLEY__CODE__E_NO_SUCH, text);
}

static void on_priorities(struct peer *p, const Parley__Envelope *req)
{
	struct control *c = p->control;
	const Parley__SetPriorities *m = req->set_priorities;
	bool found = false;

	for (size_t i = 0; i < c->n_disks; i++) {
		if (*m->device && strcmp(m->device, c->disks[i].policy->name) != 0)
			continue;
		med_disk_set_priorities(&c->disks[i], m->on);
		qlog_info("ev=priorities dev=%s on=%d", c->disks[i].policy->name, m->on);
		found = true;
	}
	if (found)
		answer_done(p, req->id);
	else
		answer_no_device(p, req->id, m->device);
}

#define PIECE_BYTES 2048u	/* of a text that is longer than a string may be */

/* Sends @text in pieces. */
static void answer_text(struct peer *p, uint32_t id, char *text, size_t len)
{
	Parley__PolicyReply reply = PARLEY__POLICY_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	size_t n = (len + PIECE_BYTES - 1) / PIECE_BYTES;
	char *store = malloc(n * (PIECE_BYTES + 1) + 1), **pieces = calloc(n + 1, sizeof(*pieces));

	for (size_t i = 0; store && pieces && i < n; i++) {
		size_t bytes = Q_MIN(len - i * PIECE_BYTES, PIECE_BYTES);

		pieces[i] = store + i * (PIECE_BYTES + 1);
		memcpy(pieces[i], text + i * PIECE_BYTES, bytes);
		pieces[i][bytes] = '\0';
	}
	e.id = id;
	e.body_case = PARLEY__ENVELOPE__BODY_POLICY_REPLY;
	e.policy_reply = &reply;
	reply.n_text = n;
	reply.text = pieces;
	if (store && pieces)
		peer_send(p, &e);
	else
		answer_error(p, id, PARLEY__CODE__E_FAILED, "out of memory");
	free(store);
	free(pieces);
}

static int ask_live(struct live *l, const Parley__PolicyRequest *m, FILE *to,
		    struct cf_errors *errs)
{
	switch (m->verb) {
	case PARLEY__POLICY_REQUEST__VERB__SHOW:
		return live_show(l, to);
	case PARLEY__POLICY_REQUEST__VERB__CHECK:
		return live_check(l, to, errs);
	case PARLEY__POLICY_REQUEST__VERB__RELOAD:
		return live_reload(l, to, errs);
	default:
		return live_set(l, m->object, m->settings, m->n_settings, to, errs);
	}
}

static void on_policy(struct peer *p, const Parley__Envelope *req)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);
	int r = to ? ask_live(p->control->live, req->policy_request, to, &errs) : -ENOMEM;

	if (to && r == -EINVAL) {
		rewind(to);
		cf_errors_print(&errs, to);
	}
	if (to)
		(void)fclose(to);
	if (r == 0)
		answer_text(p, req->id, text, len);
	else if (r == -EINVAL) {
		text[Q_MIN(len, QP_STRING_MAX)] = '\0';
		answer_error(p, req->id, PARLEY__CODE__E_CONFIG, text);
	} else if (r == -EBUSY)
		answer_error(p, req->id, PARLEY__CODE__E_BUSY,
			     "a device has not taken the last change yet; try again");
	else
		answer_error(p, req->id, PARLEY__CODE__E_FAILED, "out of memory");
	free(text);
	cf_errors_fini(&errs);
}

static void on_explain(struct peer *p, const Parley__Envelope *req)
{
	struct control *c = p->control;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	int r = med_explain(c->disks, c->n_disks, req->explain_request->share, &e.explain_reply);

	if (r < 0) {
		answer_error(p, req->id, r == -ENOENT ? PARLEY__CODE__E_NO_SUCH :
							PARLEY__CODE__E_FAILED,
			     r == -ENOENT ? "no share of that name" : "out of memory");
		return;
	}
	e.id = req->id;
	e.body_case = PARLEY__ENVELOPE__BODY_EXPLAIN_REPLY;
	peer_send(p, &e);
	med_explain_free(e.explain_reply);
}

static void handle(struct peer *p, const Parley__Envelope *e)
{
	switch (e->body_case) {
	case PARLEY__ENVELOPE__BODY_MEDIATOR_STATS_REQUEST:
		on_stats(p, e);
		break;
	case PARLEY__ENVELOPE__BODY_SET_PRIORITIES:
		on_priorities(p, e);
		break;
	case PARLEY__ENVELOPE__BODY_POLICY_REQUEST:
		on_policy(p, e);
		break;
	case PARLEY__ENVELOPE__BODY_EXPLAIN_REQUEST:
		on_explain(p, e);
		break;
	default:
		answer_error(p, e->id, PARLEY__CODE__E_USAGE,
			     "the mediator does not answer this request");
		break;
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct peer *p = arg;

	for (unsigned n = 0; n < MSG_BUDGET && p->chan; n++) {
		Parley__Envelope *e = NULL;
		int fds[QP_FDS_MAX];
		unsigned n_fds = 0;
		int r = qp_chan_recv(p->chan, &e, fds, &n_fds);

		for (unsigned i = 0; i < n_fds; i++)
			qfd_close(&fds[i]);	/* no request carries any */
		if (r == QP_AGAIN)
			return;
		if (r != QP_OK) {
			qlog_info("ev=control_closed peer=%s why=%s",
				  p->is_hostd ? "hostd" : "tool",
				  r == QP_FAULT ? qp_chan_fault(p->chan) : "hung_up");
			peer_close(p);
			return;
		}
		handle(p, e);
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

static void on_accept(evutil_socket_t fd, short what, void *arg)
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

/* The limiter of that share and kind; NULL when out of memory. */
static struct qlog_limit *limit_of(struct control *c, const struct event_record *rec)
{
	for (size_t i = 0; i < c->n_told; i++)
		if (!strcmp(c->told[i].kind, rec->kind) && !strcmp(c->told[i].share, rec->share))
			return &c->told[i].limit;
	struct told *v = reallocarray(c->told, c->n_told + 1, sizeof(v[0]));
	if (!v)
		return NULL;
	c->told = v;
	struct told *t = &v[c->n_told++];
	*t = (struct told){ 0 };
	memcpy(t->kind, rec->kind, sizeof(t->kind));
	memcpy(t->share, rec->share, sizeof(t->share));
	return &t->limit;
}

/* A hostd that does not read loses events, not its channel. */
static void send_event(struct control *c, const Parley__Envelope *e)
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
	struct qlog_limit *limit = limit_of(c, rec);
	char shown[sizeof(rec->text) * 4];
	uint64_t n = 1;

	if (limit && !qlog_limit_hit(limit, qnow_ns(), &n))
		return;
	qlog_escape(shown, sizeof(shown), rec->text, strlen(rec->text));
	qlog_info("ev=%s share=%s n=%llu why=\"%s\"", rec->kind, rec->share,
		  (unsigned long long)n, shown);
	m.kind = rec->kind;
	m.share = rec->share;
	m.text = shown;
	e.body_case = PARLEY__ENVELOPE__BODY_MEDIATOR_EVENT;
	e.mediator_event = &m;
	send_event(c, &e);
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
			peer_send(&c->peers[i], &e);
}

struct control *control_new(struct event_base *base, struct med_disk *disks, size_t n_disks,
			    struct qp_chan *take_chan, int take_listen_fd)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c) {
		qp_chan_free(take_chan);
		qfd_close(&take_listen_fd);
		return NULL;
	}
	c->base = base;
	c->disks = disks;
	c->n_disks = n_disks;
	c->start_ns = qnow_ns();
	c->listen_fd = take_listen_fd;
	c->pipe_fd[0] = c->pipe_fd[1] = -1;
	bool ok = pipe2(c->pipe_fd, O_CLOEXEC | O_NONBLOCK) == 0;
	if (take_chan)
		ok = peer_add(c, take_chan, true) && ok;
	if (ok) {
		c->ev_pipe = event_new(base, c->pipe_fd[0], EV_READ | EV_PERSIST, on_pipe, c);
		ok = c->ev_pipe && event_add(c->ev_pipe, NULL) == 0;
	}
	if (ok && c->listen_fd >= 0) {
		c->ev_listen = event_new(base, c->listen_fd, EV_READ | EV_PERSIST, on_accept, c);
		ok = c->ev_listen && event_add(c->ev_listen, NULL) == 0;
	}
	return ok ? c : control_free(c);
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
