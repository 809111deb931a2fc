/* SPDX-License-Identifier: Apache-2.0 */
/* vdevs/pckeyboard.c: the controller's commands, the keyboard's, the interrupt, the reset line. */
#include <errno.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vdharness.h"

#define DATA 0x60u
#define CMD 0x64u
#define NONE -1

static void open_keyboard(struct vdh *h)
{
	vdh_init(h);
	ck_assert_int_eq(vdh_create(h, "pckeyboard", VD_IO, DATA, 1), 0);
}

static void cmd(struct vdh *h, uint8_t val)
{
	vdh_write(h, VD_IO, CMD, 1, val);
}

static void data(struct vdh *h, uint8_t val)
{
	vdh_write(h, VD_IO, DATA, 1, val);
}

/* The next byte, or NONE. */
static int get(struct vdh *h)
{
	if (!(vdh_read(h, VD_IO, CMD, 1) & 1))
		return NONE;
	return (int)(vdh_read(h, VD_IO, DATA, 1) & 0xff);
}

static const struct {
	const char *what;
	int cmd, data;	/* to the ports, in this order; NONE: not written */
	int want[4];	/* what comes back; the rest of it is 0, which ends it */
} rows[] = {
	{ "self test", 0xaa, NONE, { 0x55 } },
	{ "test of the keyboard's wire", 0xab, NONE, { 0x100 } },
	{ "test of a second port that is not there", 0xa9, NONE, { 1 } },
	{ "control register, as firmware leaves it", 0x20, NONE, { 0x65 } },
	{ "input port", 0xc0, NONE, { 0x80 } },
	{ "output port", 0xd0, NONE, { 0xc3 } },
	{ "a byte as if the keyboard had sent it", 0xd2, 0x12, { 0x12 } },
	{ "a byte to a second port that is not there", 0xd4, 0xff, { NONE } },
	{ "a command that the chip does not have", 0x00, NONE, { NONE } },
	{ "echo", NONE, 0xee, { 0xee } },
	{ "identity, translated", NONE, 0xf2, { 0xfa, 0xab, 0x41 } },
	{ "reset", NONE, 0xff, { 0xfa, 0xaa } },
	{ "enable", NONE, 0xf4, { 0xfa } },
	{ "disable", NONE, 0xf5, { 0xfa } },
	{ "defaults", NONE, 0xf6, { 0xfa } },
	{ "all keys of set 3", NONE, 0xf9, { 0xfa } },
	{ "a command that no keyboard has", NONE, 0xef, { 0xfe } },
};
START_TEST(row)
{
	struct vdh h;

	open_keyboard(&h);
	if (rows[_i].cmd != NONE)
		cmd(&h, (uint8_t)rows[_i].cmd);
	if (rows[_i].data != NONE)
		data(&h, (uint8_t)rows[_i].data);
	for (unsigned i = 0; i < 4 && rows[_i].want[i] && rows[_i].want[i] != NONE; i++) {
		int got = get(&h);
		ck_assert_msg(got == (rows[_i].want[i] & 0xff), "%s: byte %u is %#x", rows[_i].what,
			      i, got);
	}
	ck_assert_msg(get(&h) == NONE, "%s: more", rows[_i].what);
	ck_assert_int_eq(h.power, -1);
	vdh_fini(&h);
}
END_TEST

static const struct { uint8_t cmd; int data, want; } reset_rows[] = {
	{ 0xfe, NONE, VD_POWER_RESET },
	{ 0xf0, NONE, VD_POWER_RESET },	/* all lines, that of the reset among them */
	{ 0xff, NONE, -1 },
	{ 0xfd, NONE, -1 },
	{ 0xd1, 0xfe, VD_POWER_RESET },
	{ 0xd1, 0xdf, -1 },
	{ 0xdd, NONE, -1 },
	{ 0xdf, NONE, -1 },
};
START_TEST(reset_line)
{
	struct vdh h;

	open_keyboard(&h);
	cmd(&h, reset_rows[_i].cmd);
	if (reset_rows[_i].data != NONE)
		data(&h, (uint8_t)reset_rows[_i].data);
	ck_assert_int_eq(h.power, reset_rows[_i].want);
	vdh_fini(&h);
}
END_TEST

START_TEST(gate_a20)
{
	struct vdh h;

	open_keyboard(&h);
	cmd(&h, 0xdd);
	cmd(&h, 0xd0);
	ck_assert_int_eq(get(&h), 0xc1);
	cmd(&h, 0xdf);
	cmd(&h, 0xd0);
	ck_assert_int_eq(get(&h), 0xc3);
	vdh_fini(&h);
}
END_TEST

