/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share's flight recorder: the slowest requests since it was reset, each with what stood in its
 * way, so that an operator can ask afterwards why. One thread writes; any thread may read
 * meanwhile, without a lock, and gets all of it as it was at one moment.
 */
#pragma once

#include <stdatomic.h>

#include "lib/qdef.h"

#define RECORDER_WORST 16u

/* Only words, so that a reader can copy them while they are written. */
struct flight {
	uint64_t arrival_ns;	/* qnow_ns() clock */
	uint64_t op;		/* enum qblk_op */
	uint64_t sector, len_bytes;
	uint64_t latency_ns;	/* from the ring to its end */
	uint64_t wait_ns;	/* of these, until it was given to the device */
	uint64_t bound_ns;	/* what was promised, 0 = nothing */
	/* At the device when it came. */
	uint64_t safety_there, lower_there, barriers_there;
	uint64_t own_before;	/* requests of its share that were not done then */
	/* Slices given between its coming and its own first. */
	uint64_t safety_passed, lower_passed;
};

struct recorder {
	_Atomic uint64_t version;	/* odd: being written */
	uint64_t n;
	struct flight worst[RECORDER_WORST];	/* in no order */
	uint64_t least_ns;		/* the writer's: smallest latency, when it is full */
};

/* A zeroed recorder is empty. Writer's thread. */
void recorder_reset(struct recorder *r);
void recorder_add(struct recorder *r, const struct flight *f);
/* Copies what is there, the slowest first; their number. */
unsigned recorder_read(const struct recorder *r, struct flight ret[RECORDER_WORST]);
