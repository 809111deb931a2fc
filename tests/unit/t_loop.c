/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qvm/loop: watches, timers and posts from another thread, and that nothing runs after it was
 * cancelled.
 */
#include <fcntl.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/loop.h"
#include "tests/unit/fixture.h"

#define PATIENCE_NS (10 * Q_NSEC_PER_SEC)

struct owner {
	pthread_mutex_t lock;
	struct loop *loop;
	unsigned n, last;
	uint64_t at_ns;
	int fd;
	struct loop_watch *watch;
	struct loop_timer *timer;
};

static void owner_init(struct owner *o)
{
	*o = (struct owner){ .fd = -1 };
	pthread_mutex_init(&o->lock, NULL);
	ck_assert_int_eq(loop_new(&o->loop), 0);
	ck_assert_int_eq(loop_start(o->loop, "t-loop"), 0);
}

static void owner_fini(struct owner *o)
{
	o->loop = loop_free(o->loop);
	qfd_close(&o->fd);
	pthread_mutex_destroy(&o->lock);
}

/* Until the owner's counter has reached @n. */
static void wait_for(struct owner *o, unsigned n)
{
	uint64_t end = qnow_ns() + PATIENCE_NS;

	for (;;) {
		pthread_mutex_lock(&o->lock);
		unsigned now = o->n;
		pthread_mutex_unlock(&o->lock);
		if (now >= n)
			return;
		ck_assert(qnow_ns() < end);
		usleep(500);
	}
}

static void on_readable(void *owner, void *arg)
{
	struct owner *o = owner;

	ck_assert_ptr_eq(arg, &o->n);
	o->n += (unsigned)qfd_event_clear(o->fd);
}

START_TEST(watch_sees_and_is_cancelled)
{
	struct owner o;

	owner_init(&o);
	o.fd = qfd_eventfd();
	pthread_mutex_lock(&o.lock);
	o.watch = loop_watch(o.loop, &o.lock, o.fd, on_readable, &o, &o.n);
	ck_assert_ptr_nonnull(o.watch);
	qfd_event_signal(o.fd);
	pthread_mutex_unlock(&o.lock);
	wait_for(&o, 1);
	qfd_event_signal(o.fd);
	wait_for(&o, 2);
	pthread_mutex_lock(&o.lock);
	qfd_event_signal(o.fd); /* its callback is on its way, or will be, and waits for the lock */
	usleep(20000);
	loop_unwatch(o.watch);
	pthread_mutex_unlock(&o.lock);
	usleep(20000);
	ck_assert_uint_eq(o.n, 2);
	owner_fini(&o);
}
END_TEST

static void on_file(void *owner, void *arg)
{
	struct owner *o = owner;
	char c;

	if (read(o->fd, &c, 1) == 1) {
		o->n++;
		return;
	}
	loop_unwatch(o->watch); /* from its own callback */
	o->n += 100;
}

/* Regular files cannot be waited for, and are offered all the same. */
START_TEST(watch_of_a_file)
{
	struct owner o;

	owner_init(&o);
	o.fd = qfd_memfd("t", 4);
	pthread_mutex_lock(&o.lock);
	o.watch = loop_watch(o.loop, &o.lock, o.fd, on_file, &o, NULL);
	pthread_mutex_unlock(&o.lock);
	wait_for(&o, 104);
	usleep(20000);
	ck_assert_uint_eq(o.n, 104);
	owner_fini(&o);
}
END_TEST

static void on_room(void *owner, void *arg)
{
	struct owner *o = owner;

	o->n++;
	loop_unwatch(o->watch);
}

/* A full pipe waits for its reader; a reader that goes wakes the writer, too. */
START_TEST(watch_for_room)
{
	static char bytes[65536];
	struct owner o;
	int fds[2];

	owner_init(&o);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	for (unsigned i = 1; i <= 2; i++) {
		while (write(fds[1], bytes, sizeof(bytes)) > 0)
			continue;
		pthread_mutex_lock(&o.lock);
		o.watch = loop_watch_out(o.loop, &o.lock, fds[1], on_room, &o, NULL);
		ck_assert_ptr_nonnull(o.watch);
		pthread_mutex_unlock(&o.lock);
		usleep(20000);
		pthread_mutex_lock(&o.lock);
		ck_assert_uint_eq(o.n, i - 1);
		pthread_mutex_unlock(&o.lock);
		if (i == 1)
			ck_assert_int_gt(read(fds[0], bytes, sizeof(bytes)), 0);
		else
			qfd_close(&fds[0]);
		wait_for(&o, i);
	}
	qfd_close(&fds[1]);
	owner_fini(&o);
}
END_TEST

