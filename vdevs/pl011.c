/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pl011: an ARM PrimeCell UART (r1p0: FIFOs of 16), as in ARM DDI 0183. What the line would do
 * (baud, parity, break) is accepted and has no effect.
 *
 * Transmission takes no time: DR goes to the console stream at once, also while CR has the
 * transmitter off, because early consoles rely on a boot loader that switched it on. The transmit
 * interrupt is raw after each byte until it is cleared. Input arrives in bursts, so that the
 * receive time-out is over when the guest looks: bytes below the FIFO level raise RT, from the
 * level on RX. Called by vCPU threads (registers) and the I/O thread (input), under the vdev's
 * lock. Invariant: the interrupt line is (ris & imsc) != 0 after each callback.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vdevs/console.h"
#include "vdevs/types.h"

#define FIFO_BYTES 16u

enum {
	REG_DR = 0x000, REG_RSR = 0x004, REG_FR = 0x018, REG_ILPR = 0x020, REG_IBRD = 0x024,
	REG_FBRD = 0x028, REG_LCRH = 0x02c, REG_CR = 0x030, REG_IFLS = 0x034, REG_IMSC = 0x038,
	REG_RIS = 0x03c, REG_MIS = 0x040, REG_ICR = 0x044, REG_DMACR = 0x048, REG_ID = 0xfe0,
};
enum { FR_CTS = 1 << 0, FR_DSR = 1 << 1, FR_DCD = 1 << 2, FR_RXFE = 1 << 4, FR_RXFF = 1 << 6,
       FR_TXFE = 1 << 7 };
enum { INT_RX = 1 << 4, INT_TX = 1 << 5, INT_RT = 1 << 6, INT_OE = 1 << 10, INT_BITS = 0x7ff };
enum { LCRH_FEN = 1 << 4, CR_LBE = 1 << 7, RSR_OE = 1 << 3, DR_OE = 1 << 11 };

/* Peripheral and cell identification, 0xfe0 to 0xffc. */
static const uint8_t pl011_id[] = { 0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

struct pl011 {
	struct vdev v;
	struct vd_console con;
	uint16_t ilpr, ibrd, fbrd, lcrh, cr, ifls, imsc, ris, dmacr;
	uint8_t rsr;
	bool overrun;		/* marks the next byte that is read */
	bool line;
	uint8_t fifo[FIFO_BYTES];
	unsigned head, len;
};

static unsigned rx_size(const struct pl011 *p)
{
	return p->lcrh & LCRH_FEN ? FIFO_BYTES : 1;
}

static unsigned rx_level(const struct pl011 *p)
{
	static const uint8_t level[8] = { 2, 4, 8, 12, 14, 14, 14, 14 };

	return p->lcrh & LCRH_FEN ? level[(p->ifls >> 3) & 7] : 1;
}

/* After each change of the FIFO: the level and the time-out follow from what stands in it. */
static void rx_changed(struct pl011 *p)
{
	p->ris &= ~(INT_RX | INT_RT);
	if (p->len >= rx_level(p))
		p->ris |= INT_RX;
	else if (p->len)
		p->ris |= INT_RT;
}

static void rx_push(struct pl011 *p, uint8_t byte)
{
	if (p->len >= rx_size(p)) {
		p->rsr |= RSR_OE;
		p->ris |= INT_OE;
		p->overrun = true;
		return;
	}
	p->fifo[(p->head + p->len++) % FIFO_BYTES] = byte;
	rx_changed(p);
}

static void rx_fill(struct pl011 *p)
{
	uint8_t byte;

	while (p->len < rx_size(p) && !(p->cr & CR_LBE) && vd_console_get(&p->con, &byte))
		rx_push(p, byte);
}

static uint32_t dr_read(struct pl011 *p)
{
	uint32_t val = 0;

	if (!p->len)
		return 0;
	val = p->fifo[p->head] | (p->overrun ? DR_OE : 0);
	p->overrun = false;
	p->head = (p->head + 1) % FIFO_BYTES;
	p->len--;
	rx_changed(p);
	if (!p->len)
		rx_fill(p);
	return val;
}

static void dr_write(struct pl011 *p, uint8_t val)
{
	if (p->cr & CR_LBE)
		rx_push(p, val);
	else
		vd_console_put(&p->con, val);
	p->ris |= INT_TX;
}

static void lcrh_write(struct pl011 *p, uint16_t val)
{
	if ((val ^ p->lcrh) & LCRH_FEN) {	/* the FIFOs are flushed when they change */
		p->head = p->len = 0;
		rx_changed(p);
	}
	p->lcrh = val & 0xff;
	rx_fill(p);
}

static uint32_t fr_read(const struct pl011 *p)
{
	return FR_TXFE | FR_CTS | FR_DSR | FR_DCD | (p->len ? 0 : FR_RXFE) |
	       (p->len >= rx_size(p) ? FR_RXFF : 0);
}

static void irq_update(struct pl011 *p)
{
	bool line = p->ris & p->imsc;

	if (line == p->line || !p->v.cfg->n_irqs)
		return;
	p->line = line;
	p->v.host->ops->irq_set(p->v.host, 0, line);
}

/* The plain registers: what is written is read. NULL for the others. */
static uint16_t *plain_reg(struct pl011 *p, unsigned reg)
{
	switch (reg) {
	case REG_ILPR:
		return &p->ilpr;
	case REG_IBRD:
		return &p->ibrd;
	case REG_FBRD:
		return &p->fbrd;
	case REG_LCRH:
		return &p->lcrh;
	case REG_CR:
		return &p->cr;
	case REG_IFLS:
		return &p->ifls;
	case REG_IMSC:
		return &p->imsc;
	case REG_DMACR:
		return &p->dmacr;
	default:
		return NULL;
	}
}

static uint32_t reg_read(struct pl011 *p, unsigned reg)
{
	const uint16_t *plain = plain_reg(p, reg);

	if (plain)
		return *plain;
	if (reg >= REG_ID)
		return pl011_id[(reg - REG_ID) / 4];
	switch (reg) {
	case REG_DR:
		return dr_read(p);
	case REG_RSR:
		return p->rsr;
	case REG_FR:
		return fr_read(p);
	case REG_RIS:
		return p->ris;
	case REG_MIS:
		return p->ris & p->imsc;
	default:
		return 0;
	}
}

static void reg_write(struct pl011 *p, unsigned reg, uint16_t val)
{
	switch (reg) {
	case REG_DR:
		dr_write(p, (uint8_t)val);
		break;
	case REG_RSR:
		p->rsr = 0;
		break;
	case REG_ILPR:
		p->ilpr = val & 0xff;
		break;
	case REG_IBRD:
		p->ibrd = val;
		break;
	case REG_FBRD:
		p->fbrd = val & 0x3f;
		break;
	case REG_LCRH:
		lcrh_write(p, val);
		break;
	case REG_CR:
		p->cr = val & 0xff87;
		rx_fill(p);
		break;
	case REG_IFLS:
		p->ifls = val & 0x3f;
		rx_changed(p);
		break;
	case REG_IMSC:
		p->imsc = val & INT_BITS;
		break;
	case REG_ICR:
		p->ris &= ~val;
		break;
	case REG_DMACR:
		p->dmacr = val & 7;	/* kept; there is no DMA controller to ask */
		break;
	default:
		break;
	}
}

static uint64_t pl011_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	struct pl011 *p = Q_CONTAINER_OF(v, struct pl011, v);
	uint64_t val;

	if (off >= 0x1000)
		return 0;
	val = reg_read(p, (unsigned)off & ~3u) >> (8 * (off & 3));
	irq_update(p);
	return val;
}

