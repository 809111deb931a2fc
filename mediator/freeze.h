/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last step of the ladder (ladder.h), for those who can do something about it: which VMs may be
 * frozen for it. Main thread.
 */
#pragma once

#include "mediator/policy.h"

#define FREEZE_MAX 16u
#define FREEZE_NAME_BYTES 65u	/* as policy.c allows, and a zero */

/*
 * The systems whose shares on the devices of @at_top (n_devices of @p, in order: which stand at the
 * last step) may be frozen: of a lower class, with "freeze", and none of class safety on any
 * device. Each once; their number.
 */
size_t freeze_systems(const struct med_policy *p, const bool *at_top,
		      char ret[FREEZE_MAX][FREEZE_NAME_BYTES]);
