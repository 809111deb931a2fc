/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arm's watchdog at `wdt=`, line `intid=`: every register in each width and at its edges, one
 * interrupt, kept quiet, stopped; with "bite=1" it is then left alone and ends the machine.
 */
#include "tests/guests/rt/rt.h"

#define UNLOCK	0x1acce551u
#define HZ	25000000u
#define PATIENCE_NS (20 * RT_NS_PER_S)

enum { LOAD = 0, VALUE = 4, CONTROL = 8, INTCLR = 0xc, RIS = 0x10, MIS = 0x14, LOCK = 0xc00 };

static uint64_t base;

static const struct row {
	const char *what;	/* NULL: as before */
	char op;
	uint8_t width;
	uint16_t reg;
	uint32_t val;
} rows[] = {
	{ "reset", 'r', 4, LOAD, 0xffffffff }, { NULL, 'r', 4, VALUE, 0xffffffff },
	{ NULL, 'r', 4, CONTROL, 0 }, { NULL, 'r', 4, RIS, 0 }, { NULL, 'r', 4, MIS, 0 },
	{ NULL, 'r', 4, LOCK, 0 }, { NULL, 'r', 4, INTCLR, 0 },
	{ "identification", 'r', 4, 0xfe0, 0x05 }, { NULL, 'r', 4, 0xfe4, 0x18 },
	{ NULL, 'r', 4, 0xfe8, 0x14 }, { NULL, 'r', 4, 0xfec, 0 }, { NULL, 'r', 4, 0xff0, 0x0d },
	{ NULL, 'r', 4, 0xff4, 0xf0 }, { NULL, 'r', 4, 0xff8, 0x05 }, { NULL, 'r', 4, 0xffc, 0xb1 },
	{ NULL, 'w', 4, 0xfe0, 0 }, { NULL, 'r', 4, 0xfe0, 0x05 }, { NULL, 'r', 1, 0xfe4, 0x18 },
	{ "load", 'w', 4, LOAD, 0x12345678 }, { NULL, 'r', 4, LOAD, 0x12345678 },
	{ NULL, 'r', 4, VALUE, 0x12345678 }, { NULL, 'r', 2, LOAD, 0x5678 },
	{ NULL, 'r', 2, LOAD + 2, 0x1234 }, { NULL, 'r', 1, LOAD + 3, 0x12 },
	{ "only words are written", 'w', 1, LOAD, 0 }, { NULL, 'w', 2, LOAD + 2, 0 },
	{ NULL, 'r', 4, LOAD, 0x12345678 },
	{ "the value is read-only", 'w', 4, VALUE, 1 }, { NULL, 'r', 4, VALUE, 0x12345678 },
	{ "states are read-only", 'w', 4, RIS, 1 }, { NULL, 'w', 4, MIS, 1 },
	{ NULL, 'r', 4, RIS, 0 }, { NULL, 'r', 4, MIS, 0 },
	{ "lock", 'w', 4, LOCK, 1 }, { NULL, 'r', 4, LOCK, 1 }, { NULL, 'w', 4, LOAD, 7 },
	{ NULL, 'w', 4, CONTROL, 3 }, { NULL, 'r', 4, LOAD, 0x12345678 },
	{ NULL, 'r', 4, CONTROL, 0 }, { NULL, 'w', 4, LOCK, UNLOCK }, { NULL, 'r', 4, LOCK, 0 },
	{ "control has two bits", 'w', 4, CONTROL, 0xfffffffe }, { NULL, 'r', 4, CONTROL, 2 },
	{ NULL, 'w', 4, CONTROL, 0 },
	{ "nothing there", 'w', 4, 0x18, 1 }, { NULL, 'r', 4, 0x18, 0 },
	{ NULL, 'w', 4, 0xbfc, 1 }, { NULL, 'r', 4, 0xbfc, 0 }, { NULL, 'r', 4, 0xfdc, 0 },
};

static uint32_t reg_read(unsigned reg, unsigned width)
{
	if (width == 1)
		return *(volatile uint8_t *)(base + reg);
	return width == 2 ? *(volatile uint16_t *)(base + reg) : *(volatile uint32_t *)(base + reg);
}

static void reg_write(unsigned reg, unsigned width, uint32_t val)
{
	if (width == 1)
		*(volatile uint8_t *)(base + reg) = (uint8_t)val;
	else if (width == 2)
		*(volatile uint16_t *)(base + reg) = (uint16_t)val;
	else
		*(volatile uint32_t *)(base + reg) = val;
}

static void registers(void)
{
	const char *what = "";

	for (unsigned i = 0; i < RT_ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];

		what = r->what ? r->what : what;
		if (r->op == 'w') {
			reg_write(r->reg, r->width, r->val);
			continue;
		}
		uint32_t got = reg_read(r->reg, r->width);
		if (got != r->val)
			rt_fail("%s: row %u, register 0x%x is 0x%x, expected 0x%x", what, i, r->reg,
				got, r->val);
	}
	rt_printf("sp805: rows=%u\n", (unsigned)RT_ARRAY_LEN(rows));
}

static void wait_for(const char *what, int irq, uint32_t count)
{
	uint64_t end = arch_ticks() + rt_ticks(PATIENCE_NS);

	for (;;) {
		uint32_t seen = rt_wake;

		if (rt_irq_count[irq] >= count)
			return;
		if (arch_ticks() >= end)
			rt_fail("%s: no interrupt", what);
		rt_wait(seen, end);
	}
}

/* The first period only interrupts, as often as it is cleared; without RESEN nothing bites. */
static void interrupts(int irq)
{
	reg_write(LOAD, 4, HZ / 100);
	reg_write(CONTROL, 4, 1);
	for (uint32_t n = 1; n <= 3; n++) {
		wait_for("a period", irq, n);
		if (reg_read(RIS, 4) != 1 || reg_read(MIS, 4) != 1)
			rt_fail("the interrupt is not in RIS and MIS");
		reg_write(INTCLR, 4, n);
	}
	reg_write(CONTROL, 4, 0);
	reg_write(INTCLR, 4, 1);
	if (reg_read(RIS, 4) || reg_read(MIS, 4))
		rt_fail("a stopped watchdog has an interrupt");
	uint32_t value = reg_read(VALUE, 4);
	if (value > HZ / 100 || value != reg_read(VALUE, 4))
		rt_fail("a stopped watchdog counts: %u", value);
	rt_printf("sp805: interrupts=%u\n", rt_irq_count[irq]);
}

void guest_main(void)
{
	int irq = rt_irq_alloc();

	base = rt_arg_u64("wdt", 0x1c0f0000);
	if (irq < 0)
		rt_fail("no interrupt is left");
	rt_irq_route((unsigned)rt_arg_u64("intid", 40), irq);
	registers();
	interrupts(irq);
	if (!rt_arg_u64("bite", 0))
		return;
	rt_printf("sp805: left alone\n");
	reg_write(CONTROL, 4, 3);
	uint64_t end = arch_ticks() + rt_ticks(PATIENCE_NS);
	while (arch_ticks() < end)
		rt_wait(rt_wake, end);
	rt_fail("it has not bitten");
}
