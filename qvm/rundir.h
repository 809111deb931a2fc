/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime directory: <run-dir>/qvm/<system>/ exists while the VM of that name lives, and its
 * file `pid` is locked, so that a second VM of the name is refused. Main thread.
 */
#pragma once

#include "lib/qdef.h"

#define RUNDIR_DEFAULT "/run/parley"

struct rundir {
	char base[512]; /* <run-dir>, "" when there is none */
	char dir[600];	/* <run-dir>/qvm/<system> */
	int dir_fd;	/* of dir; -1 = we have no directory */
	int pid_fd;	/* locked */
};
#define RUNDIR_NULL ((struct rundir){ .dir_fd = -1, .pid_fd = -1 })

/*
 * Finds the base: @given (an option) or $PARLEY_RUN_DIR, else /run/parley when it is there and ours
 * to write, or can be made; else, for an ordinary user, $XDG_RUNTIME_DIR/parley. "" when there is
 * none of them. A given one is not checked here, but for its length: 0 or -ENAMETOOLONG.
 */
int rundir_base(struct rundir *d, const char *given);
/*
 * Makes and locks the directory of @system, and removes what a killed qvm left in it. 0; -EBUSY
 * with *@ret_pid (0 = unknown) when such a VM runs; -EINVAL when @system cannot be a file name;
 * -errno.
 */
int rundir_lock(struct rundir *d, const char *system, int *ret_pid);
/* Removes the directory with all that was made in it. Idempotent. */
void rundir_fini(struct rundir *d);
