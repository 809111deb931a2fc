/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: regions of file-backed memory at guest-physical addresses, and the only place that
 * turns a guest address into a pointer (with qring, which resolves its rings through it).
 *
 * A struct qmem is built by one thread and then read by any; a user that replaces the table (a
 * vhost-user back end after SET_MEM_TABLE) builds a new qmem and frees the old one when nothing
 * in flight points into it (see qmem_ref()).
 *
 * All contents are hostile and may change while we look: copy once, check, use the copy.
 * A peer's file may be shorter than it said or may be truncated later: qmem_add_fd() refuses files
 * that are too short or that are not sealed against shrinking (F_SEAL_SHRINK) when QMEM_SEALED is
 * asked.
 */
#pragma once

#include "lib/qdef.h"

#define QMEM_REGIONS_MAX 64

enum qmem_flags {
	QMEM_READONLY = 1 << 0,	/* guest cannot write (rom); nor can we, but by qmem_fill() */
	QMEM_SEALED = 1 << 1,	/* refuse a descriptor that could be truncated under us, and
				 * hugetlbfs, where a hole is as deadly (-EPERM) */
};

struct qmem_region {
	uint64_t gpa;		/* first guest-physical address */
	uint64_t len_bytes;	/* multiple of 4096, at least 4096 */
	uint64_t user_addr;	/* address in the peer that described it, or 0 */
	unsigned flags;		/* enum qmem_flags */
	int fd;			/* owned */
	uint64_t fd_off;	/* of gpa in fd, bytes */
	char *host;		/* of gpa: len_bytes, MAP_SHARED, inside the mapping */
	char *map;		/* the mapping: begins before host where the file's pages ... */
	size_t map_bytes;	/* ... are larger than 4096 bytes */
};

struct qmem;

/*
 * Who gets a table's last reference instead of its being unmapped there and then: taking down a
 * gigabyte that was used costs some 50 ms, which a thread with a promise to keep does not have. It
 * calls qmem_unref() on a thread of its choice.
 */
struct qmem_heir {
	void (*take)(struct qmem_heir *h, struct qmem *take_mem);
};

struct qmem {
	struct qmem_heir *heir;	/* borrowed, or NULL */
	struct qmem *next;	/* the heir's to use */
	unsigned n;
	unsigned refs;		/* 1 after qmem_new(); not atomic: one thread owns references */
	struct qmem_region r[QMEM_REGIONS_MAX];	/* sorted by gpa, never overlapping */
};

/* An empty table; NULL when out of memory. qmem_ref/unref: the last unref unmaps and frees, or
 * gives it to the heir, once. */
struct qmem *qmem_new(void);
struct qmem *qmem_ref(struct qmem *m);
struct qmem *qmem_unref(struct qmem *m); /* NULL is fine; returns NULL */

/*
 * Creates @len_bytes of zeroed memory (a sealed memfd named @name) at @at.
 * 0; -EINVAL (alignment, wrap), -EEXIST (overlap), -ENOSPC (table full), -errno.
 */
int qmem_add(struct qmem *m, gpa_t at, uint64_t len_bytes, unsigned flags, const char *name);
/* Maps a peer's memory: @take_fd is consumed on success and failure alike. Same returns, and
 * -ERANGE when the file is shorter than @fd_off + @len_bytes. */
int qmem_add_fd(struct qmem *m, gpa_t at, uint64_t len_bytes, unsigned flags, uint64_t user_addr,
		int take_fd, uint64_t fd_off);

/* The host address of [at, at+len_bytes), or NULL when it is not wholly inside one region, or when
 * @write is asked of a read-only region. len 0 gives NULL. Valid while the qmem lives. */
void *qmem_ptr(const struct qmem *m, gpa_t at, uint64_t len_bytes, bool write);
/* The contiguous bytes available from @at on (0 when outside), capped at @max. */
uint64_t qmem_run(const struct qmem *m, gpa_t at, uint64_t max);
/* Translates an address of the peer's own address space (vhost-user ring addresses) into a gpa of
 * this table: 0, or -EFAULT when [uaddr, uaddr+len) is not wholly inside one region. */
int qmem_uaddr_to_gpa(const struct qmem *m, uint64_t uaddr, uint64_t len_bytes, gpa_t *ret_gpa);

/* Copy in and out; may span adjacent regions. 0 or -EFAULT (nothing promised about partial copies).
 * qmem_write refuses read-only regions; qmem_fill (loaders) does not. */
int qmem_read(const struct qmem *m, gpa_t at, void *buf, uint64_t len_bytes);
int qmem_write(const struct qmem *m, gpa_t at, const void *buf, uint64_t len_bytes);
int qmem_fill(const struct qmem *m, gpa_t at, const void *buf, uint64_t len_bytes);

/* Populates every page now (and mlocks with @lock): for VMs that must not fault later.
 * 0 or -errno (-ENOMEM, -EPERM for the lock limit). */
int qmem_populate(const struct qmem *m, bool lock);
/* Takes the pages out of our page tables, some at a time, so that other threads may map and unmap
 * meanwhile. They are read in again when they are touched. */
void qmem_forget_pages(const struct qmem *m);
/* Total bytes of all regions. */
uint64_t qmem_total(const struct qmem *m);
