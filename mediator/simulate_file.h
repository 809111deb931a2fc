/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The description of a simulation (docs/parley-simulate.5): which policy, what the devices need for
 * their work, what the guests ask for. Read and checked as a whole, with its policy. Main thread.
 */
#pragma once

#include "lib/cferr.h"
#include "mediator/policy.h"
#include "mediator/simulate.h"

#define SIM_SHARES_MAX 10000u	/* in all */

enum sim_pattern { SIM_CLOSED, SIM_OPEN };

struct sim_file_device {
	char *name;
	uint64_t size_bytes;	/* 0 = as large as the shares need */
	struct sim_model model;
	unsigned line;
};

struct sim_file_load {
	char *share;		/* as written */
	int policy_share;	/* its index, -1 until it is found */
	enum sim_pattern pattern;
	uint32_t poisson;	/* arrivals */
	uint32_t rate;		/* arrivals a second; 0 = not written */
	uint32_t depth;		/* 0 = not written */
	char *size;		/* as written, or NULL */
	uint64_t discard_bytes;
	uint32_t count;
	struct sim_load load;
	unsigned line;
};

struct sim_file {
	char *path;
	char *policy_path;	/* anchored at the folder of the file */
	unsigned policy_line;	/* of [simulation] */
	uint64_t seed, time_ns, warm_up_ns;
	struct sim_file_device *devices;
	size_t n_devices;
	struct sim_file_load *loads;
	size_t n_loads;
	/* The policy, resolved, as if each load of several were as many shares: owned apart. */
	struct med_policy *policy;
	struct med_share_policy *shares;
	/* The load of each, or -1. */
	int *share_load;
	size_t n_shares;
};

/* 0, -EINVAL (see @errs, which tells all that is wrong in both files) or -ENOMEM. */
int sim_file_load(const char *path, struct cf_errors *errs, struct sim_file **ret);
struct sim_file *sim_file_free(struct sim_file *f);	/* NULL is fine; returns NULL */

/* What device @i of the policy is like. */
const struct sim_model *sim_file_model(const struct sim_file *f, size_t device);
/* "4K", "4K-64K", "4K:70 64K-1M:30": the sizes of a load. False: it is not that. */
bool sim_file_parse_sizes(const char *text, struct sim_load *ret);

/* For sim_file_load(): the file itself, and what needs the policy too. */
int sim_file_read(struct sim_file *f, struct cf_errors *errs);
int sim_file_join(struct sim_file *f, struct cf_errors *errs);
