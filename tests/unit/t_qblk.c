/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/qblk.h: every row is a request as a byte stream, given in one piece, cut into odd pieces,
 * byte by byte, and with the header on its own; what comes out must be the same each time.
 */
#include "lib/qblk.h"

#include <endian.h>
#include <linux/virtio_blk.h>

#include "tests/unit/fixture.h"

#define CAPACITY 1000ull
#define STREAM_BYTES 6000u
#define HEADER 16u

enum dev_flag { RO = 1, NO_DISCARD = 2, NO_ZEROES = 4 };

/* The readable and the writable stream, each between guards of its own. */
static uint8_t out[STREAM_BYTES], in[STREAM_BYTES];

static const struct req_row {
	const char *what;
	uint32_t type;
	uint64_t sector;
	uint32_t out_data, in_data;	/* bytes besides header and status */
	struct { uint64_t sector; uint32_t n, flags; } seg;
	unsigned dev;
	enum qblk_verdict want;
	enum qblk_op op;
	uint64_t want_sector, want_len;
} req_rows[] = {
	{ "read", VIRTIO_BLK_T_IN, 5, 0, 512, .op = QBLK_READ, .want_sector = 5, .want_len = 512 },
	{ "read, several sectors", VIRTIO_BLK_T_IN, 0, 0, 4096, .op = QBLK_READ, .want_len = 4096 },
	{ "read, the last sector", VIRTIO_BLK_T_IN, 999, 0, 512, .op = QBLK_READ,
	  .want_sector = 999, .want_len = 512 },
	{ "read, one too far", VIRTIO_BLK_T_IN, 1000, 0, 512, .want = QBLK_IOERR },
	{ "read, ends too far", VIRTIO_BLK_T_IN, 999, 0, 1024, .want = QBLK_IOERR },
	{ "read, sector wraps", VIRTIO_BLK_T_IN, UINT64_MAX, 0, 1024, .want = QBLK_IOERR },
	{ "read, bytes wrap", VIRTIO_BLK_T_IN, UINT64_MAX / 512 + 1, 0, 512, .want = QBLK_IOERR },
	{ "read, sector wraps to 0", VIRTIO_BLK_T_IN, UINT64_MAX, 0, 512, .want = QBLK_IOERR },
	{ "read nothing", VIRTIO_BLK_T_IN, 5, 0, 0, .want = QBLK_IOERR },
	{ "read, a byte short", VIRTIO_BLK_T_IN, 5, 0, 511, .want = QBLK_IOERR },
	{ "read, a byte long", VIRTIO_BLK_T_IN, 5, 0, 513, .want = QBLK_IOERR },
	{ "read with data to write", VIRTIO_BLK_T_IN, 5, 512, 512, .want = QBLK_IOERR },
	{ "read from a read-only device", VIRTIO_BLK_T_IN, 5, 0, 512, .dev = RO, .op = QBLK_READ,
	  .want_sector = 5, .want_len = 512 },
	{ "write", VIRTIO_BLK_T_OUT, 5, 1024, 0, .op = QBLK_WRITE, .want_sector = 5,
	  .want_len = 1024 },
	{ "write to a read-only device", VIRTIO_BLK_T_OUT, 5, 512, 0, .dev = RO,
	  .want = QBLK_IOERR },
	{ "write, one too far", VIRTIO_BLK_T_OUT, 1000, 512, 0, .want = QBLK_IOERR },
	{ "write nothing", VIRTIO_BLK_T_OUT, 5, 0, 0, .want = QBLK_IOERR },
	{ "write, odd length", VIRTIO_BLK_T_OUT, 5, 100, 0, .want = QBLK_IOERR },
	{ "write with room to read", VIRTIO_BLK_T_OUT, 5, 512, 512, .want = QBLK_IOERR },
	{ "flush", VIRTIO_BLK_T_FLUSH, 0, 0, 0, .op = QBLK_FLUSH },
	{ "flush of a read-only device", VIRTIO_BLK_T_FLUSH, 0, 0, 0, .dev = RO, .op = QBLK_FLUSH },
	{ "flush with a sector", VIRTIO_BLK_T_FLUSH, 77777, 0, 0, .op = QBLK_FLUSH,
	  .want_sector = 77777 },
	{ "flush with data, which is ignored", VIRTIO_BLK_T_FLUSH, 0, 512, 0, .op = QBLK_FLUSH },
	{ "flush with room", VIRTIO_BLK_T_FLUSH, 0, 0, 512, .op = QBLK_FLUSH },
	{ "id", VIRTIO_BLK_T_GET_ID, 0, 0, 20, .op = QBLK_GET_ID, .want_len = 20 },
	{ "id, short", VIRTIO_BLK_T_GET_ID, 0, 0, 1, .op = QBLK_GET_ID, .want_len = 1 },
	{ "id, long", VIRTIO_BLK_T_GET_ID, 0, 0, 4096, .op = QBLK_GET_ID, .want_len = 4096 },
	{ "id, too long", VIRTIO_BLK_T_GET_ID, 0, 0, 4097, .want = QBLK_IOERR },
	{ "id, no room", VIRTIO_BLK_T_GET_ID, 0, 0, 0, .want = QBLK_IOERR },
	{ "id with data", VIRTIO_BLK_T_GET_ID, 0, 1, 20, .want = QBLK_IOERR },
	{ "discard", VIRTIO_BLK_T_DISCARD, 0, 16, 0, { 10, 20, 0 }, .op = QBLK_DISCARD,
	  .want_sector = 10, .want_len = 20 * 512 },
	{ "discard all", VIRTIO_BLK_T_DISCARD, 0, 16, 0, { 0, 1000, 0 }, .op = QBLK_DISCARD,
	  .want_len = 1000 * 512 },
	{ "discard too far", VIRTIO_BLK_T_DISCARD, 0, 16, 0, { 1, 1000, 0 }, .want = QBLK_IOERR },
	{ "discard wraps", VIRTIO_BLK_T_DISCARD, 0, 16, 0, { UINT64_MAX, 2, 0 },
	  .want = QBLK_IOERR },
	{ "discard longest", VIRTIO_BLK_T_DISCARD, 0, 16, 0, { 0, UINT32_MAX, 0 },
	  .want = QBLK_IOERR },
	{ "discard nothing", VIRTIO_BLK_T_DISCARD, 0, 16, 0, { 1, 0, 0 }, .want = QBLK_IOERR },
	{ "discard, unmap", VIRTIO_BLK_T_DISCARD, 0, 16, 0, { 1, 1, 1 }, .want = QBLK_UNSUPP },
	{ "discard, flag", VIRTIO_BLK_T_DISCARD, 0, 16, 0, { 1, 1, 2 }, .want = QBLK_UNSUPP },
	{ "discard, two segments", VIRTIO_BLK_T_DISCARD, 0, 32, 0, { 1, 1, 0 },
	  .want = QBLK_IOERR },
	{ "discard, half a segment", VIRTIO_BLK_T_DISCARD, 0, 8, 0, { 1, 1, 0 },
	  .want = QBLK_IOERR },
	{ "discard, no segment", VIRTIO_BLK_T_DISCARD, 0, 0, 0, .want = QBLK_IOERR },
	{ "discard with room", VIRTIO_BLK_T_DISCARD, 0, 16, 1, { 1, 1, 0 }, .want = QBLK_IOERR },
	{ "discard, read-only", VIRTIO_BLK_T_DISCARD, 0, 16, 0, { 1, 1, 0 }, RO, QBLK_IOERR },
	{ "discard, not agreed", VIRTIO_BLK_T_DISCARD, 0, 16, 0, { 1, 1, 0 }, NO_DISCARD,
	  QBLK_UNSUPP },
	{ "zeroes", VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0, { 10, 20, 0 }, NO_DISCARD,
	  .op = QBLK_WRITE_ZEROES, .want_sector = 10, .want_len = 20 * 512 },
	{ "zeroes, unmap", VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0, { 10, 20, 1 },
	  .op = QBLK_WRITE_ZEROES, .want_sector = 10, .want_len = 20 * 512 },
	{ "zeroes, flag", VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0, { 1, 1, 3 }, .want = QBLK_UNSUPP },
	{ "zeroes, read-only", VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0, { 1, 1, 0 }, RO, QBLK_IOERR },
	{ "zeroes, not agreed", VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0, { 1, 1, 0 }, NO_ZEROES,
	  QBLK_UNSUPP },
	{ "unknown", 0x1234, 0, 0, 0, .want = QBLK_UNSUPP },
	{ "unknown with data", 0xffffffff, 0, 512, 512, .want = QBLK_UNSUPP },
	{ "read with a high bit", 0x80000000, 0, 0, 512, .want = QBLK_UNSUPP },
};