static void on_time(void *owner, void *arg)
{
	struct owner *o = owner;

	o->n++;
	ck_assert_uint_ge(qnow_ns(), o->at_ns);
}

static void arm(struct owner *o, uint64_t at_ns)
{
	pthread_mutex_lock(&o->lock);
	o->at_ns = at_ns;
	loop_timer_arm(o->timer, at_ns);
	pthread_mutex_unlock(&o->lock);
}

START_TEST(timer_is_never_early)
{
	struct owner o;

	owner_init(&o);
	pthread_mutex_lock(&o.lock);
	o.timer = loop_timer_new(o.loop, &o.lock, on_time, &o, NULL);
	pthread_mutex_unlock(&o.lock);
	for (unsigned i = 0; i < 20; i++) {
		arm(&o, qnow_ns() + i * 300 * Q_NSEC_PER_USEC + 1);
		wait_for(&o, i + 1);
	}
	arm(&o, qnow_ns() + Q_NSEC_PER_SEC / 50);
	arm(&o, 0);
	usleep(40000);
	ck_assert_uint_eq(o.n, 20);
	pthread_mutex_lock(&o.lock);
	loop_timer_free(o.timer);
	pthread_mutex_unlock(&o.lock);
	owner_fini(&o);
}
END_TEST

static void on_post(void *owner, void *arg)
{
	struct owner *o = owner;
	unsigned i;

	memcpy(&i, arg, sizeof(i));
	ck_assert_uint_eq(i, o->last++);
	o->n++;
}

/* In order, each with the bytes that it was given, also more than one round takes. */
START_TEST(posts_keep_their_order)
{
	struct owner o;

	owner_init(&o);
	pthread_mutex_lock(&o.lock);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(loop_post(o.loop, &o.lock, on_post, &o, &i, sizeof(i)), 0);
	pthread_mutex_unlock(&o.lock);
	wait_for(&o, 1000);
	owner_fini(&o);
}
END_TEST

struct call {
	struct owner *o;
	unsigned n_at_work;
};

/* Takes the lock, so that it would wait for ever if it were held already. */
static void call_work(void *arg)
{
	struct call *c = arg;

	pthread_mutex_lock(&c->o->lock);
	c->n_at_work = ++c->o->n;
	pthread_mutex_unlock(&c->o->lock);
}

static void call_done(void *owner, void *arg)
{
	struct owner *o = owner;
	struct call *c = arg;

	ck_assert_int_ne(pthread_mutex_trylock(&o->lock), 0);
	ck_assert_uint_eq(c->n_at_work, o->n);	/* the copy, after the work and nothing between */
	o->n++;
}

/* The work without the lock, what follows it with it, in the order of the calls. */
START_TEST(calls_work_without_the_lock)
{
	struct owner o;

	owner_init(&o);
	struct call c = { .o = &o };
	pthread_mutex_lock(&o.lock);
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(loop_call(o.loop, &o.lock, call_work, call_done, &o, &c,
					   sizeof(c)), 0);
	pthread_mutex_unlock(&o.lock);
	wait_for(&o, 200);
	ck_assert_uint_eq(c.n_at_work, 0);
	owner_fini(&o);
}
END_TEST

/* What was posted and did not run, watched and not cancelled: freed with the loop, never run. */
START_TEST(stop_drops_the_rest)
{
	struct owner o;
	unsigned i = 0;

	owner_init(&o);
	o.fd = qfd_eventfd();
	pthread_mutex_lock(&o.lock);
	loop_watch(o.loop, &o.lock, o.fd, on_readable, &o, &o.n);
	loop_timer_new(o.loop, &o.lock, on_time, &o, NULL);
	pthread_mutex_unlock(&o.lock);
	loop_stop(o.loop);
	ck_assert_int_eq(loop_post(o.loop, &o.lock, on_post, &o, &i, sizeof(i)), 0);
	qfd_event_signal(o.fd);
	loop_stop(o.loop);
	ck_assert_uint_eq(o.n, 0);
	owner_fini(&o);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("loop");
	TCase *tc = fixture_case(s, "loop");

	tcase_add_test(tc, watch_sees_and_is_cancelled);
	tcase_add_test(tc, watch_of_a_file);
	tcase_add_test(tc, watch_for_room);
	tcase_add_test(tc, timer_is_never_early);
	tcase_add_test(tc, posts_keep_their_order);
	tcase_add_test(tc, calls_work_without_the_lock);
	tcase_add_test(tc, stop_drops_the_rest);
	return fixture_main(s);
}
