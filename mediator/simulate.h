/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shared disk in virtual time: the real scheduler (scheduler.h), requests cut by the real rule
 * (cut.h), clients and a device that are described by numbers. For `mediator --simulate`, and for
 * the scheduler's property tests, which look on through struct sim_watch. One thread.
 *
 * Nothing sleeps and no clock is read. The same seed, policy, loads and device give the same run,
 * event by event, on every machine.
 */
#pragma once

#include "lib/qhist.h"
#include "mediator/scheduler.h"
#include "mediator/simulate_model.h"

#define SIM_SIZES_MAX 8u
#define SIM_DEPTH_MAX 16384u	/* of one client: 16 queues of 1,024 */

/* What the guest behind a share does. */
struct sim_load {
	bool open;		/* requests come by themselves; else each behind an answer */
	uint32_t depth;		/* requests out: always (closed), at most (open) */
	uint64_t think_ns;	/* closed: at most, between an answer and the next request */
	uint64_t gap_ns;	/* open: between arrivals, or its mean */
	bool poisson;		/* open: gaps are exponential, else all the same */
	struct {
		uint32_t min, max;	/* of a request, in steps of 512 bytes */
		uint32_t weight;
	} size[SIM_SIZES_MAX];
	unsigned n_sizes;
	uint32_t discard_bytes;		/* of a discard */
	uint32_t mix[SIM_OPS];		/* weights */
	uint64_t begin_ns, end_ns;	/* when it is active; end 0 = always */
};

struct sim_req {
	struct sim_req *next;		/* in its share's list, or the free one */
	unsigned share;
	enum sim_op op;
	uint64_t arrival_ns, seq;
	uint64_t bytes, bytes_left;
	unsigned slices;		/* at the device */
	bool in_depth, given;
	uint64_t bound_ns;		/* promised when it was given, 0 = not */
	bool exempt;			/* a watch's: that promise is not to be counted */
};

struct sim_slice {
	struct sched_ticket ticket;
	struct sim_req *req;
	uint32_t len_bytes;
	bool used;
	struct sim_slice *next;		/* that waits in the device, or is free */
};

struct sim_share {
	struct sched_share_cfg cfg;
	struct sim_load load;
	struct sim_req *head, **tail, *free;
	uint32_t queued, outstanding;
	uint64_t held;			/* open: could not come yet, as many are out as may be */
	uint64_t ops[SIM_OPS], bytes[SIM_OPS];	/* of requests that ended */
	uint64_t late;			/* arrivals that were held */
	uint64_t promised, worst_promised_ns, violations;
	uint64_t throttled_before, limited_before;	/* by the scheduler, until the reset */
	struct qhist *latency;		/* owned; of reads and writes */
};

struct sim;

/* Told of what happens; each may be NULL. */
struct sim_watch {
	void *ctx;
	void (*choosing)(void *ctx, const struct sim *m);
	void (*given)(void *ctx, const struct sim *m, const struct sim_slice *s);
	void (*none)(void *ctx, const struct sim *m);	/* the scheduler gave nothing */
	void (*slice_done)(void *ctx, const struct sim *m);
	void (*req_done)(void *ctx, const struct sim *m, const struct sim_req *r);
};

struct sim_event {
	uint64_t at_ns, order;
	enum { SIM_COMES, SIM_ARRIVAL, SIM_ENDS } kind;
	void *what;		/* request; share; slice */
};

struct sim {
	struct sched sched;
	struct sim_model model;
	struct sim_watch watch;
	struct sim_share *share;	/* owned; index = the scheduler's */
	unsigned n_shares;
	struct sim_slice *slices;	/* owned, slots of them */
	struct sim_slice *free_slices, *waiting, **waiting_tail;
	unsigned busy;			/* of the device's parallel */
	struct sim_event *heap;		/* owned; the earliest first */
	size_t n_events, events_room;
	uint64_t now_ns, from_ns, seq, order, rng;
	uint64_t active_ns;		/* time in which the device had work, since from_ns */
	uint64_t work_ns;		/* sum over its parallel ones */
	uint64_t slices_done;
	bool oom;
};

/* 0 or -ENOMEM. sim_fini() is safe after both, and on zeroes. */
int sim_init(struct sim *m, const struct sched_cfg *cfg, const struct sim_model *model,
	     uint64_t seed);
void sim_fini(struct sim *m);
/* Room for @n shares in all, before the first. 0, -ENOMEM, or -ENOSPC: the scheduler has not. */
int sim_reserve(struct sim *m, uint32_t n);
/*
 * The index of the share, or -ENOMEM, or -ENOSPC: there is no room. Groups are the scheduler's:
 * sched_group_add().
 */
int sim_add(struct sim *m, const struct sched_share_cfg *cfg, const struct sim_load *load);
/* New rules for a share that is there. */
void sim_set(struct sim *m, unsigned share, const struct sched_share_cfg *cfg);
/* Tells the scheduler the head of @share anew: after a change of its rules. */
void sim_tell(struct sim *m, unsigned share);
/* Until @until_ns of virtual time: 0 or -ENOMEM. */
int sim_run(struct sim *m, uint64_t until_ns);
/* Forgets what was counted: what comes is measured from now. */
void sim_reset(struct sim *m);

uint64_t sim_share_ops(const struct sim_share *sh);
uint64_t sim_share_bytes(const struct sim_share *sh);	/* of reads and writes */
static inline bool sim_is_barrier(enum sim_op op)
{
	return op != SIM_READ && op != SIM_WRITE;
}
