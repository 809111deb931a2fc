/* SPDX-License-Identifier: Apache-2.0 */
/* The mediator's command line. Main thread, once. */
#include "mediator/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static void usage(FILE *to)
{
	fputs("usage: mediator [options] POLICY...\n"
	      "Owns the shared disks named in the policy files (or folders of *.policy files) and\n"
	      "serves each share as a vhost-user block device.\n"
	      "\n"
	      "  --run-dir DIR     sockets go to DIR/mediator/ (default $PARLEY_RUN_DIR or "
	      "/run/parley)\n"
	      "  --control-fd N    take the listening sockets from hostd on descriptor N\n"
	      "  --inject          let an operator make things fail (hostctl inject)\n"
	      "  --check           check the policy and the devices, start nothing\n"
	      "  --help, --version\n"
	      "\n"
	      "Exit status: 0 stopped as asked (or the check passed), 2 usage, 64 cannot start,\n"
	      "65 the policy was refused. See mediator(8) and parley-policy(5).\n",
	      to);
}

int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "run-dir", required_argument, NULL, 'r' },
		{ "control-fd", required_argument, NULL, 'c' },
		{ "inject", no_argument, NULL, 'i' },
		{ "check", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	const char *env = getenv("PARLEY_RUN_DIR");
	char *end;
	int opt;

	*o = (struct options){ .run_dir = env ? env : "/run/parley", .control_fd = -1 };
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (opt) {
		case 'r':
			o->run_dir = optarg;
			break;
		case 'c':
			o->control_fd = (int)strtol(optarg, &end, 10);
			if (*end || o->control_fd < 0) {
				fprintf(stderr, "mediator: --control-fd %s: expected a number\n",
					optarg);
				return EXIT_USAGE + 1;
			}
			break;
		case 'i':
			o->inject = true;
			break;
		case 'k':
			o->check_only = true;
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
	if (o->n_paths == 0) {
		fputs("mediator: no policy file was given. Try 'mediator --help'.\n", stderr);
		return EXIT_USAGE + 1;
	}
	return 0;
}
