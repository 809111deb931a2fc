/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI bus 0. Firmware may have placed the BARs or not; those that are unset or beyond the 4 GiB
 * that the runtime maps get the next free piece of the hole, clear of what the memory map names
 * and of what other devices already hold.
 */
#include "tests/guests/drv/pci.h"

#define REG_COMMAND	0x04
#define REG_BAR0	0x10
#define CMD_MEMORY	0x02
#define CMD_MASTER	0x04

static uint64_t hole_next, hole_end;
static unsigned functions[64], n_functions;

static unsigned n_bars(unsigned bdf)
{
	unsigned type = rt_pci_read(bdf, 0x0e, 1) & 0x7f;
	return type == 0 ? 6 : type == 1 ? 2 : 0;
}

/* Size of a memory BAR, 0 if there is none; the BAR's value is left as it was. */
static uint64_t bar_size(unsigned bdf, unsigned reg, bool is_64)
{
	uint32_t lo = rt_pci_read(bdf, reg, 4);
	rt_pci_write(bdf, reg, 4, UINT32_MAX);
	uint64_t mask = (rt_pci_read(bdf, reg, 4) & ~15u) | (uint64_t)UINT32_MAX << 32;
	rt_pci_write(bdf, reg, 4, lo);
	if (is_64) {
		uint32_t hi = rt_pci_read(bdf, reg + 4, 4);
		rt_pci_write(bdf, reg + 4, 4, UINT32_MAX);
		mask = (mask & UINT32_MAX) | (uint64_t)rt_pci_read(bdf, reg + 4, 4) << 32;
		rt_pci_write(bdf, reg + 4, 4, hi);
	}
	return (uint32_t)mask == 0 && (!is_64 || mask == 0) ? 0 : ~mask + 1;
}

static bool is_memory_64(uint32_t bar)
{
	return (bar & 7) == 4;
}

static uint64_t bar_address(unsigned bdf, unsigned reg)
{
	uint32_t lo = rt_pci_read(bdf, reg, 4);

	if (lo & 1)
		return 0;
	return (lo & ~15u) | (is_memory_64(lo) ? (uint64_t)rt_pci_read(bdf, reg + 4, 4) << 32 : 0);
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* Returns an aligned address in the hole that no reserved range covers, 0 if there is none. */
static uint64_t take_from_hole(uint64_t size)
{
	const struct rt_range *map;
	unsigned n = rt_memmap(&map);
	uint64_t at = (hole_next + size - 1) & ~(size - 1);

	for (unsigned i = 0; i < n; i++) {
		if (!overlaps(at, size, map[i].base, map[i].size))
			continue;
		at = (map[i].base + map[i].size + size - 1) & ~(size - 1);
		i = (unsigned)-1;	/* moved: look at all of them again */
	}
	if (at > hole_end || size > hole_end - at)
		return 0;
	hole_next = at + size;
	return at;
}

typedef void bar_fn(unsigned bdf, unsigned reg, uint64_t addr, uint64_t size);

static void for_each_bar(bar_fn *fn)
{
	for (unsigned f = 0; f < n_functions; f++) {
		unsigned bdf = functions[f];
		uint32_t command = rt_pci_read(bdf, REG_COMMAND, 2);
		rt_pci_write(bdf, REG_COMMAND, 2, command & ~(uint32_t)(CMD_MEMORY | 1));
		for (unsigned i = 0; i < n_bars(bdf); i++) {
			unsigned reg = REG_BAR0 + 4 * i;
			uint32_t lo = rt_pci_read(bdf, reg, 4);
			if (lo & 1)
				continue;
			uint64_t size = bar_size(bdf, reg, is_memory_64(lo));
			if (size)
				fn(bdf, reg, bar_address(bdf, reg), size);
			i += is_memory_64(lo);
		}
		rt_pci_write(bdf, REG_COMMAND, 2, command);
	}
}

/* Port accesses are dear: functions 1 to 7 are asked for only where function 0 says so. */
static void find_functions(void)
{
	for (unsigned bdf = 0; bdf < 256 && n_functions < RT_ARRAY_LEN(functions); bdf++) {
		bool there = (rt_pci_read(bdf, 0, 4) & 0xffff) != 0xffff;
		if (there)
			functions[n_functions++] = bdf;
		if ((bdf & 7) == 0 && !(there && rt_pci_read(bdf, 0x0e, 1) & 0x80))
			bdf += 7;
	}
}

unsigned pci_functions(const unsigned **ret_bdfs)
{
	*ret_bdfs = functions;
	return n_functions;
}

static void note_placed(unsigned bdf, unsigned reg, uint64_t addr, uint64_t size)
{
	(void)bdf;
	(void)reg;
	if (addr >= hole_next && addr < hole_end)
		hole_next = addr + size;
}

static void place(unsigned bdf, unsigned reg, uint64_t addr, uint64_t size)
{
	if (addr && addr < 1ull << 32)
		return;
	addr = take_from_hole(size);
	rt_pci_write(bdf, reg, 4, (uint32_t)addr);
	if (is_memory_64(rt_pci_read(bdf, reg, 4)))
		rt_pci_write(bdf, reg + 4, 4, (uint32_t)(addr >> 32));
}

bool pci_init(void)
{
	if (!rt_pci_window(&hole_next, &hole_end))
		return false;
	hole_next = rt_arg_u64("pci_hole", hole_next);
	find_functions();
	for_each_bar(note_placed);
	for_each_bar(place);
	return true;
}

volatile uint8_t *pci_bar(unsigned bdf, unsigned n)
{
	if (n >= n_bars(bdf))
		return NULL;
	return (volatile uint8_t *)bar_address(bdf, REG_BAR0 + 4 * n);
}

void pci_enable(unsigned bdf)
{
	uint32_t command = rt_pci_read(bdf, REG_COMMAND, 2);
	rt_pci_write(bdf, REG_COMMAND, 2, command | CMD_MEMORY | CMD_MASTER);
}
