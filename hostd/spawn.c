/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork, arrange, exec. Main thread; the forked half is a single thread that touches nothing but
 * its descriptors, its signals and its folder before it executes. It is the only place of hostd
 * besides main() where a process ends. Invariant: no descriptor of hostd's but those of the table
 * is open in the program that runs; PDEATHSIG is not set, so that hostd's death takes no VM with
 * it.
 */
#include "hostd/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostd/notify.h"
#include "hostd/reason.h"
#include "lib/qfd.h"

static _Noreturn void give_up(const char *what, const char *path)
{
	char line[512];
	int err = errno;
	int n = snprintf(line, sizeof(line), "<2>cannot %s %.300s: %s\n", what, path,
			 strerror(err));

	/* Nobody is left to tell when even this fails. */
	if (n > 0 && write(STDERR_FILENO, line, Q_MIN((size_t)n, sizeof(line) - 1)) < 0)
		_exit(HD_EXIT_NOT_RUN);
	_exit(HD_EXIT_NOT_RUN);
}

/* First out of the way of all, then to their places: no order of the table can overwrite one. */
static int place_fds(const struct hd_spawn *s)
{
	int high[HD_SPAWN_FDS];

	for (unsigned i = 0; i < HD_SPAWN_FDS; i++) {
		int fd = s->fds[i];
		QCLEAN(qfd_close) int null_fd = -1;

		if (fd < 0 && i <= STDERR_FILENO)
			fd = null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		high[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, (int)HD_SPAWN_FDS);
		if (high[i] < 0 && (s->fds[i] >= 0 || i <= STDERR_FILENO))
			return -errno;
	}
	for (unsigned i = 0; i < HD_SPAWN_FDS; i++) {
		if (high[i] >= 0 && dup2(high[i], (int)i) < 0)
			return -errno;
		if (high[i] < 0)
			close((int)i);
	}
	return close_range(HD_SPAWN_FDS, ~0u, 0) < 0 ? -errno : 0;
}

static void reset_signals(void)
{
	sigset_t none;

	/* What was ignored stays ignored across exec: SIGPIPE is. Handlers go by themselves. */
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void forked_half(const struct hd_spawn *s)
{
	setpgid(0, 0);
	reset_signals();
	if (place_fds(s) < 0)
		give_up("arrange the descriptors of", s->path);
	if (s->cwd && chdir(s->cwd) < 0)
		give_up("enter", s->cwd);
	hd_notify_forget();
	for (char *const *v = s->environment; v && *v; v++)
		if (putenv(*v) != 0)
			give_up("set the environment of", s->path);
	execv(s->path, s->argv);
	give_up("execute", s->path);
}

int hd_spawn(const struct hd_spawn *s, pid_t *ret_pid, int *ret_pidfd)
{
	sigset_t all, old;

	/* A signal for hostd between fork and exec shall not run hostd's handler in the child. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid_t pid = fork();
	if (pid == 0)
		forked_half(s);
	int r = pid < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (r < 0)
		return r;
	int pidfd = pidfd_open(pid, 0);	/* O_CLOEXEC by itself */
	if (pidfd < 0) {
		r = -errno;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}
