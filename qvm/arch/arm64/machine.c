/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arm64 board: the GIC, PCI by ECAM, and the numbers of interrupt lines. In the configuration a
 * line is a GIC interrupt number (INTID); the kernel counts shared peripheral interrupts from 0,
 * which is INTID 32.
 */
#include <asm/kvm.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "qvm/arch.h"
#include "qvm/arch/arm64/arm64.h"
#include "qvm/memmap.h"

#define N_SPIS	       (MM_ARM64_INTIDS - MM_ARM64_SPI_FIRST)
#define IPA_BITS_USUAL 40

const char *arch_name(void)
{
	return "arm64";
}

/* Type 0 means 40 address bits; hosts with fewer want to be told how many. */
unsigned long arch_vm_type(int kvm_fd)
{
	int bits = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);

	return bits > 0 && bits < IPA_BITS_USUAL ? KVM_VM_TYPE_ARM_IPA_SIZE((unsigned)bits) : 0;
}

void arch_pit_wired(struct vm *vm, bool on)
{
	/* There is none. */
}

void arch_kernel_status(struct vm *vm, const struct cfg_vdev *c, char *buf, size_t buf_bytes)
{
	buf[0] = '\0';
}

int arch_usual_line(const char *type)
{
	return -1;
}

uint32_t arch_irq_line_word(unsigned line)
{
	return KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | line;
}

uint32_t arch_irq_line_gsi(unsigned line)
{
	return line - MM_ARM64_SPI_FIRST;
}

bool arch_irq_msi_has_devid(void)
{
	return true;
}

unsigned arch_irq_first_msi_gsi(void)
{
	return N_SPIS;
}

unsigned arch_irq_fixed_routes(struct kvm_irq_routing_entry *ret, unsigned max)
{
	unsigned n = 0;

	for (; n < N_SPIS && n < max; n++)
		ret[n] = (struct kvm_irq_routing_entry){ .gsi = n,
							 .type = KVM_IRQ_ROUTING_IRQCHIP,
							 .u.irqchip = { .pin = n } };
	return n;
}

unsigned pci_intx_line(unsigned dev)
{
	return MM_ARM64_IRQ_INTX + dev % MM_INTX_LINES;
}

int arch_vm_init(struct vm *vm)
{
	vm->arch = calloc(1, sizeof(*vm->arch));
	if (!vm->arch)
		return vm_fail(vm, "kvm", ENOMEM, "out of memory");
	vm->arch->gic_fd = vm->arch->its_fd = -1;
	pci_init(&vm->pci, MM_ARM64_PCI_MEM_BASE, MM_ARM64_PCI_MEM_LEN, 0, 0);
	if (!vm->cfg->exit_on_halt)
		return vm_fail(vm, "kvm", ENOTSUP,
			       "set exit-on-halt off: KVM on arm64 always leaves a guest that "
			       "waits for an interrupt");
	int r = pci_map_ecam(&vm->pci, &vm->bus[VD_MEM], MM_ARM64_ECAM_BASE, MM_ARM64_ECAM_LEN);
	if (r < 0)
		return vm_fail(vm, "devices", r, "the PCI window cannot be had");
	r = gic_create(vm);
	return r < 0 ? r : v2m_create(vm);
}

int arch_vm_late_init(struct vm *vm)
{
	return gic_start(vm);
}

void arch_vm_fini(struct vm *vm)
{
	if (vm->arch)
		gic_fini(vm->arch);
	free(vm->arch);
	vm->arch = NULL;
}
