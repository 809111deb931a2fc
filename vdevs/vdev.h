/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vdev is. A vdev is one file: a const struct vd_type in the registry. It knows the guest
 * side of its device and nothing of KVM, paths or processes: all that it gets through struct
 * vd_host (vdhost.h), which qvm fills for real and a test harness fills with recorders.
 *
 * Threads: read, write and reset come from vCPU threads, everything the vdev asked for with
 * watch(), timer() or post() from the one I/O thread. The host holds the vdev's lock (one mutex a
 * vdev, not recursive) around every call into it, so a vdev never locks. A callback must not
 * block: what may take long is posted to the I/O thread by the vdev in slices, or done by a back
 * end. Functions of the host may be called from any callback of the vdev, unless said otherwise.
 */
#pragma once

#include "lib/cferr.h"
#include "lib/qdef.h"
#include "lib/qmem.h"
#include "vdevs/vdhost.h"

/* ---- configuration of a vdev, as the parser hands it over ---- */

enum vd_arg_kind {
	VD_ARG_NONE,
	VD_ARG_STRING,
	VD_ARG_NUMBER,
	VD_ARG_SIZE,
	VD_ARG_ADDRESS,
	VD_ARG_BOOL
};

struct vd_option {
	const char *name;
	enum vd_arg_kind kind;
	bool accumulates;	/* all are kept, in order; else the last one wins */
};

struct vd_arg {
	const struct vd_option *opt;
	const char *text;	/* NULL for VD_ARG_NONE */
	uint64_t num;		/* of NUMBER, SIZE, ADDRESS, BOOL */
	const char *file;	/* where it stands, for errors */
	unsigned line, col;
};

/* One instance: common options are decoded, its own options are in args. All borrowed for the
 * vdev's life. */
struct vd_config {
	const char *type;
	const char *name;	/* never NULL: given or made ("virtio-blk0") */
	enum vd_space space;
	uint64_t base;		/* VD_MEM, VD_IO */
	uint64_t len_bytes;	/* given, or the type's */
	uint64_t more_base, more_bytes;	/* a further window, placed by the checker; 0 = none */
	unsigned n_irqs;	/* interrupts given by intr */
	/* How long its talk with a server may take; never 0. */
	unsigned block_timeout_ms;
	const struct vd_arg *args;
	size_t n_args;
	const char *file;
	unsigned line, col;
};
/* The last (deciding) argument named @name, or NULL. */
const struct vd_arg *vd_arg_find(const struct vd_config *cfg, const char *name);

enum vd_type_flags {
	/* Cannot be a PCI device: loc is mandatory, unless the type has a default_base. */
	VD_NEEDS_LOC = 1 << 0,
	/* PCI without loc, or with loc pci:…; MMIO with loc and intr. */
	VD_PCI_CAPABLE = 1 << 1,
	/* Exists without being named (gic, acpi-pm). */
	VD_IMPLICIT = 1 << 2,
	/* Made by the host itself, not by create (in-kernel ioapic, gic). */
	VD_HOST_MADE = 1 << 3,
};

/* How a device tree describes a vdev that stands in memory: as NODE@ADDRESS below /vdevs. Constant
 * strings; a list of strings has a NUL behind each, and ends with an empty one. */
struct vd_fdt {
	const char *node;		/* "uart" */
	const char *compatible;		/* list */
	const char *clock_names;	/* list, each a fixed clock of clock_hz; NULL: no clocks */
	uint32_t clock_hz;
	bool dma_coherent;
	bool irq_edge;			/* its interrupts are edges; else levels, active high */
	const char *flags;		/* list of properties without a value; NULL: none */
};

struct vd_type {
	const char *name;
	unsigned flags;
	enum vd_space default_space;
	uint64_t default_base;		/* where it stands without loc; 0 = nowhere */
	uint64_t len_bytes;		/* of its window when loc gives none */
	unsigned max_irqs;
	const char *archs;		/* NULL = all; else "x86" or "arm64" */
	/* Its own, ending with name NULL; name, loc, intr, log, sched are common. */
	const struct vd_option *options;
	/* What can be said before anything exists: bad combinations go to @errs. May be NULL. */
	void (*check)(const struct vd_config *cfg, struct cf_errors *errs);
	/* 0 or -errno, with a sentence in @errs. Called on the main thread before the guest
	 * runs. NULL for VD_HOST_MADE. */
	int (*create)(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
		      struct vdev **ret);
	/* What a device tree says of it when it stands in memory. NULL: "virtio-…" is a virtio,mmio
	 * device, and anything else is not mentioned. */
	void (*fdt)(const struct vd_config *cfg, struct vd_fdt *ret);
	/* How large a window of guest memory addresses it needs besides the one at its loc when it
	 * is no PCI device: the checker chooses where. May be NULL. */
	uint64_t (*more_bytes)(const struct vd_config *cfg);
};
/* All types, ending with NULL. "vdev-pl011" and "vdev-pl011.so" name pl011 too. */
extern const struct vd_type *const vdev_registry[];
const struct vd_type *vdev_type_find(const char *name);

/* ---- a running vdev ---- */

struct vdev_ops {
	/* @size 1, 2, 4 or 8; @off + @size lies inside window @win (0 = the loc window; BARs of a
	 * PCI vdev: their number). The host has split what crosses a window's end. */
	uint64_t (*read)(struct vdev *v, unsigned win, uint64_t off, unsigned size);
	void (*write)(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val);
	/* PCI configuration space of the function; NULL for others. @size 1, 2 or 4, @off + @size
	 * ≤ 4096, aligned. */
	uint32_t (*cfg_read)(struct vdev *v, unsigned off, unsigned size);
	void (*cfg_write)(struct vdev *v, unsigned off, unsigned size, uint32_t val);
	/* Power button (SIGTERM). True when the guest can see it. May be NULL. */
	bool (*button)(struct vdev *v);
	/* key=value words for SIGUSR1 and the env file. May be NULL. */
	void (*status)(struct vdev *v, char *buf, size_t buf_bytes);
	/* The guest will not run any more: stop threads of the vdev, finish or cancel what is in
	 * flight. Main thread. May be NULL. */
	void (*quiesce)(struct vdev *v);
	void (*free)(struct vdev *v);
};

/* Embedded as the first member in every vdev. */
struct vdev {
	const struct vdev_ops *ops;
	const struct vd_type *type;
	const struct vd_config *cfg;
	struct vd_host *host;
	uint64_t faults[VD_FAULTS];
};
/* Counts a guest's fault and lets the host log it. Does not change the device. */
void vdev_fault(struct vdev *v, enum vd_fault f);
const char *vd_fault_str(enum vd_fault f);
