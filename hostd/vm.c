/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns one VM's state, process, console and deadline. Main thread.
 *
 * Theory of operation: requests change what is wanted (want_up, stop) and take one step;
 * everything else follows from events: a message of qvm, the end of its process, the deadline.
 * Each state with a process has its way out by time: STARTING is killed after start-timeout;
 * STOPPING goes from the power button to the power cut to SIGKILL, and says so every ten seconds
 * when even that does not help.
 *
 * What ended and is to run again by policy goes on to WAITING, after it was OFF or FAILED, so that
 * whoever waits for an end hears of each.
 *
 * Invariants: set_state() is the only writer of state, set_want() of want_up; child is NULL in OFF,
 * FAILED and WAITING; the console is open exactly while a child lives. ops->changed is called last
 * in everything that calls it, or what follows is another move.
 */
#include "hostd/vm.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostd/pidfile.h"
#include "hostd/spawn.h"
#include "hostd/want.h"
#include "lib/qfd.h"
#include "lib/qlog.h"
#include "proto/qp_check.h"

#define KILL_AGAIN_NS (10 * Q_NSEC_PER_SEC)
#define LOG_LINES_A_SECOND 50u
#define STARTS_WAITED 8u	/* start timeouts that others may take before it */

static void set_deadline(struct hd_vm *vm, uint64_t ns)
{
	const struct timeval tv = {
		.tv_sec = (time_t)(ns / Q_NSEC_PER_SEC),
		.tv_usec = (suseconds_t)(ns % Q_NSEC_PER_SEC / Q_NSEC_PER_USEC),
	};

	event_add(vm->ev_deadline, &tv);
}

/* Its process hangs: killed, unless it is to be left alone; what follows is decided at its end. */
static void on_hung(void *ctx, const char *why)
{
	struct hd_vm *vm = ctx;
	bool kill = vm->conf.watchdog != HD_WATCHDOG_NOTHING;

	hd_event_add(&vm->env->events, "vm_hung", vm->name, "%s: %s", why,
		     kill ? "its process is killed" : "it is left alone, as NAME.vm says");
	if (!kill)
		return;
	snprintf(vm->hung, sizeof(vm->hung), "%s", why);
	hd_child_signal(vm->child, SIGKILL);
}

/* In other states than this one it has a deadline. */
static void watch(struct hd_vm *vm)
{
	if (vm->state != HD_VM_RUNNING)
		hd_alive_stop(&vm->alive);
	else if (hd_alive_start(&vm->alive, vm->env->base, vm->child, vm->env->conf.qvm_hang_ns,
				on_hung, vm) < 0)
		qlog_err(-ENOMEM, "ev=not_watched vm=%s", vm->name);
}

/* The sole writer of vm->state. Moves that the table does not know are our own mistakes. */
static void set_state(struct hd_vm *vm, enum hd_vm_state to, const char *why)
{
	qassert(hd_vm_state_may(vm->state, to));
	hd_event_add(&vm->env->events, "vm_state", vm->name, "%s -> %s: %s",
		     hd_vm_state_str(vm->state), hd_vm_state_str(to), why);
	vm->state = to;
	watch(vm);
	if (!hd_vm_state_alive(to))
		vm->stop = HD_STOP_NONE;
	if (!hd_vm_state_alive(to) && to != HD_VM_WAITING)
		event_del(vm->ev_deadline);
	vm->ops->changed(vm->ctx, vm);
}

/* The sole writer of vm->want_up. */
static void set_want(struct hd_vm *vm, bool up)
{
	int r = vm->want_up == up ? 0 : hd_want_write(vm->env->state_dir, vm->name, up);

	if (r < 0)
		qlog_err(r, "ev=want_failed vm=%s why=\"a later hostd will not know what was "
			 "wanted\"", vm->name);
	vm->want_up = up;
}

/* The sole writer of vm->again. */
static void set_again(struct hd_vm *vm, bool again)
{
	int r = vm->again == again ? 0 :
		hd_want_write_again(vm->env->state_dir, vm->name, again);

	if (r < 0)
		qlog_err(r, "ev=again_failed vm=%s why=\"a later hostd will not know of its "
			 "reboot\"", vm->name);
	vm->again = again;
}

