/* SPDX-License-Identifier: Apache-2.0 */
/* What the mediator was told when it was started. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/qjail.h"

enum { EXIT_OK = 0, EXIT_USAGE = 2, EXIT_START = 64, EXIT_POLICY = 65 };

struct options {
	const char *run_dir;
	int control_fd;
	int keep_fd;		/* where a later supervisor asks to take over; -1: nowhere */
	bool check_only;
	bool plan;		/* of a check: the policy is printed, and nothing else */
	enum qjail_mode sandbox;
	bool inject;		/* things may be made to fail */
	const char *simulate;	/* a file that describes a simulation, or NULL */
	uint64_t simulate_ns;	/* 0 = as it says there */
	bool json;
	const char *const *paths;
	size_t n_paths;
};

/* 0 to go on, else the exit code + 1; then it was said why. */
int parse_options(int argc, char **argv, struct options *o);
