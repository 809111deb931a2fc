/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/qvhu_fe.h: against answers that were written down beforehand, sound and rotten; and against
 * our own back end with rings that move data.
 */
#include "lib/qvhu_fe.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "lib/qdriver.h"
#include "lib/qfd.h"
#include "lib/qvhu_be.h"
#include "tests/unit/fixture.h"

#define BIT30 QVHU_F_PROTOCOL_FEATURES
#define ALL (QVHU_PF_MQ | QVHU_PF_REPLY_ACK | QVHU_PF_CONFIG | QVHU_PF_INFLIGHT)
#define ANSWER 5u	/* version 1, reply */

/* ---- answers written down ---- */

struct answer {
	uint32_t req, flags, len;
	uint64_t w[4];
	unsigned n_fds;
};

static void answer(int sock, const struct answer *a)
{
	struct qvhu_hdr hdr = { .req = a->req, .flags = a->flags, .len_bytes = a->len };
	int fd = a->n_fds ? qfd_memfd("answer", 4096) : -1;
	const int fds[] = { fd, fd };

	ck_assert_int_eq(qvhu_send(sock, &hdr, a->w, fds, a->n_fds, 0), QVHU_OK);
	qfd_close(&fd);
}

static void answer_u64(int sock, uint32_t req, uint64_t v)
{
	answer(sock, &(struct answer){ req, ANSWER, 8, { v } });
}

