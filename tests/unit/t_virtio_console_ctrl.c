/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_console_ctrl.c over both transports: the control messages in and out of order,
 * clients that come and go, and what a hostile driver sends on any queue.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>

#include "tests/unit/vconworld.h"

/* ---- ports ---- */

START_TEST(handshake)
{
	struct con c;

	con_open(&c, _i, true);
	con_hello(&c);
	con_close(&c);
}
END_TEST

/* What is to be told waits for buffers, and is true when it is told. */
START_TEST(told_late)
{
	struct con c;
	int fd;

	con_open(&c, _i, true);
	con_say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	con_say(&c, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	fd = con_client(&c, "one");
	for (unsigned i = 0; i < 8; i++)
		con_give(&c, VCON_CTRL_RX, 64);
	con_expect_told(&c, 0, VIRTIO_CONSOLE_PORT_ADD, 1, "", 0);
	con_expect_told(&c, 1, VIRTIO_CONSOLE_PORT_ADD, 1, "", 0);
	con_expect_told(&c, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "one", 3);
	con_expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	con_expect_told(&c, 2, VIRTIO_CONSOLE_PORT_ADD, 1, "", 0);
	con_expect_quiet(&c);
	qfd_close(&fd);
	con_close(&c);
}
END_TEST

/* Clients come and go; the guest hears of each, and of who left before who came. */
START_TEST(clients)
{
	struct con c;
	int fd, next;

	con_open(&c, _i, true);
	con_hello(&c);
	fd = con_client(&c, "one");
	con_expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	con_expect_quiet(&c);
	qfd_close(&fd);
	vdh_settle(&c.h);	/* nobody gives a buffer, so nobody reads, so nobody knows */
	con_expect_quiet(&c);
	con_give(&c, RX_ONE, 64);
	con_expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, "", 0);
	fd = con_client(&c, "one");
	con_expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	con_expect_quiet(&c);
	/* One leaves, the next is there before the driver gives a buffer for the message. */
	while (con_take(&c, VCON_CTRL_RX, NULL) >= 0)
		continue;
	con_live(&c, MULTI, N_QUEUES);
	qfd_close(&fd);
	fd = con_client(&c, "one");
	con_say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	con_say(&c, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	con_say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	for (unsigned i = 0; i < 5; i++)
		con_give(&c, VCON_CTRL_RX, 64);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_ge(con_take(&c, VCON_CTRL_RX, NULL), 8);
	qfd_close(&fd);
	con_give(&c, RX_ONE, 64);
	next = con_client(&c, "one");
	con_type(&c, next, "second");
	ck_assert_int_eq(con_take(&c, RX_ONE, NULL), -1);	/* not before he is announced */
	for (unsigned i = 0; i < 2; i++)
		con_give(&c, VCON_CTRL_RX, 64);
	con_expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, "", 0);
	con_expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	con_expect_in(&c, RX_ONE, "second");
	qfd_close(&next);
	con_close(&c);
}
END_TEST

/* Input of a port that nobody in the guest has open stays with its sender. */
START_TEST(input_before_open)
{
	struct con c;
	int fd;

	con_open(&c, _i, true);
	con_hello(&c);
	con_say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	con_give(&c, RX_ONE, 64);
	fd = con_client(&c, "one");
	con_type(&c, fd, "patience");
	ck_assert_int_eq(con_take(&c, RX_ONE, NULL), -1);
	con_say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	con_expect_in(&c, RX_ONE, "patience");
	qfd_close(&fd);
	con_close(&c);
}
END_TEST

/* The guest closes with more written than the socket took: all of it arrives, then the end. */
START_TEST(guest_closes)
{
	struct con c;
	char bytes[BUF_BYTES] = "", got[BUF_BYTES];
	unsigned sent = 0, received = 0;
	ssize_t n;
	int fd;

	con_open(&c, _i, true);
	con_hello(&c);
	fd = con_client(&c, "one");
	con_expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	while (con_put(&c, TX_ONE, bytes, sizeof(bytes))) {
		sent += BUF_BYTES;
		while (con_take(&c, TX_ONE, NULL) == 0)
			continue;
	}
	con_say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	ck_assert_uint_eq(vdh_stream(&c.h, "one")->n_hangups, 0);
	while ((n = read(fd, got, sizeof(got))) != 0) {
		received += n > 0 ? (unsigned)n : 0;
		vdh_settle(&c.h);
	}
	ck_assert_uint_eq(received, sent);
	ck_assert_uint_eq(vdh_stream(&c.h, "one")->n_hangups, 1);
	con_expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, "", 0);
	qfd_close(&fd);
	/* The next user in the guest, and the next client. */
	con_say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	fd = con_client(&c, "one");
	con_expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	while (con_take(&c, TX_ONE, NULL) == 0)
		continue;
	ck_assert(con_put(&c, TX_ONE, "new", 3));
	con_expect_fd(fd, "new");
	qfd_close(&fd);
	con_close(&c);
}
END_TEST