static struct qblk_dev device(unsigned flags)
{
	return (struct qblk_dev){
		.capacity_sectors = CAPACITY, .read_only = flags & RO,
		.discard = !(flags & NO_DISCARD), .write_zeroes = !(flags & NO_ZEROES),
		.serial = "serial of 20 bytes!!",
	};
}

/* Cuts [base, base + len) into parts of @first and then of @piece bytes. Returns how many. */
static unsigned cut(struct iovec *iov, uint8_t *base, size_t len, size_t first, size_t piece)
{
	unsigned n = 0;

	for (size_t at = 0, take = first; at < len; at += take, take = piece) {
		take = Q_MIN(take, len - at);
		iov[n++] = (struct iovec){ .iov_base = base + at, .iov_len = take };
	}
	return n;
}

static void put_request(const struct req_row *row)
{
	uint32_t type = htole32(row->type), ioprio = htole32(0xabcd4003);
	uint64_t sector = htole64(row->sector);
	uint64_t seg_sector = htole64(row->seg.sector);
	uint32_t seg_n = htole32(row->seg.n), seg_flags = htole32(row->seg.flags);

	memset(out, 0, sizeof(out));
	memset(in, 0x77, sizeof(in));
	memcpy(out, &type, 4);
	memcpy(out + 4, &ioprio, 4);
	memcpy(out + 8, &sector, 8);
	memcpy(out + 16, &seg_sector, 8);
	memcpy(out + 24, &seg_n, 4);
	memcpy(out + 28, &seg_flags, 4);
}

