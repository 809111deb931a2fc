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
/*
 * A record for one that comes while the mediator runs: its index, or -errno: -ENOSPC when there is
 * no room. Main thread; @device is the index of the device's record.
 */
int statpage_take_device(struct statpage *s, const struct med_device_policy *p);
int statpage_take_share(struct statpage *s, const struct med_share_policy *p, unsigned device);
/* The index of a device's record. */
unsigned statpage_index(const struct statpage *s, const struct qstat_device *d);
/* It is nobody's again, and starts anew. The thread that wrote to it, or after that. */
void statpage_clear_device(struct qstat_device *to);
void statpage_clear_share(struct qstat_share *to);
