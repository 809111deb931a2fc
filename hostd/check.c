/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostctl check: runs `qvm --check @NAME.qvmconf` for a VM or for all, and `mediator --check`, one
 * after the other, and collects what they say, so that the rules live once, in the programs that
 * follow them. Main thread. Each run has a deadline; nothing that runs is touched.
 *
 * Invariant: a check outlives its client until its child has ended, because a child is always
 * reaped; job.client is NULL then.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostd/oper.h"

#define CHECK_DEADLINE_S 10
#define LINES_MAX 200u		/* of one program */

struct item {
	char name[HD_NAME_MAX + 1];
	bool mediator, ok;
	char *lines[LINES_MAX];		/* owned */
	size_t n_lines;
};

struct check {
	struct hd_job job;
	struct hd_env *env;
	struct item *items;		/* owned */
	unsigned n_items, at;
	struct hd_child *child;
	struct hd_lines lines;
	struct event *ev;		/* the deadline of a run, and the step to the next */
	bool late;
};

static void next_run(struct check *k);

static void check_free(struct check *k)
{
	for (unsigned i = 0; i < k->n_items; i++)
		for (size_t n = 0; n < k->items[i].n_lines; n++)
			free(k->items[i].lines[n]);
	free(k->items);
	hd_child_free(k->child);
	hd_lines_reset(&k->lines);
	if (k->ev)
		event_free(k->ev);
	free(k);
}

static void check_cancel(struct hd_job *job)
{
	struct check *k = Q_CONTAINER_OF(job, struct check, job);

	if (k->child)
		hd_child_signal(k->child, SIGKILL);	/* on_exited() frees */
	else
		check_free(k);
}

static void add_line(struct item *it, const char *text)
{
	if (it->n_lines >= LINES_MAX)
		return;
	it->lines[it->n_lines] = strdup(text);
	it->n_lines += it->lines[it->n_lines] != NULL;
}

static void add_text(struct item *it, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		char *line = strndup(text, len);

		if (line)
			add_line(it, line);
		free(line);
		text += len + (text[len] == '\n');
	}
}

static void on_msg(void *ctx, const Parley__Envelope *e, int *fds, unsigned n_fds)
{
	/* A check has no channel. */
}

static void on_line(void *ctx, const struct hd_line *line)
{
	struct check *k = ctx;

	add_line(&k->items[k->at], line->text);
}

static void on_exited(void *ctx, const struct hd_exit *ex)
{
	struct check *k = ctx;
	struct item *it = &k->items[k->at];
	const struct hd_end end = { .exit = *ex };
	char why[HD_REASON_BYTES];

	k->child = hd_child_free(k->child);
	if (!k->job.client) {
		check_free(k);
		return;
	}
	if (ex->code != 0 || ex->signal)
		it->ok = false;
	if (k->late)
		add_line(it, "the check took too long and was ended");
	else if (!it->ok && it->n_lines == 0)
		add_line(it, hd_reason(&end, why, sizeof(why)));
	k->at++;
	next_run(k);
}

static const struct hd_child_ops child_ops = {
	.msg = on_msg, .line = on_line, .exited = on_exited,
};

static int spawn(struct check *k, const struct item *it)
{
	char exe[PATH_MAX], cwd[PATH_MAX], arg[PATH_MAX];
	char *const argv[] = { exe, (char *)"--check", arg, NULL };
	const struct hd_child_spec spec = {
		.path = exe, .cwd = cwd, .argv = argv,
		.stdin_fd = -1, .stdout_fd = -1,
	};

	snprintf(exe, sizeof(exe), "%s/%s", k->env->bin_dir, it->mediator ? "mediator" : "qvm");
	snprintf(cwd, sizeof(cwd), "%s%s", k->env->config_dir, it->mediator ? "" : "/vms");
	if (it->mediator)
		snprintf(arg, sizeof(arg), "%s/mediator.d", k->env->config_dir);
	else
		snprintf(arg, sizeof(arg), "@%s.qvmconf", it->name);
	return hd_child_start(k->env->base, &spec, &k->lines, &child_ops, k, &k->child);
}

static void answer(struct check *k)
{
	Parley__CheckReply reply = PARLEY__CHECK_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	Parley__CheckReply__Item *m = calloc(k->n_items + 1, sizeof(m[0]));
	Parley__CheckReply__Item **v = calloc(k->n_items + 1, sizeof(v[0]));
	struct hd_client *c = k->job.client;

	reply.ok = true;
	for (unsigned i = 0; m && v && i < k->n_items; i++) {
		m[i] = (Parley__CheckReply__Item)PARLEY__CHECK_REPLY__ITEM__INIT;
		m[i].name = k->items[i].name;
		m[i].ok = k->items[i].ok;
		m[i].lines = k->items[i].lines;
		m[i].n_lines = k->items[i].n_lines;
		v[i] = &m[i];
		reply.ok = reply.ok && m[i].ok;
	}
	reply.items = v;
	reply.n_items = k->n_items;
	e.body_case = PARLEY__ENVELOPE__BODY_CHECK_REPLY;
	e.check_reply = &reply;
	if (m && v)
		hd_client_reply(c, k->job.id, &e);
	else
		hd_link_send_error(c->link, k->job.id, PARLEY__CODE__E_FAILED, "out of memory");
	free(v);
	free(m);
}

/* Starts the next program, or answers and ends. */
static void next_run(struct check *k)
{
	const struct timeval limit = { .tv_sec = CHECK_DEADLINE_S };

	k->late = false;
	for (; k->at < k->n_items; k->at++) {
		struct item *it = &k->items[k->at];
		int r = spawn(k, it);

		if (r == 0) {
			event_add(k->ev, &limit);
			return;
		}
		it->ok = false;
		add_line(it, strerror(-r));
	}
	answer(k);
	hd_job_remove(&k->job);
	check_free(k);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct check *k = arg;

	k->late = true;
	if (k->child)
		hd_child_signal(k->child, SIGKILL);
	else
		next_run(k);	/* the first step */
}

static void add_item(struct check *k, const struct hd_vm *vm)
{
	struct item *it = &k->items[k->n_items++];

	it->ok = true;
	it->mediator = vm == NULL;
	snprintf(it->name, sizeof(it->name), "%s", vm ? vm->name : "mediator");
	if (vm && vm->conf_errors) {
		it->ok = false;
		add_text(it, vm->conf_errors);
	}
	if (vm && vm->conf_warnings)
		add_text(it, vm->conf_warnings);
}

void hd_check(struct hd_client *c, uint32_t id, const char *name)
{
	struct hd_oper *o = c->oper;
	struct check *k = calloc(1, sizeof(*k));
	struct hd_vm *vm;

	if (k) {
		k->env = o->env;
		k->job.cancel = check_cancel;
		k->items = calloc(o->vms->n + 1, sizeof(k->items[0]));
		k->ev = evtimer_new(o->env->base, on_deadline, k);
	}
	if (!k || !k->items || !k->ev) {
		if (k)
			check_free(k);
		hd_link_send_error(c->link, id, PARLEY__CODE__E_FAILED, "out of memory");
		return;
	}
	LIST_FOREACH(vm, &o->vms->list, entry)
		if (!*name || strcmp(vm->name, name) == 0)
			add_item(k, vm);
	if (!*name && hd_med_has_policies(o->env))
		add_item(k, NULL);
	if (hd_job_add(&k->job, c, id) < 0)
		check_free(k);
	else
		event_active(k->ev, EV_TIMEOUT, 0);
}
