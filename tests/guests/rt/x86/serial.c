/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console: an 8250 at 0x3f8. Output is collected to whole lines and sent in bursts of the
 * transmit FIFO's size, because every port access leaves the guest. Input raises an interrupt, so
 * that a guest that waits for keys need not poll.
 */
#include "tests/guests/rt/rt.h"
#include "tests/guests/rt/x86/x86.h"

#define COM1		0x3f8
#define REG_DATA	(COM1 + 0)
#define REG_IER		(COM1 + 1)
#define REG_IIR_FCR	(COM1 + 2)
#define REG_LCR		(COM1 + 3)
#define REG_MCR		(COM1 + 4)
#define REG_LSR		(COM1 + 5)
#define LSR_DATA_READY	0x01
#define LSR_THR_EMPTY	0x20
#define FIFO_BYTES	16
#define GSI_COM1	4

static char line[256];
static unsigned n_line;
static unsigned burst = 1;

void x86_serial_init(void)
{
	arch_out8(REG_IER, 0);
	arch_out8(REG_LCR, 0x03);	/* 8N1 */
	arch_out8(REG_IIR_FCR, 0x01);
	if ((arch_in8(REG_IIR_FCR) & 0xc0) == 0xc0)
		burst = FIFO_BYTES;
}

void x86_serial_flush(void)
{
	const char *p = line;

	while (n_line > 0) {
		uint64_t n = n_line < burst ? n_line : burst;
		n_line -= (unsigned)n;
		while (!(arch_in8(REG_LSR) & LSR_THR_EMPTY))
			arch_relax();
		__asm__ volatile("rep outsb" : "+S"(p), "+c"(n) : "d"(REG_DATA) : "memory");
	}
}

void rt_putc(char c)
{
	line[n_line++] = c;
	if (c == '\n' || n_line == sizeof(line))
		x86_serial_flush();
}

static int input_irq(void)
{
	static int irq = -1;

	if (irq >= 0)
		return irq;
	irq = rt_irq_alloc();
	rt_irq_route(GSI_COM1, irq);
	arch_out8(REG_MCR, 0x0b);	/* OUT2 lets the interrupt through */
	arch_out8(REG_IER, 0x01);
	return irq;
}

/*
 * Edge-triggered: the line falls only when the FIFO is empty, so once an interrupt has come every
 * byte is fetched before the count is trusted again.
 */
int rt_getc(void)
{
	static uint32_t seen = UINT32_MAX;
	uint32_t n = rt_irq_count[input_irq()];

	if (n == seen)
		return -1;
	if (arch_in8(REG_LSR) & LSR_DATA_READY)
		return arch_in8(REG_DATA);
	seen = n;
	return -1;
}
