/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collecting what stands where: memory and vdevs of the configuration, and what the machine has
 * itself. See cfg_map.h. Main thread.
 */
#include "qvm/cfg_map.h"

#include <errno.h>
#include <stdlib.h>

#include "qvm/cfg_arch.h"
#include "qvm/cfg_gic.h"
#include "qvm/cfg_int.h"
#include "qvm/memmap.h"

void cfg_map_fini(struct cfg_map *m)
{
	free(m->v);
	free(m->irqs);
	*m = CFG_MAP_NULL;
}

static int map_add(struct cfg_map *m, const struct cfg_map_entry *e)
{
	if (!cfg_grow(&m->v, m->n, sizeof(*m->v)))
		return -ENOMEM;
	m->v[m->n++] = *e;
	return 0;
}

static int irq_add(struct cfg_map *m, unsigned line, unsigned n_lines, const char *what,
		   enum cfg_map_kind kind)
{
	if (!cfg_grow(&m->irqs, m->n_irqs, sizeof(*m->irqs)))
		return -ENOMEM;
	m->irqs[m->n_irqs++] = (struct cfg_map_irq){ line, n_lines, what, kind };
	return 0;
}

/* ---- address spaces ---- */

static bool has_window(const struct cfg_vdev *v)
{
	return !v->on_pci && v->cfg.space != VD_PCI && !(v->type->flags & VD_IMPLICIT);
}

/* A vdev that speaks for the window stands in its stead. */
static bool is_spoken_for(const struct vm_cfg *cfg, const struct cfg_window *w)
{
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		if (has_window(v) && cfg_type_among(w->types, v->type->name) &&
		    v->cfg.space == w->space &&
		    qspan_overlap(v->cfg.base, v->cfg.len_bytes, w->base, w->len_bytes))
			return true;
	}
	return false;
}

/* What only the other version of a GIC has; without a version it is the host's choice. */
static bool is_of_other_gic(const struct vm_cfg *cfg, const struct cfg_window *w)
{
	switch (cfg->arch == &cfg_arch_arm64 ? cfg_gic_version(cfg) : 0) {
	case 2:
		return w->base == MM_ARM64_GICR_BASE || w->base == MM_ARM64_ITS_BASE;
	case 3:
		return w->base == MM_ARM64_GICC_BASE;
	default:
		return false;
	}
}

static int add_machine(const struct vm_cfg *cfg, struct cfg_map *m)
{
	const struct cfg_msi_frame f = cfg_gic_frame(cfg);
	int r = 0;
	if (f.base)
		r = map_add(m, &(struct cfg_map_entry){
			.space = VD_MEM, .base = f.base, .len_bytes = CFG_MSI_FRAME_BYTES,
			.kind = CFG_MAP_MACHINE, .what = "the GIC's MSI frame",
		});
	for (size_t i = 0; r == 0 && i < cfg->arch->n_windows; i++) {
		const struct cfg_window *w = &cfg->arch->windows[i];
		if (!w->vdevs_may && !is_spoken_for(cfg, w) && !is_of_other_gic(cfg, w))
			r = map_add(m, &(struct cfg_map_entry){
				.space = w->space, .base = w->base, .len_bytes = w->len_bytes,
				.kind = CFG_MAP_MACHINE, .what = w->what,
			});
	}
	return r;
}

static int add_memory(const struct vm_cfg *cfg, struct cfg_map *m)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < cfg->n_ram; i++) {
		const struct cfg_ram *ram = &cfg->ram[i];
		r = map_add(m, &(struct cfg_map_entry){
			.space = VD_MEM, .base = ram->gpa, .len_bytes = ram->len_bytes,
			.kind = ram->rom ? CFG_MAP_ROM : CFG_MAP_RAM,
			.what = ram->rom ? "rom" : "ram", .chosen = ram->automatic,
		});
	}
	for (size_t i = 0; r == 0 && i < cfg->n_reserves; i++) {
		const struct cfg_reserve *res = &cfg->reserves[i];
		if (!res->is_irq && res->space != VD_PCI)
			r = map_add(m, &(struct cfg_map_entry){
				.space = res->space, .base = res->base,
				.len_bytes = res->len_bytes, .kind = CFG_MAP_RESERVED,
				.what = "reserved",
			});
	}
	return r;
}

static int add_vdevs(const struct vm_cfg *cfg, struct cfg_map *m)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		if (has_window(v))
			r = map_add(m, &(struct cfg_map_entry){
				.space = v->cfg.space, .base = v->cfg.base,
				.len_bytes = v->cfg.len_bytes, .kind = CFG_MAP_VDEV,
				.what = v->cfg.name,
			});
		if (r == 0 && !v->on_pci && v->cfg.more_base)
			r = map_add(m, &(struct cfg_map_entry){
				.space = VD_MEM, .base = v->cfg.more_base,
				.len_bytes = v->cfg.more_bytes, .kind = CFG_MAP_VDEV,
				.what = v->cfg.name, .chosen = true,
			});
	}
	return r;
}

static int by_place(const void *a, const void *b)
{
	const struct cfg_map_entry *x = a, *y = b;
	if (x->space != y->space)
		return x->space == VD_MEM ? -1 : 1;
	if (x->base != y->base)
		return x->base < y->base ? -1 : 1;
	return (x->kind > y->kind) - (x->kind < y->kind);
}

/* ---- interrupts ---- */

