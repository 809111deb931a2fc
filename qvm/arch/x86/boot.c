/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an x86 guest finds when it starts: its memory map and command line, in a PVH start info (PVH
 * and plain 64-bit guests), in Linux' boot parameters (bzImage) or in a multiboot information, and
 * the registers that its way of starting asks for. A device tree of `fdt load` is handed to Linux
 * as setup data, to others as a module behind the initrd.
 */
#include <asm/bootparam.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "qvm/arch.h"
#include "qvm/arch/x86/x86.h"
#include "qvm/memmap.h"
#include "qvm/vcpu.h"

#define RANGE_RAM      1u
#define RANGE_RESERVED 2u

/* ---- memory map ---- */

static void range_add(struct x86_range *r, unsigned *n, uint64_t lo, uint64_t hi, uint32_t type)
{
	if (lo < hi && *n < X86_RANGES_MAX)
		r[(*n)++] = (struct x86_range){ .base = lo, .len_bytes = hi - lo, .type = type };
}

/* RAM without the hole of the PC's first MiB, where the tables are. rom is not in it. */
unsigned x86_memory_map(const struct vm *vm, struct x86_range ret[X86_RANGES_MAX])
{
	unsigned n = 0;

	for (unsigned i = 0; i < vm->mem->n; i++) {
		const struct qmem_region *m = &vm->mem->r[i];
		uint64_t lo = m->gpa, hi = m->gpa + m->len_bytes;
		if (m->flags & QMEM_READONLY)
			continue;
		range_add(ret, &n, lo, Q_MIN(hi, X86_LOW_END), RANGE_RAM);
		range_add(ret, &n, Q_MAX(lo, X86_BIOS_END), hi, RANGE_RAM);
	}
	range_add(ret, &n, X86_ACPI, X86_ACPI + X86_ACPI_BYTES, RANGE_RESERVED);
	range_add(ret, &n, MM_X86_ECAM_BASE, MM_X86_ECAM_BASE + MM_X86_ECAM_LEN, RANGE_RESERVED);
	return n;
}

/* ---- command line ---- */

static int write_cmdline(struct vm *vm, size_t *ret_len)
{
	const char *s = vm->cfg->cmdline ? vm->cfg->cmdline : "";
	size_t len = strlen(s);

	if (len >= X86_CMDLINE_BYTES)
		return vm_fail(vm, "load", E2BIG,
			       "cmdline has %zu characters; at most %u can be given to a guest",
			       len, X86_CMDLINE_BYTES - 1);
	*ret_len = len;
	int r = qmem_fill(vm->mem, gpa(X86_CMDLINE), s, len + 1);
	return r < 0 ? vm_fail(vm, "load", r, "a guest needs RAM at 0..0x%x: see ram",
			       X86_LOW_END) :
		       0;
}

/* ---- modules ---- */

#define X86_MODULES_MAX 2u
struct x86_module {
	uint64_t gpa, len_bytes;
};

/* The initrd, then the device tree, as far as they are there. How many. */
static unsigned modules(const struct vm *vm, struct x86_module ret[X86_MODULES_MAX])
{
	const struct load_result *b = &vm->boot;
	unsigned n = 0;

	if (b->initrd_bytes)
		ret[n++] = (struct x86_module){ b->initrd_gpa, b->initrd_bytes };
	if (b->fdt_bytes)
		ret[n++] = (struct x86_module){ b->fdt_gpa, b->fdt_bytes };
	return n;
}

/* ---- PVH ---- */

#define PVH_MAGIC	0x336ec578u
#define PVH_MODULES_OFF 0x80u
#define PVH_MAP_OFF	0x100u

struct pvh_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t n_memmap, reserved;
};
struct pvh_module {
	uint64_t base, len_bytes, cmdline, reserved;
};
struct pvh_range {
	uint64_t base, len_bytes;
	uint32_t type, reserved;
};
static_assert(PVH_MAP_OFF + X86_RANGES_MAX * sizeof(struct pvh_range) <=
		      X86_ZERO_PAGE - X86_START_INFO,
	      "the map fits before the next user of low memory");

