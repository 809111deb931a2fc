/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host of one vdev for tests: it records what the vdev asks for, holds a disk in memory, and runs
 * the I/O thread's part when the test says so. One thread, so that no lock is needed; call() is run
 * like post(). Accesses go in by address, as a guest's do: an address that is an ioeventfd signals,
 * others reach the vdev.
 */
#pragma once

#include "lib/qfd.h"
#include "tests/unit/vdshm.h"
#include "vdevs/vdev.h"

#define VDH_RAM_GPA 0x100000ull
#define VDH_RAM_BYTES (4ull << 20)
#define VDH_LINES 4u
#define VDH_VECTORS 64u
#define VDH_SLOTS 64u
#define VDH_WINDOWS 8u
#define VDH_STREAMS 16u

struct vdh_notify {
	bool used, has_match;
	enum vd_space space;
	uint64_t addr, match;
	unsigned size;
	int fd;
};
struct vdh_window {
	bool mapped;
	enum vd_space space;
	uint64_t addr, len_bytes;
	unsigned moves;
};
struct vdh_vector {
	int fd;
	bool live;
	uint64_t addr;
	uint32_t data;
	unsigned sets;
};
struct vdh_todo {
	void (*work)(void *work_arg);
	void *work_arg;
	void (*fn)(struct vdev *v, void *arg);
	void *arg;
};

struct vdh {
	struct vd_host host;	/* first */
	struct qmem *mem;
	struct vdev *v;
	struct vd_config cfg;
	struct vd_arg args[8];
	struct cf_errors errs;

	/* what the vdev did */
	bool level[VDH_LINES];
	unsigned raises[VDH_LINES];
	int irq_fd[VDH_LINES];
	bool no_irq_fd;		/* set before vdh_create(): the host has no descriptors for lines */
	struct vdh_vector vec[VDH_VECTORS];
	bool no_routes;		/* msi_set fails */
	struct vdh_notify notify[VDH_SLOTS];
	bool no_notify;		/* notify_add fails: notifications are exits */
	struct vdh_window win[VDH_WINDOWS];
	uint64_t taken_addr;	/* another window is here: bar_map() fails */
	unsigned n_faults;
	int power;		/* enum vd_power, -1 = nothing */
	unsigned n_power;
	uint64_t now_ns;	/* virtual time, from the first vdh_advance() on; 0 = real time */
	unsigned left;		/* code of leave(), 0 = not called */
	const char *failed;	/* why of failed(), NULL = not called */
	uint64_t utc_ns;	/* of utc() when now() is 0 */
	int irq_number[VDH_LINES];	/* -1: none */
	bool pit_cut;
	const uint8_t *pci_header;	/* NULL: the host has no such device */
	char logged[256];	/* the last line that is not debug */

	/* the I/O thread's */
	struct vd_watch *watches[VDH_SLOTS];
	struct vd_timer *timers[VDH_SLOTS];
	struct vdh_todo todo[VDH_SLOTS];
	unsigned n_todo;

	/* streams: see vdstream.h */
	int con_in_fd, con_out_fd;	/* what hostdev gives: borrowed, -1 = none */
	struct vd_stream *streams[VDH_STREAMS];
	/* memory that is not the guest's own: see vdshm.h */
	struct qshm *shm;	/* the test's; NULL = the host has none */
	struct vd_ram *rams[VDH_RAMS];
	bool no_rams;		/* ram_map fails */
	/* disk */
	uint8_t *disk;
	struct vd_blk_info disk_info;
	int disk_err;		/* blk_open() fails with it */
	struct vd_blk_io *io[512];
	unsigned n_io;
	bool hold;		/* nothing is completed until it is false */
	int io_err;		/* what every io ends with */
	bool submit_fails;
	unsigned n_submits, n_kicks, n_ops[8];
	/* back end: called for each connection; a socket or -errno */
	int (*backend)(struct vdh *h);
	void *backend_ctx;
	/* network: what `peer` leads to (vdnet.h); NULL: nothing */
	int (*net_open)(struct vdh *h, const struct vd_net_cfg *cfg, struct vd_net **ret);
	void *net_ctx;
	/* sound: what hostdev or capture leads to (vdsnd.h); NULL: nothing */
	int (*snd_open)(struct vdh *h, const struct vd_snd_cfg *cfg, struct vd_snd_pcm **ret);
	void *snd_ctx;
};

void vdh_init(struct vdh *h);
/* One argument of the configuration; @text is borrowed. */
void vdh_arg(struct vdh *h, const char *name, const char *text, uint64_t num);
/*
 * Space, base, length and number of interrupts; then check() and create(). 0 or -errno (-EINVAL
 * from check).
 */
int vdh_create(struct vdh *h, const char *type, enum vd_space space, uint64_t base,
	       unsigned n_irqs);
void vdh_fini(struct vdh *h);

/*
 * Runs what is due once: posted work, watches, timers, disk. False when nothing was due within
 * @wait_ms.
 */
bool vdh_step(struct vdh *h, int wait_ms);
/* Only the watches: a loop may come to them before what else is due. */
bool vdh_watches(struct vdh *h);
/* Until nothing is due. */
void vdh_settle(struct vdh *h);
/*
 * Time stands still from the first call on, and moves by @by_ns: what timers fall due meanwhile run
 * in their order, each at its time. Of use to a vdev that reads the clock by now().
 */
void vdh_advance(struct vdh *h, uint64_t by_ns);

/* A guest's accesses. What hits no window reads all ones. */
uint64_t vdh_read(struct vdh *h, enum vd_space space, uint64_t addr, unsigned size);
void vdh_write(struct vdh *h, enum vd_space space, uint64_t addr, unsigned size, uint64_t val);
uint32_t vdh_cfg_read(struct vdh *h, unsigned off, unsigned size);
void vdh_cfg_write(struct vdh *h, unsigned off, unsigned size, uint32_t val);

/* Signals taken from a line's or a vector's descriptor; a masked vector delivers none. */
uint64_t vdh_edges(struct vdh *h, unsigned line);
uint64_t vdh_msis(struct vdh *h, unsigned vector);
uint64_t vdh_fault_count(const struct vdh *h, enum vd_fault f);
unsigned vdh_notify_count(const struct vdh *h);
