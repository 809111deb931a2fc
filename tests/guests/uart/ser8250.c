/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 16550A at 0x2f8, from the data sheet. The bus has cycles of one byte for it: a wider access
 * is one of each register from there on, and what reaches beyond the last one hits nobody.
 */
#include "tests/guests/uart/uart.h"

#define BASE 0x2f8

const struct uart_row uart_rows[] = {
	{ "reset", 'r', 1, 1, 0x00 }, { NULL, 'r', 1, 2, 0x01 }, { NULL, 'r', 1, 3, 0x00 },
	{ NULL, 'r', 1, 4, 0x00 }, { NULL, 'r', 1, 5, 0x60 }, { NULL, 'r', 1, 6, 0xb0 },
	{ NULL, 'r', 1, 7, 0x00 },
	{ "IER keeps four bits", 'w', 1, 1, 0xff }, { NULL, 'r', 1, 1, 0x0f },
	{ NULL, 'w', 1, 1, 0x00 }, { NULL, 'r', 1, 1, 0x00 },
	{ "scratch", 'w', 1, 7, 0x5a }, { NULL, 'r', 1, 7, 0x5a }, { NULL, 'r', 2, 6, 0x5ab0 },
	{ NULL, 'r', 4, 4, 0x5ab06000 }, { NULL, 'w', 1, 7, 0xa5 }, { NULL, 'r', 1, 7, 0xa5 },
	{ "LSR and MSR are read-only", 'w', 2, 5, 0xffff }, { NULL, 'r', 2, 5, 0xb060 },
	{ "two registers", 'w', 2, 6, 0x7700 }, { NULL, 'r', 2, 6, 0x77b0 },
	{ "four registers", 'w', 4, 4, 0x33000000 }, { NULL, 'r', 4, 4, 0x33b06000 },
	{ "over the end", 'r', 2, 7, 0xff33 }, { NULL, 'r', 4, 6, 0xffff33b0 },
	{ NULL, 'w', 2, 7, 0x1144 }, { NULL, 'r', 1, 7, 0x44 },
	{ "divisor", 'w', 1, 3, 0x83 }, { NULL, 'w', 2, 0, 0x0102 }, { NULL, 'r', 2, 0, 0x0102 },
	{ NULL, 'r', 1, 0, 0x02 }, { NULL, 'r', 1, 1, 0x01 }, { NULL, 'r', 4, 0, 0x83010102 },
	{ NULL, 'w', 1, 3, 0x03 }, { NULL, 'r', 1, 1, 0x00 }, { NULL, 'r', 1, 3, 0x03 },
	{ "FIFO", 'w', 1, 2, 0x01 }, { NULL, 'r', 1, 2, 0xc1 }, { NULL, 'w', 1, 2, 0x21 },
	{ NULL, 'r', 1, 2, 0xc1 }, { NULL, 'w', 1, 2, 0x00 }, { NULL, 'r', 1, 2, 0x01 },
	{ "outputs to inputs", 'w', 1, 4, 0xff }, { NULL, 'r', 1, 4, 0x1f },
	{ NULL, 'r', 1, 6, 0xf0 }, { NULL, 'w', 1, 4, 0x1a }, { NULL, 'r', 1, 6, 0x96 },
	{ NULL, 'r', 1, 6, 0x90 },
	{ "looped byte", 'w', 1, 4, 0x10 }, { NULL, 'r', 1, 6, 0x09 }, { NULL, 'w', 1, 0, 0x79 },
	{ NULL, 'r', 1, 5, 0x61 }, { NULL, 'r', 1, 0, 0x79 }, { NULL, 'r', 1, 5, 0x60 },
	{ "overrun", 'w', 1, 0, 0x61 }, { NULL, 'w', 1, 0, 0x62 }, { NULL, 'r', 1, 5, 0x63 },
	{ NULL, 'r', 1, 5, 0x61 }, { NULL, 'r', 1, 0, 0x61 }, { NULL, 'r', 1, 0, 0x00 },
	{ "received, enabled, identified", 'w', 2, 1, 0xc101 }, { NULL, 'w', 1, 0, 0x78 },
	{ NULL, 'r', 1, 2, 0xcc }, { NULL, 'r', 4, 0, 0x03c10178 },
	{ "receive FIFO cleared", 'w', 1, 0, 0x31 }, { NULL, 'w', 1, 0, 0x32 },
	{ NULL, 'r', 1, 5, 0x61 }, { NULL, 'w', 1, 2, 0x03 }, { NULL, 'r', 1, 5, 0x60 },
	{ NULL, 'w', 1, 1, 0x00 }, { NULL, 'w', 1, 4, 0x00 }, { NULL, 'r', 1, 6, 0xbb },
};
const unsigned n_uart_rows = RT_ARRAY_LEN(uart_rows);

void uart_init(void)
{
}

uint64_t uart_read(unsigned reg, unsigned width)
{
	uint16_t port = (uint16_t)(BASE + reg);

	return width == 1 ? arch_in8(port) : width == 2 ? arch_in16(port) : arch_in32(port);
}

void uart_write(unsigned reg, unsigned width, uint64_t val)
{
	uint16_t port = (uint16_t)(BASE + reg);

	if (width == 1)
		arch_out8(port, (uint8_t)val);
	else if (width == 2)
		arch_out16(port, (uint16_t)val);
	else
		arch_out32(port, (uint32_t)val);
}

void uart_plain(void)
{
	arch_out8(BASE + 1, 0);
	arch_out8(BASE + 4, 0x0b);
	arch_out8(BASE + 2, 0x01);
}

void uart_putc(char c)
{
	while (!(arch_in8(BASE + 5) & 0x20))
		arch_relax();
	arch_out8(BASE, (uint8_t)c);
}

int uart_getc(void)
{
	return arch_in8(BASE + 5) & 1 ? arch_in8(BASE) : -1;
}

void uart_irq_raise(void)
{
	arch_out8(BASE + 1, 0x02);
}

void uart_irq_drop(void)
{
	if ((arch_in8(BASE + 2) & 0x0f) != 0x02)
		rt_fail("uart: IIR does not say that the transmitter is empty");
	arch_out8(BASE + 1, 0x00);
}

unsigned uart_gsi(void)
{
	return 3;
}
