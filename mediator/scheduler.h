/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler of one shared disk: who may give its next slice to the device now. A pure state
 * machine: time comes in as an argument, nothing is allocated but by sched_reserve(), no system
 * call is made; the same calls give the same decisions, so that it is tested in virtual time and
 * can be simulated. A decision costs O(log shares). One thread.
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

#include "mediator/scheduler_state.h"

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

/* @s must stay where it is from now on. */
void sched_init(struct sched *s, const struct sched_cfg *cfg, uint64_t now_ns);
/*
 * Room for @n shares in all, at most SCHED_SHARES_MAX; pages of it are touched when shares need
 * them. Before more than SCHED_SHARES_OWN shares are added. 0, -ENOMEM or -ENOSPC.
 */
int sched_reserve(struct sched *s, uint32_t n);
/* Frees what sched_reserve() got; needed after that only. */
void sched_fini(struct sched *s);
/* The index of the new group, or -ENOSPC. */
int sched_group_add(struct sched *s, const struct limits_cfg *cfg);
/*
 * The index of the new share, the least that is free, or -ENOSPC: there is no room. Its group is
 * there already.
 */
int sched_share_add(struct sched *s, const struct sched_share_cfg *cfg);
/* The share is no more; it has nothing queued, and nothing at the device. */
void sched_share_remove(struct sched *s, unsigned share);

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
 * The longest slice of that share: slice_bytes, its own or the device's, or UINT32_MAX for safety
 * shares (and for all with priorities off).
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
uint64_t sched_next_ns(struct sched *s, uint64_t now_ns);
/* The slice of @t ended. */
void sched_done(struct sched *s, const struct sched_ticket *t, uint64_t now_ns);
/* Our own loop needed @ns from seeing requests to giving them. */
void sched_turn(struct sched *s, uint64_t ns, uint64_t now_ns);

/*
 * Lower classes may have at most @n slices at the device, beside the cap: 0 pauses them, UINT32_MAX
 * is no further rule. The bound is not changed by it.
 */
void sched_set_lower_max(struct sched *s, uint32_t n);

/* The bound that stands now. */
uint64_t sched_bound_ns(const struct sched *s);
uint64_t sched_unit_ns(const struct sched *s);
void sched_set_priorities(struct sched *s, bool on);
