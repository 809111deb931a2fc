/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions of memory that processes of one host share by name, with doorbells between them; no
 * process in the middle. A region exists while somebody is connected to it or keeps it: the first
 * who asks makes it and fixes its size, the last who goes takes it away. Any process may be killed
 * at any moment: the others see it leave.
 *
 * Clients have an index, 0..15. Each has a status: low 16 bits, who rang since they were cleared;
 * high 16 bits, who is connected (the client itself too). Keepers hold memory and have no index.
 *
 * Threads: struct qshm has a thread of its own, which serves those who join, and notes who rings
 * and who leaves. All functions may be called from any thread; one connection is left by one
 * thread, which uses it last. Where functions wait, it is said.
 *
 * What others do cannot hurt a user: the data are a file that nobody can shorten (other files are
 * refused), and that is all that is shared; indices, bells and who is there are each process's own
 * knowledge, from its sockets. The data themselves are anybody's to write at any time.
 */
#pragma once

#include <sys/types.h>

#include "lib/qdef.h"

#define QSHM_CLIENTS 16u
#define QSHM_KEEPERS 16u
#define QSHM_NAME_BYTES 32u
#define QSHM_PAGE_BYTES 4096u
#define QSHM_PAGES_MAX (1u << 24)	/* 64 GiB */
#define QSHM_CONNS_MAX 32u		/* of one struct qshm, keepers included */

enum qshm_verdict {
	QSHM_OK = 0,
	QSHM_BAD_NAME,
	QSHM_BAD_SIZE,
	QSHM_FULL,	/* all indices are in use */
	QSHM_LIMIT,	/* QSHM_CONNS_MAX connections of this process */
	QSHM_ABSENT,	/* there is no such region */
	QSHM_NO_ANSWER,	/* those who are connected do not answer */
	QSHM_VERDICTS
};
/* A word for each; "unknown" for others. */
const char *qshm_verdict_str(int verdict);

/* 1 to 32 bytes of printable ASCII, without space or '/', not beginning with a dot. */
bool qshm_name_ok(const char *name);

struct qshm;
struct qshm_conn;

/*
 * Uses @run_dir/shm, which is made when it is not there, and takes away what killed processes left
 * there. Starts the thread, named @thread (15 bytes). 0 or -errno.
 */
int qshm_new(const char *run_dir, const char *thread, struct qshm **ret);
/* All connections are left by now. NULL is fine; returns NULL. */
struct qshm *qshm_free(struct qshm *s);

/*
 * Connects to region @name. @n_pages of 4 KiB: its size if it has to be made; 0: do not make it.
 * May wait for the others, a second at most. 0, a verdict, or -errno.
 */
int qshm_join(struct qshm *s, const char *name, uint32_t n_pages, struct qshm_conn **ret);
/*
 * Keeps region @name in existence, with all of its memory allocated, without being a client. May
 * wait as qshm_join(). Same returns (-ENOMEM, -ENOSPC: not so much memory).
 */
int qshm_keep(struct qshm *s, const char *name, uint32_t n_pages, struct qshm_conn **ret);
/* Leaves, and frees @c. NULL is fine; returns NULL. */
struct qshm_conn *qshm_leave(struct qshm_conn *c);

const char *qshm_name(const struct qshm_conn *c);
uint32_t qshm_pages(const struct qshm_conn *c);	/* of the region, whatever was asked for */
unsigned qshm_index(const struct qshm_conn *c);
int qshm_data_fd(const struct qshm_conn *c);	/* borrowed: qshm_pages() pages from offset 0 */
/* An eventfd, borrowed: signalled whenever the status changed. Its reader clears it. */
int qshm_event_fd(const struct qshm_conn *c);

/* The status; then clears the bells of @clear (bits 0..15), and what qshm_changed() says of it. */
uint32_t qshm_take(struct qshm_conn *c, uint32_t clear);
/* The status, and nothing changes. */
uint32_t qshm_status(struct qshm_conn *c);
/* Bells are set, or somebody came or went since the last qshm_take(). */
bool qshm_changed(struct qshm_conn *c);
/* Rings at the clients of @bits that are there; all 16 mean all others. Never waits. */
void qshm_ring(struct qshm_conn *c, uint32_t bits);

/* ---- looking, without being there ---- */

struct qshm_info {
	const char *name;
	uint32_t n_pages;	/* 0 = nobody told in time */
	uint32_t clients, keepers;	/* bits */
	pid_t client_pids[QSHM_CLIENTS], keeper_pids[QSHM_KEEPERS];
};
/* Calls @fn for each region below @run_dir. 0 (also when there is none) or -errno. May wait. */
int qshm_list(const char *run_dir, void (*fn)(void *arg, const struct qshm_info *info), void *arg);
/* The data of region @name; nobody notices. 0, a verdict or -errno. May wait. */
int qshm_peek(const char *run_dir, const char *name, int *ret_data_fd, uint32_t *ret_pages);
