/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining a region, keeping one, leaving, and looking from outside (see qshm_priv.h for how a
 * region works). Runs on the caller's thread; waits only with the region's lock in hand, never with
 * the hub's, and never longer than SHM_WAIT_NS.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qshm_priv.h"

#define TRIES_MAX 4

/* ---- the connection as a thing ---- */

static struct qshm_conn *conn_free(struct qshm_conn *c)
{
	if (!c)
		return NULL;
	qfd_close(&c->listen_fd);
	for (unsigned i = 0; i < QSHM_CLIENTS; i++) {
		qfd_close(&c->peers[i].fd);
		qfd_close(&c->peers[i].next_fd);
	}
	for (unsigned i = 0; i < SHM_STRANGERS; i++)
		qfd_close(&c->strangers[i].fd);
	qfd_close(&c->data_fd);
	qfd_close(&c->event_fd);
	free(c);
	return NULL;
}

static void conn_clean(struct qshm_conn **c)
{
	*c = conn_free(*c);
}

static struct qshm_conn *conn_new(struct qshm *s, const char *name)
{
	struct qshm_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->hub = s;
	snprintf(c->name, sizeof(c->name), "%s", name);
	c->listen_fd = c->data_fd = -1;
	for (unsigned i = 0; i < QSHM_CLIENTS; i++)
		c->peers[i] = (struct shm_peer){ -1, -1 };
	for (unsigned i = 0; i < SHM_STRANGERS; i++)
		c->strangers[i].fd = -1;
	c->event_fd = qfd_eventfd();
	return c->event_fd < 0 ? conn_free(c) : c;
}

/* ---- who is there ---- */

struct members {
	int socks[SHM_SLOTS];	/* -1 = none */
	uint32_t there;		/* bits by slot */
};
#define MEMBERS_NULL ((struct members){ .socks = { [0 ... SHM_SLOTS - 1] = -1 } })

static void members_fini(struct members *m)
{
	for (unsigned i = 0; i < SHM_SLOTS; i++)
		qfd_close(&m->socks[i]);
}

/* Connects to all. 0; QSHM_NO_ANSWER: somebody has not answered many others either; -errno. */
static int members_find(struct members *m, const struct shm_place *p)
{
	members_fini(m);
	m->there = 0;
	for (unsigned i = 0; i < SHM_SLOTS; i++) {
		int fd = shm_place_connect(p, i);

		if (fd == -ENOENT || fd == -ECONNREFUSED)
			continue;
		if (fd == -EAGAIN)
			return QSHM_NO_ANSWER;
		if (fd < 0)
			return fd;
		m->socks[i] = fd;
		m->there |= 1u << i;
	}
	return 0;
}

static int slot_choose(const struct members *m, bool keeper, unsigned *ret)
{
	for (unsigned i = keeper ? QSHM_CLIENTS : 0; i < (keeper ? SHM_SLOTS : QSHM_CLIENTS); i++) {
		if (m->there >> i & 1)
			continue;
		*ret = i;
		return 0;
	}
	return QSHM_FULL;
}

/* The data: from those who are there, or new. 0, a verdict, -EAGAIN: they left meanwhile. */
static int data_get(struct qshm_conn *c, struct members *m, uint32_t n_pages, uint64_t until_ns)
{
	if (m->there) {
		int r = shm_await_data(m->socks, until_ns, &c->data_fd, &c->n_pages);
		return r == -EPIPE ? -EAGAIN : r;
	}
	if (!n_pages)
		return QSHM_ABSENT;
	int fd = qfd_memfd(c->name, (uint64_t)n_pages * QSHM_PAGE_BYTES);
	if (fd < 0)
		return fd;
	c->data_fd = fd;
	c->n_pages = n_pages;
	return 0;
}

/* With the region locked: finds the others, an index and the data. */
static int meet(struct qshm_conn *c, const struct shm_place *p, struct members *m, bool keeper,
		uint32_t n_pages, uint64_t until_ns)
{
	int r = -EAGAIN;

	for (unsigned i = 0; r == -EAGAIN && i < TRIES_MAX; i++) {
		r = members_find(m, p);
		if (r == 0)
			r = slot_choose(m, keeper, &c->slot);
		if (r == 0)
			r = data_get(c, m, n_pages, until_ns);
	}
	return r == -EAGAIN ? QSHM_NO_ANSWER : r;
}

