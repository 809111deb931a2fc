/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of fault injection as tables: kinds, operations, settings. No state. Invariant: a rule that
 * was parsed ends by itself, and hits at least one operation or connection.
 */
#include "mediator/inject_rule.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cferr.h"

#define FOR_DEFAULT_NS (10 * Q_NSEC_PER_SEC)
#define DELAY_DEFAULT_NS (100 * Q_NSEC_PER_MSEC)
#define TIME_MAX_NS (3600 * Q_NSEC_PER_SEC)
#define COUNT_MAX 1000000u

#define READS (1u << QBLK_READ)
#define WRITES (1u << QBLK_WRITE)
#define FLUSHES (1u << QBLK_FLUSH)
#define ZEROES (1u << QBLK_DISCARD | 1u << QBLK_WRITE_ZEROES)
#define ALL_OPS (READS | WRITES | FLUSHES | ZEROES)

static const struct {
	const char *word;
	unsigned ops;		/* that it can hit; 0 = it hits connections */
} kinds[] = {
	[INJECT_ERROR] = { "error", ALL_OPS },
	[INJECT_FULL] = { "full", WRITES | 1u << QBLK_WRITE_ZEROES },
	[INJECT_GONE] = { "gone", ALL_OPS },
	[INJECT_STALL] = { "stall", ALL_OPS },
	[INJECT_LATE] = { "late", ALL_OPS },
	[INJECT_LOST] = { "lost", ALL_OPS },
	[INJECT_REFUSE] = { "refuse", 0 },
};
static_assert(Q_ARRAY_LEN(kinds) == INJECT_KINDS, "every kind has a row");

static const struct {
	const char *word;
	unsigned ops;
} op_words[] = {
	{ "read", READS }, { "write", WRITES }, { "flush", FLUSHES },
	{ "discard", 1u << QBLK_DISCARD }, { "write-zeroes", 1u << QBLK_WRITE_ZEROES },
};

const char *inject_kind_str(enum inject_kind k)
{
	return (unsigned)k < INJECT_KINDS ? kinds[k].word : "unknown";
}

static bool refuse(char *why, size_t why_bytes, const char *fmt, ...) Q_PRINTF(3, 4);
static bool refuse(char *why, size_t why_bytes, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_bytes, fmt, ap);
	va_end(ap);
	return false;
}

static bool parse_time(const char *s, uint64_t *ret)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = { { "us", 1000 }, { "ms", Q_NSEC_PER_MSEC }, { "s", Q_NSEC_PER_SEC } };
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	uint64_t v = strtoull(s, &end, 10), ns;
	for (size_t i = 0; errno == 0 && i < Q_ARRAY_LEN(units); i++) {
		if (strcmp(end, units[i].unit) != 0 || __builtin_mul_overflow(v, units[i].ns, &ns))
			continue;
		*ret = ns;
		return ns > 0 && ns <= TIME_MAX_NS;
	}
	return false;
}

static bool parse_count(const char *s, uint32_t *ret)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	unsigned long v = strtoul(s, &end, 10);
	*ret = (uint32_t)v;
	return errno == 0 && *end == '\0' && v >= 1 && v <= COUNT_MAX;
}

/* The bits of the word of @len letters at @s; 0: it is none. */
static unsigned op_of(const char *s, size_t len)
{
	for (size_t i = 0; i < Q_ARRAY_LEN(op_words); i++)
		if (strlen(op_words[i].word) == len && strncmp(op_words[i].word, s, len) == 0)
			return op_words[i].ops;
	return 0;
}

static bool parse_ops(const char *s, unsigned *ret)
{
	unsigned ops = 0;

	for (;;) {
		size_t len = strcspn(s, ",");
		unsigned op = op_of(s, len);

		if (!op)
			return false;
		ops |= op;
		if (!s[len])
			break;
		s += len + 1;
	}
	*ret = ops;
	return true;
}

