/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on operations and bytes a second: token buckets in their time form (a bucket is the time
 * at which it would be full again). Pure: time comes in as an argument. One thread.
 *
 * A limit never says "no", only "not before": who asks at that time or later may go, and is charged
 * for what he takes. A request that is larger than what has been saved up goes when the bucket is
 * full, and is paid off afterwards, so that every size is served and the rate holds. What is not
 * used is saved for burst_ns and no longer.
 */
#pragma once

#include "lib/qdef.h"

#define LIMIT_RATE_MAX (1ull << 50)	/* a second */

/*
 * LIMIT_FLUSH is what moves no data of the guest's: flushes, discards, write-zeroes. They are
 * writes too, and have a limit of their own beside that.
 */
enum limit_dir { LIMIT_READ, LIMIT_WRITE, LIMIT_BOTH, LIMIT_FLUSH, LIMIT_DIRS };

struct limits_cfg {
	uint64_t ops[LIMIT_DIRS], bytes[LIMIT_DIRS];	/* a second, ≤ LIMIT_RATE_MAX; 0 = none */
	uint64_t burst_ns;	/* what is not used is saved for so long */
};

struct limit_bucket {
	uint64_t full_ns;	/* when all that was taken will have been earned */
	uint64_t rest;		/* of a nanosecond, in parts of the rate: no rounding adds up */
};

struct limits {
	struct limits_cfg cfg;
	struct limit_bucket ops[LIMIT_DIRS], bytes[LIMIT_DIRS];
};

static inline bool limits_any(const struct limits_cfg *c)
{
	uint64_t any = 0;

	for (unsigned d = 0; d < LIMIT_DIRS; d++)
		any |= c->ops[d] | c->bytes[d];
	return any;
}

/*
 * New limits; what is owed under the old ones stays owed. Zeroed limits are none, and may be set.
 */
void limits_set(struct limits *l, const struct limits_cfg *cfg);
/*
 * From when on something may be taken: an operation in direction @dir (any but LIMIT_BOTH), or with
 * @has_op false a further part of one. 0 = at any time.
 */
uint64_t limits_free_ns(const struct limits *l, enum limit_dir dir, bool has_op);
/* Takes @bytes, and an operation with @has_op. */
void limits_take(struct limits *l, enum limit_dir dir, bool has_op, uint32_t bytes,
		 uint64_t now_ns);
