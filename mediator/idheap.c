/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A four-ary heap that knows where each of its members is; see idheap.h. No state of its own.
 * Invariant: no entry is before its parent, and pos[e[i].id] is i for each of the first n entries.
 */
#include "mediator/idheap.h"

#define CHILDREN 4u
static_assert(sizeof(struct idheap_entry) * CHILDREN == IDHEAP_LINE, "children fill a line");

static bool first(const struct idheap_entry *a, const struct idheap_entry *b)
{
	return a->key == b->key ? a->id < b->id : idheap_before(a->key, b->key);
}

static void set(struct idheap *h, uint32_t *pos, uint32_t at, struct idheap_entry e)
{
	h->e[at] = e;
	pos[e.id] = at;
}

/* Puts @e where it belongs, at @at or nearer to the root. */
static void rise(struct idheap *h, uint32_t *pos, uint32_t at, struct idheap_entry e)
{
	while (at > 0) {
		uint32_t parent = (at - 1) / CHILDREN;

		if (!first(&e, &h->e[parent]))
			break;
		set(h, pos, at, h->e[parent]);
		at = parent;
	}
	set(h, pos, at, e);
}

/*
 * Asks for all that the next step down may look at, while this one finds out which of it that is:
 * nobody can foretell which child is the first, the processor least of all.
 */
static void fetch_below(const struct idheap *h, uint32_t child)
{
	uint32_t below = child * CHILDREN + 1, end = Q_MIN(below + CHILDREN * CHILDREN, h->n);

	for (uint32_t i = below; i < end; i += CHILDREN)
		__builtin_prefetch(&h->e[i], 1);
}

/* Puts @e where it belongs, at @at or further from the root. */
static void sink(struct idheap *h, uint32_t *pos, uint32_t at, struct idheap_entry e)
{
	for (;;) {
		uint32_t child = at * CHILDREN + 1, end = Q_MIN(child + CHILDREN, h->n);
		uint32_t best = child;

		if (child >= h->n)
			break;
		fetch_below(h, child);
		for (uint32_t i = child + 1; i < end; i++)
			if (first(&h->e[i], &h->e[best]))
				best = i;
		if (!first(&h->e[best], &e))
			break;
		set(h, pos, at, h->e[best]);
		at = best;
	}
	set(h, pos, at, e);
}

static void settle(struct idheap *h, uint32_t *pos, uint32_t at, struct idheap_entry e)
{
	if (at > 0 && first(&e, &h->e[(at - 1) / CHILDREN]))
		rise(h, pos, at, e);
	else
		sink(h, pos, at, e);
}

void idheap_put(struct idheap *h, uint32_t *pos, uint32_t id, uint64_t key)
{
	rise(h, pos, h->n++, (struct idheap_entry){ .key = key, .id = id });
}

void idheap_take(struct idheap *h, uint32_t *pos, uint32_t id)
{
	uint32_t at = pos[id];

	qassert(at < h->n && h->e[at].id == id);
	struct idheap_entry last = h->e[--h->n];
	if (at < h->n)
		settle(h, pos, at, last);
}

void idheap_rekey(struct idheap *h, uint32_t *pos, uint32_t id, uint64_t key)
{
	uint32_t at = pos[id];

	qassert(at < h->n && h->e[at].id == id);
	if (h->e[at].key != key)
		settle(h, pos, at, (struct idheap_entry){ .key = key, .id = id });
}
