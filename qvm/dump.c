/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dumps, one at a time. A request comes from any thread: it holds the guest there and then, and
 * wakes the main thread, which starts a thread for the work, so that signals and the supervisor are
 * served while it is written: a second SIGTERM ends a VM whose dump goes to a slow disk.
 *
 *	idle ─ request ─▶ wanted ─ dump_serve() ─▶ writing ─▶ written ─▶ done ─ dump_serve() ─▶ idle
 *
 * A hold of ours (pause.h) lasts from the request to the end of the writing, or, when the VM is to
 * end after it, until then. Deadlines: 5 s each for the vCPUs and the I/O thread to stand still;
 * 10 s in which a command takes nothing; 60 s for the command to end, with the guest running.
 *
 * What moves guest memory without our threads goes on: a back end or the host's disk may still be
 * writing what the guest asked it to.
 */
#include "qvm/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/arch.h"
#include "qvm/dump_elf.h"
#include "qvm/dump_pipe.h"
#include "qvm/pause.h"
#include "qvm/vcpu.h"

#define STAND_NS   (5 * Q_NSEC_PER_SEC)
#define STALL_NS   (10 * Q_NSEC_PER_SEC)
#define COMMAND_NS (60 * Q_NSEC_PER_SEC)
#define SLICE_NS   (100 * Q_NSEC_PER_MSEC) /* between two looks at cancel */
#define SUFFIX_MAX 9u

/* WRITTEN: the guest is not held any more, a command may still run. */
enum state { DUMP_IDLE, DUMP_WANTED, DUMP_WRITING, DUMP_WRITTEN, DUMP_DONE };

struct dump {
	struct vm *vm;
	int dir_fd;    /* of the directory, or -1 */
	int helper_fd; /* of the process that starts the command, or -1 */
	int wake_fd;
	pthread_mutex_t lock; /* leaf, but for what pause_begin() takes */
	enum state state;     /* these four under lock */
	bool closed;	      /* the VM ends: nothing is begun any more */
	const char *why;
	enum vm_exit end; /* 0: the guest goes on */
	pthread_t thread; /* from WRITING to dump_serve() after DONE */
	bool command_runs; /* of its thread */
	_Atomic bool cancel;
};

/* ---- where to ---- */

