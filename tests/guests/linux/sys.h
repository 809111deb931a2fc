/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux as the runtime of a test guest: system calls without a C library, because the runtime has
 * memcpy() and its like itself. Results are those of the kernel: negative is -errno.
 */
#pragma once
#include <asm/unistd.h>
#include "tests/guests/rt/rt.h"
#if defined(__x86_64__)
#include "tests/guests/linux/x86/sys.h"
#elif defined(__aarch64__)
#include "tests/guests/linux/arm64/sys.h"
#else
#error "no system calls for this processor"
#endif

#define SYS_AT_FDCWD (-100L)
#define SYS_EINTR    4
#define SYS_EAGAIN   11

static inline long sys4(long nr, long a, long b, long c, long d)
{
	return sys6(nr, a, b, c, d, 0, 0);
}

static inline long sys_open(const char *path, int flags)
{
	return sys4(__NR_openat, SYS_AT_FDCWD, (long)path, flags, 0);
}

static inline long sys_read(int fd, void *buf, size_t n)
{
	return sys4(__NR_read, fd, (long)buf, (long)n, 0);
}

static inline long sys_write(int fd, const void *buf, size_t n)
{
	return sys4(__NR_write, fd, (long)buf, (long)n, 0);
}

/* The next descriptor that rt_wait() sleeps on: readable means rt_wake changes. -1 is none. */
void linux_wake_by(int fd);
