/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where each vdev stands and how it interrupts: no two at one address, slot or line; what was not
 * given is chosen, away from what is reserved. Choices are the same each time the same
 * configuration is read, and a choice made is kept when it is checked again. Main thread.
 */
#include "qvm/cfg_gic.h"
#include "qvm/cfg_int.h"
#include "qvm/memmap.h"

static bool is_pic(const struct vm_cfg *cfg, const struct cfg_vdev *v)
{
	return v->type && !strcmp(v->type->name, cfg->arch->pic_type);
}

/* ---- PCI slots ---- */

static bool slot_reserved(const struct vm_cfg *cfg, unsigned slot)
{
	for (size_t i = 0; i < cfg->n_reserves; i++) {
		const struct cfg_reserve *r = &cfg->reserves[i];
		if (!r->is_irq && r->space == VD_PCI && r->base >> 3 == slot)
			return true;
	}
	return false;
}

static void place_pci(struct vm_cfg *cfg, struct cf_errors *errs)
{
	const struct cfg_vdev *owner[MM_PCI_SLOTS] = { 0 };
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		if (!v->type || !v->on_pci || v->loc_bad || v->pci_dev < 0)
			continue;
		const struct cfg_vdev *other = owner[v->pci_dev];
		if (other)
			cfg_err(errs, &v->pos, "vdev %s: pci:0:%d is taken by '%s' (%s:%u:%u)",
				v->type->name, v->pci_dev, other->cfg.name, other->pos.file,
				other->pos.line, other->pos.col);
		owner[v->pci_dev] = v;
	}
	unsigned slot = 1;
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		struct cfg_vdev *v = &cfg->vdevs[i];
		if (!v->type || !v->on_pci || v->loc_bad || v->pci_dev >= 0)
			continue;
		while (slot < MM_PCI_SLOTS && (owner[slot] || slot_reserved(cfg, slot)))
			slot++;
		if (slot == MM_PCI_SLOTS) {
			cfg_err(errs, &v->pos, "vdev %s: no PCI slot is free: give it loc and intr,"
				" or take others away", v->type->name);
			return;
		}
		v->pci_dev = (int)slot++;
	}
}

/* ---- windows ---- */

static const char *space_word(enum vd_space space)
{
	return space == VD_IO ? "io" : "mem";
}

static bool has_window(const struct cfg_vdev *v)
{
	return v->type && !v->on_pci && !v->loc_bad && !(v->type->flags & VD_IMPLICIT) &&
	       (v->loc_given || v->cfg.base);
}

static void check_against(const struct vm_cfg *cfg, size_t n, struct cf_errors *errs)
{
	const struct cfg_vdev *v = &cfg->vdevs[n];
	const uint64_t base = v->cfg.base, len = v->cfg.len_bytes;
	const char *space = space_word(v->cfg.space);
	for (size_t i = 0; i < n; i++) {
		const struct cfg_vdev *other = &cfg->vdevs[i];
		if (has_window(other) && other->cfg.space == v->cfg.space &&
		    qspan_overlap(base, len, other->cfg.base, other->cfg.len_bytes))
			cfg_err(errs, &v->pos, "vdev %s at %s:0x%" PRIx64 " overlaps '%s' at "
				"0x%" PRIx64 "-0x%" PRIx64 " (%s:%u:%u)", v->type->name, space,
				base, other->cfg.name, other->cfg.base,
				other->cfg.base + other->cfg.len_bytes - 1, other->pos.file,
				other->pos.line, other->pos.col);
	}
	for (size_t i = 0; i < cfg->arch->n_windows; i++) {
		const struct cfg_window *w = &cfg->arch->windows[i];
		if (!w->vdevs_may && w->space == v->cfg.space &&
		    !cfg_type_among(w->types, v->type->name) &&
		    qspan_overlap(base, len, w->base, w->len_bytes))
			cfg_err(errs, &v->pos, "vdev %s at %s:0x%" PRIx64 " overlaps %s (0x%" PRIx64
				"-0x%" PRIx64 ")", v->type->name, space, base, w->what, w->base,
				w->base + w->len_bytes - 1);
	}
	for (size_t i = 0; i < cfg->n_ram && v->cfg.space == VD_MEM; i++) {
		const struct cfg_ram *r = &cfg->ram[i];
		if (qspan_overlap(base, len, r->gpa, r->len_bytes))
			cfg_err(errs, &v->pos, "vdev %s at %s:0x%" PRIx64 " stands in the %s at "
				"0x%" PRIx64 "-0x%" PRIx64 " (%s:%u:%u)", v->type->name, space,
				base, r->rom ? "rom" : "ram", r->gpa, r->gpa + r->len_bytes - 1,
				r->pos.file, r->pos.line, r->pos.col);
	}
}

