/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qvhu_be.h: what the owner of a back end sees, and in which order. */
#include "tests/unit/qvhu_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

/* A front end that gave no table: rings told before it wait for it. */
START_TEST(any_order)
{
	struct world w;

	world_at(&w, NEGOTIATED);
	ok_u64(&w, QVHU_SET_VRING_KICK, 0, "e");
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	say_ring(&w, 0);
	ck_assert(!w.running[0]);
	say_mem(&w, GPA, UADDR);
	ck_assert(w.running[0]);
	ck_assert_uint_eq(w.q[0].ring.num, 128);
	ck_assert_uint_eq(w.q[0].ring.desc.v, GPA);
	ck_assert_uint_eq(w.q[0].ring.avail.v, GPA + 0x1000);
	ck_assert_uint_eq(w.q[0].ring.used.v, GPA + 0x2000);
	ck_assert_uint_eq(w.q[0].ring.base, 3);
	ck_assert_uint_eq(w.q[0].ring.features, QRING_INDIRECT | QRING_EVENT_IDX);
	ck_assert_int_ge(w.q[0].kick_fd, 0);
	ck_assert_int_eq(w.q[0].call_fd, -1);
	world_close(&w);
}
END_TEST

START_TEST(no_protocol_features)
{
	struct world w;

	world_open(&w);
	ok_u64(&w, QVHU_SET_FEATURES, 1ull << 32, NULL);
	say_mem(&w, GPA, UADDR);
	say_ring(&w, 1);
	ok_u64(&w, QVHU_SET_VRING_KICK, 1 | QVHU_NOFD, NULL);
	ck_assert(w.running[1]);
	ck_assert_int_eq(w.q[1].kick_fd, -1);
	ck_assert_uint_eq(w.q[1].ring.features, 0);
	world_close(&w);
}
END_TEST

START_TEST(queries)
{
	struct world w;

	world_open(&w);
	ok(&w, QVHU_GET_FEATURES, NULL, 0, NULL);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_FEATURES), OFFERED);
	ok(&w, QVHU_GET_PROTOCOL_FEATURES, NULL, 0, NULL);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_PROTOCOL_FEATURES), PROTOCOL);
	ok(&w, QVHU_GET_QUEUE_NUM, NULL, 0, NULL);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_QUEUE_NUM), 2);
	ok_u64(&w, QVHU_SET_PROTOCOL_FEATURES, PROTOCOL, NULL);
	ok(&w, QVHU_GET_MAX_MEM_SLOTS, NULL, 0, NULL);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_MAX_MEM_SLOTS), QMEM_REGIONS_MAX);
	ok_u64(&w, QVHU_SET_STATUS, 0x0f, NULL);
	ok(&w, QVHU_GET_STATUS, NULL, 0, NULL);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_STATUS), 0x0f);
	ok(&w, QVHU_SET_OWNER, NULL, 0, NULL);
	ck_assert(hears_nothing(&w));
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_AGAIN);
	ck_assert_str_eq(qvhu_be_fault(w.be), "none");
	world_close(&w);
}
END_TEST

