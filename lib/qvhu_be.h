/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The back end of a vhost-user connection: one object a connection, driven by its owner's loop
 * (one thread). It keeps the protocol state, checks every field of the front end, builds the
 * qmem, and tells the owner through ops when a queue can run. The front end is hostile.
 *
 * A queue runs (started) from: kick and address known and, with protocol features, enabled; until
 * GET_VRING_BASE, disable, reset, a new memory table, or the end of the connection. Every start
 * is paired with one stop before the next.
 *
 * In-flight tracking (VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD): the region is ours to fill through
 * qvhu_inflight_*.
 */
#pragma once

#include "lib/qring.h"
#include "lib/qvhu.h"

struct qvhu_be;

/*
 * The three descriptors are anonymous inodes (eventfds, if the front end is honest) and were made
 * nonblocking. A hostile front end shares the file description and can undo that: writing to a full
 * eventfd that blocks again would block the writer. Who serves more than one peer signals through
 * lib/qbell.h, which cannot.
 */
struct qvhu_be_queue {
	struct qring_cfg ring;		/* ready for qring_init() */
	int kick_fd, call_fd, err_fd;	/* borrowed until the stop; -1 = poll / not wanted */
};

struct qvhu_be_ops {
	/* What the device offers. Bit 30 and INDIRECT, EVENT_IDX, VERSION_1 are the owner's to
	 * include. */
	uint64_t features;
	uint64_t protocol_features;	/* enum qvhu_protocol_feature */
	unsigned n_queues;		/* at most QVHU_QUEUES_MAX */
	uint32_t queue_size_max;
	/*
	 * Take memory only from files that cannot shrink (F_SEAL_SHRINK). A front end that
	 * truncates a file we have mapped kills us with SIGBUS, so whoever serves more than one
	 * peer must ask for this: QEMU's memory-backend-memfd is sealed, memory-backend-file
	 * cannot be. The in-flight region, which a back end made, must be sealed in any case.
	 */
	bool require_sealed;
	/* All regions of a front end together; 0 = no limit. Our address space is everybody's. */
	uint64_t mem_bytes_max;
	struct qmem_heir *mem_heir;	/* borrowed: of every table, or NULL */
	/* Of the device's own in the in-flight region: see qvhu_be_extra(). At most
	 * QVHU_INFLIGHT_EXTRA_MAX. */
	uint32_t extra_bytes;

	/* Feature bits were acked (a subset of the offered ones). May be NULL. */
	void (*features_set)(void *ctx, uint64_t features);
	/* Config space. Return QVHU_OK or QVHU_REFUSED. set may be NULL = refused. */
	int (*config_get)(void *ctx, uint32_t off, uint8_t *buf, uint32_t len);
	int (*config_set)(void *ctx, uint32_t off, const uint8_t *buf, uint32_t len);
	/* Queue @i can run with @q on @mem (ref it if needed beyond the stop). QVHU_OK;
	 * QVHU_FAULT or -errno to end the connection. */
	int (*queue_start)(void *ctx, unsigned i, const struct qvhu_be_queue *q,
			   struct qmem *mem);
	/* The call descriptor of a running queue changed (-1 = none); the old one is closed on
	 * return. NULL: the queue is stopped and started with the new one. */
	void (*queue_call)(void *ctx, unsigned i, int call_fd);
	/*
	 * Stop taking requests from queue @i. Returns true when nothing is in flight any more:
	 * *ret_base is the avail index to go on from. False: the owner calls
	 * qvhu_be_queue_stopped() when it is so (the front end's GET_VRING_BASE, and any further
	 * message, waits for it).
	 */
	bool (*queue_stop)(void *ctx, unsigned i, uint16_t *ret_base);
};

/* Takes @take_sock_fd on success and failure. @ops and @ctx are borrowed for the object's life.
 * NULL when out of memory. */
