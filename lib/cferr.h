/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operator errors: every error of a file (or of several) in one run, each with where it stands and
 * what was expected. Refused before anything changes. One thread.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "lib/qdef.h"

enum cf_level { CF_ERROR, CF_WARNING };

struct cf_error {
	enum cf_level level;
	char *file;		/* owned; "command line" for arguments */
	unsigned line, col;	/* 1-based; 0 = the whole file */
	char *text;		/* owned; one sentence, says what was expected */
};

struct cf_errors {
	struct cf_error *v;	/* owned, in the order they were found */
	size_t n;		/* stored, both levels */
	size_t n_errors;	/* of level CF_ERROR */
	bool oom;		/* an error could not be stored: counts as an error */
};
#define CF_ERRORS_NULL ((struct cf_errors){ 0 })

void cf_errors_fini(struct cf_errors *e);

/* Adds one; control characters in the text become spaces. More than 100 of a level are not stored,
 * errors among them are still counted in n_errors. */
void cf_error_add(struct cf_errors *e, enum cf_level level, const char *file, unsigned line,
		  unsigned col, const char *fmt, ...) Q_PRINTF(6, 7);

/* True when nothing of level CF_ERROR was added. */
static inline bool cf_errors_ok(const struct cf_errors *e)
{
	return e->n_errors == 0 && !e->oom;
}

/* One line each: "file:line:col: error: text" (or "warning:"), sorted as found; what could not be
 * stored is summed in one line more. */
void cf_errors_print(const struct cf_errors *e, FILE *to);

/* The nearest of @n names to @word (at most 1 edit for up to 3 letters, 2 beyond; two neighbours
 * swapped are one edit; the first of equals), or NULL: for "did you mean". */
const char *cf_nearest(const char *word, const char *const *names, size_t n);
