/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's call for what sched_setscheduler(2) cannot say. No state. */
#include "lib/qsched.h"

#include <errno.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* struct sched_attr of the kernel: its header cannot be used beside libc's <sched.h>. */
struct sched_attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t prio;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

int qsched_deadline(pid_t tid, uint64_t budget_ns, uint64_t period_ns)
{
	struct sched_attributes a = { .size = sizeof(a),
				      .policy = SCHED_DEADLINE,
				      .flags = SCHED_FLAG_RESET_ON_FORK,
				      .runtime_ns = budget_ns,
				      .deadline_ns = period_ns,
				      .period_ns = period_ns };

	return syscall(SYS_sched_setattr, tid, &a, 0) < 0 ? -errno : 0;
}

void qsched_mutex_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
}
