/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a child writes to stderr, as lines: cut at newlines, made harmless, the last ones kept, so
 * that a reason can quote them. One thread. At most HD_LINES_KEPT × HD_LINE_BYTES are held.
 */
#pragma once

#include "lib/qdef.h"

#define HD_LINES_KEPT 64u
#define HD_LINE_BYTES 512u	/* longer ones are cut; the NUL included */

struct hd_line {
	int prio;	/* of a "<n>" prefix, 0..7, which is taken off; -1 when there was none */
	char *text;	/* owned; no control characters, valid UTF-8 */
};

struct hd_lines {
	struct hd_line kept[HD_LINES_KEPT];
	unsigned first, n;	/* the oldest, how many */
	char *first_error;	/* the first line that says error, or NULL; owned */
	char part[HD_LINE_BYTES];
	size_t part_len;
	bool skipping;		/* the rest of a line that was too long */
};

typedef void (*hd_line_fn)(void *ctx, const struct hd_line *line);

/* Takes @len bytes; calls @fn (or NULL) for each whole line. Lines that cannot be stored for want
 * of memory are passed to nobody. */
void hd_lines_put(struct hd_lines *l, const char *bytes, size_t len, hd_line_fn fn, void *ctx);
/* What stands there without a newline is a line too. */
void hd_lines_end(struct hd_lines *l, hd_line_fn fn, void *ctx);
/* The @i-th kept line, oldest first; NULL behind the last. */
const struct hd_line *hd_lines_at(const struct hd_lines *l, unsigned i);
/* The line to quote in a reason: the first that says error, else the last; NULL when none. */
const char *hd_lines_quote(const struct hd_lines *l);
void hd_lines_reset(struct hd_lines *l);	/* also fini: frees everything */
