/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A latency histogram: log-linear, 32 steps an octave (an upper edge is at most 3.2 % above a value
 * of its bucket), nanoseconds from 0 to about 18 minutes, the rest in the last bucket. One writer;
 * any thread may read it meanwhile (each counter is read and written as one relaxed atomic: a
 * reader sees a sum that is at most a few events old, never garbage).
 */
#pragma once

#include "lib/qdef.h"

#define QHIST_SUB_BITS 5
#define QHIST_BUCKETS (((40 - QHIST_SUB_BITS) + 1) << QHIST_SUB_BITS)

struct qhist {
	uint64_t n;		/* events */
	uint64_t sum_ns;
	uint64_t max_ns;	/* exact */
	uint64_t min_ns;	/* exact, UINT64_MAX when empty */
	uint64_t bucket[QHIST_BUCKETS]; /* 32 bits would be full after an hour of a fast disk */
};

void qhist_reset(struct qhist *h);
void qhist_add(struct qhist *h, uint64_t ns);
/* Adds @from to @into. A reader's snapshot is a reset and a merge. */
void qhist_merge(struct qhist *into, const struct qhist *from);
/* The value at or below which @permille of 1000 events lie (upper edge of the bucket, never above
 * max); 0 when empty. */
uint64_t qhist_quantile(const struct qhist *h, unsigned permille);
/* @into = @now - @before (both of the same histogram; max and min become bucket edges). @into may
 * be either of them. */
void qhist_diff(struct qhist *into, const struct qhist *now, const struct qhist *before);
/* Where @ns is counted, and the largest value counted there. */
unsigned qhist_bucket_of(uint64_t ns);
uint64_t qhist_bucket_top(unsigned bucket);
