/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says of the processor, and KVM carries out: accesses, registers and
 * instructions that nobody serves, and the guest's time-stamp counter. vCPU threads, each on its
 * own vCPU, but for the functions that prepare.
 *
 * An access is only over when KVM_RUN was entered once more. To give the guest an exception
 * instead, it is entered with immediate_exit, which completes the access and returns at once; the
 * registers of before, so that nothing was read; and the exception. immediate_exit stays set: the
 * next KVM_RUN returns at once as well and the loop takes the flag back, so that a kick of
 * somebody else is not lost. A write has left its instruction behind when we hear of it: there the
 * exception is seen at the instruction after it, as from a bus that answers late.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "qvm/arch.h"
#include "qvm/arch/x86/insn.h"
#include "qvm/unsup.h"

#define VECTOR_UD 6u
#define VECTOR_GP 13u

static bool has_cap(const struct vm *vm, unsigned cap)
{
	return ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, cap) > 0;
}

static int enable(struct vm *vm, unsigned cap, uint64_t arg)
{
	struct kvm_enable_cap e = { .cap = cap, .args = { arg } };

	if (!has_cap(vm, cap))
		return -ENOTSUP;
	return ioctl(vm->vm_fd, KVM_ENABLE_CAP, &e) < 0 ? -errno : 0;
}

int arch_policy_init(struct vm *vm)
{
	const enum cfg_unsup *u = vm->cfg->unsupported;
	/* Without it, KVM gives programs of the guest an exception itself and does not say so. */
	int r = enable(vm, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);

	if (r < 0 && u[CFG_UNSUP_INSTRUCTION] != CFG_UNSUP_FAIL)
		qlog_warn("ev=no_policy what=instruction why=\"this host's KVM tells of the "
			  "guest's kernel only\"");
	r = enable(vm, KVM_CAP_X86_USER_SPACE_MSR,
		   KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN);
	if (r < 0 && u[CFG_UNSUP_REGISTER] != CFG_UNSUP_FAIL)
		return vm_fail(vm, "kvm", r, "unsupported register: this host's KVM always gives "
			       "the guest an exception: write fail, or leave it out");
	return 0;
}

int arch_policy_vcpu(struct vm *vm, struct vcpu *v)
{
	/* Modulo 2^64: the guest's is the host's less what is configured. */
	uint64_t offset = -vm->cfg->counter_offset;
	struct kvm_device_attr a = { .group = KVM_VCPU_TSC_CTRL,
				     .attr = KVM_VCPU_TSC_OFFSET,
				     .addr = (uintptr_t)&offset };

	if (vm->cfg->counter_offset == CFG_COUNTER_FROM_0)
		return 0;
	if (ioctl(v->fd, KVM_SET_DEVICE_ATTR, &a) < 0)
		return vm_fail(vm, "kvm", errno, "set counter-offset: this host's KVM does not let "
			       "the guest's time-stamp counter be set");
	return 0;
}

/* ---- exceptions ---- */

static bool has_exception(const struct kvm_vcpu_events *e)
{
	return e->exception.injected || e->exception.pending;
}

/* @nr < 0: none, and one that KVM has in mind is dropped. */
static bool set_exception(struct vcpu *v, int nr, bool has_error_code)
{
	struct kvm_vcpu_events e;

	if (ioctl(v->fd, KVM_GET_VCPU_EVENTS, &e) < 0)
		return false;
	if (nr >= 0 && has_exception(&e) && e.exception.nr == nr)
		return true;
	memset(&e.exception, 0, sizeof(e.exception));
	e.exception.injected = nr >= 0;
	e.exception.nr = (uint8_t)(nr >= 0 ? nr : 0);
	e.exception.has_error_code = has_error_code;
	/* One that came meanwhile is not to be forgotten. */
	e.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_NMI_PENDING;
	return ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e) == 0;
}

/* Parts of one wide access that come one by one, and elements of a string. */
#define PARTS_MAX 64u

