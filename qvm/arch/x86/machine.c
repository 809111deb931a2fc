/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86 board: the kernel's local APICs, PICs, ioapic and interval timer, the PCI ports, and the
 * numbers of interrupt lines. The kernel's ioapic answers at 0xfec00000 and nowhere else.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "qvm/arch.h"
#include "qvm/arch/x86/x86.h"
#include "qvm/hosttypes.h"
#include "qvm/memmap.h"
#include "qvm/vcpu.h"
#include "qvm/vmdev.h"

#define PIC_PINS 8u

const char *arch_name(void)
{
	return "x86";
}

unsigned long arch_vm_type(int kvm_fd)
{
	return 0;
}

int arch_usual_line(const char *type)
{
	return !strcmp(type, "acpi-pm") ? (int)MM_X86_IRQ_SCI : -1;
}

/* ---- interrupt lines: the pins of the ioapic, 0..15 wired to the PICs too ---- */

uint32_t arch_irq_line_word(unsigned line)
{
	return line;
}

uint32_t arch_irq_line_gsi(unsigned line)
{
	return line;
}

bool arch_irq_msi_has_devid(void)
{
	return false;
}

unsigned arch_irq_first_msi_gsi(void)
{
	return MM_X86_IOAPIC_LINES;
}

static struct kvm_irq_routing_entry pin_entry(unsigned gsi, unsigned chip, unsigned pin)
{
	return (struct kvm_irq_routing_entry){ .gsi = gsi,
					       .type = KVM_IRQ_ROUTING_IRQCHIP,
					       .u.irqchip = { .irqchip = chip, .pin = pin } };
}

unsigned arch_irq_fixed_routes(struct kvm_irq_routing_entry *ret, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MM_X86_IOAPIC_LINES && n + 2 <= max; i++) {
		ret[n++] = pin_entry(i, KVM_IRQCHIP_IOAPIC, i);
		if (i < PIC_PINS)
			ret[n++] = pin_entry(i, KVM_IRQCHIP_PIC_MASTER, i);
		else if (i < 2 * PIC_PINS)
			ret[n++] = pin_entry(i, KVM_IRQCHIP_PIC_SLAVE, i - PIC_PINS);
	}
	return n;
}

unsigned pci_intx_line(unsigned dev)
{
	return MM_X86_IRQ_INTX + dev % MM_INTX_LINES;
}

/* ---- what the kernel made ---- */

void arch_pit_wired(struct vm *vm, bool on)
{
	struct kvm_pit_state2 s;

	/* Its channels count on from where they are: the kernel gives what it takes. */
	if (ioctl(vm->vm_fd, KVM_GET_PIT2, &s) < 0)
		return;
	uint32_t flags = s.flags;
	s.flags = on ? flags & ~KVM_PIT_FLAGS_HPET_LEGACY : flags | KVM_PIT_FLAGS_HPET_LEGACY;
	if (s.flags != flags)
		ioctl(vm->vm_fd, KVM_SET_PIT2, &s);
}

static void pit_status(struct vm *vm, char *buf, size_t buf_bytes)
{
	struct kvm_pit_state2 s;

	if (ioctl(vm->vm_fd, KVM_GET_PIT2, &s) < 0)
		return;
	snprintf(buf, buf_bytes, "mode0=%u count0=%u mode2=%u count2=%u wired=%d",
		 s.channels[0].mode, s.channels[0].count, s.channels[2].mode, s.channels[2].count,
		 !(s.flags & KVM_PIT_FLAGS_HPET_LEGACY));
}

static void pic_status(struct vm *vm, bool second, char *buf, size_t buf_bytes)
{
	struct kvm_irqchip c = { .chip_id = second ? KVM_IRQCHIP_PIC_SLAVE :
						     KVM_IRQCHIP_PIC_MASTER };

	if (ioctl(vm->vm_fd, KVM_GET_IRQCHIP, &c) < 0)
		return;
	snprintf(buf, buf_bytes, "irr=%#x imr=%#x isr=%#x base=%#x", c.chip.pic.irr,
		 c.chip.pic.imr, c.chip.pic.isr, c.chip.pic.irq_base);
}

