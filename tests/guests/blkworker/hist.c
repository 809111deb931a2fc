/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-linear histogram. Values below 2 * HIST_SUB have a bucket each; above, the five bits after
 * the leading one choose the bucket within its octave.
 */
#include "tests/guests/blkworker/hist.h"

static unsigned bucket_of(uint64_t ns)
{
	if (ns < HIST_SUB)
		return (unsigned)ns;
	unsigned octave = 63u - (unsigned)__builtin_clzll(ns) - 5;	/* 0: ns in 32..63 */
	unsigned b = HIST_SUB * (octave + 1) + (unsigned)(ns >> octave) - HIST_SUB;
	return b < HIST_BUCKETS ? b : HIST_BUCKETS - 1;
}

/* The middle of the bucket. */
static uint64_t value_of(unsigned b)
{
	if (b < HIST_SUB)
		return b;
	unsigned octave = b / HIST_SUB - 1;
	uint64_t low = (uint64_t)(HIST_SUB + b % HIST_SUB) << octave;
	return low + (((uint64_t)1 << octave) >> 1);
}

void hist_add(struct hist *h, uint64_t ns)
{
	h->bucket[bucket_of(ns)]++;
	h->n++;
	if (ns > h->max_ns)
		h->max_ns = ns;
}

void hist_reset(struct hist *h)
{
	memset(h, 0, sizeof(*h));
}

uint64_t hist_percentile(const struct hist *const *hists, unsigned n_hists, unsigned per_100k)
{
	uint64_t total = 0, max_ns = 0, seen = 0;

	for (unsigned i = 0; i < n_hists; i++) {
		total += hists[i]->n;
		if (hists[i]->max_ns > max_ns)
			max_ns = hists[i]->max_ns;
	}
	if (total == 0)
		return 0;
	uint64_t rank = (total * per_100k + 99999) / 100000;
	for (unsigned b = 0; b < HIST_BUCKETS; b++) {
		for (unsigned i = 0; i < n_hists; i++)
			seen += hists[i]->bucket[b];
		if (seen >= rank)
			return value_of(b) < max_ns ? value_of(b) : max_ns;
	}
	return max_ns;
}
