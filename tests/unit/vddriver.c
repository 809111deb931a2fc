/* SPDX-License-Identifier: Apache-2.0 */
/* See vddriver.h. */
#include "tests/unit/vddriver.h"

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>

static uint64_t rd(struct vdd *d, uint64_t addr, unsigned size)
{
	return vdh_read(d->h, VD_MEM, addr, size);
}

static void wr(struct vdd *d, uint64_t addr, unsigned size, uint64_t val)
{
	vdh_write(d->h, VD_MEM, addr, size, val);
}

/* Ports of a legacy device. */
static uint64_t in(struct vdd *d, unsigned off, unsigned size)
{
	return vdh_read(d->h, VD_IO, VDD_IO + off, size);
}

static void out(struct vdd *d, unsigned off, unsigned size, uint64_t val)
{
	vdh_write(d->h, VD_IO, VDD_IO + off, size, val);
}

static bool by_port(const struct vdd *d)
{
	return d->pci && d->legacy;
}

/* ---- finding it ---- */

static void take_cap(struct vdd *d, unsigned cap)
{
	uint64_t at = VDD_BAR + vdh_cfg_read(d->h, cap + VIRTIO_PCI_CAP_OFFSET, 4);

	switch (vdh_cfg_read(d->h, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		d->common = at;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		d->notify = at;
		d->notify_mult = vdh_cfg_read(d->h, cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
		break;
	case VIRTIO_PCI_CAP_ISR_CFG:
		d->isr = at;
		break;
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		d->device = at;
		break;
	default:
		break;
	}
}

static void msix_on(struct vdd *d)
{
	unsigned n = (vdh_cfg_read(d->h, d->msix_cap + PCI_MSIX_FLAGS, 2) & 0x7ff) + 1;

	d->table = VDD_BAR + (vdh_cfg_read(d->h, d->msix_cap + PCI_MSIX_TABLE, 4) & ~7u);
	d->pba = VDD_BAR + (vdh_cfg_read(d->h, d->msix_cap + PCI_MSIX_PBA, 4) & ~7u);
	for (unsigned i = 0; i < n; i++) {
		wr(d, d->table + 16 * i, 4, 0xfee00000);
		wr(d, d->table + 16 * i + 8, 4, i);
		wr(d, d->table + 16 * i + 12, 4, 0);
	}
	vdh_cfg_write(d->h, d->msix_cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	d->msix = true;
}

static void place_bars(struct vdd *d)
{
	vdh_cfg_write(d->h, PCI_BASE_ADDRESS_0, 4, (uint32_t)(d->legacy ? VDD_IO : VDD_BAR));
	if (d->legacy)
		vdh_cfg_write(d->h, PCI_BASE_ADDRESS_1, 4, (uint32_t)VDD_BAR);
	vdh_cfg_write(d->h, PCI_COMMAND, 2,
		      PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | (d->legacy ? PCI_COMMAND_IO : 0));
}

void vdd_init_intx(struct vdd *d, struct vdh *h)
{
	unsigned cap;

	*d = (struct vdd){ .h = h, .pci = h->cfg.space == VD_PCI };
	if (!d->pci) {
		qassert(rd(d, VDD_MMIO, 4) == 0x74726976);
		d->legacy = rd(d, VDD_MMIO + VIRTIO_MMIO_VERSION, 4) == 1;
		return;
	}
	d->legacy = vdh_cfg_read(h, PCI_DEVICE_ID, 2) < 0x1040;
	place_bars(d);
	cap = vdh_cfg_read(h, PCI_CAPABILITY_LIST, 1);
	for (; cap; cap = vdh_cfg_read(h, cap + PCI_CAP_LIST_NEXT, 1)) {
		if (vdh_cfg_read(h, cap, 1) == PCI_CAP_ID_VNDR)
			take_cap(d, cap);
		else if (vdh_cfg_read(h, cap, 1) == PCI_CAP_ID_MSIX)
			d->msix_cap = cap;
	}
}

void vdd_init(struct vdd *d, struct vdh *h)
{
	vdd_init_intx(d, h);
	if (d->pci)
		msix_on(d);
}

/* ---- registers ---- */

uint8_t vdd_status(struct vdd *d)
{
	if (by_port(d))
		return (uint8_t)in(d, VIRTIO_PCI_STATUS, 1);
	return (uint8_t)(d->pci ? rd(d, d->common + VIRTIO_PCI_COMMON_STATUS, 1) :
				  rd(d, VDD_MMIO + VIRTIO_MMIO_STATUS, 4));
}

void vdd_set_status(struct vdd *d, uint8_t status)
{
	if (by_port(d))
		out(d, VIRTIO_PCI_STATUS, 1, status);
	else if (d->pci)
		wr(d, d->common + VIRTIO_PCI_COMMON_STATUS, 1, status);
	else
		wr(d, VDD_MMIO + VIRTIO_MMIO_STATUS, 4, status);
}

uint64_t vdd_offered(struct vdd *d)
{
	uint64_t f = 0;

	if (by_port(d))
		return in(d, VIRTIO_PCI_HOST_FEATURES, 4);
	for (unsigned i = 0; i < 2; i++) {
		if (d->pci) {
			wr(d, d->common + VIRTIO_PCI_COMMON_DFSELECT, 4, i);
			f |= rd(d, d->common + VIRTIO_PCI_COMMON_DF, 4) << (32 * i);
		} else {
			wr(d, VDD_MMIO + VIRTIO_MMIO_DEVICE_FEATURES_SEL, 4, i);
			f |= rd(d, VDD_MMIO + VIRTIO_MMIO_DEVICE_FEATURES, 4) << (32 * i);
		}
	}
	return f;
}

void vdd_ack(struct vdd *d, uint64_t features)
{
	if (by_port(d)) {
		out(d, VIRTIO_PCI_GUEST_FEATURES, 4, (uint32_t)features);
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		uint32_t w = (uint32_t)(features >> (32 * i));

		if (d->pci) {
			wr(d, d->common + VIRTIO_PCI_COMMON_GFSELECT, 4, i);
			wr(d, d->common + VIRTIO_PCI_COMMON_GF, 4, w);
		} else {
			wr(d, VDD_MMIO + VIRTIO_MMIO_DRIVER_FEATURES_SEL, 4, i);
			wr(d, VDD_MMIO + VIRTIO_MMIO_DRIVER_FEATURES, 4, w);
		}
	}
}

static void queue_select(struct vdd *d, unsigned q)
{
	if (by_port(d))
		out(d, VIRTIO_PCI_QUEUE_SEL, 2, q);
	else if (d->pci)
		wr(d, d->common + VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
	else
		wr(d, VDD_MMIO + VIRTIO_MMIO_QUEUE_SEL, 4, q);
}

uint32_t vdd_queue_max(struct vdd *d, unsigned q)
{
	queue_select(d, q);
	if (by_port(d))
		return (uint32_t)in(d, VIRTIO_PCI_QUEUE_NUM, 2);
	return (uint32_t)(d->pci ? rd(d, d->common + VIRTIO_PCI_COMMON_Q_SIZE, 2) :
				   rd(d, VDD_MMIO + VIRTIO_MMIO_QUEUE_NUM_MAX, 4));
}

static void write_halves(struct vdd *d, uint64_t lo, uint64_t hi, uint64_t val)
{
	wr(d, lo, 4, val & 0xffffffff);
	wr(d, hi, 4, val >> 32);
}

static void queue_set_legacy(struct vdd *d, unsigned q, const struct qring_cfg *cfg)
{
	qassert(q < VDD_QUEUES);
	d->place[q] = cfg->desc;
	if (d->pci) {
		if (d->msix)
			out(d, VIRTIO_MSI_QUEUE_VECTOR, 2, q + 1);
		return;
	}
	wr(d, VDD_MMIO + VIRTIO_MMIO_GUEST_PAGE_SIZE, 4, 4096);
	wr(d, VDD_MMIO + VIRTIO_MMIO_QUEUE_NUM, 4, cfg->num);
	wr(d, VDD_MMIO + VIRTIO_MMIO_QUEUE_ALIGN, 4, 4096);
}

void vdd_queue_set(struct vdd *d, unsigned q, const struct qring_cfg *cfg)
{
	uint64_t c = d->common, m = VDD_MMIO;

	queue_select(d, q);
	if (d->legacy) {
		queue_set_legacy(d, q, cfg);
		return;
	}
	if (d->pci) {
		wr(d, c + VIRTIO_PCI_COMMON_Q_SIZE, 2, cfg->num);
		wr(d, c + VIRTIO_PCI_COMMON_Q_MSIX, 2, q + 1);
		write_halves(d, c + VIRTIO_PCI_COMMON_Q_DESCLO, c + VIRTIO_PCI_COMMON_Q_DESCHI,
			     cfg->desc.v);
		write_halves(d, c + VIRTIO_PCI_COMMON_Q_AVAILLO, c + VIRTIO_PCI_COMMON_Q_AVAILHI,
			     cfg->avail.v);
		write_halves(d, c + VIRTIO_PCI_COMMON_Q_USEDLO, c + VIRTIO_PCI_COMMON_Q_USEDHI,
			     cfg->used.v);
		return;
	}
	wr(d, m + VIRTIO_MMIO_QUEUE_NUM, 4, cfg->num);
	write_halves(d, m + VIRTIO_MMIO_QUEUE_DESC_LOW, m + VIRTIO_MMIO_QUEUE_DESC_HIGH,
		     cfg->desc.v);
	write_halves(d, m + VIRTIO_MMIO_QUEUE_AVAIL_LOW, m + VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
		     cfg->avail.v);
	write_halves(d, m + VIRTIO_MMIO_QUEUE_USED_LOW, m + VIRTIO_MMIO_QUEUE_USED_HIGH,
		     cfg->used.v);
}

static void queue_pfn(struct vdd *d, uint64_t pfn)
{
	if (d->pci)
		out(d, VIRTIO_PCI_QUEUE_PFN, 4, pfn);
	else
		wr(d, VDD_MMIO + VIRTIO_MMIO_QUEUE_PFN, 4, pfn);
}

void vdd_queue_enable(struct vdd *d, unsigned q)
{
	queue_select(d, q);
	if (d->legacy)
		queue_pfn(d, d->place[q].v / 4096);
	else if (d->pci)
		wr(d, d->common + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	else
		wr(d, VDD_MMIO + VIRTIO_MMIO_QUEUE_READY, 4, 1);
}

bool vdd_queue_enabled(struct vdd *d, unsigned q)
{
	queue_select(d, q);
	if (d->legacy)
		return d->pci ? in(d, VIRTIO_PCI_QUEUE_PFN, 4) :
				rd(d, VDD_MMIO + VIRTIO_MMIO_QUEUE_PFN, 4);
	return d->pci ? rd(d, d->common + VIRTIO_PCI_COMMON_Q_ENABLE, 2) :
			rd(d, VDD_MMIO + VIRTIO_MMIO_QUEUE_READY, 4);
}

void vdd_notify(struct vdd *d, unsigned q)
{
	if (by_port(d))
		out(d, VIRTIO_PCI_QUEUE_NOTIFY, 2, q);
	else if (d->pci)
		wr(d, d->notify + q * d->notify_mult, 2, q);
	else
		wr(d, VDD_MMIO + VIRTIO_MMIO_QUEUE_NOTIFY, 4, q);
}

uint64_t vdd_config(struct vdd *d, unsigned off, unsigned size)
{
	if (by_port(d))
		return in(d, VIRTIO_PCI_CONFIG_OFF(d->msix) + off, size);
	return rd(d, (d->pci ? d->device : VDD_MMIO + VIRTIO_MMIO_CONFIG) + off, size);
}

/* ---- the usual way ---- */

uint8_t vdd_negotiate(struct vdd *d, uint64_t features)
{
	vdd_set_status(d, 0);
	vdd_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	vdd_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	vdd_ack(d, features);
	if (d->legacy)
		return vdd_status(d);
	vdd_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
				  VIRTIO_CONFIG_S_FEATURES_OK);
	return vdd_status(d);
}

void vdd_live(struct vdd *d, uint64_t features, struct qdriver *q0, gpa_t at, uint32_t num)
{
	unsigned ring = (features & VDD_INDIRECT ? QRING_INDIRECT : 0) |
			(features & VDD_EVENT_IDX ? QRING_EVENT_IDX : 0) |
			(features & VDD_PACKED ? QRING_PACKED : 0);

	vdd_negotiate(d, features);
	qassert(!qdriver_init(q0, d->h->mem, at, num, ring, gpa(at.v + 0x40000), 8));
	vdd_queue_set(d, 0, &q0->cfg);
	vdd_queue_enable(d, 0);
	vdd_set_status(d, d->legacy ? VDD_STATUS_LIVE_LEGACY : VDD_STATUS_LIVE);
}

uint64_t vdd_interrupts(struct vdd *d)
{
	if (d->pci && !d->msix)
		return (by_port(d) ? in(d, VIRTIO_PCI_ISR, 1) : rd(d, d->isr, 1)) & 1;
	return d->pci ? vdh_msis(d->h, 1) : vdh_edges(d->h, 0);
}
