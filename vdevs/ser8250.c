/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ser8250: a 16550A UART. Registers as in the National PC16550D data sheet; what the line would do
 * (baud, parity, break) is accepted and has no effect.
 *
 * Transmission takes no time: THR goes to the console stream at once, so that LSR says THRE and
 * TEMT always. Input arrives in bursts, so that the character time-out of the receive FIFO is over
 * when the guest looks: what stands in the FIFO below the trigger level is reported as time-out
 * (IIR 0xc). Called by vCPU threads (registers) and the I/O thread (input), under the vdev's lock.
 * Invariant: the interrupt line is irq_pending() != IIR_NONE after each callback.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/serial_reg.h>
#include <stdio.h>
#include <stdlib.h>

#include "vdevs/console.h"
#include "vdevs/types.h"

#define FIFO_BYTES 16u
#define IER_BITS 0x0f	/* of a 16550A; bits 4-7 read as 0 */
#define MCR_BITS 0x1f
#define IIR_FIFOS 0xc0	/* FIFOs are on */

/* What the other end of the cable says: a modem that is there. */
#define MSR_LINE (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)

struct ser8250 {
	struct vdev v;
	struct vd_console con;
	uint8_t ier, lcr, mcr, scr, fcr, dll, dlm;
	uint8_t lsr_err;	/* OE, cleared by reading LSR */
	uint8_t msr_delta;
	bool thr_pending;	/* the THRE interrupt has not been seen yet */
	bool line;
	uint8_t fifo[FIFO_BYTES];
	unsigned head, len;
};

static unsigned rx_room(const struct ser8250 *s)
{
	return (s->fcr & UART_FCR_ENABLE_FIFO ? FIFO_BYTES : 1) - s->len;
}

static unsigned rx_trigger(const struct ser8250 *s)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return s->fcr & UART_FCR_ENABLE_FIFO ? level[s->fcr >> 6] : 1;
}

static void rx_push(struct ser8250 *s, uint8_t byte)
{
	if (s->len == FIFO_BYTES || !rx_room(s)) {
		s->lsr_err |= UART_LSR_OE;
		return;
	}
	s->fifo[(s->head + s->len++) % FIFO_BYTES] = byte;
}

/* Moves what came in to the FIFO. In loopback the line is cut: it waits. */
static void rx_fill(struct ser8250 *s)
{
	uint8_t byte;

	while (s->len < FIFO_BYTES && rx_room(s) && !(s->mcr & UART_MCR_LOOP) &&
	       vd_console_get(&s->con, &byte))
		rx_push(s, byte);
}

static void rx_reset(struct ser8250 *s)
{
	s->head = s->len = 0;
	s->lsr_err = 0;
}

/* The highest pending interrupt, as IIR reports it. */
static uint8_t irq_pending(const struct ser8250 *s)
{
	if ((s->ier & UART_IER_RLSI) && s->lsr_err)
		return UART_IIR_RLSI;
	if ((s->ier & UART_IER_RDI) && s->len)
		return s->len >= rx_trigger(s) ? UART_IIR_RDI : UART_IIR_RX_TIMEOUT;
	if ((s->ier & UART_IER_THRI) && s->thr_pending)
		return UART_IIR_THRI;
	if ((s->ier & UART_IER_MSI) && s->msr_delta)
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

static void irq_update(struct ser8250 *s)
{
	bool line = irq_pending(s) != UART_IIR_NO_INT;

	if (line == s->line || !s->v.cfg->n_irqs)
		return;
	s->line = line;
	s->v.host->ops->irq_set(s->v.host, 0, line);
}

static uint8_t msr_level(const struct ser8250 *s)
{
	uint8_t msr = 0;

	if (!(s->mcr & UART_MCR_LOOP))
		return MSR_LINE;
	/* Loopback: the four outputs are wired to the four inputs. */
	if (s->mcr & UART_MCR_RTS)
		msr |= UART_MSR_CTS;
	if (s->mcr & UART_MCR_DTR)
		msr |= UART_MSR_DSR;
	if (s->mcr & UART_MCR_OUT1)
		msr |= UART_MSR_RI;
	if (s->mcr & UART_MCR_OUT2)
		msr |= UART_MSR_DCD;
	return msr;
}

static void mcr_write(struct ser8250 *s, uint8_t val)
{
	uint8_t before = msr_level(s), after;

	s->mcr = val & MCR_BITS;
	after = msr_level(s);
	s->msr_delta |= ((before ^ after) >> 4) & (UART_MSR_DCTS | UART_MSR_DDSR | UART_MSR_DDCD);
	if ((before & ~after) & UART_MSR_RI)	/* RI reports its trailing edge only */
		s->msr_delta |= UART_MSR_TERI;
	rx_fill(s);
}

static void thr_write(struct ser8250 *s, uint8_t val)
{
	if (s->mcr & UART_MCR_LOOP)
		rx_push(s, val);
	else
		vd_console_put(&s->con, val);
	s->thr_pending = true;	/* it is empty again already */
}

static void ier_write(struct ser8250 *s, uint8_t val)
{
	/* Enabling the interrupt while THR is empty raises it: drivers test for this. */
	if (val & ~s->ier & UART_IER_THRI)
		s->thr_pending = true;
	s->ier = val & IER_BITS;
}

static void fcr_write(struct ser8250 *s, uint8_t val)
{
	if (((val ^ s->fcr) & UART_FCR_ENABLE_FIFO) || (val & UART_FCR_CLEAR_RCVR))
		rx_reset(s);
	s->fcr = val & UART_FCR_ENABLE_FIFO ?
		 val & (UART_FCR_ENABLE_FIFO | UART_FCR_DMA_SELECT | UART_FCR_TRIGGER_MASK) : 0;
	rx_fill(s);
}

static void reg_write(struct ser8250 *s, unsigned reg, uint8_t val)
{
	bool dlab = s->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_TX:
		if (dlab)
			s->dll = val;
		else
			thr_write(s, val);
		break;
	case UART_IER:
		if (dlab)
			s->dlm = val;
		else
			ier_write(s, val);
		break;
	case UART_FCR:
		fcr_write(s, val);
		break;
	case UART_LCR:
		s->lcr = val;
		break;
	case UART_MCR:
		mcr_write(s, val);
		break;
	case UART_SCR:
		s->scr = val;
		break;
	default:	/* LSR and MSR: factory test only */
		break;
	}
}

