/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that need the whole configuration: memory, files, CPUs. Where vdevs stand and how they
 * interrupt is cfg_place.c, what they are called and refer to cfg_names.c. All that is wrong is
 * told; what is right already stays as it is when it is checked again. A vdev whose type is NULL
 * was refused by the parser: it only lends its name, so that nothing is told twice. Main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qvhu.h"
#include "qvm/cfg_gic.h"
#include "qvm/cfg_int.h"
#include "vdevs/types.h"
#include "vdevs/virtio_blk.h"

#define GIB_4 0x100000000ull

/* ---- memory ---- */

static int ram_order(const void *a, const void *b)
{
	const struct cfg_ram *x = a, *y = b;
	if (x->gpa != y->gpa)
		return x->gpa < y->gpa ? -1 : 1;
	return x->len_bytes < y->len_bytes ? -1 : x->len_bytes > y->len_bytes;
}

static const char *ram_word(const struct cfg_ram *r)
{
	return r->rom ? "rom" : "ram";
}

static void ram_check_windows(const struct vm_cfg *cfg, const struct cfg_ram *r,
			      struct cf_errors *errs)
{
	for (size_t i = 0; i < cfg->arch->n_windows; i++) {
		const struct cfg_window *w = &cfg->arch->windows[i];
		if (w->space != VD_MEM ||
		    !qspan_overlap(r->gpa, r->len_bytes, w->base, w->len_bytes))
			continue;
		bool hole = w->base + w->len_bytes == GIB_4;
		cfg_err(errs, &r->pos, "%s 0x%" PRIx64 "-0x%" PRIx64 " overlaps %s (0x%" PRIx64
			"-0x%" PRIx64 ")%s", ram_word(r), r->gpa, r->gpa + r->len_bytes - 1,
			w->what, w->base, w->base + w->len_bytes - 1,
			hole ? ": end it at 3 GiB and give the rest an address, such as "
			"'ram 0x100000000,1g'" : "");
		return;
	}
}

static void check_ram(struct vm_cfg *cfg, struct cf_errors *errs, const struct cfg_seen *seen)
{
	bool any_ram = false;
	if (cfg->n_ram)
		qsort(cfg->ram, cfg->n_ram, sizeof(*cfg->ram), ram_order);
	for (size_t i = 0; i < cfg->n_ram; i++) {
		const struct cfg_ram *r = &cfg->ram[i];
		any_ram |= !r->rom;
		ram_check_windows(cfg, r, errs);
		if (i == 0)
			continue;
		const struct cfg_ram *below = &cfg->ram[i - 1];
		if (r->gpa - below->gpa < below->len_bytes)
			cfg_err(errs, &r->pos, "%s 0x%" PRIx64 "-0x%" PRIx64 " overlaps the %s at "
				"0x%" PRIx64 "-0x%" PRIx64 " (%s:%u:%u)", ram_word(r), r->gpa,
				r->gpa + r->len_bytes - 1, ram_word(below), below->gpa,
				below->gpa + below->len_bytes - 1, below->pos.file, below->pos.line,
				below->pos.col);
	}
	if (!any_ram && !seen->ram)
		cfg_err(errs, &(struct cf_pos){ "command line", 1, 1 },
			"there is no ram: expected 'ram [address,]length', such as 'ram 128m'");
}

static bool has_backend(const struct cfg_vdev *v)
{
	const struct vd_arg *a = vd_arg_find(&v->cfg, "hostdev");
	const char *rest;

	return a && ((v->type == &vd_virtio_blk_type && vd_blk_form(a->text) == VD_BLK_BACKEND) ||
		     (v->type == &vd_virtio_snd_type &&
		      vd_snd_form(a->text, &rest) == VD_SND_BACKEND));
}

