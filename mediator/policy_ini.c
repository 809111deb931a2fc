/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads one policy file with inih and turns every key into its field by a table, so that a new key
 * is a row. Main thread. Invariant: a value that is not what its row expects changes nothing and
 * gives one error with file and line.
 */
#include "mediator/policy_ini.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SLOTS 32
#define DEFAULT_RESERVE 4
#define DEFAULT_SLICE_BYTES (64u << 10)
#define DEFAULT_TARGET_NS (10 * Q_NSEC_PER_MSEC)
#define DEFAULT_SERVICE_LIMIT_NS (1 * Q_NSEC_PER_MSEC)
#define DEFAULT_POLL_NS (30 * Q_NSEC_PER_USEC)
#define DEFAULT_WEIGHT 100
#define DEFAULT_DEPTH 1
#define DEFAULT_BURST_NS (5 * Q_NSEC_PER_MSEC)
#define DEFAULT_FAULT_BUDGET 16
#define DEFAULT_FAULT_WINDOW_NS (60 * Q_NSEC_PER_SEC)

enum key_kind { KEY_TEXT, KEY_U32, KEY_U64, KEY_BYTES32, KEY_BYTES, KEY_TIME, KEY_BOOL, KEY_CLASS };

struct key {
	const char *name;
	enum key_kind kind;
	size_t offset;		/* of the field */
	uint64_t min, max;	/* of the number, in the field's unit */
	const char *expected;
};

#define DEV(field) offsetof(struct med_device_policy, field)
#define SHR(field) offsetof(struct med_share_policy, field)
#define GRP(field) offsetof(struct med_group_policy, field)

/* The limits of a share, and of a group. */
#define LIMIT_OPS(name, field) { name, KEY_U64, field, 1, LIMIT_RATE_MAX, "a number, 1 or more" }
#define LIMIT_BYTES(name, field)                                                                   \
	{ name, KEY_BYTES, field, 1, LIMIT_RATE_MAX, "a size, such as 30M" }
#define LIMIT_KEYS(of)                                                                             \
	LIMIT_OPS("limit-ops", of(limits.ops[LIMIT_BOTH])),                                        \
	LIMIT_OPS("limit-read-ops", of(limits.ops[LIMIT_READ])),                                   \
	LIMIT_OPS("limit-write-ops", of(limits.ops[LIMIT_WRITE])),                                 \
	LIMIT_BYTES("limit-bytes", of(limits.bytes[LIMIT_BOTH])),                                  \
	LIMIT_BYTES("limit-read-bytes", of(limits.bytes[LIMIT_READ])),                             \
	LIMIT_BYTES("limit-write-bytes", of(limits.bytes[LIMIT_WRITE])),                           \
	{ "burst", KEY_TIME, of(limits.burst_ns), 0, 3600 * Q_NSEC_PER_SEC,                        \
	  "a time from 0s to 3600s, such as 5ms" }

static const struct key device_keys[] = {
	{ "path", KEY_TEXT, DEV(path), 0, 0, "a file or block device" },
	{ "null", KEY_BYTES, DEV(null_bytes), 4096, INT64_MAX, "a size, such as 64M" },
	{ "direct", KEY_BOOL, DEV(direct), 0, 1, "yes or no" },
	{ "slots", KEY_U32, DEV(slots), 1, 1024, "a number from 1 to 1024" },
	{ "reserve", KEY_U32, DEV(reserve), 0, 1023, "a number from 0 to slots - 1" },
	{ "slice", KEY_BYTES32, DEV(slice_bytes), 4096, 16 << 20, "a size from 4K to 16M" },
	{ "target", KEY_TIME, DEV(target_ns), 1000, 3600 * Q_NSEC_PER_SEC,
	  "a time from 1us to 1h, such as 10ms" },
	{ "service-limit", KEY_TIME, DEV(service_limit_ns), 1000, 60 * Q_NSEC_PER_SEC,
	  "a time from 1us to 60s, such as 1ms" },
	{ "flush-limit", KEY_TIME, DEV(flush_limit_ns), 1000, 600 * Q_NSEC_PER_SEC,
	  "a time from 1us to 600s, such as 5ms" },
	{ "poll", KEY_TIME, DEV(poll_ns), 0, Q_NSEC_PER_MSEC, "a time from 0us to 1ms" },
	{ NULL },
};

