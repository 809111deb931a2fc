/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files of arch/x86/: first register values of the boot processor, the map of low
 * memory, the ACPI tables. Main thread.
 */
#pragma once

#include "qvm/load.h"
#include "qvm/memmap.h"
#include "qvm/vm.h"

struct kvm_cpuid2;

struct vm_arch {
	struct kvm_cpuid2 *cpuid; /* what the host offers, as every vCPU gets it */
	bool has_tsc_deadline;
};

/*
 * Low memory that the machine uses before the guest does. All of it is RAM again once the guest
 * runs.
 */
#define X86_GDT		  0x500u
#define X86_GDT_BYTES	  0x20u
#define X86_START_INFO	  0x6000u /* hvm_start_info or multiboot info, modules, map */
#define X86_ZERO_PAGE	  0x7000u /* struct boot_params */
#define X86_PAGE_TABLES	  0x9000u /* PML4, PDPT, four PDs */
#define X86_STACK_LOW	  0xf000u
#define X86_STACK_TOP	  0xfff0u
#define X86_CMDLINE	  0x20000u
#define X86_CMDLINE_BYTES 0x10000u
#define X86_LOW_END	  0xa0000u
#define X86_ACPI	  ((uint32_t)MM_X86_TABLES_BASE)
#define X86_ACPI_BYTES	  ((uint32_t)MM_X86_TABLES_LEN)
#define X86_BIOS_END	  0x100000u
static_assert(X86_CMDLINE + X86_CMDLINE_BYTES == MM_X86_START_END, "as the checker has it");

/* CPUID of vCPU @idx, from what the host offers. */
int x86_cpuid_init(struct vm *vm);
int x86_vcpu_cpuid(struct vm *vm, struct vcpu *v);
int x86_vcpu_msrs(struct vm *vm, struct vcpu *v);

enum x86_mode { X86_PROTECTED_32, X86_LONG_64 };
struct x86_start {
	enum x86_mode mode;
	uint64_t rip, rsp, rax, rbx, rsi, rdi;
};
/*
 * Registers of the boot processor; for long mode, page tables and descriptors in guest memory too.
 */
int x86_vcpu_start(struct vm *vm, struct vcpu *v, const struct x86_start *s);

/* Writes the tables at X86_ACPI. */
int x86_acpi_build(struct vm *vm);

struct x86_range {
	uint64_t base, len_bytes;
	uint32_t type; /* 1 RAM, 2 reserved, as E820 and PVH count */
};
#define X86_RANGES_MAX (QMEM_REGIONS_MAX + 4u) /* one is in two parts, two are reserved */
/* What the guest is told of its memory; how many. */
unsigned x86_memory_map(const struct vm *vm, struct x86_range ret[X86_RANGES_MAX]);
