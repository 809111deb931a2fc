/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes configuration accesses to the functions and does what a board's firmware would have done
 * before it starts a kernel: sizes and places BARs. The functions keep their own configuration
 * space; only the host bridge's is here, and it is constant.
 */
#include "qvm/pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "qvm/vmdev.h"

#define BRIDGE_VENDOR 0x1c05u
#define BRIDGE_DEVICE 0x0002u
#define BRIDGE_CLASS  0x0600u /* host bridge */
#define CFG_BYTES     256u    /* that the ports reach */
#define CFG_EXT_BYTES 4096u   /* that ECAM reaches */
#define LATCH_ENABLE  0x80000000u
#define N_BARS	      6u

void pci_init(struct pci *p, uint64_t mem_base, uint64_t mem_len, uint64_t io_base, uint64_t io_len)
{
	memset(p, 0, sizeof(*p));
	p->mem_base = mem_base;
	p->mem_end = mem_base + mem_len;
	p->io_base = io_base;
	p->io_end = io_base + io_len;
}

int pci_add(struct pci *p, unsigned dev, struct vm_dev *d)
{
	if (dev == 0 || dev >= MM_PCI_SLOTS || p->slots[dev])
		return -EEXIST;
	p->slots[dev] = d;
	return 0;
}

/* ---- configuration space ---- */

static uint32_t bridge_dword(unsigned off)
{
	switch (off) {
	case PCI_VENDOR_ID:
		return BRIDGE_DEVICE << 16 | BRIDGE_VENDOR;
	case PCI_CLASS_REVISION:
		return BRIDGE_CLASS << 16;
	case PCI_SUBSYSTEM_VENDOR_ID:
		return BRIDGE_DEVICE << 16 | BRIDGE_VENDOR;
	default:
		return 0;
	}
}

static uint32_t all_ones(unsigned size)
{
	return UINT32_MAX >> (32 - 8 * size);
}

uint32_t pci_cfg_read(struct pci *p, unsigned devfn, unsigned off, unsigned size)
{
	unsigned dev = devfn >> 3;

	if (devfn & 7 || !(dev == 0 || p->slots[dev]))
		return all_ones(size);
	if (dev == 0)
		return bridge_dword(off & ~3u) >> 8 * (off & 3) & all_ones(size);
	return vmdev_cfg_read(p->slots[dev], off, size) & all_ones(size);
}

void pci_cfg_write(struct pci *p, unsigned devfn, unsigned off, unsigned size, uint32_t val)
{
	unsigned dev = devfn >> 3;

	if (!(devfn & 7) && p->slots[dev])
		vmdev_cfg_write(p->slots[dev], off, size, val & all_ones(size));
}

/* ---- ports ---- */

/* The function and register that the latch names; false when it names nothing on bus 0. */
static bool latched(struct pci *p, uint64_t port_off, unsigned *ret_devfn, unsigned *ret_off)
{
	/*
	 * Relaxed: a guest that writes and uses the latch from two processors without a lock of its
	 * own gets either value.
	 */
	uint32_t latch = atomic_load_explicit(&p->latch, memory_order_relaxed);

	*ret_devfn = latch >> 8 & 0xff;
	*ret_off = (latch & 0xfc) + (unsigned)(port_off - 4);
	return latch & LATCH_ENABLE && !(latch >> 16 & 0xff);
}

/* The latch takes dwords only; smaller accesses reach what is under it. */
static bool is_under(const struct pci *p, uint64_t off, unsigned size, uint64_t *ret_off)
{
	const struct bus_window *w = &p->under_latch;
	uint64_t port = MM_X86_IO_PCI_BASE + off;

	if (!w->ops || port < w->base || !qspan_inside(port - w->base, size, w->len_bytes))
		return false;
	*ret_off = port - w->base;
	return true;
}

/* Ports 0xcf8..0xcff: 0 the latch, 4 the data. An access may not leave its dword. */
static uint64_t ports_read(void *ctx, unsigned win, uint64_t off, unsigned size)
{
	struct pci *p = ctx;
	const struct bus_window *w = &p->under_latch;
	unsigned devfn, reg;
	uint64_t at;

	if (off == 0 && size == 4)
		return atomic_load_explicit(&p->latch, memory_order_relaxed);
	if (off < 4)
		return is_under(p, off, size, &at) ? w->ops->read(w->ctx, w->win, at, size) :
						     UINT64_MAX;
	if (size > 4 || (off & 3) + size > 4 || !latched(p, off, &devfn, &reg))
		return UINT64_MAX;
	return pci_cfg_read(p, devfn, reg, size);
}

static void ports_write(void *ctx, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct pci *p = ctx;
	const struct bus_window *w = &p->under_latch;
	unsigned devfn, reg;
	uint64_t at;

	if (off == 0 && size == 4)
		atomic_store_explicit(&p->latch, (uint32_t)val, memory_order_relaxed);
	else if (off < 4 && is_under(p, off, size, &at))
		w->ops->write(w->ctx, w->win, at, size, val);
	else if (off >= 4 && size <= 4 && (off & 3) + size <= 4 && latched(p, off, &devfn, &reg))
		pci_cfg_write(p, devfn, reg, size, (uint32_t)val);
}

static const struct bus_ops ports_ops = { .read = ports_read, .write = ports_write };

