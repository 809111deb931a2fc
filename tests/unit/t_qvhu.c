/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qvhu.h: decoders, and messages through a socket whose other end does as it likes. */
#include "lib/qvhu.h"

#include <errno.h>
#include <sys/socket.h>

#include "lib/qfd.h"
#include "tests/unit/fixture.h"

#define U32(lo, hi) ((uint64_t)(lo) | (uint64_t)(hi) << 32)

enum decoder { D_U64, D_STATE, D_ADDR, D_TABLE, D_REG, D_INFLIGHT, D_CONFIG };

static bool decode(enum decoder d, const struct qvhu_msg *m)
{
	uint64_t u64;
	struct qvhu_vring_state state;
	struct qvhu_vring_addr addr;
	struct qvhu_mem_region regions[QVHU_MEM_REGIONS_MAX];
	struct qvhu_inflight inflight;
	unsigned n = 0;
	uint32_t off = 0, size = 0;
	const uint8_t *data = NULL;

	switch (d) {
	case D_U64:
		return qvhu_get_u64(m, &u64);
	case D_STATE:
		return qvhu_get_vring_state(m, &state);
	case D_ADDR:
		return qvhu_get_vring_addr(m, &addr);
	case D_TABLE:
		if (!qvhu_get_mem_table(m, regions, &n))
			return false;
		ck_assert_uint_eq(n, m->n_fds);
		return true;
	case D_REG:
		return qvhu_get_mem_reg(m, regions);
	case D_INFLIGHT:
		return qvhu_get_inflight(m, &inflight);
	case D_CONFIG:
		if (!qvhu_get_config(m, &off, &size, &data))
			return false;
		ck_assert(qspan_inside(off, size, QVHU_CONFIG_MAX));
		ck_assert_ptr_eq(data, m->payload + 12);
		return true;
	}
	return false;
}

static const struct {
	enum decoder d;
	uint32_t len;
	unsigned n_fds;
	bool want;
	uint64_t w[2];
} decode_rows[] = {
	{ D_U64, 8, 0, true }, { D_U64, 7, 0, false }, { D_U64, 9, 0, false },
	{ D_U64, 0, 0, false }, { D_U64, 512, 0, false },
	{ D_STATE, 8, 0, true }, { D_STATE, 4, 0, false }, { D_STATE, 12, 0, false },
	{ D_ADDR, 40, 0, true }, { D_ADDR, 36, 0, false }, { D_ADDR, 48, 0, false },
	{ D_REG, 40, 1, true }, { D_REG, 32, 1, false }, { D_REG, 48, 1, false },
	{ D_INFLIGHT, 20, 0, true }, { D_INFLIGHT, 24, 0, true }, { D_INFLIGHT, 22, 0, false },
	{ D_INFLIGHT, 16, 0, false }, { D_INFLIGHT, 28, 0, false },
	{ D_TABLE, 40, 1, true, { 1 } },
	{ D_TABLE, 264, 8, true, { 8 } },
	{ D_TABLE, 8, 0, false, { 0 } },
	{ D_TABLE, 7, 0, false, { 0 } },
	{ D_TABLE, 40, 0, false, { 1 } },
	{ D_TABLE, 40, 2, false, { 1 } },
	{ D_TABLE, 39, 1, false, { 1 } },
	{ D_TABLE, 264, 1, false, { 1 } },	/* all eight slots sent */
	{ D_TABLE, 296, 8, false, { 9 } },
	{ D_TABLE, 8, 8, false, { 0x08000000 } },	/* times 32 is 2^32 */
	{ D_CONFIG, 13, 0, true, { U32(0, 1) } },
	{ D_CONFIG, 13, 0, true, { U32(255, 1), 1 } },
	{ D_CONFIG, 268, 0, true, { U32(0, 256) } },
	{ D_CONFIG, 12, 0, false, { U32(0, 0) } },
	{ D_CONFIG, 12, 0, false, { U32(0, 1) } },
	{ D_CONFIG, 14, 0, false, { U32(0, 1) } },
	{ D_CONFIG, 13, 0, false, { U32(256, 1) } },
	{ D_CONFIG, 13, 0, false, { U32(0, 1), 2 } },
	{ D_CONFIG, 269, 0, false, { U32(0, 257) } },
	{ D_CONFIG, 268, 0, false, { U32(1, 256) } },
	{ D_CONFIG, 11, 0, false, { U32(0, UINT32_MAX) } },	/* 12 + size wraps to 11 */
	{ D_CONFIG, 28, 0, false, { U32(UINT32_MAX - 7, 16) } },
};

