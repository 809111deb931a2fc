/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a text as a configuration and looks at whatever comes out: it is refused with a reason, or
 * it is sound, prints as a plan, and is still sound when checked again. See cfg_sound.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "qvm/cfg_int.h"
#include "tests/fuzz/cfg_sound.h"

static void check_irqs(const struct vm_cfg *cfg, const struct cfg_vdev *v)
{
	qassert(v->n_irqs <= CFG_IRQS_MAX && v->cfg.n_irqs == v->n_irqs);
	for (unsigned i = 0; i < v->n_irqs; i++) {
		qassert(v->irqs[i].pic);
		qassert(v->irqs[i].none || v->irqs[i].line < cfg->arch->line_end);
	}
}

static void check_sound(const struct vm_cfg *cfg)
{
	qassert(cfg->system && cfg->n_cpus >= 1 && cfg->n_cpus <= cfg->arch->cpus_max);
	qassert(cfg->n_ram > 0 && cfg->n_loads > 0);
	for (size_t i = 0; i < cfg->n_ram; i++) {
		const struct cfg_ram *r = &cfg->ram[i];
		qassert(r->len_bytes > 0 && r->len_bytes % 4096 == 0 && r->gpa % 4096 == 0);
		qassert(qspan_inside(r->gpa, r->len_bytes, cfg->arch->addr_limit));
		qassert(i == 0 || r->gpa - r[-1].gpa >= r[-1].len_bytes);
	}
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		qassert(v->type && v->cfg.name && v->cfg.type);
		qassert(v->on_pci == (v->pci_dev > 0) && v->pci_dev < 32);
		qassert(v->on_pci == (v->cfg.space == VD_PCI));
		check_irqs(cfg, v);
	}
}

static void print_plan(const struct vm_cfg *cfg, bool json)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	qassert(f);
	qassert(cfg_plan_print(cfg, f, json) == 0);
	qassert(fclose(f) == 0 && len > 0);
	free(text);
}

bool cfg_sound_read(const struct cfg_arch *arch, const char *text, size_t len)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct vm_cfg *cfg = NULL;
	int r = cfg_parse_text(arch, "fuzz", text, len, &errs, &cfg);
	qassert((r == 0) == (cfg != NULL));
	qassert((r == 0) == cf_errors_ok(&errs));
	if (cfg) {
		check_sound(cfg);
		print_plan(cfg, false);
		print_plan(cfg, true);
		qassert(cfg_check(cfg, &errs) == 0 && cf_errors_ok(&errs));
		check_sound(cfg);
	}
	bool taken = cfg;
	cfg_free(cfg);
	cf_errors_fini(&errs);
	return taken;
}
