/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vuclient: a vhost-user-blk client that outlives its back end. It keeps its memory and the
 * in-flight region, and when the back end is gone it comes to the next one with both, as qvm does;
 * requests that were out stay out.
 *
 * Every block holds words made of its number and generation. At most one request is out on a block,
 * so what a read must show is known: the last acknowledged generation. At the end every block is
 * read: an acknowledged write that was lost, or one that landed elsewhere, is a wrong block.
 * SIGTERM ends the run early: what is out is waited for, and every block is read. Exit codes: 0 all
 * well, 1 wrong content or an I/O error, 3 no back end.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "tests/integ/vuconn.h"

#define NUM	     128u
#define DEPTH	     32u
#define BLOCK	     4096u
#define META_AT	     (512u << 10)
#define DATA_AT	     (1u << 20)
#define RECONNECT_NS (20 * Q_NSEC_PER_SEC)
#define SILENT_NS    (20 * Q_NSEC_PER_SEC)

struct request {
	unsigned slot;
	bool busy, write;
	uint32_t block;
};

struct world {
	struct vuconn conn;
	struct qdriver *drv;  /* the one of the connection */
	char *base;
	uint32_t n_blocks;
	uint32_t *generation; /* acknowledged */
	uint32_t *issued;     /* last written, acknowledged or not */
	struct request req[DEPTH];
	uint64_t rng, ended, errors, wrong;
};

static volatile sig_atomic_t enough;

static void on_sigterm(int sig)
{
	enough = sig;
}

static uint64_t next_random(struct world *w)
{
	w->rng ^= w->rng >> 12;
	w->rng ^= w->rng << 25;
	w->rng ^= w->rng >> 27;
	return w->rng * 0x2545f4914f6cdd1dull >> 8;
}

static void fill(char *to, uint32_t block, uint32_t gen)
{
	for (unsigned i = 0; i < BLOCK; i += 8) {
		uint64_t v = ((uint64_t)block << 32 | gen) * 0x9e3779b97f4a7c15ull ^ i;

		memcpy(to + i, &v, 8);
	}
}

static char *data_of(struct world *w, unsigned slot)
{
	return w->base + DATA_AT + (size_t)slot * BLOCK;
}

static void issue(struct world *w, struct request *r, bool write, uint32_t block)
{
	struct virtio_blk_outhdr hdr = {
		.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		.sector = (uint64_t)block * (BLOCK / Q_SECTOR_BYTES),
	};
	uint64_t meta = META_AT + r->slot * 64u;
	struct qdriver_buf bufs[] = {
		{ gpa(meta), sizeof(hdr), false },
		{ gpa(DATA_AT + (uint64_t)r->slot * BLOCK), BLOCK, !write },
		{ gpa(meta + 32), 1, true },
	};

	memcpy(w->base + meta, &hdr, sizeof(hdr));
	w->base[meta + 32] = (char)0xff;
	if (write)
		fill(data_of(w, r->slot), block, ++w->issued[block]);
	else
		memset(data_of(w, r->slot), 0xee, BLOCK);
	*r = (struct request){ .slot = r->slot, .busy = true, .write = write, .block = block };
	qassert(qdriver_add(w->drv, bufs, 3, r) == QDRIVER_OK);
}

static void end_request(struct world *w, struct request *r)
{
	static char want[BLOCK];

	r->busy = false;
	w->ended++;
	if (w->base[META_AT + r->slot * 64u + 32] != VIRTIO_BLK_S_OK) {
		w->errors++;
		return;
	}
	if (r->write) {
		w->generation[r->block] = w->issued[r->block];
		return;
	}
	fill(want, r->block, w->generation[r->block]);
	if (memcmp(want, data_of(w, r->slot), BLOCK) != 0 && w->wrong++ == 0)
		fprintf(stderr, "vuclient: block %u is not of generation %u\n", r->block,
			w->generation[r->block]);
}

/* A block that no request is on. */
static uint32_t pick(struct world *w)
{
	for (;;) {
		uint32_t b = (uint32_t)(next_random(w) % w->n_blocks);
		bool clash = false;

		for (unsigned i = 0; i < DEPTH && !clash; i++)
			clash = w->req[i].busy && w->req[i].block == b;
		if (!clash)
			return b;
	}
}

/* ---- the connection ---- */

static int meet(void *ctx, struct qvhu_fe *fe)
{
	struct world *w = ctx;
	struct virtio_blk_config cfg;
	int r = qvhu_fe_config_get(fe, 0, &cfg, offsetof(struct virtio_blk_config, num_queues));

	if (r == QVHU_OK)
		w->n_blocks = Q_MIN((uint32_t)(cfg.capacity * Q_SECTOR_BYTES / BLOCK), 4096u);
	return r;
}

