/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an x86 vCPU looks like from outside: its instruction pointer, its time, and its registers in
 * the form of a core file. vCPU thread, or any while the vCPU is held; its ioctls wait for a vCPU
 * that runs.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/user.h>
#include <x86intrin.h>

#include "qvm/arch.h"
#include "qvm/dump_elf.h"
#include "qvm/vcpu.h"

#define MSR_TSC	 0x10u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_KERNEL_GS_BASE 0xc0000102u

void arch_vcpu_resumed(struct vcpu *v)
{
	/* The guest's watchdogs look at its clock; a guest without kvmclock has nothing to tell. */
	ioctl(v->fd, KVM_KVMCLOCK_CTRL, 0);
}

int arch_vcpu_ip(struct vcpu *v, uint64_t *ret)
{
	struct kvm_regs r;

	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0)
		return -errno;
	*ret = r.rip;
	return 0;
}

static int get_msr(struct vcpu *v, uint32_t index, uint64_t *ret)
{
	union {
		struct kvm_msrs m;
		char room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} a = { .room = { 0 } };

	a.m.nmsrs = 1;
	a.m.entries[0].index = index;
	int n = ioctl(v->fd, KVM_GET_MSRS, &a);
	if (n != 1)
		return n < 0 ? -errno : -ENOENT;
	*ret = a.m.entries[0].data;
	return 0;
}

int arch_vcpu_counter(struct vcpu *v, uint64_t *ret_guest, uint64_t *ret_host)
{
	uint64_t before = __rdtsc();
	int r = get_msr(v, MSR_TSC, ret_guest);

	*ret_host = before + (__rdtsc() - before) / 2;
	return r;
}

uint64_t arch_clock_features(struct vm *vm)
{
	struct kvm_clock_data c = { 0 };

	return ioctl(vm->vm_fd, KVM_GET_CLOCK, &c) < 0 ? 0 : c.flags;
}

static void put_gregs(struct user_regs_struct *u, const struct kvm_regs *r,
		      const struct kvm_sregs *s)
{
	*u = (struct user_regs_struct){
		.r15 = r->r15, .r14 = r->r14, .r13 = r->r13, .r12 = r->r12, .r11 = r->r11,
		.r10 = r->r10, .r9 = r->r9, .r8 = r->r8, .rbp = r->rbp, .rbx = r->rbx,
		.rax = r->rax, .rcx = r->rcx, .rdx = r->rdx, .rsi = r->rsi, .rdi = r->rdi,
		.orig_rax = (unsigned long long)-1, /* not in a system call */
		.rip = r->rip, .rsp = r->rsp, .eflags = r->rflags,
		.cs = s->cs.selector, .ss = s->ss.selector, .ds = s->ds.selector,
		.es = s->es.selector, .fs = s->fs.selector, .gs = s->gs.selector,
		.fs_base = s->fs.base, .gs_base = s->gs.base,
	};
}

static void put_fpregs(struct user_fpregs_struct *u, const struct kvm_fpu *f)
{
	*u = (struct user_fpregs_struct){
		.cwd = f->fcw, .swd = f->fsw, .ftw = f->ftwx, .fop = f->last_opcode,
		.rip = f->last_ip, .rdp = f->last_dp, .mxcsr = f->mxcsr, .mxcr_mask = 0xffff,
	};
	static_assert(sizeof(u->st_space) == sizeof(f->fpr), "eight registers of 16 bytes");
	static_assert(sizeof(u->xmm_space) == sizeof(f->xmm), "sixteen registers of 16 bytes");
	memcpy(u->st_space, f->fpr, sizeof(f->fpr));
	memcpy(u->xmm_space, f->xmm, sizeof(f->xmm));
}

static void put_system(struct vcpu *v, const struct kvm_sregs *s, char *buf, size_t buf_bytes)
{
	uint64_t star = 0, lstar = 0, kernel_gs = 0;

	get_msr(v, MSR_STAR, &star);
	get_msr(v, MSR_LSTAR, &lstar);
	get_msr(v, MSR_KERNEL_GS_BASE, &kernel_gs);
	snprintf(buf, buf_bytes,
		 "cpu=%u cr0=0x%llx cr2=0x%llx cr3=0x%llx cr4=0x%llx cr8=0x%llx efer=0x%llx "
		 "gdt=0x%llx,0x%x idt=0x%llx,0x%x tr=0x%x,0x%llx ldt=0x%x,0x%llx apic_base=0x%llx "
		 "star=0x%llx lstar=0x%llx kernel_gs_base=0x%llx",
		 v->idx, s->cr0, s->cr2, s->cr3, s->cr4, s->cr8, s->efer, s->gdt.base, s->gdt.limit,
		 s->idt.base, s->idt.limit, s->tr.selector, s->tr.base, s->ldt.selector,
		 s->ldt.base, s->apic_base, (unsigned long long)star, (unsigned long long)lstar,
		 (unsigned long long)kernel_gs);
}

int arch_dump_cpu(struct vcpu *v, struct dump_cpu *ret)
{
	struct user_regs_struct g;
	struct kvm_regs r;
	struct kvm_sregs s;
	struct kvm_fpu f;

	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0 || ioctl(v->fd, KVM_GET_SREGS, &s) < 0 ||
	    ioctl(v->fd, KVM_GET_FPU, &f) < 0)
		return -errno;
	put_gregs(&g, &r, &s);
	static_assert(sizeof(g) == sizeof(ret->gregs), "the kernel's and libc's view");
	memcpy(&ret->gregs, &g, sizeof(g));
	put_fpregs(&ret->fpregs, &f);
	put_system(v, &s, ret->system, sizeof(ret->system));
	return 0;
}