/* How many pieces there may be: for the kernel, and for a back end that is told of each. */
static void check_pieces(const struct vm_cfg *cfg, struct cf_errors *errs)
{
	if (cfg->n_ram > QMEM_REGIONS_MAX)
		cfg_err(errs, &cfg->ram[QMEM_REGIONS_MAX].pos, "%zu pieces of ram and rom: a VM "
			"has at most %d", cfg->n_ram, QMEM_REGIONS_MAX);
	for (size_t i = 0; cfg->n_ram > QVHU_MEM_REGIONS_MAX && i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		if (has_backend(v))
			cfg_err(errs, &v->pos, "vdev %s: a back end takes at most %u pieces of ram "
				"and rom, and there are %zu", v->type->name, QVHU_MEM_REGIONS_MAX,
				cfg->n_ram);
	}
}

/* True when all of [at, at + len) is RAM or ROM; regions that touch count as one. */
static bool in_ram(const struct vm_cfg *cfg, uint64_t at, uint64_t len)
{
	for (size_t i = 0; i < cfg->n_ram; i++) {
		const struct cfg_ram *r = &cfg->ram[i];
		if (at < r->gpa || at - r->gpa >= r->len_bytes)
			continue;
		uint64_t here = r->len_bytes - (at - r->gpa);
		if (len <= here)
			return true;
		at += here;
		len -= here;
	}
	return false;
}

/* ---- low memory of a machine without firmware ---- */

/* What keeps us from giving the tables a place: its position, and a word for it. NULL: nothing. */
static const struct cf_pos *in_the_way(const struct vm_cfg *cfg, const char **ret_word)
{
	const uint64_t base = cfg->arch->tables_base, len = cfg->arch->tables_len;
	for (size_t i = 0; i < cfg->n_ram; i++) {
		*ret_word = ram_word(&cfg->ram[i]);
		if (qspan_overlap(cfg->ram[i].gpa, cfg->ram[i].len_bytes, base, len))
			return &cfg->ram[i].pos;
	}
	for (size_t i = 0; i < cfg->n_reserves; i++) {
		const struct cfg_reserve *r = &cfg->reserves[i];
		*ret_word = "reserve";
		if (!r->is_irq && r->space == VD_MEM &&
		    qspan_overlap(r->base, r->len_bytes, base, len))
			return &r->pos;
	}
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		*ret_word = "vdev";
		if (v->type && v->loc_given && !v->loc_bad && v->cfg.space == VD_MEM &&
		    !v->on_pci && qspan_overlap(v->cfg.base, v->cfg.len_bytes, base, len))
			return &v->pos;
	}
	return NULL;
}

/* The tables get a rom of their own where the configuration leaves the place free. */
static int add_tables_rom(struct vm_cfg *cfg, struct cf_errors *errs)
{
	const struct cfg_arch *a = cfg->arch;
	const char *word;
	const struct cf_pos *pos = in_the_way(cfg, &word);
	if (pos) {
		cfg_err(errs, pos, "this %s leaves no ram or rom for the guest's ACPI tables at "
			"0x%" PRIx64 "-0x%" PRIx64 ": move it away, or write 'rom 0x%" PRIx64
			",0x%" PRIx64 "' instead", word, a->tables_base,
			a->tables_base + a->tables_len - 1, a->tables_base, a->tables_len);
		return 0;
	}
	if (!cfg_grow(&cfg->ram, cfg->n_ram, sizeof(*cfg->ram)))
		return -ENOMEM;
	cfg->ram[cfg->n_ram++] = (struct cfg_ram){
		.gpa = a->tables_base, .len_bytes = a->tables_len, .rom = true, .automatic = true,
		.pos = { "the machine itself", 0, 0 },
	};
	qsort(cfg->ram, cfg->n_ram, sizeof(*cfg->ram), ram_order);
	return 0;
}

/* Also true where there is no ram at all, which is told elsewhere. */
static bool starts_in_ram(const struct vm_cfg *cfg)
{
	uint64_t at = 0;
	bool any_ram = false;
	for (size_t i = 0; i < cfg->n_ram; i++) {
		const struct cfg_ram *r = &cfg->ram[i];
		any_ram |= !r->rom;
		if (r->gpa <= at && !r->rom)
			at = Q_MAX(at, r->gpa + r->len_bytes);
	}
	return !any_ram || at >= cfg->arch->start_end;
}

