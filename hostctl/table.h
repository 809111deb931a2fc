/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables for people: columns as wide as they must be, times and sizes in units. Main thread.
 */
#pragma once

#include <stdio.h>

#include "lib/qdef.h"

#define HC_COLUMNS_MAX 16u
#define HC_UNIT_BYTES 32u

struct hc_table {
	unsigned n_columns;
	const char *const *heads;	/* borrowed; one that begins with '>' is aligned right */
	char **cells;			/* owned; row after row */
	size_t n_cells;
	bool oom;
};

void hc_table_init(struct hc_table *t, const char *const *heads, unsigned n_columns);
void hc_table_fini(struct hc_table *t);
/* The next cell of the current row. Control characters become '?'. */
void hc_table_add(struct hc_table *t, const char *fmt, ...) Q_PRINTF(2, 3);
void hc_table_print(const struct hc_table *t, FILE *to);

/* "850 ns", "12.3 us", "4.56 ms", "1.2 s"; "-" for 0. Returns @buf. */
const char *hc_ns(char buf[HC_UNIT_BYTES], uint64_t ns);
/* "3 s", "5 min 2 s", "2 h 5 min", "3 d 4 h". */
const char *hc_uptime(char buf[HC_UNIT_BYTES], uint64_t ms);
/* "512 B", "4.0 KiB", … */
const char *hc_bytes(char buf[HC_UNIT_BYTES], uint64_t bytes);
