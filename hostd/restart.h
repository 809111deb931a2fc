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

enum hd_ended { HD_ENDED_WELL, HD_ENDED_RESET, HD_ENDED_FAILED };

enum hd_restart_verdict { HD_RESTART_STAYS, HD_RESTART_LATER, HD_RESTART_TOO_OFTEN };

/* HD_RESTART_LATER: counted, and *ret_delay_ns is how long to wait. */
enum hd_restart_verdict hd_restart_decide(const struct hd_restart_conf *c, struct hd_restarts *r,
					  enum hd_ended how, uint64_t now_ns,
					  uint64_t *ret_delay_ns);
