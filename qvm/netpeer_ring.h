/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction of one queue pair between two qvm: a ring of bytes in memory that both have mapped,
 * one who writes, one who reads. The other side is hostile: it can write anything anywhere in that
 * memory at any time. So each side keeps its own index to itself, copies the other's once, checks
 * it, and copies what it reads before it looks at it. What cannot be is NP_RING_BROKEN, and the
 * session ends.
 *
 * Frames stand in it as a length (32 bits, little-endian) and their bytes, padded to NP_ALIGN.
 *
 * Sleeping: who finds nothing (np_ring_listen) or no room (np_ring_put) says so in the shared
 * memory and looks again; the other side looks there after it published, and rings
 * (np_ring_wanted). One thread a side.
 */
#pragma once

#include <stdatomic.h>
#include <sys/uio.h>

#include "lib/qdef.h"

#define NP_RING_BYTES (256u << 10)
#define NP_ALIGN 8u
#define NP_LINE 64u	/* no two sides write into one cache line */
#define NP_CTL_BYTES (4 * NP_LINE)

struct np_ctl {
	_Alignas(NP_LINE) _Atomic uint32_t head;	/* bytes written, ever: the writer's */
	_Alignas(NP_LINE) _Atomic uint32_t tail;	/* bytes read, ever: the reader's */
	_Alignas(NP_LINE) _Atomic uint32_t want_data;	/* the reader sleeps */
	_Alignas(NP_LINE) _Atomic uint32_t want_room;	/* the writer waits */
};
static_assert(sizeof(struct np_ctl) == NP_CTL_BYTES, "both sides lay it out alike");

enum np_ring_verdict { NP_RING_OK = 0, NP_RING_EMPTY, NP_RING_FULL, NP_RING_BROKEN };

struct np_ring {
	struct np_ctl *ctl;	/* shared, as data is */
	uint8_t *data;		/* NP_RING_BYTES */
	uint32_t pos;		/* our own index: head of a writer, tail of a reader */
	uint32_t seen;		/* the other's, when last read and found sound */
	bool moved;		/* pos was published since the last np_ring_wanted() */
};

/* @ctl and @data of fresh or unknown content; both sides begin at 0. */
void np_ring_init(struct np_ring *r, struct np_ctl *ctl, uint8_t *data);

/* Writes a frame of @len bytes that @iov holds. OK, FULL (then the reader rings when there is
 * room), BROKEN. */
enum np_ring_verdict np_ring_put(struct np_ring *r, const struct iovec *iov, unsigned n_iov,
				 uint32_t len);
/* Takes a frame of at most @max bytes into @buf. OK, EMPTY, BROKEN (a longer one is that, too). */
enum np_ring_verdict np_ring_get(struct np_ring *r, void *buf, uint32_t max, uint32_t *ret_len);
/* The reader is about to sleep: true when something has come (or broke) meanwhile. */
bool np_ring_listen(struct np_ring *r);
/* Throws away what is in it. */
enum np_ring_verdict np_ring_purge(struct np_ring *r);

/* After put()s or get()s: true when the other side sleeps on what was done, and is to be rung. */
bool np_ring_wanted_data(struct np_ring *r);
bool np_ring_wanted_room(struct np_ring *r);
