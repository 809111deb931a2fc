/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The harness of fault.h: one wrapper a libc function, a plan that says which call fails, and a
 * list of what a run has allocated and mapped.
 *
 * Owns the plan and the list, both process-wide; one thread. Invariant: between runs the plan is
 * off, and every wrapper does then what its libc function does. Allocations are listed while a
 * run lasts only, so what Check and stdio hold is none of ours; a free() of something unlisted is
 * theirs and passes.
 */
#include "tests/fault/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "tests/unit/fixture.h"

#define LIVE_MAX 4096
#define CALLS_MAX 10000	/* a scenario that makes more is no unit */

static struct {
	bool on;
	bool sticky;	/* all from the n-th on */
	unsigned kinds, n;
	int err;
	unsigned seen, hits;
} plan;

static struct {
	const void *ptr[LIVE_MAX];
	unsigned n;
	int maps;
} live;

static struct {
	const char *cond;
	int line;
} broken;

void fault_check(bool ok, const char *cond, int line)
{
	if (ok || broken.cond)
		return;
	broken.cond = cond;
	broken.line = line;
}

bool fault_hit(void)
{
	return plan.hits > 0;
}

/* Counts a call of @kind; true when it is to fail, errno set. */
static bool due(unsigned kind)
{
	if (!plan.on || !(plan.kinds & kind))
		return false;
	plan.seen++;
	if (plan.sticky ? plan.seen < plan.n : plan.seen != plan.n)
		return false;
	plan.hits++;
	errno = plan.err;
	return true;
}

static void *track(void *p)
{
	if (p && plan.on) {
		qassert(live.n < LIVE_MAX);
		live.ptr[live.n++] = p;
	}
	return p;
}

static void untrack(const void *p)
{
	for (unsigned i = live.n; i-- > 0;) {
		if (live.ptr[i] != p)
			continue;
		live.ptr[i] = live.ptr[--live.n];
		return;
	}
}

/* The linker's names: __wrap_f is called where our objects say f, __real_f is libc's. */
#define WRAP(type, name, params)                                                                   \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params

#define WRAP_PLAIN(type, name, kind, params, args)                                                 \
	WRAP(type, name, params)                                                                   \
	{                                                                                          \
		return due(kind) ? -1 : __real_##name args;                                        \
	}

WRAP(void *, malloc, (size_t bytes))
{
	return due(FAULT_ALLOC) ? NULL : track(__real_malloc(bytes));
}

WRAP(void *, calloc, (size_t n, size_t bytes))
{
	return due(FAULT_ALLOC) ? NULL : track(__real_calloc(n, bytes));
}

WRAP(void *, realloc, (void *old, size_t bytes))
{
	if (due(FAULT_ALLOC))
		return NULL;
	untrack(old);
	return track(__real_realloc(old, bytes));
}

WRAP(void, free, (void *p))
{
	untrack(p);
	__real_free(p);
}

WRAP(char *, strdup, (const char *s))
{
	return due(FAULT_ALLOC) ? NULL : track(__real_strdup(s));
}

WRAP(char *, strndup, (const char *s, size_t n))
{
	return due(FAULT_ALLOC) ? NULL : track(__real_strndup(s, n));
}

WRAP(int, vasprintf, (char **ret, const char *fmt, va_list ap))
{
	if (due(FAULT_ALLOC)) {
		*ret = (char *)UINTPTR_MAX;	/* libc promises nothing: who reads it, crashes */
		return -1;
	}
	int n = __real_vasprintf(ret, fmt, ap);
	if (n >= 0)
		track(*ret);
	return n;
}

static void *map_result(void *p)
{
	if (p != (void *)-1 && plan.on)
		live.maps++;
	return p;
}

WRAP(void *, mmap, (void *at, size_t len, int prot, int flags, int fd, long off))
{
	return due(FAULT_MAP) ? (void *)-1 :
				map_result(__real_mmap(at, len, prot, flags, fd, off));
}

WRAP(void *, mmap64, (void *at, size_t len, int prot, int flags, int fd, int64_t off))
{
	return due(FAULT_MAP) ? (void *)-1 :
				map_result(__real_mmap64(at, len, prot, flags, fd, off));
}

WRAP(int, munmap, (void *at, size_t len))
{
	if (plan.on)
		live.maps--;
	return __real_munmap(at, len);
}

