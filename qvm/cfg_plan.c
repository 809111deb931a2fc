/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: what would run, as text for people and as JSON for programs. Says all that was chosen,
 * so that a dry run answers what a guest will find where. Main thread, reads only.
 */
#include <errno.h>
#include <jansson.h>

#include "qvm/cfg_int.h"

#define SCHEMA 1

static const char *const sched_words[] = {
	[CFG_SCHED_INHERIT] = "inherit",
	[CFG_SCHED_RR] = "rr",
	[CFG_SCHED_FIFO] = "fifo",
	[CFG_SCHED_OTHER] = "other",
	[CFG_SCHED_SPORADIC] = "sporadic",
};
static const char *const dest_words[] = {
	[CFG_LOG_STDERR] = "stderr",
	[CFG_LOG_STDOUT] = "stdout",
	[CFG_LOG_SLOG] = "slog",
	[CFG_LOG_NONE] = "none",
};
static const char *const space_words[] = {
	[VD_MEM] = "mem",
	[VD_IO] = "io",
	[VD_PCI] = "pci",
};

/* ---- text ---- */

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
		fprintf(to, "cpu     %zu %s", i, sched_words[c->policy]);
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
	fprintf(to, " %s", dest_words[l->dest]);
}

static void vdev_print(const struct cfg_vdev *v, FILE *to)
{
	fprintf(to, "vdev    %s: %s", v->cfg.name, v->type->name);
	if (v->on_pci)
		fprintf(to, " pci:0:%d.0", v->pci_dev);
	else if (!(v->type->flags & VD_IMPLICIT))
		fprintf(to, " %s:0x%" PRIx64 ",0x%" PRIx64, space_words[v->cfg.space], v->cfg.base,
			v->cfg.len_bytes);
	for (unsigned i = 0; i < v->n_irqs; i++) {
		const struct cfg_irq *irq = &v->irqs[i];
		if (irq->none)
			fprintf(to, " intr %s", irq->pic);
		else
			fprintf(to, " intr %s:%u%s", irq->pic, irq->line,
				irq->automatic ? " (chosen)" : "");
	}
	for (size_t i = 0; i < v->cfg.n_args; i++) {
		const struct vd_arg *a = &v->cfg.args[i];
		fprintf(to, " %s%s%s", a->opt->name, a->text ? " " : "",
			a->text ? CFG_SHOW(a->text) : "");
	}
	fputc('\n', to);
}

static void reserve_print(const struct cfg_reserve *r, FILE *to)
{
	if (r->is_irq)
		fprintf(to, "reserve intr %u\n", r->irq);
	else if (r->space == VD_PCI)
		fprintf(to, "reserve pci:%u:%u.%u\n", (unsigned)(r->base >> 8),
			(unsigned)(r->base >> 3 & 31), (unsigned)(r->base & 7));
	else
		fprintf(to, "reserve %s:0x%" PRIx64 ",0x%" PRIx64 "\n", space_words[r->space],
			r->base, r->len_bytes);
}

static void text_print(const struct vm_cfg *cfg, FILE *to)
{
	fprintf(to, "system  %s (%s)\n", cfg->system, cfg->arch->name);
	for (size_t i = 0; i < cfg->n_ram; i++) {
		const struct cfg_ram *r = &cfg->ram[i];
		fprintf(to, "%s     0x%" PRIx64 "-0x%" PRIx64 " ", r->rom ? "rom" : "ram", r->gpa,
			r->gpa + r->len_bytes - 1);
		size_print(to, r->len_bytes);
		fputs(r->automatic ? " (chosen)\n" : "\n", to);
	}
	cpus_print(cfg, to);
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
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		vdev_print(&cfg->vdevs[i], to);
	for (size_t i = 0; i < cfg->n_reserves; i++)
		reserve_print(&cfg->reserves[i], to);
	for (size_t i = 0; i < cfg->n_loggers; i++) {
		logger_print(to, "logger ", &cfg->loggers[i]);
		fputc('\n', to);
	}
	if (!cfg->exit_on_halt)
		fputs("set     exit-on-halt off\n", to);
	if (cfg->fdt_dump_file)
		fprintf(to, "set     fdt-dump-file %s\n", cfg->fdt_dump_file);
}

/* ---- JSON; jansson takes NULL for any value and fails, so only the ends are looked at ---- */

/* JSON is UTF-8: another string is shown escaped. */
static json_t *text_json(const char *text)
{
	json_t *j = json_string(text);
	return j ? j : json_string(CFG_SHOW(text));
}

