/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that belong to the whole VM: its name, memory, what is loaded into it, loggers,
 * variables, and what is kept from the automatic choices. Main thread, while the tokens are walked.
 */
#include <stdlib.h>

#include "qvm/cfg_int.h"

#define PAGE_BYTES 4096u

void cfg_opt_system(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	if (opt != p->toks) {
		cfg_err(p->errs, &opt->pos, "system must be the first option");
		return;
	}
	if (!cfg_name_ok(p->errs, &arg->pos, "system", arg->text))
		return;
	if (strchr(arg->text, ':')) {
		cfg_err(p->errs, &arg->pos, "system '%s': the name of a VM has no ':'", arg->text);
		return;
	}
	p->cfg->system = arg->text;
	p->cfg->system_given = true;
}

/* ---- memory ---- */

/* Behind the highest RAM or ROM so far, and clear of what is reserved. */
static uint64_t ram_place(const struct cfg_parser *p, uint64_t len)
{
	const struct vm_cfg *cfg = p->cfg;
	uint64_t at = cfg->n_ram ? 0 : p->arch->ram_base;
	for (size_t i = 0; i < cfg->n_ram; i++)
		at = Q_MAX(at, cfg->ram[i].gpa + cfg->ram[i].len_bytes);
	for (size_t i = 0, moved = 0; i < cfg->n_reserves && moved <= cfg->n_reserves; i++) {
		const struct cfg_reserve *r = &cfg->reserves[i];
		if (r->is_irq || r->space != VD_MEM ||
		    !qspan_overlap(at, len, r->base, r->len_bytes))
			continue;
		at = Q_ALIGN_UP(r->base + r->len_bytes, PAGE_BYTES);
		moved++;
		i = SIZE_MAX;	/* what was clear before may not be now */
	}
	return at;
}

static bool ram_size_ok(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg,
			const struct cfg_ram *ram, bool placed)
{
	const char *digits = strrchr(arg->text, ',');
	digits = digits ? digits + 1 : arg->text;
	if (ram->len_bytes == 0) {
		cfg_err(p->errs, &arg->pos, "%s of length 0", opt->text);
		return false;
	}
	if (ram->len_bytes % PAGE_BYTES || ram->gpa % PAGE_BYTES) {
		bool bare = ram->len_bytes < PAGE_BYTES && strspn(digits, "0123456789") ==
			    strlen(digits);
		cfg_err(p->errs, &arg->pos, "%s %s: address and length must be multiples of 4 KiB"
			"%s%s%s", opt->text, CFG_SHOW(arg->text),
			bare ? "; a size without a multiplier is in bytes: did you mean " : "",
			bare ? digits : "", bare ? "m?" : "");
		return false;
	}
	if (!qspan_inside(ram->gpa, ram->len_bytes, p->arch->addr_limit)) {
		cfg_err(p->errs, &arg->pos, "%s %s%s reaches beyond 0x%" PRIx64 ", where the "
			"guest's addresses end", opt->text, CFG_SHOW(arg->text),
			placed ? " behind the memory before it" : "", p->arch->addr_limit);
		return false;
	}
	return true;
}

/* True when it was kept. */
static bool ram_add(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg,
		    bool rom)
{
	struct cfg_ram ram = { .rom = rom, .pos = arg->pos };
	const char *comma = strchr(arg->text, ',');
	const char *size = comma ? comma + 1 : arg->text;
	p->ram_seen = true;
	bool ok = true;
	if (comma)
		ok = cfg_number(p, arg, arg->text, (size_t)(comma - arg->text), CFG_ADDRESS,
				"the address", &ram.gpa);
	ok &= cfg_number(p, arg, size, strlen(size), CFG_SIZE, "the length", &ram.len_bytes);
	if (!ok)
		return false;
	if (!comma && ram.len_bytes <= p->arch->addr_limit)
		ram.gpa = ram_place(p, ram.len_bytes);
	if (!ram_size_ok(p, opt, arg, &ram, !comma))
		return false;
	if (!cfg_room(p, &opt->pos, &p->cfg->ram, p->cfg->n_ram, sizeof(ram)))
		return false;
	p->cfg->ram[p->cfg->n_ram++] = ram;
	return true;
}

void cfg_opt_ram(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	if (!ram_add(p, opt, arg, false))
		p->ram_lost = true;
}

void cfg_opt_rom(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	(void)ram_add(p, opt, arg, true);
}

/* ---- what is loaded ---- */

static const char *const load_words[] = {
	[CFG_LOAD_SNIFF] = "",
	[CFG_LOAD_GUEST] = "guest",
	[CFG_LOAD_INITRD] = "initrd",
	[CFG_LOAD_FDT] = "fdt",
	[CFG_LOAD_ACPI] = "acpi",
	[CFG_LOAD_DATA] = "data",
};