/*
 * Says hello to who is at @at; the connection, or -1 when nobody is there any more. @take_sock may
 * be one that was closed for what came on it, or by the other, who had no descriptor left.
 */
static int greet(const struct qshm_conn *c, const struct shm_place *p, unsigned at, int take_sock)
{
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		if (take_sock >= 0 && shm_send(take_sock, SHM_HELLO, c->slot, -1) == 0)
			return take_sock;
		qfd_close(&take_sock);
		take_sock = shm_place_connect(p, at);
		if (take_sock < 0)
			return -1;
	}
	qfd_close(&take_sock);
	return -1;
}

/* Tells the other clients, and is reachable from then on. */
static int settle(struct qshm_conn *c, const struct shm_place *p, struct members *m)
{
	bool keeper = c->slot >= QSHM_CLIENTS;

	c->listen_fd = shm_place_listen(p, c->slot);
	if (c->listen_fd < 0)
		return c->listen_fd;
	if (!keeper)
		c->connected = 1u << c->slot;
	for (unsigned i = 0; i < QSHM_CLIENTS && !keeper; i++) {
		if (!(m->there >> i & 1))
			continue;
		c->peers[i].fd = greet(c, p, i, m->socks[i]);
		m->socks[i] = -1;
		if (c->peers[i].fd >= 0)
			c->connected |= 1u << i;
	}
	int r = shm_hub_add(c->hub, c);
	if (r < 0)
		shm_place_unlink(p, c->slot);
	return r;
}

static int allocate(const struct qshm_conn *c)
{
	int r;

	do
		r = posix_fallocate(c->data_fd, 0, (off_t)c->n_pages * QSHM_PAGE_BYTES);
	while (r == EINTR);
	return -r;
}

static int join_locked(struct qshm_conn *c, const struct shm_place *p, bool keeper,
		       uint32_t n_pages, uint64_t until_ns)
{
	struct members m QCLEAN(members_fini) = MEMBERS_NULL;
	int r = meet(c, p, &m, keeper, n_pages, until_ns);

	if (r == 0 && keeper)
		r = allocate(c);
	return r == 0 ? settle(c, p, &m) : r;
}

static int join_new(struct qshm *s, const char *name, bool keeper, uint32_t n_pages,
		    struct qshm_conn **ret)
{
	const uint64_t until = qnow_ns() + SHM_WAIT_NS;
	struct shm_place p QCLEAN(shm_place_fini) = SHM_PLACE_NULL;
	struct qshm_conn *c QCLEAN(conn_clean) = conn_new(s, name);

	if (!c)
		return -ENOMEM;
	int r = shm_place_lock(&p, s->base_fd, name, n_pages > 0, until);
	if (r == -EBUSY)
		return QSHM_NO_ANSWER;
	if (r == -ENOENT && !n_pages)
		return QSHM_ABSENT;
	if (r == 0)
		r = join_locked(c, &p, keeper, n_pages, until);
	if (r != 0)
		return r;
	*ret = c;
	c = NULL;
	return 0;
}

/* ---- with the limit of a process ---- */

static bool room_take(struct qshm *s)
{
	pthread_mutex_lock(&s->lock);
	bool room = s->n_conns < QSHM_CONNS_MAX;
	s->n_conns += room;
	pthread_mutex_unlock(&s->lock);
	return room;
}

static void room_give(struct qshm *s)
{
	pthread_mutex_lock(&s->lock);
	s->n_conns--;
	pthread_mutex_unlock(&s->lock);
}

static int join(struct qshm *s, const char *name, bool keeper, uint32_t n_pages,
		struct qshm_conn **ret)
{
	if (!qshm_name_ok(name))
		return QSHM_BAD_NAME;
	if (n_pages > QSHM_PAGES_MAX || (keeper && !n_pages))
		return QSHM_BAD_SIZE;
	if (!room_take(s))
		return QSHM_LIMIT;
	int r = join_new(s, name, keeper, n_pages, ret);
	if (r != 0)
		room_give(s);
	return r;
}

