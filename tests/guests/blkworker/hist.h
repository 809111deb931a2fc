/* SPDX-License-Identifier: Apache-2.0 */
/* Log-linear histogram of durations in ns: 32 buckets an octave, off by 1.6 % at most. */
#pragma once
#include "tests/guests/rt/rt.h"

#define HIST_SUB	32u
#define HIST_BUCKETS	(HIST_SUB * 38)		/* up to 2^42 ns, more than an hour */

struct hist {
	uint32_t bucket[HIST_BUCKETS];
	uint64_t n, max_ns;
};

void hist_add(struct hist *h, uint64_t ns);
void hist_reset(struct hist *h);
/*
 * The duration that @per_100k of 100,000 samples do not exceed, over @n_hists histograms taken
 * together; 0 if they are empty.
 */
uint64_t hist_percentile(const struct hist *const *hists, unsigned n_hists, unsigned per_100k);
