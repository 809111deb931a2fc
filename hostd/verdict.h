/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the whole-system check says of the VMs as they are now: plans (hostd/plans.h), classes and
 * states, put before the rules (hostd/whole.h). Main thread.
 */
#pragma once

#include "hostd/plans.h"
#include "hostd/whole.h"

struct hd_verdicts {
	struct hd_whole_vm *v;	/* a VM each, in order of the list; owned */
	size_t n;
};

/* Judges all VMs over the plans that are known. 0 or -ENOMEM. */
int hd_verdicts_make(struct hd_verdicts *ret, const struct hd_vms *vms,
		     const struct hd_plans *plans);
void hd_verdicts_fini(struct hd_verdicts *v);
/* What stands against (or, @level CF_WARNING, is said of) the VM of that name, as lines; *ret is
 * NULL when nothing is, and the caller's. 0 or -ENOMEM. */
int hd_verdict_text(const struct hd_verdicts *v, const char *name, enum cf_level level,
		    char **ret);
