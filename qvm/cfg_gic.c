/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vdev gic`: its version, and the frame that takes the messages of PCI devices where there is no
 * ITS. The frame's page and interrupts are its own: what else wants them is refused, and what is
 * chosen keeps away from them. Main thread.
 */
#include "qvm/cfg_gic.h"

#include "qvm/cfg_int.h"
#include "qvm/hosttypes.h"
#include "qvm/memmap.h"

static const struct cfg_vdev *gic_of(const struct vm_cfg *cfg)
{
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		if (cfg->vdevs[i].type == &qvm_type_gic)
			return &cfg->vdevs[i];
	return NULL;
}

unsigned cfg_gic_version(const struct vm_cfg *cfg)
{
	const struct cfg_vdev *gic = gic_of(cfg);
	const struct vd_arg *a = gic ? vd_arg_find(&gic->cfg, "version") : NULL;

	return a && (a->num == 2 || a->num == 3) ? (unsigned)a->num : 0;
}

/* One number up to a comma or the end; *@at moves behind it. */
static bool number(const char **at, enum cfg_num_kind kind, bool last, uint64_t *ret)
{
	size_t len = strcspn(*at, ",");

	if (cfg_num_parse(*at, len, kind, ret) != CFG_NUM_OK || ((*at)[len] == '\0') != last)
		return false;
	*at += len + !last;
	return true;
}

const char *cfg_msi_parse(const char *text, struct cfg_msi_frame *ret)
{
	uint64_t base, first, count;

	if (!number(&text, CFG_ADDRESS, false, &base) ||
	    !number(&text, CFG_NUMBER, false, &first) || !number(&text, CFG_NUMBER, true, &count))
		return "expected address,first,count, such as 0x30000000,0x50,0x100";
	if (!base || base % CFG_MSI_FRAME_BYTES ||
	    !qspan_inside(base, CFG_MSI_FRAME_BYTES, 1ull << 40))
		return "the address is one of a page of 4 KiB below 1 TiB, and not 0";
	if (!count || first < MM_ARM64_SPI_FIRST || !qspan_inside(first, count, MM_ARM64_INTIDS))
		return "the interrupts are one or more of 32 to 511";
	*ret = (struct cfg_msi_frame){ base, (unsigned)first, (unsigned)count };
	return NULL;
}

struct cfg_msi_frame cfg_gic_frame(const struct vm_cfg *cfg)
{
	struct cfg_msi_frame f = { 0 };
	const struct cfg_vdev *gic = gic_of(cfg);
	const struct vd_arg *a = gic ? vd_arg_find(&gic->cfg, "msi") : NULL;

	if (a)
		cfg_msi_parse(a->text, &f);
	return f;
}

bool cfg_frame_has(const struct cfg_msi_frame *f, unsigned line)
{
	return line - f->first < f->count;
}

/* ---- checks ---- */

static void check_windows(const struct vm_cfg *cfg, const struct cf_pos *pos,
			  const struct cfg_msi_frame *f, struct cf_errors *errs)
{
	for (size_t i = 0; i < cfg->arch->n_windows; i++) {
		const struct cfg_window *w = &cfg->arch->windows[i];

		if (w->space == VD_MEM &&
		    qspan_overlap(f->base, CFG_MSI_FRAME_BYTES, w->base, w->len_bytes))
			cfg_err(errs, pos, "msi: the page at 0x%" PRIx64 " belongs to %s", f->base,
				w->what);
	}
	for (size_t i = 0; i < cfg->n_ram; i++) {
		const struct cfg_ram *r = &cfg->ram[i];

		if (qspan_overlap(f->base, CFG_MSI_FRAME_BYTES, r->gpa, r->len_bytes))
			cfg_err(errs, pos, "msi: the page at 0x%" PRIx64 " is %s (%s:%u:%u)",
				f->base, r->rom ? "rom" : "ram", r->pos.file, r->pos.line,
				r->pos.col);
	}
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];

		if (v->type && !v->on_pci && !v->loc_bad && v->cfg.space == VD_MEM && v->cfg.base &&
		    qspan_overlap(f->base, CFG_MSI_FRAME_BYTES, v->cfg.base, v->cfg.len_bytes))
			cfg_err(errs, pos, "msi: the page at 0x%" PRIx64 " belongs to '%s' "
				"(%s:%u:%u)", f->base, v->cfg.name, v->pos.file, v->pos.line,
				v->pos.col);
	}
}

static void check_lines(const struct vm_cfg *cfg, const struct cf_pos *pos,
			const struct cfg_msi_frame *f, struct cf_errors *errs)
{
	for (unsigned i = 0; i < MM_INTX_LINES; i++) {
		if (!cfg_frame_has(f, cfg->arch->intx_first + i))
			continue;
		cfg_err(errs, pos, "msi: interrupts %u to %u belong to the PCI bus itself",
			cfg->arch->intx_first, cfg->arch->intx_first + MM_INTX_LINES - 1);
		break;
	}
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];

		for (unsigned k = 0; v->type && !v->on_pci && k < v->n_irqs; k++)
			if (!v->irqs[k].automatic && cfg_frame_has(f, v->irqs[k].line))
				cfg_err(errs, &v->irqs[k].pos, "intr %s:%u: interrupts %u to %u "
					"are those of the MSI frame (%s:%u:%u)",
					CFG_SHOW(v->irqs[k].pic), v->irqs[k].line, f->first,
					f->first + f->count - 1, pos->file, pos->line, pos->col);
	}
}

void cfg_check_gic(const struct vm_cfg *cfg, struct cf_errors *errs)
{
	const struct cfg_vdev *gic = gic_of(cfg);
	const struct vd_arg *version = gic ? vd_arg_find(&gic->cfg, "version") : NULL;
	const struct vd_arg *msi = gic ? vd_arg_find(&gic->cfg, "msi") : NULL;
	struct cfg_msi_frame f;

	if (version && version->num == 2 && cfg->n_cpus > CFG_GICV2_CPUS_MAX)
		cfg_err(errs, &(struct cf_pos){ version->file, version->line, version->col },
			"version 2: such a GIC has at most %u CPUs, and there are %zu",
			CFG_GICV2_CPUS_MAX, cfg->n_cpus);
	if (!msi)
		return;
	const struct cf_pos pos = { msi->file, msi->line, msi->col };
	const char *wrong = cfg_msi_parse(msi->text, &f);
	if (wrong) {
		cfg_err(errs, &pos, "msi %s: %s", CFG_SHOW(msi->text), wrong);
		return;
	}
	check_windows(cfg, &pos, &f, errs);
	check_lines(cfg, &pos, &f, errs);
}
