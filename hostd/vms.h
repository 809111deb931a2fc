/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All VMs: those with a NAME.qvmconf in CONFIG/vms, and those that still run though theirs was
 * removed. Main thread.
 */
#pragma once

#include "hostd/vm.h"

#define HD_VMS_MAX 256u

struct hd_vms {
	struct hd_env *env;
	const struct hd_vm_ops *ops;
	void *ctx;
	LIST_HEAD(, hd_vm) list;	/* sorted by name */
	unsigned n;
};

void hd_vms_init(struct hd_vms *s, struct hd_env *env, const struct hd_vm_ops *ops, void *ctx);
void hd_vms_fini(struct hd_vms *s);
/* Looks into CONFIG/vms again: new VMs come, VMs that are off and have no file any more go; each
 * that is not alive has its NAME.vm read again. @changed is a VM's last pointer: none may be kept
 * over this call. 0 or -errno. */
int hd_vms_scan(struct hd_vms *s);
/* Takes over what an earlier hostd has started. */
void hd_vms_adopt(struct hd_vms *s);
struct hd_vm *hd_vms_find(struct hd_vms *s, const char *name);
void hd_vms_kick(struct hd_vms *s);
/* Queues those that are off and are to be started with the host. */
void hd_vms_autostart(struct hd_vms *s);
/* Stops (or, @force, cuts) all VMs of the least important class that has any alive. Number of VMs
 * that are alive, of any class. */
unsigned hd_vms_stop_some(struct hd_vms *s, bool force);
