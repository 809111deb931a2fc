/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads an INI file of sections whose keys are rows of a table (policy_keys.h): every error of the
 * file in one run, each with its line. What sections there are is the caller's. Main thread.
 */
#pragma once

#include "lib/cferr.h"
#include "mediator/policy_keys.h"

struct ini_file {
	struct cf_errors *errs;
	const char *file;	/* borrowed: as errors tell it */
	unsigned line;		/* last one that was read */
	/*
	 * A section opens: the table of its keys, with what they set in *@ret_object; NULL: it is
	 * not taken, and that was told.
	 */
	const struct policy_key *(*open)(void *ctx, const char *section, void **ret_object);
	/*
	 * May be NULL. A key that the table has, before it is set from there. True: it was taken
	 * care of.
	 */
	bool (*take)(void *ctx, const char *name, const char *value);
	void *ctx;
	bool oom;

	/* The reader's own. */
	void *f;
	const struct policy_key *keys;
	void *object;
	uint64_t seen;		/* keys of this section, by their row */
	bool in_section;
};

/* An error at the line that was read last. */
void ini_file_error(struct ini_file *r, const char *fmt, ...) Q_PRINTF(2, 3);
/* 0, with what was wrong in errs, or -ENOMEM. */
int ini_file_read(struct ini_file *r, const char *path);
