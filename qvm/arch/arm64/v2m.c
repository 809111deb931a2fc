/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of `vdev gic msi`: a page with a doorbell, for guests without an ITS (GICv2m, of ARM's
 * Server Base System Architecture). Devices do not come here: their messages are irqfds on the
 * frame's interrupts (irq.c). What comes here is a guest that reads what the frame has, or rings
 * the doorbell itself. vCPU threads; nothing changes after it is made.
 */
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "qvm/arch/arm64/arm64.h"

enum { REG_TYPER = 0x008, REG_SETSPI = 0x040, REG_IIDR = 0xfcc, REG_PIDR2 = 0xfe8 };
#define PIDR2_ARCH_V2M 0x10u

static uint64_t frame_read(void *ctx, unsigned win, uint64_t off, unsigned size)
{
	const struct vm *vm = ctx;
	const struct cfg_msi_frame *f = &vm->arch->frame;
	uint32_t val = 0;

	switch (off & ~3ull) {
	case REG_TYPER:
		val = f->first << 16 | f->count;
		break;
	case REG_PIDR2:
		val = PIDR2_ARCH_V2M;
		break;
	default:
		break;
	}
	return val >> (8 * (off & 3));
}

static void frame_write(void *ctx, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct vm *vm = ctx;
	uint32_t line = (uint32_t)val;

	if (size == 2)
		line = (uint16_t)val;
	if (off != REG_SETSPI || size < 2 || !cfg_frame_has(&vm->arch->frame, line))
		return;
	/* An edge, as the driver configures these. Fails only for lines that do not exist. */
	for (unsigned level = 2; level-- > 0;) {
		struct kvm_irq_level kl = { .irq = arch_irq_line_word(line), .level = level };

		ioctl(vm->vm_fd, KVM_IRQ_LINE, &kl);
	}
}

static const struct bus_ops frame_ops = { .read = frame_read, .write = frame_write };

int v2m_create(struct vm *vm)
{
	const struct cfg_msi_frame *f = &vm->arch->frame;
	const struct bus_window w = { .base = f->base,
				      .len_bytes = CFG_MSI_FRAME_BYTES,
				      .ops = &frame_ops,
				      .ctx = vm };

	if (!f->count)
		return 0;
	vm->irqs.frame = (struct irq_frame){ .doorbell = f->base + REG_SETSPI,
					     .first = f->first,
					     .count = f->count };
	int r = bus_add(&vm->bus[VD_MEM], &w);
	return r < 0 ? vm_fail(vm, "devices", r, "the page of the MSI frame cannot be had") : 0;
}
