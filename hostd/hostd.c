/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts hostd together. Owns all its parts and the two signals that end it. Main thread.
 *
 * Theory of operation: whatever changes calls changed(), which only marks ev_step; the step
 * itself runs from the loop, on its own. It lets VMs go on that waited for the mediator, and,
 * once hostd is to end, stops class after class (best-effort first, safety last), then the
 * mediator, then the loop.
 */
#include "hostd/hostd.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hostd/modes.h"
#include "hostd/order.h"
#include "hostd/verdict.h"
#include "hostd/want.h"
#include "lib/qlog.h"

static const char *waits_for(void *ctx, const struct hd_vm *vm, bool *ret_comes)
{
	const struct hostd *h = ctx;
	const struct hd_vm *other = hd_order_awaited(&h->vms, vm);

	/* One that waits itself does not come by being waited for. */
	*ret_comes = other && other->child;
	if (!hd_med_settled(h->med))
		return "the mediator";
	return other ? other->name : NULL;
}

static void vm_changed(void *ctx, struct hd_vm *vm)
{
	struct hostd *h = ctx;

	hd_oper_vm_changed(&h->oper, vm);
	event_active(h->ev_step, EV_TIMEOUT, 0);
}

/* ---- the whole-system check ---- */

static void say_refused(struct hostd *h, const char *kind, const char *name, const char *text)
{
	if (text)
		hd_event_add(&h->env.events, kind, name, "%s", text);
}

static void vm_checked(void *ctx, const char *name)
{
	struct hostd *h = ctx;
	struct hd_vm *vm = hd_vms_find(&h->vms, name);
	struct hd_verdicts verdicts;
	char *errors = NULL;

	if (!vm)
		return;
	int r = hd_verdicts_make(&verdicts, &h->vms, h->plans);
	if (r == 0)
		r = hd_verdict_text(&verdicts, name, CF_ERROR, &errors);
	hd_verdicts_fini(&verdicts);
	hd_vm_checked(vm, r < 0 ? "out of memory" : errors);
	free(errors);
}

static void check_vm(void *ctx, struct hd_vm *vm)
{
	struct hostd *h = ctx;
	int r = hd_plans_ask(h->plans, HD_PLANS_ONE, vm->name, hd_order_rank(vm->conf.class),
			     vm_checked, h);

	if (r < 0)
		qlog_err(r, "ev=check_failed vm=%s", vm->name);
}

/* All is known once: what is wrong with VMs that nobody starts is told as well. */
static void all_checked(void *ctx, const char *name)
{
	struct hostd *h = ctx;
	struct hd_verdicts verdicts;
	struct hd_vm *vm;

	if (hd_verdicts_make(&verdicts, &h->vms, h->plans) < 0)
		return;
	LIST_FOREACH(vm, &h->vms.list, entry) {
		char *errors = NULL, *warnings = NULL;

		if (hd_verdict_text(&verdicts, vm->name, CF_ERROR, &errors) == 0)
			say_refused(h, "vm_refused", vm->name, errors);
		if (hd_verdict_text(&verdicts, vm->name, CF_WARNING, &warnings) == 0)
			say_refused(h, "vm_warning", vm->name, warnings);
		free(errors);
		free(warnings);
	}
	hd_verdicts_fini(&verdicts);
}

static const struct hd_vm_ops vm_ops = {
	.waits_for = waits_for, .check = check_vm, .changed = vm_changed,
};

static void med_changed(void *ctx)
{
	struct hostd *h = ctx;

	event_active(h->ev_step, EV_TIMEOUT, 0);
}

static void freeze(void *ctx, char *const *names, size_t n, const char *why)
{
	struct hostd *h = ctx;

	hd_freeze_set(&h->freeze, names, n, why);
}

static void ended_as_asked(struct hostd *h)
{
	int r = hd_want_working(h->env.state_dir, false);

	if (r < 0)
		qlog_err(r, "ev=mark_failed dir=%s", h->env.state_dir);
	event_base_loopbreak(h->env.base);
}

static void tell_status(struct hostd *h)
{
	unsigned n_running = 0;
	struct hd_vm *vm;

	LIST_FOREACH(vm, &h->vms.list, entry)
		n_running += vm->state == HD_VM_RUNNING;
	enum hd_mode mode = hd_mode_of(h->env.causes);
	hd_notify_status(&h->notify, "%u of %u VMs running, mediator %s%s%s", n_running, h->vms.n,
			 hd_med_state_str(hd_med_state(h->med)), mode ? ", " : "",
			 mode ? hd_mode_str(mode) : "");
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
	struct hostd *h = arg;
	bool force = h->n_stops > 1;

	if (h->n_stops == 0) {
		hd_modes_update(&h->env, &h->vms, h->med, &h->freeze);
		tell_status(h);
		hd_vms_kick(&h->vms);
		return;
	}
	tell_status(h);
	if (hd_vms_stop_some(&h->vms, force) > 0)
		return;
	if (hd_med_state(h->med) != HD_MED_OFF)
		hd_med_stop(h->med, force);
	else
		ended_as_asked(h);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct hostd *h = arg;

	h->n_stops++;
	hd_notify_stopping(&h->notify);
	h->env.ending = true;
	hd_event_add(&h->env.events, "hostd_stop", "hostd", "signal %d: %s", (int)sig,
		     h->n_stops > 1 ? "forced" : "all VMs are stopped, then the mediator");
	event_active(h->ev_step, EV_TIMEOUT, 0);
}