static void set_text(char **field, const char *text)
{
	free(*field);
	*field = text && *text ? strdup(text) : NULL;
}

/* ---- what its process does ---- */

/* One of an earlier hostd answers: all is known of it again. */
static void adopted(struct hd_vm *vm, const Parley__Ready *m)
{
	uint64_t now = qnow_ns();

	vm->ready_ns = now - Q_MIN(m->uptime_ns, now - 1);
	vm->paused = m->paused;
	vm->reason[0] = '\0';
	hd_event_add(&vm->env->events, "vm_adopted", vm->name,
		     "it runs since %.3g s and was not disturbed",
		     (double)m->uptime_ns / (double)Q_NSEC_PER_SEC);
}

static void on_msg(void *ctx, const Parley__Envelope *e, int *fds, unsigned n_fds)
{
	struct hd_vm *vm = ctx;

	switch (e->body_case) {
	case PARLEY__ENVELOPE__BODY_READY:
		if (vm->state == HD_VM_RUNNING) {
			adopted(vm, e->ready);
			return;
		}
		if (vm->state != HD_VM_STARTING || vm->late)
			return;
		vm->ready_ns = qnow_ns();
		event_del(vm->ev_deadline);
		set_state(vm, HD_VM_RUNNING, "ready");
		return;
	case PARLEY__ENVELOPE__BODY_START_FAILED:
		set_text(&vm->failed_stage, e->start_failed->stage);
		set_text(&vm->failed_text, e->start_failed->text);
		return;
	case PARLEY__ENVELOPE__BODY_ENDED:
		set_text(&vm->ended_reason, e->ended->reason);
		vm->reset = e->ended->reset;
		vm->ended_code = e->ended->exit_code;
		if (vm->state != HD_VM_RUNNING)
			return;
		vm->stop = HD_STOP_LEAVING;
		set_deadline(vm, vm->conf.stop_timeout_ns);
		set_state(vm, HD_VM_STOPPING, vm->ended_reason ? vm->ended_reason : "ended");
		return;
	default:
		/* Answers that nobody waits for, and what later versions say. */
		return;
	}
}

/* A guest can make its qvm write: so many lines a second, then a sum. */
static bool may_log(struct hd_vm *vm)
{
	uint64_t sec = qnow_ns() / Q_NSEC_PER_SEC;

	if (sec != vm->run_log_sec) {
		if (vm->run_log_dropped)
			qlog_warn("ev=log_dropped vm=%s n=%llu", vm->name,
				  (unsigned long long)vm->run_log_dropped);
		vm->run_log_sec = sec;
		vm->run_log_lines = 0;
		vm->run_log_dropped = 0;
	}
	if (vm->run_log_lines++ < LOG_LINES_A_SECOND)
		return true;
	vm->run_log_dropped++;
	return false;
}

static void on_line(void *ctx, const struct hd_line *line)
{
	static const enum qlog_sev sevs[] = {
		QLOG_FATAL, QLOG_FATAL, QLOG_FATAL, QLOG_ERROR,
		QLOG_WARN,  QLOG_INFO,	QLOG_INFO,  QLOG_DEBUG,
	};
	struct hd_vm *vm = ctx;

	hd_logs_add(&vm->env->logs, vm->name, false, line->prio, line->text);
	if (may_log(vm))
		qlog(line->prio < 0 ? QLOG_INFO : sevs[line->prio & 7], "vm=%s %s", vm->name,
		     line->text);
}

static void on_console_line(void *ctx, const struct hd_line *line)
{
	struct hd_vm *vm = ctx;

	hd_logs_add(&vm->env->logs, vm->name, true, -1, line->text);
}

static void on_console(void *ctx, const char *bytes, size_t len)
{
	struct hd_vm *vm = ctx;

	hd_lines_put(&vm->printed, bytes, len, on_console_line, vm);
}

