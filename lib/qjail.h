/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process gives up for good: capabilities, and every system call that its list does not
 * have. All threads of the process, those that are there and those to come; main thread, once.
 */
#pragma once

#include "lib/qdef.h"

enum qjail_mode {
	QJAIL_ON,	/* a call that is not in the list ends the process */
	QJAIL_LOG,	/* it is told to the kernel's audit log, and made */
	QJAIL_OFF,
	QJAIL_MODES,
};

const char *qjail_mode_str(enum qjail_mode m);
/* "on", "log", "off". False: none of them. */
bool qjail_mode_parse(const char *text, enum qjail_mode *ret);

enum qjail_when {
	QJAIL_ALWAYS,
	QJAIL_IF_MASKED,	/* (argument & mask) == value */
	QJAIL_IF_NOT,		/* argument != value */
	QJAIL_IF_OWN_PID,	/* argument is our process */
	QJAIL_FAILS,		/* it is answered with the error `value`, and nobody dies */
};

/* Rules of the same call: one that fits is enough. */
struct qjail_call {
	int nr;			/* as <seccomp.h> names it: SCMP_SYS() */
	enum qjail_when when;
	unsigned arg;
	uint64_t mask, value;
};

/*
 * Every thread loses all capabilities, also those of a root user. SIGSYS must not be blocked in any
 * thread. 0 or -errno; -ETIMEDOUT when a thread does not follow.
 */
int qjail_drop_caps(void);

/*
 * no_new_privs, and the list (with what every program needs, see qjail.c). In QJAIL_ON a call that
 * is not there is told on stderr in one line, QJAIL_SAID with its name, and ends the process with
 * SIGSYS. 0 or -errno; -ENOSYS: the kernel has no seccomp.
 */
#define QJAIL_SAID "ev=call_not_allowed why="
int qjail_filter(const struct qjail_call *calls, size_t n, enum qjail_mode mode);
