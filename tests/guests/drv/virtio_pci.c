/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over PCI, version 1: walks bus 0, gives addresses to memory BARs that have none (or one
 * out of our reach), finds the structures by the vendor capabilities, and points one MSI-X vector
 * at each queue. BARs are placed in the first free space of the window (key pci_hole).
 */
#include "tests/guests/drv/pci.h"
#include "tests/guests/drv/virtio.h"

#define VENDOR_VIRTIO	0x1af4
#define MODERN_BASE	0x1040
#define CAP_VENDOR	0x09
#define CAP_MSIX	0x11

enum { CFG_COMMON = 1, CFG_NOTIFY, CFG_ISR, CFG_DEVICE };

/* Offsets in the common structure. */
#define C_DFSELECT	0x00
#define C_DF		0x04
#define C_GFSELECT	0x08
#define C_GF		0x0c
#define C_MSIX_CONFIG	0x10
#define C_STATUS	0x14
#define C_Q_SELECT	0x16
#define C_Q_SIZE	0x18
#define C_Q_MSIX	0x1a
#define C_Q_ENABLE	0x1c
#define C_Q_NOTIFY_OFF	0x1e
#define C_Q_ADDR	0x20
#define NO_VECTOR	0xffff

static uint8_t pci_status(struct vio_dev *d)
{
	return d->common[C_STATUS];
}

static void pci_set_status(struct vio_dev *d, uint8_t v)
{
	d->common[C_STATUS] = v;
}

static uint64_t pci_offered(struct vio_dev *d)
{
	*vio_reg32(d->common, C_DFSELECT) = 0;
	uint64_t lo = *vio_reg32(d->common, C_DF);
	*vio_reg32(d->common, C_DFSELECT) = 1;
	return lo | (uint64_t)*vio_reg32(d->common, C_DF) << 32;
}

static void pci_accept(struct vio_dev *d, uint64_t features)
{
	*vio_reg32(d->common, C_GFSELECT) = 0;
	*vio_reg32(d->common, C_GF) = (uint32_t)features;
	*vio_reg32(d->common, C_GFSELECT) = 1;
	*vio_reg32(d->common, C_GF) = (uint32_t)(features >> 32);
}

static uint16_t pci_queue_max(struct vio_dev *d, unsigned q)
{
	*vio_reg16(d->common, C_Q_SELECT) = (uint16_t)q;
	return *vio_reg16(d->common, C_Q_SIZE);
}

/* One MSI-X vector per queue; the line is kept over resets, the table is written each time. */
uint16_t vio_pci_queue_vector(struct vio_dev *d, unsigned q)
{
	if (!d->msix || q >= VIO_MAX_QUEUES || q >= d->n_msix)
		return NO_VECTOR;
	if (d->irq[q] < 0)
		d->irq[q] = rt_irq_alloc_msi(d->bdf, &d->msi_addr[q], &d->msi_data[q]);
	if (d->irq[q] < 0)
		return NO_VECTOR;
	volatile uint8_t *entry = d->msix + 16 * q;
	*vio_reg32(entry, 0) = (uint32_t)d->msi_addr[q];
	*vio_reg32(entry, 4) = (uint32_t)(d->msi_addr[q] >> 32);
	*vio_reg32(entry, 8) = d->msi_data[q];
	*vio_reg32(entry, 12) = 0;
	return (uint16_t)q;
}

static bool pci_queue_set(struct vio_dev *d, unsigned q, uint16_t num, const uint64_t addr[3],
			  bool enable)
{
	*vio_reg16(d->common, C_Q_SELECT) = (uint16_t)q;
	*vio_reg16(d->common, C_Q_SIZE) = num;
	for (unsigned i = 0; i < 3; i++) {
		*vio_reg32(d->common, C_Q_ADDR + 8 * i) = (uint32_t)addr[i];
		*vio_reg32(d->common, C_Q_ADDR + 8 * i + 4) = (uint32_t)(addr[i] >> 32);
	}
	*vio_reg16(d->common, C_Q_MSIX) = vio_pci_queue_vector(d, q);
	if (enable)
		*vio_reg16(d->common, C_Q_ENABLE) = 1;
	return *vio_reg16(d->common, C_Q_ENABLE) != 0;
}

/* The multiplier is a power of 2 and offsets are small, so caching buys nothing but one exit. */
static void pci_notify(struct vio_dev *d, unsigned q)
{
	static struct vio_dev *last_dev;
	static unsigned last_q, last_off;

	if (d != last_dev || q != last_q) {
		*vio_reg16(d->common, C_Q_SELECT) = (uint16_t)q;
		last_off = *vio_reg16(d->common, C_Q_NOTIFY_OFF) * d->notify_multiplier;
		last_dev = d;
		last_q = q;
	}
	*vio_reg16(d->notify, last_off) = (uint16_t)q;
}

static uint32_t pci_config_read(struct vio_dev *d, unsigned off, unsigned width)
{
	return vio_read(d->config, off, width);
}

static void pci_config_write(struct vio_dev *d, unsigned off, unsigned width, uint32_t v)
{
	vio_write(d->config, off, width, v);
}

static void pci_irq_ack(struct vio_dev *d)
{
	if (d->intx && d->isr)	/* MSI-X needs none */
		(void)*d->isr;
}

