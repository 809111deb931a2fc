/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk and its clients in virtual time, around the real scheduler: what the property tests of
 * mediator/scheduler.h run on. Nothing sleeps, nothing is random but by its seed. After every
 * decision the rules that hold at all times are checked; ck_assert() tells which one broke.
 */
#pragma once

#include <check.h>

#include "mediator/scheduler.h"

/* ck_assert() tells its parent that it was passed, by a system call: too slow for millions. */
#define SIM_CHECK(cond, ...)                                                                       \
	do {                                                                                       \
		if (!(cond))                                                                       \
			ck_abort_msg(#cond ": " __VA_ARGS__);                                      \
	} while (0)

#define SIM_SHARES_MAX 8u
#define SIM_REQS_MAX 64u	/* of one share, outstanding at once */
#define SIM_SLOTS_MAX 64u

/* What the guest behind a share does: a closed loop with @qd requests out. */
struct sim_load {
	uint32_t qd;
	uint32_t bytes_min, bytes_max;	/* of a request, in steps of 512 */
	uint32_t barrier_permille;	/* of the requests are flushes or discards */
	uint32_t write_permille;	/* of the others are writes */
	uint64_t think_ns;		/* at most, between an answer and the next request */
	uint64_t begin_ns, end_ns;	/* when it is active; end 0 = always */
};

struct sim_device {
	unsigned servers;	/* slices worked on at once; given to them first in, first out */
	uint64_t unit_ns;	/* the longest service of a slice of slice_bytes or less */
	uint64_t flush_ns;	/* the same of a barrier */
	/* service times from a tenth to the whole of that; else always whole */
	bool vary;
	bool by_bytes;		/* a slice takes by its length; longer ones take longer */
};

struct sim_req {
	unsigned share;
	bool waiting;		/* thinking: comes at arrival_ns */
	uint64_t arrival_ns;	/* 0 and not waiting: free */
	uint64_t seq;
	uint64_t bytes_left;
	enum sched_kind kind;
	unsigned slices;	/* at the device */
	bool in_depth, given, exempt;
	uint64_t bound_ns;	/* promised when it was given, 0 = not */
	struct sim_req *next;
};

struct sim_slice {
	struct sched_ticket ticket;
	struct sim_req *req;
	uint32_t len_bytes;
	uint64_t service_ns;
	uint64_t ends_ns;	/* 0 = waits for a server */
	bool used;
	uint64_t order;
};

struct sim_share {
	struct sched_share_cfg cfg;
	struct sim_load load;
	struct sim_req req[SIM_REQS_MAX];
	struct sim_req *head, **tail;
	uint32_t queued, outstanding;
	uint64_t bytes_done, reqs_done, reqs_promised;
	uint64_t written_bytes, written_reqs;	/* of these */
	uint64_t worst_ns;	/* of promised requests */
	uint64_t violations;
};

struct sim {
	struct sched s;
	struct sim_device dev;
	struct sim_share share[SIM_SHARES_MAX];
	unsigned n_shares;
	struct sim_slice slice[SIM_SLOTS_MAX];
	uint64_t now_ns, seq, order, rng;
	uint64_t busy_ns;	/* time in which the device had work */
	uint64_t slices_done;
};

void sim_init(struct sim *m, const struct sched_cfg *cfg, const struct sim_device *dev,
	      uint64_t seed);
/* The index of the share. */
unsigned sim_add(struct sim *m, const struct sched_share_cfg *cfg, const struct sim_load *load);
/* New rules for a share that is there. */
void sim_set(struct sim *m, unsigned share, const struct sched_share_cfg *cfg);
/* Until @until_ns of virtual time. */
void sim_run(struct sim *m, uint64_t until_ns);
/* Tells the scheduler the head of @share anew: after a change of its rules. */
void sim_tell(struct sim *m, unsigned share);
/* Uniform in [lo, hi]. */
uint64_t sim_rand(struct sim *m, uint64_t lo, uint64_t hi);
