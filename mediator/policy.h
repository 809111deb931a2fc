/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy of a mediator: devices, the shares of them and their groups, from one or more INI
 * files, checked as a whole before anything changes. Main thread; read-only afterwards.
 * docs/parley-policy.5 describes the keys.
 */
#pragma once

#include "lib/cferr.h"
#include "lib/qdef.h"
#include "mediator/scheduler.h"

#define MED_DEVICES_MAX 16u

struct med_device_policy {
	char *name;
	/* file or block device; relative to the policy's folder when not absolute */
	char *path;
	/* instead of a path: a null device of that size, for measurements */
	uint64_t null_bytes;
	bool direct;		/* O_DIRECT */
	uint32_t slots, reserve;
	uint32_t slice_bytes;
	uint64_t target_ns, service_limit_ns;
	uint64_t flush_limit_ns;	/* 0 in the file = as service_limit_ns */
	uint64_t poll_ns;	/* busy waiting for the next request before the loop sleeps */
	const char *file;	/* owned by the policy */
	unsigned line;
};

/* Limits that several shares of one device have together. */
struct med_group_policy {
	char *name;
	struct limits_cfg limits;
	const char *file;
	unsigned line;
};

struct med_share_policy {
	char *name;		/* "SYSTEM/NAME" */
	unsigned device;	/* index */
	char *device_name;	/* as written */
	enum sched_class class;
	uint32_t weight;
	uint32_t depth;		/* promised depth, safety only */
	uint64_t offset_bytes;
	uint64_t len_bytes;	/* 0 until resolved: the rest of the device */
	bool read_only;
	char *group_name;	/* as written, or NULL */
	uint32_t group;		/* 1 + its index; 0 = none */
	struct limits_cfg limits;
	uint32_t fault_budget;	/* protocol faults in a window until the share is quarantined */
	uint64_t fault_window_ns;	/* how long faults are remembered, and a quarantine lasts */
	const char *file;
	unsigned line;
};

struct med_policy {
	struct med_device_policy *devices;
	size_t n_devices;
	struct med_share_policy *shares;
	size_t n_shares;
	struct med_group_policy *groups;
	size_t n_groups;
	char **files;		/* paths as given */
	size_t n_files;
};

/*
 * Reads @n_paths files, or folders (their *.policy files in order of name). All errors of all files
 * go to @errs. 0, -EINVAL (see @errs) or
 * -ENOMEM. *ret is written on success only.
 */
int med_policy_load(const char *const *paths, size_t n_paths, struct cf_errors *errs,
		    struct med_policy **ret);
/*
 * Once the devices' sizes are known (@dev_bytes, in order): open lengths are resolved, extents
 * beyond the end refused. 0 or -EINVAL.
 */
int med_policy_resolve(struct med_policy *p, const uint64_t *dev_bytes, struct cf_errors *errs);
struct med_policy *med_policy_free(struct med_policy *p);

struct sched_cfg med_policy_sched(const struct med_device_policy *d);
