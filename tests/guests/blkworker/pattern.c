/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sector content: magic, sector number, generation, seed; 59 words of a sequence that depends on
 * all of them; the sum of the 63 words before it.
 */
#include "tests/guests/blkworker/pattern.h"

#define MAGIC	UINT64_C(0x3159454c52415021)
#define WORDS	(SECTOR_BYTES / 8)
#define STEP	UINT64_C(0x9e3779b97f4a7c15)

const char *const pattern_verdict_str[] = {
	[PATTERN_OK] = "ok", [PATTERN_FOREIGN] = "foreign", [PATTERN_SECTOR] = "other-sector",
	[PATTERN_SEED] = "other-seed", [PATTERN_GENERATION] = "other-generation",
	[PATTERN_TORN] = "torn",
};

static uint64_t mix(uint64_t v)
{
	v ^= v >> 30;
	v *= UINT64_C(0xbf58476d1ce4e5b9);
	v ^= v >> 27;
	v *= UINT64_C(0x94d049bb133111eb);
	return v ^ v >> 31;
}

static uint64_t body_start(const struct pattern_head *h)
{
	return mix(h->sector * STEP ^ mix(h->generation + h->seed * STEP));
}

void pattern_fill(void *buf, uint64_t sector, uint64_t generation, uint64_t seed)
{
	const struct pattern_head h = { MAGIC, sector, generation, seed };
	uint64_t *w = buf, sum = h.magic + h.sector + h.generation + h.seed, v = body_start(&h);

	w[0] = h.magic;
	w[1] = h.sector;
	w[2] = h.generation;
	w[3] = h.seed;
	for (unsigned i = 4; i < WORDS - 1; i++) {
		v = (v ^ v >> 29) * STEP + i;
		w[i] = v;
		sum += v;
	}
	w[WORDS - 1] = sum;
}

static bool body_ok(const uint64_t *w, const struct pattern_head *h)
{
	uint64_t sum = h->magic + h->sector + h->generation + h->seed, v = body_start(h), diff = 0;

	for (unsigned i = 4; i < WORDS - 1; i++) {
		v = (v ^ v >> 29) * STEP + i;
		diff |= w[i] ^ v;
		sum += v;
	}
	return (diff | (w[WORDS - 1] ^ sum)) == 0;
}

enum pattern_verdict pattern_check(const void *buf, uint64_t sector, uint64_t min_generation,
				   uint64_t max_generation, uint64_t seed)
{
	const struct pattern_head *h = buf;

	if (h->magic != MAGIC)
		return PATTERN_FOREIGN;
	if (h->sector != sector)
		return PATTERN_SECTOR;
	if (h->seed != seed)
		return PATTERN_SEED;
	if (h->generation < min_generation || h->generation > max_generation)
		return PATTERN_GENERATION;
	return body_ok(buf, h) ? PATTERN_OK : PATTERN_TORN;
}
