/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interface of virtio 0.9.5 over PCI (virtio 1.2, 4.1.4.10): revision 0, device ids from 0x1000
 * on, registers in I/O space, a ring given as the number of its 4096-byte page. A legacy device and
 * no transitional one: there are no capabilities of virtio 1, and a driver that knows both takes
 * this one.
 *
 *	BAR 0, I/O: 20 bytes of registers, 4 more while MSI-X is enabled, then the device's
 *	configuration. BAR 1, memory: MSI-X table at 0, pending bits at 0x800.
 *
 * A notification is a write of the queue's number to one register: an ioeventfd for each number.
 * vCPU threads, under the vdev's lock.
 */
#include <errno.h>
#include <linux/virtio_pci.h>

#include "vdevs/virtio_pci_priv.h"

#define REGS_BAR 0u
#define MSIX_BAR 1u
#define MSIX_BAR_BYTES 0x1000u
#define PBA_OFF 0x800u
#define PAGE_BYTES 4096u
#define NOTIFY_BYTES 2u

/* Numbers from before the rule "0x1040 + id" (4.1.2.1). */
static uint16_t device_number(uint16_t id)
{
	static const struct { uint16_t id, number; } ids[] = {
		{ 1, 0x1000 },	/* network */
		{ 2, 0x1001 },	/* block */
		{ 5, 0x1002 },	/* memory balloon */
		{ 3, 0x1003 },	/* console */
		{ 8, 0x1004 },	/* SCSI host */
		{ 4, 0x1005 },	/* entropy */
		{ 9, 0x1009 },	/* 9P */
	};

	for (unsigned i = 0; i < Q_ARRAY_LEN(ids); i++)
		if (ids[i].id == id)
			return ids[i].number;
	return 0;
}

/* The registers grow by the vectors while MSI-X is enabled. */
static unsigned config_off(const struct virtio_pci *p)
{
	return VIRTIO_PCI_CONFIG_OFF(pcifn_msix_enabled(&p->fn));
}

/* ---- notifications ---- */

static void regs_moved(struct vdev *v, unsigned bar, uint64_t addr, bool mapped)
{
	struct virtio_pci *p = virtio_pci_of_vdev(v);
	struct vd_host *h = v->host;

	if (bar != REGS_BAR)
		return;
	for (unsigned i = 0; i < p->d->n_queues; i++) {
		uint64_t at = addr + VIRTIO_PCI_QUEUE_NOTIFY, match = i;
		int fd = p->d->q[i].kick_fd;

		if (mapped)
			p->notify[i] = !h->ops->notify_add(h, VD_IO, at, NOTIFY_BYTES, &match, fd);
		else if (p->notify[i])
			h->ops->notify_del(h, VD_IO, at, NOTIFY_BYTES, &match, fd);
	}
}

/* ---- registers ---- */

/* The width of the register at @off, 0 where none begins. */
static unsigned reg_width(const struct virtio_pci *p, unsigned off)
{
	switch (off) {
	case VIRTIO_PCI_HOST_FEATURES:
	case VIRTIO_PCI_GUEST_FEATURES:
	case VIRTIO_PCI_QUEUE_PFN:
		return 4;
	case VIRTIO_PCI_QUEUE_NUM:
	case VIRTIO_PCI_QUEUE_SEL:
	case VIRTIO_PCI_QUEUE_NOTIFY:
		return 2;
	case VIRTIO_PCI_STATUS:
	case VIRTIO_PCI_ISR:
		return 1;
	case VIRTIO_MSI_CONFIG_VECTOR:
	case VIRTIO_MSI_QUEUE_VECTOR:
		return off < config_off(p) ? 2 : 0;
	default:
		return 0;
	}
}

static uint32_t reg_read(struct virtio_pci *p, unsigned off)
{
	const struct virtio_queue *q = virtio_queue_sel(p->d);

	switch (off) {
	case VIRTIO_PCI_HOST_FEATURES:
		return (uint32_t)p->d->offered;
	case VIRTIO_PCI_GUEST_FEATURES:
		return (uint32_t)p->d->acked;
	case VIRTIO_PCI_QUEUE_PFN:
		return q && q->enabled ? (uint32_t)(q->cfg.desc.v / PAGE_BYTES) : 0;
	case VIRTIO_PCI_QUEUE_NUM:
		return q ? q->cfg.num : 0;
	case VIRTIO_PCI_QUEUE_SEL:
		return p->d->qsel;
	case VIRTIO_PCI_STATUS:
		return virtio_status_read(p->d);
	case VIRTIO_PCI_ISR:
		return virtio_pci_isr_read(p);
	case VIRTIO_MSI_CONFIG_VECTOR:
		return p->config_vector;
	case VIRTIO_MSI_QUEUE_VECTOR:
		return virtio_pci_queue_vector(p);
	default:	/* QUEUE_NOTIFY */
		return 0;
	}
}

