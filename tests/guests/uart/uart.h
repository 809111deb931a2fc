/* SPDX-License-Identifier: Apache-2.0 */
/* What the serial ports of the uart guest have in common: rows of accesses, how to do one. */
#pragma once
#include "tests/guests/rt/rt.h"

/* One access: what is written ('w') to a register, or what a read ('r') of it must give. */
struct uart_row {
	const char *what;	/* NULL: as the row before */
	char op;
	unsigned width;		/* bytes */
	unsigned reg;
	uint64_t val;
};

/* Of the port at hand. */
extern const struct uart_row uart_rows[];
extern const unsigned n_uart_rows;

void uart_init(void);
uint64_t uart_read(unsigned reg, unsigned width);
void uart_write(unsigned reg, unsigned width, uint64_t val);
/* The registers as a driver leaves them that only sends and receives. */
void uart_plain(void);
void uart_putc(char c);
int uart_getc(void);	/* -1: nothing is there */
/* Makes the port raise its transmit interrupt, and takes it back. */
void uart_irq_raise(void);
void uart_irq_drop(void);
/* Input of the interrupt controller that it is connected to. */
unsigned uart_gsi(void);
