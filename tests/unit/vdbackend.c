/* SPDX-License-Identifier: Apache-2.0 */
/* See vdbackend.h. */
#include "tests/unit/vdbackend.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void disk_do(struct vdb *b, const struct qblk_req *r)
{
	uint64_t off = r->sector * 512;

	for (unsigned i = 0; i < r->n_iov; i++) {
		if (r->op == QBLK_READ)
			memcpy(r->iov[i].iov_base, b->disk + off, r->iov[i].iov_len);
		else if (r->op == QBLK_WRITE)
			memcpy(b->disk + off, r->iov[i].iov_base, r->iov[i].iov_len);
		off += r->iov[i].iov_len;
	}
}

/* Answers a chain that is noted in the region (or there is none). */
static void answer(struct vdb *b, unsigned i, const struct qring_chain *c, struct iovec *iov)
{
	const struct qblk_dev dev = { .capacity_sectors = b->capacity_bytes / 512 };
	struct qvhu_inflight_queue *in = qvhu_be_inflight(b->be, i);
	struct vdb_queue *q = &b->q[i];
	struct qblk_req r = { 0 };
	enum qblk_verdict v = qblk_parse(&dev, c, iov, &r);
	uint32_t len = 0;

	if (v == QBLK_OK)
		disk_do(b, &r);
	if (v != QBLK_BROKEN)
		len = qblk_done(&r, v == QBLK_OK ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	if (in)
		qvhu_inflight_batch(in, c->head);
	qring_push(&q->ring, c->head, len);
	if (qring_publish(&q->ring) && q->call_fd >= 0 && !atomic_load(&b->mute))
		qfd_event_signal(q->call_fd);
	if (in) {
		qvhu_inflight_done(in, c->head);
		qvhu_inflight_used(in, q->ring.used_idx);
	}
	atomic_fetch_add(&b->n_served, 1);
}

static void serve_queue(struct vdb *b, unsigned i)
{
	struct qvhu_inflight_queue *in = qvhu_be_inflight(b->be, i);
	struct vdb_queue *q = &b->q[i];
	struct iovec iov[QBLK_IOV_MAX];
	struct qring_chain c;

	do {
		while (qring_pop(&q->ring, iov, QBLK_IOV_MAX, &c) == QRING_OK) {
			if (in)
				qvhu_inflight_take(in, c.head);
			if (atomic_exchange(&b->blame, false)) {
				qfd_event_signal(q->err_fd);
				return;
			}
			if (atomic_load(&b->hold) && q->n_held < 256)
				q->held[q->n_held++] = c.head;
			else
				answer(b, i, &c, iov);
			atomic_fetch_add(&b->n_taken, 1);
		}
	} while (qring_arm(&q->ring));
}

static void replay(struct vdb *b, unsigned i, const uint16_t *heads, unsigned n)
{
	struct iovec iov[QBLK_IOV_MAX];
	struct qring_chain c;

	for (unsigned k = 0; k < n; k++)
		if (qring_fetch(&b->q[i].ring, heads[k], iov, QBLK_IOV_MAX, &c) == QRING_OK)
			answer(b, i, &c, iov);
}

static int queue_start(void *ctx, unsigned i, const struct qvhu_be_queue *q, struct qmem *mem)
{
	struct vdb *b = ctx;
	struct qvhu_inflight_queue *in = qvhu_be_inflight(b->be, i);
	uint16_t heads[256];
	unsigned n;

	if (qring_init(&b->q[i].ring, mem, &q->ring) < 0)
		return QVHU_FAULT;
	b->q[i].on = true;
	b->q[i].kick_fd = q->kick_fd;
	b->q[i].call_fd = q->call_fd;
	b->q[i].err_fd = q->err_fd;
	b->q[i].n_held = 0;
	atomic_fetch_add(&b->n_starts, 1);
	if (!in)
		return QVHU_OK;
	n = qvhu_inflight_recover(in, b->q[i].ring.used_idx, heads, Q_ARRAY_LEN(heads));
	atomic_fetch_add(&b->n_recovered, n);
	replay(b, i, heads, n);
	return QVHU_OK;
}

static bool queue_stop(void *ctx, unsigned i, uint16_t *ret_base)
{
	struct vdb *b = ctx;

	/* A stop that was asked for waits for what is out; here it is finished at once. */
	if (!atomic_load(&b->silent))
		replay(b, i, b->q[i].held, b->q[i].n_held);
	b->q[i].n_held = 0;
	b->q[i].on = false;
	*ret_base = b->q[i].ring.last_avail;
	atomic_fetch_add(&b->n_stops, 1);
	return true;
}

static void queue_call(void *ctx, unsigned i, int call_fd)
{
	((struct vdb *)ctx)->q[i].call_fd = call_fd;
}

static int config_get(void *ctx, uint32_t off, uint8_t *buf, uint32_t len)
{
	struct vdb *b = ctx;
	struct virtio_blk_config c = {
		.capacity = htole64(b->capacity_bytes / 512), .seg_max = htole32(128),
		.blk_size = htole32(512), .num_queues = htole16((uint16_t)b->n_queues),
	};

	if (!qspan_inside(off, len, sizeof(c)))
		return QVHU_REFUSED;
	memcpy(buf, (uint8_t *)&c + off, len);
	return QVHU_OK;
}

/* One round of the instance's loop; false when the connection has ended. */
static bool turn(struct vdb *b)
{
	int be_fd = atomic_load(&b->silent) ? -1 : qvhu_be_fd(b->be);
	struct pollfd p[2 + VDB_QUEUES] = { { .fd = b->stop_fd, .events = POLLIN },
					    { .fd = be_fd, .events = POLLIN } };

	for (unsigned i = 0; i < VDB_QUEUES; i++)
		p[2 + i] = (struct pollfd){ .fd = b->q[i].on ? b->q[i].kick_fd : -1,
					    .events = POLLIN };
	poll(p, Q_ARRAY_LEN(p), 20);	/* silent may end without an event */
	if (p[0].revents)
		return false;
	for (unsigned i = 0; i < VDB_QUEUES; i++) {
		if (!p[2 + i].revents)
			continue;
		qfd_event_clear(b->q[i].kick_fd);
		serve_queue(b, i);
	}
	if (p[1].revents) {
		int r = qvhu_be_serve(b->be);

		return r == QVHU_OK || r == QVHU_AGAIN;
	}
	return true;
}

static void *instance(void *arg)
{
	struct vdb *b = arg;
	const struct qvhu_be_ops ops = {
		.features = b->features, .protocol_features = b->protocol,
		.n_queues = b->n_queues, .queue_size_max = 256, .config_get = config_get,
		.queue_start = queue_start, .queue_call = queue_call, .queue_stop = queue_stop,
	};
	int sock_fd = b->sock_fd;

	memset(b->q, 0, sizeof(b->q));
	b->sock_fd = -1;
	b->be = qvhu_be_new(sock_fd, &ops, b);
	while (turn(b))
		continue;
	for (unsigned i = 0; i < VDB_QUEUES; i++)
		b->q[i].n_held = 0;	/* what dies does not answer */
	qvhu_be_stop_all(b->be);
	b->be = qvhu_be_free(b->be);
	return NULL;
}

void vdb_init(struct vdb *b)
{
	memset(b, 0, sizeof(*b));
	b->features = QVHU_F_PROTOCOL_FEATURES | 1ull << 32 | 1ull << 28 | 1ull << 29 |
		      1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_SEG_MAX |
		      1ull << VIRTIO_BLK_F_BLK_SIZE;
	b->protocol = QVHU_PF_MQ | QVHU_PF_REPLY_ACK | QVHU_PF_CONFIG | QVHU_PF_INFLIGHT;
	b->capacity_bytes = VDB_DISK_BYTES / 2;
	b->n_queues = 1;
	b->sock_fd = b->stop_fd = b->rubbish_fd = -1;
}

void vdb_kill(struct vdb *b)
{
	if (!b->alive)
		return;
	qfd_event_signal(b->stop_fd);
	pthread_join(b->thread, NULL);
	qfd_close(&b->stop_fd);
	qfd_close(&b->rubbish_fd);
	b->alive = false;
}

void vdb_rubbish(struct vdb *b)
{
	static const char text[] = "nobody asked for this";

	qassert(write(b->rubbish_fd, text, sizeof(text)) == sizeof(text));
}

int vdb_connect(struct vdh *h)
{
	struct vdb *b = h->backend_ctx;
	int pair[2];

	b->n_connects++;
	if (b->absent || qnow_ns() < b->absent_until_ns)
		return -ECONNREFUSED;
	vdb_kill(b);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	b->sock_fd = pair[1];
	b->rubbish_fd = qfd_dup(pair[1]);
	b->stop_fd = qfd_eventfd();
	b->alive = pthread_create(&b->thread, NULL, instance, b) == 0;
	qassert(b->alive);
	return pair[0];
}