START_TEST(controller_memory)
{
	struct vdh h;

	open_keyboard(&h);
	for (unsigned i = 0; i < 32; i++) {
		cmd(&h, (uint8_t)(0x60 + i));
		data(&h, (uint8_t)(i ^ 0x4a));
	}
	for (unsigned i = 0; i < 32; i++) {
		cmd(&h, (uint8_t)(0x20 + i));
		ck_assert_int_eq(get(&h), (int)(i ^ 0x4a));
	}
	cmd(&h, 0x60);
	data(&h, 0x45);
	cmd(&h, 0xad);	/* the keyboard off, on; the second port on, off */
	cmd(&h, 0xa8);
	cmd(&h, 0x20);
	ck_assert_int_eq(get(&h), 0x55);
	cmd(&h, 0xae);
	cmd(&h, 0xa7);
	cmd(&h, 0x20);
	ck_assert_int_eq(get(&h), 0x65);
	vdh_fini(&h);
}
END_TEST

/* Commands with an argument; a command in the argument's place is a command. */
START_TEST(arguments)
{
	struct vdh h;
	char text[128];

	open_keyboard(&h);
	data(&h, 0xed);
	ck_assert_int_eq(get(&h), 0xfa);
	data(&h, 0x05);
	ck_assert_int_eq(get(&h), 0xfa);
	data(&h, 0xf3);
	ck_assert_int_eq(get(&h), 0xfa);
	data(&h, 0xee);
	ck_assert_int_eq(get(&h), 0xee);
	data(&h, 0xf0);
	ck_assert_int_eq(get(&h), 0xfa);
	data(&h, 3);
	ck_assert_int_eq(get(&h), 0xfa);
	data(&h, 0xf0);
	data(&h, 0);
	ck_assert_int_eq(get(&h), 0xfa);
	ck_assert_int_eq(get(&h), 0xfa);
	ck_assert_int_eq(get(&h), 3);
	data(&h, 0xf0);
	data(&h, 4);
	ck_assert_int_eq(get(&h), 0xfa);
	ck_assert_int_eq(get(&h), 0xfe);
	data(&h, 0xfe);		/* once more */
	ck_assert_int_eq(get(&h), 0xfe);
	h.v->ops->status(h.v, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "leds=5 scan_set=3 scanning=1"));
	vdh_fini(&h);
}
END_TEST

/* Each byte is an edge of its own, and only while the control register says so. */
START_TEST(interrupt)
{
	struct vdh h;

	open_keyboard(&h);
	data(&h, 0xf2);
	ck_assert(h.level[0]);
	ck_assert_uint_eq(h.raises[0], 1);
	for (unsigned i = 2; i <= 3; i++) {
		get(&h);
		ck_assert(h.level[0]);
		ck_assert_uint_eq(h.raises[0], i);
	}
	get(&h);
	ck_assert(!h.level[0]);
	vdh_read(&h, VD_IO, DATA, 1);	/* nothing there: the last byte, no edge */
	ck_assert_uint_eq(h.raises[0], 3);
	cmd(&h, 0x60);
	data(&h, 0x44);
	data(&h, 0xee);
	ck_assert(!h.level[0]);
	cmd(&h, 0x60);
	data(&h, 0x45);
	ck_assert(h.level[0]);	/* what waits is told */
	cmd(&h, 0xaa);		/* the test throws it away, and switches the interrupt off */
	ck_assert(!h.level[0]);
	ck_assert_int_eq(get(&h), 0x55);
	vdh_fini(&h);
}
END_TEST

/* A guest that never reads: the queue is full, and that is all. */
START_TEST(full)
{
	struct vdh h;
	unsigned n = 0;

	open_keyboard(&h);
	for (unsigned i = 0; i < 100; i++)
		data(&h, 0xee);
	while (get(&h) == 0xee)
		n++;
	ck_assert_uint_eq(n, 16);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, CMD, 1) & 0xff, 0x14);
	cmd(&h, 0xa7);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, CMD, 1) & 0xff, 0x1c);	/* the last was a command */
	vdh_fini(&h);
}
END_TEST

START_TEST(port_taken)
{
	struct vdh h;

	vdh_init(&h);
	h.taken_addr = CMD;
	ck_assert_int_eq(vdh_create(&h, "pckeyboard", VD_IO, DATA, 1), -EEXIST);
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_keyboard");
	TCase *tc = fixture_case(s, "pckeyboard");

	tcase_add_loop_test(tc, row, 0, Q_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, reset_line, 0, Q_ARRAY_LEN(reset_rows));
	tcase_add_test(tc, gate_a20);
	tcase_add_test(tc, controller_memory);
	tcase_add_test(tc, arguments);
	tcase_add_test(tc, interrupt);
	tcase_add_test(tc, full);
	tcase_add_test(tc, port_taken);
	return fixture_main(s);
}
