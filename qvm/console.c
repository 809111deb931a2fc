/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consoles. Descriptors 0 and 1 belong to whoever started us, and so do their file status flags:
 * they are opened anew through /proc, so that nonblocking is ours alone. What cannot be opened anew
 * (a socket) is duplicated, and the flag set is a matter of both.
 *
 * A terminal on stdin goes to character-at-a-time without echo, because the guest echoes; signals
 * stay (Ctrl-C is the power button), and the old settings come back at the end.
 */
#include "qvm/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "lib/qfd.h"

static struct termios tty_was;
static bool tty_changed;

/* In the background the terminal is somebody else's, and touching it would stop us. */
static bool is_foreground(int fd)
{
	return tcgetpgrp(fd) == getpgrp();
}

static void tty_prepare(int fd)
{
	struct termios t;

	if (tty_changed || !is_foreground(fd) || tcgetattr(fd, &tty_was) < 0)
		return;
	t = tty_was;
	t.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	tty_changed = tcsetattr(fd, TCSANOW, &t) == 0;
}

void console_restore(void)
{
	if (tty_changed && is_foreground(STDIN_FILENO))
		tcsetattr(STDIN_FILENO, TCSANOW, &tty_was);
	tty_changed = false;
}

/* A serial line or PTY of the host: bytes as they are. */
static void tty_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t) < 0)
		return;
	cfmakeraw(&t);
	tcsetattr(fd, TCSANOW, &t);
}

static int reopen(int fd, int flags)
{
	char path[32];
	struct stat st;

	/*
	 * A regular file never blocks, and its position is to stay that of whoever gave it to us.
	 */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return qfd_dup(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int r = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (r >= 0)
		return r;
	r = qfd_dup(fd);
	if (r < 0)
		return r;
	int e = qfd_nonblock(r, true);
	if (e < 0)
		qfd_close(&r);
	return e < 0 ? e : r;
}

/* A log that grows keeps what it has: a regular file is appended to. */
static int open_named(const char *path, int flags)
{
	struct stat st = { 0 };
	bool is_file = stat(path, &st) == 0 && S_ISREG(st.st_mode);

	if (flags == O_WRONLY)
		flags |= O_CREAT | (is_file ? O_APPEND : 0);
	/*
	 * A FIFO that nobody reads yet refuses a writer alone, and gives a reader alone the end of
	 * file when its writer goes, though another may come.
	 */
	if (S_ISFIFO(st.st_mode))
		flags = O_RDWR;
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd < 0)
		return -errno;
	if (isatty(fd))
		tty_raw(fd);
	return fd;
}

int console_open_path(const char *path, int flags)
{
	bool is_std = !strcmp(path, "-");
	int std_fd = flags == O_WRONLY ? STDOUT_FILENO : STDIN_FILENO;
	int fd = is_std ? reopen(std_fd, flags) : open_named(path, flags);

	if (fd >= 0 && is_std && flags == O_RDONLY && isatty(fd))
		tty_prepare(fd);
	return fd;
}