static int check_low(struct vm_cfg *cfg, struct cf_errors *errs, const struct cfg_seen *seen)
{
	const struct cfg_arch *a = cfg->arch;
	if (!cfg->n_ram || seen->ram)
		return 0;
	if (a->start_end && !starts_in_ram(cfg))
		cfg_err(errs, &cfg->ram[0].pos, "there is no ram at 0x0-0x%" PRIx64 ", where the "
			"guest is given what it starts with: write 'ram 0,0xa0000' as well",
			a->start_end - 1);
	if (!a->tables_len || in_ram(cfg, a->tables_base, a->tables_len))
		return 0;
	return add_tables_rom(cfg, errs);
}

/* ---- files ---- */

/* Tells what is wrong with the file; its size in *ret_bytes. */
static bool load_file_ok(const struct cfg_load *load, struct cf_errors *errs, uint64_t *ret_bytes)
{
	char what[24];
	struct stat st;
	snprintf(what, sizeof(what), "%s%sload ", cfg_load_type_str(load->type),
		 load->type == CFG_LOAD_SNIFF ? "" : " ");
	int fd QCLEAN(qfd_close) = open(load->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		cfg_file_err(errs, &load->pos, what, load->path, errno);
		return false;
	}
	if (S_ISDIR(st.st_mode)) {
		cfg_file_err(errs, &load->pos, what, load->path, EISDIR);
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		cfg_err(errs, &load->pos, "%s%s: expected a regular file", what,
			CFG_SHOW(load->path));
		return false;
	}
	if (st.st_size == 0) {
		cfg_err(errs, &load->pos, "%s%s: the file is empty", what, CFG_SHOW(load->path));
		return false;
	}
	*ret_bytes = (uint64_t)st.st_size;
	return true;
}

static void check_loads(const struct vm_cfg *cfg, struct cf_errors *errs,
			const struct cfg_seen *seen)
{
	bool guest = seen->load;
	for (size_t i = 0; i < cfg->n_loads; i++) {
		const struct cfg_load *load = &cfg->loads[i];
		uint64_t size = 1;
		guest |= load->type == CFG_LOAD_SNIFF || load->type == CFG_LOAD_GUEST;
		bool ok = load_file_ok(load, errs, &size);
		/* A kernel knows itself how much memory it takes: only its start is looked at. */
		if (!ok || load->type == CFG_LOAD_SNIFF || load->type == CFG_LOAD_GUEST)
			size = 1;
		if (!load->has_addr || !cfg->n_ram || in_ram(cfg, load->gpa, size))
			continue;
		if (in_ram(cfg, load->gpa, 1))
			cfg_err(errs, &load->pos, "load %s: its %" PRIu64 " bytes from 0x%" PRIx64
				" reach beyond ram and rom", CFG_SHOW(load->path), size, load->gpa);
		else
			cfg_err(errs, &load->pos, "load %s: 0x%" PRIx64 " is not in ram or rom",
				CFG_SHOW(load->path), load->gpa);
	}
	if (!guest)
		cfg_err(errs, &(struct cf_pos){ "command line", 1, 1 },
			"there is nothing to run: expected 'load FILE' or 'guest load FILE'");
}

/* ---- CPUs ---- */

/* The one host CPU of @c, or -1. */
static int cpu_pinned(const struct cfg_cpu *c)
{
	int at = -1;
	for (int w = 0; w < 4; w++) {
		if (!c->runmask[w])
			continue;
		if (at >= 0 || c->runmask[w] & (c->runmask[w] - 1))
			return -1;
		at = w * 64 + __builtin_ctzll(c->runmask[w]);
	}
	return at;
}

static bool cpu_floats(const struct cfg_cpu *c)
{
	return !(c->runmask[0] | c->runmask[1] | c->runmask[2] | c->runmask[3]);
}

