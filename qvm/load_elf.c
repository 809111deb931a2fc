/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF guests: what PT_LOAD says goes to its physical address, and the entry is that of the PVH note
 * where there is one (x86), else the file's own. Everything in the file is hostile; headers are
 * copied, checked, and only the copies are used.
 */
#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "qvm/load.h"

#define PHDRS_MAX	  64u
#define NOTES_MAX	  65536u /* bytes of one PT_NOTE that are looked at */
#define NOTE_PHYS32_ENTRY 18u	 /* owner "Xen" */

#if defined(__aarch64__)
#define MACHINE	     EM_AARCH64
#define MACHINE_NAME "arm64"
#define HAS_PVH	     false
#else
#define MACHINE	     EM_X86_64
#define MACHINE_NAME "x86-64"
#define HAS_PVH	     true
#endif

static int check_header(struct load_ctx *c, const Elf64_Ehdr *e)
{
	if (e->e_ident[EI_CLASS] != ELFCLASS64 || e->e_ident[EI_DATA] != ELFDATA2LSB)
		return load_bad(c, "is an ELF file, but no 64-bit little-endian one");
	if (e->e_machine != MACHINE)
		return load_bad(
			c,
			"is an ELF file for another processor (machine %u); this is " MACHINE_NAME,
			e->e_machine);
	if (e->e_type != ET_EXEC && e->e_type != ET_DYN)
		return load_bad(
			c, "is an ELF file that cannot be run (type %u): a guest must be linked",
			e->e_type);
	if (e->e_phentsize != sizeof(Elf64_Phdr) || !e->e_phnum || e->e_phnum > PHDRS_MAX)
		return load_bad(c, "damaged: %u program headers of %u bytes (at most %u, of %zu)",
				e->e_phnum, e->e_phentsize, PHDRS_MAX, sizeof(Elf64_Phdr));
	return 0;
}

static int load_segment(struct load_ctx *c, const Elf64_Phdr *ph)
{
	if (ph->p_filesz > ph->p_memsz)
		return load_bad(c, "damaged: a segment has more bytes in the file than in memory");
	return load_copy(c, ph->p_offset, ph->p_filesz, ph->p_paddr, ph->p_memsz);
}

/* Looks for the note in @len bytes at @p. Name and descriptor are padded to 4 bytes. */
static bool find_pvh(const uint8_t *p, uint64_t len, uint64_t *ret_entry)
{
	Elf64_Nhdr n;

	while (len >= sizeof(n)) {
		memcpy(&n, p, sizeof(n));
		p += sizeof(n), len -= sizeof(n);
		uint64_t name = Q_ALIGN_UP((uint64_t)n.n_namesz, 4),
			 desc = Q_ALIGN_UP((uint64_t)n.n_descsz, 4);
		if (name > len || desc > len - name)
			return false;
		if (n.n_type == NOTE_PHYS32_ENTRY && n.n_namesz == 4 && !memcmp(p, "Xen", 4) &&
		    (n.n_descsz == 4 || n.n_descsz == 8)) {
			uint64_t entry = 0;
			memcpy(&entry, p + name, n.n_descsz);
			*ret_entry = le64toh(entry);
			return true;
		}
		p += name + desc, len -= name + desc;
	}
	return false;
}

static int look_at_notes(struct load_ctx *c, const Elf64_Phdr *ph)
{
	static uint8_t notes[NOTES_MAX]; /* main thread only; too large for its stack */
	uint64_t entry, len = Q_MIN(ph->p_filesz, NOTES_MAX);
	int r = load_read(c, ph->p_offset, notes, len, "notes");

	if (r < 0)
		return r;
	if (HAS_PVH && find_pvh(notes, len, &entry)) {
		if (entry > UINT32_MAX)
			return load_bad(c, "damaged: its PVH entry 0x%llx is above 4 GiB",
					(unsigned long long)entry);
		c->res->kind = LOAD_PVH;
		c->res->entry = entry;
	}
	return 0;
}

int load_elf(struct load_ctx *c)
{
	Elf64_Ehdr e;
	Elf64_Phdr ph[PHDRS_MAX];

	if (c->file_bytes < sizeof(e))
		return LOAD_NOT_MINE;
	int r = load_read(c, 0, &e, sizeof(e), "header");
	if (r < 0)
		return r;
	if (memcmp(e.e_ident, ELFMAG, SELFMAG) != 0)
		return LOAD_NOT_MINE;
	if (e.e_ident[EI_CLASS] == ELFCLASS32 && e.e_ident[EI_DATA] == ELFDATA2LSB &&
	    e.e_machine == EM_386 && HAS_PVH)
		return load_elf32(c);
	r = check_header(c, &e);
	if (r < 0)
		return r;
	r = load_read(c, e.e_phoff, ph, e.e_phnum * sizeof(ph[0]), "program headers");
	if (r < 0)
		return r;
	c->res->kind = LOAD_ELF;
	c->res->entry = e.e_entry;
	for (unsigned i = 0; r == 0 && i < e.e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD && ph[i].p_memsz)
			r = load_segment(c, &ph[i]);
		else if (ph[i].p_type == PT_NOTE)
			r = look_at_notes(c, &ph[i]);
	}
	if (r < 0 || c->res->kind == LOAD_PVH || !HAS_PVH)
		return r;
	r = load_multiboot_mark(c);
	return r == LOAD_NOT_MINE ? LOAD_DONE : r;
}
