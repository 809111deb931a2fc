/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vdev may ask of its host: interrupts, notifications, windows, events, consoles, disks,
 * back ends, power. qvm fills struct vd_host_ops for real, a test harness with recorders.
 *
 * Functions may be called from any callback of the vdev and from create(), unless said otherwise;
 * none of them blocks, but blk_close() and those that open something before the guest runs.
 */
#pragma once

#include <sys/uio.h>

#include "lib/cferr.h"
#include "lib/qdef.h"
#include "lib/qmem.h"
#include "vdevs/vdnet.h"
#include "vdevs/vdshm.h"
#include "vdevs/vdsnd.h"
#include "vdevs/vdstream.h"

struct vdev;
struct vd_host;
struct vd_arg;
struct vd_config;

struct vd_watch;	/* the host's handles */
struct vd_timer;
struct vd_blk;

enum vd_space { VD_MEM, VD_IO, VD_PCI };

/* Why a device gave up on what its guest did. Counted per vdev, logged through a limiter. */
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

/* One request to the block back end that the host made from `hostdev`. */
struct vd_blk_io {
	enum { VD_BLK_READ, VD_BLK_WRITE, VD_BLK_FLUSH, VD_BLK_DISCARD, VD_BLK_ZERO } op;
	uint64_t off, len_bytes;
	const struct iovec *iov;	/* borrowed until done */
	unsigned n_iov;
	bool unmap;			/* VD_BLK_ZERO: may deallocate */
	/* On the I/O thread with the vdev's lock held. @err 0 or -errno. */
	void (*done)(struct vdev *v, struct vd_blk_io *io, int err);
};
struct vd_blk_info {
	uint64_t len_bytes;
	bool read_only, can_discard, can_zero;
	uint32_t block_bytes;		/* logical */
	/* Hints, 0 = unknown: what is written at once, what is best at least and best of all; what
	 * a discard frees. */
	uint32_t physical_bytes, io_min_bytes, io_best_bytes, discard_bytes;
};

enum vd_power {
	VD_POWER_OFF,
	VD_POWER_RESET,
	VD_POWER_WATCHDOG,	/* a watchdog bit: the VM ends */
	VD_POWER_WATCHDOG_DUMP,	/* a watchdog bit: a dump of the guest, then the VM ends */
	VD_POWER_DUMP,		/* a dump of the guest, which goes on after it */
};
#define VD_PCI_HEADER_BYTES 64u
/* Exit codes that a vdev may end the VM with: what they mean is between guest and operator. */
#define VD_LEAVE_MIN 32u
#define VD_LEAVE_MAX 63u

struct vd_host_ops {
	/* The vdev's @n-th interrupt (as listed by intr): level, or an edge by its descriptor. */
	void (*irq_set)(struct vd_host *h, unsigned n, bool level);
	/* An eventfd: each signal is one edge on interrupt @n. Borrowed, the same each time, -1
	 * when there is none. */
	int (*irq_fd)(struct vd_host *h, unsigned n);

	/* MSI-X vector @vector of a PCI vdev (< 64). The eventfd exists from the start; while
	 * masked (as it is at first) its signals are kept. Borrowed; -1 when there is none. */
	int (*msi_fd)(struct vd_host *h, unsigned vector);
	/* New address and data, or masked. 0 or -errno (no route left). */
	int (*msi_set)(struct vd_host *h, unsigned vector, bool masked, uint64_t addr,
		       uint32_t data);

	/* Writes of @size bytes (0 = any) to @addr (with @datamatch, of that value) signal @fd
	 * without an exit. 0 or -errno: then the writes come to write(). */
	int (*notify_add)(struct vd_host *h, enum vd_space space, uint64_t addr, unsigned size,
			  const uint64_t *datamatch, int fd);
	void (*notify_del)(struct vd_host *h, enum vd_space space, uint64_t addr, unsigned size,
			   const uint64_t *datamatch, int fd);
	/* Moves window @win (BARs of a PCI vdev; further windows of another): enabled at @addr or
	 * gone. 0, or -EEXIST when another window is there (this one stays gone). A one-byte window
	 * inside a wider port (0xcf9 in 0xcf8) is allowed, and gets the accesses that fit it. */
	int (*bar_map)(struct vd_host *h, unsigned win, enum vd_space space, uint64_t addr,
		       uint64_t len_bytes, bool enabled);

