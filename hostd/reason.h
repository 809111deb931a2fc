/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a child ended, as a sentence for the operator. Pure.
 */
#pragma once

#include "hostd/vmstate.h"
#include "lib/qdef.h"

#define HD_REASON_BYTES 640u

/* Exit codes of qvm (those of QNX), and the one of our own forked half. */
enum {
	HD_EXIT_OFF = 0,
	HD_EXIT_CUT = 3,
	HD_EXIT_WATCHDOG = 4,
	HD_EXIT_UNSUPPORTED = 5,
	HD_EXIT_VDEV = 6,
	HD_EXIT_UNEXPECTED = 7,
	HD_EXIT_USER_FIRST = 32,
	HD_EXIT_USER_LAST = 63,
	HD_EXIT_START = 64,
	HD_EXIT_CONFIG = 65,
	HD_EXIT_FATAL = 96,
	HD_EXIT_NOT_RUN = 127,	/* the program could not be executed */
};

struct hd_exit {
	bool known;	/* false: it was not our child, so nobody told us */
	int code;	/* exit status, when signal is 0 */
	int signal;	/* it was killed by */
	bool core;
};

/* What was known when it ended. All borrowed, all may be NULL. */
struct hd_end {
	struct hd_exit exit;
	bool was_ready;
	enum hd_stop_stage asked;	/* how far the stop had gone */
	const char *failed_stage;	/* of StartFailed */
	const char *failed_text;
	const char *ended_reason;	/* of Ended */
	const char *quote;		/* a line of its stderr */
};

/* Writes the sentence, cut to fit; only the first line of a text of several. Returns @buf. */
const char *hd_reason(const struct hd_end *e, char *buf, size_t buf_bytes);
/* True when a VM that ended so is OFF, and false when it FAILED. */
bool hd_reason_as_asked(const struct hd_end *e);
/* True when it was the configuration. */
bool hd_reason_is_config(const struct hd_end *e);
