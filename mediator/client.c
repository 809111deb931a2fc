/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the vhost-user clients of a device: connections, rings, and the requests taken from them.
 * Device's thread only.
 *
 * Every running queue is looked at in every round: a driver kicks only what was armed, and a queue
 * is armed only before the whole loop sleeps. While another client keeps the loop awake, nothing
 * but a look tells of a queue's work. Requests taken from a ring are counted (outstanding) until
 * they are published in the used ring.
 * Invariants: outstanding <= ring size, because a head that is out may not come again; guest memory
 * is touched only while the queue runs, and a stop waits for outstanding == 0.
 */
#include "mediator/client.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qvhu_be.h"

#define QUEUES_MAX 16u
#define QUEUE_SIZE_MAX 1024u
#define QUEUE_BUDGET 64u	/* chains of one queue in a round */
#define MSG_BUDGET 16u		/* messages of one client in a round … */
#define MSG_TURN_NS (50 * Q_NSEC_PER_USEC)	/* … but none after that: some are slow */
#define IOV_INLINE 6u		/* parts kept in the request itself: nearly all requests */
#define ACCEPT_BUDGET 4u	/* connections to one share in a round */
#define ACCEPT_AGAIN_NS (50 * Q_NSEC_PER_MSEC)
#define MEM_TIMES_MAX 4u	/* of the host's memory, that one client may have mapped */
#define RELAXED memory_order_relaxed

struct client_req {
	struct med_req req;
	struct med_queue *q;
	struct client_req *next;	/* in the free list or the queue's done list */
	struct qblk_req blk;
	uint8_t status;
	struct iovec iov[IOV_INLINE];
	struct iovec *iov_heap;		/* owned, or NULL: more parts than fit inline */
};

struct med_queue {
	struct med_client *client;
	unsigned index;
	struct qring ring;
	struct qmem *mem;		/* our reference while it runs */
	struct qvhu_inflight_queue *inflight;
	struct loop_watch *kick;
	int call_fd, err_fd;		/* borrowed */
	bool running, stopping, broken;
	uint32_t outstanding;
	struct client_req *done, **done_tail;
	uint64_t *out_heads;		/* bitmap: heads that are out */
};

struct med_client {
	struct med_share *share;
	struct qvhu_be *be;
	struct qvhu_be_ops ops;
	struct qblk_dev dev;
	struct loop_watch *sock;
	bool sock_ready;
	bool dying;
	bool write_through;	/* the driver cannot flush: what it wrote must stay (5.2.6.2) */
	unsigned n_running;
	struct client_req *free_reqs;
	struct med_queue q[QUEUES_MAX];
};

static void event(const struct med_client *c, const char *kind, const char *text)
{
	const struct med_event_sink *sink = &c->share->disk->sink;

	sink->event(sink->ctx, kind, c->share->policy->name, text);
}

static void client_gone(struct med_client *c, const char *kind, const char *why)
{
	if (c->dying)
		return;
	c->dying = true;
	atomic_store_explicit(&c->share->stats.connected, false, RELAXED);
	event(c, kind, why);
}

static struct qbell *bell_of(const struct med_client *c)
{
	return &c->share->disk->bell;
}

