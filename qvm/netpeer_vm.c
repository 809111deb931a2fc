/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How two vdevs of two VMs find each other: see the state table in netpeer_vm.h, and
 * docs/decisions/0013. I/O thread with the vdev's lock held; opening on the main thread.
 *
 * Everything that a peer says is hostile, and everything that it may have open is bounded: one
 * connection that has not spoken yet, one session. Identity is the endpoint's place, which only
 * this host's VMs can have, and the credentials of who is behind the socket: our own user or root.
 * Invariant: n.link_up exactly while UP, and the rings are mapped exactly while CALLING or UP.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "qvm/netpeer_sock.h"
#include "qvm/netpeer_vm.h"

#define DEADLINE_NS (2 * Q_NSEC_PER_SEC)
#define RETRY_NS Q_NSEC_PER_SEC
#define TRIES_BEFORE_ADVICE 3u
#define MTU_DEFAULT 1500u

#define TO(st) (1u << (st))
static const unsigned np_next[] = {
	[NP_AWAY] = TO(NP_CALLING) | TO(NP_KNOCKING) | TO(NP_UP),
	[NP_CALLING] = TO(NP_UP) | TO(NP_AWAY),
	[NP_KNOCKING] = TO(NP_UP) | TO(NP_AWAY),
	[NP_UP] = TO(NP_AWAY),
};
static_assert(Q_ARRAY_LEN(np_next) == NP_STATES, "every state has a row");

/* Sole writer of p->st. All moves are ours, whatever a peer says: an illegal one is a bug. */
static void set_state(struct netpeer *p, enum np_state to)
{
	qassert(np_next[p->st] & TO(to));
	p->st = to;
}

/* A complaint is made once, until something else happens. */
static void Q_PRINTF(2, 3) complain(struct netpeer *p, const char *fmt, ...)
{
	char text[sizeof(p->told)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!strcmp(text, p->told))
		return;
	memcpy(p->told, text, sizeof(text));
	qlog_warn("dev=%s %s", p->dev, text);
}

/* ---- sockets ---- */

static void conn_drop(struct np_conn *c)
{
	loop_unwatch(c->watch);
	c->watch = NULL;
	qfd_close(&c->fd);
}

static int say(struct netpeer *p, int fd, enum np_type type, enum np_why why, const int *mem_fd)
{
	struct np_msg m = {
		.type = type, .why = why, .features = p->cfg.features, .pairs = p->n.pairs,
		.mtu = p->n.mtu, .ring_bytes = NP_RING_BYTES,
	};
	uint8_t buf[NP_MSG_BYTES];

	memcpy(m.from, p->me, sizeof(m.from));
	memcpy(m.to, p->other, sizeof(m.to));
	memcpy(m.mac, p->n.mac, sizeof(m.mac));
	np_msg_put(&m, buf);
	ssize_t n = qfd_send(fd, buf, sizeof(buf), mem_fd, mem_fd ? 1 : 0);
	return n == sizeof(buf) ? 0 : n < 0 ? (int)n : -EMSGSIZE;
}

/* ---- sessions ---- */

static void arm(struct netpeer *p, uint64_t in_ns)
{
	loop_timer_arm(p->timer, in_ns ? qnow_ns() + in_ns : 0);
}

static void tell_vdev(struct netpeer *p, bool up)
{
	if (p->n.link_up == up)
		return;
	p->n.link_up = up;
	if (*p->host.v)
		p->cfg.link(*p->host.v);
}

static void go_away(struct netpeer *p, uint64_t retry_ns)
{
	conn_drop(&p->out);
	np_shared_drop(&p->mem);
	p->pairs = 0;
	set_state(p, NP_AWAY);
	arm(p, p->caller ? retry_ns : 0);
	tell_vdev(p, false);
}

void np_session_end(struct netpeer *p, const char *why)
{
	qlog_info("dev=%s ev=link_down peer=%s why=\"%s\"", p->dev, p->other, why);
	go_away(p, RETRY_NS);
}

static void session_begin(struct netpeer *p, const struct np_msg *m)
{
	set_state(p, NP_UP);
	arm(p, 0);
	p->n_tries = 0;
	p->told[0] = 0;
	p->n_sessions++;
	np_link_begin(p, Q_MIN(p->n.pairs, m->pairs));
	qlog_info("dev=%s ev=link_up peer=%s pairs=%u peerfeats=0x%llx of_peer=0x%llx", p->dev,
		  p->other, p->pairs, (unsigned long long)p->cfg.features,
		  (unsigned long long)m->features);
	if (!memcmp(m->mac, p->n.mac, sizeof(m->mac)))
		complain(p, "ev=same_mac peer=%s why=\"both ends have the same hardware address: "
			 "say another mac for one of them\"", p->other);
	if (m->mtu != p->n.mtu)
		complain(p, "ev=other_mtu peer=%s ours=%u theirs=%u why=\"longer frames than the "
			 "other end expects may be lost: say the same mtu for both\"", p->other,
			 p->n.mtu, m->mtu);
	tell_vdev(p, true);
	np_link_look(p);	/* what came before we listened has no bell of its own */
}

