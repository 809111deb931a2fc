/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables for people: columns as wide as they must be, times and sizes in units. Main thread.
 */
#pragma once

#include <stdio.h>

#include "lib/qdef.h"

#define QTABLE_COLUMNS_MAX 16u
#define QTABLE_UNIT_BYTES 32u

struct qtable {
	unsigned n_columns;
	const char *const *heads;	/* borrowed; one that begins with '>' is aligned right */
	char **cells;			/* owned; row after row */
	size_t n_cells;
	bool oom;
};

void qtable_init(struct qtable *t, const char *const *heads, unsigned n_columns);
void qtable_fini(struct qtable *t);
/* The next cell of the current row. Control characters become '?'. */
void qtable_add(struct qtable *t, const char *fmt, ...) Q_PRINTF(2, 3);
void qtable_print(const struct qtable *t, FILE *to);

/* "850 ns", "12.3 us", "4.56 ms", "1.2 s"; "-" for 0. Returns @buf. */
const char *qtable_ns(char buf[QTABLE_UNIT_BYTES], uint64_t ns);
/* "3 s", "5 min 2 s", "2 h 5 min", "3 d 4 h". */
const char *qtable_uptime(char buf[QTABLE_UNIT_BYTES], uint64_t ms);
/* "512 B", "4.0 KiB", … */
const char *qtable_bytes(char buf[QTABLE_UNIT_BYTES], uint64_t bytes);