int pci_map_ports(struct pci *p, struct bus *io)
{
	const struct bus_window w = { .base = MM_X86_IO_PCI_BASE,
				      .len_bytes = MM_X86_IO_PCI_LEN,
				      .ops = &ports_ops,
				      .ctx = p,
				      .name = "the PCI configuration ports" };

	return bus_add(io, &w);
}

int pci_map_under_latch(struct pci *p, const struct bus_window *w)
{
	if (w->ops && (w->base <= MM_X86_IO_PCI_BASE ||
		       !qspan_inside(w->base - MM_X86_IO_PCI_BASE, w->len_bytes, 4)))
		return -EINVAL;
	if (w->ops && p->under_latch.ops)
		return -EEXIST;
	p->under_latch = *w;
	return 0;
}

/* ---- ECAM ---- */

/* True when the access is for bus 0 and inside one dword. */
static bool ecam_decode(uint64_t off, unsigned size, unsigned *ret_devfn, unsigned *ret_reg)
{
	*ret_devfn = off >> 12 & 0xff;
	*ret_reg = (unsigned)(off & (CFG_EXT_BYTES - 1));
	return off >> 20 == 0 && size <= 4 && (off & 3) + size <= 4;
}

static uint64_t ecam_read(void *ctx, unsigned win, uint64_t off, unsigned size)
{
	unsigned devfn, reg;

	if (!ecam_decode(off, size, &devfn, &reg))
		return UINT64_MAX;
	return pci_cfg_read(ctx, devfn, reg, size);
}

static void ecam_write(void *ctx, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	unsigned devfn, reg;

	if (ecam_decode(off, size, &devfn, &reg))
		pci_cfg_write(ctx, devfn, reg, size, (uint32_t)val);
}

static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

int pci_map_ecam(struct pci *p, struct bus *mem, uint64_t base, uint64_t len_bytes)
{
	const struct bus_window w = {
		.base = base, .len_bytes = len_bytes, .ops = &ecam_ops, .ctx = p, .win = 1,
		.name = "the PCI configuration window"
	};

	return bus_add(mem, &w);
}

/* ---- what firmware does ---- */

/* Takes @len bytes, aligned to themselves, from the window at *@base. */
static int window_take(uint64_t *base, uint64_t end, uint64_t len, uint64_t *ret)
{
	uint64_t at = Q_ALIGN_UP(*base, len);

	if (at > end || len > end - at)
		return -ENOSPC;
	*ret = at;
	*base = at + len;
	return 0;
}

/*
 * Places BAR @i; *@ret_enable gets the bit that switches its space on. Returns how many BAR
 * registers it was (1 or 2), or
 * -errno. */
static int bar_assign(struct pci *p, unsigned devfn, unsigned i, uint32_t *ret_enable)
{
	unsigned reg = PCI_BASE_ADDRESS_0 + 4 * i;
	uint64_t at;

	pci_cfg_write(p, devfn, reg, 4, UINT32_MAX);
	uint32_t mask = pci_cfg_read(p, devfn, reg, 4);
	if (mask == 0 || mask == UINT32_MAX)
		return 1;
	if (mask & PCI_BASE_ADDRESS_SPACE_IO) {
		uint32_t len = ~(mask & ~3u) + 1;
		if (window_take(&p->io_base, p->io_end, len & 0xffff, &at) < 0)
			return -ENOSPC;
		pci_cfg_write(p, devfn, reg, 4, (uint32_t)at);
		*ret_enable |= PCI_COMMAND_IO;
		return 1;
	}
	bool is_64 = (mask & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
	uint32_t len = ~(mask & ~0xfu) + 1;
	/* Of a 64-bit BAR the low half is enough: none of ours is 4 GiB large. */
	if (!len || window_take(&p->mem_base, p->mem_end, len, &at) < 0)
		return -ENOSPC;
	pci_cfg_write(p, devfn, reg, 4, (uint32_t)at);
	if (is_64)
		pci_cfg_write(p, devfn, reg + 4, 4, (uint32_t)(at >> 32));
	*ret_enable |= PCI_COMMAND_MEMORY;
	return is_64 ? 2 : 1;
}

static int function_assign(struct pci *p, unsigned dev)
{
	unsigned devfn = dev << 3;
	uint32_t enable = 0;

	for (unsigned i = 0; i < N_BARS;) {
		int n = bar_assign(p, devfn, i, &enable);
		if (n < 0)
			return n;
		i += (unsigned)n;
	}
	if (pci_cfg_read(p, devfn, PCI_INTERRUPT_PIN, 1))
		pci_cfg_write(p, devfn, PCI_INTERRUPT_LINE, 1, pci_intx_line(dev));
	pci_cfg_write(p, devfn, PCI_COMMAND, 2, pci_cfg_read(p, devfn, PCI_COMMAND, 2) | enable);
	return 0;
}

int pci_assign(struct pci *p)
{
	for (unsigned dev = 1; dev < MM_PCI_SLOTS; dev++) {
		int r = p->slots[dev] ? function_assign(p, dev) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

void pci_windows_off(struct pci *p)
{
	for (unsigned dev = 1; dev < MM_PCI_SLOTS; dev++) {
		uint32_t command = pci_cfg_read(p, dev << 3, PCI_COMMAND, 2);

		if (p->slots[dev])
			pci_cfg_write(p, dev << 3, PCI_COMMAND, 2,
				      command & ~(uint32_t)(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	}
}
