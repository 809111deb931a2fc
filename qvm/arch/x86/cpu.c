/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an x86 vCPU says it is (CPUID), the registers that firmware would have set, and the first
 * state of the boot processor. The others wait for INIT and SIPI in the kernel's local APICs.
 *
 * Hypervisor leaves: KVM's own signature stays at 0x40000000, so that guests find its clock and its
 * paravirtual features where they look; ours is at 0x40000100, the next place where guests look.
 */
#include <cpuid.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "qvm/arch/x86/x86.h"
#include "qvm/vcpu.h"

#define CPUID_ENTRIES_MAX 256u
#define LEAF_OURS	  0x40000100u

#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_HYPERVISOR   (1u << 31)
#define LEAF1_EDX_HTT	     (1u << 28)

static const char signature[12] = { "ParleyParley" };

int x86_cpuid_init(struct vm *vm)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + CPUID_ENTRIES_MAX * sizeof(c->entries[0]));

	if (!c)
		return vm_fail(vm, "kvm", ENOMEM, "out of memory");
	vm->arch->cpuid = c;
	/* One is kept free for our own leaf. */
	c->nent = CPUID_ENTRIES_MAX - 1;
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, c) < 0)
		return vm_fail(vm, "kvm", errno, "KVM does not say which CPUID it supports");
	/* KVM leaves it out because it depends on who has the local APIC: here the kernel has. */
	vm->arch->has_tsc_deadline =
		ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	struct kvm_cpuid_entry2 *e = &c->entries[c->nent++];
	*e = (struct kvm_cpuid_entry2){ .function = LEAF_OURS, .eax = LEAF_OURS };
	memcpy(&e->ebx, signature, 4);
	memcpy(&e->ecx, signature + 4, 4);
	memcpy(&e->edx, signature + 8, 4);
	return 0;
}