static void ioapic_status(struct vm *vm, char *buf, size_t buf_bytes)
{
	struct kvm_irqchip c = { .chip_id = KVM_IRQCHIP_IOAPIC };
	unsigned n_live = 0;

	if (ioctl(vm->vm_fd, KVM_GET_IRQCHIP, &c) < 0)
		return;
	for (unsigned i = 0; i < MM_X86_IOAPIC_LINES; i++)
		n_live += !c.chip.ioapic.redirtbl[i].fields.mask;
	snprintf(buf, buf_bytes, "base=%#llx irr=%#x unmasked=%u", MM_X86_IOAPIC_BASE,
		 c.chip.ioapic.irr, n_live);
}

void arch_kernel_status(struct vm *vm, const struct cfg_vdev *c, char *buf, size_t buf_bytes)
{
	buf[0] = '\0';
	if (c->type == &qvm_type_timer8254)
		pit_status(vm, buf, buf_bytes);
	else if (c->type == &qvm_type_8259)
		pic_status(vm, c->cfg.base == MM_X86_IO_PIC2, buf, buf_bytes);
	else if (c->type == &qvm_type_ioapic)
		ioapic_status(vm, buf, buf_bytes);
}

/* ---- the machine ---- */

static int make_irqchip(struct vm *vm)
{
	uint64_t identity = MM_X86_KVM_BASE;
	/* Without a speaker: port 0x61 is the kernel's, as guests measure time with it. */
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	if (ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, (unsigned long)(MM_X86_KVM_BASE + 0x1000)) < 0)
		return vm_fail(vm, "kvm", errno, "KVM does not take the address of its TSS pages");
	/* Older processors only; others say no and do not need it. */
	ioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (ioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return vm_fail(vm, "kvm", errno,
			       "KVM has no interrupt controllers of its own here");
	if (ioctl(vm->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return vm_fail(vm, "kvm", errno, "KVM has no interval timer of its own here");
	return 0;
}

/* `set exit-on-halt off`: the guest keeps its processor while it waits. Before the vCPUs exist. */
static int keep_halted(struct vm *vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_DISABLE_EXITS };
	int can = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_DISABLE_EXITS);

	if (vm->cfg->exit_on_halt)
		return 0;
	if (can <= 0 || !(can & KVM_X86_DISABLE_EXITS_HLT))
		return vm_fail(vm, "kvm", ENOTSUP,
			       "set exit-on-halt off: this host's KVM always leaves a guest that "
			       "halts");
	cap.args[0] = (uint64_t)can & (KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE);
	if (ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap) < 0)
		return vm_fail(vm, "kvm", errno, "set exit-on-halt off: KVM refuses");
	return 0;
}

int arch_vm_init(struct vm *vm)
{
	vm->arch = calloc(1, sizeof(*vm->arch));
	if (!vm->arch)
		return vm_fail(vm, "kvm", ENOMEM, "out of memory");
	int r = keep_halted(vm);
	if (r == 0)
		r = make_irqchip(vm);
	if (r < 0)
		return r;
	pci_init(&vm->pci, MM_X86_PCI_MEM_BASE, MM_X86_PCI_MEM_LEN, MM_X86_PCI_IO_BASE,
		 MM_X86_PCI_IO_LEN);
	r = pci_map_ports(&vm->pci, &vm->bus[VD_IO]);
	if (r == 0)
		r = pci_map_ecam(&vm->pci, &vm->bus[VD_MEM], MM_X86_ECAM_BASE, MM_X86_ECAM_LEN);
	if (r < 0)
		return vm_fail(vm, "devices", r, "the PCI windows cannot be had");
	return x86_cpuid_init(vm);
}

int arch_vcpu_init(struct vm *vm, struct vcpu *v)
{
	int r = x86_vcpu_cpuid(vm, v);

	return r < 0 ? r : x86_vcpu_msrs(vm, v);
}

int arch_vm_late_init(struct vm *vm)
{
	return 0;
}

void arch_vm_fini(struct vm *vm)
{
	if (vm->arch)
		free(vm->arch->cpuid);
	free(vm->arch);
	vm->arch = NULL;
}

void arch_vcpu_where(struct vcpu *v, char *buf, size_t buf_bytes)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	buf[0] = '\0';
	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0 || ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return;
	snprintf(buf, buf_bytes, "rip=0x%llx rsp=0x%llx cr0=0x%llx cr2=0x%llx cr3=0x%llx cpl=%u",
		 r.rip, r.rsp, s.cr0, s.cr2, s.cr3, s.cs.selector & 3u);
}