/* ---- our call, our knock ---- */

static void refused(struct netpeer *p, const struct np_msg *m)
{
	char who[NP_NAME_BYTES], to[NP_NAME_BYTES];

	qlog_escape(who, sizeof(who), m->from, strlen(m->from));
	qlog_escape(to, sizeof(to), m->to, strlen(m->to));
	switch (m->why) {
	case NP_WHY_OTHER_PEER:
		complain(p, "ev=peer_refuses peer=%s why=\"its configuration says peer %s, and we "
			 "are %s: each of the two must name the other\"", p->other, to, p->me);
		break;
	case NP_WHY_NOT_ME:
		complain(p, "ev=peer_refuses peer=%s why=\"who answers there is %s\"", p->other,
			 who);
		break;
	default:
		complain(p, "ev=peer_refuses peer=%s why=\"it cannot use what we offer\" code=%d",
			 p->other, m->why);
		break;
	}
	go_away(p, RETRY_NS);
}

static void answered(struct netpeer *p, const struct np_msg *m)
{
	if (m->type == NP_REFUSE)
		refused(p, m);
	else if (p->st == NP_CALLING && m->type == NP_ACCEPT)
		session_begin(p, m);
	else	/* COMING: it calls; others are nonsense, which ends as well */
		go_away(p, RETRY_NS);
}

/* One message that is to open something: 1; 0: nothing yet; negative: the connection is over. */
static int hear(struct netpeer *p, struct np_conn *c, struct np_msg *ret, int *ret_fd)
{
	uint8_t buf[NP_MSG_BYTES + 1];
	uint32_t version = 0;
	unsigned n_fds;
	ssize_t n = qfd_recv(c->fd, buf, sizeof(buf), ret_fd, 1, &n_fds);
	enum np_msg_verdict v;

	if (!n_fds)
		*ret_fd = -1;
	if (n == -EAGAIN)
		return 0;
	v = n > 0 ? np_msg_get(buf, (size_t)n, ret, &version) : NP_MSG_STRANGE;
	if (v == NP_MSG_OK)
		return 1;
	if (v == NP_MSG_VERSION)
		complain(p, "ev=other_version peer=%s ours=%u theirs=%u why=\"the two VMs are run "
			 "by different versions of qvm\"", p->other, NP_VERSION, version);
	qfd_close(ret_fd);
	return n < 0 ? (int)n : -EPROTO;
}

static void out_readable(void *owner, void *arg)
{
	struct netpeer *p = owner;
	struct np_msg m;
	int fd, r;

	if (!*p->host.v)
		return;
	if (p->st == NP_UP) {
		if (!np_link_bells(p) && p->st == NP_UP)
			np_session_end(p, "the other end hung up");
		return;
	}
	r = hear(p, &p->out, &m, &fd);
	if (r > 0) {
		qfd_close(&fd);	/* an answer brings none */
		answered(p, &m);
	} else if (r < 0) {
		go_away(p, RETRY_NS);
	}
}

/* Nobody is there: nothing to say before that lasts, or when there is a VM without such a vdev. */
static void nobody(struct netpeer *p, int err)
{
	char folder[NP_PATH_BYTES + 8];
	const char *slash = strrchr(p->other_path, '/');

	if (err == -EPROTOTYPE)
		complain(p, "ev=no_peer peer=%s why=\"that is no virtio-net\"", p->other);
	else if (err == -EPERM || err == -EACCES)
		complain(p, "ev=no_peer peer=%s why=\"it is another user's: both VMs must be run "
			 "by the same\"", p->other);
	else if (err != -ENOENT && err != -ECONNREFUSED && err != -EAGAIN)
		complain(p, "ev=no_peer peer=%s why=\"%s\"", p->other, strerrordesc_np(-err));
	if (++p->n_tries < TRIES_BEFORE_ADVICE || err != -ENOENT)
		return;
	snprintf(folder, sizeof(folder), "%.*s/pid", (int)(slash - p->other_path), p->other_path);
	if (access(folder, F_OK) == 0)
		complain(p, "ev=no_peer peer=%s why=\"that VM runs, and has no virtio-net of this "
			 "name: peer here, and name there, must agree\"", p->other);
	else
		complain(p, "ev=no_peer peer=%s why=\"that VM does not run; the link comes up when "
			 "it does\"", p->other);
}

