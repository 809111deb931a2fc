/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arm64 vCPUs: what the host prefers, with PSCI; all but the first wait for PSCI's CPU_ON.
 */
#include <asm/kvm.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "qvm/arch.h"
#include "qvm/arch/arm64/arm64.h"
#include "qvm/vcpu.h"

#define CORE_REG(field) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(field))
#define REG_MPIDR      ARM64_SYS_REG(3, 0, 0, 0, 5)
#define MPIDR_AFFINITY 0xff00ffffffull

static int set_reg(struct vcpu *v, uint64_t id, uint64_t val)
{
	struct kvm_one_reg r = { .id = id, .addr = (uintptr_t)&val };

	return ioctl(v->fd, KVM_SET_ONE_REG, &r) < 0 ? -errno : 0;
}

static int get_reg(struct vcpu *v, uint64_t id, uint64_t *ret)
{
	struct kvm_one_reg r = { .id = id, .addr = (uintptr_t)ret };

	return ioctl(v->fd, KVM_GET_ONE_REG, &r) < 0 ? -errno : 0;
}

int arch_vcpu_init(struct vm *vm, struct vcpu *v)
{
	struct kvm_vcpu_init init;

	if (ioctl(vm->vm_fd, KVM_ARM_PREFERRED_TARGET, &init) < 0)
		return vm_fail(vm, "kvm", errno,
			       "KVM does not say what kind of vCPU this host makes");
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	if (v->idx > 0)
		init.features[0] |= 1u << KVM_ARM_VCPU_POWER_OFF;
	if (ioctl(v->fd, KVM_ARM_VCPU_INIT, &init) < 0)
		return vm_fail(vm, "kvm", errno, "KVM cannot make vCPU %u", v->idx);
	return 0;
}

int arm64_vcpu_mpidr(struct vcpu *v, uint64_t *ret)
{
	uint64_t mpidr;
	int r = get_reg(v, REG_MPIDR, &mpidr);

	if (r == 0)
		*ret = mpidr & MPIDR_AFFINITY;
	return r;
}

int arm64_vcpu_start(struct vm *vm, struct vcpu *v, uint64_t pc, uint64_t fdt)
{
	int r = set_reg(v, CORE_REG(regs.pc), pc);

	/*
	 * The other registers are as after reset: EL1, interrupts masked, no MMU; x1..x3 are zero
	 * as Linux asks.
	 */
	if (r == 0)
		r = set_reg(v, CORE_REG(regs.regs[0]), fdt);
	return r < 0 ? vm_fail(vm, "kvm", r, "KVM does not take the first registers") : 0;
}

void arch_vcpu_where(struct vcpu *v, char *buf, size_t buf_bytes)
{
	uint64_t pc = 0, sp = 0, pstate = 0;

	get_reg(v, CORE_REG(regs.pc), &pc);
	get_reg(v, CORE_REG(sp_el1), &sp);
	get_reg(v, CORE_REG(regs.pstate), &pstate);
	snprintf(buf, buf_bytes, "pc=0x%llx sp=0x%llx pstate=0x%llx", (unsigned long long)pc,
		 (unsigned long long)sp, (unsigned long long)pstate);
}
