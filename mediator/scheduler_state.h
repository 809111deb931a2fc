/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a scheduler knows (scheduler.h says what it does with it): its configuration, its shares,
 * and the books on what is at the device. Its tests and statistics read it; nobody else writes it.
 */
#pragma once

#include "lib/qdef.h"
#include "mediator/bucket.h"
#include "mediator/idheap.h"

#define SCHED_SHARES_MAX 16384u
#define SCHED_SHARES_OWN 8u	/* for so many no memory is asked for */
#define SCHED_GROUPS_MAX 64u

enum sched_class { SCHED_SAFETY, SCHED_NORMAL, SCHED_BEST_EFFORT, SCHED_CLASSES };
const char *sched_class_str(enum sched_class c);

struct sched_cfg {
	uint32_t slots;		/* requests at the device at once, 1..1024 */
	uint32_t reserve;	/* of these, slots that lower classes never take, < slots */
	uint32_t slice_bytes;	/* multiple of 4096 */
	uint64_t target_ns;	/* safety latency that the cap is chosen for */
	uint64_t service_limit_ns;	/* what unit starts with */
	uint64_t flush_limit_ns;	/* what flush and sync start with */
};

struct sched_share_cfg {
	enum sched_class class;
	uint32_t weight;	/* 1..1000 */
	uint32_t depth;		/* promised depth; 0 for lower classes */
	uint32_t group;		/* 1 + its index; 0 = none */
	uint32_t slice_bytes;	/* of lower classes; 0 = as the device's */
	struct limits_cfg limits;
};

enum sched_kind { SCHED_READ, SCHED_WRITE, SCHED_BARRIER /* flush, discard, write zeroes */ };

/* Largest value of the last one to two windows. */
struct sched_peak {
	uint64_t cur, prev;
	uint64_t window_start_ns;
};

/*
 * Where a share stands: with others that may be given for the same reasons, in the order in which
 * they are.
 */
enum sched_heap {
	SCHED_HEAP_SAFETY,	/* each by virtual finish time */
	SCHED_HEAP_OVER,	/* safety beyond its own depth, beside other safety shares */
	SCHED_HEAP_NORMAL, SCHED_HEAP_NORMAL_BARRIER,
	SCHED_HEAP_EFFORT, SCHED_HEAP_EFFORT_BARRIER,
	SCHED_HEAP_HELD,	/* by a limit: by the time when it is free */
	SCHED_HEAP_ARRIVAL,	/* priorities are off: by the order of arrival */
	SCHED_HEAPS,
	SCHED_NOWHERE = SCHED_HEAPS
};

/*
 * A decision among ten thousand shares waits for memory more than for anything else: what it looks
 * at of a share are these two lines, and its limits are elsewhere.
 */
struct sched_share {
	uint32_t queued;	/* requests that have a slice to give */
	uint32_t in_flight;	/* slices at the device */
	uint32_t safety_in_flight; /* of these, given while the share was safety */
	uint32_t head_bytes;	/* what its next slice would be, already cut */
	uint64_t vfinish;	/* virtual finish time of its last slice; wraps */
	uint64_t last_cost;	/* of its last slice, in virtual time */
	uint64_t head_arrival;	/* sequence of its oldest request: order with priorities off */
	uint64_t own_ns;	/* from when on its own limits let its head go; 0 = at any time */
	uint8_t head_kind;	/* enum sched_kind */
	uint8_t heap;		/* enum sched_heap */
	uint8_t class;		/* enum sched_class: as in struct sched_share_cfg, like … */
	uint8_t group;
	bool has_limits;	/* of its own, or its group's */
	bool held;		/* by one of them, until held_ns */
	bool used;
	bool fresh;		/* its head was not counted in throttled yet: in that list */
	uint32_t weight, depth;	/* … these, and slice_bytes */
	uint32_t fresh_next, fresh_prev;
	uint64_t throttled_seq;	/* 1 + arrival of the last one counted */
	uint64_t throttled;	/* requests that waited because the cap stood in their way */
	uint64_t limited, limited_seq;	/* the same for a limit of its own or its group */
	uint64_t op_seq;	/* 1 + arrival of the last request that was counted as operation */
	uint64_t held_ns;
	uint32_t behind_held;	/* its next requests that waited behind one that a limit held */
	uint32_t slice_bytes;
};
#define SCHED_SHARE_LINES 2u
static_assert(sizeof(struct sched_share) == SCHED_SHARE_LINES * IDHEAP_LINE, "two lines a share");

struct sched {
	struct sched_cfg cfg;
	bool priorities;
	uint32_t n_shares;	/* entries in use or once used … */
	uint32_t n_used;	/* … and in use */
	uint32_t in_flight, lower_in_flight, lower_barriers;
	uint32_t over_in_flight; /* slices given as safety, beyond their share's depth */
	uint32_t orphans;	/* slices given as safety, whose share is of a lower class now */
	uint32_t safety_barriers;
	uint32_t strays;	/* at the device, given while priorities were off */
	uint64_t n_barriers, last_barrier_ns;	/* given ever, and when the last was */
	uint32_t n_safety;	/* shares */
	uint32_t depth;		/* sum of promised depths */
	uint32_t cap;
	uint32_t lower_max;	/* of lower-class slices, beside the cap */
	uint64_t given_safety, given_lower;	/* slices, ever */
	uint64_t vtime[SCHED_CLASSES];
	struct sched_peak unit, flush, sync, turn;
	uint32_t n_groups;
	struct limits group[SCHED_GROUPS_MAX];
	/* Of the members of a group, in a class: virtual time, and those that have work. */
	uint64_t group_vtime[SCHED_GROUPS_MAX][SCHED_CLASSES];
	uint32_t group_queued[SCHED_GROUPS_MAX][SCHED_CLASSES];
	/* Room for n_room shares: the struct's own, or memory (owned). */
	uint32_t n_room;
	void *memory;
	struct sched_share *share;
	struct limits *limits;		/* of each */
	uint32_t *pos;			/* in the heap where each stands */
	struct idheap heap[SCHED_HEAPS];
	uint32_t fresh;			/* 1 + the first of that list; 0 = empty */
	struct sched_share own_share[SCHED_SHARES_OWN];
	struct limits own_limits[SCHED_SHARES_OWN];
	uint32_t own_pos[SCHED_SHARES_OWN];
	struct idheap_entry own_heap[SCHED_HEAPS][SCHED_SHARES_OWN];
};
