/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a client's memory, its ring, and what it knows of each sector.
 *
 * Each sector holds the number of the write that it is of (and words made of both). A write that
 * was issued may be there; it may not be there any more once another on the same sector, which was
 * issued after it had been acknowledged, was acknowledged itself. What a read has found excludes
 * all that were acknowledged before the read was issued. So a lost write, one that comes late, and
 * one that lands elsewhere each show. Sectors that a read covers have no write out.
 */
#include "tests/integ/killload.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"
#include "tests/integ/vuconn.h"

#define RING 512u
#define SPAN_MAX 16u		/* sectors of a request */
#define SPAN_BYTES (SPAN_MAX * Q_SECTOR_BYTES)
#define OUT_MAX 2u		/* writes out on a sector */
#define LEGAL_MAX 6u
#define META_AT (512ull << 10)
#define META_BYTES 64u
#define DATA_AT (1ull << 20)
#define DATA_END (DATA_AT + (uint64_t)KILLLOAD_DEPTH_MAX * SPAN_BYTES)
#define FLUSH_EVERY 64u
#define USE_BYTES (1ull << 20)	/* of memory, by one request */
#define SILENT_NS (60 * Q_NSEC_PER_SEC)

/* A write that a sector may hold. */
struct legal {
	uint64_t seq, issued, acked;	/* logical times; acked 0 = out */
};

struct sector {
	struct legal legal[LEGAL_MAX];
	uint8_t n, n_writes_out, n_reads_out;
};

struct request {
	unsigned slot;
	bool busy;
	uint32_t type;
	uint32_t sector, n;
	uint64_t seq, issued;
	uint64_t use_at;	/* reads a mebibyte there, and nobody looks; 0 = does not */
};

struct load {
	const struct killload_cfg *cfg;
	struct vuconn conn;
	struct qdriver *drv;		/* the one of the connection */
	char *base;
	struct request req[KILLLOAD_DEPTH_MAX];
	uint64_t rng, tick, seq;
	bool lost;			/* nothing has come since the connection was made again */
	uint64_t use_at;		/* memory that this back end has not had; 0 = none */
	struct sector sector[KILLLOAD_SECTORS];
};

static void count(_Atomic uint64_t *c)
{
	atomic_fetch_add_explicit(c, 1, memory_order_relaxed);
}

static uint32_t below(struct load *l, uint32_t n)
{
	l->rng ^= l->rng >> 12;
	l->rng ^= l->rng << 25;
	l->rng ^= l->rng >> 27;
	return (uint32_t)((l->rng * 0x2545f4914f6cdd1dull >> 32) * n >> 32);
}

/* ---- content ---- */

static void fill(uint64_t *to, uint32_t sector, uint64_t seq)
{
	to[0] = seq;
	for (unsigned i = 1; i < Q_SECTOR_BYTES / 8; i++)
		to[i] = seq ? ((uint64_t)sector << 40 | seq) * 0x9e3779b97f4a7c15ull ^ i : 0;
}

static void forget(struct sector *s, unsigned i)
{
	s->legal[i] = s->legal[--s->n];
}

/* A write on @s was acknowledged: those that had been before it was issued are gone. */
static void acked(struct sector *s, const struct request *r, uint64_t now)
{
	for (unsigned i = 0; i < s->n;) {
		struct legal *e = &s->legal[i];

		if (e->seq == r->seq)
			e->acked = now;
		if (e->acked && e->acked < r->issued)
			forget(s, i);
		else
			i++;
	}
}

/* Whether the sector may be what was read, which it then is. */
static bool found(struct sector *s, uint32_t number, const uint64_t *data)
{
	uint64_t want[Q_SECTOR_BYTES / 8];
	bool legal = false;

	for (unsigned i = 0; i < s->n; i++)
		legal |= s->legal[i].seq == data[0];
	fill(want, number, data[0]);
	if (!legal || memcmp(want, data, sizeof(want)) != 0)
		return false;
	for (unsigned i = 0; i < s->n;) {
		if (s->legal[i].seq != data[0])
			forget(s, i);
		else
			i++;
	}
	return true;
}

static void complain(const struct load *l, uint32_t number, uint64_t seq)
{
	const struct sector *s = &l->sector[number];

	fprintf(stderr, "killload: %s: sector %u holds write %llu; what may be there:",
		l->cfg->socket, number, (unsigned long long)seq);
	for (unsigned i = 0; i < s->n; i++)
		fprintf(stderr, " %llu", (unsigned long long)s->legal[i].seq);
	fputc('\n', stderr);
}

/* ---- requests ---- */

static char *data_of(const struct load *l, const struct request *r)
{
	return l->base + DATA_AT + (size_t)r->slot * SPAN_BYTES;
}

static char *meta_of(const struct load *l, const struct request *r)
{
	return l->base + META_AT + (size_t)r->slot * META_BYTES;
}

