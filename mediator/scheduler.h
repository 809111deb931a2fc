/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler of one shared disk: who may give its next slice to the device now. A pure state machine: time comes in as an
 * argument, nothing is allocated, no system call is made; the same calls give the same decisions, so that it is tested in virtual
 * time and can be simulated. One thread.
 *
 * Theory of operation
 *
 * A disk cannot be preempted: what stands in front of a safety request when it arrives must be waited for. So what may stand there is
 * bounded, from the policy and from measured service times:
 *
 *   unit     the longest that the device needed for one slice: service time divided by the requests at the device when it was
 *            given to it (a device that works on k requests may take k times as long). The largest of the last 10-20 seconds,
 *            seeded with the policy's service-limit. Flushes and discards are measured apart (unit_flush).
 *   turn     the longest that our own loop took from seeing a request to giving it to the device, in the same windows.
 *   depth    the sum of the safety shares' promised depths: requests of theirs that may be outstanding together.
 *   cap      lower-class slices allowed at the device at once.
 *
 *   bound = (cap + depth) * unit + (one lower-class flush) unit_flush + turn
 *
 * cap is the largest number for which the bound stays within the policy's target, at least 1 (idle capacity is never wasted), at
 * most slots - reserve. When even cap 1 does not fit, the bound printed is larger than the target, and says so.
 *
 * Order: safety before normal before best-effort, strictly. Within a class: start-time fair queueing by weight, cost = bytes + 4 KiB. Lower
 * classes together hold at most cap slots, and at most one of their requests at the device is a flush or discard; a lower-class
 * slice is at most slice_bytes long. With priorities off all shares are one class in order of arrival, with no cap: for comparison.
 */
#pragma once

#include "lib/qdef.h"

#define SCHED_SHARES_MAX 256u

enum sched_class { SCHED_SAFETY, SCHED_NORMAL, SCHED_BEST_EFFORT, SCHED_CLASSES };
const char *sched_class_str(enum sched_class c);

struct sched_cfg {
	uint32_t slots;		/* requests at the device at once, 1..1024 */
	uint32_t reserve;	/* of these, slots that lower classes never take, < slots */
	uint32_t slice_bytes;	/* multiple of 4096 */
	uint64_t target_ns;	/* safety latency that the cap is chosen for */
	uint64_t service_limit_ns;	/* what unit starts with */
};

struct sched_share_cfg {
	enum sched_class class;
	uint32_t weight;	/* 1..1000 */
	uint32_t depth;		/* promised depth; 0 for lower classes */
};

enum sched_kind { SCHED_DATA, SCHED_BARRIER /* flush, discard, write zeroes */ };

/* Largest value of the last one to two windows. */
struct sched_peak {
	uint64_t cur, prev;
	uint64_t window_start_ns;
};

struct sched_share {
	struct sched_share_cfg cfg;
	bool used;
	uint32_t queued;	/* requests that have a slice to give */
	uint32_t in_flight;	/* slices at the device */
	uint64_t vfinish;	/* virtual finish time of its last slice */
	uint64_t head_arrival;	/* sequence of its oldest request: order with priorities off */
	uint32_t head_bytes;	/* what its next slice would be, already cut */
	enum sched_kind head_kind;
	uint64_t throttled;	/* decisions in which it had work and the cap stood in its way */
};

struct sched {
	struct sched_cfg cfg;
	bool priorities;
	uint32_t n_shares;	/* entries in use or once used */
	uint32_t in_flight, lower_in_flight, lower_barriers;
	uint32_t depth;		/* sum of promised depths */
	uint32_t cap;
	uint64_t vtime[SCHED_CLASSES];
	struct sched_peak unit, unit_flush, turn;
	struct sched_share share[SCHED_SHARES_MAX];
};

/* What a slice at the device must be remembered with until sched_done(). */
struct sched_ticket {
	uint16_t share;
	enum sched_kind kind;
	uint32_t k;		/* requests at the device when it was given, itself included */
	bool beside_barrier;	/* a lower-class flush was at the device */
	uint64_t at_ns;
	uint64_t bound_ns;	/* the bound that stood then (safety); 0 when none was promised */
};

void sched_init(struct sched *s, const struct sched_cfg *cfg, uint64_t now_ns);
/* The index of the new share, or -ENOSPC. */
int sched_share_add(struct sched *s, const struct sched_share_cfg *cfg);

/* The share's oldest request and what its next slice would be (cut to sched_slice_max()); @queued 0 = nothing. To be called whenever one of
 * these changed: a request came, its head was given to the device, it went away. */
void sched_head(struct sched *s, unsigned share, uint32_t queued, uint32_t bytes,
		enum sched_kind kind, uint64_t arrival);
/* The longest slice of that share: slice_bytes, or UINT32_MAX for safety shares (and for all with priorities off). */
uint32_t sched_slice_max(const struct sched *s, unsigned share);

/* The share whose next slice is to be given to the device now, or -1: wait for a completion or an arrival. Fills @ret and counts the slice
 * as in flight. The caller gives it and calls sched_head() for that share. */
int sched_pick(struct sched *s, uint64_t now_ns, struct sched_ticket *ret);
/* The slice of @t ended. */
void sched_done(struct sched *s, const struct sched_ticket *t, uint64_t now_ns);
/* Our own loop needed @ns from seeing requests to giving them. */
void sched_turn(struct sched *s, uint64_t ns, uint64_t now_ns);

/* The bound that stands now. */
uint64_t sched_bound_ns(const struct sched *s);
uint64_t sched_unit_ns(const struct sched *s);
void sched_set_priorities(struct sched *s, bool on);
