/* SPDX-License-Identifier: Apache-2.0 */
/* qvm/logs.c: which destinations a configuration gives. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/qfd.h"
#include "qvm/logs.h"
#include "tests/unit/fixture.h"

#define BIT_INFO     QLOG_BIT(QLOG_INFO)
#define BIT_INTERNAL QLOG_BIT(QLOG_INTERNAL)

/* What is logged is one line of each severity; n_...: how many lines come where. */
static const struct {
	const char *name;
	size_t n_loggers;
	struct cfg_logger loggers[2];
	bool has_syslog;
	unsigned n_stderr, n_syslog;
} rows[] = {
	{ "the usual, and internal twice", 0, { { 0 } }, true, 5, 1 },
	{ "no system's log: internal once", 0, { { 0 } }, false, 5, 0 },
	{ "one to stderr", 1, { { BIT_INFO, CFG_LOG_STDERR } }, true, 1, 1 },
	{ "internal is never lost", 1, { { BIT_INFO, CFG_LOG_STDERR } }, false, 2, 0 },
	{ "nothing but that", 1, { { ~0u, CFG_LOG_NONE } }, true, 0, 1 },
	{ "slog", 1, { { BIT_INFO, CFG_LOG_SLOG } }, true, 0, 2 },
	{ "slog has it already", 1, { { BIT_INFO | BIT_INTERNAL, CFG_LOG_SLOG } }, true, 0, 2 },
	{ "slog without one", 1, { { BIT_INFO, CFG_LOG_SLOG } }, false, 2, 0 },
	{ "both", 2, { { BIT_INFO, CFG_LOG_SLOG }, { BIT_INFO, CFG_LOG_STDERR } }, true, 1, 2 },
};

static unsigned lines_in(int fd)
{
	char buf[4096];
	ssize_t n = pread(fd, buf, sizeof(buf), 0);
	unsigned lines = 0;

	for (ssize_t i = 0; i < n; i++)
		lines += buf[i] == '\n';
	return lines;
}

START_TEST(row)
{
	struct vm_cfg cfg = { .slog_bytes = 1 << 20, .n_loggers = rows[_i].n_loggers,
			      .loggers = (struct cfg_logger *)rows[_i].loggers };
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	QCLEAN(qfd_close) int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	QCLEAN(qfd_close) int sink = memfd_create("stderr", MFD_CLOEXEC);
	QCLEAN(qfd_close) int was = qfd_dup(STDERR_FILENO);
	unsigned n_syslog = 0;
	char buf[256];

	unsetenv("JOURNAL_STREAM");
	snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/parley-t_logs.%d", (int)getpid());
	if (rows[_i].has_syslog)
		ck_assert_int_eq(bind(sock, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(fcntl(sink, F_SETFL, O_APPEND), 0);
	dup2(sink, STDERR_FILENO);
	logs_open(&cfg, at.sun_path);
	for (int sev = 0; sev < QLOG_SEVS; sev++)
		qlog((enum qlog_sev)sev, "ev=x");
	logs_close();
	dup2(was, STDERR_FILENO);
	while (recv(sock, buf, sizeof(buf), 0) > 0)
		n_syslog++;
	unlink(at.sun_path);
	ck_assert_msg(lines_in(sink) == rows[_i].n_stderr && n_syslog == rows[_i].n_syslog,
		      "%s: %u to stderr, %u to the system's log", rows[_i].name, lines_in(sink),
		      n_syslog);
}
END_TEST

/* Standard error that is the journal is not told twice. */
START_TEST(journal)
{
	struct vm_cfg cfg = { .slog_bytes = 4096 };
	const struct cfg_logger l = { .mask = BIT_INFO, .dest = CFG_LOG_SLOG };
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	QCLEAN(qfd_close) int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char stream[64];
	struct stat st;

	snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/parley-t_logs.%d", (int)getpid());
	ck_assert_int_eq(bind(sock, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	logs_open(&cfg, at.sun_path);
	struct qlog_dest d = logs_dest(&l);
	ck_assert_ptr_null(d.syslog);
	ck_assert_int_eq(d.fd, STDERR_FILENO);
	logs_close();
	setenv("JOURNAL_STREAM", "8:1", 1);
	logs_open(&cfg, at.sun_path);
	d = logs_dest(&l);
	ck_assert_ptr_nonnull(d.syslog);
	logs_close();
	unlink(at.sun_path);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("logs");
	TCase *tc = fixture_case(s, "logs");

	tcase_add_loop_test(tc, row, 0, Q_ARRAY_LEN(rows));
	tcase_add_test(tc, journal);
	return fixture_main(s);
}
