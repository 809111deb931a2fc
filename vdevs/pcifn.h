/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One PCI function as its guest sees it: configuration space (PCI Local Bus 3.0, type 0),
 * capabilities, BARs that move, MSI-X. Knows nothing of what the function does. All calls with the
 * vdev's lock held.
 *
 * BARs: memory or I/O, mapped through the host while the command register enables their space. A
 * BAR that is 0 or holds the all-ones pattern of sizing is not mapped; one that falls on another
 * window stays gone and is tried again at the next write. Interrupts are MSI-X, INTA, or both: INTA
 * while MSI-X is not enabled.
 */
#pragma once

#include "vdevs/vdev.h"

#define PCIFN_BARS 6u
#define PCIFN_CFG_BYTES 256u	/* beyond it configuration space reads as 0 */
#define PCIFN_VECTORS_MAX 64u

struct pcifn_id {
	uint16_t vendor, device, sub_vendor, sub_device;
	uint32_t class_code;	/* class << 16 | subclass << 8 | interface */
	uint8_t revision;
};

struct pcifn_bar {
	uint64_t len_bytes;	/* 0 = not there */
	enum vd_space space;
	bool is64, mapped;
	uint64_t addr;		/* where it is mapped */
};

struct pcifn_vector {
	uint64_t addr;
	uint32_t data, ctrl;
	bool live;		/* the host delivers it, to live_addr and live_data */
	uint64_t live_addr;
	uint32_t live_data;
};

struct pcifn {
	struct vdev *v;
	/* BAR @bar is mapped at @addr now, or is not any more. May be NULL. */
	void (*bar_moved)(struct vdev *v, unsigned bar, uint64_t addr, bool mapped);
	uint8_t cfg[PCIFN_CFG_BYTES];
	uint8_t wmask[PCIFN_CFG_BYTES];	/* bits that the guest may write */
	struct pcifn_bar bar[PCIFN_BARS];
	unsigned cap_last, cap_end;
	unsigned msix_cap, n_vectors;	/* 0 = no MSI-X */
	struct pcifn_vector vec[PCIFN_VECTORS_MAX];
	bool intx_wanted, intx_high;	/* asked for; driven, as the registers allow */
};

void pcifn_init(struct pcifn *f, struct vdev *v, const struct pcifn_id *id,
		void (*bar_moved)(struct vdev *v, unsigned bar, uint64_t addr, bool mapped));
/* Unmaps the BARs. */
void pcifn_fini(struct pcifn *f);

/* @len_bytes a power of 2, at least 16. A 64-bit BAR takes @bar + 1 too. */
void pcifn_add_bar(struct pcifn *f, unsigned bar, enum vd_space space, uint64_t len_bytes,
		   bool is64);
/*
 * A capability of @len_bytes, header included; zeroed and read-only behind the header. Its offset.
 */
unsigned pcifn_add_cap(struct pcifn *f, uint8_t id, unsigned len_bytes);
/* MSI-X with table and pending bits at these offsets of BAR @bar. */
void pcifn_add_msix(struct pcifn *f, unsigned n_vectors, unsigned bar, uint32_t table_off,
		    uint32_t pba_off);

/* INTA: the host's line 0. */
void pcifn_add_intx(struct pcifn *f);
/* Asks for the level of INTA. It reaches the line, and the status register, as the guest allows. */
void pcifn_intx(struct pcifn *f, bool level);
bool pcifn_msix_enabled(const struct pcifn *f);

uint32_t pcifn_cfg_read(const struct pcifn *f, unsigned off, unsigned size);
void pcifn_cfg_write(struct pcifn *f, unsigned off, unsigned size, uint32_t val);

/*
 * Accesses to the table and the pending bits, offsets from their start. Sizes 4 and 8; others read
 * 0.
 */
uint64_t pcifn_table_read(const struct pcifn *f, uint64_t off, unsigned size);
void pcifn_table_write(struct pcifn *f, uint64_t off, unsigned size, uint64_t val);
uint64_t pcifn_pba_read(const struct pcifn *f, uint64_t off, unsigned size);
#define PCIFN_TABLE_BYTES(n_vectors) ((n_vectors) * 16u)
