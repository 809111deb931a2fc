/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O thread of a VM: a libevent base and a queue of posted calls.
 *
 * Who cancels holds the owner's lock and must not wait for a callback, because the callback waits
 * for that very lock. So cancelling takes the event out of the base without waiting, marks the
 * handle dead under the owner's lock, and leaves the freeing to the loop's own thread, after the
 * round in which a callback may still be on its way to find the mark.
 */
#include "qvm/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"

#define POLL_FILE_USEC	1000 /* how often a regular file is offered to its reader */
#define POSTS_PER_ROUND 64   /* then descriptors get their turn */

struct handle {
	struct loop *loop;
	struct event *ev;
	pthread_mutex_t *lock;
	loop_fn fn;
	void (*work)(void *arg); /* of a posted call: before fn, without the lock */
	void *owner, *arg;
	bool dead; /* under lock */
	bool is_timer;
	uint64_t at_ns;			     /* of a timer, 0 = off; under lock */
	struct handle *next;		     /* in loop->posts or loop->grave */
	struct handle *all_next, **all_prev; /* under loop->lock */
	_Alignas(max_align_t) char copy[];   /* of a posted call's argument */
};
struct loop_watch {
	struct handle h;
};
struct loop_timer {
	struct handle h;
};

struct loop {
	struct event_base *base;
	struct event *wake;
	int wake_fd;
	bool running;
	bool quit; /* under lock */
	pthread_t thread;
	pthread_mutex_t lock;		   /* leaf: nothing is called while it is held */
	struct handle *posts, **posts_end; /* first in, first out */
	struct handle *grave;
	struct handle *all;
};

static void timer_wait(struct handle *h, uint64_t now)
{
	uint64_t wait_us = h->at_ns > now ? (h->at_ns - now + 999) / 1000 : 0;
	struct timeval tv = { .tv_sec = (time_t)(wait_us / 1000000),
			      .tv_usec = (suseconds_t)(wait_us % 1000000) };

	event_add(h->ev, &tv);
}

/*
 * A timer may have been moved or stopped while its event was on the way here; and libevent counts
 * from the time that it read at the start of a round, so an event may be early.
 */
static bool timer_due(struct handle *h)
{
	uint64_t now = qnow_ns();

	if (h->at_ns > now)
		timer_wait(h, now);
	if (!h->at_ns || h->at_ns > now)
		return false;
	h->at_ns = 0;
	return true;
}

static void handle_run(struct handle *h)
{
	pthread_mutex_lock(h->lock);
	if (!h->dead && (!h->is_timer || timer_due(h)))
		h->fn(h->owner, h->arg);
	pthread_mutex_unlock(h->lock);
}

static void handle_free(struct handle *h)
{
	if (h->ev)
		event_free(h->ev);
	free(h);
}

static void all_add(struct loop *l, struct handle *h)
{
	h->all_next = l->all;
	h->all_prev = &l->all;
	if (l->all)
		l->all->all_prev = &h->all_next;
	l->all = h;
}

static void all_del(struct handle *h)
{
	*h->all_prev = h->all_next;
	if (h->all_next)
		h->all_next->all_prev = h->all_prev;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	handle_run(arg);
}

/*
 * What has to be buried was cancelled before this round's callbacks were over: none can be on its
 * way to it, for this is the thread that they run on.
 */
static void bury(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	struct handle *h = l->grave;
	l->grave = NULL;
	for (struct handle *i = h; i; i = i->next)
		all_del(i);
	pthread_mutex_unlock(&l->lock);
	while (h) {
		struct handle *next = h->next;
		handle_free(h);
		h = next;
	}
}

static struct handle *take_post(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	struct handle *h = l->quit ? NULL : l->posts;
	if (h) {
		l->posts = h->next;
		if (!l->posts)
			l->posts_end = &l->posts;
		all_del(h);
	}
	pthread_mutex_unlock(&l->lock);
	return h;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	unsigned n = 0;

	qfd_event_clear(l->wake_fd);
	for (struct handle *h; n < POSTS_PER_ROUND && (h = take_post(l)); n++) {
		if (h->work)
			h->work(h->arg);
		handle_run(h);
		handle_free(h);
	}
	bury(l);
	pthread_mutex_lock(&l->lock);
	bool more = l->posts != NULL, quit = l->quit;
	pthread_mutex_unlock(&l->lock);
	if (quit)
		event_base_loopbreak(l->base);
	else if (more)
		qfd_event_signal(l->wake_fd);
}

/* What fails here is answered where it was asked for; libevent's own lines would not be ours. */
static void drop_line(int severity, const char *msg)
{
}

static struct event_base *base_new(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base = NULL;

	if (!cfg)
		return NULL;
	/* Timers to the microsecond: without it epoll rounds up to milliseconds. */
	event_config_set_flag(cfg, EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_IGNORE_ENV);
	base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	return base;
}

int loop_new(struct loop **ret)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	l->posts_end = &l->posts;
	l->wake_fd = qfd_eventfd();
	evthread_use_pthreads();
	event_set_log_callback(drop_line);
	l->base = base_new();
	if (l->base && l->wake_fd >= 0)
		l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
	if (!l->wake || event_add(l->wake, NULL) < 0) {
		loop_free(l);
		return -ENOMEM;
	}
	*ret = l;
	return 0;
}

