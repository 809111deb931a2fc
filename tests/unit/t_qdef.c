/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qdef.h: spans, alignment, clean-up, the clock. */
#include "lib/qdef.h"

#include "tests/unit/fixture.h"

static const struct {
	uint64_t off, len, size;
	bool want;
} inside_rows[] = {
	{ 0, 0, 0, true },
	{ 0, 10, 10, true },
	{ 10, 0, 10, true },
	{ 9, 1, 10, true },
	{ 1, 10, 10, false },
	{ 11, 0, 10, false },
	{ 0, 1, 0, false },
	{ 0, UINT64_MAX, UINT64_MAX, true },
	{ 1, UINT64_MAX, UINT64_MAX, false },	/* off + len wraps to 0 */
	{ UINT64_MAX - 4095, 4096, 1 << 20, false },
	{ UINT64_MAX, UINT64_MAX, UINT64_MAX, false },
	{ UINT64_MAX, 0, UINT64_MAX, true },
};

START_TEST(inside_row)
{
	ck_assert_int_eq(qspan_inside(inside_rows[_i].off, inside_rows[_i].len,
				      inside_rows[_i].size),
			 inside_rows[_i].want);
}
END_TEST

static const struct {
	uint64_t a, a_len, b, b_len;
	bool want;
} overlap_rows[] = {
	{ 0, 10, 10, 10, false },	/* neighbours */
	{ 0, 11, 10, 10, true },
	{ 0, 10, 0, 10, true },
	{ 0, 100, 40, 10, true },	/* one inside the other */
	{ 40, 10, 40, 1, true },
	{ 40, 0, 0, 100, false },	/* empty */
	{ 0, 0, 0, 0, false },
	{ UINT64_MAX - 10, 10, UINT64_MAX - 1, 1, true },
	{ UINT64_MAX - 10, 10, 0, 10, false },
	{ UINT64_MAX - 10, 10, UINT64_MAX - 20, 10, false },
};

START_TEST(overlap_row)
{
	uint64_t a = overlap_rows[_i].a, a_len = overlap_rows[_i].a_len;
	uint64_t b = overlap_rows[_i].b, b_len = overlap_rows[_i].b_len;

	ck_assert_int_eq(qspan_overlap(a, a_len, b, b_len), overlap_rows[_i].want);
	ck_assert_int_eq(qspan_overlap(b, b_len, a, a_len), overlap_rows[_i].want);
}
END_TEST

static const struct {
	uint64_t v, a, want;
} align_rows[] = {
	{ 0, 4096, 0 },
	{ 1, 4096, 4096 },
	{ 4095, 4096, 4096 },
	{ 4096, 4096, 4096 },
	{ 4097, 4096, 8192 },
	{ 0x100000001, 0x1000, 0x100001000 },	/* the mask is as wide as the value */
	{ 7, 1, 7 },
};

START_TEST(align_row)
{
	ck_assert_uint_eq(Q_ALIGN_UP(align_rows[_i].v, align_rows[_i].a), align_rows[_i].want);
}
END_TEST

static void count_up(int **p)
{
	(**p)++;
}

static int leave_early(int *counter, bool early)
{
	QCLEAN(count_up) int *guard = counter;

	if (early)
		return 1;
	return 2 + (*guard == 0);
}

START_TEST(clean_runs_on_every_way_out)
{
	int n = 0;

	ck_assert_int_eq(leave_early(&n, true), 1);
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(leave_early(&n, false), 2);
	ck_assert_int_eq(n, 2);
}
END_TEST

START_TEST(container_and_arrays)
{
	struct outer {
		char head[3];
		gpa_t member;
	} o = { .member = gpa(42) };
	gpa_t *m = &o.member;

	ck_assert_ptr_eq(Q_CONTAINER_OF(m, struct outer, member), &o);
	ck_assert_uint_eq(Q_ARRAY_LEN(o.head), 3);
	ck_assert_uint_eq(o.member.v, 42);
	ck_assert_int_eq(Q_MIN(3, -1), -1);
	ck_assert_int_eq(Q_MAX(3, -1), 3);
}
END_TEST

START_TEST(clock_moves_forward_in_nanoseconds)
{
	uint64_t a = qnow_ns(), last = a;

	for (int i = 0; i < 1000; i++) {
		uint64_t now = qnow_ns();

		ck_assert_uint_ge(now, last);
		last = now;
	}
	usleep(20 * 1000);
	uint64_t slept = qnow_ns() - a;
	ck_assert_uint_ge(slept, 20 * Q_NSEC_PER_MSEC);
	/* Wrong units would be off by a thousand; a busy machine is not. */
	ck_assert_uint_lt(slept, 15 * Q_NSEC_PER_SEC);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qdef");
	TCase *tc = fixture_case(s, "qdef");

	tcase_add_loop_test(tc, inside_row, 0, Q_ARRAY_LEN(inside_rows));
	tcase_add_loop_test(tc, overlap_row, 0, Q_ARRAY_LEN(overlap_rows));
	tcase_add_loop_test(tc, align_row, 0, Q_ARRAY_LEN(align_rows));
	tcase_add_test(tc, clean_runs_on_every_way_out);
	tcase_add_test(tc, container_and_arrays);
	tcase_add_test(tc, clock_moves_forward_in_nanoseconds);
	return fixture_main(s);
}
