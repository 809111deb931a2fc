/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches over the targets of a disk's safety shares: which of their promised requests are out,
 * what the ladder (ladder.h) makes of those that ended and of those that wait, and what a step
 * does. Device's thread.
 */
#pragma once

#include "lib/qdef.h"

struct med_disk;
struct med_req;

/* @r came, and was found to be in its share's depth or not. */
void guard_arrival(struct med_req *r);
/* @r is over, and is to be answered. */
void guard_done(struct med_req *r, uint64_t now_ns);
/* @r is not to be done any more: its client has it again. */
void guard_drop(struct med_req *r);
/* Once a round: requests that wait, and the way back. */
void guard_run(struct med_disk *d, uint64_t now_ns);
/* When guard_run() is to be called at the latest; 0 = never. */
uint64_t guard_due_ns(struct med_disk *d, uint64_t now_ns);
