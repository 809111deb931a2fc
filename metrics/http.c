/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serves three pages by libevent's evhttp. Main thread.
 *
 * Whoever connects is a stranger: heads are at most 8 KiB, bodies none, a connection that says
 * nothing for 5 seconds is ended, and descriptors are few (main.c), so that the worst that many can
 * do is to have others wait. A request by the loopback interface has to name it as its host: a page
 * of elsewhere, whose name was made to mean this machine, gets nothing.
 */
#include "metrics/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "metrics/page.h"
#include "metrics/prom.h"
#include "metrics/status.h"

#define HEAD_MAX 8192
#define TIMEOUT_S 5
#define BACKLOG 16

static const struct {
	const char *name, *value;
} safe_headers[] = {
	{ "Cache-Control", "no-store" },
	{ "X-Content-Type-Options", "nosniff" },
	{ "X-Frame-Options", "DENY" },
	{ "Referrer-Policy", "no-referrer" },
	/* Its own script and style, and its own data: nothing from anywhere else. */
	{ "Content-Security-Policy",
	  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
	  "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'" },
};

static void reply(struct evhttp_request *req, int code, const char *type, const void *text,
		  size_t bytes)
{
	struct evkeyvalq *heads = evhttp_request_get_output_headers(req);
	struct evbuffer *buf = evbuffer_new();

	for (size_t i = 0; i < Q_ARRAY_LEN(safe_headers); i++)
		evhttp_add_header(heads, safe_headers[i].name, safe_headers[i].value);
	evhttp_add_header(heads, "Content-Type", type);
	if (!buf || evbuffer_add(buf, text, bytes) < 0)
		evhttp_send_reply(req, HTTP_INTERNAL, NULL, NULL);
	else
		evhttp_send_reply(req, code, NULL, buf);
	if (buf)
		evbuffer_free(buf);
}

static void reply_line(struct evhttp_request *req, int code, const char *line)
{
	reply(req, code, "text/plain; charset=utf-8", line, strlen(line));
}

/* True when the request was meant for this machine by a name that is its own. */
static bool is_for_us(const struct mt_http *h, struct evhttp_request *req)
{
	static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };
	const char *host = evhttp_find_header(evhttp_request_get_input_headers(req), "Host");

	for (size_t i = 0; h->loopback && host && i < Q_ARRAY_LEN(names); i++) {
		size_t n = strlen(names[i]);

		if (strncmp(host, names[i], n) == 0 && (!host[n] || host[n] == ':'))
			return true;
	}
	return !h->loopback;
}

static void on_metrics(struct evhttp_request *req, void *arg)
{
	const struct mt_http *h = arg;
	size_t bytes;
	char *text;

	if (!is_for_us(h, req)) {
		reply_line(req, 403, "not by that name\n");
		return;
	}
	if (mt_prom_text(mt_feed_list(h->feed), mt_feed_stats(h->feed), &text, &bytes) < 0) {
		reply_line(req, HTTP_INTERNAL, "out of memory\n");
		return;
	}
	reply(req, HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, bytes);
	free(text);
}

static void on_status(struct evhttp_request *req, void *arg)
{
	const struct mt_http *h = arg;

	if (!is_for_us(h, req)) {
		reply_line(req, 403, "not by that name\n");
		return;
	}
	char *text = mt_status_json(h->feed);
	if (!text) {
		reply_line(req, HTTP_INTERNAL, "out of memory\n");
		return;
	}
	reply(req, HTTP_OK, "application/json", text, strlen(text));
	free(text);
}

static void on_page(struct evhttp_request *req, void *arg)
{
	if (!is_for_us(arg, req))
		reply_line(req, 403, "not by that name\n");
	else
		reply(req, HTTP_OK, "text/html; charset=utf-8", mt_page, mt_page_bytes);
}

static void on_other(struct evhttp_request *req, void *arg)
{
	reply_line(req, HTTP_NOTFOUND, "there are /, /metrics and /status.json\n");
}

/* ---- listening ---- */

/* evhttp has the callback's argument for itself; a process has one server. */
static struct mt_http *listening;

