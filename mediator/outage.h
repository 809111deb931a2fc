/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that fails, and shares whose requests wait until it does not (policy: wait-on-error,
 * wait-limit). On the device's thread.
 *
 * State of a share:
 *   OFF      nothing of it waits here
 *   HELD     entered when a request failed that may wait; none is given; leaves at retry_ns
 *   PROBE    one request is given again: HELD when it fails, OFF when it does not
 *
 * A request waits whole: when all its slices have ended it is as if it had never been given, and
 * goes before those that came after it. That repeats no more than a new mediator's replay does
 * (queue.c says why nothing is lost or reordered by it).
 */
#pragma once

#include "lib/qdef.h"

struct med_disk;
struct med_req;
struct med_share;

enum outage_state { OUTAGE_OFF, OUTAGE_HELD, OUTAGE_PROBE };

/* Of a share. All nought: nothing waits. */
struct outage_wait {
	enum outage_state state;
	struct med_req *held;		/* in order of arrival; owned as in the share's queue */
	uint64_t probe_seq;
	uint64_t retry_ns, pause_ns;
	uint64_t since_ns;		/* of the first failure, for the operator */
	/* The device that came back is another: what was not flushed may be gone. */
	bool unsure;
};

/* Of a disk. */
struct outage {
	uint64_t due_ns;		/* outage_run() is; 0 = never */
	bool gone, opening;
	uint64_t gone_ns, pause_ns, open_ns;
	uint64_t stalled_ns;		/* told: since then nothing has come from the device */
};

/* The policy is another, or the disk new. */
void outage_policy(struct med_disk *d, uint64_t now_ns);
/*
 * All slices of @r have ended, with r->err or without. True when it is kept, to be given again;
 * false: it is to be answered, and r->err says how.
 */
bool outage_takes(struct med_req *r, uint64_t now_ns);
/* How many of its queue a share shows to the scheduler. */
uint32_t outage_shown(const struct med_share *sh);
/* At outage.due_ns. */
void outage_run(struct med_disk *d, uint64_t now_ns);
/* As med_share_take(): of those that wait here, put before @taken. */
struct med_req *outage_take(struct med_share *sh,
			    bool (*match)(const struct med_req *r, void *arg), void *arg,
			    struct med_req *taken);
