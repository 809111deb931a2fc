/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMs that are frozen for a safety share's sake, as the mediator asks (docs/parley-policy.5,
 * LADDER). Main thread.
 *
 * Nothing lasts by itself: a freeze is a lease of HD_FREEZE_MS that the mediator's next word
 * renews. The VM's own process counts it too, so that its guest goes on when hostd is gone or
 * hangs.
 */
#pragma once

#include "hostd/vms.h"

#define HD_FREEZE_MS 2000u
#define HD_FROZEN_MAX 16u

struct hd_freeze {
	void (*changed)(void *ctx);	/* NULL: nobody cares */
	void *ctx;
	struct hd_vms *vms;
	struct event *ev_end;
	char names[HD_FROZEN_MAX][HD_NAME_MAX + 1];
	unsigned n;
};

/* 0 or -ENOMEM. */
int hd_freeze_init(struct hd_freeze *f, struct hd_vms *vms);
void hd_freeze_fini(struct hd_freeze *f);
/*
 * These and no others are frozen from now on, for @why; a name that is no running VM's, or is that
 * of one of class safety, is passed over.
 */
void hd_freeze_set(struct hd_freeze *f, char *const *names, size_t n, const char *why);
