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
	bool inject;
} host_rows[] = {
	{ "", MS(10000), MS(10000), MS(2000), "parley" },
	{ "# nothing\n\n[hostd]\n", MS(10000), MS(10000), MS(2000), "parley" },
	{ "[hostd]\nstart-timeout = 30s\nstop-timeout=1min\ncut-timeout = 500ms\ngroup = kvm\n",
	  MS(30000), MS(60000), MS(500), "kvm" },
	{ "stop-timeout = 1h\ngroup =\n", MS(10000), MS(3600000), MS(2000), "" },
	{ "inject = no\n", MS(10000), MS(10000), MS(2000), "parley" },
	{ "inject = yes\n", MS(10000), MS(10000), MS(2000), "parley", true },
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
	ck_assert_int_eq(c.inject, host_rows[_i].inject);
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
	{ false, "inject = maybe\n", 1, "yes or no" },
	{ false, "group = 0123456789012345678901234567890123456789012345678901234567890123\n", 1,
	  "at most 63" },
	{ false, "events-kept = -1\n", 1, "from 0 to 65536" },
	{ false, "events-kept = 65537\n", 1, "from 0 to 65536" },
	{ false, "events-kept = 99999999999999999999\n", 1, "from 0 to 65536" },
	{ false, "events-kept = 1k\n", 1, "from 0 to 65536" },
	{ false, "qvm-hang-timeout = no\n", 1, "or off" },
	{ false, "mediator-hang-timeout = 0\n", 1, "or off" },
	{ false, "start-timeout = off\n", 1, "a time" },
	{ true, "watchdog = bite\n", 1, "failure, restart, stop or nothing" },
	{ true, "class = Safety\n", 1, "safety, normal or best-effort" },
	{ true, "[vm]\nuser = me\n", 2, "not supported by this version" },
	{ true, "[vm]\nautostart = maybe\n", 2, "yes or no" },
	{ true, "[vm]\nrestart = sometimes\n", 2, "no, on-failure or always" },
	{ true, "restart-delay = 5\n", 1, "a time" },
	{ true, "restart-limit = 5\n", 1, "such as 5/1min" },
	{ true, "restart-limit = 0/1min\n", 1, "N from 1 to 32" },
	{ true, "restart-limit = 33/1min\n", 1, "N from 1 to 32" },
	{ true, "restart-limit = 99999999999999999999/1min\n", 1, "N from 1 to 32" },
	{ true, "restart-limit = 5/1\n", 1, "N from 1 to 32" },
	{ true, "after =\n", 1, "names of at most 8 VMs" },
	{ true, "after = a b/c\n", 1, "names of at most 8 VMs" },
	{ true, "after = a,b,c,d,e,f,g,h,i\n", 1, "names of at most 8 VMs" },
	{ true, "environment = X\n", 1, "NAME=value" },
	{ true, "environment = =X\n", 1, "NAME=value" },
	{ true, "environment = 9X=1\n", 1, "NAME=value" },
	{ true, "environment = a-b=1\n", 1, "NAME=value" },
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

static const struct {
	const char *text;
	uint64_t qvm_ns, mediator_ns;
	uint32_t events;
} watch_rows[] = {
	{ "", MS(30000), MS(10000), 8192 },
	{ "qvm-hang-timeout = 2s\nmediator-hang-timeout = 500ms\nevents-kept = 0\n", MS(2000),
	  MS(500), 0 },
	{ "qvm-hang-timeout = off\nmediator-hang-timeout = off\nevents-kept = 65536\n", 0, 0,
	  65536 },
};

START_TEST(who_is_watched)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct hd_conf c;

	write_file(watch_rows[_i].text);
	ck_assert_int_eq(hd_conf_load(path, &errs, &c), 0);
	ck_assert_uint_eq(c.qvm_hang_ns, watch_rows[_i].qvm_ns);
	ck_assert_uint_eq(c.mediator_hang_ns, watch_rows[_i].mediator_ns);
	ck_assert_uint_eq(c.events_kept, watch_rows[_i].events);
	cf_errors_fini(&errs);
	fixture_rmdir(dir);
}
END_TEST

START_TEST(watchdog_words)
{
	static const char *const words[] = { "failure", "restart", "stop", "nothing" };
	struct cf_errors errs = CF_ERRORS_NULL;
	struct hd_conf host = { .stop_timeout_ns = 1 };
	struct hd_vm_conf vm;
	char text[64];

	static_assert(Q_ARRAY_LEN(words) == HD_WATCHDOGS, "all words");
	snprintf(text, sizeof(text), "watchdog = %s\n", words[_i]);
	write_file(text);
	ck_assert_int_eq(hd_vm_conf_load(path, &host, &errs, &vm), 0);
	ck_assert_int_eq(vm.watchdog, _i);
	ck_assert_str_eq(hd_watchdog_str(vm.watchdog), words[_i]);
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

START_TEST(vm_starts)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	const struct hd_conf host = { .stop_timeout_ns = 42 };
	struct hd_vm_conf c;

	ck_assert_int_eq(hd_vm_conf_load("/nonexistent/f", &host, &errs, &c), 0);
	ck_assert(!c.autostart && c.restart.when == HD_RESTART_NO && c.n_after == 0);
	ck_assert_uint_eq(c.restart.delay_ns, MS(1000));
	ck_assert_uint_eq(c.restart.limit, 5);
	ck_assert_uint_eq(c.restart.window_ns, MS(60000));
	write_file("[vm]\nautostart = yes\nrestart = on-failure\nrestart-delay = 20ms\n"
		   "restart-limit = 3/10s\nafter = base, net\nenvironment = DISK=/dev/sda\n"
		   "environment = EMPTY=\n");
	ck_assert_int_eq(hd_vm_conf_load(path, &host, &errs, &c), 0);
	ck_assert(c.autostart && c.restart.when == HD_RESTART_ON_FAILURE);
	ck_assert_uint_eq(c.restart.delay_ns, MS(20));
	ck_assert_uint_eq(c.restart.limit, 3);
	ck_assert_uint_eq(c.restart.window_ns, MS(10000));
	ck_assert_uint_eq(c.n_after, 2);
	ck_assert_str_eq(c.after[0].name, "base");
	ck_assert_str_eq(c.after[1].name, "net");
	ck_assert_uint_eq(c.after_line, 6);
	ck_assert_uint_eq(c.n_environment, 2);
	ck_assert_str_eq(c.environment[0].text, "DISK=/dev/sda");
	ck_assert_str_eq(c.environment[1].text, "EMPTY=");
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
	tcase_add_loop_test(tc, who_is_watched, 0, Q_ARRAY_LEN(watch_rows));
	tcase_add_loop_test(tc, watchdog_words, 0, HD_WATCHDOGS);
	tcase_add_test(tc, all_errors_in_one_run);
	tcase_add_test(tc, vm_good);
	tcase_add_test(tc, vm_starts);
	tcase_add_loop_test(tc, name_rows, 0, Q_ARRAY_LEN(names));
	return fixture_main(s);
}