START_TEST(decode_row)
{
	struct qvhu_msg m = { .hdr.len_bytes = decode_rows[_i].len,
			      .n_fds = decode_rows[_i].n_fds };

	memcpy(m.payload, decode_rows[_i].w, sizeof(decode_rows[_i].w));
	ck_assert_int_eq(decode(decode_rows[_i].d, &m), decode_rows[_i].want);
}
END_TEST

START_TEST(decoded_fields)
{
	const uint64_t region[] = { 0, 1, 2, 3, 4 };
	const uint64_t addr[] = { U32(5, 6), 7, 8, 9, 10 };
	const uint64_t inflight[] = { 11, 12, 13 | 14 << 16 };
	struct qvhu_msg m = { .hdr.len_bytes = 40 };
	struct qvhu_mem_region r;
	struct qvhu_vring_addr a;
	struct qvhu_inflight in;

	memcpy(m.payload, region, sizeof(region));
	ck_assert(qvhu_get_mem_reg(&m, &r));
	ck_assert(r.gpa == 1 && r.len_bytes == 2 && r.user_addr == 3 && r.fd_off == 4);
	memcpy(m.payload, addr, sizeof(addr));
	ck_assert(qvhu_get_vring_addr(&m, &a));
	ck_assert(a.index == 5 && a.flags == 6 && a.desc == 7 && a.used == 8 && a.avail == 9);
	ck_assert_uint_eq(a.log, 10);
	m.hdr.len_bytes = 24;
	memcpy(m.payload, inflight, sizeof(inflight));
	ck_assert(qvhu_get_inflight(&m, &in));
	ck_assert(in.mmap_len == 11 && in.mmap_off == 12);
	ck_assert(in.n_queues == 13 && in.queue_size == 14);
}
END_TEST

START_TEST(names)
{
	ck_assert_str_eq(qvhu_req_str(QVHU_GET_FEATURES), "GET_FEATURES");
	ck_assert_str_eq(qvhu_req_str(QVHU_GET_STATUS), "GET_STATUS");
	ck_assert_str_eq(qvhu_req_str(0), "unknown request");
	ck_assert_str_eq(qvhu_req_str(6), "unknown request");
	ck_assert_str_eq(qvhu_req_str(UINT32_MAX), "unknown request");
}
END_TEST

