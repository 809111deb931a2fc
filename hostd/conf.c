/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads hostd.conf and NAME.vm with inih and turns every key into its field by a table, so that a
 * new key is a row. Main thread. Invariant: a value that is not what its row expects changes
 * nothing and gives one error with file and line.
 */
#include "hostd/conf.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/qp_chan.h"

#define DEFAULT_START_NS (10 * Q_NSEC_PER_SEC)
#define DEFAULT_STOP_NS (10 * Q_NSEC_PER_SEC)
#define DEFAULT_CUT_NS (2 * Q_NSEC_PER_SEC)
#define TIMEOUT_MIN_NS (10 * Q_NSEC_PER_MSEC)
#define TIMEOUT_MAX_NS (3600 * Q_NSEC_PER_SEC)
#define KEYS_MAX 32u

enum key_kind { KEY_TIME, KEY_CLASS, KEY_WORD, KEY_LATER };

struct key {
	const char *name;
	enum key_kind kind;
	size_t offset;		/* of the field */
	const char *expected;
};

#define EXPECT_TIME "a time from 10ms to 1h, such as 10s"
#define HOST(field) offsetof(struct hd_conf, field)
#define VM(field) offsetof(struct hd_vm_conf, field)

static const struct key host_keys[] = {
	{ "start-timeout", KEY_TIME, HOST(start_timeout_ns), EXPECT_TIME },
	{ "stop-timeout", KEY_TIME, HOST(stop_timeout_ns), EXPECT_TIME },
	{ "cut-timeout", KEY_TIME, HOST(cut_timeout_ns), EXPECT_TIME },
	{ "group", KEY_WORD, HOST(group), "the name of a group of at most 63 letters" },
	{ NULL },
};

/* KEY_LATER: words that are spoken for. Who writes one shall not believe that it does something. */
static const struct key vm_keys[] = {
	{ "class", KEY_CLASS, VM(class), "safety, normal or best-effort" },
	{ "stop-timeout", KEY_TIME, VM(stop_timeout_ns), EXPECT_TIME },
	{ "autostart", KEY_LATER },
	{ "after", KEY_LATER },
	{ "restart", KEY_LATER },
	{ "restart-delay", KEY_LATER },
	{ "restart-limit", KEY_LATER },
	{ "watchdog", KEY_LATER },
	{ "cpu-limit", KEY_LATER },
	{ "memory-limit", KEY_LATER },
	{ "environment", KEY_LATER },
	{ "user", KEY_LATER },
	{ NULL },
};

struct reader {
	const struct key *keys;
	const char *section;	/* the only one; keys may also stand above it */
	void *object;
	struct cf_errors *errs;
	FILE *f;
	const char *file;
	unsigned line;		/* last one that inih was given */
	char bad_section[64];	/* told already */
};

static bool parse_time(const char *s, uint64_t *ret)
{
	static const char *const units[] = { "ms", "s", "min", "h" };
	static const uint64_t factors[] = { Q_NSEC_PER_MSEC, Q_NSEC_PER_SEC, 60 * Q_NSEC_PER_SEC,
					    3600 * Q_NSEC_PER_SEC };
	char *end;
	uint64_t ns;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	uint64_t v = strtoull(s, &end, 10);
	if (errno)
		return false;
	for (size_t i = 0; i < Q_ARRAY_LEN(units); i++) {
		if (strcmp(end, units[i]) != 0 || __builtin_mul_overflow(v, factors[i], &ns))
			continue;
		*ret = ns;
		return ns >= TIMEOUT_MIN_NS && ns <= TIMEOUT_MAX_NS;
	}
	return false;
}

static bool set_field(const struct key *k, void *object, const char *value)
{
	char *field = (char *)object + k->offset;
	uint64_t ns;

	switch (k->kind) {
	case KEY_TIME:
		if (!parse_time(value, &ns))
			return false;
		*(uint64_t *)field = ns;
		return true;
	case KEY_CLASS:
		return qp_class_parse(value, (Parley__Class *)field) == 0;
	case KEY_WORD:
		if (strlen(value) >= sizeof(((struct hd_conf *)0)->group))
			return false;
		snprintf(field, sizeof(((struct hd_conf *)0)->group), "%s", value);
		return true;
	case KEY_LATER:
		break;
	}
	return false;
}

