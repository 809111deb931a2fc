/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fdtuser.h: what kind of file it is, whether it can be believed, and what the joining of trees
 * is made of. libfdt finds "timer@1000" when it is asked for "timer", so that nodes are looked for
 * here by their whole names.
 */
#include "qvm/fdtuser.h"

#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qlog.h"

#define FDT_VERSION_MIN 16u
#define FDT_NODES_MAX	2048u

int fdt_bad(const struct fdt_say *say, const char *fmt, ...)
{
	va_list ap;

	if (say->text[0])
		return -EINVAL;
	va_start(ap, fmt);
	vsnprintf(say->text, say->bytes, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int fdt_say_error(const struct fdt_say *say, int r, const char *what)
{
	if (r >= 0)
		return 0;
	fdt_bad(say, "%s: %s", what, fdt_strerror(r));
	return r == -FDT_ERR_NOSPACE ? -ENOMEM : -EINVAL;
}

/* ---- finding ---- */

int fdt_child(const void *tree, int parent, const char *name, size_t len)
{
	int at;

	fdt_for_each_subnode(at, tree, parent) {
		int got;
		const char *s = fdt_get_name(tree, at, &got);

		if (s && (size_t)got == len && !memcmp(s, name, len))
			return at;
	}
	return -FDT_ERR_NOTFOUND;
}

int fdt_node_at(const void *tree, const char *path)
{
	int at = 0;

	while (at >= 0 && *path == '/' && path[1]) {
		size_t len = strcspn(++path, "/");

		at = fdt_child(tree, at, path, len);
		path += len;
	}
	return at;
}

const char *fdt_text_of(const void *tree, int node, const char *prop)
{
	int len;
	const char *s = fdt_getprop(tree, node, prop, &len);

	return s && len > 0 && memchr(s, '\0', (size_t)len) ? s : NULL;
}

/* ---- merging ---- */

/* libfdt adds no "timer" beside a "timer@1000": the new node gets its name afterwards. */
static int add_node(void *tree, int parent, const char *name)
{
	int at = fdt_add_subnode(tree, parent, "qvm,new@0");

	if (at < 0)
		return at;
	int r = fdt_set_name(tree, at, name);
	return r < 0 ? r : 0;
}

static int merge_props(void *to, const char *path, const void *from, int from_at,
		       fdt_keeps_fn *keeps, const void *arg)
{
	int prop;

	fdt_for_each_property_offset(prop, from, from_at) {
		int len;
		const char *name;
		const void *val = fdt_getprop_by_offset(from, prop, &name, &len);
		int at = fdt_node_at(to, path);

		if (!val)
			return len;
		if (at < 0)
			return at;
		if (keeps(arg, path, name, fdt_getprop(to, at, name, NULL) != NULL))
			continue;
		int r = fdt_setprop(to, at, name, val, len);
		if (r < 0)
			return r;
	}
	return 0;
}

int fdt_merge(void *to, const char *path, const void *from, int from_at, fdt_keeps_fn *keeps,
	      const void *arg)
{
	int node, r = merge_props(to, path, from, from_at, keeps, arg);

	if (r < 0)
		return r;
	fdt_for_each_subnode(node, from, from_at) {
		char child[FDT_PATH_MAX];
		int len, at = fdt_node_at(to, path);
		const char *name = fdt_get_name(from, node, &len);

		if (!name)
			return len;
		if (at < 0)
			return at;
		int n = snprintf(child, sizeof(child), "%s/%s", path[1] ? path : "", name);
		if (n < 0 || (size_t)n >= sizeof(child))
			return -FDT_ERR_BADPATH;
		if (fdt_child(to, at, name, (size_t)len) < 0)
			r = add_node(to, at, name);
		if (r == 0)
			r = fdt_merge(to, child, from, node, keeps, arg);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the file ---- */

/*
 * Names and depth, which what is recursive relies on, here and in libfdt; and that a path leads to
 * one node. Each path is looked up from the root: the number of nodes has its limit for that.
 */
static int check_nodes(const void *tree, const struct fdt_say *say)
{
	unsigned n_nodes = 0;
	int depth = 0;

	for (int at = 0; at >= 0; at = fdt_next_node(tree, at, NULL))
		if (n_nodes++ == FDT_NODES_MAX)
			return fdt_bad(say, "has more than %u nodes", FDT_NODES_MAX);

	for (int at = fdt_next_node(tree, 0, &depth); at >= 0 && depth > 0;
	     at = fdt_next_node(tree, at, &depth)) {
		int len;
		const char *name = fdt_get_name(tree, at, &len);
		char path[FDT_PATH_MAX];

		if (!name || len <= 0 || strchr(name, '/'))
			return fdt_bad(say, "damaged: a node has no name that can be one");
		if (depth > FDT_DEPTH_MAX || fdt_get_path(tree, at, path, sizeof(path)) < 0)
			return fdt_bad(say, "its nodes are more than %d deep, or their paths too "
				       "long", FDT_DEPTH_MAX);
		if (fdt_node_at(tree, path) != at)
			return fdt_bad(say, "damaged: there are two nodes %s",
				       qlog_escape((char[128]){ 0 }, 128, path, strlen(path)));
	}
	return 0;
}

static int check_file(const void *file, size_t bytes, const struct fdt_say *say)
{
	const uint8_t *b = file;

	if (bytes >= 9 && !memcmp(b, "/dts-v1/;", 9))
		return fdt_bad(say, "is the source of a device tree: compile it first (dtc -@ -o "
			       "tree.dtb)");
	if (bytes < FDT_V17_SIZE || fdt_magic(file) != FDT_MAGIC)
		return fdt_bad(say, "is no device tree: it does not begin as one");
	if (bytes > FDTUSER_BYTES_MAX)
		return fdt_bad(say, "has %zu bytes: a device tree has at most %u", bytes,
			       FDTUSER_BYTES_MAX);
	if (fdt_totalsize(file) > bytes)
		return fdt_bad(say, "damaged: it says that it has %u bytes, and %zu are here",
			       fdt_totalsize(file), bytes);
	/* libfdt reads those, and believes that a name with a path in it has a slash. */
	if (fdt_version(file) < FDT_VERSION_MIN)
		return fdt_bad(say, "is a device tree of version %u: %u and later are taken, and "
			       "dtc makes them", fdt_version(file), FDT_VERSION_MIN);
	int r = fdt_check_full(file, bytes);
	return r < 0 ? fdt_say_error(say, r, "damaged") : check_nodes(file, say);
}

static bool is_overlay(const void *tree)
{
	int at;

	fdt_for_each_subnode(at, tree, 0)
		if (fdt_child(tree, at, "__overlay__", strlen("__overlay__")) >= 0)
			return true;
	return false;
}

size_t fdtuser_room(size_t file_bytes)
{
	/* What of the file stays, its strings once more, and what joining leaves between. */
	return FDTGEN_BYTES + 2 * Q_ALIGN_UP(file_bytes, 4096);
}

int fdtuser_make(const struct fdtgen *g, const void *file, size_t file_bytes, void *buf, char *text,
		 size_t text_bytes)
{
	const struct fdt_say say = { text, text_bytes };
	struct fdtgen own = *g;
	const size_t room = fdtuser_room(file_bytes);
	int r;

	text[0] = '\0';
	own.phandle_first = 1;
	if (!file)
		return fdt_say_error(&say, fdtgen_build(&own, buf, room), "it cannot be made");
	r = check_file(file, file_bytes, &say);
	if (r == 0)
		r = is_overlay(file) ? fdt_join_overlay(&own, file, buf, room, &say) :
				       fdt_join_tree(&own, file, buf, room, &say);
	return r == 0 ? fdt_say_error(&say, fdt_pack(buf), "it cannot be made") : r;
}

/* ---- reading ---- */

static void free_ptr(void **p)
{
	free(*p);
}

int fdtuser_read(const char *path, void **ret_file, size_t *ret_bytes, char *text,
		 size_t text_bytes)
{
	const struct fdt_say say = { text, text_bytes };
	void *buf QCLEAN(free_ptr) = NULL;
	struct stat st;

	text[0] = '\0';
	int fd QCLEAN(qfd_close) = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int err = errno;
		fdt_bad(&say, "cannot be opened: %s", strerrordesc_np(err));
		return -err;
	}
	if (!S_ISREG(st.st_mode))
		return fdt_bad(&say, "is not a regular file");
	if (st.st_size > (off_t)FDTUSER_BYTES_MAX)
		return fdt_bad(&say, "has %lld bytes: a device tree has at most %u",
			       (long long)st.st_size, FDTUSER_BYTES_MAX);
	size_t bytes = (size_t)st.st_size;
	buf = malloc(bytes + 1);
	if (!buf)
		return -ENOMEM;
	for (size_t n = 0; n < bytes;) {
		ssize_t got = read(fd, (char *)buf + n, bytes - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return fdt_bad(&say, "cannot be read: %s",
				       got < 0 ? strerrordesc_np(errno) : "it became shorter");
		n += (size_t)got;
	}
	*ret_file = buf;
	*ret_bytes = bytes;
	buf = NULL;
	return 0;
}
