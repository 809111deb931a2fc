/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets for shares that come while the mediator runs: asked of hostd, which answers
 * when it likes; the request that wants them waits meanwhile, and is served again with the last
 * answer. One such at a time. Main thread.
 *
 * Invariant: while there is a listen_wait one question of it is out, or its request is being served
 * again; its timer bounds both.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"
#include "mediator/control_priv.h"

/* What an answer is to: hostd says it back. */
#define ID_ASK 1u
#define ID_GONE 2u

struct listen_wait {
	char **names;			/* asked for; owned, n of them */
	int *fds;			/* that came; owned, n_have of them */
	size_t n, n_have;
	int err;			/* -errno: they do not come */
	struct event *timer;
	/* The request that waits: its peer may be gone, or another, when it goes on. */
	struct peer *peer;
	const struct qp_chan *chan;
	uint8_t *packed;		/* owned */
	size_t len_bytes;
};

static struct listen_wait *wait_free(struct listen_wait *w)
{
	if (!w)
		return NULL;
	for (size_t i = 0; w->names && i < w->n; i++)
		free(w->names[i]);
	for (size_t i = 0; i < w->n_have; i++)
		qfd_close(&w->fds[i]);
	if (w->timer)
		event_free(w->timer);
	free(w->names);
	free(w->fds);
	free(w->packed);
	free(w);
	return NULL;
}

static bool has_hostd(const struct control *c)
{
	bool found = false;

	for (size_t i = 0; i < PEERS_MAX; i++)
		found |= c->peers[i].chan && c->peers[i].is_hostd;
	return found;
}

static void ask_next(struct control *c)
{
	struct listen_wait *w = c->wait;
	Parley__ListenRequest req = PARLEY__LISTEN_REQUEST__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	req.n_shares = Q_MIN(w->n - w->n_have, QP_FDS_MAX);
	req.shares = w->names + w->n_have;
	e.id = ID_ASK;
	e.body_case = PARLEY__ENVELOPE__BODY_LISTEN_REQUEST;
	e.listen_request = &req;
	control_tell_hostd(c, &e);
}

/* What came is what is wanted now: hands it out. */
static int hand_out(struct control *c, const char *const *names, size_t n, int *ret_fds)
{
	struct listen_wait *w = c->wait;
	bool same = w->n_have == w->n && w->n == n;

	for (size_t i = 0; same && i < n; i++)
		same = strcmp(w->names[i], names[i]) == 0;
	if (!same)
		return w->err ? w->err : -EBUSY;
	memcpy(ret_fds, w->fds, n * sizeof(ret_fds[0]));
	w->n_have = 0;	/* they are the caller's */
	return 0;
}

/* The request that waited is served again. */
static void go_on(struct control *c)
{
	struct listen_wait *w = c->wait;
	Parley__Envelope *req =
		w->packed ? parley__envelope__unpack(NULL, w->len_bytes, w->packed) : NULL;

	if (req && w->chan && w->peer->chan == w->chan)
		control_handle(w->peer, req);
	if (req)
		parley__envelope__free_unpacked(req, NULL);
	/* With its peer it may have gone already. */
	c->wait = wait_free(c->wait);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;

	c->wait->err = -ETIMEDOUT;
	go_on(c);
}

static int wait_new(struct control *c, const char *const *names, size_t n)
{
	static const struct timeval most = { .tv_sec = 5 };
	struct listen_wait *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->names = calloc(n, sizeof(w->names[0]));
	w->fds = calloc(n, sizeof(w->fds[0]));
	w->timer = evtimer_new(c->base, on_late, c);
	w->n = n;
	bool ok = w->names && w->fds && w->timer && event_add(w->timer, &most) == 0;
	for (size_t i = 0; ok && i < n; i++)
		ok = (w->names[i] = strdup(names[i])) != NULL;
	c->wait = ok ? w : wait_free(w);
	return ok ? 0 : -ENOMEM;
}

int control_listen(struct control *c, const char *const *names, size_t n, int *ret_fds)
{
	if (c->wait)
		return hand_out(c, names, n, ret_fds);
	if (!has_hostd(c))
		return -ENOTCONN;
	int r = wait_new(c, names, n);
	if (r < 0)
		return r;
	ask_next(c);
	return -EAGAIN;
}

bool control_defer(struct peer *p, const Parley__Envelope *req)
{
	struct listen_wait *w = p->control->wait;

	if (!w || w->packed)
		return false;
	w->len_bytes = parley__envelope__get_packed_size(req);
	w->packed = malloc(w->len_bytes + 1);
	if (!w->packed)
		return false;
	parley__envelope__pack(req, w->packed);
	w->peer = p;
	w->chan = p->chan;
	return true;
}

static void take_answer(struct listen_wait *w, const Parley__Envelope *e, int *fds, unsigned n_fds)
{
	bool is_error = e->body_case == PARLEY__ENVELOPE__BODY_ERROR;

	if (is_error || n_fds != Q_MIN(w->n - w->n_have, QP_FDS_MAX)) {
		w->err = is_error && e->error->sys_errno > 0 ? -(int)e->error->sys_errno : -EPROTO;
		return;
	}
	for (unsigned i = 0; i < n_fds; i++) {
		w->fds[w->n_have++] = fds[i];
		fds[i] = -1;
	}
}

bool control_listen_reply(struct control *c, const Parley__Envelope *e, int *fds, unsigned n_fds)
{
	struct listen_wait *w = c->wait;

	if (e->body_case != PARLEY__ENVELOPE__BODY_LISTEN_REPLY &&
	    e->body_case != PARLEY__ENVELOPE__BODY_ERROR)
		return false;
	if (e->id != ID_ASK || !w || w->err || w->n_have == w->n)
		return true;
	take_answer(w, e, fds, n_fds);
	if (!w->err && w->n_have < w->n)
		ask_next(c);
	else
		go_on(c);
	return true;
}

void control_unlisten(struct control *c, const char *const *names, size_t n)
{
	for (size_t at = 0; at < n; at += QP_FDS_MAX) {
		Parley__ListenRequest req = PARLEY__LISTEN_REQUEST__INIT;
		Parley__Envelope e = PARLEY__ENVELOPE__INIT;

		req.n_gone = Q_MIN(n - at, QP_FDS_MAX);
		req.gone = (char **)names + at;
		e.id = ID_GONE;
		e.body_case = PARLEY__ENVELOPE__BODY_LISTEN_REQUEST;
		e.listen_request = &req;
		control_tell_hostd(c, &e);
	}
}

void control_listen_drop(struct control *c)
{
	c->wait = wait_free(c->wait);
}
