/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout, fixed before the first byte is written: ELF header; program headers, PT_NOTE first;
 * the notes; then each piece of guest memory at a multiple of a page, in the order of addresses.
 *
 * Memory that the guest never touched is not touched here either: guest memory is a file, and the
 * file says where its holes are. Of the rest, a page of zeroes becomes a hole of the core.
 * Devices may write into guest memory while we read it: a page is looked at and written in two
 * steps, and what is written is whatever stands there then.
 */
#include "qvm/dump_elf.h"

#include <elf.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE	    4096u
#define PIECE_BYTES (1u << 20) /* between two looks at cancel */
#define POLL_MS	    100
#if defined(__aarch64__)
#define MACHINE EM_AARCH64
#else
#define MACHINE EM_X86_64
#endif

static unsigned char zeroes[16 * PAGE]; /* never written: not const, so that no file holds it */

/* ---- notes ---- */

static void pad4(FILE *f, size_t len)
{
	fwrite(zeroes, 1, -len & 3, f);
}

static void put_note(FILE *f, const char *owner, uint32_t type, const void *data, size_t len)
{
	Elf64_Nhdr h = { .n_namesz = (uint32_t)strlen(owner) + 1,
			 .n_descsz = (uint32_t)len,
			 .n_type = type };

	fwrite(&h, sizeof(h), 1, f);
	fwrite(owner, h.n_namesz, 1, f);
	pad4(f, h.n_namesz);
	fwrite(data, len, 1, f);
	pad4(f, len);
}

static void put_cpu(FILE *f, const struct dump_cpu *c, unsigned idx)
{
	struct elf_prstatus s = { .pr_pid = (pid_t)idx + 1, .pr_fpvalid = 1 };

	memcpy(&s.pr_reg, &c->gregs, sizeof(s.pr_reg));
	put_note(f, "CORE", NT_PRSTATUS, &s, sizeof(s));
	put_note(f, "CORE", NT_FPREGSET, &c->fpregs, sizeof(c->fpregs));
	put_note(f, DUMP_NOTE_OWNER, DUMP_NOTE_SYSTEM, c->system, strlen(c->system) + 1);
}

/* The notes in a buffer of the caller's; NULL when out of memory. */
static char *make_notes(const struct dump_image *img, size_t *ret_len)
{
	struct elf_prpsinfo who = { .pr_sname = 'R', .pr_pid = 1, .pr_fname = "qvm" };
	char *buf = NULL;
	FILE *f = open_memstream(&buf, ret_len);

	if (!f)
		return NULL;
	snprintf(who.pr_psargs, sizeof(who.pr_psargs), "qvm %s", img->name);
	put_note(f, "CORE", NT_PRPSINFO, &who, sizeof(who));
	put_note(f, DUMP_NOTE_OWNER, DUMP_NOTE_ABOUT, img->about, strlen(img->about) + 1);
	for (size_t i = 0; i < img->n_cpus; i++)
		put_cpu(f, &img->cpus[i], (unsigned)i);
	bool failed = ferror(f);
	if (fclose(f) != 0 || failed) {
		free(buf);
		return NULL;
	}
	return buf;
}

/* ---- the head: everything before the memory ---- */

static Elf64_Phdr load_header(const struct qmem_region *r, uint64_t file_off)
{
	return (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_X | (r->flags & QMEM_READONLY ? 0 : PF_W),
		.p_offset = file_off,
		/* A core is of the machine, not of a process: its addresses are physical ones. */
		.p_vaddr = r->gpa,
		.p_paddr = r->gpa,
		.p_filesz = r->len_bytes,
		.p_memsz = r->len_bytes,
		.p_align = PAGE,
	};
}

static char *make_head(const struct dump_image *img, size_t *ret_len)
{
	size_t notes_len, n_ph = img->mem->n + 1;
	char *notes = make_notes(img, &notes_len), *head;
	uint64_t notes_off = sizeof(Elf64_Ehdr) + n_ph * sizeof(Elf64_Phdr);
	uint64_t len = Q_ALIGN_UP(notes_off + notes_len, PAGE), off = len;
	Elf64_Ehdr e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			 .e_type = ET_CORE,
			 .e_machine = MACHINE,
			 .e_version = EV_CURRENT,
			 .e_phoff = sizeof(e),
			 .e_ehsize = sizeof(e),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = (Elf64_Half)n_ph };
	Elf64_Phdr note = { .p_type = PT_NOTE,
			    .p_offset = notes_off,
			    .p_filesz = notes_len,
			    .p_align = 4 };

	head = notes ? calloc(1, len) : NULL;
	if (head) {
		Elf64_Phdr *ph = (Elf64_Phdr *)(head + sizeof(e));
		memcpy(head, &e, sizeof(e));
		ph[0] = note;
		for (unsigned i = 0; i < img->mem->n; i++) {
			ph[i + 1] = load_header(&img->mem->r[i], off);
			off += img->mem->r[i].len_bytes;
		}
		memcpy(head + notes_off, notes, notes_len);
		*ret_len = len;
	}
	free(notes);
	return head;
}

