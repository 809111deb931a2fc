/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of qshm share: the region's place in the file system (qshm_place.c), the
 * connection and the hub (qshm.c), joining and leaving (qshm_join.c).
 *
 * A region is the directory <run dir>/shm/<name>. In it: `lock`, which flock() guards while
 * somebody joins, and a UNIX socket (SOCK_SEQPACKET) for each who is there: 0..15 clients, 16..31
 * keepers. Who is there is who accepts connections: the kernel refuses them for the dead, at once.
 *
 * Who joins holds the lock, connects to everybody, is sent the data's descriptor by each, says
 * hello with its index, and listens at that index before it lets the lock go. So each pair of
 * clients has one connection; a ring is a message on it, and its end is that one of the two left.
 * No process needs the lock to serve others, so that those who wait cannot wait in a circle.
 */
#pragma once

#include <pthread.h>

#include "lib/qshm.h"

#define SHM_SLOTS (QSHM_CLIENTS + QSHM_KEEPERS)
#define SHM_WAIT_NS Q_NSEC_PER_SEC
/*
 * Connections that have not said hello yet. When there are so many, no more are taken until one
 * says it or ends, or was silent for longer than any join takes: who joins has connected long
 * before it says hello, and must not lose that connection to those who came after it.
 */
#define SHM_STRANGERS 16u
#define SHM_SILENCE_NS (3 * SHM_WAIT_NS)

/* ---- messages, in host order: both ends are on one host ---- */

enum shm_kind { SHM_WELCOME = 1, SHM_HELLO, SHM_BELL };
struct shm_msg {
	uint32_t magic;
	uint8_t kind, slot;	/* the sender's slot */
	uint16_t zero;
};
static_assert(sizeof(struct shm_msg) == 8, "no padding");

/* One message, never waiting. 0 or -errno. @fd: the data, or -1. */
int shm_send(int sock, enum shm_kind kind, unsigned slot, int fd);
/*
 * One message; what is no message of ours gives -EBADMSG. 0, -EAGAIN, -EPIPE (the other end is
 * gone), -errno. *ret_fd is the caller's, -1 when none came.
 */
int shm_recv(int sock, struct shm_msg *ret, int *ret_fd);
/* @fd is data of a region: a whole number of pages that nobody can take away. 0 or -errno. */
int shm_data_check(int fd, uint32_t *ret_pages);

/* ---- the place ---- */

struct shm_place {
	int base_fd;	/* borrowed: <run dir>/shm */
	const char *name;
	int dir_fd, lock_fd;
};
#define SHM_PLACE_NULL ((struct shm_place){ .base_fd = -1, .dir_fd = -1, .lock_fd = -1 })

/* <run dir>/shm; with @make, made if it is not there. Descriptor or -errno. */
int shm_base_open(const char *run_dir, bool make);
/*
 * Opens region @name's directory and locks it, waiting until @until_ns (0: not at all). Without
 * @make, -ENOENT when there is none. 0, -EBUSY (somebody else has the lock), -errno.
 */
int shm_place_lock(struct shm_place *p, int base_fd, const char *name, bool make,
		   uint64_t until_ns);
/* Opens it only, to look. */
int shm_place_open(struct shm_place *p, int base_fd, const char *name);
/* Closes; takes the directory away when it is locked and nobody is in it. Idempotent. */
void shm_place_fini(struct shm_place *p);

/*
 * A connection to who is at @slot; -ENOENT or -ECONNREFUSED: nobody; -EAGAIN: it does not answer.
 */
int shm_place_connect(const struct shm_place *p, unsigned slot);
/* A socket that listens at @slot, where nobody is. Locked. Descriptor or -errno. */
int shm_place_listen(const struct shm_place *p, unsigned slot);
/* Removes the name of @slot. */
void shm_place_unlink(const struct shm_place *p, unsigned slot);
/* Removes what is left of the dead in all regions. */
void shm_sweep(int base_fd);

/*
 * Waits until @until_ns for the first welcome on one of @socks (-1: none); those that end or say
 * something else are closed and set to -1. 0 with the data, QSHM_NO_ANSWER, -EPIPE when none is
 * left, -errno.
 */
int shm_await_data(int socks[SHM_SLOTS], uint64_t until_ns, int *ret_fd, uint32_t *ret_pages);

/* ---- connection and hub ---- */

struct shm_peer {
	int fd;		/* -1 = not there */
	int next_fd;	/* said hello with this index before we saw its last owner leave */
};

struct qshm_conn {
	struct qshm *hub;
	struct qshm_conn *next;
	uint32_t id;
	char name[QSHM_NAME_BYTES + 1];
	unsigned slot;
	uint32_t n_pages;
	int listen_fd, data_fd, event_fd;
	struct shm_peer peers[QSHM_CLIENTS];
	struct shm_stranger {
		int fd;		/* -1 = none */
		uint64_t since_ns;
	} strangers[SHM_STRANGERS];
	bool is_deaf;		/* listen_fd is not looked at: no place for a stranger */
	uint32_t connected, bells;	/* bits 0..15 */
	bool moved;
};

struct qshm {
	int base_fd, epoll_fd, stop_fd;
	int spare_fd;		/* given up to get rid of a connection when descriptors ran out */
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock;	/* of all below and of the connections; never held in a wait */
	struct qshm_conn *conns;
	unsigned n_conns;	/* and those that are joining now */
	uint32_t last_id;
};

/* The hub serves @c from now on. 0 or -errno. */
int shm_hub_add(struct qshm *s, struct qshm_conn *c);
void shm_hub_del(struct qshm *s, struct qshm_conn *c);
