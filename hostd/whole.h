/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole-system check: all VMs and the mediator together, beside the board. It decides over
 * plans (hostd/plan.h) and asks nobody. Main thread.
 *
 * Who is refused: of two that claim one thing, not the one that runs, not the one of the higher
 * class, and never the mediator; of equals both. What does not fit is refused in the order in which
 * VMs start: those that run, those that start by class, and then each other by itself. So nothing
 * that a lower class is configured with keeps a higher one from starting.
 */
#pragma once

#include "hostd/plan.h"
#include "lib/cferr.h"
#include "proto/parley.pb-c.h"

struct hd_whole_vm {
	const char *name;
	Parley__Class class;
	bool runs;			/* it has a process */
	bool comes;			/* it starts now, or with the host */
	const struct hd_plan *plan;	/* NULL: not known, so nothing is said about it */
	struct cf_errors errs;		/* written: the errors are what it is refused for */
};

struct hd_board {
	uint64_t mem_bytes;
	uint64_t cpus[HD_PLAN_CPUS / 64];
	uint64_t cpu_ppm;		/* millionths of a CPU that may be reserved, in all */
};

/* What this board has. */
void hd_board_read(struct hd_board *ret);
/* @mediator NULL: what it would serve is not known; without policies it is an empty plan. */
void hd_whole_check(struct hd_whole_vm *v, size_t n, const struct hd_plan *mediator,
		    const struct hd_board *board);
