/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lays out tables. Owns its cells. Main thread. Invariant: n_cells is what cells holds; a row may
 * be unfinished only until the next one is added.
 */
#include "lib/qtable.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void qtable_init(struct qtable *t, const char *const *heads, unsigned n_columns)
{
	qassert(n_columns > 0 && n_columns <= QTABLE_COLUMNS_MAX);
	*t = (struct qtable){ .n_columns = n_columns, .heads = heads };
}

void qtable_fini(struct qtable *t)
{
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	t->cells = NULL;
	t->n_cells = 0;
}

void qtable_add(struct qtable *t, const char *fmt, ...)
{
	char **v = reallocarray(t->cells, t->n_cells + 1, sizeof(v[0]));
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (v)
		t->cells = v;
	if (!v || !text) {
		t->oom = true;
		free(text);
		return;
	}
	for (char *s = text; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
	t->cells[t->n_cells++] = text;
}

/* Columns of a terminal: characters, not bytes. */
static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static void print_cell(FILE *to, const char *text, size_t width, bool right, bool last)
{
	size_t pad = width - Q_MIN(width, width_of(text));

	if (right)
		fprintf(to, "%*s%s", (int)pad, "", text);
	else
		fprintf(to, "%s%*s", text, last ? 0 : (int)pad, "");
	fputs(last ? "\n" : "  ", to);
}

void qtable_print(const struct qtable *t, FILE *to)
{
	size_t width[QTABLE_COLUMNS_MAX], n_rows = t->n_cells / t->n_columns;

	for (unsigned c = 0; c < t->n_columns; c++) {
		width[c] = width_of(t->heads[c] + (t->heads[c][0] == '>'));
		for (size_t r = 0; r < n_rows; r++)
			width[c] = Q_MAX(width[c], width_of(t->cells[r * t->n_columns + c]));
	}
	for (unsigned c = 0; c < t->n_columns; c++)
		print_cell(to, t->heads[c] + (t->heads[c][0] == '>'), width[c],
			   t->heads[c][0] == '>', c + 1 == t->n_columns);
	for (size_t i = 0; i < n_rows * t->n_columns; i++) {
		unsigned c = (unsigned)(i % t->n_columns);

		print_cell(to, t->cells[i], width[c], t->heads[c][0] == '>',
			   c + 1 == t->n_columns);
	}
	if (t->oom)
		fputs("(out of memory: the table is not complete)\n", to);
}

const char *qtable_ns(char buf[QTABLE_UNIT_BYTES], uint64_t ns)
{
	static const struct {
		uint64_t div;
		const char *unit;
	} units[] = { { 1000000000, "s" }, { 1000000, "ms" }, { 1000, "us" } };

	if (ns == 0) {
		snprintf(buf, QTABLE_UNIT_BYTES, "-");
		return buf;
	}
	for (size_t i = 0; i < Q_ARRAY_LEN(units); i++) {
		if (ns < units[i].div)
			continue;
		double v = (double)ns / (double)units[i].div;
		int digits = v < 9.995 ? 2 : v < 99.95 ? 1 : 0;

		snprintf(buf, QTABLE_UNIT_BYTES, "%.*f %s", digits, v, units[i].unit);
		return buf;
	}
	snprintf(buf, QTABLE_UNIT_BYTES, "%" PRIu64 " ns", ns);
	return buf;
}

const char *qtable_uptime(char buf[QTABLE_UNIT_BYTES], uint64_t ms)
{
	static const struct {
		uint64_t div, part;
		const char *unit, *part_unit;
	} units[] = { { 86400, 3600, "d", "h" }, { 3600, 60, "h", "min" }, { 60, 1, "min", "s" } };
	uint64_t s = ms / 1000;

	for (size_t i = 0; i < Q_ARRAY_LEN(units); i++) {
		if (s < units[i].div)
			continue;
		snprintf(buf, QTABLE_UNIT_BYTES, "%" PRIu64 " %s %" PRIu64 " %s", s / units[i].div,
			 units[i].unit, s % units[i].div / units[i].part, units[i].part_unit);
		return buf;
	}
	snprintf(buf, QTABLE_UNIT_BYTES, "%" PRIu64 " s", s);
	return buf;
}

const char *qtable_bytes(char buf[QTABLE_UNIT_BYTES], uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double v = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		snprintf(buf, QTABLE_UNIT_BYTES, "%" PRIu64 " B", bytes);
		return buf;
	}
	for (; v >= 1024 && i + 1 < Q_ARRAY_LEN(units); i++)
		v /= 1024;
	snprintf(buf, QTABLE_UNIT_BYTES, v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[i]);
	return buf;
}
