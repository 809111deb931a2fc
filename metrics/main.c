/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parley-metrics: what a host counts, for Prometheus, and a page for people. A process apart from
 * hostd, which it asks as an operator does: whatever a stranger's HTTP brings about, it is not in
 * hostd.
 *
 * One thread, libevent, in the foreground. Exit codes: 0 stopped, 2 usage, 64 could not start.
 */
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/qlog.h"
#include "metrics/http.h"

enum { EXIT_OK = 0, EXIT_USAGE = 2, EXIT_START = 64 };

/* Of which some ten are our own; the rest may be connected at a time. */
#define DESCRIPTORS_MAX 64

struct options {
	const char *run_dir, *listen;
};

static void usage(FILE *to)
{
	fputs("usage: parley-metrics [options] --listen WHERE\n"
	      "Tells Prometheus what this host's VMs and shares count, and people by a page.\n"
	      "\n"
	      "  --listen WHERE    PORT or 127.0.0.1:PORT, [::1]:PORT, or unix:PATH\n"
	      "  --run-dir DIR     hostd's (default $PARLEY_RUN_DIR or /run/parley)\n"
	      "  --help, --version\n"
	      "\n"
	      "Serves /metrics, / (the page) and /status.json. Exit status: 0 stopped,\n"
	      "2 usage, 64 cannot start. See parley-metrics(8).\n",
	      to);
}

/* 0 to go on, else the exit code + 1. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "run-dir", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	const char *env = getenv("PARLEY_RUN_DIR");
	int opt;

	*o = (struct options){ .run_dir = env && *env ? env : "/run/parley" };
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (opt) {
		case 'l':
			o->listen = optarg;
			break;
		case 'r':
			o->run_dir = optarg;
			break;
		case 'h':
			usage(stdout);
			return EXIT_OK + 1;
		case 'v':
			puts("parley-metrics (Parley) " PARLEY_VERSION);
			return EXIT_OK + 1;
		default:
			fputs("Try 'parley-metrics --help'.\n", stderr);
			return EXIT_USAGE + 1;
		}
	}
	if (optind == argc && o->listen)
		return 0;
	fprintf(stderr, "parley-metrics: %s. Try 'parley-metrics --help'.\n",
		o->listen ? "it takes options only" : "--listen says where, and is missing");
	return EXIT_USAGE + 1;
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	event_base_loopbreak(arg);
}

static int serve(struct event_base *base, const struct options *o, const char *socket)
{
	struct mt_feed feed;
	struct mt_http http;
	struct event *term = evsignal_new(base, SIGTERM, on_signal, base);
	struct event *intr = evsignal_new(base, SIGINT, on_signal, base);
	int r = mt_http_init(&http, base, o->listen, &feed);

	if (r == 0)
		r = mt_feed_init(&feed, base, socket);
	else
		feed = (struct mt_feed){ .base = NULL };
	if (r == 0 && (!term || !intr || event_add(term, NULL) < 0 || event_add(intr, NULL) < 0))
		r = -ENOMEM;
	if (r == 0) {
		qlog_info("ev=ready listen=%s", o->listen);
		event_base_dispatch(base);
	}
	mt_http_fini(&http);
	mt_feed_fini(&feed);
	if (term)
		event_free(term);
	if (intr)
		event_free(intr);
	return r;
}

int main(int argc, char **argv)
{
	const struct rlimit few = { DESCRIPTORS_MAX, DESCRIPTORS_MAX };
	struct options o;
	char socket[4096];
	int r = parse_options(argc, argv, &o);

	if (r > 0)
		return r - 1;
	qlog_init("parley-metrics", NULL);
	signal(SIGPIPE, SIG_IGN);
	snprintf(socket, sizeof(socket), "%s/hostd.sock", o.run_dir);
	(void)setrlimit(RLIMIT_NOFILE, &few);
	struct event_base *base = event_base_new();
	r = base ? serve(base, &o, socket) : -ENOMEM;
	if (base)
		event_base_free(base);
	if (r == -EINVAL) {
		fprintf(stderr, "parley-metrics: --listen %.100s: expected PORT, 127.0.0.1:PORT, "
			"[::1]:PORT or unix:PATH: it listens on this machine only\n", o.listen);
		return EXIT_USAGE;
	}
	if (r < 0)
		qlog_err(r, "ev=start_failed listen=%s", o.listen);
	return r < 0 ? EXIT_START : EXIT_OK;
}
