/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest as an ELF64 core file: a note section with the registers of each vCPU, a segment for each
 * piece of guest memory, at its guest-physical address. gdb shows each vCPU as a thread, LWP number
 * n + 1. Any thread, one at a time for one descriptor; the guest stands still.
 */
#pragma once

#include <stdatomic.h>
#include <sys/procfs.h>

#include "lib/qmem.h"

/* What an architecture says of one vCPU (arch_dump_cpu()). */
struct dump_cpu {
	elf_gregset_t gregs;	/* NT_PRSTATUS */
	elf_fpregset_t fpregs;	/* NT_FPREGSET */
	char system[640];	/* the rest, as words: control registers, tables */
};

struct dump_image {
	const struct qmem *mem;
	const struct dump_cpu *cpus;
	size_t n_cpus;
	const char *about;	/* lines of key=value: who, when, why */
	const char *name;	/* of the VM */
};

struct dump_to {
	int fd;
	bool is_stream;		/* a pipe: zeroes are written; nonblocking. Else a new, empty file:
				 * pages of zeroes are holes */
	uint64_t stall_ns;	/* how long a stream may take nothing */
	const _Atomic bool *cancel;	/* looked at between pieces */
};

/*
 * 0 with the length of the core in @ret_bytes; -ECANCELED, -ETIMEDOUT (the stream stalled),
 * -ENOMEM, -errno of a write. What was written by then is of no use.
 */
int dump_elf_write(const struct dump_to *to, const struct dump_image *img, uint64_t *ret_bytes);

/* Notes of ours: text, ending with NUL. The types are large because debuggers look at the type of
 * a note before they look at its owner. */
#define DUMP_NOTE_OWNER "PARLEY"
#define DUMP_NOTE_ABOUT 0x50410001u  /* struct dump_image.about */
#define DUMP_NOTE_SYSTEM 0x50410002u /* struct dump_cpu.system, after each vCPU's registers */
