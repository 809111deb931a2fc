/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns what is taken from clients' rings until it is answered. Device's thread only.
 *
 * A request's life here: popped and noted in the in-flight region → given to the disk, or answered
 * at once → done → published in the used ring, a few at a time. Requests taken are counted
 * (outstanding) until then. Invariants: outstanding <= ring size, because a head that is out may
 * not come again; guest memory is touched only while the queue runs, and a stop waits for
 * outstanding == 0; a queue stands in the disk's list exactly while something of it is done, or was
 * shown and its driver is not signalled yet.
 */
#include "mediator/queue.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/order.h"

#define QUEUE_BUDGET 64u	/* chains of one queue in a round */
#define LOOK_PARTS 256u		/* of chains taken: then the time is looked at */
#define IOV_INLINE 6u		/* parts kept in the request itself: nearly all requests */

struct client_req {
	struct med_req req;
	struct med_queue *q;
	struct client_req *next;	/* in the free list or the queue's done list */
	struct qblk_req blk;
	uint8_t status;
	struct iovec iov[IOV_INLINE];
	struct iovec *iov_heap;		/* owned, or NULL: more parts than fit inline */
};

static struct qbell *bell_of(const struct med_client *c)
{
	return &c->share->disk->bell;
}

static struct med_disk *disk_of(const struct med_queue *q)
{
	return q->client->share->disk;
}

/* ---- requests ---- */

static struct client_req *req_get(struct med_client *c)
{
	struct client_req *r = c->free_reqs;

	if (r)
		c->free_reqs = r->next;
	else
		r = malloc(sizeof(*r));
	return r;
}

static void req_put(struct med_client *c, struct client_req *r)
{
	free(r->iov_heap);
	r->iov_heap = NULL;
	r->next = c->free_reqs;
	c->free_reqs = r;
}

static bool head_out(const struct med_queue *q, uint16_t head)
{
	return q->out_heads[head / 64] >> (head % 64) & 1;
}

static void flip_head(struct med_queue *q, uint16_t head)
{
	q->out_heads[head / 64] ^= 1ull << (head % 64);
}

static void complete(struct client_req *r, uint8_t status)
{
	struct med_queue *q = r->q;
	struct med_disk *d = q->client->share->disk;

	if (!q->answered) {
		q->answered = true;
		q->next_answered = d->answered;
		d->answered = q;
	}
	r->status = status;
	r->next = NULL;
	*q->done_tail = r;
	q->done_tail = &r->next;
}