/* Calls or knocks. */
static void reach(struct netpeer *p)
{
	int r = np_sock_connect(p->other_path);

	if (r < 0) {
		nobody(p, r);
		arm(p, p->caller || p->n_tries < TRIES_BEFORE_ADVICE ? RETRY_NS : 0);
		return;
	}
	p->out.fd = r;
	p->out.watch = loop_watch(p->host.loop, p->host.lock, r, out_readable, p, NULL);
	r = p->out.watch ? 0 : -ENOMEM;
	if (r == 0 && p->caller)
		r = np_shared_make(&p->mem, p->n.pairs);
	set_state(p, p->caller ? NP_CALLING : NP_KNOCKING);
	if (r == 0)
		r = say(p, p->out.fd, p->caller ? NP_CALL : NP_KNOCK, NP_WHY_NONE,
			p->caller ? &p->mem.fd : NULL);
	if (r < 0) {
		nobody(p, r);
		go_away(p, RETRY_NS);
		return;
	}
	arm(p, DEADLINE_NS);
}

static void timer_fired(void *owner, void *arg)
{
	struct netpeer *p = owner;

	if (!*p->host.v)
		return;
	if (p->st == NP_AWAY)
		reach(p);
	else if (p->st != NP_UP)
		go_away(p, RETRY_NS);	/* no answer in time */
}

/* ---- who comes to us ---- */

static void refuse(struct netpeer *p, enum np_why why)
{
	say(p, p->in.fd, NP_REFUSE, why, NULL);
	conn_drop(&p->in);
}

/* True when it is our peer, and means us. */
static bool admit(struct netpeer *p, const struct np_msg *m)
{
	char who[NP_NAME_BYTES], to[NP_NAME_BYTES];

	qlog_escape(who, sizeof(who), m->from, strlen(m->from));
	qlog_escape(to, sizeof(to), m->to, strlen(m->to));
	if (strcmp(m->from, p->other) != 0) {
		complain(p, "ev=peer_refused peer=%s why=\"our configuration says peer %s: each of "
			 "the two must name the other\"", who, p->other);
		refuse(p, NP_WHY_OTHER_PEER);
	} else if (strcmp(m->to, p->me) != 0) {
		complain(p, "ev=peer_refused peer=%s why=\"it calls %s, and we are %s\"", who, to,
			 p->me);
		refuse(p, NP_WHY_NOT_ME);
	} else {
		return true;
	}
	return false;
}

static void called(struct netpeer *p, const struct np_msg *m, int take_fd)
{
	struct np_shared mem = NP_SHARED_NULL;
	int r;

	if (p->caller) {
		qfd_close(&take_fd);
		refuse(p, NP_WHY_ORDER);
		return;
	}
	r = m->ring_bytes == NP_RING_BYTES ? np_shared_take(&mem, m->pairs, take_fd) : -EPROTO;
	if (m->ring_bytes != NP_RING_BYTES)
		qfd_close(&take_fd);
	if (r < 0) {
		complain(p, "ev=peer_refused peer=%s why=\"its rings cannot be used: %s\"",
			 p->other, strerrordesc_np(-r));
		refuse(p, NP_WHY_RINGS);
		return;
	}
	/* The one before us may have died a moment ago: whoever calls is the peer now. */
	if (p->st == NP_UP)
		np_session_end(p, "the other end calls anew");
	else if (p->st != NP_AWAY)
		go_away(p, 0);
	if (say(p, p->in.fd, NP_ACCEPT, NP_WHY_NONE, NULL) < 0) {
		np_shared_drop(&mem);
		conn_drop(&p->in);
		return;
	}
	loop_unwatch(p->in.watch);
	p->out.fd = p->in.fd;
	p->in = (struct np_conn){ .fd = -1 };
	p->out.watch = loop_watch(p->host.loop, p->host.lock, p->out.fd, out_readable, p, NULL);
	p->mem = mem;
	session_begin(p, m);
	if (!p->out.watch)
		np_session_end(p, "out of memory");
}

static void knocked(struct netpeer *p)
{
	if (!p->caller) {
		refuse(p, NP_WHY_ORDER);
		return;
	}
	/* It has gone again: our call came to it meanwhile. */
	bool stale = np_sock_hung_up(p->in.fd);
	say(p, p->in.fd, NP_COMING, NP_WHY_NONE, NULL);
	conn_drop(&p->in);
	if (stale || p->st == NP_CALLING)
		return;
	if (p->st == NP_UP)
		np_session_end(p, "the other end begins anew");
	reach(p);
}

