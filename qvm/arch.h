/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an architecture adds to a VM. One implementation is in a build: arch/x86/ or arch/arm64/.
 * Main thread, in the order in which the functions stand here, unless said otherwise; all return 0,
 * or -errno with vm->fail filled.
 */
#pragma once

#include "qvm/vcpu.h"
#include "qvm/vm.h"

const char *arch_name(void); /* as in struct vd_type.archs */

/* The argument of KVM_CREATE_VM. */
unsigned long arch_vm_type(int kvm_fd);
/*
 * After KVM_CREATE_VM and guest memory: interrupt controller, timers, whatever a vCPU needs first.
 */
int arch_vm_init(struct vm *vm);
/* For each new vCPU: features, identification, state after reset. */
int arch_vcpu_init(struct vm *vm, struct vcpu *v);
/* After all vCPUs, before the vdevs. */
int arch_vm_late_init(struct vm *vm);
/* Before the loads: keeps them out of what arch_boot() writes at places of its own. */
int arch_load_claims(struct vm *vm);
/* After the vdevs and the loads: tables for the guest, first register values. */
int arch_boot(struct vm *vm);
/* NULL vm->arch is fine. */
void arch_vm_fini(struct vm *vm);

/* Connects the machine's interval timer to its line, or cuts it off. Any thread. */
void arch_pit_wired(struct vm *vm, bool on);
/* What the kernel knows of a vdev that it made, as key=value words; "": nothing. Main thread. */
void arch_kernel_status(struct vm *vm, const struct cfg_vdev *c, char *buf, size_t buf_bytes);

/* The interrupt line that a type of vdev has by convention; -1: none. */
int arch_usual_line(const char *type);
/* ---- of one vCPU: its thread, or any while it is held (arch/<name>/dump.c) ---- */

struct dump_cpu;
/* It was held and goes on: the guest is told, where there is a way to. */
void arch_vcpu_resumed(struct vcpu *v);
/* The address that it executes. 0 or -errno. */
int arch_vcpu_ip(struct vcpu *v, uint64_t *ret);
/* The guest's counter and the host's at one moment, in their own ticks. 0 or -errno. */
int arch_vcpu_counter(struct vcpu *v, uint64_t *ret_guest, uint64_t *ret_host);
/* Bits about the guest's clock, of this architecture's own; 0 when it has none. */
uint64_t arch_clock_features(struct vm *vm);
/* Its registers as a core file has them. 0 or -errno. */
int arch_dump_cpu(struct vcpu *v, struct dump_cpu *ret);

/* ---- unsupported and counter-offset of the configuration (arch/<name>/policy.c) ---- */

/* Before the vCPUs exist; then for each. */
int arch_policy_init(struct vm *vm);
int arch_policy_vcpu(struct vm *vm, struct vcpu *v);
/*
 * On the thread of @v, at an exit; false: KVM cannot. An exception for the access that it left for,
 * or for the instruction, which is not carried out; and the way to step over the instruction.
 */
bool arch_fail_access(struct vcpu *v, bool is_write);
bool arch_fail_insn(struct vcpu *v);
bool arch_skip_insn(struct vcpu *v);
/* The address of the instruction, and what is known of it in @buf. 0 or -errno. */
int arch_vcpu_insn(struct vcpu *v, uint64_t *ret_addr, char *buf, size_t buf_bytes);
/* An exit that only this architecture has: true when it was one, and was answered. */
bool arch_vcpu_exit(struct vcpu *v, enum vcpu_exit *ret);
/* Logs all registers, fatal. */
void arch_vcpu_state(struct vcpu *v);

/* Registers worth a line when something went wrong: "rip=0x… rsp=0x…". vCPU thread. */
void arch_vcpu_where(struct vcpu *v, char *buf, size_t buf_bytes);
