/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qvm: one virtual machine. Reads its options and its configuration, assembles the VM, waits for
 * its end, and says by its exit code how it was (the reference, 4.2). The only file of qvm/ that
 * ends the process.
 */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qlog.h"
#include "qvm/cfg.h"
#include "qvm/control.h"
#include "qvm/dump_pipe.h"
#include "qvm/env.h"
#include "qvm/fdtboot.h"
#include "qvm/logs.h"
#include "qvm/rundir.h"
#include "qvm/sandbox.h"
#include "qvm/vcpu.h"
#include "qvm/vm.h"
#include "qvm/watch.h"

struct options {
	int control_fd; /* -1: none */
	int keep_fd;	/* the first that is kept for a later supervisor; -1: none */
	const char *run_dir, *syslog;
	int helper_fd; /* -1; else we are the helper of a qvm, and first_arg is its command */
	bool check, json, plan;
	bool safety;
	enum qjail_mode sandbox;
	int first_arg; /* of the configuration */
};

static const char usage_text[] =
	"usage: qvm [OPTION]... [@FILE | CONFIGURATION]...\n"
	"\n"
	"  Runs one virtual machine. @FILE is a configuration file (*.qvmconf); configuration\n"
	"  may stand on the command line too, in the same words:\n"
	"      qvm @guest.qvmconf ram 256m cmdline \"console=ttyS0\"\n"
	"\n"
	"  --check           say whether the configuration is right, and stop\n"
	"  --plan            print what dryrun prints, and stop; writes no file\n"
	"  --json            with dryrun or --plan: print the plan as JSON\n"
	"  --class CLASS     safety, normal (default) or best-effort: the memory of a safety VM\n"
	"                    is there and locked before its guest runs\n"
	"  --run-dir DIR     where sockets and locks are\n"
	"                    (default: $PARLEY_RUN_DIR, else " RUNDIR_DEFAULT ")\n"
	"  --syslog SOCKET   where the system's log listens (default: " LOGS_SYSLOG_DEFAULT ")\n"
	"  --sandbox MODE    on: no privilege and no system call but those that a VM needs;\n"
	"                    log: others are told to the audit log, and made; off (default)\n"
	"  --control-fd N    descriptor of the supervisor's channel\n"
	"  --keep-fds N      descriptors N to N + 2 are for a supervisor that takes over\n"
	"  --version         print the version\n"
	"  --help            this text\n"
	"\n"
	"  Signals: SIGTERM, SIGINT, SIGHUP power button, the second one ends the VM;\n"
	"  SIGQUIT power cut; SIGUSR1 status; SIGUSR2 dump.\n"
	"  Exit status: 0 the guest shut down or rebooted; 3 power cut, or ended before the guest\n"
	"  was done; 4 watchdog; 5 unsupported operation; 6 vdev error; 7 unexpected error;\n"
	"  32 to 63 a code of the guest's (vdev debug-exit);\n"
	"  64 could not start; 65 wrong configuration; 96 failed while the guest ran.\n";

static int usage_error(void)
{
	fprintf(stderr, "qvm: see qvm --help\n");
	return VM_EXIT_CONFIG;
}

static int parse_fd(const char *text)
{
	char *end;
	errno = 0;
	long n = strtol(text, &end, 10);

	return errno || *end || end == text || n < 0 || n > 1 << 20 ? -1 : (int)n;
}

static bool parse_fd_option(const char *option, const char *text, int *ret)
{
	*ret = parse_fd(text);
	if (*ret < 0)
		fprintf(stderr, "qvm: --%s %s: a descriptor's number is expected\n", option, text);
	return *ret >= 0;
}

static bool parse_class(const char *text, struct options *o)
{
	static const char *const classes[] = { "safety", "normal", "best-effort" };

	for (size_t i = 0; i < Q_ARRAY_LEN(classes); i++) {
		if (strcmp(text, classes[i]) == 0) {
			o->safety = i == 0;
			return true;
		}
	}
	fprintf(stderr, "qvm: --class %s: expected safety, normal or best-effort\n", text);
	return false;
}

