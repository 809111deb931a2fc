/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/ser8250.c, vdevs/pl011.c and the console stream they share: registers as the drivers of
 * Linux use them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vdharness.h"
#include "tests/unit/vdstream.h"
#include "vdevs/console.h"

#define COM1 0x3f8u
#define PL011 0x1c090000u

/* A serial vdev whose streams are pipes; in[1] and out[0] are the test's ends. */
struct serial {
	struct vdh h;
	int in[2], out[2];
};

static void serial_open(struct serial *s, const char *type, uint64_t batch_us)
{
	vdh_init(&s->h);
	ck_assert_int_eq(pipe2(s->in, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(pipe2(s->out, O_CLOEXEC | O_NONBLOCK), 0);
	s->h.con_in_fd = s->in[0];
	s->h.con_out_fd = s->out[1];
	if (batch_us)
		vdh_arg(&s->h, "batch", NULL, batch_us);
	if (!strcmp(type, "ser8250"))
		ck_assert_int_eq(vdh_create(&s->h, type, VD_IO, COM1, 1), 0);
	else
		ck_assert_int_eq(vdh_create(&s->h, type, VD_MEM, PL011, 1), 0);
}

static void serial_close(struct serial *s)
{
	vdh_fini(&s->h);
	for (unsigned i = 0; i < 2; i++) {
		qfd_close(&s->in[i]);
		qfd_close(&s->out[i]);
	}
}

static uint8_t in8(struct serial *s, unsigned reg)
{
	return (uint8_t)vdh_read(&s->h, VD_IO, COM1 + reg, 1);
}

static void out8(struct serial *s, unsigned reg, uint8_t val)
{
	vdh_write(&s->h, VD_IO, COM1 + reg, 1, val);
}

static uint32_t in32(struct serial *s, unsigned reg)
{
	return (uint32_t)vdh_read(&s->h, VD_MEM, PL011 + reg, 4);
}

static void out32(struct serial *s, unsigned reg, uint32_t val)
{
	vdh_write(&s->h, VD_MEM, PL011 + reg, 4, val);
}

static void typed(struct serial *s, const char *text)
{
	ck_assert_int_eq(write(s->in[1], text, strlen(text)), (ssize_t)strlen(text));
	vdh_settle(&s->h);
}

static void expect_out(struct serial *s, const char *want)
{
	char got[256] = { 0 };
	ssize_t n = read(s->out[0], got, sizeof(got) - 1);

	ck_assert_str_eq(n < 0 ? "" : got, want);
}

/* ---- ser8250 ---- */

/* One access each: what is written (w) to a register, or what a read of it gives. */
struct step {
	char op;	/* w, r; 0 = the end */
	uint8_t reg, val;
};
#define W(reg, val) { 'w', reg, val }
#define R(reg, val) { 'r', reg, val }
#define STEPS_MAX 24
static const struct {
	const char *what;
	struct step step[STEPS_MAX];
} uart_rows[] = {
	{ "as reset leaves it", {
		R(1, 0), R(2, 0x01), R(3, 0), R(4, 0), R(5, 0x60), R(6, 0xb0), R(7, 0) } },
	{ "IER keeps four bits", {
		W(1, 0xff), R(1, 0x0f), W(1, 0), R(1, 0) } },
	{ "scratch", {
		W(7, 0x5a), R(7, 0x5a), W(7, 0xa5), R(7, 0xa5) } },
	{ "divisor latch", {
		W(3, 0x80), W(0, 0x01), W(1, 0x02), R(0, 0x01), R(1, 0x02), W(3, 0x03), R(1, 0),
		R(3, 0x03) } },
	{ "FIFO enable shows in IIR", {
		W(2, 0x01), R(2, 0xc1), W(2, 0), R(2, 0x01) } },
	{ "64-byte FIFO is not there", {
		W(3, 0x80), W(2, 0x21), R(2, 0xc1) } },
	{ "loopback test of the probe", {
		W(4, 0x1a), R(6, 0x92), R(6, 0x90), W(4, 0), R(6, 0xb2), R(6, 0xb0) } },
	{ "loopback of all outputs", {
		W(4, 0x1f), R(6, 0xf0), W(4, 0x1b), R(6, 0xb4), R(6, 0xb0) } },
	{ "THRE comes with its enable", {
		W(1, 2), R(2, 0x02), R(2, 0x01), W(1, 0), W(1, 2), R(2, 0x02) } },
	{ "THRE comes again after a byte", {
		W(1, 2), R(2, 0x02), W(0, 'x'), R(2, 0x02), R(2, 0x01) } },
	{ "looped byte", {
		W(4, 0x10), W(1, 1), W(0, 'y'), R(5, 0x61), R(2, 0x04), R(0, 'y'), R(5, 0x60),
		R(2, 0x01) } },
	{ "overrun without FIFO", {
		W(4, 0x10), W(1, 4), W(0, 'a'), W(0, 'b'), R(2, 0x06), R(5, 0x63), R(5, 0x61),
		R(2, 0x01), R(0, 'a'), R(0, 0) } },
	{ "trigger level 4, then time-out", {
		W(2, 0x41), W(4, 0x10), W(1, 1), W(0, 1), W(0, 2), W(0, 3), R(2, 0xcc), W(0, 4),
		R(2, 0xc4), R(0, 1), R(2, 0xcc), R(0, 2), R(0, 3), R(0, 4), R(2, 0xc1) } },
	{ "clearing the receive FIFO", {
		W(2, 0x01), W(4, 0x10), W(0, 1), R(5, 0x61), W(2, 0x03), R(5, 0x60) } },
	{ "modem interrupt", {
		W(1, 8), W(4, 0x12), R(2, 0x00), R(6, 0x1a), R(2, 0x01) } },
};

START_TEST(uart_registers)
{
	struct serial s;

	serial_open(&s, "ser8250", 0);
	for (unsigned i = 0; i < STEPS_MAX; i++) {
		const struct step *st = &uart_rows[_i].step[i];

		if (!st->op)
			break;
		if (st->op == 'w')
			out8(&s, st->reg, st->val);
		else
			ck_assert_msg(in8(&s, st->reg) == st->val, "%s: step %u",
				      uart_rows[_i].what, i);
	}
	serial_close(&s);
}
END_TEST

START_TEST(uart_line_follows)
{
	struct serial s;

	serial_open(&s, "ser8250", 0);
	typed(&s, "ab");
	ck_assert(!s.h.level[0]);
	out8(&s, 1, 1);			/* receive interrupt */
	ck_assert(s.h.level[0]);
	ck_assert_int_eq(in8(&s, 0), 'a');
	ck_assert(s.h.level[0]);	/* the second byte came up */
	ck_assert_int_eq(in8(&s, 0), 'b');
	ck_assert(!s.h.level[0]);
	typed(&s, "c");
	ck_assert(s.h.level[0]);
	out8(&s, 1, 0);
	ck_assert(!s.h.level[0]);
	serial_close(&s);
}
END_TEST

START_TEST(uart_wide_access)
{
	struct serial s;

	serial_open(&s, "ser8250", 0);
	vdh_write(&s.h, VD_IO, COM1 + 6, 2, 0x7700);	/* MSR is read-only, SCR takes it */
	ck_assert_uint_eq(vdh_read(&s.h, VD_IO, COM1 + 6, 2), 0x77b0);
	ck_assert_uint_eq(vdh_read(&s.h, VD_IO, COM1 + 4, 4), 0x77b06000);
	serial_close(&s);
}
END_TEST

/* ---- streams ---- */

static const char *const serial_types[] = { "ser8250", "pl011" };

static void put(struct serial *s, char c)
{
	if (s->h.cfg.space == VD_IO)
		out8(s, 0, (uint8_t)c);
	else
		out32(s, 0, (uint32_t)c);
}

static int get(struct serial *s)
{
	if (s->h.cfg.space == VD_IO)
		return in8(s, 5) & 1 ? in8(s, 0) : -1;
	return in32(s, 0x18) & 0x10 ? -1 : (int)in32(s, 0);
}

START_TEST(output_at_once)
{
	struct serial s;

	serial_open(&s, serial_types[_i], 0);
	put(&s, 'h');
	expect_out(&s, "h");
	put(&s, 'i');
	expect_out(&s, "i");
	serial_close(&s);
}
END_TEST

START_TEST(output_batched)
{
	struct serial s;
	uint64_t began = qnow_ns();

	serial_open(&s, serial_types[_i], 30000);
	put(&s, 'h');
	put(&s, 'i');
	vdh_settle(&s.h);
	if (qnow_ns() - began < 20 * Q_NSEC_PER_MSEC)
		expect_out(&s, "");
	while (qnow_ns() - began < 60 * Q_NSEC_PER_MSEC)
		vdh_step(&s.h, 5);
	expect_out(&s, "hi");
	put(&s, '!');
	s.h.v->ops->quiesce(s.h.v);	/* the end does not wait for the time */
	expect_out(&s, "!");
	serial_close(&s);
}
END_TEST

/*
 * A reader that does not read: bytes are kept, then dropped and counted; what was kept arrives
 * later.
 */
START_TEST(output_full)
{
	struct serial s;
	unsigned pipe_bytes, total;
	char buf[4096], status[256];
	ssize_t n;

	serial_open(&s, serial_types[_i], 0);
	pipe_bytes = (unsigned)fcntl(s.out[1], F_GETPIPE_SZ);
	total = pipe_bytes + VD_CONSOLE_OUT_BYTES + 1000;
	for (unsigned i = 0; i < total; i++)
		put(&s, 'x');
	s.h.v->ops->status(s.h.v, status, sizeof(status));
	ck_assert_ptr_nonnull(strstr(status, "out_dropped=1000"));
	for (unsigned got = 0; got < pipe_bytes + VD_CONSOLE_OUT_BYTES; got += (unsigned)n) {
		while ((n = read(s.out[0], buf, sizeof(buf))) < 0)
			ck_assert(vdh_step(&s.h, 50) || errno == EAGAIN);
		ck_assert_int_gt(n, 0);
	}
	vdh_settle(&s.h);
	expect_out(&s, "");
	serial_close(&s);
}
END_TEST

START_TEST(output_reader_gone)
{
	struct serial s;
	char status[256];

	signal(SIGPIPE, SIG_IGN);
	serial_open(&s, serial_types[_i], 0);
	qfd_close(&s.out[0]);
	put(&s, 'x');
	put(&s, 'y');
	vdh_settle(&s.h);
	ck_assert_int_eq(vdh_stream(&s.h, NULL)->fds[1], -1);
	s.h.v->ops->status(s.h.v, status, sizeof(status));
	ck_assert_ptr_nonnull(strstr(status, "out_dropped=1"));	/* nobody is there for 'y' */
	serial_close(&s);
}
END_TEST

/* `delayed`: what is said before the device is there arrives, and it is read from then on. */
START_TEST(device_comes_late)
{
	struct serial s;
	struct vd_stream *stream;

	serial_open(&s, serial_types[_i], 0);
	stream = vdh_stream(&s.h, NULL);
	vdh_stream_give(&s.h, stream, -1, -EAGAIN, false);
	put(&s, 'a');
	put(&s, 'b');
	vdh_settle(&s.h);
	expect_out(&s, "");
	ck_assert_int_eq(write(s.in[1], "k", 1), 1);
	vdh_stream_give(&s.h, stream, s.in[0], s.out[1], false);
	expect_out(&s, "ab");
	vdh_settle(&s.h);
	ck_assert_int_eq(get(&s), 'k');
	serial_close(&s);
}
END_TEST

/* A client of a socket goes and another comes. */
START_TEST(clients)
{
	struct serial s;
	struct vd_stream *stream;
	char buf[8];
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	serial_open(&s, serial_types[_i], 0);
	stream = vdh_stream(&s.h, NULL);
	for (char c = 'a'; c <= 'c'; c++) {
		vdh_stream_give(&s.h, stream, -1, -1, true);
		put(&s, '-');	/* nobody hears it */
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
					    pair), 0);
		vdh_stream_give(&s.h, stream, pair[0], pair[0], true);
		put(&s, c);
		ck_assert_int_eq(read(pair[1], buf, sizeof(buf)), 1);
		ck_assert_int_eq(buf[0], c);
		ck_assert_int_eq(write(pair[1], &c, 1), 1);
		vdh_settle(&s.h);
		ck_assert_int_eq(get(&s), c);
		qfd_close(&pair[1]);
		vdh_settle(&s.h);
		ck_assert_int_eq(stream->fds[0], -1);
	}
	serial_close(&s);
}
END_TEST