void cfg_check_places(struct vm_cfg *cfg, struct cf_errors *errs)
{
	place_pci(cfg, errs);
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		if (has_window(v))
			check_against(cfg, i, errs);
		else if (v->type && !v->on_pci && !v->loc_bad && !(v->type->flags & VD_IMPLICIT))
			cfg_err(errs, &v->pos, "vdev %s needs loc, such as 'loc 0x1c090000': it is "
				"no PCI device and has no usual place", v->type->name);
	}
	cfg_check_windows(cfg, errs);
}

/* ---- interrupts ---- */

/* Who has each line; made anew for each check. */
struct lines {
	const struct cfg_vdev *owner[MM_ARM64_INTIDS];
	bool reserved[MM_ARM64_INTIDS];
	bool pci;		/* the four of INTx are in use */
};
static_assert(MM_ARM64_INTIDS >= MM_X86_IOAPIC_LINES, "one table serves both");

static const struct cfg_vdev *pic_of(const struct vm_cfg *cfg)
{
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		if (is_pic(cfg, &cfg->vdevs[i]))
			return &cfg->vdevs[i];
	return NULL;
}

/* The name behind which automatic lines are found, or NULL: the machine has no controller. */
static const char *pic_name(const struct vm_cfg *cfg)
{
	const struct cfg_vdev *pic = pic_of(cfg);
	return pic ? pic->cfg.name : cfg->arch->implicit_pic;
}

static void tell_no_pic(const struct vm_cfg *cfg, const struct cfg_irq *irq, struct cf_errors *errs)
{
	const struct cfg_vdev *pic = pic_of(cfg);
	if (pic)
		cfg_err(errs, &irq->pos, "intr %s:%u: there is no interrupt controller '%s' here; "
			"the %s is named '%s'", CFG_SHOW(irq->pic), irq->line, CFG_SHOW(irq->pic),
			cfg->arch->pic_type, pic->cfg.name);
	else if (cfg->arch->implicit_pic)
		cfg_err(errs, &irq->pos, "intr %s:%u: the interrupt controller here is named '%s'",
			CFG_SHOW(irq->pic), irq->line, cfg->arch->implicit_pic);
	else
		cfg_err(errs, &irq->pos, "intr %s:%u: there is no interrupt controller: write "
			"'vdev ioapic loc 0xfec00000 intr apic name myioapic' before this vdev, "
			"and here 'intr myioapic:line'", CFG_SHOW(irq->pic), irq->line);
}

/* The controller that @irq of vdev @n names stands before it. */
static bool pic_ok(const struct vm_cfg *cfg, size_t n, const struct cfg_irq *irq,
		   struct cf_errors *errs)
{
	if (!pic_of(cfg) && cfg->arch->implicit_pic && !strcmp(irq->pic, cfg->arch->implicit_pic))
		return true;
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		if (!v->cfg.name || strcmp(v->cfg.name, irq->pic))
			continue;
		if (v->type && !is_pic(cfg, v))
			cfg_err(errs, &irq->pos, "intr %s:%u: '%s' is a vdev %s, which is no "
				"interrupt controller", irq->pic, irq->line, irq->pic,
				v->type->name);
		else if (v->type && i > n)
			cfg_err(errs, &irq->pos, "intr %s:%u: the interrupt controller stands "
				"further down (%s:%u:%u): it must come before the vdevs that name "
				"it", irq->pic, irq->line, v->pos.file, v->pos.line, v->pos.col);
		else
			return v->type;
		return false;
	}
	tell_no_pic(cfg, irq, errs);
	return false;
}

