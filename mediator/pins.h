/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory that the kernel holds ready for direct I/O: pieces of it are registered with the
 * loop's ring, so that an I/O there need not look up, take and release its pages. A piece is
 * registered when I/Os have come there again and again, one in a turn and when nothing else is to
 * be done: what that costs is bounded, and only memory that does I/O is held.
 *
 * A page that is held stays what it is. If its owner gives it back meanwhile (a hole in the memfd),
 * he gets another one there, and I/Os go on with the old one: so this is only for owners who do not
 * (docs/decisions/0020). Device's thread.
 */
#pragma once

#include "lib/qmem.h"
#include "mediator/loop.h"

#define PINS_PIECE_MIN (256u << 10)	/* bytes, a power of 2 */
#define PINS_PIECE_MAX (2u << 20)
#define PINS_PIECES_MAX 16384u		/* of one region: what lies behind is not held */
#define PINS_MISSES 3u			/* I/Os that find a piece not held, until it is wanted */
#define PINS_SLOTS_MAX 16384u		/* of the kernel's table */

struct pins_mem;

struct pins {
	struct loop *loop;	/* NULL: nothing can be registered */
	uint64_t max_bytes, held_bytes;
	uint16_t *free_slots, *old_slots;	/* owned: not in use; to be given back */
	uint32_t *slot_bytes;	/* owned: what each holds */
	unsigned n_slots, n_free, n_old;
	struct pins_mem *mems;
	struct pins_mem *want;	/* a piece of it is to be registered next … */
	unsigned want_region, want_piece;
	uint64_t failures;	/* pieces that could not be */
};

/* At most @max_bytes, 0 = none. 0 or -errno; then everything below does nothing. */
int pins_init(struct pins *p, struct loop *l, uint64_t max_bytes);
/* The loop's ring gives back what is held when it goes. */
void pins_fini(struct pins *p);

/* One more user of @mem, which is borrowed until pins_drop(). NULL: it is not to be held. */
struct pins_mem *pins_add(struct pins *p, const struct qmem *mem);
/* NULL is fine. Nothing of it is under way. Pieces that are held are given back by pins_tend(). */
void pins_drop(struct pins *p, struct pins_mem *m);
/* The slot that holds these bytes, or -1: they are to be moved without. */
int pins_find(struct pins *p, struct pins_mem *m, const void *at, size_t len_bytes);
/* Registers a piece that is wanted, or gives one back. True when there is more to do. */
bool pins_tend(struct pins *p);
bool pins_waiting(const struct pins *p);
