/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every unit test shares: a descriptor that a test leaves open fails it, and a main().
 *
 * fixture_add(tc) on each TCase; Check runs setup and teardown in the forked process of each test,
 * around its body. A test that starts threads or children ends them before it returns.
 */
#pragma once

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qdef.h"

/* Where a sanitizer is, mlock() is a success that does nothing: its shadow could not be locked. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FIXTURE_HAS_MLOCK false
#elif defined(__has_feature)
#define FIXTURE_HAS_MLOCK (!__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer))
#else
#define FIXTURE_HAS_MLOCK true
#endif

/* Open descriptors of this process. */
static inline unsigned fixture_count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	ck_assert_ptr_nonnull(d);
	for (const struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n - 1;	/* the folder's own */
}

/* One line a descriptor on stderr, for the reader of a failure. */
static inline void fixture_show_fds(void)
{
	DIR *d = opendir("/proc/self/fd");

	for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		char to[256];
		ssize_t n = readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1);

		if (n > 0)
			fprintf(stderr, "  fd %s -> %.*s\n", e->d_name, (int)n, to);
	}
	if (d)
		closedir(d);
}

static unsigned fixture_fds_before;

static inline void fixture_setup(void)
{
	fixture_fds_before = fixture_count_fds();
}

static inline void fixture_teardown(void)
{
	unsigned now = fixture_count_fds();

	if (now != fixture_fds_before)
		fixture_show_fds();
	ck_assert_msg(now == fixture_fds_before, "%u descriptors before the test, %u after",
		      fixture_fds_before, now);
}

static inline void fixture_add(TCase *tc)
{
	tcase_add_checked_fixture(tc, fixture_setup, fixture_teardown);
}

/* A new TCase of @s with the fixture. */
static inline TCase *fixture_case(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	fixture_add(tc);
	suite_add_tcase(s, tc);
	return tc;
}

/* Runs @s; what main() returns. */
static inline int fixture_main(Suite *s)
{
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A folder of the test's own, in @buf; fixture_rmdir() removes it with the files in it. */
static inline const char *fixture_mkdir(char *buf, size_t bytes)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(buf, bytes, "%s/parley-test.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(buf));
	return buf;
}

static inline void fixture_rmdir(const char *path)
{
	DIR *d = opendir(path);

	ck_assert_ptr_nonnull(d);
	for (const struct dirent *e = readdir(d); e; e = readdir(d))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			ck_assert_int_eq(unlinkat(dirfd(d), e->d_name, 0), 0);
	closedir(d);
	ck_assert_int_eq(rmdir(path), 0);
}

/* A small generator for properties, the same in every run: xorshift64*. */
static inline uint64_t fixture_rand(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545f4914f6cdd1dull;
}
