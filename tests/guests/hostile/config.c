/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks on what the device shows: its configuration window, the transport's registers, PCI
 * configuration space, BARs and the MSI-X table. What an attack breaks on the way to the device it
 * puts back, because the guest itself needs it afterwards.
 *
 * MSI-X garbage keeps to the vector 0xff, fixed and edge: KVM looks at few of the address bits, and
 * anything else could end this guest by right.
 */
#include "tests/guests/drv/pci.h"
#include "tests/guests/hostile/hostile.h"

#define SPURIOUS	0xff
#define REG_COMMAND	0x04
#define CMD_MEMORY	0x02

static uint64_t rng = 88172645463325252u;

static bool is_pci(const struct target *t)
{
	return t->dev->common != NULL;
}

/*
 * @arg 0 reads, 1 writes ones, 2 writes random values; every offset, aligned or not, as far as the
 * processor lets it out.
 */
static void sweep(volatile uint8_t *base, unsigned bytes, uint64_t arg)
{
	for (unsigned width = 1; width <= 4; width *= 2)
		for (unsigned off = 0; off + width <= bytes; off += ARCH_ODD_MMIO ? 1 : width) {
			if (arg == 0)
				(void)vio_read(base, off, width);
			else
				vio_write(base, off, width,
					  arg == 1 ? UINT32_MAX : (uint32_t)fuzz_next(&rng));
		}
}

static void device_config(struct target *t, uint64_t arg)
{
	unsigned bytes = t->dev->config_bytes < 256 ? t->dev->config_bytes : 256;

	target_up(t, 0);
	if (bytes)
		sweep(is_pci(t) ? t->dev->config : t->dev->regs + 0x100, bytes, arg);
}

static void device_config_in_reset(struct target *t, uint64_t arg)
{
	unsigned bytes = t->dev->config_bytes < 64 ? t->dev->config_bytes : 64;

	if (bytes)
		sweep(is_pci(t) ? t->dev->config : t->dev->regs + 0x100, bytes, arg);
}

/* The registers of the transport, those that start queues among them, with and without a reset. */
static void transport(struct target *t, uint64_t arg)
{
	if (arg != 2)
		target_up(t, 0);
	sweep(is_pci(t) ? t->dev->common : t->dev->regs, is_pci(t) ? 64 : 256, arg);
}

static void isr_and_notify(struct target *t, uint64_t arg)
{
	target_up(t, 0);
	if (!is_pci(t))
		return;
	if (t->dev->isr)
		sweep(t->dev->isr, 4, arg);
	sweep(t->dev->notify, 8, arg);
}

/* --- MSI-X --- */

static void msix_vector_numbers(struct target *t, uint64_t arg)
{
	if (!is_pci(t))
		return;
	target_up(t, 0);
	*vio_reg16(t->dev->common, 0x10) = (uint16_t)arg;
	*vio_reg16(t->dev->common, 0x16) = (uint16_t)t->qi;
	*vio_reg16(t->dev->common, 0x1a) = (uint16_t)arg;
	if (*vio_reg16(t->dev->common, 0x1a) != 0xffff && arg >= t->dev->n_msix)
		rt_fail("%s took MSI-X vector %lu of %u", t->dev->name, arg, t->dev->n_msix);
	put_request(t);
	fire(t, 0);
}

static void msix_entry(struct target *t, uint64_t arg)
{
	if (!t->dev->msix)
		return;
	target_up(t, 0);
	for (unsigned i = 0; i < t->dev->n_msix && i < 32; i++) {
		volatile uint8_t *e = t->dev->msix + 16 * i;
		*vio_reg32(e, 0) = (uint32_t)arg;
		*vio_reg32(e, 4) = (uint32_t)(arg >> 32);
		*vio_reg32(e, 8) = SPURIOUS;
		*vio_reg32(e, 12) = 0;
	}
	put_request(t);
	fire(t, 0);
}

/* Masks and unmasks while requests complete; odd widths and offsets into the table. */
static void msix_mask_race(struct target *t, uint64_t arg)
{
	if (!t->dev->msix)
		return;
	target_up(t, 0);
	put_request(t);
	for (unsigned i = 0; i < 64; i++) {
		*vio_reg32(t->dev->msix, 12) = i & 1;
		fire(t, 0);
		if (arg)
			t->dev->msix[12 + (i & 3)] = 0;
	}
	*vio_reg32(t->dev->msix, 12) = 0;
}

/* --- PCI configuration space --- */

static void save_config(unsigned bdf, uint32_t regs[64])
{
	for (unsigned i = 0; i < 64; i++)
		regs[i] = rt_pci_read(bdf, 4 * i, 4);
}

static void restore_config(unsigned bdf, const uint32_t regs[64])
{
	rt_pci_write(bdf, REG_COMMAND, 2, 0);
	for (unsigned i = 2; i < 64; i++)
		rt_pci_write(bdf, 4 * i, 4, regs[i]);
	rt_pci_write(bdf, REG_COMMAND, 2, regs[1] & 0xffff);
}

