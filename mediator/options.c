/* SPDX-License-Identifier: Apache-2.0 */
/* The mediator's command line. Main thread, once. */
#include "mediator/options.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static void usage(FILE *to)
{
	fputs("usage: mediator [options] POLICY...\n"
	      "       mediator --simulate FILE [--seconds N] [--json]\n"
	      "Owns the shared disks named in the policy files (or folders of *.policy files) and\n"
	      "serves each share as a vhost-user block device.\n"
	      "\n"
	      "  --run-dir DIR     sockets go to DIR/mediator/ (default $PARLEY_RUN_DIR or "
	      "/run/parley)\n"
	      "  --control-fd N    take the listening sockets from hostd on descriptor N\n"
	      "  --keep-fds N      descriptors N to N + 2 are for a supervisor that takes over\n"
	      "  --sandbox MODE    on: no privilege and no system call but those that it needs;\n"
	      "                    log: others are told to the audit log, and made; off (default)\n"
	      "  --inject          let an operator make things fail (hostctl inject)\n"
	      "  --check           check the policy and the devices, start nothing\n"
	      "  --plan            with --check: print the policy as it was read, before the "
	      "devices\n"
	      "                    are looked at\n"
	      "  --simulate FILE   run the device and the guests that FILE describes in virtual "
	      "time\n"
	      "  --seconds N       simulate so much, instead of what FILE says\n"
	      "  --json            the simulation's result as JSON\n"
	      "  --help, --version\n"
	      "\n"
	      "Exit status: 0 stopped as asked (or the check passed), 2 usage, 64 cannot start,\n"
	      "65 the policy was refused. See mediator(8), parley-policy(5), parley-simulate(5).\n",
	      to);
}

/* Whole seconds and a fraction: "0.5". */
static bool parse_seconds(const char *text, uint64_t *ret_ns)
{
	char *end;
	double v = strtod(text, &end);

	if (*end || end == text || !(v >= 0.001 && v <= 86400))
		return false;
	*ret_ns = (uint64_t)(v * 1e9);
	return true;
}

/* What may stand beside what: 0, or the exit code + 1. */
static int check_options(const struct options *o)
{
	const char *why = NULL;

	if (!o->simulate && (o->simulate_ns || o->json))
		why = "--seconds and --json belong to --simulate";
	else if (o->plan && !o->check_only)
		why = "--plan belongs to --check";
	else if (o->simulate && (o->n_paths || o->check_only || o->control_fd >= 0))
		why = "--simulate takes its policy from FILE, and serves nobody";
	else if (!o->simulate && o->n_paths == 0)
		why = "no policy file was given";
	if (!why)
		return 0;
	fprintf(stderr, "mediator: %s. Try 'mediator --help'.\n", why);
	return EXIT_USAGE + 1;
}

static bool parse_fd(const char *option, const char *text, int *ret)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text && !*end && n >= 0 && n <= INT_MAX) {
		*ret = (int)n;
		return true;
	}
	fprintf(stderr, "mediator: --%s %s: expected a number\n", option, text);
	return false;
}

static bool parse_sandbox(const char *text, enum qjail_mode *ret)
{
	if (qjail_mode_parse(text, ret))
		return true;
	fprintf(stderr, "mediator: --sandbox %s: expected on, log or off\n", text);
	return false;
}

int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "run-dir", required_argument, NULL, 'r' },
		{ "control-fd", required_argument, NULL, 'c' },
		{ "keep-fds", required_argument, NULL, 'K' },
		{ "sandbox", required_argument, NULL, 'S' },
		{ "inject", no_argument, NULL, 'i' },
		{ "check", no_argument, NULL, 'k' },
		{ "plan", no_argument, NULL, 'p' },
		{ "simulate", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	const char *env = getenv("PARLEY_RUN_DIR");
	int opt;

	*o = (struct options){
		.run_dir = env ? env : "/run/parley", .control_fd = -1, .keep_fd = -1,
		.sandbox = QJAIL_OFF,
	};
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (opt) {
		case 'r':
			o->run_dir = optarg;
			break;
		case 'c':
			if (!parse_fd("control-fd", optarg, &o->control_fd))
				return EXIT_USAGE + 1;
			break;
		case 'K':
			if (!parse_fd("keep-fds", optarg, &o->keep_fd))
				return EXIT_USAGE + 1;
			break;
		case 'S':
			if (!parse_sandbox(optarg, &o->sandbox))
				return EXIT_USAGE + 1;
			break;
		case 'i':
			o->inject = true;
			break;
		case 'k':
			o->check_only = true;
			break;
		case 'p':
			o->plan = true;
			break;
		case 's':
			o->simulate = optarg;
			break;
		case 't':
			if (!parse_seconds(optarg, &o->simulate_ns)) {
				fprintf(stderr, "mediator: --seconds %s: expected a number from "
					"0.001 to 86400\n", optarg);
				return EXIT_USAGE + 1;
			}
			break;
		case 'j':
			o->json = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_OK + 1;
		case 'v':
			puts("mediator (Parley) " PARLEY_VERSION);
			return EXIT_OK + 1;
		default:
			fputs("Try 'mediator --help'.\n", stderr);
			return EXIT_USAGE + 1;
		}
	}
	o->paths = (const char *const *)argv + optind;
	o->n_paths = (size_t)(argc - optind);
	return check_options(o);
}
