/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the checker must know of an architecture, as a table: both are in every build, so that the
 * rules of both are tested on either. Constant data, any thread.
 */
#pragma once

#include "lib/qdef.h"
#include "vdevs/vdev.h"

/* A place that the machine uses itself. */
struct cfg_window {
	enum vd_space space;	/* VD_MEM or VD_IO */
	uint64_t base, len_bytes;
	bool vdevs_may;		/* RAM must stay out, a vdev with a loc may be inside */
	const char *what;
	const char *types;	/* the vdevs that speak for it, with spaces between; or NULL */
};

/* The interrupt that every guest expects of a vdev at its usual place: `intr` may be left out. */
struct cfg_std_line {
	const char *type;
	enum vd_space space;
	uint64_t base;
	unsigned line;
};

/* An interrupt line that is not like the others. */
struct cfg_held_line {
	unsigned line;
	const char *what;	/* the machine uses it itself for this; NULL: it does not */
	const char *types;	/* the vdevs that may have it, and share it; or NULL */
};

struct cfg_arch {
	const char *name;			/* "x86", "arm64": as in struct vd_type.archs */
	const struct cfg_window *windows;
	size_t n_windows;
	const struct cfg_std_line *std_lines;
	size_t n_std_lines;
	uint64_t ram_base;			/* of the first ram that has no address */
	uint64_t start_end;			/* RAM from 0 to here is needed; 0: none */
	uint64_t tables_base, tables_len;	/* so is ram or rom here; 0: none */
	uint64_t addr_limit;			/* guest-physical addresses end here */
	bool has_io;				/* has I/O ports */
	bool has_fdt;				/* the guest is described by a device tree */
	bool tells_registers;			/* KVM can leave registers it lacks to us */
	const char *pic_type;			/* the type of its PIC vdev */
	const char *implicit_pic;		/* its name unless a vdev names it; or NULL */
	unsigned line_first, line_end;		/* lines that `intr` may name */
	const struct cfg_held_line *held_lines;
	size_t n_held_lines;
	const uint16_t *auto_lines;		/* for automatic interrupts, best first */
	size_t n_auto_lines;
	unsigned intx_first;			/* four lines of PCI INTx */
	unsigned cpus_max;
};

extern const struct cfg_arch cfg_arch_x86, cfg_arch_arm64;
/* True when the word @type is among @types. */
bool cfg_type_among(const char *types, const char *type);
/* The one this program is built for. */
const struct cfg_arch *cfg_arch_native(void);
/* By name, or NULL. */
const struct cfg_arch *cfg_arch_find(const char *name);
