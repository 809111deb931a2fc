/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mediator's last stage and its list of system calls. Main thread, once. The list
 * stands on the functions that the program's object code imports, and on runs of the tests with it.
 */
#include "mediator/seal.h"

#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#define CALL(name) { SCMP_SYS(name), QJAIL_ALWAYS }
/* All requests of one kind of descriptor: their letter. */
#define IOCTLS(letter) { SCMP_SYS(ioctl), QJAIL_IF_MASKED, 1, 0xff00, (letter) << 8 }
#define IOCTL(request) { SCMP_SYS(ioctl), QJAIL_IF_MASKED, 1, UINT32_MAX, (uint32_t)(request) }

static const struct qjail_call calls[] = {
	/* notifications of clients, timers */
	CALL(io_destroy), CALL(io_getevents), CALL(io_setup), CALL(io_submit), CALL(shutdown),
	/* disks: with and without a ring */
	IOCTLS(0x12), IOCTL(FIONBIO), CALL(fallocate), CALL(fdatasync), CALL(flock), CALL(fsync),
	CALL(preadv2), CALL(pwritev2),
	/* sound */
	IOCTLS('A'), IOCTLS('U'), CALL(mlock),
	/* policies that are read again, devices that come back */
	CALL(access), CALL(faccessat), CALL(faccessat2), CALL(getdents64), CALL(lstat), CALL(open),
	CALL(openat), CALL(stat),
	/* shares that come, and our own control socket */
	CALL(bind), CALL(connect), CALL(fchmod), CALL(listen), CALL(unlink), CALL(unlinkat),
	/* priorities of devices that promise something since the last reload */
	CALL(sched_setattr), CALL(sched_setscheduler),
};

/* What takes a capability today is a limit from now on. */
static void raise_limits(void)
{
	const struct rlimit rtprio = { 99, 99 };
	const struct rlimit memlock = { RLIM_INFINITY, RLIM_INFINITY };

	/* Who may not has none that could be lost. */
	(void)setrlimit(RLIMIT_RTPRIO, &rtprio);
	(void)setrlimit(RLIMIT_MEMLOCK, &memlock);
}

int med_seal(enum qjail_mode mode)
{
	int r = 0;

	if (mode != QJAIL_OFF) {
		raise_limits();
		r = qjail_drop_caps();
	}
	return r < 0 ? r : qjail_filter(calls, Q_ARRAY_LEN(calls), mode);
}