static void pl011_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct pl011 *p = Q_CONTAINER_OF(v, struct pl011, v);

	if (off >= 0x1000 || (off & 3))	/* registers are written from their first byte */
		return;
	reg_write(p, (unsigned)off, size == 1 ? (uint8_t)val : (uint16_t)val);
	irq_update(p);
}

static void pl011_input(struct vdev *v)
{
	struct pl011 *p = Q_CONTAINER_OF(v, struct pl011, v);

	rx_fill(p);
	irq_update(p);
}

static void pl011_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	struct pl011 *p = Q_CONTAINER_OF(v, struct pl011, v);

	snprintf(buf, buf_bytes, "cr=%#x imsc=%#x ris=%#x rx=%u out_dropped=%" PRIu64, p->cr,
		 p->imsc, p->ris, p->len, p->con.dropped);
}

static void pl011_quiesce(struct vdev *v)
{
	vd_console_flush(&Q_CONTAINER_OF(v, struct pl011, v)->con);
}

static void pl011_free(struct vdev *v)
{
	struct pl011 *p = Q_CONTAINER_OF(v, struct pl011, v);

	vd_console_fini(&p->con);
	free(p);
}

static const struct vdev_ops pl011_ops = {
	.read = pl011_read,
	.write = pl011_write,
	.status = pl011_status,
	.quiesce = pl011_quiesce,
	.free = pl011_free,
};

static int pl011_create(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
			struct vdev **ret)
{
	struct pl011 *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->v = (struct vdev){ .ops = &pl011_ops, .type = &vd_pl011_type, .cfg = cfg,
			      .host = host };
	p->cr = 0x300;		/* reset values of the manual */
	p->ifls = 0x12;
	r = vd_console_init(&p->con, &p->v, pl011_input, errs);
	if (r < 0) {
		pl011_free(&p->v);
		return r;
	}
	*ret = &p->v;
	return 0;
}

static void pl011_fdt(const struct vd_config *cfg, struct vd_fdt *ret)
{
	*ret = (struct vd_fdt){
		.node = "uart",
		.compatible = "arm,pl011\0arm,primecell\0",
		.clock_names = "uartclk\0apb_pclk\0",
		.clock_hz = 24000000,
	};
}

static const struct vd_option pl011_options[] = {
	VD_CONSOLE_OPTIONS,
	{ NULL },
};

const struct vd_type vd_pl011_type = {
	.name = "pl011",
	.flags = VD_NEEDS_LOC,
	.default_space = VD_MEM,
	.len_bytes = 0x1000,
	.max_irqs = 1,
	.options = pl011_options,
	.check = vd_console_check,
	.create = pl011_create,
	.fdt = pl011_fdt,
};
