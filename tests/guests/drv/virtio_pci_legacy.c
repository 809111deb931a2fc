/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over PCI as it was before version 1: registers in I/O space, a ring by the number of its
 * page, no FEATURES_OK. The device's configuration follows the registers, which are 4 bytes longer
 * while MSI-X is enabled.
 */
#include "tests/guests/drv/pci.h"
#include "tests/guests/drv/virtio.h"

#if ARCH_PORTS
#define VENDOR_VIRTIO	0x1af4
#define LEGACY_FIRST	0x1000
#define LEGACY_LAST	0x103f

#define P_OFFERED	0x00
#define P_ACCEPTED	0x04
#define P_Q_PFN		0x08
#define P_Q_SIZE	0x0c
#define P_Q_SELECT	0x0e
#define P_NOTIFY	0x10
#define P_STATUS	0x12
#define P_ISR		0x13
#define P_Q_VECTOR	0x16
#define P_CONFIG	0x14
#define P_CONFIG_MSIX	0x18

static uint8_t legacy_status(struct vio_dev *d)
{
	return arch_in8(d->port + P_STATUS);
}

static void legacy_set_status(struct vio_dev *d, uint8_t v)
{
	arch_out8(d->port + P_STATUS, v);
}

static uint64_t legacy_offered(struct vio_dev *d)
{
	return arch_in32(d->port + P_OFFERED);
}

static void legacy_accept(struct vio_dev *d, uint64_t features)
{
	arch_out32(d->port + P_ACCEPTED, (uint32_t)features);
}

static uint16_t legacy_queue_max(struct vio_dev *d, unsigned q)
{
	arch_out16(d->port + P_Q_SELECT, (uint16_t)q);
	return arch_in16(d->port + P_Q_SIZE);
}

static bool legacy_queue_set(struct vio_dev *d, unsigned q, uint16_t num, const uint64_t addr[3],
			     bool enable)
{
	(void)num;	/* is what the device says */
	(void)enable;
	arch_out16(d->port + P_Q_SELECT, (uint16_t)q);
	if (d->msix)
		arch_out16(d->port + P_Q_VECTOR, vio_pci_queue_vector(d, q));
	arch_out32(d->port + P_Q_PFN, (uint32_t)(addr[0] / 4096));
	return arch_in32(d->port + P_Q_PFN) != 0;
}

static void legacy_notify(struct vio_dev *d, unsigned q)
{
	arch_out16(d->port + P_NOTIFY, (uint16_t)q);
}

static uint16_t config_port(struct vio_dev *d, unsigned off)
{
	return (uint16_t)(d->port + (d->msix ? P_CONFIG_MSIX : P_CONFIG) + off);
}

static uint32_t legacy_config_read(struct vio_dev *d, unsigned off, unsigned width)
{
	uint16_t port = config_port(d, off);

	if (width == 1)
		return arch_in8(port);
	return width == 2 ? arch_in16(port) : arch_in32(port);
}

static void legacy_config_write(struct vio_dev *d, unsigned off, unsigned width, uint32_t v)
{
	uint16_t port = config_port(d, off);

	if (width == 1)
		arch_out8(port, (uint8_t)v);
	else if (width == 2)
		arch_out16(port, (uint16_t)v);
	else
		arch_out32(port, v);
}

static void legacy_irq_ack(struct vio_dev *d)
{
	if (d->intx)
		(void)arch_in8(d->port + P_ISR);
}

static const struct vio_ops legacy_ops = {
	.name = "pci-legacy", .status = legacy_status, .set_status = legacy_set_status,
	.offered = legacy_offered, .accept = legacy_accept, .queue_max = legacy_queue_max,
	.queue_set = legacy_queue_set, .notify = legacy_notify,
	.config_read = legacy_config_read, .config_write = legacy_config_write,
	.irq_ack = legacy_irq_ack,
};

bool vio_pci_legacy_probe(struct vio_dev *d, unsigned bdf)
{
	uint32_t id = rt_pci_read(bdf, 0, 4), bar = rt_pci_read(bdf, 0x10, 4);

	if ((id & 0xffff) != VENDOR_VIRTIO || id >> 16 < LEGACY_FIRST || id >> 16 > LEGACY_LAST ||
	    rt_pci_read(bdf, 8, 1) != 0)
		return false;
	*d = (struct vio_dev){ .ops = &legacy_ops, .id = rt_pci_read(bdf, 0x2e, 2), .bdf = bdf,
			       .legacy = true, .port = bar & 0xfffc, .config_bytes = 0x40 };
	vio_pci_name(d);
	if (!(bar & 1) || !d->port)
		rt_fail("%s: BAR 0 is no I/O space, or has no place: 0x%x", d->name, bar);
	pci_enable(bdf);
	vio_pci_use_irqs(d);
	return true;
}
#else
bool vio_pci_legacy_probe(struct vio_dev *d, unsigned bdf)
{
	(void)d;
	(void)bdf;
	return false;
}
#endif
