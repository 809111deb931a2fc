/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of live.h have of each other: what an operator asks for (live.c), and how a
 * policy comes into force (live_change.c). Main thread.
 */
#pragma once

#include "mediator/live.h"

struct live {
	const char *const *paths;
	size_t n_paths;
	struct med_policy *now, *past;
	struct med_disk *disks;		/* MED_DISKS_MAX slots, some empty */
	struct med_change *changes;	/* one a slot */
	struct med_new_share *new_shares;	/* owned; of the last change, n_new */
	size_t n_new;
	struct med_override *over;
	size_t n_over;
	struct statpage *page;
	struct live_ops ops;
	bool settled;			/* nothing of the last change is left to be done here */
};

/* A policy that can come into force, or be dropped. */
struct live_plan {
	struct med_policy *policy;	/* owned */
	/* By the policy's devices: the slot; in those of fresh there is a disk that nobody uses. */
	size_t slot[MED_DEVICES_MAX];
	bool fresh[MED_DEVICES_MAX];
};

/* All of the last change is done: another one may come. */
bool live_taken(const struct live *l);
/*
 * Loads and checks the files with @over on top, opens what is new of devices (with @lock) and tells
 * the differences to @to, or why not to @errs. 0, or as live.h; then *ret needs no drop.
 */
int live_plan(struct live *l, const struct med_override *over, size_t n_over,
	      enum backend_lock lock, FILE *to, struct cf_errors *errs, struct live_plan *ret);
void live_plan_drop(struct live *l, struct live_plan *plan);
/* Takes @plan in any case: it is in force, or all is as before. As live.h. */
int live_put_in_force(struct live *l, struct live_plan *plan, struct cf_errors *errs);
