/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the tables that were given to it, from take() on, and a thread of ordinary priority. The
 * device's thread only pushes to a list and signals a counter of ours: it waits for no lock that a
 * thread of lower priority may hold. The kernel's lock on our address space is left between pieces
 * (qmem_forget_pages()), so that a new client's memory can be mapped meanwhile.
 */
#include "mediator/unmapper.h"

#include <sys/eventfd.h>

#include "lib/qfd.h"

static void take(struct qmem_heir *h, struct qmem *take_mem)
{
	struct unmapper *u = Q_CONTAINER_OF(h, struct unmapper, heir);

	take_mem->next = atomic_load_explicit(&u->head, memory_order_relaxed);
	/* Pairs with the acquire exchange in take_down(): the table and its link are written. */
	while (!atomic_compare_exchange_weak_explicit(&u->head, &take_mem->next, take_mem,
						      memory_order_release, memory_order_relaxed))
		;
	qfd_event_signal(u->wake_fd);
}

static void take_down(struct unmapper *u)
{
	/* Pairs with the release in take(). */
	struct qmem *m = atomic_exchange_explicit(&u->head, NULL, memory_order_acquire);

	while (m) {
		struct qmem *next = m->next;

		qmem_forget_pages(m);
		qmem_unref(m);
		m = next;
	}
}

static void *unmapper_thread(void *arg)
{
	struct unmapper *u = arg;

	/* The counter keeps a signal that comes before we wait. */
	while (!atomic_load_explicit(&u->stop, memory_order_acquire)) {
		qfd_event_clear(u->wake_fd);
		take_down(u);
	}
	take_down(u);
	return NULL;
}

int unmapper_start(struct unmapper *u)
{
	*u = UNMAPPER_NULL;
	u->heir.take = take;
	u->wake_fd = qfd_eventfd();
	int r = Q_MIN(u->wake_fd, 0);
	if (r == 0)
		r = qfd_nonblock(u->wake_fd, false);
	if (r == 0)
		r = -pthread_create(&u->thread, NULL, unmapper_thread, u);
	if (r < 0) {
		qfd_close(&u->wake_fd);
		return r;
	}
	u->running = true;
	pthread_setname_np(u->thread, "med-unmap");
	return 0;
}

void unmapper_stop(struct unmapper *u)
{
	if (!u->running)
		return;
	/* Pairs with the acquire load in unmapper_thread(). */
	atomic_store_explicit(&u->stop, true, memory_order_release);
	qfd_event_signal(u->wake_fd);
	pthread_join(u->thread, NULL);
	u->running = false;
	qfd_close(&u->wake_fd);
}
