/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vublk: a vhost-user-blk client without a VM. Drives any back end (our mediator, another project's
 * daemon) with reads and writes at a fixed depth, checks content when asked, and prints one JSON
 * object. One thread; the driver's side is lib/qdriver.
 *
 * Sleeping clients wait on the call descriptor; polling ones look at the used ring. Exit codes: 0
 * all well, 1 an I/O error or wrong content, 2 usage, 3 the back end broke or refused the
 * connection.
 */
#include <errno.h>
#include <getopt.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/qdriver.h"
#include "lib/qfd.h"
#include "lib/qhist.h"
#include "lib/qvhu_fe.h"

#define RING_NUM 128u
#define DATA_AT (1ull << 20)
#define REQ_STRIDE 64u		/* header and status of a request, apart from its neighbours' */

enum { EXIT_OK = 0, EXIT_DATA = 1, EXIT_USAGE = 2, EXIT_PEER = 3 };

struct options {
	const char *socket;
	unsigned depth, bs_bytes, read_percent, msecs;
	uint64_t ops;		/* 0 = as many as fit into msecs */
	uint64_t span_bytes;	/* of the device that is used; 0 = all */
	uint64_t seed;
	unsigned think_us;	/* longest pause before requests are made */
	unsigned flush_percent, discard_percent;	/* of all; else reads and writes */
	unsigned patience_ms;	/* how long the back end may be silent */
	unsigned rate;		/* wanted a second: they come by the clock; 0 = as many as can */
	bool poll, verify, fill, seq, indirect;
};

enum kind { KIND_READ, KIND_WRITE, KIND_FLUSH, KIND_DISCARD, KINDS };

struct request {
	unsigned slot;
	enum kind kind;
	bool busy;
	uint64_t block;
	uint64_t start_ns;
};

struct client {
	struct options opt;
	struct qmem *mem;
	char *base;		/* of guest memory */
	struct qvhu_fe *fe;
	struct qdriver drv;
	int kick_fd, call_fd;
	uint64_t n_blocks, capacity_bytes;
	uint32_t *generation;	/* per block: what was written last; verify only */
	struct request req[RING_NUM];
	uint64_t rng, next_seq;
	uint64_t issued, ended, errors, mismatches, kicks, sleeps;
	uint64_t ended_of[KINDS];
	const char *broke;	/* why the back end is given up on; NULL: it is not */
	struct qhist lat;
};

/* False, and says why at the end; the first reason stays. */
static bool broke(struct client *c, const char *why)
{
	if (!c->broke)
		c->broke = why;
	return false;
}

static uint64_t next_random(struct client *c)
{
	/* xorshift64*: seeded, so that a run can be repeated. */
	c->rng ^= c->rng >> 12;
	c->rng ^= c->rng << 25;
	c->rng ^= c->rng >> 27;
	return c->rng * 0x2545f4914f6cdd1dull;
}

static char *data_of(struct client *c, unsigned slot)
{
	return c->base + DATA_AT + (uint64_t)slot * c->opt.bs_bytes;
}

static uint64_t meta_at(unsigned slot)
{
	return (512u << 10) + (uint64_t)slot * REQ_STRIDE;
}

/* What a block of generation @gen holds: every word tells which block and generation it is of. */
static void fill_pattern(struct client *c, uint64_t block, uint32_t gen, char *to)
{
	for (unsigned i = 0; i < c->opt.bs_bytes; i += 8) {
		uint64_t w = (block << 24 ^ (uint64_t)gen << 48 ^ i) * 0x9e3779b97f4a7c15ull ^
			     c->opt.seed;

		memcpy(to + i, &w, 8);
	}
}

static bool content_ok(struct client *c, uint64_t block, const char *got)
{
	char want[64 << 10];

	fill_pattern(c, block, c->generation[block], want);
	return memcmp(got, want, c->opt.bs_bytes) == 0;
}

/* A block with no request on it (verify), or any. */
static uint64_t pick_block(struct client *c)
{
	for (;;) {
		uint64_t b = c->opt.seq ? c->next_seq++ % c->n_blocks :
					  next_random(c) % c->n_blocks;
		bool clash = false;

		for (unsigned i = 0; c->opt.verify && i < c->opt.depth && !clash; i++)
			clash = c->req[i].busy && c->req[i].block == b;
		if (!clash)
			return b;
	}
}

