/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows that vdevs need besides the one at their loc (vd_type.more_bytes), and that nobody gives
 * a place: the checker does, highest first below MM_AUTO_TOP, where 32-bit guests reach them, else
 * lowest first from 4 GiB on; clear of RAM, of what the machine uses, of other vdevs and of what is
 * reserved. The same each time the same configuration is read; a choice that still holds is kept.
 * Main thread.
 */
#include "qvm/cfg_int.h"
#include "qvm/memmap.h"

#define ALIGN (2ull << 20)	/* so that a host may map it in large pages */
#define LOWEST (1ull << 20)
#define GIB_4 (1ull << 32)

struct span {
	uint64_t base, len_bytes;
};

static bool hit(uint64_t base, uint64_t len_bytes, struct span want, struct span *ret)
{
	if (!qspan_overlap(want.base, want.len_bytes, base, len_bytes))
		return false;
	*ret = (struct span){ base, len_bytes };
	return true;
}

static bool hits_vdev(const struct cfg_vdev *v, struct span want, struct span *ret)
{
	const struct vd_config *c = &v->cfg;

	if (!v->type || v->on_pci || v->loc_bad)
		return false;
	return (c->space == VD_MEM && hit(c->base, c->len_bytes, want, ret)) ||
	       (c->more_base && hit(c->more_base, c->more_bytes, want, ret));
}

/* Something that stands in @want. @self is not asked. */
static bool in_the_way(const struct vm_cfg *cfg, const struct cfg_vdev *self, struct span want,
		       struct span *ret)
{
	for (size_t i = 0; i < cfg->arch->n_windows; i++) {
		const struct cfg_window *w = &cfg->arch->windows[i];
		if (w->space == VD_MEM && !w->vdevs_may &&
		    hit(w->base, w->len_bytes, want, ret))
			return true;
	}
	for (size_t i = 0; i < cfg->n_ram; i++)
		if (hit(cfg->ram[i].gpa, cfg->ram[i].len_bytes, want, ret))
			return true;
	for (size_t i = 0; i < cfg->n_reserves; i++) {
		const struct cfg_reserve *r = &cfg->reserves[i];
		if (!r->is_irq && r->space == VD_MEM && hit(r->base, r->len_bytes, want, ret))
			return true;
	}
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		if (&cfg->vdevs[i] != self && hits_vdev(&cfg->vdevs[i], want, ret))
			return true;
	return false;
}

/* The highest free place below MM_AUTO_TOP; 0: there is none. */
static uint64_t place_below(const struct vm_cfg *cfg, const struct cfg_vdev *v, uint64_t len)
{
	uint64_t top = MM_AUTO_TOP;

	while (top >= LOWEST && top - LOWEST >= len) {
		const struct span want = { (top - len) & ~(ALIGN - 1), len };
		struct span other;

		if (want.base < LOWEST)
			return 0;
		if (!in_the_way(cfg, v, want, &other))
			return want.base;
		/* What begins above want.base still leaves room below itself. */
		top = Q_MIN(other.base, top - 1);
	}
	return 0;
}

/* The lowest above 4 GiB; 0: there is none. */
static uint64_t place_above(const struct vm_cfg *cfg, const struct cfg_vdev *v, uint64_t len)
{
	struct span want = { GIB_4, len }, other;

	while (qspan_inside(want.base, len, cfg->arch->addr_limit)) {
		if (!in_the_way(cfg, v, want, &other))
			return want.base;
		want.base = Q_ALIGN_UP(other.base + other.len_bytes, ALIGN);
	}
	return 0;
}

static void place_one(struct vm_cfg *cfg, struct cfg_vdev *v, struct cf_errors *errs)
{
	const uint64_t len = v->type->more_bytes(&v->cfg);
	const struct span now = { v->cfg.more_base, len };
	struct span other;

	/* A wrong length is the type's to tell. */
	if (!len || len > cfg->arch->addr_limit / 2)
		return;
	if (now.base && v->cfg.more_bytes == len && !in_the_way(cfg, v, now, &other))
		return;
	v->cfg.more_bytes = len;
	v->cfg.more_base = 0;
	v->cfg.more_base = place_below(cfg, v, len);
	if (!v->cfg.more_base)
		v->cfg.more_base = place_above(cfg, v, len);
	if (!v->cfg.more_base)
		cfg_err(errs, &v->pos, "vdev %s: there is no room for its window of 0x%" PRIx64
			" bytes", v->type->name, len);
}

void cfg_check_windows(struct vm_cfg *cfg, struct cf_errors *errs)
{
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		struct cfg_vdev *v = &cfg->vdevs[i];
		if (v->type && v->type->more_bytes && !v->on_pci && !v->loc_bad && v->loc_given)
			place_one(cfg, v, errs);
	}
}
