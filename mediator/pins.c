/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the table of registered buffers of one ring. Device's thread.
 *
 * A piece is a number: below HELD, how often it was missed; from HELD on, HELD plus its slot.
 * Invariants: a slot is in free_slots, in old_slots, or named by exactly one piece; held_bytes is
 * the sum of slot_bytes; what is wanted belongs to a table that has users.
 */
#include "mediator/pins.h"

#include <errno.h>
#include <stdlib.h>

#define HELD 16u
#define NEVER (HELD - 1)	/* the kernel refused it */

static_assert(PINS_SLOTS_MAX + HELD <= UINT16_MAX + 1u, "a piece names any slot");

struct region {
	uintptr_t host;
	uint64_t len_bytes;
	uint32_t piece_bytes;	/* a power of 2 */
	unsigned n_pieces;
	uint16_t *piece;	/* owned */
};

struct pins_mem {
	struct pins_mem *next;
	const struct qmem *mem;	/* borrowed: says who it is */
	unsigned users;
	unsigned n;
	struct region r[];
};

int pins_init(struct pins *p, struct loop *l, uint64_t max_bytes)
{
	*p = (struct pins){ .max_bytes = max_bytes };
	uint64_t n = Q_MIN(max_bytes / PINS_PIECE_MIN, (uint64_t)PINS_SLOTS_MAX);

	if (n == 0)
		return 0;
	p->free_slots = calloc(n, sizeof(p->free_slots[0]));
	p->old_slots = calloc(n, sizeof(p->old_slots[0]));
	p->slot_bytes = calloc(n, sizeof(p->slot_bytes[0]));
	int r = p->free_slots && p->old_slots && p->slot_bytes ? 0 : -ENOMEM;
	if (r == 0)
		r = loop_buffers_init(l, (unsigned)n);
	if (r < 0) {
		pins_fini(p);
		return r;
	}
	p->loop = l;
	p->n_slots = (unsigned)n;
	for (unsigned i = 0; i < n; i++)
		p->free_slots[p->n_free++] = (uint16_t)(n - 1 - i);
	return 0;
}

static struct pins_mem *mem_free(struct pins_mem *m)
{
	for (unsigned i = 0; i < m->n; i++)
		free(m->r[i].piece);
	free(m);
	return NULL;
}

void pins_fini(struct pins *p)
{
	while (p->mems) {
		struct pins_mem *m = p->mems;

		p->mems = m->next;
		mem_free(m);
	}
	free(p->free_slots);
	free(p->old_slots);
	free(p->slot_bytes);
	*p = (struct pins){ 0 };
}

static bool region_init(struct region *r, const struct qmem_region *q)
{
	*r = (struct region){
		.host = (uintptr_t)q->host, .len_bytes = q->len_bytes,
		.piece_bytes = PINS_PIECE_MIN,
	};
	while (r->piece_bytes < PINS_PIECE_MAX && r->len_bytes / r->piece_bytes > PINS_PIECES_MAX)
		r->piece_bytes *= 2;
	uint64_t n = (r->len_bytes + r->piece_bytes - 1) / r->piece_bytes;
	r->n_pieces = (unsigned)Q_MIN(n, (uint64_t)PINS_PIECES_MAX);
	r->piece = calloc(r->n_pieces, sizeof(r->piece[0]));
	return r->piece;
}

struct pins_mem *pins_add(struct pins *p, const struct qmem *mem)
{
	struct pins_mem *m;

	if (!p->loop)
		return NULL;
	for (m = p->mems; m; m = m->next) {
		if (m->mem == mem) {
			m->users++;
			return m;
		}
	}
	m = calloc(1, sizeof(*m) + mem->n * sizeof(m->r[0]));
	if (!m)
		return NULL;
	m->mem = mem;
	m->users = 1;
	for (unsigned i = 0; i < mem->n; i++) {
		/* What the guest cannot write, a disk has no business with. */
		if (mem->r[i].flags & QMEM_READONLY)
			continue;
		if (!region_init(&m->r[m->n++], &mem->r[i]))
			return mem_free(m);
	}
	m->next = p->mems;
	p->mems = m;
	return m;
}

