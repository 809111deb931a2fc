/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hub: one thread that serves those who join this process's connections, and turns messages
 * and ends of sockets into bells and bits of who is there. What users call of a connection is here
 * too. All state is under the hub's lock, which nobody holds while waiting for anything.
 *
 * Events name a connection by its number, not by its address: one that left while its event was on
 * its way is looked for and not found. An event for a descriptor that was replaced meanwhile finds
 * nothing to read there, as all are nonblocking.
 */
#include "lib/qshm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qsched.h"
#include "lib/qshm_priv.h"

#define EVENTS_MAX 32
#define ACCEPTS_MAX 16u	/* one round's budget of a listener ... */
#define MESSAGES_MAX 64u	/* ... and of a peer */
#define DEAF_MS 100		/* how often a place for a stranger is looked for */

/* What an event is about, below the connection's number. */
enum { AT_PEER = 0, AT_NEXT = 32, AT_STRANGER = 64, AT_LISTEN = 128 };

static int watch(const struct qshm_conn *c, unsigned at, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.u64 = (uint64_t)c->id << 8 | at };

	return epoll_ctl(c->hub->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static void told(struct qshm_conn *c)
{
	qfd_event_signal(c->event_fd);
}

/* ---- who is there ---- */

static void peer_set(struct qshm_conn *c, unsigned slot, int take_fd)
{
	c->peers[slot].fd = take_fd;
	c->connected |= 1u << slot;
	c->moved = true;
	told(c);
}

/* The peer left. Who said hello with its index already takes its place. */
static void peer_drop(struct qshm_conn *c, unsigned slot)
{
	struct shm_peer *p = &c->peers[slot];
	int next = p->next_fd;

	qfd_close(&p->fd);
	p->next_fd = -1;
	c->connected &= ~(1u << slot);
	c->moved = true;
	told(c);
	if (next < 0)
		return;
	struct epoll_event e = { .events = EPOLLIN,
				 .data.u64 = (uint64_t)c->id << 8 | (AT_PEER + slot) };
	if (epoll_ctl(c->hub->epoll_fd, EPOLL_CTL_MOD, next, &e) < 0)
		qfd_close(&next);
	else
		peer_set(c, slot, next);
}

static void peer_event(struct qshm_conn *c, unsigned slot)
{
	struct shm_peer *p = &c->peers[slot];

	for (unsigned i = 0; i < MESSAGES_MAX && p->fd >= 0; i++) {
		struct shm_msg m;
		int fd = -1, r = shm_recv(p->fd, &m, &fd);

		if (r == -EAGAIN)
			return;
		qfd_close(&fd);	/* of a welcome that was not needed */
		if (r < 0 || m.slot != slot || m.kind == SHM_HELLO) {
			peer_drop(c, slot);
		} else if (m.kind == SHM_BELL) {
			c->bells |= 1u << slot;
			told(c);
		}
	}
}

/* A parked one ended before its turn came. */
static void next_event(struct qshm_conn *c, unsigned slot)
{
	struct pollfd p = { .fd = c->peers[slot].next_fd };

	/* Its bells wait in the socket. Only the end makes an event; asked again, because this one
	 * may be about a predecessor. */
	if (p.fd >= 0 && poll(&p, 1, 0) == 1)
		qfd_close(&c->peers[slot].next_fd);
}

/* ---- strangers ---- */

static void hello(struct qshm_conn *c, unsigned slot, int take_fd)
{
	struct shm_peer *p = &c->peers[slot];
	bool parked = p->fd >= 0;
	struct epoll_event e = { .events = parked ? 0 : EPOLLIN,
				 .data.u64 = (uint64_t)c->id << 8 |
					     ((parked ? AT_NEXT : AT_PEER) + slot) };

	if ((parked && p->next_fd >= 0) ||
	    epoll_ctl(c->hub->epoll_fd, EPOLL_CTL_MOD, take_fd, &e) < 0)
		qfd_close(&take_fd);
	else if (parked)
		p->next_fd = take_fd;
	else
		peer_set(c, slot, take_fd);
}

static void stranger_event(struct qshm_conn *c, unsigned i)
{
	struct shm_msg m;
	int fd = -1, sock = c->strangers[i].fd;

	if (sock < 0)
		return;
	int r = shm_recv(sock, &m, &fd);
	if (r == -EAGAIN)
		return;
	qfd_close(&fd);
	c->strangers[i].fd = -1;
	if (r < 0 || m.kind != SHM_HELLO || m.slot >= QSHM_CLIENTS || m.slot == c->slot ||
	    c->slot >= QSHM_CLIENTS)
		qfd_close(&sock);
	else
		hello(c, m.slot, sock);
}

/* A free place, or SHM_STRANGERS. */
static unsigned stranger_place(const struct qshm_conn *c)
{
	unsigned i = 0;

	while (i < SHM_STRANGERS && c->strangers[i].fd >= 0)
		i++;
	return i;
}

static void stranger_new(struct qshm_conn *c, unsigned i, int take_fd)
{
	int r = shm_send(take_fd, SHM_WELCOME, c->slot, c->data_fd);

	/* One that has left already, welcomed by others, may have rung: still to be read. */
	if ((r < 0 && r != -EPIPE && r != -ECONNRESET) ||
	    watch(c, AT_STRANGER + i, take_fd, EPOLLIN) < 0) {
		qfd_close(&take_fd);
		return;
	}
	c->strangers[i] = (struct shm_stranger){ take_fd, qnow_ns() };
	stranger_event(c, i);	/* it may have said hello already */
}

/* Looks at the listener, or not. */
static void listen_set(struct qshm_conn *c, bool deaf)
{
	struct epoll_event e = { .events = deaf ? 0 : EPOLLIN,
				 .data.u64 = (uint64_t)c->id << 8 | AT_LISTEN };

	if (c->is_deaf != deaf && epoll_ctl(c->hub->epoll_fd, EPOLL_CTL_MOD, c->listen_fd, &e) == 0)
		c->is_deaf = deaf;
}

/* Listens again where there is a place, after those who were silent for too long are sent away. */
static void listen_again(struct qshm_conn *c)
{
	uint64_t now = qnow_ns();

	if (!c->is_deaf)
		return;
	for (unsigned i = 0; i < SHM_STRANGERS; i++)
		if (c->strangers[i].fd >= 0 && now - c->strangers[i].since_ns > SHM_SILENCE_NS)
			qfd_close(&c->strangers[i].fd);
	if (stranger_place(c) < SHM_STRANGERS)
		listen_set(c, false);
}

/* Descriptors ran out: the connection is taken with the one that was kept for it, and closed, so
 * that the listener does not stay ready for ever. */
static void refuse_one(struct qshm_conn *c)
{
	struct qshm *s = c->hub;

	qfd_close(&s->spare_fd);
	int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	qfd_close(&fd);
	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void listen_event(struct qshm_conn *c)
{
	for (unsigned n = 0; n < ACCEPTS_MAX; n++) {
		unsigned i = stranger_place(c);

		if (i == SHM_STRANGERS) {
			listen_set(c, true);
			return;
		}
		int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			stranger_new(c, i, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE)
			refuse_one(c);
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

/* ---- the thread ---- */

static struct qshm_conn *conn_find(struct qshm *s, uint32_t id)
{
	struct qshm_conn *c = s->conns;

	while (c && c->id != id)
		c = c->next;
	return c;
}

static void event(struct qshm *s, uint64_t what)
{
	struct qshm_conn *c = conn_find(s, (uint32_t)(what >> 8));
	unsigned at = what & 0xff;

	if (!c)
		return;
	if (at == AT_LISTEN)
		listen_event(c);
	else if (at >= AT_STRANGER)
		stranger_event(c, at - AT_STRANGER);
	else if (at >= AT_NEXT)
		next_event(c, at - AT_NEXT);
	else
		peer_event(c, at - AT_PEER);
}

static void *run(void *arg)
{
	struct qshm *s = arg;
	struct epoll_event e[EVENTS_MAX];
	bool stop = false, any_deaf = false;

	/* Threads that begin before a program gives up its privileges do not inherit that. */
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	while (!stop) {
		int n = epoll_wait(s->epoll_fd, e, EVENTS_MAX, any_deaf ? DEAF_MS : -1);

		pthread_mutex_lock(&s->lock);
		for (int i = 0; i < n; i++) {
			stop |= e[i].data.u64 == 0;
			event(s, e[i].data.u64);
		}
		any_deaf = false;
		for (struct qshm_conn *c = s->conns; c; c = c->next) {
			listen_again(c);
			any_deaf |= c->is_deaf;
		}
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

static int start(struct qshm *s, const char *name)
{
	sigset_t all, old;

	sigfillset(&all);
	sigdelset(&all, SIGSYS);	/* qjail.h */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->has_thread = r == 0;
	if (r == 0)
		pthread_setname_np(s->thread, name);
	return -r;
}

static int hub_open(struct qshm *s, const char *run_dir)
{
	s->base_fd = shm_base_open(run_dir, true);
	if (s->base_fd < 0)
		return s->base_fd;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (s->epoll_fd < 0 || s->spare_fd < 0)
		return -errno;
	s->stop_fd = qfd_eventfd();
	if (s->stop_fd < 0)
		return s->stop_fd;
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 0 };
	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->stop_fd, &e) < 0 ? -errno : 0;
}

int qshm_new(const char *run_dir, const char *thread, struct qshm **ret)
{
	struct qshm *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->base_fd = s->epoll_fd = s->stop_fd = s->spare_fd = -1;
	/* A real-time vCPU that reads its status may meet the thread here. */
	qsched_mutex_init(&s->lock);
	int r = hub_open(s, run_dir);
	if (r == 0)
		r = start(s, thread);
	if (r < 0) {
		qshm_free(s);
		return r;
	}
	shm_sweep(s->base_fd);
	*ret = s;
	return 0;
}

struct qshm *qshm_free(struct qshm *s)
{
	if (!s)
		return NULL;
	qassert(!s->conns && !s->n_conns);
	if (s->has_thread) {
		qfd_event_signal(s->stop_fd);
		pthread_join(s->thread, NULL);
	}
	pthread_mutex_destroy(&s->lock);
	qfd_close(&s->stop_fd);
	qfd_close(&s->spare_fd);
	qfd_close(&s->epoll_fd);
	qfd_close(&s->base_fd);
	free(s);
	return NULL;
}

/* ---- connections come and go ---- */

static int conn_watch(struct qshm_conn *c)
{
	int r = watch(c, AT_LISTEN, c->listen_fd, EPOLLIN);

	for (unsigned i = 0; r == 0 && i < QSHM_CLIENTS; i++)
		if (c->peers[i].fd >= 0)
			r = watch(c, AT_PEER + i, c->peers[i].fd, EPOLLIN);
	return r;
}

int shm_hub_add(struct qshm *s, struct qshm_conn *c)
{
	pthread_mutex_lock(&s->lock);
	do
		c->id = ++s->last_id;
	while (!c->id || conn_find(s, c->id));
	int r = conn_watch(c);
	if (r == 0) {
		c->next = s->conns;
		s->conns = c;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

void shm_hub_del(struct qshm *s, struct qshm_conn *c)
{
	pthread_mutex_lock(&s->lock);
	for (struct qshm_conn **at = &s->conns; *at; at = &(*at)->next) {
		if (*at != c)
			continue;
		*at = c->next;
		break;
	}
	pthread_mutex_unlock(&s->lock);
}

/* ---- what users ask ---- */

const char *qshm_name(const struct qshm_conn *c)
{
	return c->name;
}

uint32_t qshm_pages(const struct qshm_conn *c)
{
	return c->n_pages;
}

unsigned qshm_index(const struct qshm_conn *c)
{
	return c->slot;
}

int qshm_data_fd(const struct qshm_conn *c)
{
	return c->data_fd;
}

int qshm_event_fd(const struct qshm_conn *c)
{
	return c->event_fd;
}

static uint32_t status_of(const struct qshm_conn *c)
{
	return c->connected << 16 | c->bells;
}

uint32_t qshm_take(struct qshm_conn *c, uint32_t clear)
{
	pthread_mutex_lock(&c->hub->lock);
	uint32_t status = status_of(c);
	c->bells &= ~clear;
	c->moved = false;
	pthread_mutex_unlock(&c->hub->lock);
	return status;
}

uint32_t qshm_status(struct qshm_conn *c)
{
	pthread_mutex_lock(&c->hub->lock);
	uint32_t status = status_of(c);
	pthread_mutex_unlock(&c->hub->lock);
	return status;
}

bool qshm_changed(struct qshm_conn *c)
{
	pthread_mutex_lock(&c->hub->lock);
	bool changed = c->bells || c->moved;
	pthread_mutex_unlock(&c->hub->lock);
	return changed;
}

void qshm_ring(struct qshm_conn *c, uint32_t bits)
{
	const uint32_t all = (1u << QSHM_CLIENTS) - 1;

	if (c->slot >= QSHM_CLIENTS)
		return;
	bits &= all;
	if (bits == all)
		bits &= ~(1u << c->slot);
	pthread_mutex_lock(&c->hub->lock);
	/* A full socket holds bells of ours that the other has not seen: this one is among them. */
	for (unsigned i = 0; i < QSHM_CLIENTS; i++)
		if (bits >> i & 1 && c->peers[i].fd >= 0)
			shm_send(c->peers[i].fd, SHM_BELL, c->slot, -1);
	if (bits >> c->slot & 1) {
		c->bells |= 1u << c->slot;
		told(c);
	}
	pthread_mutex_unlock(&c->hub->lock);
}
