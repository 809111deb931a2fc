/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The n-th call fails. A scenario uses a module from its creation to its end and returns 0 or what
 * went wrong; fault_walk() runs it with the first, the second, ... call of the chosen kinds
 * failing, until a run has no call left to fail. After each run no allocation, mapping or
 * descriptor may be left.
 *
 * A call counts when our objects make it (the linker's --wrap): what libc does inside itself does
 * not. One thread. Scenarios assert with FAULT_CHECK(): Check's own macros allocate.
 */
#pragma once

#include "lib/qdef.h"

enum fault_kind {
	FAULT_ALLOC = 1 << 0,	/* malloc, calloc, realloc, strdup, strndup, vasprintf */
	FAULT_MAP = 1 << 1,	/* mmap */
	FAULT_ADVICE = 1 << 2,	/* madvise */
	FAULT_LOCK = 1 << 3,	/* mlock */
	FAULT_FD = 1 << 4,	/* memfd_create, eventfd, socket, accept4, F_DUPFD_CLOEXEC */
	FAULT_FILE = 1 << 5,	/* fstat, fstatfs */
	FAULT_SIZE = 1 << 6,	/* ftruncate */
	FAULT_SEAL = 1 << 7,	/* F_ADD_SEALS */
	FAULT_READ = 1 << 8,	/* read, pread, recvmsg */
	FAULT_WRITE = 1 << 9,	/* write, pwrite, send, sendmsg */
};

/* What a scenario must return when a call of it failed: this very value, or FAULT_EITHER: 0 or a
 * negative errno. */
#define FAULT_EITHER 1

struct fault_row {
	const char *name;
	int (*run)(void);	/* 0, or -errno */
	unsigned kinds;		/* of enum fault_kind: these fail ... */
	int err;		/* ... with this errno */
	int want;		/* see above */
};

/*
 * Walks @row twice: with one call failing, then with all from the n-th on failing (not for EINTR,
 * which is only ever passing). Fails the Check test that it runs in. A row in which nothing could
 * be made to fail is a failure too.
 */
void fault_walk(const struct fault_row *row);

/* True while a run has already had its failure: a scenario may expect more then, or less. */
bool fault_hit(void);

/* Notes the first condition that did not hold; fault_walk() reports it. */
void fault_check(bool ok, const char *cond, int line);
#define FAULT_CHECK(cond) fault_check((cond), #cond, __LINE__)
