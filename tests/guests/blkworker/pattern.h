/* SPDX-License-Identifier: Apache-2.0 */
/* What a written sector looks like, so that any misplaced, stale, torn or foreign one shows. */
#pragma once
#include "tests/guests/rt/rt.h"

#define SECTOR_BYTES 512u

enum pattern_verdict {
	PATTERN_OK = 0,
	PATTERN_FOREIGN,	/* no magic: never written by a worker */
	PATTERN_SECTOR,		/* belongs to another sector */
	PATTERN_SEED,		/* another worker's */
	PATTERN_GENERATION,	/* not the expected generation */
	PATTERN_TORN,		/* the head is right, the body or checksum is not */
};

struct pattern_head {
	uint64_t magic, sector, generation, seed;
};

extern const char *const pattern_verdict_str[];

void pattern_fill(void *buf, uint64_t sector, uint64_t generation, uint64_t seed);
/* Checks one sector: generations from @min_generation to @max_generation will do. */
enum pattern_verdict pattern_check(const void *buf, uint64_t sector, uint64_t min_generation,
				   uint64_t max_generation, uint64_t seed);
