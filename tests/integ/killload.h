/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client whose back end is killed again and again: writes of any length at any sector, two at a
 * time on the same sectors too, and reads that show whether what they find may be there. In a
 * process of its own; it shares a page with the one that kills.
 */
#pragma once

#include <stdatomic.h>

#include "lib/qdef.h"

#define KILLLOAD_SECTORS 4096u	/* of its share, that it uses */

/* Written by the client, but stop. */
struct killload_shared {
	_Atomic bool stop;		/* ends what is out, reads all, and ends */
	_Atomic uint64_t ops, errors, wrong, reconnects;
	/* The first answer of a back end that came after one that was lost: when, and how many. */
	_Atomic uint64_t first_ns, n_first;
	_Atomic uint64_t n_used;	/* times that a back end had all of the memory to use */
};

struct killload_cfg {
	const char *socket;
	unsigned depth;			/* requests out, at most KILLLOAD_DEPTH_MAX */
	uint64_t mem_bytes;		/* of the client's memory in all */
	bool use;			/* each back end is given all of it to read into */
	uint64_t seed;
	struct killload_shared *shared;
};

#define KILLLOAD_DEPTH_MAX 128u

/* Until it is told to stop. 0 all well, 1 wrong content or an error, 3 no back end. */
int killload_run(const struct killload_cfg *cfg);
