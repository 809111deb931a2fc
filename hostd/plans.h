/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plans of all VMs and of the mediator: each is what its own program says (`qvm --plan`,
 * `mediator --plan`), asked for when it is needed and kept until its files change. Main thread.
 */
#pragma once

#include "hostd/plan.h"
#include "hostd/vms.h"

struct hd_plan_item {
	LIST_ENTRY(hd_plan_item) entry;
	struct hd_plans *plans;
	char name[HD_NAME_MAX + 1];	/* of the VM; "" = the mediator */
	bool ok;			/* its program has no objection */
	char **lines;			/* what that said; owned */
	size_t n_lines;
	struct hd_plan *plan;		/* NULL: not known */
	/* The module's own. */
	struct hd_run *run;
	bool due, taken;
	uint64_t stamp, taken_ns;
};

struct hd_plans;
/* NULL when out of memory. */
struct hd_plans *hd_plans_new(struct hd_env *env, struct hd_vms *vms);
struct hd_plans *hd_plans_free(struct hd_plans *p);

enum hd_plans_fresh {
	HD_PLANS_CHANGED,	/* those are asked whose file has changed … */
	HD_PLANS_ALL,		/* … or all … */
	HD_PLANS_ONE,		/* … or they, and that of the name */
};
/* @name is that of the request. */
typedef void (*hd_plans_fn)(void *ctx, const char *name);
/*
 * Calls @fn from the loop when the plans are known of the mediator and of all VMs whose class has
 * @rank (hd_order_rank()) or more: those of lower ones have no say. 0 or -ENOMEM. A program that
 * does not answer has ten seconds.
 */
int hd_plans_ask(struct hd_plans *p, enum hd_plans_fresh fresh, const char *name, unsigned rank,
		 hd_plans_fn fn, void *ctx);
/* Nothing of @ctx is called any more. */
void hd_plans_forget(struct hd_plans *p, void *ctx);
/* NULL: nothing was asked of it yet. "" is the mediator. */
const struct hd_plan_item *hd_plans_find(const struct hd_plans *p, const char *name);