static void prepare(struct load *l, struct request *r)
{
	for (uint32_t i = 0; i < r->n; i++) {
		struct sector *s = &l->sector[r->sector + i];

		if (r->type == VIRTIO_BLK_T_IN) {
			s->n_reads_out++;
			continue;
		}
		s->legal[s->n++] = (struct legal){ .seq = r->seq, .issued = r->issued };
		s->n_writes_out++;
		fill((uint64_t *)(void *)(data_of(l, r) + (size_t)i * Q_SECTOR_BYTES),
		     r->sector + i, r->seq);
	}
}

static void issue(struct load *l, struct request *r)
{
	struct virtio_blk_outhdr hdr = { .type = r->type, .sector = r->sector };
	uint64_t meta = META_AT + (uint64_t)r->slot * META_BYTES;
	uint64_t data = DATA_AT + (uint64_t)r->slot * SPAN_BYTES;
	struct qdriver_buf bufs[3] = { { gpa(meta), sizeof(hdr), false } };
	unsigned n = 1;

	r->busy = true;
	r->issued = ++l->tick;
	r->seq = r->type == VIRTIO_BLK_T_OUT ? ++l->seq : 0;
	prepare(l, r);
	memcpy(meta_of(l, r), &hdr, sizeof(hdr));
	meta_of(l, r)[32] = (char)0xff;
	if (r->use_at)
		bufs[n++] = (struct qdriver_buf){ gpa(r->use_at), USE_BYTES, true };
	else if (r->n)
		bufs[n++] = (struct qdriver_buf){ gpa(data), r->n * Q_SECTOR_BYTES,
						  r->type == VIRTIO_BLK_T_IN };
	bufs[n++] = (struct qdriver_buf){ gpa(meta + 32), 1, true };
	qassert(qdriver_add(l->drv, bufs, n, r) == QDRIVER_OK);
}

static void end_sector(struct load *l, const struct request *r, uint32_t i, uint64_t now)
{
	uint32_t number = r->sector + i;
	struct sector *s = &l->sector[number];
	const uint64_t *data = (const void *)(data_of(l, r) + (size_t)i * Q_SECTOR_BYTES);

	if (r->type == VIRTIO_BLK_T_OUT) {
		s->n_writes_out--;
		acked(s, r, now);
		return;
	}
	s->n_reads_out--;
	if (found(s, number, data))
		return;
	if (atomic_fetch_add(&l->cfg->shared->wrong, 1) == 0)
		complain(l, number, data[0]);
}

static void end_request(struct load *l, struct request *r)
{
	struct killload_shared *sh = l->cfg->shared;
	uint64_t now = ++l->tick;

	r->busy = false;
	count(&sh->ops);
	if (meta_of(l, r)[32] != VIRTIO_BLK_S_OK)
		count(&sh->errors);
	for (uint32_t i = 0; i < r->n; i++)
		end_sector(l, r, i, now);
	if (!l->lost)
		return;
	l->lost = false;
	atomic_store(&sh->first_ns, qnow_ns());
	count(&sh->n_first);
}

static bool may(const struct load *l, const struct request *r)
{
	for (uint32_t i = 0; i < r->n; i++) {
		const struct sector *s = &l->sector[r->sector + i];

		if (r->type == VIRTIO_BLK_T_IN) {
			if (s->n_writes_out > 0 || s->n_reads_out == UINT8_MAX)
				return false;
		} else if (s->n_writes_out == OUT_MAX || s->n_reads_out > 0 ||
			   s->n == LEGAL_MAX) {
			return false;
		}
	}
	return true;
}

/* All of the memory, a piece after the other: a back end that used it has it in its page tables. */
static bool choose_use(struct load *l, struct request *r)
{
	if (!l->use_at || l->lost || r->slot != 0)
		return false;
	r->type = VIRTIO_BLK_T_IN;
	r->n = 0;
	r->sector = 0;
	r->use_at = l->use_at;
	l->use_at += USE_BYTES;
	if (l->use_at + USE_BYTES <= l->cfg->mem_bytes)
		return true;
	l->use_at = 0;
	count(&l->cfg->shared->n_used);
	return true;
}

/* Writes gather on few sectors, so that they meet there. */
static void choose(struct load *l, struct request *r)
{
	r->use_at = 0;
	if (choose_use(l, r))
		return;
	do {
		uint32_t room = below(l, 4) ? KILLLOAD_SECTORS : 256;

		r->type = below(l, FLUSH_EVERY) == 0 ? VIRTIO_BLK_T_FLUSH :
			  below(l, 3) ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
		r->n = r->type == VIRTIO_BLK_T_FLUSH ? 0 : 1 + below(l, SPAN_MAX);
		r->sector = below(l, room - r->n);
	} while (!may(l, r));
}

