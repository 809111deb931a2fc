/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mediator's state page (lib/qstat.h): a record a device and a share of the policy, in its
 * order. Their threads write them; hostd keeps a descriptor of it, and can tell what they say when
 * nobody here answers.
 */
#pragma once

#include "lib/qstat.h"
#include "mediator/policy.h"

struct statpage {
	struct qstat_page page;
	struct qstat_view view;		/* of the same, as hostd has it */
};
#define STATPAGE_NULL ((struct statpage){ .page = QSTAT_PAGE_NULL })

/* Main thread. 0 or -errno. */
int statpage_init(struct statpage *s, const struct med_policy *p);
void statpage_fini(struct statpage *s);
/* What does not change of a record as long as the policy stands. Main thread before the device's
 * thread runs, then that. */
void statpage_set_device(struct qstat_device *to, const struct med_device_policy *p);
void statpage_set_share(struct qstat_share *to, const struct med_share_policy *p);
