/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table and the walk over the tokens: which option may stand where, how many arguments
 * it takes, what this version refuses and what to write instead. One context at a time; an option
 * of type (c) (ram, load, …) leaves it as it is. After a mistake, words that are no option are
 * skipped until one is, so that one mistake is told once. Main thread.
 */
#include "qvm/cfg_int.h"

#define NEXT " is not served yet: "

/* Rows of one name stand for one context each. */
const struct cfg_opt cfg_opts[] = {
	{ "system", CTX_ANY, 1, "a name", cfg_opt_system, NULL },
	{ "ram", CTX_ANY, 1, "[address,]length", cfg_opt_ram, NULL },
	{ "rom", CTX_ANY, 1, "[address,]length", cfg_opt_rom, NULL },
	{ "cpu", CTX_ANY, 0, NULL, cfg_opt_cpu, NULL },
	{ "sched", CTX_CPU, 1, "a priority", cfg_opt_sched, NULL },
	{ "runmask", CTX_CPU, 1, "the numbers of host CPUs", cfg_opt_runmask, NULL },
	{ "cluster", CTX_CPU, 1, "the name of a group of host CPUs", cfg_opt_cluster, NULL },
	{ "partition", CTX_CPU, 1, "a name", NULL,
	  ": Linux has no adaptive partitions; for a guaranteed share use sched with a budget" },
	{ "load", CTX_ANY, 1, "[address,]file", cfg_opt_load, NULL },
	{ "guest", CTX_ANY, 2, "load [address,]file", cfg_opt_typed, NULL },
	{ "initrd", CTX_ANY, 2, "load [address,]file", cfg_opt_typed, NULL },
	{ "fdt", CTX_ANY, 2, "load [address,]file", cfg_opt_typed, NULL },
	{ "acpi", CTX_ANY, 2, "load [address,]file", cfg_opt_typed, NULL },
	{ "data", CTX_ANY, 2, "load [address,]file", cfg_opt_typed, NULL },
	{ "cmdline", CTX_ANY, 1, "a string", cfg_opt_cmdline, NULL },
	{ "vdev", CTX_ANY, 1, "a type", cfg_opt_vdev, NULL },
	{ "name", CTX_VDEV, 1, "a name", cfg_opt_vdev_name, NULL },
	{ "loc", CTX_VDEV, 1, "[space:]address", cfg_opt_vdev_loc, NULL },
	{ "intr", CTX_VDEV, 1, "pic:line", cfg_opt_vdev_intr, NULL },
	{ "log", CTX_VDEV, 2, "severities and a destination", cfg_opt_vdev_log, NULL },
	{ "sched", CTX_VDEV, 1, "a priority", cfg_opt_vdev_sched, NULL },
	{ "hostvector", CTX_VDEV, 1, "a number", cfg_opt_vdev_hostvector, NULL },
	{ "intrmap", CTX_VDEV, 1, "pic:line", NULL, " is the old form: write intr pic:line" },
	{ "reserve", CTX_ANY, 0, NULL, cfg_opt_reserve, NULL },
	{ "loc", CTX_RESERVE, 1, "[space:]address,length", cfg_opt_reserve_loc, NULL },
	{ "intr", CTX_RESERVE, 1, "a number", cfg_opt_reserve_intr, NULL },
	{ "logger", CTX_ANY, 2, "severities and a destination", cfg_opt_logger, NULL },
	{ "set", CTX_ANY, 2, "a variable and a value", cfg_opt_set, NULL },
	{ "dryrun", CTX_ANY, 0, NULL, cfg_opt_dryrun, NULL },
	{ "pass", CTX_ANY, 0, NULL, cfg_opt_pass, NULL },
	{ "loc", CTX_PASS, 1, "[space:]address", cfg_opt_pass_loc, NULL },
	{ "intr", CTX_PASS, 1, "pic:line", cfg_opt_pass_intr, NULL },
	{ "dump", CTX_ANY, 1, "a directory or command", cfg_opt_dump, NULL },
	{ "unsupported", CTX_ANY, 2, "instruction, reference or register, and abort, fail or "
	  "ignore", cfg_opt_unsupported, NULL },
	{ "safety", CTX_ANY, 1, "none, warn or required", cfg_opt_safety, NULL },
	{ "debug", CTX_ANY, 0, NULL, cfg_opt_debug, NULL },
	{ .name = NULL },
};

