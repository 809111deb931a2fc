/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler of one shared disk: who may give its next slice to the device now. A pure state
 * machine: time comes in as an argument, nothing is allocated, no system call is made; the same
 * calls give the same decisions, so that it is tested in virtual time and can be simulated. One
 * thread.
 *
 * Theory of operation
 *
 * A disk cannot be preempted: what stands in front of a safety request when it arrives must be
 * waited for. So what may stand there is bounded, from the policy and from measured service times:
 *
 *   unit     the longest that the device needed for one slice: service time divided by the slices
 *            at the device when it was given to it (a device that works on k slices may take k
 *            times as long), rounded up. The largest of the last 10-20 seconds, seeded with the
 *            policy's service-limit.
 *   flush    the longest that it needed for a lower-class flush, discard or write-zeroes, seeded
 *            with flush-limit. What was beside one at the device is measured less that.
 *   sync     the same of a safety share's own, seeded alike.
 *   turn     the longest that our own loop took from seeing a request to giving it to the device,
 *            in the same windows. It comes in twice: the end of a request is seen as late.
 *   depth    the sum of the safety shares' promised depths: requests of theirs that may be
 *            outstanding together.
 *   cap      lower-class slices allowed at the device at once.
 *
 *   bound = lower * unit + (depth - 1) * max(unit, sync) + unit + flush + 2 * turn
 *
 * where lower is cap, or what is there when a cap that shrank has left more. A request is promised
 * the bound that stands when it is given, if its share had at most depth requests out when it came.
 * Safety requests are not cut: the longest of them counts in unit.
 *
 * cap is the largest number for which the bound stays within the policy's target, at least 1 (idle
 * capacity is never wasted), at most slots - reserve. When even cap 1 does not fit, the bound
 * printed is larger than the target, and says so.
 *
 * Order: safety before normal before best-effort, strictly. Within a class: start-time fair
 * queueing by weight, cost = bytes + 4 KiB. Lower classes together hold at most cap slots, and at
 * most one of their requests at the device is a flush or discard; a lower-class slice is at most
 * slice_bytes long. Where several shares are safety, none may spend another's promise: what one of
 * them has at the device beyond its own depth counts against the cap like lower-class work, and is
 * no flush or discard.
 *
 * A share may have limits (bucket.h), and may be in a group whose members have limits together. A
 * share whose head they hold back stands aside, and the next one goes: what a limit leaves is for
 * whoever asks. A safety request that a limit held back was promised nothing.
 *
 * With priorities off all shares are one class in order of arrival, with no cap and no promise: for
 * comparison. What was given then is not measured, and nothing is promised until it is gone.
 */
#pragma once

#include "lib/qdef.h"
#include "mediator/bucket.h"

#define SCHED_SHARES_MAX 256u
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
	struct limits_cfg limits;
};

enum sched_kind { SCHED_READ, SCHED_WRITE, SCHED_BARRIER /* flush, discard, write zeroes */ };

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
	uint32_t safety_in_flight; /* of these, given while the share was safety */
	uint64_t vfinish;	/* virtual finish time of its last slice; wraps */
	uint64_t last_cost;	/* of its last slice, in virtual time */
	uint64_t head_arrival;	/* sequence of its oldest request: order with priorities off */
	uint32_t head_bytes;	/* what its next slice would be, already cut */
	enum sched_kind head_kind;
	uint64_t throttled;	/* requests that waited because the cap stood in their way */
	uint64_t throttled_seq;	/* 1 + arrival of the last one counted */
	bool has_limits;	/* of its own, or its group's */
	struct limits limits;
	uint64_t limited, limited_seq;	/* the same for a limit of its own or its group */
	uint64_t op_seq;	/* 1 + arrival of the last request that was counted as operation */
};

struct sched {
	struct sched_cfg cfg;
	bool priorities;
	uint32_t n_shares;	/* entries in use or once used */
	uint32_t in_flight, lower_in_flight, lower_barriers;
	uint32_t over_in_flight; /* slices given as safety, beyond their share's depth */
	uint32_t orphans;	/* slices given as safety, whose share is of a lower class now */
	uint32_t safety_barriers;
	uint32_t strays;	/* at the device, given while priorities were off */
	uint64_t n_barriers, last_barrier_ns;	/* given ever, and when the last was */
	uint32_t n_safety;	/* shares */
	uint32_t depth;		/* sum of promised depths */
	uint32_t cap;
	uint64_t given_safety, given_lower;	/* slices, ever */
	uint64_t vtime[SCHED_CLASSES];
	struct sched_peak unit, flush, sync, turn;
	struct sched_share share[SCHED_SHARES_MAX];
	uint32_t n_groups;
	struct limits group[SCHED_GROUPS_MAX];
};

/* What a slice at the device must be remembered with until sched_done(). */
struct sched_ticket {
	uint16_t share;
	enum sched_kind kind;
	bool lower;		/* given as work of a lower class */
	uint32_t k;		/* requests at the device when it was given, itself included */
	bool stray;		/* given while priorities were off */
	bool beside_stray;	/* one of those was at the device */
	bool beside_barrier;	/* a flush or discard was at the device */
	uint64_t n_barriers;	/* given until then, itself included */
	uint64_t at_ns;
	uint64_t bound_ns;	/* the bound that stood then (safety); 0 when none was promised */
};

void sched_init(struct sched *s, const struct sched_cfg *cfg, uint64_t now_ns);
/* The index of the new group, or -ENOSPC. */
int sched_group_add(struct sched *s, const struct limits_cfg *cfg);
/* The index of the new share, or -ENOSPC. Its group is there already. */
int sched_share_add(struct sched *s, const struct sched_share_cfg *cfg);

/*
 * New rules for what is there, at any time: nothing that is queued or at the device is touched, and
 * what was given keeps the promise that stood then. The slots stay as they are.
 */
void sched_set_cfg(struct sched *s, const struct sched_cfg *cfg);
void sched_group_set(struct sched *s, unsigned group, const struct limits_cfg *cfg);
void sched_share_set(struct sched *s, unsigned share, const struct sched_share_cfg *cfg);

/*
 * The share's oldest request and what its next slice would be (cut to sched_slice_max()); @queued 0
 * = nothing. To be called whenever one of these changed: a request came, its head was given to the
 * device, it went away.
 */
void sched_head(struct sched *s, unsigned share, uint32_t queued, uint32_t bytes,
		enum sched_kind kind, uint64_t arrival);
/*
 * The longest slice of that share: slice_bytes, or UINT32_MAX for safety shares (and for all with
 * priorities off).
 */
uint32_t sched_slice_max(const struct sched *s, unsigned share);

/*
 * The share whose next slice is to be given to the device now, or -1: wait for a completion or an
 * arrival. Fills @ret and counts the slice as in flight. The caller gives it and calls sched_head()
 * for that share.
 */
int sched_pick(struct sched *s, uint64_t now_ns, struct sched_ticket *ret);
/*
 * When to ask again though nothing ended and nothing came: the first share that is held back by
 * nothing but a limit is free then. 0 = never.
 */
uint64_t sched_next_ns(const struct sched *s, uint64_t now_ns);
/* The slice of @t ended. */
void sched_done(struct sched *s, const struct sched_ticket *t, uint64_t now_ns);
/* Our own loop needed @ns from seeing requests to giving them. */
void sched_turn(struct sched *s, uint64_t ns, uint64_t now_ns);

/* The bound that stands now. */
uint64_t sched_bound_ns(const struct sched *s);
uint64_t sched_unit_ns(const struct sched *s);
void sched_set_priorities(struct sched *s, bool on);
