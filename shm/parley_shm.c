/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's functions over lib/qshm: a hub and a thread for each connection, so that programs
 * need nothing to do with one another. No state besides the connections.
 */
#include "shm/parley_shm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qshm.h"

static_assert(PARLEY_SHM_CLIENTS == QSHM_CLIENTS && PARLEY_SHM_CLIENTS == QSHM_KEEPERS,
	      "the header says what the library does");
static_assert(PARLEY_SHM_NAME_BYTES == QSHM_NAME_BYTES, "here as well");

#define RUN_DIR "/run/parley"
#define DIR_BYTES 4096

struct parley_shm {
	struct qshm *hub;
	struct qshm_conn *conn;
	void *data;
	size_t len_bytes;
};

static int error_of(int r)
{
	switch (r) {
	case QSHM_BAD_NAME:
		return -EINVAL;
	case QSHM_BAD_SIZE:
		return -EFBIG;
	case QSHM_FULL:
		return -EUSERS;
	case QSHM_LIMIT:
		return -EMFILE;
	case QSHM_ABSENT:
		return -ENOENT;
	case QSHM_NO_ANSWER:
		return -ETIMEDOUT;
	default:
		return r;
	}
}

/* As qvm finds it. @buf has DIR_BYTES. */
static const char *run_dir_find(const char *given, char *buf)
{
	const char *env = getenv("PARLEY_RUN_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");

	if (given)
		return given;
	if (env && *env)
		return env;
	if (!xdg || !*xdg || access(RUN_DIR, W_OK | X_OK) == 0)
		return RUN_DIR;
	int n = snprintf(buf, DIR_BYTES, "%s/parley", xdg);
	return n < 0 || n >= DIR_BYTES ? RUN_DIR : buf;
}

static int map(int fd, size_t len_bytes, void **ret)
{
	void *data = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (data == MAP_FAILED)
		return -errno;
	*ret = data;
	return 0;
}

/* ---- connections ---- */

typedef int join_fn(struct qshm *s, const char *name, uint32_t n_pages, struct qshm_conn **ret);

static int fill(struct parley_shm *s, const char *run_dir, const char *name, uint32_t n_pages,
		join_fn *join)
{
	char buf[DIR_BYTES];
	int r = qshm_new(run_dir_find(run_dir, buf), "parley-shm", &s->hub);

	if (r == 0)
		r = join(s->hub, name, n_pages, &s->conn);
	if (r != 0)
		return error_of(r);
	s->len_bytes = (size_t)qshm_pages(s->conn) * QSHM_PAGE_BYTES;
	return map(qshm_data_fd(s->conn), s->len_bytes, &s->data);
}

static int open_by(const char *run_dir, const char *name, size_t len_bytes, join_fn *join,
		   struct parley_shm **ret)
{
	size_t n_pages = len_bytes / QSHM_PAGE_BYTES + (len_bytes % QSHM_PAGE_BYTES > 0);
	struct parley_shm *s;

	if (n_pages > QSHM_PAGES_MAX)
		return -EFBIG;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	int r = fill(s, run_dir, name, (uint32_t)n_pages, join);
	if (r < 0) {
		parley_shm_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

int parley_shm_open(const char *run_dir, const char *name, size_t len_bytes,
		    struct parley_shm **ret)
{
	return open_by(run_dir, name, len_bytes, qshm_join, ret);
}

int parley_shm_keep(const char *run_dir, const char *name, size_t len_bytes,
		    struct parley_shm **ret)
{
	return open_by(run_dir, name, len_bytes, qshm_keep, ret);
}

void parley_shm_close(struct parley_shm *s)
{
	if (!s)
		return;
	if (s->data)
		munmap(s->data, s->len_bytes);
	qshm_leave(s->conn);
	qshm_free(s->hub);
	free(s);
}

void *parley_shm_data(const struct parley_shm *s)
{
	return s->data;
}

size_t parley_shm_len(const struct parley_shm *s)
{
	return s->len_bytes;
}

unsigned parley_shm_index(const struct parley_shm *s)
{
	return qshm_index(s->conn);
}

/* ---- bells ---- */

uint32_t parley_shm_status(struct parley_shm *s)
{
	/* First the descriptor: a change behind it signals again. */
	qfd_event_clear(qshm_event_fd(s->conn));
	return qshm_take(s->conn, 0xffff);
}

int parley_shm_fd(const struct parley_shm *s)
{
	return qshm_event_fd(s->conn);
}

int parley_shm_wait(struct parley_shm *s, int timeout_ms)
{
	uint64_t end = timeout_ms < 0 ? 0 : qnow_ns() + (uint64_t)timeout_ms * Q_NSEC_PER_MSEC;

	while (!qshm_changed(s->conn)) {
		struct pollfd p = { .fd = qshm_event_fd(s->conn), .events = POLLIN };
		uint64_t now = qnow_ns();
		int left_ms = -1;

		if (timeout_ms >= 0 && now >= end)
			return 0;
		if (timeout_ms >= 0)
			left_ms = (int)((end - now - 1) / Q_NSEC_PER_MSEC) + 1;
		if (poll(&p, 1, left_ms) < 0 && errno != EINTR)
			return -errno;
		/* A signal for what was read already would make this a loop without rest. */
		if (!qshm_changed(s->conn))
			qfd_event_clear(p.fd);
	}
	return 1;
}

void parley_shm_notify(struct parley_shm *s, uint32_t clients)
{
	qshm_ring(s->conn, clients);
}

/* ---- from outside ---- */

int parley_shm_map(const char *run_dir, const char *name, void **ret_data, size_t *ret_len)
{
	char buf[DIR_BYTES];
	int fd QCLEAN(qfd_close) = -1;
	uint32_t n_pages = 0;
	int r = qshm_peek(run_dir_find(run_dir, buf), name, &fd, &n_pages);

	if (r != 0)
		return error_of(r);
	r = map(fd, (size_t)n_pages * QSHM_PAGE_BYTES, ret_data);
	if (r == 0)
		*ret_len = (size_t)n_pages * QSHM_PAGE_BYTES;
	return r;
}

struct listing {
	void (*fn)(void *arg, const struct parley_shm_region *region);
	void *arg;
};

static void list_one(void *arg, const struct qshm_info *info)
{
	const struct listing *l = arg;
	struct parley_shm_region r = {
		.name = info->name, .len_bytes = (size_t)info->n_pages * QSHM_PAGE_BYTES
	};

	for (unsigned i = 0; i < PARLEY_SHM_CLIENTS; i++) {
		if (info->clients >> i & 1) {
			r.clients[r.n_clients].index = i;
			r.clients[r.n_clients++].pid = info->client_pids[i];
		}
		if (info->keepers >> i & 1) {
			r.keepers[r.n_keepers].index = i;
			r.keepers[r.n_keepers++].pid = info->keeper_pids[i];
		}
	}
	l->fn(l->arg, &r);
}

int parley_shm_list(const char *run_dir,
		    void (*fn)(void *arg, const struct parley_shm_region *region), void *arg)
{
	char buf[DIR_BYTES];
	struct listing l = { fn, arg };

	return qshm_list(run_dir_find(run_dir, buf), list_one, &l);
}