static int add_vdev_irqs(const struct vm_cfg *cfg, struct cfg_map *m, bool *ret_pci)
{
	int r = 0;
	*ret_pci = false;
	for (size_t i = 0; r == 0 && i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		*ret_pci |= v->on_pci;
		for (unsigned k = 0; r == 0 && k < v->n_irqs; k++)
			if (!v->irqs[k].none)
				r = irq_add(m, v->irqs[k].line, 1, v->cfg.name, CFG_MAP_VDEV);
	}
	return r;
}

/* True when a vdev that may have this line has it: then the machine's word adds nothing. */
static bool is_held_by_vdev(const struct vm_cfg *cfg, const struct cfg_held_line *h)
{
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		for (unsigned k = 0; k < v->n_irqs; k++)
			if (!v->irqs[k].none && v->irqs[k].line == h->line &&
			    cfg_type_among(h->types, v->type->name))
				return true;
	}
	return false;
}

static int add_irqs(const struct vm_cfg *cfg, struct cfg_map *m)
{
	bool pci;
	int r = add_vdev_irqs(cfg, m, &pci);
	for (size_t i = 0; r == 0 && i < cfg->arch->n_held_lines; i++) {
		const struct cfg_held_line *h = &cfg->arch->held_lines[i];
		if (h->what && !is_held_by_vdev(cfg, h))
			r = irq_add(m, h->line, 1, h->what, CFG_MAP_MACHINE);
	}
	const struct cfg_msi_frame f = cfg_gic_frame(cfg);
	if (r == 0 && f.base)
		r = irq_add(m, f.first, f.count, "the GIC's MSI frame", CFG_MAP_MACHINE);
	if (r == 0 && pci)
		r = irq_add(m, cfg->arch->intx_first, MM_INTX_LINES, "the PCI bus",
			    CFG_MAP_MACHINE);
	for (size_t i = 0; r == 0 && i < cfg->n_reserves; i++)
		if (cfg->reserves[i].is_irq)
			r = irq_add(m, cfg->reserves[i].irq, 1, "reserved", CFG_MAP_RESERVED);
	return r;
}

static int by_line(const void *a, const void *b)
{
	const struct cfg_map_irq *x = a, *y = b;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->n_lines != y->n_lines)
		return x->n_lines > y->n_lines ? -1 : 1;
	return strcmp(x->what, y->what);
}

int cfg_map_make(const struct vm_cfg *cfg, struct cfg_map *ret)
{
	*ret = CFG_MAP_NULL;
	const struct cfg_vdev *pic = cfg_vdev_of_type(cfg, cfg->arch->pic_type);
	ret->pic = pic ? pic->cfg.name : cfg->arch->pic_type;
	int r = add_memory(cfg, ret);
	if (r == 0)
		r = add_vdevs(cfg, ret);
	if (r == 0)
		r = add_machine(cfg, ret);
	if (r == 0)
		r = add_irqs(cfg, ret);
	if (r < 0)
		return r;
	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_place);
	if (ret->n_irqs)
		qsort(ret->irqs, ret->n_irqs, sizeof(*ret->irqs), by_line);
	return 0;
}

/* ---- what stands behind a vdev ---- */

const char *cfg_model_str(enum cfg_model model)
{
	static const char *const words[] = {
		[CFG_MODEL_NONE] = "none",
		[CFG_MODEL_KERNEL] = "kernel",
		[CFG_MODEL_EXCLUSIVE] = "exclusive",
		[CFG_MODEL_MEDIATED] = "mediated",
		[CFG_MODEL_REFERRED] = "referred",
		[CFG_MODEL_BACKEND] = "backend",
		[CFG_MODEL_PEER] = "peer",
		[CFG_MODEL_SHARED] = "shared",
	};
	static_assert(Q_ARRAY_LEN(words) == CFG_MODELS, "every model has a word");
	return words[model];
}

static enum cfg_model model_of_hostdev(const char *text, const char **ret_what)
{
	static const struct {
		const char *prefix;
		enum cfg_model model;
	} forms[] = {
		{ "mediator:", CFG_MODEL_MEDIATED },
		{ "refer:", CFG_MODEL_REFERRED },
		{ "vhost-user:", CFG_MODEL_BACKEND },
	};
	for (size_t i = 0; i < Q_ARRAY_LEN(forms); i++) {
		if (!strncmp(text, forms[i].prefix, strlen(forms[i].prefix))) {
			*ret_what = text + strlen(forms[i].prefix);
			return forms[i].model;
		}
	}
	*ret_what = text;
	return CFG_MODEL_EXCLUSIVE;
}

enum cfg_model cfg_model_of(const struct cfg_vdev *v, const char **ret_what)
{
	const struct vd_arg *hostdev = vd_arg_find(&v->cfg, "hostdev");
	const struct vd_arg *peer = vd_arg_find(&v->cfg, "peer");
	*ret_what = NULL;
	if (hostdev && hostdev->text)
		return model_of_hostdev(hostdev->text, ret_what);
	if (!peer)
		peer = vd_arg_find(&v->cfg, "tapdev");
	if (peer && peer->text) {
		*ret_what = peer->text;
		return CFG_MODEL_PEER;
	}
	if (!strcmp(v->type->name, "shmem"))
		return CFG_MODEL_SHARED;
	return v->type->flags & VD_HOST_MADE ? CFG_MODEL_KERNEL : CFG_MODEL_NONE;
}
