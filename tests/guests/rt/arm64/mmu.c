/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identity map, 39 bits, 4 KiB granule: one table of 512 GiB-sized blocks, split into 2 MiB
 * blocks where a GiB is RAM in part. RAM is normal memory, inner shareable and write-back; all else
 * is device memory (nGnRnE) and not executable. Filled while the MMU is off; no cache holds these
 * words then, because loader and hypervisor hand memory over clean (Linux' booting.rst).
 */
#include "tests/guests/rt/arm64/arm64.h"

#define GIB		(UINT64_C(1) << 30)
#define BLOCK		(UINT64_C(2) << 20)
#define ENTRIES		512u
#define SPLITS		8u		/* GiBs that are RAM in part */

#define PTE_BLOCK	UINT64_C(1)
#define PTE_TABLE	UINT64_C(3)
#define PTE_NORMAL	(UINT64_C(1) << 2)	/* MAIR index 1 */
#define PTE_INNER	(UINT64_C(3) << 8)
#define PTE_ACCESSED	(UINT64_C(1) << 10)
#define PTE_PXN		(UINT64_C(1) << 53)
#define PTE_UXN		(UINT64_C(1) << 54)
#define DEVICE		(PTE_BLOCK | PTE_ACCESSED | PTE_PXN | PTE_UXN)
#define NORMAL		(PTE_BLOCK | PTE_ACCESSED | PTE_NORMAL | PTE_INNER | PTE_UXN)
#define PTE_ADDR	UINT64_C(0x0000fffffffff000)

#define MAIR		UINT64_C(0xff00)	/* 0: device nGnRnE, 1: write-back */
#define TCR_T0SZ	UINT64_C(25)
#define TCR_WB_INNER	(UINT64_C(1) << 8 | UINT64_C(1) << 10 | UINT64_C(3) << 12)
#define TCR_EPD1	(UINT64_C(1) << 23)
#define TCR_IPS_SHIFT	32
#define SCTLR_RES1	UINT64_C(0x30d00800)
#define SCTLR_M_C_I	UINT64_C(0x1005)

static uint64_t level1[ENTRIES] __attribute__((aligned(4096)));
static uint64_t level2[SPLITS][ENTRIES] __attribute__((aligned(4096)));
static unsigned n_split;

/* The table of 2 MiB blocks below @e; NULL when all are in use. */
static uint64_t *split(uint64_t *e, uint64_t base)
{
	if ((*e & PTE_TABLE) == PTE_TABLE)
		return (uint64_t *)(*e & PTE_ADDR);
	if (n_split == SPLITS)
		return NULL;
	uint64_t *t = level2[n_split++];
	for (unsigned i = 0; i < ENTRIES; i++)
		t[i] = (base + i * BLOCK) | (*e & ~PTE_ADDR);
	*e = (uint64_t)t | PTE_TABLE;
	return t;
}

/* Only whole blocks: what is left over at the edges of RAM stays device memory and works too. */
static void map_ram(uint64_t at, uint64_t end)
{
	at = (at + BLOCK - 1) & ~(BLOCK - 1);
	end &= ~(BLOCK - 1);
	while (at < end && at < ENTRIES * GIB) {
		uint64_t *e = &level1[at / GIB];
		if (at % GIB == 0 && end - at >= GIB) {
			*e = at | NORMAL;
			at += GIB;
			continue;
		}
		uint64_t *t = split(e, at & ~(GIB - 1));
		if (!t)
			return;
		t[at % GIB / BLOCK] = at | NORMAL;
		at += BLOCK;
	}
}

void arm64_mmu_on(const struct rt_boot *boot)
{
	uint64_t tcr, features;

	for (unsigned i = 0; i < ENTRIES; i++)
		level1[i] = i * GIB | DEVICE;
	for (unsigned i = 0; i < boot->n_map; i++)
		map_ram(boot->map[i].base, boot->map[i].base + boot->map[i].size);
	__asm__ volatile("mrs %0, id_aa64mmfr0_el1" : "=r"(features));
	/* The physical range; values above 5 (48 bits) mean more than TCR takes here. */
	uint64_t range = (features & 15) > 5 ? 5 : features & 15;
	tcr = TCR_T0SZ | TCR_WB_INNER | TCR_EPD1 | range << TCR_IPS_SHIFT;
	__asm__ volatile("dsb sy\n\t"
			 "tlbi vmalle1\n\t"
			 "ic iallu\n\t"
			 "msr mair_el1, %0\n\t"
			 "msr tcr_el1, %1\n\t"
			 "msr ttbr0_el1, %2\n\t"
			 "dsb sy\n\t"
			 "isb\n\t"
			 "msr sctlr_el1, %3\n\t"
			 "isb"
			 : : "r"(MAIR), "r"(tcr), "r"(level1), "r"(SCTLR_RES1 | SCTLR_M_C_I)
			 : "memory");
}
