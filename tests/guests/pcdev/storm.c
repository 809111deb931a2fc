/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every register of every device, at random, for "storm_ms=" with "seed=": ports, windows,
 * configuration space, any width, aligned or not. What would end the machine is left out unless
 * "ends=1"; what would only take the guest's own feet away (its local APIC, its serial port, the
 * vectors of its ioapic) always. A device may give what it likes: the guest has nothing to check
 * but that it lives, and says how many accesses there were.
 */
#include "tests/guests/pcdev/pcdev.h"

struct range {
	uint64_t base;
	uint32_t len;
	bool ends;	/* writes there can end the machine */
};

static const struct range ports[] = {
	{ 0x40, 4, false }, { 0x60, 1, true }, { 0x61, 1, false }, { 0x64, 1, true },
	{ 0x70, 2, false }, { 0x80, 4, false }, { 0x441, 3, true }, { 0x600, 4, false },
	{ 0x604, 2, true }, { 0x2f8, 8, false }, { 0xcf8, 8, true }, { 0xc000, 64, false },
};

static uint64_t rng;

static uint64_t random64(void)
{
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return rng * UINT64_C(0x2545f4914f6cdd1d);
}

/* Values that are likely to hurt, as often as any. */
static uint64_t random_value(void)
{
	static const uint64_t some[] = { 0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000,
					 0xffffffff, 1ull << 63, ~0ull };
	uint64_t r = random64();

	return r & 1 ? some[(r >> 8) % RT_ARRAY_LEN(some)] : random64();
}

static void port_access(const struct range *p, bool ends)
{
	uint64_t r = random64();
	uint16_t port = (uint16_t)(p->base + (r >> 8) % p->len);
	uint32_t v = (uint32_t)random_value();

	if (r & 1 || (p->ends && !ends)) {
		if ((r >> 1) % 3 == 0)
			arch_in8(port);
		else if ((r >> 1) % 3 == 1)
			arch_in16(port);
		else
			arch_in32(port);
	} else if ((r >> 1) % 3 == 0) {
		arch_out8(port, (uint8_t)v);
	} else if ((r >> 1) % 3 == 1 && (r >> 8) % p->len + 2 <= p->len) {
		arch_out16(port, (uint16_t)v);
	} else if ((r >> 8) % p->len + 4 <= p->len) {
		arch_out32(port, v);
	}
}

static void window_access(uint64_t base, uint32_t len)
{
	uint64_t r = random64(), v = random_value();
	unsigned size = 1u << (r >> 1) % 4;
	uint64_t at = base + (r >> 8) % (len - size + 1);

	if (r & 0x80)
		at &= ~(uint64_t)(size - 1);
	if (r & 1) {
		if (size == 1)
			(void)*(volatile uint8_t *)at;
		else if (size == 2)
			(void)*(volatile uint16_t *)at;
		else if (size == 4)
			(void)mmio32(at);
		else
			(void)mmio64(at);
	} else if (size == 1) {
		*(volatile uint8_t *)at = (uint8_t)v;
	} else if (size == 2) {
		*(volatile uint16_t *)at = (uint16_t)v;
	} else if (size == 4) {
		mmio32_set(at, (uint32_t)v);
	} else {
		mmio64_set(at, v);
	}
}

/* Any function's, through the ports; a BAR that lands on RAM or on another window is refused. */
static void config_access(void)
{
	uint64_t r = random64();
	unsigned bdf = r >> 8 & 0xff, reg = r >> 16 & 0xff, width = 1u << (r >> 1) % 3;

	reg &= ~(width - 1);
	if (r & 1)
		rt_pci_read(bdf, reg, width);
	else
		rt_pci_write(bdf, reg, width, (uint32_t)random_value());
}

/* ---- windows ---- */

#define WINDOWS_MAX	40u
#define BARS_BASE	0xc0000000u
#define BAR_USED_MAX	0x8000u		/* of each: devices use its beginning */
#define PLACE_EVERY	4096u		/* accesses, which may have moved BARs */

static struct range windows[WINDOWS_MAX];
static unsigned n_windows;

static void window_add(uint64_t base, uint32_t len)
{
	if (n_windows < WINDOWS_MAX)
		windows[n_windows++] = (struct range){ base, len, false };
}

/* Gives memory BAR @reg of @bdf a place at or behind *@at; how many registers it has. */
static unsigned bar_place(unsigned bdf, unsigned reg, uint32_t *at)
{
	rt_pci_write(bdf, reg, 4, 0xffffffff);
	uint32_t mask = rt_pci_read(bdf, reg, 4), len = ~(mask & ~15u) + 1;
	bool wide = (mask & 6) == 4;

	if (!mask || mask & 1)
		return 1;
	*at = (*at + len - 1) & ~(len - 1);
	rt_pci_write(bdf, reg, 4, *at);
	if (wide)
		rt_pci_write(bdf, reg + 4, 4, 0);
	window_add(*at, len < BAR_USED_MAX ? len : BAR_USED_MAX);
	*at += len;
	return 1 + wide;
}

/* All windows of memory: what the command line names, and the BARs, each at its place again. */
static void windows_place(uint64_t hpet)
{
	uint32_t at = BARS_BASE;
	char text[24];

	n_windows = 0;
	window_add(hpet, 0x400);
	window_add(0xe0000000, 0x100000);
	for (unsigned i = 0; rt_arg_nth("window", i, text, sizeof(text)); i++) {
		const char *p = text;
		uint64_t base;

		check(rt_parse_u64(&p, &base), "window=%s is no address", text);
		window_add(base, 0x200);
	}
	for (unsigned bdf = 0; bdf < 256; bdf += 8) {
		if (rt_pci_read(bdf, 0, 4) == 0xffffffff)
			continue;
		rt_pci_write(bdf, 4, 2, 0);
		for (unsigned i = 0; i < 6;)
			i += bar_place(bdf, 0x10 + 4 * i, &at);
		rt_pci_write(bdf, 4, 2, 7);
	}
}

static void any_window(void)
{
	const struct range *w = &windows[random64() % n_windows];

	window_access(w->base, w->len);
}

void storm_test(void)
{
	const uint64_t end = arch_ticks() + rt_ticks(rt_arg_u64("storm_ms", 1000) * RT_NS_PER_MS);
	const bool ends = rt_arg_u64("ends", 0), pci = rt_arg_u64("pci", 1);
	const uint64_t hpet = rt_arg_u64("hpet", HPET_DEFAULT);
	uint64_t n = 0;

	rng = rt_arg_u64("seed", 1) * 0x9e3779b97f4a7c15 | 1;
	rt_printf("pc: storm begins\n");
	while (arch_ticks() < end) {
		uint64_t r = random64() % 10;

		if (n++ % PLACE_EVERY == 0)
			windows_place(hpet);
		if (r < 4)
			port_access(&ports[random64() % RT_ARRAY_LEN(ports)], ends);
		else if (r < 9)
			any_window();
		else if (pci)
			config_access();
	}
	/* The interval timer and the HPET may have anything in mind: they are told to be quiet. */
	mmio64_set(hpet + 0x10, 0);
	rt_printf("pc: storm accesses=%lu\n", n);
}
