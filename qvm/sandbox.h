/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages of privilege of a qvm process. Main thread.
 */
#pragma once

#include "lib/qjail.h"

/*
 * sandbox_early() - before anything is opened.
 * Afterwards: of what we were started with, only stdin, stdout, stderr, @control_fd and the
 * SANDBOX_KEPT_FDS from @keep_fd on (each -1: none) are open; no program that we execute gets the
 * latter. 0 or -errno.
 */
#define SANDBOX_KEPT_FDS 3
int sandbox_early(int control_fd, int keep_fd);

/*
 * sandbox_opened() - everything that needs a path is open; most threads are still to come.
 * Afterwards: no privilege by execve (set-user-ID, file capabilities), in them either. 0 or -errno.
 */
int sandbox_opened(void);

/*
 * sandbox_ready() - the last stage before the guest runs: all threads are there, and their priority
 * is set. Afterwards, in all threads: no capability, no privilege by execve, and no system call but
 * those of qvm/calls.c.
 * Still possible: ioctl(KVM_RUN), eventfds, io_uring on disks that are open, connecting to a back
 * end again, making a file in the directory of dumps, asking the dump helper for its command.
 * No longer: execve, processes, other signals than our own threads', memory that becomes code,
 * sockets that are not of this host. 0 or -errno.
 */
int sandbox_ready(enum qjail_mode mode);