/* Most likely no descriptor is left: those who are connected go in a few seconds. */
static void on_listen_error(struct evconnlistener *l, void *arg)
{
	static const struct timeval pause = { .tv_sec = 1 };

	evconnlistener_disable(l);
	event_add(listening->ev_again, &pause);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct mt_http *h = arg;

	evconnlistener_enable(h->listener);
}

static bool parse_port(const char *s, uint16_t *ret)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (*s < '0' || *s > '9' || *end || n > UINT16_MAX)
		return false;
	*ret = (uint16_t)n;
	return true;
}

static int bind_listen(int fd, const void *addr, socklen_t len)
{
	const int on = 1;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, addr, len) < 0 || listen(fd, BACKLOG) < 0) {
		int r = -errno;

		qfd_close(&fd);
		return r;
	}
	return fd;
}

static int listen_loopback(const char *where)
{
	static const char v4[] = "127.0.0.1:", v6[] = "[::1]:";
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	const int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
	bool six = strncmp(where, v6, sizeof(v6) - 1) == 0;
	uint16_t port;

	if (six)
		where += sizeof(v6) - 1;
	else if (strncmp(where, v4, sizeof(v4) - 1) == 0)
		where += sizeof(v4) - 1;
	if (!parse_port(where, &port))
		return -EINVAL;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in.sin_port = in6.sin6_port = htons(port);
	return six ? bind_listen(socket(AF_INET6, type, 0), &in6, sizeof(in6)) :
		     bind_listen(socket(AF_INET, type, 0), &in, sizeof(in));
}

static int listen_at(struct mt_http *h, const char *where)
{
	static const char unix_prefix[] = "unix:";

	h->loopback = strncmp(where, unix_prefix, sizeof(unix_prefix) - 1) != 0;
	if (h->loopback)
		return listen_loopback(where);
	where += sizeof(unix_prefix) - 1;
	if (!*where || snprintf(h->path, sizeof(h->path), "%s", where) >= (int)sizeof(h->path))
		return -EINVAL;
	int fd = qfd_listen_unix(h->path, BACKLOG);
	if (fd < 0)
		h->path[0] = '\0';
	return fd;
}

static int set_up(struct mt_http *h, struct event_base *base)
{
	h->server = evhttp_new(base);
	h->ev_again = evtimer_new(base, on_again, h);
	if (!h->server || !h->ev_again)
		return -ENOMEM;
	evhttp_set_allowed_methods(h->server, EVHTTP_REQ_GET);
	evhttp_set_max_headers_size(h->server, HEAD_MAX);
	evhttp_set_max_body_size(h->server, 0);
	evhttp_set_timeout(h->server, TIMEOUT_S);
	evhttp_set_gencb(h->server, on_other, h);
	return evhttp_set_cb(h->server, "/metrics", on_metrics, h) < 0 ||
			       evhttp_set_cb(h->server, "/status.json", on_status, h) < 0 ||
			       evhttp_set_cb(h->server, "/", on_page, h) < 0 ?
		       -ENOMEM : 0;
}

int mt_http_init(struct mt_http *h, struct event_base *base, const char *where,
		 const struct mt_feed *feed)
{
	*h = (struct mt_http){ .feed = feed };
	int r = set_up(h, base);
	if (r < 0)
		return r;
	int fd = listen_at(h, where);
	if (fd < 0)
		return fd;
	struct evhttp_bound_socket *s = evhttp_accept_socket_with_handle(h->server, fd);
	if (!s) {
		qfd_close(&fd);
		return -ENOMEM;
	}
	h->listener = evhttp_bound_socket_get_listener(s);
	listening = h;
	evconnlistener_set_error_cb(h->listener, on_listen_error);
	return 0;
}

void mt_http_fini(struct mt_http *h)
{
	if (h->server)
		evhttp_free(h->server);
	if (h->ev_again)
		event_free(h->ev_again);
	if (*h->path)
		(void)unlink(h->path);
	*h = (struct mt_http){ .feed = NULL };
}
