/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks of a mediator as its main thread has them: MED_DISKS_MAX slots, those without a policy
 * empty. Main thread.
 */
#pragma once

#include "mediator/disk.h"

/* NULL: there is none of that name. */
struct med_disk *med_disks_find(struct med_disk *disks, const char *device);
struct med_share *med_disks_share(struct med_disk *disks, const char *share);
/* The only one; NULL: there are more, or none. */
struct med_disk *med_disks_only(struct med_disk *disks);
/* What stands in the slot behind @d, or first of all (@d NULL); NULL: no more. */
struct med_disk *med_disks_next(struct med_disk *disks, const struct med_disk *d);