const char *cfg_load_type_str(enum cfg_load_type type)
{
	return (unsigned)type < Q_ARRAY_LEN(load_words) ? load_words[type] : "";
}

static enum cfg_load_type load_type_of(const char *word)
{
	unsigned type = CFG_LOAD_GUEST;
	while (type < CFG_LOAD_DATA && strcmp(load_words[type], word))
		type++;
	return (enum cfg_load_type)type;
}

static bool load_type_ok(struct cfg_parser *p, const struct cfg_tok *opt, enum cfg_load_type type)
{
	if (type == CFG_LOAD_ACPI && p->arch->has_fdt) {
		cfg_err(p->errs, &opt->pos, "acpi load: a guest of %s is described by a device "
			"tree, not by ACPI tables: use fdt load", p->arch->name);
		return false;
	}
	return true;
}

/* Of guest, initrd and fdt there is one, and the last one is it. */
static void load_drop_earlier(struct cfg_parser *p, const struct cfg_load *load)
{
	struct vm_cfg *cfg = p->cfg;
	if (load->type == CFG_LOAD_SNIFF || load->type == CFG_LOAD_DATA ||
	    load->type == CFG_LOAD_ACPI)
		return;
	for (size_t i = 0; i < cfg->n_loads; i++) {
		if (cfg->loads[i].type != load->type)
			continue;
		cfg_warn(p->errs, &load->pos, "this %s replaces '%s' (%s:%u)",
			 load_words[load->type], CFG_SHOW(cfg->loads[i].path),
			 cfg->loads[i].pos.file, cfg->loads[i].pos.line);
		memmove(&cfg->loads[i], &cfg->loads[i + 1],
			(cfg->n_loads - i - 1) * sizeof(*cfg->loads));
		cfg->n_loads--;
		return;
	}
}

/* True when it was kept. */
static bool load_add(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg,
		     enum cfg_load_type type)
{
	struct cfg_load load = { .type = type, .path = arg->text, .pos = arg->pos };
	const char *comma = strchr(arg->text, ',');
	size_t addr_len = comma ? (size_t)(comma - arg->text) : 0;
	if (!load_type_ok(p, opt, type))
		return false;
	if (!p->ram_seen) {
		cfg_err(p->errs, &opt->pos, "load stands before any ram or rom: what uses guest "
			"memory comes behind it");
		return false;
	}
	/* A comma whose left side is no number belongs to the file's name. */
	if (comma && cfg_num_parse(arg->text, addr_len, CFG_ADDRESS, &load.gpa) == CFG_NUM_OK) {
		load.has_addr = cfg_number(p, arg, arg->text, addr_len, CFG_ADDRESS, "the address",
					   &load.gpa);
		load.path = comma + 1;
	}
	if (load.has_addr && type == CFG_LOAD_ACPI) {
		cfg_err(p->errs, &arg->pos, "acpi load: the table stands among the machine's: "
			"leave the address out");
		return false;
	}
	if (!*load.path) {
		cfg_err(p->errs, &arg->pos, "the file is missing in '%s'", CFG_SHOW(arg->text));
		p->skipping = true;
		return false;
	}
	load_drop_earlier(p, &load);
	if (!cfg_room(p, &opt->pos, &p->cfg->loads, p->cfg->n_loads, sizeof(load)))
		return false;
	p->cfg->loads[p->cfg->n_loads++] = load;
	return true;
}

void cfg_opt_load(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	if (!load_add(p, opt, arg, CFG_LOAD_SNIFF))
		p->load_lost = true;
}

/* "initrd load X"; "data pass loc …" is refused as pass is. */
void cfg_opt_typed(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	if (!strcmp(arg[0].text, "load")) {
		enum cfg_load_type type = load_type_of(opt->text);
		if (!load_add(p, opt, &arg[1], type) && type == CFG_LOAD_GUEST)
			p->load_lost = true;
		return;
	}
	p->at -= 2;
	p->load_lost |= load_type_of(opt->text) == CFG_LOAD_GUEST;
	if (!strcmp(arg[0].text, "pass"))
		return;
	cfg_err(p->errs, &opt->pos, "%s stands before load: expected '%s load [address,]file'",
		opt->text, opt->text);
	p->skipping = true;
}

/* A string of several lines is one line to its guest. */
void cfg_opt_cmdline(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	char *line = cfg_store_copy(p->store, arg->text, strlen(arg->text));
	if (!line) {
		p->oom = true;
		return;
	}
	size_t out = 0;
	for (size_t in = 0; line[in];) {
		size_t run = strspn(line + in, " \t\r\n");
		if (run && memchr(line + in, '\n', run)) {
			if (out && line[in + run])
				line[out++] = ' ';
			in += run;
		} else {
			line[out++] = line[in++];
		}
	}
	line[out] = '\0';
	p->cfg->cmdline = line;
}