static void on_done(struct med_req *req, int err)
{
	struct client_req *r = Q_CONTAINER_OF(req, struct client_req, req);

	complete(r, err ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
}

/*
 * The driver broke the rules of its queue: nothing more is taken from it until it is set up anew.
 */
static void queue_fault(struct med_queue *q, const char *why)
{
	struct med_client *c = q->client;
	char text[96];

	q->broken = true;
	snprintf(text, sizeof(text), "queue %u: %s", q->index, why);
	if (!med_client_may_err(c, text))
		return;
	if (q->err_fd >= 0) {
		med_client_tell(c, "queue_broken", text);
		qbell_ring(bell_of(c), q->err_fd);
	} else {
		med_client_gone(c, "client_dropped", text);
	}
}

static void queue_request(struct client_req *r)
{
	struct med_share *sh = r->q->client->share;

	r->req.share = sh;
	r->req.done = on_done;
	r->req.op = r->blk.op;
	r->req.sector = r->blk.sector;
	r->req.len_bytes = r->blk.len_bytes;
	r->req.unmap = r->blk.unmap;
	r->req.durable = r->q->client->write_through;
	r->req.rank = order_rank(r->blk.ioprio);
	r->req.iov = r->blk.iov;
	r->req.n_iov = r->blk.n_iov;
	r->req.mem = r->q->pins;
	r->req.arrival_ns = r->q->looked_ns;
	/* A flush has no length, but is one thing to be done. */
	if (r->blk.op == QBLK_FLUSH)
		r->req.len_bytes = 1;
	med_disk_queue(sh->disk, &r->req);
}

/*
 * Keeps the data parts that @r->blk found in the caller's scratch array. False when out of memory.
 */
static bool keep_iov(struct client_req *r)
{
	struct iovec *to = r->iov;

	if (r->blk.n_iov > IOV_INLINE) {
		r->iov_heap = calloc(r->blk.n_iov, sizeof(struct iovec));
		to = r->iov_heap;
	}
	if (!to)
		return false;
	if (r->blk.n_iov)
		memcpy(to, r->blk.iov, r->blk.n_iov * sizeof(struct iovec));
	r->blk.iov = to;
	return true;
}

/* Decodes one chain. False when the queue is broken. */
static bool take_chain(struct med_queue *q, const struct qring_chain *chain, struct iovec *iov)
{
	struct med_client *c = q->client;
	struct client_req *r = req_get(c);

	if (!r) {
		/* Ours, not the client's: it comes back with what is in flight. */
		med_client_end(c, "out of memory");
		return false;
	}
	*r = (struct client_req){ .q = q };
	enum qblk_verdict v = qblk_parse(&c->dev, chain, iov, &r->blk);
	if (v == QBLK_BROKEN) {
		req_put(c, r);
		queue_fault(q, "request without header or status");
		return false;
	}
	flip_head(q, chain->head);
	q->outstanding++;
	if (v == QBLK_UNSUPP)
		complete(r, VIRTIO_BLK_S_UNSUPP);
	else if (v == QBLK_IOERR || !keep_iov(r))
		complete(r, VIRTIO_BLK_S_IOERR);
	else if (r->blk.op == QBLK_GET_ID)
		complete(r, qblk_get_id(&c->dev, &r->blk));
	else if (r->blk.len_bytes == 0 && r->blk.op != QBLK_FLUSH)
		complete(r, VIRTIO_BLK_S_OK);
	else
		queue_request(r);
	return true;
}

/* Takes the chain that pop or fetch gave as @v. False when nothing more is to be taken now. */
static bool take(struct med_queue *q, enum qring_verdict v, const struct qring_chain *chain,
		 struct iovec *iov, bool replayed)
{
	if (v == QRING_EMPTY)
		return false;
	if (v != QRING_OK) {
		queue_fault(q, qring_verdict_str(v));
		return false;
	}
	bool twice = head_out(q, chain->head);
	if (!twice && !replayed && q->inflight)
		twice = !qvhu_inflight_take(q->inflight, chain->head);
	if (twice) {
		queue_fault(q, "a head that is out came again");
		return false;
	}
	return take_chain(q, chain, iov);
}

/* For the time since the clock was last looked at. */
static void charge(struct med_queue *q)
{
	struct med_disk *d = disk_of(q);
	uint64_t now = qnow_ns();

	budget_spend(&q->client->share->cpu, now - d->now_ns);
	d->now_ns = now;
}

/* True when more may be there. */
bool med_queue_serve(struct med_queue *q)
{
	struct budget *cpu = &q->client->share->cpu;
	struct iovec iov[QBLK_IOV_MAX];
	struct qring_chain chain;
	bool more = true;
	unsigned parts = 0;

	q->looked_ns = disk_of(q)->now_ns;
	qring_disarm(&q->ring);
	for (unsigned n = 0; n < QUEUE_BUDGET && more && budget_left(cpu); n++) {
		more = take(q, qring_pop(&q->ring, iov, QBLK_IOV_MAX, &chain), &chain, iov, false);
		parts += more ? chain.n_out + chain.n_in : 0;
		if (parts >= LOOK_PARTS) {
			charge(q);
			parts = 0;
		}
	}
	charge(q);
	return more;
}

/*
 * What a mediator before us had taken and not answered, in the order in which it was taken. These
 * may run beside what the driver makes available now, also to the same sectors, as any two requests
 * that are out together may (virtio knows no order between them). That loses and reorders nothing:
 *
 * - A write W that is replayed was never answered: an answer is a used index that was published,
 *   and recovery takes the published ones out first (qvhu_inflight.c). So whoever wrote to W's
 *   sectors after W did so while W was out, and does not care which of the two comes last; one that
 *   waited for W's answer waits still.
 * - W's data stands in guest memory that the driver leaves alone until the answer, so that writing
 *   it once more writes the same.
 * - The W of the mediator before us is not under way any more: its requests hold the device's file
 *   until they have ended, and with it the lock that we waited for (backend_file_open.c). Where
 *   only the connection was lost, the old client is not freed, and the next one not accepted,
 *   before its requests at the device have ended; those that waited are dropped (drop_waiting()).
 * - A flush that is replayed is given after we opened the file, and covers all that was answered
 *   before: it stands in the page cache or on the device, neither of which died with a mediator.
 */
static void queue_replay(struct med_queue *q)
{
	struct iovec iov[QBLK_IOV_MAX];
	uint16_t heads[QUEUE_SIZE_MAX];
	struct qring_chain chain;
	q->looked_ns = qnow_ns();
	unsigned n = qvhu_inflight_recover(q->inflight, q->ring.used_idx, heads, QUEUE_SIZE_MAX);

	for (unsigned i = 0; i < n; i++)
		if (!take(q, qring_fetch(&q->ring, heads[i], iov, QBLK_IOV_MAX, &chain), &chain,
			  iov, true))
			return;
}

/* ---- queues ---- */

bool med_queue_serves(const struct med_queue *q)
{
	return q->running && !q->broken && !q->stopping;
}

/* A kick wakes the loop, and that is all it is for: each round looks at the rings. */
static void on_kick(void *ctx)
{
}

static void queue_release(struct med_queue *q)
{
	struct loop *l = &q->client->share->disk->loop;

	/* Its descriptors may be closed next. */
	qbell_flush(bell_of(q->client));
	q->kick = loop_unwatch(l, q->kick);
	if (q->pins)
		disk_of(q)->backend->ops->mem_drop(disk_of(q)->backend, q->pins);
	q->pins = NULL;
	q->mem = qmem_unref(q->mem);
	free(q->out_heads);
	q->out_heads = NULL;
	q->client->running &= ~(1u << q->index);
	q->running = q->stopping = false;
}

/*
 * What a client gives us to wait for or to signal must be an eventfd: a file could be readable for
 * ever, and an epoll descriptor makes each look at it as long as its owner likes.
 */
static bool is_eventfd(const struct med_client *c, int fd)
{
	return loop_is_eventfd(&c->share->disk->loop, fd);
}

int med_queue_start(void *ctx, unsigned i, const struct qvhu_be_queue *bq, struct qmem *mem)
{
	struct med_client *c = ctx;
	struct med_queue *q = &c->q[i];

	*q = (struct med_queue){
		.client = c,
		.index = i,
		.call_fd = bq->call_fd,
		.err_fd = bq->err_fd,
	};
	q->done_tail = &q->done;
	/*
	 * Without a kick we would have to look at the ring for ever: one client's wish for speed at
	 * the cost of all.
	 */
	if (bq->kick_fd < 0 || !is_eventfd(c, bq->kick_fd) ||
	    (q->call_fd >= 0 && !is_eventfd(c, q->call_fd)) ||
	    (q->err_fd >= 0 && !is_eventfd(c, q->err_fd)))
		return QVHU_FAULT;
	if (bq->ring.num > QUEUE_SIZE_MAX || qring_init(&q->ring, mem, &bq->ring) < 0)
		return QVHU_FAULT;
	q->out_heads = calloc(QUEUE_SIZE_MAX / 64, sizeof(q->out_heads[0]));
	if (!q->out_heads)
		return -ENOMEM;
	q->kick = loop_watch(&c->share->disk->loop, bq->kick_fd, on_kick, q);
	if (!q->kick) {
		queue_release(q);
		return -ENOMEM;
	}
	q->mem = qmem_ref(mem);
	if (disk_of(q)->backend->ops->mem_add)
		q->pins = disk_of(q)->backend->ops->mem_add(disk_of(q)->backend, mem);
	q->running = true;
	c->running |= 1u << i;
	q->inflight = qvhu_be_inflight(c->be, i);
	if (q->inflight)
		queue_replay(q);
	return QVHU_OK;
}

void med_queue_call(void *ctx, unsigned i, int call_fd)
{
	struct med_client *c = ctx;

	/* The old one is closed next. */
	qbell_flush(bell_of(c));
	c->q[i].call_fd = call_fd;
	if (call_fd >= 0 && !is_eventfd(c, call_fd)) {
		c->q[i].call_fd = -1;
		med_client_fault(c, "call descriptor is no eventfd");
		return;
	}
	/* What completed before there was anyone to call must not be forgotten. */
	if (call_fd >= 0 && c->q[i].running)
		qbell_ring(bell_of(c), call_fd);
}

static bool of_queue(const struct med_req *req, void *arg)
{
	return Q_CONTAINER_OF(req, const struct client_req, req)->q == arg;
}

/*
 * Requests of a connection that is gone are not given any more: who comes back has them in its
 * in-flight region.
 */
static void drop_waiting(struct med_queue *q)
{
	struct med_req *r = med_share_take(q->client->share, of_queue, q);

	while (r) {
		struct med_req *next = r->next;

		q->outstanding--;
		req_put(q->client, Q_CONTAINER_OF(r, struct client_req, req));
		r = next;
	}
}

bool med_queue_stop(void *ctx, unsigned i, uint16_t *ret_base)
{
	struct med_client *c = ctx;
	struct med_queue *q = &c->q[i];

	q->stopping = true;
	if (c->dying)
		drop_waiting(q);
	if (q->outstanding > 0)
		return false;
	*ret_base = q->ring.last_avail;
	queue_release(q);
	return true;
}

/* ---- answers ---- */

/* Puts what completed into the used ring, with the in-flight region's five steps (qvhu_be.h). */
static void queue_publish(struct med_queue *q)
{
	if (!q->done)
		return;

	struct client_req *done = q->done;

	for (struct client_req *r = done; r; r = r->next) {
		uint32_t written = qblk_done(&r->blk, r->status);

		if (q->inflight)
			qvhu_inflight_batch(q->inflight, r->blk.head);
		qring_push(&q->ring, r->blk.head, written);
	}
	q->signal |= qring_publish(&q->ring);
	const struct med_share *sh = q->client->share;
	look_note(&sh->disk->look, sh->policy->class, true);
	while (q->done) {
		struct client_req *r = q->done;

		q->done = r->next;
		if (q->inflight)
			qvhu_inflight_done(q->inflight, r->blk.head);
		flip_head(q, r->blk.head);
		q->outstanding--;
		req_put(q->client, r);
	}
	q->done_tail = &q->done;
	if (q->inflight)
		qvhu_inflight_used(q->inflight, q->ring.used_idx);
}

static void queue_signal(struct med_queue *q)
{
	if (q->signal && q->call_fd >= 0) {
		qbell_ring(bell_of(q->client), q->call_fd);
		qstat_add(&q->client->share->stats->signals, 1);
	}
	q->signal = false;
}

void med_queues_show(struct med_disk *d)
{
	for (struct med_queue *q = d->answered; q; q = q->next_answered)
		queue_publish(q);
}

void med_queues_publish(struct med_disk *d)
{
	while (d->answered) {
		struct med_queue *q = d->answered;

		d->answered = q->next_answered;
		q->answered = false;
		queue_publish(q);
		queue_signal(q);
	}
	qbell_flush(&d->bell);
}

bool med_queue_settle(struct med_queue *q)
{
	struct med_client *c = q->client;

	/* What came back unserved since the end began waits for nobody any more. */
	if (q->stopping && c->dying && q->outstanding > 0)
		drop_waiting(q);
	if (!q->stopping || q->outstanding > 0)
		return false;
	uint16_t base = q->ring.last_avail;

	queue_release(q);
	qvhu_be_queue_stopped(c->be, q->index, base);
	return true;
}

void med_queue_free_requests(struct med_client *c)
{
	while (c->free_reqs) {
		struct client_req *r = c->free_reqs;

		c->free_reqs = r->next;
		free(r);
	}
}
