/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files of arch/arm64/: the interrupt controller, the registers, the device tree. Main
 * thread.
 */
#pragma once

#include "qvm/vm.h"

struct vm_arch {
	unsigned gic_version; /* 2 or 3 */
	bool has_its;
	int gic_fd, its_fd; /* -1: none */
};

/* Creates the controllers (before vCPUs) and starts them (after). */
int gic_create(struct vm *vm);
int gic_start(struct vm *vm);
void gic_fini(struct vm_arch *a);

/* Affinity of a vCPU as the device tree wants it; 0 or -errno. */
int arm64_vcpu_mpidr(struct vcpu *v, uint64_t *ret);
/* First state of the boot processor. 0 or -errno with vm->fail filled. */
int arm64_vcpu_start(struct vm *vm, struct vcpu *v, uint64_t pc, uint64_t fdt);

#define FDT_BYTES 0x10000u
/*
 * The tree of this VM in @buf of FDT_BYTES; its size in *@ret_bytes. 0 or -errno with vm->fail
 * filled.
 */
int fdt_build(struct vm *vm, void *buf, size_t *ret_bytes);