int qshm_join(struct qshm *s, const char *name, uint32_t n_pages, struct qshm_conn **ret)
{
	return join(s, name, false, n_pages, ret);
}

int qshm_keep(struct qshm *s, const char *name, uint32_t n_pages, struct qshm_conn **ret)
{
	return join(s, name, true, n_pages, ret);
}

struct qshm_conn *qshm_leave(struct qshm_conn *c)
{
	struct shm_place p QCLEAN(shm_place_fini) = SHM_PLACE_NULL;

	if (!c)
		return NULL;
	struct qshm *s = c->hub;
	shm_hub_del(s, c);
	/* The name goes while we still listen: nobody else can have put his own there. */
	if (shm_place_open(&p, s->base_fd, c->name) == 0)
		shm_place_unlink(&p, c->slot);
	shm_place_fini(&p);
	/* Without waiting: who has the lock is joining, and the region stays. */
	shm_place_lock(&p, s->base_fd, c->name, false, 0);
	shm_place_fini(&p);
	room_give(s);
	return conn_free(c);
}

/* ---- from outside ---- */

static pid_t pid_of(int sock)
{
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);

	return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ? 0 : cred.pid;
}

/* Who is there, now; nobody is told. Without the lock: somebody may be coming or going. */
static int look(int base_fd, const char *name, struct members *m)
{
	struct shm_place p QCLEAN(shm_place_fini) = SHM_PLACE_NULL;
	int r = shm_place_open(&p, base_fd, name);

	return r < 0 ? r : members_find(m, &p);
}

int qshm_peek(const char *run_dir, const char *name, int *ret_data_fd, uint32_t *ret_pages)
{
	struct members m QCLEAN(members_fini) = MEMBERS_NULL;

	if (!qshm_name_ok(name))
		return QSHM_BAD_NAME;
	int base QCLEAN(qfd_close) = shm_base_open(run_dir, false);
	int r = base < 0 ? base : look(base, name, &m);
	if (r == -ENOENT || (r == 0 && !m.there))
		return QSHM_ABSENT;
	if (r == 0)
		r = shm_await_data(m.socks, qnow_ns() + SHM_WAIT_NS, ret_data_fd, ret_pages);
	return r == -EPIPE ? QSHM_ABSENT : r;
}

/* @name is in @info. False when nobody is in the region any more. */
static bool region_info(int base_fd, struct qshm_info *info)
{
	struct members m QCLEAN(members_fini) = MEMBERS_NULL;
	int fd QCLEAN(qfd_close) = -1, r = look(base_fd, info->name, &m);

	if (r < 0 || !m.there)
		return false;
	info->clients = m.there & 0xffff;
	info->keepers = m.there >> QSHM_CLIENTS;
	for (unsigned i = 0; i < QSHM_CLIENTS; i++) {
		info->client_pids[i] = m.socks[i] < 0 ? 0 : pid_of(m.socks[i]);
		info->keeper_pids[i] = m.socks[QSHM_CLIENTS + i] < 0 ? 0 :
				       pid_of(m.socks[QSHM_CLIENTS + i]);
	}
	if (shm_await_data(m.socks, qnow_ns() + SHM_WAIT_NS, &fd, &info->n_pages) != 0)
		info->n_pages = 0;
	return true;
}

int qshm_list(const char *run_dir, void (*fn)(void *arg, const struct qshm_info *info), void *arg)
{
	int base = shm_base_open(run_dir, false);
	const struct dirent *e;

	if (base < 0)
		return base == -ENOENT ? 0 : base;
	DIR *dir = fdopendir(base);
	if (!dir) {
		qfd_close(&base);
		return -ENOMEM;
	}
	while ((e = readdir(dir))) {
		struct qshm_info info = { .name = e->d_name };
		if (qshm_name_ok(e->d_name) && region_info(base, &info))
			fn(arg, &info);
	}
	closedir(dir);
	return 0;
}
