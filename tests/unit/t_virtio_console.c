/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_console.c and virtio_console_cfg.c over both transports: bytes both ways and what
 * becomes of them when one side does not take them; size, emergency writes, configuration.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>

#include "tests/unit/vconworld.h"

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
	con_give(&c, 0, 64);
	con_type(&c, c.in[1], "from the host");
	con_expect_in(&c, 0, "from the host");
	ck_assert(con_put(&c, 1, "to the host", 11));
	ck_assert_int_eq(con_take(&c, 1, NULL), 0);
	con_expect_fd(c.out[0], "to the host");
	/* in three parts */
	at = con_new_buf(&c);
	qmem_write(c.h.mem, at, "abcdef", 6);
	const struct qdriver_buf b[] = { { gpa(at.v + 4), 2, false }, { at, 1, false },
					 { gpa(at.v + 1), 3, false } };
	ck_assert_int_eq(qdriver_add(&c.q[1], b, 3, &c), QDRIVER_OK);
	con_kick(&c, 1);
	con_expect_fd(c.out[0], "efabcd");
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
		con_give(&c, 0, 7);
		int r = con_take(&c, 0, got);
		ck_assert_int_eq(r, (int)Q_MIN(7u, sizeof(text) - n));
		ck_assert_int_eq(memcmp(got, text + n, (size_t)r), 0);
		n += (unsigned)r;
	}
	con_give(&c, 0, 7);
	ck_assert_int_eq(con_take(&c, 0, NULL), -1);
	con_type(&c, c.in[1], "end");
	con_expect_in(&c, 0, "end");
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
		ck_assert(con_put(&c, 1, bytes, sizeof(bytes)));
		ck_assert_int_eq(con_take(&c, 1, NULL), 0);
		put_bytes += BUF_BYTES;
	}
	c.h.v->ops->status(c.h.v, status, sizeof(status));
	snprintf(want, sizeof(want), "out_dropped=%u ", 2 * BUF_BYTES);
	ck_assert_msg(strstr(status, want) != NULL, "%s", status);
	/* Input goes on meanwhile. */
	con_give(&c, 0, 64);
	con_type(&c, c.in[1], "still here");
	con_expect_in(&c, 0, "still here");
	while ((n = read(c.out[0], bytes, sizeof(bytes))) > 0) {
		got += (unsigned)n;
		vdh_settle(&c.h);
	}
	ck_assert_uint_eq(got, pipe_bytes + VD_CONSOLE_OUT_BYTES);
	ck_assert(con_put(&c, 1, "again", 5));
	con_expect_fd(c.out[0], "again");
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
	con_hello(&c);
	fd = con_client(&c, "one");
	for (;;) {	/* until the ring is full of what the host does not take */
		memset(bytes, 'a' + (int)(sent % 26), sizeof(bytes));
		if (!con_put(&c, TX_ONE, bytes, sizeof(bytes)))
			break;
		sent++;
		returned += con_take(&c, TX_ONE, NULL) == 0;
	}
	ck_assert_uint_eq(sent - returned, RING_NUM);
	con_give(&c, RX_ONE, 64);
	con_type(&c, fd, "knock");
	con_expect_in(&c, RX_ONE, "knock");
	while (received < sent * BUF_BYTES) {
		n = read(fd, got, sizeof(got));
		for (ssize_t i = 0; i < n; i++, received++)
			ck_assert_int_eq(got[i], 'a' + (int)(received / BUF_BYTES % 26));
		vdh_settle(&c.h);
	}
	while (con_take(&c, TX_ONE, NULL) == 0)
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
	con_hello(&c);
	ck_assert(con_put(&c, TX_ONE, "lost", 4));
	ck_assert_int_eq(con_take(&c, TX_ONE, NULL), 0);
	fd = con_client(&c, "one");
	con_expect_fd(fd, "");
	while (con_put(&c, TX_ONE, bytes, sizeof(bytes)))
		while (con_take(&c, TX_ONE, NULL) == 0)
			continue;
	qfd_close(&fd);
	vdh_settle(&c.h);
	for (unsigned i = 0; i < RING_NUM; i++)
		ck_assert_int_eq(con_take(&c, TX_ONE, NULL), 0);
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
	ck_assert(con_put(&c, 7, "early", 5));
	ck_assert_int_eq(con_take(&c, 7, NULL), -1);
	vdh_stream_give(&c.h, s, -1, c.out[1], false);
	vdh_settle(&c.h);
	ck_assert_int_eq(con_take(&c, 7, NULL), 0);
	con_expect_fd(c.out[0], "early");
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
		con_give(&c, VCON_CTRL_RX, 64);
	con_say(&c, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	con_say(&c, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	while (con_take(&c, VCON_CTRL_RX, NULL) >= 0)
		continue;
	vdd_interrupts(&c.d);
	vdh_msis(&c.h, 0);
	vdh_advance(&c.h, Q_NSEC_PER_SEC);
	vdh_settle(&c.h);
	con_expect_quiet(&c);
	s->size[0] = 132;
	s->size[1] = 43;
	vdh_advance(&c.h, Q_NSEC_PER_SEC);
	vdh_settle(&c.h);
	ck_assert_uint_eq(vdd_config(&c.d, 0, 2), 132);
	ck_assert_uint_eq(vdd_config(&c.d, 2, 2), 43);
	con_expect_told(&c, 0, VIRTIO_CONSOLE_RESIZE, 0, want, sizeof(want));
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
	con_expect_fd(c.out[0], "abc");
	ck_assert_uint_eq(c.h.n_faults, 0);
	for (unsigned off = 0; off < 8; off += 2)
		write_config(&c, off, 2, 0xffff);
	write_config(&c, 10, 2, 'd');
	write_config(&c, 12, 4, 'd');
	ck_assert_uint_eq(vdh_fault_count(&c.h, VD_FAULT_BAD_REQUEST), 6);
	ck_assert_uint_eq(vdd_config(&c.d, 0, 8), 1ull << 32);
	con_expect_fd(c.out[0], "");
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
	tcase_add_loop_test(tc, size_changes, 0, 2);
	tcase_add_loop_test(tc, emergency_write, 0, 2);
	tcase_add_loop_test(tc, options, 0, Q_ARRAY_LEN(option_rows));
	return fixture_main(s);
}
