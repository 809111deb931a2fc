/* SPDX-License-Identifier: Apache-2.0 */
/* vdevs/debug_exit.c: which writes end the VM, and with which code. */
#include "tests/unit/fixture.h"
#include "tests/unit/vdharness.h"

#define PORT 0xf4u

/* @left: the code that the VM ends with; 0: it goes on. */
static const struct {
	uint64_t off, val;
	unsigned size, left, n_faults;
} rows[] = {
	{ 0, 0, 1, 32, 0 },
	{ 0, 0x10, 1, 48, 0 },
	{ 0, 0x11, 2, 49, 0 },
	{ 0, 31, 4, 63, 0 },
	{ 0, 32, 1, 0, 1 },
	{ 0, 0xff, 1, 0, 1 },
	{ 0, 0x100, 2, 0, 1 },		/* no number is cut to one that ends */
	{ 0, 0xffff0000, 4, 0, 1 },
	{ 1, 1, 1, 0, 0 },
	{ 2, 1, 2, 0, 0 },
	{ 3, 1, 1, 0, 0 },
};

START_TEST(write_row)
{
	struct vdh h;

	vdh_init(&h);
	ck_assert_int_eq(vdh_create(&h, "debug-exit", VD_IO, PORT, 0), 0);
	vdh_write(&h, VD_IO, PORT + rows[_i].off, rows[_i].size, rows[_i].val);
	ck_assert_uint_eq(h.left, rows[_i].left);
	ck_assert_uint_eq(h.n_faults, rows[_i].n_faults);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_REQUEST), rows[_i].n_faults);
	vdh_fini(&h);
}
END_TEST

START_TEST(reads_all_ones)
{
	struct vdh h;

	vdh_init(&h);
	ck_assert_int_eq(vdh_create(&h, "debug-exit", VD_MEM, 0x1c100000, 0), 0);
	for (unsigned off = 0; off < 4; off++)
		ck_assert_uint_eq(vdh_read(&h, VD_MEM, 0x1c100000 + off, 1) & 0xff, 0xff);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, 0x1c100000, 4) & UINT32_MAX, UINT32_MAX);
	ck_assert_uint_eq(h.left, 0);
	vdh_write(&h, VD_MEM, 0x1c100000, 4, 7);
	ck_assert_uint_eq(h.left, 39);
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_exit");
	TCase *tc = fixture_case(s, "debug-exit");

	tcase_add_loop_test(tc, write_row, 0, Q_ARRAY_LEN(rows));
	tcase_add_test(tc, reads_all_ones);
	return fixture_main(s);
}
