/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block requests cut into parts by the driver. Every part is an allocation of its own, so that a
 * sanitizer sees the first byte beside it.
 *
 * Input: device flags, number of readable and of writable parts, a size code for each, then the
 * readable bytes.
 */
#include <linux/virtio_blk.h>
#include <stdlib.h>

#include "lib/qblk.h"
#include "tests/fuzz/fuzz.h"

#define CAPACITY 4096ull
#define PARTS_MAX 12u

static const uint16_t sizes[] = {
	1, 2, 4, 7, 8, 15, 16, 17, 20, 32, 496, 511, 512, 513, 1024, 4096,
};

/* The parts as they were before the parser cut them. */
struct parts {
	struct iovec was[2 * PARTS_MAX], iov[2 * PARTS_MAX];
	struct qring_chain c;
};

static void make_parts(struct fuzz_in *in, struct parts *p)
{
	p->c = (struct qring_chain){
		.head = 1,
		.n_out = fuzz_u8(in) % (PARTS_MAX + 1),
	};
	p->c.n_in = fuzz_u8(in) % (PARTS_MAX + 1);
	for (unsigned i = 0; i < p->c.n_out + p->c.n_in; i++) {
		size_t len = sizes[fuzz_u8(in) % Q_ARRAY_LEN(sizes)];

		p->iov[i] = (struct iovec){ .iov_base = calloc(1, len), .iov_len = len };
		qassert(p->iov[i].iov_base);
		*(i < p->c.n_out ? &p->c.out_bytes : &p->c.in_bytes) += len;
	}
	for (unsigned i = 0; i < p->c.n_out; i++)
		fuzz_bytes(in, p->iov[i].iov_base, p->iov[i].iov_len);
	memcpy(p->was, p->iov, sizeof(p->was));
}

static void free_parts(struct parts *p)
{
	for (unsigned i = 0; i < p->c.n_out + p->c.n_in; i++)
		free(p->was[i].iov_base);
}

/* True when [at, at + len) lies in a part of the right side. */
static bool inside(const struct parts *p, const void *at, size_t len, bool writable)
{
	unsigned from = writable ? p->c.n_out : 0;
	unsigned to = writable ? p->c.n_out + p->c.n_in : p->c.n_out;

	for (unsigned i = from; i < to; i++) {
		uint64_t off = (uint64_t)((const char *)at - (const char *)p->was[i].iov_base);

		if (qspan_inside(off, len, p->was[i].iov_len))
			return true;
	}
	return false;
}

static void check_ok(const struct qblk_dev *dev, const struct parts *p, const struct qblk_req *req)
{
	bool range = req->op != QBLK_FLUSH && req->op != QBLK_GET_ID;
	bool changes = range && req->op != QBLK_READ;
	uint64_t sum = 0;

	qassert(!changes || !dev->read_only);
	qassert(!range || (req->len_bytes > 0 && req->len_bytes % Q_SECTOR_BYTES == 0));
	qassert(!range || qspan_inside(req->sector, req->len_bytes / Q_SECTOR_BYTES, CAPACITY));
	for (unsigned i = 0; i < req->n_iov; i++) {
		const struct iovec *v = &req->iov[i];

		qassert(v->iov_len > 0);
		qassert(inside(p, v->iov_base, v->iov_len, req->op != QBLK_WRITE));
		sum += v->iov_len;
	}
	qassert(sum == req->len_bytes || (changes && req->op != QBLK_WRITE && sum == 0));
	if (req->op == QBLK_GET_ID)
		qassert(qblk_get_id(dev, req) == VIRTIO_BLK_S_OK);
	for (unsigned i = 0; req->op == QBLK_READ && i < req->n_iov; i++)
		memset(req->iov[i].iov_base, 0xee, req->iov[i].iov_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	uint8_t flags = fuzz_u8(&in);
	struct qblk_dev dev = {
		.capacity_sectors = CAPACITY, .read_only = flags & 1, .discard = flags & 2,
		.write_zeroes = flags & 4, .serial = "fuzz",
	};
	struct parts p = { 0 };
	struct qblk_req req;

	make_parts(&in, &p);
	enum qblk_verdict v = qblk_parse(&dev, &p.c, p.iov, &req);
	qassert(req.head == 1);
	qassert((v == QBLK_BROKEN) == (p.c.out_bytes < 16 || p.c.in_bytes == 0));
	if (v == QBLK_OK)
		check_ok(&dev, &p, &req);
	if (v != QBLK_BROKEN) {
		uint8_t status = v == QBLK_OK ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;

		qassert(inside(&p, req.status, 1, true));
		qassert(qblk_done(&req, status) <= p.c.in_bytes);
		qassert(*req.status == status);
	}
	free_parts(&p);
	return 0;
}