static void pci_sweep(struct target *t, uint64_t arg)
{
	uint32_t regs[64];

	if (!is_pci(t))
		return;
	save_config(t->dev->bdf, regs);
	for (unsigned width = 1; width <= 4; width *= 2)
		for (unsigned reg = 0; reg < 256; reg += width) {
			if (arg == 0)
				(void)rt_pci_read(t->dev->bdf, reg, width);
			else
				rt_pci_write(t->dev->bdf, reg, width,
					     arg == 1 ? UINT32_MAX : (uint32_t)fuzz_next(&rng));
		}
	restore_config(t->dev->bdf, regs);
}

/* Memory decoding stays on while the BARs move; then a look at where the device was. */
static void bar_garbage(struct target *t, uint64_t arg)
{
	uint32_t regs[64];

	if (!is_pci(t))
		return;
	save_config(t->dev->bdf, regs);
	for (unsigned i = 0; i < 6; i++)
		rt_pci_write(t->dev->bdf, 0x10 + 4 * i, 4, (uint32_t)(i & 1 ? arg >> 32 : arg));
	(void)t->dev->common[0];
	rt_pci_write(t->dev->bdf, REG_COMMAND, 2, 0);
	(void)t->dev->common[0];
	rt_pci_write(t->dev->bdf, REG_COMMAND, 2, regs[1] & 0xffff);
	restore_config(t->dev->bdf, regs);
}

/* Over the last memory there is, at a multiple of @arg. */
static void bar_over_ram(struct target *t, uint64_t arg)
{
	bar_garbage(t, (rt_ram_end() - 1) & ~(arg - 1));
}

/* The device is used while it must not reach memory. */
static void no_bus_master(struct target *t, uint64_t arg)
{
	if (!is_pci(t))
		return;
	target_up(t, 0);
	uint32_t command = rt_pci_read(t->dev->bdf, REG_COMMAND, 2);
	rt_pci_write(t->dev->bdf, REG_COMMAND, 2, CMD_MEMORY);
	put_request(t);
	fire(t, 0);
	rt_pci_write(t->dev->bdf, REG_COMMAND, 2, arg ? 0 : command);
	rt_pci_write(t->dev->bdf, REG_COMMAND, 2, command);
}

/* Every slot of bus 0, and buses that do not exist, by odd addresses. */
static void config_address(struct target *t, uint64_t arg)
{
	(void)arg;
	if (!is_pci(t))
		return;
	for (unsigned bdf = 0; bdf < 256; bdf += 5)
		for (unsigned reg = 0; reg < 256; reg += 60)
			(void)rt_pci_read(bdf, reg, 4);
	for (unsigned bdf = 256; bdf < 65536; bdf += 1021)
		(void)rt_pci_read(bdf, 0, 4);
}

const struct attack config_attacks[] = {
	{ "config-read", device_config, 0 },
	{ "config-write-ones", device_config, 1 },
	{ "config-write-random", device_config, 2 },
	{ "config-read-in-reset", device_config_in_reset, 0 },
	{ "config-write-in-reset", device_config_in_reset, 2 },
	{ "registers-read", transport, 0 },
	{ "registers-write-ones", transport, 1 },
	{ "registers-write-random", transport, 2 },
	{ "isr-notify-read", isr_and_notify, 0 },
	{ "isr-notify-write-ones", isr_and_notify, 1 },
	{ "msix-vector-2047", msix_vector_numbers, 2047 },
	{ "msix-vector-65534", msix_vector_numbers, 65534 },
	{ "msix-address-0", msix_entry, 0 },
	{ "msix-address-ram", msix_entry, 0x200000 },
	{ "msix-address-unmapped", msix_entry, UINT64_C(0xfffffff0deadbee0) },
	{ "msix-address-no-such-cpu", msix_entry, 0xfeeff000 },
	{ "msix-mask-race", msix_mask_race, 0 },
	{ "msix-byte-writes", msix_mask_race, 1 },
	{ "pci-read", pci_sweep, 0 },
	{ "pci-write-ones", pci_sweep, 1 },
	{ "pci-write-random", pci_sweep, 2 },
	{ "bar-0", bar_garbage, 0 },
	{ "bar-ones", bar_garbage, UINT64_MAX },
	{ "bar-over-ram", bar_over_ram, 0x100000 },
	{ "bar-over-lapic", bar_garbage, 0xfee00000 },
	{ "bar-at-top", bar_garbage, UINT64_C(0xfffffffffffff000) },
	{ "bar-bit-63", bar_garbage, UINT64_C(0x8000000000000000) },
	{ "bus-master-off", no_bus_master, 0 },
	{ "decode-off", no_bus_master, 1 },
	{ "pci-address-garbage", config_address },
};
const unsigned n_config_attacks = RT_ARRAY_LEN(config_attacks);