static const struct key share_keys[] = {
	{ "device", KEY_TEXT, SHR(device_name), 0, 0, "the name of a [device NAME] section" },
	{ "class", KEY_CLASS, SHR(class), 0, 0, "safety, normal or best-effort" },
	{ "weight", KEY_U32, SHR(weight), 1, 1000, "a number from 1 to 1000" },
	{ "depth", KEY_U32, SHR(depth), 1, 1024, "a number from 1 to 1024" },
	{ "offset", KEY_BYTES, SHR(offset_bytes), 0, INT64_MAX, "a size, such as 64M" },
	{ "length", KEY_BYTES, SHR(len_bytes), 512, INT64_MAX, "a size, such as 64M" },
	{ "read-only", KEY_BOOL, SHR(read_only), 0, 1, "yes or no" },
	{ "fault-budget", KEY_U32, SHR(fault_budget), 1, 1000000, "a number from 1 to 1000000" },
	{ "fault-window", KEY_TIME, SHR(fault_window_ns), Q_NSEC_PER_MSEC, 86400 * Q_NSEC_PER_SEC,
	  "a time from 1ms to 86400s, such as 60s" },
	{ "group", KEY_TEXT, SHR(group_name), 0, 0, "the name of a [group NAME] section" },
	LIMIT_KEYS(SHR),
	{ NULL },
};

static const struct key group_keys[] = {
	LIMIT_KEYS(GRP),
	{ NULL },
};

enum section { SECTION_NONE, SECTION_DEVICE, SECTION_SHARE, SECTION_GROUP, SECTION_BAD };

struct reader {
	struct med_policy *p;
	struct cf_errors *errs;
	FILE *f;
	const char *file;
	unsigned line;		/* last one that was read */
	enum section kind;
	uint32_t seen;		/* keys of this section, by their row */
	bool oom;
};

static void bad(struct reader *r, const char *fmt, const char *a, const char *b)
{
	char text[512];

	/* fmt is one of our literals with at most two %s. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), fmt, a, b);
#pragma GCC diagnostic pop
	cf_error_add(r->errs, CF_ERROR, r->file, r->line, 0, "%s", text);
}

static bool parse_scaled(const char *s, const char *const *units, const uint64_t *factors,
			 size_t n_units, uint64_t *ret)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	/* Not base 0: nobody means 8 by 010. */
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	uint64_t v = strtoull(s, &end, hex ? 16 : 10);
	if (errno)
		return false;
	for (size_t i = 0; i < n_units; i++)
		if (strcmp(end, units[i]) == 0)
			return !__builtin_mul_overflow(v, factors[i], ret);
	return false;
}

static bool parse_bytes(const char *s, uint64_t *ret)
{
	static const char *const units[] = { "", "K", "M", "G", "T", "k", "m", "g" };
	static const uint64_t factors[] = { 1,	      1 << 10, 1 << 20, 1 << 30,
					    1ull << 40, 1 << 10, 1 << 20, 1 << 30 };

	return parse_scaled(s, units, factors, Q_ARRAY_LEN(units), ret);
}

static bool parse_time(const char *s, uint64_t *ret)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	static const uint64_t factors[] = { 1, 1000, 1000000, 1000000000 };

	return parse_scaled(s, units, factors, Q_ARRAY_LEN(units), ret);
}

static bool parse_bool(const char *s, bool *ret)
{
	static const char *const yes[] = { "yes", "on", "true", "1" };
	static const char *const no[] = { "no", "off", "false", "0" };

	for (size_t i = 0; i < Q_ARRAY_LEN(yes); i++) {
		if (strcmp(s, yes[i]) == 0 || strcmp(s, no[i]) == 0) {
			*ret = strcmp(s, yes[i]) == 0;
			return true;
		}
	}
	return false;
}

static bool parse_class(const char *s, enum sched_class *ret)
{
	for (unsigned c = 0; c < SCHED_CLASSES; c++) {
		if (strcmp(s, sched_class_str((enum sched_class)c)) == 0) {
			*ret = (enum sched_class)c;
			return true;
		}
	}
	return false;
}

