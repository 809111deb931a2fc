/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy of a mediator that runs: shown, checked, read again and set, without a queue drained
 * or a request dropped. Main thread.
 */
#pragma once

#include "mediator/disk.h"

struct live;

/*
 * @paths and @disks are borrowed; @take_policy is the policy that the disks run under, taken when
 * it succeeds. @changed(@ctx) is called when a change was handed to the disks. NULL when out of
 * memory.
 */
struct live *live_new(const char *const *paths, size_t n_paths, struct med_policy *take_policy,
		      struct med_disk *disks, void (*changed)(void *ctx), void *ctx);
/* After the disks have ended. NULL. */
struct live *live_free(struct live *l);

/*
 * Each writes lines to @to. 0; -EINVAL: refused with the reasons in @errs, and nothing has changed;
 * -EBUSY: the change before is not taken yet; -ENOMEM.
 */

/* The policy in force; borrowed until the next change. */
const struct med_policy *live_policy(const struct live *l);
/* The same as a file; what was set is said in comments. */
int live_show(const struct live *l, FILE *to);
/* What reload would change. */
int live_check(struct live *l, FILE *to, struct cf_errors *errs);
/* The files as they are now; what was set is forgotten. */
int live_reload(struct live *l, FILE *to, struct cf_errors *errs);
/* @settings are "key=value", for @object (policy.h). */
int live_set(struct live *l, const char *object, char *const *settings, size_t n, FILE *to,
	     struct cf_errors *errs);
