/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of device trees: a configuration of an arm64 machine, trees written by hand, and the
 * tree that a guest would get, read by path. What is asked for and not there fails the test.
 */
#pragma once

#include "qvm/fdtuser.h"

#define FTW_BYTES 8192u

/* The machine, and the tree that was made last. */
struct ft {
	struct vm_cfg *cfg;
	uint64_t mpidrs[8];
	struct fdtgen g; /* GICv3 with an ITS; to be changed before ft_make() */
	void *tree;
	char text[512];
};

void ft_init(struct ft *t, const char *config);
void ft_fini(struct ft *t);
/* Joined with @file (NULL: none): it must be right, and what comes out a tree. */
void ft_make(struct ft *t, const void *file, size_t bytes);
/* Refused, with @say in the sentence. */
void ft_refused(struct ft *t, const void *file, size_t bytes, const char *say);
/* Refused, or joined into a tree. */
void ft_try(struct ft *t, const void *file, size_t bytes);

bool ft_has(const struct ft *t, const char *path);
const char *ft_str(const struct ft *t, const char *path, const char *prop);
int ft_cells(const struct ft *t, const char *path, const char *prop);
uint32_t ft_cell(const struct ft *t, const char *path, const char *prop, unsigned n);
uint32_t ft_phandle(const struct ft *t, const char *path);

/* A tree that is being written. */
struct ftw {
	uint8_t buf[FTW_BYTES];
};
void ftw_begin(struct ftw *w, unsigned memreserve_pages);
void ftw_node(struct ftw *w, const char *name);
void ftw_end(struct ftw *w);
void ftw_str(struct ftw *w, const char *name, const char *val);
void ftw_u32(struct ftw *w, const char *name, uint32_t val);
/* Ends it; how long it is. */
size_t ftw_finish(struct ftw *w);