static bool set(struct inject_rule *r, const char *key, size_t key_len, const char *value,
		const char **ret_expected)
{
	const struct {
		const char *key, *expected;
		bool ok;
	} rows[] = {
		{ "for", "a time up to 3600s, such as 50ms", true },
		{ "count", "a number from 1 to 1000000", true },
		{ "ops", "read, write, flush, discard or write-zeroes, with commas between them",
		  kinds[r->kind].ops != 0 },
		{ "delay", "a time up to 3600s, such as 50ms", r->kind == INJECT_LATE },
	};
	size_t i = 0;

	while (i < Q_ARRAY_LEN(rows) && (strlen(rows[i].key) != key_len ||
					 strncmp(rows[i].key, key, key_len) != 0))
		i++;
	*ret_expected = NULL;
	if (i == Q_ARRAY_LEN(rows) || !rows[i].ok)
		return false;
	*ret_expected = rows[i].expected;
	switch (i) {
	case 0:
		return parse_time(value, &r->for_ns);
	case 1:
		return parse_count(value, &r->count);
	case 2:
		return parse_ops(value, &r->ops);
	default:
		return parse_time(value, &r->delay_ns);
	}
}

static bool find_kind(const char *word, enum inject_kind *ret, char *why, size_t why_bytes)
{
	const char *words[INJECT_KINDS];

	for (unsigned k = 0; k < INJECT_KINDS; k++) {
		words[k] = kinds[k].word;
		if (strcmp(word, words[k]) == 0) {
			*ret = (enum inject_kind)k;
			return true;
		}
	}
	const char *near = cf_nearest(word, words, INJECT_KINDS);
	return refuse(why, why_bytes,
		      "'%.40s' cannot be injected%s%s%s; what can: error, full, gone, stall, late, "
		      "lost, refuse", word, near ? " (did you mean '" : "", near ? near : "",
		      near ? "'?)" : "");
}

bool inject_rule_parse(const char *kind, char *const *settings, size_t n, struct inject_rule *ret,
		       char *why, size_t why_bytes)
{
	struct inject_rule r = { .share = -1, .for_ns = FOR_DEFAULT_NS,
				 .delay_ns = DELAY_DEFAULT_NS };

	if (!find_kind(kind, &r.kind, why, why_bytes))
		return false;
	r.ops = kinds[r.kind].ops;
	for (size_t i = 0; i < n; i++) {
		size_t key = strcspn(settings[i], "=");
		const char *expected = "key=value";

		if (settings[i][key] && set(&r, settings[i], key, settings[i] + key + 1, &expected))
			continue;
		if (expected)
			return refuse(why, why_bytes, "'%.60s': expected %s", settings[i],
				      expected);
		return refuse(why, why_bytes, "%s has no setting '%.40s': see hostctl(1)",
			      inject_kind_str(r.kind), settings[i]);
	}
	if (r.ops & ~kinds[r.kind].ops)
		return refuse(why, why_bytes, "%s can hit write and write-zeroes only",
			      inject_kind_str(r.kind));
	*ret = r;
	return true;
}

const char *inject_ops_str(const struct inject_rule *r, char buf[INJECT_OPS_BYTES])
{
	size_t at = 0;

	snprintf(buf, INJECT_OPS_BYTES, "%s", r->ops ? "all" : "connections");
	for (size_t i = 0; r->ops && r->ops != ALL_OPS && i < Q_ARRAY_LEN(op_words); i++)
		if (r->ops & op_words[i].ops)
			at += (size_t)snprintf(buf + at, INJECT_OPS_BYTES - at, "%s%s",
					       at ? "," : "", op_words[i].word);
	return buf;
}

bool inject_rule_hits(const struct inject_rule *r, unsigned share, enum qblk_op op, uint64_t now_ns)
{
	return r->id && !r->spent && r->ops >> op & 1 && now_ns < r->until_ns &&
	       (r->share < 0 || (unsigned)r->share == share);
}
