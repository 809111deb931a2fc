/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user back end, first half: the connection's life and its queues'. What messages mean
 * is in qvhu_be_msg.c.
 *
 * Runs in the loop of whoever owns the connection, one thread, and never blocks: a message is
 * received as it comes, an answer that the socket does not take at once ends the connection (an
 * honest front end reads its answers, so the socket is never full).
 *
 * Theory of operation. A message is handled in two steps, because most of them may only be
 * applied while certain queues stand still and stopping takes time when requests are in flight:
 * be_msg_stops() says which queues, they are asked to stop, and be_msg_apply() runs when the last
 * has. Until then the message is held and no other is read. Then every queue whose configuration
 * is complete starts (again).
 *
 * Invariant: configuration of a queue, the memory table and the in-flight region change only
 * while no queue that uses them is RUNNING or STOPPING. queue_start and queue_stop alternate for
 * each queue.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "lib/qfd.h"
#include "lib/qvhu_be_priv.h"

/* An honest front end writes a message with one system call. */
#define HALF_MESSAGE_NS (1 * Q_NSEC_PER_SEC)

#define F_RING_INDIRECT (1ull << 28)	/* VIRTIO_F_INDIRECT_DESC */
#define F_RING_EVENT_IDX (1ull << 29)	/* VIRTIO_F_EVENT_IDX */

#define TO(state) (1u << (state))
static const unsigned beq_next[] = {
	[BEQ_STOPPED] = TO(BEQ_RUNNING),
	[BEQ_RUNNING] = TO(BEQ_STOPPING),
	[BEQ_STOPPING] = TO(BEQ_STOPPED),
};
static_assert(Q_ARRAY_LEN(beq_next) == BEQ_STATES, "every state has a row");

static void queue_set_state(struct be_queue *q, enum be_queue_state to)
{
	qassert(beq_next[q->state] & TO(to));
	q->state = to;
}

struct qvhu_be *qvhu_be_new(int take_sock_fd, const struct qvhu_be_ops *ops, void *ctx)
{
	qassert(ops->n_queues > 0 && ops->n_queues <= QVHU_QUEUES_MAX);
	struct qvhu_be *be = calloc(1, sizeof(*be));

	if (!be || qfd_nonblock(take_sock_fd, true) < 0) {
		qfd_close(&take_sock_fd);
		free(be);
		return NULL;
	}
	be->sock_fd = take_sock_fd;
	be->ops = ops;
	be->ctx = ctx;
	for (unsigned i = 0; i < QVHU_QUEUES_MAX; i++)
		be->q[i].kick_fd = be->q[i].call_fd = be->q[i].err_fd = -1;
	return be;
}

struct qvhu_be *qvhu_be_free(struct qvhu_be *be)
{
	if (!be)
		return NULL;
	bool stopped = qvhu_be_stop_all(be);
	qassert(stopped);
	for (unsigned i = 0; i < QVHU_QUEUES_MAX; i++) {
		qfd_close(&be->q[i].kick_fd);
		qfd_close(&be->q[i].call_fd);
		qfd_close(&be->q[i].err_fd);
	}
	qvhu_msg_fini(&be->msg);
	qvhu_inflight_unmap(be->inflight);
	qmem_unref(be->mem);
	qfd_close(&be->sock_fd);
	free(be);
	return NULL;
}

int qvhu_be_fd(const struct qvhu_be *be)
{
	return be->sock_fd;
}

const char *qvhu_be_fault(const struct qvhu_be *be)
{
	return be->fault[0] ? be->fault : "none";
}

uint64_t qvhu_be_features(const struct qvhu_be *be)
{
	return be->features;
}

struct qmem *qvhu_be_mem(const struct qvhu_be *be)
{
	return be->mem;
}

struct qvhu_inflight_queue *qvhu_be_inflight(struct qvhu_be *be, unsigned i)
{
	return qvhu_inflight_of(be->inflight, i);
}

void *qvhu_be_extra(struct qvhu_be *be)
{
	return be->ops->extra_bytes ? qvhu_inflight_extra(be->inflight, be->ops->extra_bytes) :
				      NULL;
}

int be_fault(struct qvhu_be *be, const char *why)
{
	if (!be->fault[0])
		snprintf(be->fault, sizeof(be->fault), "%s: %s",
			 qvhu_req_str(be->msg.hdr.req), why);
	return QVHU_FAULT;
}

/* Addresses of the ring in the table. QVHU_OK, or QVHU_AGAIN when some part is not in it. */
static int resolve_ring(const struct qvhu_be *be, const struct be_queue *q, struct qring_cfg *ret)
{
	uint64_t n = q->num;

	if (qmem_uaddr_to_gpa(be->mem, q->desc, 16 * n, &ret->desc) < 0 ||
	    qmem_uaddr_to_gpa(be->mem, q->avail, 6 + 2 * n, &ret->avail) < 0 ||
	    qmem_uaddr_to_gpa(be->mem, q->used, 6 + 8 * n, &ret->used) < 0)
		return QVHU_AGAIN;
	ret->num = q->num;
	ret->base = q->base;
	ret->features = (be->features & F_RING_INDIRECT ? QRING_INDIRECT : 0u) |
			(be->features & F_RING_EVENT_IDX ? QRING_EVENT_IDX : 0u);
	return QVHU_OK;
}