static void give_back(struct pins *p, const struct region *r)
{
	for (unsigned i = 0; i < r->n_pieces; i++)
		if (r->piece[i] >= HELD)
			p->old_slots[p->n_old++] = (uint16_t)(r->piece[i] - HELD);
}

void pins_drop(struct pins *p, struct pins_mem *m)
{
	if (!m || --m->users > 0)
		return;
	for (struct pins_mem **at = &p->mems; *at; at = &(*at)->next) {
		if (*at == m) {
			*at = m->next;
			break;
		}
	}
	if (p->want == m)
		p->want = NULL;
	for (unsigned i = 0; i < m->n; i++)
		give_back(p, &m->r[i]);
	mem_free(m);
}

/* What piece @i of @r has: all alike, but for the last. */
static uint32_t bytes_of(const struct region *r, unsigned i)
{
	uint64_t left = r->len_bytes - (uint64_t)i * r->piece_bytes;

	return (uint32_t)Q_MIN(left, (uint64_t)r->piece_bytes);
}

static void miss(struct pins *p, struct pins_mem *m, unsigned region, unsigned piece)
{
	struct region *r = &m->r[region];

	if (r->piece[piece] == NEVER || p->want || p->n_free == 0 ||
	    bytes_of(r, piece) > p->max_bytes - p->held_bytes)
		return;
	if (++r->piece[piece] < PINS_MISSES)
		return;
	r->piece[piece]--;	/* it is wanted again if it does not come */
	p->want = m;
	p->want_region = region;
	p->want_piece = piece;
}

int pins_find(struct pins *p, struct pins_mem *m, const void *at, size_t len_bytes)
{
	uintptr_t a = (uintptr_t)at;

	for (unsigned i = 0; i < m->n; i++) {
		struct region *r = &m->r[i];

		if (a < r->host || a - r->host >= r->len_bytes)
			continue;
		uint64_t off = a - r->host, piece = off / r->piece_bytes;
		if (piece >= r->n_pieces ||
		    len_bytes > bytes_of(r, (unsigned)piece) - off % r->piece_bytes)
			return -1;
		if (r->piece[piece] >= HELD)
			return (int)(r->piece[piece] - HELD);
		miss(p, m, i, (unsigned)piece);
		return -1;
	}
	return -1;
}

static void let_go(struct pins *p)
{
	uint16_t slot = p->old_slots[--p->n_old];

	/* Cannot fail for want of anything; and if it did, the slot would be filled anew. */
	(void)loop_buffer_set(p->loop, slot, NULL, 0);
	p->held_bytes -= p->slot_bytes[slot];
	p->slot_bytes[slot] = 0;
	p->free_slots[p->n_free++] = slot;
}

static void take(struct pins *p)
{
	struct region *r = &p->want->r[p->want_region];
	uint32_t bytes = bytes_of(r, p->want_piece);
	uint16_t slot = p->free_slots[p->n_free - 1];
	int err = loop_buffer_set(p->loop, slot,
				  (void *)(r->host + (uint64_t)p->want_piece * r->piece_bytes),
				  bytes);

	p->want = NULL;
	if (err < 0) {
		p->failures++;
		r->piece[p->want_piece] = NEVER;
		/* No more memory may be locked: what is held stays, and no more is asked for. */
		if (err == -ENOMEM)
			p->max_bytes = p->held_bytes;
		return;
	}
	p->n_free--;
	p->slot_bytes[slot] = bytes;
	p->held_bytes += bytes;
	r->piece[p->want_piece] = (uint16_t)(HELD + slot);
}

bool pins_waiting(const struct pins *p)
{
	return p->n_old > 0 || p->want;
}

bool pins_tend(struct pins *p)
{
	if (p->n_old > 0)
		let_go(p);
	else if (p->want)
		take(p);
	return pins_waiting(p);
}
