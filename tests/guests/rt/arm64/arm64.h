/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of rt/arm64/. */
#pragma once
#include "tests/guests/rt/rt.h"

#define ARM64_MMIO_DEVS	32
#define ARM64_LPI_FIRST	8192u

enum arm64_psci { PSCI_NONE, PSCI_HVC, PSCI_SMC };

/* The machine as the device tree describes it. Addresses are 0 where there is nothing. */
struct arm64_board {
	uint64_t uart;
	unsigned uart_intid;
	unsigned gic_version;		/* 2, 3; 0: none */
	uint64_t gicd, gicr, gicr_bytes;
	uint64_t gicc;			/* version 2 */
	uint64_t its;
	unsigned timer_intid;		/* of the virtual timer */
	enum arm64_psci psci;
	uint64_t ecam;
	unsigned n_buses;
	uint64_t pci_mem, pci_mem_bytes;
	uint64_t initrd, initrd_end;
	unsigned n_mmio;
	struct {
		uint64_t addr;
		unsigned intid;
	} mmio[ARM64_MMIO_DEVS];
};

extern struct arm64_board arm64_board;

/* Fills arm64_board and @boot; strings of @boot stay in the tree. False if it is none. */
bool arm64_fdt_read(uint64_t fdt, struct rt_boot *boot);
/* The initrd's memory is not the heap's: the range of @boot that holds it becomes three. */
void arm64_cut_initrd(struct rt_boot *boot);
/* Identity map: RAM of @boot cached, everything else below 512 GiB as device. Caches on. */
void arm64_mmu_on(const struct rt_boot *boot);
void arm64_serial_init(void);
void arm64_serial_flush(void);
void arm64_gic_init(void);
/* Enables interrupt @intid, an SPI (edge-triggered) or PPI, as line @irq. */
void arm64_gic_enable(unsigned intid, int irq);
/* LPIs for MSIs; false if there is no ITS or it does not work. @gicr: of this processor. */
bool arm64_its_init(uint64_t gicr);
/* Makes a write of @event by function @bdf raise LPI ARM64_LPI_FIRST + @event. */
void arm64_its_map(unsigned bdf, unsigned event);
uint64_t arm64_its_doorbell(void);

static inline volatile uint32_t *arm64_reg32(uint64_t base, uint64_t off)
{
	return (volatile uint32_t *)(base + off);
}

static inline volatile uint64_t *arm64_reg64(uint64_t base, uint64_t off)
{
	return (volatile uint64_t *)(base + off);
}

/* What was stored is seen by all observers, the walks of tables included. */
static inline void arm64_dsb(void)
{
	__asm__ volatile("dsb sy" : : : "memory");
}
