/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/wdt_sp805.c in virtual time: registers as Linux' sp805_wdt uses them, the two periods, the
 * lock, and what a guest may do in the wrong order.
 */
#include <errno.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vdharness.h"

#define BASE   0x1c0f0000ull
#define HZ     1000u		/* a tick is a millisecond */
#define TICK   Q_NSEC_PER_MSEC
#define UNLOCK 0x1acce551u

enum { LOAD = 0x0, VALUE = 0x4, CONTROL = 0x8, INTCLR = 0xc, RIS = 0x10, MIS = 0x14, LOCK = 0xc00 };
enum { INTEN = 1, RESEN = 2 };

static struct vdh h;

static void open_with(const char *action, uint64_t hz, unsigned n_irqs)
{
	vdh_init(&h);
	if (action)
		vdh_arg(&h, "action", action, 0);
	if (hz)
		vdh_arg(&h, "frequency", "", hz);
	ck_assert_int_eq(vdh_create(&h, "wdt-sp805", VD_MEM, BASE, n_irqs), 0);
	vdh_advance(&h, 1);
}

static uint32_t in32(unsigned reg)
{
	return (uint32_t)vdh_read(&h, VD_MEM, BASE + reg, 4);
}

static void out32(unsigned reg, uint32_t val)
{
	vdh_write(&h, VD_MEM, BASE + reg, 4, val);
}

/* As Linux does it: all between unlock and lock. */
static void start(uint32_t load)
{
	out32(LOCK, UNLOCK);
	out32(LOAD, load);
	out32(INTCLR, 1);
	out32(CONTROL, INTEN | RESEN);
	out32(LOCK, 0);
}

static void ping(uint32_t load)
{
	out32(LOCK, UNLOCK);
	out32(LOAD, load);
	out32(INTCLR, 1);
	out32(LOCK, 0);
}

static const struct {
	unsigned reg;
	uint32_t want;
} reset_rows[] = {
	{ LOAD, UINT32_MAX }, { VALUE, UINT32_MAX }, { CONTROL, 0 }, { INTCLR, 0 },
	{ RIS, 0 },	      { MIS, 0 },	     { LOCK, 0 },    { 0x18, 0 },
	{ 0xf00, 0 },	      { 0xfe0, 0x05 },	     { 0xfe4, 0x18 }, { 0xfe8, 0x14 },
	{ 0xfec, 0x00 },      { 0xff0, 0x0d },	     { 0xff4, 0xf0 }, { 0xff8, 0x05 },
	{ 0xffc, 0xb1 },
};

START_TEST(reset_values)
{
	open_with(NULL, 0, 1);
	ck_assert_uint_eq(in32(reset_rows[_i].reg), reset_rows[_i].want);
	vdh_fini(&h);
}
END_TEST

/* The default: 25 MHz, so that 75 million ticks are 3 s, and the bite comes after 6. */
START_TEST(bites_after_two_periods)
{
	open_with(NULL, 0, 1);
	start(75000000);
	vdh_advance(&h, 3 * Q_NSEC_PER_SEC - TICK);
	ck_assert_uint_eq(in32(RIS), 0);
	ck_assert(!h.level[0]);
	vdh_advance(&h, TICK);
	ck_assert(h.level[0]);
	ck_assert_uint_eq(in32(RIS), 1);
	ck_assert_uint_eq(in32(MIS), 1);
	ck_assert_int_eq(h.power, -1);
	vdh_advance(&h, 3 * Q_NSEC_PER_SEC - TICK);
	ck_assert_int_eq(h.power, -1);
	vdh_advance(&h, TICK);
	ck_assert_int_eq(h.power, VD_POWER_WATCHDOG);
	ck_assert_uint_eq(h.n_power, 1);
	ck_assert_ptr_nonnull(strstr(h.logged, "watchdog_bite"));
	vdh_fini(&h);
}
END_TEST

