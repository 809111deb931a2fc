/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the VM behaves rather than what it consists of: the variables of `set`, and unsupported,
 * dump, safety, log. A variable that this host cannot have is refused with the reason and what
 * there is instead. Main thread, while the tokens are walked.
 */
#include "qvm/cfg_int.h"

static void set_bool(struct cfg_parser *p, const struct cfg_tok *arg, bool *ret)
{
	if (!cfg_bool_parse(arg[1].text, ret))
		cfg_err(p->errs, &arg[1].pos, "set %s '%s': expected on or off", arg[0].text,
			CFG_SHOW(arg[1].text));
}

static bool set_number(struct cfg_parser *p, const struct cfg_tok *arg, enum cfg_num_kind kind,
		       uint64_t *ret)
{
	char what[64];
	snprintf(what, sizeof(what), "set %s", arg[0].text);
	return cfg_number(p, &arg[1], arg[1].text, strlen(arg[1].text), kind, what, ret);
}

static void set_exit_on_halt(struct cfg_parser *p, const struct cfg_tok *arg)
{
	set_bool(p, arg, &p->cfg->exit_on_halt);
}

static void set_fdt_dump_file(struct cfg_parser *p, const struct cfg_tok *arg)
{
	if (!p->arch->has_fdt)
		cfg_err(p->errs, &arg[0].pos, "set fdt-dump-file: a guest of %s is not described "
			"by a device tree; leave it out", p->arch->name);
	else if (!*arg[1].text)
		cfg_err(p->errs, &arg[1].pos, "set fdt-dump-file: expected the name of a file");
	else
		p->cfg->fdt_dump_file = arg[1].text;
}

static void set_counter_offset(struct cfg_parser *p, const struct cfg_tok *arg)
{
	set_number(p, arg, CFG_NUMBER, &p->cfg->counter_offset);
}

#define SLOG_BYTES_MIN 1024u
#define SLOG_BYTES_MAX (16u << 20)

static void set_slog_buffer(struct cfg_parser *p, const struct cfg_tok *arg)
{
	uint64_t bytes;
	if (!set_number(p, arg, CFG_ADDRESS, &bytes))
		return;
	if (bytes < SLOG_BYTES_MIN || bytes > SLOG_BYTES_MAX)
		cfg_err(p->errs, &arg[1].pos, "set slog-buffer %s: expected 1k to 16m",
			CFG_SHOW(arg[1].text));
	else
		p->cfg->slog_bytes = (uint32_t)bytes;
}

/* All vdevs wait on one thread, so nothing may wait for ever. */
static bool set_timeout(struct cfg_parser *p, const struct cfg_tok *arg, unsigned *ret)
{
	uint64_t ms;
	if (!set_number(p, arg, CFG_NUMBER, &ms))
		return false;
	if (ms < CFG_BLOCK_MS_MIN || ms > CFG_BLOCK_MS_MAX) {
		cfg_err(p->errs, &arg[1].pos, "set %s %s: expected milliseconds, %u to %u%s",
			arg[0].text, CFG_SHOW(arg[1].text), CFG_BLOCK_MS_MIN, CFG_BLOCK_MS_MAX,
			ms ? "" : "; there is no waiting for ever, for it would stop the other "
			"vdevs, too");
		return false;
	}
	*ret = (unsigned)ms;
	return true;
}

static void set_block_timeout(struct cfg_parser *p, const struct cfg_tok *arg)
{
	set_timeout(p, arg, &p->cfg->block_timeout_ms);
}

static struct cfg_vdev *vdev_now(struct cfg_parser *p)
{
	return &p->cfg->vdevs[p->cfg->n_vdevs - 1];
}

static void set_vdev_block_timeout(struct cfg_parser *p, const struct cfg_tok *arg)
{
	set_timeout(p, arg, &vdev_now(p)->cfg.block_timeout_ms);
}

static void set_debug(struct cfg_parser *p, const struct cfg_tok *arg)
{
	set_bool(p, arg, &vdev_now(p)->debug);
}

/* What is about the whole VM may stand anywhere; @ctx says where the others belong. */
static const struct {
	const char *name;
	unsigned ctx;
	void (*fn)(struct cfg_parser *p, const struct cfg_tok *arg);
	const char *refused;
} set_vars[] = {
	{ "exit-on-halt", CTX_ANY, set_exit_on_halt, NULL },
	{ "fdt-dump-file", CTX_ANY, set_fdt_dump_file, NULL },
	{ "counter-offset", CTX_ANY, set_counter_offset, NULL },
	{ "slog-buffer", CTX_ANY, set_slog_buffer, NULL },
	{ "message-block-timeout", CTX_ANY, set_block_timeout, NULL },
	{ "vdev-message-block-timeout", CTX_VDEV, set_vdev_block_timeout, NULL },
	{ "debug", CTX_VDEV, set_debug, NULL },
	{ "grow-heap", CTX_ANY, NULL,
	  "qvm allocates all it needs before the guest runs, and a safety VM locks it; leave it "
	  "out" },
	{ "gic-hwassist", CTX_ANY, NULL,
	  "KVM always uses the GIC's virtualization hardware; leave it out" },
	{ "host-paddr-gicd", CTX_ANY, NULL,
	  "the host's kernel knows its GIC; for the guest's see vdev gic; leave it out" },
	{ "host-paddr-gich", CTX_ANY, NULL,
	  "the host's kernel knows its GIC; for the guest's see vdev gic; leave it out" },
	{ "host-paddr-gicv", CTX_ANY, NULL,
	  "the host's kernel knows its GIC; for the guest's see vdev gic; leave it out" },
};