static void *loop_main(void *arg)
{
	struct loop *l = arg;

	event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

int loop_start(struct loop *l, const char *name)
{
	int r = pthread_create(&l->thread, NULL, loop_main, l);

	if (r)
		return -r;
	l->running = true;
	pthread_setname_np(l->thread, name);
	return 0;
}

void loop_stop(struct loop *l)
{
	if (!l->running)
		return;
	pthread_mutex_lock(&l->lock);
	l->quit = true;
	pthread_mutex_unlock(&l->lock);
	qfd_event_signal(l->wake_fd);
	pthread_join(l->thread, NULL);
	l->running = false;
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	loop_stop(l);
	while (l->all) {
		struct handle *h = l->all;
		all_del(h);
		handle_free(h);
	}
	if (l->wake)
		event_free(l->wake);
	if (l->base)
		event_base_free(l->base);
	qfd_close(&l->wake_fd);
	pthread_mutex_destroy(&l->lock);
	free(l);
	return NULL;
}

pthread_t loop_thread(const struct loop *l)
{
	return l->thread;
}

static struct handle *handle_new(struct loop *l, pthread_mutex_t *lock, loop_fn fn, void *owner,
				 void *arg, size_t extra_bytes)
{
	struct handle *h = calloc(1, sizeof(*h) + extra_bytes);

	if (!h)
		return NULL;
	h->loop = l;
	h->lock = lock;
	h->fn = fn;
	h->owner = owner;
	h->arg = arg;
	pthread_mutex_lock(&l->lock);
	all_add(l, h);
	pthread_mutex_unlock(&l->lock);
	return h;
}

static void handle_cancel(struct handle *h)
{
	struct loop *l = h->loop;

	h->dead = true;
	event_del_noblock(h->ev);
	pthread_mutex_lock(&l->lock);
	h->next = l->grave;
	l->grave = h;
	pthread_mutex_unlock(&l->lock);
	qfd_event_signal(l->wake_fd);
}

static struct handle *handle_drop(struct handle *h)
{
	pthread_mutex_lock(&h->loop->lock);
	all_del(h);
	pthread_mutex_unlock(&h->loop->lock);
	handle_free(h);
	return NULL;
}

/*
 * epoll refuses regular files: they are always ready, so ask again and again, at a measured pace.
 */
static int poll_file(struct handle *h)
{
	const struct timeval every = { .tv_usec = POLL_FILE_USEC };

	event_free(h->ev);
	h->ev = event_new(h->loop->base, -1, EV_PERSIST, on_event, h);
	return h->ev && event_add(h->ev, &every) == 0 ? 0 : -ENOMEM;
}

static struct loop_watch *watch(struct handle *h, int fd, short what)
{
	if (!h)
		return NULL;
	h->ev = event_new(h->loop->base, fd, what | EV_PERSIST, on_event, h);
	if (!h->ev || (event_add(h->ev, NULL) < 0 && poll_file(h) < 0))
		h = handle_drop(h);
	return (struct loop_watch *)h;
}

struct loop_watch *loop_watch(struct loop *l, pthread_mutex_t *lock, int fd, loop_fn fn,
			      void *owner, void *arg)
{
	return watch(handle_new(l, lock, fn, owner, arg, 0), fd, EV_READ);
}

struct loop_watch *loop_watch_out(struct loop *l, pthread_mutex_t *lock, int fd, loop_fn fn,
				  void *owner, void *arg)
{
	return watch(handle_new(l, lock, fn, owner, arg, 0), fd, EV_WRITE);
}

void loop_unwatch(struct loop_watch *w)
{
	if (w)
		handle_cancel(&w->h);
}

struct loop_timer *loop_timer_new(struct loop *l, pthread_mutex_t *lock, loop_fn fn, void *owner,
				  void *arg)
{
	struct handle *h = handle_new(l, lock, fn, owner, arg, 0);

	if (!h)
		return NULL;
	h->is_timer = true;
	h->ev = event_new(l->base, -1, 0, on_event, h);
	if (!h->ev)
		h = handle_drop(h);
	return (struct loop_timer *)h;
}

void loop_timer_arm(struct loop_timer *t, uint64_t at_ns)
{
	t->h.at_ns = at_ns;
	if (at_ns)
		timer_wait(&t->h, qnow_ns());
	else
		event_del_noblock(t->h.ev);
}

void loop_timer_free(struct loop_timer *t)
{
	if (t)
		handle_cancel(&t->h);
}

int loop_post(struct loop *l, pthread_mutex_t *lock, loop_fn fn, void *owner, const void *arg,
	      size_t arg_bytes)
{
	return loop_call(l, lock, NULL, fn, owner, arg, arg_bytes);
}

int loop_call(struct loop *l, pthread_mutex_t *lock, void (*work)(void *arg), loop_fn fn,
	      void *owner, const void *arg, size_t arg_bytes)
{
	struct handle *h = handle_new(l, lock, fn, owner, NULL, arg_bytes);

	if (!h)
		return -ENOMEM;
	h->work = work;
	if (arg_bytes > 0)	/* else arg may be NULL, which memcpy() takes for none */
		memcpy(h->copy, arg, arg_bytes);
	h->arg = h->copy;
	pthread_mutex_lock(&l->lock);
	*l->posts_end = h;
	l->posts_end = &h->next;
	pthread_mutex_unlock(&l->lock);
	qfd_event_signal(l->wake_fd);
	return 0;
}
