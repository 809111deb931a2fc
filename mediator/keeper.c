/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the keeper. The kernel takes down an address space before it closes the files of a process:
 * while it waits for the grace periods of the bells' AIO contexts (lib/qbell.h; some 35 ms) and
 * unmaps what we touched of the guests' memory (some 50 ms a gigabyte), clients do not know that
 * we are gone, and the disks' locks stand. With a second user of the address space our death closes
 * the files at once, and the rest is the keeper's, after us.
 *
 * The keeper shares memory, thread-local storage included, and nothing else: its descriptors are
 * closed, its signals blocked. It makes system calls only, and none that sets errno. It waits for
 * the process and not for its parent's death signal: that one comes when the first thread has gone,
 * and the last would take down what the keeper is there for.
 */
#include "mediator/keeper.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/qfd.h"

#define STACK_BYTES 16384u

static char stack[STACK_BYTES] __attribute__((aligned(16)));

/* With our address space, so without the sanitizers' idea of whose stack this is. */
__attribute__((no_sanitize("address", "undefined"))) static int keep(void *arg)
{
	struct pollfd of_us = { .fd = (int)(intptr_t)arg, .events = POLLIN };
	struct sched_param none = { 0 };

	prctl(PR_SET_NAME, "med-keeper", 0, 0, 0);
	/* The process' end is readable in its descriptor. */
	if (of_us.fd > 0)
		syscall(SYS_close_range, 0u, (unsigned)of_us.fd - 1, 0u);
	syscall(SYS_close_range, (unsigned)of_us.fd + 1, ~0u, 0u);
	/* What is left to it is never more urgent than a successor's start. */
	syscall(SYS_sched_setscheduler, 0L, SCHED_IDLE, &none);
	while (syscall(SYS_ppoll, &of_us, 1L, NULL, NULL, 0L) <= 0)
		;
	return 0;
}

int keeper_start(void)
{
	QCLEAN(qfd_close) int of_us = (int)syscall(SYS_pidfd_open, getpid(), 0u);
	sigset_t all, before;

	if (of_us < 0)
		return -errno;
	sigfillset(&all);
	/* What is sent to our group is not the keeper's to answer. */
	if (sigprocmask(SIG_SETMASK, &all, &before) < 0)
		return -errno;
	int pid = clone(keep, stack + STACK_BYTES, CLONE_VM, (void *)(intptr_t)of_us);
	int r = pid < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}
