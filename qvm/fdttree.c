/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user's whole tree with the machine's nodes in it. Nobody can know which numbers in a compiled
 * tree are phandles, so the user's stay as they are and the machine's are chosen around them: a
 * node of ours that the user's tree has as well, or that one of its nodes stands for, takes the
 * phandle that the user's has.
 */
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "qvm/cfg_arch.h"
#include "qvm/fdtuser.h"

#define OWN_PHANDLES_MAX 0x10000u

static void free_ptr(void **p)
{
	free(*p);
}

static void free_holders(struct fdt_holders **p)
{
	free(*p);
}

struct theirs {
	const void *file;
	const struct fdt_holders *holders;
	const struct fdt_say *say;
};

static uint32_t their_phandle(void *arg, const char *name, const char *path)
{
	const struct theirs *t = arg;
	int at = fdt_node_at(t->file, path);
	uint32_t same = at >= 0 ? fdt_get_phandle(t->file, at) : 0, held = 0;

	for (unsigned i = 0; name && i < t->holders->n; i++)
		if (!strcmp(t->holders->v[i].name, name) && t->holders->v[i].phandle)
			held = t->holders->v[i].phandle;
	if (same == UINT32_MAX)
		fdt_bad(t->say, "%s: its phandle is none", path);
	if (same && held && same != held)
		fdt_bad(t->say, "%s is there, and another node stands for it; both are referred "
			"to: one is enough", path);
	return held ? held : same;
}

/* ---- what the user's tree must be like ---- */

static int check_cells(const void *file, const char *prop, const struct fdt_say *say)
{
	int len;
	const fdt32_t *val = fdt_getprop(file, 0, prop, &len);

	if (!val || (len == sizeof(*val) && fdt32_ld(val) == 2))
		return 0;
	return fdt_bad(say, "%s of its root is not 2, as the machine's own nodes need it", prop);
}

/* An interrupt controller of the user's that is none of ours: its devices would wait for ever. */
static int check_gics(const void *file, const struct vm_cfg *cfg, const struct fdt_say *say)
{
	static const char *const gics[] = { "arm,gic-v3", "arm,gic-400", "arm,cortex-a15-gic",
					    "arm,cortex-a9-gic", "arm,cortex-a7-gic" };
	char path[FDT_PATH_MAX], own[FDTGEN_PATH_MAX];
	const struct cfg_vdev *gic = cfg_vdev_of_type(cfg, cfg->arch->pic_type);
	const char *name = gic ? gic->cfg.name : cfg->arch->implicit_pic;

	if (fdtgen_path(cfg, name, own) < 0)
		return 0;
	for (int at = fdt_next_node(file, 0, NULL); at >= 0; at = fdt_next_node(file, at, NULL)) {
		bool is_gic = false;

		for (size_t i = 0; i < Q_ARRAY_LEN(gics); i++)
			is_gic |= fdt_node_check_compatible(file, at, gics[i]) == 0;
		if (!is_gic || fdt_getprop(file, at, FDT_PROP_VDEV, NULL) ||
		    fdt_get_path(file, at, path, sizeof(path)) < 0 || !strcmp(path, own))
			continue;
		return fdt_bad(say, "%s is an interrupt controller, and the machine has its own: "
			       "write " FDT_PROP_VDEV " = \"%s\"; in that node", path, name);
	}
	return 0;
}

/* ---- what goes ---- */

static bool is_memory(const void *tree, int at)
{
	const char *type = fdt_text_of(tree, at, "device_type");
	const char *name = fdt_get_name(tree, at, NULL);

	return (type && !strcmp(type, "memory")) ||
	       (name && (!strcmp(name, "memory") || !strncmp(name, "memory@", 7)));
}

static int drop_memory(void *tree)
{
	int at = fdt_first_subnode(tree, 0), r = 0;

	while (at >= 0 && r == 0) {
		if (!is_memory(tree, at)) {
			at = fdt_next_subnode(tree, at);
			continue;
		}
		r = fdt_del_node(tree, at);
		at = fdt_first_subnode(tree, 0);
	}
	return r;
}