/* More than the buffers hold: nothing is lost, the sender waits. */
START_TEST(input_backpressure)
{
	struct serial s;
	char text[1024];
	unsigned got = 0;
	int c;

	serial_open(&s, serial_types[_i], 0);
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	ck_assert_int_eq(write(s.in[1], text, sizeof(text)), sizeof(text));
	vdh_settle(&s.h);		/* ends: a full buffer is not watched */
	while (got < sizeof(text)) {
		c = get(&s);
		if (c < 0) {
			ck_assert(vdh_step(&s.h, 100));
			continue;
		}
		ck_assert_int_eq(c, text[got++]);
	}
	ck_assert_int_eq(get(&s), -1);
	serial_close(&s);
}
END_TEST

START_TEST(input_ends)
{
	struct serial s;

	serial_open(&s, serial_types[_i], 0);
	typed(&s, "z");
	qfd_close(&s.in[1]);
	vdh_settle(&s.h);		/* would spin on a hung-up pipe */
	ck_assert_int_eq(get(&s), 'z');
	ck_assert_int_eq(get(&s), -1);
	serial_close(&s);
}
END_TEST

START_TEST(no_streams)
{
	struct vdh h;

	vdh_init(&h);
	ck_assert_int_eq(vdh_create(&h, "ser8250", VD_IO, COM1, 0), 0);
	vdh_write(&h, VD_IO, COM1, 1, 'x');
	vdh_write(&h, VD_IO, COM1 + 1, 1, 2);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, COM1 + 5, 1), 0x60);
	ck_assert_uint_eq(h.raises[0], 0);	/* no intr was given */
	vdh_fini(&h);
}
END_TEST

