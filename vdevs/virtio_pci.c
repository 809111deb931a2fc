/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio 1 over PCI (virtio 1.2, 4.1): revision 1, MSI-X with one vector a queue and one for
 * configuration changes, INTA for drivers that do without.
 *
 * One BAR, number 0, 32-bit and not prefetchable, so that every firmware and guest can place it; a
 * page for each part, so that a host can map or trap each by itself:
 *
 *	0x0000 common configuration    0x3000 notifications, 4 bytes a queue
 *	0x1000 ISR                     0x4000 MSI-X table
 *	0x2000 device configuration    0x5000 MSI-X pending bits
 *
 * Each queue's notification address is an ioeventfd on its kick descriptor while the BAR is mapped,
 * so that a notification makes no exit. Where the host cannot do that, the write arrives here and
 * does the same. vCPU threads, under the vdev's lock.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>

#include "vdevs/virtio_pci_priv.h"

#define BAR 0u
#define BAR_BYTES 0x8000u
#define PAGE_BYTES 0x1000u
#define NOTIFY_OFF 0x3000u
#define NOTIFY_MULT 4u
#define TABLE_OFF 0x4000u
#define PBA_OFF 0x5000u
enum { PAGE_COMMON, PAGE_ISR, PAGE_DEVICE, PAGE_NOTIFY, PAGE_TABLE, PAGE_PBA };

/* ---- notifications ---- */

static void notify_update(struct virtio_pci *p, uint64_t bar_addr, bool mapped)
{
	struct vd_host *h = p->d->v.host;

	for (unsigned i = 0; i < p->d->n_queues; i++) {
		uint64_t at = bar_addr + NOTIFY_OFF + i * NOTIFY_MULT;
		int fd = p->d->q[i].kick_fd;

		if (mapped)
			p->notify[i] = !h->ops->notify_add(h, VD_MEM, at, 0, NULL, fd);
		else if (p->notify[i])
			h->ops->notify_del(h, VD_MEM, at, 0, NULL, fd);
	}
}

static void bar_moved(struct vdev *v, unsigned bar, uint64_t addr, bool mapped)
{
	notify_update(virtio_pci_of_vdev(v), addr, mapped);
}

/* ---- common configuration ---- */

static uint32_t queue_reg_read(struct virtio_pci *p, unsigned off)
{
	const struct virtio_queue *q = virtio_queue_sel(p->d);

	if (off == VIRTIO_PCI_COMMON_Q_MSIX)
		return virtio_pci_queue_vector(p);
	if (!q)
		return 0;
	switch (off) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return q->cfg.num;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return q->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return p->d->qsel;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		return (uint32_t)q->cfg.desc.v;
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		return (uint32_t)(q->cfg.desc.v >> 32);
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		return (uint32_t)q->cfg.avail.v;
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		return (uint32_t)(q->cfg.avail.v >> 32);
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		return (uint32_t)q->cfg.used.v;
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		return (uint32_t)(q->cfg.used.v >> 32);
	default:	/* queue_notify_data, queue_reset: features that are not offered */
		return 0;
	}
}

static uint32_t common_read(struct virtio_pci *p, unsigned off)
{
	struct virtio_dev *d = p->d;

	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return d->dfsel;
	case VIRTIO_PCI_COMMON_DF:
		return virtio_offered_word(d);
	case VIRTIO_PCI_COMMON_GFSELECT:
		return d->gfsel;
	case VIRTIO_PCI_COMMON_GF:
		return virtio_acked_word(d);
	case VIRTIO_PCI_COMMON_MSIX:
		return p->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ:
		return d->n_queues;
	case VIRTIO_PCI_COMMON_STATUS:
		return virtio_status_read(d);
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return d->config_gen & 0xff;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return d->qsel;
	default:
		return queue_reg_read(p, off);
	}
}

static void queue_reg_write(struct virtio_pci *p, unsigned off, uint32_t val)
{
	struct virtio_queue *q;

	if (off == VIRTIO_PCI_COMMON_Q_MSIX) {
		virtio_pci_queue_vector_write(p, val);
		return;
	}
	if (off == VIRTIO_PCI_COMMON_Q_ENABLE) {
		if (val == 1)	/* 0 must not be written (4.1.4.3.2): ignored */
			virtio_queue_enable(p->d);
		return;
	}
	q = virtio_queue_edit(p->d);
	if (!q)
		return;
	switch (off) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		q->cfg.num = val & 0xffff;
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		virtio_set_half(&q->cfg.desc, off == VIRTIO_PCI_COMMON_Q_DESCHI, val);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		virtio_set_half(&q->cfg.avail, off == VIRTIO_PCI_COMMON_Q_AVAILHI, val);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		virtio_set_half(&q->cfg.used, off == VIRTIO_PCI_COMMON_Q_USEDHI, val);
		break;
	default:
		break;
	}
}

