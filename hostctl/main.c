/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostctl: the operator's command. Asks hostd over its socket, shows the answer, ends. One
 * thread, no privilege of its own. Exit codes: enum hc_exit, stable.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hostctl/remote.h"
#include "hostctl/verbs.h"

static const struct option longs[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "socket", required_argument, NULL, 's' },
	{ "run-dir", required_argument, NULL, 'r' },
	{ "timeout", required_argument, NULL, 't' },
	{ "wait", no_argument, NULL, 'w' },
	{ "no-wait", no_argument, NULL, 'W' },
	{ "watch", required_argument, NULL, 'a' },
	{ "reset-worst", no_argument, NULL, 'R' },
	{ "no-input", no_argument, NULL, 'I' },
	{ "no-replay", no_argument, NULL, 'P' },
	{ "log", no_argument, NULL, 'l' },
	{ "follow", no_argument, NULL, 'f' },
	{ "device", required_argument, NULL, 'd' },
	{ "since", required_argument, NULL, 'S' },
	{ "until", required_argument, NULL, 'U' },
	{ "boot", required_argument, NULL, 'B' },
	{ "host", required_argument, NULL, 'H' },
	{ "once", no_argument, NULL, 'o' },
	{ "no-console", no_argument, NULL, 'C' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'v' },
	{ 0 },
};

/* Seconds, with a fraction if need be, from 1 ms to 1 h. */
static bool parse_seconds(const char *s, uint64_t *ret_ms)
{
	char *end;

	errno = 0;
	double v = strtod(s, &end);
	if (end == s || *end || errno || !isfinite(v) || v < 0.001 || v > 3600)
		return false;
	*ret_ms = (uint64_t)(v * 1000 + 0.5);
	return true;
}

static enum hc_exit bad_seconds(const struct hc *hc, const char *option, const char *value)
{
	return hc_fail(hc, HC_USAGE, "--%s %.64s: expected seconds, from 0.001 to 3600", option,
		       value);
}

/* True to go on; else the exit code is in @ret. */
static bool take_option(int opt, struct hc *hc, struct hc_opts *o, const char **run_dir,
			enum hc_exit *ret)
{
	switch (opt) {
	case 'j':
		hc->json = true;
		return true;
	case 's':
		hc->socket = optarg;
		return true;
	case 'r':
		*run_dir = optarg;
		return true;
	case 't':
		o->timeout_given = parse_seconds(optarg, &o->timeout_ms);
		if (!o->timeout_given)
			*ret = bad_seconds(hc, "timeout", optarg);
		return o->timeout_given;
	case 'w':
		o->no_wait = false;
		return true;
	case 'W':
		o->no_wait = true;
		return true;
	case 'a':
		if (parse_seconds(optarg, &o->watch_ms))
			return true;
		*ret = bad_seconds(hc, "watch", optarg);
		return false;
	case 'R':
		o->reset_worst = true;
		return true;
	case 'I':
		o->no_input = true;
		return true;
	case 'P':
		o->no_replay = true;
		return true;
	case 'l':
		o->log = true;
		return true;
	case 'f':
		o->follow = true;
		return true;
	case 'd':
		o->device = optarg;
		return true;
	case 'S':
		o->since = optarg;
		return true;
	case 'U':
		o->until = optarg;
		return true;
	case 'B':
		o->boot = optarg;
		return true;
	case 'H':
		o->host = optarg;
		return true;
	case 'o':
		o->once = true;
		return true;
	case 'C':
		o->no_console = true;
		return true;
	case 'h':
		hc_usage(stdout);
		*ret = HC_OK;
		return false;
	case 'v':
		puts("hostctl (Parley) " PARLEY_VERSION);
		*ret = HC_OK;
		return false;
	default:
		fputs("Try 'hostctl help'.\n", stderr);
		*ret = HC_USAGE;
		return false;
	}
}

static enum hc_exit run(struct hc *hc, const struct hc_opts *o, int argc, char **argv)
{
	const struct hc_verb *v = hc_verb_find(hc, argv[0]);

	if (!v)
		return HC_USAGE;
	if (argc - 1 < v->min_args || argc - 1 > v->max_args)
		return hc_fail(hc, HC_USAGE, "usage: hostctl %s %s", v->name, v->args);
	enum hc_exit r = v->offline ? HC_OK : hc_connect(hc);
	if (r == HC_OK)
		r = v->run(hc, o, argc - 1, argv + 1);
	hc_disconnect(hc);
	return r;
}

static bool is_number(const char *s)
{
	return s[0] == '-' && s[1] >= '0' && s[1] <= '9';
}

/*
 * "volume NAME -12": a number is an argument, not an option, and stands last where it may stand.
 * It goes behind a "--" in the place of the last argument, so that getopt_long() leaves it alone;
 * @to has room for one more than @argc, and a NULL.
 */
static int guard_number(int argc, char **argv, char **to)
{
	static char end_of_options[] = "--";
	bool number = argc > 2 && is_number(argv[argc - 1]) &&
		      strncmp(argv[argc - 2], "--", 2) != 0;
	int n = 0;

	for (int i = 0; i < argc; i++) {
		if (number && i == argc - 1)
			to[n++] = end_of_options;
		to[n++] = argv[i];
	}
	to[n] = NULL;
	return n;
}

/* Whether it talks with who sits there, and not with a script. */
static bool wants_terminal(const char *verb)
{
	return (strcmp(verb, "console") == 0 || strcmp(verb, "top") == 0) &&
	       isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

int main(int argc, char **args)
{
	char **argv = calloc((size_t)argc + 2, sizeof(argv[0]));
	const char *run_dir = getenv("PARLEY_RUN_DIR");
	struct hc hc = { 0 };
	struct hc_opts o = { .device = "" };
	enum hc_exit r = HC_OK;
	char path[4096];
	int opt;

	if (!argv)
		return hc_fail(&hc, HC_FAILED, "out of memory");
	int n_args = argc;
	argc = guard_number(argc, args, argv);
	signal(SIGPIPE, SIG_IGN);
	if (!run_dir || !*run_dir)
		run_dir = "/run/parley";
	bool go_on = true;
	while (go_on && (opt = getopt_long(argc, argv, "fhjH:", longs, NULL)) != -1)
		go_on = take_option(opt, &hc, &o, &run_dir, &r);
	if (!hc.socket) {
		snprintf(path, sizeof(path), "%s/hostd.sock", run_dir);
		hc.socket = path;
	}
	if (go_on && optind == argc)
		r = hc_fail(&hc, HC_USAGE, "no verb was given; see 'hostctl help'");
	else if (go_on && o.host)
		r = hc_remote(&hc, o.host, wants_terminal(argv[optind]), n_args, args);
	else if (go_on)
		r = run(&hc, &o, argc - optind, argv + optind);
	free(argv);
	if (fflush(stdout) != 0 && r == HC_OK)
		r = HC_FAILED;
	return r;
}
