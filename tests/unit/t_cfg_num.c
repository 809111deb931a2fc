/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a configuration: radix by kind, prefixes, multipliers, the ends of the range. */
#include "qvm/cfg_int.h"
#include "tests/unit/fixture.h"

static const struct {
	const char *text;
	enum cfg_num_kind kind;
	enum cfg_num want;
	uint64_t value;
} num_rows[] = {
	{ "80000000", CFG_ADDRESS, CFG_NUM_OK, 0x80000000 },
	{ "80000000", CFG_SIZE, CFG_NUM_OK, 80000000 },
	{ "80000000", CFG_NUMBER, CFG_NUM_OK, 80000000 },
	{ "0x10", CFG_ADDRESS, CFG_NUM_OK, 16 },
	{ "0X10", CFG_SIZE, CFG_NUM_OK, 16 },
	{ "0x7fc3", CFG_NUMBER, CFG_NUM_OK, 0x7fc3 },
	{ "0d16", CFG_ADDRESS, CFG_NUM_OK, 16 },
	{ "0D16", CFG_NUMBER, CFG_NUM_OK, 16 },
	{ "d16", CFG_ADDRESS, CFG_NUM_OK, 0xd16 },
	{ "1m", CFG_ADDRESS, CFG_NUM_OK, 1 << 20 },
	{ "1M", CFG_SIZE, CFG_NUM_OK, 1 << 20 },
	{ "10k", CFG_ADDRESS, CFG_NUM_OK, 0x10 * 1024 },
	{ "10K", CFG_SIZE, CFG_NUM_OK, 10 * 1024 },
	{ "0x10g", CFG_SIZE, CFG_NUM_OK, 0x10ull << 30 },
	{ "3G", CFG_SIZE, CFG_NUM_OK, 3ull << 30 },
	{ "10k", CFG_NUMBER, CFG_NUM_BAD, 0 },
	{ "ffffffffffffffff", CFG_ADDRESS, CFG_NUM_OK, UINT64_MAX },
	{ "10000000000000000", CFG_ADDRESS, CFG_NUM_RANGE, 0 },
	{ "18446744073709551615", CFG_SIZE, CFG_NUM_OK, UINT64_MAX },
	{ "18446744073709551616", CFG_SIZE, CFG_NUM_RANGE, 0 },
	{ "17179869183g", CFG_SIZE, CFG_NUM_OK, 17179869183ull << 30 },
	{ "17179869184g", CFG_SIZE, CFG_NUM_RANGE, 0 },
	{ "", CFG_SIZE, CFG_NUM_EMPTY, 0 },
	{ "0x", CFG_ADDRESS, CFG_NUM_BAD, 0 },
	{ "0d", CFG_SIZE, CFG_NUM_BAD, 0 },
	{ "k", CFG_SIZE, CFG_NUM_BAD, 0 },
	{ "0xk", CFG_SIZE, CFG_NUM_BAD, 0 },
	{ "-1", CFG_NUMBER, CFG_NUM_BAD, 0 },
	{ "+1", CFG_NUMBER, CFG_NUM_BAD, 0 },
	{ " 1", CFG_NUMBER, CFG_NUM_BAD, 0 },
	{ "1 ", CFG_NUMBER, CFG_NUM_BAD, 0 },
	{ "1.5g", CFG_SIZE, CFG_NUM_BAD, 0 },
	{ "1kk", CFG_SIZE, CFG_NUM_BAD, 0 },
	{ "1mb", CFG_SIZE, CFG_NUM_BAD, 0 },
	{ "0d1f", CFG_ADDRESS, CFG_NUM_BAD, 0 },
	{ "12a", CFG_SIZE, CFG_NUM_BAD, 0 },
	{ "0", CFG_SIZE, CFG_NUM_OK, 0 },
	/* What overflows before it turns out to be no number is no number. */
	{ "99999999999999999999z", CFG_SIZE, CFG_NUM_BAD, 0 },
};

START_TEST(num_row)
{
	uint64_t value = 0x5eed;
	enum cfg_num r = cfg_num_parse(num_rows[_i].text, strlen(num_rows[_i].text),
				       num_rows[_i].kind, &value);
	ck_assert_msg(r == num_rows[_i].want, "'%s': %d", num_rows[_i].text, r);
	ck_assert_uint_eq(value, r == CFG_NUM_OK ? num_rows[_i].value : 0x5eed);
}
END_TEST

/* Only the bytes given are looked at. */
START_TEST(num_part)
{
	uint64_t value;
	ck_assert_int_eq(cfg_num_parse("123,456", 3, CFG_NUMBER, &value), CFG_NUM_OK);
	ck_assert_uint_eq(value, 123);
	ck_assert_int_eq(cfg_num_parse("0x1f", 1, CFG_NUMBER, &value), CFG_NUM_OK);
	ck_assert_uint_eq(value, 0);
}
END_TEST

static const struct {
	const char *text;
	bool want;
} mislead_rows[] = {
	{ "80000000", true }, { "10", true },  { "32m", true },
	{ "1", false },	      { "1m", false }, { "0x10", false },
	{ "0d10", false },    { "8000000a", false }, { "", false },
};

START_TEST(mislead_row)
{
	ck_assert_int_eq(cfg_num_misleads(mislead_rows[_i].text, strlen(mislead_rows[_i].text)),
			 mislead_rows[_i].want);
}
END_TEST

static const struct {
	const char *text;
	bool ok, value;
} bool_rows[] = {
	{ "1", true, true },	  { "0", true, false },	   { "yes", true, true },
	{ "no", true, false },	  { "on", true, true },	   { "off", true, false },
	{ "true", true, true },	  { "false", true, false }, { "ON", true, true },
	{ "2", false, true },	  { "", false, true },	   { "y", false, true },
	{ "enable", false, true },
};

START_TEST(bool_row)
{
	bool value = true;
	ck_assert_int_eq(cfg_bool_parse(bool_rows[_i].text, &value), bool_rows[_i].ok);
	ck_assert_int_eq(value, bool_rows[_i].value);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cfg_num");
	TCase *tc = fixture_case(s, "numbers");
	tcase_add_loop_test(tc, num_row, 0, Q_ARRAY_LEN(num_rows));
	tcase_add_test(tc, num_part);
	tcase_add_loop_test(tc, mislead_row, 0, Q_ARRAY_LEN(mislead_rows));
	tcase_add_loop_test(tc, bool_row, 0, Q_ARRAY_LEN(bool_rows));
	return fixture_main(s);
}