static void in_readable(void *owner, void *arg)
{
	struct netpeer *p = owner;
	struct np_msg m;
	int fd, r;

	if (!*p->host.v)
		return;
	r = hear(p, &p->in, &m, &fd);
	if (r == 0)
		return;
	if (r < 0) {
		conn_drop(&p->in);
		return;
	}
	if (m.type != NP_CALL)
		qfd_close(&fd);
	if ((m.type != NP_CALL && m.type != NP_KNOCK) || !admit(p, &m)) {
		qfd_close(&fd);
		conn_drop(&p->in);
	} else if (m.type == NP_CALL) {
		called(p, &m, fd);
	} else {
		knocked(p);
	}
}

/* Who came before and has said nothing yet makes room: he can come again. */
static void somebody(void *owner, void *arg)
{
	struct netpeer *p = owner;

	if (!*p->host.v)
		return;
	int fd = accept4(p->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	conn_drop(&p->in);
	p->in.fd = fd;
	if (!np_sock_trusted(fd)) {
		complain(p, "ev=peer_refused why=\"another user's process called\"");
		conn_drop(&p->in);
		return;
	}
	p->in.watch = loop_watch(p->host.loop, p->host.lock, fd, in_readable, p, NULL);
	if (!p->in.watch)
		conn_drop(&p->in);
}

/* ---- opening and closing ---- */

void np_close(struct netpeer *p)
{
	conn_drop(&p->in);
	conn_drop(&p->out);
	loop_unwatch(p->listen_watch);
	loop_timer_free(p->timer);
	np_shared_drop(&p->mem);
	if (p->listen_fd >= 0)
		unlink(p->path);
	qfd_close(&p->listen_fd);
	free(p);
}

/* Names and places of both ends. */
static int name_ends(struct netpeer *p, const struct vd_net_peer *peer, struct cf_errors *errs)
{
	const struct netpeer_host *h = &p->host;
	int n, o;

	if (!h->system_given)
		return np_refuse(&p->cfg, errs, -EINVAL,
				 "this VM has no name by which the other could "
				 "find it: begin with system NAME");
	if (!*h->run_dir)
		return np_refuse(&p->cfg, errs, -ENOENT,
				 "there is no run directory in which the two "
				 "could meet: say --run-dir DIR");
	snprintf(p->me, sizeof(p->me), "%s/%s", h->system, p->dev);
	snprintf(p->other, sizeof(p->other), "%s/%s", peer->system, peer->name);
	if (!strcmp(p->me, p->other))
		return np_refuse(&p->cfg, errs, -EINVAL, "that is this vdev itself");
	n = snprintf(p->path, sizeof(p->path), "%s/qvm/%s", h->run_dir, p->me);
	o = snprintf(p->other_path, sizeof(p->other_path), "%s/qvm/%s", h->run_dir, p->other);
	if (n >= (int)sizeof(p->path) || o >= (int)sizeof(p->other_path))
		return np_refuse(&p->cfg, errs, -ENAMETOOLONG,
				 "the name of the run directory is too "
				 "long: with the names of VM and vdev at most %zu bytes",
				 sizeof(p->path) - 1);
	p->caller = strcmp(p->me, p->other) < 0;
	return 0;
}

static int open_ends(struct netpeer *p, struct cf_errors *errs)
{
	p->listen_fd = np_sock_listen(p->path);
	if (p->listen_fd < 0)
		return np_refuse(&p->cfg, errs, p->listen_fd, "the endpoint %s cannot be made: %s",
				 p->path, strerrordesc_np(-p->listen_fd));
	p->listen_watch = loop_watch(p->host.loop, p->host.lock, p->listen_fd, somebody, p, NULL);
	p->timer = loop_timer_new(p->host.loop, p->host.lock, timer_fired, p, NULL);
	if (!p->listen_watch || !p->timer)
		return np_refuse(&p->cfg, errs, -ENOMEM, "out of memory");
	arm(p, 1);	/* the I/O thread's first work */
	return 0;
}

int netpeer_vm_open(const struct netpeer_host *h, const struct vd_net_cfg *cfg,
		    const struct vd_net_peer *peer, struct cf_errors *errs, struct vd_net **ret)
{
	struct netpeer *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	*p = (struct netpeer){
		.n = { .ops = &np_link_ops, .features = VD_NET_PEER_FEATURES, .pairs = cfg->pairs,
		       .mtu = cfg->mtu ? cfg->mtu : MTU_DEFAULT },
		.host = *h, .cfg = *cfg, .dev = cfg->cfg->name, .listen_fd = -1,
		.in = { .fd = -1 }, .out = { .fd = -1 }, .mem = NP_SHARED_NULL,
	};
	if (cfg->mac)
		memcpy(p->n.mac, cfg->mac, VD_NET_MAC_BYTES);
	else
		netpeer_mac(h->system, p->dev, p->n.mac);
	r = name_ends(p, peer, errs);
	if (r == 0)
		r = open_ends(p, errs);
	if (r < 0) {
		np_close(p);
		return r;
	}
	*ret = &p->n;
	return 0;
}