/* A reset with buffers held and a client: he is hung up on, the console's reader is not. */
START_TEST(reset_while_held)
{
	struct con c;
	char bytes[BUF_BYTES] = "";
	int fd;

	con_open(&c, _i, true);
	con_hello(&c);
	fd = con_client(&c, "one");
	con_give(&c, 0, 64);
	con_give(&c, RX_ONE, 64);
	while (con_put(&c, TX_ONE, bytes, sizeof(bytes)))
		while (con_take(&c, TX_ONE, NULL) == 0)
			continue;
	vdd_set_status(&c.d, 0);
	ck_assert_uint_eq(vdd_status(&c.d), 0);
	ck_assert_uint_eq(vdh_stream(&c.h, "one")->n_hangups, 1);
	qfd_close(&fd);
	con_type(&c, c.in[1], "typed meanwhile");
	con_live(&c, MULTI | SIZE, N_QUEUES);
	con_hello(&c);
	con_give(&c, 0, 64);
	con_expect_in(&c, 0, "typed meanwhile");
	fd = con_client(&c, "one");
	ck_assert(con_put(&c, TX_ONE, "new", 3));
	ck_assert_int_eq(con_take(&c, TX_ONE, NULL), 0);
	con_expect_fd(fd, "new");
	qfd_close(&fd);
	con_close(&c);
}
END_TEST

/* A driver without MULTIPORT has port 0; queues that it does not know it has lie still. */
START_TEST(not_negotiated)
{
	struct con c;

	con_create(&c, _i, true);
	con_live(&c, 0, N_QUEUES);
	con_give(&c, 0, 64);
	con_type(&c, c.in[1], "in");
	con_expect_in(&c, 0, "in");
	for (unsigned q = 2; q < N_QUEUES; q++)
		ck_assert(con_put(&c, q, "x", 1));
	ck_assert(con_put(&c, 1, "out", 3));
	con_expect_fd(c.out[0], "out");
	for (unsigned q = 2; q < N_QUEUES; q++)
		ck_assert_int_eq(con_take(&c, q, NULL), -1);
	con_close(&c);
}
END_TEST

/* ---- hostile ---- */

static const struct {
	const char *what;
	uint32_t id;
	uint16_t event, value;
	uint32_t len;		/* bytes of it that are sent */
	bool fault;
} message_rows[] = {
	{ "empty but for a byte", 0, VIRTIO_CONSOLE_PORT_OPEN, 0, 1, true },
	{ "a byte short", 0, VIRTIO_CONSOLE_PORT_OPEN, 0, 7, true },
	{ "long", 0, VIRTIO_CONSOLE_PORT_OPEN, 1, 4096, false },
	{ "ready again", 0, VIRTIO_CONSOLE_DEVICE_READY, 1, 8, true },
	{ "not ready any more", 0, VIRTIO_CONSOLE_DEVICE_READY, 0, 8, false },
	{ "port ready again", 1, VIRTIO_CONSOLE_PORT_READY, 1, 8, true },
	{ "port could not be added", 1, VIRTIO_CONSOLE_PORT_READY, 0, 8, false },
	{ "first port that is not there", 3, VIRTIO_CONSOLE_PORT_READY, 1, 8, true },
	{ "port of no device", 31, VIRTIO_CONSOLE_PORT_OPEN, 1, 8, true },
	{ "no port", VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_PORT_OPEN, 1, 8, true },
	{ "open as what", 1, VIRTIO_CONSOLE_PORT_OPEN, 2, 8, true },
	{ "the device's own: add", 1, VIRTIO_CONSOLE_PORT_ADD, 1, 8, true },
	{ "the device's own: remove", 1, VIRTIO_CONSOLE_PORT_REMOVE, 1, 8, true },
	{ "the device's own: console", 1, VIRTIO_CONSOLE_CONSOLE_PORT, 1, 8, true },
	{ "the device's own: size", 0, VIRTIO_CONSOLE_RESIZE, 1, 8, true },
	{ "the device's own: name", 1, VIRTIO_CONSOLE_PORT_NAME, 1, 8, true },
	{ "unknown", 0, 8, 1, 8, true },
	{ "unknown, large", 0, 0xffff, 0xffff, 8, true },
};
START_TEST(bad_messages)
{
	struct con c;
	uint8_t bytes[BUF_BYTES] = { 0 };
	const struct virtio_console_control m = { htole32(message_rows[_i].id),
						  htole16(message_rows[_i].event),
						  htole16(message_rows[_i].value) };

	con_open(&c, _i % 2, true);
	con_hello(&c);
	memcpy(bytes, &m, sizeof(m));
	ck_assert(con_put(&c, VCON_CTRL_TX, bytes, message_rows[_i].len));
	ck_assert_int_eq(con_take(&c, VCON_CTRL_TX, NULL), 0);
	ck_assert_msg(c.h.n_faults == message_rows[_i].fault, "%s", message_rows[_i].what);
	/* It goes on as if nothing had been said. */
	con_give(&c, 0, 64);
	con_type(&c, c.in[1], "on");
	con_expect_in(&c, 0, "on");
	ck_assert_uint_eq(vdd_status(&c.d), VDD_STATUS_LIVE);
	con_close(&c);
}
END_TEST

