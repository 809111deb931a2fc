/* SPDX-License-Identifier: Apache-2.0 */
/* The timers: HPET (at "hpet=", lines 0, 8 and 10), the clock, the interval timer, the watchdog. */
#include "tests/guests/pcdev/pcdev.h"

/* ---- HPET ---- */

enum { ID = 0x00, CONF = 0x10, STATUS = 0x20, COUNTER = 0xf0 };
enum { LEVEL = 2, ENABLE = 4, PERIODIC = 8, VAL_SET = 0x40, MODE32 = 0x100 };
#define TN_CONF(n) (0x100u + 0x20u * (n))
#define TN_CMP(n)  (0x108u + 0x20u * (n))
#define TN_FSB(n)  (0x110u + 0x20u * (n))
#define ROUTE(l)   ((uint32_t)(l) << 9)

static uint64_t hpet;
static uint64_t period_fs;
static const unsigned hpet_lines[] = { 0, 8, 10 };

/*
 * How far ahead a comparator is set: one that the counter has passed by then waits until the
 * counter has gone round, and a busy host may let some time pass between two accesses.
 */
#define AHEAD_NS (100 * RT_NS_PER_MS)

static uint64_t hpet_ticks(uint64_t ns)
{
	return ns * 1000000 / period_fs;
}

static void hpet_registers(void)
{
	uint64_t id = mmio64(hpet + ID);

	period_fs = id >> 32;
	check(period_fs && period_fs <= 100000000, "hpet: a period of %lu fs", period_fs);
	same("hpet: identity", id & 0xffffffff, 0x1c05a201);
	same("hpet: its low half", mmio32(hpet + ID), 0x1c05a201);
	same("hpet: its high half", mmio32(hpet + ID + 4), period_fs);
	mmio64_set(hpet + CONF, 0);
	mmio64_set(hpet + COUNTER, 0x1122334455667788);
	same("hpet: counter", mmio64(hpet + COUNTER), 0x1122334455667788);
	mmio32_set(hpet + COUNTER + 4, 0);
	mmio32_set(hpet + COUNTER, 5);
	same("hpet: counter by halves", mmio64(hpet + COUNTER), 5);
	*(volatile uint8_t *)(hpet + COUNTER) = 9;	/* no width of it: nothing */
	*(volatile uint16_t *)(hpet + COUNTER) = 9;
	same("hpet: counter after bytes", mmio64(hpet + COUNTER), 5);
	for (unsigned n = 0; n < 3; n++) {
		same("hpet: lines", mmio64(hpet + TN_CONF(n)) >> 32, 0x501);
		mmio64_set(hpet + TN_CONF(n), ~0ull);
		same("hpet: what is kept", mmio64(hpet + TN_CONF(n)) & 0xffffffff, 0x3f7e);
		mmio64_set(hpet + TN_CONF(n), 0);
		same("hpet: nothing of it", mmio64(hpet + TN_CONF(n)) & 0xffffffff, 0x30);
		mmio64_set(hpet + TN_FSB(n), ~0ull);
		same("hpet: messages", mmio64(hpet + TN_FSB(n)), 0);
		mmio32_set(hpet + TN_CMP(n) + 4, n);
		mmio32_set(hpet + TN_CMP(n), ~n);
		same("hpet: comparator", mmio64(hpet + TN_CMP(n)),
		     (uint64_t)n << 32 | (uint32_t)~n);
	}
	same("hpet: beyond the last", mmio64(hpet + TN_CONF(3)), 0);
	same("hpet: the window's end", mmio64(hpet + 0x3f8), 0);
}

/* It counts as the processor's clock does: what lies between two looks at both is in bounds. */
static void hpet_counts(void)
{
	mmio64_set(hpet + CONF, 1);
	uint64_t t0 = arch_ticks(), c0 = mmio64(hpet + COUNTER), t1 = arch_ticks();
	while (arch_ticks() - t1 < rt_ticks(30 * RT_NS_PER_MS))
		arch_relax();
	uint64_t t2 = arch_ticks(), c1 = mmio64(hpet + COUNTER), t3 = arch_ticks();
	uint64_t ns = (c1 - c0) * (period_fs / 1000) / 1000;
	check(ns >= rt_ns(t2 - t1) / 10 * 9 && ns <= rt_ns(t3 - t0) / 10 * 11 + 1000,
	      "hpet: %lu ns passed, it says %lu", rt_ns(t3 - t0), ns);
}