START_TEST(config_space)
{
	struct world w;
	uint8_t got[64] = { 0 };
	uint8_t msg[12 + 8] = { 4, 0, 0, 0, 8, 0, 0, 0 };

	world_at(&w, NEGOTIATED);
	ok(&w, QVHU_GET_CONFIG, msg, sizeof(msg), NULL);
	ck_assert_uint_eq(hear(&w, QVHU_GET_CONFIG, got, sizeof(got)), sizeof(msg));
	ck_assert_mem_eq(got, msg, 8);
	ck_assert_mem_eq(got + 12, w.config + 4, 8);
	msg[0] = 30;	/* beyond what the owner has: an empty answer, and on we go */
	ok(&w, QVHU_GET_CONFIG, msg, sizeof(msg), NULL);
	ck_assert_uint_eq(hear(&w, QVHU_GET_CONFIG, got, sizeof(got)), 0);
	msg[0] = 16;
	memset(msg + 12, 0xee, 8);
	ok(&w, QVHU_SET_CONFIG, msg, sizeof(msg), NULL);
	ck_assert_uint_eq(w.config[16], 0xee);
	ck_assert_uint_eq(w.config[24], 25);
	/* Refused: said when asked for, and not the end. */
	msg[0] = 0;
	say_fds(&w, QVHU_SET_CONFIG, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, msg, sizeof(msg), NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert_uint_ne(hear_u64(&w, QVHU_SET_CONFIG), 0);
	ck_assert_uint_eq(w.config[0], 1);
	world_close(&w);
}
END_TEST

START_TEST(acknowledgements)
{
	struct world w;

	world_open(&w);
	/* Not negotiated: the flag means nothing. */
	say_fds(&w, QVHU_SET_OWNER, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, NULL, 0, NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert(hears_nothing(&w));
	ok_u64(&w, QVHU_SET_PROTOCOL_FEATURES, PROTOCOL, NULL);
	say_fds(&w, QVHU_SET_OWNER, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, NULL, 0, NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert_uint_eq(hear_u64(&w, QVHU_SET_OWNER), 0);
	/* A request with an answer of its own gets one answer. */
	say_fds(&w, QVHU_GET_FEATURES, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, NULL, 0, NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_FEATURES), OFFERED);
	ck_assert(hears_nothing(&w));
	say_fds(&w, 99, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, NULL, 0, NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_FAULT);
	ck_assert_uint_eq(hear_u64(&w, 99), 1);
	world_close(&w);
}
END_TEST

START_TEST(stop_and_start_again)
{
	struct world w;
	uint32_t state[2];

	world_at(&w, RUNNING);
	ok_state(&w, QVHU_GET_VRING_BASE, 0, 0);
	ck_assert_uint_eq(hear(&w, QVHU_GET_VRING_BASE, state, sizeof(state)), sizeof(state));
	ck_assert_uint_eq(state[0], 0);
	ck_assert_uint_eq(state[1], 7);
	ck_assert(!w.running[0]);
	ck_assert_int_lt(fcntl(w.q[0].kick_fd, F_GETFD), 0);
	/* Stopped, it takes a new configuration, and runs on a new kick only. */
	ok_state(&w, QVHU_SET_VRING_NUM, 0, 64);
	ok_state(&w, QVHU_SET_VRING_BASE, 0, 9);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	ck_assert(!w.running[0]);
	ok_u64(&w, QVHU_SET_VRING_KICK, 0, "e");
	ck_assert(w.running[0]);
	ck_assert_uint_eq(w.q[0].ring.num, 64);
	ck_assert_uint_eq(w.q[0].ring.base, 9);
	/* What changes nothing is no fault while it runs. */
	ok_state(&w, QVHU_SET_VRING_NUM, 0, 64);
	ok_u64(&w, QVHU_SET_FEATURES, OFFERED, NULL);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	ck_assert_uint_eq(w.starts[0], 2);
	world_close(&w);
}
END_TEST

START_TEST(disable_and_enable)
{
	struct world w;

	world_at(&w, RUNNING);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 0);
	ck_assert(!w.running[0]);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	ck_assert(w.running[0]);
	ck_assert_uint_eq(w.q[0].ring.base, 7);
	world_close(&w);
}
END_TEST

START_TEST(descriptors_change)
{
	struct world w;

	world_at(&w, RUNNING);
	ok_u64(&w, QVHU_SET_VRING_CALL, 0, "e");
	ck_assert_uint_eq(w.calls, 1);
	ck_assert_int_ge(w.q[0].call_fd, 0);
	qfd_event_signal(w.q[0].call_fd);
	ok_u64(&w, QVHU_SET_VRING_CALL, QVHU_NOFD, NULL);
	ck_assert_uint_eq(w.calls, 2);
	ck_assert_int_eq(w.q[0].call_fd, -1);
	ck_assert_uint_eq(w.stops[0], 0);
	/* Kick and err go through a stop. */
	ok_u64(&w, QVHU_SET_VRING_KICK, 0, "e");
	ck_assert_uint_eq(w.starts[0], 2);
	ok_u64(&w, QVHU_SET_VRING_ERR, 0, "e");
	ck_assert_uint_eq(w.starts[0], 3);
	ck_assert_int_ge(w.q[0].err_fd, 0);
	ck_assert(fcntl(w.q[0].kick_fd, F_GETFL) & O_NONBLOCK);
	ck_assert(fcntl(w.q[0].err_fd, F_GETFD) & FD_CLOEXEC);
	world_close(&w);
}
END_TEST

START_TEST(call_changes_for_an_owner_who_is_not_told)
{
	struct world w;

	world_at(&w, RUNNING);
	w.ops.queue_call = NULL;
	ok_u64(&w, QVHU_SET_VRING_CALL, 0, "e");
	ck_assert_uint_eq(w.starts[0], 2);
	ck_assert_int_ge(w.q[0].call_fd, 0);
	ck_assert_uint_eq(w.q[0].ring.base, 7);
	world_close(&w);
}
END_TEST

/* A message waits for requests in flight, and nothing after it is looked at. */
START_TEST(a_stop_takes_time)
{
	struct world w;
	uint32_t state[2] = { 0, 0 };

	world_at(&w, RUNNING);
	w.stop_waits = true;
	say_fds(&w, QVHU_GET_VRING_BASE, QVHU_VERSION, state, sizeof(state), NULL);
	say_fds(&w, QVHU_GET_FEATURES, QVHU_VERSION, NULL, 0, NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert(qvhu_be_waiting(w.be));
	ck_assert(hears_nothing(&w));
	qvhu_be_queue_stopped(w.be, 0, 21);
	ck_assert(!qvhu_be_waiting(w.be));
	hear(&w, QVHU_GET_VRING_BASE, state, sizeof(state));
	ck_assert_uint_eq(state[1], 21);
	ck_assert(hears_nothing(&w));
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_FEATURES), OFFERED);
	world_close(&w);
}
END_TEST

