/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state page of a mediator: its counters, in memory that others may read and only it writes.
 * They are the counters themselves, not a copy: what they say does not depend on anybody's answer,
 * and stays when the writer hangs or dies. No lock, and no system call on either side.
 *
 * Layout (version QSTAT_LAYOUT): struct qstat_head, its devices, its shares, each record at a
 * multiple of 64 bytes; host byte order, offsets and sizes in the head. A record's fields are whole
 * on their own; what belongs together is written between two steps of its seq, which is odd
 * meanwhile. New fields go to the end of a record: a reader copies what it knows of.
 *
 * One thread writes a record. The memory is a memfd, sealed against any change of size and against
 * any other writer. It has room for records that may come while it is used: their numbers in the
 * head only grow, and a record without a name is nobody's.
 */
#pragma once

#include <stdatomic.h>

#include "lib/qhist.h"

#define QSTAT_MAGIC 0x5061726c65795354ull
#define QSTAT_LAYOUT 1u
#define QSTAT_NAME_BYTES 128u
#define QSTAT_OPS 6u		/* as enum qblk_op */
#define QSTAT_DEVICES_MAX 64u
#define QSTAT_SHARES_MAX 16384u

struct qstat_head {
	uint64_t magic;
	uint32_t layout;
	_Atomic uint32_t n_devices, n_shares;	/* that have been used */
	uint32_t devices_at, device_bytes;	/* from the start of the page */
	uint32_t shares_at, share_bytes;
	uint32_t writer_pid;
	uint64_t start_ns;			/* CLOCK_MONOTONIC, as all times here */
};

struct qstat_device {
	_Atomic uint64_t seq;
	char name[QSTAT_NAME_BYTES];
	_Atomic uint64_t round_ns;	/* when its thread last looked for work */
	_Atomic uint64_t service_unit_ns, bound_ns;
	_Atomic uint32_t cap, in_flight, slots, reserve;
	_Atomic uint32_t priorities;
	/* I/Os by the way they took: at once in the caller's turn; through the ring with, and
	 * without, a registered buffer; through a buffer of the mediator's. */
	_Atomic uint64_t io_inline, io_fixed, io_plain, io_bounced;
	_Atomic uint64_t pinned_bytes, pin_failures;	/* guest memory held for I/O */
	/* Its thread's rounds, their system calls, looks for work before sleeping, their time. */
	_Atomic uint64_t rounds, enters, looks, look_ns, look_vain_ns;
	struct qhist service;
	_Atomic uint64_t ladder_step;	/* 0 free, 1 throttle, 2 pause, 3 freeze … */
	_Atomic uint64_t ladder_ups;	/* … and steps up so far */
};

struct qstat_share {
	_Atomic uint64_t seq;
	char name[QSTAT_NAME_BYTES];
	_Atomic uint32_t device;	/* index */
	_Atomic uint32_t class;		/* 0 safety, 1 normal, 2 best-effort */
	_Atomic uint32_t depth;		/* that is promised something */
	_Atomic uint32_t connected, quarantined;
	_Atomic uint32_t queued, in_flight;
	_Atomic uint64_t ops[QSTAT_OPS], bytes[QSTAT_OPS];
	_Atomic uint64_t errors, faults, bound_violations, throttled, limited;
	_Atomic uint64_t signals;	/* interrupts asked for */
	struct qhist latency, wait;
	_Atomic uint64_t target_ns;	/* what a promised request of the share may take … */
	_Atomic uint64_t missed;	/* … and how many took longer */
	/* Taking its client's requests, checking and copying them; rounds in which that waited. */
	_Atomic uint64_t cpu_ns, cpu_waits;
};

/* ---- the writer ---- */

struct qstat_page {
	struct qstat_head *head;	/* owned mapping */
	uint64_t len_bytes;
	int fd;				/* owned; can be read and mapped for reading only */
	unsigned room_devices, room_shares;
};
#define QSTAT_PAGE_NULL ((struct qstat_page){ .fd = -1 })

/* Everything zero, histograms empty; all of it is there already. 0 or -errno. */
int qstat_page_init(struct qstat_page *p, unsigned n_devices, unsigned n_shares);
/* As many more as there are to be room for: they take no memory until they come. */
int qstat_page_init_room(struct qstat_page *p, unsigned n_devices, unsigned n_shares,
			 unsigned more_devices, unsigned more_shares);
/* One more, empty: 0, -ENOSPC: there is no room, or -errno. One thread adds. */
int qstat_page_add_device(struct qstat_page *p);
int qstat_page_add_share(struct qstat_page *p);
void qstat_page_fini(struct qstat_page *p);
struct qstat_device *qstat_page_device(const struct qstat_page *p, unsigned i);
struct qstat_share *qstat_page_share(const struct qstat_page *p, unsigned i);
/* Cut off where it is too long. */
void qstat_set_name(char name[QSTAT_NAME_BYTES], const char *text);

/* One writer: no need for a locked addition. */
static inline void qstat_add(_Atomic uint64_t *c, uint64_t v)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + v,
			      memory_order_relaxed);
}

static inline void qstat_begin(_Atomic uint64_t *seq)
{
	qstat_add(seq, 1);
	/* Pairs with the acquire fence of a reader, which sees what comes now with an odd seq. */
	atomic_thread_fence(memory_order_release);
}

static inline void qstat_end(_Atomic uint64_t *seq)
{
	/* Pairs with the acquire load of a reader's beginning. */
	atomic_store_explicit(seq, atomic_load_explicit(seq, memory_order_relaxed) + 1,
			      memory_order_release);
}

/* ---- a reader ---- */

struct qstat_view {
	const struct qstat_head *map;	/* owned mapping */
	uint64_t len_bytes;
	struct qstat_head head;		/* copied once, checked */
};

/*
 * Maps @fd (borrowed), whoever it is from: 0; -EPERM, not sealed; -EPROTO, no page of this layout;
 * -errno.
 */
int qstat_view_init(struct qstat_view *v, int fd);
void qstat_view_fini(struct qstat_view *v);
/* How many there are now. */
unsigned qstat_view_n_devices(const struct qstat_view *v);
unsigned qstat_view_n_shares(const struct qstat_view *v);
/*
 * A record as it was at one moment, its name a printable string. False when its writer stands in
 * the middle of it: then each field is right on its own. @i is below the number that was told once.
 */
bool qstat_view_device(const struct qstat_view *v, unsigned i, struct qstat_device *ret);
bool qstat_view_share(const struct qstat_view *v, unsigned i, struct qstat_share *ret);