static void hpet_interrupts(void)
{
	for (unsigned n = 0; n < 3; n++) {
		unsigned line = hpet_lines[(n + 1) % 3];
		int irq = line_irq(line);
		uint32_t from = rt_irq_count[irq];
		mmio64_set(hpet + TN_CONF(n), ENABLE | ROUTE(line));
		mmio64_set(hpet + TN_CMP(n), mmio64(hpet + COUNTER) + hpet_ticks(AHEAD_NS));
		wait_irq("hpet: once", irq, from, 1);
		mmio64_set(hpet + TN_CONF(n), 0);
		from = rt_irq_count[irq];
		mmio64_set(hpet + TN_CONF(n), ENABLE | PERIODIC | VAL_SET | MODE32 | ROUTE(line));
		uint32_t ticks = (uint32_t)hpet_ticks(2 * RT_NS_PER_MS);
		mmio32_set(hpet + TN_CMP(n),
			   mmio32(hpet + COUNTER) + (uint32_t)hpet_ticks(AHEAD_NS));
		mmio32_set(hpet + TN_CMP(n), ticks);
		wait_irq("hpet: again and again", irq, from, 5);
		mmio64_set(hpet + TN_CONF(n), 0);
	}
}

/* A level stays up until its bit is cleared: one edge of the ioapic's, however long. */
static void hpet_level(void)
{
	int irq = line_irq(10);
	uint32_t from = rt_irq_count[irq];

	mmio64_set(hpet + TN_CONF(2), LEVEL | ENABLE | PERIODIC | VAL_SET | ROUTE(10));
	mmio64_set(hpet + TN_CMP(2), mmio64(hpet + COUNTER) + hpet_ticks(AHEAD_NS));
	mmio64_set(hpet + TN_CMP(2), hpet_ticks(RT_NS_PER_MS));
	wait_irq("hpet: level", irq, from, 1);
	same("hpet: status", mmio64(hpet + STATUS), 4);
	uint64_t t = arch_ticks();
	while (arch_ticks() - t < rt_ticks(10 * RT_NS_PER_MS))
		arch_relax();
	same("hpet: edges while it is up", rt_irq_count[irq] - from, 1);
	mmio64_set(hpet + STATUS, 4);
	wait_irq("hpet: level again", irq, from, 2);
	mmio64_set(hpet + TN_CONF(2), 0);
	mmio64_set(hpet + STATUS, 7);
	same("hpet: status when all is off", mmio64(hpet + STATUS), 0);
}

static void pit_rate(void)
{
	arch_out8(0x43, 0x34);	/* channel 0, rate, 1 kHz */
	arch_out8(0x40, 0xa9);
	arch_out8(0x40, 0x04);
}

static void pit_quiet(void)
{
	arch_out8(0x43, 0x30);	/* once, when a count is written; none is */
}

/* While legacy replacement is on the interval timer does not reach its line; then it does again. */
static void hpet_cuts_pit(void)
{
	int irq = line_irq(0);

	pit_rate();
	uint32_t from = rt_irq_count[irq];
	uint64_t t = arch_ticks();
	while (arch_ticks() - t < rt_ticks(20 * RT_NS_PER_MS))
		arch_relax();
	check(rt_irq_count[irq] - from <= 1, "hpet: %u interrupts of the interval timer",
	      rt_irq_count[irq] - from);
	mmio64_set(hpet + CONF, 1);
	from = rt_irq_count[irq];
	wait_irq("pit: wired again", irq, from, 3);
	pit_quiet();
}

static void hpet_legacy(void)
{
	mmio64_set(hpet + CONF, 3);
	same("hpet: legacy", mmio64(hpet + CONF), 3);
	for (unsigned n = 0; n < 2; n++) {
		int irq = line_irq(hpet_lines[n]);
		uint32_t from = rt_irq_count[irq];
		mmio64_set(hpet + TN_CONF(n), ENABLE | ROUTE(10));	/* which does not count */
		mmio64_set(hpet + TN_CMP(n), mmio64(hpet + COUNTER) + hpet_ticks(AHEAD_NS));
		wait_irq("hpet: legacy line", irq, from, 1);
		mmio64_set(hpet + TN_CONF(n), 0);
	}
	hpet_cuts_pit();
	mmio64_set(hpet + CONF, 0);
}

void hpet_test(void)
{
	hpet = rt_arg_u64("hpet", HPET_DEFAULT);
	hpet_registers();
	hpet_counts();
	hpet_interrupts();
	hpet_level();
	hpet_legacy();
}

/* ---- the clock ---- */

enum { RTC_A = 10, RTC_B, RTC_C, RTC_D, RTC_CENTURY = 0x32 };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_BINARY = 4, B_24H = 2 };

static uint8_t cmos(uint8_t reg)
{
	arch_out8(0x70, reg);
	return arch_in8(0x71);
}

static void cmos_set(uint8_t reg, uint8_t v)
{
	arch_out8(0x70, reg);
	arch_out8(0x71, v);
}

/* Days from 1970 to the first of a month, after 2000. */
static uint64_t days(unsigned year, unsigned month, unsigned day)
{
	static const uint16_t before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	uint64_t n = (year - 1970) * 365ull + (year - 1969) / 4 + before[month - 1] + day - 1;

	return n + (year % 4 == 0 && month > 2);
}