static void on_chan_lost(void *ctx, const char *why)
{
	struct hd_vm *vm = ctx;

	/* Its process may be about to end; if it is not, signals take the place of messages. */
	qlog_info("ev=vm_channel_closed vm=%s why=%s", vm->name, why);
}

/* OFF or FAILED; @asked by an operator. Starts again what its policy wants to. */
static void restart(struct hd_vm *vm, enum hd_ended how, bool asked)
{
	bool bitten = *vm->hung || vm->exit_code == HD_EXIT_WATCHDOG;
	const struct hd_restart_conf conf =
		hd_watchdog_restart(&vm->conf.restart,
				    bitten ? vm->conf.watchdog : HD_WATCHDOG_FAILURE);
	const struct hd_restart_conf *c = &conf;
	uint64_t delay_ns;

	if (asked || vm->env->ending || vm->fail_code == PARLEY__CODE__E_CONFIG)
		return;
	switch (hd_restart_decide(c, &vm->restarts, how, qnow_ns(), &delay_ns)) {
	case HD_RESTART_STAYS:
		return;
	case HD_RESTART_TOO_OFTEN:
		hd_event_add(&vm->env->events, "vm_crash_loop", vm->name,
			     "restarted %u times within %.3g s: it stays %s until it is started",
			     vm->restarts.n, (double)c->window_ns / (double)Q_NSEC_PER_SEC,
			     hd_vm_state_str(vm->state));
		return;
	case HD_RESTART_LATER:
		break;
	}
	char why[96];
	snprintf(why, sizeof(why), "starts again in %.3g s, restart %u of %u in %.3g s",
		 (double)delay_ns / (double)Q_NSEC_PER_SEC, vm->restarts.n, c->limit,
		 (double)c->window_ns / (double)Q_NSEC_PER_SEC);
	set_want(vm, true);
	set_deadline(vm, delay_ns);
	set_state(vm, HD_VM_WAITING, why);
}

/* The process is gone: what it was is decided here. */
static void settle(struct hd_vm *vm, const struct hd_exit *real)
{
	/* Of what is not our child, its own word is all that there is. */
	const struct hd_exit said = { .known = true, .code = vm->ended_code };
	const struct hd_exit *ex = !real->known && vm->ended_code >= 0 ? &said : real;
	const struct hd_end end = {
		.exit = *ex,
		.was_ready = vm->ready_ns != 0,
		.asked = vm->stop,
		.failed_stage = vm->failed_stage,
		.failed_text = vm->failed_text,
		.ended_reason = vm->ended_reason,
		.quote = hd_lines_quote(&vm->lines),
	};
	bool off = hd_reason_as_asked(&end) && !vm->late && !*vm->hung;
	bool asked = vm->stop >= HD_STOP_BUTTON;
	enum hd_ended how = !off ? HD_ENDED_FAILED : vm->reset ? HD_ENDED_RESET : HD_ENDED_WELL;

	vm->exit_code = ex->known && !ex->signal ? ex->code : -1;
	vm->fail_code = hd_reason_is_config(&end) ? PARLEY__CODE__E_CONFIG :
						    PARLEY__CODE__E_FAILED;
	if (*vm->hung)
		snprintf(vm->reason, sizeof(vm->reason), "%s: killed", vm->hung);
	else if (vm->late)
		snprintf(vm->reason, sizeof(vm->reason), "not ready within %.3g s: killed",
			 (double)vm->env->conf.start_timeout_ns / (double)Q_NSEC_PER_SEC);
	else
		hd_reason(&end, vm->reason, sizeof(vm->reason));
	vm->ready_ns = 0;
	vm->late = vm->paused = false;
	if (off && vm->held)
		snprintf(vm->reason, sizeof(vm->reason), "stopped: the host is in safe mode");
	else if (off)
		set_want(vm, false);
	set_state(vm, off ? HD_VM_OFF : HD_VM_FAILED, vm->reason);
	bool again = off && vm->again && !vm->env->ending;
	if (!again)
		set_again(vm, false);
	if (again)
		hd_vm_start(vm);
	else
		restart(vm, how, asked);
}

