/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files of arch/arm64/: the interrupt controller, the registers, the frame for
 * messages. Main thread.
 */
#pragma once

#include "qvm/cfg_gic.h"
#include "qvm/vm.h"

struct vm_arch {
	unsigned gic_version; /* 2 or 3 */
	bool has_its;
	struct cfg_msi_frame frame;
	int gic_fd, its_fd; /* -1: none */
};

/* Creates the controllers (before vCPUs) and starts them (after). */
int gic_create(struct vm *vm);
int gic_start(struct vm *vm);
void gic_fini(struct vm_arch *a);
/* Puts the MSI frame on the bus, if there is one. */
int v2m_create(struct vm *vm);

/* Affinity of a vCPU as the device tree wants it; 0 or -errno. */
int arm64_vcpu_mpidr(struct vcpu *v, uint64_t *ret);
/* First state of the boot processor. 0 or -errno with vm->fail filled. */
int arm64_vcpu_start(struct vm *vm, struct vcpu *v, uint64_t pc, uint64_t fdt);