/* Messages before the one that they need. */
START_TEST(bad_order)
{
	struct con c;

	con_open(&c, _i, true);
	con_say(&c, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	con_say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	ck_assert_uint_eq(c.h.n_faults, 2);
	con_say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	con_say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	ck_assert_uint_eq(c.h.n_faults, 3);
	con_close(&c);
}
END_TEST

/* A buffer that is too small for what is to be told comes back empty, and the message is kept. */
START_TEST(small_buffers)
{
	struct con c;

	con_open(&c, _i, true);
	for (uint32_t len = 1; len < 8; len++)
		con_give(&c, VCON_CTRL_RX, len);
	con_say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (uint32_t len = 1; len < 8; len++)
		ck_assert_int_eq(con_take(&c, VCON_CTRL_RX, NULL), 0);
	ck_assert_uint_eq(c.h.n_faults, 7);
	con_give(&c, VCON_CTRL_RX, 8);
	con_expect_told(&c, 0, VIRTIO_CONSOLE_PORT_ADD, 1, "", 0);
	con_close(&c);
}
END_TEST

/* The wrong direction, wholly or in part, on each queue: the device is broken until its reset. */
START_TEST(wrong_direction)
{
	unsigned q = (unsigned)_i / 2 % N_QUEUES;
	bool device_reads = q % 2;
	struct con c;
	gpa_t at;

	con_open(&c, _i % 2, true);
	if (q >= RX_ONE) {	/* looked at when there may be something to put in */
		con_hello(&c);
		con_say(&c, 2, VIRTIO_CONSOLE_PORT_OPEN, 1);
		vdh_stream_give(&c.h, vdh_stream(&c.h, "one"), c.in[0], -1, false);
		vdh_stream_give(&c.h, vdh_stream(&c.h, "two"), c.in[0], -1, false);
		vdh_settle(&c.h);
	}
	at = con_new_buf(&c);
	const struct qdriver_buf b[] = { { at, 16, false }, { gpa(at.v + 16), 16, true } };
	if (_i / 2 < (int)N_QUEUES)
		ck_assert_int_eq(qdriver_add(&c.q[q], b, 2, &c), QDRIVER_OK);
	else
		ck_assert_int_eq(qdriver_add(&c.q[q], device_reads ? &b[1] : &b[0], 1, &c),
				 QDRIVER_OK);
	if (q == VCON_CTRL_RX)
		con_say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	con_kick(&c, q);
	ck_assert(vdd_status(&c.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(vdh_fault_count(&c.h, VD_FAULT_BAD_CHAIN), 1);
	vdh_stream_give(&c.h, vdh_stream(&c.h, "one"), -1, -1, false);
	vdh_stream_give(&c.h, vdh_stream(&c.h, "two"), -1, -1, false);
	con_live(&c, MULTI | SIZE, N_QUEUES);
	con_hello(&c);
	con_close(&c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_console_ctrl");
	TCase *tc = fixture_case(s, "virtio_console_ctrl");

	tcase_add_loop_test(tc, handshake, 0, 2);
	tcase_add_loop_test(tc, told_late, 0, 2);
	tcase_add_loop_test(tc, clients, 0, 2);
	tcase_add_loop_test(tc, input_before_open, 0, 2);
	tcase_add_loop_test(tc, guest_closes, 0, 2);
	tcase_add_loop_test(tc, reset_while_held, 0, 2);
	tcase_add_loop_test(tc, not_negotiated, 0, 2);
	tcase_add_loop_test(tc, bad_messages, 0, Q_ARRAY_LEN(message_rows));
	tcase_add_loop_test(tc, bad_order, 0, 2);
	tcase_add_loop_test(tc, small_buffers, 0, 2);
	tcase_add_loop_test(tc, wrong_direction, 0, 4 * N_QUEUES);
	return fixture_main(s);
}
