/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vdev is, and what it needs from its host. A vdev is one file: a const struct vd_type in the registry. It knows the guest
 * side of its device and nothing of KVM, paths or processes: all that it gets through struct vd_host, which qvm fills for real
 * and a test harness fills with recorders.
 *
 * Threads: read, write and reset come from vCPU threads, everything the vdev asked for with watch(), timer() or post() from the one I/O
 * thread. The host holds the vdev's lock (one recursive-free mutex a vdev) around every call into it, so a vdev never locks. A callback must not
 * block: what may take long is posted to the I/O thread by the vdev in slices, or done by a back end.
 * Functions of the host may be called from any callback of the vdev, unless said otherwise.
 */
#pragma once

#include "lib/cferr.h"
#include "lib/qdef.h"
#include "lib/qmem.h"

struct vdev;
struct vd_host;

enum vd_space { VD_MEM, VD_IO, VD_PCI };

/* Why a device gave up on what its guest did. Counted per vdev, logged through a limiter by the host. */
enum vd_fault {
	VD_FAULT_NONE,
	VD_FAULT_BAD_RING,	/* a queue cannot be used: addresses, size */
	VD_FAULT_BAD_INDEX,
	VD_FAULT_BAD_CHAIN,
	VD_FAULT_BAD_ADDR,
	VD_FAULT_BAD_REQUEST,
	VD_FAULT_BAD_STATE,	/* an order of operations that the specification forbids */
	VD_FAULTS
};

/* ---- configuration of a vdev, as the parser hands it over ---- */

enum vd_arg_kind { VD_ARG_NONE, VD_ARG_STRING, VD_ARG_NUMBER, VD_ARG_SIZE, VD_ARG_ADDRESS, VD_ARG_BOOL };

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

/* One instance: common options are decoded, its own options are in args. All borrowed for the vdev's life. */
struct vd_config {
	const char *type;
	const char *name;	/* never NULL: given or made ("virtio-blk0") */
	enum vd_space space;
	uint64_t base;		/* VD_MEM, VD_IO */
	uint64_t len_bytes;	/* given, or the type's */
	unsigned n_irqs;	/* interrupts given by intr */
	const struct vd_arg *args;
	size_t n_args;
	const char *file;
	unsigned line, col;
};
/* The last (deciding) argument named @name, or NULL. */
const struct vd_arg *vd_arg_find(const struct vd_config *cfg, const char *name);

enum vd_type_flags {
	VD_NEEDS_LOC = 1 << 0,	/* cannot be a PCI device: loc is mandatory (ser8250 has the default space io) */
	VD_PCI_CAPABLE = 1 << 1, /* PCI without loc, or with loc pci:…; MMIO with loc and intr */
	VD_IMPLICIT = 1 << 2,	/* exists without being named (gic) */
	VD_HOST_MADE = 1 << 3,	/* made by the host itself, not by create (in-kernel ioapic, gic) */
};

struct vd_type {
	const char *name;
	unsigned flags;
	enum vd_space default_space;
	uint64_t len_bytes;		/* of its window when loc gives none */
	unsigned max_irqs;
	const char *archs;		/* NULL = all; else "x86" or "arm64" */
	const struct vd_option *options;/* its own, ending with name NULL; name, loc, intr, log, sched are common */
	/* What can be said before anything exists: bad combinations go to @errs. May be NULL. */
	void (*check)(const struct vd_config *cfg, struct cf_errors *errs);
	/* 0 or -errno, with a sentence in @errs. Called on the main thread before the guest runs. */
	int (*create)(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
		      struct vdev **ret);
};
/* All types, ending with NULL. "vdev-pl011" and "vdev-pl011.so" name pl011 too. */
extern const struct vd_type *const vdev_registry[];
const struct vd_type *vdev_type_find(const char *name);

/* ---- a running vdev ---- */

