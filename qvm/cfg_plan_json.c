/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan as JSON, for programs: the same facts as the text. Members are added, never changed,
 * within a schema number. Main thread, reads only.
 */
#include <errno.h>
#include <jansson.h>

#include "qvm/cfg_int.h"
#include "qvm/cfg_map.h"

#define SCHEMA 1

/* jansson takes NULL for any value and fails, so only the ends are looked at. */

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

/* Where it stands in the configuration; what was chosen stands nowhere. */
static int add_pos(json_t *j, const char *member, const struct cf_pos *pos)
{
	if (!pos->file)
		return 0;
	return json_object_set_new(j, member, json_pack("{s:o, s:i, s:i}", "file",
						      text_json(pos->file), "line",
						      (int)pos->line, "column", (int)pos->col));
}

static json_t *ram_json(const struct cfg_ram *r)
{
	json_t *j = json_pack("{s:s, s:o, s:o, s:b}", "kind", r->rom ? "rom" : "ram", "address",
			      int_json(r->gpa), "bytes", int_json(r->len_bytes), "chosen",
			      r->automatic);
	if (add_pos(j, "at", &r->pos) == 0)
		return j;
	json_decref(j);
	return NULL;
}

static json_t *cpu_json(const struct cfg_cpu *c)
{
	json_t *mask = json_array();
	int r = 0;
	for (unsigned n = 0; n < 256; n++)
		if (c->runmask[n / 64] >> n % 64 & 1)
			r |= json_array_append_new(mask, int_json(n));
	json_t *j = json_pack("{s:s, s:o}", "sched", cfg_sched_words[c->policy], "runmask", mask);
	if (c->policy == CFG_SCHED_SPORADIC || c->policy == CFG_SCHED_RR ||
	    c->policy == CFG_SCHED_FIFO)
		r |= json_object_set_new(j, "priority", int_json(c->prio));
	if (c->policy == CFG_SCHED_SPORADIC) {
		r |= json_object_set_new(j, "low_priority", int_json(c->low_prio));
		r |= json_object_set_new(j, "replenishments", int_json(c->max_repl));
		r |= json_object_set_new(j, "period_ns", int_json(c->repl_period_ns));
		r |= json_object_set_new(j, "budget_ns", int_json(c->budget_ns));
	}
	if (c->cluster)
		r |= json_object_set_new(j, "cluster", json_string(c->cluster));
	r |= add_pos(j, "at", &c->pos);
	if (r == 0)
		return j;
	json_decref(j);
	return NULL;
}

static json_t *map_json(const struct cfg_map_entry *e)
{
	static const char *const kinds[] = {
		[CFG_MAP_RAM] = "ram", [CFG_MAP_ROM] = "rom", [CFG_MAP_VDEV] = "vdev",
		[CFG_MAP_MACHINE] = "machine", [CFG_MAP_RESERVED] = "reserved",
	};
	return json_pack("{s:s, s:o, s:o, s:s, s:s}", "space", cfg_space_words[e->space], "address",
			 int_json(e->base), "bytes", int_json(e->len_bytes), "kind",
			 kinds[e->kind], "what", e->what);
}

static json_t *line_json(const struct cfg_map_irq *i)
{
	return json_pack("{s:o, s:o, s:s}", "line", int_json(i->line), "lines",
			 int_json(i->n_lines), "what", i->what);
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
			 cfg_dest_words[l->dest]);
}

static json_t *reserve_json(const struct cfg_reserve *r)
{
	if (r->is_irq)
		return json_pack("{s:o}", "intr", int_json(r->irq));
	return json_pack("{s:s, s:o, s:o}", "space", cfg_space_words[r->space], "address",
			 int_json(r->base), "bytes", int_json(r->len_bytes));
}

static json_t *arg_json(const struct vd_arg *a)
{
	return json_pack("{s:s, s:o}", "option", a->opt->name, "value",
			 a->text ? text_json(a->text) : json_true());
}

static int add_backing_pos(const struct cfg_vdev *v, json_t *j)
{
	static const char *const options[] = { "hostdev", "peer", "tapdev" };
	for (size_t i = 0; i < Q_ARRAY_LEN(options); i++) {
		const struct vd_arg *a = vd_arg_find(&v->cfg, options[i]);
		if (!a)
			continue;
		const struct cf_pos pos = { a->file, a->line, a->col };
		return add_pos(j, "backing_at", &pos);
	}
	return 0;
}