/* ---- the connection ---- */

static bool reap(struct load *l)
{
	uint32_t written;
	void *token;
	int v;

	while ((v = qdriver_poll(l->drv, &token, &written)) == QDRIVER_OK)
		end_request(l, token);
	if (v != QDRIVER_EMPTY)
		fprintf(stderr, "killload: the used ring is broken\n");
	return v == QDRIVER_EMPTY;
}

static bool reconnect(struct load *l)
{
	l->conn.fe = qvhu_fe_free(l->conn.fe);
	/* What the last back end has answered is its own. */
	l->lost = false;
	if (!reap(l) || !vuconn_connect(&l->conn))
		return false;
	l->lost = true;
	l->use_at = l->cfg->use ? (DATA_END + USE_BYTES - 1) & ~(USE_BYTES - 1) : 0;
	return true;
}

/* Sleeps until something is used; a back end that is gone is replaced. */
static bool wait_used(struct load *l)
{
	switch (vuconn_wait(&l->conn, 0, SILENT_NS)) {
	case VUCONN_USED:
		return true;
	case VUCONN_GONE:
		count(&l->cfg->shared->reconnects);
		return reconnect(l);
	default:
		fprintf(stderr, "killload: %s: %u requests are out and nothing comes\n",
			l->cfg->socket, qdriver_outstanding(l->drv));
		return false;
	}
}

static bool stopped(const struct load *l)
{
	return atomic_load(&l->cfg->shared->stop);
}

static bool round_trip(struct load *l)
{
	uint64_t before = atomic_load(&l->cfg->shared->ops);

	if (qdriver_publish(l->drv))
		qfd_event_signal(l->conn.kick_fd[0]);
	if (!reap(l))
		return false;
	return atomic_load(&l->cfg->shared->ops) != before || qdriver_outstanding(l->drv) == 0 ||
	       wait_used(l);
}

static bool run(struct load *l)
{
	while (!stopped(l) || qdriver_outstanding(l->drv) > 0) {
		for (unsigned i = 0; !stopped(l) && i < l->cfg->depth; i++) {
			if (l->req[i].busy)
				continue;
			choose(l, &l->req[i]);
			issue(l, &l->req[i]);
		}
		if (!round_trip(l))
			return false;
	}
	return true;
}

static bool read_all(struct load *l)
{
	struct request *r = &l->req[0];

	r->use_at = 0;
	for (uint32_t at = 0; at < KILLLOAD_SECTORS; at += SPAN_MAX) {
		r->type = VIRTIO_BLK_T_IN;
		r->sector = at;
		r->n = SPAN_MAX;
		issue(l, r);
		while (r->busy)
			if (!round_trip(l))
				return false;
	}
	return true;
}

static int start(struct load *l)
{
	uint64_t bytes = Q_MAX(l->cfg->mem_bytes, DATA_END);

	struct qmem *mem = qmem_new();
	/* A guest's memory is there: it was used. */
	if (!mem || qmem_add(mem, gpa(0), bytes, 0, "killload") < 0 ||
	    (l->cfg->mem_bytes && qmem_populate(mem, false) < 0)) {
		qmem_unref(mem);
		return -ENOMEM;
	}
	l->base = qmem_ptr(mem, gpa(0), bytes, true);
	l->drv = &l->conn.q[0];
	int r = vuconn_open(&l->conn, mem, META_AT);
	for (unsigned i = 0; i < KILLLOAD_DEPTH_MAX; i++)
		l->req[i].slot = i;
	/* The disk is empty: write 0, done before all. */
	for (unsigned i = 0; i < KILLLOAD_SECTORS; i++)
		l->sector[i] = (struct sector){ .n = 1, .legal = { { .acked = 1 } } };
	l->tick = 1;
	return r == 0 && !reconnect(l) ? -ENOTCONN : r;
}

int killload_run(const struct killload_cfg *cfg)
{
	static struct load l = { .conn = {
		.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX |
			    1ull << VIRTIO_BLK_F_FLUSH,
		.protocol = QVHU_PF_REPLY_ACK | QVHU_PF_INFLIGHT,
		.n_queues = 1, .ring = RING, .answer_ms = 10000,
		.pause_ns = 200 * Q_NSEC_PER_USEC, .give_up_ns = SILENT_NS,
	} };

	l.cfg = cfg;
	l.conn.path = cfg->socket;
	l.rng = cfg->seed * 2 + 1;
	bool ok = start(&l) == 0;
	if (!ok)
		fprintf(stderr, "killload: %s: cannot begin\n", cfg->socket);
	ok = ok && run(&l) && read_all(&l);
	vuconn_close(&l.conn);
	return !ok ? 3 : atomic_load(&cfg->shared->errors) || atomic_load(&cfg->shared->wrong);
}