static void reg_write(struct virtio_pci *p, unsigned off, uint32_t val)
{
	switch (off) {
	case VIRTIO_PCI_GUEST_FEATURES:
		p->d->gfsel = 0;
		virtio_acked_write(p->d, val);
		break;
	case VIRTIO_PCI_QUEUE_PFN:
		virtio_queue_place(p->d, (uint64_t)val * PAGE_BYTES, PAGE_BYTES);
		break;
	case VIRTIO_PCI_QUEUE_SEL:
		p->d->qsel = val;
		break;
	case VIRTIO_PCI_QUEUE_NOTIFY:
		virtio_queue_kick(p->d, val);
		break;
	case VIRTIO_PCI_STATUS:
		virtio_status_write(p->d, (uint8_t)val);
		break;
	case VIRTIO_MSI_CONFIG_VECTOR:
		virtio_pci_config_vector_write(p, val);
		break;
	case VIRTIO_MSI_QUEUE_VECTOR:
		virtio_pci_queue_vector_write(p, val);
		break;
	default:	/* read-only */
		break;
	}
}

static uint64_t regs_read(struct virtio_pci *p, unsigned off, unsigned size)
{
	if (off >= config_off(p))
		return virtio_pci_device_read(p, off - config_off(p), size);
	/* A narrower read gets the low bytes; it must be the register's own width by the rules. */
	return reg_width(p, off) >= size ? reg_read(p, off) & ((1ull << (8 * size)) - 1) : 0;
}

static void regs_write(struct virtio_pci *p, unsigned off, unsigned size, uint64_t val)
{
	if (off >= config_off(p))
		virtio_pci_device_write(p, off - config_off(p), size, val);
	else if (size == reg_width(p, off))
		reg_write(p, off, (uint32_t)val);
	else
		vdev_fault(&p->d->v, VD_FAULT_BAD_REQUEST);
}

/* ---- BARs and configuration space ---- */

static uint64_t legacy_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	struct virtio_pci *p = virtio_pci_of_vdev(v);

	if (win == REGS_BAR)
		return regs_read(p, (unsigned)off, size);
	if (off < PBA_OFF)
		return pcifn_table_read(&p->fn, off, size);
	return pcifn_pba_read(&p->fn, off - PBA_OFF, size);
}

static void legacy_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct virtio_pci *p = virtio_pci_of_vdev(v);

	if (win == REGS_BAR)
		regs_write(p, (unsigned)off, size, val);
	else if (off < PBA_OFF)
		pcifn_table_write(&p->fn, off, size, val);
}

static uint32_t legacy_cfg_read(struct vdev *v, unsigned off, unsigned size)
{
	return pcifn_cfg_read(&virtio_pci_of_vdev(v)->fn, off, size);
}

static void legacy_cfg_write(struct vdev *v, unsigned off, unsigned size, uint32_t val)
{
	virtio_pci_fn_write(virtio_pci_of_vdev(v), off, size, val);
}

static const struct vdev_ops legacy_vdev_ops = {
	.read = legacy_read,
	.write = legacy_write,
	.cfg_read = legacy_cfg_read,
	.cfg_write = legacy_cfg_write,
	.status = virtio_pci_status,
	.quiesce = virtio_pci_quiesce,
	.free = virtio_pci_free,
};

/* A BAR is a power of 2. */
static uint64_t regs_bytes(const struct virtio_dev *d)
{
	uint64_t len = 32;

	while (len < VIRTIO_PCI_CONFIG_OFF(true) + d->config_len)
		len *= 2;
	return len;
}

int virtio_pci_legacy_attach(struct virtio_dev *d, struct cf_errors *errs)
{
	const struct vd_config *cfg = d->v.cfg;
	const struct pcifn_id id = {
		.vendor = 0x1af4, .device = device_number(d->ops->id),
		.sub_vendor = VIRTIO_SUB_VENDOR, .sub_device = d->ops->id,
		.class_code = d->ops->pci_class, .revision = VIRTIO_PCI_ABI_VERSION,
	};
	struct virtio_pci *p;

	if (!id.device) {
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "%s: there was no such PCI device before virtio 1: leave legacy out",
			     cfg->name);
		return -EINVAL;
	}
	p = virtio_pci_new(d, &id, &legacy_vdev_ops, regs_moved, errs);
	if (!p)
		return -ENOMEM;
	pcifn_add_bar(&p->fn, REGS_BAR, VD_IO, regs_bytes(d), false);
	pcifn_add_bar(&p->fn, MSIX_BAR, VD_MEM, MSIX_BAR_BYTES, false);
	pcifn_add_msix(&p->fn, d->n_queues + 1, MSIX_BAR, 0, PBA_OFF);
	return 0;
}