START_TEST(a_stop_ends_inside)
{
	struct world w;
	uint32_t state[2] = { 0, 0 };

	world_at(&w, RUNNING);
	w.stop_inside = true;
	ok_state(&w, QVHU_GET_VRING_BASE, 0, 0);
	ck_assert(!qvhu_be_waiting(w.be));
	hear(&w, QVHU_GET_VRING_BASE, state, sizeof(state));
	ck_assert_uint_eq(state[1], 7);
	ck_assert(hears_nothing(&w));	/* applied once */
	world_close(&w);
}
END_TEST

START_TEST(memory_is_swapped_when_all_have_stopped)
{
	struct world w;
	const uint64_t table[] = { 1, GPA * 2, MEM_BYTES, UADDR, 0 };

	world_at(&w, RUNNING);
	say_ring(&w, 1);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 1, 1);
	ok_u64(&w, QVHU_SET_VRING_KICK, 1, "e");
	ck_assert(w.running[1]);
	struct qmem *old = qmem_ref(w.mem);	/* of a request in flight */

	w.stop_waits = true;
	say_fds(&w, QVHU_SET_MEM_TABLE, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, table, sizeof(table),
		"m");
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert(qvhu_be_waiting(w.be));
	qvhu_be_queue_stopped(w.be, 1, 100);
	ck_assert(qvhu_be_waiting(w.be));
	ck_assert_ptr_eq(qvhu_be_mem(w.be), old);
	qvhu_be_queue_stopped(w.be, 0, 200);
	ck_assert(!qvhu_be_waiting(w.be));
	ck_assert_uint_eq(hear_u64(&w, QVHU_SET_MEM_TABLE), 0);
	ck_assert(w.running[0] && w.running[1]);
	ck_assert_ptr_ne(w.mem, old);
	ck_assert_ptr_eq(w.mem, qvhu_be_mem(w.be));
	ck_assert_uint_eq(w.q[0].ring.desc.v, GPA * 2);
	ck_assert_uint_eq(w.q[0].ring.base, 200);
	ck_assert_uint_eq(w.q[1].ring.base, 100);
	/* The old table still is what it was, for those who hold it. */
	ck_assert_ptr_nonnull(qmem_ptr(old, gpa(GPA), MEM_BYTES, true));
	qmem_unref(old);
	w.stop_waits = false;
	world_close(&w);
}
END_TEST

