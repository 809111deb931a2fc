/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last bytes of an endless stream. Positions count from the stream's first byte, so that a
 * reader sees by itself that it was too slow. One thread. Memory grows with what was written, up to
 * the limit.
 */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include "lib/qdef.h"

struct hd_ring {
	char *buf;		/* owned */
	size_t cap, max;	/* powers of two */
	uint64_t tail, head;	/* positions of the oldest byte kept, and behind the last */
};

/* @max_bytes is a power of two. */
void hd_ring_init(struct hd_ring *r, size_t max_bytes);
void hd_ring_fini(struct hd_ring *r);
/* Appends; what does not fit pushes the oldest out. Without memory to grow it keeps less. */
void hd_ring_put(struct hd_ring *r, const char *bytes, size_t len);
/* The bytes from @pos on as at most two parts. Number of parts, 0 when there is nothing, -ESTALE
 * when @pos was pushed out already. */
int hd_ring_span(const struct hd_ring *r, uint64_t pos, struct iovec iov[2]);
