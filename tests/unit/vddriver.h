/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's virtio driver over the test harness: PCI or MMIO, found and set up through registers
 * alone.
 */
#pragma once

#include "lib/qdriver.h"
#include "tests/unit/vdharness.h"

#define VDD_BAR 0xe0000000ull
#define VDD_IO 0xc000ull
#define VDD_MMIO 0x0a000000ull
#define VDD_STATUS_LIVE 0x0f	/* ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK */
#define VDD_STATUS_LIVE_LEGACY 0x07
#define VDD_VERSION_1 (1ull << 32)
#define VDD_INDIRECT (1ull << 28)
#define VDD_EVENT_IDX (1ull << 29)
#define VDD_PACKED (1ull << 34)
#define VDD_QUEUES 4u	/* that a legacy device may be given */

struct vdd {
	struct vdh *h;
	bool pci, legacy, msix;
	uint64_t common, isr, device, notify, table, pba; /* addresses */
	uint32_t notify_mult;
	unsigned msix_cap;
	gpa_t place[VDD_QUEUES];	/* legacy: of rings that were set and not enabled */
};

/*
 * Finds the device, which may be a legacy one; PCI: places its memory at VDD_BAR and its ports at
 * VDD_IO, turns MSI-X on with vector n at 0xfee00000, data n.
 */
void vdd_init(struct vdd *d, struct vdh *h);
/* The same without MSI-X. */
void vdd_init_intx(struct vdd *d, struct vdh *h);

uint8_t vdd_status(struct vdd *d);
void vdd_set_status(struct vdd *d, uint8_t status);
uint64_t vdd_offered(struct vdd *d);
void vdd_ack(struct vdd *d, uint64_t features);
uint32_t vdd_queue_max(struct vdd *d, unsigned q);
/* Addresses and size of queue @q, not enabled. PCI: vector @q + 1. */
void vdd_queue_set(struct vdd *d, unsigned q, const struct qring_cfg *cfg);
void vdd_queue_enable(struct vdd *d, unsigned q);
bool vdd_queue_enabled(struct vdd *d, unsigned q);
void vdd_notify(struct vdd *d, unsigned q);
uint64_t vdd_config(struct vdd *d, unsigned off, unsigned size);

/* Reset, acknowledge, @features, FEATURES_OK; the status afterwards. */
uint8_t vdd_negotiate(struct vdd *d, uint64_t features);
/* The whole way with one queue @q0 of @num entries at @at (initialised here). */
void vdd_live(struct vdd *d, uint64_t features, struct qdriver *q0, gpa_t at, uint32_t num);
/* Interrupts of queue 0 since the last look; INTA: whether there was one, by the ISR register. */
uint64_t vdd_interrupts(struct vdd *d);