static int write_start_info(struct vm *vm)
{
	struct x86_range ranges[X86_RANGES_MAX];
	struct pvh_range map[X86_RANGES_MAX];
	unsigned n = x86_memory_map(vm, ranges);
	struct x86_module mods[X86_MODULES_MAX];
	unsigned n_mods = modules(vm, mods);
	const struct pvh_info info = {
		.magic = PVH_MAGIC,
		.version = 1,
		.n_modules = n_mods,
		.modules = n_mods ? X86_START_INFO + PVH_MODULES_OFF : 0,
		.cmdline = X86_CMDLINE,
		.rsdp = X86_ACPI,
		.memmap = X86_START_INFO + PVH_MAP_OFF,
		.n_memmap = n,
	};
	struct pvh_module mod[X86_MODULES_MAX] = { 0 };

	for (unsigned i = 0; i < n_mods; i++)
		mod[i] = (struct pvh_module){ .base = mods[i].gpa, .len_bytes = mods[i].len_bytes };
	for (unsigned i = 0; i < n; i++)
		map[i] = (struct pvh_range){ .base = ranges[i].base,
					     .len_bytes = ranges[i].len_bytes,
					     .type = ranges[i].type };
	int r = qmem_fill(vm->mem, gpa(X86_START_INFO), &info, sizeof(info));
	if (r == 0)
		r = qmem_fill(vm->mem, gpa(X86_START_INFO + PVH_MODULES_OFF), mod, sizeof(mod));
	if (r == 0)
		r = qmem_fill(vm->mem, gpa(X86_START_INFO + PVH_MAP_OFF), map, n * sizeof(map[0]));
	return r < 0 ? vm_fail(vm, "load", r, "a guest needs RAM at 0..0x%x: see ram",
			       X86_LOW_END) :
		       0;
}

/* ---- multiboot 1 ---- */

#define MB_LOADER_MAGIC 0x2badb002u
#define MB_MODULES_OFF 0x80u
#define MB_NAME_OFF    0xc0u
#define MB_MAP_OFF     0x100u
enum {
	MB_HAS_MEMORY = 1 << 0,
	MB_HAS_CMDLINE = 1 << 2,
	MB_HAS_MODULES = 1 << 3,
	MB_HAS_MAP = 1 << 6,
	MB_HAS_NAME = 1 << 9,
};

struct mb_info {
	uint32_t flags, mem_lower_kib, mem_upper_kib, boot_device, cmdline, n_mods, mods;
	uint32_t syms[4];
	uint32_t map_bytes, map, drives_bytes, drives, config, name, apm;
};
struct mb_module {
	uint32_t begin, end, cmdline, reserved;
};
struct mb_range {
	uint32_t rest_bytes; /* of the entry, behind this field */
	uint64_t base, len_bytes;
	uint32_t type;
} __attribute__((packed));
static_assert(MB_MAP_OFF + X86_RANGES_MAX * sizeof(struct mb_range) <=
		      X86_ZERO_PAGE - X86_START_INFO,
	      "the map fits before the next user of low memory");
static_assert(sizeof(struct mb_info) <= MB_MODULES_OFF, "the parts are apart");

/* KiB of RAM from @at on, as far as it goes in one piece. */
static uint32_t ram_kib_at(const struct x86_range *r, unsigned n, uint64_t at)
{
	for (unsigned i = 0; i < n; i++)
		if (r[i].type == RANGE_RAM && r[i].base == at)
			return (uint32_t)Q_MIN(r[i].len_bytes / 1024, UINT32_MAX);
	return 0;
}