/* ---- pl011 ---- */

static const struct { unsigned reg; uint32_t write, want; } pl011_rows[] = {
	{ 0xfe0, 0xff, 0x11 }, { 0xfe4, 0, 0x10 }, { 0xfe8, 0, 0x14 }, { 0xfec, 0, 0x00 },
	{ 0xff0, 0, 0x0d }, { 0xff4, 0, 0xf0 }, { 0xff8, 0, 0x05 }, { 0xffc, 0, 0xb1 },
	{ 0x018, 0xffff, 0x97 },	/* FR: empty both ways, modem there, read-only */
	{ 0x024, 0x12345, 0x2345 }, { 0x028, 0xff, 0x3f }, { 0x02c, 0x170, 0x70 },
	{ 0x030, 0xffff, 0xff87 }, { 0x034, 0xff, 0x3f }, { 0x038, 0xffff, 0x7ff },
	{ 0x03c, 0xffff, 0 }, { 0x040, 0xffff, 0 }, { 0x048, 0xff, 7 }, { 0x100, 1, 0 },
};
START_TEST(pl011_registers)
{
	struct serial s;

	serial_open(&s, "pl011", 0);
	out32(&s, pl011_rows[_i].reg, pl011_rows[_i].write);
	ck_assert_uint_eq(in32(&s, pl011_rows[_i].reg), pl011_rows[_i].want);
	serial_close(&s);
}
END_TEST

