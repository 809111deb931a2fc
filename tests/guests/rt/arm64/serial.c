/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console: the first PL011 of the device tree. Output is collected to whole lines and sent in
 * bursts of the FIFO's size, because every access leaves the guest. Input raises an interrupt, so
 * that a guest that waits for keys need not poll. Without a PL011 all is silent.
 */
#include "tests/guests/rt/arm64/arm64.h"

#define REG_DR		0x00
#define REG_FR		0x18
#define REG_LCRH	0x2c
#define REG_CR		0x30
#define REG_IMSC	0x38
#define FR_RX_EMPTY	0x10
#define FR_TX_EMPTY	0x80
#define LCRH_8N1_FIFO	0x70
#define CR_ON		0x301	/* UART, transmitter, receiver */
#define INT_RX_TIMEOUT	0x50	/* receive level, receive time-out */
#define FIFO_BYTES	16

static char line[256];
static unsigned n_line;

static volatile uint32_t *reg(unsigned off)
{
	return arm64_reg32(arm64_board.uart, off);
}

void arm64_serial_init(void)
{
	if (!arm64_board.uart)
		return;
	*reg(REG_CR) = 0;
	*reg(REG_IMSC) = 0;
	*reg(REG_LCRH) = LCRH_8N1_FIFO;
	*reg(REG_CR) = CR_ON;
}

void arm64_serial_flush(void)
{
	for (unsigned i = 0; arm64_board.uart && i < n_line; i++) {
		while (i % FIFO_BYTES == 0 && !(*reg(REG_FR) & FR_TX_EMPTY))
			arch_relax();
		*reg(REG_DR) = (uint8_t)line[i];
	}
	n_line = 0;
}

void rt_putc(char c)
{
	line[n_line++] = c;
	if (c == '\n' || n_line == sizeof(line))
		arm64_serial_flush();
}

static int input_irq(void)
{
	static int irq = -1;

	if (irq >= 0)
		return irq;
	irq = rt_irq_alloc();
	if (irq >= 0 && arm64_board.uart_intid)
		rt_irq_route(arm64_board.uart_intid, irq);
	*reg(REG_IMSC) = INT_RX_TIMEOUT;
	return irq;
}

/*
 * Edge-triggered: the line falls only when the FIFO is empty, so once an interrupt has come every
 * byte is fetched before the count is trusted again.
 */
int rt_getc(void)
{
	static uint32_t seen = UINT32_MAX;

	if (!arm64_board.uart)
		return -1;
	uint32_t n = rt_irq_count[input_irq()];
	if (n == seen)
		return -1;
	if (!(*reg(REG_FR) & FR_RX_EMPTY))
		return (uint8_t)*reg(REG_DR);
	seen = n;
	return -1;
}
