/* SPDX-License-Identifier: Apache-2.0 */
/* hostd/conf.h: hostd.conf and NAME.vm, what is taken and what is refused, with its line. */
#include "hostd/conf.h"

#include <errno.h>

#include "tests/unit/fixture.h"

static char dir[256], path[300];

static void write_file(const char *text)
{
	fixture_mkdir(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/f", dir);
	FILE *f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

#define MS(n) ((n) * Q_NSEC_PER_MSEC)

static const struct {
	const char *text;
	uint64_t start_ns, stop_ns, cut_ns;
	const char *group;
} host_rows[] = {
	{ "", MS(10000), MS(10000), MS(2000), "parley" },
	{ "# nothing\n\n[hostd]\n", MS(10000), MS(10000), MS(2000), "parley" },
	{ "[hostd]\nstart-timeout = 30s\nstop-timeout=1min\ncut-timeout = 500ms\ngroup = kvm\n",
	  MS(30000), MS(60000), MS(500), "kvm" },
	{ "stop-timeout = 1h\ngroup =\n", MS(10000), MS(3600000), MS(2000), "" },
};

START_TEST(host_good)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct hd_conf c;

	write_file(host_rows[_i].text);
	ck_assert_int_eq(hd_conf_load(path, &errs, &c), 0);
	ck_assert_uint_eq(errs.n, 0);
	ck_assert_uint_eq(c.start_timeout_ns, host_rows[_i].start_ns);
	ck_assert_uint_eq(c.stop_timeout_ns, host_rows[_i].stop_ns);
	ck_assert_uint_eq(c.cut_timeout_ns, host_rows[_i].cut_ns);
	ck_assert_str_eq(c.group, host_rows[_i].group);
	cf_errors_fini(&errs);
	fixture_rmdir(dir);
}
END_TEST

static const struct {
	bool vm;
	const char *text;
	unsigned line;
	const char *said;
} bad_rows[] = {
	{ false, "[hostd]\nstart-timeout = 10\n", 2, "such as 10s" },
	{ false, "[hostd]\nstart-timeout = 9ms\n", 2, "from 10ms" },
	{ false, "start-timeout = 2h\n", 1, "to 1h" },
	{ false, "start-timeout = -1s\n", 1, "a time" },
	{ false, "start-timeout = 99999999999999999999s\n", 1, "a time" },
	{ false, "start-timeout = 18446744073709551615h\n", 1, "a time" },
	{ false, "[hostd]\n\nstop-timeot = 1s\n", 3, "did you mean 'stop-timeout'?" },
	{ false, "[hsotd]\nx = 1\ny = 2\n", 2, "expected [hostd]" },
	{ false, "[hostd]\nwhat is this\n", 2, "key = value" },
	{ false, "group = 0123456789012345678901234567890123456789012345678901234567890123\n", 1,
	  "at most 63" },
	{ true, "class = Safety\n", 1, "safety, normal or best-effort" },
	{ true, "[vm]\nautostart = yes\n", 2, "not supported by this version" },
	{ true, "[vm]\nrestart = always\n", 2, "not supported by this version" },
	{ true, "[hostd]\nclass = safety\n", 2, "expected [vm]" },
};

START_TEST(bad)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct hd_conf host = { .stop_timeout_ns = 77 };
	struct hd_vm_conf vm = { .stop_timeout_ns = 78 };

	write_file(bad_rows[_i].text);
	int r = bad_rows[_i].vm ? hd_vm_conf_load(path, &host, &errs, &vm) :
				  hd_conf_load(path, &errs, &host);
	ck_assert_int_eq(r, -EINVAL);
	ck_assert_uint_eq(errs.n, 1);
	ck_assert_uint_eq(errs.v[0].line, bad_rows[_i].line);
	ck_assert_str_eq(errs.v[0].file, path);
	ck_assert_msg(strstr(errs.v[0].text, bad_rows[_i].said) != NULL, "%s", errs.v[0].text);
	/* Nothing was written. */
	ck_assert_uint_eq(host.stop_timeout_ns, 77);
	ck_assert_uint_eq(vm.stop_timeout_ns, 78);
	cf_errors_fini(&errs);
	fixture_rmdir(dir);
}
END_TEST

START_TEST(all_errors_in_one_run)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct hd_conf c;

	write_file("[hostd]\na = 1\nstart-timeout = x\nb = 2\n");
	ck_assert_int_eq(hd_conf_load(path, &errs, &c), -EINVAL);
	ck_assert_uint_eq(errs.n, 3);
	cf_errors_fini(&errs);
	fixture_rmdir(dir);
}
END_TEST

START_TEST(vm_good)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	const struct hd_conf host = { .stop_timeout_ns = 42 };
	struct hd_vm_conf c;

	ck_assert_int_eq(hd_vm_conf_load("/nonexistent/f", &host, &errs, &c), 0);
	ck_assert_int_eq(c.class, PARLEY__CLASS__CLASS_NORMAL);
	ck_assert_uint_eq(c.stop_timeout_ns, 42);
	write_file("[vm]\nclass = best-effort\nstop-timeout = 3s\n");
	ck_assert_int_eq(hd_vm_conf_load(path, &host, &errs, &c), 0);
	ck_assert_int_eq(c.class, PARLEY__CLASS__CLASS_BEST_EFFORT);
	ck_assert_uint_eq(c.stop_timeout_ns, MS(3000));
	fixture_rmdir(dir);
}
END_TEST

static const struct {
	const char *name;
	bool ok;
} names[] = {
	{ "a", true }, { "ivi-2.old_one", true }, { "9", true }, { "", false }, { ".", false },
	{ "..", false }, { ".a", false }, { "-a", false }, { "a/b", false }, { "a b", false },
	{ "a\n", false }, { "\xc3\xa4", false },
	{ "012345678901234567890123456789012345678901234567890123456789012", true },
	{ "0123456789012345678901234567890123456789012345678901234567890123", false },
};

START_TEST(name_rows)
{
	ck_assert_int_eq(hd_name_ok(names[_i].name), names[_i].ok);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hd_conf");
	TCase *tc = fixture_case(s, "conf");

	tcase_add_loop_test(tc, host_good, 0, Q_ARRAY_LEN(host_rows));
	tcase_add_loop_test(tc, bad, 0, Q_ARRAY_LEN(bad_rows));
	tcase_add_test(tc, all_errors_in_one_run);
	tcase_add_test(tc, vm_good);
	tcase_add_loop_test(tc, name_rows, 0, Q_ARRAY_LEN(names));
	return fixture_main(s);
}
