/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt controllers. KVM has them in the kernel, so that the host makes them; what stands here is
 * what a configuration may say of them.
 */
#include "vdevs/types.h"

static const struct vd_option ioapic_options[] = {
	{ NULL },
};

const struct vd_type vd_ioapic_type = {
	.name = "ioapic",
	.flags = VD_NEEDS_LOC | VD_HOST_MADE,
	.default_space = VD_MEM,
	.len_bytes = 0x1000,
	.max_irqs = 1,		/* "intr apic": what it feeds */
	.archs = "x86",
	.options = ioapic_options,
};

static const struct vd_option gic_options[] = {
	{ "version", VD_ARG_NUMBER, false },
	{ "msi", VD_ARG_STRING, false },	/* address,first,count */
	{ NULL },
};

static void gic_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *a = vd_arg_find(cfg, "version");

	if (a && a->num != 2 && a->num != 3)
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "gic: version %llu is not known, expected 2 or 3",
			     (unsigned long long)a->num);
}

const struct vd_type vd_gic_type = {
	.name = "gic",
	.flags = VD_IMPLICIT | VD_HOST_MADE,
	.default_space = VD_MEM,
	.archs = "arm64",
	.options = gic_options,
	.check = gic_check,
};
