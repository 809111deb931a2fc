/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of small records from one thread to one other, without a lock or a wait: what a real-time
 * thread and an ordinary one have between them. All inline; the memory is the owner's.
 */
#pragma once

#include <stdatomic.h>
#include <string.h>

#include "lib/qdef.h"

struct spsc {
	uint32_t n;		/* records, a power of 2 */
	uint32_t record_bytes;
	char *store;
	_Alignas(64) _Atomic uint32_t head;	/* written by who takes */
	_Alignas(64) _Atomic uint32_t tail;	/* written by who puts */
};

static inline void spsc_init(struct spsc *q, void *store, uint32_t n, uint32_t record_bytes)
{
	qassert(n && !(n & (n - 1)));
	q->n = n;
	q->record_bytes = record_bytes;
	q->store = store;
	atomic_store_explicit(&q->head, 0, memory_order_relaxed);
	atomic_store_explicit(&q->tail, 0, memory_order_relaxed);
}

/* The thread that puts: how many more there is room for. */
static inline uint32_t spsc_room(struct spsc *q)
{
	/* Pairs with spsc_take()'s release: the record that was there has been read. */
	return q->n - (atomic_load_explicit(&q->tail, memory_order_relaxed) -
		       atomic_load_explicit(&q->head, memory_order_acquire));
}

/* False: it is full. */
static inline bool spsc_put(struct spsc *q, const void *record)
{
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

	if (spsc_room(q) == 0)
		return false;
	memcpy(q->store + (size_t)(tail & (q->n - 1)) * q->record_bytes, record, q->record_bytes);
	/* Pairs with spsc_take()'s acquire: the record is there before its number is. */
	atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
	return true;
}

/* The thread that takes. False: it is empty. */
static inline bool spsc_take(struct spsc *q, void *ret)
{
	uint32_t head = atomic_load_explicit(&q->head, memory_order_relaxed);

	if (head == atomic_load_explicit(&q->tail, memory_order_acquire))
		return false;
	memcpy(ret, q->store + (size_t)(head & (q->n - 1)) * q->record_bytes, q->record_bytes);
	atomic_store_explicit(&q->head, head + 1, memory_order_release);
	return true;
}
