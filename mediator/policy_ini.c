/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads one policy file with inih; what a key means is in policy_keys.c. Main thread. Invariant: a
 * value that is not what its key expects changes nothing and gives one error with file and line.
 */
#include "mediator/policy_ini.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/policy_keys.h"

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

static void set_key(struct reader *r, const struct policy_key *keys, void *object, const char *name,
		    const char *value)
{
	const char *names[32];
	size_t n = 0;

	for (const struct policy_key *k = keys; k->name; k++) {
		if (strcmp(k->name, name) == 0) {
			if (r->seen >> (k - keys) & 1)
				bad(r, "%s is set twice in this section%s", name, "");
			r->seen |= 1u << (k - keys);
			if (!policy_key_set(k, object, value, &r->oom))
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
		set_key(r, policy_device_keys, &r->p->devices[r->p->n_devices - 1], name, value);
	else if (r->kind == SECTION_SHARE)
		set_key(r, policy_share_keys, &r->p->shares[r->p->n_shares - 1], name, value);
	else if (r->kind == SECTION_GROUP)
		set_key(r, policy_group_keys, &r->p->groups[r->p->n_groups - 1], name, value);
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