/* Bits that hold a number below @n. */
static unsigned bits_for(unsigned n)
{
	unsigned bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

/* One package, n cores of one thread each: x2APIC ids are the vCPU numbers. */
static void topology_leaf(struct kvm_cpuid_entry2 *e, unsigned idx, unsigned n_cpus)
{
	unsigned bits = bits_for(n_cpus);

	e->edx = idx;
	e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	switch (e->index) {
	case 0: /* threads of a core */
		e->eax = 0;
		e->ebx = 1;
		e->ecx = 1 << 8;
		break;
	case 1: /* cores */
		e->eax = bits;
		e->ebx = n_cpus;
		e->ecx = 2 << 8 | 1;
		break;
	default:
		e->eax = e->ebx = 0;
		e->ecx = e->index;
		break;
	}
}

static void fix_leaf(const struct vm *vm, struct kvm_cpuid_entry2 *e, unsigned idx)
{
	const unsigned n_cpus = (unsigned)vm->cfg->n_cpus;

	switch (e->function) {
	case 1:
		e->ecx |= LEAF1_ECX_HYPERVISOR;
		if (vm->arch->has_tsc_deadline)
			e->ecx |= LEAF1_ECX_TSC_DEADLINE;
		e->ebx = (e->ebx & 0xffffu) | Q_MIN(n_cpus, 255u) << 16 | idx << 24;
		if (n_cpus > 1)
			e->edx |= LEAF1_EDX_HTT;
		else
			e->edx &= ~LEAF1_EDX_HTT;
		break;
	case 4: /* caches: cores in a package, and who shares them */
		e->eax = (e->eax & 0x3fffu) | ((1u << bits_for(n_cpus)) - 1) << 26;
		break;
	case 0xb:
	case 0x1f:
		topology_leaf(e, idx, n_cpus);
		break;
	case 0x80000008: /* AMD: number of cores, bits of their ids */
		e->ecx = (n_cpus - 1) | bits_for(n_cpus) << 12;
		break;
	default:
		break;
	}
}

int x86_vcpu_cpuid(struct vm *vm, struct vcpu *v)
{
	struct kvm_cpuid2 *c = vm->arch->cpuid;

	/* What depends on the vCPU is written anew for each; the rest stays as it was given. */
	for (uint32_t i = 0; i < c->nent; i++)
		fix_leaf(vm, &c->entries[i], v->idx);
	if (ioctl(v->fd, KVM_SET_CPUID2, c) < 0)
		return vm_fail(vm, "kvm", errno, "KVM does not take the CPUID that it offered");
	return 0;
}

#define MSR_MISC_ENABLE		0x1a0u
#define MISC_ENABLE_FAST_STRING 1u
#define MSR_MTRR_DEF_TYPE	0x2ffu
#define MTRR_ENABLED_WB		0x806u

int x86_vcpu_msrs(struct vm *vm, struct vcpu *v)
{
	static const struct kvm_msr_entry entries[] = {
		{ .index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
		{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WB },
	};
	struct kvm_msrs *m = calloc(1, sizeof(*m) + sizeof(entries));

	if (!m)
		return vm_fail(vm, "kvm", ENOMEM, "out of memory");
	m->nmsrs = Q_ARRAY_LEN(entries);
	memcpy(m->entries, entries, sizeof(entries));
	/* It says how many it took. A host that lacks one of them has a processor without it: the
	 * guest goes by CPUID. */
	int r = ioctl(v->fd, KVM_SET_MSRS, m);
	int err = errno;
	free(m);
	return r < 0 ? vm_fail(vm, "kvm", err, "KVM takes no machine-specific registers") : 0;
}

/* ---- first state ---- */

#define SEL_CODE     0x08u
#define SEL_DATA     0x10u
#define SEL_TSS	     0x18u
#define GDT_ENTRIES  4u
#define CR0_PE	     (1u << 0)
#define CR0_ET	     (1u << 4)
#define CR0_PG	     (1u << 31)
#define CR4_PAE	     (1u << 5)
#define EFER_LME     (1u << 8)
#define EFER_LMA     (1u << 10)
#define EFLAGS_FIXED 2u
#define PTE_TABLE    0x3u  /* present, writable */
#define PTE_2M	     0x83u /* and a 2 MiB page */
#define PD_COUNT     4u	   /* one a GiB */

static struct kvm_segment segment(unsigned selector, unsigned type, bool code_64)
{
	bool is_tss = selector == SEL_TSS;

	return (struct kvm_segment){
		.base = 0,
		.limit = is_tss ? 0x67 : UINT32_MAX,
		.selector = (uint16_t)selector,
		.type = (uint8_t)type,
		.present = 1,
		.s = !is_tss,
		.g = !is_tss,
		.db = !is_tss && !code_64,
		.l = code_64,
	};
}

static int write_gdt(struct vm *vm)
{
	static const uint64_t gdt[GDT_ENTRIES] = {
		0,
		0x00af9b000000ffffull,
		0x00cf93000000ffffull,
		0x00008b0000000067ull,
	};

	static_assert(sizeof(gdt) == X86_GDT_BYTES, "what is kept for it");
	return qmem_fill(vm->mem, gpa(X86_GDT), gdt, sizeof(gdt));
}

/* The first 4 GiB, one to one, in pages of 2 MiB: every processor with long mode has them. */
static int write_page_tables(struct vm *vm)
{
	uint64_t pml4e = (X86_PAGE_TABLES + 0x1000) | PTE_TABLE, pdpt[PD_COUNT], pd[512];
	int r = qmem_fill(vm->mem, gpa(X86_PAGE_TABLES), &pml4e, sizeof(pml4e));

	for (uint64_t i = 0; r == 0 && i < PD_COUNT; i++) {
		uint64_t at = X86_PAGE_TABLES + 0x2000 + i * 0x1000;
		pdpt[i] = at | PTE_TABLE;
		for (uint64_t j = 0; j < 512; j++)
			pd[j] = (i << 30 | j << 21) | PTE_2M;
		r = qmem_fill(vm->mem, gpa(at), pd, sizeof(pd));
	}
	return r ? r : qmem_fill(vm->mem, gpa(X86_PAGE_TABLES + 0x1000), pdpt, sizeof(pdpt));
}

static int set_sregs(struct vm *vm, struct vcpu *v, bool is_64)
{
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return -errno;
	s.cs = segment(SEL_CODE, 0xb, is_64);
	s.ds = s.es = s.fs = s.gs = s.ss = segment(SEL_DATA, 0x3, false);
	s.tr = segment(SEL_TSS, 0xb, false);
	s.gdt.base = X86_GDT;
	s.gdt.limit = GDT_ENTRIES * 8 - 1;
	s.idt.base = 0;
	s.idt.limit = 0;
	s.cr0 = CR0_PE | CR0_ET;
	if (is_64) {
		s.cr0 |= CR0_PG;
		s.cr3 = X86_PAGE_TABLES;
		s.cr4 = CR4_PAE;
		s.efer = EFER_LME | EFER_LMA;
	}
	return ioctl(v->fd, KVM_SET_SREGS, &s) < 0 ? -errno : 0;
}

int x86_vcpu_start(struct vm *vm, struct vcpu *v, const struct x86_start *st)
{
	struct kvm_regs regs = { .rflags = EFLAGS_FIXED,
				 .rip = st->rip,
				 .rsp = st->rsp,
				 .rax = st->rax,
				 .rbx = st->rbx,
				 .rsi = st->rsi,
				 .rdi = st->rdi };
	int r = write_gdt(vm);

	if (r == 0 && st->mode == X86_LONG_64)
		r = write_page_tables(vm);
	if (r < 0)
		return vm_fail(vm, "load", r, "a guest needs RAM at 0..0x%x: see ram", X86_LOW_END);
	r = set_sregs(vm, v, st->mode == X86_LONG_64);
	if (r == 0 && ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		r = -errno;
	return r < 0 ? vm_fail(vm, "kvm", r, "KVM does not take the first registers") : 0;
}