START_TEST(pl011_transmit_interrupt)
{
	struct serial s;

	serial_open(&s, "pl011", 0);
	ck_assert_uint_eq(in32(&s, 0x3c), 0);
	out32(&s, 0, 'x');
	ck_assert_uint_eq(in32(&s, 0x3c), 0x20);
	ck_assert(!s.h.level[0]);
	out32(&s, 0x38, 0x20);
	ck_assert(s.h.level[0]);
	ck_assert_uint_eq(in32(&s, 0x40), 0x20);
	out32(&s, 0x44, 0x20);
	ck_assert(!s.h.level[0]);
	serial_close(&s);
}
END_TEST

/* FIFO on, level 1/2 of 16: below it RT, from it on RX. */
START_TEST(pl011_receive_levels)
{
	struct serial s;

	serial_open(&s, "pl011", 0);
	out32(&s, 0x2c, 0x70);
	out32(&s, 0x38, 0x50);
	typed(&s, "1234567");
	ck_assert_uint_eq(in32(&s, 0x3c), 0x40);
	ck_assert(s.h.level[0]);
	typed(&s, "8");
	ck_assert_uint_eq(in32(&s, 0x3c), 0x10);
	for (char c = '1'; c <= '8'; c++)
		ck_assert_int_eq(get(&s), c);
	ck_assert_uint_eq(in32(&s, 0x3c), 0);
	ck_assert(!s.h.level[0]);
	typed(&s, "0123456789abcdef");
	ck_assert_uint_eq(in32(&s, 0x18) & 0x50, 0x40);	/* full, not empty */
	out32(&s, 0x2c, 0);				/* FIFO off: flushed */
	ck_assert_uint_eq(in32(&s, 0x18) & 0x50, 0x10);
	serial_close(&s);
}
END_TEST