WRAP_PLAIN(int, madvise, FAULT_ADVICE, (void *at, size_t len, int advice), (at, len, advice))
WRAP_PLAIN(int, mlock, FAULT_LOCK, (const void *at, size_t len), (at, len))
WRAP_PLAIN(int, memfd_create, FAULT_FD, (const char *name, unsigned flags), (name, flags))
WRAP_PLAIN(int, eventfd, FAULT_FD, (unsigned init, int flags), (init, flags))
WRAP_PLAIN(int, socket, FAULT_FD, (int domain, int type, int proto), (domain, type, proto))
WRAP_PLAIN(int, accept4, FAULT_FD, (int fd, void *sa, void *len, int flags), (fd, sa, len, flags))
WRAP_PLAIN(int, ftruncate, FAULT_SIZE, (int fd, long len), (fd, len))
WRAP_PLAIN(int, ftruncate64, FAULT_SIZE, (int fd, int64_t len), (fd, len))
WRAP_PLAIN(int, fstat, FAULT_FILE, (int fd, void *st), (fd, st))
WRAP_PLAIN(int, fstat64, FAULT_FILE, (int fd, void *st), (fd, st))
WRAP_PLAIN(int, fstatfs, FAULT_FILE, (int fd, void *st), (fd, st))
WRAP_PLAIN(int, fstatfs64, FAULT_FILE, (int fd, void *st), (fd, st))
WRAP_PLAIN(ssize_t, read, FAULT_READ, (int fd, void *p, size_t n), (fd, p, n))
WRAP_PLAIN(ssize_t, pread, FAULT_READ, (int fd, void *p, size_t n, long off), (fd, p, n, off))
WRAP_PLAIN(ssize_t, pread64, FAULT_READ, (int fd, void *p, size_t n, int64_t off), (fd, p, n, off))
WRAP_PLAIN(ssize_t, recvmsg, FAULT_READ, (int fd, struct msghdr *m, int flags), (fd, m, flags))
WRAP_PLAIN(ssize_t, write, FAULT_WRITE, (int fd, const void *p, size_t n), (fd, p, n))
WRAP_PLAIN(ssize_t, pwrite, FAULT_WRITE, (int fd, const void *p, size_t n, long off),
	   (fd, p, n, off))
WRAP_PLAIN(ssize_t, pwrite64, FAULT_WRITE, (int fd, const void *p, size_t n, int64_t off),
	   (fd, p, n, off))
WRAP_PLAIN(ssize_t, send, FAULT_WRITE, (int fd, const void *p, size_t n, int flags),
	   (fd, p, n, flags))
WRAP_PLAIN(ssize_t, sendmsg, FAULT_WRITE, (int fd, const struct msghdr *m, int flags),
	   (fd, m, flags))

static unsigned fcntl_kind(int cmd)
{
	if (cmd == F_DUPFD_CLOEXEC)
		return FAULT_FD;
	return cmd == F_ADD_SEALS ? FAULT_SEAL : 0;
}

/* Every command that we use takes an int, a pointer or nothing: passed on as libc does itself. */
#define WRAP_FCNTL(name)                                                                           \
	WRAP(int, name, (int fd, int cmd, ...))                                                    \
	{                                                                                          \
		va_list ap;                                                                        \
		va_start(ap, cmd);                                                                 \
		void *arg = va_arg(ap, void *);                                                    \
		va_end(ap);                                                                        \
		return due(fcntl_kind(cmd)) ? -1 : __real_##name(fd, cmd, arg);                    \
	}

WRAP_FCNTL(fcntl)
WRAP_FCNTL(fcntl64)

/* One run with the @n-th call failing. False when there was no such call. */
static bool run_once(const struct fault_row *row, unsigned n, bool sticky)
{
	unsigned fds = fixture_count_fds();

	memset(&live, 0, sizeof(live));
	broken.cond = NULL;
	memset(&plan, 0, sizeof(plan));
	plan.kinds = row->kinds;
	plan.n = n;
	plan.err = row->err;
	plan.sticky = sticky;
	plan.on = true;
	int r = row->run();
	plan.on = false;

	const char *how = sticky ? " and after" : "";
	ck_assert_msg(!broken.cond, "%s, call %u%s failing: line %d: %s", row->name, n, how,
		      broken.line, broken.cond);
	ck_assert_msg(live.n == 0, "%s, call %u%s failing: %u allocations left", row->name, n, how,
		      live.n);
	ck_assert_msg(live.maps == 0, "%s, call %u%s failing: %d mappings left", row->name, n, how,
		      live.maps);
	ck_assert_msg(fixture_count_fds() == fds, "%s, call %u%s failing: %u descriptors, were %u",
		      row->name, n, how, fixture_count_fds(), fds);
	if (plan.hits == 0)
		ck_assert_msg(r == 0, "%s: nothing fails, yet %d", row->name, r);
	else if (row->want == FAULT_EITHER)
		ck_assert_msg(r <= 0, "%s, call %u%s failing: %d", row->name, n, how, r);
	else
		ck_assert_msg(r == row->want, "%s, call %u%s failing: %d, not %d", row->name, n,
			      how, r, row->want);
	return plan.hits > 0;
}

void fault_walk(const struct fault_row *row)
{
	for (int sticky = 0; sticky < (row->err == EINTR ? 1 : 2); sticky++) {
		unsigned n = 1;

		while (n < CALLS_MAX && run_once(row, n, sticky))
			n++;
		ck_assert_msg(n > 1, "%s: nothing could be made to fail", row->name);
		ck_assert_msg(n < CALLS_MAX, "%s: no end of calls", row->name);
	}
}
