/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated disk (mediator/simulate.h) as the tests of the scheduler have it: after every
 * decision the rules that hold at all times are checked, and at every answer the promise;
 * ck_abort_msg() tells which one broke.
 */
#pragma once

#include <check.h>

#include "mediator/simulate.h"

#define MED_SIM_SHARES_MAX 16u
#define MED_SIM_SLOTS_MAX  64u

struct med_sim_device {
	unsigned servers;	/* slices worked on at once */
	uint64_t unit_ns;	/* the longest service of a slice of slice_bytes or less */
	uint64_t flush_ns;	/* the same of a barrier */
	/* service times from a tenth to the whole of that; else always whole */
	bool vary;
	bool by_bytes;		/* a slice takes by its length; longer ones take longer */
};

struct med_sim {
	struct sim sim;
	struct med_sim_device dev;
	uint64_t seed;		/* told when a rule breaks */
	enum sched_class class;	/* of what must be given next */
	uint32_t lower_before;
};

/* A closed load of one size of request, of reads only. */
struct sim_load med_sim_load(uint32_t depth, uint32_t bytes_min, uint32_t bytes_max);
/* The same with @permille of flushes. */
struct sim_load med_sim_syncs(struct sim_load l, uint32_t permille);

void med_sim_init(struct med_sim *m, const struct sched_cfg *cfg, const struct med_sim_device *dev,
		  uint64_t seed);
void med_sim_fini(struct med_sim *m);
/* The index of the share. */
unsigned med_sim_add(struct med_sim *m, const struct sched_share_cfg *cfg,
		     const struct sim_load *load);
void med_sim_run(struct med_sim *m, uint64_t until_ns);
/* Of a share, so far. */
uint64_t med_sim_bytes(const struct med_sim *m, unsigned share);
uint64_t med_sim_ops(const struct med_sim *m, unsigned share);
