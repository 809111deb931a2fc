/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an arm64 guest starts, whatever it is: at its first instruction with the address of the
 * device tree in x0, as Linux' booting.rst says.
 */
#include <errno.h>

#include "qvm/arch.h"
#include "qvm/arch/arm64/arm64.h"
#include "qvm/fdtboot.h"
#include "qvm/memmap.h"
#include "qvm/vcpu.h"

int arch_load_claims(struct vm *vm)
{
	int r = fdtboot_claim(vm->cfg, &vm->boot);

	return r < 0 ? vm_fail(vm, "load", r, "no room to keep for the device tree") : 0;
}

int arch_boot(struct vm *vm)
{
	uint64_t mpidrs[MM_CPUS_MAX], at;
	const struct fdtgen g = { .cfg = vm->cfg,
				  .mpidrs = mpidrs,
				  .gic_version = vm->arch->gic_version,
				  .has_its = vm->arch->has_its,
				  .frame = vm->arch->frame };
	char text[512] = "";

	if (pci_assign(&vm->pci) < 0)
		return vm_fail(vm, "devices", ENOSPC, "the PCI window is too small for the BARs");
	pci_windows_off(&vm->pci);
	for (size_t i = 0; i < vm->n_vcpus; i++) {
		int r = arm64_vcpu_mpidr(&vm->vcpus[i], &mpidrs[i]);
		if (r < 0)
			return vm_fail(vm, "kvm", r, "KVM does not say which affinity a vCPU has");
	}
	int r = fdtboot_put(&g, vm->mem, &vm->boot, &at, text, sizeof(text));
	if (r < 0)
		return vm_fail(vm, "load", r, "%s", text);
	return arm64_vcpu_start(vm, &vm->vcpus[0], vm->boot.entry, at);
}
