/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_console.c and virtio_console_ctrl.c over both transports: bytes both ways and what
 * becomes of them when one side does not take them, the control messages in and out of order,
 * clients that come and go, size, emergency writes, what a hostile driver sends.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <signal.h>
#include <sys/socket.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vddriver.h"
#include "tests/unit/vdstream.h"
#include "vdevs/virtio_console.h"

#define N_QUEUES 8u
#define RING_NUM 16u
#define BUF_BYTES 4096u
#define MULTI VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT)
#define SIZE VIRTIO_BIT(VIRTIO_CONSOLE_F_SIZE)

/* Ports: 0 on two pipes, "one" and "two" without a client. */
struct con {
	struct vdh h;
	struct vdd d;
	struct qdriver q[N_QUEUES];
	uint64_t next_buf;
	int in[2], out[2];	/* of port 0: in[1] and out[0] are the test's */
};

static void con_create(struct con *c, bool mmio, bool ports)
{
	memset(c, 0, sizeof(*c));
	signal(SIGPIPE, SIG_IGN);
	vdh_init(&c->h);
	ck_assert_int_eq(pipe2(c->in, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(pipe2(c->out, O_CLOEXEC | O_NONBLOCK), 0);
	c->h.con_in_fd = c->in[0];
	c->h.con_out_fd = c->out[1];
	if (ports) {
		vdh_arg(&c->h, "port", "one", 0);
		vdh_arg(&c->h, "port", "two,>x", 0);
		vdh_arg(&c->h, "port", "two,<y", 0);
	}
	if (mmio)
		ck_assert_int_eq(vdh_create(&c->h, "virtio-console", VD_MEM, VDD_MMIO, 1), 0);
	else
		ck_assert_int_eq(vdh_create(&c->h, "virtio-console", VD_PCI, 0, 0), 0);
	vdd_init(&c->d, &c->h);
}

static void con_live(struct con *c, uint64_t features, unsigned n_queues)
{
	vdd_negotiate(&c->d, VDD_VERSION_1 | features);
	c->next_buf = VDH_RAM_GPA + 0x100000;
	for (unsigned i = 0; i < n_queues; i++) {
		qdriver_fini(&c->q[i]);
		ck_assert_int_eq(qdriver_init(&c->q[i], c->h.mem, gpa(VDH_RAM_GPA + i * 0x10000),
					      RING_NUM, 0, gpa(0), 0), 0);
		vdd_queue_set(&c->d, i, &c->q[i].cfg);
		vdd_queue_enable(&c->d, i);
	}
	vdd_set_status(&c->d, VDD_STATUS_LIVE);
	vdh_settle(&c->h);
}

static void con_open(struct con *c, bool mmio, bool multi)
{
	con_create(c, mmio, multi);
	con_live(c, multi ? MULTI | SIZE : SIZE, multi ? N_QUEUES : 2);
}

static void con_close(struct con *c)
{
	vdh_fini(&c->h);
	for (unsigned i = 0; i < N_QUEUES; i++)
		qdriver_fini(&c->q[i]);
	for (unsigned i = 0; i < 2; i++) {
		qfd_close(&c->in[i]);
		qfd_close(&c->out[i]);
	}
}

static void kick(struct con *c, unsigned q)
{
	qdriver_publish(&c->q[q]);
	vdd_notify(&c->d, q);
	vdh_settle(&c->h);
}

static gpa_t new_buf(struct con *c)
{
	gpa_t at = gpa(c->next_buf);

	c->next_buf += BUF_BYTES;
	if (c->next_buf >= VDH_RAM_GPA + VDH_RAM_BYTES)
		c->next_buf = VDH_RAM_GPA + 0x100000;
	return at;
}

/* A buffer of @len bytes for the device to write. */
static void give(struct con *c, unsigned q, uint32_t len)
{
	gpa_t at = new_buf(c);
	const struct qdriver_buf b = { at, len, true };

	ck_assert_int_eq(qdriver_add(&c->q[q], &b, 1, (void *)(uintptr_t)at.v), QDRIVER_OK);
	kick(c, q);
}

/* Bytes for the device, in one part. False: the ring is full. */
static bool put(struct con *c, unsigned q, const void *bytes, uint32_t len)
{
	gpa_t at = new_buf(c);
	const struct qdriver_buf b = { at, len, false };

	qmem_write(c->h.mem, at, bytes, len);
	if (qdriver_add(&c->q[q], &b, 1, (void *)(uintptr_t)at.v) != QDRIVER_OK)
		return false;
	kick(c, q);
	return true;
}

/* What the device gave back: bytes written to it in @buf, -1 when there is nothing. */
static int take(struct con *c, unsigned q, void *buf)
{
	uint32_t len;
	void *at;

	if (qdriver_poll(&c->q[q], &at, &len) != QDRIVER_OK)
		return -1;
	if (buf)
		qmem_read(c->h.mem, gpa((uintptr_t)at), buf, len);
	return (int)len;
}

static void expect_in(struct con *c, unsigned q, const char *want)
{
	char got[BUF_BYTES + 1] = "";
	int n = take(c, q, got);

	ck_assert_int_eq(n, (int)strlen(want));
	got[n] = '\0';
	ck_assert_str_eq(got, want);
}

static void expect_fd(int fd, const char *want)
{
	char got[256] = "";
	ssize_t n = read(fd, got, sizeof(got) - 1);

	ck_assert_str_eq(n < 0 ? "" : got, want);
}

static void type(struct con *c, int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	vdh_settle(&c->h);
}

/* A client of a port: the test's end of its socket. */
static int client(struct con *c, const char *port)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	vdh_stream_give(&c->h, vdh_stream(&c->h, port), pair[0], pair[0], true);
	vdh_settle(&c->h);
	return pair[1];
}

/* ---- control messages ---- */

static void say(struct con *c, uint32_t id, uint16_t event, uint16_t value)
{
	const struct virtio_console_control m = { htole32(id), htole16(event), htole16(value) };

	ck_assert(put(c, VCON_CTRL_TX, &m, sizeof(m)));
	ck_assert_int_eq(take(c, VCON_CTRL_TX, NULL), 0);
}

static void expect_told(struct con *c, uint32_t id, uint16_t event, uint16_t value,
			const void *more, size_t more_bytes)
{
	uint8_t got[BUF_BYTES];
	struct virtio_console_control m;
	int n = take(c, VCON_CTRL_RX, got);

	ck_assert_msg(n >= 0, "nothing was told, expected event %u of port %u", event, id);
	memcpy(&m, got, sizeof(m));
	ck_assert_uint_eq(le16toh(m.event), event);
	ck_assert_uint_eq(le32toh(m.id), id);
	ck_assert_uint_eq(le16toh(m.value), value);
	ck_assert_int_eq(n, (int)(sizeof(m) + more_bytes));
	ck_assert_int_eq(memcmp(got + sizeof(m), more, more_bytes), 0);
	give(c, VCON_CTRL_RX, 64);
}

static void expect_quiet(struct con *c)
{
	ck_assert_int_eq(take(c, VCON_CTRL_RX, NULL), -1);
}

/* The whole handshake: all ports are there, "one" is open in the guest. */
static void hello(struct con *c)
{
	unsigned faults = c->h.n_faults;

	for (unsigned i = 0; i < 4; i++)
		give(c, VCON_CTRL_RX, 64);
	say(c, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (unsigned i = 0; i < 3; i++)
		expect_told(c, i, VIRTIO_CONSOLE_PORT_ADD, 1, "", 0);
	expect_quiet(c);
	say(c, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_told(c, 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, "", 0);
	expect_told(c, 0, VIRTIO_CONSOLE_RESIZE, 0, "\0\0\0\0", 4);
	expect_told(c, 0, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	say(c, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_told(c, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "one", 3);
	say(c, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_told(c, 2, VIRTIO_CONSOLE_PORT_NAME, 1, "two", 3);
	expect_quiet(c);
	say(c, 0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	say(c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	ck_assert_uint_eq(c->h.n_faults, faults);
}
#define RX_ONE 4u	/* queues of port 1 */
#define TX_ONE 5u

/* ---- what it says it is ---- */

START_TEST(offers)
{
	struct con c;
	uint64_t offered;

	con_create(&c, _i % 2, _i / 2);
	offered = vdd_offered(&c.d);
	ck_assert(offered & SIZE);
	ck_assert(offered & VIRTIO_BIT(VIRTIO_CONSOLE_F_EMERG_WRITE));
	ck_assert_int_eq(!!(offered & MULTI), _i / 2);
	ck_assert_uint_eq(vdd_config(&c.d, 0, 4), 0);
	ck_assert_uint_eq(vdd_config(&c.d, 4, 4), _i / 2 ? 3 : 1);
	ck_assert_uint_ne(vdd_queue_max(&c.d, _i / 2 ? 7 : 1), 0);
	ck_assert_uint_eq(vdd_queue_max(&c.d, _i / 2 ? 8 : 2), 0);
	con_close(&c);
}
END_TEST

/* ---- bytes ---- */

START_TEST(both_ways)
{
	struct con c;
	gpa_t at;

	con_open(&c, _i % 2, _i / 2);
	give(&c, 0, 64);
	type(&c, c.in[1], "from the host");
	expect_in(&c, 0, "from the host");
	ck_assert(put(&c, 1, "to the host", 11));
	ck_assert_int_eq(take(&c, 1, NULL), 0);
	expect_fd(c.out[0], "to the host");
	/* in three parts */
	at = new_buf(&c);
	qmem_write(c.h.mem, at, "abcdef", 6);
	const struct qdriver_buf b[] = { { gpa(at.v + 4), 2, false }, { at, 1, false },
					 { gpa(at.v + 1), 3, false } };
	ck_assert_int_eq(qdriver_add(&c.q[1], b, 3, &c), QDRIVER_OK);
	kick(&c, 1);
	expect_fd(c.out[0], "efabcd");
	con_close(&c);
}
END_TEST

/* Input comes before the buffers, and more than they hold: the rest waits. */
START_TEST(input_waits)
{
	struct con c;
	char text[1000], got[BUF_BYTES];
	unsigned n = 0;

	con_open(&c, _i, false);
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	ck_assert_int_eq(write(c.in[1], text, sizeof(text)), sizeof(text));
	vdh_settle(&c.h);
	while (n < sizeof(text)) {
		give(&c, 0, 7);
		int r = take(&c, 0, got);
		ck_assert_int_eq(r, (int)Q_MIN(7u, sizeof(text) - n));
		ck_assert_int_eq(memcmp(got, text + n, (size_t)r), 0);
		n += (unsigned)r;
	}
	give(&c, 0, 7);
	ck_assert_int_eq(take(&c, 0, NULL), -1);
	type(&c, c.in[1], "end");
	expect_in(&c, 0, "end");
	con_close(&c);
}
END_TEST

/* Nobody reads the console: the guest never waits; what does not fit is counted. */
START_TEST(console_never_waits)
{
	struct con c;
	char bytes[BUF_BYTES], status[256], want[64];
	unsigned pipe_bytes, put_bytes = 0, got = 0;
	ssize_t n;

	con_open(&c, _i, false);
	pipe_bytes = (unsigned)fcntl(c.out[1], F_GETPIPE_SZ);
	memset(bytes, 'x', sizeof(bytes));
	while (put_bytes < pipe_bytes + VD_CONSOLE_OUT_BYTES + 2 * BUF_BYTES) {
		ck_assert(put(&c, 1, bytes, sizeof(bytes)));
		ck_assert_int_eq(take(&c, 1, NULL), 0);
		put_bytes += BUF_BYTES;
	}
	c.h.v->ops->status(c.h.v, status, sizeof(status));
	snprintf(want, sizeof(want), "out_dropped=%u ", 2 * BUF_BYTES);
	ck_assert_msg(strstr(status, want) != NULL, "%s", status);
	/* Input goes on meanwhile. */
	give(&c, 0, 64);
	type(&c, c.in[1], "still here");
	expect_in(&c, 0, "still here");
	while ((n = read(c.out[0], bytes, sizeof(bytes))) > 0) {
		got += (unsigned)n;
		vdh_settle(&c.h);
	}
	ck_assert_uint_eq(got, pipe_bytes + VD_CONSOLE_OUT_BYTES);
	ck_assert(put(&c, 1, "again", 5));
	expect_fd(c.out[0], "again");
	con_close(&c);
}
END_TEST

/* A slow reader of a port: the guest's buffers wait, nothing is lost, input goes on. */
START_TEST(port_waits_for_reader)
{
	struct con c;
	char bytes[BUF_BYTES], got[BUF_BYTES];
	unsigned sent = 0, returned = 0, received = 0;
	ssize_t n;
	int fd;

	con_open(&c, _i, true);
	hello(&c);
	fd = client(&c, "one");
	for (;;) {	/* until the ring is full of what the host does not take */
		memset(bytes, 'a' + (int)(sent % 26), sizeof(bytes));
		if (!put(&c, TX_ONE, bytes, sizeof(bytes)))
			break;
		sent++;
		returned += take(&c, TX_ONE, NULL) == 0;
	}
	ck_assert_uint_eq(sent - returned, RING_NUM);
	give(&c, RX_ONE, 64);
	type(&c, fd, "knock");
	expect_in(&c, RX_ONE, "knock");
	while (received < sent * BUF_BYTES) {
		n = read(fd, got, sizeof(got));
		for (ssize_t i = 0; i < n; i++, received++)
			ck_assert_int_eq(got[i], 'a' + (int)(received / BUF_BYTES % 26));
		vdh_settle(&c.h);
	}
	while (take(&c, TX_ONE, NULL) == 0)
		returned++;
	ck_assert_uint_eq(returned, sent);
	qfd_close(&fd);
	con_close(&c);
}
END_TEST

/* Nobody is there: bytes are discarded at once. Who leaves with bytes waiting frees the guest. */
START_TEST(port_without_reader)
{
	struct con c;
	char bytes[BUF_BYTES] = "";
	int fd;

	con_open(&c, _i, true);
	hello(&c);
	ck_assert(put(&c, TX_ONE, "lost", 4));
	ck_assert_int_eq(take(&c, TX_ONE, NULL), 0);
	fd = client(&c, "one");
	expect_fd(fd, "");
	while (put(&c, TX_ONE, bytes, sizeof(bytes)))
		while (take(&c, TX_ONE, NULL) == 0)
			continue;
	qfd_close(&fd);
	vdh_settle(&c.h);
	for (unsigned i = 0; i < RING_NUM; i++)
		ck_assert_int_eq(take(&c, TX_ONE, NULL), 0);
	con_close(&c);
}
END_TEST

/* `delayed`: the guest waits for the device, and what it wrote arrives. */
START_TEST(port_awaited)
{
	struct con c;
	struct vd_stream *s;

	con_open(&c, _i, true);
	s = vdh_stream(&c.h, "two");
	vdh_stream_give(&c.h, s, -1, -EAGAIN, false);
	ck_assert(put(&c, 7, "early", 5));
	ck_assert_int_eq(take(&c, 7, NULL), -1);
	vdh_stream_give(&c.h, s, -1, c.out[1], false);
	vdh_settle(&c.h);
	ck_assert_int_eq(take(&c, 7, NULL), 0);
	expect_fd(c.out[0], "early");
	con_close(&c);
}
END_TEST

/* ---- ports ---- */

START_TEST(handshake)
{
	struct con c;

	con_open(&c, _i, true);
	hello(&c);
	con_close(&c);
}
END_TEST

/* What is to be told waits for buffers, and is true when it is told. */
START_TEST(told_late)
{
	struct con c;
	int fd;

	con_open(&c, _i, true);
	say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	say(&c, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	fd = client(&c, "one");
	for (unsigned i = 0; i < 8; i++)
		give(&c, VCON_CTRL_RX, 64);
	expect_told(&c, 0, VIRTIO_CONSOLE_PORT_ADD, 1, "", 0);
	expect_told(&c, 1, VIRTIO_CONSOLE_PORT_ADD, 1, "", 0);
	expect_told(&c, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "one", 3);
	expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	expect_told(&c, 2, VIRTIO_CONSOLE_PORT_ADD, 1, "", 0);
	expect_quiet(&c);
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
	hello(&c);
	fd = client(&c, "one");
	expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	expect_quiet(&c);
	qfd_close(&fd);
	vdh_settle(&c.h);	/* nobody gives a buffer, so nobody reads, so nobody knows */
	expect_quiet(&c);
	give(&c, RX_ONE, 64);
	expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, "", 0);
	fd = client(&c, "one");
	expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	expect_quiet(&c);
	/* One leaves, the next is there before the driver gives a buffer for the message. */
	while (take(&c, VCON_CTRL_RX, NULL) >= 0)
		continue;
	con_live(&c, MULTI, N_QUEUES);
	qfd_close(&fd);
	fd = client(&c, "one");
	say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	say(&c, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	for (unsigned i = 0; i < 5; i++)
		give(&c, VCON_CTRL_RX, 64);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_ge(take(&c, VCON_CTRL_RX, NULL), 8);
	qfd_close(&fd);
	give(&c, RX_ONE, 64);
	next = client(&c, "one");
	type(&c, next, "second");
	ck_assert_int_eq(take(&c, RX_ONE, NULL), -1);	/* not before he is announced */
	for (unsigned i = 0; i < 2; i++)
		give(&c, VCON_CTRL_RX, 64);
	expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, "", 0);
	expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	expect_in(&c, RX_ONE, "second");
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
	hello(&c);
	say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	give(&c, RX_ONE, 64);
	fd = client(&c, "one");
	type(&c, fd, "patience");
	ck_assert_int_eq(take(&c, RX_ONE, NULL), -1);
	say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	expect_in(&c, RX_ONE, "patience");
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
	hello(&c);
	fd = client(&c, "one");
	expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	while (put(&c, TX_ONE, bytes, sizeof(bytes))) {
		sent += BUF_BYTES;
		while (take(&c, TX_ONE, NULL) == 0)
			continue;
	}
	say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	ck_assert_uint_eq(vdh_stream(&c.h, "one")->n_hangups, 0);
	while ((n = read(fd, got, sizeof(got))) != 0) {
		received += n > 0 ? (unsigned)n : 0;
		vdh_settle(&c.h);
	}
	ck_assert_uint_eq(received, sent);
	ck_assert_uint_eq(vdh_stream(&c.h, "one")->n_hangups, 1);
	expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, "", 0);
	qfd_close(&fd);
	/* The next user in the guest, and the next client. */
	say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	fd = client(&c, "one");
	expect_told(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	while (take(&c, TX_ONE, NULL) == 0)
		continue;
	ck_assert(put(&c, TX_ONE, "new", 3));
	expect_fd(fd, "new");
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
	hello(&c);
	fd = client(&c, "one");
	give(&c, 0, 64);
	give(&c, RX_ONE, 64);
	while (put(&c, TX_ONE, bytes, sizeof(bytes)))
		while (take(&c, TX_ONE, NULL) == 0)
			continue;
	vdd_set_status(&c.d, 0);
	ck_assert_uint_eq(vdd_status(&c.d), 0);
	ck_assert_uint_eq(vdh_stream(&c.h, "one")->n_hangups, 1);
	qfd_close(&fd);
	type(&c, c.in[1], "typed meanwhile");
	con_live(&c, MULTI | SIZE, N_QUEUES);
	hello(&c);
	give(&c, 0, 64);
	expect_in(&c, 0, "typed meanwhile");
	fd = client(&c, "one");
	ck_assert(put(&c, TX_ONE, "new", 3));
	ck_assert_int_eq(take(&c, TX_ONE, NULL), 0);
	expect_fd(fd, "new");
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
	give(&c, 0, 64);
	type(&c, c.in[1], "in");
	expect_in(&c, 0, "in");
	for (unsigned q = 2; q < N_QUEUES; q++)
		ck_assert(put(&c, q, "x", 1));
	ck_assert(put(&c, 1, "out", 3));
	expect_fd(c.out[0], "out");
	for (unsigned q = 2; q < N_QUEUES; q++)
		ck_assert_int_eq(take(&c, q, NULL), -1);
	con_close(&c);
}
END_TEST

/* ---- size, emergency ---- */

START_TEST(size_changes)
{
	struct con c;
	struct vd_stream *s;
	uint8_t want[] = { 132, 0, 43, 0 };

	con_create(&c, _i, true);
	s = vdh_stream(&c.h, NULL);
	s->is_tty = true;
	s->size[0] = 80;
	s->size[1] = 24;
	vdh_stream_give(&c.h, s, c.in[0], c.out[1], false);	/* as one that was awaited */
	ck_assert_uint_eq(vdd_config(&c.d, 0, 4), 24 << 16 | 80);
	con_live(&c, MULTI | SIZE, N_QUEUES);
	for (unsigned i = 0; i < 7; i++)
		give(&c, VCON_CTRL_RX, 64);
	say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	say(&c, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	while (take(&c, VCON_CTRL_RX, NULL) >= 0)
		continue;
	vdd_interrupts(&c.d);
	vdh_msis(&c.h, 0);
	vdh_advance(&c.h, Q_NSEC_PER_SEC);
	vdh_settle(&c.h);
	expect_quiet(&c);
	s->size[0] = 132;
	s->size[1] = 43;
	vdh_advance(&c.h, Q_NSEC_PER_SEC);
	vdh_settle(&c.h);
	ck_assert_uint_eq(vdd_config(&c.d, 0, 2), 132);
	ck_assert_uint_eq(vdd_config(&c.d, 2, 2), 43);
	expect_told(&c, 0, VIRTIO_CONSOLE_RESIZE, 0, want, sizeof(want));
	con_close(&c);
}
END_TEST

static void write_config(struct con *c, unsigned off, unsigned size, uint64_t val)
{
	uint64_t at = c->d.pci ? c->d.device : VDD_MMIO + 0x100;

	vdh_write(&c->h, VD_MEM, at + off, size, val);
}

START_TEST(emergency_write)
{
	struct con c;

	con_create(&c, _i, false);
	write_config(&c, 8, 4, 'a');	/* before the driver is anything */
	con_live(&c, 0, 2);
	write_config(&c, 8, 4, 0xffffff00 | 'b');
	vdd_set_status(&c.d, 0);
	write_config(&c, 8, 1, 'c');
	expect_fd(c.out[0], "abc");
	ck_assert_uint_eq(c.h.n_faults, 0);
	for (unsigned off = 0; off < 8; off += 2)
		write_config(&c, off, 2, 0xffff);
	write_config(&c, 10, 2, 'd');
	write_config(&c, 12, 4, 'd');
	ck_assert_uint_eq(vdh_fault_count(&c.h, VD_FAULT_BAD_REQUEST), 6);
	ck_assert_uint_eq(vdd_config(&c.d, 0, 8), 1ull << 32);
	expect_fd(c.out[0], "");
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
	hello(&c);
	memcpy(bytes, &m, sizeof(m));
	ck_assert(put(&c, VCON_CTRL_TX, bytes, message_rows[_i].len));
	ck_assert_int_eq(take(&c, VCON_CTRL_TX, NULL), 0);
	ck_assert_msg(c.h.n_faults == message_rows[_i].fault, "%s", message_rows[_i].what);
	/* It goes on as if nothing had been said. */
	give(&c, 0, 64);
	type(&c, c.in[1], "on");
	expect_in(&c, 0, "on");
	ck_assert_uint_eq(vdd_status(&c.d), VDD_STATUS_LIVE);
	con_close(&c);
}
END_TEST

/* Messages before the one that they need. */
START_TEST(bad_order)
{
	struct con c;

	con_open(&c, _i, true);
	say(&c, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	ck_assert_uint_eq(c.h.n_faults, 2);
	say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	say(&c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
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
		give(&c, VCON_CTRL_RX, len);
	say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (uint32_t len = 1; len < 8; len++)
		ck_assert_int_eq(take(&c, VCON_CTRL_RX, NULL), 0);
	ck_assert_uint_eq(c.h.n_faults, 7);
	give(&c, VCON_CTRL_RX, 8);
	expect_told(&c, 0, VIRTIO_CONSOLE_PORT_ADD, 1, "", 0);
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
		hello(&c);
		say(&c, 2, VIRTIO_CONSOLE_PORT_OPEN, 1);
		vdh_stream_give(&c.h, vdh_stream(&c.h, "one"), c.in[0], -1, false);
		vdh_stream_give(&c.h, vdh_stream(&c.h, "two"), c.in[0], -1, false);
		vdh_settle(&c.h);
	}
	at = new_buf(&c);
	const struct qdriver_buf b[] = { { at, 16, false }, { gpa(at.v + 16), 16, true } };
	if (_i / 2 < (int)N_QUEUES)
		ck_assert_int_eq(qdriver_add(&c.q[q], b, 2, &c), QDRIVER_OK);
	else
		ck_assert_int_eq(qdriver_add(&c.q[q], device_reads ? &b[1] : &b[0], 1, &c),
				 QDRIVER_OK);
	if (q == VCON_CTRL_RX)
		say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	kick(&c, q);
	ck_assert(vdd_status(&c.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(vdh_fault_count(&c.h, VD_FAULT_BAD_CHAIN), 1);
	vdh_stream_give(&c.h, vdh_stream(&c.h, "one"), -1, -1, false);
	vdh_stream_give(&c.h, vdh_stream(&c.h, "two"), -1, -1, false);
	con_live(&c, MULTI | SIZE, N_QUEUES);
	hello(&c);
	con_close(&c);
}
END_TEST

/* ---- configuration ---- */

static const struct { const char *name, *text; bool ok; } option_rows[] = {
	{ "port", "a", true }, { "port", "a.b:c+d_e-f", true }, { "port", "a,-", true },
	{ "port", "a,socket:/x", true }, { "port", "a,<x", true },
	{ "port", "abcdefghijklmnopqrstuvwxyz012345", true },
	{ "port", "abcdefghijklmnopqrstuvwxyz0123456", false },
	{ "port", "", false }, { "port", ",x", false }, { "port", "a,", false },
	{ "port", "a,<", false }, { "port", "a/b", false }, { "port", ".a", false },
	{ "port", "a b", false }, { "port", "a,socket:", false },
	{ "delayed", "10", true }, { "delayed", "forever", true }, { "delayed", "soon", false },
	{ "hostdev", "", false }, { "hostdev", ">-", true },
};
START_TEST(options)
{
	struct vdh h;

	vdh_init(&h);
	vdh_arg(&h, option_rows[_i].name, option_rows[_i].text, 0);
	ck_assert_int_eq(vdh_create(&h, "virtio-console", VD_PCI, 0, 0),
			 option_rows[_i].ok ? 0 : -EINVAL);
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_console");
	TCase *tc = fixture_case(s, "virtio_console");

	tcase_add_loop_test(tc, offers, 0, 4);
	tcase_add_loop_test(tc, both_ways, 0, 4);
	tcase_add_loop_test(tc, input_waits, 0, 2);
	tcase_add_loop_test(tc, console_never_waits, 0, 2);
	tcase_add_loop_test(tc, port_waits_for_reader, 0, 2);
	tcase_add_loop_test(tc, port_without_reader, 0, 2);
	tcase_add_loop_test(tc, port_awaited, 0, 2);
	tcase_add_loop_test(tc, handshake, 0, 2);
	tcase_add_loop_test(tc, told_late, 0, 2);
	tcase_add_loop_test(tc, clients, 0, 2);
	tcase_add_loop_test(tc, input_before_open, 0, 2);
	tcase_add_loop_test(tc, guest_closes, 0, 2);
	tcase_add_loop_test(tc, reset_while_held, 0, 2);
	tcase_add_loop_test(tc, not_negotiated, 0, 2);
	tcase_add_loop_test(tc, size_changes, 0, 2);
	tcase_add_loop_test(tc, emergency_write, 0, 2);
	tcase_add_loop_test(tc, bad_messages, 0, Q_ARRAY_LEN(message_rows));
	tcase_add_loop_test(tc, bad_order, 0, 2);
	tcase_add_loop_test(tc, small_buffers, 0, 2);
	tcase_add_loop_test(tc, wrong_direction, 0, 4 * N_QUEUES);
	tcase_add_loop_test(tc, options, 0, Q_ARRAY_LEN(option_rows));
	return fixture_main(s);
}