/* The row for @name in @ctx; else one for another context; else NULL. */
static const struct cfg_opt *opt_find(const char *name, enum cfg_ctx ctx)
{
	const struct cfg_opt *elsewhere = NULL;
	for (const struct cfg_opt *o = cfg_opts; o->name; o++) {
		if (strcmp(o->name, name))
			continue;
		if (o->ctx & ctx)
			return o;
		if (!elsewhere)
			elsewhere = o;
	}
	return elsewhere;
}

static const char *ctx_words(unsigned ctx)
{
	if (ctx & CTX_CPU)
		return "cpu";
	if (ctx & CTX_RESERVE)
		return "reserve";
	if (ctx & CTX_PASS)
		return "pass";
	return "vdev";
}

#define NAMES_MAX 96

/* All that may stand at this point, for "did you mean". */
static size_t names_here(const struct cfg_parser *p, const char *ret_names[NAMES_MAX])
{
	size_t n = 0;
	for (const struct cfg_opt *o = cfg_opts; o->name && n < NAMES_MAX; o++)
		if (o->ctx & p->ctx)
			ret_names[n++] = o->name;
	if (p->ctx != CTX_VDEV || p->ctx_refused)
		return n;
	const struct vd_type *type = p->cfg->vdevs[p->cfg->n_vdevs - 1].type;
	for (const struct vd_option *o = type->options; o && o->name && n < NAMES_MAX; o++)
		ret_names[n++] = o->name;
	return n;
}

/* What @name would have said is lost; what needs it is not told as well. */
static void note_lost(struct cfg_parser *p, const struct cfg_tok *tok, const char *name)
{
	p->skipping = true;
	if (!strcmp(name, "ram") || !strcmp(name, "rom"))
		p->ram_seen = p->ram_lost = true;
	else if (!strcmp(name, "load") || !strcmp(name, "guest"))
		p->load_lost = true;
	else if (!strcmp(name, "vdev"))
		cfg_vdev_refused(p, tok);
}

/* What it seems to be, or NULL. */
static const char *tell_unknown(struct cfg_parser *p, const struct cfg_tok *tok)
{
	const char *names[NAMES_MAX];
	const char *near = cf_nearest(tok->text, names, names_here(p, names));
	const char *of = "", *type = "";
	if (p->ctx == CTX_VDEV && !p->ctx_refused) {
		of = " of vdev ";
		type = p->cfg->vdevs[p->cfg->n_vdevs - 1].type->name;
	}
	if (near)
		cfg_err(p->errs, &tok->pos, "'%s' is no option%s%s: did you mean '%s'?",
			CFG_SHOW(tok->text), of, type, near);
	else
		cfg_err(p->errs, &tok->pos, "'%s' is no option%s%s, and no option takes it here",
			CFG_SHOW(tok->text), of, type);
	return near;
}

const struct cfg_tok *cfg_take_args(struct cfg_parser *p, const struct cfg_tok *opt, unsigned n,
				    const char *want)
{
	const struct cfg_tok *arg = &p->toks[p->at];
	for (unsigned i = 0; i < n; i++) {
		if (p->at + i < p->n_toks && arg[i].src == opt->src)
			continue;
		cfg_err(p->errs, &opt->pos, "%s needs %s behind it%s", CFG_SHOW(opt->text), want,
			p->at + i < p->n_toks ? ", in the same file" : "");
		p->at += i;
		note_lost(p, opt, opt->text);
		return NULL;
	}
	p->at += n;
	for (unsigned i = 0; i < n; i++) {
		if (arg[i].bad) {
			note_lost(p, opt, opt->text);
			return NULL;
		}
	}
	return arg;
}

static void run_opt(struct cfg_parser *p, const struct cfg_tok *tok, const struct cfg_opt *opt)
{
	const struct cfg_tok *arg = cfg_take_args(p, tok, opt->n_args, opt->want);
	if (!arg)
		return;
	p->skipping = false;
	if (!(opt->ctx & p->ctx)) {
		cfg_err(p->errs, &tok->pos, "%s belongs to a %s, and none is open here", opt->name,
			ctx_words(opt->ctx));
		p->skipping = true;
		return;
	}
	bool told = opt->ctx != CTX_ANY && p->ctx == CTX_VDEV && p->ctx_refused;
	if (opt->refused && !told)
		cfg_err(p->errs, &tok->pos, "%s%s", opt->name, opt->refused);
	if (opt->fn)
		opt->fn(p, tok, arg);
}

