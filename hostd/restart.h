/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a VM that ended is started again, and after how long. Pure: time comes in as an
 * argument.
 *
 * The delay doubles with each restart that stands in the window, from restart-delay up to a
 * minute (or restart-delay, where that is longer), so that a VM that ran well for a window is
 * started as quickly as at first. One that was restarted restart-limit times within the window
 * stays down until an operator starts it.
 */
#pragma once

#include "lib/qdef.h"

#define HD_RESTARTS_MAX 32u
#define HD_RESTART_DELAY_MAX_NS (60 * Q_NSEC_PER_SEC)

enum hd_restart {
	HD_RESTART_NO,
	HD_RESTART_ON_FAILURE,	/* it failed, or its guest has reset itself */
	HD_RESTART_ALWAYS,	/* it ended, and no operator asked for that */
	HD_RESTARTS
};
const char *hd_restart_str(enum hd_restart r);

struct hd_restart_conf {
	enum hd_restart when;
	uint64_t delay_ns;
	uint32_t limit;		/* 1..HD_RESTARTS_MAX */
	uint64_t window_ns;
};

struct hd_restarts {
	uint64_t at_ns[HD_RESTARTS_MAX];	/* oldest first */
	unsigned n;
};

/* What becomes of a VM whose watchdog bit, or whose qvm hangs. */
enum hd_watchdog {
	HD_WATCHDOG_FAILURE,	/* one that hangs is killed; then as after any failure */
	HD_WATCHDOG_RESTART,	/* the same, and it is started again even if that says no */
	HD_WATCHDOG_STOP,	/* the same, and it is not started again */
	HD_WATCHDOG_NOTHING,	/* one that hangs is left alone; a bite is any failure */
	HD_WATCHDOGS
};
const char *hd_watchdog_str(enum hd_watchdog w);

enum hd_ended { HD_ENDED_WELL, HD_ENDED_RESET, HD_ENDED_FAILED };

enum hd_restart_verdict { HD_RESTART_STAYS, HD_RESTART_LATER, HD_RESTART_TOO_OFTEN };

/* @c as @w makes it for one end that a watchdog brought about. */
struct hd_restart_conf hd_watchdog_restart(const struct hd_restart_conf *c, enum hd_watchdog w);

/* HD_RESTART_LATER: counted, and *ret_delay_ns is how long to wait. */
enum hd_restart_verdict hd_restart_decide(const struct hd_restart_conf *c, struct hd_restarts *r,
					  enum hd_ended how, uint64_t now_ns,
					  uint64_t *ret_delay_ns);