static void on_exited(void *ctx, const struct hd_exit *ex)
{
	struct hd_vm *vm = ctx;

	hd_alive_stop(&vm->alive);
	vm->child = hd_child_free(vm->child);
	hd_pidfile_remove(vm->env->state_dir, vm->name);
	hd_console_close(&vm->console);
	settle(vm, ex);
}

static const struct hd_child_ops child_ops = {
	.msg = on_msg, .line = on_line, .chan_lost = on_chan_lost, .exited = on_exited,
};

/* ---- start ---- */

static int spawn(struct hd_vm *vm)
{
	char qvm[PATH_MAX], cwd[PATH_MAX], run[PATH_MAX + 16], conf[HD_NAME_MAX + 16];
	char class[32], takeover[PATH_MAX];
	char *const argv[] = {
		qvm, (char *)"--control-fd=" HD_CONTROL_FD, (char *)"--keep-fds=" HD_KEEP_FDS, run,
		class, conf, NULL,
	};
	QCLEAN(qfd_close) int console_fd = -1;
	char *environment[HD_ENVIRONMENT_MAX + 1] = { NULL };
	struct hd_child_spec spec = {
		.path = qvm, .cwd = cwd, .argv = argv, .environment = environment, .control = true,
	};

	snprintf(qvm, sizeof(qvm), "%s/qvm", vm->env->bin_dir);
	snprintf(cwd, sizeof(cwd), "%s/vms", vm->env->config_dir);
	snprintf(run, sizeof(run), "--run-dir=%s", vm->env->run_dir);
	snprintf(class, sizeof(class), "--class=%s", qp_class_str(vm->conf.class));
	snprintf(conf, sizeof(conf), "@%s.qvmconf", vm->name);
	for (unsigned i = 0; i < vm->conf.n_environment; i++)
		environment[i] = vm->conf.environment[i].text;
	int r = hd_console_open(&vm->console, &console_fd);
	if (r < 0)
		return r;
	spec.stdin_fd = spec.stdout_fd = console_fd;
	spec.console_fd = vm->console.vm_fd;
	if (hd_takeover_path(vm->env->state_dir, vm->name, takeover, sizeof(takeover)))
		spec.takeover_path = takeover;
	r = hd_child_start(vm->env->base, &spec, &vm->lines, &child_ops, vm, &vm->child);
	if (r < 0) {
		hd_console_close(&vm->console);
		return r;
	}
	r = hd_pidfile_write(vm->env->state_dir, vm->name, hd_child_pid(vm->child));
	if (r < 0)
		qlog_err(r, "ev=pidfile_failed vm=%s why=\"a later hostd will not know it\"",
			 vm->name);
	return 0;
}

static void fail_start(struct hd_vm *vm)
{
	vm->fail_code = PARLEY__CODE__E_FAILED;
	set_state(vm, HD_VM_FAILED, vm->reason);
	restart(vm, HD_ENDED_FAILED, false);
}

static void begin_check(struct hd_vm *vm)
{
	if (vm->checking)
		return;
	vm->checking = true;
	snprintf(vm->reason, sizeof(vm->reason), "its configuration is being checked");
	vm->ops->check(vm->ctx, vm);
}

void hd_vm_checked(struct hd_vm *vm, const char *errors)
{
	if (!vm->checking)
		return;
	vm->checking = false;
	if (vm->state != HD_VM_STARTING || vm->child)
		return;
	vm->checked = !errors;
	if (vm->checked) {
		hd_vm_kick(vm);
		return;
	}
	set_text(&vm->failed_text, errors);
	vm->fail_code = PARLEY__CODE__E_CONFIG;
	snprintf(vm->reason, sizeof(vm->reason), "refused by the check of the whole system: %.*s",
		 (int)strcspn(errors, "\n"), errors);
	set_state(vm, HD_VM_FAILED, vm->reason);
}

