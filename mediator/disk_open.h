/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens the file or block device of a disk. Main thread.
 */
#pragma once

#include "mediator/disk.h"

/*
 * Opens what the policy names into @d: descriptor, size, how data moves; with @lock, takes it for
 * ourselves (a predecessor that is just ending is waited for). 0 or -errno, with a sentence in
 * @errs.
 */
int med_disk_open(struct med_disk *d, bool lock, struct cf_errors *errs);
