/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heaps of small numbers (ids) by 64-bit keys: the least key first, of equal keys the least id.
 * Keys may wrap: they are compared by their difference. An id stands in one heap at a time, and
 * several heaps share one array that knows where. The caller gives the room. Pure state, one
 * thread.
 *
 * Four children a node, in one cache line: what is looked at on the way down is a line a level.
 */
#pragma once

#include "lib/qdef.h"

struct idheap_entry {
	uint64_t key;
	uint32_t id;
};

#define IDHEAP_LINE 64u
/* In front of the first entry, so that four children begin with a line. */
#define IDHEAP_LEAD (IDHEAP_LINE / sizeof(struct idheap_entry) - 1)

struct idheap {
	struct idheap_entry *e;	/* the caller's, IDHEAP_LEAD entries behind the start of a line */
	uint32_t n;
};

/* Whether key @a is before key @b. */
static inline bool idheap_before(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b) < 0;
}

/* @pos[id] is where @id stands in its heap; it has an entry for every id. */
void idheap_put(struct idheap *h, uint32_t *pos, uint32_t id, uint64_t key);
/* @id stands in @h. */
void idheap_take(struct idheap *h, uint32_t *pos, uint32_t id);
void idheap_rekey(struct idheap *h, uint32_t *pos, uint32_t id, uint64_t key);
