/* SPDX-License-Identifier: Apache-2.0 */
/* PCI configuration space by the ports 0xcf8 and 0xcfc, any width at any aligned offset. */
#include "tests/guests/rt/rt.h"

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