START_TEST(pinged_for_an_hour)
{
	open_with(NULL, HZ, 1);
	start(1000);
	for (unsigned i = 0; i < 3600; i++) {
		vdh_advance(&h, 999 * TICK);
		ck_assert(!h.level[0]);
		ping(1000);
	}
	/* Late, but not too late: the interrupt was raised, and goes. */
	vdh_advance(&h, 1500 * TICK);
	ck_assert(h.level[0]);
	ping(1000);
	ck_assert(!h.level[0]);
	vdh_advance(&h, 1500 * TICK);
	ck_assert_int_eq(h.power, -1);
	vdh_advance(&h, 500 * TICK);
	ck_assert_int_eq(h.power, VD_POWER_WATCHDOG);
	vdh_fini(&h);
}
END_TEST

static const struct {
	const char *action;
	int power;
	unsigned n_raises;	/* the line: once for the first period, once more for fiq */
} action_rows[] = {
	{ NULL, VD_POWER_WATCHDOG, 1 },
	{ "terminate", VD_POWER_WATCHDOG, 1 },
	{ "dump,terminate", VD_POWER_WATCHDOG_DUMP, 1 },
	{ "fiq", -1, 2 },
	{ "dump,fiq", VD_POWER_DUMP, 2 },
};

START_TEST(action_row)
{
	open_with(action_rows[_i].action, HZ, 1);
	start(10);
	vdh_advance(&h, 20 * TICK);
	ck_assert_int_eq(h.power, action_rows[_i].power);
	ck_assert_uint_eq(h.raises[0], action_rows[_i].n_raises);
	ck_assert(h.level[0]);
	/* It bites once, however long nobody comes; after it was cleared, again. */
	vdh_advance(&h, 100000 * TICK);
	ck_assert_uint_eq(h.raises[0], action_rows[_i].n_raises);
	ck_assert_uint_eq(h.n_power, action_rows[_i].power >= 0);
	ping(10);
	ck_assert(!h.level[0]);
	vdh_advance(&h, 20 * TICK);
	ck_assert_uint_eq(h.raises[0], 2 * action_rows[_i].n_raises);
	vdh_fini(&h);
}
END_TEST

START_TEST(without_reset_it_only_interrupts)
{
	open_with(NULL, HZ, 1);
	out32(LOAD, 100);
	out32(CONTROL, INTEN);
	vdh_advance(&h, 100 * TICK);
	ck_assert(h.level[0]);
	vdh_advance(&h, 12345 * TICK);
	ck_assert_int_eq(h.power, -1);
	/* The counter goes on, period after period. */
	ck_assert_uint_eq(in32(VALUE), 100 - 45);
	/* Asked to bite now, it does at the end of the present period. */
	out32(CONTROL, INTEN | RESEN);
	vdh_advance(&h, 54 * TICK);
	ck_assert_int_eq(h.power, -1);
	vdh_advance(&h, TICK);
	ck_assert_int_eq(h.power, VD_POWER_WATCHDOG);
	vdh_fini(&h);
}
END_TEST

START_TEST(counter)
{
	open_with(NULL, HZ, 1);
	out32(LOAD, 1000);
	ck_assert_uint_eq(in32(VALUE), 1000);
	vdh_advance(&h, 500 * TICK);
	ck_assert_uint_eq(in32(VALUE), 1000);	/* not enabled */
	out32(CONTROL, INTEN);
	vdh_advance(&h, 300 * TICK);
	ck_assert_uint_eq(in32(VALUE), 700);
	out32(LOAD, 5000);			/* at once */
	ck_assert_uint_eq(in32(VALUE), 5000);
	vdh_advance(&h, 1000 * TICK);
	out32(CONTROL, 0);
	ck_assert_uint_eq(in32(VALUE), 4000);
	vdh_advance(&h, 1000000 * TICK);
	ck_assert_uint_eq(in32(VALUE), 4000);	/* it stands */
	ck_assert_uint_eq(in32(RIS), 0);
	out32(CONTROL, INTEN);			/* reloads */
	ck_assert_uint_eq(in32(VALUE), 5000);
	out32(VALUE, 7);			/* read-only */
	out32(RIS, 1);
	out32(MIS, 1);
	ck_assert_uint_eq(in32(VALUE), 5000);
	ck_assert_uint_eq(in32(RIS) | in32(MIS), 0);
	out32(CONTROL, UINT32_MAX);
	ck_assert_uint_eq(in32(CONTROL), INTEN | RESEN);
	vdh_fini(&h);
}
END_TEST

