/* SPDX-License-Identifier: Apache-2.0 */
/* lib/cferr.h: errors are kept, counted and printed; the nearest name. */
#include "lib/cferr.h"

#include "tests/unit/fixture.h"

/* What cf_errors_print() writes, in a buffer that the next call reuses. */
static const char *printed(const struct cf_errors *e)
{
	static char buf[16384];
	FILE *f = fmemopen(buf, sizeof(buf), "w");

	ck_assert_ptr_nonnull(f);
	cf_errors_print(e, f);
	ck_assert_int_eq(fclose(f), 0);
	return buf;
}

START_TEST(printed_as_found)
{
	struct cf_errors e = CF_ERRORS_NULL;

	ck_assert(cf_errors_ok(&e));
	ck_assert_str_eq(printed(&e), "");
	cf_error_add(&e, CF_WARNING, "b.conf", 9, 1, "option %s is old", "'x'");
	ck_assert(cf_errors_ok(&e));
	cf_error_add(&e, CF_ERROR, "a.conf", 3, 14, "expected a number");
	cf_error_add(&e, CF_ERROR, "a.conf", 2, 0, "whole line");
	cf_error_add(&e, CF_ERROR, "a.conf", 0, 0, "whole file");
	cf_error_add(&e, CF_ERROR, "command line", 0, 5, "no line, so no column");
	cf_error_add(&e, CF_ERROR, "a.conf", 1, 1, "two\nlines\x1b[2J");
	ck_assert(!cf_errors_ok(&e));
	ck_assert_uint_eq(e.n, 6);
	ck_assert_uint_eq(e.n_errors, 5);
	ck_assert_str_eq(printed(&e), "b.conf:9:1: warning: option 'x' is old\n"
				      "a.conf:3:14: error: expected a number\n"
				      "a.conf:2: error: whole line\n"
				      "a.conf: error: whole file\n"
				      "command line: error: no line, so no column\n"
				      "a.conf:1:1: error: two lines [2J\n");
	cf_errors_fini(&e);
	ck_assert(cf_errors_ok(&e));
	cf_errors_fini(&e);	/* idempotent */
}
END_TEST

START_TEST(strings_are_copies)
{
	struct cf_errors e = CF_ERRORS_NULL;
	char file[] = "a.conf", word[] = "ram";

	cf_error_add(&e, CF_ERROR, file, 1, 1, "%s", word);
	file[0] = word[0] = 'X';
	ck_assert_str_eq(printed(&e), "a.conf:1:1: error: ram\n");
	cf_errors_fini(&e);
}
END_TEST

static const struct {
	unsigned warnings, errors;
	size_t n, n_errors;
	const char *last;
} many_rows[] = {
	{ 0, 100, 100, 100, "f:100: error: e\n" },
	{ 0, 101, 100, 101, "error: 1 more errors are not shown\n" },
	{ 0, 250, 100, 250, "error: 150 more errors are not shown\n" },
	{ 100, 1, 101, 1, "f:1: error: e\n" },	/* warnings hide no error */
	{ 5000, 1, 101, 1, "f:1: error: e\n" },
	{ 101, 0, 100, 0, "f:100: warning: w\n" },
	{ 200, 200, 200, 200, "error: 100 more errors are not shown\n" },
};

START_TEST(many_row)
{
	struct cf_errors e = CF_ERRORS_NULL;

	for (unsigned i = 1; i <= many_rows[_i].warnings; i++)
		cf_error_add(&e, CF_WARNING, "f", i, 0, "w");
	for (unsigned i = 1; i <= many_rows[_i].errors; i++)
		cf_error_add(&e, CF_ERROR, "f", i, 0, "e");
	ck_assert_uint_eq(e.n, many_rows[_i].n);
	ck_assert_uint_eq(e.n_errors, many_rows[_i].n_errors);
	ck_assert_int_eq(cf_errors_ok(&e), many_rows[_i].errors == 0);
	ck_assert(!e.oom);
	const char *text = printed(&e), *want = many_rows[_i].last;
	ck_assert_uint_ge(strlen(text), strlen(want));
	ck_assert_str_eq(text + strlen(text) - strlen(want), want);
	cf_errors_fini(&e);
}
END_TEST

START_TEST(out_of_memory_is_an_error)
{
	struct cf_errors e = { .oom = true };

	ck_assert(!cf_errors_ok(&e));
	ck_assert_ptr_nonnull(strstr(printed(&e), "out of memory"));
	cf_errors_fini(&e);
}
END_TEST

static const char *const names[] = { "system", "ram",  "rom",	 "cpu",	   "load", "initrd",
				     "cmdline", "vdev", "reserve", "logger", "set",  "dryrun" };

static const struct {
	const char *word, *want;
} near_rows[] = {
	{ "ram", "ram" },
	{ "rma", "ram" },	/* swapped */
	{ "rm", "ram" },	/* the first of equals: ram, rom */
	{ "rem", "ram" },
	{ "raam", "ram" },
	{ "raamm", "ram" },
	{ "ra", "ram" },
	{ "r", NULL },		/* two edits are too many for a short word */
	{ "xyz", NULL },
	{ "vdve", "vdev" },
	{ "vde", "vdev" },
	{ "cmdlin", "cmdline" },
	{ "cmdln", "cmdline" },
	{ "cmln", NULL },	/* three */
	{ "comandline", NULL },
	{ "loger", "logger" },
	{ "sytsem", "system" },
	{ "RAM", NULL },
	{ "", NULL },
	{ "dryrundryrundryrundryrundryrundryrundryrundryrundryrundryrundryrundryrun", NULL },
};

START_TEST(near_row)
{
	const char *got = cf_nearest(near_rows[_i].word, names, Q_ARRAY_LEN(names));

	if (near_rows[_i].want)
		ck_assert_str_eq(got ? got : "(none)", near_rows[_i].want);
	else
		ck_assert_msg(!got, "'%s' is not near '%s'", got, near_rows[_i].word);
}
END_TEST

START_TEST(near_edges)
{
#define TEN "0123456789"
	static const char w64[] = TEN TEN TEN TEN TEN TEN "0123";
	static const char w65[] = TEN TEN TEN TEN TEN TEN "01234";
	const char *const long_names[] = { w65, w64 };

	ck_assert_uint_eq(strlen(w64), 64);
	ck_assert_ptr_null(cf_nearest("ram", NULL, 0));
	ck_assert_ptr_eq(cf_nearest(w64, long_names, 2), w64);
	ck_assert_ptr_eq(cf_nearest(w64 + 1, long_names, 2), w64);
	ck_assert_ptr_null(cf_nearest(w65, long_names, 2));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cferr");
	TCase *tc = fixture_case(s, "errors");

	tcase_add_test(tc, printed_as_found);
	tcase_add_test(tc, strings_are_copies);
	tcase_add_loop_test(tc, many_row, 0, Q_ARRAY_LEN(many_rows));
	tcase_add_test(tc, out_of_memory_is_an_error);
	tc = fixture_case(s, "nearest");
	tcase_add_loop_test(tc, near_row, 0, Q_ARRAY_LEN(near_rows));
	tcase_add_test(tc, near_edges);
	return fixture_main(s);
}
