/* SPDX-License-Identifier: Apache-2.0 */
/* hostd/ring.h, hostd/lines.h, hostd/console.h: what a VM printed, kept, cut and handed out. */
#include "hostd/console.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "hostd/lines.h"
#include "lib/qfd.h"
#include "tests/unit/fixture.h"

/* ---- ring ---- */

/* Against a plain array of all that was ever put. */
START_TEST(ring_model)
{
	static char all[1 << 17];
	uint64_t seed = 1 + (uint64_t)_i;
	struct hd_ring r;
	size_t n = 0;

	hd_ring_init(&r, 8192);
	while (n < sizeof(all) - 20000) {
		size_t len = fixture_rand(&seed) % (fixture_rand(&seed) % 8 ? 100 : 20000);
		struct iovec v[2];

		for (size_t i = 0; i < len; i++)
			all[n + i] = (char)fixture_rand(&seed);
		hd_ring_put(&r, all + n, len);
		n += len;
		ck_assert_uint_eq(r.head, n);
		ck_assert_uint_eq(r.head - r.tail, Q_MIN(n, (size_t)8192));
		uint64_t pos = r.tail + fixture_rand(&seed) % (r.head - r.tail + 1);
		int parts = hd_ring_span(&r, pos, v);
		for (int i = 0; i < parts; i++) {
			ck_assert_mem_eq(v[i].iov_base, all + pos, v[i].iov_len);
			pos += v[i].iov_len;
		}
		ck_assert_uint_eq(pos, r.head);
		if (r.tail > 0)
			ck_assert_int_eq(hd_ring_span(&r, r.tail - 1, v), -ESTALE);
	}
	hd_ring_fini(&r);
	hd_ring_fini(&r);
}
END_TEST

START_TEST(ring_grows_as_needed)
{
	struct iovec v[2];
	struct hd_ring r;

	hd_ring_init(&r, 65536);
	ck_assert_int_eq(hd_ring_span(&r, 0, v), 0);
	ck_assert_uint_eq(r.cap, 0);
	hd_ring_put(&r, "hello", 5);
	ck_assert_uint_le(r.cap, 4096);
	hd_ring_fini(&r);
}
END_TEST

/* ---- lines ---- */

static char heard[4096];

static void hear(void *ctx, const struct hd_line *line)
{
	size_t n = strlen(heard);

	snprintf(heard + n, sizeof(heard) - n, "%d:%s|", line->prio, line->text);
}

static const struct {
	const char *bytes, *heard, *quote;
} line_rows[] = {
	{ "", "", NULL },
	{ "one\ntwo\n", "-1:one|-1:two|", "two" },
	{ "no end", "-1:no end|", "no end" },
	{ "\n\n\n", "", NULL },
	{ "<6>info\n<3>bad thing\n<6>more\n", "6:info|3:bad thing|6:more|", "bad thing" },
	{ "<2>worse\n<3>bad\n", "2:worse|3:bad|", "worse" },
	{ "a.conf:1:2: error: x\nafter\n", "-1:a.conf:1:2: error: x|-1:after|",
	  "a.conf:1:2: error: x" },
	{ "<6>an error: is none here\nz\n", "6:an error: is none here|-1:z|", "z" },
	{ "<9>x\n<3\n<>y\n", "-1:<9>x|-1:<3|-1:<>y|", "<>y" },
	{ "esc \x1b[1m \xff \r\n", "-1:esc ?[1m ? ?|", "esc ?[1m ? ?" },
};

START_TEST(lines_in_any_cut)
{
	const char *bytes = line_rows[_i].bytes;
	size_t len = strlen(bytes);

	for (size_t step = 1; step <= len + 1; step++) {
		struct hd_lines l = { 0 };

		heard[0] = '\0';
		for (size_t at = 0; at < len; at += step)
			hd_lines_put(&l, bytes + at, Q_MIN(step, len - at), hear, NULL);
		hd_lines_end(&l, hear, NULL);
		ck_assert_str_eq(heard, line_rows[_i].heard);
		if (line_rows[_i].quote)
			ck_assert_str_eq(hd_lines_quote(&l), line_rows[_i].quote);
		else
			ck_assert_ptr_null(hd_lines_quote(&l));
		hd_lines_reset(&l);
	}
}
END_TEST