/* Ends the access that KVM_RUN left for, with all ones as what was read. */
static bool complete(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	for (unsigned i = 0; i < PARTS_MAX; i++) {
		/* Pairs with the exchange in pause_point(). */
		__atomic_store_n(&run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		if (ioctl(v->fd, KVM_RUN, 0) < 0)
			return errno == EINTR;
		if (run->exit_reason == KVM_EXIT_MMIO)
			memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		else if (run->exit_reason == KVM_EXIT_IO)
			memset((uint8_t *)run + run->io.data_offset, 0xff,
			       (size_t)run->io.size * run->io.count);
		else
			return false;
	}
	return false;
}

bool arch_fail_access(struct vcpu *v, bool is_write)
{
	struct kvm_regs before;

	if (ioctl(v->fd, KVM_GET_REGS, &before) < 0 || !complete(v))
		return false;
	if (!is_write && ioctl(v->fd, KVM_SET_REGS, &before) < 0)
		return false;
	return set_exception(v, VECTOR_GP, true);
}

bool arch_fail_insn(struct vcpu *v)
{
	/* In the guest's kernel KVM has it in mind already, where it does not leave that to us. */
	return set_exception(v, VECTOR_UD, false);
}

/* The bytes that KVM fetched, and how many; 0 when it does not say. */
static unsigned insn_bytes(const struct vcpu *v, const uint8_t **ret)
{
	const struct kvm_run *run = v->run;
	const unsigned room = sizeof(run->emulation_failure.insn_bytes);

	/* Its data begins with the flags: one word of 64 bits; the bytes are two more. */
	if (run->exit_reason != KVM_EXIT_INTERNAL_ERROR ||
	    run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION || run->internal.ndata < 3 ||
	    !(run->emulation_failure.flags &
	      KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		return 0;
	*ret = run->emulation_failure.insn_bytes;
	return Q_MIN(run->emulation_failure.insn_size, room);
}

bool arch_skip_insn(struct vcpu *v)
{
	const uint8_t *bytes = NULL;
	struct kvm_sregs s;
	struct kvm_regs r;
	unsigned n = insn_bytes(v, &bytes);

	if (!n || ioctl(v->fd, KVM_GET_SREGS, &s) < 0 || ioctl(v->fd, KVM_GET_REGS, &r) < 0)
		return false;
	unsigned len = x86_insn_len(bytes, n, s.cs.l ? 64 : s.cs.db ? 32 : 16);
	if (!len)
		return false;
	r.rip += len;
	return ioctl(v->fd, KVM_SET_REGS, &r) == 0 && set_exception(v, -1, false);
}

/* ---- what is told ---- */

int arch_vcpu_insn(struct vcpu *v, uint64_t *ret_addr, char *buf, size_t buf_bytes)
{
	const uint8_t *bytes = NULL;
	struct kvm_regs r;
	unsigned n = insn_bytes(v, &bytes);

	buf[0] = '\0';
	for (unsigned i = 0; i < n && 3 * i + 3 < buf_bytes; i++)
		snprintf(buf + 3 * i - (i > 0), buf_bytes - 3 * i, "%s%02x", i ? " " : "",
			 bytes[i]);
	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0)
		return -errno;
	*ret_addr = r.rip;
	return 0;
}

void arch_vcpu_state(struct vcpu *v)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0 || ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return;
	qlog(QLOG_FATAL, "ev=vcpu_state cpu=%u rip=0x%llx rflags=0x%llx rsp=0x%llx rbp=0x%llx "
	     "rax=0x%llx rbx=0x%llx rcx=0x%llx rdx=0x%llx rsi=0x%llx rdi=0x%llx", v->idx, r.rip,
	     r.rflags, r.rsp, r.rbp, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi);
	qlog(QLOG_FATAL, "ev=vcpu_state cpu=%u r8=0x%llx r9=0x%llx r10=0x%llx r11=0x%llx "
	     "r12=0x%llx r13=0x%llx r14=0x%llx r15=0x%llx", v->idx, r.r8, r.r9, r.r10, r.r11,
	     r.r12, r.r13, r.r14, r.r15);
	qlog(QLOG_FATAL, "ev=vcpu_state cpu=%u cs=0x%x ss=0x%x cr0=0x%llx cr2=0x%llx cr3=0x%llx "
	     "cr4=0x%llx efer=0x%llx gdt=0x%llx idt=0x%llx", v->idx, s.cs.selector, s.ss.selector,
	     s.cr0, s.cr2, s.cr3, s.cr4, s.efer, s.gdt.base, s.idt.base);
}

/* ---- registers ---- */

bool arch_vcpu_exit(struct vcpu *v, enum vcpu_exit *ret)
{
	struct kvm_run *run = v->run;
	const bool is_write = run->exit_reason == KVM_EXIT_X86_WRMSR;
	bool fault;

	if (!is_write && run->exit_reason != KVM_EXIT_X86_RDMSR)
		return false;
	*ret = unsup_register(v, run->msr.index, is_write, run->msr.data, &fault);
	run->msr.error = fault;
	if (!is_write)
		run->msr.data = UINT64_MAX;
	return true;
}