/* With an in-flight region, what stands in it decides where the ring goes on. */
static int resolve_base(struct qvhu_be *be, unsigned i, struct qring_cfg *ring)
{
	struct qvhu_inflight_queue *inflight = qvhu_be_inflight(be, i);
	uint16_t used_idx;

	if (!inflight)
		return QVHU_OK;
	int r = qmem_read(be->mem, gpa(ring->used.v + 2), &used_idx, sizeof(used_idx));
	if (r == 0)
		r = qvhu_inflight_begin(inflight, ring->num, le16toh(used_idx), ring->base,
					&ring->base);
	if (r == QVHU_FAULT)
		return be_fault(be, "ring larger than its in-flight region");
	return r;
}

static bool queue_complete(const struct qvhu_be *be, const struct be_queue *q)
{
	/* Without the protocol features bit, a queue is enabled from the start. */
	bool enabled = q->enabled || !(be->features & QVHU_F_PROTOCOL_FEATURES);

	return enabled && q->num && q->has_addr && q->has_kick && be->mem;
}

int be_queue_start(struct qvhu_be *be, unsigned i, bool strict)
{
	struct be_queue *q = &be->q[i];
	struct qvhu_be_queue run = { .kick_fd = q->kick_fd, .call_fd = q->call_fd,
				     .err_fd = q->err_fd };

	if (be->ending || q->state != BEQ_STOPPED || !queue_complete(be, q))
		return QVHU_OK;
	if (resolve_ring(be, q, &run.ring) != QVHU_OK)
		return strict ? be_fault(be, "ring outside the memory table") : QVHU_OK;
	int r = resolve_base(be, i, &run.ring);
	if (r != QVHU_OK)
		return r;
	r = be->ops->queue_start(be->ctx, i, &run, be->mem);
	if (r != QVHU_OK)
		return r < 0 ? r : be_fault(be, "ring refused");
	queue_set_state(q, BEQ_RUNNING);
	return QVHU_OK;
}

int be_queues_start(struct qvhu_be *be)
{
	for (unsigned i = 0; i < be->ops->n_queues; i++) {
		int r = be_queue_start(be, i, false);
		if (r != QVHU_OK)
			return r;
	}
	return QVHU_OK;
}

static void queue_stopped(struct be_queue *q, uint16_t base)
{
	q->base = base;
	queue_set_state(q, BEQ_STOPPED);
}

static bool any_stopping(const struct qvhu_be *be)
{
	for (unsigned i = 0; i < be->ops->n_queues; i++)
		if (be->q[i].state == BEQ_STOPPING)
			return true;
	return false;
}

/* Asks the running queues in @mask to stop. True when no queue is on its way any more. */
static bool queues_stop(struct qvhu_be *be, uint64_t mask)
{
	/* An owner may call qvhu_be_queue_stopped() from inside queue_stop: nothing is applied
	 * before all were asked. */
	be->stopping = true;
	for (unsigned i = 0; i < be->ops->n_queues; i++) {
		uint16_t base = 0;

		if (!(mask >> i & 1) || be->q[i].state != BEQ_RUNNING)
			continue;
		queue_set_state(&be->q[i], BEQ_STOPPING);
		if (be->ops->queue_stop(be->ctx, i, &base))
			queue_stopped(&be->q[i], base);
	}
	be->stopping = false;
	return !any_stopping(be);
}

/* Applies the message at hand and starts what can start. */
static int apply(struct qvhu_be *be)
{
	int r = be_msg_apply(be);

	qvhu_msg_fini(&be->msg);
	be->got = 0;
	be->held = false;
	return r;
}

void qvhu_be_queue_stopped(struct qvhu_be *be, unsigned i, uint16_t base)
{
	queue_stopped(&be->q[i], base);
	if (!be->held || be->stopping || any_stopping(be))
		return;
	int r = apply(be);
	if (r == QVHU_OK)
		return;
	be->broken = r;
	/* Nobody asks us for a verdict here: let the owner see a readable descriptor, and ask. */
	shutdown(be->sock_fd, SHUT_RDWR);
}

bool qvhu_be_waiting(const struct qvhu_be *be)
{
	return any_stopping(be);
}

bool qvhu_be_stop_all(struct qvhu_be *be)
{
	be->ending = true;
	be->held = false;
	return queues_stop(be, UINT64_MAX);
}

uint64_t qvhu_be_deadline_ns(const struct qvhu_be *be)
{
	return be->half_since_ns ? be->half_since_ns + HALF_MESSAGE_NS : 0;
}

/* QVHU_OK: a whole message is here. Else as qvhu_be_serve(). */
static int receive(struct qvhu_be *be)
{
	int r = qvhu_recv_some(be->sock_fd, &be->msg, &be->got);

	if (r == QVHU_OK) {
		be->half_since_ns = 0;
		return QVHU_OK;
	}
	if (r == QVHU_FAULT)
		return be_fault(be, be->msg.hdr.len_bytes > QVHU_PAYLOAD_MAX ? "payload too large"
									    : "descriptors");
	if (r != QVHU_AGAIN || be->got == 0)
		return r;
	uint64_t now_ns = qnow_ns();
	if (!be->half_since_ns)
		be->half_since_ns = now_ns;
	if (now_ns < qvhu_be_deadline_ns(be))
		return QVHU_AGAIN;
	return be_fault(be, "half a message");
}

int qvhu_be_serve(struct qvhu_be *be)
{
	qassert(!any_stopping(be));
	if (be->broken)
		return be->broken;
	int r = receive(be);
	if (r == QVHU_AGAIN)
		return r;
	if (r == QVHU_OK) {
		be->held = true;
		if (!queues_stop(be, be_msg_stops(be)))
			return QVHU_OK;
		r = apply(be);
	}
	be->broken = r;
	return r;
}