static uint8_t rbr_read(struct ser8250 *s)
{
	uint8_t byte = 0;

	if (s->len) {
		byte = s->fifo[s->head];
		s->head = (s->head + 1) % FIFO_BYTES;
		s->len--;
	}
	/* Refilled when it is empty: the guest sees the trigger levels as from a real line. */
	if (!s->len)
		rx_fill(s);
	return byte;
}

static uint8_t iir_read(struct ser8250 *s)
{
	uint8_t iir = irq_pending(s);

	if (iir == UART_IIR_THRI)
		s->thr_pending = false;	/* reading IIR answers this source, and this one only */
	return iir | (s->fcr & UART_FCR_ENABLE_FIFO ? IIR_FIFOS : 0);
}

static uint8_t lsr_read(struct ser8250 *s)
{
	uint8_t lsr = UART_LSR_THRE | UART_LSR_TEMT | s->lsr_err;

	s->lsr_err = 0;
	return lsr | (s->len ? UART_LSR_DR : 0);
}

static uint8_t msr_read(struct ser8250 *s)
{
	uint8_t msr = msr_level(s) | s->msr_delta;

	s->msr_delta = 0;
	return msr;
}

static uint8_t reg_read(struct ser8250 *s, unsigned reg)
{
	bool dlab = s->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_RX:
		return dlab ? s->dll : rbr_read(s);
	case UART_IER:
		return dlab ? s->dlm : s->ier;
	case UART_IIR:
		return iir_read(s);
	case UART_LCR:
		return s->lcr;
	case UART_MCR:
		return s->mcr;
	case UART_LSR:
		return lsr_read(s);
	case UART_MSR:
		return msr_read(s);
	default:
		return s->scr;
	}
}

/* A wide access is that many byte cycles, as an 8-bit device on a bus sees it. */
static uint64_t ser8250_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	struct ser8250 *s = Q_CONTAINER_OF(v, struct ser8250, v);
	uint64_t val = 0;

	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)reg_read(s, (unsigned)(off + i) & 7) << (8 * i);
	irq_update(s);
	return val;
}

static void ser8250_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct ser8250 *s = Q_CONTAINER_OF(v, struct ser8250, v);

	for (unsigned i = 0; i < size; i++)
		reg_write(s, (unsigned)(off + i) & 7, (uint8_t)(val >> (8 * i)));
	irq_update(s);
}

static void ser8250_input(struct vdev *v)
{
	struct ser8250 *s = Q_CONTAINER_OF(v, struct ser8250, v);

	rx_fill(s);
	irq_update(s);
}

static void ser8250_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	struct ser8250 *s = Q_CONTAINER_OF(v, struct ser8250, v);

	snprintf(buf, buf_bytes, "ier=%#x lcr=%#x mcr=%#x rx=%u out_dropped=%" PRIu64, s->ier,
		 s->lcr, s->mcr, s->len, s->con.dropped);
}

static void ser8250_quiesce(struct vdev *v)
{
	vd_console_flush(&Q_CONTAINER_OF(v, struct ser8250, v)->con);
}

static void ser8250_free(struct vdev *v)
{
	struct ser8250 *s = Q_CONTAINER_OF(v, struct ser8250, v);

	vd_console_fini(&s->con);
	free(s);
}

static const struct vdev_ops ser8250_ops = {
	.read = ser8250_read,
	.write = ser8250_write,
	.status = ser8250_status,
	.quiesce = ser8250_quiesce,
	.free = ser8250_free,
};

static int ser8250_create(const struct vd_config *cfg, struct vd_host *host,
			  struct cf_errors *errs, struct vdev **ret)
{
	struct ser8250 *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->v = (struct vdev){ .ops = &ser8250_ops, .type = &vd_ser8250_type, .cfg = cfg,
			      .host = host };
	s->dll = 12;	/* 9600 baud, as firmware leaves it */
	r = vd_console_init(&s->con, &s->v, ser8250_input, errs);
	if (r < 0) {
		ser8250_free(&s->v);
		return r;
	}
	*ret = &s->v;
	return 0;
}

static const struct vd_option ser8250_options[] = {
	VD_CONSOLE_OPTIONS,
	{ NULL },
};

const struct vd_type vd_ser8250_type = {
	.name = "ser8250",
	.flags = VD_NEEDS_LOC,
	.default_space = VD_IO,
	.default_base = 0x3f8,
	.len_bytes = 8,
	.max_irqs = 1,
	.options = ser8250_options,
	.check = vd_console_check,
	.create = ser8250_create,
};
