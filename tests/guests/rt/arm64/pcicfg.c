/* SPDX-License-Identifier: Apache-2.0 */
/* PCI configuration space by ECAM, any width at any aligned offset. */
#include "tests/guests/rt/arm64/arm64.h"

bool rt_pci_window(uint64_t *ret_base, uint64_t *ret_end)
{
	const struct arm64_board *b = &arm64_board;

	if (!b->ecam || !b->n_buses || !b->pci_mem_bytes)
		return false;
	*ret_base = b->pci_mem;
	*ret_end = b->pci_mem + b->pci_mem_bytes;
	return true;
}

static uint64_t place(unsigned bdf, unsigned reg)
{
	return bdf >> 8 < arm64_board.n_buses ? arm64_board.ecam + ((uint64_t)bdf << 12) + reg : 0;
}

uint32_t rt_pci_read(unsigned bdf, unsigned reg, unsigned width)
{
	uint64_t at = place(bdf, reg);

	if (!at)
		return UINT32_MAX;
	if (width == 1)
		return *(volatile uint8_t *)at;
	return width == 2 ? *(volatile uint16_t *)at : *(volatile uint32_t *)at;
}

void rt_pci_write(unsigned bdf, unsigned reg, unsigned width, uint32_t v)
{
	uint64_t at = place(bdf, reg);

	if (at && width == 1)
		*(volatile uint8_t *)at = (uint8_t)v;
	else if (at && width == 2)
		*(volatile uint16_t *)at = (uint16_t)v;
	else if (at)
		*(volatile uint32_t *)at = v;
}

bool rt_mmio_device(unsigned nth, uint64_t *ret_addr, unsigned *ret_gsi)
{
	if (nth >= arm64_board.n_mmio)
		return false;
	*ret_addr = arm64_board.mmio[nth].addr;
	*ret_gsi = arm64_board.mmio[nth].intid;
	return true;
}