/* A front end that has negotiated @protocol with what answers from *ret_peer. */
static struct qvhu_fe *connected(uint64_t protocol, int *ret_peer)
{
	struct qvhu_fe *fe = NULL;
	int sv[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	answer_u64(sv[1], QVHU_GET_FEATURES, BIT30 | 0xff);
	answer_u64(sv[1], QVHU_GET_PROTOCOL_FEATURES, protocol | 1 << 5);
	if (protocol & QVHU_PF_REPLY_ACK)
		answer_u64(sv[1], QVHU_SET_OWNER, 0);
	ck_assert_int_eq(qvhu_fe_new(sv[0], UINT64_MAX, 50, &fe), QVHU_OK);
	ck_assert_uint_eq(qvhu_fe_protocol_features(fe), protocol);
	ck_assert_uint_eq(qvhu_fe_features(fe), 0xff);
	*ret_peer = sv[1];
	return fe;
}

/* The calls that a row can make. */
enum call { QUEUE_NUM, CONFIG_GET, CONFIG_SET, FEATURES, STOP, INFLIGHT_GET, CALLS };

static int make_call(struct qvhu_fe *fe, enum call call)
{
	unsigned n = 0;
	uint8_t buf[8] = { 0 };
	uint16_t base;
	struct qvhu_inflight in;
	int fd = -1, r = -EINVAL;

	switch (call) {
	case QUEUE_NUM:
		r = qvhu_fe_queue_num(fe, &n);
		ck_assert(r != QVHU_OK || (n >= 1 && n <= QVHU_QUEUES_MAX));
		break;
	case CONFIG_GET:
		r = qvhu_fe_config_get(fe, 4, buf, sizeof(buf));
		ck_assert(r != QVHU_OK || buf[7] == 0xaa);
		break;
	case CONFIG_SET:
		r = qvhu_fe_config_set(fe, 4, buf, sizeof(buf));
		break;
	case FEATURES:
		r = qvhu_fe_set_features(fe, 0x81);
		break;
	case STOP:
		r = qvhu_fe_queue_stop(fe, 3, &base);
		ck_assert(r != QVHU_OK || base == 17);
		break;
	case INFLIGHT_GET:
		r = qvhu_fe_inflight_get(fe, 2, 128, &in, &fd);
		ck_assert(r != QVHU_OK || fd >= 0);
		qfd_close(&fd);
		break;
	case CALLS:
		break;
	}
	return r;
}

#define U32(lo, hi) ((uint64_t)(lo) | (uint64_t)(hi) << 32)
#define CONFIG_DATA U32(0, 0), 0xaaull << 24

static const struct {
	enum call call;
	struct answer a;
	int want;
} answer_rows[] = {
	{ QUEUE_NUM, { QVHU_GET_QUEUE_NUM, ANSWER, 8, { 4 } }, QVHU_OK },
	{ QUEUE_NUM, { QVHU_GET_QUEUE_NUM, ANSWER, 8, { UINT64_MAX } }, QVHU_OK },
	{ QUEUE_NUM, { QVHU_GET_QUEUE_NUM, ANSWER | 8, 8, { 4 } }, QVHU_OK },
	{ QUEUE_NUM, { QVHU_GET_QUEUE_NUM, ANSWER, 8, { 0 } }, QVHU_FAULT },
	{ QUEUE_NUM, { QVHU_GET_QUEUE_NUM, ANSWER, 4, { 4 } }, QVHU_FAULT },
	{ QUEUE_NUM, { QVHU_GET_QUEUE_NUM, ANSWER, 16, { 4 } }, QVHU_FAULT },
	{ QUEUE_NUM, { QVHU_GET_QUEUE_NUM, 1, 8, { 4 } }, QVHU_FAULT },
	{ QUEUE_NUM, { QVHU_GET_QUEUE_NUM, 6, 8, { 4 } }, QVHU_FAULT },
	{ QUEUE_NUM, { QVHU_GET_QUEUE_NUM, ANSWER | 32, 8, { 4 } }, QVHU_FAULT },
	{ QUEUE_NUM, { QVHU_GET_FEATURES, ANSWER, 8, { 4 } }, QVHU_FAULT },
	{ QUEUE_NUM, { QVHU_GET_QUEUE_NUM, ANSWER, 8, { 4 }, 1 }, QVHU_FAULT },
	{ QUEUE_NUM, { 0 }, QVHU_TIMEOUT },
	{ CONFIG_GET, { QVHU_GET_CONFIG, ANSWER, 20, { U32(4, 8), CONFIG_DATA } }, QVHU_OK },
	{ CONFIG_GET, { QVHU_GET_CONFIG, ANSWER, 0 }, QVHU_REFUSED },
	{ CONFIG_GET, { QVHU_GET_CONFIG, ANSWER, 20, { U32(5, 8), CONFIG_DATA } }, QVHU_FAULT },
	{ CONFIG_GET, { QVHU_GET_CONFIG, ANSWER, 16, { U32(4, 4), CONFIG_DATA } }, QVHU_FAULT },
	{ CONFIG_GET, { QVHU_GET_CONFIG, ANSWER, 20, { U32(4, 9), CONFIG_DATA } }, QVHU_FAULT },
	{ CONFIG_SET, { QVHU_SET_CONFIG, ANSWER, 8, { 0 } }, QVHU_OK },
	{ CONFIG_SET, { QVHU_SET_CONFIG, ANSWER, 8, { 1 } }, QVHU_REFUSED },
	{ CONFIG_SET, { QVHU_SET_CONFIG, ANSWER, 0 }, QVHU_FAULT },
	{ FEATURES, { QVHU_SET_FEATURES, ANSWER, 8, { 0 } }, QVHU_OK },
	{ FEATURES, { QVHU_SET_FEATURES, ANSWER, 8, { UINT64_MAX } }, QVHU_REFUSED },
	{ FEATURES, { QVHU_SET_OWNER, ANSWER, 8, { 0 } }, QVHU_FAULT },
	{ STOP, { QVHU_GET_VRING_BASE, ANSWER, 8, { U32(3, 17) } }, QVHU_OK },
	{ STOP, { QVHU_GET_VRING_BASE, ANSWER, 8, { U32(2, 17) } }, QVHU_FAULT },
	{ STOP, { QVHU_GET_VRING_BASE, ANSWER, 8, { U32(3, 65536) } }, QVHU_FAULT },
	{ STOP, { QVHU_GET_VRING_BASE, ANSWER, 12, { U32(3, 17) } }, QVHU_FAULT },
	{ INFLIGHT_GET, { QVHU_GET_INFLIGHT_FD, ANSWER, 24, { 4096, 0, 2 | 128 << 16 }, 1 },
	  QVHU_OK },
	{ INFLIGHT_GET, { QVHU_GET_INFLIGHT_FD, ANSWER, 24, { 4096, 0, 2 | 128 << 16 }, 0 },
	  QVHU_FAULT },
	{ INFLIGHT_GET, { QVHU_GET_INFLIGHT_FD, ANSWER, 24, { 4096, 0, 2 | 128 << 16 }, 2 },
	  QVHU_FAULT },
	{ INFLIGHT_GET, { QVHU_GET_INFLIGHT_FD, ANSWER, 24, { 4096, 0, 3 | 128 << 16 }, 1 },
	  QVHU_FAULT },
	{ INFLIGHT_GET, { QVHU_GET_INFLIGHT_FD, ANSWER, 24, { 0, 0, 2 | 128 << 16 }, 1 },
	  QVHU_FAULT },
	{ INFLIGHT_GET, { QVHU_GET_INFLIGHT_FD, ANSWER, 8, { 4096 }, 1 }, QVHU_FAULT },
};

START_TEST(answer_row)
{
	int peer, want = answer_rows[_i].want;
	struct qvhu_fe *fe = connected(ALL, &peer);

	if (answer_rows[_i].a.req)
		answer(peer, &answer_rows[_i].a);
	ck_assert_int_eq(make_call(fe, answer_rows[_i].call), want);
	/* After "no" the connection is in step; after anything worse it is not, and nothing is
	 * sent any more. */
	answer_u64(peer, QVHU_SET_FEATURES, 0);
	ck_assert_int_eq(make_call(fe, FEATURES), want == QVHU_REFUSED ? QVHU_OK : want);
	ck_assert_ptr_null(qvhu_fe_free(fe));
	qfd_close(&peer);
}
END_TEST

START_TEST(hang_up_row)
{
	int peer;
	struct qvhu_fe *fe = connected(ALL, &peer);

	qfd_close(&peer);
	ck_assert_int_eq(make_call(fe, (enum call)_i), QVHU_CLOSED);
	ck_assert_int_eq(make_call(fe, STOP), QVHU_CLOSED);
	qvhu_fe_free(fe);
}
END_TEST

/* Without a protocol feature its calls say so, and send nothing. */
START_TEST(without_features)
{
	int peer;
	struct qvhu_fe *fe = connected(0, &peer);
	struct qvhu_inflight in = { .n_queues = 1 };
	uint8_t buf[1];
	unsigned n = 0;

	ck_assert_int_eq(qvhu_fe_queue_num(fe, &n), QVHU_OK);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(qvhu_fe_config_get(fe, 0, buf, 1), -EOPNOTSUPP);
	ck_assert_int_eq(qvhu_fe_config_set(fe, 0, buf, 1), -EOPNOTSUPP);
	ck_assert_int_eq(make_call(fe, INFLIGHT_GET), -EOPNOTSUPP);
	ck_assert_int_eq(qvhu_fe_inflight_set(fe, &in, 0), -EOPNOTSUPP);
	ck_assert_int_eq(qvhu_fe_set_features(fe, 0x100), -EINVAL);
	/* Nothing acknowledges, nothing is waited for. */
	ck_assert_int_eq(qvhu_fe_set_features(fe, 0xff), QVHU_OK);
	qvhu_fe_free(fe);
	qfd_close(&peer);
}
END_TEST

START_TEST(our_own_mistakes)
{
	int peer;
	struct qvhu_fe *fe = connected(ALL, &peer);
	struct qmem *mem = qmem_new();
	struct qring_cfg ring = { .num = 16, .avail = { 4096 }, .used = { 8192 } };
	uint8_t buf[300];

	ck_assert_int_eq(qvhu_fe_config_get(fe, 250, buf, 7), -EINVAL);
	ck_assert_int_eq(qvhu_fe_config_get(fe, 0, buf, 0), -EINVAL);
	ck_assert_int_eq(qvhu_fe_config_set(fe, 0, buf, 257), -EINVAL);
	ck_assert_int_eq(qvhu_fe_config_get(fe, UINT32_MAX, buf, 2), -EINVAL);
	ck_assert_int_eq(qvhu_fe_set_mem(fe, mem), -EINVAL);
	for (unsigned i = 0; i < 9; i++)
		ck_assert_int_eq(qmem_add(mem, gpa(i * 8192), 4096, 0, "m"), 0);
	ck_assert_int_eq(qvhu_fe_set_mem(fe, mem), -ENOSPC);
	ck_assert_int_eq(qvhu_fe_queue_start(fe, 0, mem, &ring, -1, -1), -EFAULT);
	ck_assert_int_eq(qvhu_fe_queue_start(fe, 64, mem, &ring, -1, -1), -EINVAL);
	qmem_unref(mem);
	qvhu_fe_free(fe);
	qfd_close(&peer);
}
END_TEST

/* ---- our own back end, in a thread ---- */

/* Answers each chain with its readable bytes, each plus one. */
struct echo {
	struct qvhu_be *be;
	int sock_fd, kick_fd, call_fd;
	struct qring ring;
	bool running;
	int verdict;
};

static int echo_start(void *ctx, unsigned i, const struct qvhu_be_queue *q, struct qmem *mem)
{
	struct echo *e = ctx;

	if (qring_init(&e->ring, mem, &q->ring) < 0)
		return QVHU_FAULT;
	e->kick_fd = q->kick_fd;
	e->call_fd = q->call_fd;
	e->running = true;
	return QVHU_OK;
}

static void echo_call(void *ctx, unsigned i, int call_fd)
{
	((struct echo *)ctx)->call_fd = call_fd;
}

static bool echo_stop(void *ctx, unsigned i, uint16_t *ret_base)
{
	struct echo *e = ctx;

	e->running = false;
	*ret_base = e->ring.last_avail;
	return true;
}

static void echo_drain(struct echo *e)
{
	struct qring_chain c;
	struct iovec iov[8];

	do {
		while (qring_pop(&e->ring, iov, 8, &c) == QRING_OK) {
			const uint8_t *from = iov[0].iov_base;
			uint8_t *to = iov[c.n_out].iov_base;

			for (size_t i = 0; i < iov[0].iov_len && i < iov[c.n_out].iov_len; i++)
				to[i] = (uint8_t)(from[i] + 1);
			qring_push(&e->ring, c.head, (uint32_t)iov[0].iov_len);
		}
		if (qring_publish(&e->ring))
			qfd_event_signal(e->call_fd);
	} while (qring_arm(&e->ring));
}

static const struct qvhu_be_ops echo_ops = {
	.features = BIT30 | 1ull << 32 | 1ull << 29, .protocol_features = ALL, .n_queues = 1,
	.queue_size_max = 256, .require_sealed = true, .queue_start = echo_start,
	.queue_call = echo_call, .queue_stop = echo_stop,
};

static void *echo_run(void *ctx)
{
	struct echo *e = ctx;

	e->be = qvhu_be_new(e->sock_fd, &echo_ops, e);
	e->verdict = QVHU_OK;
	while (e->verdict == QVHU_OK || e->verdict == QVHU_AGAIN) {
		struct pollfd p[2] = { { .fd = qvhu_be_fd(e->be), .events = POLLIN },
				       { .fd = e->running ? e->kick_fd : -1, .events = POLLIN } };

		if (poll(p, 2, 10000) <= 0)
			break;
		if (p[1].revents) {
			qfd_event_clear(e->kick_fd);
			echo_drain(e);
		}
		if (p[0].revents)
			e->verdict = qvhu_be_serve(e->be);
	}
	qvhu_be_stop_all(e->be);
	qvhu_be_free(e->be);
	return NULL;
}

/* Sends @byte through the ring and checks what comes back. */
static void echo_one(struct qdriver *d, const struct qmem *mem, int kick_fd, int call_fd,
		     uint8_t byte)
{
	const struct qdriver_buf bufs[] = { { { 0x8000 }, 1, false }, { { 0x9000 }, 1, true } };
	void *token = NULL;
	uint32_t written = 0;
	uint8_t back = 0;

	ck_assert_int_eq(qmem_write(mem, gpa(0x8000), &byte, 1), 0);
	ck_assert_int_eq(qdriver_add(d, bufs, 2, d), QDRIVER_OK);
	if (qdriver_publish(d))
		qfd_event_signal(kick_fd);
	while (qdriver_poll(d, &token, &written) != QDRIVER_OK) {
		struct pollfd p = { .fd = call_fd, .events = POLLIN };

		if (qdriver_arm(d))
			continue;
		ck_assert_int_eq(poll(&p, 1, 5000), 1);
		qfd_event_clear(call_fd);
	}
	ck_assert_ptr_eq(token, d);
	ck_assert_int_eq(qmem_read(mem, gpa(0x9000), &back, 1), 0);
	ck_assert_uint_eq(back, (uint8_t)(byte + 1));
}

START_TEST(front_end_meets_back_end)
{
	struct echo e = { 0 };
	struct qvhu_fe *fe = NULL;
	struct qvhu_inflight in;
	struct qmem *mem = qmem_new();
	struct qdriver d;
	pthread_t thread;
	int sv[2], kick_fd = qfd_eventfd(), call_fd = qfd_eventfd(), inflight_fd = -1;
	uint16_t base = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	e.sock_fd = sv[1];
	ck_assert_int_eq(pthread_create(&thread, NULL, echo_run, &e), 0);
	ck_assert_int_eq(qvhu_fe_new(sv[0], UINT64_MAX, 5000, &fe), QVHU_OK);
	ck_assert_int_eq(qvhu_fe_set_features(fe, 1ull << 32 | 1ull << 29), QVHU_OK);
	ck_assert_int_eq(qmem_add(mem, gpa(0), 0x10000, 0, "low"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(0x100000), 0x10000, QMEM_READONLY, "rom"), 0);
	ck_assert_int_eq(qvhu_fe_inflight_get(fe, 1, 16, &in, &inflight_fd), QVHU_OK);
	ck_assert_int_eq(qvhu_fe_inflight_set(fe, &in, inflight_fd), QVHU_OK);
	ck_assert_int_eq(qvhu_fe_set_mem(fe, mem), QVHU_OK);
	ck_assert_int_eq(qdriver_init(&d, mem, gpa(0), 16, QRING_EVENT_IDX, gpa(0), 0), 0);
	for (unsigned life = 0; life < 3; life++) {
		struct qring_cfg ring = d.cfg;

		ring.base = base;
		ck_assert_int_eq(qvhu_fe_queue_start(fe, 0, mem, &ring, kick_fd, call_fd), QVHU_OK);
		for (unsigned i = 0; i < 50; i++)
			echo_one(&d, mem, kick_fd, call_fd, (uint8_t)(i + life));
		/* A new table under a running queue: it goes on. */
		ck_assert_int_eq(qvhu_fe_set_mem(fe, mem), QVHU_OK);
		echo_one(&d, mem, kick_fd, call_fd, 200);
		ck_assert_int_eq(qvhu_fe_queue_stop(fe, 0, &base), QVHU_OK);
		ck_assert_uint_eq(base, (life + 1) * 51);
	}
	/* No config space there: refused, and the connection lives. */
	ck_assert_int_eq(make_call(fe, CONFIG_GET), QVHU_REFUSED);
	ck_assert_int_eq(make_call(fe, CONFIG_SET), QVHU_REFUSED);
	qvhu_fe_free(fe);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(e.verdict, QVHU_CLOSED);
	qdriver_fini(&d);
	qmem_unref(mem);
	qfd_close(&kick_fd);
	qfd_close(&call_fd);
	qfd_close(&inflight_fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qvhu_fe");
	TCase *tc = fixture_case(s, "front end");

	tcase_add_loop_test(tc, answer_row, 0, Q_ARRAY_LEN(answer_rows));
	tcase_add_loop_test(tc, hang_up_row, 0, CALLS);
	tcase_add_test(tc, without_features);
	tcase_add_test(tc, our_own_mistakes);
	tcase_add_test(tc, front_end_meets_back_end);
	return fixture_main(s);
}