	/* @fn on the I/O thread whenever @fd is readable or hung up, until unwatch (which @fn may
	 * call). After unwatch returns @fn is not called any more. NULL when out of memory. */
	struct vd_watch *(*watch)(struct vd_host *h, int fd, void (*fn)(struct vdev *v, void *arg),
				  void *arg);
	void (*unwatch)(struct vd_host *h, struct vd_watch *w);
	/* One shot: @fn on the I/O thread at @at_ns (qnow_ns() clock), 0 = off. timer_free() is
	 * allowed in @fn. NULL when out of memory. */
	struct vd_timer *(*timer_new)(struct vd_host *h, void (*fn)(struct vdev *v, void *arg),
				      void *arg);
	void (*timer_arm)(struct vd_host *h, struct vd_timer *t, uint64_t at_ns);
	void (*timer_free)(struct vd_host *h, struct vd_timer *t);
	/* @fn once, soon, on the I/O thread; never after free(). 0 or -ENOMEM. */
	int (*post)(struct vd_host *h, void (*fn)(struct vdev *v, void *arg), void *arg);
	/* Work that may wait (2 s at most): @work(@work_arg) on the I/O thread without the vdev's
	 * lock, so that no vCPU waits with it; it calls nothing of the vdev or the host. Then
	 * @done with the lock. Never after free(). 0 or -ENOMEM. */
	int (*call)(struct vd_host *h, void (*work)(void *work_arg), void *work_arg,
		    void (*done)(struct vdev *v, void *arg), void *arg);

	/* Own file or block device. `dio` is the host's to look at. Also while the guest runs. */
	int (*blk_open)(struct vd_host *h, const struct vd_arg *hostdev, struct cf_errors *errs,
			struct vd_blk **ret, struct vd_blk_info *ret_info);
	/* Queues one io; it ends with done(), never before blk_submit() returned. 0 or -errno
	 * (then done() is not called). */
	int (*blk_submit)(struct vd_host *h, struct vd_blk *b, struct vd_blk_io *io);
	void (*blk_kick)(struct vd_host *h, struct vd_blk *b);	/* after a batch of submits */
	void (*blk_close)(struct vd_host *h, struct vd_blk *b);	/* waits for what is in flight */
	/* A connected vhost-user socket to the back end named by @hostdev ("mediator:NAME",
	 * "vhost-user:PATH"): owned by the caller; or -errno (-ENOENT, -ECONNREFUSED, -EAGAIN:
	 * not there now, try again). */
	int (*backend_connect)(struct vd_host *h, const struct vd_arg *hostdev);

	/* The guest asked for it. The VM ends soon after; returns at once. */
	void (*power)(struct vd_host *h, enum vd_power what);
	/* A guest fault was counted: log it through the limiter. */
	void (*fault)(struct vd_host *h, enum vd_fault f);
	/* A state change worth a line: "backend lost", "backend back". @sev is enum qlog_sev. */
	void (*log)(struct vd_host *h, int sev, const char *fmt, ...) Q_PRINTF(3, 4);
	/* The VM ends with exit code @code, VD_LEAVE_MIN..VD_LEAVE_MAX (others become MIN), soon
	 * after; returns at once. */
	void (*leave)(struct vd_host *h, unsigned code);
	/* The vdev cannot go on, and it is not the guest's fault: the VM ends as failed (exit code
	 * 6), soon after. @why: a constant string. Returns at once. */
	void (*failed)(struct vd_host *h, const char *why);
	/* The clock of timer_arm(): qnow_ns(), or a test's own time. */
	uint64_t (*now)(struct vd_host *h);
	/* The host's UTC, in ns since 1970. It may jump. */
	uint64_t (*utc)(struct vd_host *h);
	/*
	 * The number by which the guest knows the vdev's @n-th interrupt: the pin of the ioapic,
	 * the INTID of the GIC. -1 when there is none.
	 */
	int (*irq_number)(struct vd_host *h, unsigned n);
	/* Connects the machine's interval timer to its interrupt line, or cuts it off while another
	 * timer has the line (HPET legacy replacement). */
	void (*pit_wired)(struct vd_host *h, bool on);
	/* The first VD_PCI_HEADER_BYTES of configuration space of the host's PCI function that @arg
	 * names. 0, or -errno with a sentence in @errs. Before the guest runs only. */
	int (*pci_header)(struct vd_host *h, const struct vd_arg *arg, struct cf_errors *errs,
			  uint8_t *ret);
	/* What `peer` of a network vdev names. 0, or -errno with a sentence in @errs. Before the
	 * guest runs only; the vdev closes it. */
	int (*net_open)(struct vd_host *h, const struct vd_net_cfg *cfg, struct cf_errors *errs,
			struct vd_net **ret);
	/* As watch(), whenever @fd takes bytes, or failed. */
	struct vd_watch *(*watch_out)(struct vd_host *h, int fd,
				      void (*fn)(struct vdev *v, void *arg), void *arg);
	/* The PCM of a stream, as hostdev or capture names it: alsa and file. 0, or -errno with a
	 * sentence in @errs. Before the guest runs only; the vdev closes it. */
	int (*snd_open)(struct vd_host *h, const struct vd_snd_cfg *cfg, struct cf_errors *errs,
			struct vd_snd_pcm **ret);
	/* What serial lines and console ports are connected to. */
	const struct vd_stream_ops *stream;
	/* Memory that is not the guest's own. */
	const struct vd_shm_ops *shm;
};

struct vd_host {
	const struct vd_host_ops *ops;
	const struct qmem *mem;	/* guest memory; does not change while the VM lives */
	unsigned n_vcpus;	/* of the VM; 0: not known */
};