/* True when @name may stand here, and then it was read. */
static bool run_name(struct cfg_parser *p, const struct cfg_tok *tok, const char *name)
{
	const struct vd_option *own = cfg_vdev_own(p, name);
	const struct cfg_opt *opt = own ? NULL : opt_find(name, p->ctx);
	if (own) {
		p->skipping = false;
		cfg_vdev_own_take(p, tok, own);
	} else if (opt) {
		run_opt(p, tok, opt);
	}
	return own || opt;
}

/* A word that is told is then read as what it seems to be, so that what follows is understood. */
static void run_tok(struct cfg_parser *p)
{
	const struct cfg_tok *tok = &p->toks[p->at++];
	if (tok->bad || run_name(p, tok, tok->text))
		return;
	if (p->skipping || (p->ctx == CTX_VDEV && p->ctx_refused))
		return;
	const char *near = tell_unknown(p, tok);
	if (near)
		run_name(p, tok, near);
	else
		p->skipping = true;
}

void cfg_run(struct cfg_parser *p)
{
	while (p->at < p->n_toks && !p->oom && !p->full)
		run_tok(p);
}

bool cfg_room(struct cfg_parser *p, const struct cf_pos *pos, void *v, size_t n, size_t size)
{
	if (n >= CFG_ITEMS_MAX) {
		cfg_err(p->errs, pos, "more than %d of these: the rest is not read", CFG_ITEMS_MAX);
		p->full = true;
		return false;
	}
	if (!cfg_grow(v, n, size)) {
		p->oom = true;
		return false;
	}
	return true;
}

bool cfg_number(struct cfg_parser *p, const struct cfg_tok *tok, const char *text, size_t len,
		enum cfg_num_kind kind, const char *what, uint64_t *ret)
{
	static const char *const want[] = {
		[CFG_ADDRESS] = "an address, such as 0x80000000 or 1m",
		[CFG_SIZE] = "a size, such as 512m or 0x1000",
		[CFG_NUMBER] = "a decimal number",
	};
	char part[80];
	snprintf(part, sizeof(part), "%.*s", (int)Q_MIN(len, sizeof(part) - 1), text);
	switch (cfg_num_parse(text, len, kind, ret)) {
	case CFG_NUM_OK:
		break;
	case CFG_NUM_EMPTY:
		cfg_err(p->errs, &tok->pos, "%s is missing in '%s': expected %s%s", what,
			CFG_SHOW(tok->text), want[kind],
			strchr(tok->text, ',') ? " (no space may stand inside)" : "");
		p->skipping = true;
		return false;
	case CFG_NUM_BAD:
		cfg_err(p->errs, &tok->pos, "%s '%s': expected %s", what, CFG_SHOW(part),
			want[kind]);
		p->skipping = true;
		return false;
	case CFG_NUM_RANGE:
		cfg_err(p->errs, &tok->pos, "%s '%s' does not fit in 64 bits", what,
			CFG_SHOW(part));
		return false;
	}
	if (kind == CFG_ADDRESS && cfg_num_misleads(text, len))
		cfg_warn(p->errs, &tok->pos, "%s %s is hexadecimal (0x%" PRIx64 "): write 0x%s, or "
			 "0d%s if decimal is meant", what, part, *ret, part, part);
	return true;
}

bool cfg_name_ok(struct cf_errors *errs, const struct cf_pos *pos, const char *what,
		 const char *name)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-.:+";
	size_t len = strlen(name);
	if (len == 0 || len > CFG_NAME_MAX) {
		cfg_err(errs, pos, "%s '%s': a name has 1 to %d characters", what, CFG_SHOW(name),
			CFG_NAME_MAX);
		return false;
	}
	if (strspn(name, legal) != len || name[0] == '.' || name[0] == '-') {
		cfg_err(errs, pos, "%s '%s': a name has letters, digits and _ - . : + only, and "
			"does not begin with . or -", what, CFG_SHOW(name));
		return false;
	}
	return true;
}
