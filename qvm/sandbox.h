/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages of privilege of a qvm process. Main thread.
 */
#pragma once

/*
 * sandbox_early() - before anything is opened.
 * Afterwards: of what we were started with, only stdin, stdout, stderr and @control_fd (-1: none)
 * are open. 0 or -errno.
 */
int sandbox_early(int control_fd);

/*
 * sandbox_ready() - the last stage before the guest runs.
 * Still possible: ioctl(KVM_RUN), eventfds, io_uring on disks that are open, connecting to a back
 * end again, making a file in the directory of dumps, asking the dump helper for its command. No
 * longer: privileges by execve (set-user-ID, file capabilities). Must come after:
 * vm_init(). 0 or -errno.
 */
int sandbox_ready(int control_fd);