/* Number of @k from @value: false when it is none or out of range. */
static bool parse_number(const struct key *k, const char *value, uint64_t *ret)
{
	bool ok;

	if (k->kind == KEY_TIME)
		ok = parse_time(value, ret);
	else if (k->kind == KEY_BYTES || k->kind == KEY_BYTES32)
		ok = parse_bytes(value, ret);
	else
		ok = parse_scaled(value, (const char *const[]){ "" }, (const uint64_t[]){ 1 }, 1,
				  ret);
	return ok && *ret >= k->min && *ret <= k->max;
}

static bool set_field(struct reader *r, const struct key *k, void *object, const char *value)
{
	char *field = (char *)object + k->offset;
	uint64_t num;

	switch (k->kind) {
	case KEY_TEXT: {
		char *copy = *value ? strdup(value) : NULL;

		if (!copy) {
			r->oom |= *value != '\0';
			return *value != '\0';
		}
		free(*(char **)field);
		*(char **)field = copy;
		return true;
	}
	case KEY_BOOL:
		return parse_bool(value, (bool *)field);
	case KEY_CLASS:
		return parse_class(value, (enum sched_class *)field);
	case KEY_U32:
	case KEY_BYTES32:
		if (!parse_number(k, value, &num))
			return false;
		*(uint32_t *)field = (uint32_t)num;
		return true;
	case KEY_U64:
	case KEY_BYTES:
	case KEY_TIME:
		if (!parse_number(k, value, &num))
			return false;
		*(uint64_t *)field = num;
		return true;
	}
	return false;
}

static void set_key(struct reader *r, const struct key *keys, void *object, const char *name,
		    const char *value)
{
	const char *names[32];
	size_t n = 0;

	for (const struct key *k = keys; k->name; k++) {
		if (strcmp(k->name, name) == 0) {
			if (r->seen >> (k - keys) & 1)
				bad(r, "%s is set twice in this section%s", name, "");
			r->seen |= 1u << (k - keys);
			if (!set_field(r, k, object, value))
				cf_error_add(r->errs, CF_ERROR, r->file, r->line, 0,
					     "%s = %s: expected %s", name, value, k->expected);
			return;
		}
		names[n++] = k->name;
	}
	const char *near = cf_nearest(name, names, n);
	if (near)
		bad(r, "unknown key '%s'; did you mean '%s'?", name, near);
	else
		bad(r, "unknown key '%s'%s", name, "");
}

static void *grow(void *array, size_t *n, size_t elem_bytes, bool *oom)
{
	char *v = reallocarray(array, *n + 1, elem_bytes);

	if (!v) {
		*oom = true;
		return array;
	}
	memset(v + *n * elem_bytes, 0, elem_bytes);
	(*n)++;
	return v;
}

static void open_device(struct reader *r, const char *name)
{
	struct med_policy *p = r->p;
	size_t n = p->n_devices;

	p->devices = grow(p->devices, &p->n_devices, sizeof(p->devices[0]), &r->oom);
	if (p->n_devices == n)
		return;
	p->devices[n] = (struct med_device_policy){
		.name = strdup(name),
		.slots = DEFAULT_SLOTS,
		.reserve = DEFAULT_RESERVE,
		.slice_bytes = DEFAULT_SLICE_BYTES,
		.target_ns = DEFAULT_TARGET_NS,
		.service_limit_ns = DEFAULT_SERVICE_LIMIT_NS,
		.poll_ns = DEFAULT_POLL_NS,
		.file = r->file,
		.line = r->line,
	};
	r->oom |= !p->devices[n].name;
}

static void open_share(struct reader *r, const char *name)
{
	struct med_policy *p = r->p;
	size_t n = p->n_shares;

	p->shares = grow(p->shares, &p->n_shares, sizeof(p->shares[0]), &r->oom);
	if (p->n_shares == n)
		return;
	p->shares[n] = (struct med_share_policy){
		.name = strdup(name),
		.class = SCHED_NORMAL,
		.weight = DEFAULT_WEIGHT,
		.limits.burst_ns = DEFAULT_BURST_NS,
		.fault_budget = DEFAULT_FAULT_BUDGET,
		.fault_window_ns = DEFAULT_FAULT_WINDOW_NS,
		.file = r->file,
		.line = r->line,
	};
	r->oom |= !p->shares[n].name;
}

static void open_group(struct reader *r, const char *name)
{
	struct med_policy *p = r->p;
	size_t n = p->n_groups;

	p->groups = grow(p->groups, &p->n_groups, sizeof(p->groups[0]), &r->oom);
	if (p->n_groups == n)
		return;
	p->groups[n] = (struct med_group_policy){
		.name = strdup(name),
		.limits.burst_ns = DEFAULT_BURST_NS,
		.file = r->file,
		.line = r->line,
	};
	r->oom |= !p->groups[n].name;
}

