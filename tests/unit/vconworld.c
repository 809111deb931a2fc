/* SPDX-License-Identifier: Apache-2.0 */
/* See vconworld.h. */
#include "tests/unit/vconworld.h"

#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

void con_create(struct con *c, bool mmio, bool ports)
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

void con_live(struct con *c, uint64_t features, unsigned n_queues)
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

void con_open(struct con *c, bool mmio, bool multi)
{
	con_create(c, mmio, multi);
	con_live(c, multi ? MULTI | SIZE : SIZE, multi ? N_QUEUES : 2);
}

void con_close(struct con *c)
{
	vdh_fini(&c->h);
	for (unsigned i = 0; i < N_QUEUES; i++)
		qdriver_fini(&c->q[i]);
	for (unsigned i = 0; i < 2; i++) {
		qfd_close(&c->in[i]);
		qfd_close(&c->out[i]);
	}
}

void con_kick(struct con *c, unsigned q)
{
	qdriver_publish(&c->q[q]);
	vdd_notify(&c->d, q);
	vdh_settle(&c->h);
}

gpa_t con_new_buf(struct con *c)
{
	gpa_t at = gpa(c->next_buf);

	c->next_buf += BUF_BYTES;
	if (c->next_buf >= VDH_RAM_GPA + VDH_RAM_BYTES)
		c->next_buf = VDH_RAM_GPA + 0x100000;
	return at;
}

void con_give(struct con *c, unsigned q, uint32_t len)
{
	gpa_t at = con_new_buf(c);
	const struct qdriver_buf b = { at, len, true };

	ck_assert_int_eq(qdriver_add(&c->q[q], &b, 1, (void *)(uintptr_t)at.v), QDRIVER_OK);
	con_kick(c, q);
}

bool con_put(struct con *c, unsigned q, const void *bytes, uint32_t len)
{
	gpa_t at = con_new_buf(c);
	const struct qdriver_buf b = { at, len, false };

	qmem_write(c->h.mem, at, bytes, len);
	if (qdriver_add(&c->q[q], &b, 1, (void *)(uintptr_t)at.v) != QDRIVER_OK)
		return false;
	con_kick(c, q);
	return true;
}

int con_take(struct con *c, unsigned q, void *buf)
{
	uint32_t len;
	void *at;

	if (qdriver_poll(&c->q[q], &at, &len) != QDRIVER_OK)
		return -1;
	if (buf)
		qmem_read(c->h.mem, gpa((uintptr_t)at), buf, len);
	return (int)len;
}

void con_expect_in(struct con *c, unsigned q, const char *want)
{
	char got[BUF_BYTES + 1] = "";
	int n = con_take(c, q, got);

	ck_assert_int_eq(n, (int)strlen(want));
	got[n] = '\0';
	ck_assert_str_eq(got, want);
}

void con_expect_fd(int fd, const char *want)
{
	char got[256] = "";
	ssize_t n = read(fd, got, sizeof(got) - 1);

	ck_assert_str_eq(n < 0 ? "" : got, want);
}

void con_type(struct con *c, int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	vdh_settle(&c->h);
}

int con_client(struct con *c, const char *port)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	vdh_stream_give(&c->h, vdh_stream(&c->h, port), pair[0], pair[0], true);
	vdh_settle(&c->h);
	return pair[1];
}

/* ---- control messages ---- */

void con_say(struct con *c, uint32_t id, uint16_t event, uint16_t value)
{
	const struct virtio_console_control m = { htole32(id), htole16(event), htole16(value) };

	ck_assert(con_put(c, VCON_CTRL_TX, &m, sizeof(m)));
	ck_assert_int_eq(con_take(c, VCON_CTRL_TX, NULL), 0);
}

void con_expect_told(struct con *c, uint32_t id, uint16_t event, uint16_t value, const void *more,
		     size_t more_bytes)
{
	uint8_t got[BUF_BYTES];
	struct virtio_console_control m;
	int n = con_take(c, VCON_CTRL_RX, got);

	ck_assert_msg(n >= 0, "nothing was told, expected event %u of port %u", event, id);
	memcpy(&m, got, sizeof(m));
	ck_assert_uint_eq(le16toh(m.event), event);
	ck_assert_uint_eq(le32toh(m.id), id);
	ck_assert_uint_eq(le16toh(m.value), value);
	ck_assert_int_eq(n, (int)(sizeof(m) + more_bytes));
	ck_assert_int_eq(memcmp(got + sizeof(m), more, more_bytes), 0);
	con_give(c, VCON_CTRL_RX, 64);
}

void con_expect_quiet(struct con *c)
{
	ck_assert_int_eq(con_take(c, VCON_CTRL_RX, NULL), -1);
}

void con_hello(struct con *c)
{
	unsigned faults = c->h.n_faults;

	for (unsigned i = 0; i < 4; i++)
		con_give(c, VCON_CTRL_RX, 64);
	con_say(c, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (unsigned i = 0; i < 3; i++)
		con_expect_told(c, i, VIRTIO_CONSOLE_PORT_ADD, 1, "", 0);
	con_expect_quiet(c);
	con_say(c, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	con_expect_told(c, 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, "", 0);
	con_expect_told(c, 0, VIRTIO_CONSOLE_RESIZE, 0, "\0\0\0\0", 4);
	con_expect_told(c, 0, VIRTIO_CONSOLE_PORT_OPEN, 1, "", 0);
	con_say(c, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	con_expect_told(c, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "one", 3);
	con_say(c, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	con_expect_told(c, 2, VIRTIO_CONSOLE_PORT_NAME, 1, "two", 3);
	con_expect_quiet(c);
	con_say(c, 0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	con_say(c, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	ck_assert_uint_eq(c->h.n_faults, faults);
}