/* What stands behind it, and what is its own of what the VM has for all. */
static int add_host_side(const struct cfg_vdev *v, json_t *j)
{
	const char *what;
	enum cfg_model model = cfg_model_of(v, &what);
	int r = json_object_set_new(j, "model", json_string(cfg_model_str(model)));
	r |= json_object_set_new(j, "backing", what ? text_json(what) : json_null());
	r |= add_backing_pos(v, j);
	if (v->has_log)
		r |= json_object_set_new(j, "log", logger_json(&v->log));
	if (v->sched_policy != CFG_SCHED_INHERIT) {
		r |= json_object_set_new(j, "sched", json_string(cfg_sched_words[v->sched_policy]));
		r |= json_object_set_new(j, "priority", int_json(v->sched_prio));
	}
	r |= json_object_set_new(j, "debug", json_boolean(v->debug));
	r |= json_object_set_new(j, "block_timeout_ms", int_json(v->cfg.block_timeout_ms));
	if (v->host_vector != UINT64_MAX)
		r |= json_object_set_new(j, "hostvector", int_json(v->host_vector));
	return r;
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
	r |= add_host_side(v, j);
	if (v->on_pci) {
		r |= json_object_set_new(j, "pci_slot", json_integer(v->pci_dev));
	} else if (!(v->type->flags & VD_IMPLICIT)) {
		r |= json_object_set_new(j, "space", json_string(cfg_space_words[v->cfg.space]));
		r |= json_object_set_new(j, "address", int_json(v->cfg.base));
		r |= json_object_set_new(j, "bytes", int_json(v->cfg.len_bytes));
	}
	if (!v->on_pci && v->cfg.more_base) {
		r |= json_object_set_new(j, "more_address", int_json(v->cfg.more_base));
		r |= json_object_set_new(j, "more_bytes", int_json(v->cfg.more_bytes));
	}
	r |= add_pos(j, "at", &v->pos);
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

static json_t *unsupported_json(const struct vm_cfg *cfg)
{
	json_t *j = json_object();
	int r = 0;
	for (unsigned k = 0; k < CFG_UNSUP_KINDS; k++)
		r |= json_object_set_new(j, cfg_unsup_kind_words[k],
					 json_string(cfg_unsup_words[cfg->unsupported[k]]));
	if (r == 0)
		return j;
	json_decref(j);
	return NULL;
}

static int add_policies(const struct vm_cfg *cfg, json_t *root)
{
	int r = json_object_set_new(root, "unsupported", unsupported_json(cfg));
	r |= json_object_set_new(root, "safety", json_string(cfg_safety_words[cfg->safety]));
	r |= json_object_set_new(root, "dump",
				 cfg->dump_to ? text_json(cfg->dump_to) : json_null());
	r |= json_object_set_new(root, "exit_on_halt", json_boolean(cfg->exit_on_halt));
	r |= json_object_set_new(root, "fdt_dump_file", cfg->fdt_dump_file ?
				 text_json(cfg->fdt_dump_file) : json_null());
	r |= json_object_set_new(root, "counter_offset",
				 cfg->counter_offset == CFG_COUNTER_FROM_0 ?
				 json_null() : int_json(cfg->counter_offset));
	r |= json_object_set_new(root, "slog_bytes", int_json(cfg->slog_bytes));
	r |= json_object_set_new(root, "block_timeout_ms", int_json(cfg->block_timeout_ms));
	return r;
}

static int fill_json(const struct vm_cfg *cfg, const struct cfg_map *map, json_t *root)
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
	r |= ARRAY_JSON(root, "map", map->v, map->n, map_json);
	r |= json_object_set_new(root, "pic", json_string(map->pic));
	r |= ARRAY_JSON(root, "interrupts", map->irqs, map->n_irqs, line_json);
	return r | add_policies(cfg, root);
}

static void json_clean(json_t **j)
{
	json_decref(*j);
}

int cfg_plan_json(const struct vm_cfg *cfg, const struct cfg_map *map, FILE *to)
{
	json_t *root QCLEAN(json_clean) = json_object();
	if (!root || fill_json(cfg, map, root))
		return -ENOMEM;
	if (json_dumpf(root, to, JSON_INDENT(2)) || fputc('\n', to) == EOF)
		return -EIO;
	return 0;
}