START_TEST(disabled_interrupt_is_masked)
{
	open_with(NULL, HZ, 1);
	start(10);
	vdh_advance(&h, 10 * TICK);
	ck_assert(h.level[0]);
	out32(LOCK, UNLOCK);
	out32(CONTROL, RESEN);
	ck_assert(!h.level[0]);
	ck_assert_uint_eq(in32(RIS), 1);
	ck_assert_uint_eq(in32(MIS), 0);
	vdh_advance(&h, 1000 * TICK);
	ck_assert_int_eq(h.power, -1);
	/* Enabled again it still has the interrupt, so that one period is left. */
	out32(CONTROL, INTEN | RESEN);
	ck_assert(h.level[0]);
	vdh_advance(&h, 9 * TICK);
	ck_assert_int_eq(h.power, -1);
	vdh_advance(&h, TICK);
	ck_assert_int_eq(h.power, VD_POWER_WATCHDOG);
	vdh_fini(&h);
}
END_TEST

/* What is written while it is locked is not there. */
START_TEST(lock)
{
	open_with(NULL, HZ, 1);
	start(1000);
	ck_assert_uint_eq(in32(LOCK), 1);
	out32(LOAD, 77);
	out32(CONTROL, 0);
	out32(INTCLR, 1);
	ck_assert_uint_eq(in32(LOAD), 1000);
	ck_assert_uint_eq(in32(CONTROL), INTEN | RESEN);
	vdh_advance(&h, 1500 * TICK);
	out32(INTCLR, 1);
	ck_assert_uint_eq(in32(RIS), 1);
	out32(LOCK, UNLOCK - 1);
	ck_assert_uint_eq(in32(LOCK), 1);
	out32(LOCK, UNLOCK);
	ck_assert_uint_eq(in32(LOCK), 0);
	out32(INTCLR, 1);
	ck_assert_uint_eq(in32(RIS), 0);
	vdh_fini(&h);
}
END_TEST

/*
 * Accesses of other sizes and at odd places: reads show the register's bytes, writes need a word.
 */
START_TEST(widths)
{
	open_with(NULL, HZ, 1);
	out32(LOAD, 0x11223344);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(vdh_read(&h, VD_MEM, BASE + LOAD + i, 1) & 0xff,
				  0x11223344 >> (8 * i) & 0xff);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, BASE + LOAD + 2, 2) & 0xffff, 0x1122);
	vdh_write(&h, VD_MEM, BASE + LOAD, 1, 0);
	vdh_write(&h, VD_MEM, BASE + LOAD, 2, 0);
	vdh_write(&h, VD_MEM, BASE + LOAD + 2, 4, 0);
	ck_assert_uint_eq(in32(LOAD), 0x11223344);
	vdh_write(&h, VD_MEM, BASE + LOAD, 8, 0x5500000044ull);
	ck_assert_uint_eq(in32(LOAD), 0x44);
	ck_assert_uint_eq(in32(VALUE), 0x44);
	vdh_fini(&h);
}
END_TEST

/* The shortest and the longest period, at the slowest and the fastest clock. */
static const struct {
	uint32_t hz, load;
	uint64_t period_ns;
} period_rows[] = {
	{ 1000000000, 1, 1 },
	{ 1000000000, 0, 1 },
	{ 25000000, 0, 40 },
	{ 3, 1, 333333334 },
	{ 1, 0, Q_NSEC_PER_SEC },
	{ 25000000, UINT32_MAX, 171798691800 },
	{ 1, UINT32_MAX, UINT32_MAX * Q_NSEC_PER_SEC },
};

