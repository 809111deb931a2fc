/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server: /metrics for Prometheus, / the status page, /status.json what that is drawn
 * from. Reads only; on a UNIX socket or the loopback interface, nowhere else. Main thread.
 */
#pragma once

#include "metrics/feed.h"

struct evhttp;
struct evhttp_bound_socket;

struct mt_http {
	const struct mt_feed *feed;
	struct evhttp *server;
	struct evconnlistener *listener;	/* the server's */
	struct event *ev_again;		/* too many were connected: listens again */
	char path[108];			/* of the UNIX socket; "": there is none */
	bool loopback;			/* by the interface: who asks names it so */
};

/*
 * @where is "unix:PATH", "127.0.0.1:PORT", "[::1]:PORT" or "PORT" (of 127.0.0.1). 0; -EINVAL: it is
 * none of these; or -errno. mt_http_fini() in any case.
 */
int mt_http_init(struct mt_http *h, struct event_base *base, const char *where,
		 const struct mt_feed *feed);
void mt_http_fini(struct mt_http *h);
