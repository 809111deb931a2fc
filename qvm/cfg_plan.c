/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: what would run, as text for people (cfg_plan_json.c has it for programs). Says all that
 * was chosen, so that a dry run answers what a guest will find where. Main thread, reads only.
 */
#include <errno.h>

#include "qvm/cfg_int.h"
#include "qvm/cfg_map.h"

const char *const cfg_sched_words[] = {
	[CFG_SCHED_INHERIT] = "inherit",
	[CFG_SCHED_RR] = "rr",
	[CFG_SCHED_FIFO] = "fifo",
	[CFG_SCHED_OTHER] = "other",
	[CFG_SCHED_SPORADIC] = "sporadic",
};
const char *const cfg_dest_words[] = {
	[CFG_LOG_STDERR] = "stderr",
	[CFG_LOG_STDOUT] = "stdout",
	[CFG_LOG_SLOG] = "slog",
	[CFG_LOG_NONE] = "none",
};
const char *const cfg_space_words[] = {
	[VD_MEM] = "mem",
	[VD_IO] = "io",
	[VD_PCI] = "pci",
};

static void size_print(FILE *to, uint64_t bytes)
{
	static const char units[] = " KMGT";
	unsigned unit = 0;
	while (bytes && bytes % 1024 == 0 && units[unit + 1]) {
		bytes /= 1024;
		unit++;
	}
	if (unit)
		fprintf(to, "%" PRIu64 " %ciB", bytes, units[unit]);
	else
		fprintf(to, "%" PRIu64 " bytes", bytes);
}

static void runmask_print(FILE *to, const uint64_t mask[4])
{
	const char *lead = " on ";
	for (unsigned n = 0; n < 256; n++) {
		if (mask[n / 64] >> n % 64 & 1) {
			fprintf(to, "%s%u", lead, n);
			lead = ",";
		}
	}
	if (lead[0] != ',')
		fputs(" floating", to);
}

static void cpus_print(const struct vm_cfg *cfg, FILE *to)
{
	for (size_t i = 0; i < cfg->n_cpus; i++) {
		const struct cfg_cpu *c = &cfg->cpus[i];
		fprintf(to, "cpu     %zu %s", i, cfg_sched_words[c->policy]);
		if (c->policy == CFG_SCHED_SPORADIC)
			fprintf(to, " high %u low %u budget %" PRIu64 " ns in %" PRIu64 " ns, %u "
				"replenishments", c->prio, c->low_prio, c->budget_ns,
				c->repl_period_ns, c->max_repl);
		else if (c->policy != CFG_SCHED_INHERIT && c->policy != CFG_SCHED_OTHER)
			fprintf(to, " %u", c->prio);
		runmask_print(to, c->runmask);
		if (c->cluster)
			fprintf(to, " (cluster %s)", c->cluster);
		fputc('\n', to);
	}
}

static void logger_print(FILE *to, const char *word, const struct cfg_logger *l)
{
	const char *lead = "";
	fprintf(to, "%s ", word);
	for (unsigned sev = 0; sev < QLOG_SEVS; sev++) {
		if (l->mask & QLOG_BIT(sev)) {
			fprintf(to, "%s%s", lead, qlog_sev_str((enum qlog_sev)sev));
			lead = ",";
		}
	}
	fprintf(to, " %s", cfg_dest_words[l->dest]);
}

static void place_print(const struct cfg_vdev *v, FILE *to)
{
	if (v->on_pci)
		fprintf(to, " pci:0:%d.0", v->pci_dev);
	else if (!(v->type->flags & VD_IMPLICIT))
		fprintf(to, " %s:0x%" PRIx64 ",0x%" PRIx64, cfg_space_words[v->cfg.space],
			v->cfg.base, v->cfg.len_bytes);
	if (!v->on_pci && v->cfg.more_base)
		fprintf(to, " and mem:0x%" PRIx64 ",0x%" PRIx64 " (chosen)", v->cfg.more_base,
			v->cfg.more_bytes);
	for (unsigned i = 0; i < v->n_irqs; i++) {
		const struct cfg_irq *irq = &v->irqs[i];
		if (irq->none)
			fprintf(to, " intr %s", irq->pic);
		else
			fprintf(to, " intr %s:%u%s", irq->pic, irq->line,
				irq->automatic ? " (chosen)" : "");
	}
}

static void own_print(const struct cfg_vdev *v, FILE *to)
{
	for (size_t i = 0; i < v->cfg.n_args; i++) {
		const struct vd_arg *a = &v->cfg.args[i];
		fprintf(to, " %s%s%s", a->opt->name, a->text ? " " : "",
			a->text ? CFG_SHOW(a->text) : "");
	}
	if (v->has_log)
		logger_print(to, " log", &v->log);
	if (v->sched_policy != CFG_SCHED_INHERIT)
		fprintf(to, " sched %u %s", v->sched_prio, cfg_sched_words[v->sched_policy]);
	if (v->host_vector != UINT64_MAX)
		fprintf(to, " hostvector %" PRIu64, v->host_vector);
	if (!v->debug)
		fputs(" debug off", to);
}

