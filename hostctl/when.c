/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads moments. Main thread. Invariant: a text is one of the forms from its first letter to its
 * last, or it is refused: nothing is guessed.
 */
#include "hostctl/when.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define YEARS_MS (UINT64_C(8000) * 366 * 24 * 3600 * 1000)	/* more is no moment of ours */

/* Exactly @n digits; their value, or -1. */
static int digits(const char **s, unsigned n)
{
	int v = 0;

	for (; n > 0; n--, (*s)++) {
		if (!isdigit((unsigned char)**s))
			return -1;
		v = v * 10 + (**s - '0');
	}
	return v;
}

static bool take(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

/* "03:12" or "03:12:05", to the end. */
static bool parse_clock(const char *s, struct tm *tm)
{
	tm->tm_hour = digits(&s, 2);
	tm->tm_min = tm->tm_hour >= 0 && take(&s, ':') ? digits(&s, 2) : -1;
	tm->tm_sec = tm->tm_min >= 0 && take(&s, ':') ? digits(&s, 2) : 0;
	return !*s && tm->tm_hour >= 0 && tm->tm_hour < 24 && tm->tm_min >= 0 && tm->tm_min < 60 &&
	       tm->tm_sec >= 0 && tm->tm_sec <= 60;
}

static bool parse_date(const char *s, struct tm *tm)
{
	struct tm asked;

	tm->tm_year = digits(&s, 4) - 1900;
	tm->tm_mon = take(&s, '-') ? digits(&s, 2) - 1 : -1;
	tm->tm_mday = take(&s, '-') ? digits(&s, 2) : -1;
	tm->tm_hour = tm->tm_min = tm->tm_sec = 0;
	if (tm->tm_year < 70 || tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1)
		return false;
	if (*s && ((*s != ' ' && *s != 'T') || !parse_clock(s + 1, tm)))
		return false;
	asked = *tm;
	/* The 30th of February is no day. */
	return mktime(tm) >= 0 && tm->tm_mon == asked.tm_mon && tm->tm_mday == asked.tm_mday;
}

/* "15min", "2h" … ago. */
static bool parse_ago(const char *s, uint64_t *ret_ms)
{
	static const struct { const char *unit; uint64_t ms; } units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "min", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	};
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	unsigned long long n = strtoull(s, &end, 10);
	for (size_t i = 0; !errno && i < Q_ARRAY_LEN(units); i++)
		if (strcmp(end, units[i].unit) == 0)
			return !__builtin_mul_overflow((uint64_t)n, units[i].ms, ret_ms);
	return false;
}

static bool parse_relative(const char *s, uint64_t now_ms, uint64_t *ret_ms)
{
	static const char ago[] = " ago";
	char buf[32];
	uint64_t back_ms;
	size_t len = strlen(s);

	if (*s == '-')
		s++;
	else if (len > sizeof(ago) - 1 && strcmp(s + len - (sizeof(ago) - 1), ago) == 0)
		len -= sizeof(ago) - 1;
	else
		return false;
	if (snprintf(buf, sizeof(buf), "%.*s", (int)Q_MIN(len, (size_t)64), s) >=
		    (int)sizeof(buf) ||
	    !parse_ago(buf, &back_ms))
		return false;
	*ret_ms = now_ms - Q_MIN(now_ms, back_ms);
	return true;
}

/* "@1795000000" or "@1795000000.25", the fraction of at most three digits. */
static bool parse_epoch(const char *s, uint64_t *ret_ms)
{
	char *end;
	uint64_t ms = 0;

	if (*s != '@' || !isdigit((unsigned char)s[1]))
		return false;
	errno = 0;
	unsigned long long sec = strtoull(s + 1, &end, 10);
	if (errno || sec > YEARS_MS / 1000)
		return false;
	if (*end == '.') {
		end++;
		for (uint64_t unit = 100; unit > 0 && isdigit((unsigned char)*end); unit /= 10)
			ms += (uint64_t)(*end++ - '0') * unit;
	}
	*ret_ms = sec * 1000 + ms;
	return !*end;
}

bool hc_when_parse(const char *s, uint64_t now_ms, uint64_t *ret_ms)
{
	time_t now = (time_t)(now_ms / 1000), t;
	struct tm tm;

	if (strcmp(s, "now") == 0) {
		*ret_ms = now_ms;
		return true;
	}
	if (parse_epoch(s, ret_ms) || parse_relative(s, now_ms, ret_ms))
		return true;
	if (!localtime_r(&now, &tm))
		return false;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	if (strcmp(s, "yesterday") == 0)
		tm.tm_mday--;
	else if (strcmp(s, "today") != 0 && !parse_clock(s, &tm) && !parse_date(s, &tm))
		return false;
	tm.tm_isdst = -1;
	t = mktime(&tm);
	*ret_ms = t > 0 ? (uint64_t)t * 1000 : 0;
	return t >= 0;
}
