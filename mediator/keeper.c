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
 *
 * What takes over the mediator can write to the keeper's stack: so the keeper gives up all
 * privilege at once, and every system call but those with which it waits and ends.
 */
#include "mediator/keeper.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
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

#define ALLOW_IF(call)                                                                             \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1),                                     \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Its only architecture is ours: it never executes. */
static struct sock_filter rules[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	ALLOW_IF(ppoll), ALLOW_IF(restart_syscall), ALLOW_IF(exit), ALLOW_IF(exit_group),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};
static const struct sock_fprog filter = { .len = Q_ARRAY_LEN(rules), .filter = rules };

__attribute__((no_sanitize("address", "undefined"))) static void give_up(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	static const struct __user_cap_data_struct none[2];

	syscall(SYS_capset, &h, none);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0);
}

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
	give_up();
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
