/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qlog.h: what a line looks like and where it goes, the limiter, escaping. */
#include "lib/qlog.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "lib/qfd.h"
#include "tests/unit/fixture.h"

static int make_sink(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	/* As a log file is: a memfd has no lock on its position. */
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_APPEND), 0);
	return fd;
}

/* All that was written to @fd, in a buffer that the next call reuses. */
static const char *text_of(int fd)
{
	static char buf[16384];
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);

	ck_assert_int_ge(n, 0);
	buf[n] = '\0';
	return buf;
}

static const struct {
	const char *prog, *vm;
	bool prefix;
	enum qlog_sev sev;
	int err;
	const char *want;
} line_rows[] = {
	{ NULL, NULL, false, QLOG_INFO, 0, "ev=x n=7\n" },
	{ "qvm", NULL, false, QLOG_INFO, 0, "qvm: ev=x n=7\n" },
	{ "qvm", "web1", false, QLOG_INFO, 0, "qvm: ev=x n=7 vm=web1\n" },
	{ "qvm", "web1", true, QLOG_INFO, 0, "<6>qvm: ev=x n=7 vm=web1\n" },
	{ "qvm", NULL, true, QLOG_FATAL, 0, "<2>qvm: ev=x n=7\n" },
	{ "qvm", NULL, true, QLOG_INTERNAL, 0, "<2>qvm: ev=x n=7\n" },
	{ "qvm", NULL, true, QLOG_ERROR, 0, "<3>qvm: ev=x n=7\n" },
	{ "qvm", NULL, true, QLOG_WARN, 0, "<4>qvm: ev=x n=7\n" },
	{ "qvm", NULL, true, QLOG_DEBUG, 0, "<7>qvm: ev=x n=7\n" },
	{ "qvm", NULL, true, QLOG_VERBOSE, 0, "<7>qvm: ev=x n=7\n" },
	{ NULL, NULL, false, QLOG_ERROR, ENOENT, "ev=x n=7 err=No such file or directory\n" },
	{ NULL, NULL, false, QLOG_ERROR, -ENOENT, "ev=x n=7 err=No such file or directory\n" },
	{ "p", "v", false, QLOG_ERROR, EPERM, "p: ev=x n=7 vm=v err=Operation not permitted\n" },
	{ NULL, NULL, false, QLOG_SEVS, 0, "" },
	{ NULL, NULL, false, (enum qlog_sev)-1, 0, "" },
};

START_TEST(line_row)
{
	QCLEAN(qfd_close) int fd = make_sink();

	qlog_init(line_rows[_i].prog, line_rows[_i].vm);
	qlog_set_prefix(line_rows[_i].prefix);
	ck_assert_int_eq(qlog_add_dest(~0u, fd), 0);
	errno = EXDEV;
	if (line_rows[_i].err)
		qlog_errno(line_rows[_i].sev, line_rows[_i].err, "ev=x n=%d", 7);
	else
		qlog(line_rows[_i].sev, "ev=x n=%d", 7);
	ck_assert_int_eq(errno, EXDEV);
	ck_assert_str_eq(text_of(fd), line_rows[_i].want);
}
END_TEST

START_TEST(errno_is_kept_when_the_destination_fails)
{
	ck_assert_int_eq(qlog_add_dest(~0u, -1), 0);
	errno = EXDEV;
	qlog_warn("ev=x");
	ck_assert_int_eq(errno, EXDEV);
	qlog_err(ENOENT, "ev=x");
	ck_assert_int_eq(errno, EXDEV);
}
END_TEST

/* Sends one line of each severity, named by the severity. */
static void log_all(void)
{
	for (int sev = 0; sev < QLOG_SEVS; sev++)
		qlog((enum qlog_sev)sev, "%s", qlog_sev_str((enum qlog_sev)sev));
}

START_TEST(the_default_goes_to_stderr)
{
	QCLEAN(qfd_close) int fd = make_sink();
	QCLEAN(qfd_close) int saved = qfd_dup(STDERR_FILENO);

	qlog_set_prefix(false);
	ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	log_all();
	dup2(saved, STDERR_FILENO);
	ck_assert_str_eq(text_of(fd), "fatal\ninternal\nerror\nwarning\ninfo\n");
}
END_TEST