static uint32_t type_of(enum kind kind)
{
	static const uint32_t types[] = {
		[KIND_READ] = VIRTIO_BLK_T_IN,
		[KIND_WRITE] = VIRTIO_BLK_T_OUT,
		[KIND_FLUSH] = VIRTIO_BLK_T_FLUSH,
		[KIND_DISCARD] = VIRTIO_BLK_T_DISCARD,
	};

	return types[kind];
}

/* What goes with the request: a block, a range to be forgotten, or nothing. Its length. */
static uint32_t prepare_data(struct client *c, const struct request *r)
{
	uint32_t sectors = c->opt.bs_bytes / Q_SECTOR_BYTES;
	struct virtio_blk_discard_write_zeroes range = {
		.sector = r->block * sectors, .num_sectors = sectors,
	};

	if (r->kind == KIND_FLUSH)
		return 0;
	if (r->kind == KIND_DISCARD) {
		memcpy(data_of(c, r->slot), &range, sizeof(range));
		return sizeof(range);
	}
	if (r->kind == KIND_WRITE && c->opt.verify)
		fill_pattern(c, r->block, ++c->generation[r->block], data_of(c, r->slot));
	return c->opt.bs_bytes;
}

static void issue(struct client *c, struct request *r, enum kind kind, uint64_t block)
{
	struct virtio_blk_outhdr hdr = { .type = type_of(kind) };
	uint64_t meta = meta_at(r->slot);

	if (kind == KIND_READ || kind == KIND_WRITE)
		hdr.sector = block * (c->opt.bs_bytes / Q_SECTOR_BYTES);
	r->kind = kind;
	r->block = block;
	r->busy = true;
	uint32_t len = prepare_data(c, r);
	struct qdriver_buf bufs[] = {
		{ gpa(meta), sizeof(hdr), false },
		{ gpa(DATA_AT + (uint64_t)r->slot * c->opt.bs_bytes), len, kind == KIND_READ },
		{ gpa(meta + 32), 1, true },
	};
	if (!len)
		bufs[1] = bufs[2];

	memcpy(c->base + meta, &hdr, sizeof(hdr));
	c->base[meta + 32] = (char)0xff;
	r->start_ns = qnow_ns();
	c->issued++;
	if (qdriver_add(&c->drv, bufs, len ? 3 : 2, r) != QDRIVER_OK) {
		fprintf(stderr, "vublk: the ring is full at depth %u\n", c->opt.depth);
		exit(EXIT_USAGE);
	}
}

static enum kind pick_kind(struct client *c)
{
	unsigned p = (unsigned)(next_random(c) % 100);

	if (c->opt.flush_percent || c->opt.discard_percent) {
		if (p < c->opt.flush_percent)
			return KIND_FLUSH;
		if (p < c->opt.flush_percent + c->opt.discard_percent)
			return KIND_DISCARD;
		p = (unsigned)(next_random(c) % 100);
	}
	return p >= c->opt.read_percent ? KIND_WRITE : KIND_READ;
}

static void end_request(struct client *c, struct request *r, uint64_t now)
{
	qhist_add(&c->lat, now - r->start_ns);
	c->ended++;
	c->ended_of[r->kind]++;
	r->busy = false;
	if (c->base[meta_at(r->slot) + 32] != VIRTIO_BLK_S_OK)
		c->errors++;
	else if (r->kind == KIND_READ && c->opt.verify &&
		 !content_ok(c, r->block, data_of(c, r->slot)))
		c->mismatches++;
}

static void publish(struct client *c)
{
	if (qdriver_publish(&c->drv)) {
		c->kicks++;
		qfd_event_signal(c->kick_fd);
	}
}

/* Waits for completions. False when the back end is gone or silent. */
static bool wait_used(struct client *c)
{
	struct pollfd p[] = {
		{ .fd = c->call_fd, .events = POLLIN },
		{ .fd = qvhu_fe_fd(c->fe), .events = POLLIN },
	};

	if (c->opt.poll || qdriver_arm(&c->drv))
		return true;
	c->sleeps++;
	int n = poll(p, 2, (int)c->opt.patience_ms);
	qfd_event_clear(c->call_fd);
	qdriver_disarm(&c->drv);
	if (n > 0 && p[1].revents)
		return broke(c, p[1].revents & POLLHUP ? "hung up" : "sent what nobody asked for");
	if (n == 0)
		return broke(c, qdriver_arm(&c->drv) ? "finished and did not signal"
						     : "was silent for too long");
	return true;
}

/* Reaps what is used; false when the back end broke the ring. */
static bool reap(struct client *c)
{
	uint32_t written;
	void *token;
	int v;

	while ((v = qdriver_poll(&c->drv, &token, &written)) == QDRIVER_OK)
		end_request(c, token, qnow_ns());
	return v == QDRIVER_EMPTY || broke(c, "broke the used ring");
}

