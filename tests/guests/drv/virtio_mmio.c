/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over MMIO, versions 2 and 1 (legacy). Where the devices are is told by the device tree,
 * or on the command line as "mmio=ADDR,GSI" or in Linux's words
 * "virtio_mmio.device=SIZE@ADDR:GSI". The interrupt is routed edge-triggered: acknowledge first,
 * look at the rings after, and no edge can be lost.
 */
#include "tests/guests/drv/virtio.h"

#define R_MAGIC		0x000
#define R_VERSION	0x004
#define R_DEVICE_ID	0x008
#define R_DF		0x010
#define R_DF_SELECT	0x014
#define R_GF		0x020
#define R_GF_SELECT	0x024
#define R_Q_SELECT	0x030
#define R_Q_MAX		0x034
#define R_Q_SIZE	0x038
#define R_PAGE_SIZE	0x028	/* version 1 */
#define R_Q_ALIGN	0x03c	/* version 1 */
#define R_Q_PFN		0x040	/* version 1 */
#define R_Q_READY	0x044
#define R_NOTIFY	0x050
#define R_IRQ_STATUS	0x060
#define R_IRQ_ACK	0x064
#define R_STATUS	0x070
#define R_Q_DESC	0x080
#define R_Q_AVAIL	0x090
#define R_Q_USED	0x0a0
#define R_CONFIG	0x100
#define MAGIC		0x74726976

static uint8_t mmio_status(struct vio_dev *d)
{
	return (uint8_t)*vio_reg32(d->regs, R_STATUS);
}

static void mmio_set_status(struct vio_dev *d, uint8_t v)
{
	*vio_reg32(d->regs, R_STATUS) = v;
}

static uint64_t mmio_offered(struct vio_dev *d)
{
	*vio_reg32(d->regs, R_DF_SELECT) = 0;
	uint64_t lo = *vio_reg32(d->regs, R_DF);
	*vio_reg32(d->regs, R_DF_SELECT) = 1;
	return lo | (uint64_t)*vio_reg32(d->regs, R_DF) << 32;
}

static void mmio_accept(struct vio_dev *d, uint64_t features)
{
	*vio_reg32(d->regs, R_GF_SELECT) = 0;
	*vio_reg32(d->regs, R_GF) = (uint32_t)features;
	*vio_reg32(d->regs, R_GF_SELECT) = 1;
	*vio_reg32(d->regs, R_GF) = (uint32_t)(features >> 32);
}

static uint16_t mmio_queue_max(struct vio_dev *d, unsigned q)
{
	*vio_reg32(d->regs, R_Q_SELECT) = q;
	return (uint16_t)*vio_reg32(d->regs, R_Q_MAX);
}

static bool mmio_queue_set(struct vio_dev *d, unsigned q, uint16_t num, const uint64_t addr[3],
			   bool enable)
{
	static const unsigned regs[3] = { R_Q_DESC, R_Q_AVAIL, R_Q_USED };

	*vio_reg32(d->regs, R_Q_SELECT) = q;
	*vio_reg32(d->regs, R_Q_SIZE) = num;
	if (d->legacy) {
		*vio_reg32(d->regs, R_PAGE_SIZE) = 4096;
		*vio_reg32(d->regs, R_Q_ALIGN) = 4096;
		*vio_reg32(d->regs, R_Q_PFN) = (uint32_t)(addr[0] / 4096);
		return *vio_reg32(d->regs, R_Q_PFN) != 0;
	}
	for (unsigned i = 0; i < 3; i++) {
		*vio_reg32(d->regs, regs[i]) = (uint32_t)addr[i];
		*vio_reg32(d->regs, regs[i] + 4) = (uint32_t)(addr[i] >> 32);
	}
	if (enable)
		*vio_reg32(d->regs, R_Q_READY) = 1;
	return *vio_reg32(d->regs, R_Q_READY) != 0;
}

static void mmio_notify(struct vio_dev *d, unsigned q)
{
	*vio_reg32(d->regs, R_NOTIFY) = q;
}

static uint32_t mmio_config_read(struct vio_dev *d, unsigned off, unsigned width)
{
	return vio_read(d->regs, R_CONFIG + off, width);
}

static void mmio_config_write(struct vio_dev *d, unsigned off, unsigned width, uint32_t v)
{
	vio_write(d->regs, R_CONFIG + off, width, v);
}

static void mmio_irq_ack(struct vio_dev *d)
{
	uint32_t status = *vio_reg32(d->regs, R_IRQ_STATUS);
	if (status)
		*vio_reg32(d->regs, R_IRQ_ACK) = status;
}

static const struct vio_ops mmio_ops = {
	.name = "mmio", .status = mmio_status, .set_status = mmio_set_status,
	.offered = mmio_offered, .accept = mmio_accept, .queue_max = mmio_queue_max,
	.queue_set = mmio_queue_set, .notify = mmio_notify, .config_read = mmio_config_read,
	.config_write = mmio_config_write, .irq_ack = mmio_irq_ack,
};

static bool probe(struct vio_dev *d, uint64_t addr, unsigned gsi)
{
	volatile uint8_t *regs = (volatile uint8_t *)addr;

	if (addr >= 1ull << 32 || *vio_reg32(regs, R_MAGIC) != MAGIC ||
	    !*vio_reg32(regs, R_DEVICE_ID))
		return false;
	uint32_t version = *vio_reg32(regs, R_VERSION);
	if (version != 1 && version != 2)
		rt_fail("mmio device at 0x%lx has version %u, want 1 or 2", addr, version);
	*d = (struct vio_dev){ .ops = &mmio_ops, .id = *vio_reg32(regs, R_DEVICE_ID),
			       .regs = regs, .gsi = gsi, .config_bytes = 0x100,
			       .legacy = version == 1 };
	memcpy(d->name, "mmio-", 6);
	for (unsigned i = 0; i < 8; i++)
		d->name[5 + i] = "0123456789abcdef"[addr >> (28 - 4 * i) & 15];
	int irq = rt_irq_alloc();
	rt_irq_route(gsi, irq);
	for (unsigned i = 0; i < VIO_MAX_QUEUES; i++)
		d->irq[i] = irq;
	return true;
}

unsigned vio_mmio_scan(struct vio_dev *devs, unsigned n_max)
{
	char text[64];
	uint64_t addr, gsi, size;
	unsigned n = 0, line;

	for (unsigned i = 0; n < n_max && rt_mmio_device(i, &addr, &line); i++)
		n += probe(&devs[n], addr, line);
	for (unsigned i = 0; n < n_max && rt_arg_nth("mmio", i, text, sizeof(text)); i++) {
		const char *s = text;
		if (!rt_parse_u64(&s, &addr) || *s++ != ',' || !rt_parse_u64(&s, &gsi))
			rt_fail("mmio=%s: want ADDR,GSI", text);
		n += probe(&devs[n], addr, (unsigned)gsi);
	}
	for (unsigned i = 0;
	     n < n_max && rt_arg_nth("virtio_mmio.device", i, text, sizeof(text)); i++) {
		const char *s = text;
		if (!rt_parse_u64(&s, &size) || *s++ != '@' || !rt_parse_u64(&s, &addr) ||
		    *s++ != ':' || !rt_parse_u64(&s, &gsi))
			rt_fail("virtio_mmio.device=%s: want SIZE@ADDR:GSI", text);
		n += probe(&devs[n], addr, (unsigned)gsi);
	}
	return n;
}
