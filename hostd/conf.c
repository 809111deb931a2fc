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
#define DEFAULT_QVM_HANG_NS (30 * Q_NSEC_PER_SEC)
#define DEFAULT_MEDIATOR_HANG_NS (10 * Q_NSEC_PER_SEC)
#define DEFAULT_RESTART_NS Q_NSEC_PER_SEC
#define DEFAULT_RESTARTS 5
#define DEFAULT_WINDOW_NS (60 * Q_NSEC_PER_SEC)
#define DEFAULT_EVENTS 8192
#define COUNT_MAX 65536u
#define TIMEOUT_MIN_NS (10 * Q_NSEC_PER_MSEC)
#define TIMEOUT_MAX_NS (3600 * Q_NSEC_PER_SEC)
#define KEYS_MAX 32u

enum key_kind {
	KEY_TIME,
	KEY_TIME_OFF,
	KEY_WATCHDOG,
	KEY_CLASS,
	KEY_WORD,
	KEY_COUNT,
	KEY_BOOL,
	KEY_RESTART,
	KEY_RATE,
	KEY_NAMES,
	KEY_VARIABLE,	/* each such line adds one */
	KEY_LATER,
};

struct key {
	const char *name;
	enum key_kind kind;
	size_t offset;		/* of the field */
	const char *expected;
};

#define EXPECT_TIME "a time from 10ms to 1h, such as 10s"
#define EXPECT_TIME_OFF EXPECT_TIME ", or off"
#define HOST(field) offsetof(struct hd_conf, field)
#define VM(field) offsetof(struct hd_vm_conf, field)

static const struct key host_keys[] = {
	{ "start-timeout", KEY_TIME, HOST(start_timeout_ns), EXPECT_TIME },
	{ "stop-timeout", KEY_TIME, HOST(stop_timeout_ns), EXPECT_TIME },
	{ "cut-timeout", KEY_TIME, HOST(cut_timeout_ns), EXPECT_TIME },
	{ "qvm-hang-timeout", KEY_TIME_OFF, HOST(qvm_hang_ns), EXPECT_TIME_OFF },
	{ "mediator-hang-timeout", KEY_TIME_OFF, HOST(mediator_hang_ns), EXPECT_TIME_OFF },
	{ "group", KEY_WORD, HOST(group), "the name of a group of at most 63 letters" },
	{ "events-kept", KEY_COUNT, HOST(events_kept), "a number from 0 to 65536" },
	{ "inject", KEY_BOOL, HOST(inject), "yes or no" },
	{ NULL },
};

/* KEY_LATER: words that are spoken for. Who writes one shall not believe that it does something. */
static const struct key vm_keys[] = {
	{ "class", KEY_CLASS, VM(class), "safety, normal or best-effort" },
	{ "stop-timeout", KEY_TIME, VM(stop_timeout_ns), EXPECT_TIME },
	{ "autostart", KEY_BOOL, VM(autostart), "yes or no" },
	{ "after", KEY_NAMES, 0, "names of at most 8 VMs, with commas between them" },
	{ "restart", KEY_RESTART, VM(restart.when), "no, on-failure or always" },
	{ "restart-delay", KEY_TIME, VM(restart.delay_ns), EXPECT_TIME },
	{ "restart-limit", KEY_RATE, VM(restart), "N/TIME, N from 1 to 32, such as 5/1min" },
	{ "environment", KEY_VARIABLE, 0,
	  "NAME=value of at most 159 letters, and at most 16 of them" },
	{ "watchdog", KEY_WATCHDOG, VM(watchdog), "failure, restart, stop or nothing" },
	{ "cpu-limit", KEY_LATER },
	{ "memory-limit", KEY_LATER },
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

static bool parse_bool(const char *s, bool *ret)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on" };

	for (size_t i = 0; i < Q_ARRAY_LEN(words); i++) {
		if (strcmp(s, words[i]) != 0)
			continue;
		*ret = i % 2;
		return true;
	}
	return false;
}

static bool parse_restart(const char *s, enum hd_restart *ret)
{
	for (int i = 0; i < HD_RESTARTS; i++) {
		if (strcmp(s, hd_restart_str((enum hd_restart)i)) != 0)
			continue;
		*ret = (enum hd_restart)i;
		return true;
	}
	return false;
}

static bool parse_watchdog(const char *s, enum hd_watchdog *ret)
{
	for (int i = 0; i < HD_WATCHDOGS; i++) {
		if (strcmp(s, hd_watchdog_str((enum hd_watchdog)i)) != 0)
			continue;
		*ret = (enum hd_watchdog)i;
		return true;
	}
	return false;
}

static bool parse_rate(const char *s, struct hd_restart_conf *ret)
{
	uint64_t window_ns;
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	unsigned long n = strtoul(s, &end, 10);
	if (*end != '/' || n < 1 || n > HD_RESTARTS_MAX || !parse_time(end + 1, &window_ns))
		return false;
	ret->limit = (uint32_t)n;
	ret->window_ns = window_ns;
	return true;
}

static bool parse_names(const char *s, struct hd_vm_conf *c)
{
	unsigned n = 0;

	for (; *s; s += strspn(s, ", \t")) {
		size_t len = strcspn(s, ", \t");

		if (n == HD_AFTER_MAX || len > HD_NAME_MAX)
			return false;
		snprintf(c->after[n].name, sizeof(c->after[n].name), "%.*s", (int)len, s);
		if (!hd_name_ok(c->after[n++].name))
			return false;
		s += len;
	}
	c->n_after = n;
	return n > 0;
}

static bool parse_variable(const char *s, struct hd_vm_conf *c)
{
	size_t name = strcspn(s, "=");

	if (c->n_environment == HD_ENVIRONMENT_MAX || s[name] != '=' || name == 0 ||
	    strlen(s) > HD_VARIABLE_MAX || isdigit((unsigned char)*s))
		return false;
	for (size_t i = 0; i < name; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '_')
			return false;
	snprintf(c->environment[c->n_environment++].text, sizeof(c->environment[0].text), "%s", s);
	return true;
}

static bool parse_count(const char *s, uint32_t *ret)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (!isdigit((unsigned char)*s) || *end || n > COUNT_MAX)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static bool set_field(const struct key *k, void *object, const char *value)
{
	char *field = (char *)object + k->offset;
	uint64_t ns;

	switch (k->kind) {
	case KEY_TIME:
	case KEY_TIME_OFF:
		ns = 0;
		if (!(k->kind == KEY_TIME_OFF && strcmp(value, "off") == 0) &&
		    !parse_time(value, &ns))
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
	case KEY_COUNT:
		return parse_count(value, (uint32_t *)field);
	case KEY_BOOL:
		return parse_bool(value, (bool *)field);
	case KEY_WATCHDOG:
		return parse_watchdog(value, (enum hd_watchdog *)field);
	case KEY_RESTART:
		return parse_restart(value, (enum hd_restart *)field);
	case KEY_RATE:
		return parse_rate(value, (struct hd_restart_conf *)field);
	case KEY_NAMES:
		return parse_names(value, object);
	case KEY_VARIABLE:
		return parse_variable(value, object);
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
	else if (k->kind == KEY_NAMES)
		((struct hd_vm_conf *)r->object)->after_line = r->line;
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
		.qvm_hang_ns = DEFAULT_QVM_HANG_NS,
		.mediator_hang_ns = DEFAULT_MEDIATOR_HANG_NS,
		.events_kept = DEFAULT_EVENTS,
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
		.restart = { HD_RESTART_NO, DEFAULT_RESTART_NS, DEFAULT_RESTARTS,
			     DEFAULT_WINDOW_NS },
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