/* CPUs that the machine has not, and with them what says how they are grouped. */
static int drop_cpus(void *tree, const void *own)
{
	int own_cpus = fdt_node_at(own, "/cpus"), r = 0;
	bool any = false;

	if (fdt_node_at(tree, "/cpus") < 0)
		return 0;
	for (int at = fdt_first_subnode(tree, fdt_node_at(tree, "/cpus")); at >= 0 && r == 0;) {
		int len;
		const char *name = fdt_get_name(tree, at, &len);

		if (!name || strncmp(name, "cpu@", 4) != 0 ||
		    fdt_child(own, own_cpus, name, (size_t)len) >= 0) {
			at = fdt_next_subnode(tree, at);
			continue;
		}
		any = true;
		r = fdt_del_node(tree, at);
		at = fdt_first_subnode(tree, fdt_node_at(tree, "/cpus"));
	}
	int map = any ? fdt_node_at(tree, "/cpus/cpu-map") : -1;
	return r == 0 && map >= 0 ? fdt_del_node(tree, map) : r;
}

/* What the user's tree says stays where the machine has no say in it. */
static bool user_keeps(const void *arg, const char *path, const char *prop, bool is_there)
{
	const struct vm_cfg *cfg = arg;

	if (!is_there)
		return false;
	if (!path[1])
		return true;
	if (strcmp(path, "/chosen") != 0)
		return false;
	return !strcmp(prop, "stdout-path") || (!strcmp(prop, "bootargs") && !cfg->cmdline);
}

/* ---- joining ---- */

static int build_own(const struct fdtgen *g, const void *file, const struct fdt_holders *holders,
		     void *own, const struct fdt_say *say)
{
	struct theirs t = { file, holders, say };
	struct fdtgen with = *g;
	uint32_t max = 0;
	int r = fdt_find_max_phandle(file, &max);

	if (r < 0)
		return fdt_say_error(say, r, "its phandles");
	if (max >= UINT32_MAX - OWN_PHANDLES_MAX)
		return fdt_bad(say, "its phandles go up to 0x%x: none are left for the machine's "
			       "own nodes", max);
	with.phandle_first = max + 1;
	with.phandle = their_phandle;
	with.arg = &t;
	r = fdt_say_error(say, fdtgen_build(&with, own, FDTGEN_BYTES), "the machine's own part");
	return r == 0 && say->text[0] ? -EINVAL : r;
}

int fdt_join_tree(const struct fdtgen *g, const void *file, void *buf, size_t buf_bytes,
		  const struct fdt_say *say)
{
	struct fdt_holders *holders QCLEAN(free_holders) = malloc(sizeof(*holders));
	void *own QCLEAN(free_ptr) = malloc(FDTGEN_BYTES);

	if (!holders || !own)
		return -ENOMEM;
	int r = check_cells(file, "#address-cells", say);
	if (r == 0)
		r = check_cells(file, "#size-cells", say);
	if (r == 0)
		r = check_gics(file, g->cfg, say);
	if (r == 0)
		r = fdt_holders_find(file, g->cfg, say, holders);
	if (r == 0)
		r = build_own(g, file, holders, own, say);
	if (r == 0)
		r = fdt_say_error(say, fdt_open_into(file, buf, (int)buf_bytes), "damaged");
	if (r == 0)
		r = fdt_say_error(say, drop_memory(buf), "its memory");
	if (r == 0)
		r = fdt_say_error(say, drop_cpus(buf, own), "its CPUs");
	if (r == 0)
		r = fdt_say_error(say, fdt_merge(buf, "/", own, 0, user_keeps, g->cfg),
				  "it cannot be joined with the machine's own");
	return r == 0 ? fdt_holders_resolve(buf, g->cfg, say) : r;
}
