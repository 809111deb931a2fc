/* SPDX-License-Identifier: Apache-2.0 */
/* mediator/loop: nothing that happens is missed, and the loop sleeps when nothing does. */
#include <sys/eventfd.h>

#include "lib/qfd.h"
#include "mediator/loop.h"
#include "tests/unit/fixture.h"

#define SOON_NS (20 * Q_NSEC_PER_MSEC)

static struct loop loop;
static unsigned n_seen;

static void on_event(void *ctx)
{
	qfd_event_clear(*(const int *)ctx);
	n_seen++;
}

static void start(unsigned entries)
{
	ck_assert_int_eq(loop_init(&loop, entries), 0);
}

/* Events until there has been none for a while. */
static unsigned settle(void)
{
	unsigned n = 0, some;

	do {
		ck_assert_int_eq(loop_submit_until(&loop, qnow_ns() + SOON_NS), 0);
		some = loop_dispatch(&loop, UINT32_MAX);
		n += some;
	} while (some > 0);
	return n;
}

START_TEST(tells_of_each_signal)
{
	int fd = qfd_eventfd();

	start(8);
	qfd_event_signal(fd);	/* what was there before is told, too */
	struct loop_watch *w = loop_watch(&loop, fd, on_event, &fd);
	settle();
	ck_assert_uint_eq(n_seen, 1);
	for (unsigned i = 2; i < 50; i++) {
		qfd_event_signal(fd);
		settle();
		ck_assert_uint_eq(n_seen, i);
	}
	w = loop_unwatch(&loop, w);
	qfd_event_signal(fd);
	settle();
	ck_assert_uint_eq(n_seen, 49);
	loop_fini(&loop);
	ck_assert_uint_eq(loop.n_watches, 0);
	qfd_close(&fd);
}
END_TEST

/*
 * The kernel sets its flag for waiting work behind the work's back now and then: it stands there
 * with nothing behind it. A mediator that took it for work span for ever, and left its clients
 * alone.
 */
START_TEST(a_stale_flag_is_no_work)
{
	int fd = qfd_eventfd();

	start(8);
	struct loop_watch *w = loop_watch(&loop, fd, on_event, &fd);
	settle();
	atomic_fetch_or((_Atomic unsigned *)loop.ring.sq.kflags, IORING_SQ_TASKRUN);
	ck_assert(!loop_pending(&loop));
	ck_assert(!loop_pending(&loop));
	uint64_t from = qnow_ns();
	ck_assert_int_eq(loop_submit_until(&loop, from + SOON_NS), 0);
	ck_assert_uint_ge(qnow_ns() - from, SOON_NS / 2);

	/* And what comes while it is there is seen. */
	atomic_fetch_or((_Atomic unsigned *)loop.ring.sq.kflags, IORING_SQ_TASKRUN);
	ck_assert(!loop_pending(&loop));
	qfd_event_signal(fd);
	ck_assert_int_eq(loop_submit(&loop, true), 0);
	ck_assert(loop_pending(&loop));
	loop_dispatch(&loop, UINT32_MAX);
	ck_assert_uint_eq(n_seen, 1);
	loop_unwatch(&loop, w);
	loop_fini(&loop);
	qfd_close(&fd);
}
END_TEST

/* More events than the completion queue holds: the kernel ends the watch, and we begin it again. */
START_TEST(a_watch_outlives_an_overflow)
{
	int fd = qfd_eventfd();

	start(2);
	struct loop_watch *w = loop_watch(&loop, fd, on_event, &fd);
	ck_assert_int_eq(loop_submit(&loop, false), 0);
	for (unsigned i = 0; i < 100; i++) {
		qfd_event_signal(fd);
		io_uring_get_events(&loop.ring);
	}
	settle();
	for (unsigned i = 0; i < 20; i++) {
		unsigned before = n_seen;

		qfd_event_signal(fd);
		settle();
		ck_assert_uint_gt(n_seen, before);
	}
	loop_unwatch(&loop, w);
	loop_fini(&loop);
	qfd_close(&fd);
}
END_TEST

START_TEST(knows_an_eventfd)
{
	int fd = qfd_eventfd(), mem = qfd_memfd("x", 4096);

	start(8);
	ck_assert(loop_is_eventfd(&loop, fd));
	ck_assert(loop_is_eventfd(&loop, fd));
	ck_assert(!loop_is_eventfd(&loop, mem));
	ck_assert(!loop_is_eventfd(&loop, loop.ring.ring_fd));
	ck_assert(!loop_is_eventfd(&loop, -1));
	ck_assert_uint_eq(qfd_event_clear(fd), 0);
	loop_fini(&loop);
	qfd_close(&fd);
	qfd_close(&mem);
}
END_TEST

static int last_res;
static bool io_over;

static void on_io(struct loop_io *io, int res)
{
	last_res = res;
	io_over = true;
}

/* The first byte of file @fd, by the loop. */
static int first_byte(int fd)
{
	struct loop_io io = { .done = on_io };
	char c = 0;
	struct iovec iov = { &c, 1 };

	io_over = false;
	ck_assert_int_eq(loop_readv(&loop, &io, fd, &iov, 1, 0), 0);
	/* A worker of the kernel may do it, when it gets a processor. */
	while (!io_over) {
		ck_assert_int_eq(loop_submit(&loop, true), 0);
		loop_dispatch(&loop, UINT32_MAX);
	}
	return last_res == 1 ? c : last_res;
}

/* A file that is registered is found whatever stands at its number meanwhile; then the next is. */
START_TEST(a_registered_file)
{
	int a = qfd_memfd("a", 4096), b = qfd_memfd("b", 4096), copy = qfd_dup(a);

	ck_assert_int_eq(pwrite(a, "a", 1, 0), 1);
	ck_assert_int_eq(pwrite(b, "b", 1, 0), 1);
	start(8);
	ck_assert_int_eq(loop_register_file(&loop, -1), 0);
	ck_assert_int_eq(loop_register_file(&loop, copy), 0);
	ck_assert_int_eq(loop_register_file(&loop, copy), 0);
	ck_assert_int_eq(dup2(b, copy), copy);
	ck_assert_int_eq(first_byte(copy), 'a');
	ck_assert_int_eq(first_byte(b), 'b');
	ck_assert_int_eq(loop_register_file(&loop, b), 0);
	ck_assert_int_eq(first_byte(copy), 'b');
	ck_assert_int_eq(first_byte(a), 'a');
	ck_assert_int_eq(loop_register_file(&loop, -1), 0);
	qfd_close(&copy);
	ck_assert_int_eq(first_byte(b), 'b');
	loop_fini(&loop);
	qfd_close(&a);
	qfd_close(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_loop");
	TCase *tc = fixture_case(s, "loop");

	tcase_add_test(tc, tells_of_each_signal);
	tcase_add_test(tc, a_stale_flag_is_no_work);
	tcase_add_test(tc, a_watch_outlives_an_overflow);
	tcase_add_test(tc, knows_an_eventfd);
	tcase_add_test(tc, a_registered_file);
	return fixture_main(s);
}
