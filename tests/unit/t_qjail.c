/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qjail.h: what a process that is sealed may do, and how it ends when it does more. */
#include "lib/qjail.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "tests/unit/fixture.h"

static const struct qjail_call extra[] = {
	{ SCMP_SYS(getppid), QJAIL_ALWAYS },
	{ SCMP_SYS(umask), QJAIL_FAILS, .value = EDOM },
};

/* ---- what a sealed child does: its exit status, or it is killed ---- */

static int do_allowed(void)
{
	return getppid() > 0 ? 0 : 1;
}

static int do_error(void)
{
	return syscall(SYS_umask, 0) == -1 && errno == EDOM ? 0 : 1;
}

static void *in_thread(void *arg)
{
	return arg;
}

static int do_thread(void)
{
	pthread_t t;
	int token = 0;
	void *ret = NULL;

	if (pthread_create(&t, NULL, in_thread, &token) || pthread_join(t, &ret))
		return 1;
	return ret == &token ? 0 : 2;
}

static int do_malloc(void)
{
	char *p = malloc(8 << 20);

	if (!p)
		return 1;
	memset(p, 1, 8 << 20);
	free(p);
	return 0;
}

static int do_open(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0;
}

static int do_exec(void)
{
	char *const argv[] = { (char *)"true", NULL };

	return execv("/bin/true", argv);
}

static int do_fork(void)
{
	return fork() >= 0;
}

static int do_kill(void)
{
	return kill(getppid(), 0) == 0;
}

static int do_inet(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static int do_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static int do_handler(void)
{
	return signal(SIGSYS, SIG_IGN) != SIG_ERR;
}

static int do_blocked(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	return do_open();
}

#define DIES true
static const struct {
	const char *what;
	int (*fn)(void);
	bool dies, silent;
	const char *name;	/* of the call that is told */
	bool lenient;		/* a sanitizer's own needs open this one */
} rows[] = {
	{ "a call of its list", do_allowed },
	{ "an error of its list", do_error },
	{ "a thread", do_thread },
	{ "memory", do_malloc },
	{ "a file", do_open, DIES, .name = "openat", .lenient = true },
	{ "a program", do_exec, DIES, .name = "execve" },
	{ "a process", do_fork, DIES, .name = "clone", .lenient = true },
	{ "a signal", do_kill, DIES, .name = "kill", .lenient = true },
	{ "the network", do_inet, DIES, .name = "socket" },
	{ "another's memory", do_ptrace, DIES, .name = "ptrace", .lenient = true },
	{ "another handler", do_handler, DIES, .name = "rt_sigaction", .lenient = true },
	{ "with the signal blocked", do_blocked, DIES, .silent = true, .lenient = true },
};

static bool is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__)
	return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
	return true;
#endif
#endif
	return false;
}

static _Noreturn void sealed_child(int err_fd, int (*fn)(void), enum qjail_mode mode)
{
	dup2(err_fd, STDERR_FILENO);
	if (qjail_drop_caps() < 0 || qjail_filter(extra, Q_ARRAY_LEN(extra), mode) < 0)
		_exit(99);
	_exit(fn());
}

static int run(int (*fn)(void), enum qjail_mode mode, char *said, size_t said_bytes)
{
	int p[2], status;

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		sealed_child(p[1], fn, mode);
	qfd_close(&p[1]);
	ssize_t n = read(p[0], said, said_bytes - 1);
	said[n < 0 ? 0 : n] = '\0';
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	qfd_close(&p[0]);
	return status;
}

START_TEST(sealed)
{
	char said[256] = "", want[128];

	if (is_sanitized() && rows[_i].lenient)
		return;
	int status = run(rows[_i].fn, QJAIL_ON, said, sizeof(said));
	if (!rows[_i].dies) {
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: %x %s",
			      rows[_i].what, (unsigned)status, said);
		return;
	}
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: %x %s", rows[_i].what,
		      (unsigned)status, said);
	snprintf(want, sizeof(want), "<1>" QJAIL_SAID "\"system call %s ",
		 rows[_i].name ? rows[_i].name : "");
	if (!rows[_i].silent)
		ck_assert_msg(strncmp(said, want, strlen(want)) == 0, "%s: %s", rows[_i].what,
			      said);
}
END_TEST

/* A thread that was there before is sealed as well, and has no capability. */
static pthread_barrier_t meet;

static void *early_thread(void *arg)
{
	int *ret = arg;

	pthread_barrier_wait(&meet);	/* we are here */
	pthread_barrier_wait(&meet);	/* sealed */
	*ret = prctl(PR_CAPBSET_READ, 0, 0, 0, 0);
	return NULL;
}

static int fn_nothing(void)
{
	return 0;
}

START_TEST(early_threads_too)
{
	int p[2], status, result = 0;
	char said[256] = "";

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		pthread_t t;

		dup2(p[1], STDERR_FILENO);
		pthread_barrier_init(&meet, NULL, 2);
		if (pthread_create(&t, NULL, early_thread, &result))
			_exit(98);
		pthread_barrier_wait(&meet);
		if (qjail_drop_caps() < 0 || qjail_filter(extra, Q_ARRAY_LEN(extra), QJAIL_ON) < 0)
			_exit(99);
		pthread_barrier_wait(&meet);
		pthread_join(t, NULL);
		_exit(fn_nothing());
	}
	qfd_close(&p[1]);
	ssize_t n = read(p[0], said, sizeof(said) - 1);
	said[n < 0 ? 0 : n] = '\0';
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	qfd_close(&p[0]);
	if (is_sanitized())
		return;
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%x %s",
		      (unsigned)status, said);
	ck_assert_ptr_nonnull(strstr(said, "prctl"));
}
END_TEST

/* In the log mode the call is made, and nobody dies. */
START_TEST(logged)
{
	char said[256];
	int status = run(do_kill, QJAIL_LOG, said, sizeof(said));

	ck_assert_msg(WIFEXITED(status), "%x %s", (unsigned)status, said);
}
END_TEST

START_TEST(modes)
{
	enum qjail_mode m;

	for (unsigned i = 0; i < QJAIL_MODES; i++) {
		ck_assert(qjail_mode_parse(qjail_mode_str((enum qjail_mode)i), &m));
		ck_assert_int_eq(m, (int)i);
	}
	ck_assert(!qjail_mode_parse("yes", &m));
	ck_assert(!qjail_mode_parse("", &m));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qjail");
	TCase *tc = fixture_case(s, "sealed");

	tcase_add_loop_test(tc, sealed, 0, (int)Q_ARRAY_LEN(rows));
	tcase_add_test(tc, early_threads_too);
	tcase_add_test(tc, logged);
	tcase_add_test(tc, modes);
	return fixture_main(s);
}
