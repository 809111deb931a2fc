/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets in their time form; see bucket.h. No state of its own. */
#include "mediator/bucket.h"

static void take(struct limit_bucket *b, uint64_t rate, uint64_t units, uint64_t now_ns)
{
	if (!rate)
		return;
	if (b->full_ns < now_ns)
		*b = (struct limit_bucket){ .full_ns = now_ns };
	/* Units are at most 2^32: 2^32 * 10^9 + 2^50 is less than 2^63. */
	uint64_t parts = units * Q_NSEC_PER_SEC + b->rest;

	b->full_ns += parts / rate;
	b->rest = parts % rate;
}

static uint64_t free_ns(const struct limits *l, const struct limit_bucket *b, uint64_t rate)
{
	return rate && b->full_ns > l->cfg.burst_ns ? b->full_ns - l->cfg.burst_ns : 0;
}

void limits_set(struct limits *l, const struct limits_cfg *cfg)
{
	for (unsigned d = 0; d < LIMIT_DIRS; d++) {
		qassert(cfg->ops[d] <= LIMIT_RATE_MAX && cfg->bytes[d] <= LIMIT_RATE_MAX);
		/* In parts of another rate. */
		l->ops[d].rest = l->bytes[d].rest = 0;
	}
	l->cfg = *cfg;
}

/* The buckets that something in a direction is taken from. */
static const struct {
	unsigned n;
	enum limit_dir of[3];
} taken[] = {
	[LIMIT_READ] = { 2, { LIMIT_READ, LIMIT_BOTH } },
	[LIMIT_WRITE] = { 2, { LIMIT_WRITE, LIMIT_BOTH } },
	[LIMIT_FLUSH] = { 3, { LIMIT_FLUSH, LIMIT_WRITE, LIMIT_BOTH } },
};
static_assert(Q_ARRAY_LEN(taken) == LIMIT_DIRS, "every direction has a row");

uint64_t limits_free_ns(const struct limits *l, enum limit_dir dir, bool has_op)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < taken[dir].n; i++) {
		enum limit_dir d = taken[dir].of[i];

		at = Q_MAX(at, free_ns(l, &l->bytes[d], l->cfg.bytes[d]));
		if (has_op)
			at = Q_MAX(at, free_ns(l, &l->ops[d], l->cfg.ops[d]));
	}
	return at;
}

void limits_take(struct limits *l, enum limit_dir dir, bool has_op, uint32_t bytes,
		 uint64_t now_ns)
{
	for (unsigned i = 0; i < taken[dir].n; i++) {
		enum limit_dir d = taken[dir].of[i];

		take(&l->bytes[d], l->cfg.bytes[d], bytes, now_ns);
		if (has_op)
			take(&l->ops[d], l->cfg.ops[d], 1, now_ns);
	}
}
