/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiboot 1 (specification 0.6.96): a header in the first 8 KiB of the file says that it is one,
 * and with bit 16 of its flags where the file goes; without it the file is an ELF image, of 32 bits
 * mostly. How such a guest is entered is the architecture's part. The file is hostile: the header
 * is copied, checked, and only the copy is used.
 */
#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "qvm/load.h"

#if defined(__aarch64__)
#define IS_X86 false
#else
#define IS_X86 true
#endif

#define SEARCHED  8192u
#define MAGIC	  0x1badb002u
#define FLAG_ADDR (1u << 16)
/* Modules at page bounds; memory; video mode: there is no screen, and the guest is told none. */
#define FLAGS_SERVED 0x7u
#define FLAGS_NEEDED 0xffffu
#define PHDRS_MAX    64u

struct mb_header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};
#define HEADER_SHORT 12u /* bytes without the addresses */

/* LOAD_DONE with the header and where it stands, LOAD_NOT_MINE, or -errno. */
static int find(struct load_ctx *c, struct mb_header *ret, uint64_t *ret_off)
{
	static uint8_t head[SEARCHED]; /* main thread only; too large for its stack */
	uint64_t len = Q_MIN(c->file_bytes, SEARCHED);
	int r = load_read(c, 0, head, len, "first bytes");

	if (r < 0)
		return r;
	for (uint64_t at = 0; qspan_inside(at, HEADER_SHORT, len); at += 4) {
		struct mb_header h = { 0 };
		memcpy(&h, head + at, Q_MIN(sizeof(h), len - at));
		if (le32toh(h.magic) != MAGIC ||
		    le32toh(h.magic) + le32toh(h.flags) + le32toh(h.checksum) != 0)
			continue;
		if (le32toh(h.flags) & FLAG_ADDR && !qspan_inside(at, sizeof(h), len))
			continue;
		*ret = h;
		*ret_off = at;
		return LOAD_DONE;
	}
	return LOAD_NOT_MINE;
}

static int check_flags(struct load_ctx *c, const struct mb_header *h)
{
	uint32_t unknown = le32toh(h->flags) & FLAGS_NEEDED & ~FLAGS_SERVED;

	if (!IS_X86)
		return load_bad(c, "is a multiboot image; this is arm64");
	if (unknown)
		return load_bad(c, "is a multiboot image that needs what no loader knows "
				   "(flags 0x%x)", unknown);
	return 0;
}

/* By the addresses of the header: one piece, which begins so far before the header as they say. */
static int load_by_addresses(struct load_ctx *c, const struct mb_header *h, uint64_t header_off)
{
	uint64_t header = le32toh(h->header_addr), start = le32toh(h->load_addr);
	uint64_t end = le32toh(h->load_end_addr), bss_end = le32toh(h->bss_end_addr);

	if (start > header || header - start > header_off)
		return load_bad(c, "damaged: its multiboot header at 0x%llx loads from 0x%llx on, "
				   "which is not in the file",
				(unsigned long long)header, (unsigned long long)start);
	uint64_t off = header_off - (header - start);
	uint64_t bytes = end ? end - start : c->file_bytes - off;
	if (end && end < start)
		return load_bad(c, "damaged: its multiboot header ends at 0x%llx, before it begins",
				(unsigned long long)end);
	if (bss_end && bss_end < start + bytes)
		return load_bad(c, "damaged: its multiboot header ends at 0x%llx, inside the file",
				(unsigned long long)bss_end);
	int r = load_copy(c, off, bytes, start, bss_end ? bss_end - start : bytes);
	if (r < 0)
		return r;
	c->res->kind = LOAD_MULTIBOOT;
	c->res->entry = le32toh(h->entry_addr);
	return LOAD_DONE;
}

static int load_segments(struct load_ctx *c, const Elf32_Ehdr *e)
{
	Elf32_Phdr ph[PHDRS_MAX];

	if (e->e_phentsize != sizeof(ph[0]) || !e->e_phnum || e->e_phnum > PHDRS_MAX)
		return load_bad(c, "damaged: %u program headers of %u bytes (at most %u, of %zu)",
				e->e_phnum, e->e_phentsize, PHDRS_MAX, sizeof(ph[0]));
	int r = load_read(c, e->e_phoff, ph, e->e_phnum * sizeof(ph[0]), "program headers");
	for (unsigned i = 0; r == 0 && i < e->e_phnum; i++) {
		if (ph[i].p_type != PT_LOAD || !ph[i].p_memsz)
			continue;
		if (ph[i].p_filesz > ph[i].p_memsz)
			return load_bad(c, "damaged: a segment has more bytes in the file than in "
					   "memory");
		r = load_copy(c, ph[i].p_offset, ph[i].p_filesz, ph[i].p_paddr, ph[i].p_memsz);
	}
	return r;
}

int load_elf32(struct load_ctx *c)
{
	struct mb_header h;
	uint64_t off;
	Elf32_Ehdr e;
	int r = find(c, &h, &off);

	if (r == LOAD_NOT_MINE)
		return load_bad(c, "is a 32-bit ELF file without a multiboot header: nobody says "
				   "how it is started");
	if (r == 0)
		r = check_flags(c, &h);
	if (r < 0)
		return r;
	if (le32toh(h.flags) & FLAG_ADDR)
		return load_by_addresses(c, &h, off);
	r = load_read(c, 0, &e, sizeof(e), "header");
	if (r == 0)
		r = load_segments(c, &e);
	if (r < 0)
		return r;
	c->res->kind = LOAD_MULTIBOOT;
	c->res->entry = e.e_entry;
	return LOAD_DONE;
}

int load_multiboot_mark(struct load_ctx *c)
{
	struct mb_header h;
	uint64_t off;
	int r = find(c, &h, &off);

	if (r != LOAD_DONE)
		return r;
	r = check_flags(c, &h);
	if (r < 0)
		return r;
	if (c->res->entry > UINT32_MAX)
		return load_bad(c, "damaged: a multiboot image that starts at 0x%llx, above 4 GiB",
				(unsigned long long)c->res->entry);
	c->res->kind = LOAD_MULTIBOOT;
	return LOAD_DONE;
}

int load_multiboot(struct load_ctx *c)
{
	struct mb_header h;
	uint64_t off;
	int r = find(c, &h, &off);

	/* Without addresses it is no image by itself: chance, or another format that was tried. */
	if (r != LOAD_DONE || !(le32toh(h.flags) & FLAG_ADDR))
		return r < 0 ? r : LOAD_NOT_MINE;
	r = check_flags(c, &h);
	return r < 0 ? r : load_by_addresses(c, &h, off);
}
