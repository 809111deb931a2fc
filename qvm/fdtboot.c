/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fdtboot.h. A tree with an address keeps its room before other files are placed, when its size
 * is not known yet: the file's and some more. One without goes where room is left.
 */
#include "qvm/fdtboot.h"

#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "qvm/cfg_arch.h"
#include "qvm/fdtuser.h"
#include "qvm/memmap.h"

#define TREE_ALIGN 0x10000u
#define TREE_SPARE 0x10000u

static void free_buf(void **p)
{
	free(*p);
}

static void free_result(struct load_result **p)
{
	free(*p);
}

static const struct cfg_load *user_tree(const struct vm_cfg *cfg)
{
	for (size_t i = 0; i < cfg->n_loads; i++)
		if (cfg->loads[i].type == CFG_LOAD_FDT)
			return &cfg->loads[i];
	return NULL;
}

static uint64_t claim_bytes(const struct cfg_load *l)
{
	struct stat st;

	return TREE_SPARE + (stat(l->path, &st) == 0 ? Q_ALIGN_UP((uint64_t)st.st_size, 4096) : 0);
}

int fdtboot_claim(const struct vm_cfg *cfg, struct load_result *res)
{
	const struct cfg_load *l = user_tree(cfg);

	return l && l->has_addr ? load_own(res, l->gpa, claim_bytes(l), "the device tree") : 0;
}

/* ---- making ---- */

/* `set fdt-dump-file`: for the operator's eyes, so that it failing does not stop the VM. */
static int dump(const struct vm_cfg *cfg, const void *tree)
{
	const char *path = cfg->fdt_dump_file;

	if (!path)
		return 0;
	int fd QCLEAN(qfd_close) = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	return fd < 0 ? -errno : qfd_write_all(fd, tree, fdt_totalsize(tree));
}

/* The tree in *@ret, which the caller frees. */
static int make(const struct fdtgen *g, const struct load_result *res, void **ret, char *text,
		size_t text_bytes)
{
	const struct cfg_load *l = user_tree(g->cfg);
	void *file QCLEAN(free_buf) = NULL;
	uint8_t seed[FDTGEN_SEED_BYTES];
	struct fdtgen with = *g;
	size_t file_bytes = 0;
	char why[400] = "out of memory";
	int r = 0;

	with.initrd_gpa = res->initrd_gpa;
	with.initrd_bytes = res->initrd_bytes;
	if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) == (ssize_t)sizeof(seed))
		with.seed = seed;
	if (l)
		r = fdtuser_read(l->path, &file, &file_bytes, why, sizeof(why));
	void *buf QCLEAN(free_buf) = r < 0 ? NULL : malloc(fdtuser_room(file_bytes));
	if (r == 0)
		r = buf ? fdtuser_make(&with, file, file_bytes, buf, why, sizeof(why)) : -ENOMEM;
	if (r < 0 && l)
		snprintf(text, text_bytes, "%s:%u: fdt load %s: %s", l->pos.file, l->pos.line,
			 l->path, why);
	else if (r < 0)
		snprintf(text, text_bytes, "the device tree: %s", why);
	if (r < 0)
		return r;
	*ret = buf;
	buf = NULL;
	return 0;
}

/* Where it goes; false: nowhere. */
static bool place(const struct load_ctx *c, const struct cfg_load *l, size_t n_bytes, uint64_t *ret)
{
	if (!l || !l->has_addr)
		return load_find(c, n_bytes, TREE_ALIGN, 0, UINT64_MAX, true, ret);
	*ret = l->gpa;
	return n_bytes <= claim_bytes(l) && l->gpa % 8 == 0;
}

int fdtboot_put(const struct fdtgen *g, const struct qmem *mem, const struct load_result *res,
		uint64_t *ret_at, char *text, size_t text_bytes)
{
	const struct load_ctx c = { .mem = mem, .res = (struct load_result *)res };
	const struct cfg_load *l = user_tree(g->cfg);
	void *tree QCLEAN(free_buf) = NULL;
	int r = make(g, res, &tree, text, text_bytes);

	if (r < 0)
		return r;
	int dumped = dump(g->cfg, tree);
	if (dumped < 0)
		qlog_err(dumped, "ev=fdt_dump_failed path=%s", g->cfg->fdt_dump_file);
	else if (g->cfg->fdt_dump_file)
		qlog_info("ev=fdt_saved path=%s", g->cfg->fdt_dump_file);
	if (place(&c, l, fdt_totalsize(tree), ret_at) &&
	    qmem_fill(mem, gpa(*ret_at), tree, fdt_totalsize(tree)) == 0)
		return 0;
	snprintf(text, text_bytes, "there is no RAM for the device tree of 0x%x bytes%s: see ram",
		 fdt_totalsize(tree),
		 l && l->has_addr ? " at the address given, a multiple of 8" : "");
	return -ENOSPC;
}

/* ---- dry ---- */

static int dry_memory(const struct vm_cfg *cfg, struct qmem *mem)
{
	int r = mem ? 0 : -ENOMEM;

	for (size_t i = 0; i < cfg->n_ram && r == 0; i++)
		r = qmem_add(mem, gpa(cfg->ram[i].gpa), cfg->ram[i].len_bytes,
			     cfg->ram[i].rom ? QMEM_READONLY : 0, "dry-run");
	return r;
}

static int dry_tree(const struct vm_cfg *cfg, const struct qmem *mem, struct load_result *res,
		    void **ret, char *text, size_t text_bytes)
{
	uint64_t mpidrs[MM_CPUS_MAX];
	const unsigned version = cfg_gic_version(cfg);
	struct fdtgen g = { .cfg = cfg,
			    .mpidrs = mpidrs,
			    .gic_version = version ? version : 3,
			    .frame = cfg_gic_frame(cfg) };

	for (unsigned i = 0; i < cfg->n_cpus && i < MM_CPUS_MAX; i++)
		mpidrs[i] = fdtgen_mpidr(i);
	g.has_its = g.gic_version == 3 && !g.frame.count;
	int r = fdtboot_claim(cfg, res);
	if (r == 0)
		r = load_all(cfg, mem, res, text, text_bytes);
	return r == 0 ? make(&g, res, ret, text, text_bytes) : r;
}

int fdtboot_dry(const struct vm_cfg *cfg, char *text, size_t text_bytes)
{
	struct load_result *res QCLEAN(free_result) = NULL;
	void *tree QCLEAN(free_buf) = NULL;

	if (!cfg->fdt_dump_file || cfg->arch != cfg_arch_native() || !cfg->arch->has_fdt)
		return 0;
	res = calloc(1, sizeof(*res));
	struct qmem *mem = qmem_new();
	snprintf(text, text_bytes, "out of memory");
	int r = res ? dry_memory(cfg, mem) : -ENOMEM;
	if (r == 0)
		r = dry_tree(cfg, mem, res, &tree, text, text_bytes);
	qmem_unref(mem);
	if (r < 0)
		return r;
	r = dump(cfg, tree);
	if (r < 0)
		snprintf(text, text_bytes, "%s: %s", cfg->fdt_dump_file, strerrordesc_np(-r));
	return r < 0 ? r : 1;
}
