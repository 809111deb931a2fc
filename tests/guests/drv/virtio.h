/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio devices as a driver sees them, by PCI or by MMIO. Written from the specification alone
 * and on purpose not from lib/, so that the two can find each other's mistakes.
 */
#pragma once
#include "tests/guests/rt/rt.h"

#define VIO_S_ACKNOWLEDGE	0x01
#define VIO_S_DRIVER		0x02
#define VIO_S_DRIVER_OK		0x04
#define VIO_S_FEATURES_OK	0x08
#define VIO_S_NEEDS_RESET	0x40
#define VIO_S_FAILED		0x80

#define VIO_F_INDIRECT		(UINT64_C(1) << 28)
#define VIO_F_EVENT_IDX		(UINT64_C(1) << 29)
#define VIO_F_VERSION_1		(UINT64_C(1) << 32)
#define VIO_F_ACCESS_PLATFORM	(UINT64_C(1) << 33)
#define VIO_F_PACKED		(UINT64_C(1) << 34)

#define VIO_ID_NET	1
#define VIO_ID_BLK	2
#define VIO_ID_CONSOLE	3

#define VIO_MAX_QUEUES	16
#define VIO_MAX_DEVS	16

struct vio_dev;

/* A transport. Widths are 1, 2 or 4; queue numbers are taken as they come, wrong ones included. */
struct vio_ops {
	const char *name;
	uint8_t (*status)(struct vio_dev *d);
	void (*set_status)(struct vio_dev *d, uint8_t v);
	uint64_t (*offered)(struct vio_dev *d);
	void (*accept)(struct vio_dev *d, uint64_t features);
	uint16_t (*queue_max)(struct vio_dev *d, unsigned q);
	/*
	 * Writes size, addresses and interrupt, enables if told; returns what "enabled" reads.
	 * Legacy: the first address alone, and it enables.
	 */
	bool (*queue_set)(struct vio_dev *d, unsigned q, uint16_t num, const uint64_t addr[3],
			  bool enable);
	void (*notify)(struct vio_dev *d, unsigned q);
	uint32_t (*config_read)(struct vio_dev *d, unsigned off, unsigned width);
	void (*config_write)(struct vio_dev *d, unsigned off, unsigned width, uint32_t v);
	/* Called after an interrupt of @d; a level-like transport lets its line fall. */
	void (*irq_ack)(struct vio_dev *d);
};

struct vio_dev {
	const struct vio_ops *ops;
	uint32_t id;			/* VIO_ID_* */
	char name[24];			/* "pci-00:03.0", "mmio-feb00e00" */
	bool legacy;			/* virtio 0.9.5: see vq_init() for what its rings must be */
	uint64_t features;		/* negotiated */
	unsigned config_bytes;		/* size of the device's config window, at most 4096 */
	int irq[VIO_MAX_QUEUES];	/* interrupt line of each queue, -1: none */
	/* PCI */
	unsigned bdf;
	uint16_t port;			/* legacy: of its registers */
	bool intx;			/* interrupts by INTA: acknowledged at the device */
	volatile uint8_t *common, *notify, *isr, *config, *msix;
	unsigned notify_multiplier, common_bytes;
	unsigned n_msix;
	uint64_t msi_addr[VIO_MAX_QUEUES];
	uint32_t msi_data[VIO_MAX_QUEUES];
	/* MMIO */
	volatile uint8_t *regs;
	unsigned gsi;
};

/* Finds all devices, PCI ones first; the array lives as long as the guest. */
unsigned vio_scan(struct vio_dev **ret_devs);
/* The @nth device with @id, or the guest ends as FAILED. */
struct vio_dev *vio_find(uint32_t id, unsigned nth);
void vio_reset(struct vio_dev *d);
/* Reset to FEATURES_OK with those of @wanted that are offered; NULL or what went wrong. */
const char *vio_begin(struct vio_dev *d, uint64_t wanted);
void vio_run(struct vio_dev *d);
uint64_t vio_config_read64(struct vio_dev *d, unsigned off);

/* Points vector @q at queue @q; what to write as the queue's vector. */
uint16_t vio_pci_queue_vector(struct vio_dev *d, unsigned q);
/* False: it is none. */
bool vio_pci_legacy_probe(struct vio_dev *d, unsigned bdf);
/* Its name, and no interrupts. */
void vio_pci_name(struct vio_dev *d);
/* MSI-X, or INTA, or nothing, as the command line says. */
void vio_pci_use_irqs(struct vio_dev *d);
unsigned vio_pci_scan(struct vio_dev *devs, unsigned n_max);
unsigned vio_mmio_scan(struct vio_dev *devs, unsigned n_max);

static inline volatile uint16_t *vio_reg16(volatile uint8_t *base, unsigned off)
{
	return (volatile uint16_t *)(base + off);
}

static inline volatile uint32_t *vio_reg32(volatile uint8_t *base, unsigned off)
{
	return (volatile uint32_t *)(base + off);
}

static inline uint32_t vio_read(volatile uint8_t *base, unsigned off, unsigned width)
{
	if (width == 1)
		return base[off];
	return width == 2 ? *vio_reg16(base, off) : *vio_reg32(base, off);
}

static inline void vio_write(volatile uint8_t *base, unsigned off, unsigned width, uint32_t v)
{
	if (width == 1)
		base[off] = (uint8_t)v;
	else if (width == 2)
		*vio_reg16(base, off) = (uint16_t)v;
	else
		*vio_reg32(base, off) = v;
}
