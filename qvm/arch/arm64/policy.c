/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says of the processor, and KVM carries out: accesses and instructions
 * that nobody serves, and the guest's counter. Registers that it does not know KVM answers with an
 * exception by itself; the checker says so. vCPU threads, each on its own vCPU, but for the
 * functions that prepare.
 *
 * An access is only over when KVM_RUN was entered once more. To give the guest an external abort
 * instead, it is entered with immediate_exit, which completes the access and returns at once; then
 * the instruction and the registers of before, so that nothing was read and the abort is taken
 * there. immediate_exit stays set: the next KVM_RUN returns at once as well and the loop takes the
 * flag back, so that a kick of somebody else is not lost. Kernels before 6.13 warn in their log
 * when the abort is asked for before the access is complete.
 */
#include <asm/kvm.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "qvm/arch.h"
#include "qvm/arch/arm64/arm64.h"
#include "qvm/unsup.h"

#define CORE_REG(field) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(field))
#define X_REG(n) (CORE_REG(regs.regs[0]) + (n) * (sizeof(uint64_t) / sizeof(uint32_t)))
#define N_X_REGS 31u
#define INSN_BYTES 4u

#ifndef KVM_CAP_COUNTER_OFFSET /* Linux 6.4: headers may be older than the host that runs this */
#define KVM_CAP_COUNTER_OFFSET 227
struct kvm_arm_counter_offset {
	__u64 counter_offset, reserved;
};
#define KVM_ARM_SET_COUNTER_OFFSET _IOW(KVMIO, 0xb5, struct kvm_arm_counter_offset)
#endif

static int reg_ioctl(struct vcpu *v, unsigned long what, uint64_t id, uint64_t *val)
{
	struct kvm_one_reg r = { .id = id, .addr = (uintptr_t)val };

	return ioctl(v->fd, what, &r) < 0 ? -errno : 0;
}

static bool has_cap(const struct vm *vm, unsigned cap)
{
	return ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, cap) > 0;
}

static int set_counter(struct vm *vm)
{
	struct kvm_arm_counter_offset c = { .counter_offset = vm->cfg->counter_offset };

	if (vm->cfg->counter_offset == CFG_COUNTER_FROM_0)
		return 0;
	if (!has_cap(vm, KVM_CAP_COUNTER_OFFSET) ||
	    ioctl(vm->vm_fd, KVM_ARM_SET_COUNTER_OFFSET, &c) < 0)
		return vm_fail(vm, "kvm", ENOTSUP, "set counter-offset: this host's KVM does not "
			       "let the guest's counter be set");
	return 0;
}

int arch_policy_init(struct vm *vm)
{
	struct kvm_enable_cap nisv = { .cap = KVM_CAP_ARM_NISV_TO_USER };

	/* Without it, such an instruction ends KVM_RUN with an error (vcpu.c). */
	if (has_cap(vm, KVM_CAP_ARM_NISV_TO_USER) && ioctl(vm->vm_fd, KVM_ENABLE_CAP, &nisv) < 0)
		return vm_fail(vm, "kvm", errno, "KVM does not give its odd accesses away");
	if (vm->cfg->unsupported[CFG_UNSUP_REFERENCE] == CFG_UNSUP_FAIL &&
	    !has_cap(vm, KVM_CAP_ARM_INJECT_EXT_DABT))
		return vm_fail(vm, "kvm", ENOTSUP, "unsupported reference fail: this host's KVM "
			       "gives its guests no external aborts: write abort or ignore");
	return set_counter(vm);
}

int arch_policy_vcpu(struct vm *vm, struct vcpu *v)
{
	return 0;
}

/* ---- exceptions ---- */

static bool abort_access(struct vcpu *v)
{
	struct kvm_vcpu_events e;

	if (ioctl(v->fd, KVM_GET_VCPU_EVENTS, &e) < 0)
		return false;
	e.exception.ext_dabt_pending = 1;
	return ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e) == 0;
}

