/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The uart guest: drives the machine's second serial port (the first is the console) through every
 * register it has, in every width the bus can do, then its interrupt, then bytes both ways: it
 * sends "from the guest" and tells what comes in up to a line feed.
 */
#include "tests/guests/uart/uart.h"

#define WAIT_NS (10 * RT_NS_PER_S)

static void do_rows(void)
{
	const char *what = "";

	for (unsigned i = 0; i < n_uart_rows; i++) {
		const struct uart_row *r = &uart_rows[i];
		uint64_t got;

		what = r->what ? r->what : what;
		if (r->op == 'w') {
			uart_write(r->reg, r->width, r->val);
			continue;
		}
		got = uart_read(r->reg, r->width);
		if (got != r->val)
			rt_fail("uart: row %u (%s): register 0x%x width %u is 0x%lx, not 0x%lx", i,
				what, r->reg, r->width, got, r->val);
	}
	rt_printf("uart: rows=%u\n", n_uart_rows);
}

static void do_irq(void)
{
	int irq = rt_irq_alloc();
	uint64_t until = arch_ticks() + rt_ticks(WAIT_NS);

	rt_irq_route(uart_gsi(), irq);
	uint32_t before = rt_irq_count[irq];
	for (unsigned i = 1; i <= 3; i++) {
		uart_irq_raise();
		while (rt_irq_count[irq] < before + i)
			if (arch_ticks() > until)
				rt_fail("uart: interrupt %u did not come", i);
		uart_irq_drop();
	}
	if (rt_irq_count[irq] != before + 3)
		rt_fail("uart: %u interrupts for 3", rt_irq_count[irq] - before);
	rt_printf("uart: interrupts=3\n");
}

static void do_bytes(void)
{
	uint64_t until = arch_ticks() + rt_ticks(WAIT_NS);
	char line[80];
	unsigned n = 0;

	for (const char *s = "from the guest\n"; *s; s++)
		uart_putc(*s);
	while (n + 1 < sizeof(line)) {
		int c = uart_getc();

		if (c < 0 && arch_ticks() > until)
			rt_fail("uart: no line came in");
		if (c == '\n')
			break;
		if (c >= 0)
			line[n++] = (char)c;
	}
	line[n] = '\0';
	rt_printf("uart: line=\"%s\"\n", line);
}

void guest_main(void)
{
	uart_init();
	do_rows();
	uart_plain();
	do_irq();
	do_bytes();
}