static bool line_ok(const struct vm_cfg *cfg, const struct cfg_irq *irq, struct cf_errors *errs)
{
	const struct cfg_arch *arch = cfg->arch;
	if (irq->line >= arch->line_first && irq->line < arch->line_end)
		return true;
	cfg_err(errs, &irq->pos, "intr %s:%u: lines are numbered %u to %u%s", CFG_SHOW(irq->pic),
		irq->line, arch->line_first, arch->line_end - 1,
		arch->line_first ? "; those below are private to a CPU" : "");
	return false;
}

static bool is_intx(const struct vm_cfg *cfg, unsigned line)
{
	return line - cfg->arch->intx_first < MM_INTX_LINES;
}

static void check_line(const struct vm_cfg *cfg, struct lines *lines, const struct cfg_vdev *v,
		       const struct cfg_irq *irq, struct cf_errors *errs)
{
	const struct cfg_vdev *other = lines->owner[irq->line];
	for (size_t i = 0; i < cfg->arch->n_held_lines; i++) {
		const struct cfg_held_line *h = &cfg->arch->held_lines[i];
		if (h->line != irq->line)
			continue;
		const bool may = cfg_type_among(h->types, v->type->name);
		if (h->what && !may)
			cfg_err(errs, &irq->pos, "intr %s:%u belongs to %s", irq->pic, irq->line,
				h->what);
		if (may && other && cfg_type_among(h->types, other->type->name))
			other = NULL;
	}
	/* The kernel's own have the wires that they have. */
	for (size_t i = 0; v->type->flags & VD_HOST_MADE && i < cfg->arch->n_std_lines; i++)
		if (!strcmp(cfg->arch->std_lines[i].type, v->type->name) &&
		    cfg->arch->std_lines[i].line != irq->line)
			cfg_err(errs, &irq->pos, "intr %s:%u: KVM's %s is wired to line %u",
				irq->pic, irq->line, v->type->name,
				cfg->arch->std_lines[i].line);
	if (lines->pci && is_intx(cfg, irq->line))
		cfg_err(errs, &irq->pos, "intr %s:%u: lines %u to %u belong to the PCI bus",
			irq->pic, irq->line, cfg->arch->intx_first,
			cfg->arch->intx_first + MM_INTX_LINES - 1);
	else if (other)
		cfg_err(errs, &irq->pos, "intr %s:%u is taken by '%s' (%s:%u:%u)", irq->pic,
			irq->line, other->cfg.name, other->pos.file, other->pos.line,
			other->pos.col);
	lines->owner[irq->line] = v;
}

static void check_given_irqs(const struct vm_cfg *cfg, struct lines *lines, size_t n,
			     struct cf_errors *errs)
{
	const struct cfg_vdev *v = &cfg->vdevs[n];
	for (unsigned k = 0; k < v->n_irqs; k++) {
		const struct cfg_irq *irq = &v->irqs[k];
		/* A line that was chosen is right, wherever its controller stands. */
		if (irq->automatic && !v->on_pci)
			lines->owner[irq->line] = v;
		if (irq->none || irq->automatic)
			continue;
		if (v->on_pci)
			cfg_err(errs, &irq->pos, "intr: the interrupt of a PCI device is the bus's "
				"affair: leave it out, or give loc as well for a device in memory");
		else if (pic_ok(cfg, n, irq, errs) && line_ok(cfg, irq, errs))
			check_line(cfg, lines, v, irq, errs);
	}
}

