/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/qsnd_msg.h: a message as a row of bytes, cut into parts in many ways, read and filled in
 * pieces of many lengths; and the messages of a stream as one row with a clock in it.
 */
#include "lib/qsnd_msg.h"

#include <endian.h>

#include "tests/unit/fixture.h"

#define HDR 4u
#define STATUS 8u
#define HALF 600u

static uint8_t out[HALF + 1], in[HALF + 1];
static struct iovec iov[2 * HALF];

static const struct qsnd_dev dev = {
	.n_streams = 2,
	.streams = { { .direction = VIRTIO_SND_D_OUTPUT }, { .direction = VIRTIO_SND_D_INPUT } },
};

static unsigned cut(struct iovec *to, uint8_t *buf, size_t len, size_t first, size_t piece)
{
	unsigned n = 0;

	for (size_t at = 0, want = first; at < len; at += to[n++].iov_len, want = piece)
		to[n] = (struct iovec){ buf + at, Q_MIN(want, len - at) };
	return n;
}

/* A chain of so many bytes: @stream, a pattern, 0x77 where the device may write. */
static struct qring_chain chain(uint32_t stream, size_t n_out, size_t n_in, size_t first,
				size_t piece)
{
	struct qring_chain c = { .head = 5, .out_bytes = n_out, .in_bytes = n_in };

	for (unsigned i = 0; i < HALF; i++)
		out[i] = (uint8_t)(i * 7 + 1);
	stream = htole32(stream);
	memcpy(out, &stream, HDR);
	memset(in, 0x77, sizeof(in));
	c.n_out = cut(iov, out, n_out, first, piece);
	c.n_in = cut(iov + c.n_out, in, n_in, first, piece);
	return c;
}

static const struct { size_t first, piece; } cuts[] = {
	{ HALF, HALF }, { HDR, HALF }, { 1, 1 }, { 3, 5 }, { 7, 2 }, { 100, 37 }, { 5, HALF },
};

static const struct {
	const char *what;
	bool output;
	uint32_t stream;
	size_t n_out, n_in;
	enum qsnd_msg_verdict want;
	uint32_t data;
} parse_rows[] = {
	{ "playing", true, 0, HDR + 400, STATUS, QSND_MSG_OK, 400 },
	{ "recording", false, 1, HDR, 400 + STATUS, QSND_MSG_OK, 400 },
	{ "playing nothing", true, 0, HDR, STATUS, QSND_MSG_OK, 0 },
	{ "recording nothing", false, 1, HDR, STATUS, QSND_MSG_OK, 0 },
	{ "a byte", true, 0, HDR + 1, STATUS, QSND_MSG_OK, 1 },
	{ "playing on a stream that records", true, 1, HDR + 400, STATUS, QSND_MSG_IOERR },
	{ "recording on a stream that plays", false, 0, HDR, 400 + STATUS, QSND_MSG_IOERR },
	{ "no such stream", true, 2, HDR + 400, STATUS, QSND_MSG_IOERR },
	{ "nobody's stream", false, UINT32_MAX, HDR, 400 + STATUS, QSND_MSG_IOERR },
	{ "playing with room to record", true, 0, HDR + 400, STATUS + 1, QSND_MSG_IOERR },
	{ "recording with data to play", false, 1, HDR + 1, 400 + STATUS, QSND_MSG_IOERR },
	{ "no header", true, 0, 0, STATUS, QSND_MSG_BROKEN },
	{ "half a header", true, 0, HDR - 1, STATUS, QSND_MSG_BROKEN },
	{ "no status", true, 0, HDR + 400, 0, QSND_MSG_BROKEN },
	{ "half a status", false, 1, HDR, STATUS - 1, QSND_MSG_BROKEN },
};

static void check_status(const struct qsnd_msg *m, uint32_t status, uint32_t latency)
{
	struct virtio_snd_pcm_status w;

	memcpy(&w, in + m->in_bytes - STATUS, STATUS);
	ck_assert_uint_eq(le32toh(w.status), status);
	ck_assert_uint_eq(le32toh(w.latency_bytes), latency);
	ck_assert_uint_eq(in[m->in_bytes], 0x77);
}

START_TEST(parse_row)
{
	for (unsigned k = 0; k < Q_ARRAY_LEN(cuts); k++) {
		struct qring_chain c = chain(parse_rows[_i].stream, parse_rows[_i].n_out,
					     parse_rows[_i].n_in, cuts[k].first, cuts[k].piece);
		struct qsnd_msg m;
		enum qsnd_msg_verdict v = qsnd_msg_parse(&dev, parse_rows[_i].output, &c, iov, &m);

		ck_assert_msg(v == parse_rows[_i].want, "%s, cut %u: %d", parse_rows[_i].what, k,
			      v);
		ck_assert_uint_eq(m.head, 5);
		ck_assert_uint_eq(m.data_bytes, parse_rows[_i].data);
		if (v == QSND_MSG_BROKEN)
			continue;
		ck_assert_uint_eq(qsnd_msg_done(&m, VIRTIO_SND_S_IO_ERR, 3), STATUS);
		check_status(&m, VIRTIO_SND_S_IO_ERR, 3);
	}
}
END_TEST