START_TEST(prefix_is_on_where_stderr_is_no_terminal)
{
	QCLEAN(qfd_close) int fd = make_sink();
	QCLEAN(qfd_close) int saved = qfd_dup(STDERR_FILENO);

	ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	qlog_warn("before");
	qlog_init("qvm", NULL);
	qlog_warn("after");
	dup2(saved, STDERR_FILENO);
	ck_assert_str_eq(text_of(fd), "<4>before\n<4>qvm: after\n");
}
END_TEST

START_TEST(destinations_take_sets_of_severities)
{
	QCLEAN(qfd_close) int a = make_sink();
	QCLEAN(qfd_close) int b = make_sink();
	QCLEAN(qfd_close) int err = make_sink();
	QCLEAN(qfd_close) int saved = qfd_dup(STDERR_FILENO);

	qlog_set_prefix(false);
	ck_assert_int_eq(dup2(err, STDERR_FILENO), STDERR_FILENO);
	/* A set, not a level: debug without info. */
	ck_assert_int_eq(qlog_add_dest(QLOG_BIT(QLOG_ERROR) | QLOG_BIT(QLOG_DEBUG), a), 0);
	ck_assert_int_eq(qlog_add_dest(QLOG_BIT(QLOG_VERBOSE) | QLOG_BIT(QLOG_ERROR), b), 0);
	log_all();
	dup2(saved, STDERR_FILENO);
	ck_assert_str_eq(text_of(a), "error\ndebug\n");
	ck_assert_str_eq(text_of(b), "error\nverbose\n");
	ck_assert_str_eq(text_of(err), "");	/* the first call replaced the default */
}
END_TEST

/* A socket that stands for the system's log. */
static int make_syslog(struct sockaddr_un *ret)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	ck_assert_int_ge(fd, 0);
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(ret->sun_path, sizeof(ret->sun_path), "/tmp/parley-t_qlog.%d", (int)getpid());
	ck_assert_int_eq(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	return fd;
}

/* A datagram is a line of the form <facility and priority>program[pid]: message. */
START_TEST(the_systems_log)
{
	struct sockaddr_un un;
	char got[256], want[256];

	QCLEAN(qfd_close) int log_fd = make_syslog(&un), fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	qlog_init("qvm", "web1");
	ck_assert_int_eq(qlog_add(&(struct qlog_dest){ QLOG_BIT(QLOG_ERROR), fd, &un }), 0);
	qlog_info("ev=other");
	qlog_errno(QLOG_ERROR, ENOENT, "ev=x\nn=%d", 7);
	ssize_t n = recv(log_fd, got, sizeof(got) - 1, 0);
	ck_assert_int_gt(n, 0);
	got[n] = '\0';
	snprintf(want, sizeof(want), "<27>qvm[%d]: ev=x n=7 vm=web1 err=No such file or directory",
		 (int)getpid());
	ck_assert_str_eq(got, want);
	ck_assert_int_lt(recv(log_fd, got, sizeof(got), 0), 0);
	/* A log that is stuck does not stop us, and one that is gone is no failure. */
	for (unsigned i = 0; i < 2000; i++)
		qlog_err(0, "ev=flood");
	qfd_close(&log_fd);
	unlink(un.sun_path);
	errno = EXDEV;
	qlog_err(0, "ev=gone");
	ck_assert_int_eq(errno, EXDEV);
}
END_TEST

static Q_PRINTF(3, 4) void say_to(const struct qlog_dest *d, enum qlog_sev sev,
				  const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	qlog_to_v(d, 1, sev, fmt, ap);
	va_end(ap);
}

START_TEST(instead_of_those_that_were_added)
{
	QCLEAN(qfd_close) int usual = make_sink(), other = make_sink();
	const struct qlog_dest d = { QLOG_BIT(QLOG_VERBOSE), other, NULL };

	qlog_set_prefix(false);
	ck_assert_int_eq(qlog_add_dest(~0u, usual), 0);
	say_to(&d, QLOG_VERBOSE, "n=%d", 1);
	say_to(&d, QLOG_ERROR, "n=%d", 2);
	ck_assert_str_eq(text_of(other), "n=1\n");
	ck_assert_str_eq(text_of(usual), "");
}
END_TEST