struct qvhu_be *qvhu_be_new(int take_sock_fd, const struct qvhu_be_ops *ops, void *ctx);
/* Stops all queues first: every queue_stop must have ended (returned true or been followed by
 * qvhu_be_queue_stopped()). */
struct qvhu_be *qvhu_be_free(struct qvhu_be *be);

int qvhu_be_fd(const struct qvhu_be *be); /* wait for it to be readable */
/* True while a stop is under way: do not call qvhu_be_serve(). */
bool qvhu_be_waiting(const struct qvhu_be *be);
/*
 * Handles at most one message, never blocks. QVHU_OK, QVHU_AGAIN, QVHU_CLOSED, QVHU_FAULT (see
 * qvhu_be_fault()) or -errno: for the last three end the connection: stop the queues through
 * qvhu_be_stop_all(), then free. What goes wrong in qvhu_be_queue_stopped() makes the descriptor
 * readable and comes out here.
 */
int qvhu_be_serve(struct qvhu_be *be);
/* When half a message is here: the time (qnow_ns()) at which qvhu_be_serve() gives up on the rest
 * if called then; else 0. */
uint64_t qvhu_be_deadline_ns(const struct qvhu_be *be);
/* One word (or "request: word") of what the peer did wrong, for the log. */
const char *qvhu_be_fault(const struct qvhu_be *be);
/* Asks every running queue to stop; true when all have. Otherwise call it again after each
 * qvhu_be_queue_stopped(). */
bool qvhu_be_stop_all(struct qvhu_be *be);
void qvhu_be_queue_stopped(struct qvhu_be *be, unsigned i, uint16_t base);

uint64_t qvhu_be_features(const struct qvhu_be *be);	/* acked */
struct qmem *qvhu_be_mem(const struct qvhu_be *be);	/* borrowed; NULL before the first table */

/*
 * In-flight descriptors of queue @i (layout of the specification, split rings), or NULL when the
 * front end gave no region for it. Valid from queue_start to the end of the stop. For each head
 * that was popped (faulty chains too), and never a new take between steps 2 and 5:
 *   1. qvhu_inflight_take() in the order of the pops, before anything is done for it (not for a
 *      head that qvhu_inflight_recover() listed: that is noted already);
 *   2. qvhu_inflight_batch() for each head that is pushed, in the order of the pushes;
 *   3. qring_publish();
 *   4. qvhu_inflight_done() for each head of the batch;
 *   5. qvhu_inflight_used() with the ring's used index.
 * With a region, ring.base of queue_start is the used index plus what is in flight, whatever
 * SET_VRING_BASE said: the front end of a back end that crashed cannot know better.
 */
struct qvhu_inflight_queue;
struct qvhu_inflight_queue *qvhu_be_inflight(struct qvhu_be *be, unsigned i);
/*
 * What the device keeps in the in-flight region for the next back end, extra_bytes of it, zeroed
 * when the region was made. NULL: the front end gave no region, or one without. The front end can
 * write there at any time: copy, check, use the copy.
 */
void *qvhu_be_extra(struct qvhu_be *be);
/* False when @head is in flight already: the driver made it available twice (or is outside the
 * ring). */
bool qvhu_inflight_take(struct qvhu_inflight_queue *q, uint16_t head);
void qvhu_inflight_batch(struct qvhu_inflight_queue *q, uint16_t head);
void qvhu_inflight_done(struct qvhu_inflight_queue *q, uint16_t head);
void qvhu_inflight_used(struct qvhu_inflight_queue *q, uint16_t used_idx);
/*
 * At queue start: repairs a batch that was cut off (@used_idx is what stands in the used ring:
 * qring's used_idx after qring_init()) and lists the heads that are still in flight in the order
 * they were submitted: at most @max into @heads; their number, which is at most the ring's size
 * and may be more than @max. May be called again. A corrupted region gives what is plausible
 * (heads < size, each once).
 */
unsigned qvhu_inflight_recover(struct qvhu_inflight_queue *q, uint16_t used_idx, uint16_t *heads,
			       unsigned max);
