/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GIC in the kernel: version 3, with an ITS where the host has it and no frame is configured;
 * version 2 on hosts with nothing else or when the configuration asks for it. It exists before the
 * vCPUs (the redistributors are attached to them as they come) and is started after them.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "lib/qfd.h"
#include "qvm/arch/arm64/arm64.h"
#include "qvm/memmap.h"

static int create_device(struct vm *vm, uint32_t type)
{
	struct kvm_create_device d = { .type = type, .fd = (uint32_t)-1 };

	return ioctl(vm->vm_fd, KVM_CREATE_DEVICE, &d) < 0 ? -errno : (int)d.fd;
}

static int set_attr(int fd, uint32_t group, uint64_t attr, const void *val)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)val };

	return ioctl(fd, KVM_SET_DEVICE_ATTR, &a) < 0 ? -errno : 0;
}

static int set_addr(int fd, uint64_t what, uint64_t base)
{
	return set_attr(fd, KVM_DEV_ARM_VGIC_GRP_ADDR, what, &base);
}

static int create_v3(struct vm *vm)
{
	struct vm_arch *a = vm->arch;

	a->gic_fd = create_device(vm, KVM_DEV_TYPE_ARM_VGIC_V3);
	if (a->gic_fd < 0)
		return a->gic_fd;
	a->gic_version = 3;
	int r = set_addr(a->gic_fd, KVM_VGIC_V3_ADDR_TYPE_DIST, MM_ARM64_GICD_BASE);
	if (r == 0)
		r = set_addr(a->gic_fd, KVM_VGIC_V3_ADDR_TYPE_REDIST, MM_ARM64_GICR_BASE);
	if (r < 0)
		return vm_fail(vm, "kvm", r, "KVM does not take the addresses of the GIC");
	/* A guest that is given a frame for messages uses that. */
	if (!a->frame.count)
		a->its_fd = create_device(vm, KVM_DEV_TYPE_ARM_VGIC_ITS);
	a->has_its = a->its_fd >= 0;
	if (a->has_its)
		r = set_addr(a->its_fd, KVM_VGIC_ITS_ADDR_TYPE, MM_ARM64_ITS_BASE);
	return r < 0 ? vm_fail(vm, "kvm", r, "KVM does not take the address of the ITS") : 0;
}

static int create_v2(struct vm *vm)
{
	struct vm_arch *a = vm->arch;

	a->gic_fd = create_device(vm, KVM_DEV_TYPE_ARM_VGIC_V2);
	if (a->gic_fd < 0)
		return a->gic_fd;
	a->gic_version = 2;
	int r = set_addr(a->gic_fd, KVM_VGIC_V2_ADDR_TYPE_DIST, MM_ARM64_GICD_BASE);
	if (r == 0)
		r = set_addr(a->gic_fd, KVM_VGIC_V2_ADDR_TYPE_CPU, MM_ARM64_GICC_BASE);
	return r < 0 ? vm_fail(vm, "kvm", r, "KVM does not take the addresses of the GIC") : 0;
}

static bool can_make(struct vm *vm, uint32_t type)
{
	struct kvm_create_device d = { .type = type, .flags = KVM_CREATE_DEVICE_TEST };

	return ioctl(vm->vm_fd, KVM_CREATE_DEVICE, &d) == 0;
}

/* The asked version cannot be had: what can, and why this one cannot. */
static int tell_other(struct vm *vm, unsigned asked)
{
	bool v2 = can_make(vm, KVM_DEV_TYPE_ARM_VGIC_V2);
	bool v3 = can_make(vm, KVM_DEV_TYPE_ARM_VGIC_V3);

	if (asked == 2 && v3)
		return vm_fail(vm, "kvm", ENODEV,
			       "vdev gic version 2: this host's interrupt controller is a GICv3 "
			       "without the part that guests of version 2 need; write version 3, "
			       "or leave it out");
	if (asked == 3 && v2)
		return vm_fail(vm, "kvm", ENODEV,
			       "vdev gic version 3: this host's interrupt controller is a GICv2, "
			       "and its guests' are as well; write version 2, or leave it out");
	return vm_fail(vm, "kvm", ENODEV, "KVM has no interrupt controller for guests here");
}

int gic_create(struct vm *vm)
{
	unsigned asked = cfg_gic_version(vm->cfg);

	vm->arch->frame = cfg_gic_frame(vm->cfg);
	int r = asked == 2 ? -ENODEV : create_v3(vm);
	if (r == -ENODEV && asked != 3)
		r = create_v2(vm);
	if (r == -ENODEV)
		return tell_other(vm, asked);
	if (r == 0 && vm->arch->gic_version == 2 && vm->cfg->n_cpus > CFG_GICV2_CPUS_MAX)
		return vm_fail(vm, "kvm", EINVAL,
			       "this host's interrupt controller is a GICv2, which has at most %u "
			       "CPUs, and there are %zu", CFG_GICV2_CPUS_MAX, vm->cfg->n_cpus);
	return r;
}

int gic_start(struct vm *vm)
{
	struct vm_arch *a = vm->arch;
	const uint32_t n_irqs = MM_ARM64_INTIDS;
	int r = set_attr(a->gic_fd, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &n_irqs);

	if (r == 0)
		r = set_attr(a->gic_fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT,
			     NULL);
	if (r == 0 && a->has_its)
		r = set_attr(a->its_fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT,
			     NULL);
	return r < 0 ? vm_fail(vm, "kvm", r, "the GIC does not start") : 0;
}

void gic_fini(struct vm_arch *a)
{
	qfd_close(&a->its_fd);
	qfd_close(&a->gic_fd);
}