void hd_vm_kick(struct hd_vm *vm)
{
	bool comes;

	if (vm->state != HD_VM_STARTING || vm->child)
		return;
	if (!vm->checked) {
		begin_check(vm);
		return;
	}
	const char *other = vm->ops->waits_for(vm->ctx, vm, &comes);
	if (other) {
		snprintf(vm->reason, sizeof(vm->reason), "waits for %s", other);
		return;
	}
	vm->reason[0] = '\0';
	set_deadline(vm, vm->env->conf.start_timeout_ns);
	int r = spawn(vm);
	if (r == 0)
		return;
	snprintf(vm->reason, sizeof(vm->reason), "qvm could not be started: %s", strerror(-r));
	fail_start(vm);
}

static void begin(struct hd_vm *vm, const char *why)
{
	qassert(!hd_vm_state_alive(vm->state));
	set_want(vm, true);
	set_again(vm, false);	/* behind the other: one of the two marks is always there */
	vm->held = false;
	vm->starts++;
	vm->exit_code = -1;
	vm->fail_code = PARLEY__CODE__E_FAILED;
	vm->ready_ns = 0;
	vm->late = vm->reset = vm->checked = false;
	vm->hung[0] = '\0';
	vm->n_late = 0;
	vm->reason[0] = '\0';
	set_text(&vm->failed_stage, NULL);
	set_text(&vm->failed_text, NULL);
	set_text(&vm->ended_reason, NULL);
	vm->ended_code = -1;
	set_deadline(vm, vm->env->conf.start_timeout_ns);
	set_state(vm, HD_VM_STARTING, why);
}

void hd_vm_queue(struct hd_vm *vm, const char *why)
{
	vm->restarts.n = 0;
	begin(vm, why);
}

void hd_vm_start(struct hd_vm *vm)
{
	hd_vm_queue(vm, "asked to start");
	hd_vm_kick(vm);
}

/* ---- stop ---- */

static void send_or_signal(struct hd_vm *vm, const Parley__Envelope *e, int sig)
{
	if (hd_child_send(vm->child, e, NULL, 0) < 0)
		hd_child_signal(vm->child, sig);
}

static void press_button(struct hd_vm *vm)
{
	Parley__PowerButton button = PARLEY__POWER_BUTTON__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	e.body_case = PARLEY__ENVELOPE__BODY_POWER_BUTTON;
	e.power_button = &button;
	vm->stop = HD_STOP_BUTTON;
	send_or_signal(vm, &e, SIGTERM);
	set_deadline(vm, vm->stop_timeout_ns);
}

static void cut_power(struct hd_vm *vm)
{
	Parley__PowerCut cut = PARLEY__POWER_CUT__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	e.body_case = PARLEY__ENVELOPE__BODY_POWER_CUT;
	e.power_cut = &cut;
	vm->stop = HD_STOP_CUT;
	send_or_signal(vm, &e, SIGQUIT);
	set_deadline(vm, vm->env->conf.cut_timeout_ns);
}

static void kill_it(struct hd_vm *vm)
{
	vm->stop = HD_STOP_KILL;
	hd_child_signal(vm->child, SIGKILL);
	set_deadline(vm, KILL_AGAIN_NS);
}

/* Stopped before it had a process: it waited for the mediator. */
static void stop_unborn(struct hd_vm *vm)
{
	const struct hd_exit ex = { .known = true };

	vm->stop = HD_STOP_BUTTON;
	set_state(vm, HD_VM_STOPPING, "asked to stop");
	settle(vm, &ex);
}

static void stop(struct hd_vm *vm, uint64_t timeout_ns)
{
	set_again(vm, false);
	vm->stop_timeout_ns = timeout_ns ? timeout_ns : vm->conf.stop_timeout_ns;
	if (vm->state == HD_VM_FAILED) {
		set_state(vm, HD_VM_OFF, "failure acknowledged");
	} else if (vm->state == HD_VM_WAITING) {
		set_state(vm, HD_VM_OFF, "asked to stop before it was started again");
	} else if (vm->state == HD_VM_STARTING && !vm->child) {
		stop_unborn(vm);
	} else if (vm->state == HD_VM_STARTING) {
		/* No guest is there that a button could tell anything. */
		cut_power(vm);
		set_state(vm, HD_VM_STOPPING, "asked to stop before it was ready");
	} else if (vm->state == HD_VM_RUNNING) {
		press_button(vm);
		set_state(vm, HD_VM_STOPPING, "asked to stop");
	}
}

