/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring: plain io_uring, the least that a program can do to read a file at random with a fixed
 * number of requests out: what a mediator is measured against. Same random numbers, same two clock
 * readings a request and same histogram as vublk; no second process.
 *
 * Exit status: 0 all well, 1 an I/O error, 2 usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qdef.h"
#include "lib/qfd.h"
#include "lib/qhist.h"

#define DEPTH_MAX 128u

struct reader {
	unsigned depth, msecs;
	uint32_t bs_bytes;
	uint64_t span_bytes;
	bool direct;
	const char *path;
	int fd;
	char *buf;
	struct io_uring ring;
	uint64_t start_ns[DEPTH_MAX];
	uint64_t rng, ended, enters;
	struct qhist lat;
};

static uint64_t next_random(struct reader *r)
{
	r->rng ^= r->rng >> 12;
	r->rng ^= r->rng << 25;
	r->rng ^= r->rng >> 27;
	return r->rng * 0x2545f4914f6cdd1dull;
}

static void issue(struct reader *r, unsigned slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);
	uint64_t block = next_random(r) % (r->span_bytes / r->bs_bytes);

	io_uring_prep_read(sqe, r->fd, r->buf + (size_t)slot * r->bs_bytes, r->bs_bytes,
			   block * r->bs_bytes);
	io_uring_sqe_set_data64(sqe, slot);
	r->start_ns[slot] = qnow_ns();
}

/* Takes what has completed, and issues as many again while @go. False on an I/O error. */
static bool reap(struct reader *r, bool go, unsigned *out)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&r->ring, &cqe) == 0) {
		unsigned slot = (unsigned)io_uring_cqe_get_data64(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&r->ring, cqe);
		if (res != (int)r->bs_bytes) {
			fprintf(stderr, "uring: a read gave %d\n", res);
			return false;
		}
		qhist_add(&r->lat, qnow_ns() - r->start_ns[slot]);
		r->ended++;
		if (go)
			issue(r, slot);
		else
			(*out)--;
	}
	return true;
}

static bool run(struct reader *r)
{
	uint64_t until = qnow_ns() + r->msecs * Q_NSEC_PER_MSEC;
	unsigned out = r->depth;

	for (unsigned i = 0; i < r->depth; i++)
		issue(r, i);
	while (out > 0) {
		if (io_uring_submit_and_wait(&r->ring, 1) < 0)
			return false;
		r->enters++;
		if (!reap(r, qnow_ns() < until, &out))
			return false;
	}
	return true;
}

static int set_up(struct reader *r)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};

	r->fd = open(r->path, O_RDONLY | O_CLOEXEC | (r->direct ? O_DIRECT : 0));
	if (r->fd < 0)
		return -errno;
	off_t size = lseek(r->fd, 0, SEEK_END);
	if (!r->span_bytes || r->span_bytes > (uint64_t)size)
		r->span_bytes = (uint64_t)size;
	if (r->span_bytes < r->bs_bytes)
		return -ENOSPC;
	r->buf = aligned_alloc(4096, (size_t)DEPTH_MAX * r->bs_bytes);
	if (!r->buf)
		return -ENOMEM;
	memset(r->buf, 0x5a, (size_t)DEPTH_MAX * r->bs_bytes);
	r->rng = 3;
	qhist_reset(&r->lat);
	int e = io_uring_queue_init_params(DEPTH_MAX, &r->ring, &p);
	if (e == -EINVAL) {
		/* A kernel before 6.1. */
		p = (struct io_uring_params){ 0 };
		e = io_uring_queue_init_params(DEPTH_MAX, &r->ring, &p);
	}
	return e;
}

static bool parse(int argc, char **argv, struct reader *r)
{
	static const struct option longs[] = {
		{ "depth", required_argument, NULL, 'd' }, { "bs", required_argument, NULL, 'b' },
		{ "msecs", required_argument, NULL, 'm' }, { "span", required_argument, NULL, 'n' },
		{ "direct", no_argument, NULL, 'D' },   { 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		uint64_t num = optarg ? strtoull(optarg, NULL, 0) : 0;

		switch (opt) {
		case 'd': r->depth = (unsigned)num; break;
		case 'b': r->bs_bytes = (uint32_t)num; break;
		case 'm': r->msecs = (unsigned)num; break;
		case 'n': r->span_bytes = num; break;
		case 'D': r->direct = true; break;
		default: return false;
		}
	}
	r->path = argv[optind];
	return r->path && !argv[optind + 1] && r->depth >= 1 && r->depth <= DEPTH_MAX &&
	       r->bs_bytes >= 512 && r->bs_bytes % 512 == 0 && r->bs_bytes <= 65536;
}

int main(int argc, char **argv)
{
	static struct reader r = { .depth = 32, .msecs = 1000, .bs_bytes = 4096 };

	if (!parse(argc, argv, &r)) {
		fputs("usage: uring [--depth N] [--bs BYTES] [--msecs N] [--span BYTES] [--direct] "
		      "FILE\n", stderr);
		return 2;
	}
	int e = set_up(&r);
	if (e < 0) {
		fprintf(stderr, "uring: %s: %s\n", r.path, strerror(-e));
		return 1;
	}
	uint64_t start = qnow_ns();
	bool ok = run(&r);
	uint64_t took = qnow_ns() - start;
	printf("{\"ops\": %llu, \"iops\": %.0f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
	       "\"max_us\": %.2f, \"enters\": %llu}\n",
	       (unsigned long long)r.ended, (double)r.ended * 1e9 / (double)took,
	       (double)qhist_quantile(&r.lat, 500) / 1e3, (double)qhist_quantile(&r.lat, 990) / 1e3,
	       (double)r.lat.max_ns / 1e3, (unsigned long long)r.enters);
	return ok ? 0 : 1;
}