static void unknown_key(struct reader *r, const char *name)
{
	const char *names[KEYS_MAX];
	size_t n = 0;

	for (const struct key *k = r->keys; k->name && n < KEYS_MAX; k++)
		names[n++] = k->name;
	const char *near = cf_nearest(name, names, n);
	if (near)
		cf_error_add(r->errs, CF_ERROR, r->file, r->line, 0,
			     "unknown key '%.64s'; did you mean '%s'?", name, near);
	else
		cf_error_add(r->errs, CF_ERROR, r->file, r->line, 0, "unknown key '%.64s'", name);
}

static void set_key(struct reader *r, const char *name, const char *value)
{
	const struct key *k = r->keys;

	while (k->name && strcmp(k->name, name) != 0)
		k++;
	if (!k->name)
		unknown_key(r, name);
	else if (k->kind == KEY_LATER)
		cf_error_add(r->errs, CF_ERROR, r->file, r->line, 0,
			     "'%s' is not supported by this version: remove the line", name);
	else if (!set_field(k, r->object, value))
		cf_error_add(r->errs, CF_ERROR, r->file, r->line, 0, "%s = %.64s: expected %s",
			     name, value, k->expected);
}

/* inih calls this for each key; with a NULL name at the start of a section where it is built so. */
static int on_key(void *ctx, const char *section, const char *name, const char *value)
{
	struct reader *r = ctx;

	if (*section && strcmp(section, r->section) != 0) {
		if (strncmp(r->bad_section, section, sizeof(r->bad_section) - 1) != 0)
			cf_error_add(r->errs, CF_ERROR, r->file, r->line, 0,
				     "section [%.64s]: expected [%s]", section, r->section);
		snprintf(r->bad_section, sizeof(r->bad_section), "%s", section);
		return 1;
	}
	if (name)
		set_key(r, name, value ? value : "");
	return 1;
}

/* Lines are counted here, because inih does not tell its handler where it stands. */
static char *read_line(char *buf, int buf_bytes, void *ctx)
{
	struct reader *r = ctx;
	char *line = fgets(buf, buf_bytes, r->f);

	r->line += line != NULL;
	return line;
}

static int read_file(struct reader *r)
{
	size_t before = r->errs->n_errors;

	r->f = fopen(r->file, "re");
	if (!r->f && errno == ENOENT)
		return 0;
	if (!r->f) {
		cf_error_add(r->errs, CF_ERROR, r->file, 0, 0, "cannot be read: %s",
			     strerror(errno));
		return -EINVAL;
	}
	int line = ini_parse_stream(read_line, r, on_key, r);
	(void)fclose(r->f);
	if (line < 0 || r->errs->oom)
		return -ENOMEM;
	if (line > 0)
		cf_error_add(r->errs, CF_ERROR, r->file, (unsigned)line, 0,
			     "expected [%s] or key = value", r->section);
	return r->errs->n_errors > before ? -EINVAL : 0;
}

int hd_conf_load(const char *path, struct cf_errors *errs, struct hd_conf *ret)
{
	struct hd_conf c = {
		.start_timeout_ns = DEFAULT_START_NS,
		.stop_timeout_ns = DEFAULT_STOP_NS,
		.cut_timeout_ns = DEFAULT_CUT_NS,
		.group = "parley",
	};
	struct reader r = {
		.keys = host_keys, .section = "hostd", .object = &c, .errs = errs, .file = path,
	};
	int rc = read_file(&r);

	if (rc == 0)
		*ret = c;
	return rc;
}

int hd_vm_conf_load(const char *path, const struct hd_conf *host, struct cf_errors *errs,
		    struct hd_vm_conf *ret)
{
	struct hd_vm_conf c = {
		.class = PARLEY__CLASS__CLASS_NORMAL,
		.stop_timeout_ns = host->stop_timeout_ns,
	};
	struct reader r = {
		.keys = vm_keys, .section = "vm", .object = &c, .errs = errs, .file = path,
	};
	int rc = read_file(&r);

	if (rc == 0)
		*ret = c;
	return rc;
}

bool hd_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > HD_NAME_MAX || name[0] == '.' || name[0] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}
