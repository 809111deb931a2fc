/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of loading, the list of taken memory, and reading files straight into guest memory.
 * Files are read, not mapped: one that is cut short while we look is an error of read(), not a
 * SIGBUS. Guest memory is zero before, so only bytes of files are written and no page is touched
 * for nothing.
 */
#include "qvm/load.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/cfg_arch.h"

#define BOUNCE_BYTES 65536u
#define BLOB_MIN     0x100000ull /* what has no address goes above the first MiB if it can */
#define INITRD_ALIGN 4096u

int load_bad(struct load_ctx *c, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(c->text, c->text_bytes, "%s: ", c->path);

	if (n < 0 || (size_t)n >= c->text_bytes)
		return -EINVAL;
	va_start(ap, fmt);
	vsnprintf(c->text + n, c->text_bytes - (size_t)n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- memory ---- */

static const struct load_span *taken_by(const struct load_result *res, uint64_t at, uint64_t len)
{
	for (unsigned i = 0; i < res->n_spans; i++)
		if (qspan_overlap(res->spans[i].gpa, res->spans[i].len_bytes, at, len))
			return &res->spans[i];
	return NULL;
}

int load_own(struct load_result *res, uint64_t at, uint64_t len_bytes, const char *what)
{
	if (!len_bytes)
		return 0;
	if (res->n_spans == LOAD_SPANS_MAX)
		return -ENOSPC;
	res->spans[res->n_spans++] =
		(struct load_span){ .gpa = at, .len_bytes = len_bytes, .what = what };
	return 0;
}

int load_claim(struct load_ctx *c, uint64_t at, uint64_t len_bytes, const char *what)
{
	struct load_result *res = c->res;

	if (!len_bytes)
		return 0;
	const struct load_span *other = taken_by(res, at, len_bytes);
	if (other) {
		load_bad(c, "0x%llx..0x%llx is taken already by %s", (unsigned long long)at,
			 (unsigned long long)(at + len_bytes - 1), other->what);
		return -EEXIST;
	}
	if (load_own(res, at, len_bytes, what) < 0)
		return load_bad(c, "more than %u parts are to be loaded", LOAD_SPANS_MAX);
	return 0;
}

/*
 * Moves @at to the next place to try inside region [lo, hi]: past (or before) what is taken there.
 * False: no room.
 */
static bool fit_in(const struct load_result *res, uint64_t len, uint64_t align, uint64_t lo,
		   uint64_t hi, bool high, uint64_t *ret)
{
	uint64_t at = high ? (hi - (len - 1)) & ~(align - 1) : Q_ALIGN_UP(lo, align);

	for (unsigned n_tries = 0; n_tries <= LOAD_SPANS_MAX; n_tries++) {
		if (at < lo || at > hi || len - 1 > hi - at)
			return false;
		const struct load_span *s = taken_by(res, at, len);
		if (!s) {
			*ret = at;
			return true;
		}
		if (!high)
			at = Q_ALIGN_UP(s->gpa + s->len_bytes, align);
		else if (s->gpa < len)
			return false;
		else
			at = (s->gpa - len) & ~(align - 1);
	}
	return false;
}

bool load_find(const struct load_ctx *c, uint64_t len_bytes, uint64_t align, uint64_t min,
	       uint64_t max, bool high, uint64_t *ret)
{
	bool found = false;

	for (unsigned i = 0; len_bytes && i < c->mem->n; i++) {
		const struct qmem_region *r = &c->mem->r[i];
		uint64_t lo = Q_MAX(r->gpa, min), hi = Q_MIN(r->gpa + (r->len_bytes - 1), max);
		if (r->flags & QMEM_READONLY || lo > hi || len_bytes - 1 > hi - lo)
			continue;
		if (fit_in(c->res, len_bytes, align, lo, hi, high, ret)) {
			found = true;
			if (!high)
				break;
		}
	}
	return found;
}

/* ---- files ---- */

int load_read(struct load_ctx *c, uint64_t off, void *buf, uint64_t len_bytes, const char *what)
{
	char *p = buf;

	if (!qspan_inside(off, len_bytes, c->file_bytes))
		return load_bad(c,
				"damaged: its %s (0x%llx bytes at 0x%llx) is not inside the file, "
				"which has 0x%llx bytes",
				what, (unsigned long long)len_bytes, (unsigned long long)off,
				(unsigned long long)c->file_bytes);
	while (len_bytes > 0) {
		ssize_t n = pread(c->fd, p, len_bytes, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int err = n < 0 ? errno : EIO;
			load_bad(c, "cannot be read at 0x%llx: %s", (unsigned long long)off,
				 n < 0 ? strerrordesc_np(err) : "the file became shorter");
			return -err;
		}
		p += n, off += (uint64_t)n, len_bytes -= (uint64_t)n;
	}
	return 0;
}

static void free_ptr(char **p)
{
	free(*p);
}

/* Guest memory that we may not write (rom) is filled by way of a buffer. */
static int copy_rom(struct load_ctx *c, uint64_t off, uint64_t len, uint64_t at)
{
	char *buf QCLEAN(free_ptr) = NULL;

	buf = malloc(BOUNCE_BYTES);
	if (!buf)
		return -ENOMEM;
	while (len > 0) {
		uint64_t part = Q_MIN(len, BOUNCE_BYTES);
		int r = load_read(c, off, buf, part, "contents");
		if (r == 0)
			r = qmem_fill(c->mem, gpa(at), buf, part);
		if (r < 0)
			return r;
		off += part, at += part, len -= part;
	}
	return 0;
}

static int copy_in(struct load_ctx *c, uint64_t off, uint64_t len, uint64_t at)
{
	while (len > 0) {
		uint64_t part = qmem_run(c->mem, gpa(at), len);
		if (!part)
			return -EFAULT;
		void *p = qmem_ptr(c->mem, gpa(at), part, true);
		int r = p ? load_read(c, off, p, part, "contents") : copy_rom(c, off, part, at);
		if (r < 0)
			return r;
		off += part, at += part, len -= part;
	}
	return 0;
}

static bool is_memory(const struct qmem *mem, uint64_t at, uint64_t len)
{
	if (len && len - 1 > UINT64_MAX - at)
		return false;
	while (len > 0) {
		uint64_t part = qmem_run(mem, gpa(at), len);
		if (!part)
			return false;
		at += part, len -= part;
	}
	return true;
}

int load_copy(struct load_ctx *c, uint64_t off, uint64_t len_bytes, uint64_t at, uint64_t mem_bytes)
{
	if (!qspan_inside(off, len_bytes, c->file_bytes))
		return load_bad(c,
				"damaged: 0x%llx bytes at 0x%llx are not inside the file, which "
				"has 0x%llx bytes",
				(unsigned long long)len_bytes, (unsigned long long)off,
				(unsigned long long)c->file_bytes);
	if (!is_memory(c->mem, at, mem_bytes))
		return load_bad(
			c,
			"belongs at 0x%llx (0x%llx bytes), where the guest has no memory: see ram",
			(unsigned long long)at, (unsigned long long)mem_bytes);
	int r = load_claim(c, at, mem_bytes, c->path);
	return r < 0 ? r : copy_in(c, off, Q_MIN(len_bytes, mem_bytes), at);
}

static int open_file(struct load_ctx *c, const struct cfg_load *l)
{
	struct stat st;

	c->cfg = l;
	c->path = l->path;
	c->fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (c->fd < 0) {
		int err = errno;
		load_bad(c, "cannot be opened: %s (relative paths start at the working directory)",
			 strerrordesc_np(err));
		return -err;
	}
	if (fstat(c->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return load_bad(c, "is not a regular file");
	if (st.st_size == 0)
		return load_bad(c, "is empty");
	c->file_bytes = (uint64_t)st.st_size;
	return 0;
}

/* ---- what goes where ---- */

/* The first MiB of a PC is what its guests expect to be special: it is the last resort. */
static bool find_blob(const struct load_ctx *c, uint64_t *ret)
{
	uint64_t min = cfg_arch_native()->ram_base + BLOB_MIN;

	return load_find(c, c->file_bytes, 4096, min, UINT64_MAX, false, ret) ||
	       load_find(c, c->file_bytes, 4096, 0, UINT64_MAX, false, ret);
}

static int load_blob(struct load_ctx *c)
{
	uint64_t at = c->cfg->gpa;

	if (!c->cfg->has_addr && !find_blob(c, &at))
		return load_bad(c, "has 0x%llx bytes: no free RAM is large enough",
				(unsigned long long)c->file_bytes);
	int r = load_copy(c, 0, c->file_bytes, at, c->file_bytes);
	if (r < 0)
		return r;
	c->res->entry = at;
	return 0;
}

int load_guest(struct load_ctx *c)
{
	static int (*const formats[])(struct load_ctx *) = { load_elf, load_bzimage,
							     load_arm64_image, load_multiboot };

	for (size_t i = 0; i < Q_ARRAY_LEN(formats); i++) {
		int r = formats[i](c);
		if (r == LOAD_DONE && !is_memory(c->mem, c->res->entry, 1))
			return load_bad(
				c, "damaged: it starts at 0x%llx, where the guest has no memory",
				(unsigned long long)c->res->entry);
		if (r != LOAD_NOT_MINE)
			return r;
	}
	int r = load_blob(c);
	if (r == 0)
		c->res->kind = LOAD_RAW;
	return r;
}

static int load_data(struct load_ctx *c)
{
	uint64_t entry = c->res->entry;
	int r = load_blob(c);

	c->res->entry = entry;
	return r;
}

static int load_initrd(struct load_ctx *c)
{
	uint64_t at = c->cfg->gpa, max = c->res->initrd_max ? c->res->initrd_max : UINT32_MAX;

	if (c->res->initrd_bytes)
		return load_bad(c, "is a second initrd: a guest has one");
	if (!cfg_arch_native()->has_io)
		max = UINT64_MAX;
	if (!c->cfg->has_addr && !load_find(c, c->file_bytes, INITRD_ALIGN, 0, max, true, &at))
		return load_bad(c, "has 0x%llx bytes: no free RAM is large enough for this initrd",
				(unsigned long long)c->file_bytes);
	int r = load_copy(c, 0, c->file_bytes, at, c->file_bytes);
	if (r < 0)
		return r;
	c->res->initrd_gpa = at;
	c->res->initrd_bytes = c->file_bytes;
	return 0;
}

#define FDT_MAGIC 0xd00dfeedu

/*
 * A device tree that the guest gets as it is. Its place begins with LOAD_FDT_HEAD bytes for whoever
 * hands it over.
 */
static int load_fdt(struct load_ctx *c)
{
	struct {
		uint32_t magic, total_bytes;
	} h;
	uint64_t at = c->cfg->gpa - LOAD_FDT_HEAD, max = UINT32_MAX;
	uint64_t min = cfg_arch_native()->ram_base + BLOB_MIN;

	if (c->file_bytes < sizeof(h))
		return load_bad(c, "is no device tree: it has %llu bytes",
				(unsigned long long)c->file_bytes);
	int r = load_read(c, 0, &h, sizeof(h), "header");
	if (r < 0)
		return r;
	if (be32toh(h.magic) != FDT_MAGIC)
		return load_bad(c, "is no device tree: a source (.dts) is compiled with dtc");
	if (be32toh(h.total_bytes) > c->file_bytes)
		return load_bad(c, "damaged: a device tree of %u bytes in a file of %llu",
				be32toh(h.total_bytes), (unsigned long long)c->file_bytes);
	if (c->cfg->has_addr && (c->cfg->gpa & 7 || c->cfg->gpa < LOAD_FDT_HEAD))
		return load_bad(c, "a device tree stands at a multiple of 8, above 0");
	if (!c->cfg->has_addr &&
	    !load_find(c, c->file_bytes + LOAD_FDT_HEAD, 4096, min, max, false, &at))
		return load_bad(c, "has 0x%llx bytes: no free RAM is large enough",
				(unsigned long long)c->file_bytes);
	r = load_claim(c, at, LOAD_FDT_HEAD, "what is before the device tree");
	if (r == 0)
		r = load_copy(c, 0, c->file_bytes, at + LOAD_FDT_HEAD, c->file_bytes);
	if (r < 0)
		return r;
	c->res->fdt_gpa = at + LOAD_FDT_HEAD;
	c->res->fdt_bytes = c->file_bytes;
	return 0;
}

int load_slurp(const struct cfg_load *l, size_t max, void **ret, size_t *ret_bytes, char *text,
	       size_t text_bytes)
{
	struct load_ctx c = { .fd = -1, .text = text, .text_bytes = text_bytes };
	int r = open_file(&c, l);
	int fd QCLEAN(qfd_close) = c.fd;
	char *buf QCLEAN(free_ptr) = NULL;

	(void)fd;
	if (r < 0)
		return r;
	if (c.file_bytes > max)
		return load_bad(&c, "has 0x%llx bytes; at most 0x%zx are taken",
				(unsigned long long)c.file_bytes, max);
	buf = malloc(c.file_bytes);
	if (!buf)
		return -ENOMEM;
	r = load_read(&c, 0, buf, c.file_bytes, "contents");
	if (r < 0)
		return r;
	*ret = buf;
	*ret_bytes = c.file_bytes;
	buf = NULL;
	return 0;
}

/* The file that is started: the one that says so, else the first without a type. NULL: none. */
static const struct cfg_load *find_guest(const struct vm_cfg *cfg)
{
	for (size_t i = 0; i < cfg->n_loads; i++)
		if (cfg->loads[i].type == CFG_LOAD_GUEST)
			return &cfg->loads[i];
	for (size_t i = 0; i < cfg->n_loads; i++)
		if (cfg->loads[i].type == CFG_LOAD_SNIFF)
			return &cfg->loads[i];
	return NULL;
}

/* Kernels say where they want to be, so they go first; an initrd takes what is left. */
static unsigned pass_of(const struct cfg_load *l, const struct cfg_load *guest)
{
	if (l->type == CFG_LOAD_INITRD)
		return 2;
	return l == guest || l->type == CFG_LOAD_GUEST ? 0 : 1;
}

static int load_one(struct load_ctx *c, const struct cfg_load *l, unsigned pass)
{
	int r = open_file(c, l);

	if (r < 0)
		return r;
	if (pass == 0 && c->res->kind != LOAD_NONE)
		return load_bad(c, "is a second guest: a VM starts one");
	if (pass == 0)
		return load_guest(c);
	if (pass == 2)
		return load_initrd(c);
	if (l->type == CFG_LOAD_FDT && cfg_arch_native()->has_fdt)
		return 0; /* arch_boot() makes the guest's tree with it */
	if (l->type == CFG_LOAD_ACPI)
		return 0; /* arch_boot() puts it among the machine's tables */
	return l->type == CFG_LOAD_FDT ? load_fdt(c) : load_data(c);
}

int load_all(const struct vm_cfg *cfg, const struct qmem *mem, struct load_result *res, char *text,
	     size_t text_bytes)
{
	struct load_ctx c = {
		.mem = mem, .res = res, .fd = -1, .text = text, .text_bytes = text_bytes
	};
	const struct cfg_load *guest = find_guest(cfg);

	for (unsigned pass = 0; pass < 3; pass++) {
		for (size_t i = 0; i < cfg->n_loads; i++) {
			if (pass_of(&cfg->loads[i], guest) != pass)
				continue;
			int r = load_one(&c, &cfg->loads[i], pass);
			qfd_close(&c.fd);
			if (r < 0)
				return r;
		}
	}
	if (res->kind != LOAD_NONE)
		return 0;
	c.path = cfg->system;
	return load_bad(&c, "there is nothing to start: a load option names the guest's file");
}
