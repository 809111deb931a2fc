/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of the dump helper. They speak over a SOCK_SEQPACKET pair: a request is one byte with
 * the reading end of a pipe, the answer is the wait status of the command that read from it. One
 * command runs at a time.
 */
#include "qvm/dump_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/qfd.h"

#define HELPER_FD 3

extern char **environ;

/* In a group of its own: Ctrl-C is the guest's power button, and no reason to lose a dump. */
static int spawn(const char *path, char *const argv[], int fd, int as_fd, bool is_command)
{
	posix_spawn_file_actions_t acts;
	posix_spawnattr_t attr;
	sigset_t none, usual;
	short flags = POSIX_SPAWN_SETPGROUP;
	pid_t pid;

	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	posix_spawn_file_actions_init(&acts);
	posix_spawnattr_init(&attr);
	if (is_command) {
		posix_spawnattr_setsigmask(&attr, &none);
		posix_spawnattr_setsigdefault(&attr, &usual);
		flags |= POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	}
	posix_spawnattr_setflags(&attr, flags);
	int r = posix_spawn_file_actions_adddup2(&acts, fd, as_fd);
	if (r == 0)
		r = posix_spawn(&pid, path, &acts, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&acts);
	return r ? -r : (int)pid;
}

/* ---- qvm's end ---- */

int dump_pipe_spawn(const char *command)
{
	char fd_text[16], self[] = "/proc/self/exe", name[] = "qvm";
	char option[] = "--" DUMP_PIPE_OPTION;
	char *const argv[] = { name, option, fd_text, (char *)command, NULL };
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	snprintf(fd_text, sizeof(fd_text), "%d", HELPER_FD);
	int r = spawn(self, argv, sv[1], HELPER_FD, false);
	qfd_close(&sv[1]);
	if (r < 0)
		qfd_close(&sv[0]);
	return r < 0 ? r : sv[0];
}

static int send_fd(int sock_fd, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} c = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = c.buf, .msg_controllen = sizeof(c.buf) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	return sendmsg(sock_fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* An answer that nobody waited for any more: of a command that took too long. */
static void drop_answers(int fd)
{
	int status;

	while (recv(fd, &status, sizeof(status), MSG_DONTWAIT) > 0)
		;
}

int dump_pipe_open(int helper_fd)
{
	int p[2];

	drop_answers(helper_fd);
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	int r = send_fd(helper_fd, p[0]);
	qfd_close(&p[0]);
	if (r == 0)
		r = qfd_nonblock(p[1], true);
	if (r < 0)
		qfd_close(&p[1]);
	return r < 0 ? r : p[1];
}

int dump_pipe_wait(int helper_fd, uint64_t limit_ns)
{
	struct pollfd p = { .fd = helper_fd, .events = POLLIN };
	int r, status = 0;

	do
		r = poll(&p, 1, (int)(limit_ns / Q_NSEC_PER_MSEC));
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	ssize_t n = recv(helper_fd, &status, sizeof(status), MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	return n == sizeof(status) ? status : -ECHILD; /* the helper itself is gone */
}

/* ---- the helper's end ---- */

/* 1 with a descriptor, 0 at the end, -errno. */
static int recv_fd(int sock_fd, int *ret_fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} c = { 0 };
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = c.buf, .msg_controllen = sizeof(c.buf) };
	ssize_t n = recvmsg(sock_fd, &m, MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (n == 0)
		return 0;
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	if (!h || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(ret_fd, CMSG_DATA(h), sizeof(*ret_fd));
	return 1;
}

static int run_command(const char *command, int take_fd)
{
	char sh[] = "sh", c[] = "-c";
	char *const argv[] = { sh, c, (char *)command, NULL };
	int pid = spawn("/bin/sh", argv, take_fd, STDIN_FILENO, true), status = 0;

	qfd_close(&take_fd);
	if (pid < 0)
		return pid;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}

int dump_pipe_serve(int fd, const char *command)
{
	int r, in_fd = -1;

	/* It is no business of the command's. */
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return 1;
	while ((r = recv_fd(fd, &in_fd)) != 0) {
		if (r == -EAGAIN)
			continue;
		if (r < 0)
			return 1;
		int status = run_command(command, in_fd);
		if (send(fd, &status, sizeof(status), MSG_NOSIGNAL) < 0)
			break;
	}
	return 0;
}
