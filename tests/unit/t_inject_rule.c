/* SPDX-License-Identifier: Apache-2.0 */
/* mediator/inject_rule.h: what an operator may make fail, what is refused, and what a rule hits. */
#include "mediator/inject_rule.h"

#include "tests/unit/fixture.h"

#define R (1u << QBLK_READ)
#define W (1u << QBLK_WRITE)
#define F (1u << QBLK_FLUSH)
#define D (1u << QBLK_DISCARD)
#define Z (1u << QBLK_WRITE_ZEROES)
#define ALL (R | W | F | D | Z)
#define MS(n) ((n) * Q_NSEC_PER_MSEC)

static const struct {
	const char *kind, *settings[4];
	enum inject_kind want;
	unsigned ops;
	uint32_t count;
	uint64_t for_ns, delay_ns;
	const char *ops_text;
} good_rows[] = {
	{ "error", { 0 }, INJECT_ERROR, ALL, 0, MS(10000), MS(100), "all" },
	{ "error", { "ops=read" }, INJECT_ERROR, R, 0, MS(10000), MS(100), "read" },
	{ "error", { "ops=flush,read,flush" }, INJECT_ERROR, R | F, 0, MS(10000), MS(100),
	  "read,flush" },
	{ "full", { 0 }, INJECT_FULL, W | Z, 0, MS(10000), MS(100), "write,write-zeroes" },
	{ "full", { "ops=write-zeroes" }, INJECT_FULL, Z, 0, MS(10000), MS(100), "write-zeroes" },
	{ "gone", { "for=1us" }, INJECT_GONE, ALL, 0, 1000, MS(100), "all" },
	{ "stall", { "for=3600s", "count=1000000" }, INJECT_STALL, ALL, 1000000, MS(3600000),
	  MS(100), "all" },
	{ "late", { "delay=5ms", "count=1", "for=1s", "ops=discard" }, INJECT_LATE, D, 1, MS(1000),
	  MS(5), "discard" },
	{ "lost", { "for=50ms", "for=60ms" }, INJECT_LOST, ALL, 0, MS(60), MS(100), "all" },
	{ "refuse", { "count=3" }, INJECT_REFUSE, 0, 3, MS(10000), MS(100), "connections" },
};

static bool parse(const char *kind, const char *const *settings, struct inject_rule *ret, char *why)
{
	size_t n = 0;

	while (n < 4 && settings[n])
		n++;
	return inject_rule_parse(kind, (char *const *)settings, n, ret, why, 256);
}

START_TEST(good)
{
	struct inject_rule r;
	char why[256] = "", ops[INJECT_OPS_BYTES];

	ck_assert_msg(parse(good_rows[_i].kind, good_rows[_i].settings, &r, why), "%s", why);
	ck_assert_int_eq(r.kind, good_rows[_i].want);
	ck_assert_uint_eq(r.ops, good_rows[_i].ops);
	ck_assert_uint_eq(r.count, good_rows[_i].count);
	ck_assert_uint_eq(r.for_ns, good_rows[_i].for_ns);
	ck_assert_uint_eq(r.delay_ns, good_rows[_i].delay_ns);
	ck_assert_int_eq(r.share, -1);
	ck_assert_str_eq(inject_ops_str(&r, ops), good_rows[_i].ops_text);
	ck_assert_str_eq(inject_kind_str(r.kind), good_rows[_i].kind);
}
END_TEST

static const struct {
	const char *kind, *settings[4], *said;
} bad_rows[] = {
	{ "", { 0 }, "cannot be injected" },
	{ "stal", { 0 }, "did you mean 'stall'" },
	{ "error", { "for" }, "key=value" },
	{ "error", { "" }, "key=value" },
	{ "error", { "for=" }, "a time" },
	{ "error", { "for=0ms" }, "a time" },
	{ "error", { "for=-1s" }, "a time" },
	{ "error", { "for=10" }, "a time" },
	{ "error", { "for=3601s" }, "a time" },
	{ "error", { "for=99999999999999999999s" }, "a time" },
	{ "error", { "for=18446744073709551615s" }, "a time" },
	{ "error", { "for=1s", "count=x" }, "a number" },
	{ "error", { "count=1000001" }, "a number" },
	{ "error", { "count=4294967297" }, "a number" },
	{ "error", { "count=-1" }, "a number" },
	{ "error", { "ops=read,,write" }, "with commas" },
	{ "error", { "ops=read," }, "with commas" },
	{ "error", { "ops=all" }, "with commas" },
	{ "error", { "delay=1s" }, "no setting" },
	{ "error", { "fo=1s" }, "no setting" },
	{ "full", { "ops=read" }, "write" },
	{ "full", { "ops=write,flush" }, "write" },
	{ "refuse", { "ops=read" }, "no setting" },
};

START_TEST(bad)
{
	struct inject_rule r = { .id = 77 };
	char why[256] = "";

	ck_assert(!parse(bad_rows[_i].kind, bad_rows[_i].settings, &r, why));
	ck_assert_msg(strstr(why, bad_rows[_i].said), "%s", why);
	ck_assert_uint_eq(r.id, 77);
}
END_TEST

static const struct {
	uint32_t id;
	bool spent;
	unsigned ops;
	int share;
	unsigned of_share;
	enum qblk_op op;
	uint64_t now_ns;
	bool want;
} hit_rows[] = {
	{ 1, false, ALL, -1, 5, QBLK_READ, 99, true },
	{ 1, false, ALL, -1, 5, QBLK_READ, 100, false },
	{ 0, false, ALL, -1, 5, QBLK_READ, 99, false },
	{ 1, true, ALL, -1, 5, QBLK_READ, 99, false },
	{ 1, false, ALL, 5, 5, QBLK_FLUSH, 99, true },
	{ 1, false, ALL, 4, 5, QBLK_FLUSH, 99, false },
	{ 1, false, W, -1, 5, QBLK_READ, 99, false },
	{ 1, false, W, -1, 5, QBLK_WRITE, 99, true },
};

START_TEST(hits)
{
	const struct inject_rule r = {
		.id = hit_rows[_i].id, .spent = hit_rows[_i].spent, .ops = hit_rows[_i].ops,
		.share = hit_rows[_i].share, .until_ns = 100,
	};

	ck_assert_int_eq(inject_rule_hits(&r, hit_rows[_i].of_share, hit_rows[_i].op,
					  hit_rows[_i].now_ns), hit_rows[_i].want);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("inject_rule");
	TCase *tc = tcase_create("rules");

	fixture_add(tc);
	tcase_add_loop_test(tc, good, 0, Q_ARRAY_LEN(good_rows));
	tcase_add_loop_test(tc, bad, 0, Q_ARRAY_LEN(bad_rows));
	tcase_add_loop_test(tc, hits, 0, Q_ARRAY_LEN(hit_rows));
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return fixture_main(suite());
}
