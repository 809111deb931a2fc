/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How requests are cut into slices: one rule for the disk and for its simulation.
 */
#pragma once

#include "mediator/scheduler.h"

#define CUT_BARRIER_BYTES (16u << 20)	/* discarded or zeroed at once */
#define CUT_BYTES_MAX	  (1u << 30)	/* Linux moves at most 2 GiB in one read or write */

/* The length of the next slice of a request of @share with @left_bytes (> 0) to be given. */
static inline uint32_t cut_bytes(const struct sched *s, unsigned share, bool barrier,
				 uint64_t left_bytes)
{
	uint32_t most = barrier ? CUT_BARRIER_BYTES : sched_slice_max(s, share);

	return (uint32_t)Q_MIN(left_bytes, Q_MIN(most, CUT_BYTES_MAX));
}