/* Regions come and go one by one; a queue whose ring is gone waits for it. */
START_TEST(memory_by_slots)
{
	struct world w;
	const uint64_t first[] = { 0, GPA, MEM_BYTES, UADDR, 0 };
	const uint64_t second[] = { 0, GPA * 2, MEM_BYTES, UADDR * 2, 0 };

	world_at(&w, RUNNING);
	ok(&w, QVHU_ADD_MEM_REG, second, sizeof(second), "m");
	ck_assert_uint_eq(qvhu_be_mem(w.be)->n, 2);
	ck_assert_uint_eq(w.starts[0], 2);
	ok(&w, QVHU_REM_MEM_REG, first, sizeof(first), "m"); /* its descriptor is closed */
	ck_assert_uint_eq(qvhu_be_mem(w.be)->n, 1);
	ck_assert(!w.running[0]);
	ok(&w, QVHU_ADD_MEM_REG, first, sizeof(first), "m");
	ck_assert(w.running[0]);
	ck_assert_uint_eq(w.q[0].ring.base, 7);
	world_close(&w);
}
END_TEST

START_TEST(unsealed_memory_where_allowed)
{
	struct world w;
	const uint64_t table[] = { 1, GPA, MEM_BYTES, UADDR, 0 };

	world_open(&w);
	w.ops.require_sealed = false;
	ok(&w, QVHU_SET_MEM_TABLE, table, sizeof(table), "u");
	ck_assert_uint_eq(qvhu_be_mem(w.be)->n, 1);
	world_close(&w);
}
END_TEST

static const uint32_t reset_rows[] = { QVHU_RESET_OWNER, QVHU_RESET_DEVICE, QVHU_SET_STATUS };

START_TEST(reset_row)
{
	struct world w;
	uint64_t zero = 0;
	uint32_t req = reset_rows[_i];

	world_at(&w, RUNNING);
	ok(&w, req, &zero, req == QVHU_SET_STATUS ? sizeof(zero) : 0, NULL);
	ck_assert(!w.running[0]);
	/* It does not come back by itself, and does when set up again. */
	say_ring(&w, 0);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	ck_assert(!w.running[0]);
	ok_u64(&w, QVHU_SET_VRING_KICK, 0, "e");
	ck_assert(w.running[0]);
	world_close(&w);
}
END_TEST

START_TEST(owner_refuses_a_ring)
{
	struct world w;

	world_at(&w, READY);
	w.start_verdict = QVHU_FAULT;
	const struct qvhu_vring_addr a = { .desc = UADDR, .avail = UADDR + 0x1000,
					   .used = UADDR + 0x2000 };
	ck_assert_int_eq(tell(&w, QVHU_SET_VRING_ADDR, &a, sizeof(a), NULL), QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be), "SET_VRING_ADDR: ring refused");
	world_close(&w);
	/* Our own failure is not the peer's fault. */
	world_at(&w, READY);
	w.start_verdict = -ENOMEM;
	ck_assert_int_eq(tell(&w, QVHU_SET_VRING_ADDR, &a, sizeof(a), NULL), -ENOMEM);
	ck_assert_str_eq(qvhu_be_fault(w.be), "none");
	world_close(&w);
}
END_TEST