/* Lengths of which no 32-bit number can tell the bytes written. */
START_TEST(too_long)
{
	struct qring_chain c = chain(0, HDR, STATUS, HALF, HALF);
	struct qsnd_msg m;

	c.out_bytes = 1ull << 32;
	ck_assert_int_eq(qsnd_msg_parse(&dev, true, &c, iov, &m), QSND_MSG_IOERR);
	ck_assert_uint_eq(m.data_bytes, 0);
	c = chain(1, HDR, STATUS, HALF, HALF);
	c.in_bytes = 1ull << 40;
	ck_assert_int_eq(qsnd_msg_parse(&dev, false, &c, iov, &m), QSND_MSG_IOERR);
}
END_TEST

START_TEST(read_in_pieces)
{
	static const uint32_t steps[] = { 1, 3, 64, 399, 400, 1000 };

	for (unsigned k = 0; k < Q_ARRAY_LEN(cuts); k++) {
		struct qring_chain c = chain(0, HDR + 400, STATUS, cuts[k].first, cuts[k].piece);
		uint8_t got[1001] = { 0 };
		struct qsnd_msg m;
		uint32_t at = 0, n;

		ck_assert_int_eq(qsnd_msg_parse(&dev, true, &c, iov, &m), QSND_MSG_OK);
		while ((n = qsnd_msg_read(&m, got + at, Q_MIN(steps[_i], 1000 - at))) > 0)
			at += n;
		ck_assert_uint_eq(at, 400);
		ck_assert_uint_eq(qsnd_msg_left(&m), 0);
		ck_assert_mem_eq(got, out + HDR, 400);
		ck_assert_uint_eq(qsnd_msg_done(&m, VIRTIO_SND_S_OK, 77), STATUS);
		check_status(&m, VIRTIO_SND_S_OK, 77);
	}
}
END_TEST

/* How much of it is recorded before it is given back. */
START_TEST(write_in_pieces)
{
	static const uint32_t recorded[] = { 0, 1, 250, 393, 399, 400 };
	uint8_t from[400];

	for (unsigned i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i * 3 + 9);
	for (unsigned k = 0; k < Q_ARRAY_LEN(cuts); k++) {
		struct qring_chain c = chain(1, HDR, 400 + STATUS, cuts[k].first, cuts[k].piece);
		struct qsnd_msg m;

		ck_assert_int_eq(qsnd_msg_parse(&dev, false, &c, iov, &m), QSND_MSG_OK);
		for (uint32_t at = 0; at < recorded[_i];)
			at += qsnd_msg_write(&m, from + at, Q_MIN(7u, recorded[_i] - at));
		ck_assert_uint_eq(qsnd_msg_done(&m, VIRTIO_SND_S_OK, 1), recorded[_i] + STATUS);
		ck_assert_mem_eq(in, from, recorded[_i]);
		for (unsigned i = recorded[_i]; i < Q_MIN(400u, recorded[_i] + STATUS); i++)
			ck_assert_uint_eq(in[i], 0);
		for (unsigned i = recorded[_i] + STATUS; i < 400; i++)
			ck_assert_uint_eq(in[i], 0x77);
		check_status(&m, VIRTIO_SND_S_OK, 1);
	}
}
END_TEST

/* ---- fifo ---- */

#define N_MSGS 4u

struct row {
	struct qsnd_fifo f;
	struct qsnd_msg m[N_MSGS];
	struct iovec iov[N_MSGS][2];
	uint32_t id[N_MSGS];
	uint8_t data[N_MSGS][100], status[N_MSGS][STATUS];
};

static void row_put(struct row *r, unsigned i, bool output, uint32_t len)
{
	struct qring_chain c = { .head = (uint16_t)i, .n_out = output ? 2 : 1,
				 .n_in = output ? 1 : 2 };
	static struct iovec parts[N_MSGS][3];

	r->id[i] = htole32(output ? 0 : 1);
	for (unsigned k = 0; k < 100; k++)
		r->data[i][k] = (uint8_t)(100 * i + k);
	parts[i][0] = (struct iovec){ &r->id[i], HDR };
	parts[i][1] = (struct iovec){ r->data[i], len };
	parts[i][2] = (struct iovec){ r->status[i], STATUS };
	c.out_bytes = HDR + (output ? len : 0);
	c.in_bytes = STATUS + (output ? 0 : len);
	if (!len) {
		parts[i][1] = parts[i][2];
		c.n_out = c.n_in = 1;
	}
	ck_assert_int_eq(qsnd_msg_parse(&dev, output, &c, parts[i], &r->m[i]), QSND_MSG_OK);
	qsnd_fifo_put(&r->f, &r->m[i]);
}

