/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds a disk's data, behind one interface: a file or a block device through the loop
 * (backend_file.c), nothing at all (backend_null.c). It knows of I/Os only: requests, shares and
 * the order among them are disk.c's and the scheduler's.
 *
 * An I/O belongs to the back end from submit() until its ended(), which comes exactly once, on the
 * device's thread, perhaps before submit() returns. It cannot be taken back meanwhile: the kernel
 * may be writing into the guest's memory.
 */
#pragma once

#include <sys/uio.h>

#include "lib/cferr.h"
#include "lib/qblk.h"
#include "lib/qmem.h"
#include "mediator/loop.h"
#include "mediator/policy.h"

struct pins_mem;

struct backend_io {
	struct loop_io loop;		/* for a back end that works through the loop */
	struct backend *be;		/* which has it; set by its submit() */
	void (*ended)(struct backend_io *io, int err);	/* 0 or -errno */
	unsigned slot;			/* its own while under way, below the device's slots */
	enum qblk_op op;		/* read, write, flush, discard, write zeroes */
	bool durable;			/* a write is over when it is on stable storage */
	bool unmap;			/* zeroes may be a hole */
	bool unaligned;			/* memory that backend.mem_align forbids */
	bool injected;			/* its error is one on purpose: it has not been done */
	struct pins_mem *mem;		/* what mem_add() gave for the guest's memory, or NULL */
	uint32_t len_bytes;		/* the back end may count it down */
	uint64_t off_bytes;		/* in the device; the same */
	/* Guest memory, for reads and writes; changed by the back end as it goes on. */
	struct iovec *iov;
	unsigned n_iov;
	struct iovec iov_store[QBLK_IOV_MAX];	/* where iov points to at first */
};

/* I/Os, by the way they took. */
struct backend_counts {
	uint64_t at_once, held, plain, bounced;
	uint64_t held_bytes, hold_failures;
};

struct backend {
	const struct backend_ops *ops;
	uint64_t len_bytes;
	uint32_t sector_bytes;		/* offsets and lengths are multiples of it */
	unsigned mem_align;		/* of memory that it takes as it lies; 1: any */
	uint32_t unaligned_bytes;	/* how long an unaligned I/O may be */
	bool writes_zeroes;		/* zeroes take it as long as any other write */
	struct backend_counts n;
};

/* What was opened again is what was lost, or may be something else: a disk that came back, say. */
enum backend_reopened { BACKEND_SAME, BACKEND_ANOTHER };

struct backend_ops {
	/* On the device's thread, once, before the first I/O: 0 or -errno. */
	int (*start)(struct backend *b, struct loop *l);
	/* On the device's thread. */
	void (*submit)(struct backend *b, struct backend_io *io);
	/*
	 * On the device's thread, while no I/O is under way: the device is gone, and is to be
	 * opened again by its path. @done with BACKEND_SAME, BACKEND_ANOTHER or -errno, perhaps
	 * before this returns; until then nothing is submitted. NULL: it cannot go.
	 */
	void (*reopen)(struct backend *b, void (*done)(void *ctx, int result), void *ctx);
	/*
	 * On the device's thread: one more user of a guest's memory, which may be held ready for
	 * I/O until as many mem_drop(); NULL when it is not. Both or neither may be NULL.
	 */
	struct pins_mem *(*mem_add)(struct backend *b, const struct qmem *mem);
	void (*mem_drop)(struct backend *b, struct pins_mem *m);
	/*
	 * On the device's thread, when its I/Os are given: something that is useful and takes
	 * little. True when there is more. NULL: nothing ever.
	 */
	bool (*tend)(struct backend *b);
	/* On the device's thread, after the last I/O has ended and before the loop goes; also when
	 * start() failed. */
	void (*stop)(struct backend *b);
	/* Main thread. */
	void (*free)(struct backend *b);
};

enum backend_lock { BACKEND_NO_LOCK, BACKEND_LOCK_NOW, BACKEND_LOCK_WAITS };

/*
 * Opens what the policy names (main thread): 0 or -errno, with a sentence in @errs. With a @lock it
 * becomes ours alone; a mediator that was killed may hold it for a while, until its last I/O has
 * ended: BACKEND_LOCK_WAITS waits for that, 5 s at most.
 */
int backend_open(const struct med_device_policy *p, enum backend_lock lock, struct cf_errors *errs,
		 struct backend **ret);
/* NULL is fine; returns NULL. */
struct backend *backend_free(struct backend *b);

/* For backend_open(). */
int backend_file_open(const struct med_device_policy *p, enum backend_lock lock,
		      struct cf_errors *errs,
		      struct backend **ret);
/* Reads as zeroes, forgets writes: for measurements. 0 or -ENOMEM. */
int backend_null_open(uint64_t len_bytes, struct backend **ret);

/*
 * Puts a device that takes the time of @model in front of @take_behind, for I/Os in @slots slots. 0
 * or -ENOMEM.
 */
int backend_sim_wrap(const struct sim_model *model, unsigned slots, struct backend *take_behind,
		     struct backend **ret);

/* Moves no data of the guest's: flush, discard, write zeroes. */
static inline bool backend_is_barrier(enum qblk_op op)
{
	return op != QBLK_READ && op != QBLK_WRITE;
}
