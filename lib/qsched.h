/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduling of threads where libc has no call for it. No state; any thread. */
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include "lib/qdef.h"

/*
 * Gives thread @tid (0 = the caller) @budget_ns of each @period_ns (SCHED_DEADLINE, sched(7)):
 * before every real-time priority, and not a nanosecond of a processor more than that. What it
 * starts is an ordinary thread; without that (SCHED_FLAG_RESET_ON_FORK) it could start none, nor
 * could the kernel in its name, which KVM and io_uring do.
 *
 * 0; -EPERM (no CAP_SYS_NICE, or the thread may not use all processors), -EBUSY (promised to others
 * already), -EINVAL (@budget_ns < 1024 or > @period_ns, or a period that the host does not allow).
 */
int qsched_deadline(pid_t tid, uint64_t budget_ns, uint64_t period_ns);

/*
 * A mutex that a real-time thread may meet an ordinary one at: who holds it has the priority of who
 * waits (PTHREAD_PRIO_INHERIT). pthread_mutex_destroy() is due.
 */
void qsched_mutex_init(pthread_mutex_t *lock);