static int check_cpus(struct vm_cfg *cfg, struct cf_errors *errs)
{
	int first_on[256];
	memset(first_on, 0xff, sizeof(first_on));
	if (cfg->n_cpus == 0) {
		if (!cfg_grow(&cfg->cpus, 0, sizeof(*cfg->cpus)))
			return -ENOMEM;
		cfg->cpus[cfg->n_cpus++] = (struct cfg_cpu){
			.pos = { "command line", 1, 1 }
		};
	}
	for (size_t i = 0; i < cfg->n_cpus; i++) {
		const struct cfg_cpu *c = &cfg->cpus[i];
		int on = cpu_pinned(c);
		if (c->policy == CFG_SCHED_SPORADIC && !cpu_floats(c))
			cfg_err(errs, &c->pos, "cpu %zu: sporadic scheduling and runmask exclude "
				"each other, for Linux moves such a thread freely: leave one out",
				i);
		if (on >= 0 && first_on[on] >= 0)
			cfg_warn(errs, &c->pos, "cpu %zu and cpu %d are both pinned to host CPU %d:"
				 " a spinlock of the guest can stop both", i, first_on[on], on);
		if (on >= 0 && first_on[on] < 0)
			first_on[on] = (int)i;
	}
	return 0;
}

/* ---- vdevs ---- */

/* There is one of each that the machine has once. */
static void check_singles(const struct vm_cfg *cfg, struct cf_errors *errs)
{
	for (size_t i = 0; i < cfg->n_vdevs; i++) {
		const struct cfg_vdev *v = &cfg->vdevs[i];
		/* A type without a place of its own, as the two 8259: its place tells it apart. */
		if (!v->type || !(v->type->flags & (VD_HOST_MADE | VD_IMPLICIT)) ||
		    !(v->type->flags & VD_IMPLICIT || v->type->default_base))
			continue;
		const struct cfg_vdev *first = cfg_vdev_of_type(cfg, v->type->name);
		if (first != v)
			cfg_err(errs, &v->pos, "a second %s is not served: the first is at "
				"%s:%u:%u", v->type->name, first->pos.file, first->pos.line,
				first->pos.col);
	}
}

/* Registers of virtio 0.9.5 over PCI are ports. */
static void check_legacy(const struct vm_cfg *cfg, const struct cfg_vdev *v,
			 struct cf_errors *errs)
{
	const struct vd_arg *a = vd_arg_find(&v->cfg, "legacy");
	if (a && v->on_pci && !cfg->arch->has_io)
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "vdev %s: legacy by PCI needs I/O ports, which %s has not: give it "
			     "loc and intr in memory, or leave legacy out", v->type->name,
			     cfg->arch->name);
}

/* What its type has to say. */
static void check_vdev(const struct vm_cfg *cfg, struct cfg_vdev *v, struct cf_errors *errs)
{
	/* Of what was told already, the type need not say that it is missing. */
	v->cfg.n_irqs = v->irqs_bad ? Q_MAX(v->n_irqs, 1u) : v->n_irqs;
	if (!v->cfg.block_timeout_ms)
		v->cfg.block_timeout_ms = cfg->block_timeout_ms;
	if (v->type && v->type->check)
		v->type->check(&v->cfg, errs);
	if (v->type)
		check_legacy(cfg, v, errs);
	/* What the kernel has at one place is there, whatever was written (and told). */
	if (v->type && v->type->flags & VD_HOST_MADE && v->type->default_base &&
	    v->cfg.space == VD_MEM) {
		v->cfg.base = v->type->default_base;
		v->cfg.len_bytes = v->type->len_bytes;
	}
}

int cfg_check_run(struct vm_cfg *cfg, struct cf_errors *errs, const struct cfg_seen *seen)
{
	check_ram(cfg, errs, seen);
	int r = check_low(cfg, errs, seen);
	if (r < 0)
		return r;
	check_pieces(cfg, errs);
	check_loads(cfg, errs, seen);
	r = check_cpus(cfg, errs);
	if (r < 0)
		return r;
	r = cfg_check_names(cfg, errs);
	if (r < 0)
		return r;
	cfg_check_refs(cfg, errs);
	check_singles(cfg, errs);
	cfg_check_places(cfg, errs);
	cfg_check_irqs(cfg, errs);
	cfg_check_gic(cfg, errs);
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		check_vdev(cfg, &cfg->vdevs[i], errs);
	return 0;
}
