/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns nothing but the order of its stores (a sequence lock). The writer never waits; a reader
 * tries again when the version was odd or has changed meanwhile, which it has only once a slow
 * request.
 */
#include "mediator/recorder.h"

#include <stdlib.h>

#define FLIGHT_WORDS (sizeof(struct flight) / sizeof(uint64_t))
static_assert(sizeof(struct flight) % sizeof(uint64_t) == 0, "only words");

static void copy_words(uint64_t *to, const uint64_t *from, size_t n)
{
	/* Relaxed: the version orders them. */
	for (size_t i = 0; i < n; i++)
		__atomic_store_n(&to[i], __atomic_load_n(&from[i], __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
}

static void copy_flight(struct flight *to, const struct flight *from)
{
	copy_words((uint64_t *)to, (const uint64_t *)from, FLIGHT_WORDS);
}

static void begin(struct recorder *r)
{
	/*
	 * Relaxed: it is ours alone to write. The fence keeps what follows behind the odd version.
	 */
	uint64_t v = atomic_load_explicit(&r->version, memory_order_relaxed);

	atomic_store_explicit(&r->version, v + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
}

static void end(struct recorder *r)
{
	uint64_t v = atomic_load_explicit(&r->version, memory_order_relaxed);

	/* Pairs with the acquire load of recorder_read(). */
	atomic_store_explicit(&r->version, v + 1, memory_order_release);
}

void recorder_reset(struct recorder *r)
{
	begin(r);
	__atomic_store_n(&r->n, 0, __ATOMIC_RELAXED);
	end(r);
}

static unsigned least(const struct recorder *r)
{
	unsigned best = 0;

	for (unsigned i = 1; i < r->n; i++)
		if (r->worst[i].latency_ns < r->worst[best].latency_ns)
			best = i;
	return best;
}

void recorder_add(struct recorder *r, const struct flight *f)
{
	bool full = r->n == RECORDER_WORST;

	if (full && f->latency_ns <= r->least_ns)
		return;
	begin(r);
	copy_flight(&r->worst[full ? least(r) : r->n], f);
	if (!full)
		__atomic_store_n(&r->n, r->n + 1, __ATOMIC_RELAXED);
	end(r);
	r->least_ns = r->worst[least(r)].latency_ns;
}

static int slowest_first(const void *a, const void *b)
{
	uint64_t x = ((const struct flight *)a)->latency_ns;
	uint64_t y = ((const struct flight *)b)->latency_ns;

	return (x < y) - (x > y);
}

unsigned recorder_read(const struct recorder *r, struct flight ret[RECORDER_WORST])
{
	uint64_t before, after, n;

	do {
		/* Pairs with the release store of end(). */
		before = atomic_load_explicit(&r->version, memory_order_acquire);
		n = Q_MIN(__atomic_load_n(&r->n, __ATOMIC_RELAXED), (uint64_t)RECORDER_WORST);
		for (unsigned i = 0; i < n; i++)
			copy_flight(&ret[i], &r->worst[i]);
		/* Pairs with the fence of begin(). */
		atomic_thread_fence(memory_order_acquire);
		after = atomic_load_explicit(&r->version, memory_order_relaxed);
	} while (before & 1 || before != after);
	qsort(ret, n, sizeof(ret[0]), slowest_first);
	return (unsigned)n;
}