void hd_vm_stop(struct hd_vm *vm, uint64_t timeout_ns)
{
	vm->held = false;
	set_want(vm, false);
	stop(vm, timeout_ns);
}

void hd_vm_hold(struct hd_vm *vm)
{
	if (vm->held || (vm->state != HD_VM_STARTING && vm->state != HD_VM_RUNNING &&
			 vm->state != HD_VM_WAITING))
		return;
	vm->held = true;
	stop(vm, 0);
}

void hd_vm_let_go(struct hd_vm *vm)
{
	vm->held = false;
	if (vm->state == HD_VM_STOPPING) {
		set_again(vm, true);
	} else if (vm->state == HD_VM_OFF || vm->state == HD_VM_FAILED) {
		hd_vm_queue(vm, "the host is not in safe mode any more");
		hd_vm_kick(vm);
	}
}

void hd_vm_reboot(struct hd_vm *vm, uint64_t timeout_ns)
{
	qassert(vm->state == HD_VM_RUNNING);
	hd_vm_stop(vm, timeout_ns);
	set_again(vm, true);
}

void hd_vm_cut(struct hd_vm *vm)
{
	set_again(vm, false);
	vm->held = false;
	set_want(vm, false);
	if (!vm->child) {
		hd_vm_stop(vm, 0);
		return;
	}
	if (vm->stop < HD_STOP_CUT)
		cut_power(vm);
	if (vm->state == HD_VM_STARTING || vm->state == HD_VM_RUNNING)
		set_state(vm, HD_VM_STOPPING, "asked to cut its power");
}

static void on_start_late(struct hd_vm *vm)
{
	if (vm->child) {
		vm->late = true;
		hd_child_signal(vm->child, SIGKILL);
		set_deadline(vm, KILL_AGAIN_NS);
		return;
	}
	bool comes = vm->checking;
	const char *other = comes ? NULL : vm->ops->waits_for(vm->ctx, vm, &comes);

	if (comes && vm->n_late++ < STARTS_WAITED) {
		set_deadline(vm, vm->env->conf.start_timeout_ns);
		return;
	}
	snprintf(vm->reason, sizeof(vm->reason), "%s did not become ready in time",
		 other ? other : vm->checking ? "the check of its configuration" : "its process");
	fail_start(vm);
}

/* Its files may have been changed while it waited. */
static void restart_now(struct hd_vm *vm)
{
	hd_vm_reload(vm);
	if (!vm->conf_errors) {
		begin(vm, "started again");
		hd_vm_kick(vm);
		return;
	}
	snprintf(vm->reason, sizeof(vm->reason), "not started again: %.*s",
		 (int)strcspn(vm->conf_errors, "\n"), vm->conf_errors);
	set_state(vm, HD_VM_OFF, vm->reason);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct hd_vm *vm = arg;

	if (vm->state == HD_VM_STARTING) {
		on_start_late(vm);
	} else if (vm->state == HD_VM_WAITING) {
		restart_now(vm);
	} else if (vm->stop == HD_STOP_BUTTON) {
		qlog_warn("ev=vm_cut vm=%s why=\"the guest did not stop in time\"", vm->name);
		cut_power(vm);
	} else {
		qlog_warn("ev=vm_kill vm=%s why=\"its process did not end in time\"", vm->name);
		kill_it(vm);
	}
}

/* ---- life ---- */

