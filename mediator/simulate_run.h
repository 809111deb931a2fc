/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `mediator --simulate`: reads a simulation's file and its policy, runs each device in virtual
 * time, prints what `hostctl stats` would. Main thread, and nothing beside it.
 */
#pragma once

#include "mediator/simulate_file.h"

struct sim_options {
	const char *path;
	uint64_t time_ns;	/* instead of the file's; 0 = the file's */
	bool json;
};

/* What was simulated, for its printing. */
struct sim_world {
	const struct sim_file *file;
	uint64_t time_ns;
	struct sim *disks;	/* owned; one a device of the policy */
	unsigned *share_id;	/* owned; in its device, of each of file->shares */
};

/*
 * 0, -EINVAL: refused, and @errs says why; or -ENOMEM. What was counted goes to @to as table, or as
 * JSON.
 */
int sim_run_file(const struct sim_options *o, FILE *to, struct cf_errors *errs);

void sim_print_table(const struct sim_world *w, FILE *to);
void sim_print_json(const struct sim_world *w, FILE *to);
