/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the files of `load` into guest memory and says how the guest starts. Files are hostile:
 * every offset and size is checked against the file and against guest memory, and what is wrong is
 * a sentence. Main thread, before the guest runs.
 */
#pragma once

#include "lib/qmem.h"
#include "qvm/cfg.h"

enum load_kind {
	LOAD_NONE,    /* no guest: nothing to start */
	LOAD_PVH,     /* x86: 32-bit entry of a PVH note */
	LOAD_MULTIBOOT, /* x86: 32-bit entry of a multiboot 1 image */
	LOAD_ELF,     /* plain ELF of this architecture: its entry */
	LOAD_BZIMAGE, /* x86 Linux */
	LOAD_IMAGE,   /* arm64 Linux */
	LOAD_RAW,     /* starts at its first byte */
};

#define LOAD_SPANS_MAX	 128u
#define LOAD_FDT_HEAD	 16u
#define LOAD_SETUP_BYTES 0x200u /* a bzImage's header, from file offset 0x1f1 on */

struct load_span {
	uint64_t gpa, len_bytes;
	const char *what; /* a file's path, or the name of a part */
};

struct load_result {
	enum load_kind kind;
	uint64_t entry;
	uint64_t initrd_gpa, initrd_bytes; /* 0 bytes: none */
	uint64_t fdt_gpa, fdt_bytes;	   /* 0 bytes: none. LOAD_FDT_HEAD before it are its, too */
	uint8_t setup[LOAD_SETUP_BYTES];   /* LOAD_BZIMAGE */
	size_t setup_bytes;
	bool entry_64;				/* LOAD_BZIMAGE: entry is for long mode */
	uint64_t initrd_max;			/* highest last byte that the kernel takes */
	struct load_span spans[LOAD_SPANS_MAX]; /* taken memory, no order */
	unsigned n_spans;
};

/* What a loader works with. */
struct load_ctx {
	const struct qmem *mem;
	struct load_result *res;
	int fd; /* of the file at hand; borrowed */
	uint64_t file_bytes;
	const char *path;
	const struct cfg_load *cfg;
	char *text; /* gets the sentence */
	size_t text_bytes;
};

/*
 * Keeps @len_bytes at @at for the machine itself; @what is borrowed. Before load_all(). 0 or
 * -ENOSPC.
 */
int load_own(struct load_result *res, uint64_t at, uint64_t len_bytes, const char *what);
/* Loads all files of @cfg. 0, or -errno with a sentence in @text. */
int load_all(const struct vm_cfg *cfg, const struct qmem *mem, struct load_result *res, char *text,
	     size_t text_bytes);
/* One guest file by what is in it; ctx->cfg->has_addr says where an unknown one goes. */
int load_guest(struct load_ctx *c);

/* Marks memory as taken; -EEXIST with a sentence when it is already. @what is borrowed. */
int load_claim(struct load_ctx *c, uint64_t at, uint64_t len_bytes, const char *what);
/*
 * Free RAM of @len_bytes at a multiple of @align, wholly in [min, max]; the highest such place with
 * @high, else the lowest.
 */
bool load_find(const struct load_ctx *c, uint64_t len_bytes, uint64_t align, uint64_t min,
	       uint64_t max, bool high, uint64_t *ret);

/* For loaders. Sentence into ctx->text, -EINVAL. */
int load_bad(struct load_ctx *c, const char *fmt, ...) Q_PRINTF(2, 3);
/* Reads exactly [off, off + len) of the file; outside it: a sentence that names @what. */
int load_read(struct load_ctx *c, uint64_t off, void *buf, uint64_t len_bytes, const char *what);
/* Claims guest memory and fills it from the file. */
int load_copy(struct load_ctx *c, uint64_t off, uint64_t len_bytes, uint64_t at,
	      uint64_t mem_bytes);

/*
 * The whole file of @l, at most @max bytes, in memory of its own: *@ret is the caller's to free.
 * 0, or -errno with a sentence in @text.
 */
int load_slurp(const struct cfg_load *l, size_t max, void **ret, size_t *ret_bytes, char *text,
	       size_t text_bytes);

enum load_verdict { LOAD_DONE = 0, LOAD_NOT_MINE };
/* LOAD_DONE, LOAD_NOT_MINE (another format) or -errno with a sentence. */
int load_elf(struct load_ctx *c);
int load_bzimage(struct load_ctx *c);
int load_arm64_image(struct load_ctx *c);
int load_multiboot(struct load_ctx *c);
/* A 32-bit ELF file of the PC: it must be a multiboot image. */
int load_elf32(struct load_ctx *c);
/* A 64-bit one that is loaded: when it is a multiboot image, it is started as one. */
int load_multiboot_mark(struct load_ctx *c);
