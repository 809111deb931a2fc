/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to hostd, and how a failure is told: one sentence, one exit code. Main thread,
 * no loop.
 */
#pragma once

#include "proto/qp_chan.h"

/* Stable: scripts depend on them (hostctl(1)). */
enum hc_exit {
	HC_OK = 0,
	HC_FAILED = 1,
	HC_USAGE = 2,
	HC_NO_SUCH = 3,
	HC_ALREADY = 4,
	HC_DENIED = 5,
	HC_TIMEOUT = 6,
	HC_NO_HOSTD = 7,
	HC_CONFIG = 8,
	HC_NOT_RUNNING = 9,
	HC_EXITS
};

struct hc {
	const char *socket;	/* path of hostd's socket */
	uint64_t timeout_ns;	/* 0: the request's own */
	bool json;
	struct qp_chan *chan;
	uint32_t next_id;
};

/* Says it on stderr, with --json as an object on stdout as well. Returns @code. */
enum hc_exit hc_fail(const struct hc *hc, enum hc_exit code, const char *fmt, ...) Q_PRINTF(3, 4);
enum hc_exit hc_exit_of(Parley__Code code);
const char *hc_exit_word(enum hc_exit code);	/* "no-such", …: the code in JSON */

enum hc_exit hc_connect(struct hc *hc);
void hc_disconnect(struct hc *hc);
/* Sends @e and waits for its answer of kind @want, at most @timeout_ns. *ret is freed with
 * qp_msg_free(). A descriptor that comes with it goes to @ret_fd (or is closed, when that is
 * NULL). On failure it was told. */
enum hc_exit hc_ask(struct hc *hc, Parley__Envelope *e, Parley__Envelope__BodyCase want,
		    uint64_t timeout_ns, Parley__Envelope **ret, int *ret_fd);
/* Waits for the next message of kind @want that nobody asked for, without a deadline. *ret as
 * above. */
enum hc_exit hc_next(struct hc *hc, Parley__Envelope__BodyCase want, Parley__Envelope **ret);
/* Waits for the next Event that hostd tells, without a deadline. *ret as above. */
enum hc_exit hc_next_event(struct hc *hc, Parley__Envelope **ret);