static bool parse_sandbox(const char *text, struct options *o)
{
	if (qjail_mode_parse(text, &o->sandbox))
		return true;
	fprintf(stderr, "qvm: --sandbox %s: expected on, log or off\n", text);
	return false;
}

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "control-fd", required_argument, NULL, 'c' },
		{ "keep-fds", required_argument, NULL, 'K' },
		{ "run-dir", required_argument, NULL, 'r' },
		{ "class", required_argument, NULL, 'C' },
		{ "syslog", required_argument, NULL, 's' },
		{ "sandbox", required_argument, NULL, 'S' },
		{ "check", no_argument, NULL, 'k' },
		{ "json", no_argument, NULL, 'j' },
		{ "plan", no_argument, NULL, 'p' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ DUMP_PIPE_OPTION, required_argument, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "+h", longs, NULL)) != -1) {
		switch (opt) {
		case 'c':
			if (!parse_fd_option("control-fd", optarg, &o->control_fd))
				return VM_EXIT_CONFIG;
			break;
		case 'K':
			if (!parse_fd_option("keep-fds", optarg, &o->keep_fd))
				return VM_EXIT_CONFIG;
			break;
		case 'd':
			o->helper_fd = parse_fd(optarg);
			break;
		case 'r':
			o->run_dir = optarg;
			break;
		case 'C':
			if (!parse_class(optarg, o))
				return VM_EXIT_CONFIG;
			break;
		case 's':
			o->syslog = optarg;
			break;
		case 'S':
			if (!parse_sandbox(optarg, o))
				return VM_EXIT_CONFIG;
			break;
		case 'k':
			o->check = true;
			break;
		case 'j':
			o->json = true;
			break;
		case 'p':
			o->plan = true;
			break;
		case 'v':
			printf("qvm (Parley) %s\n", PARLEY_VERSION);
			return VM_EXIT_OK;
		case 'h':
			fputs(usage_text, stdout);
			return VM_EXIT_OK;
		default:
			return usage_error();
		}
	}
	o->first_arg = optind;
	if (optind == argc) {
		fprintf(stderr, "qvm: there is no configuration: qvm @guest.qvmconf\n");
		return usage_error();
	}
	return -1;
}

/* ---- configuration ---- */

/* The error lines, for the supervisor. Owned by the caller; NULL when out of memory. */
static char *errors_text(const struct cf_errors *errs)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	cf_errors_print(errs, f);
	fclose(f);
	return text;
}

static int config_failed(struct control *c, const struct cf_errors *errs, int err)
{
	char *text = errors_text(errs);

	if (text)
		fputs(text, stderr);
	if (cf_errors_ok(errs))
		fprintf(stderr, "qvm: the configuration could not be read: %s\n",
			strerrordesc_np(-err));
	control_start_failed(c, "config", cf_errors_ok(errs) ? -err : 0,
			     text ? text : "out of memory");
	free(text);
	return err == -ENOMEM ? VM_EXIT_FATAL_START : VM_EXIT_CONFIG;
}

static int print_plan(const struct vm_cfg *cfg)
{
	int r = cfg_plan_print(cfg, stdout, cfg->dryrun_json);

	if (r == 0 && fflush(stdout) == 0)
		return VM_EXIT_OK;
	fprintf(stderr, "qvm: the plan could not be written: %s\n",
		strerrordesc_np(r < 0 ? -r : errno));
	return VM_EXIT_FATAL_START;
}

static int dry_run(const struct vm_cfg *cfg)
{
	char text[512] = "";
	int r = print_plan(cfg);

	if (r != VM_EXIT_OK)
		return r;
	r = fdtboot_dry(cfg, text, sizeof(text));
	if (r < 0) {
		fprintf(stderr, "qvm: %s\n", text);
		return r == -EINVAL ? VM_EXIT_CONFIG : VM_EXIT_FATAL_START;
	}
	if (r > 0)
		fprintf(stderr, "FDT saved to '%s'\n", cfg->fdt_dump_file);
	fprintf(stderr, "Exiting: dryrun completed\n");
	return VM_EXIT_OK;
}

static int json_alone(void)
{
	fprintf(stderr, "qvm: --json is about the plan that dryrun prints: add dryrun or --plan, "
			"or leave --json out\n");
	return VM_EXIT_CONFIG;
}

/* ---- the VM's life ---- */

static int start_failed(struct control *c, struct vm *vm, const struct cf_errors *errs)
{
	const struct vm_failure *f = &vm->fail;
	char text[sizeof(f->text) + 256], *more = NULL;

	if (!cf_errors_ok(errs))
		more = errors_text(errs);
	snprintf(text, sizeof(text), "%s%s%s", f->text, f->err && f->err != EINVAL ? ": " : "",
		 f->err && f->err != EINVAL ? strerrordesc_np(f->err) : "");
	if (more)
		fputs(more, stderr);
	else
		qlog(QLOG_FATAL, "ev=start_failed stage=%s why=\"%s\"", f->stage, text);
	control_start_failed(c, f->stage, f->err, more ? more : text);
	free(more);
	return VM_EXIT_FATAL_START;
}

/* Everything but the guest runs, and all of it has given up what it does not need. */
static int seal(struct vm *vm, enum qjail_mode mode)
{
	int r = sandbox_opened();

	if (r == 0) {
		r = vm_start_threads(vm);
		if (r < 0)
			return r;
		r = sandbox_ready(mode);
	}
	return r < 0 ? vm_fail(vm, "sandbox", r, "privileges could not be dropped") : 0;
}

static int run_vm(struct vm *vm, struct control *c, struct env *env, enum qjail_mode mode)
{
	struct cf_errors none = CF_ERRORS_NULL;
	int r = seal(vm, mode);

	if (r < 0)
		return start_failed(c, vm, &none);
	vm_run(vm);
	control_ready(c, vm);
	env_write(env);
	r = watch_run(vm, c, env);
	if (r < 0)
		vm_end(vm, VM_EXIT_FATAL_RUN, "the main thread cannot wait");
	vm_stop(vm);
	int code = atomic_load(&vm->end_code);
	const char *why = atomic_load(&vm->end_why);
	qlog_info("ev=ended code=%d why=\"%s\"", code, why);
	control_ended(c, code, why, atomic_load(&vm->reset));
	return code;
}