START_TEST(lines_are_bounded)
{
	struct hd_lines l = { 0 };
	char text[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "line %d\n", i);
		hd_lines_put(&l, text, strlen(text), NULL, NULL);
	}
	ck_assert_str_eq(hd_lines_at(&l, 0)->text, "line 936");
	ck_assert_str_eq(hd_lines_at(&l, 63)->text, "line 999");
	ck_assert_ptr_null(hd_lines_at(&l, 64));
	for (int i = 0; i < 5000; i++)
		hd_lines_put(&l, "x", 1, NULL, NULL);
	hd_lines_put(&l, "\nnext\n", 6, NULL, NULL);
	ck_assert_uint_eq(strlen(hd_lines_at(&l, 62)->text), HD_LINE_BYTES - 1);
	ck_assert_str_eq(hd_lines_at(&l, 63)->text, "next");
	hd_lines_reset(&l);
}
END_TEST

/* ---- console ---- */

struct world {
	struct event_base *base;
	struct hd_console c;
	int vm;			/* the VM's end */
};

static void world_init(struct world *w)
{
	w->base = event_base_new();
	hd_console_init(&w->c, w->base);
	ck_assert_int_eq(hd_console_open(&w->c, &w->vm), 0);
	ck_assert_int_eq(qfd_nonblock(w->vm, true), 0);
}

static void world_fini(struct world *w)
{
	hd_console_fini(&w->c);
	hd_console_fini(&w->c);
	qfd_close(&w->vm);
	event_base_free(w->base);
}

static void turn(struct world *w)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
}

static int attach(struct world *w, bool replay, bool read_only, bool want_writer)
{
	bool writer = !want_writer;
	int fd = -1;

	ck_assert_int_eq(hd_console_attach(&w->c, replay, read_only, &fd, &writer), 0);
	ck_assert_int_eq(writer, want_writer);
	ck_assert_int_eq(qfd_nonblock(fd, true), 0);
	return fd;
}

/* What @fd has to say now; "END" behind it at its end. */
static const char *said(int fd)
{
	static char buf[1 << 20];
	ssize_t n = 0, len = 0;

	do {
		len += n;
		n = read(fd, buf + len, sizeof(buf) - 8 - (size_t)len);
	} while (n > 0);
	buf[len] = '\0';
	if (n == 0)
		memcpy(buf + len, "END", 4);
	return buf;
}

static void vm_prints(struct world *w, const char *text)
{
	ck_assert_int_eq(write(w->vm, text, strlen(text)), (ssize_t)strlen(text));
	turn(w);
}

START_TEST(readers_and_one_writer)
{
	struct world w;

	world_init(&w);
	vm_prints(&w, "old ");
	int a = attach(&w, true, false, true), b = attach(&w, false, false, false);
	int c = attach(&w, true, true, false);
	vm_prints(&w, "new");
	ck_assert_str_eq(said(a), "old new");
	ck_assert_str_eq(said(b), "new");
	ck_assert_str_eq(said(c), "old new");
	ck_assert_int_eq(write(a, "typed", 5), 5);
	ck_assert_int_eq(write(b, "lost", 4), 4);
	turn(&w);
	ck_assert_str_eq(said(w.vm), "typed");
	/* When the writer leaves, the next who comes has the keyboard. */
	qfd_close(&a);
	turn(&w);
	a = attach(&w, false, false, true);
	ck_assert_int_eq(write(a, "again", 5), 5);
	turn(&w);
	ck_assert_str_eq(said(w.vm), "again");
	qfd_close(&a);
	qfd_close(&b);
	qfd_close(&c);
	turn(&w);
	ck_assert_uint_eq(w.c.n_readers, 0);
	world_fini(&w);
}
END_TEST