static void common_write(struct virtio_pci *p, unsigned off, uint32_t val)
{
	struct virtio_dev *d = p->d;

	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		d->dfsel = val;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		d->gfsel = val;
		break;
	case VIRTIO_PCI_COMMON_GF:
		virtio_acked_write(d, val);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		virtio_pci_config_vector_write(p, val);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		virtio_status_write(d, (uint8_t)val);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		d->qsel = val & 0xffff;
		break;
	case VIRTIO_PCI_COMMON_DF:
	case VIRTIO_PCI_COMMON_NUMQ:
	case VIRTIO_PCI_COMMON_CFGGENERATION:
	case VIRTIO_PCI_COMMON_Q_NOFF:
		break;	/* read-only */
	default:
		queue_reg_write(p, off, val);
	}
}

/* The width of the field that starts at @off, 0 when none does. 64-bit fields are two of 32. */
static unsigned field_width(unsigned off)
{
	if (off < VIRTIO_PCI_COMMON_MSIX)
		return off % 4 ? 0 : 4;
	if (off == VIRTIO_PCI_COMMON_STATUS || off == VIRTIO_PCI_COMMON_CFGGENERATION)
		return 1;
	if (off < VIRTIO_PCI_COMMON_Q_DESCLO)
		return off % 2 ? 0 : 2;
	if (off < VIRTIO_PCI_COMMON_Q_NDATA)
		return off % 4 ? 0 : 4;
	return off == VIRTIO_PCI_COMMON_Q_NDATA || off == VIRTIO_PCI_COMMON_Q_RESET ? 2 : 0;
}

/* ---- the BAR ---- */

static uint64_t common_window_read(struct virtio_pci *p, unsigned off, unsigned size)
{
	if (size == 8)
		return common_window_read(p, off, 4) |
		       common_window_read(p, off + 4, 4) << 32;
	/* A driver must use the field's own width (4.1.3.1); a narrower read gets the low bytes. */
	return field_width(off) ? common_read(p, off) & ((1ull << (8 * size)) - 1) : 0;
}

static void common_window_write(struct virtio_pci *p, unsigned off, unsigned size, uint64_t val)
{
	if (size == 8) {
		common_window_write(p, off, 4, val & 0xffffffff);
		common_window_write(p, off + 4, 4, val >> 32);
	} else if (size == field_width(off)) {
		common_write(p, off, (uint32_t)val);
	} else {
		vdev_fault(&p->d->v, VD_FAULT_BAD_REQUEST);
	}
}

static uint64_t virtio_pci_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	struct virtio_pci *p = virtio_pci_of_vdev(v);
	unsigned in_page = (unsigned)(off % PAGE_BYTES);

	switch (off / PAGE_BYTES) {
	case PAGE_COMMON:
		return common_window_read(p, in_page, size);
	case PAGE_ISR:
		return in_page ? 0 : virtio_pci_isr_read(p);
	case PAGE_DEVICE:
		return virtio_pci_device_read(p, in_page, size);
	case PAGE_TABLE:
		return pcifn_table_read(&p->fn, in_page, size);
	case PAGE_PBA:
		return pcifn_pba_read(&p->fn, in_page, size);
	default:
		return 0;
	}
}

static void virtio_pci_write(struct vdev *v, unsigned win, uint64_t off, unsigned size,
			     uint64_t val)
{
	struct virtio_pci *p = virtio_pci_of_vdev(v);
	unsigned in_page = (unsigned)(off % PAGE_BYTES);

	switch (off / PAGE_BYTES) {
	case PAGE_COMMON:
		common_window_write(p, in_page, size, val);
		break;
	case PAGE_DEVICE:
		virtio_pci_device_write(p, in_page, size, val);
		break;
	case PAGE_NOTIFY:
		virtio_queue_kick(p->d, in_page / NOTIFY_MULT);
		break;
	case PAGE_TABLE:
		pcifn_table_write(&p->fn, in_page, size, val);
		break;
	default:
		break;
	}
}

/* ---- configuration space ---- */

/* The access window of the capability of type PCI_CFG: where it points, false when nowhere. */
static bool window_target(struct virtio_pci *p, unsigned off, unsigned size, uint32_t *ret_off)
{
	unsigned data = p->win_cap + sizeof(struct virtio_pci_cap);
	uint32_t len = pcifn_cfg_read(&p->fn, p->win_cap + VIRTIO_PCI_CAP_LENGTH, 4);

	if (off < data || !qspan_inside(off - data, size, 4))
		return false;
	*ret_off = pcifn_cfg_read(&p->fn, p->win_cap + VIRTIO_PCI_CAP_OFFSET, 4);
	return off == data && len == size && *ret_off % size == 0 &&
	       pcifn_cfg_read(&p->fn, p->win_cap + VIRTIO_PCI_CAP_BAR, 1) == BAR &&
	       qspan_inside(*ret_off, size, BAR_BYTES);
}

