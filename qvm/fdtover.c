/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An overlay on the machine's own tree. libfdt applies it, but believes what an overlay says about
 * its own references, so that these are checked before. Two things are ours: references to nodes
 * that stand for vdevs are turned into references to the vdevs' nodes while it is still known which
 * numbers are references, and labels that the machine's tree does not have are said by name.
 */
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qlog.h"
#include "qvm/fdtuser.h"

static void free_ptr(void **p)
{
	free(*p);
}

static void free_holders(struct fdt_holders **p)
{
	free(*p);
}

static const char *shown(char *buf, size_t bytes, const char *s)
{
	qlog_escape(buf, bytes, s, strlen(s));
	return buf;
}
#define SHOW(s) shown((char[128]){ 0 }, 128, (s))

/* ---- references to labels of the machine's tree ---- */

/* One "path:property:offset": the four bytes there are in the overlay. */
static bool fixup_ok(const void *over, const char *s)
{
	char path[FDT_PATH_MAX], prop[128], *end;
	const char *colon = strchr(s, ':'), *second = colon ? strchr(colon + 1, ':') : NULL;
	int len;

	if (!second || (size_t)(colon - s) >= sizeof(path) ||
	    (size_t)(second - colon) > sizeof(prop) || second[1] < '0' || second[1] > '9')
		return false;
	memcpy(path, s, (size_t)(colon - s));
	path[colon - s] = '\0';
	memcpy(prop, colon + 1, (size_t)(second - colon - 1));
	prop[second - colon - 1] = '\0';
	unsigned long off = strtoul(second + 1, &end, 10);
	/* libfdt looks it up in its own way: what it finds must be what we found. */
	int at = path[0] == '/' ? fdt_node_at(over, path) : -1;
	if (*end || at < 0 || at != fdt_path_offset(over, path))
		return false;
	const void *val = fdt_getprop(over, at, prop, &len);
	return val && qspan_inside(off, 4, (uint64_t)len);
}

static int check_label(const void *over, const void *base, int prop, const struct fdt_say *say)
{
	const char *label, *val;
	int len, symbols = fdt_node_at(base, "/__symbols__");

	val = fdt_getprop_by_offset(over, prop, &label, &len);
	if (!val || len <= 0 || val[len - 1])
		return fdt_bad(say, "damaged: __fixups__");
	for (const char *s = val; s < val + len; s += strlen(s) + 1)
		if (!fixup_ok(over, s))
			return fdt_bad(say, "damaged: __fixups__ has '%s'", SHOW(s));
	if (!fdt_getprop(base, symbols, label, NULL))
		return fdt_bad(say, "refers to '%s': the labels of the machine's tree are gic, "
			       "pcie, its when it has one, and the names of vdevs with loc",
			       SHOW(label));
	return 0;
}