static uint64_t rtc_seconds(void)
{
	for (;;) {
		while (cmos(RTC_A) & 0x80)
			arch_relax();
		unsigned s = cmos(0), m = cmos(2), h = cmos(4), d = cmos(7), mon = cmos(8),
			 y = cmos(9) + cmos(RTC_CENTURY) * 100u;
		if (mon < 1 || mon > 12 || y < 2000 || y > 2099)
			rt_fail("rtc: %u.%u.%u", d, mon, y);
		if (s == cmos(0))
			return days(y, mon, d) * 86400 + h * 3600 + m * 60 + s;
	}
}

static void rtc_interrupt(const char *what, uint8_t enable, uint32_t n)
{
	int irq = line_irq(8);
	uint32_t from = rt_irq_count[irq];

	cmos(RTC_C);
	cmos_set(RTC_B, B_24H | B_BINARY | enable);
	for (uint32_t i = 1; i <= n; i++) {
		wait_irq(what, irq, from, i);
		uint8_t c = cmos(RTC_C);
		check((c & (0x80 | enable)) == (0x80 | enable), "%s: C is 0x%x", what, c);
	}
	cmos_set(RTC_B, B_24H | B_BINARY);
	cmos(RTC_C);
}

/* "utc=": the host's time when the guest was started; "b=": what B was preset to. */
void rtc_test(void)
{
	uint64_t utc = rt_arg_u64("utc", 0);

	same("rtc: B", cmos(RTC_B), rt_arg_u64("b", 0x02));
	same("rtc: D", cmos(RTC_D), 0x80);
	same("rtc: memory above 16 MiB", cmos(0x34) | cmos(0x35) << 8,
	     (rt_ram_end() - (16u << 20)) / 65536);
	cmos_set(RTC_B, B_24H | B_BINARY);
	uint64_t now = rtc_seconds();
	check(now >= utc && now < utc + 600, "rtc: the host began at %lu, it says %lu", utc, now);
	cmos_set(RTC_A, 0x2a);	/* 64 Hz */
	rtc_interrupt("rtc: periodic", B_PIE, 5);
	rtc_interrupt("rtc: update", B_UIE, 1);
	for (uint8_t reg = 1; reg <= 5; reg += 2)
		cmos_set(reg, 0xff);
	rtc_interrupt("rtc: alarm", B_AIE, 1);
	cmos_set(RTC_B, B_SET | B_24H | B_BINARY);
	cmos_set(RTC_CENTURY, 20);
	cmos_set(9, 50);
	cmos_set(RTC_B, B_24H | B_BINARY);
	now = rtc_seconds();
	check(now / (365 * 86400) >= 79, "rtc: set to 2050, it says %lu", now);
	for (unsigned reg = 0x33; reg < 0x80; reg++) {
		cmos_set((uint8_t)reg, (uint8_t)~reg);
		same("rtc: memory", cmos((uint8_t)reg), (uint8_t)~reg);
	}
	arch_out16(0x70, 0x5540);
	same("rtc: a word", cmos(0x40), 0x55);
}

/* ---- PICs and the interval timer, which are the kernel's ---- */

void pic_test(void)
{
	static const uint16_t masks[] = { 0x21, 0xa1 };
	int irq = line_irq(0);
	uint32_t from;

	for (unsigned i = 0; i < 2; i++) {
		arch_out8(masks[i], 0xa5);
		same("pic: mask", arch_in8(masks[i]), 0xa5);
		arch_out8(masks[i], 0xff);
	}
	mmio32_set(0xfec00000, 1);
	same("ioapic: version", mmio32(0xfec00010) & 0xff00ff, 0x170011);
	from = rt_irq_count[irq];
	pit_rate();
	wait_irq("pit: rate", irq, from, 5);
	arch_out8(0x43, 0x30);	/* once, and no more */
	arch_out8(0x40, 0x10);
	arch_out8(0x40, 0x00);
	from = rt_irq_count[irq];
	wait_irq("pit: once", irq, from - 1, 1);
}

/* ---- the watchdog: "wdt=bite" lets it bite, else it is kept quiet and stopped ---- */

void wdt_test(void)
{
	char how[8] = "";

	rt_arg_str("wdt", how, sizeof(how));
	same("wdt: it is written only", arch_in8(0x443), 0xff);
	if (!strcmp(how, "bite")) {
		arch_out8(0x443, 15);
		for (;;)
			rt_wait(rt_wake, arch_ticks() + rt_ticks(RT_NS_PER_S));
	}
	for (unsigned i = 0; i < 5; i++) {
		arch_out8(0x443, i < 4 ? 5 : 14);	/* 20 s, at last 2 s */
		uint64_t end = arch_ticks() + rt_ticks(20 * RT_NS_PER_MS);
		while (arch_ticks() < end)
			rt_wait(rt_wake, end);
	}
	arch_out8(0x441, 0);
	uint64_t end = arch_ticks() + rt_ticks(2500 * RT_NS_PER_MS);
	while (arch_ticks() < end)
		rt_wait(rt_wake, end);
}
