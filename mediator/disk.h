/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One shared disk: its file, its loop and thread, its scheduler, and the shares that live on it.
 * All of a device happens on its thread, except what is marked "main thread".
 *
 * A request's life: popped from a client's ring (client.c) → waiting in its share's queue → one or
 * more slices given to the device in the order that the scheduler decides (disk.c) → completed into
 * the ring (client.c). med_req belongs to its share from med_disk_queue() until its done() is
 * called.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "lib/qbell.h"
#include "lib/qblk.h"
#include "lib/qhist.h"
#include "lib/qlog.h"
#include "mediator/loop.h"
#include "mediator/policy.h"
#include "mediator/scheduler.h"
#include "mediator/unmapper.h"

struct med_client;
struct med_disk;
struct med_share;

struct med_slice {
	struct loop_io io;
	struct med_req *req;
	void (*ended)(struct med_slice *s, int err);	/* 0 or -errno */
	struct med_slice *next_free;
	struct sched_ticket ticket;
	uint32_t len_bytes;
	uint64_t off_bytes;		/* in the device */
	struct iovec *iov;		/* remaining parts: first the slice's own array */
	unsigned n_iov;
	struct iovec iov_store[QBLK_IOV_MAX];
	uint8_t zero_how;		/* tried with it */
	bool syncing;			/* what it did is being made durable */
	char *bounce;			/* owned, policy->slice_bytes; NULL until it is needed */
	struct iovec bounce_iov;
};

struct med_req {
	struct med_req *next;		/* in the share's queue, or a free list */
	struct med_share *share;
	void (*done)(struct med_req *r, int err);	/* 0 or -errno; on the device's thread */
	enum qblk_op op;
	uint64_t sector;		/* in the share */
	uint64_t len_bytes;
	bool unmap;
	struct iovec *iov;		/* of the whole request */
	unsigned n_iov;
	uint64_t arrival_ns;
	uint64_t seq;			/* order of arrival on the device */
	uint64_t given_ns;		/* first slice given, 0 = none yet */
	uint64_t bound_ns;		/* the promise that stood then */
	uint64_t next_byte;		/* of the request, not yet given */
	unsigned iov_at;		/* where next_byte is */
	size_t iov_off;
	uint32_t slices;		/* at the device */
	bool durable;			/* a write is done when it is on stable storage */
	int err;			/* first error of a slice */
	bool unaligned;			/* direct I/O cannot take its parts as they are */
	bool in_depth;			/* was within the share's promised depth when it arrived */
};

/*
 * Written by the device's thread, read by any (relaxed: a reader may see one counter newer than
 * another).
 */
struct med_share_stats {
	_Atomic uint64_t ops[QBLK_WRITE_ZEROES + 1], bytes[QBLK_WRITE_ZEROES + 1];
	_Atomic uint64_t errors, faults, bound_violations, throttled, limited;
	_Atomic uint64_t bound_ns;
	_Atomic uint32_t queued, in_flight;
	_Atomic bool connected, quarantined;
	struct qhist latency, wait;
};

struct med_share {
	const struct med_share_policy *policy;
	struct med_disk *disk;
	unsigned sched_id;
	int listen_fd;			/* owned */
	struct loop_watch *listen_watch;
	struct med_client *client;	/* or NULL: a share has one client at a time */
	bool accept_waits;		/* a connection may stand in the backlog */
	uint64_t accept_after_ns;	/* 0 = now: there was no descriptor for it */
	uint32_t window_faults;		/* breaches since window_ns; stats has them all */
	uint64_t window_ns;
	uint64_t quarantine_until_ns;	/* while stats.quarantined */
	struct med_req *head, **tail;
	uint32_t queued;		/* requests in the list */
	uint32_t outstanding;		/* requests not yet done, queued ones included */
	struct qlog_limit bound_limit, error_limit;	/* of events */
	struct med_share_stats stats;
};

struct med_disk_stats {
	_Atomic uint64_t service_unit_ns, bound_ns;
	_Atomic uint32_t cap, in_flight;
	_Atomic bool priorities;
	struct qhist service;
};

/* Told from the device's thread: must not block. */
struct med_event_sink {
	void (*event)(void *ctx, const char *kind, const char *share, const char *text);
	void *ctx;
};

struct med_disk {
	const struct med_device_policy *policy;
	struct med_event_sink sink;
	int fd;
	bool is_block_device;
	enum {
		INLINE_NEVER,	/* direct I/O, block devices */
		INLINE_CACHED,	/* what stands in the page cache */
		INLINE_ALWAYS,	/* a file system in memory */
		INLINE_NULL,	/* no device at all */
	} inline_io;
	unsigned inline_misses;		/* in a row */
	enum {
		ZERO_AS_ASKED,	/* zero a range, or punch a hole when it may be unmapped */
		ZERO_PUNCH,
		ZERO_WRITE,	/* nothing else is there: write them */
	} zero_how;
	uint64_t last_turn_ns;
	uint64_t len_bytes;
	struct loop loop;
	struct qbell bell;	/* signals clients, whose descriptors are not to be trusted */
	struct sched sched;
	struct med_share *shares;	/* owned, n_shares; index = sched id */
	unsigned n_shares;
	struct med_queue *answered;	/* queues with something done, not yet published */
	/* the clock as last looked at: a look a request is enough */
	uint64_t now_ns;
	struct med_slice *slices, *free_slices;	/* policy->slots of them */
	/* share whose client is served first: moves on each round */
	unsigned first_served;
	uint64_t seq;
	struct med_disk_stats stats;

	/* Commands of the main thread: flags, then a signal on wake_fd. */
	int wake_fd;
	struct loop_watch *wake_watch;
	_Atomic bool want_stop, want_priorities, want_reset;
	_Atomic bool realtime;		/* the thread has a real-time priority */
	struct unmapper unmapper;
	pthread_t thread;
	pid_t tid;	/* of the thread, from med_disk_start() on */
	bool running;
};

/*
 * Opens device number @device of @policy, which is borrowed (main thread): 0 or -errno, with a
 * sentence in @errs. *@d is ready for med_disk_add_share(). With @lock it becomes ours alone; a
 * mediator that was killed may hold it for a while, until its last I/O has ended: that is waited
 * for, 5 s at most.
 */
int med_disk_init(struct med_disk *d, const struct med_policy *policy, size_t device,
		  const struct med_event_sink *sink, bool lock, struct cf_errors *errs);
/* Room for @n shares (main thread, once). 0 or -ENOMEM. */
int med_disk_reserve(struct med_disk *d, unsigned n);
/*
 * Takes @take_listen_fd on success and failure (main thread, before med_disk_start()). 0 or -errno.
 */
int med_disk_add_share(struct med_disk *d, const struct med_share_policy *policy,
		       int take_listen_fd);
int med_disk_start(struct med_disk *d);		/* main thread; 0 or -errno */
/* main thread: stops the thread, waits for I/O in flight */
void med_disk_fini(struct med_disk *d);

/* Main thread. */
void med_disk_set_priorities(struct med_disk *d, bool on);
void med_disk_reset_worst(struct med_disk *d);

/* ---- on the device's thread ---- */

/* Checks nothing: the request was decoded against the share. Ends with r->done(). */
void med_disk_queue(struct med_disk *d, struct med_req *r);
/*
 * Takes back what @match says of the share's waiting requests (not those with slices at the
 * device), linked by next: the caller's again, and done() is not called.
 */
struct med_req *med_share_take(struct med_share *sh,
			       bool (*match)(const struct med_req *r, void *arg), void *arg);
