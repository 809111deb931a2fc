/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vdev types that the kernel has and qvm only configures: the x86 ioapic, PICs and interval
 * timer, and the arm64 GIC. Their check() says what this version cannot give them; there is no
 * create(). Constant data.
 */
#include <stddef.h>

#include "qvm/hosttypes.h"
#include "qvm/memmap.h"

static const struct vd_option ioapic_options[] = {
	{ .name = NULL },
};

/* The guest finds its ioapic through ACPI, so a configuration that wants it elsewhere works. */
static void ioapic_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	if (cfg->base != MM_X86_IOAPIC_BASE)
		cf_error_add(errs, CF_WARNING, cfg->file, cfg->line, cfg->col,
			     "vdev ioapic: KVM's ioapic stands at 0x%llx and cannot move: the "
			     "guest is told so by ACPI, and nothing is at 0x%llx",
			     MM_X86_IOAPIC_BASE,
			     (unsigned long long)cfg->base);
}

const struct vd_type qvm_type_ioapic = {
	.name = "ioapic",
	.flags = VD_NEEDS_LOC | VD_HOST_MADE,
	.default_space = VD_MEM,
	.default_base = MM_X86_IOAPIC_BASE,
	.len_bytes = MM_X86_IOAPIC_LEN,
	.max_irqs = 0,
	.archs = "x86",
	.options = ioapic_options,
	.check = ioapic_check,
};

static const struct vd_option no_options[] = {
	{ .name = NULL },
};

static void pic_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	if (cfg->space != VD_IO ||
	    (cfg->base != MM_X86_IO_PIC1 && cfg->base != MM_X86_IO_PIC2))
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "vdev 8259: a PC has one at io:0x%x and one at io:0x%x",
			     MM_X86_IO_PIC1, MM_X86_IO_PIC2);
}

/* The kernel's two are always there. Named, they are shown in the plan and the status. */
const struct vd_type qvm_type_8259 = {
	.name = "8259",
	.flags = VD_NEEDS_LOC | VD_HOST_MADE,
	.default_space = VD_IO,
	.len_bytes = 2,
	.max_irqs = 1,
	.archs = "x86",
	.options = no_options,
	.check = pic_check,
};

static void pit_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	if (cfg->space != VD_IO || cfg->base != MM_X86_IO_PIT)
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "vdev timer8254: the timer of a PC is at io:0x%x: leave loc out",
			     MM_X86_IO_PIT);
}

/* Always there, too. */
const struct vd_type qvm_type_timer8254 = {
	.name = "timer8254",
	.flags = VD_NEEDS_LOC | VD_HOST_MADE,
	.default_space = VD_IO,
	.default_base = MM_X86_IO_PIT,
	.len_bytes = 4,
	.max_irqs = 1,
	.archs = "x86",
	.options = no_options,
	.check = pit_check,
};

static const struct vd_option gic_options[] = {
	{ .name = "version", .kind = VD_ARG_NUMBER },
	{ .name = "msi", .kind = VD_ARG_STRING },
	{ .name = NULL },
};

static void gic_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *version = vd_arg_find(cfg, "version");
	if (version && version->num != 2 && version->num != 3)
		cf_error_add(errs, CF_ERROR, version->file, version->line, version->col,
			     "version %s: a GIC has version 2 or 3 (the default)", version->text);
}

const struct vd_type qvm_type_gic = {
	.name = "gic",
	.flags = VD_IMPLICIT | VD_HOST_MADE,
	.default_space = VD_MEM,
	.len_bytes = MM_ARM64_GICD_LEN,
	.max_irqs = 0,
	.archs = "arm64",
	.options = gic_options,
	.check = gic_check,
};

const struct vd_type *const qvm_host_types[] = {
	&qvm_type_ioapic,
	&qvm_type_8259,
	&qvm_type_timer8254,
	&qvm_type_gic,
	NULL,
};