START_TEST(end_of_the_vm)
{
	struct world w;

	world_init(&w);
	int a = attach(&w, true, false, true);
	ck_assert_int_eq(write(w.vm, "last words", 10), 10);
	hd_console_close(&w.c);		/* before the loop has read them */
	turn(&w);
	ck_assert_str_eq(said(a), "last wordsEND");
	int b = attach(&w, true, true, false);
	ck_assert_str_eq(said(b), "last wordsEND");
	ck_assert_uint_eq(w.c.n_readers, 0);
	/* The next run goes on behind it. */
	qfd_close(&w.vm);
	ck_assert_int_eq(hd_console_open(&w.c, &w.vm), 0);
	vm_prints(&w, ", more");
	int c = attach(&w, true, true, false);
	ck_assert_str_eq(said(c), "last words, more");
	qfd_close(&a);
	qfd_close(&b);
	qfd_close(&c);
	world_fini(&w);
}
END_TEST

/* Who shuts its writing side gets what is there, then an end. */
START_TEST(log_only)
{
	struct world w;

	world_init(&w);
	vm_prints(&w, "until now");
	int a = attach(&w, true, true, false);
	ck_assert_int_eq(shutdown(a, SHUT_WR), 0);
	turn(&w);
	ck_assert_str_eq(said(a), "until nowEND");
	qfd_close(&a);
	world_fini(&w);
}
END_TEST

START_TEST(slow_reader)
{
	static char block[4096];
	struct world w;

	world_init(&w);
	memset(block, 'x', sizeof(block));
	int slow = attach(&w, true, true, false), good = attach(&w, true, true, false);
	for (int i = 0; i < 400; i++) {
		ck_assert_int_eq(write(w.vm, block, sizeof(block)), sizeof(block));
		turn(&w);
		said(good);
	}
	ck_assert_uint_eq(w.c.n_readers, 1);
	ck_assert_uint_eq(w.c.n_dropped, 1);
	ck_assert_uint_eq(w.c.ring.head - w.c.ring.tail, HD_CONSOLE_BYTES);
	qfd_close(&slow);
	qfd_close(&good);
	world_fini(&w);
}
END_TEST

START_TEST(vm_that_does_not_read)
{
	static char block[4096];
	struct world w;
	size_t sent = 0;

	world_init(&w);
	memset(block, 'y', sizeof(block));
	int a = attach(&w, true, false, true);
	for (int idle = 0; idle < 3 && sent < 64u << 20;) {
		ssize_t n = write(a, block, sizeof(block));

		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (size_t)n : 0;
		turn(&w);
	}
	ck_assert_uint_lt(sent, 4u << 20);
	/* It reads at last: nothing was lost. */
	size_t got = 0;
	for (int idle = 0; idle < 3;) {
		size_t n = strlen(said(w.vm));

		got += n;
		idle = n ? 0 : idle + 1;
		turn(&w);
	}
	ck_assert_uint_eq(got, sent);
	qfd_close(&a);
	world_fini(&w);
}
END_TEST

START_TEST(limits)
{
	struct world w;
	int fds[HD_CONSOLE_READERS], fd = -1;
	bool writer;

	world_init(&w);
	for (unsigned i = 0; i < HD_CONSOLE_READERS; i++)
		fds[i] = attach(&w, false, true, false);
	ck_assert_int_eq(hd_console_attach(&w.c, false, true, &fd, &writer), -EUSERS);
	ck_assert_int_eq(fd, -1);
	qfd_close(&fds[3]);
	turn(&w);
	fds[3] = attach(&w, false, true, false);
	for (unsigned i = 0; i < HD_CONSOLE_READERS; i++)
		qfd_close(&fds[i]);
	world_fini(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hd_console");
	TCase *tc = fixture_case(s, "ring");

	tcase_add_loop_test(tc, ring_model, 0, 8);
	tcase_add_test(tc, ring_grows_as_needed);
	tc = fixture_case(s, "lines");
	tcase_add_loop_test(tc, lines_in_any_cut, 0, Q_ARRAY_LEN(line_rows));
	tcase_add_test(tc, lines_are_bounded);
	tc = fixture_case(s, "console");
	tcase_add_test(tc, readers_and_one_writer);
	tcase_add_test(tc, end_of_the_vm);
	tcase_add_test(tc, log_only);
	tcase_add_test(tc, slow_reader);
	tcase_add_test(tc, vm_that_does_not_read);
	tcase_add_test(tc, limits);
	return fixture_main(s);
}
