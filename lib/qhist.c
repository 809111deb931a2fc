/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A latency histogram: buckets of one nanosecond up to 2^QHIST_SUB_BITS, then 2^QHIST_SUB_BITS
 * equal buckets for every octave, the rest in the last one. A value shares its bucket only with
 * values less than 1/2^QHIST_SUB_BITS larger, which bounds the error of an upper edge.
 *
 * Owns nothing. One thread adds, merges into or resets a histogram; any may read it. Each counter
 * is loaded and stored as one relaxed atomic, with no order among them: counters say how much, they
 * publish nothing, so there is no partner to pair with. A reader may see an event in one counter
 * and not yet in another, therefore quantiles count by the buckets alone.
 */
#include "lib/qhist.h"

#define SUBS (1u << QHIST_SUB_BITS)

static uint64_t get(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void set(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

/* One writer: a load and a store, cheaper than a locked addition. */
static void add(uint64_t *p, uint64_t v)
{
	set(p, get(p) + v);
}

unsigned qhist_bucket_of(uint64_t ns)
{
	if (ns < SUBS)
		return (unsigned)ns;
	unsigned octave = 63u - (unsigned)__builtin_clzll(ns) - QHIST_SUB_BITS;
	uint64_t b = ((uint64_t)(octave + 1) << QHIST_SUB_BITS) + ((ns >> octave) & (SUBS - 1));

	return (unsigned)Q_MIN(b, (uint64_t)QHIST_BUCKETS - 1);
}

uint64_t qhist_bucket_top(unsigned bucket)
{
	if (bucket < SUBS)
		return bucket;
	if (bucket >= QHIST_BUCKETS - 1)
		return UINT64_MAX;
	unsigned octave = (bucket >> QHIST_SUB_BITS) - 1;

	return ((uint64_t)(SUBS + bucket % SUBS + 1) << octave) - 1;
}

/* The smallest value counted in @bucket. */
static uint64_t bucket_bottom(unsigned bucket)
{
	return bucket ? qhist_bucket_top(bucket - 1) + 1 : 0;
}

void qhist_reset(struct qhist *h)
{
	set(&h->n, 0);
	set(&h->sum_ns, 0);
	set(&h->max_ns, 0);
	set(&h->min_ns, UINT64_MAX);
	for (unsigned i = 0; i < QHIST_BUCKETS; i++)
		set(&h->bucket[i], 0);
}

static void widen(struct qhist *h, uint64_t min_ns, uint64_t max_ns)
{
	if (max_ns > get(&h->max_ns))
		set(&h->max_ns, max_ns);
	if (min_ns < get(&h->min_ns))
		set(&h->min_ns, min_ns);
}

void qhist_add(struct qhist *h, uint64_t ns)
{
	widen(h, ns, ns);
	add(&h->n, 1);
	add(&h->sum_ns, ns);
	add(&h->bucket[qhist_bucket_of(ns)], 1);
}

void qhist_merge(struct qhist *into, const struct qhist *from)
{
	widen(into, get(&from->min_ns), get(&from->max_ns));
	add(&into->n, get(&from->n));
	add(&into->sum_ns, get(&from->sum_ns));
	for (unsigned i = 0; i < QHIST_BUCKETS; i++)
		add(&into->bucket[i], get(&from->bucket[i]));
}

/* How many of @n events are @permille of them, rounded up, at least one. */
static uint64_t rank_of(uint64_t n, unsigned permille)
{
	uint64_t rank = n / 1000 * permille + (n % 1000 * permille + 999) / 1000;

	return Q_MAX(rank, (uint64_t)1);
}

uint64_t qhist_quantile(const struct qhist *h, unsigned permille)
{
	uint64_t n = 0, seen = 0;

	for (unsigned i = 0; i < QHIST_BUCKETS; i++)
		n += get(&h->bucket[i]);
	if (n == 0)
		return 0;
	uint64_t rank = rank_of(n, Q_MIN(permille, 1000u));
	/* The second walk sees no less than the first, since counters only grow. */
	for (unsigned i = 0; i < QHIST_BUCKETS; i++) {
		seen += get(&h->bucket[i]);
		if (seen >= rank)
			return Q_MIN(qhist_bucket_top(i), get(&h->max_ns));
	}
	return get(&h->max_ns);	/* reset meanwhile */
}

void qhist_diff(struct qhist *into, const struct qhist *now, const struct qhist *before)
{
	uint64_t now_min = get(&now->min_ns), now_max = get(&now->max_ns);
	uint64_t sum = get(&now->sum_ns) - get(&before->sum_ns);
	uint64_t n = 0, min = UINT64_MAX, max = 0;

	/* @into may be one of the two: each counter is read before it is written. */
	for (unsigned i = 0; i < QHIST_BUCKETS; i++) {
		uint64_t d = get(&now->bucket[i]) - get(&before->bucket[i]);

		set(&into->bucket[i], d);
		if (d == 0)
			continue;
		if (n == 0)
			min = Q_MAX(bucket_bottom(i), now_min);
		max = Q_MIN(qhist_bucket_top(i), now_max);
		n += d;
	}
	set(&into->n, n);
	set(&into->sum_ns, sum);
	set(&into->min_ns, min);
	set(&into->max_ns, max);
}
