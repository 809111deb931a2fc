/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the vhost-user clients of a device as connections: accepting, serving, refusing, ending, and
 * the rounds over all of them. Their queues are in queue.c. Device's thread only.
 *
 * Every running queue is looked at in every round: a driver kicks only what was armed, and a queue
 * is armed only before the whole loop sleeps. While another client keeps the loop awake, nothing
 * but a look tells of a queue's work.
 * Invariant: a client is freed only when each of its queues has stopped.
 */
#include "mediator/client.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "mediator/backend_inject.h"
#include "mediator/queue.h"

#define MSG_BUDGET 16u		/* messages of one client in a round … */
#define MSG_TURN_NS (50 * Q_NSEC_PER_USEC)	/* … but none after that: some are slow */
#define ACCEPT_BUDGET 4u	/* connections to one share in a round */
#define ACCEPT_AGAIN_NS (50 * Q_NSEC_PER_MSEC)
#define MEM_TIMES_MAX 4u	/* of the host's memory, that one client may have mapped */
#define RELAXED memory_order_relaxed

void med_client_tell(const struct med_client *c, const char *kind, const char *text)
{
	const struct med_event_sink *sink = &c->share->disk->sink;

	sink->event(sink->ctx, kind, c->share->policy->name, text);
}

void med_client_gone(struct med_client *c, const char *kind, const char *why)
{
	if (c->dying)
		return;
	c->dying = true;
	atomic_store_explicit(&c->share->stats->connected, false, RELAXED);
	med_client_tell(c, kind, why);
}

void med_client_end(struct med_client *c, const char *why)
{
	med_client_gone(c, "client_gone", why);
}

bool med_client_may_err(struct med_client *c, const char *text)
{
	struct med_share *sh = c->share;
	struct qstat_share *st = sh->stats;
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
	med_client_tell(c, "client_quarantined", text);
	med_client_end(c, "fault budget spent");
	return false;
}

void med_client_fault(struct med_client *c, const char *why)
{
	if (!c->dying && med_client_may_err(c, why))
		med_client_gone(c, "client_dropped", why);
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

	c->sock = sockets_unwatch(&sh->disk->sockets, c->sock);
	c->be = qvhu_be_free(c->be);
	med_queue_free_requests(c);
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
		.queue_start = med_queue_start,
		.queue_call = med_queue_call,
		.queue_stop = med_queue_stop,
	};
	c->be = qvhu_be_new(take_fd, &c->ops, c);
	if (c->be)
		c->sock = sockets_watch(&sh->disk->sockets, qvhu_be_fd(c->be), on_sock, c);
	if (!c->sock)
		return client_free(c);
	c->sock_ready = true;
	atomic_store_explicit(&sh->stats->connected, true, RELAXED);
	med_client_tell(c, "client_connected", "");
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
	return atomic_load_explicit(&sh->stats->quarantined, RELAXED);
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
		if (fd < 0 && errno == EAGAIN && sh->listen_watch)
			sh->accept_waits = false;
		else if (fd < 0 && errno == EAGAIN)	/* there was no memory to watch it */
			sh->accept_after_ns = now + ACCEPT_AGAIN_NS;
		else if (fd < 0)
			accept_later(sh, errno);
		else if (is_quarantined(sh) || backend_inject_refuses(sh->disk, sh->sched_id))
			qfd_close(&fd);
		else
			sh->client = med_client_new(sh, fd);
	}
	return may_accept(sh, now);
}

static void end_quarantine(struct med_share *sh, uint64_t now)
{
	struct med_disk *d = sh->disk;

	if (!is_quarantined(sh))
		return;
	/* Pairs with the release store of med_disk_unquarantine(). */
	if (!atomic_exchange_explicit(&sh->pardoned, false, memory_order_acquire) &&
	    now < sh->quarantine_until_ns)
		return;
	atomic_store_explicit(&sh->stats->quarantined, false, RELAXED);
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
		med_client_fault(c, qvhu_be_fault(c->be));
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

/* As far as the client's budget goes (budget.h), the queue first that had to wait. */
static bool serve_queues(struct med_client *c)
{
	struct budget *b = &c->share->cpu;
	bool more = false, may = false, asked = false;

	for (unsigned n = 0; n < QUEUES_MAX && c->running && !c->dying; n++) {
		unsigned i = (c->first_queue + n) % QUEUES_MAX;
		struct med_queue *q = &c->q[i];

		if (!(c->running >> i & 1) || !qring_pending(&q->ring) || !med_queue_serves(q))
			continue;
		may = asked ? budget_left(b) : budget_round(b);
		asked = true;
		if (!may) {
			c->first_queue = i;
			return true;
		}
		more |= med_queue_serve(q);
	}
	return more;
}

static bool client_serve(struct med_client *c)
{
	uint64_t deadline = qvhu_be_deadline_ns(c->be);
	bool more = false;

	if ((c->sock_ready || (deadline && qnow_ns() >= deadline)) && !c->dying) {
		more = serve_socket(c);
		c->share->disk->now_ns = qnow_ns();
	}
	return serve_queues(c) || more;
}

bool med_clients_serve(struct med_disk *d)
{
	unsigned n_shares = d->n_shares;
	bool more = false;

	for (unsigned n = 0; n < n_shares; n++) {
		struct med_client *c = d->shares[(d->first_served + n) % n_shares].client;

		if (c)
			more |= client_serve(c);
	}
	d->first_served++;
	return more;
}

static bool client_finish_round(struct med_client *c)
{
	bool again = false;

	for (uint32_t left = c->running; left; left &= left - 1)
		again |= med_queue_settle(&c->q[__builtin_ctz(left)]);
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

	med_queues_publish(d);
	for (unsigned i = 0; i < d->n_shares; i++)
		if (d->shares[i].client)
			again |= client_finish_round(d->shares[i].client);
	return again;
}

bool med_clients_arm(struct med_disk *d)
{
	bool more = false;

	for (unsigned i = 0; i < d->n_shares; i++) {
		struct med_client *c = d->shares[i].client;

		for (uint32_t left = c ? c->running : 0; left; left &= left - 1) {
			struct med_queue *q = &c->q[__builtin_ctz(left)];

			if (med_queue_serves(q))
				more |= qring_arm(&q->ring);
		}
	}
	return more;
}

bool med_clients_pending(const struct med_disk *d)
{
	for (unsigned i = 0; i < d->n_shares; i++) {
		const struct med_client *c = d->shares[i].client;

		for (uint32_t left = c ? c->running : 0; left; left &= left - 1) {
			const struct med_queue *q = &c->q[__builtin_ctz(left)];

			if (qring_pending(&q->ring) && med_queue_serves(q))
				return true;
		}
	}
	return false;
}
