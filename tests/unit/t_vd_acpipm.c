/* SPDX-License-Identifier: Apache-2.0 */
/* vdevs/acpipm.c: how a guest goes, and how it is asked to. */
#include "tests/unit/fixture.h"
#include "tests/unit/vdharness.h"
#include "vdevs/acpipm.h"

static void pm_open(struct vdh *h, uint64_t taken_port)
{
	vdh_init(h);
	h->taken_addr = taken_port;
	ck_assert_int_eq(vdh_create(h, "acpi-pm", VD_IO, VD_ACPIPM_PM1A_EVT, 1), 0);
}

static const struct {
	const char *what;
	unsigned port, size;
	uint64_t val;
	int want;
} power_rows[] = {
	{ "S5", VD_ACPIPM_PM1A_CNT, 2, 0x3401, VD_POWER_OFF },
	{ "S5 by its high byte", VD_ACPIPM_PM1A_CNT + 1, 1, 0x34, VD_POWER_OFF },
	{ "S5 without SLP_EN", VD_ACPIPM_PM1A_CNT, 2, 0x1401, -1 },
	{ "S3", VD_ACPIPM_PM1A_CNT, 2, 0x2c01, -1 },
	{ "enable register", VD_ACPIPM_PM1A_EVT + 2, 2, 0x3400, -1 },
	{ "reset register, warm", VD_ACPIPM_RESET, 1, VD_ACPIPM_RESET_VALUE, VD_POWER_RESET },
	{ "reset register, cold", VD_ACPIPM_RESET, 1, 0x0e, VD_POWER_RESET },
	{ "reset register, armed only", VD_ACPIPM_RESET, 1, 0x02, -1 },
	{ "keyboard controller", VD_ACPIPM_KBD, 1, 0xfe, VD_POWER_RESET },
	{ "another keyboard command", VD_ACPIPM_KBD, 1, 0x20, -1 },
};
START_TEST(power)
{
	struct vdh h;

	pm_open(&h, 0);
	vdh_write(&h, VD_IO, power_rows[_i].port, power_rows[_i].size, power_rows[_i].val);
	ck_assert_msg(h.power == power_rows[_i].want, "%s: %d", power_rows[_i].what, h.power);
	ck_assert_uint_eq(h.n_power, power_rows[_i].want >= 0);
	vdh_fini(&h);
}
END_TEST

START_TEST(registers)
{
	struct vdh h;

	pm_open(&h, 0);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, 0x600, 4), 0);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, 0x604, 2), 1);	/* SCI_EN: always ACPI mode */
	vdh_write(&h, VD_IO, 0x604, 2, 0x1c02);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, 0x604, 2), 0x1c03);
	vdh_write(&h, VD_IO, 0x602, 2, 0xffff);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, 0x602, 2), 0x0721);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, VD_ACPIPM_KBD, 1), 0);
	vdh_write(&h, VD_IO, VD_ACPIPM_RESET, 1, 2);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, VD_ACPIPM_RESET, 1), 2);
	vdh_fini(&h);
}
END_TEST

START_TEST(button)
{
	struct vdh h;

	pm_open(&h, 0);
	ck_assert(!h.v->ops->button(h.v));	/* nobody listens: not kept for later */
	vdh_write(&h, VD_IO, 0x602, 2, 0x0100);
	ck_assert(!h.level[0]);
	ck_assert(h.v->ops->button(h.v));
	ck_assert(h.level[0]);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, 0x600, 2), 0x0100);
	vdh_write(&h, VD_IO, 0x600, 2, 0x0001);	/* another bit */
	ck_assert(h.level[0]);
	vdh_write(&h, VD_IO, 0x600, 2, 0x0100);
	ck_assert(!h.level[0]);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, 0x600, 2), 0);
	vdh_fini(&h);
}
END_TEST

/* A real keyboard controller at its port: it stays, and we do without. */
START_TEST(port_taken)
{
	struct vdh h;

	pm_open(&h, VD_ACPIPM_KBD);
	ck_assert(!h.win[2].mapped);
	vdh_write(&h, VD_IO, VD_ACPIPM_RESET, 1, 6);
	ck_assert_int_eq(h.power, VD_POWER_RESET);
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_acpipm");
	TCase *tc = fixture_case(s, "acpi-pm");

	tcase_add_loop_test(tc, power, 0, Q_ARRAY_LEN(power_rows));
	tcase_add_test(tc, registers);
	tcase_add_test(tc, button);
	tcase_add_test(tc, port_taken);
	return fixture_main(s);
}