static int write_multiboot(struct vm *vm)
{
	static const char name[] = "Parley qvm";
	struct x86_range ranges[X86_RANGES_MAX];
	struct mb_range map[X86_RANGES_MAX];
	struct x86_module mods[X86_MODULES_MAX];
	struct mb_module mod[X86_MODULES_MAX] = { 0 };
	unsigned n = x86_memory_map(vm, ranges), n_mods = modules(vm, mods);
	const struct mb_info info = {
		.flags = MB_HAS_MEMORY | MB_HAS_CMDLINE | MB_HAS_MODULES | MB_HAS_MAP | MB_HAS_NAME,
		.mem_lower_kib = Q_MIN(ram_kib_at(ranges, n, 0), X86_LOW_END / 1024),
		.mem_upper_kib = ram_kib_at(ranges, n, X86_BIOS_END),
		.cmdline = X86_CMDLINE,
		.n_mods = n_mods,
		.mods = X86_START_INFO + MB_MODULES_OFF,
		.map_bytes = n * (uint32_t)sizeof(map[0]),
		.map = X86_START_INFO + MB_MAP_OFF,
		.name = X86_START_INFO + MB_NAME_OFF,
	};

	for (unsigned i = 0; i < n_mods; i++) {
		if (mods[i].gpa + mods[i].len_bytes > UINT32_MAX)
			return vm_fail(vm, "load", E2BIG,
				       "a multiboot guest takes nothing above 4 GiB: its initrd or "
				       "device tree is at 0x%llx", (unsigned long long)mods[i].gpa);
		mod[i].begin = (uint32_t)mods[i].gpa;
		mod[i].end = (uint32_t)(mods[i].gpa + mods[i].len_bytes);
	}
	for (unsigned i = 0; i < n; i++)
		map[i] = (struct mb_range){ sizeof(map[0]) - sizeof(map[0].rest_bytes),
					    ranges[i].base, ranges[i].len_bytes, ranges[i].type };
	int r = qmem_fill(vm->mem, gpa(X86_START_INFO), &info, sizeof(info));
	if (r == 0)
		r = qmem_fill(vm->mem, gpa(info.mods), mod, sizeof(mod));
	if (r == 0)
		r = qmem_fill(vm->mem, gpa(info.name), name, sizeof(name));
	if (r == 0)
		r = qmem_fill(vm->mem, gpa(info.map), map, info.map_bytes);
	return r < 0 ? vm_fail(vm, "load", r, "a guest needs RAM at 0..0x%x: see ram",
			       X86_LOW_END) :
		       0;
}

/* ---- Linux ---- */

#define LOADER_UNDEFINED 0xffu
#define LOADFLAG_HEAP	 0x80u
#define SETUP_HEADER_OFF 0x1f1u

/* The device tree as setup data: a header before it. Its address, 0 when there is none. */
static int write_setup_data(struct vm *vm, uint64_t *ret)
{
	const struct load_result *b = &vm->boot;
	const struct setup_data head = { .type = SETUP_DTB, .len = (uint32_t)b->fdt_bytes };

	static_assert(sizeof(head) == LOAD_FDT_HEAD, "what load.c keeps free");
	*ret = 0;
	if (!b->fdt_bytes)
		return 0;
	*ret = b->fdt_gpa - LOAD_FDT_HEAD;
	int r = qmem_fill(vm->mem, gpa(*ret), &head, sizeof(head));
	return r < 0 ? vm_fail(vm, "load", r, "no memory before the device tree at 0x%llx",
			       (unsigned long long)b->fdt_gpa) :
		       0;
}

