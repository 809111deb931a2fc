/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PC's old devices, driven through their registers: "test=NAME[,NAME...]", each says "pc: NAME
 * ok" or the guest ends as FAILED. See tests/guests/README.md.
 */
#include "tests/guests/pcdev/pcdev.h"

#define PATIENCE_NS (20 * RT_NS_PER_S)	/* for what a healthy machine does at once */

void same(const char *what, uint64_t got, uint64_t want)
{
	if (got != want)
		rt_fail("%s is 0x%lx, expected 0x%lx", what, got, want);
}

void wait_irq(const char *what, int irq, uint32_t from, uint32_t more)
{
	uint64_t end = arch_ticks() + rt_ticks(PATIENCE_NS);

	for (;;) {
		uint32_t seen = rt_wake;
		if (rt_irq_count[irq] - from >= more)
			return;
		if (arch_ticks() >= end)
			rt_fail("%s: %u of %u interrupts", what, rt_irq_count[irq] - from, more);
		rt_wait(seen, end);
	}
}

int line_irq(unsigned gsi)
{
	static int irqs[24];

	if (!irqs[gsi]) {
		irqs[gsi] = rt_irq_alloc();
		check(irqs[gsi] > 0, "no interrupt is left");
		rt_irq_route(gsi, irqs[gsi]);
	}
	return irqs[gsi];
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "hpet", hpet_test }, { "rtc", rtc_test }, { "kbd", kbd_test }, { "pci", pci_test },
	{ "progress", progress_test }, { "wdt", wdt_test }, { "pic", pic_test },
	{ "cpu", cpu_test }, { "deadline", deadline_test }, { "smp", smp_test },
	{ "storm", storm_test },
};

static void run(const char *name)
{
	for (unsigned i = 0; i < RT_ARRAY_LEN(tests); i++) {
		if (strcmp(tests[i].name, name))
			continue;
		tests[i].run();
		rt_printf("pc: %s ok\n", name);
		return;
	}
	rt_fail("there is no test '%s'", name);
}

void guest_main(void)
{
	char names[128], *at = names;

	check(rt_arg_str("test", names, sizeof(names)), "test= is missing");
	while (*at) {
		char *end = at;
		while (*end && *end != ',')
			end++;
		bool more = *end;
		*end = '\0';
		run(at);
		at = end + more;
	}
}