static int check_fixups(const void *over, const void *base, const struct fdt_say *say)
{
	int prop, node = fdt_node_at(over, "/__fixups__");

	if (node < 0)
		return 0;
	fdt_for_each_property_offset(prop, over, node) {
		int r = check_label(over, base, prop, say);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_targets(const void *over, const void *base, const struct fdt_say *say)
{
	int at;

	fdt_for_each_subnode(at, over, 0) {
		const char *path = fdt_text_of(over, at, "target-path");

		if (fdt_child(over, at, "__overlay__", strlen("__overlay__")) < 0)
			continue;
		if (path && fdt_path_offset(base, path) < 0)
			return fdt_bad(say, "target-path '%s': there is no such node", SHOW(path));
		if (!path && !fdt_getprop(over, at, "target", NULL))
			return fdt_bad(say, "%s has neither target nor target-path",
				       SHOW(fdt_get_name(over, at, NULL)));
	}
	return 0;
}

/* ---- references within the overlay ---- */

struct local {
	void *over;
	const void *base;
	const struct vm_cfg *cfg;
	const struct fdt_holders *holders;
	uint32_t delta; /* what libfdt adds to each */
	const struct fdt_say *say;
};

/* The reference @ref as it must stand so that libfdt makes the right one of it. */
static uint32_t redirected(const struct local *l, uint32_t ref)
{
	char path[FDTGEN_PATH_MAX];

	for (unsigned i = 0; i < l->holders->n; i++) {
		const struct fdt_holder *h = &l->holders->v[i];

		if (!h->phandle || h->phandle != ref || fdtgen_path(l->cfg, h->name, path) < 0)
			continue;
		return fdt_get_phandle(l->base, fdt_node_at(l->base, path)) - l->delta;
	}
	return ref;
}

/* @prop of the fixup node is a list of offsets of references in the property of that name. */
static int local_prop(const struct local *l, int prop, int node)
{
	const char *name;
	int len, val_len;
	const fdt32_t *offs = fdt_getprop_by_offset(l->over, prop, &name, &len);
	char *val = fdt_getprop_w(l->over, node, name, &val_len);

	if (!offs || len % (int)sizeof(*offs) || !val)
		return fdt_bad(l->say, "damaged: __local_fixups__");
	for (int i = 0; i < len / (int)sizeof(*offs); i++) {
		uint32_t off = fdt32_ld(&offs[i]);
		fdt32_t ref;

		if (!qspan_inside(off, sizeof(ref), (uint64_t)val_len))
			return fdt_bad(l->say, "damaged: __local_fixups__ of '%s'", SHOW(name));
		memcpy(&ref, val + off, sizeof(ref));
		ref = cpu_to_fdt32(redirected(l, fdt32_to_cpu(ref)));
		memcpy(val + off, &ref, sizeof(ref));
	}
	return 0;
}

static int local_node(const struct local *l, int fixups, int node)
{
	int prop, child;

	fdt_for_each_property_offset(prop, l->over, fixups) {
		int r = local_prop(l, prop, node);
		if (r < 0)
			return r;
	}
	fdt_for_each_subnode(child, l->over, fixups) {
		int len;
		const char *name = fdt_get_name(l->over, child, &len);
		int at = fdt_child(l->over, node, name, (size_t)len);

		if (at < 0 || at != fdt_subnode_offset(l->over, node, name))
			return fdt_bad(l->say, "damaged: __local_fixups__ has '%s'", SHOW(name));
		int r = local_node(l, child, at);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- joining ---- */

static int check_holders(const struct fdt_holders *holders, const struct fdt_say *say)
{
	for (unsigned i = 0; i < holders->n; i++)
		if (!strstr(holders->v[i].path, "/__overlay__/"))
			return fdt_bad(say, "%s: " FDT_PROP_VDEV " belongs into a node below "
				       "__overlay__", holders->v[i].path);
	return 0;
}

static int prepare(struct local *l)
{
	int fixups, symbols = fdt_node_at(l->over, "/__symbols__"), r = 0;

	/* Nobody looks at its labels any more, and what they say need not be true. */
	if (symbols >= 0)
		r = fdt_say_error(l->say, fdt_del_node(l->over, symbols), "damaged");
	if (r == 0)
		r = check_holders(l->holders, l->say);
	if (r == 0)
		r = check_targets(l->over, l->base, l->say);
	if (r == 0)
		r = check_fixups(l->over, l->base, l->say);
	if (r == 0)
		r = fdt_say_error(l->say, fdt_find_max_phandle(l->base, &l->delta), "damaged");
	fixups = fdt_node_at(l->over, "/__local_fixups__");
	return r == 0 && fixups >= 0 ? local_node(l, fixups, 0) : r;
}

int fdt_join_overlay(const struct fdtgen *g, const void *file, void *buf, size_t buf_bytes,
		     const struct fdt_say *say)
{
	const int over_bytes = (int)fdt_totalsize(file) + 4096;
	struct fdt_holders *holders QCLEAN(free_holders) = malloc(sizeof(*holders));
	void *over QCLEAN(free_ptr) = malloc((size_t)over_bytes);
	struct fdtgen with = *g;

	if (!holders || !over)
		return -ENOMEM;
	with.symbols = true;
	int r = fdt_say_error(say, fdt_open_into(file, over, over_bytes), "damaged");
	if (r == 0)
		r = fdt_holders_find(over, g->cfg, say, holders);
	if (r == 0)
		r = fdt_say_error(say, fdtgen_build(&with, buf, FDTGEN_BYTES),
				  "the machine's own part");
	if (r == 0)
		r = fdt_say_error(say, fdt_open_into(buf, buf, (int)buf_bytes), "no room");
	struct local l = { over, buf, g->cfg, holders, 0, say };
	if (r == 0)
		r = prepare(&l);
	if (r == 0)
		r = fdt_say_error(say, fdt_overlay_apply(buf, over), "cannot be applied");
	if (r == 0)
		r = fdt_say_error(say, fdt_del_node(buf, fdt_node_at(buf, "/__symbols__")),
				  "no labels");
	return r == 0 ? fdt_holders_resolve(buf, g->cfg, say) : r;
}
