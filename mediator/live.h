/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy of a mediator that runs: shown, checked, read again and set, without a queue drained
 * or a request dropped. Main thread.
 */
#pragma once

#include "mediator/disk.h"

struct live;
struct statpage;

/* What it needs of the mediator. */
struct live_ops {
	/* A change was handed to the disks. */
	void (*changed)(void *ctx);
	/*
	 * Listening sockets for new shares, the caller's: 0, -errno, or -EAGAIN: they are asked
	 * for, and the request that wants them is to come again when they are there.
	 */
	int (*listen)(void *ctx, const char *const *names, size_t n, int *ret_fds);
	/* These names are no shares any more: nobody is to wait at their sockets. */
	void (*unlisten)(void *ctx, const char *const *names, size_t n);
	/* As med_disk_init(), for a device that is new. */
	int (*open)(void *ctx, struct med_disk *d, const struct med_policy *p, size_t device,
		    struct qstat_device *stats, enum backend_lock lock, struct cf_errors *errs);
	void *ctx;
};

/*
 * @paths, @disks (MED_DISKS_MAX slots) and @page are borrowed; @take_policy is the policy that the
 * disks run under, taken when it succeeds. NULL when out of memory.
 */
struct live *live_new(const char *const *paths, size_t n_paths, struct med_policy *take_policy,
		      struct med_disk *disks, struct statpage *page, const struct live_ops *ops);
/* After the disks have ended. NULL. */
struct live *live_free(struct live *l);

/*
 * Each writes lines to @to. 0; -EINVAL: refused with the reasons in @errs, and nothing has changed;
 * -EBUSY: the change before is not taken yet; -EAGAIN: as of live_ops.listen, and nothing has
 * changed yet; -ENOMEM.
 */
#define LIVE_SAME "nothing changes\n"

/* A disk has taken its change (MED_EVENT_TAKEN): ends what is no more, when all have. */
void live_settle(struct live *l);
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
