/* SPDX-License-Identifier: Apache-2.0 */
/* hostctl/when.h: moments as an operator writes them. */
#include "hostctl/when.h"

#include <stdlib.h>
#include <time.h>

#include "tests/unit/fixture.h"

/* 2026-11-20 10:00:00 UTC */
#define NOW_MS UINT64_C(1795168800000)
#define HOUR UINT64_C(3600000)

static const struct { const char *text; bool ok; uint64_t ms; } rows[] = {
	{ "now", true, NOW_MS },
	{ "today", true, NOW_MS - 10 * HOUR },
	{ "yesterday", true, NOW_MS - 34 * HOUR },
	{ "03:12", true, NOW_MS - 10 * HOUR + 3 * HOUR + 12 * 60000 },
	{ "03:12:05", true, NOW_MS - 10 * HOUR + 3 * HOUR + 12 * 60000 + 5000 },
	{ "2026-11-19", true, NOW_MS - 34 * HOUR },
	{ "2026-11-19 10:00", true, NOW_MS - 24 * HOUR },
	{ "2026-11-19T10:00:01", true, NOW_MS - 24 * HOUR + 1000 },
	{ "-15min", true, NOW_MS - 15 * 60000 },
	{ "2h ago", true, NOW_MS - 2 * HOUR },
	{ "-1d", true, NOW_MS - 24 * HOUR },
	{ "-250ms", true, NOW_MS - 250 },
	{ "-99999999999d", true, 0 },
	{ "@1795168800", true, NOW_MS },
	{ "@1795168800.25", true, NOW_MS + 250 },
	{ "@1795168800.123", true, NOW_MS + 123 },
	{ "", false }, { "15min", false }, { "-15", false }, { "-", false }, { " ago", false },
	{ "24:00", false }, { "3:12", false }, { "03:60", false }, { "03:12:61", false },
	{ "03:12 ", false }, { "2026-02-30", false }, { "2026-13-01", false },
	{ "2026-11-19  10:00", false }, { "2026-11-19x", false }, { "1969-01-01", false },
	{ "@", false }, { "@-1", false }, { "@1.2345", false }, { "@1 ", false },
	{ "@99999999999999999999999", false }, { "-99999999999999999999999s", false },
	{ "tomorrow", false },
};

START_TEST(row)
{
	uint64_t ms = 1;

	setenv("TZ", "UTC", 1);
	tzset();
	ck_assert_msg(hc_when_parse(rows[_i].text, NOW_MS, &ms) == rows[_i].ok, "'%s'",
		      rows[_i].text);
	if (rows[_i].ok)
		ck_assert_msg(ms == rows[_i].ms, "'%s': %llu", rows[_i].text,
			      (unsigned long long)ms);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hc_when");

	tcase_add_loop_test(fixture_case(s, "when"), row, 0, Q_ARRAY_LEN(rows));
	return fixture_main(s);
}
