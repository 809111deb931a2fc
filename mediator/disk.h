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

#include "lib/qbell.h"
#include "mediator/backend.h"
#include "mediator/ladder.h"
#include "mediator/look.h"
#include "mediator/loop.h"
#include "mediator/scheduler.h"
#include "mediator/share.h"
#include "mediator/sockets.h"
#include "mediator/unmapper.h"

struct med_slice {
	struct backend_io io;
	struct med_req *req;
	struct med_slice *next_free;
	struct sched_ticket ticket;
};

#define MED_GONE UINT32_MAX

struct med_new_share {
	uint32_t share;			/* index in the policy */
	struct qstat_share *stats;
	int listen_fd;			/* not blocking; the disk's from then on */
};

/* Another policy, for the thread of one device. */
struct med_change {
	const struct med_policy *policy;
	uint32_t device;		/* MED_GONE: it is none any more, and no share of it is */
	/* the disk's share → its index in the policy, or MED_GONE */
	uint32_t share[MED_SHARES_MAX];
	struct med_new_share *new_shares;	/* n_new of them; borrowed like all of it */
	unsigned n_new;
};

#define MED_EVENT_TEXT 192u	/* longer texts are cut */
#define MED_EVENT_LADDER "ladder"
#define MED_EVENT_TAKEN "change_taken"	/* for our own main thread only */

/* Told from the device's thread: must not block. */
struct med_event_sink {
	void (*event)(void *ctx, const char *kind, const char *share, const char *text);
	void *ctx;
};

struct med_disk {
	/* as that of a share; NULL: this is no disk */
	const struct med_device_policy *_Atomic policy;
	struct med_event_sink sink;
	struct backend *backend;	/* owned */
	bool inject;			/* it is a backend_inject */
	struct outage outage;
	struct look look;
	uint64_t last_turn_ns;
	struct loop loop;
	struct sockets sockets;		/* what clients connect to and through */
	struct qbell bell;	/* signals clients, whose descriptors are not to be trusted */
	struct sched sched;
	struct ladder ladder;
	uint64_t seen_lower;	/* of sched.given_lower, by guard.c */
	struct med_share *shares;	/* owned; index = sched id; some may be none (share.h) */
	_Atomic unsigned n_shares;	/* only grows; by the device's thread once that runs */
	struct med_queue *answered;	/* queues with something done, not yet published */
	/* the clock as last looked at: a look a request is enough */
	uint64_t now_ns;
	struct med_slice *slices, *free_slices;	/* policy->slots of them */
	/* share whose client is served first: moves on each round */
	unsigned first_served;
	uint64_t seq;
	struct qstat_device *stats;	/* in the state page, as a share's */

	/* Commands of the main thread: flags, then a signal on wake_fd. */
	int wake_fd;
	struct loop_watch *wake_watch;
	_Atomic bool want_stop, want_priorities, want_reset;
	struct med_change *_Atomic change;	/* borrowed until it is taken: then NULL again */
	bool changing;			/* the device's thread: some of it is left to be done */
	_Atomic bool realtime;		/* the thread has a real-time priority */
	struct unmapper unmapper;
	pthread_t thread;
	pid_t tid;	/* of the thread, from med_disk_start() on */
	bool running;
	/* Main thread: how many rounds it had gone when it was asked whether it goes round. */
	uint64_t asked_rounds, asked_ns;
};

/*
 * Opens device number @device of @policy, which is borrowed (main thread): 0 or -errno, with a
 * sentence in @errs. *@d is ready for med_disk_add_share(), up to MED_SHARES_MAX at a time. @lock:
 * as backend_open().
 */
int med_disk_init(struct med_disk *d, const struct med_policy *policy, size_t device,
		  struct qstat_device *stats, const struct med_event_sink *sink,
		  enum backend_lock lock, struct cf_errors *errs);
/*
 * Takes @take_listen_fd on success and failure (main thread before med_disk_start(), the device's
 * thread later). The share's index or -errno.
 */
int med_disk_add_share(struct med_disk *d, const struct med_share_policy *policy,
		       struct qstat_share *stats, int take_listen_fd);
int med_disk_start(struct med_disk *d);		/* main thread; 0 or -errno */
/* main thread: stops the thread, waits for I/O in flight; fine on what is no disk */
void med_disk_fini(struct med_disk *d);

/* Main thread. */
void med_disk_set_priorities(struct med_disk *d, bool on);
void med_disk_reset_worst(struct med_disk *d);
/* How long its thread has not gone round though it was asked to; asks again (mediator/alive.c). */
uint64_t med_disk_stalled_ns(struct med_disk *d, uint64_t now_ns);
void med_disk_unquarantine(struct med_disk *d, struct med_share *sh);
/*
 * Hands @c to the device's thread, which goes by the new policy from its next round on: nothing is
 * drained or dropped; what waits then is promised nothing. A share that is no more loses its
 * client: what is at the device ends and is answered, the rest stays with the guest; new shares
 * come after that, because they may lie where those were. Until med_disk_changed() says so, which
 * MED_EVENT_TAKEN tells, @c, the policy and the one before are in use, and no other may come.
 */
void med_disk_change(struct med_disk *d, struct med_change *c);
bool med_disk_changed(const struct med_disk *d);

/* ---- on the device's thread ---- */

/* Checks nothing: the request was decoded against the share. Ends with r->done(). */
void med_disk_queue(struct med_disk *d, struct med_req *r);
/*
 * Takes back what @match says of the share's waiting requests (not those with slices at the
 * device), linked by next: the caller's again, and done() is not called.
 */
struct med_req *med_share_take(struct med_share *sh,
			       bool (*match)(const struct med_req *r, void *arg), void *arg);
