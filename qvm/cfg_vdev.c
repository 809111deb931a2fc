/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vdev context: the type, the common options (name, loc, intr) and the type's own options
 * after its table. A vdev that is refused keeps its context, so that its words are skipped and the
 * names it would have given are known. Main thread, while the tokens are walked.
 */
#include <stdlib.h>

#include "qvm/cfg_int.h"
#include "qvm/hosttypes.h"

/* QNX's vdevs that this version does not have, and what to do about it. */
static const struct {
	const char *name, *instead;
} absent[] = {
	{ "smmu", "not served yet: leave it out" },
	{ "vgpu-gvtg", "not served yet: leave it out" },
	{ "virtio-blk", "not served yet" },
	{ "virtio-fs", "not served yet: share files on a virtio-blk" },
	{ "virtio-gpu", "not served yet: leave it out" },
	{ "virtio-input", "not served yet: leave it out" },
	{ "virtio-vsock", "not served yet: leave it out" },
};

#define TYPES_MAX 96

static void tell_no_type(struct cfg_parser *p, const struct cfg_tok *arg)
{
	const char *names[TYPES_MAX];
	size_t n = 0;
	for (size_t i = 0; i < Q_ARRAY_LEN(absent); i++) {
		if (!strcmp(absent[i].name, arg->text)) {
			cfg_err(p->errs, &arg->pos, "vdev %s: %s", arg->text, absent[i].instead);
			return;
		}
		names[n++] = absent[i].name;
	}
	for (size_t i = 0; qvm_host_types[i] && n < TYPES_MAX; i++)
		names[n++] = qvm_host_types[i]->name;
	for (size_t i = 0; vdev_registry[i] && n < TYPES_MAX; i++)
		names[n++] = vdev_registry[i]->name;
	const char *near = cf_nearest(arg->text, names, n);
	cfg_err(p->errs, &arg->pos, "there is no vdev '%s'%s%s%s", CFG_SHOW(arg->text),
		near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool type_serves(struct cfg_parser *p, const struct cfg_tok *arg, const struct vd_type *type)
{
	if (!type->archs || !strcmp(type->archs, p->arch->name))
		return true;
	const char *instead = "";
	if (!strcmp(type->name, "pl011"))
		instead = "; use ser8250";
	else if (type->flags & VD_IMPLICIT)
		instead = "; leave it out";
	else if (!strcmp(type->name, "ioapic"))
		instead = "; the interrupt controller here is the gic, and need not be named";
	cfg_err(p->errs, &arg->pos, "vdev %s exists on %s only, and this is %s%s", type->name,
		type->archs, p->arch->name, instead);
	return false;
}

/* @type NULL: refused, and told. */
static void vdev_open(struct cfg_parser *p, const struct cfg_tok *opt, const struct vd_type *type,
		      const char *word)
{
	struct vm_cfg *cfg = p->cfg;
	p->ctx = CTX_VDEV;
	p->ctx_refused = !type;
	if (!cfg_room(p, &opt->pos, &cfg->vdevs, cfg->n_vdevs, sizeof(*cfg->vdevs)))
		return;
	struct cfg_vdev *v = &cfg->vdevs[cfg->n_vdevs++];
	*v = (struct cfg_vdev){ .type = type, .pci_dev = -1, .debug = true,
				  .host_vector = UINT64_MAX, .pos = opt->pos };
	v->cfg.file = opt->pos.file;
	v->cfg.line = opt->pos.line;
	v->cfg.col = opt->pos.col;
	v->cfg.type = type ? type->name : word;
	v->on_pci = type && type->flags & VD_PCI_CAPABLE;
	if (!type)
		return;
	v->cfg.len_bytes = type->len_bytes;
	v->cfg.space = v->on_pci ? VD_PCI : type->default_space;
	if (type->default_base && !(type->default_space == VD_IO && !p->arch->has_io))
		v->cfg.base = type->default_base;
}

void cfg_opt_vdev(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	const struct vd_type *type = cfg_type_find(arg->text);
	if (!type)
		tell_no_type(p, arg);
	else if (!type_serves(p, arg, type))
		type = NULL;
	vdev_open(p, opt, type, arg->text);
}

void cfg_vdev_refused(struct cfg_parser *p, const struct cfg_tok *opt)
{
	vdev_open(p, opt, NULL, opt->text);
}

static struct cfg_vdev *vdev_now(struct cfg_parser *p)
{
	return &p->cfg->vdevs[p->cfg->n_vdevs - 1];
}

/* ---- common options ---- */

void cfg_opt_vdev_name(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	struct cfg_vdev *v = vdev_now(p);
	if (!p->ctx_refused && !cfg_name_ok(p->errs, &arg->pos, "name", arg->text))
		return;
	v->cfg.name = arg->text;
}

/* bus:dev[.func] or vid/did[/index]. */
static bool pci_parse(struct cfg_parser *p, const struct cfg_tok *tok, const char *at,
		      uint64_t *ret)
{
	uint64_t bus, dev, func = 0;
	if (strchr(at, '/')) {
		cfg_err(p->errs, &tok->pos, "loc %s: a vendor and device name a device of the host;"
			" here it is pci:bus:device", CFG_SHOW(tok->text));
		return false;
	}
	size_t bus_len = strcspn(at, ":");
	const char *dev_at = at[bus_len] ? at + bus_len + 1 : at + bus_len;
	size_t dev_len = strcspn(dev_at, ".");
	const char *func_at = dev_at[dev_len] ? dev_at + dev_len + 1 : NULL;
	if (!cfg_number(p, tok, at, bus_len, CFG_NUMBER, "the PCI bus", &bus) ||
	    !cfg_number(p, tok, dev_at, dev_len, CFG_NUMBER, "the PCI device", &dev))
		return false;
	if (func_at && !cfg_number(p, tok, func_at, strlen(func_at), CFG_NUMBER,
				   "the PCI function", &func))
		return false;
	if (bus != 0 || dev > 31 || func > 7) {
		cfg_err(p->errs, &tok->pos, "loc %s: there is PCI bus 0 with devices 0 to 31 and "
			"functions 0 to 7", CFG_SHOW(tok->text));
		return false;
	}
	*ret = bus << 8 | dev << 3 | func;
	return true;
}

size_t cfg_space_prefix(const char *text, enum vd_space *ret)
{
	static const struct {
		const char *word;
		enum vd_space space;
	} prefixes[] = { { "mem:", VD_MEM }, { "io:", VD_IO }, { "pci:", VD_PCI } };
	for (size_t i = 0; i < Q_ARRAY_LEN(prefixes); i++) {
		if (!strncmp(text, prefixes[i].word, strlen(prefixes[i].word))) {
			*ret = prefixes[i].space;
			return strlen(prefixes[i].word);
		}
	}
	return 0;
}

static bool span_ok(struct cfg_parser *p, const struct cfg_tok *tok, const struct cfg_loc *loc)
{
	if (loc->space == VD_IO && !p->arch->has_io) {
		cfg_err(p->errs, &tok->pos, "loc %s: %s has no I/O ports: expected mem:address",
			CFG_SHOW(tok->text), p->arch->name);
		return false;
	}
	uint64_t limit = loc->space == VD_IO ? 0x10000 : p->arch->addr_limit;
	if (!qspan_inside(loc->base, Q_MAX(loc->len_bytes, 1), limit)) {
		cfg_err(p->errs, &tok->pos, "loc %s reaches beyond 0x%" PRIx64 ", where %s end",
			CFG_SHOW(tok->text), limit,
			loc->space == VD_IO ? "I/O ports" : "the guest's addresses");
		return false;
	}
	return true;
}

bool cfg_loc_parse(struct cfg_parser *p, const struct cfg_tok *tok, enum vd_space space,
		   struct cfg_loc *ret)
{
	struct cfg_loc loc = { .space = space };
	const char *at = tok->text + cfg_space_prefix(tok->text, &loc.space);
	/* PCI as the default space still lets a plain address be memory. */
	if (at == tok->text && space == VD_PCI && !strpbrk(at, ":/."))
		loc.space = VD_MEM;
	if (loc.space == VD_IO && at == tok->text && !p->arch->has_io)
		loc.space = VD_MEM;
	if (loc.space == VD_PCI) {
		*ret = loc;
		return pci_parse(p, tok, at, &ret->base);
	}
	size_t addr_len = strcspn(at, ",");
	if (!cfg_number(p, tok, at, addr_len, CFG_ADDRESS, "loc", &loc.base))
		return false;
	if (at[addr_len]) {
		const char *len = at + addr_len + 1;
		if (!cfg_number(p, tok, len, strlen(len), CFG_SIZE, "the length", &loc.len_bytes))
			return false;
		if (loc.len_bytes == 0) {
			cfg_err(p->errs, &tok->pos, "loc %s has length 0", CFG_SHOW(tok->text));
			return false;
		}
	}
	if (!span_ok(p, tok, &loc))
		return false;
	*ret = loc;
	return true;
}

static bool vdev_loc_ok(struct cfg_parser *p, const struct cfg_tok *arg, const struct cfg_loc *loc)
{
	const struct cfg_vdev *v = vdev_now(p);
	if (v->type->flags & VD_IMPLICIT) {
		cfg_err(p->errs, &arg->pos, "vdev %s stands at a fixed place: leave loc out",
			v->type->name);
		return false;
	}
	if (loc->space == VD_PCI && !(v->type->flags & VD_PCI_CAPABLE)) {
		cfg_err(p->errs, &arg->pos, "vdev %s is no PCI device: expected mem:address%s",
			v->type->name, p->arch->has_io ? " or io:port" : "");
		return false;
	}
	if (loc->space == VD_PCI && (loc->base & 7)) {
		cfg_err(p->errs, &arg->pos, "loc %s: a vdev is function 0 of its device",
			CFG_SHOW(arg->text));
		return false;
	}
	if (loc->space == VD_PCI && loc->base >> 3 == 0) {
		cfg_err(p->errs, &arg->pos, "loc %s: the host bridge is there: expected pci:0:1 to "
			"pci:0:31", CFG_SHOW(arg->text));
		return false;
	}
	if (loc->len_bytes && loc->len_bytes < v->type->len_bytes) {
		cfg_err(p->errs, &arg->pos, "loc %s: vdev %s needs 0x%" PRIx64 " bytes",
			CFG_SHOW(arg->text), v->type->name, v->type->len_bytes);
		return false;
	}
	return true;
}

void cfg_opt_vdev_loc(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	struct cfg_loc loc;
	struct cfg_vdev *v = vdev_now(p);
	if (p->ctx_refused)
		return;
	enum vd_space space = v->type->flags & VD_PCI_CAPABLE ? VD_PCI : v->type->default_space;
	/* A wrong loc is a loc: "needs loc" is not told as well. */
	v->loc_given = true;
	v->loc_bad = !cfg_loc_parse(p, arg, space, &loc) || !vdev_loc_ok(p, arg, &loc);
	if (v->loc_bad)
		return;
	v->on_pci = loc.space == VD_PCI;
	v->pci_dev = v->on_pci ? (int)(loc.base >> 3) : -1;
	v->cfg.space = loc.space;
	v->cfg.base = v->on_pci ? 0 : loc.base;
	v->cfg.len_bytes = loc.len_bytes ? loc.len_bytes : v->type->len_bytes;
}

/* One "pic:line", or "apic". */
static bool irq_parse(struct cfg_parser *p, const struct cfg_tok *tok, const char *at, size_t len,
		      struct cfg_irq *ret)
{
	const struct cfg_vdev *v = vdev_now(p);
	bool is_pic = !strcmp(v->type->name, p->arch->pic_type);
	const char *colon = memchr(at, ':', len);
	uint64_t line;
	*ret = (struct cfg_irq){ .pos = tok->pos };
	if (is_pic && p->arch->implicit_pic) {
		cfg_err(p->errs, &tok->pos, "vdev %s feeds the CPUs themselves: leave intr out",
			v->type->name);
		return false;
	}
	if (len == 4 && !memcmp(at, "apic", 4) && is_pic) {
		ret->none = true;
		ret->pic = "apic";
		return true;
	}
	/* How the two of a PC are wired is no question. */
	if (!strcmp(v->type->name, "8259") && (colon || (len == 4 && !memcmp(at, "apic", 4)))) {
		ret->none = true;
		ret->pic = cfg_store_copy(p->store, at, len);
		p->oom |= !ret->pic;
		return ret->pic;
	}
	if (is_pic || !colon || colon == at) {
		cfg_err(p->errs, &tok->pos, "intr %s: expected %s", CFG_SHOW(tok->text),
			is_pic ? "apic" : "name:line, the name of an interrupt controller and its "
			"line");
		return false;
	}
	size_t name_len = (size_t)(colon - at);
	ret->pic = cfg_store_copy(p->store, at, name_len);
	if (!ret->pic) {
		p->oom = true;
		return false;
	}
	if (!cfg_number(p, tok, colon + 1, len - name_len - 1, CFG_NUMBER, "the line", &line))
		return false;
	ret->line = (unsigned)Q_MIN(line, UINT32_MAX);
	return true;
}

void cfg_opt_vdev_intr(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg)
{
	struct cfg_vdev *v = vdev_now(p);
	const char *at = arg->text;
	bool is_pic = v->type && !strcmp(v->type->name, p->arch->pic_type);
	if (p->ctx_refused)
		return;
	v->n_irqs = 0;
	v->irqs_bad = false;
	for (;; at++) {
		size_t len = strcspn(at, ",");
		struct cfg_irq irq;
		if (v->n_irqs == CFG_IRQS_MAX || (!is_pic && v->n_irqs == v->type->max_irqs)) {
			cfg_err(p->errs, &arg->pos, "intr %s: vdev %s has %s", CFG_SHOW(arg->text),
				v->type->name, v->type->max_irqs ? "not so many interrupts" :
				"no interrupt");
			v->irqs_bad = true;
			return;
		}
		if (!irq_parse(p, arg, at, len, &irq)) {
			v->irqs_bad = true;
			return;
		}
		v->irqs[v->n_irqs++] = irq;
		at += len;
		if (!*at)
			return;
	}
}

/* The host's vector of a controller's line 0, for what is passed through; nothing else asks. */
void cfg_opt_vdev_hostvector(struct cfg_parser *p, const struct cfg_tok *opt,
			     const struct cfg_tok *arg)
{
	uint64_t vector;
	struct cfg_vdev *v = vdev_now(p);
	if (p->ctx_refused)
		return;
	if (strcmp(v->type->name, p->arch->pic_type))
		cfg_err(p->errs, &opt->pos, "hostvector belongs to an interrupt controller, and "
			"vdev %s is none", v->type->name);
	else if (cfg_number(p, arg, arg->text, strlen(arg->text), CFG_NUMBER, "hostvector",
			    &vector))
		v->host_vector = vector;
}

/* ---- a type's own options ---- */

const struct vd_option *cfg_vdev_own(const struct cfg_parser *p, const char *name)
{
	if (p->ctx != CTX_VDEV || p->ctx_refused)
		return NULL;
	const struct vd_type *type = p->cfg->vdevs[p->cfg->n_vdevs - 1].type;
	for (const struct vd_option *o = type->options; o && o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

static bool own_value(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg,
		      enum vd_arg_kind kind, struct vd_arg *ret)
{
	static const enum cfg_num_kind num_kinds[] = {
		[VD_ARG_NUMBER] = CFG_NUMBER,
		[VD_ARG_SIZE] = CFG_SIZE,
		[VD_ARG_ADDRESS] = CFG_ADDRESS,
	};
	ret->text = arg->text;
	if (kind == VD_ARG_STRING)
		return true;
	if (kind != VD_ARG_BOOL)
		return cfg_number(p, arg, arg->text, strlen(arg->text), num_kinds[kind], opt->text,
				  &ret->num);
	bool value = false;
	if (!cfg_bool_parse(arg->text, &value)) {
		cfg_err(p->errs, &arg->pos, "%s '%s': expected on or off", opt->text,
			CFG_SHOW(arg->text));
		return false;
	}
	ret->num = value;
	return true;
}

void cfg_vdev_own_take(struct cfg_parser *p, const struct cfg_tok *opt, const struct vd_option *own)
{
	struct cfg_vdev *v = vdev_now(p);
	struct vd_arg value = {
		.opt = own, .file = opt->pos.file, .line = opt->pos.line, .col = opt->pos.col
	};
	if (own->kind != VD_ARG_NONE) {
		const struct cfg_tok *arg = cfg_take_args(p, opt, 1, "an argument");
		if (!arg || !own_value(p, opt, arg, own->kind, &value))
			return;
		value.file = arg->pos.file;
		value.line = arg->pos.line;
		value.col = arg->pos.col;
	}
	struct vd_arg *args = (struct vd_arg *)v->cfg.args;
	for (size_t i = 0; i < v->cfg.n_args && !own->accumulates; i++) {
		if (args[i].opt != own)
			continue;
		args[i] = value;
		return;
	}
	if (!cfg_room(p, &opt->pos, &v->cfg.args, v->cfg.n_args, sizeof(value)))
		return;
	args = (struct vd_arg *)v->cfg.args;
	args[v->cfg.n_args++] = value;
}