/* The data parts are [base, base + len), in order, without an empty one. */
static void check_data(const struct qblk_req *req, const uint8_t *base)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < req->n_iov; i++) {
		ck_assert_ptr_eq(req->iov[i].iov_base, base + at);
		ck_assert_uint_gt(req->iov[i].iov_len, 0);
		at += req->iov[i].iov_len;
	}
	ck_assert_uint_eq(at, req->len_bytes);
}

static void check_request(const struct req_row *row, const struct qblk_req *req)
{
	ck_assert_int_eq(req->op, row->op);
	ck_assert_uint_eq(req->sector, row->want_sector);
	ck_assert_uint_eq(req->len_bytes, row->want_len);
	ck_assert_uint_eq(req->ioprio, 0x4003);
	ck_assert_int_eq(req->unmap, row->seg.flags == 1);
	if (req->op == QBLK_READ || req->op == QBLK_GET_ID)
		check_data(req, in);
	else if (req->op == QBLK_WRITE)
		check_data(req, out + HEADER);
	else
		ck_assert_uint_eq(req->n_iov, 0);
}

/* Answers it and looks at what the driver would see. */
static void check_answer(const struct req_row *row, const struct qblk_req *req)
{
	bool fills = row->op == QBLK_READ || row->op == QBLK_GET_ID;
	uint32_t bare = row->in_data ? 0 : 1;	/* only the status was written */

	ck_assert_ptr_eq(req->status, in + row->in_data);
	ck_assert_uint_eq(qblk_done(req, VIRTIO_BLK_S_IOERR), bare);
	ck_assert_uint_eq(*req->status, VIRTIO_BLK_S_IOERR);
	if (row->want == QBLK_OK) {
		uint32_t want = fills ? row->in_data + 1 : bare;

		ck_assert_uint_eq(qblk_done(req, VIRTIO_BLK_S_OK), want);
		ck_assert_uint_eq(*req->status, VIRTIO_BLK_S_OK);
	}
	ck_assert_uint_eq(req->status[1], 0x77);
	if (row->in_data)
		ck_assert_uint_eq(req->status[-1], 0x77);
}

