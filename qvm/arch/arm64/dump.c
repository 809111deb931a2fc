/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an arm64 vCPU looks like from outside: its program counter, its time, and its registers in
 * the form of a core file. vCPU thread, or any while the vCPU is held; its ioctls wait for a vCPU
 * that runs.
 */
#include <asm/kvm.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/user.h>

#include "qvm/arch.h"
#include "qvm/arch/arm64/arm64.h"
#include "qvm/dump_elf.h"
#include "qvm/vcpu.h"

#define CORE_ID(size, field) \
	(KVM_REG_ARM64 | (size) | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(field))
#define CORE_REG(field) CORE_ID(KVM_REG_SIZE_U64, field)

#define PSTATE_EL_MASK 0xcu
#define PSTATE_SP_ELX  1u

void arch_vcpu_resumed(struct vcpu *v)
{
	/* The guest's counter went on; there is no call that would tell it why it jumped. */
}

static int get_any(struct vcpu *v, uint64_t id, void *ret)
{
	struct kvm_one_reg r = { .id = id, .addr = (uintptr_t)ret };

	return ioctl(v->fd, KVM_GET_ONE_REG, &r) < 0 ? -errno : 0;
}

int arch_vcpu_ip(struct vcpu *v, uint64_t *ret)
{
	return get_any(v, CORE_REG(regs.pc), ret);
}

static uint64_t host_counter(void)
{
	uint64_t n;

	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(n));
	return n;
}

int arch_vcpu_counter(struct vcpu *v, uint64_t *ret_guest, uint64_t *ret_host)
{
	uint64_t before = host_counter();
	int r = get_any(v, KVM_REG_ARM_TIMER_CNT, ret_guest);

	*ret_host = before + (host_counter() - before) / 2;
	return r;
}

uint64_t arch_clock_features(struct vm *vm)
{
	return 0;
}

static int get_gregs(struct vcpu *v, struct user_regs_struct *u)
{
	uint64_t sp_el1 = 0;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < 31; i++)
		r = get_any(v, CORE_REG(regs.regs[0]) + i * 2, &u->regs[i]);
	if (r == 0)
		r = get_any(v, CORE_REG(regs.sp), &u->sp);
	if (r == 0)
		r = get_any(v, CORE_REG(regs.pc), &u->pc);
	if (r == 0)
		r = get_any(v, CORE_REG(regs.pstate), &u->pstate);
	if (r == 0)
		r = get_any(v, CORE_REG(sp_el1), &sp_el1);
	/* regs.sp is EL0's; a kernel has its own, unless it asked for that one. */
	if (r == 0 && (u->pstate & PSTATE_EL_MASK) && (u->pstate & PSTATE_SP_ELX))
		u->sp = sp_el1;
	return r;
}

static int get_fpregs(struct vcpu *v, struct user_fpsimd_struct *u)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < 32; i++)
		r = get_any(v, CORE_ID(KVM_REG_SIZE_U128, fp_regs.vregs[0]) + i * 4, &u->vregs[i]);
	if (r == 0)
		r = get_any(v, CORE_ID(KVM_REG_SIZE_U32, fp_regs.fpsr), &u->fpsr);
	return r < 0 ? r : get_any(v, CORE_ID(KVM_REG_SIZE_U32, fp_regs.fpcr), &u->fpcr);
}

static void put_system(struct vcpu *v, char *buf, size_t buf_bytes)
{
	static const struct {
		const char *name;
		uint64_t id;
	} regs[] = {
		{ "mpidr", ARM64_SYS_REG(3, 0, 0, 0, 5) },
		{ "sctlr", ARM64_SYS_REG(3, 0, 1, 0, 0) },
		{ "ttbr0", ARM64_SYS_REG(3, 0, 2, 0, 0) },
		{ "ttbr1", ARM64_SYS_REG(3, 0, 2, 0, 1) },
		{ "tcr", ARM64_SYS_REG(3, 0, 2, 0, 2) },
		{ "esr", ARM64_SYS_REG(3, 0, 5, 2, 0) },
		{ "far", ARM64_SYS_REG(3, 0, 6, 0, 0) },
		{ "mair", ARM64_SYS_REG(3, 0, 10, 2, 0) },
		{ "vbar", ARM64_SYS_REG(3, 0, 12, 0, 0) },
		{ "tpidr_el1", ARM64_SYS_REG(3, 0, 13, 0, 4) },
		{ "tpidr_el0", ARM64_SYS_REG(3, 3, 13, 0, 2) },
		{ "elr", CORE_REG(elr_el1) },
		{ "spsr", CORE_REG(spsr[0]) },
		{ "sp_el0", CORE_REG(regs.sp) },
		{ "sp_el1", CORE_REG(sp_el1) },
	};
	size_t at = (size_t)snprintf(buf, buf_bytes, "cpu=%u", v->idx);

	for (size_t i = 0; i < Q_ARRAY_LEN(regs) && at < buf_bytes; i++) {
		uint64_t val = 0;
		if (get_any(v, regs[i].id, &val) == 0)
			at += (size_t)snprintf(buf + at, buf_bytes - at, " %s=0x%llx", regs[i].name,
					       (unsigned long long)val);
	}
}

int arch_dump_cpu(struct vcpu *v, struct dump_cpu *ret)
{
	struct user_regs_struct g;
	int r = get_gregs(v, &g);

	if (r == 0)
		r = get_fpregs(v, &ret->fpregs);
	if (r < 0)
		return r;
	static_assert(sizeof(g) == sizeof(ret->gregs), "the kernel's and libc's view");
	memcpy(&ret->gregs, &g, sizeof(g));
	put_system(v, ret->system, sizeof(ret->system));
	return 0;
}