START_TEST(pl011_loopback_overrun)
{
	struct serial s;

	serial_open(&s, "pl011", 0);
	out32(&s, 0x30, 0x381);
	out32(&s, 0, 'a');
	out32(&s, 0, 'b');
	ck_assert_uint_eq(in32(&s, 0x04), 8);
	ck_assert_uint_eq(in32(&s, 0x3c) & 0x400, 0x400);
	ck_assert_uint_eq(in32(&s, 0), 0x800 | 'a');
	out32(&s, 0x04, 0);
	ck_assert_uint_eq(in32(&s, 0x04), 0);
	expect_out(&s, "");
	serial_close(&s);
}
END_TEST

/* ---- configuration ---- */

static const struct { const char *name, *text; uint64_t num; bool ok; } option_rows[] = {
	{ "batch", "0", 0, true }, { "batch", "1000000", 1000000, true },
	{ "batch", "1000001", 1000001, false },
	{ "delayed", "0", 0, true }, { "delayed", "1000000", 0, true },
	{ "delayed", "forever", 0, true }, { "delayed", "1000001", 0, false },
	{ "delayed", "", 0, false }, { "delayed", "ever", 0, false },
	{ "delayed", "-1", 0, false }, { "delayed", "1s", 0, false },
	{ "delayed", "18446744073709551617", 0, false },
	{ "hostdev", "-", 0, true }, { "hostdev", "<-", 0, true }, { "hostdev", ">log", 0, true },
	{ "hostdev", "socket:/s", 0, true }, { "hostdev", "", 0, false },
	{ "hostdev", "<", 0, false }, { "hostdev", ">", 0, false },
	{ "hostdev", "socket:", 0, false }, { "hostdev", "<socket:", 0, false },
};
START_TEST(options)
{
	struct vdh h;

	vdh_init(&h);
	vdh_arg(&h, option_rows[_i].name, option_rows[_i].text, option_rows[_i].num);
	ck_assert_int_eq(vdh_create(&h, "ser8250", VD_IO, COM1, 1),
			 option_rows[_i].ok ? 0 : -EINVAL);
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_serial");
	TCase *tc = fixture_case(s, "serial");
	const int n = Q_ARRAY_LEN(serial_types);

	tcase_add_loop_test(tc, uart_registers, 0, Q_ARRAY_LEN(uart_rows));
	tcase_add_test(tc, uart_line_follows);
	tcase_add_test(tc, uart_wide_access);
	tcase_add_loop_test(tc, output_at_once, 0, n);
	tcase_add_loop_test(tc, output_batched, 0, n);
	tcase_add_loop_test(tc, output_full, 0, n);
	tcase_add_loop_test(tc, output_reader_gone, 0, n);
	tcase_add_loop_test(tc, device_comes_late, 0, n);
	tcase_add_loop_test(tc, clients, 0, n);
	tcase_add_loop_test(tc, input_backpressure, 0, n);
	tcase_add_loop_test(tc, input_ends, 0, n);
	tcase_add_test(tc, no_streams);
	tcase_add_loop_test(tc, pl011_registers, 0, Q_ARRAY_LEN(pl011_rows));
	tcase_add_test(tc, pl011_transmit_interrupt);
	tcase_add_test(tc, pl011_receive_levels);
	tcase_add_test(tc, pl011_loopback_overrun);
	tcase_add_loop_test(tc, options, 0, Q_ARRAY_LEN(option_rows));
	return fixture_main(s);
}
