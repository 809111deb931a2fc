/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts one program as a child: its own process group, exactly the descriptors that it is given,
 * signals as at boot. hostd has one thread, so fork() is safe here. Main thread.
 */
#pragma once

#include <sys/types.h>

#include "lib/qdef.h"

/*
 * Descriptors of a child: stdin, stdout, stderr, control, and what it keeps open for a hostd that
 * comes after ours: a socket on which that one asks to take over, our ends of its console and of
 * its stderr.
 */
enum { HD_FD_CONTROL = 3, HD_FD_LISTEN, HD_FD_CONSOLE, HD_FD_STDERR, HD_SPAWN_FDS };
#define HD_CONTROL_FD "3"	/* for --control-fd */
#define HD_KEEP_FDS "4"		/* for --keep-fds: three from there */

struct hd_spawn {
	const char *path;		/* of the program */
	char *const *argv;		/* NULL at the end */
	const char *cwd;		/* or NULL: hostd's own */
	char *const *environment;	/* NAME=value each, added to hostd's own; or NULL */
	int fds[HD_SPAWN_FDS];		/* borrowed; -1: /dev/null for 0..2, else closed */
};

/*
 * 0 or -errno. A program that cannot be executed says so in a line on its stderr and ends with
 * HD_EXIT_NOT_RUN: that is known when the child ends, not here. It does not end when hostd does.
 */
int hd_spawn(const struct hd_spawn *s, pid_t *ret_pid, int *ret_pidfd);
