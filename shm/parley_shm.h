/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libparley-shm: a program of the host among the guests that share memory by vdev shmem of qvm.
 *
 * A region has a name and a size, and up to 16 clients: guests and programs of the host alike. It
 * is there while somebody is connected to it or keeps it; the first who asks fixes its size. There
 * is no server: whoever dies, also by SIGKILL, is seen to leave, and nobody else notices more.
 *
 * Status, as guests see it: the low 16 bits say who rang since it was read last, the high 16 bits
 * who is connected. What is in the data can change at any instant and be anything: copy, check,
 * then use the copy. Nobody can make the memory shorter.
 *
 * Each connection has a thread of its own, which runs none of your code and takes no signals. All
 * functions may be called from any thread; close() is the last. A process that forks must not use
 * the connection in the child.
 *
 * Errors are negative errno values; -EINVAL a name that is none, -EFBIG a size that is none,
 * -ENOENT no such region, -EUSERS all 16 indices in use, -ETIMEDOUT those who are connected do not
 * answer (within a second), others those of the system.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PARLEY_SHM_CLIENTS 16
#define PARLEY_SHM_NAME_BYTES 32 /* printable ASCII without space and '/', no dot first */
#define PARLEY_SHM_ALL 0xffffu	 /* for notify: all others */

struct parley_shm;

/*
 * Connects to region @name. @len_bytes, rounded up to 4 KiB, is its size if it has to be made; 0:
 * it must be there. @run_dir: qvm's (--run-dir); NULL: $PARLEY_RUN_DIR, else /run/parley where it
 * may be written, else $XDG_RUNTIME_DIR/parley.
 */
int parley_shm_open(const char *run_dir, const char *name, size_t len_bytes,
		    struct parley_shm **ret);
/*
 * Keeps region @name in existence with all of its memory allocated, without being a client: no
 * index, no status. Up to 16 may keep a region.
 */
int parley_shm_keep(const char *run_dir, const char *name, size_t len_bytes,
		    struct parley_shm **ret);
/* Leaves; the others are told. NULL is fine. */
void parley_shm_close(struct parley_shm *s);

/* The data: mapped until close(), readable and writable; the region's size, not what was asked. */
void *parley_shm_data(const struct parley_shm *s);
size_t parley_shm_len(const struct parley_shm *s);
unsigned parley_shm_index(const struct parley_shm *s);

/* Reads status, and clears who rang. */
uint32_t parley_shm_status(struct parley_shm *s);
/* For poll(): readable once the status changed, until parley_shm_status(). Not yours to read or to
 * close. */
int parley_shm_fd(const struct parley_shm *s);
/* Waits until the status changed since it was read: 1; 0 after @timeout_ms (-1: for ever). */
int parley_shm_wait(struct parley_shm *s, int timeout_ms);
/* Rings at the clients whose bits are set, PARLEY_SHM_ALL at all others. Never waits. */
void parley_shm_notify(struct parley_shm *s, uint32_t clients);

/* ---- without being there: no index is used, and nobody is told ---- */

/* Maps the data of a region that is there; munmap() ends it. */
int parley_shm_map(const char *run_dir, const char *name, void **ret_data, size_t *ret_len);

struct parley_shm_region {
	const char *name;
	size_t len_bytes;	/* 0 = nobody told in time */
	unsigned n_clients, n_keepers;
	struct {
		unsigned index;	/* clients: as in status */
		pid_t pid;	/* of the qvm or the program */
	} clients[PARLEY_SHM_CLIENTS], keepers[PARLEY_SHM_CLIENTS];
};
/* Calls @fn once for each region; what it is given is gone when it returns. */
int parley_shm_list(const char *run_dir,
		    void (*fn)(void *arg, const struct parley_shm_region *region), void *arg);

#ifdef __cplusplus
}
#endif