static bool may_issue(const struct client *c, uint64_t until_ns)
{
	if (c->opt.ops)
		return c->issued < c->opt.ops;
	return qnow_ns() < until_ns;
}

/* A guest does something else now and then: wake-ups race in every order only then. */
static void think(struct client *c)
{
	uint64_t ns = next_random(c) % (c->opt.think_us * Q_NSEC_PER_USEC);
	struct timespec ts = { .tv_nsec = (long)ns };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

/* By the clock: until the next request is due. One that is late is made at once. */
static void wait_for_turn(const struct client *c, uint64_t start_ns)
{
	uint64_t due = start_ns + c->issued * Q_NSEC_PER_SEC / c->opt.rate;
	struct timespec ts = {
		.tv_sec = (time_t)(due / Q_NSEC_PER_SEC), .tv_nsec = (long)(due % Q_NSEC_PER_SEC),
	};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* Keeps depth requests out until time or count is up. False when the back end broke. */
static bool run(struct client *c)
{
	uint64_t start = qnow_ns(), until = start + c->opt.msecs * Q_NSEC_PER_MSEC, last = start;
	bool go = true;

	qdriver_disarm(&c->drv);
	while (go || qdriver_outstanding(&c->drv) > 0) {
		uint64_t before = c->ended;

		if (c->opt.think_us)
			think(c);
		if (c->opt.rate && qdriver_outstanding(&c->drv) == 0)
			wait_for_turn(c, start);
		for (unsigned i = 0; go && i < c->opt.depth; i++) {
			if (c->req[i].busy)
				continue;
			go = may_issue(c, until);
			if (go)
				issue(c, &c->req[i], pick_kind(c), pick_block(c));
		}
		publish(c);
		if (!reap(c))
			return false;
		if (c->ended == before && qdriver_outstanding(&c->drv) > 0) {
			if (!wait_used(c) || !reap(c))
				return false;
			if (c->ended == before &&
			    qnow_ns() - last > c->opt.patience_ms * Q_NSEC_PER_MSEC)
				return broke(c, "was silent for too long, but for signals");
		}
		if (c->ended != before)
			last = qnow_ns();
	}
	return true;
}

/* Writes every block once, or reads all of them again. */
static bool sweep(struct client *c, bool write)
{
	struct options saved = c->opt;

	c->opt.seq = true;
	c->next_seq = 0;
	c->opt.read_percent = write ? 0 : 100;
	c->opt.flush_percent = c->opt.discard_percent = c->opt.rate = 0;
	c->opt.ops = c->issued + c->n_blocks;
	bool ok = run(c);
	c->opt = saved;
	return ok;
}

static int connect_device(struct client *c)
{
	struct virtio_blk_config cfg;
	uint64_t want = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX |
			1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_BLK_F_FLUSH |
			(c->opt.discard_percent ? 1ull << VIRTIO_BLK_F_DISCARD : 0);
	int fd = qfd_connect_unix(c->opt.socket);

	if (fd < 0) {
		fprintf(stderr, "vublk: %s: %s\n", c->opt.socket, strerror(-fd));
		return fd;
	}
	int r = qvhu_fe_new(fd, QVHU_PF_CONFIG | QVHU_PF_REPLY_ACK | QVHU_PF_MQ | QVHU_PF_INFLIGHT,
			    c->opt.patience_ms, &c->fe);
	/* Only what every back end has: some refuse to give more than they know. */
	if (r == QVHU_OK)
		r = qvhu_fe_config_get(c->fe, 0, &cfg,
				       offsetof(struct virtio_blk_config, num_queues));
	if (r != QVHU_OK)
		return r;
	c->capacity_bytes = cfg.capacity * Q_SECTOR_BYTES;
	uint64_t have = qvhu_fe_features(c->fe) & want;
	if (c->opt.discard_percent && !(have >> VIRTIO_BLK_F_DISCARD & 1))
		return -EOPNOTSUPP;
	unsigned ring_features = (have >> VIRTIO_RING_F_EVENT_IDX & 1 ? QRING_EVENT_IDX : 0) |
				 (have >> VIRTIO_RING_F_INDIRECT_DESC & 1 && c->opt.indirect ?
					  QRING_INDIRECT :
					  0);
	r = qdriver_init(&c->drv, c->mem, gpa(0), RING_NUM, ring_features,
			 gpa(ring_features & QRING_INDIRECT ? 128u << 10 : 0),
			 ring_features & QRING_INDIRECT ? 8 : 0);
	if (r == 0)
		r = qvhu_fe_set_features(c->fe, have);
	if (r == QVHU_OK)
		r = qvhu_fe_set_mem(c->fe, c->mem);
	if (r == QVHU_OK)
		r = qvhu_fe_queue_start(c->fe, 0, c->mem, &c->drv.cfg, c->kick_fd, c->call_fd);
	return r;
}

static int set_up(struct client *c)
{
	uint64_t bytes = Q_ALIGN_UP(DATA_AT + (uint64_t)RING_NUM * c->opt.bs_bytes, 4096);

	c->mem = qmem_new();
	int r = c->mem ? qmem_add(c->mem, gpa(0), bytes, 0, "vublk") : -ENOMEM;
	if (r < 0)
		return r;
	c->base = qmem_ptr(c->mem, gpa(0), bytes, true);
	memset(c->base, 0x5a, bytes);
	c->kick_fd = qfd_eventfd();
	c->call_fd = qfd_eventfd();
	c->rng = c->opt.seed * 2 + 1;
	qhist_reset(&c->lat);
	for (unsigned i = 0; i < RING_NUM; i++)
		c->req[i].slot = i;
	r = connect_device(c);
	if (r != 0)
		return r;
	uint64_t span = c->opt.span_bytes ? c->opt.span_bytes : c->capacity_bytes;
	c->n_blocks = Q_MIN(span, c->capacity_bytes) / c->opt.bs_bytes;
	if (c->n_blocks <= c->opt.depth)
		return -ENOSPC;
	if (c->opt.verify)
		c->generation = calloc(c->n_blocks, sizeof(c->generation[0]));
	return c->opt.verify && !c->generation ? -ENOMEM : 0;
}

static void tear_down(struct client *c)
{
	uint16_t base;

	if (c->fe && c->drv.mem)
		(void)qvhu_fe_queue_stop(c->fe, 0, &base);
	qvhu_fe_free(c->fe);
	qdriver_fini(&c->drv);
	qmem_unref(c->mem);
	qfd_close(&c->kick_fd);
	qfd_close(&c->call_fd);
	free(c->generation);
}

static void report(const struct client *c, uint64_t ns)
{
	printf("{\"ops\": %llu, \"errors\": %llu, \"mismatches\": %llu, \"iops\": %.0f, "
	       "\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, \"max_us\": %.2f, "
	       "\"kicks\": %llu, \"sleeps\": %llu, \"capacity_bytes\": %llu, "
	       "\"secs\": %.4f, \"reads\": %llu, \"writes\": %llu, \"flushes\": %llu, "
	       "\"discards\": %llu}\n",
	       (unsigned long long)c->ended, (unsigned long long)c->errors,
	       (unsigned long long)c->mismatches, (double)c->ended * 1e9 / (double)ns,
	       (double)qhist_quantile(&c->lat, 500) / 1e3,
	       (double)qhist_quantile(&c->lat, 990) / 1e3,
	       (double)qhist_quantile(&c->lat, 999) / 1e3, (double)c->lat.max_ns / 1e3,
	       (unsigned long long)c->kicks, (unsigned long long)c->sleeps,
	       (unsigned long long)c->capacity_bytes, (double)ns / 1e9,
	       (unsigned long long)c->ended_of[KIND_READ],
	       (unsigned long long)c->ended_of[KIND_WRITE],
	       (unsigned long long)c->ended_of[KIND_FLUSH],
	       (unsigned long long)c->ended_of[KIND_DISCARD]);
}

static void usage(FILE *to)
{
	fputs("usage: vublk [options] SOCKET\n"
	      "Drives a vhost-user-blk back end without a VM and prints one JSON object.\n\n"
	      "  --depth N (1)      requests out at once, 1..42; with --indirect 1..128\n"
	      "  --bs BYTES (4096)  of a request, multiple of 512, at most 65536\n"
	      "  --read PERCENT (100)\n"
	      "  --flush PERCENT (0), --discard PERCENT (0)  of all\n"
	      "  --rate N (0)       one at a time, so many a second by the clock\n"
	      "  --secs N (2)       or --msecs N, or --ops N\n"
	      "  --span BYTES (0)   part of the device that is used, 0 = all\n"
	      "  --seq              in order, not at random\n"
	      "  --poll             look at the used ring instead of sleeping\n"
	      "  --indirect         indirect descriptors\n"
	      "  --verify           write all blocks first, check every read, read all at the end\n"
	      "  --think-us N (0)   pause up to so long, at random, before requests are made\n"
	      "  --patience SECS (5)  with a back end that is silent, 1..3600\n"
	      "  --seed N (1)\n\n"
	      "Exit status: 0 all well, 1 I/O error or wrong content, 2 usage, 3 the back end\n"
	      "broke.\n",
	      to);
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "depth", required_argument, NULL, 'd' }, { "bs", required_argument, NULL, 'b' },
		{ "read", required_argument, NULL, 'r' },  { "secs", required_argument, NULL, 's' },
		{ "ops", required_argument, NULL, 'o' },   { "span", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 'e' },  { "seq", no_argument, NULL, 'q' },
		{ "poll", no_argument, NULL, 'p' },	   { "verify", no_argument, NULL, 'v' },
		{ "msecs", required_argument, NULL, 'm' },
		{ "think-us", required_argument, NULL, 't' },
		{ "flush", required_argument, NULL, 'f' },
		{ "discard", required_argument, NULL, 'c' },
		{ "rate", required_argument, NULL, 'a' },
		{ "patience", required_argument, NULL, 'w' },
		{ "indirect", no_argument, NULL, 'i' },	   { "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int opt;

	*o = (struct options){
		.depth = 1, .bs_bytes = 4096, .read_percent = 100, .msecs = 2000, .seed = 1,
		.patience_ms = 5000,
	};
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		uint64_t num = optarg ? strtoull(optarg, NULL, 0) : 0;

		switch (opt) {
		case 'd': o->depth = (unsigned)num; break;
		case 'b': o->bs_bytes = (unsigned)num; break;
		case 'r': o->read_percent = (unsigned)num; break;
		case 's': o->msecs = (unsigned)num * 1000; break;
		case 'm': o->msecs = (unsigned)num; break;
		case 'o': o->ops = num; break;
		case 'n': o->span_bytes = num; break;
		case 'e': o->seed = num; break;
		case 't': o->think_us = (unsigned)Q_MIN(num, 999999u); break;
		case 'f': o->flush_percent = (unsigned)Q_MIN(num, 101u); break;
		case 'c': o->discard_percent = (unsigned)Q_MIN(num, 101u); break;
		case 'a': o->rate = (unsigned)Q_MIN(num, 1000000u); break;
		case 'w': o->patience_ms = (unsigned)Q_MIN(num, 3600u) * 1000; break;
		case 'q': o->seq = true; break;
		case 'p': o->poll = true; break;
		case 'v': o->verify = true; break;
		case 'i': o->indirect = true; break;
		case 'h': usage(stdout); exit(EXIT_OK);
		default: return false;
		}
	}
	o->socket = argv[optind];
	/* A chain of 3 descriptors a request, unless indirect. */
	unsigned most = o->indirect ? RING_NUM : RING_NUM / 3;
	return o->socket && !argv[optind + 1] && o->depth >= 1 && o->depth <= most &&
	       o->bs_bytes >= 512 && o->bs_bytes % 512 == 0 && o->bs_bytes <= 65536 &&
	       o->read_percent <= 100 && o->flush_percent + o->discard_percent <= 100 &&
	       (!o->rate || o->depth == 1) && o->patience_ms > 0;
}

int main(int argc, char **argv)
{
	static struct client c = { .kick_fd = -1, .call_fd = -1 };

	if (!parse(argc, argv, &c.opt)) {
		usage(stderr);
		return EXIT_USAGE;
	}
	int r = set_up(&c);
	if (r != 0) {
		fprintf(stderr, "vublk: %s: set-up failed (%d%s%s)\n", c.opt.socket, r,
			r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
		tear_down(&c);
		return EXIT_PEER;
	}
	bool ok = !c.opt.verify || sweep(&c, true);
	qhist_reset(&c.lat);
	c.ended = c.issued = 0;
	memset(c.ended_of, 0, sizeof(c.ended_of));
	uint64_t start = qnow_ns();
	ok = ok && run(&c);
	uint64_t took = qnow_ns() - start;
	uint64_t ended = c.ended;
	struct qhist lat = c.lat;
	ok = ok && (!c.opt.verify || sweep(&c, false));
	c.lat = lat;
	c.ended = ended;
	report(&c, took);
	bool data_ok = c.errors == 0 && c.mismatches == 0;
	unsigned out = qdriver_outstanding(&c.drv);
	tear_down(&c);
	if (!ok)
		fprintf(stderr, "vublk: %s: the back end %s, %u requests out\n", c.opt.socket,
			c.broke, out);
	return !ok ? EXIT_PEER : data_ok ? EXIT_OK : EXIT_DATA;
}
