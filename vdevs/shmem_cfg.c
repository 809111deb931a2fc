/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of vdev shmem: `create name,size`, `allow pattern`, `deny pattern`, `window size`.
 * Pure functions of the configuration. Patterns are those of a shell; of several, one that matches
 * decides, so their order means nothing, and only one kind may be used.
 */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qlog.h"
#include "vdevs/shmem.h"

const struct vd_option shmem_options[] = {
	{ .name = "create", .kind = VD_ARG_STRING, .accumulates = true },
	{ .name = "allow", .kind = VD_ARG_STRING, .accumulates = true },
	{ .name = "deny", .kind = VD_ARG_STRING, .accumulates = true },
	{ .name = "window", .kind = VD_ARG_SIZE },
	{ .name = NULL },
};

static bool is_option(const struct vd_arg *arg, const char *name)
{
	return !strcmp(arg->opt->name, name);
}

uint64_t shmem_window_bytes(const struct vd_config *cfg)
{
	const struct vd_arg *window = vd_arg_find(cfg, "window");

	return window ? window->num : SHMEM_WINDOW;
}

/* allow makes everything else denied, deny everything else allowed. */
bool shmem_permits(const struct vd_config *cfg, const char *name)
{
	bool otherwise = !vd_arg_find(cfg, "allow");

	for (size_t i = 0; i < cfg->n_args; i++) {
		const struct vd_arg *a = &cfg->args[i];
		bool allow = is_option(a, "allow");

		if ((allow || is_option(a, "deny")) && !fnmatch(a->text, name, 0))
			return allow;
	}
	return otherwise;
}

/* ---- create ---- */

static unsigned unit_shift(char unit)
{
	switch (unit) {
	case 'k': case 'K':
		return 10;
	case 'm': case 'M':
		return 20;
	case 'g': case 'G':
		return 30;
	default:
		return 0;
	}
}

/* As all sizes of a configuration: decimal, or 0x, or 0d; k, m, g behind it. */
static bool size_parse(const char *text, uint64_t *ret)
{
	bool hex = !strncmp(text, "0x", 2);
	const char *at = hex || !strncmp(text, "0d", 2) ? text + 2 : text;
	uint64_t num = 0;

	if (!*at)
		return false;
	for (; *at; at++) {
		unsigned digit = *at >= '0' && *at <= '9' ? (unsigned)(*at - '0') :
				 hex && *at >= 'a' && *at <= 'f' ? (unsigned)(*at - 'a') + 10 :
				 hex && *at >= 'A' && *at <= 'F' ? (unsigned)(*at - 'A') + 10 : 99;
		if (digit == 99)
			break;
		if (__builtin_mul_overflow(num, hex ? 16u : 10u, &num) ||
		    __builtin_add_overflow(num, digit, &num))
			return false;
	}
	unsigned shift = unit_shift(*at);
	if (*at && (!shift || at[1] || num > UINT64_MAX >> shift))
		return false;
	*ret = num << shift;
	return true;
}

static void arg_error(struct cf_errors *errs, const struct vd_arg *arg, const char *what)
{
	char shown[128];

	cf_error_add(errs, CF_ERROR, arg->file, arg->line, arg->col, "%s %s: %s", arg->opt->name,
		     qlog_escape(shown, sizeof(shown), arg->text, strlen(arg->text)), what);
}

bool shmem_create_parse(const struct vd_arg *arg, struct cf_errors *errs,
			char ret_name[QSHM_NAME_BYTES + 1], uint32_t *ret_pages)
{
	char name[QSHM_NAME_BYTES + 2] = "";
	const char *comma = strrchr(arg->text, ',');
	uint64_t bytes;

	if (!comma || !size_parse(comma + 1, &bytes)) {
		arg_error(errs, arg, "expected name,size, such as 'create shared,1m'");
		return false;
	}
	if ((size_t)(comma - arg->text) < sizeof(name))
		memcpy(name, arg->text, (size_t)(comma - arg->text));
	if (!qshm_name_ok(name)) {
		arg_error(errs, arg, "the name of a region has 1 to 32 printable characters, no "
			  "space or /, and does not start with a dot");
		return false;
	}
	if (bytes == 0 || bytes > SHMEM_WINDOW_MAX) {
		arg_error(errs, arg, "a region has 1 byte to 256 MiB less a page");
		return false;
	}
	memcpy(ret_name, name, QSHM_NAME_BYTES + 1);
	*ret_pages = (uint32_t)((bytes + QSHM_PAGE_BYTES - 1) / QSHM_PAGE_BYTES);
	return true;
}

/* ---- the whole ---- */

/* What the regions have to fit into; a wrong window is told, and anything fits into it. */
static uint64_t check_window(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *window = vd_arg_find(cfg, "window");
	uint64_t bytes = shmem_window_bytes(cfg);

	if (bytes >= SHMEM_WINDOW_MIN && bytes <= SHMEM_WINDOW_MAX && !(bytes & (bytes - 1)))
		return bytes;
	arg_error(errs, window, "expected a power of 2 from 64k to 256m");
	return UINT64_MAX;
}

static void check_creates(const struct vd_config *cfg, uint64_t window_bytes,
			  struct cf_errors *errs)
{
	char names[SHMEM_CREATES_MAX][QSHM_NAME_BYTES + 1];
	unsigned n = 0;
	uint32_t n_pages;

	for (size_t i = 0; i < cfg->n_args; i++) {
		const struct vd_arg *a = &cfg->args[i];

		if (!is_option(a, "create"))
			continue;
		if (n == SHMEM_CREATES_MAX) {
			arg_error(errs, a, "a vdev shmem has at most 8 create");
			return;
		}
		if (!shmem_create_parse(a, errs, names[n], &n_pages))
			continue;
		if (((uint64_t)n_pages + 1) * QSHM_PAGE_BYTES > window_bytes)
			arg_error(errs, a, "with its control page it is larger than the window: "
				  "write 'window' with a larger power of 2");
		for (unsigned k = 0; k < n; k++)
			if (!strcmp(names[k], names[n]))
				arg_error(errs, a, "there is a create of this name already");
		n++;
	}
}

void shmem_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *allow = vd_arg_find(cfg, "allow"), *deny = vd_arg_find(cfg, "deny");

	if (allow && deny)
		arg_error(errs, deny, "allow and deny are not used together: allow denies "
			  "everything else, and deny allows everything else");
	check_creates(cfg, check_window(cfg, errs), errs);
}