START_TEST(half_a_message)
{
	struct world w;
	const uint32_t msg[5] = { QVHU_SET_FEATURES, QVHU_VERSION, 8, 0, 1 };

	world_open(&w);
	/* Byte by byte is slow and right. */
	for (unsigned i = 0; i < sizeof(msg); i++) {
		ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_AGAIN);
		ck_assert_int_eq(send(w.peer, (const char *)msg + i, 1, 0), 1);
	}
	ck_assert_uint_ne(qvhu_be_deadline_ns(w.be), 0);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert_uint_eq(qvhu_be_features(w.be), 1ull << 32);
	ck_assert_uint_eq(qvhu_be_deadline_ns(w.be), 0);
	/* Half of one is given up when its time has come. */
	ck_assert_int_eq(send(w.peer, msg, 13, 0), 13);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_AGAIN);
	while (qnow_ns() < qvhu_be_deadline_ns(w.be))
		usleep(10000);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be), "SET_FEATURES: half a message");
	world_close(&w);
}
END_TEST

START_TEST(descriptors_in_the_middle)
{
	struct world w;
	const uint32_t msg[5] = { QVHU_SET_VRING_KICK, QVHU_VERSION, 8, 0, 0 };
	int fd = qfd_eventfd();

	world_open(&w);
	ck_assert_int_eq(send(w.peer, msg, 12, 0), 12);
	ck_assert_int_eq(qfd_send(w.peer, msg + 3, 8, &fd, 1), 8);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be), "SET_VRING_KICK: descriptors");
	qfd_close(&fd);
	world_close(&w);
}
END_TEST

START_TEST(hang_up)
{
	struct world w;

	world_at(&w, RUNNING);
	ck_assert_int_eq(send(w.peer, "\1\0\0", 3, 0), 3);
	qfd_close(&w.peer);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_CLOSED);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_CLOSED);
	world_close(&w);
}
END_TEST

/* The peer goes while a message waits: noticed by the answer, reported by the next serve. */
START_TEST(hang_up_during_a_stop)
{
	struct world w;
	uint32_t state[2] = { 0, 0 };
	char c;

	world_at(&w, RUNNING);
	w.stop_waits = true;
	ok(&w, QVHU_GET_VRING_BASE, state, sizeof(state), NULL);
	qfd_close(&w.peer);
	qvhu_be_queue_stopped(w.be, 0, 1);
	ck_assert_int_ge(recv(qvhu_be_fd(w.be), &c, 1, MSG_PEEK | MSG_DONTWAIT), 0);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_CLOSED);
	world_close(&w);
}
END_TEST

START_TEST(end_during_a_stop)
{
	struct world w;
	uint32_t state[2] = { 0, 0 };

	world_at(&w, RUNNING);
	w.stop_waits = true;
	ok(&w, QVHU_GET_VRING_BASE, state, sizeof(state), NULL);
	ck_assert(!qvhu_be_stop_all(w.be));
	ck_assert(!qvhu_be_stop_all(w.be));
	qvhu_be_queue_stopped(w.be, 0, 1);
	ck_assert(hears_nothing(&w));	/* the message died with the connection */
	ck_assert(qvhu_be_stop_all(w.be));
	world_close(&w);
}
END_TEST

START_TEST(answers_are_not_read)
{
	struct world w;
	int r = QVHU_OK;

	world_open(&w);
	for (unsigned i = 0; r == QVHU_OK && i < 100000; i++)
		r = tell(&w, QVHU_GET_FEATURES, NULL, 0, NULL);
	ck_assert_int_eq(r, QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be), "GET_FEATURES: answers are not read");
	world_close(&w);
}
END_TEST