START_TEST(as_many_destinations_as_there_may_be)
{
	QCLEAN(qfd_close) int fd = make_sink();

	qlog_set_prefix(false);
	for (int i = 0; i < QLOG_DESTS_MAX; i++)
		ck_assert_int_eq(qlog_add_dest(~0u, fd), 0);
	ck_assert_int_eq(qlog_add_dest(~0u, fd), -ENOSPC);
	qlog_info("x");
	ck_assert_uint_eq(strlen(text_of(fd)), 2 * QLOG_DESTS_MAX);
}
END_TEST

START_TEST(one_event_is_one_line)
{
	QCLEAN(qfd_close) int fd = make_sink();

	qlog_set_prefix(false);
	ck_assert_int_eq(qlog_add_dest(~0u, fd), 0);
	qlog_info("ev=x why=%s", "a\n<0>ev=forged\r\x1b[2J\x7f");
	ck_assert_str_eq(text_of(fd), "ev=x why=a <0>ev=forged  [2J \n");
}
END_TEST

START_TEST(a_long_line_is_cut_and_still_ends)
{
	QCLEAN(qfd_close) int fd = make_sink();
	static char longish[5000];

	qlog_init("qvm", "web1");
	qlog_set_prefix(false);
	ck_assert_int_eq(qlog_add_dest(~0u, fd), 0);
	memset(longish, 'a', sizeof(longish) - 1);
	qlog_err(ENOENT, "%s", longish);
	qlog_info("next");
	const char *text = text_of(fd), *end = strchr(text, '\n');
	ck_assert_ptr_nonnull(end);
	ck_assert_uint_ge((size_t)(end - text), 1000);
	ck_assert_uint_lt((size_t)(end - text), 4096);	/* PIPE_BUF: still atomic in a pipe */
	ck_assert_str_eq(end + 1, "qvm: next vm=web1\n");
}
END_TEST

enum { WRITERS = 4, LINES = 200 };

