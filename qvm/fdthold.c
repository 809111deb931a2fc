/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that stand for vdevs: one with the property qvm,vdev = "NAME" is another word for the node
 * of the vdev of that name. What refers to it refers to the vdev's node, what stands in it is added
 * there, and it is gone in the tree that the guest gets.
 */
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qlog.h"
#include "qvm/cfg_arch.h"
#include "qvm/fdtuser.h"

static void free_ptr(void **p)
{
	free(*p);
}

static void free_holders(struct fdt_holders **p)
{
	free(*p);
}

/* "there is no vdev 'urat' …: did you mean 'uart'?" */
static int no_vdev(const struct vm_cfg *cfg, const char *path, const char *name,
		   const struct fdt_say *say)
{
	const char *names[FDT_HOLDERS_MAX] = { cfg->arch->implicit_pic };
	size_t n = names[0] ? 1 : 0;

	for (size_t i = 0; i < cfg->n_vdevs && n < Q_ARRAY_LEN(names); i++)
		names[n++] = cfg->vdevs[i].cfg.name;
	const char *near = cf_nearest(name, names, n);
	return fdt_bad(say, "%s: there is no vdev '%s'%s%s%s", path, name,
		       near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int holder_check(const struct vm_cfg *cfg, const struct fdt_holder *h,
			const struct fdt_holders *before, const struct fdt_say *say)
{
	char path[FDTGEN_PATH_MAX], show[128];
	int r = fdtgen_path(cfg, h->name, path);

	qlog_escape(show, sizeof(show), h->name, strlen(h->name));
	if (r == -ENODEV)
		return fdt_bad(say, "%s: vdev '%s' has no node: the guest finds it by itself",
			       h->path, show);
	if (r < 0)
		return no_vdev(cfg, h->path, show, say);
	for (unsigned i = 0; i < before->n; i++) {
		const struct fdt_holder *other = &before->v[i];

		if (!strcmp(other->name, h->name) && other->phandle && h->phandle &&
		    other->phandle != h->phandle)
			return fdt_bad(say, "%s and %s both stand for vdev '%s', and both are "
				       "referred to: one is enough", other->path, h->path, show);
	}
	return 0;
}

int fdt_holders_find(const void *tree, const struct vm_cfg *cfg, const struct fdt_say *say,
		     struct fdt_holders *ret)
{
	ret->n = 0;
	for (int at = fdt_next_node(tree, -1, NULL); at >= 0; at = fdt_next_node(tree, at, NULL)) {
		struct fdt_holder *h = &ret->v[ret->n];
		int len;
		const char *name = fdt_getprop(tree, at, FDT_PROP_VDEV, &len);

		if (!name)
			continue;
		if (ret->n == FDT_HOLDERS_MAX)
			return fdt_bad(say, "more than %d nodes have " FDT_PROP_VDEV,
				       FDT_HOLDERS_MAX);
		if (fdt_get_path(tree, at, h->path, sizeof(h->path)) < 0)
			return fdt_bad(say, "the path of a node with " FDT_PROP_VDEV
					    " is too long");
		if (len < 2 || name[len - 1] || strlen(name) + 1 != (size_t)len ||
		    (size_t)len > sizeof(h->name))
			return fdt_bad(say, "%s: " FDT_PROP_VDEV " is not the name of a vdev",
				       h->path);
		memcpy(h->name, name, (size_t)len);
		h->phandle = fdt_get_phandle(tree, at);
		if (h->phandle == UINT32_MAX)
			return fdt_bad(say, "%s: its phandle is none", h->path);
		int r = holder_check(cfg, h, ret, say);
		if (r < 0)
			return r;
		ret->n++;
	}
	return 0;
}

/* ---- resolving ---- */

/* Where a thing stands and how it interrupts is the machine's; what a GIC is, too. */
static bool machine_keeps(const void *arg, const char *path, const char *prop, bool is_there)
{
	static const char *const kept[] = {
		"phandle", "linux,phandle", FDT_PROP_VDEV, "reg", "ranges", "interrupts",
		"interrupt-parent", "#address-cells", "#size-cells", "#interrupt-cells",
	};
	const char *target = arg;

	if (strcmp(path, target) != 0)
		return is_there && !strncmp(path, "/interrupt-controller@", 22);
	for (size_t i = 0; i < Q_ARRAY_LEN(kept); i++)
		if (!strcmp(prop, kept[i]))
			return true;
	return is_there && !strcmp(prop, "compatible") &&
	       !strncmp(target, "/interrupt-controller@", 22);
}

static bool is_above(const char *path, const char *below)
{
	size_t len = strlen(path);

	return !path[1] || (!strncmp(path, below, len) && below[len] == '/');
}

static int resolve_one(void *tree, const void *was, const struct fdt_holder *h, const char *target,
		       const struct fdt_say *say)
{
	if (!strcmp(h->path, target)) {
		int r = fdt_delprop(tree, fdt_node_at(tree, target), FDT_PROP_VDEV);
		return fdt_say_error(say, r, h->path);
	}
	if (is_above(h->path, target))
		return fdt_bad(say, "%s: a node that stands for vdev '%s' cannot hold %s", h->path,
			       h->name, target);
	if (is_above(target, h->path))
		return fdt_bad(say, "%s: a node that stands for vdev '%s' cannot stand in it",
			       h->path, h->name);
	int r = fdt_merge(tree, target, was, fdt_node_at(was, h->path), machine_keeps, target);
	int at = fdt_node_at(tree, h->path);
	/* One that stood in another one that is resolved is gone with it. */
	if (r == 0 && at >= 0)
		r = fdt_del_node(tree, at);
	return fdt_say_error(say, r, h->path);
}

int fdt_holders_resolve(void *tree, const struct vm_cfg *cfg, const struct fdt_say *say)
{
	struct fdt_holders *all QCLEAN(free_holders) = malloc(sizeof(*all));
	void *was QCLEAN(free_ptr) = malloc(fdt_totalsize(tree));

	if (!all || !was)
		return -ENOMEM;
	memcpy(was, tree, fdt_totalsize(tree));
	int r = fdt_holders_find(was, cfg, say, all);
	for (unsigned i = 0; r == 0 && i < all->n; i++) {
		char target[FDTGEN_PATH_MAX];

		for (unsigned k = 0; k < all->n; k++)
			if (k != i && is_above(all->v[k].path, all->v[i].path))
				return fdt_bad(say, "%s stands in %s, and both stand for a vdev",
					       all->v[i].path, all->v[k].path);
		r = fdtgen_path(cfg, all->v[i].name, target);
		if (r == 0)
			r = resolve_one(tree, was, &all->v[i], target, say);
	}
	return r;
}
