/* SPDX-License-Identifier: Apache-2.0 */
/* hostd/want.h: marks that hold for this boot only. */
#include "hostd/want.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/fixture.h"

static char dir[256], path[300];

static void make_dir(void)
{
	fixture_mkdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/run", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void remove_dir(void)
{
	char run[300];

	snprintf(run, sizeof(run), "%s/run", dir);
	fixture_rmdir(run);
	fixture_rmdir(dir);
}

static void write_mark(const char *name, const char *text)
{
	snprintf(path, sizeof(path), "%s/run/%s", dir, name);
	FILE *f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(wanted)
{
	make_dir();
	ck_assert(!hd_want_read(dir, "a"));
	ck_assert_int_eq(hd_want_write(dir, "a", false), 0);
	ck_assert_int_eq(hd_want_write(dir, "a", true), 0);
	ck_assert_int_eq(hd_want_write(dir, "a", true), 0);
	ck_assert(hd_want_read(dir, "a") && !hd_want_read(dir, "b"));
	ck_assert_int_eq(hd_want_write(dir, "a", false), 0);
	ck_assert(!hd_want_read(dir, "a"));
	remove_dir();
}
END_TEST

START_TEST(interrupted)
{
	make_dir();
	ck_assert(!hd_want_interrupted(dir));
	ck_assert_int_eq(hd_want_working(dir, true), 0);
	ck_assert(hd_want_interrupted(dir));
	ck_assert_int_eq(hd_want_working(dir, false), 0);
	ck_assert(!hd_want_interrupted(dir));
	remove_dir();
}
END_TEST

/* What another boot left, or a full disk. */
START_TEST(not_ours)
{
	static const char *const texts[] = {
		"", "00000000", "00000000-0000-0000-0000-000000000000",
	};

	make_dir();
	write_mark("a.want", texts[_i]);
	write_mark("hostd.boot", texts[_i]);
	ck_assert(!hd_want_read(dir, "a"));
	ck_assert(!hd_want_interrupted(dir));
	ck_assert_int_eq(hd_want_write(dir, "a", true), 0);
	ck_assert(hd_want_read(dir, "a"));
	remove_dir();
}
END_TEST

START_TEST(no_place)
{
	char name[PATH_MAX + 1];

	memset(name, 'x', PATH_MAX);
	name[PATH_MAX] = '\0';
	ck_assert_int_eq(hd_want_write("/nonexistent", "a", true), -ENOENT);
	ck_assert_int_eq(hd_want_write("/nonexistent", "a", false), 0);
	ck_assert_int_eq(hd_want_write("/nonexistent", name, true), -ENAMETOOLONG);
	ck_assert(!hd_want_read("/nonexistent", name));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hd_want");
	TCase *tc = fixture_case(s, "want");

	tcase_add_test(tc, wanted);
	tcase_add_test(tc, interrupted);
	tcase_add_loop_test(tc, not_ours, 0, 3);
	tcase_add_test(tc, no_place);
	return fixture_main(s);
}