/* ---- writing ---- */

struct out {
	const struct dump_to *to;
	uint64_t off;
};

static bool is_cancelled(const struct dump_to *to)
{
	/* Relaxed: a flag alone; what follows from it is cleaned up after a join. */
	return to->cancel && atomic_load_explicit(to->cancel, memory_order_relaxed);
}

static int wait_writable(const struct dump_to *to)
{
	struct pollfd p = { .fd = to->fd, .events = POLLOUT };
	uint64_t until_ns = qnow_ns() + to->stall_ns;

	while (qnow_ns() < until_ns) {
		if (is_cancelled(to))
			return -ECANCELED;
		int r = poll(&p, 1, POLL_MS);
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
	return -ETIMEDOUT;
}

static int put(struct out *o, const char *data, uint64_t len)
{
	while (len) {
		ssize_t n = o->to->is_stream ? write(o->to->fd, data, len) :
					       pwrite(o->to->fd, data, len, (off_t)o->off);
		if (n < 0 && errno == EAGAIN) {
			int r = wait_writable(o->to);
			if (r < 0)
				return r;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		len -= (uint64_t)n;
		o->off += (uint64_t)n;
	}
	return 0;
}

static int put_zeroes(struct out *o, uint64_t len)
{
	if (!o->to->is_stream) {
		o->off += len;
		return 0;
	}
	while (len) {
		uint64_t part = Q_MIN(len, (uint64_t)sizeof(zeroes));
		int r = is_cancelled(o->to) ? -ECANCELED : put(o, (const char *)zeroes, part);
		if (r < 0)
			return r;
		len -= part;
	}
	return 0;
}

static bool is_zero(const char *page)
{
	return !memcmp(page, zeroes, PAGE);
}

/* @len is a multiple of a page: runs of pages of one kind. */
static int put_pages(struct out *o, const char *data, uint64_t len)
{
	int r = 0;

	while (r == 0 && len) {
		bool zero = is_zero(data);
		uint64_t run = PAGE;
		while (run < len && is_zero(data + run) == zero)
			run += PAGE;
		r = zero ? put_zeroes(o, run) : put(o, data, run);
		data += run;
		len -= run;
	}
	return r;
}

/* Where the file behind @r has data at or behind @at: [*ret_from, *ret_to) of the region. */
static void next_data(const struct qmem_region *r, uint64_t at, uint64_t *ret_from,
		      uint64_t *ret_to)
{
	off_t from = lseek(r->fd, (off_t)(r->fd_off + at), SEEK_DATA);
	off_t to = from < 0 ? -1 : lseek(r->fd, from, SEEK_HOLE);

	if (from < 0 && errno == ENXIO) { /* nothing but a hole is left */
		*ret_from = *ret_to = r->len_bytes;
		return;
	}
	*ret_from = at; /* a file that cannot say counts as full */
	*ret_to = r->len_bytes;
	if (from < 0 || to < 0)
		return;
	*ret_from = Q_MIN((uint64_t)from - r->fd_off, r->len_bytes) & ~(uint64_t)(PAGE - 1);
	*ret_to = Q_MIN(Q_ALIGN_UP((uint64_t)to - r->fd_off, PAGE), r->len_bytes);
}

static int put_region(struct out *o, const struct qmem_region *r)
{
	uint64_t at = 0, from, to;
	int err = 0;

	while (err == 0 && at < r->len_bytes) {
		next_data(r, at, &from, &to);
		err = put_zeroes(o, from - at);
		for (at = from; err == 0 && at < to;) {
			uint64_t len = Q_MIN(to - at, (uint64_t)PIECE_BYTES);
			err = is_cancelled(o->to) ? -ECANCELED : put_pages(o, r->host + at, len);
			at += len;
		}
	}
	return err;
}

int dump_elf_write(const struct dump_to *to, const struct dump_image *img, uint64_t *ret_bytes)
{
	struct out o = { .to = to };
	size_t head_len = 0;
	char *head = make_head(img, &head_len);
	int r = head ? put(&o, head, head_len) : -ENOMEM;

	free(head);
	for (unsigned i = 0; r == 0 && i < img->mem->n; i++)
		r = put_region(&o, &img->mem->r[i]);
	/* A core that ends with a hole has its length all the same. */
	if (r == 0 && !to->is_stream && ftruncate(to->fd, (off_t)o.off) < 0)
		r = -errno;
	if (r == 0)
		*ret_bytes = o.off;
	return r;
}
