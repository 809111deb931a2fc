/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns an epoll set that the loop watches, and the watches in it. A request of the ring holds its
 * file open until the kernel has taken the ring down, grace periods after the process has died; a
 * set of epoll holds nothing.
 *
 * Invariant: a watch that an event at hand may point to is not freed: it stands in dead, without
 * fn, until the round over the events has ended.
 */
#include "mediator/sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "lib/qfd.h"

#define EVENTS_A_LOOK 16

struct socket_watch {
	void (*fn)(void *ctx);	/* NULL: unwatched */
	void *ctx;
	int fd;
	struct socket_watch *next;	/* in dead */
};

static void bury(struct sockets *s)
{
	while (s->dead) {
		struct socket_watch *w = s->dead;

		s->dead = w->next;
		free(w);
	}
}

/*
 * All that is ready is taken: the set is told of again only when something becomes ready anew. That
 * ends, because each watch is edge-triggered.
 */
static void on_ready(void *ctx)
{
	struct sockets *s = ctx;
	struct epoll_event ev[EVENTS_A_LOOK];
	int n;

	do {
		n = epoll_wait(s->epoll_fd, ev, EVENTS_A_LOOK, 0);
		for (int i = 0; i < n; i++) {
			struct socket_watch *w = ev[i].data.ptr;

			if (w->fn)
				w->fn(w->ctx);
		}
	} while (n == EVENTS_A_LOOK || (n < 0 && errno == EINTR));
	bury(s);
}

int sockets_init(struct sockets *s, struct loop *l)
{
	*s = SOCKETS_NULL;
	s->loop = l;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0)
		return -errno;
	s->watch = loop_watch(l, s->epoll_fd, on_ready, s);
	if (s->watch)
		return 0;
	sockets_fini(s);
	return -ENOMEM;
}

void sockets_fini(struct sockets *s)
{
	if (s->watch)
		s->watch = loop_unwatch(s->loop, s->watch);
	bury(s);
	qfd_close(&s->epoll_fd);
}

struct socket_watch *sockets_watch(struct sockets *s, int fd, void (*fn)(void *ctx), void *ctx)
{
	struct socket_watch *w = malloc(sizeof(*w));
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = w };

	if (!w)
		return NULL;
	*w = (struct socket_watch){ .fn = fn, .ctx = ctx, .fd = fd };
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0)
		return w;
	free(w);
	return NULL;
}

struct socket_watch *sockets_unwatch(struct sockets *s, struct socket_watch *w)
{
	if (!w)
		return NULL;
	epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->fn = NULL;
	w->next = s->dead;
	s->dead = w;
	return NULL;
}