static uint32_t virtio_pci_cfg_read(struct vdev *v, unsigned off, unsigned size)
{
	struct virtio_pci *p = virtio_pci_of_vdev(v);
	uint32_t target;

	if (window_target(p, off, size, &target))
		return (uint32_t)virtio_pci_read(v, BAR, target, size);
	return pcifn_cfg_read(&p->fn, off, size);
}

static void virtio_pci_cfg_write(struct vdev *v, unsigned off, unsigned size, uint32_t val)
{
	struct virtio_pci *p = virtio_pci_of_vdev(v);
	uint32_t target;

	if (window_target(p, off, size, &target))
		virtio_pci_write(v, BAR, target, size, val);
	else
		virtio_pci_fn_write(p, off, size, val);
}

static unsigned add_virtio_cap(struct virtio_pci *p, uint8_t type, uint32_t off, uint32_t len,
			       unsigned cap_bytes)
{
	unsigned cap = pcifn_add_cap(&p->fn, PCI_CAP_ID_VNDR, cap_bytes);
	uint8_t *c = p->fn.cfg + cap;

	c[VIRTIO_PCI_CAP_LEN] = (uint8_t)cap_bytes;
	c[VIRTIO_PCI_CAP_CFG_TYPE] = type;
	c[VIRTIO_PCI_CAP_BAR] = BAR;
	for (unsigned i = 0; i < 4; i++) {
		c[VIRTIO_PCI_CAP_OFFSET + i] = (uint8_t)(off >> (8 * i));
		c[VIRTIO_PCI_CAP_LENGTH + i] = (uint8_t)(len >> (8 * i));
	}
	return cap;
}

static void add_caps(struct virtio_pci *p)
{
	const unsigned plain = sizeof(struct virtio_pci_cap);
	unsigned cap;

	add_virtio_cap(p, VIRTIO_PCI_CAP_COMMON_CFG, PAGE_COMMON * PAGE_BYTES,
		       sizeof(struct virtio_pci_common_cfg), plain);
	cap = add_virtio_cap(p, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_OFF,
			     p->d->n_queues * NOTIFY_MULT, plain + 4);
	p->fn.cfg[cap + VIRTIO_PCI_NOTIFY_CAP_MULT] = NOTIFY_MULT;
	add_virtio_cap(p, VIRTIO_PCI_CAP_ISR_CFG, PAGE_ISR * PAGE_BYTES, 1, plain);
	if (p->d->config_len)
		add_virtio_cap(p, VIRTIO_PCI_CAP_DEVICE_CFG, PAGE_DEVICE * PAGE_BYTES,
			       p->d->config_len, plain);
	p->win_cap = add_virtio_cap(p, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, plain + 4);
	p->fn.wmask[p->win_cap + VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(p->fn.wmask + p->win_cap + VIRTIO_PCI_CAP_OFFSET, 0xff, 8);
	pcifn_add_msix(&p->fn, p->d->n_queues + 1, BAR, TABLE_OFF, PBA_OFF);
}

/* ---- life ---- */

static const struct vdev_ops virtio_pci_vdev_ops = {
	.read = virtio_pci_read,
	.write = virtio_pci_write,
	.cfg_read = virtio_pci_cfg_read,
	.cfg_write = virtio_pci_cfg_write,
	.status = virtio_pci_status,
	.quiesce = virtio_pci_quiesce,
	.free = virtio_pci_free,
};

int virtio_pci_attach(struct virtio_dev *d, struct cf_errors *errs)
{
	/* 4.1.2.1: numbers that tell a driver of before virtio 1 to keep off. */
	const struct pcifn_id id = {
		.vendor = 0x1af4, .device = (uint16_t)(0x1040 + d->ops->id),
		.sub_vendor = VIRTIO_SUB_VENDOR, .sub_device = (uint16_t)(0x40 + d->ops->id),
		.class_code = d->ops->pci_class, .revision = 1,
	};
	struct virtio_pci *p;

	if (d->legacy)
		return virtio_pci_legacy_attach(d, errs);
	p = virtio_pci_new(d, &id, &virtio_pci_vdev_ops, bar_moved, errs);
	if (!p)
		return -ENOMEM;
	pcifn_add_bar(&p->fn, BAR, VD_MEM, BAR_BYTES, false);
	add_caps(p);
	return 0;
}