static void set_var(struct cfg_parser *p, size_t var, const struct cfg_tok *arg)
{
	if (set_vars[var].refused)
		cfg_err(p->errs, &arg[0].pos, "set %s: %s", set_vars[var].name,
			set_vars[var].refused);
	else if (!(set_vars[var].ctx & p->ctx))
		cfg_err(p->errs, &arg[0].pos, "set %s belongs to a vdev, and none is open here",
			set_vars[var].name);
	else if (set_vars[var].ctx == CTX_ANY || !p->ctx_refused)
		set_vars[var].fn(p, arg);
}

void cfg_opt_set(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	const char *names[Q_ARRAY_LEN(set_vars)];
	for (size_t i = 0; i < Q_ARRAY_LEN(set_vars); i++) {
		names[i] = set_vars[i].name;
		if (strcmp(names[i], arg[0].text))
			continue;
		set_var(p, i, arg);
		return;
	}
	const char *near = cf_nearest(arg[0].text, names, Q_ARRAY_LEN(names));
	cfg_err(p->errs, &arg[0].pos, "set %s: no variable has that name%s%s%s",
		CFG_SHOW(arg[0].text), near ? ": did you mean '" : "", near ? near : "",
		near ? "'?" : "");
}

/* ---- what nobody serves ---- */

const char *const cfg_unsup_kind_words[CFG_UNSUP_KINDS] = {
	[CFG_UNSUP_INSTRUCTION] = "instruction",
	[CFG_UNSUP_REFERENCE] = "reference",
	[CFG_UNSUP_REGISTER] = "register",
};
const char *const cfg_unsup_words[3] = {
	[CFG_UNSUP_ABORT] = "abort",
	[CFG_UNSUP_FAIL] = "fail",
	[CFG_UNSUP_IGNORE] = "ignore",
};
const char *const cfg_safety_words[3] = {
	[CFG_SAFETY_NONE] = "none",
	[CFG_SAFETY_WARN] = "warn",
	[CFG_SAFETY_REQUIRED] = "required",
};

/* Which of @n words @tok is; told with @what when none. */
static bool word_parse(struct cfg_parser *p, const struct cfg_tok *tok, const char *what,
		       const char *const *words, size_t n, unsigned *ret)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(words[i], tok->text)) {
			*ret = (unsigned)i;
			return true;
		}
	}
	const char *near = cf_nearest(tok->text, words, n);
	cfg_err(p->errs, &tok->pos, "%s '%s': expected %s, %s or %s%s%s%s", what,
		CFG_SHOW(tok->text), words[0], words[1], words[2],
		near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
	return false;
}

void cfg_opt_unsupported(struct cfg_parser *p, const struct cfg_tok *opt,
			 const struct cfg_tok *arg)
{
	unsigned kind = 0, action = 0;
	bool ok = word_parse(p, &arg[0], "unsupported", cfg_unsup_kind_words, CFG_UNSUP_KINDS,
			     &kind);
	ok &= word_parse(p, &arg[1], "unsupported", cfg_unsup_words,
			 Q_ARRAY_LEN(cfg_unsup_words), &action);
	if (!ok)
		return;
	p->cfg->unsupported[kind] = (enum cfg_unsup)action;
	if (kind == CFG_UNSUP_REGISTER && action != CFG_UNSUP_FAIL && !p->arch->tells_registers)
		cfg_err(p->errs, &arg[1].pos, "unsupported register %s: KVM on %s answers the "
			"guest itself, with an exception: write fail, or leave it out",
			cfg_unsup_words[action], p->arch->name);
}

void cfg_opt_safety(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	unsigned safety = 0;
	if (!word_parse(p, arg, "safety", cfg_safety_words, Q_ARRAY_LEN(cfg_safety_words),
			&safety))
		return;
	p->cfg->safety = (enum cfg_safety)safety;
	p->safety = opt;
}

void cfg_tell_safety(const struct cfg_parser *p)
{
	if (p->cfg->safety == CFG_SAFETY_REQUIRED)
		cfg_err(p->errs, &p->safety->pos, "safety required: no part of Parley is "
			"certified: write 'safety warn' to be told so, or leave it out");
	else if (p->cfg->safety == CFG_SAFETY_WARN)
		cfg_warn(p->errs, &p->safety->pos, "no part of Parley is certified");
}

void cfg_opt_dump(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	const char *command = arg->text + 1;
	if (!*arg->text)
		cfg_err(p->errs, &arg->pos, "dump: expected a directory, or \"|command\"");
	else if (*arg->text == '|' && !command[strspn(command, " \t\n")])
		cfg_err(p->errs, &arg->pos, "dump '%s': the command is missing",
			CFG_SHOW(arg->text));
	else
		p->cfg->dump_to = arg->text;
}

/* ---- where a vdev's lines go ---- */

void cfg_opt_vdev_log(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	struct cfg_logger log;
	if (p->ctx_refused || !cfg_logger_parse(p, arg, &log))
		return;
	vdev_now(p)->log = log;
	vdev_now(p)->has_log = true;
}

void cfg_opt_debug(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	cfg_warn(p->errs, &opt->pos, "debug: SIGUSR1 is always answered; leave it out");
}