/* Another hostd is to take over. */
static void on_leave(evutil_socket_t sig, short what, void *arg)
{
	struct hostd *h = arg;

	hd_event_add(&h->env.events, "hostd_leaves", "hostd",
		     "signal %d: VMs and mediator run on", (int)sig);
	hd_notify_stopping(&h->notify);
	event_base_loopbreak(h->env.base);
}

static int add_events(struct hostd *h)
{
	h->ev_step = event_new(h->env.base, -1, 0, on_step, h);
	h->ev_term = evsignal_new(h->env.base, SIGTERM, on_signal, h);
	h->ev_int = evsignal_new(h->env.base, SIGINT, on_signal, h);
	h->ev_leave = evsignal_new(h->env.base, SIGUSR1, on_leave, h);
	if (!h->ev_step || !h->ev_term || !h->ev_int || event_add(h->ev_term, NULL) < 0 ||
	    event_add(h->ev_int, NULL) < 0 || !h->ev_leave || event_add(h->ev_leave, NULL) < 0)
		return -ENOMEM;
	return hd_notify_init(&h->notify, h->env.base);
}

static void report_conf_errors(struct hostd *h)
{
	struct hd_vm *vm;

	LIST_FOREACH(vm, &h->vms.list, entry) {
		if (vm->conf_errors)
			hd_event_add(&h->env.events, "vm_refused", vm->name, "%s", vm->conf_errors);
		if (vm->conf_warnings)
			hd_event_add(&h->env.events, "vm_warning", vm->name, "%s",
				     vm->conf_warnings);
	}
}

/* What ran or was wanted when an earlier hostd died; else what is to be started with the host. */
static int take_up(struct hostd *h)
{
	bool interrupted = hd_want_interrupted(h->env.state_dir);
	int r = hd_want_working(h->env.state_dir, true);

	if (r < 0)
		return r;
	hd_vms_adopt(&h->vms);
	r = hd_plans_ask(h->plans, HD_PLANS_ALL, "", 0, all_checked, h);
	if (r < 0)
		return r;
	if (!interrupted)
		hd_vms_autostart(&h->vms);
	hd_notify_ready(&h->notify);
	event_active(h->ev_step, EV_TIMEOUT, 0);
	return 0;
}

/* A host whose disk is ill runs its VMs: that nothing is recorded is told. */
static void open_recorder(struct hostd *h)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/events.ring", h->env.state_dir);
	int r = hd_recorder_open(&h->env.recorder, path, h->env.conf.events_kept);
	if (r < 0) {
		qlog_err(r, "ev=recorder_failed file=%s", path);
		return;
	}
	h->env.events.recorder = &h->env.recorder;
	hd_event_add(&h->env.events, "hostd_start", "hostd", "version %s, process %d",
		     PARLEY_VERSION, (int)getpid());
}

int hostd_init(struct hostd *h, const struct hd_env *env)
{
	*h = (struct hostd){ .env = *env };
	h->oper.listen_fd = -1;
	LIST_INIT(&h->oper.clients);
	h->env.recorder = HD_RECORDER_NULL;
	hd_vms_init(&h->vms, &h->env, &vm_ops, h);
	open_recorder(h);
	int r = add_events(h);
	if (r == 0)
		r = hd_freeze_init(&h->freeze, &h->vms);
	if (r < 0)
		return r;
	r = hd_vms_scan(&h->vms);
	if (r < 0 && r != -ENOENT)
		return r;
	report_conf_errors(h);
	h->med = hd_med_new(&h->env, med_changed, h);
	if (!h->med)
		return -ENOMEM;
	hd_med_on_freeze(h->med, freeze);
	h->freeze.changed = med_changed;
	h->freeze.ctx = h;
	h->plans = hd_plans_new(&h->env, &h->vms);
	if (!h->plans)
		return -ENOMEM;
	r = hd_oper_init(&h->oper, &h->env, &h->vms, h->med, h->plans);
	return r < 0 ? r : take_up(h);
}

void hostd_fini(struct hostd *h)
{
	hd_oper_fini(&h->oper);
	h->plans = hd_plans_free(h->plans);
	hd_freeze_fini(&h->freeze);
	hd_vms_fini(&h->vms);
	h->med = hd_med_free(h->med);
	if (h->ev_step)
		event_free(h->ev_step);
	if (h->ev_term)
		event_free(h->ev_term);
	if (h->ev_int)
		event_free(h->ev_int);
	if (h->ev_leave)
		event_free(h->ev_leave);
	h->ev_step = h->ev_term = h->ev_int = h->ev_leave = NULL;
	hd_notify_fini(&h->notify);
	hd_events_fini(&h->env.events);
	hd_logs_fini(&h->env.logs);
	hd_recorder_close(&h->env.recorder);
}