static bool reap(struct world *w)
{
	uint32_t written;
	void *token;
	int v;

	while ((v = qdriver_poll(w->drv, &token, &written)) == QDRIVER_OK)
		end_request(w, token);
	if (v != QDRIVER_EMPTY)
		fprintf(stderr, "vuclient: the used ring is broken\n");
	return v == QDRIVER_EMPTY;
}

/* Sleeps until something is used; a back end that is gone is replaced. */
static bool wait_used(struct world *w)
{
	switch (vuconn_wait(&w->conn, 0, SILENT_NS)) {
	case VUCONN_GONE:
		return vuconn_connect(&w->conn);
	case VUCONN_SILENT:
		fprintf(stderr, "vuclient: %u requests are out and nothing comes\n",
			qdriver_outstanding(w->drv));
		return false;
	default:
		return true;
	}
}

/* Up to DEPTH requests out while @more says so, then until all are back. */
static bool run(struct world *w, bool (*more)(struct world *w, void *arg, struct request *r),
		void *arg)
{
	bool go = true;

	while (go || qdriver_outstanding(w->drv) > 0) {
		uint64_t before = w->ended;

		for (unsigned i = 0; go && i < DEPTH; i++)
			if (!w->req[i].busy)
				go = more(w, arg, &w->req[i]);
		if (qdriver_publish(w->drv))
			qfd_event_signal(w->conn.kick_fd[0]);
		if (!reap(w))
			return false;
		if (w->ended == before && qdriver_outstanding(w->drv) > 0 && !wait_used(w))
			return false;
	}
	return true;
}

static bool more_random(struct world *w, void *arg, struct request *r)
{
	if (enough || qnow_ns() >= *(uint64_t *)arg)
		return false;
	issue(w, r, next_random(w) % 100 < 60, pick(w));
	return true;
}

struct sweep {
	uint32_t next;
	bool write;
};

static bool more_sweep(struct world *w, void *arg, struct request *r)
{
	struct sweep *s = arg;

	if (s->next == w->n_blocks)
		return false;
	issue(w, r, s->write, s->next++);
	return true;
}

static int start(struct world *w)
{
	size_t bytes = DATA_AT + DEPTH * BLOCK;

	struct qmem *mem = qmem_new();
	if (!mem || qmem_add(mem, gpa(0), bytes, 0, "vuclient") < 0) {
		qmem_unref(mem);
		return -ENOMEM;
	}
	w->base = qmem_ptr(mem, gpa(0), bytes, true);
	for (unsigned i = 0; i < DEPTH; i++)
		w->req[i].slot = i;
	int r = vuconn_open(&w->conn, mem, META_AT);
	w->drv = &w->conn.q[0];
	if (r == 0 && !vuconn_connect(&w->conn))
		r = -ENOTCONN;
	if (r == 0) {
		w->generation = calloc(w->n_blocks, sizeof(uint32_t));
		w->issued = calloc(w->n_blocks, sizeof(uint32_t));
		r = w->generation && w->issued ? 0 : -ENOMEM;
	}
	return r;
}

int main(int argc, char **argv)
{
	static struct world w = { .conn = {
		.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX |
			    1ull << VIRTIO_BLK_F_FLUSH,
		.protocol = QVHU_PF_CONFIG | QVHU_PF_REPLY_ACK | QVHU_PF_INFLIGHT,
		.n_queues = 1, .ring = NUM, .answer_ms = 3000,
		.pause_ns = 2 * Q_NSEC_PER_MSEC, .give_up_ns = RECONNECT_NS, .meet = meet,
	} };

	if (argc != 4) {
		fputs("usage: vuclient SOCKET SECONDS SEED\n", stderr);
		return 2;
	}
	w.conn.path = argv[1];
	w.conn.ctx = &w;
	signal(SIGTERM, on_sigterm);
	w.rng = strtoull(argv[3], NULL, 0) * 2 + 1;
	if (start(&w) < 0) {
		fprintf(stderr, "vuclient: %s: no back end\n", w.conn.path);
		return 3;
	}
	struct sweep out = { .write = true }, in = { 0 };
	bool ok = run(&w, more_sweep, &out);
	uint64_t until = qnow_ns() + strtoull(argv[2], NULL, 0) * Q_NSEC_PER_SEC;
	ok = ok && run(&w, more_random, &until) && run(&w, more_sweep, &in);
	printf("{\"ops\": %llu, \"errors\": %llu, \"wrong\": %llu, \"reconnects\": %llu, "
	       "\"blocks\": %u}\n",
	       (unsigned long long)w.ended, (unsigned long long)w.errors,
	       (unsigned long long)w.wrong, (unsigned long long)w.conn.reconnects, w.n_blocks);
	vuconn_close(&w.conn);
	free(w.generation);
	free(w.issued);
	return !ok ? 3 : w.errors || w.wrong ? 1 : 0;
}