static json_t *int_json(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static json_t *ram_json(const struct cfg_ram *r)
{
	return json_pack("{s:s, s:o, s:o, s:b}", "kind", r->rom ? "rom" : "ram", "address",
			 int_json(r->gpa), "bytes", int_json(r->len_bytes), "chosen",
			 r->automatic);
}

static json_t *cpu_json(const struct cfg_cpu *c)
{
	json_t *mask = json_array();
	int r = 0;
	for (unsigned n = 0; n < 256; n++)
		if (c->runmask[n / 64] >> n % 64 & 1)
			r |= json_array_append_new(mask, int_json(n));
	json_t *j = json_pack("{s:s, s:o}", "sched", sched_words[c->policy], "runmask", mask);
	if (c->policy == CFG_SCHED_SPORADIC || c->policy == CFG_SCHED_RR ||
	    c->policy == CFG_SCHED_FIFO)
		r |= json_object_set_new(j, "priority", int_json(c->prio));
	if (c->policy == CFG_SCHED_SPORADIC) {
		r |= json_object_set_new(j, "low_priority", int_json(c->low_prio));
		r |= json_object_set_new(j, "replenishments", int_json(c->max_repl));
		r |= json_object_set_new(j, "period_ns", int_json(c->repl_period_ns));
		r |= json_object_set_new(j, "budget_ns", int_json(c->budget_ns));
	}
	if (r == 0)
		return j;
	json_decref(j);
	return NULL;
}

static json_t *load_json(const struct cfg_load *l)
{
	const char *type = cfg_load_type_str(l->type);
	json_t *j = json_pack("{s:s, s:o}", "type", *type ? type : "sniff", "path",
			      text_json(l->path));
	if (!l->has_addr || json_object_set_new(j, "address", int_json(l->gpa)) == 0)
		return j;
	json_decref(j);
	return NULL;
}

static json_t *irq_json(const struct cfg_irq *irq)
{
	if (irq->none)
		return json_pack("{s:s}", "pic", irq->pic);
	return json_pack("{s:s, s:o, s:b}", "pic", irq->pic, "line", int_json(irq->line), "chosen",
			 irq->automatic);
}

static json_t *logger_json(const struct cfg_logger *l)
{
	json_t *severities = json_array();
	for (unsigned sev = 0; sev < QLOG_SEVS; sev++)
		if (l->mask & QLOG_BIT(sev))
			json_array_append_new(severities,
					      json_string(qlog_sev_str((enum qlog_sev)sev)));
	return json_pack("{s:o, s:s}", "severities", severities, "destination",
			 dest_words[l->dest]);
}

static json_t *reserve_json(const struct cfg_reserve *r)
{
	if (r->is_irq)
		return json_pack("{s:o}", "intr", int_json(r->irq));
	return json_pack("{s:s, s:o, s:o}", "space", space_words[r->space], "address",
			 int_json(r->base), "bytes", int_json(r->len_bytes));
}

static json_t *arg_json(const struct vd_arg *a)
{
	return json_pack("{s:s, s:o}", "option", a->opt->name, "value",
			 a->text ? text_json(a->text) : json_true());
}

static json_t *vdev_json(const struct cfg_vdev *v)
{
	json_t *irqs = json_array(), *args = json_array();
	int r = 0;
	for (unsigned i = 0; i < v->n_irqs; i++)
		r |= json_array_append_new(irqs, irq_json(&v->irqs[i]));
	for (size_t i = 0; i < v->cfg.n_args; i++)
		r |= json_array_append_new(args, arg_json(&v->cfg.args[i]));
	json_t *j = json_pack("{s:s, s:s, s:o, s:o}", "name", v->cfg.name, "type",
			      v->type->name, "intr", irqs, "options", args);
	if (v->on_pci) {
		r |= json_object_set_new(j, "pci_slot", json_integer(v->pci_dev));
	} else if (!(v->type->flags & VD_IMPLICIT)) {
		r |= json_object_set_new(j, "space", json_string(space_words[v->cfg.space]));
		r |= json_object_set_new(j, "address", int_json(v->cfg.base));
		r |= json_object_set_new(j, "bytes", int_json(v->cfg.len_bytes));
	}
	if (r == 0)
		return j;
	json_decref(j);
	return NULL;
}

/* Adds the array @name of @n elements, each made by @make from @size bytes at @v. */
#define ARRAY_JSON(root, name, v, n, make)                                                         \
	({                                                                                         \
		json_t *array_ = json_array();                                                     \
		int r_ = 0;                                                                        \
		for (size_t i_ = 0; i_ < (n); i_++)                                                \
			r_ |= json_array_append_new(array_, make(&(v)[i_]));                       \
		r_ | json_object_set_new(root, name, array_);                                      \
	})

static int fill_json(const struct vm_cfg *cfg, json_t *root)
{
	int r = 0;
	r |= json_object_set_new(root, "schema", json_integer(SCHEMA));
	r |= json_object_set_new(root, "system", json_string(cfg->system));
	r |= json_object_set_new(root, "arch", json_string(cfg->arch->name));
	r |= ARRAY_JSON(root, "memory", cfg->ram, cfg->n_ram, ram_json);
	r |= ARRAY_JSON(root, "cpus", cfg->cpus, cfg->n_cpus, cpu_json);
	r |= ARRAY_JSON(root, "loads", cfg->loads, cfg->n_loads, load_json);
	r |= json_object_set_new(root, "cmdline",
				 cfg->cmdline ? text_json(cfg->cmdline) : json_null());
	r |= ARRAY_JSON(root, "vdevs", cfg->vdevs, cfg->n_vdevs, vdev_json);
	r |= ARRAY_JSON(root, "reserves", cfg->reserves, cfg->n_reserves, reserve_json);
	r |= ARRAY_JSON(root, "loggers", cfg->loggers, cfg->n_loggers, logger_json);
	r |= json_object_set_new(root, "exit_on_halt", json_boolean(cfg->exit_on_halt));
	r |= json_object_set_new(root, "fdt_dump_file", cfg->fdt_dump_file ?
				 text_json(cfg->fdt_dump_file) : json_null());
	return r;
}

static void json_clean(json_t **j)
{
	json_decref(*j);
}

int cfg_plan_print(const struct vm_cfg *cfg, FILE *to, bool json)
{
	if (!json) {
		text_print(cfg, to);
		return ferror(to) ? -EIO : 0;
	}
	json_t *root QCLEAN(json_clean) = json_object();
	if (!root || fill_json(cfg, root))
		return -ENOMEM;
	if (json_dumpf(root, to, JSON_INDENT(2)) || fputc('\n', to) == EOF)
		return -EIO;
	return 0;
}
