/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event loop in a thread of its own: descriptors, timers and posted calls. Every handle belongs
 * to an owner with a lock; a callback runs with it held, and once the owner has cancelled (with the
 * lock held) the callback never runs again. Functions may be called from any thread with the
 * owner's lock held.
 */
#pragma once

#include <pthread.h>

#include "lib/qdef.h"

struct loop;
struct loop_watch;
struct loop_timer;

typedef void (*loop_fn)(void *owner, void *arg);

/* Nothing runs before loop_start(). 0 or -errno. */
int loop_new(struct loop **ret);
/* Starts the thread, named @name. 0 or -errno. */
int loop_start(struct loop *l, const char *name);
/* Ends the thread; what was posted and not done is dropped. Idempotent. */
void loop_stop(struct loop *l);
/* After loop_stop(). Handles that were not cancelled are freed. NULL is fine; returns NULL. */
struct loop *loop_free(struct loop *l);
pthread_t loop_thread(const struct loop *l);

/*
 * @fn(@owner, @arg) with @lock held whenever @fd is readable or hung up. A file that cannot be
 * waited for (a regular one) counts as always readable and is offered every millisecond. NULL when
 * out of memory.
 */
struct loop_watch *loop_watch(struct loop *l, pthread_mutex_t *lock, int fd, loop_fn fn,
			      void *owner, void *arg);
/* The same, whenever @fd takes bytes, or failed. */
struct loop_watch *loop_watch_out(struct loop *l, pthread_mutex_t *lock, int fd, loop_fn fn,
				  void *owner, void *arg);
void loop_unwatch(struct loop_watch *w);

struct loop_timer *loop_timer_new(struct loop *l, pthread_mutex_t *lock, loop_fn fn, void *owner,
				  void *arg);
/* One shot at @at_ns of qnow_ns(); 0 = off. */
void loop_timer_arm(struct loop_timer *t, uint64_t at_ns);
void loop_timer_free(struct loop_timer *t);

/* @fn once, soon, with a copy of the @arg_bytes bytes at @arg. 0 or -ENOMEM. */
int loop_post(struct loop *l, pthread_mutex_t *lock, loop_fn fn, void *owner, const void *arg,
	      size_t arg_bytes);

/*
 * As loop_post(), but @work(the copy) comes first, without any lock: for what may wait. The rest of
 * the loop waits with it; who holds the lock does not.
 */
int loop_call(struct loop *l, pthread_mutex_t *lock, void (*work)(void *arg), loop_fn fn,
	      void *owner, const void *arg, size_t arg_bytes);