START_TEST(period_row)
{
	open_with(NULL, period_rows[_i].hz, 1);
	start(period_rows[_i].load);
	vdh_advance(&h, period_rows[_i].period_ns - 1);
	ck_assert(!h.level[0]);
	vdh_advance(&h, 1);
	ck_assert(h.level[0]);
	ck_assert_int_eq(h.power, -1);
	vdh_advance(&h, period_rows[_i].period_ns);
	ck_assert_int_eq(h.power, VD_POWER_WATCHDOG);
	vdh_fini(&h);
}
END_TEST

/* A timer that runs late, or never: what a register says does not depend on it. */
START_TEST(late_timer)
{
	open_with(NULL, HZ, 1);
	start(10);
	h.now_ns += 15 * TICK;
	ck_assert_uint_eq(in32(RIS), 1);
	ck_assert(h.level[0]);
	ck_assert_uint_eq(in32(VALUE), 5);
	h.now_ns += 10 * TICK;
	ck_assert_int_eq(h.power, -1);
	ping(10);	/* too late: the second period was over */
	ck_assert_int_eq(h.power, VD_POWER_WATCHDOG);
	vdh_fini(&h);
}
END_TEST

START_TEST(without_a_line)
{
	open_with("fiq", HZ, 0);
	start(10);
	vdh_advance(&h, 100 * TICK);
	ck_assert_uint_eq(in32(RIS), 1);
	ck_assert_uint_eq(h.raises[0], 0);
	vdh_fini(&h);
}
END_TEST

START_TEST(after_quiesce)
{
	open_with(NULL, HZ, 1);
	start(10);
	h.v->ops->quiesce(h.v);
	vdh_advance(&h, 100 * TICK);
	ck_assert_int_eq(h.power, -1);
	vdh_fini(&h);
}
END_TEST

START_TEST(status)
{
	char buf[256];

	open_with(NULL, HZ, 1);
	start(10);
	vdh_advance(&h, 12 * TICK);
	h.v->ops->status(h.v, buf, sizeof(buf));
	ck_assert_str_eq(buf, "load=0xa value=0x8 control=0x3 ris=1 locked=1 bites=0");
	vdh_fini(&h);
}
END_TEST

static const struct {
	const char *action;
	uint64_t hz;
} wrong_rows[] = {
	{ "", 0 }, { "reset", 0 }, { "dump", 0 }, { "dump,", 0 }, { "terminate,dump", 0 },
	{ "fiq,terminate", 0 }, { "dump,dump,fiq", 0 }, { NULL, 1000000001 },
};

START_TEST(wrong_row)
{
	vdh_init(&h);
	if (wrong_rows[_i].action)
		vdh_arg(&h, "action", wrong_rows[_i].action, 0);
	if (wrong_rows[_i].hz)
		vdh_arg(&h, "frequency", "1000000001", wrong_rows[_i].hz);
	ck_assert_int_eq(vdh_create(&h, "wdt-sp805", VD_MEM, BASE, 1), -EINVAL);
	ck_assert_uint_eq(h.errs.n_errors, 1);
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wdt_sp805");
	TCase *tc = fixture_case(s, "sp805");

	tcase_add_loop_test(tc, reset_values, 0, Q_ARRAY_LEN(reset_rows));
	tcase_add_test(tc, bites_after_two_periods);
	tcase_add_test(tc, pinged_for_an_hour);
	tcase_add_loop_test(tc, action_row, 0, Q_ARRAY_LEN(action_rows));
	tcase_add_test(tc, without_reset_it_only_interrupts);
	tcase_add_test(tc, counter);
	tcase_add_test(tc, disabled_interrupt_is_masked);
	tcase_add_test(tc, lock);
	tcase_add_test(tc, widths);
	tcase_add_loop_test(tc, period_row, 0, Q_ARRAY_LEN(period_rows));
	tcase_add_test(tc, late_timer);
	tcase_add_test(tc, without_a_line);
	tcase_add_test(tc, after_quiesce);
	tcase_add_test(tc, status);
	tcase_add_loop_test(tc, wrong_row, 0, Q_ARRAY_LEN(wrong_rows));
	return fixture_main(s);
}