/* The region goes to the front end and comes back to another back end, with what was in flight. */
START_TEST(inflight_survives_the_back_end)
{
	struct world w;
	struct qvhu_inflight in = { .n_queues = 2, .queue_size = 128 };
	const struct qvhu_hdr set = { .req = QVHU_SET_INFLIGHT_FD, .flags = QVHU_VERSION,
				      .len_bytes = sizeof(in) };
	struct qvhu_msg m;
	uint16_t heads[4];

	world_at(&w, NEGOTIATED);
	ok(&w, QVHU_GET_INFLIGHT_FD, &in, sizeof(in), NULL);
	ck_assert_int_eq(qvhu_recv(w.peer, &m, qnow_ns() + Q_NSEC_PER_SEC), QVHU_OK);
	ck_assert(qvhu_get_inflight(&m, &in));
	ck_assert_uint_eq(m.n_fds, 1);
	ck_assert_uint_eq(in.n_queues, 2);
	ck_assert_uint_eq(in.queue_size, 128);
	ck_assert_uint_eq(in.mmap_len, 2 * (64 + 128 * 16));
	ck_assert_int_eq(qvhu_send(w.peer, &set, &in, m.fds, 1, 0), QVHU_OK);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	say_mem(&w, GPA, UADDR);
	say_ring(&w, 0);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	ok_u64(&w, QVHU_SET_VRING_KICK, 0, "e");
	ck_assert_uint_eq(w.q[0].ring.base, 3);	/* a fresh region knows nothing */
	struct qvhu_inflight_queue *q = qvhu_be_inflight(w.be, 0);
	ck_assert_uint_eq(qvhu_inflight_recover(q, 0, heads, 4), 0);
	ck_assert(qvhu_inflight_take(q, 100));
	ck_assert(qvhu_inflight_take(q, 5));
	ck_assert(!qvhu_inflight_take(q, 5));
	ck_assert(!qvhu_inflight_take(q, 128));
	ck_assert_ptr_null(qvhu_be_inflight(w.be, 2));
	world_close(&w);

	world_at(&w, READY);
	ck_assert_int_eq(qvhu_send(w.peer, &set, &in, m.fds, 1, 0), QVHU_OK);
	qvhu_msg_fini(&m);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	say_ring(&w, 0);
	ck_assert_uint_eq(w.q[0].ring.base, 2);	/* used index 0, two in flight */
	q = qvhu_be_inflight(w.be, 0);
	ck_assert_uint_eq(qvhu_inflight_recover(q, 0, heads, 4), 2);
	ck_assert_uint_eq(heads[0], 100);
	ck_assert_uint_eq(heads[1], 5);
	/* A ring that is larger than the region. */
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 0);
	ok_state(&w, QVHU_SET_VRING_NUM, 0, 256);
	const uint32_t enable[2] = { 0, 1 };
	ck_assert_int_eq(tell(&w, QVHU_SET_VRING_ENABLE, enable, sizeof(enable), NULL),
			 QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be),
			 "SET_VRING_ENABLE: ring larger than its in-flight region");
	world_close(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qvhu_be");
	TCase *tc = fixture_case(s, "life");

	tcase_add_test(tc, any_order);
	tcase_add_test(tc, no_protocol_features);
	tcase_add_test(tc, queries);
	tcase_add_test(tc, config_space);
	tcase_add_test(tc, acknowledgements);
	tcase_add_test(tc, stop_and_start_again);
	tcase_add_test(tc, disable_and_enable);
	tcase_add_test(tc, descriptors_change);
	tcase_add_test(tc, call_changes_for_an_owner_who_is_not_told);
	tcase_add_test(tc, a_stop_takes_time);
	tcase_add_test(tc, a_stop_ends_inside);
	tcase_add_test(tc, memory_is_swapped_when_all_have_stopped);
	tcase_add_test(tc, memory_by_slots);
	tcase_add_test(tc, unsealed_memory_where_allowed);
	tcase_add_loop_test(tc, reset_row, 0, Q_ARRAY_LEN(reset_rows));
	tcase_add_test(tc, owner_refuses_a_ring);
	tcase_add_test(tc, half_a_message);
	tcase_add_test(tc, descriptors_in_the_middle);
	tcase_add_test(tc, hang_up);
	tcase_add_test(tc, hang_up_during_a_stop);
	tcase_add_test(tc, end_during_a_stop);
	tcase_add_test(tc, answers_are_not_read);
	tcase_add_test(tc, inflight_survives_the_back_end);
	return fixture_main(s);
}
