/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operator errors: a growing list, its printing, and the nearest name for "did you mean".
 *
 * Owns the entries and their strings. One thread, at start or while a file is checked. Invariants:
 * v[0..n) are whole (both strings are there); an error is counted in n_errors whether or not it
 * could be stored, so a file that is wrong in any number of ways, or in too little memory, is never
 * taken for a right one. Each entry prints as one line, whatever bytes the operator's file held.
 */
#include "lib/cferr.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define STORED_MAX 100	/* of each level: a page of warnings does not hide an error */
#define WORD_MAX 64	/* letters; what is longer resembles nothing */

void cf_errors_fini(struct cf_errors *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->v[i].file);
		free(e->v[i].text);
	}
	free(e->v);
	*e = CF_ERRORS_NULL;
}

static size_t count_level(const struct cf_errors *e, enum cf_level level)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n; i++)
		n += e->v[i].level == level;
	return n;
}

static void one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = ' ';
}

/* Makes room for one more: doubles at the counts that are powers of two. */
static bool grow(struct cf_errors *e)
{
	if (e->n & (e->n - 1))
		return true;
	struct cf_error *v = realloc(e->v, (e->n ? e->n * 2 : 1) * sizeof(*v));

	if (v)
		e->v = v;
	return v;
}

void cf_error_add(struct cf_errors *e, enum cf_level level, const char *file, unsigned line,
		  unsigned col, const char *fmt, ...)
{
	struct cf_error err = { .level = level, .line = line, .col = col };
	va_list ap;

	e->n_errors += level == CF_ERROR;
	if (count_level(e, level) >= STORED_MAX)
		return;
	va_start(ap, fmt);
	if (vasprintf(&err.text, fmt, ap) < 0)
		err.text = NULL;	/* its value is undefined then */
	va_end(ap);
	err.file = strdup(file);
	if (!err.text || !err.file || !grow(e)) {
		free(err.text);
		free(err.file);
		e->oom = true;
		return;
	}
	one_line(err.text);
	e->v[e->n++] = err;
}

static void print_one(const struct cf_error *err, FILE *to)
{
	fputs(err->file, to);
	if (err->line)
		fprintf(to, ":%u", err->line);
	if (err->line && err->col)
		fprintf(to, ":%u", err->col);
	fprintf(to, ": %s: %s\n", err->level == CF_ERROR ? "error" : "warning", err->text);
}

void cf_errors_print(const struct cf_errors *e, FILE *to)
{
	size_t stored = count_level(e, CF_ERROR);

	for (size_t i = 0; i < e->n; i++)
		print_one(&e->v[i], to);
	if (e->oom)
		fputs("error: out of memory: not every error could be kept\n", to);
	else if (e->n_errors > stored)
		fprintf(to, "error: %zu more errors are not shown\n", e->n_errors - stored);
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	return Q_MIN(a, Q_MIN(b, c));
}

/* Edits that make @a of @b: a letter put in, left out, changed, or two neighbours swapped. Both are
 * at most WORD_MAX letters. */
static unsigned edits(const char *a, size_t a_len, const char *b, size_t b_len)
{
	/* Rows of the usual table: i - 2, i - 1 and i, taken in turn. */
	unsigned row[3][WORD_MAX + 1] = { { 0 } };

	for (size_t j = 0; j <= b_len; j++)
		row[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *cur = row[i % 3];
		const unsigned *up = row[(i - 1) % 3], *up2 = row[(i + 1) % 3];

		cur[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			cur[j] = min3(up[j] + 1, cur[j - 1] + 1,
				      up[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				cur[j] = Q_MIN(cur[j], up2[j - 2] + 1);
		}
	}
	return row[a_len % 3][b_len];
}

const char *cf_nearest(const char *word, const char *const *names, size_t n)
{
	size_t len = strlen(word);
	unsigned best = len <= 3 ? 2 : 3;	/* one more than what is near */
	const char *ret = NULL;

	if (len > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t name_len = strlen(names[i]);

		if (name_len > WORD_MAX)
			continue;
		unsigned d = edits(word, len, names[i], name_len);
		if (d < best) {
			best = d;
			ret = names[i];
		}
	}
	return ret;
}
