/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns a short-lived child, its output (a memory file) and its deadline. Main thread. Invariant: a
 * run outlives who asked for it until its child has ended, because a child is always reaped; fn is
 * NULL then.
 */
#include "hostd/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/qfd.h"

#define DEADLINE_S 10

struct hd_run {
	hd_run_fn fn;
	void *ctx;
	struct hd_child *child;
	struct hd_lines lines;
	struct event *ev;		/* the deadline */
	int out_fd;
	bool late;
	char *kept[HD_RUN_LINES];	/* owned */
	struct hd_run_result result;
};

static void run_free(struct hd_run *r)
{
	for (size_t i = 0; i < r->result.n_lines; i++)
		free(r->kept[i]);
	free(r->result.output);
	hd_child_free(r->child);
	hd_lines_reset(&r->lines);
	if (r->ev)
		event_free(r->ev);
	qfd_close(&r->out_fd);
	free(r);
}

static void add_line(struct hd_run *r, const char *text)
{
	if (r->result.n_lines >= HD_RUN_LINES)
		return;
	r->kept[r->result.n_lines] = strdup(text);
	r->result.n_lines += r->kept[r->result.n_lines] != NULL;
}

/* Of a file that nobody writes any more: its writer's position is ours. */
static void read_output(struct hd_run *r)
{
	off_t len = lseek(r->out_fd, 0, SEEK_CUR);

	r->result.output = len < 0 ? NULL : calloc(1, (size_t)len + 1);
	ssize_t n = r->result.output ? pread(r->out_fd, r->result.output, (size_t)len, 0) : -1;
	r->result.output_len = n > 0 ? (size_t)n : 0;
}

/* As large as it may become, so that the kernel bounds who writes. */
static int make_output(struct hd_run *r)
{
	r->out_fd = memfd_create("parley-output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->out_fd < 0 || ftruncate(r->out_fd, HD_RUN_OUTPUT_MAX) < 0 ||
	    fcntl(r->out_fd, F_ADD_SEALS, F_SEAL_GROW) < 0)
		return -errno;
	return 0;
}

static void on_msg(void *ctx, const Parley__Envelope *e, int *fds, unsigned n_fds)
{
	/* It has no channel. */
}

static void on_line(void *ctx, const struct hd_line *line)
{
	add_line(ctx, line->text);
}

static void on_exited(void *ctx, const struct hd_exit *ex)
{
	struct hd_run *r = ctx;
	const struct hd_end end = { .exit = *ex };
	char why[HD_REASON_BYTES];

	if (r->fn) {
		r->result.ok = ex->code == 0 && !ex->signal && !r->late;
		r->result.lines = r->kept;
		if (r->late)
			add_line(r, "the check took too long and was ended");
		else if (!r->result.ok && r->result.n_lines == 0)
			add_line(r, hd_reason(&end, why, sizeof(why)));
		read_output(r);
		r->fn(r->ctx, &r->result);
	}
	run_free(r);
}

static const struct hd_child_ops child_ops = {
	.msg = on_msg, .line = on_line, .exited = on_exited,
};

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct hd_run *r = arg;

	r->late = true;
	hd_child_signal(r->child, SIGKILL);
}

int hd_run_start(struct hd_env *env, const char *path, const char *cwd, char *const *argv,
		 hd_run_fn fn, void *ctx, struct hd_run **ret)
{
	const struct timeval limit = { .tv_sec = DEADLINE_S };
	struct hd_run *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	*r = (struct hd_run){ .fn = fn, .ctx = ctx, .out_fd = -1 };
	int err = make_output(r);
	r->ev = evtimer_new(env->base, on_deadline, r);
	const struct hd_child_spec spec = {
		.path = path, .cwd = cwd, .argv = argv, .stdin_fd = -1, .stdout_fd = r->out_fd,
		.console_fd = -1,
	};
	if (err == 0 && !r->ev)
		err = -ENOMEM;
	if (err == 0)
		err = hd_child_start(env->base, &spec, &r->lines, &child_ops, r, &r->child);
	if (err < 0) {
		run_free(r);
		return err;
	}
	event_add(r->ev, &limit);
	*ret = r;
	return 0;
}

void hd_run_forget(struct hd_run *r)
{
	if (!r)
		return;
	r->fn = NULL;
	hd_child_signal(r->child, SIGKILL);
}

struct hd_run *hd_run_free(struct hd_run *r)
{
	if (r) {
		hd_child_signal(r->child, SIGKILL);
		run_free(r);
	}
	return NULL;
}