START_TEST(req_row)
{
	static const struct { size_t first, piece; } cuts[] = {
		{ STREAM_BYTES, 1 }, { HEADER, STREAM_BYTES }, { 1, 1 }, { 7, 7 }, { 15, 2 },
		{ 17, 513 }, { 3, STREAM_BYTES },
	};
	const struct req_row *row = &req_rows[_i];
	struct qblk_dev dev = device(row->dev);

	for (unsigned k = 0; k < Q_ARRAY_LEN(cuts); k++) {
		static struct iovec iov[2 * STREAM_BYTES];
		struct qring_chain c = { .head = 3 };
		struct qblk_req req;

		put_request(row);
		c.out_bytes = HEADER + row->out_data;
		c.in_bytes = row->in_data + 1;
		c.n_out = cut(iov, out, c.out_bytes, cuts[k].first, cuts[k].piece);
		c.n_in = cut(iov + c.n_out, in, c.in_bytes, cuts[k].first, cuts[k].piece);
		enum qblk_verdict v = qblk_parse(&dev, &c, iov, &req);
		ck_assert_msg(v == row->want, "%s, cut %u: %d", row->what, k, v);
		ck_assert_uint_eq(req.head, 3);
		if (v == QBLK_OK)
			check_request(row, &req);
		check_answer(row, &req);
	}
}
END_TEST

/* What is no request at all: bytes on each side. */
static const struct { uint32_t out_bytes, in_bytes; } broken_rows[] = {
	{ 0, 0 }, { 0, 1 }, { 0, 513 }, { 1, 1 }, { 15, 1 }, { 16, 0 }, { 528, 0 },
};

START_TEST(broken_row)
{
	struct qblk_dev dev = device(0);
	struct iovec iov[STREAM_BYTES];
	struct qring_chain c = {
		.head = 9, .out_bytes = broken_rows[_i].out_bytes,
		.in_bytes = broken_rows[_i].in_bytes,
	};
	struct qblk_req req;

	c.n_out = cut(iov, out, c.out_bytes, 5, 5);
	c.n_in = cut(iov + c.n_out, in, c.in_bytes, 5, 5);
	ck_assert_int_eq(qblk_parse(&dev, &c, iov, &req), QBLK_BROKEN);
	ck_assert_uint_eq(req.head, 9);
	ck_assert_ptr_null(req.status);
}
END_TEST

static const uint32_t id_lens[] = { 1, 19, 20, 21, 4096 };

START_TEST(id_of_length)
{
	struct req_row row = { .type = VIRTIO_BLK_T_GET_ID, .in_data = id_lens[_i] };
	struct qblk_dev dev = device(0);

	for (size_t piece = 1; piece < 25; piece += 6) {
		static struct iovec iov[STREAM_BYTES];
		struct qring_chain c = { .out_bytes = HEADER, .in_bytes = row.in_data + 1 };
		struct qblk_req req;

		put_request(&row);
		c.n_out = cut(iov, out, c.out_bytes, HEADER, 1);
		c.n_in = cut(iov + c.n_out, in, c.in_bytes, piece, piece);
		ck_assert_int_eq(qblk_parse(&dev, &c, iov, &req), QBLK_OK);
		ck_assert_uint_eq(qblk_get_id(&dev, &req), VIRTIO_BLK_S_OK);
		ck_assert_mem_eq(in, dev.serial, Q_MIN(20u, row.in_data));
		for (unsigned i = 20; i < row.in_data; i++)
			ck_assert_uint_eq(in[i], 0);
		ck_assert_uint_eq(in[row.in_data], 0x77);
	}
}
END_TEST

/* More bytes than a used element can say. */
START_TEST(longest_read)
{
	struct qblk_req req = { .op = QBLK_READ, .status = in, .in_bytes = 1ull << 40 };

	ck_assert_uint_eq(qblk_done(&req, VIRTIO_BLK_S_OK), UINT32_MAX);
	req.in_bytes = UINT32_MAX;
	ck_assert_uint_eq(qblk_done(&req, VIRTIO_BLK_S_OK), UINT32_MAX);
	req.in_bytes = UINT32_MAX - 1;
	ck_assert_uint_eq(qblk_done(&req, VIRTIO_BLK_S_OK), UINT32_MAX);
	req.in_bytes = UINT32_MAX - 2;
	ck_assert_uint_eq(qblk_done(&req, VIRTIO_BLK_S_OK), UINT32_MAX - 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qblk");
	TCase *tc = fixture_case(s, "requests");

	tcase_add_loop_test(tc, req_row, 0, Q_ARRAY_LEN(req_rows));
	tcase_add_loop_test(tc, broken_row, 0, Q_ARRAY_LEN(broken_rows));
	tcase_add_loop_test(tc, id_of_length, 0, Q_ARRAY_LEN(id_lens));
	tcase_add_test(tc, longest_read);
	return fixture_main(s);
}