void med_client_end(struct med_client *c, const char *why)
{
	client_gone(c, "client_gone", why);
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

/* Counts a breach of the protocol. False when it was one too many: the share is closed then, for as
 * long as breaches are remembered. */
static bool within_budget(struct med_client *c, const char *text)
{
	struct med_share *sh = c->share;
	struct med_share_stats *st = &sh->stats;
	uint64_t n = atomic_load_explicit(&st->faults, RELAXED) + 1, now = qnow_ns();

	atomic_store_explicit(&st->faults, n, RELAXED);
	if (now - sh->window_ns >= sh->policy->fault_window_ns) {
		sh->window_ns = now;
		sh->window_faults = 0;
	}
	if (++sh->window_faults < sh->policy->fault_budget)
		return true;
	sh->quarantine_until_ns = now + sh->policy->fault_window_ns;
	atomic_store_explicit(&st->quarantined, true, RELAXED);
	event(c, "client_quarantined", text);
	med_client_end(c, "fault budget spent");
	return false;
}

static void client_fault(struct med_client *c, const char *why)
{
	if (!c->dying && within_budget(c, why))
		client_gone(c, "client_dropped", why);
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
	if (!within_budget(c, text))
		return;
	if (q->err_fd >= 0) {
		event(c, "queue_broken", text);
		qbell_ring(bell_of(c), q->err_fd);
	} else {
		client_gone(c, "client_dropped", text);
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
	r->req.iov = r->blk.iov;
	r->req.n_iov = r->blk.n_iov;
	r->req.arrival_ns = qnow_ns();
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

/* True when more may be there. */
static bool queue_serve(struct med_queue *q)
{
	struct iovec iov[QBLK_IOV_MAX];
	struct qring_chain chain;

	qring_disarm(&q->ring);
	for (unsigned n = 0; n < QUEUE_BUDGET; n++)
		if (!take(q, qring_pop(&q->ring, iov, QBLK_IOV_MAX, &chain), &chain, iov, false))
			return false;
	return true;
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
 *   until they have ended, and with it the lock that we waited for (disk.c). Where only the
 *   connection was lost, the old client is not freed, and the next one not accepted, before its
 *   requests at the device have ended; those that waited are dropped (drop_waiting()).
 * - A flush that is replayed is given after we opened the file, and covers all that was answered
 *   before: it stands in the page cache or on the device, neither of which died with a mediator.
 */
static void queue_replay(struct med_queue *q)
{
	struct iovec iov[QBLK_IOV_MAX];
	uint16_t heads[QUEUE_SIZE_MAX];
	struct qring_chain chain;
	unsigned n = qvhu_inflight_recover(q->inflight, q->ring.used_idx, heads, QUEUE_SIZE_MAX);

	for (unsigned i = 0; i < n; i++)
		if (!take(q, qring_fetch(&q->ring, heads[i], iov, QBLK_IOV_MAX, &chain), &chain,
			  iov, true))
			return;
}

/* ---- queues ---- */

/* Requests may be taken from it. */
static bool queue_serves(const struct med_queue *q)
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
	q->mem = qmem_unref(q->mem);
	free(q->out_heads);
	q->out_heads = NULL;
	q->client->n_running -= q->running;
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

static int queue_start(void *ctx, unsigned i, const struct qvhu_be_queue *bq, struct qmem *mem)
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
	q->running = true;
	c->n_running++;
	q->inflight = qvhu_be_inflight(c->be, i);
	if (q->inflight)
		queue_replay(q);
	return QVHU_OK;
}

static void queue_call(void *ctx, unsigned i, int call_fd)
{
	struct med_client *c = ctx;

	/* The old one is closed next. */
	qbell_flush(bell_of(c));
	c->q[i].call_fd = call_fd;
	if (call_fd >= 0 && !is_eventfd(c, call_fd)) {
		c->q[i].call_fd = -1;
		client_fault(c, "call descriptor is no eventfd");
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
	struct med_share *sh = q->client->share;
	struct med_req **at = &sh->head;

	/*
	 * Unlinked by med_share_drop(), which does not tell: free them here, in the list's order,
	 * before that.
	 */
	struct med_req *dropped = NULL;
	for (struct med_req *r = *at; r; r = r->next) {
		if (r->slices == 0 && of_queue(r, q)) {
			struct client_req *cr = Q_CONTAINER_OF(r, struct client_req, req);

			cr->next = dropped ? Q_CONTAINER_OF(dropped, struct client_req, req) : NULL;
			dropped = r;
		}
	}
	med_share_drop(sh, of_queue, q);
	while (dropped) {
		struct client_req *cr = Q_CONTAINER_OF(dropped, struct client_req, req);

		dropped = cr->next ? &cr->next->req : NULL;
		q->outstanding--;
		req_put(q->client, cr);
	}
}

static bool queue_stop(void *ctx, unsigned i, uint16_t *ret_base)
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

/* ---- connections ---- */

static int config_get(void *ctx, uint32_t off, uint8_t *buf, uint32_t len)
{
	const struct med_client *c = ctx;
	struct virtio_blk_config cfg = {
		.capacity = c->dev.capacity_sectors,
		.seg_max = QBLK_SEG_MAX,
		.blk_size = Q_SECTOR_BYTES,
		.num_queues = QUEUES_MAX,
		.max_discard_sectors = 1u << 21,
		.max_discard_seg = 1,
		.discard_sector_alignment = 8,
		.max_write_zeroes_sectors = 1u << 21,
		.max_write_zeroes_seg = 1,
		.write_zeroes_may_unmap = 1,
	};

	memset(buf, 0, len);
	if (off < sizeof(cfg))
		memcpy(buf, (const char *)&cfg + off, Q_MIN(len, sizeof(cfg) - off));
	return QVHU_OK;
}

static void features_set(void *ctx, uint64_t features)
{
	struct med_client *c = ctx;

	c->write_through = !(features >> VIRTIO_BLK_F_FLUSH & 1);
	c->dev.discard = features >> VIRTIO_BLK_F_DISCARD & 1;
	c->dev.write_zeroes = features >> VIRTIO_BLK_F_WRITE_ZEROES & 1;
}

static uint64_t offered_features(const struct med_share_policy *p)
{
	uint64_t f = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
		     1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_SEG_MAX |
		     1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH |
		     1ull << VIRTIO_BLK_F_MQ | QVHU_F_PROTOCOL_FEATURES;

	if (p->read_only)
		return f | 1ull << VIRTIO_BLK_F_RO;
	return f | 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
}

static void on_sock(void *ctx)
{
	struct med_client *c = ctx;

	c->sock_ready = true;
}

static struct med_client *client_free(struct med_client *c)
{
	struct med_share *sh = c->share;

	c->sock = loop_unwatch(&sh->disk->loop, c->sock);
	c->be = qvhu_be_free(c->be);
	while (c->free_reqs) {
		struct client_req *r = c->free_reqs;

		c->free_reqs = r->next;
		free(r);
	}
	free(c);
	return NULL;
}

/* A guest has no more memory than its host, save what is not there. */
static uint64_t host_bytes(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct med_client *med_client_new(struct med_share *sh, int take_fd)
{
	struct med_client *c = calloc(1, sizeof(*c));

	if (!c) {
		qfd_close(&take_fd);
		return NULL;
	}
	c->share = sh;
	c->write_through = true;	/* until it says that it can flush */
	c->dev = (struct qblk_dev){
		.capacity_sectors = sh->policy->len_bytes / Q_SECTOR_BYTES,
		.read_only = sh->policy->read_only,
	};
	/* The serial is the share's name: what fits, not terminated when it fills the field. */
	memcpy(c->dev.serial, sh->policy->name,
	       Q_MIN(strlen(sh->policy->name), sizeof(c->dev.serial)));
	c->ops = (struct qvhu_be_ops){
		.features = offered_features(sh->policy),
		.protocol_features = QVHU_PF_MQ | QVHU_PF_REPLY_ACK | QVHU_PF_CONFIG |
				     QVHU_PF_INFLIGHT | QVHU_PF_RESET_DEVICE |
				     QVHU_PF_CONFIGURE_MEM_SLOTS,
		.n_queues = QUEUES_MAX,
		.queue_size_max = QUEUE_SIZE_MAX,
		.require_sealed = true,
		.mem_bytes_max = MEM_TIMES_MAX * host_bytes(),
		.mem_heir = &sh->disk->unmapper.heir,
		.features_set = features_set,
		.config_get = config_get,
		.queue_start = queue_start,
		.queue_call = queue_call,
		.queue_stop = queue_stop,
	};
	c->be = qvhu_be_new(take_fd, &c->ops, c);
	if (c->be)
		c->sock = loop_watch(&sh->disk->loop, qvhu_be_fd(c->be), on_sock, c);
	if (!c->sock)
		return client_free(c);
	c->sock_ready = true;
	atomic_store_explicit(&sh->stats.connected, true, RELAXED);
	event(c, "client_connected", "");
	return c;
}

/* A connection that cannot be taken now stays in the backlog, and nobody tells of it again. */
static void accept_later(struct med_share *sh, int err)
{
	struct med_disk *d = sh->disk;

	sh->accept_after_ns = qnow_ns() + ACCEPT_AGAIN_NS;
	d->sink.event(d->sink.ctx, "accept_failed", sh->policy->name, strerror(err));
}

static bool is_quarantined(const struct med_share *sh)
{
	return atomic_load_explicit(&sh->stats.quarantined, RELAXED);
}

static bool may_accept(const struct med_share *sh, uint64_t now)
{
	return sh->accept_waits && !sh->client && now >= sh->accept_after_ns;
}

/* One client at a time: who comes meanwhile waits in the backlog until the first is gone. True when
 * there may be more. */
static bool accept_one(struct med_share *sh, uint64_t now)
{
	/* The watch tells of new connections only: look until there is none, but not for as long as
	 * somebody likes to knock at a door that is closed. */
	for (unsigned n = 0; n < ACCEPT_BUDGET && may_accept(sh, now); n++) {
		int fd = accept4(sh->listen_fd, NULL, NULL, SOCK_CLOEXEC);

		sh->accept_after_ns = 0;
		if (fd < 0 && errno == EAGAIN)
			sh->accept_waits = false;
		else if (fd < 0)
			accept_later(sh, errno);
		else if (is_quarantined(sh))
			qfd_close(&fd);
		else
			sh->client = med_client_new(sh, fd);
	}
	return may_accept(sh, now);
}

static void end_quarantine(struct med_share *sh, uint64_t now)
{
	struct med_disk *d = sh->disk;

	if (!is_quarantined(sh) || now < sh->quarantine_until_ns)
		return;
	atomic_store_explicit(&sh->stats.quarantined, false, RELAXED);
	sh->window_faults = 0;
	d->sink.event(d->sink.ctx, "quarantine_ended", sh->policy->name, "");
}

bool med_clients_accept(struct med_disk *d, uint64_t now_ns)
{
	bool more = false;

	for (unsigned i = 0; i < d->n_shares; i++) {
		end_quarantine(&d->shares[i], now_ns);
		more |= accept_one(&d->shares[i], now_ns);
	}
	return more;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

uint64_t med_clients_deadline_ns(const struct med_disk *d)
{
	uint64_t first = 0;

	for (unsigned i = 0; i < d->n_shares; i++) {
		const struct med_share *sh = &d->shares[i];

		if (sh->client && !sh->client->dying)
			first = earlier(first, qvhu_be_deadline_ns(sh->client->be));
		else if (!sh->client && sh->accept_waits)
			first = earlier(first, sh->accept_after_ns);
		if (is_quarantined(sh))
			first = earlier(first, sh->quarantine_until_ns);
	}
	return first;
}

static void connection_broke(struct med_client *c, int r)
{
	if (r == QVHU_CLOSED) {
		med_client_end(c, "hung up");
	} else if (r == QVHU_FAULT) {
		client_fault(c, qvhu_be_fault(c->be));
	} else {
		med_client_end(c, strerror(-r));
	}
}

/* True when there may be more messages. */
static bool serve_socket(struct med_client *c)
{
	uint64_t until = qnow_ns() + MSG_TURN_NS;

	for (unsigned n = 0; n < MSG_BUDGET && !c->dying; n++) {
		if (qvhu_be_waiting(c->be))
			return false;
		if (n > 0 && qnow_ns() >= until)
			return true;
		int r = qvhu_be_serve(c->be);
		if (r == QVHU_OK)
			continue;
		c->sock_ready = false;
		if (r != QVHU_AGAIN)
			connection_broke(c, r);
		return false;
	}
	return true;
}

static bool client_serve(struct med_client *c)
{
	uint64_t deadline = qvhu_be_deadline_ns(c->be);
	bool more = false;

	if ((c->sock_ready || (deadline && qnow_ns() >= deadline)) && !c->dying)
		more = serve_socket(c);
	for (unsigned i = 0; i < QUEUES_MAX && c->n_running && !c->dying; i++) {
		struct med_queue *q = &c->q[i];

		if (queue_serves(q) && qring_pending(&q->ring))
			more |= queue_serve(q);
	}
	return more;
}

bool med_clients_serve(struct med_disk *d)
{
	bool more = false;

	for (unsigned n = 0; n < d->n_shares; n++) {
		struct med_client *c = d->shares[(d->first_served + n) % d->n_shares].client;

		if (c)
			more |= client_serve(c);
	}
	d->first_served++;
	return more;
}

/* Puts what completed into the used ring, with the in-flight region's five steps (qvhu_be.h). */
static void queue_publish(struct med_queue *q)
{
	struct client_req *done = q->done;

	for (struct client_req *r = done; r; r = r->next) {
		uint32_t written = qblk_done(&r->blk, r->status);

		if (q->inflight)
			qvhu_inflight_batch(q->inflight, r->blk.head);
		qring_push(&q->ring, r->blk.head, written);
	}
	bool signal = qring_publish(&q->ring);
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
	if (signal && q->call_fd >= 0)
		qbell_ring(bell_of(q->client), q->call_fd);
}

/* A stop that waited for requests at the device can end now. True when one did. */
static bool queue_settle(struct med_queue *q)
{
	if (q->done)
		queue_publish(q);
	if (!q->stopping || q->outstanding > 0)
		return false;
	struct med_client *c = q->client;
	uint16_t base = q->ring.last_avail;

	queue_release(q);
	qvhu_be_queue_stopped(c->be, q->index, base);
	return true;
}

static bool client_finish_round(struct med_client *c)
{
	bool again = false;

	for (unsigned i = 0; i < QUEUES_MAX && c->n_running; i++)
		if (c->q[i].running)
			again |= queue_settle(&c->q[i]);
	if (!c->dying)
		return again && c->sock_ready;
	if (!qvhu_be_stop_all(c->be))
		return again;
	c->share->client = NULL;
	client_free(c);
	return true;
}

bool med_clients_finish_round(struct med_disk *d)
{
	bool again = false;

	for (unsigned i = 0; i < d->n_shares; i++)
		if (d->shares[i].client)
			again |= client_finish_round(d->shares[i].client);
	qbell_flush(&d->bell);
	return again;
}

bool med_clients_arm(struct med_disk *d)
{
	bool more = false;

	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_client *c = d->shares[i].client;

		for (unsigned k = 0; c && k < QUEUES_MAX; k++) {
			struct med_queue *q = &c->q[k];

			if (queue_serves(q))
				more |= qring_arm(&q->ring);
		}
	}
	return more;
}

bool med_clients_pending(const struct med_disk *d)
{
	for (unsigned i = 0; i < d->n_shares; i++) {
		const struct med_client *c = d->shares[i].client;

		for (unsigned k = 0; c && k < QUEUES_MAX; k++) {
			const struct med_queue *q = &c->q[k];

			if (queue_serves(q) && qring_pending(&q->ring))
				return true;
		}
	}
	return false;
}
