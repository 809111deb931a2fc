/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device tree that a guest gets: the machine's own (fdtgen.h), joined with what `fdt load`
 * gave. That is either a tree, which stays as it is but for what the machine decides, or an
 * overlay, which is applied to the machine's tree. docs/qvmconf.5, FDT, says the rules. What a file
 * says is checked before it is believed; all that is wrong is one sentence. No state, any thread.
 */
#pragma once

#include "qvm/fdtgen.h"

#define FDTUSER_BYTES_MAX (1u << 20) /* of a file */

/* Room that the guest's tree needs at most, and while it is made, with a file of @file_bytes. */
size_t fdtuser_room(size_t file_bytes);
/*
 * Makes the guest's tree in @buf of at least fdtuser_room(@file_bytes). @file NULL: there is none;
 * it is not written to. @g's symbols, phandles and numbering are set here. 0, -EINVAL with a
 * sentence about the file in @text, or -ENOMEM.
 */
int fdtuser_make(const struct fdtgen *g, const void *file, size_t file_bytes, void *buf, char *text,
		 size_t text_bytes);
/*
 * The whole file @path into memory that the caller frees; at most FDTUSER_BYTES_MAX. 0, or -errno
 * with a sentence in @text.
 */
int fdtuser_read(const char *path, void **ret_file, size_t *ret_bytes, char *text,
		 size_t text_bytes);

/* ---- the parts: fdtuser.c, fdthold.c, fdttree.c, fdtover.c ---- */

#define FDT_DEPTH_MAX 16
#define FDT_PATH_MAX  512
#define FDT_HOLDERS_MAX 64
#define FDT_PROP_VDEV "qvm,vdev"

/* Where a sentence goes. */
struct fdt_say {
	char *text;
	size_t bytes;
};
/* Writes the sentence, if there is none yet; -EINVAL. */
int fdt_bad(const struct fdt_say *say, const char *fmt, ...) Q_PRINTF(2, 3);
/* 0 for @r >= 0; else as fdt_bad(), with what libfdt means by @r. -ENOMEM for FDT_ERR_NOSPACE. */
int fdt_say_error(const struct fdt_say *say, int r, const char *what);

/* The child of @parent that has exactly this name, which libfdt's search is not; or negative. */
int fdt_child(const void *tree, int parent, const char *name, size_t len);
/* The node at exactly @path, or negative. */
int fdt_node_at(const void *tree, const char *path);
/* The string in @node's property @prop; NULL: there is none, or it is no string. */
const char *fdt_text_of(const void *tree, int node, const char *prop);

/* A node of the user's that stands for one of ours. */
struct fdt_holder {
	char name[64], path[FDT_PATH_MAX];
	uint32_t phandle; /* 0: nobody refers to it */
};
struct fdt_holders {
	struct fdt_holder v[FDT_HOLDERS_MAX];
	unsigned n;
};
/* Finds and checks all nodes of @tree with qvm,vdev. 0 or -EINVAL. */
int fdt_holders_find(const void *tree, const struct vm_cfg *cfg, const struct fdt_say *say,
		     struct fdt_holders *ret);
/* What stands in such nodes of @tree moves to ours, and they go. 0, -EINVAL or -ENOMEM. */
int fdt_holders_resolve(void *tree, const struct vm_cfg *cfg, const struct fdt_say *say);

/*
 * All of @from at node @from_at goes to @to at @to_at, but for properties that @keeps says stay as
 * they are there. @path is that of @to_at. 0 or an error of libfdt.
 */
typedef bool fdt_keeps_fn(const void *arg, const char *path, const char *prop, bool is_there);
int fdt_merge(void *to, const char *path, const void *from, int from_at, fdt_keeps_fn *keeps,
	      const void *arg);

/* @buf has room for the result of both. 0, -EINVAL or -ENOMEM. */
int fdt_join_tree(const struct fdtgen *g, const void *file, void *buf, size_t buf_bytes,
		  const struct fdt_say *say);
int fdt_join_overlay(const struct fdtgen *g, const void *file, void *buf, size_t buf_bytes,
		     const struct fdt_say *say);
