/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PL011 at `uart=`, from its manual. Registers are 32 bits apart; a narrower read gives that part
 * of one, a narrower write is one of the whole register when it begins at its first byte, and
 * nothing elsewhere.
 */
#include "tests/guests/uart/uart.h"

static uint64_t base;

const struct uart_row uart_rows[] = {
	{ "reset", 'r', 4, 0x18, 0x97 }, { NULL, 'r', 4, 0x30, 0x300 },
	{ NULL, 'r', 4, 0x34, 0x12 }, { NULL, 'r', 4, 0x38, 0 }, { NULL, 'r', 4, 0x3c, 0 },
	{ NULL, 'r', 4, 0x40, 0 }, { NULL, 'r', 4, 0x04, 0 }, { NULL, 'r', 4, 0x24, 0 },
	{ NULL, 'r', 4, 0x28, 0 }, { NULL, 'r', 4, 0x2c, 0 }, { NULL, 'r', 4, 0x48, 0 },
	{ "identification", 'r', 4, 0xfe0, 0x11 }, { NULL, 'r', 4, 0xfe4, 0x10 },
	{ NULL, 'r', 4, 0xfe8, 0x14 }, { NULL, 'r', 4, 0xfec, 0x00 },
	{ NULL, 'r', 4, 0xff0, 0x0d }, { NULL, 'r', 4, 0xff4, 0xf0 },
	{ NULL, 'r', 4, 0xff8, 0x05 }, { NULL, 'r', 4, 0xffc, 0xb1 },
	{ NULL, 'r', 1, 0xfe0, 0x11 }, { NULL, 'r', 2, 0xffc, 0xb1 }, { NULL, 'r', 1, 0xfe1, 0 },
	{ NULL, 'w', 4, 0xfe0, 0 }, { NULL, 'r', 4, 0xfe0, 0x11 },
	{ "flags are read-only", 'w', 4, 0x18, 0xffff }, { NULL, 'r', 4, 0x18, 0x97 },
	{ NULL, 'r', 2, 0x18, 0x97 }, { NULL, 'r', 1, 0x18, 0x97 },
	{ "divisor", 'w', 4, 0x24, 0x12345 }, { NULL, 'r', 4, 0x24, 0x2345 },
	{ NULL, 'r', 2, 0x24, 0x2345 }, { NULL, 'r', 1, 0x24, 0x45 },
	{ NULL, 'r', 1, 0x25, 0x23 }, { NULL, 'r', 2, 0x26, 0 }, { NULL, 'w', 1, 0x25, 0xff },
	{ NULL, 'r', 4, 0x24, 0x2345 }, { NULL, 'w', 2, 0x24, 0x1122 },
	{ NULL, 'r', 4, 0x24, 0x1122 }, { NULL, 'w', 1, 0x24, 0x33 },
	{ NULL, 'r', 4, 0x24, 0x33 },
	{ "fraction", 'w', 4, 0x28, 0xff }, { NULL, 'r', 4, 0x28, 0x3f },
	{ "low power", 'w', 4, 0x20, 0x1ff }, { NULL, 'r', 4, 0x20, 0xff },
	{ "line control", 'w', 4, 0x2c, 0x170 }, { NULL, 'r', 4, 0x2c, 0x70 },
	{ "control", 'w', 4, 0x30, 0xffff }, { NULL, 'r', 4, 0x30, 0xff87 },
	{ NULL, 'w', 4, 0x30, 0x300 },
	{ "levels", 'w', 4, 0x34, 0xff }, { NULL, 'r', 4, 0x34, 0x3f },
	{ NULL, 'w', 4, 0x34, 0x12 },
	{ "interrupt mask", 'w', 4, 0x38, 0xffff }, { NULL, 'r', 4, 0x38, 0x7ff },
	{ NULL, 'w', 4, 0x38, 0 },
	{ "raw and masked state are read-only", 'w', 4, 0x3c, 0xff }, { NULL, 'r', 4, 0x3c, 0 },
	{ NULL, 'w', 4, 0x40, 0xff }, { NULL, 'r', 4, 0x40, 0 },
	{ "DMA", 'w', 4, 0x48, 0xff }, { NULL, 'r', 4, 0x48, 7 }, { NULL, 'w', 4, 0x48, 0 },
	{ "nothing there", 'w', 4, 0x100, 1 }, { NULL, 'r', 4, 0x100, 0 },
	{ NULL, 'r', 4, 0xfdc, 0 },
	{ "looped byte", 'w', 4, 0x30, 0x381 }, { NULL, 'w', 4, 0, 'a' },
	{ NULL, 'r', 4, 0x18, 0x87 }, { NULL, 'r', 4, 0x3c, 0x60 }, { NULL, 'r', 4, 0, 'a' },
	{ NULL, 'r', 4, 0x18, 0x97 }, { NULL, 'r', 4, 0x3c, 0x20 }, { NULL, 'w', 4, 0x44, 0x20 },
	{ NULL, 'r', 4, 0x3c, 0 },
	{ "overrun of one", 'w', 4, 0x2c, 0x60 }, { NULL, 'w', 1, 0, 'b' },
	{ NULL, 'w', 2, 0, 'c' }, { NULL, 'r', 4, 0x04, 8 }, { NULL, 'r', 4, 0x18, 0xc7 },
	{ NULL, 'r', 4, 0, 0x800 | 'b' }, { NULL, 'w', 4, 0x04, 0 }, { NULL, 'r', 4, 0x04, 0 },
	{ NULL, 'w', 4, 0x44, 0x7ff }, { NULL, 'r', 4, 0x3c, 0 }, { NULL, 'w', 4, 0x30, 0x301 },
};
const unsigned n_uart_rows = RT_ARRAY_LEN(uart_rows);

void uart_init(void)
{
	base = rt_arg_u64("uart", 0x1c0a0000);
}

uint64_t uart_read(unsigned reg, unsigned width)
{
	if (width == 1)
		return *(volatile uint8_t *)(base + reg);
	return width == 2 ? *(volatile uint16_t *)(base + reg) : *(volatile uint32_t *)(base + reg);
}

void uart_write(unsigned reg, unsigned width, uint64_t val)
{
	if (width == 1)
		*(volatile uint8_t *)(base + reg) = (uint8_t)val;
	else if (width == 2)
		*(volatile uint16_t *)(base + reg) = (uint16_t)val;
	else
		*(volatile uint32_t *)(base + reg) = (uint32_t)val;
}

void uart_plain(void)
{
	uart_write(0x2c, 4, 0x70);
	uart_write(0x30, 4, 0x301);
}

void uart_putc(char c)
{
	uart_write(0, 4, (uint8_t)c);
}

int uart_getc(void)
{
	return uart_read(0x18, 4) & 0x10 ? -1 : (int)(uart_read(0, 4) & 0xff);
}

void uart_irq_raise(void)
{
	uart_write(0x44, 4, 0x20);
	uart_write(0x38, 4, 0x20);
	uart_putc('.');
}

void uart_irq_drop(void)
{
	uart_write(0x44, 4, 0x20);
	uart_write(0x38, 4, 0);
}

unsigned uart_gsi(void)
{
	return (unsigned)rt_arg_u64("intid", 38);
}