static void pair(int sv[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
}

static uint64_t soon(unsigned ms)
{
	return qnow_ns() + ms * Q_NSEC_PER_MSEC;
}

START_TEST(round_trip)
{
	const struct qvhu_hdr hdr = { .req = 77, .flags = 9, .len_bytes = QVHU_PAYLOAD_MAX };
	uint8_t payload[QVHU_PAYLOAD_MAX];
	struct qvhu_msg m;
	int sv[2], fds[QVHU_MEM_REGIONS_MAX];

	pair(sv);
	for (unsigned i = 0; i < QVHU_MEM_REGIONS_MAX; i++)
		fds[i] = qfd_eventfd();
	for (unsigned i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7);
	ck_assert_int_eq(qvhu_recv(sv[1], &m, 0), QVHU_AGAIN);
	ck_assert_int_eq(qvhu_send(sv[0], &hdr, payload, fds, QVHU_MEM_REGIONS_MAX, 0), QVHU_OK);
	ck_assert_int_eq(qvhu_send(sv[0], &(struct qvhu_hdr){ .req = 78 }, NULL, NULL, 0, 0),
			 QVHU_OK);
	ck_assert_int_eq(qvhu_recv(sv[1], &m, 0), QVHU_OK);
	ck_assert_mem_eq(&m.hdr, &hdr, sizeof(hdr));
	ck_assert_mem_eq(m.payload, payload, sizeof(payload));
	ck_assert_uint_eq(m.n_fds, QVHU_MEM_REGIONS_MAX);
	/* One is taken, the others are the message's. */
	int taken = m.fds[3];
	m.fds[3] = -1;
	qvhu_msg_fini(&m);
	qvhu_msg_fini(&m);
	qfd_event_signal(taken);
	ck_assert_uint_eq(qfd_event_clear(fds[3]), 1);
	qfd_close(&taken);
	ck_assert_int_eq(qvhu_recv(sv[1], &m, 0), QVHU_OK);
	ck_assert_uint_eq(m.hdr.req, 78);
	for (unsigned i = 0; i < QVHU_MEM_REGIONS_MAX; i++)
		qfd_close(&fds[i]);
	qfd_close(&sv[0]);
	ck_assert_int_eq(qvhu_recv(sv[1], &m, soon(1000)), QVHU_CLOSED);
	qfd_close(&sv[1]);
}
END_TEST

/* What stands in the socket, how many descriptors come with its first and its last byte, and what
 * it is. */
static const struct {
	unsigned bytes, fds_first, fds_last;
	uint32_t len;
	bool hang_up;
	int want;
} recv_rows[] = {
	{ 20, 8, 0, 8, false, QVHU_OK },
	{ 0, 0, 0, 0, false, QVHU_TIMEOUT },
	{ 11, 1, 0, 8, false, QVHU_TIMEOUT },
	{ 12, 1, 0, 8, false, QVHU_TIMEOUT },
	{ 19, 1, 0, 8, false, QVHU_TIMEOUT },
	{ 0, 0, 0, 0, true, QVHU_CLOSED },
	{ 5, 1, 0, 0, true, QVHU_CLOSED },
	{ 19, 1, 0, 8, true, QVHU_CLOSED },
	{ 12, 9, 0, 0, false, QVHU_FAULT },
	{ 12, 32, 0, 0, false, QVHU_FAULT },
	{ 12, 0, 1, 0, false, QVHU_OK },	/* the kernel hands both pieces over at once */
	{ 20, 0, 1, 8, false, QVHU_FAULT },
	{ 20, 1, 1, 8, false, QVHU_FAULT },
	{ 12, 1, 0, 513, false, QVHU_FAULT },
	{ 12, 1, 0, UINT32_MAX, false, QVHU_FAULT },
};

START_TEST(recv_row)
{
	const uint32_t w[5] = { 1, 1, recv_rows[_i].len };
	unsigned bytes = recv_rows[_i].bytes, last = recv_rows[_i].fds_last ? 1 : 0;
	int sv[2], fds[QFD_PASS_MAX], event = qfd_eventfd();
	struct qvhu_msg m;

	pair(sv);
	for (unsigned i = 0; i < QFD_PASS_MAX; i++)
		fds[i] = event;
	if (bytes > last)
		ck_assert_int_eq(qfd_send(sv[0], w, bytes - last, fds, recv_rows[_i].fds_first),
				 bytes - last);
	if (last)
		ck_assert_int_eq(qfd_send(sv[0], (const char *)w + bytes - 1, 1, fds,
					  recv_rows[_i].fds_last), 1);
	if (recv_rows[_i].hang_up)
		qfd_close(&sv[0]);
	ck_assert_int_eq(qvhu_recv(sv[1], &m, soon(20)), recv_rows[_i].want);
	if (recv_rows[_i].want == QVHU_OK)
		qvhu_msg_fini(&m);
	qfd_close(&event);
	qfd_close(&sv[0]);
	qfd_close(&sv[1]);
}
END_TEST

/* A peer that does not read, and one that has gone: said, within the time given, and no SIGPIPE. */
START_TEST(send_to_the_deaf)
{
	const struct qvhu_hdr hdr = { .req = 1, .flags = 1, .len_bytes = 512 };
	uint8_t payload[512] = { 0 };
	int sv[2], r = QVHU_OK;

	pair(sv);
	for (unsigned i = 0; r == QVHU_OK && i < 100000; i++)
		r = qvhu_send(sv[0], &hdr, payload, NULL, 0, 0);
	ck_assert_int_eq(r, QVHU_TIMEOUT);
	uint64_t until = soon(30);
	ck_assert_int_eq(qvhu_send(sv[0], &hdr, payload, NULL, 0, until), QVHU_TIMEOUT);
	ck_assert_uint_ge(qnow_ns(), until);
	qfd_close(&sv[1]);
	ck_assert_int_eq(qvhu_send(sv[0], &hdr, payload, NULL, 0, soon(1000)), QVHU_CLOSED);
	qfd_close(&sv[0]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qvhu");
	TCase *tc = fixture_case(s, "codec");

	tcase_add_loop_test(tc, decode_row, 0, Q_ARRAY_LEN(decode_rows));
	tcase_add_test(tc, decoded_fields);
	tcase_add_test(tc, names);
	tcase_add_test(tc, round_trip);
	tcase_add_loop_test(tc, recv_row, 0, Q_ARRAY_LEN(recv_rows));
	tcase_add_test(tc, send_to_the_deaf);
	return fixture_main(s);
}
