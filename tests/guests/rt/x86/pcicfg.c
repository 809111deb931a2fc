/* SPDX-License-Identifier: Apache-2.0 */
/* PCI configuration space by the ports 0xcf8 and 0xcfc, any width at any aligned offset. */
#include "tests/guests/rt/rt.h"

#define HOLE_START	0xc0000000u
#define HOLE_END	0xfe000000u

bool rt_pci_window(uint64_t *ret_base, uint64_t *ret_end)
{
	arch_out32(0xcf8, 0x80000000u);
	if (arch_in32(0xcf8) != 0x80000000u)
		return false;
	*ret_base = HOLE_START;
	*ret_end = HOLE_END;
	return true;
}

static uint16_t select_reg(unsigned bdf, unsigned reg)
{
	arch_out32(0xcf8, 0x80000000u | bdf << 8 | (reg & 0xfc));
	return (uint16_t)(0xcfc + (reg & 3));
}

uint32_t rt_pci_read(unsigned bdf, unsigned reg, unsigned width)
{
	uint16_t port = select_reg(bdf, reg);

	if (width == 1)
		return arch_in8(port);
	return width == 2 ? arch_in16(port) : arch_in32(port);
}

void rt_pci_write(unsigned bdf, unsigned reg, unsigned width, uint32_t v)
{
	uint16_t port = select_reg(bdf, reg);

	if (width == 1)
		arch_out8(port, (uint8_t)v);
	else if (width == 2)
		arch_out16(port, (uint16_t)v);
	else
		arch_out32(port, v);
}

bool rt_mmio_device(unsigned nth, uint64_t *ret_addr, unsigned *ret_gsi)
{
	(void)nth;
	(void)ret_addr;
	(void)ret_gsi;
	return false;
}
