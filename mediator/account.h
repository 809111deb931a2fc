/* SPDX-License-Identifier: Apache-2.0 */
/* The books on a disk's requests: statistics, events, the flight recorder. Device's thread. */
#pragma once

#include "mediator/disk.h"

/* @r came to its share; outstanding does not count it yet. */
void account_arrival(struct med_req *r);
/* Its first slice was just given, @as_lower as work of a lower class. */
void account_given(struct med_req *r, bool as_lower);
/* It ended with @err (0 or -errno). */
void account_done(struct med_req *r, int err, uint64_t now);
