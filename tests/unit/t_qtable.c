/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qtable.h: numbers in units, columns that stand under each other; exit codes in
 * hostctl/conn.h. */
#include "hostctl/conn.h"
#include "lib/qtable.h"
#include "tests/unit/fixture.h"

typedef const char *(*show_fn)(char *buf, uint64_t v);

static const struct {
	show_fn show;
	uint64_t v;
	const char *text;
} rows[] = {
	{ qtable_ns, 0, "-" },
	{ qtable_ns, 1, "1 ns" },
	{ qtable_ns, 999, "999 ns" },
	{ qtable_ns, 1000, "1.00 us" },
	{ qtable_ns, 9994, "9.99 us" },
	{ qtable_ns, 12345, "12.3 us" },
	{ qtable_ns, 999499, "999 us" },
	{ qtable_ns, 1500000, "1.50 ms" },
	{ qtable_ns, 61000000000, "61.0 s" },
	{ qtable_ns, UINT64_MAX, "18446744074 s" },
	{ qtable_uptime, 0, "0 s" },
	{ qtable_uptime, 59999, "59 s" },
	{ qtable_uptime, 61000, "1 min 1 s" },
	{ qtable_uptime, 3600000, "1 h 0 min" },
	{ qtable_uptime, 90000000, "1 d 1 h" },
	{ qtable_bytes, 0, "0 B" },
	{ qtable_bytes, 1023, "1023 B" },
	{ qtable_bytes, 1536, "1.5 KiB" },
	{ qtable_bytes, 10 << 20, "10 MiB" },
	{ qtable_bytes, UINT64_MAX, "16384 PiB" },
};

START_TEST(units)
{
	char buf[QTABLE_UNIT_BYTES];

	ck_assert_str_eq(rows[_i].show(buf, rows[_i].v), rows[_i].text);
}
END_TEST

START_TEST(columns)
{
	static const char *const heads[] = { "NAME", ">N", "WHY" };
	struct qtable t;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	qtable_init(&t, heads, 3);
	qtable_add(&t, "%s", "gr\xc3\xbc" "n");	/* two bytes, one column */
	qtable_add(&t, "%d", 12345);
	qtable_add(&t, "%s", "no\x1b");
	qtable_add(&t, "%s", "longer");
	qtable_add(&t, "%d", 1);
	qtable_add(&t, "%s", "x");
	qtable_print(&t, f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_str_eq(text, "NAME        N  WHY\n"
			       "gr\xc3\xbc" "n    12345  no?\n"
			       "longer      1  x\n");
	free(text);
	qtable_fini(&t);
}
END_TEST

/* Every code of the protocol has an exit code; only "done" is 0. */
START_TEST(exit_codes)
{
	const ProtobufCEnumDescriptor *d = &parley__code__descriptor;

	for (unsigned i = 0; i < d->n_values; i++) {
		enum hc_exit e = hc_exit_of((Parley__Code)d->values[i].value);

		ck_assert_int_eq(e == HC_OK, d->values[i].value == PARLEY__CODE__E_OK);
		ck_assert_str_ne(hc_exit_word(e), "unknown");
	}
	for (int e = 0; e < HC_EXITS; e++)
		ck_assert_ptr_nonnull(hc_exit_word((enum hc_exit)e));
	ck_assert_str_eq(hc_exit_word(HC_EXITS), "unknown");
	ck_assert_int_eq(hc_exit_of((Parley__Code)99), HC_FAILED);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qtable");
	TCase *tc = fixture_case(s, "table");

	tcase_add_loop_test(tc, units, 0, Q_ARRAY_LEN(rows));
	tcase_add_test(tc, columns);
	tcase_add_test(tc, exit_codes);
	return fixture_main(s);
}
