/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keys of a policy mean: tables, so that a new key is a row, and their values as text and
 * as fields. No state. Invariant: a text that is not what its row expects changes no field.
 */
#include "mediator/policy_keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/ladder.h"

#define DEV(field) offsetof(struct med_device_policy, field)
#define SHR(field) offsetof(struct med_share_policy, field)
#define GRP(field) offsetof(struct med_group_policy, field)

/* The limits of a share, and of a group. */
#define LIMIT_OPS(name, field)                                                                     \
	{ name, KEY_U64, field, 1, LIMIT_RATE_MAX, "a number from 1, or none", KEY_NONE }
#define LIMIT_BYTES(name, field)                                                                   \
	{ name, KEY_BYTES, field, 1, LIMIT_RATE_MAX, "a size, such as 30M, or none",     \
	  KEY_NONE }
#define LIMIT_KEYS(of)                                                                             \
	LIMIT_OPS("limit-ops", of(limits.ops[LIMIT_BOTH])),                                        \
	LIMIT_OPS("limit-read-ops", of(limits.ops[LIMIT_READ])),                                   \
	LIMIT_OPS("limit-write-ops", of(limits.ops[LIMIT_WRITE])),                                 \
	LIMIT_OPS("limit-flushes", of(limits.ops[LIMIT_FLUSH])),                                   \
	LIMIT_BYTES("limit-bytes", of(limits.bytes[LIMIT_BOTH])),                                  \
	LIMIT_BYTES("limit-read-bytes", of(limits.bytes[LIMIT_READ])),                             \
	LIMIT_BYTES("limit-write-bytes", of(limits.bytes[LIMIT_WRITE])),                           \
	{ "burst", KEY_TIME, of(limits.burst_ns), 0, 3600 * Q_NSEC_PER_SEC,                        \
	  "a time from 0s to 3600s, such as 5ms" }

#define POLL_PERCENT(name, class)                                                                  \
	{ name, KEY_U32, DEV(poll_percent[class]), 0, 100, "percent of a processor, 0 to 100" }

static const char *const ladder_words[] = {
	[LADDER_FREE] = "off", [LADDER_THROTTLE] = "throttle", [LADDER_PAUSE] = "pause",
	[LADDER_FREEZE] = "freeze",
};

const struct policy_key policy_device_keys[] = {
	{ "path", KEY_TEXT, DEV(path), 0, 0, "a file or block device", KEY_FIXED },
	{ "null", KEY_BYTES, DEV(null_bytes), 4096, INT64_MAX, "a size, such as 64M", KEY_FIXED },
	{ "simulate", KEY_BOOL, DEV(simulate), 0, 1, "yes or no", KEY_FIXED },
	POLICY_MODEL_KEYS("sim-", DEV, KEY_FIXED | KEY_MODEL),
	{ "direct", KEY_BOOL, DEV(direct), 0, 1, "yes or no", KEY_FIXED },
	{ "pin", KEY_BYTES, DEV(pin_bytes), 256 << 10, INT64_MAX, "a size from 256K, or none",
	  KEY_FIXED | KEY_NONE },
	{ "slots", KEY_U32, DEV(slots), 1, 1024, "a number from 1 to 1024", KEY_FIXED },
	{ "reserve", KEY_U32, DEV(reserve), 0, 1023, "a number from 0 to slots - 1" },
	{ "slice", KEY_BYTES32, DEV(slice_bytes), 4096, 16 << 20, "a size from 4K to 16M" },
	{ "target", KEY_TIME, DEV(target_ns), 1000, 3600 * Q_NSEC_PER_SEC,
	  "a time from 1us to 1h, such as 10ms" },
	{ "ladder", KEY_WORD, DEV(ladder_top), 0, LADDER_FREEZE,
	  "off, throttle, pause or freeze", 0, ladder_words },
	{ "service-limit", KEY_TIME, DEV(service_limit_ns), 1000, 60 * Q_NSEC_PER_SEC,
	  "a time from 1us to 60s, such as 1ms" },
	{ "flush-limit", KEY_TIME, DEV(flush_limit_ns), 1000, 600 * Q_NSEC_PER_SEC,
	  "a time from 1us to 600s, such as 5ms" },
	{ "poll", KEY_TIME, DEV(poll_ns), 0, Q_NSEC_PER_MSEC, "a time from 0us to 1ms" },
	POLL_PERCENT("poll-safety", SCHED_SAFETY),
	POLL_PERCENT("poll-normal", SCHED_NORMAL),
	POLL_PERCENT("poll-best-effort", SCHED_BEST_EFFORT),
	{ NULL },
};