static void take_over(struct hd_vm *vm, pid_t pid)
{
	char path[PATH_MAX];
	bool has_path = hd_takeover_path(vm->env->state_dir, vm->name, path, sizeof(path));
	int console_fd = -1;
	int r = hd_child_adopt(vm->env->base, pid, has_path ? path : NULL, &vm->lines, &child_ops,
			       vm, &console_fd, &vm->child);

	if (r < 0) {
		qlog_err(r, "ev=adopt_failed vm=%s pid=%d", vm->name, (int)pid);
		return;
	}
	if (console_fd >= 0 && (r = hd_console_adopt(&vm->console, console_fd)) < 0)
		qlog_err(r, "ev=no_console vm=%s", vm->name);
	set_want(vm, true);
	vm->ready_ns = qnow_ns();
	snprintf(vm->reason, sizeof(vm->reason), "started by an earlier hostd: it %s",
		 hd_child_has_chan(vm->child) ? "has not answered yet" :
						"has no statistics here");
	set_state(vm, HD_VM_STARTING, "a process of an earlier hostd was found");
	bool again = vm->again;
	set_state(vm, HD_VM_RUNNING, "taken over");
	/* The button was pressed already, or not: a guest that is to go may hear it twice. */
	if (again)
		hd_vm_reboot(vm, 0);
}

/* It was up when a hostd died, and is not any more: nobody knows when it went, or why. */
static void mourn(struct hd_vm *vm)
{
	hd_pidfile_remove(vm->env->state_dir, vm->name);
	snprintf(vm->reason, sizeof(vm->reason), "it ended while no hostd ran");
	set_state(vm, HD_VM_STARTING, "a process of an earlier hostd was expected");
	set_state(vm, HD_VM_FAILED, vm->reason);
	restart(vm, HD_ENDED_FAILED, false);
}

/* It went off while no hostd ran, for a reboot. */
static void come_back(struct hd_vm *vm)
{
	hd_pidfile_remove(vm->env->state_dir, vm->name);
	if (vm->conf_errors)
		set_again(vm, false);
	else
		hd_vm_queue(vm, "an earlier hostd was about to start it again");
}

void hd_vm_adopt(struct hd_vm *vm)
{
	pid_t pid = hd_pidfile_alive(vm->env->state_dir, vm->name);

	vm->again = hd_want_read_again(vm->env->state_dir, vm->name);
	if (pid)
		take_over(vm, pid);
	else if (vm->again)
		come_back(vm);
	else if (!hd_want_read(vm->env->state_dir, vm->name))
		return;
	else if (hd_pidfile_there(vm->env->state_dir, vm->name))
		mourn(vm);
	else if (!vm->conf_errors)
		hd_vm_queue(vm, "an earlier hostd was about to start it");
}

struct hd_vm *hd_vm_new(struct hd_env *env, const char *name, const struct hd_vm_ops *ops,
			void *ctx)
{
	struct hd_vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->env = env;
	vm->ops = ops;
	vm->ctx = ctx;
	vm->exit_code = vm->ended_code = -1;
	vm->fail_code = PARLEY__CODE__E_FAILED;
	vm->conf.stop_timeout_ns = env->conf.stop_timeout_ns;
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	hd_console_init(&vm->console, env->base);
	vm->console.tap = on_console;
	vm->console.tap_ctx = vm;
	vm->ev_deadline = evtimer_new(env->base, on_deadline, vm);
	if (asprintf(&vm->config, "%s/vms/%s.qvmconf", env->config_dir, name) < 0)
		vm->config = NULL;
	if (!vm->ev_deadline || !vm->config)
		return hd_vm_free(vm);
	hd_vm_reload(vm);
	return vm;
}

struct hd_vm *hd_vm_free(struct hd_vm *vm)
{
	if (!vm)
		return NULL;
	hd_alive_stop(&vm->alive);
	hd_child_free(vm->child);
	hd_console_fini(&vm->console);
	hd_lines_reset(&vm->lines);
	hd_lines_reset(&vm->printed);
	if (vm->ev_deadline)
		event_free(vm->ev_deadline);
	free(vm->config);
	free(vm->conf_errors);
	free(vm->conf_warnings);
	free(vm->failed_stage);
	free(vm->failed_text);
	free(vm->ended_reason);
	free(vm);
	return NULL;
}
