/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns how a file becomes sections and keys, with inih. Main thread. Invariant: a value that is not
 * what its key expects changes nothing and gives one error with file and line.
 */
#include "mediator/ini_file.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KEYS_MAX 64u

void ini_file_error(struct ini_file *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cf_error_add(r->errs, CF_ERROR, r->file, r->line, 0, "%s", text);
}

static void set_key(struct ini_file *r, const char *name, const char *value)
{
	const char *names[KEYS_MAX];
	size_t n = 0;

	for (const struct policy_key *k = r->keys; k->name; k++) {
		if (strcmp(k->name, name) == 0) {
			if (r->seen >> (k - r->keys) & 1)
				ini_file_error(r, "%s is set twice in this section", name);
			r->seen |= 1ull << (k - r->keys);
			if (r->take && r->take(r->ctx, name, value))
				return;
			if (!policy_key_set(k, r->object, value, &r->oom))
				ini_file_error(r, "%s = %s: expected %s", name, value, k->expected);
			return;
		}
		qassert(n < KEYS_MAX);
		names[n++] = k->name;
	}
	const char *near = cf_nearest(name, names, n);
	if (near)
		ini_file_error(r, "unknown key '%s'; did you mean '%s'?", name, near);
	else
		ini_file_error(r, "unknown key '%s'", name);
}

static void open_section(struct ini_file *r, const char *section)
{
	r->in_section = true;
	r->seen = 0;
	r->keys = section ? r->open(r->ctx, section, &r->object) : NULL;
}

/* inih calls this for each key, behind the line that read_line() gave it. */
static int on_key(void *ctx, const char *section, const char *name, const char *value)
{
	struct ini_file *r = ctx;

	if (r->oom)
		return 0;
	if (!r->in_section)
		ini_file_error(r, "'%s' stands before the first [section]", name);
	else if (r->keys)
		set_key(r, name, value);
	return 1;
}

/* "[NAME]" of the header in @line: inih tells of a section only with its first key, and of one
 * without keys not at all. */
static void read_header(struct ini_file *r, char *line)
{
	char *end = strchr(line, ']');

	if (end) {
		*end = '\0';
		open_section(r, line + 1);
	} else {
		open_section(r, NULL);
		ini_file_error(r, "a section's name ends with ']'");
	}
}

/* What is left of the line that a buffer could not take. */
static void skip_rest(FILE *f)
{
	int c;

	do
		c = fgetc(f);
	while (c != EOF && c != '\n');
}

/*
 * Gives inih the next line that it can use; what it could not is told here, every one, for inih
 * tells of the first only. Lines are counted here too: its handler is not told. An indented line is
 * one like others.
 */
static char *read_line(char *buf, int buf_bytes, void *ctx)
{
	struct ini_file *r = ctx;

	while (!r->oom && fgets(buf, buf_bytes, r->f)) {
		char *line = buf + strspn(buf, " \t\r\n\f\v");
		size_t len = strlen(buf);

		r->line++;
		if (r->line == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0)
			line += 3;
		if ((len == 0 || buf[len - 1] != '\n') && !feof((FILE *)r->f)) {
			ini_file_error(r, "the line is too long, or holds a zero byte");
			if (len + 1 == (size_t)buf_bytes)
				skip_rest(r->f);
		} else if (*line == '[') {
			read_header(r, line);
		} else if (*line && *line != '#' && *line != ';') {
			if (strpbrk(line, "=:") && *line != '=' && *line != ':') {
				memmove(buf, line, strlen(line) + 1);
				return buf;
			}
			ini_file_error(r, "expected [section] or key = value");
		}
	}
	return NULL;
}

int ini_file_read(struct ini_file *r, const char *path)
{
	r->f = fopen(path, "re");
	if (!r->f) {
		cf_error_add(r->errs, CF_ERROR, path, 0, 0, "cannot be read: %s", strerror(errno));
		return 0;
	}
	/* The line that it returns is the first it did not like: all of those were told already. */
	int line = ini_parse_stream(read_line, r, on_key, r);
	bool unread = ferror((FILE *)r->f);
	(void)fclose(r->f);
	r->f = NULL;
	if (unread)
		cf_error_add(r->errs, CF_ERROR, r->file, 0, 0, "cannot be read to its end");
	return r->oom || line < 0 ? -ENOMEM : 0;
}