START_TEST(fifo_play)
{
	struct row r = { 0 };
	uint8_t got[400];

	ck_assert_uint_eq(qsnd_fifo_read(&r.f, got, 100), 0);
	row_put(&r, 0, true, 100);
	row_put(&r, 1, true, 0);
	row_put(&r, 2, true, 50);
	ck_assert_uint_eq(qsnd_fifo_left(&r.f), 150);
	ck_assert_uint_eq(qsnd_fifo_read(&r.f, got, 60), 60);
	/* The clock cannot be ahead of what was moved: it is not consumed. */
	ck_assert_ptr_null(qsnd_fifo_passed(&r.f, 100));
	ck_assert_uint_eq(qsnd_fifo_read(&r.f, got + 60, 400 - 60), 90);
	ck_assert_mem_eq(got, r.data[0], 100);
	ck_assert_mem_eq(got + 100, r.data[2], 50);
	/* Copied is not consumed. */
	ck_assert_ptr_null(qsnd_fifo_passed(&r.f, 99));
	ck_assert_ptr_eq(qsnd_fifo_passed(&r.f, 100), &r.m[0]);
	ck_assert_ptr_eq(qsnd_fifo_passed(&r.f, 100), &r.m[1]);
	ck_assert_ptr_null(qsnd_fifo_passed(&r.f, 149));
	/* What comes later goes on where it ended. */
	row_put(&r, 3, true, 10);
	ck_assert_uint_eq(qsnd_fifo_read(&r.f, got, 400), 10);
	ck_assert_ptr_eq(qsnd_fifo_passed(&r.f, 150), &r.m[2]);
	ck_assert_ptr_null(qsnd_fifo_passed(&r.f, 159));
	ck_assert_ptr_eq(qsnd_fifo_passed(&r.f, 160), &r.m[3]);
	ck_assert_ptr_null(qsnd_fifo_passed(&r.f, UINT64_MAX));
	ck_assert_uint_eq(r.f.n, 0);
	ck_assert_uint_eq(qsnd_fifo_left(&r.f), 0);
	row_put(&r, 0, true, 20);
	ck_assert_uint_eq(qsnd_fifo_read(&r.f, got, 400), 20);
	ck_assert_ptr_eq(qsnd_fifo_passed(&r.f, 180), &r.m[0]);
}
END_TEST

START_TEST(fifo_record)
{
	uint8_t from[400];
	struct row r = { 0 };

	memset(from, 0xa5, sizeof(from));
	row_put(&r, 0, false, 100);
	row_put(&r, 1, false, 100);
	ck_assert_uint_eq(qsnd_fifo_write(&r.f, from, 150), 150);
	ck_assert_ptr_eq(qsnd_fifo_passed(&r.f, 150), &r.m[0]);
	ck_assert_ptr_null(qsnd_fifo_passed(&r.f, 150));
	ck_assert_uint_eq(r.data[1][49], 0xa5);
	ck_assert_uint_eq(r.data[1][50], 150);
	ck_assert_uint_eq(qsnd_fifo_write(&r.f, from, 400), 50);
	ck_assert_uint_eq(qsnd_fifo_write(&r.f, from, 400), 0);
	ck_assert_ptr_eq(qsnd_fifo_passed(&r.f, 200), &r.m[1]);
}
END_TEST

START_TEST(fifo_flush)
{
	uint8_t got[400];
	struct row r = { 0 };

	row_put(&r, 0, true, 100);
	row_put(&r, 1, true, 100);
	row_put(&r, 2, true, 100);
	ck_assert_uint_eq(qsnd_fifo_read(&r.f, got, 150), 150);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_ptr_eq(qsnd_fifo_flush(&r.f), &r.m[i]);
	ck_assert_ptr_null(qsnd_fifo_flush(&r.f));
	ck_assert_uint_eq(r.f.put_bytes, 0);
	row_put(&r, 3, true, 10);
	ck_assert_uint_eq(qsnd_fifo_read(&r.f, got, 400), 10);
	ck_assert_ptr_eq(qsnd_fifo_passed(&r.f, 10), &r.m[3]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qsnd_msg");
	TCase *tc = fixture_case(s, "messages");

	tcase_add_loop_test(tc, parse_row, 0, Q_ARRAY_LEN(parse_rows));
	tcase_add_test(tc, too_long);
	tcase_add_loop_test(tc, read_in_pieces, 0, 6);
	tcase_add_loop_test(tc, write_in_pieces, 0, 6);
	tc = fixture_case(s, "fifo");
	tcase_add_test(tc, fifo_play);
	tcase_add_test(tc, fifo_record);
	tcase_add_test(tc, fifo_flush);
	return fixture_main(s);
}