int dump_create(int dir_fd, const char *system, const struct tm *when,
		char ret_name[DUMP_NAME_BYTES])
{
	char date[32], suffix[4] = "";

	strftime(date, sizeof(date), "%Y%m%d-%H%M%S", when);
	for (unsigned i = 0; i <= SUFFIX_MAX; i++) {
		if (i)
			snprintf(suffix, sizeof(suffix), "-%u", i);
		snprintf(ret_name, DUMP_NAME_BYTES, "%.64s-%s%s.gcore", system, date, suffix);
		int fd = openat(dir_fd, ret_name,
				O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int open_target(struct vm *vm, const char *to)
{
	struct dump *d = vm->dump;

	if (to[0] == '|') {
		d->helper_fd = dump_pipe_spawn(to + 1);
		return d->helper_fd < 0 ? vm_fail(vm, "dump", d->helper_fd, "dump %s", to) : 0;
	}
	d->dir_fd = open(to, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (d->dir_fd < 0)
		return vm_fail(vm, "dump", errno, "dump %s: the directory cannot be opened", to);
	if (faccessat(d->dir_fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return vm_fail(vm, "dump", errno, "dump %s: no file can be made there", to);
	return 0;
}

int dump_init(struct vm *vm)
{
	if (!vm->cfg->dump_to)
		return 0;
	struct dump *d = calloc(1, sizeof(*d));
	if (!d)
		return vm_fail(vm, "dump", ENOMEM, "out of memory");
	vm->dump = d;
	d->vm = vm;
	d->dir_fd = d->helper_fd = -1;
	pthread_mutex_init(&d->lock, NULL);
	d->wake_fd = qfd_eventfd();
	if (d->wake_fd < 0)
		return vm_fail(vm, "dump", d->wake_fd, "no descriptor");
	tzset(); /* it reads a file, which may not be to be had later */
	return open_target(vm, vm->cfg->dump_to);
}

/* ---- the work, in its thread ---- */

static char *make_about(const struct dump *d, const struct tm *when)
{
	char date[64], *text = NULL;

	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S%z", when);
	int n = asprintf(&text,
			 "producer=Parley\nversion=%s\nsystem=%s\narch=%s\ntime=%s\nwhy=%s\n"
			 "cpus=%zu\nram_bytes=%llu\n",
			 PARLEY_VERSION, d->vm->cfg->system, arch_name(), date, d->why,
			 d->vm->n_vcpus, (unsigned long long)qmem_total(d->vm->mem));

	return n < 0 ? NULL : text;
}

/* The guest stands still. */
static int write_image(struct dump *d, int fd, const struct tm *when, uint64_t *ret_bytes)
{
	struct vm *vm = d->vm;
	struct dump_cpu *cpus = calloc(vm->n_vcpus, sizeof(*cpus));
	char *about = make_about(d, when);
	int r = cpus && about ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < vm->n_vcpus; i++)
		r = arch_dump_cpu(&vm->vcpus[i], &cpus[i]);
	const struct dump_to to = { .fd = fd,
				    .is_stream = d->helper_fd >= 0,
				    .stall_ns = STALL_NS,
				    .cancel = &d->cancel };
	const struct dump_image img = { .mem = vm->mem,
					.cpus = cpus,
					.n_cpus = vm->n_vcpus,
					.about = about,
					.name = vm->cfg->system };
	if (r == 0)
		r = dump_elf_write(&to, &img, ret_bytes);
	free(about);
	free(cpus);
	return r;
}

static int hold_still(struct vm *vm)
{
	int r = pause_wait(vm, STAND_NS);

	return r < 0 ? r : pause_io(vm, STAND_NS);
}

static const char *failure_str(const struct dump *d, int err)
{
	switch (err) {
	case -EBUSY:
		return "the command of the last dump still runs";
	case -EEXIST:
		return "ten dumps have the name of this second already";
	case -ECANCELED:
	case -ESRCH:
		return "the VM ended";
	case -ETIMEDOUT:
		return d->helper_fd >= 0 ? "the guest did not stand still, or the command did not "
					   "read" :
					   "the guest did not stand still";
	case -EPIPE:
		return "the command did not read it all";
	default:
		return strerrordesc_np(-err);
	}
}

struct result {
	char name[DUMP_NAME_BYTES];
	uint64_t bytes, begun_ns;
};

static void report(const struct dump *d, const struct result *res, int err)
{
	const char *to = d->vm->cfg->dump_to;
	bool is_file = d->helper_fd < 0;

	if (err < 0)
		qlog(QLOG_ERROR, "ev=dump_failed to=\"%s\" why=\"%s\" asked_by=\"%s\"", to,
		     failure_str(d, err), d->why);
	else
		qlog_info("ev=dump_written to=\"%s%s%s\" bytes=%llu held_ms=%llu asked_by=\"%s\"",
			  to, is_file ? "/" : "", is_file ? res->name : "",
			  (unsigned long long)res->bytes,
			  (unsigned long long)((qnow_ns() - res->begun_ns) / Q_NSEC_PER_MSEC),
			  d->why);
}

/* Its wait status, -errno, or -ETIMEDOUT when it still runs. In slices, for one who may cancel. */
static int wait_for_command(struct dump *d, uint64_t limit_ns)
{
	uint64_t until_ns = qnow_ns() + limit_ns;
	int status;

	do
		status = dump_pipe_wait(d->helper_fd, Q_MIN(limit_ns, SLICE_NS));
	while (status == -ETIMEDOUT && qnow_ns() < until_ns &&
	       !atomic_load_explicit(&d->cancel, memory_order_relaxed));
	d->command_runs = status == -ETIMEDOUT;
	return status;
}

/* What became of the command: the guest runs again meanwhile. */
static void await_command(struct dump *d)
{
	int status = wait_for_command(d, COMMAND_NS);

	if (atomic_load_explicit(&d->cancel, memory_order_relaxed))
		return;
	if (status == -ETIMEDOUT)
		qlog_warn("ev=dump_command why=\"it has not ended after %llu s; no other dump is "
			  "begun before it does\"",
			  (unsigned long long)(COMMAND_NS / Q_NSEC_PER_SEC));
	else if (status < 0)
		qlog_err(status, "ev=dump_command why=\"it could not be started\"");
	else if (!WIFEXITED(status) || WEXITSTATUS(status))
		qlog_warn("ev=dump_command %s=%d",
			  WIFEXITED(status) ? "exit_status" : "killed_by",
			  WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static int open_out(struct dump *d, const struct tm *when, struct result *res)
{
	if (d->helper_fd < 0)
		return dump_create(d->dir_fd, d->vm->cfg->system, when, res->name);
	if (d->command_runs && wait_for_command(d, 0) == -ETIMEDOUT)
		return -EBUSY;
	int fd = dump_pipe_open(d->helper_fd);
	d->command_runs = fd >= 0;
	return fd;
}

static int make_dump(struct dump *d, struct result *res)
{
	time_t now = time(NULL);
	struct tm when;

	localtime_r(&now, &when);
	int r = hold_still(d->vm);
	if (r < 0)
		return r;
	int fd QCLEAN(qfd_close) = open_out(d, &when, res);
	if (fd < 0)
		return fd;
	r = write_image(d, fd, &when, &res->bytes);
	if (r < 0 && d->helper_fd < 0)
		unlinkat(d->dir_fd, res->name, 0);
	return r;
}

static void *dump_main(void *arg)
{
	struct dump *d = arg;
	struct result res = { .begun_ns = qnow_ns() };
	int r = make_dump(d, &res);

	report(d, &res, r);
	pthread_mutex_lock(&d->lock);
	enum vm_exit end = d->end;
	d->state = DUMP_WRITTEN;
	pthread_mutex_unlock(&d->lock);
	if (end)
		vm_end(d->vm, end, d->why);
	else
		pause_end(d->vm);
	if (d->command_runs && r != -EBUSY)
		await_command(d);
	pthread_mutex_lock(&d->lock);
	d->state = DUMP_DONE;
	pthread_mutex_unlock(&d->lock);
	qfd_event_signal(d->wake_fd);
	return NULL;
}

/* ---- requests ---- */

bool dump_request(struct vm *vm, const char *why, enum vm_exit end)
{
	struct dump *d = vm->dump;
	bool taken = false;

	if (d) {
		pthread_mutex_lock(&d->lock);
		taken = d->state == DUMP_IDLE && !d->closed;
		if (taken) {
			d->state = DUMP_WANTED;
			d->why = why;
			d->end = end;
			pause_begin(vm);
		} else if (end && !d->end && d->state <= DUMP_WRITING) {
			d->end = end;
			end = 0;
		}
		pthread_mutex_unlock(&d->lock);
	}
	if (taken) {
		qfd_event_signal(d->wake_fd);
		return true;
	}
	qlog_warn("ev=dump_refused asked_by=\"%s\" why=\"%s\"", why,
		  d ? "another one is being written" : "the configuration has no dump");
	if (end)
		vm_end(vm, end, why);
	return false;
}

int dump_wake_fd(const struct vm *vm)
{
	return vm->dump ? vm->dump->wake_fd : -1;
}

static void start_thread(struct dump *d)
{
	int r = pthread_create(&d->thread, NULL, dump_main, d);

	if (r == 0) {
		d->state = DUMP_WRITING;
		pthread_setname_np(d->thread, "dump");
		return;
	}
	qlog_err(r, "ev=dump_failed why=\"no thread\"");
	d->state = DUMP_IDLE;
	if (d->end)
		vm_end(d->vm, d->end, d->why);
	else
		pause_end(d->vm);
}

void dump_serve(struct vm *vm)
{
	struct dump *d = vm->dump;

	qfd_event_clear(d->wake_fd);
	pthread_mutex_lock(&d->lock);
	if (d->state == DUMP_WANTED) {
		start_thread(d);
	} else if (d->state == DUMP_DONE) {
		pthread_join(d->thread, NULL);
		d->state = DUMP_IDLE;
	}
	pthread_mutex_unlock(&d->lock);
}

void dump_stop(struct vm *vm)
{
	struct dump *d = vm->dump;

	if (!d)
		return;
	/* Relaxed: the join below orders all that follows. */
	atomic_store_explicit(&d->cancel, true, memory_order_relaxed);
	pthread_mutex_lock(&d->lock);
	bool has_thread = d->state >= DUMP_WRITING;
	d->closed = true;
	pthread_mutex_unlock(&d->lock);
	if (has_thread)
		pthread_join(d->thread, NULL);
	pthread_mutex_lock(&d->lock);
	d->state = DUMP_IDLE;
	pthread_mutex_unlock(&d->lock);
}

void dump_fini(struct vm *vm)
{
	struct dump *d = vm->dump;

	if (!d)
		return;
	dump_stop(vm);
	qfd_close(&d->dir_fd);
	qfd_close(&d->helper_fd); /* which ends the helper */
	qfd_close(&d->wake_fd);
	pthread_mutex_destroy(&d->lock);
	free(d);
	vm->dump = NULL;
}