/* One line: what it is, where, what it was told, and what stands behind it. */
static void vdev_print(const struct vm_cfg *cfg, const struct cfg_vdev *v, FILE *to)
{
	const char *what;
	enum cfg_model model = cfg_model_of(v, &what);
	fprintf(to, "vdev    %s: %s", v->cfg.name, v->type->name);
	place_print(v, to);
	own_print(v, to);
	if (v->cfg.block_timeout_ms != cfg->block_timeout_ms)
		fprintf(to, " message-block-timeout %u", v->cfg.block_timeout_ms);
	if (model == CFG_MODEL_MEDIATED)
		fprintf(to, " [mediated: share %s/%s]", cfg->system, CFG_SHOW(what));
	else if (model != CFG_MODEL_NONE)
		fprintf(to, " [%s]", cfg_model_str(model));
	fputc('\n', to);
}

/* Those of memory, ports and interrupts stand in their maps. */
static void reserve_print(const struct cfg_reserve *r, FILE *to)
{
	if (!r->is_irq && r->space == VD_PCI)
		fprintf(to, "reserve pci:%u:%u.%u\n", (unsigned)(r->base >> 8),
			(unsigned)(r->base >> 3 & 31), (unsigned)(r->base & 7));
}

static void map_print(const struct cfg_map *m, FILE *to)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct cfg_map_entry *e = &m->v[i];
		fprintf(to, "%-7s 0x%" PRIx64 "-0x%" PRIx64 " ", cfg_space_words[e->space], e->base,
			e->base + e->len_bytes - 1);
		if (e->space == VD_MEM) {
			size_print(to, e->len_bytes);
			fputc(' ', to);
		}
		fprintf(to, "%s%s\n", e->what, e->chosen ? " (chosen)" : "");
	}
}

static void irqs_print(const struct cfg_map *m, FILE *to)
{
	for (size_t i = 0; i < m->n_irqs; i++) {
		const struct cfg_map_irq *irq = &m->irqs[i];
		fprintf(to, "intr    %s:%u", m->pic, irq->line);
		if (irq->n_lines > 1)
			fprintf(to, "-%u", irq->line + irq->n_lines - 1);
		fprintf(to, " %s\n", irq->what);
	}
}

static void loads_print(const struct vm_cfg *cfg, FILE *to)
{
	for (size_t i = 0; i < cfg->n_loads; i++) {
		const struct cfg_load *l = &cfg->loads[i];
		const char *type = cfg_load_type_str(l->type);
		fprintf(to, "load    %s%s%s", type, *type ? " " : "", l->path);
		if (l->has_addr)
			fprintf(to, " at 0x%" PRIx64, l->gpa);
		fputc('\n', to);
	}
	if (cfg->cmdline)
		fprintf(to, "cmdline %s\n", cfg->cmdline);
}

/* What becomes of what nobody serves, and where the VM's lines and its dumps go. */
static void policies_print(const struct vm_cfg *cfg, FILE *to)
{
	static const struct cfg_logger usual = { .mask = QLOG_DEFAULT_MASK };
	fputs("unsupported", to);
	for (unsigned k = 0; k < CFG_UNSUP_KINDS; k++)
		fprintf(to, "%s %s %s", k ? "," : "", cfg_unsup_kind_words[k],
			cfg_unsup_words[cfg->unsupported[k]]);
	fputc('\n', to);
	if (cfg->safety != CFG_SAFETY_NONE)
		fprintf(to, "safety  %s\n", cfg_safety_words[cfg->safety]);
	if (cfg->dump_to)
		fprintf(to, "dump    %s\n", CFG_SHOW(cfg->dump_to));
	for (size_t i = 0; i < Q_MAX(cfg->n_loggers, (size_t)1); i++) {
		logger_print(to, "logger ", cfg->n_loggers ? &cfg->loggers[i] : &usual);
		fputc('\n', to);
	}
}

static void sets_print(const struct vm_cfg *cfg, FILE *to)
{
	if (!cfg->exit_on_halt)
		fputs("set     exit-on-halt off\n", to);
	if (cfg->fdt_dump_file)
		fprintf(to, "set     fdt-dump-file %s\n", cfg->fdt_dump_file);
	if (cfg->counter_offset != CFG_COUNTER_FROM_0)
		fprintf(to, "set     counter-offset %" PRIu64 "\n", cfg->counter_offset);
	if (cfg->slog_bytes != CFG_SLOG_BYTES)
		fprintf(to, "set     slog-buffer %" PRIu32 "\n", cfg->slog_bytes);
	if (cfg->block_timeout_ms != CFG_BLOCK_MS)
		fprintf(to, "set     message-block-timeout %u\n", cfg->block_timeout_ms);
}

static int text_print(const struct vm_cfg *cfg, const struct cfg_map *map, FILE *to)
{
	fprintf(to, "system  %s (%s)\n", cfg->system, cfg->arch->name);
	map_print(map, to);
	cpus_print(cfg, to);
	loads_print(cfg, to);
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		vdev_print(cfg, &cfg->vdevs[i], to);
	irqs_print(map, to);
	for (size_t i = 0; i < cfg->n_reserves; i++)
		reserve_print(&cfg->reserves[i], to);
	policies_print(cfg, to);
	sets_print(cfg, to);
	return ferror(to) ? -EIO : 0;
}

static void map_clean(struct cfg_map *m)
{
	cfg_map_fini(m);
}

int cfg_plan_print(const struct vm_cfg *cfg, FILE *to, bool json)
{
	struct cfg_map map QCLEAN(map_clean) = CFG_MAP_NULL;
	int r = cfg_map_make(cfg, &map);
	if (r < 0)
		return r;
	return json ? cfg_plan_json(cfg, &map, to) : text_print(cfg, &map, to);
}
