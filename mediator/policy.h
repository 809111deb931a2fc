/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy of a mediator: devices, the shares of them and their groups, from one or more INI
 * files, checked as a whole before anything changes. Main thread; read-only afterwards.
 * docs/parley-policy.5 describes the keys.
 */
#pragma once

#include "lib/cferr.h"
#include "lib/qdef.h"
#include "mediator/policy_audio.h"
#include "mediator/scheduler.h"
#include "mediator/simulate_model.h"

#define MED_DEVICES_MAX 16u
#define MED_DISKS_MAX (2 * MED_DEVICES_MAX)	/* some come while others go */
#define MED_SHARES_MAX 1024u

struct med_device_policy {
	char *name;
	/* file or block device; relative to the policy's folder when not absolute */
	char *path;
	/* instead of a path: a null device of that size, for measurements */
	uint64_t null_bytes;
	bool simulate;		/* it takes the time of its model for all it does */
	struct sim_model model;
	bool direct;		/* O_DIRECT */
	uint32_t slots, reserve;
	uint32_t slice_bytes;
	uint32_t ladder_top;	/* enum ladder_step: how far it may go */
	uint64_t target_ns, service_limit_ns;
	uint64_t tightest_ns;	/* the least target of it and its safety shares */
	uint64_t flush_limit_ns;	/* 0 in the file = as service_limit_ns */
	uint64_t pin_bytes;	/* guest memory held for direct I/O, at most; 0 = none */
	uint64_t poll_ns;	/* busy waiting for the next request before the loop sleeps */
	uint32_t poll_percent[SCHED_CLASSES];	/* of a processor, that may go by in vain */
	const char *file;	/* owned by the policy */
	unsigned line;
};

/* Limits that several shares of one device have together. */
struct med_group_policy {
	char *name;
	struct limits_cfg limits;
	uint32_t place;		/* its number in the schedulers */
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
	bool shared_writers;	/* others that say so too may write to the same bytes */
	uint64_t own_target_ns;	/* of class safety; 0 = the device's */
	uint64_t target_ns;	/* of class safety: that, or the device's */
	uint32_t slice_bytes;	/* of lower classes; 0 = the device's */
	bool freeze;		/* the last step of the ladder may freeze its VM (lower classes) */
	char *group_name;	/* as written, or NULL */
	uint32_t group;		/* 1 + its place; 0 = none */
	struct limits_cfg limits;
	bool wait_on_error;	/* what a device failed is tried again, not answered */
	uint64_t wait_limit_ns;	/* … until it is as old as that; 0 = for ever */
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
	uint32_t n_places;	/* of groups that are, and that once were */
	struct snd_policy sound;
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
struct med_extent_rules {
	uint64_t len_bytes;	/* of the device */
	uint32_t sector_bytes;	/* that it reads and writes whole; a multiple of 512 */
};

/*
 * Once the devices are known (@devices, in order): open lengths are resolved, extents beyond the
 * end or of no whole sectors refused. 0 or -EINVAL.
 */
int med_policy_resolve(struct med_policy *p, const struct med_extent_rules *devices,
		       struct cf_errors *errs);
struct med_policy *med_policy_free(struct med_policy *p);
/*
 * The promised depths of device @device must fit its slots, and its target must leave room for one
 * lower-class slice: a rule of med_policy_load(), for other shares of the same devices.
 */
void med_policy_check_promise(const struct med_policy *p, size_t device, struct cf_errors *errs);

/* The index of the device, share or group of that name; -1: there is none. */
int med_policy_device(const struct med_policy *p, const char *name);
int med_policy_share(const struct med_policy *p, const char *name);
int med_policy_group(const struct med_policy *p, const char *name);

/*
 * What an operator has set since the files were read: as if @key = @value stood last in the section
 * of @object, which is "SYSTEM/NAME", or a device's or group's name, with "device:" or "group:" in
 * front of it where both have one.
 */
struct med_override {
	char *object, *key, *value;
};
/* Like med_policy_load(), with @over on top of the files. Its errors stand at "policy set". */
int med_policy_load_over(const char *const *paths, size_t n_paths, const struct med_override *over,
			 size_t n_over, struct cf_errors *errs, struct med_policy **ret);

/* The policy that is in force, as a file would have it. */
void med_policy_print(const struct med_policy *p, FILE *to);
/*
 * What is different in @next, both resolved: a line each to @to, and an error each for what a
 * mediator that runs cannot change (what devices and shares that stay are, and where; which sound
 * devices and voices there are). Their number.
 */
unsigned med_policy_diff(const struct med_policy *now, const struct med_policy *next, FILE *to,
			 struct cf_errors *errs);
/*
 * Gives the groups of @next the places that they have in @now, behind which new ones come; a place
 * whose group is no more stays empty. 0, or -ENOSPC: no place is left.
 */
int med_policy_align(const struct med_policy *now, struct med_policy *next);

struct sched_cfg med_policy_sched(const struct med_device_policy *d);
struct sched_share_cfg med_policy_sched_share(const struct med_share_policy *s);
