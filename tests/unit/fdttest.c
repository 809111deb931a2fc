/* SPDX-License-Identifier: Apache-2.0 */
/* See fdttest.h. */
#include "tests/unit/fdttest.h"

#include <libfdt.h>

#include "qvm/cfg_int.h"
#include "tests/unit/fixture.h"

void ft_init(struct ft *t, const char *config)
{
	struct cf_errors errs = CF_ERRORS_NULL;

	memset(t, 0, sizeof(*t));
	int r = cfg_parse_text(&cfg_arch_arm64, "t", config, strlen(config), &errs, &t->cfg);
	cf_errors_print(&errs, stderr);
	ck_assert_int_eq(r, 0);
	cf_errors_fini(&errs);
	for (unsigned i = 0; i < t->cfg->n_cpus; i++)
		t->mpidrs[i] = fdtgen_mpidr(i);
	t->g = (struct fdtgen){ .cfg = t->cfg,
				.mpidrs = t->mpidrs,
				.gic_version = 3,
				.has_its = true };
}

void ft_fini(struct ft *t)
{
	free(t->tree);
	t->tree = NULL;
	cfg_free(t->cfg);
}

static int make(struct ft *t, const void *file, size_t bytes)
{
	size_t room = fdtuser_room(bytes);
	/* Memory of its exact size, so that a sanitizer sees what reads beyond. */
	void *copy = file ? malloc(bytes ? bytes : 1) : NULL;

	free(t->tree);
	t->tree = malloc(room);
	ck_assert_ptr_nonnull(t->tree);
	if (file)
		memcpy(copy, file, bytes);
	int r = fdtuser_make(&t->g, copy, bytes, t->tree, t->text, sizeof(t->text));
	if (r == 0) {
		ck_assert_int_eq(fdt_check_full(t->tree, room), 0);
		ck_assert_uint_le(fdt_totalsize(t->tree), room);
	} else {
		ck_assert_msg(t->text[0] != '\0', "refused without a word: %d", r);
	}
	if (copy)
		ck_assert_msg(!memcmp(copy, file, bytes), "the file was written to");
	free(copy);
	return r;
}

void ft_make(struct ft *t, const void *file, size_t bytes)
{
	int r = make(t, file, bytes);

	ck_assert_msg(r == 0, "%s", t->text);
}

void ft_refused(struct ft *t, const void *file, size_t bytes, const char *say)
{
	int r = make(t, file, bytes);

	ck_assert_msg(r < 0, "it was taken");
	ck_assert_msg(strstr(t->text, say) != NULL, "'%s' says nothing of '%s'", t->text, say);
}

void ft_try(struct ft *t, const void *file, size_t bytes)
{
	make(t, file, bytes);
}

/* ---- reading ---- */

bool ft_has(const struct ft *t, const char *path)
{
	return fdt_node_at(t->tree, path) >= 0;
}

static const void *get(const struct ft *t, const char *path, const char *prop, int *ret_len)
{
	int at = fdt_node_at(t->tree, path);

	ck_assert_msg(at >= 0, "there is no %s", path);
	const void *val = fdt_getprop(t->tree, at, prop, ret_len);
	ck_assert_msg(val != NULL, "%s has no %s", path, prop);
	return val;
}

const char *ft_str(const struct ft *t, const char *path, const char *prop)
{
	int len;

	return get(t, path, prop, &len);
}

int ft_cells(const struct ft *t, const char *path, const char *prop)
{
	int len;

	get(t, path, prop, &len);
	return len / 4;
}

uint32_t ft_cell(const struct ft *t, const char *path, const char *prop, unsigned n)
{
	int len;
	const fdt32_t *val = get(t, path, prop, &len);

	ck_assert_msg(n < (unsigned)len / 4, "%s of %s has no cell %u", prop, path, n);
	return fdt32_ld(val + n);
}

uint32_t ft_phandle(const struct ft *t, const char *path)
{
	uint32_t phandle = ft_cell(t, path, "phandle", 0);

	/* It is that node's alone. */
	ck_assert_int_eq(fdt_node_offset_by_phandle(t->tree, phandle),
			 fdt_node_at(t->tree, path));
	return phandle;
}

/* ---- writing ---- */

static void ok(int r)
{
	ck_assert_msg(r >= 0, "%s", fdt_strerror(r));
}

void ftw_begin(struct ftw *w, unsigned memreserve_pages)
{
	memset(w->buf, 0, sizeof(w->buf));
	ok(fdt_create(w->buf, sizeof(w->buf)));
	for (unsigned i = 0; i < memreserve_pages; i++)
		ok(fdt_add_reservemap_entry(w->buf, 0x80000000 + 4096ull * i, 4096));
	ok(fdt_finish_reservemap(w->buf));
	ok(fdt_begin_node(w->buf, ""));
}

void ftw_node(struct ftw *w, const char *name)
{
	ok(fdt_begin_node(w->buf, name));
}

void ftw_end(struct ftw *w)
{
	ok(fdt_end_node(w->buf));
}

void ftw_str(struct ftw *w, const char *name, const char *val)
{
	ok(fdt_property_string(w->buf, name, val));
}

void ftw_u32(struct ftw *w, const char *name, uint32_t val)
{
	ok(fdt_property_u32(w->buf, name, val));
}

size_t ftw_finish(struct ftw *w)
{
	ok(fdt_end_node(w->buf));
	ok(fdt_finish(w->buf));
	return fdt_totalsize(w->buf);
}