static int write_boot_params(struct vm *vm, size_t cmdline_len)
{
	static struct boot_params bp; /* a page: not on the stack; main thread */
	struct x86_range ranges[X86_RANGES_MAX];
	unsigned n = x86_memory_map(vm, ranges);

	memset(&bp, 0, sizeof(bp));
	memcpy((uint8_t *)&bp + SETUP_HEADER_OFF, vm->boot.setup,
	       Q_MIN(vm->boot.setup_bytes,
		     offsetof(struct boot_params, edd_mbr_sig_buffer) - SETUP_HEADER_OFF));
	if (cmdline_len > le32toh(bp.hdr.cmdline_size))
		return vm_fail(vm, "load", E2BIG,
			       "cmdline has %zu characters; this kernel takes %u", cmdline_len,
			       le32toh(bp.hdr.cmdline_size));
	bp.hdr.type_of_loader = LOADER_UNDEFINED;
	bp.hdr.loadflags &= (uint8_t)~LOADFLAG_HEAP;
	bp.hdr.cmd_line_ptr = X86_CMDLINE;
	bp.hdr.ramdisk_image = (uint32_t)vm->boot.initrd_gpa;
	bp.hdr.ramdisk_size = (uint32_t)vm->boot.initrd_bytes;
	bp.ext_ramdisk_image = (uint32_t)(vm->boot.initrd_gpa >> 32);
	bp.ext_ramdisk_size = (uint32_t)(vm->boot.initrd_bytes >> 32);
	bp.acpi_rsdp_addr = X86_ACPI;
	for (unsigned i = 0; i < n; i++)
		bp.e820_table[i] = (struct boot_e820_entry){ .addr = ranges[i].base,
							     .size = ranges[i].len_bytes,
							     .type = ranges[i].type };
	bp.e820_entries = (uint8_t)n;
	uint64_t setup_data;
	int r = write_setup_data(vm, &setup_data);
	if (r < 0)
		return r;
	bp.hdr.setup_data = setup_data;
	r = qmem_fill(vm->mem, gpa(X86_ZERO_PAGE), &bp, sizeof(bp));
	return r < 0 ? vm_fail(vm, "load", r, "a guest needs RAM at 0..0x%x: see ram",
			       X86_LOW_END) :
		       0;
}

/* All that any way of starting uses: which one it will be, the files say. */
int arch_load_claims(struct vm *vm)
{
	const size_t cmdline_bytes = vm->cfg->cmdline ? strlen(vm->cfg->cmdline) + 1 : 1;
	const struct load_span own[] = {
		{ X86_GDT, X86_GDT_BYTES, "the machine's descriptors" },
		{ X86_START_INFO, X86_ZERO_PAGE - X86_START_INFO, "the start information" },
		{ X86_ZERO_PAGE, sizeof(struct boot_params), "Linux' boot parameters" },
		{ X86_PAGE_TABLES, X86_STACK_LOW - X86_PAGE_TABLES, "the first page tables" },
		{ X86_STACK_LOW, X86_STACK_TOP - X86_STACK_LOW, "the first stack" },
		{ X86_CMDLINE, cmdline_bytes, "the command line" },
		{ X86_ACPI, X86_ACPI_BYTES, "the ACPI tables" },
	};

	for (size_t i = 0; i < Q_ARRAY_LEN(own); i++) {
		int r = load_own(&vm->boot, own[i].gpa, own[i].len_bytes, own[i].what);
		if (r < 0)
			return vm_fail(vm, "load", r, "no room to note %s", own[i].what);
	}
	return 0;
}

int arch_boot(struct vm *vm)
{
	struct x86_start st = { .rip = vm->boot.entry, .rsp = X86_STACK_TOP };
	size_t cmdline_len = 0;
	int r = write_cmdline(vm, &cmdline_len);

	if (r == 0)
		r = x86_acpi_build(vm);
	if (r == 0 && pci_assign(&vm->pci) < 0)
		r = vm_fail(vm, "devices", ENOSPC, "the PCI windows are too small for the BARs");
	if (r < 0)
		return r;
	if (vm->boot.kind == LOAD_BZIMAGE) {
		st.mode = vm->boot.entry_64 ? X86_LONG_64 : X86_PROTECTED_32;
		st.rsi = X86_ZERO_PAGE;
		r = write_boot_params(vm, cmdline_len);
	} else if (vm->boot.kind == LOAD_MULTIBOOT) {
		st.mode = X86_PROTECTED_32;
		st.rax = MB_LOADER_MAGIC;
		st.rbx = X86_START_INFO;
		r = write_multiboot(vm);
	} else {
		st.mode = vm->boot.kind == LOAD_PVH ? X86_PROTECTED_32 : X86_LONG_64;
		st.rbx = st.rdi = X86_START_INFO;
		r = write_start_info(vm);
	}
	return r < 0 ? r : x86_vcpu_start(vm, &vm->vcpus[0], &st);
}