static void *write_lines(void *arg)
{
	char letter = *(const char *)arg, word[33];

	memset(word, letter, sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	for (int i = 0; i < LINES; i++)
		qlog_info("%s", word);
	return NULL;
}

START_TEST(threads_do_not_mix_their_lines)
{
	QCLEAN(qfd_close) int fd = make_sink();
	static const char letters[] = "abcd";
	static char buf[WRITERS * LINES * 33 + 1];
	pthread_t t[WRITERS];

	qlog_set_prefix(false);
	ck_assert_int_eq(qlog_add_dest(~0u, fd), 0);
	for (int i = 0; i < WRITERS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, write_lines,
						(void *)(uintptr_t)&letters[i]), 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(pread(fd, buf, sizeof(buf), 0), sizeof(buf) - 1);
	for (const char *p = buf; *p; p += 33) {
		for (int i = 1; i < 32; i++)
			ck_assert_int_eq(p[i], p[0]);
		ck_assert_int_eq(p[32], '\n');
	}
}
END_TEST

static const struct {
	const char *name;
	int want;
} sev_rows[] = {
	{ "fatal", QLOG_FATAL }, { "internal", QLOG_INTERNAL }, { "error", QLOG_ERROR },
	{ "warn", QLOG_WARN },	 { "warning", QLOG_WARN },	{ "info", QLOG_INFO },
	{ "debug", QLOG_DEBUG }, { "verbose", QLOG_VERBOSE },	{ "", -1 },
	{ "warnin", -1 },	 { "INFO", -1 },		{ "info ", -1 },
};

START_TEST(sev_row)
{
	int sev = qlog_sev_parse(sev_rows[_i].name);

	ck_assert_int_eq(sev, sev_rows[_i].want);
	if (sev >= 0)	/* the name of a severity is one of its names */
		ck_assert_int_eq(qlog_sev_parse(qlog_sev_str((enum qlog_sev)sev)), sev);
}
END_TEST

#define SEC Q_NSEC_PER_SEC

static const struct {
	uint64_t at;
	bool due;
	uint64_t n;
} limit_rows[] = {
	/* One limiter through all rows, in order. */
	{ 0, true, 1 },			/* the first, even at time 0 */
	{ 1 * SEC, false, 0 },
	{ 59 * SEC, false, 0 },
	{ 60 * SEC, false, 0 },		/* a minute after 1 ns, less a nanosecond */
	{ 60 * SEC + 1, true, 4 },	/* itself and three before it */
	{ 60 * SEC + 2, false, 0 },
	{ 30 * SEC, false, 0 },		/* a clock that steps back makes no flood */
	{ 120 * SEC, false, 0 },
	{ 120 * SEC + 1, true, 4 },
	{ 1000 * SEC, true, 1 },
};

START_TEST(limiter)
{
	struct qlog_limit l = { 0 };

	for (size_t i = 0; i < Q_ARRAY_LEN(limit_rows); i++) {
		uint64_t n = 99;

		ck_assert_msg(qlog_limit_hit(&l, limit_rows[i].at, &n) == limit_rows[i].due,
			      "row %zu", i);
		ck_assert_uint_eq(n, limit_rows[i].due ? limit_rows[i].n : 99);
		ck_assert_uint_eq(l.total, i + 1);
	}
}
END_TEST

static const struct {
	const char *src;
	size_t len, buf_bytes;
	const char *want;
} escape_rows[] = {
	{ "plain text", 10, 64, "plain text" },
	{ "", 0, 64, "" },
	{ "~ }", 3, 64, "~ }" },
	{ "a\0b", 3, 64, "a\\x00b" },
	{ "\n\r\t\x1b", 4, 64, "\\x0a\\x0d\\x09\\x1b" },
	{ "\x7f\x80\xff", 3, 64, "\\x7f\\x80\\xff" },
	{ "q\"\\", 3, 64, "q\\x22\\x5c" },
	{ "\xc3\xa4", 2, 64, "\\xc3\\xa4" },
	/* Cut to fit, never through an escape. */
	{ "abcdef", 6, 4, "abc" },
	{ "abc", 3, 4, "abc" },
	{ "ab\n", 3, 6, "ab" },
	{ "ab\n", 3, 7, "ab\\x0a" },
	{ "abc", 3, 1, "" },
	{ "abc", 3, 0, "" },
};

START_TEST(escape_row)
{
	char buf[80];

	memset(buf, '#', sizeof(buf));
	const char *got = qlog_escape(buf, escape_rows[_i].buf_bytes, escape_rows[_i].src,
				      escape_rows[_i].len);
	ck_assert_str_eq(got, escape_rows[_i].want);
	for (size_t i = escape_rows[_i].buf_bytes; i < sizeof(buf); i++)
		ck_assert_int_eq(buf[i], '#');
}
END_TEST

START_TEST(escape_shows_64_bytes)
{
	char src[200], buf[512];

	memset(src, 'a', sizeof(src));
	ck_assert_uint_eq(strlen(qlog_escape(buf, sizeof(buf), src, sizeof(src))), 64);
	memset(src, 1, sizeof(src));
	ck_assert_uint_eq(strlen(qlog_escape(buf, sizeof(buf), src, sizeof(src))), 64 * 4);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qlog");
	TCase *tc = fixture_case(s, "lines");

	tcase_add_loop_test(tc, line_row, 0, Q_ARRAY_LEN(line_rows));
	tcase_add_test(tc, errno_is_kept_when_the_destination_fails);
	tcase_add_test(tc, the_default_goes_to_stderr);
	tcase_add_test(tc, prefix_is_on_where_stderr_is_no_terminal);
	tcase_add_test(tc, destinations_take_sets_of_severities);
	tcase_add_test(tc, as_many_destinations_as_there_may_be);
	tcase_add_test(tc, the_systems_log);
	tcase_add_test(tc, instead_of_those_that_were_added);
	tcase_add_test(tc, one_event_is_one_line);
	tcase_add_test(tc, a_long_line_is_cut_and_still_ends);
	tcase_add_test(tc, threads_do_not_mix_their_lines);
	tcase_add_loop_test(tc, sev_row, 0, Q_ARRAY_LEN(sev_rows));
	tc = fixture_case(s, "peers");
	tcase_add_test(tc, limiter);
	tcase_add_loop_test(tc, escape_row, 0, Q_ARRAY_LEN(escape_rows));
	tcase_add_test(tc, escape_shows_64_bytes);
	return fixture_main(s);
}