const struct policy_key policy_share_keys[] = {
	{ "device", KEY_TEXT, SHR(device_name), 0, 0, "the name of a [device NAME] section",
	  KEY_FIXED },
	{ "class", KEY_CLASS, SHR(class), 0, 0, "safety, normal or best-effort" },
	{ "weight", KEY_U32, SHR(weight), 1, 1000, "a number from 1 to 1000" },
	{ "depth", KEY_U32, SHR(depth), 1, 1024, "a number from 1 to 1024" },
	{ "offset", KEY_BYTES, SHR(offset_bytes), 0, INT64_MAX, "a size, such as 64M", KEY_FIXED },
	{ "length", KEY_BYTES, SHR(len_bytes), 512, INT64_MAX, "a size, such as 64M", KEY_FIXED },
	{ "read-only", KEY_BOOL, SHR(read_only), 0, 1, "yes or no", KEY_FIXED },
	{ "shared-writers", KEY_BOOL, SHR(shared_writers), 0, 1, "yes or no" },
	{ "target", KEY_TIME, SHR(own_target_ns), 1000, 3600 * Q_NSEC_PER_SEC,
	  "a time from 1us to 1h, such as 10ms, or none", KEY_NONE },
	{ "slice", KEY_BYTES32, SHR(slice_bytes), 4096, 16 << 20, "a size from 4K to 16M" },
	{ "freeze", KEY_BOOL, SHR(freeze), 0, 1, "yes or no" },
	{ "fault-budget", KEY_U32, SHR(fault_budget), 1, 1000000, "a number from 1 to 1000000" },
	{ "fault-window", KEY_TIME, SHR(fault_window_ns), Q_NSEC_PER_MSEC, 86400 * Q_NSEC_PER_SEC,
	  "a time from 1ms to 86400s, such as 60s" },
	{ "wait-on-error", KEY_BOOL, SHR(wait_on_error), 0, 1, "yes or no" },
	{ "wait-limit", KEY_TIME, SHR(wait_limit_ns), 10 * Q_NSEC_PER_MSEC,
	  86400 * Q_NSEC_PER_SEC, "a time from 10ms to 86400s, such as 30s, or none", KEY_NONE },
	{ "group", KEY_TEXT, SHR(group_name), 0, 0,
	  "the name of a [group NAME] section, or none", KEY_NONE },
	LIMIT_KEYS(SHR),
	{ NULL },
};

const struct policy_key policy_group_keys[] = {
	LIMIT_KEYS(GRP),
	{ NULL },
};

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

static bool parse_word(const struct policy_key *k, const char *value, uint32_t *ret)
{
	for (uint32_t i = 0; i <= k->max; i++) {
		if (strcmp(value, k->words[i]) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

/* Number of @k from @value: false when it is none or out of range. */
static bool parse_number(const struct policy_key *k, const char *value, uint64_t *ret)
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

static void set_none(const struct policy_key *k, char *field)
{
	if (k->kind == KEY_TEXT) {
		free(*(char **)field);
		*(char **)field = NULL;
	} else {
		*(uint64_t *)field = 0;
	}
}

bool policy_key_set(const struct policy_key *k, void *object, const char *value, bool *oom)
{
	char *field = (char *)object + k->offset;
	uint64_t num;

	if (k->flags & KEY_NONE && strcmp(value, "none") == 0) {
		set_none(k, field);
		return true;
	}
	switch (k->kind) {
	case KEY_TEXT: {
		char *copy = *value ? strdup(value) : NULL;

		if (!copy) {
			*oom |= *value != '\0';
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
	case KEY_WORD:
		return parse_word(k, value, (uint32_t *)field);
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

/* In the largest unit that leaves nothing over. */
static void format_scaled(uint64_t v, const char *const *units, const uint64_t *factors,
			  size_t n_units, char *buf, size_t buf_bytes)
{
	size_t i = n_units - 1;

	while (i > 0 && v % factors[i])
		i--;
	snprintf(buf, buf_bytes, "%llu%s", (unsigned long long)(v / factors[i]), units[i]);
}

static void format_bytes(uint64_t v, char *buf, size_t buf_bytes)
{
	static const char *const units[] = { "", "K", "M", "G", "T" };
	static const uint64_t factors[] = { 1, 1 << 10, 1 << 20, 1 << 30, 1ull << 40 };

	format_scaled(v, units, factors, v ? Q_ARRAY_LEN(units) : 1, buf, buf_bytes);
}

static void format_time(uint64_t v, char *buf, size_t buf_bytes)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	static const uint64_t factors[] = { 1, 1000, 1000000, 1000000000 };

	format_scaled(v, units, factors, Q_ARRAY_LEN(units), buf, buf_bytes);
}

static uint64_t number_of(const struct policy_key *k, const char *field)
{
	return k->kind == KEY_U32 || k->kind == KEY_BYTES32 ? *(const uint32_t *)field :
							       *(const uint64_t *)field;
}

void policy_key_format(const struct policy_key *k, const void *object, char *buf, size_t buf_bytes)
{
	const char *field = (const char *)object + k->offset;
	const char *text = NULL;

	if (k->flags & KEY_MODEL && !((const struct med_device_policy *)object)->simulate) {
		snprintf(buf, buf_bytes, "none");
		return;
	}
	switch (k->kind) {
	case KEY_TEXT:
		text = *(char *const *)field;
		text = text ? text : "none";
		break;
	case KEY_BOOL:
		text = *(const bool *)field ? "yes" : "no";
		break;
	case KEY_CLASS:
		text = sched_class_str(*(const enum sched_class *)field);
		break;
	case KEY_WORD:
		text = k->words[*(const uint32_t *)field];
		break;
	case KEY_BYTES32:
	case KEY_BYTES:
		format_bytes(number_of(k, field), buf, buf_bytes);
		break;
	case KEY_TIME:
		format_time(number_of(k, field), buf, buf_bytes);
		break;
	case KEY_U32:
	case KEY_U64:
		snprintf(buf, buf_bytes, "%llu", (unsigned long long)number_of(k, field));
		break;
	}
	if (text)
		snprintf(buf, buf_bytes, "%s", text);
	else if (k->flags & KEY_NONE && number_of(k, field) == 0)
		snprintf(buf, buf_bytes, "none");
}