static void check_reserved(const struct vm_cfg *cfg, struct lines *lines, struct cf_errors *errs)
{
	for (size_t i = 0; i < cfg->n_reserves; i++) {
		const struct cfg_reserve *r = &cfg->reserves[i];
		if (!r->is_irq)
			continue;
		if (lines->pci && is_intx(cfg, r->irq))
			cfg_err(errs, &r->pos, "reserve intr %u: lines %u to %u belong to the PCI "
				"bus", r->irq, cfg->arch->intx_first,
				cfg->arch->intx_first + MM_INTX_LINES - 1);
		lines->reserved[r->irq] = true;
	}
}

/* Nobody has @line, or who has it shares it with @v. */
static bool line_is_free(const struct vm_cfg *cfg, const struct lines *lines,
			 const struct cfg_vdev *v, unsigned line)
{
	const struct cfg_vdev *other = lines->owner[line];
	if (!other)
		return true;
	for (size_t i = 0; i < cfg->arch->n_held_lines; i++) {
		const struct cfg_held_line *h = &cfg->arch->held_lines[i];
		if (h->line == line && cfg_type_among(h->types, v->type->name) &&
		    cfg_type_among(h->types, other->type->name))
			return true;
	}
	return false;
}

/* The usual line of a vdev at its usual place, or the first free one; -1: none is left. */
static int line_choose(const struct vm_cfg *cfg, const struct lines *lines,
		       const struct cfg_vdev *v)
{
	for (size_t i = 0; i < cfg->arch->n_std_lines; i++) {
		const struct cfg_std_line *s = &cfg->arch->std_lines[i];
		if (!strcmp(s->type, v->type->name) && s->space == v->cfg.space &&
		    s->base == v->cfg.base && line_is_free(cfg, lines, v, s->line) &&
		    !lines->reserved[s->line])
			return (int)s->line;
	}
	for (size_t i = 0; i < cfg->arch->n_auto_lines; i++) {
		unsigned line = cfg->arch->auto_lines[i];
		if (!lines->owner[line] && !lines->reserved[line])
			return (int)line;
	}
	return -1;
}

static void choose_irq(struct vm_cfg *cfg, struct lines *lines, struct cfg_vdev *v,
		       struct cf_errors *errs)
{
	const char *pic = pic_name(cfg);
	int line = -1;
	/* The PICs have none to choose. */
	if (v->type && v->type->flags & VD_HOST_MADE && !v->type->default_base)
		return;
	if (!v->type || v->n_irqs || v->irqs_bad || v->loc_bad || v->type->max_irqs == 0 ||
	    v->type->flags & VD_IMPLICIT)
		return;
	if (!pic && !v->on_pci && v->type->flags & VD_PCI_CAPABLE) {
		v->irqs_bad = true;
		cfg_err(errs, &v->pos, "vdev %s with loc needs an interrupt, and there is no "
			"interrupt controller: write 'vdev ioapic loc 0xfec00000 intr apic name "
			"myioapic' before it", v->type->name);
	}
	if (!pic || (v->on_pci && v->pci_dev < 0))
		return;
	if (v->on_pci)
		line = (int)(cfg->arch->intx_first + (unsigned)v->pci_dev % MM_INTX_LINES);
	else
		line = line_choose(cfg, lines, v);
	if (line < 0) {
		cfg_err(errs, &v->pos, "vdev %s: no interrupt is free: give it intr",
			v->type->name);
		return;
	}
	if (!v->on_pci)
		lines->owner[line] = v;
	v->irqs[v->n_irqs++] = (struct cfg_irq){
		.pic = pic, .line = (unsigned)line, .automatic = true, .pos = v->pos
	};
}

void cfg_check_irqs(struct vm_cfg *cfg, struct cf_errors *errs)
{
	struct lines lines = { .pci = false };
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		lines.pci |= cfg->vdevs[i].type && cfg->vdevs[i].on_pci;
	check_reserved(cfg, &lines, errs);
	const struct cfg_msi_frame frame = cfg_gic_frame(cfg);
	for (unsigned i = 0; i < frame.count; i++)
		lines.reserved[frame.first + i] = true;
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		if (cfg->vdevs[i].type)
			check_given_irqs(cfg, &lines, i, errs);
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		choose_irq(cfg, &lines, &cfg->vdevs[i], errs);
}
