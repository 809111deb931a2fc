/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share of a disk, and a request of it, as the device's thread has them (disk.h has what happens
 * to them). All on that thread, except what says otherwise.
 */
#pragma once

#include <stdatomic.h>

#include "lib/qblk.h"
#include "lib/qlog.h"
#include "mediator/budget.h"
#include "lib/qstat.h"
#include "mediator/outage.h"
#include "mediator/policy.h"
#include "mediator/recorder.h"

struct pins_mem;
struct socket_watch;
struct med_client;
struct med_disk;
struct med_share;

struct med_req {
	struct med_req *next;		/* in the share's queue, or a free list */
	struct med_share *share;
	void (*done)(struct med_req *r, int err);	/* 0 or -errno; on the device's thread */
	enum qblk_op op;
	uint64_t sector;		/* in the share */
	uint64_t len_bytes;
	bool unmap;
	struct iovec *iov;		/* of the whole request */
	struct pins_mem *mem;		/* of the guest, as the back end knows it; or NULL */
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
	bool err_injected;		/* it has not been done, and nothing else was lost */
	bool unaligned;			/* direct I/O cannot take its parts as they are */
	bool in_depth;			/* was within the share's promised depth when it arrived */
	bool guarded;			/* in the share's list of guard.h */
	struct med_req *guard_next, *guard_prev;
	struct med_req *prev;		/* the one before it in the queue; of order.c */
	uint8_t rank;			/* of its I/O priority, 0 the best */
	uint8_t passed;			/* by so many that came later */
	struct flight flight;		/* of class safety: what stood in its way */
};

/* Any thread: it was a share, or will be one; there is nothing that it could be asked for. */
bool med_share_is_none(const struct med_share *sh);

/* Any thread. */
const char *med_op_str(enum qblk_op op);

struct med_share {
	/* Borrowed; the device's thread changes it (med_disk_change()), others read it. */
	const struct med_share_policy *_Atomic policy;
	struct med_disk *disk;
	unsigned sched_id;
	int listen_fd;			/* owned */
	struct socket_watch *listen_watch;
	struct med_client *client;	/* or NULL: a share has one client at a time */
	bool accept_waits;		/* a connection may stand in the backlog */
	bool leaving;			/* the policy has it no more; its client ends */
	uint64_t accept_after_ns;	/* 0 = now: there was no descriptor for it */
	uint32_t window_faults;		/* breaches since window_ns; stats has them all */
	uint64_t window_ns;
	uint64_t quarantine_until_ns;	/* while stats.quarantined */
	_Atomic bool pardoned;		/* by the main thread: it ends now */
	struct med_req *head, **tail;
	uint32_t queued;		/* requests in the list */
	uint32_t outstanding;		/* requests not yet done, queued ones included */
	struct outage_wait wait;	/* for a device that fails */
	struct budget cpu;		/* what its client costs us */
	struct med_req *guard_first, *guard_last;	/* promised and out, the oldest first */
	struct qlog_limit bound_limit, error_limit;	/* of events */
	/* In the state page: written by the device's thread, read by any. */
	struct qstat_share *stats;
	struct recorder worst;		/* of class safety */
};