/* Parts of one wide access that come one by one. */
#define PARTS_MAX 16u

/* Ends the access that KVM_RUN left for, with all ones as what was read. */
static bool complete(struct vcpu *v)
{
	for (unsigned i = 0; i < PARTS_MAX; i++) {
		/* Pairs with the exchange in pause_point(). */
		__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		if (ioctl(v->fd, KVM_RUN, 0) < 0)
			return errno == EINTR;
		if (v->run->exit_reason != KVM_EXIT_MMIO)
			return false;
		memset(v->run->mmio.data, 0xff, sizeof(v->run->mmio.data));
	}
	return false;
}

bool arch_fail_access(struct vcpu *v, bool is_write)
{
	uint64_t pc, x[N_X_REGS];
	int r = reg_ioctl(v, KVM_GET_ONE_REG, CORE_REG(regs.pc), &pc);

	for (unsigned i = 0; r == 0 && i < N_X_REGS; i++)
		r = reg_ioctl(v, KVM_GET_ONE_REG, X_REG(i), &x[i]);
	if (r < 0 || !complete(v))
		return false;
	for (unsigned i = 0; r == 0 && i < N_X_REGS; i++)
		r = reg_ioctl(v, KVM_SET_ONE_REG, X_REG(i), &x[i]);
	if (r == 0)
		r = reg_ioctl(v, KVM_SET_ONE_REG, CORE_REG(regs.pc), &pc);
	return r == 0 && abort_access(v);
}

/* What KVM leaves to us is always an access; the instruction is not done. */
bool arch_fail_insn(struct vcpu *v)
{
	return v->run->exit_reason == KVM_EXIT_ARM_NISV && abort_access(v);
}

bool arch_skip_insn(struct vcpu *v)
{
	uint64_t pc;

	if (v->run->exit_reason != KVM_EXIT_ARM_NISV ||
	    reg_ioctl(v, KVM_GET_ONE_REG, CORE_REG(regs.pc), &pc) < 0)
		return false;
	pc += INSN_BYTES;
	return reg_ioctl(v, KVM_SET_ONE_REG, CORE_REG(regs.pc), &pc) == 0;
}

/* ---- what is told ---- */

int arch_vcpu_insn(struct vcpu *v, uint64_t *ret_addr, char *buf, size_t buf_bytes)
{
	buf[0] = '\0';
	if (v->run->exit_reason == KVM_EXIT_ARM_NISV)
		snprintf(buf, buf_bytes, "access to 0x%llx, syndrome 0x%llx",
			 (unsigned long long)v->run->arm_nisv.fault_ipa,
			 (unsigned long long)v->run->arm_nisv.esr_iss);
	return reg_ioctl(v, KVM_GET_ONE_REG, CORE_REG(regs.pc), ret_addr);
}

void arch_vcpu_state(struct vcpu *v)
{
	char where[256], line[640];
	uint64_t x;
	int len = 0;

	arch_vcpu_where(v, where, sizeof(where));
	qlog(QLOG_FATAL, "ev=vcpu_state cpu=%u %s", v->idx, where);
	for (unsigned i = 0; i < N_X_REGS; i++) {
		if (reg_ioctl(v, KVM_GET_ONE_REG, X_REG(i), &x) < 0)
			return;
		len += snprintf(line + len, sizeof(line) - (size_t)len, " x%u=0x%llx", i,
				(unsigned long long)x);
		if (i % 16 != 15 && i + 1 != N_X_REGS)
			continue;
		qlog(QLOG_FATAL, "ev=vcpu_state cpu=%u%s", v->idx, line);
		len = 0;
	}
}

bool arch_vcpu_exit(struct vcpu *v, enum vcpu_exit *ret)
{
	if (v->run->exit_reason != KVM_EXIT_ARM_NISV)
		return false;
	*ret = unsup_instruction(v);
	return true;
}
