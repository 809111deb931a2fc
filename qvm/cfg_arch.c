/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two architectures as the checker sees them: rows made of memmap.h. Constant data, any thread.
 * Windows stand with the widest first, so that what overlaps several is told the reason that says
 * most.
 */
#include <string.h>

#include "qvm/cfg_arch.h"
#include "qvm/memmap.h"

static const struct cfg_window x86_windows[] = {
	{ VD_MEM, MM_X86_HOLE_BASE, MM_X86_HOLE_LEN, true, "the PCI hole" },
	{ VD_MEM, MM_X86_PCI_MEM_BASE, MM_X86_PCI_MEM_LEN, false, "the memory of PCI devices" },
	{ VD_MEM, MM_X86_ECAM_BASE, MM_X86_ECAM_LEN, false, "the PCI configuration window" },
	{ VD_MEM, MM_X86_IOAPIC_BASE, MM_X86_IOAPIC_LEN, false, "the ioapic", "ioapic" },
	{ VD_MEM, MM_X86_LAPIC_BASE, MM_X86_LAPIC_LEN, false, "the local APICs" },
	{ VD_MEM, MM_X86_KVM_BASE, MM_X86_KVM_LEN, false, "pages that KVM uses" },
	{ VD_IO, MM_X86_IO_PIC1, 2, false, "the interrupt controller", "8259" },
	{ VD_IO, MM_X86_IO_PIC2, 2, false, "the second interrupt controller", "8259" },
	{ VD_IO, MM_X86_IO_PIT, 4, false, "the interval timer", "timer8254" },
	{ VD_IO, MM_X86_IO_KBD, 1, false, "the reset command of a keyboard controller",
	  "pckeyboard" },
	{ VD_IO, MM_X86_IO_PORT_B, 1, false, "the speaker and timer gate", "pckeyboard" },
	{ VD_IO, MM_X86_IO_ACPI_BASE, MM_X86_IO_ACPI_LEN, false, "ACPI power management" },
	{ VD_IO, MM_X86_IO_PCI_BASE, MM_X86_IO_PCI_LEN, false, "the PCI configuration ports" },
	{ VD_IO, MM_X86_PCI_IO_BASE, MM_X86_PCI_IO_LEN, false, "the ports of PCI devices" },
};

static const struct cfg_std_line x86_std_lines[] = {
	{ "ser8250", VD_IO, 0x3f8, 4 },
	{ "ser8250", VD_IO, 0x2f8, 3 },
	{ "mc146818", VD_IO, 0x70, 8 },
	{ "pckeyboard", VD_IO, 0x60, 1 },
	{ "timer8254", VD_IO, MM_X86_IO_PIT, 0 },
};

static const struct cfg_held_line x86_held_lines[] = {
	{ 0, "the interval timer", "timer8254 hpet" },
	{ 2, "the interval timer", NULL },
	{ 8, NULL, "mc146818 hpet" },
	{ MM_X86_IRQ_SCI, "ACPI", NULL },
};

/* What a PC leaves free; 8 and 13, of its clock and FPU, only when asked for. */
static const uint16_t x86_auto_lines[] = { 23, 22, 21, 20, 11, 10, 5, 7, 15, 14, 6, 3, 12, 1, 4 };

const struct cfg_arch cfg_arch_x86 = {
	.name = "x86",
	.windows = x86_windows,
	.n_windows = Q_ARRAY_LEN(x86_windows),
	.std_lines = x86_std_lines,
	.n_std_lines = Q_ARRAY_LEN(x86_std_lines),
	.ram_base = 0,
	.start_end = MM_X86_START_END,
	.tables_base = MM_X86_TABLES_BASE,
	.tables_len = MM_X86_TABLES_LEN,
	.addr_limit = 1ull << 46,
	.has_io = true,
	.has_fdt = false,
	.tells_registers = true,
	.pic_type = "ioapic",
	.implicit_pic = NULL,
	.line_first = 0,
	.line_end = MM_X86_IOAPIC_LINES,
	.held_lines = x86_held_lines,
	.n_held_lines = Q_ARRAY_LEN(x86_held_lines),
	.auto_lines = x86_auto_lines,
	.n_auto_lines = Q_ARRAY_LEN(x86_auto_lines),
	.intx_first = MM_X86_IRQ_INTX,
	.cpus_max = MM_CPUS_MAX,
};

static const struct cfg_window arm64_windows[] = {
	{ VD_MEM, MM_ARM64_GICC_BASE, MM_ARM64_GICC_LEN, false, "the GIC's CPU interface" },
	{ VD_MEM, MM_ARM64_GICD_BASE, MM_ARM64_GICD_LEN, false, "the GIC's distributor" },
	{ VD_MEM, MM_ARM64_ITS_BASE, MM_ARM64_ITS_LEN, false, "the GIC's ITS" },
	{ VD_MEM, MM_ARM64_GICR_BASE, MM_ARM64_GICR_LEN, false, "the GIC's redistributors" },
	{ VD_MEM, MM_ARM64_PCI_IO_BASE, MM_ARM64_PCI_IO_LEN, false, "the ports of PCI devices" },
	{ VD_MEM, MM_ARM64_ECAM_BASE, MM_ARM64_ECAM_LEN, false, "the PCI configuration window" },
	{ VD_MEM, MM_ARM64_PCI_MEM_BASE, MM_ARM64_PCI_MEM_LEN, false,
	  "the memory of PCI devices" },
};

static const uint16_t arm64_auto_lines[] = {
	128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143,
	144, 145, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159,
	/* The usual MSI frame has those above. */
	464, 465, 466, 467, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477, 478, 479,
	480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 490, 491, 492, 493, 494, 495,
};

const struct cfg_arch cfg_arch_arm64 = {
	.name = "arm64",
	.windows = arm64_windows,
	.n_windows = Q_ARRAY_LEN(arm64_windows),
	.ram_base = MM_ARM64_RAM_BASE,
	.addr_limit = 1ull << 40,
	.has_io = false,
	.has_fdt = true,
	.pic_type = "gic",
	.implicit_pic = "gic",
	.line_first = MM_ARM64_SPI_FIRST,
	.line_end = MM_ARM64_INTIDS,
	.auto_lines = arm64_auto_lines,
	.n_auto_lines = Q_ARRAY_LEN(arm64_auto_lines),
	.intx_first = MM_ARM64_IRQ_INTX,
	.cpus_max = MM_CPUS_MAX,
};

bool cfg_type_among(const char *types, const char *type)
{
	for (const char *at = types; at && *at; at += strspn(at, " ")) {
		size_t len = strcspn(at, " ");
		if (strlen(type) == len && !memcmp(at, type, len))
			return true;
		at += len;
	}
	return false;
}

const struct cfg_arch *cfg_arch_native(void)
{
#if defined(__aarch64__)
	return &cfg_arch_arm64;
#else
	return &cfg_arch_x86;
#endif
}

const struct cfg_arch *cfg_arch_find(const char *name)
{
	if (!strcmp(name, cfg_arch_x86.name))
		return &cfg_arch_x86;
	if (!strcmp(name, cfg_arch_arm64.name))
		return &cfg_arch_arm64;
	return NULL;
}