struct vdev_ops {
	/* @size 1, 2, 4 or 8; @off + @size lies inside window @win (0 = the loc window; BARs of a PCI vdev: their number). The
	 * host has split what crosses a window's end. */
	uint64_t (*read)(struct vdev *v, unsigned win, uint64_t off, unsigned size);
	void (*write)(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val);
	/* PCI configuration space of the function; NULL for others. @off + @size ≤ 4096, aligned. */
	uint32_t (*cfg_read)(struct vdev *v, unsigned off, unsigned size);
	void (*cfg_write)(struct vdev *v, unsigned off, unsigned size, uint32_t val);
	/* Power button (SIGTERM). True when the guest can see it. May be NULL. */
	bool (*button)(struct vdev *v);
	/* key=value words for SIGUSR1 and the env file. May be NULL. */
	void (*status)(struct vdev *v, char *buf, size_t buf_bytes);
	/* The guest will not run any more: stop threads of the vdev, finish or cancel what is in flight. Main thread. May be NULL. */
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

/* ---- the host of a vdev ---- */

struct vd_watch;	/* the host's handle */
struct vd_timer;

/* Block back end of a vdev that has its own file: made by the host from `hostdev`. */
struct vd_blk;
struct vd_blk_io {
	enum { VD_BLK_READ, VD_BLK_WRITE, VD_BLK_FLUSH, VD_BLK_DISCARD, VD_BLK_ZERO } op;
	uint64_t off, len_bytes;
	const struct iovec *iov;	/* borrowed until done */
	unsigned n_iov;
	bool unmap;
	/* On the I/O thread with the vdev's lock held. @err 0 or -errno. */
	void (*done)(struct vdev *v, struct vd_blk_io *io, int err);
};
struct vd_blk_info {
	uint64_t len_bytes;
	bool read_only, can_discard, can_zero;
	uint32_t block_bytes;		/* logical */
};

enum vd_power { VD_POWER_OFF, VD_POWER_RESET, VD_POWER_WATCHDOG };

struct vd_host_ops {
	/* The vdev's @n-th interrupt (as listed by intr): level, or an edge through its descriptor. */
	void (*irq_set)(struct vd_host *h, unsigned n, bool level);
	/* An eventfd: each signal is one edge on interrupt @n. Borrowed, -1 when there is none. Same fd each time. */
	int (*irq_fd)(struct vd_host *h, unsigned n);

	/* MSI-X vector @vector of a PCI vdev (< 64). The eventfd exists from the start; while masked its signals are kept. */
	int (*msi_fd)(struct vd_host *h, unsigned vector);
	/* New address and data, or masked. 0 or -errno (no route left). */
	int (*msi_set)(struct vd_host *h, unsigned vector, bool masked, uint64_t addr,
		       uint32_t data);

	/* Writes of @size bytes (0 = any) to @addr (with @datamatch, of that value) signal @fd without an exit. 0 or -errno. */
	int (*notify_add)(struct vd_host *h, enum vd_space space, uint64_t addr, unsigned size,
			  const uint64_t *datamatch, int fd);
	void (*notify_del)(struct vd_host *h, enum vd_space space, uint64_t addr, unsigned size,
			   const uint64_t *datamatch, int fd);
	/* Moves BAR window @win: enabled at @addr or gone. 0 or -EEXIST when another window is there (it stays gone). */
	int (*bar_map)(struct vd_host *h, unsigned win, enum vd_space space, uint64_t addr,
		       uint64_t len_bytes, bool enabled);

	/* @fn on the I/O thread whenever @fd is readable, until unwatch. NULL when out of memory. */
	struct vd_watch *(*watch)(struct vd_host *h, int fd, void (*fn)(struct vdev *v, void *arg),
				  void *arg);
	void (*unwatch)(struct vd_host *h, struct vd_watch *w);
	struct vd_timer *(*timer_new)(struct vd_host *h, void (*fn)(struct vdev *v, void *arg),
				      void *arg);
	void (*timer_arm)(struct vd_host *h, struct vd_timer *t, uint64_t at_ns); /* 0 = off */
	void (*timer_free)(struct vd_host *h, struct vd_timer *t);
	/* @fn once, soon, on the I/O thread. 0 or -ENOMEM. */
	int (*post)(struct vd_host *h, void (*fn)(struct vdev *v, void *arg), void *arg);

	/* Console of a serial vdev from its hostdev options: descriptors to read and write, nonblocking, -1 when that direction has none. */
	int (*console_open)(struct vd_host *h, const struct vd_config *cfg, struct cf_errors *errs,
			    int *ret_in_fd, int *ret_out_fd);
	/* Own file or block device. */
	int (*blk_open)(struct vd_host *h, const struct vd_arg *hostdev, struct cf_errors *errs,
			struct vd_blk **ret, struct vd_blk_info *ret_info);
	/* Queues one io; it ends with done(). 0 or -errno (then done() is not called). */
	int (*blk_submit)(struct vd_host *h, struct vd_blk *b, struct vd_blk_io *io);
	void (*blk_kick)(struct vd_host *h, struct vd_blk *b);	/* after a batch of submits */
	void (*blk_close)(struct vd_host *h, struct vd_blk *b);	/* waits for what is in flight */
	/* A connected vhost-user socket to the back end named by @hostdev ("mediator:NAME", "vhost-user:PATH"): owned by the
	 * caller, or -errno (-ENOENT, -ECONNREFUSED: not there now, try again). */
	int (*backend_connect)(struct vd_host *h, const struct vd_arg *hostdev);

	/* The guest asked for it. The VM ends soon after; returns at once. */
	void (*power)(struct vd_host *h, enum vd_power what);
	/* A guest fault was counted: log it through the limiter. */
	void (*fault)(struct vd_host *h, enum vd_fault f);
	/* A state change worth a line: "backend lost", "backend back". @sev is enum qlog_sev. */
	void (*log)(struct vd_host *h, int sev, const char *fmt, ...) Q_PRINTF(3, 4);
};

struct vd_host {
	const struct vd_host_ops *ops;
	const struct qmem *mem;		/* guest memory; does not change while the VM lives */
};
