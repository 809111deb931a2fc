/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that is asked something and ends: its standard output as a whole, its stderr as lines,
 * its exit. Main thread. It has a deadline, and gives at most so much: what it writes is ours to
 * read only when it is done.
 */
#pragma once

#include "hostd/child.h"
#include "hostd/env.h"

#define HD_RUN_LINES 200u		/* of stderr that are kept */
#define HD_RUN_OUTPUT_MAX (1u << 20)	/* bytes of output: its writes fail behind that */

struct hd_run_result {
	bool ok;		/* it ended with 0, in time */
	char **lines;		/* of stderr; with why it is not ok when it did not say itself */
	size_t n_lines;
	char *output;		/* NUL-terminated, owned by the run; NULL: none could be kept */
	size_t output_len;
};

struct hd_run;
/* The last call; @r is the run's, which frees itself behind it. */
typedef void (*hd_run_fn)(void *ctx, const struct hd_run_result *r);

/*
 * Starts @path in @cwd with @argv. @fn is called once from the loop, unless hd_run_forget(). 0 or
 * -errno.
 */
int hd_run_start(struct hd_env *env, const char *path, const char *cwd, char *const *argv,
		 hd_run_fn fn, void *ctx, struct hd_run **ret);
/* Nobody waits any more: it is killed, and frees itself when it has ended. */
void hd_run_forget(struct hd_run *r);
/* The same at the end of the loop: it is killed, and freed at once. */
struct hd_run *hd_run_free(struct hd_run *r);