static const struct {
	const char *word;
	enum section kind;
	void (*open)(struct reader *r, const char *name);
} sections[] = {
	{ "device ", SECTION_DEVICE, open_device },
	{ "share ", SECTION_SHARE, open_share },
	{ "group ", SECTION_GROUP, open_group },
};

static void open_section(struct reader *r, const char *section)
{
	r->kind = SECTION_BAD;
	r->seen = 0;
	for (size_t i = 0; i < Q_ARRAY_LEN(sections); i++) {
		size_t len = strlen(sections[i].word);

		if (strncmp(section, sections[i].word, len) == 0 && section[len]) {
			r->kind = sections[i].kind;
			sections[i].open(r, section + len);
			return;
		}
	}
	bad(r, "section [%s]: expected [device NAME], [share SYSTEM/NAME] or [group NAME]%s",
	    section, "");
}

/* inih calls this for each key, behind the line that read_line() gave it. */
static int on_key(void *ctx, const char *section, const char *name, const char *value)
{
	struct reader *r = ctx;

	if (r->oom)
		return 0;
	if (r->kind == SECTION_NONE)
		bad(r, "'%s' stands before the first [section]%s", name, "");
	else if (r->kind == SECTION_DEVICE)
		set_key(r, device_keys, &r->p->devices[r->p->n_devices - 1], name, value);
	else if (r->kind == SECTION_SHARE)
		set_key(r, share_keys, &r->p->shares[r->p->n_shares - 1], name, value);
	else if (r->kind == SECTION_GROUP)
		set_key(r, group_keys, &r->p->groups[r->p->n_groups - 1], name, value);
	return 1;
}

/* "[NAME]" of the header in @line: inih tells of a section only with its first key, and of one
 * without keys not at all. */
static void read_header(struct reader *r, char *line)
{
	char *end = strchr(line, ']');

	if (end) {
		*end = '\0';
		open_section(r, line + 1);
	} else {
		r->kind = SECTION_BAD;
		bad(r, "a section's name ends with ']'%s%s", "", "");
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
	struct reader *r = ctx;

	while (!r->oom && fgets(buf, buf_bytes, r->f)) {
		char *line = buf + strspn(buf, " \t\r\n\f\v");
		size_t len = strlen(buf);

		r->line++;
		if (r->line == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0)
			line += 3;
		if ((len == 0 || buf[len - 1] != '\n') && !feof(r->f)) {
			bad(r, "the line is too long, or holds a zero byte%s%s", "", "");
			if (len + 1 == (size_t)buf_bytes)
				skip_rest(r->f);
		} else if (*line == '[') {
			read_header(r, line);
		} else if (*line && *line != '#' && *line != ';') {
			if (strpbrk(line, "=:") && *line != '=' && *line != ':') {
				memmove(buf, line, strlen(line) + 1);
				return buf;
			}
			bad(r, "expected [section] or key = value%s%s", "", "");
		}
	}
	return NULL;
}

static const char *remember_file(struct med_policy *p, const char *path)
{
	bool oom = false;
	size_t n = p->n_files;

	p->files = grow(p->files, &p->n_files, sizeof(p->files[0]), &oom);
	if (oom)
		return NULL;
	p->files[n] = strdup(path);
	return p->files[n];
}

int med_policy_read_file(struct med_policy *p, const char *path, struct cf_errors *errs)
{
	struct reader r = { .p = p, .errs = errs, .file = remember_file(p, path) };

	if (!r.file)
		return -ENOMEM;
	r.f = fopen(path, "re");
	if (!r.f) {
		cf_error_add(errs, CF_ERROR, path, 0, 0, "cannot be read: %s", strerror(errno));
		return 0;
	}
	/* The line that it returns is the first it did not like: all of those were told already. */
	int line = ini_parse_stream(read_line, &r, on_key, &r);
	bool unread = ferror(r.f);
	(void)fclose(r.f);
	if (unread)
		cf_error_add(errs, CF_ERROR, r.file, 0, 0, "cannot be read to its end");
	return r.oom || line < 0 ? -ENOMEM : 0;
}
