/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostd: the supervisor of a host. Starts the mediator, starts and stops VMs as its operator
 * says, and knows why each of them ended.
 *
 * One thread, libevent, in the foreground. Exit codes: 0 stopped by SIGTERM or SIGINT, 2 usage,
 * 64 could not start, 65 hostd.conf was refused.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hostd/hostd.h"
#include "hostd/pidfile.h"
#include "lib/qfd.h"
#include "lib/qlog.h"

enum { EXIT_OK = 0, EXIT_USAGE = 2, EXIT_START = 64, EXIT_CONFIG = 65 };

struct options {
	const char *state_dir, *config_dir, *run_dir, *bin_dir;
};

/* Absolute forms, because children stand in other folders. */
struct dirs {
	char state[PATH_MAX], config[PATH_MAX], run[PATH_MAX], bin[PATH_MAX];
};

static void usage(FILE *to)
{
	fputs("usage: hostd [options]\n"
	      "Starts the mediator, runs the VMs of this host, and does what hostctl asks.\n"
	      "\n"
	      "  --config-dir DIR  hostd.conf, vms/ and mediator.d/ (default\n"
	      "                    " PARLEY_CONFIG_DIR ")\n"
	      "  --state-dir DIR   what must survive; one hostd each (default\n"
	      "                    " PARLEY_STATE_DIR ")\n"
	      "  --run-dir DIR     sockets (default $PARLEY_RUN_DIR or /run/parley)\n"
	      "  --bin-dir DIR     where qvm and mediator are (default: where hostd is)\n"
	      "  --foreground      stay in the foreground; hostd always does\n"
	      "  --help, --version\n"
	      "\n"
	      "Exit status: 0 stopped as asked, 2 usage, 64 cannot start,\n"
	      "65 hostd.conf was refused. See hostd(8).\n",
	      to);
}

/* 0 to go on, else the exit code + 1. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "state-dir", required_argument, NULL, 's' },
		{ "config-dir", required_argument, NULL, 'c' },
		{ "run-dir", required_argument, NULL, 'r' },
		{ "bin-dir", required_argument, NULL, 'b' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	const char *env = getenv("PARLEY_RUN_DIR");
	int opt;

	*o = (struct options){
		.state_dir = PARLEY_STATE_DIR,
		.config_dir = PARLEY_CONFIG_DIR,
		.run_dir = env && *env ? env : "/run/parley",
	};
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (opt) {
		case 's':
			o->state_dir = optarg;
			break;
		case 'c':
			o->config_dir = optarg;
			break;
		case 'r':
			o->run_dir = optarg;
			break;
		case 'b':
			o->bin_dir = optarg;
			break;
		case 'f':
			break;
		case 'h':
			usage(stdout);
			return EXIT_OK + 1;
		case 'v':
			puts("hostd (Parley) " PARLEY_VERSION);
			return EXIT_OK + 1;
		default:
			fputs("Try 'hostd --help'.\n", stderr);
			return EXIT_USAGE + 1;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "hostd: '%s' is not understood: hostd takes options only. Try "
			"'hostd --help'.\n", argv[optind]);
		return EXIT_USAGE + 1;
	}
	return 0;
}

static int cannot(const char *what, const char *path, int err, const char *advice)
{
	qlog_errno(QLOG_FATAL, err, "ev=start_failed why=\"cannot %s %s\"%s%s", what, path,
		   *advice ? " do=" : "", advice);
	return EXIT_START;
}

/* The folder must be there, or be made; @ret is its absolute form. */
static int absolute(const char *path, bool make, char ret[PATH_MAX])
{
	if (make && mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	return realpath(path, ret) ? 0 : -errno;
}

/* Where this program is. */
static int own_dir(char ret[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);

	if (n < 0)
		return -errno;
	ret[n] = '\0';
	char *slash = strrchr(ret, '/');
	if (!slash || slash == ret)
		return -ENOENT;
	*slash = '\0';
	return 0;
}

static int resolve_dirs(const struct options *o, struct dirs *d)
{
	int r = absolute(o->config_dir, false, d->config);

	if (r < 0)
		return cannot("use the configuration folder", o->config_dir, r,
			      "\"make it, or name another with --config-dir\"");
	r = absolute(o->run_dir, true, d->run);
	if (r < 0)
		return cannot("use the runtime folder", o->run_dir, r,
			      "\"be root, or name another with --run-dir\"");
	r = absolute(o->state_dir, true, d->state);
	if (r < 0)
		return cannot("use the state folder", o->state_dir, r,
			      "\"be root, or name another with --state-dir\"");
	r = o->bin_dir ? absolute(o->bin_dir, false, d->bin) : own_dir(d->bin);
	if (r < 0)
		return cannot("use the folder of programs", o->bin_dir ? o->bin_dir : "", r, "");
	return EXIT_OK;
}

static int load_conf(const struct dirs *d, struct hd_conf *ret)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/hostd.conf", d->config);
	int r = hd_conf_load(path, &errs, ret);
	cf_errors_print(&errs, stderr);
	cf_errors_fini(&errs);
	if (r == -ENOMEM)
		return cannot("read", path, r, "");
	return r < 0 ? EXIT_CONFIG : EXIT_OK;
}

static int run(struct hd_env *env)
{
	struct hostd h;

	env->base = event_base_new();
	if (!env->base)
		return cannot("make", "an event loop", ENOMEM, "");
	env->start_ns = qnow_ns();
	int r = hostd_init(&h, env);
	if (r == 0) {
		qlog_info("ev=ready config=%s vms=%u", env->config_dir, h.vms.n);
		event_base_dispatch(env->base);
		qlog_info("ev=stopped");
	}
	hostd_fini(&h);
	event_base_free(env->base);
	if (r == -EADDRINUSE)
		return cannot("listen in", env->run_dir, r,
			      "\"another hostd does: stop it, or use another --run-dir\"");
	return r < 0 ? cannot("set up in", env->run_dir, r, "") : EXIT_OK;
}

int main(int argc, char **argv)
{
	struct options o;
	static struct dirs dirs;
	struct hd_env env = { 0 };
	pid_t other = 0;
	int r = parse_options(argc, argv, &o);

	if (r > 0)
		return r - 1;
	qlog_init("hostd", NULL);
	signal(SIGPIPE, SIG_IGN);
	umask(0022);
	r = resolve_dirs(&o, &dirs);
	if (r != EXIT_OK)
		return r;
	r = load_conf(&dirs, &env.conf);
	if (r != EXIT_OK)
		return r;
	env.config_dir = dirs.config;
	env.state_dir = dirs.state;
	env.run_dir = dirs.run;
	env.bin_dir = dirs.bin;
	QCLEAN(qfd_close) int lock_fd = hd_state_lock(dirs.state, &other);
	if (lock_fd == -EBUSY) {
		qlog(QLOG_FATAL, "ev=start_failed why=\"hostd runs already as process %d with this "
		     "state folder\" dir=%s", (int)other, dirs.state);
		return EXIT_START;
	}
	if (lock_fd < 0)
		return cannot("lock the state folder", dirs.state, lock_fd,
			      "\"be root, or name another with --state-dir\"");
	return run(&env);
}
