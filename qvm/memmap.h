/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the parts of a machine that nobody configures stand in guest-physical memory and in I/O
 * space. One place, so that the checker, the machine, the ACPI tables and the device tree cannot
 * disagree. Numbers only: no state, any thread.
 *
 * x86, below 4 GiB: RAM may end at 3 GiB; the last GiB (the PCI hole) holds what is listed here and
 * vdevs with a `loc`.
 *   c0000000 PCI memory (BARs)      e0000000 ECAM
 *   f0000000-febfffff free for vdevs
 *   fec00000 the ioapic             fee00000 local APICs and MSI  fffbc000 KVM's own pages
 * arm64, the Foundation Model's map: devices below 0x80000000, RAM from there.
 *   1c000000, 20000000 vdevs with a `loc`
 *   2c000000 GICC  2f000000 GICD  2f020000 ITS  2f100000-2f8fffff GICR, one frame pair a vCPU
 *   3eff0000 PCI I/O  40000000 ECAM  50000000-7fffffff PCI memory (BARs)  80000000 RAM
 */
#pragma once

/* ---- x86 ---- */
/* RAM below is needed: what a guest is started with stands there. RAM again once the guest runs. */
#define MM_X86_START_END 0x30000ull
/* ACPI tables, where guests look for the RSDP too. In ram or rom. */
#define MM_X86_TABLES_BASE 0xe0000ull
#define MM_X86_TABLES_LEN 0x10000ull
#define MM_X86_HOLE_BASE 0xc0000000ull /* RAM stays out of hole_base..4 GiB */
#define MM_X86_HOLE_LEN 0x40000000ull
#define MM_X86_PCI_MEM_BASE 0xc0000000ull
#define MM_X86_PCI_MEM_LEN 0x20000000ull
#define MM_X86_ECAM_BASE 0xe0000000ull
#define MM_X86_ECAM_LEN 0x10000000ull
/* The only address at which KVM's in-kernel ioapic answers by itself. */
#define MM_X86_IOAPIC_BASE 0xfec00000ull
#define MM_X86_IOAPIC_LEN 0x1000ull
#define MM_X86_IOAPIC_LINES 24u
#define MM_X86_LAPIC_BASE 0xfee00000ull
#define MM_X86_LAPIC_LEN 0x100000ull
/* KVM_SET_IDENTITY_MAP_ADDR (one page) and KVM_SET_TSS_ADDR (three pages) behind it. */
#define MM_X86_KVM_BASE 0xfffbc000ull
#define MM_X86_KVM_LEN 0x4000ull

#define MM_X86_IO_PIC1 0x20u
#define MM_X86_IO_PIT 0x40u
#define MM_X86_IO_PORT_B 0x61u
#define MM_X86_IO_KBD 0x64u /* acpi-pm takes 0xfe here as a reset */
#define MM_X86_IO_PIC2 0xa0u
#define MM_X86_IO_ACPI_BASE 0x600u /* PM1 event, PM1 control, PM timer, GPE, sleep */
#define MM_X86_IO_ACPI_LEN 0x40u
#define MM_X86_IO_PCI_BASE 0xcf8u
#define MM_X86_IO_PCI_LEN 8u
#define MM_X86_PCI_IO_BASE 0xc000u /* I/O BARs */
#define MM_X86_PCI_IO_LEN 0x4000u

#define MM_X86_IRQ_SCI 9u
#define MM_X86_IRQ_INTX 16u /* slot n of bus 0 interrupts on line 16 + n % 4 */

/* ---- arm64 ---- */
#define MM_ARM64_GICC_BASE 0x2c000000ull /* GICv2 CPU interface */
#define MM_ARM64_GICC_LEN 0x10000ull
#define MM_ARM64_GICD_BASE 0x2f000000ull
#define MM_ARM64_GICD_LEN 0x10000ull
#define MM_ARM64_ITS_BASE 0x2f020000ull
#define MM_ARM64_ITS_LEN 0x20000ull
#define MM_ARM64_GICR_BASE 0x2f100000ull
#define MM_ARM64_GICR_CPU_LEN 0x20000ull /* for each vCPU */
#define MM_ARM64_GICR_LEN (MM_ARM64_GICR_CPU_LEN * MM_CPUS_MAX)
#define MM_ARM64_PCI_IO_BASE 0x3eff0000ull
#define MM_ARM64_PCI_IO_LEN 0x10000ull
#define MM_ARM64_ECAM_BASE 0x40000000ull
#define MM_ARM64_ECAM_LEN 0x10000000ull
#define MM_ARM64_PCI_MEM_BASE 0x50000000ull
#define MM_ARM64_PCI_MEM_LEN 0x30000000ull
#define MM_ARM64_RAM_BASE 0x80000000ull

/* Interrupt numbers are GIC INTIDs, as in `intr gic:37`; shared peripheral ones start at 32. */
#define MM_ARM64_SPI_FIRST 32u
#define MM_ARM64_INTIDS 512u
/* Slot n of bus 0 interrupts on INTID 508 + n % 4: behind all that configurations name. */
#define MM_ARM64_IRQ_INTX 508u

/* ---- both ---- */
#define MM_AUTO_TOP 0xfec00000ull /* windows that the checker places end here, or lower */
#define MM_CPUS_MAX 64u
#define MM_INTX_LINES 4u
#define MM_PCI_SLOTS 32u /* of bus 0; slot 0 is the host bridge */
