/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that a device's loop waits for. As loop_watch(), but the kernel's ring holds none of them
 * open: when we die they close at once, and whoever is at the other end knows, tens of milliseconds
 * before the ring has been taken down. The loop's thread only.
 */
#pragma once

#include "mediator/loop.h"

struct socket_watch;

struct sockets {
	struct loop *loop;		/* borrowed */
	int epoll_fd;			/* owned */
	struct loop_watch *watch;
	struct socket_watch *dead;	/* unwatched: freed when no event can be at hand */
};

#define SOCKETS_NULL ((struct sockets){ .epoll_fd = -1 })

/* 0 or -errno. @l outlives it. */
int sockets_init(struct sockets *s, struct loop *l);
/* None may be watched any more. Idempotent. */
void sockets_fini(struct sockets *s);

/* As loop_watch(): edge-triggered. NULL when out of memory. */
struct socket_watch *sockets_watch(struct sockets *s, int fd, void (*fn)(void *ctx), void *ctx);
/* No callback after this. NULL is fine; returns NULL. */
struct socket_watch *sockets_unwatch(struct sockets *s, struct socket_watch *w);