/* ---- what the automatic choices keep away from ---- */

void cfg_opt_reserve(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	const struct cfg_tok *next = p->at < p->n_toks ? &p->toks[p->at] : NULL;
	if (!next || (strcmp(next->text, "loc") && strcmp(next->text, "intr")))
		cfg_err(p->errs, &opt->pos, "reserve needs 'loc' or 'intr' behind it");
	p->ctx = CTX_RESERVE;
	p->reserve_loc = -1;
	p->reserve_irq = -1;
}

/* In one context the last one wins. */
static void reserve_put(struct cfg_parser *p, int *slot, const struct cfg_reserve *r)
{
	struct vm_cfg *cfg = p->cfg;
	if (*slot < 0) {
		if (!cfg_room(p, &r->pos, &cfg->reserves, cfg->n_reserves, sizeof(*r)))
			return;
		*slot = (int)cfg->n_reserves++;
	}
	cfg->reserves[*slot] = *r;
}

void cfg_opt_reserve_loc(struct cfg_parser *p, const struct cfg_tok *opt,
			 const struct cfg_tok *arg)
{
	struct cfg_loc loc;
	if (!cfg_loc_parse(p, arg, VD_MEM, &loc))
		return;
	if (loc.space != VD_PCI && loc.len_bytes == 0) {
		cfg_err(p->errs, &arg->pos, "reserve loc %s: the length is missing: expected "
			"address,length", CFG_SHOW(arg->text));
		return;
	}
	reserve_put(p, &p->reserve_loc, &(struct cfg_reserve){
		.space = loc.space, .base = loc.base, .pos = arg->pos,
		.len_bytes = loc.space == VD_PCI ? 1 : loc.len_bytes,
	});
}

void cfg_opt_reserve_intr(struct cfg_parser *p, const struct cfg_tok *opt,
			  const struct cfg_tok *arg)
{
	uint64_t irq;
	if (!cfg_number(p, arg, arg->text, strlen(arg->text), CFG_NUMBER, "reserve intr", &irq))
		return;
	if (irq >= p->arch->line_end) {
		cfg_err(p->errs, &arg->pos, "reserve intr %s: the last interrupt is %u",
			CFG_SHOW(arg->text), p->arch->line_end - 1);
		return;
	}
	reserve_put(p, &p->reserve_irq, &(struct cfg_reserve){
		.is_irq = true, .irq = (unsigned)irq, .pos = arg->pos
	});
}

/* ---- loggers and variables ---- */

static bool logger_mask(struct cfg_parser *p, const struct cfg_tok *tok, unsigned *ret)
{
	const char *at = tok->text;
	unsigned mask = 0;
	for (;;) {
		size_t len = strcspn(at, ",");
		char word[24] = "";
		if (len < sizeof(word))
			memcpy(word, at, len);
		int sev = qlog_sev_parse(word);
		if (sev < 0) {
			cfg_err(p->errs, &tok->pos, "'%s': expected severities of fatal, internal, "
				"error, warn, info, debug and verbose, with commas between",
				CFG_SHOW(tok->text));
			return false;
		}
		mask |= QLOG_BIT(sev);
		if (!at[len])
			break;
		at += len + 1;
	}
	*ret = mask;
	return true;
}

bool cfg_logger_parse(struct cfg_parser *p, const struct cfg_tok *arg, struct cfg_logger *ret)
{
	static const char *const dests[] = {
		[CFG_LOG_STDERR] = "stderr", [CFG_LOG_STDOUT] = "stdout",
		[CFG_LOG_SLOG] = "slog", [CFG_LOG_NONE] = "none",
	};
	unsigned mask, dest = 0;
	bool ok = logger_mask(p, &arg[0], &mask);
	while (dest < Q_ARRAY_LEN(dests) && strcmp(dests[dest], arg[1].text))
		dest++;
	if (dest == Q_ARRAY_LEN(dests)) {
		cfg_err(p->errs, &arg[1].pos, "'%s': expected a destination: stdout, stderr, slog "
			"or none", CFG_SHOW(arg[1].text));
		return false;
	}
	if (!ok)
		return false;
	ret->mask = mask;
	ret->dest = dest;
	ret->pos = arg[0].pos;
	return true;
}

void cfg_opt_logger(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	struct cfg_logger logger;
	if (!cfg_logger_parse(p, arg, &logger))
		return;
	if (p->cfg->n_loggers == CFG_LOGGERS_MAX) {
		cfg_err(p->errs, &opt->pos, "logger: a VM has at most %d", CFG_LOGGERS_MAX);
		return;
	}
	if (!cfg_room(p, &opt->pos, &p->cfg->loggers, p->cfg->n_loggers, sizeof(logger)))
		return;
	p->cfg->loggers[p->cfg->n_loggers++] = logger;
}

void cfg_opt_dryrun(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	p->cfg->dryrun = true;
}