static int with_vm(const struct vm_cfg *cfg, const struct options *o, const struct rundir *d,
		   struct control *c)
{
	static struct vm vm; /* large; one a process */
	struct cf_errors errs = CF_ERRORS_NULL;
	int code;

	if (vm_init(&vm, cfg, d->base, &errs) < 0) {
		code = start_failed(c, &vm, &errs);
	} else {
		struct env *env = env_new(&vm, d->dir_fd);
		code = run_vm(&vm, c, env, o->sandbox);
		env_free(env);
	}
	vm_fini(&vm);
	cf_errors_fini(&errs);
	return code;
}

static int lock_failed(struct control *c, const struct vm_cfg *cfg, const struct rundir *d, int err,
		       int pid)
{
	char text[1024];

	if (err == -EBUSY)
		snprintf(text, sizeof(text),
			 "a VM named %s is running already: process %d (%s/pid)", cfg->system, pid,
			 d->dir);
	else if (err == -EINVAL)
		snprintf(
			text, sizeof(text),
			"system %s: the name of a VM has no / and does not start with a dot",
			cfg->system);
	else if (err == -ENAMETOOLONG && !d->dir[0])
		snprintf(text, sizeof(text), "the name of the run directory is too long: at most "
			 "%zu bytes", sizeof(d->base) - 1);
	else
		snprintf(text, sizeof(text),
			 "%s cannot be made: %s; say --run-dir DIR with a directory of your own",
			 d->dir, strerrordesc_np(-err));
	qlog(QLOG_FATAL, "ev=start_failed stage=run_dir why=\"%s\"", text);
	control_start_failed(c, "run_dir", -err, text);
	return VM_EXIT_FATAL_START;
}

/* A VM without a name has no directory: nobody could find it there, and several may run at once. */
static int with_rundir(const struct vm_cfg *cfg, const struct options *o, struct control *c)
{
	struct rundir d = RUNDIR_NULL;
	int pid = 0, r = rundir_base(&d, o->run_dir);

	if (r == 0 && cfg->system_given && d.base[0])
		r = rundir_lock(&d, cfg->system, &pid);
	else if (r == 0 && cfg->system_given)
		qlog_warn("ev=no_run_dir why=\"" RUNDIR_DEFAULT
			  " cannot be written and XDG_RUNTIME_DIR is not set: a second VM of this "
			  "name would not be noticed; say --run-dir DIR\"");
	int code = r < 0 ? lock_failed(c, cfg, &d, r, pid) : with_vm(cfg, o, &d, c);
	rundir_fini(&d);
	return code;
}

static int with_config(int argc, char **argv, const struct options *o, struct control *c)
{
	struct cf_errors errs = CF_ERRORS_NULL;
	struct vm_cfg *cfg = NULL;
	int code, r = cfg_parse(argc - o->first_arg, argv + o->first_arg, &errs, &cfg);

	if (r < 0) {
		code = config_failed(c, &errs, r);
	} else {
		cf_errors_print(&errs, stderr);
		qlog_init("qvm", cfg->system);
		logs_open(cfg, o->syslog);
		cfg->dryrun_json = o->json;
		cfg->lock_memory = o->safety;
		if (o->plan)
			code = print_plan(cfg);
		else if (o->check)
			code = VM_EXIT_OK;
		else if (o->json && !cfg->dryrun)
			code = json_alone();
		else
			code = cfg->dryrun ? dry_run(cfg) : with_rundir(cfg, o, c);
	}
	cf_errors_fini(&errs);
	cfg_free(cfg);
	return code;
}

int main(int argc, char **argv)
{
	struct options o = {
		.control_fd = -1, .keep_fd = -1, .helper_fd = -1, .syslog = LOGS_SYSLOG_DEFAULT,
		.sandbox = QJAIL_OFF,
	};
	struct control *c = NULL;
	int code = parse_options(argc, argv, &o);

	if (code >= 0)
		return code;
	/* The helper, too: its qvm's supervisor must not find the channel held open by it. */
	bool is_helper = o.helper_fd >= 0;
	if (sandbox_early(is_helper ? o.helper_fd : o.control_fd, is_helper ? -1 : o.keep_fd) < 0) {
		fprintf(stderr, "qvm: descriptors that are not ours cannot be closed: %s\n",
			strerrordesc_np(errno));
		return VM_EXIT_FATAL_START;
	}
	if (o.helper_fd >= 0)
		return dump_pipe_serve(o.helper_fd, argv[o.first_arg]);
	watch_signals_block();
	vcpu_signals_init();
	qlog_init("qvm", NULL);
	if (o.control_fd >= 0) {
		c = control_new(o.control_fd, o.keep_fd);
		if (!c) {
			fprintf(stderr, "qvm: --control-fd %d is no channel\n", o.control_fd);
			return VM_EXIT_FATAL_START;
		}
	}
	code = with_config(argc, argv, &o, c);
	control_free(c);
	logs_close();
	return code;
}