static const struct vio_ops pci_ops = {
	.name = "pci", .status = pci_status, .set_status = pci_set_status,
	.offered = pci_offered, .accept = pci_accept, .queue_max = pci_queue_max,
	.queue_set = pci_queue_set, .notify = pci_notify, .config_read = pci_config_read,
	.config_write = pci_config_write, .irq_ack = pci_irq_ack,
};

static void use_capability(struct vio_dev *d, unsigned cap)
{
	uint8_t type = (uint8_t)rt_pci_read(d->bdf, cap + 3, 1);
	uint8_t bar = (uint8_t)rt_pci_read(d->bdf, cap + 4, 1);
	uint32_t off = rt_pci_read(d->bdf, cap + 8, 4);
	uint32_t len = rt_pci_read(d->bdf, cap + 12, 4);
	volatile uint8_t *base = NULL;

	if (type >= CFG_COMMON && type <= CFG_DEVICE)
		base = pci_bar(d->bdf, bar);
	if (!base)
		return;
	if (type == CFG_COMMON && !d->common) {
		d->common = base + off;
		d->common_bytes = len;
	} else if (type == CFG_NOTIFY && !d->notify) {
		d->notify = base + off;
		d->notify_multiplier = rt_pci_read(d->bdf, cap + 16, 4);
	} else if (type == CFG_ISR && !d->isr) {
		d->isr = base + off;
	} else if (type == CFG_DEVICE && !d->config) {
		d->config = base + off;
		d->config_bytes = len < 4096 ? len : 4096;
	}
}

static void use_msix(struct vio_dev *d, unsigned cap)
{
	uint32_t control = rt_pci_read(d->bdf, cap + 2, 2);
	uint32_t table = rt_pci_read(d->bdf, cap + 4, 4);
	volatile uint8_t *base = pci_bar(d->bdf, table & 7);

	if (!base)
		return;
	d->msix = base + (table & ~7u);
	d->n_msix = (control & 0x7ff) + 1;
	rt_pci_write(d->bdf, cap + 2, 2, (control & ~0x4000u) | 0x8000);
}

/*
 * INTA as an edge: it falls when the driver acknowledges, which it does before it looks at the
 * rings. The line is where firmware says that it is.
 */
static void use_intx(struct vio_dev *d)
{
	int irq = rt_irq_alloc();

	if (rt_pci_read(d->bdf, 0x3d, 1) != 1)
		rt_fail("%s has no INTA", d->name);
	rt_irq_route(rt_pci_read(d->bdf, 0x3c, 1), irq);
	d->intx = true;
	for (unsigned i = 0; i < VIO_MAX_QUEUES; i++)
		d->irq[i] = irq;
}

static unsigned find_cap(unsigned bdf, uint8_t id)
{
	unsigned cap = rt_pci_read(bdf, 0x34, 1) & 0xfc;

	for (unsigned n = 0; cap && n < 48; n++) {
		uint32_t head = rt_pci_read(bdf, cap, 2);
		if ((head & 0xff) == id)
			return cap;
		cap = head >> 8 & 0xfc;
	}
	return 0;
}

void vio_pci_use_irqs(struct vio_dev *d)
{
	unsigned cap = find_cap(d->bdf, CAP_MSIX);

	if (rt_arg_u64("intx", 0))
		use_intx(d);
	else if (cap && rt_arg_u64("msix", 1))
		use_msix(d, cap);
}

void vio_pci_name(struct vio_dev *d)
{
	for (unsigned i = 0; i < VIO_MAX_QUEUES; i++)
		d->irq[i] = -1;
	memcpy(d->name, "pci-00:00.0", 12);
	d->name[7] = "0123456789abcdef"[d->bdf >> 7 & 1];
	d->name[8] = "0123456789abcdef"[d->bdf >> 3 & 15];
	d->name[10] = (char)('0' + (d->bdf & 7));
}

static bool probe(struct vio_dev *d, unsigned bdf)
{
	uint32_t id = rt_pci_read(bdf, 0, 4);

	if ((id & 0xffff) != VENDOR_VIRTIO || id >> 16 < MODERN_BASE)
		return false;
	*d = (struct vio_dev){ .ops = &pci_ops, .id = (id >> 16) - MODERN_BASE, .bdf = bdf };
	vio_pci_name(d);
	pci_enable(bdf);
	unsigned cap = rt_pci_read(bdf, 0x34, 1) & 0xfc;
	for (unsigned n = 0; cap && n < 48; n++) {
		uint32_t head = rt_pci_read(bdf, cap, 2);
		if ((head & 0xff) == CAP_VENDOR)
			use_capability(d, cap);
		cap = head >> 8 & 0xfc;
	}
	if (!d->common || !d->notify)
		rt_fail("%s: no common or no notify structure", d->name);
	vio_pci_use_irqs(d);
	return true;
}

unsigned vio_pci_scan(struct vio_dev *devs, unsigned n_max)
{
	const unsigned *bdfs;
	unsigned n = 0;

	if (!pci_init())
		return 0;
	unsigned n_functions = pci_functions(&bdfs);
	for (unsigned i = 0; i < n_functions && n < n_max; i++)
		if (probe(&devs[n], bdfs[i]) || vio_pci_legacy_probe(&devs[n], bdfs[i]))
			n++;
	return n;
}
