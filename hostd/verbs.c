/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator may ask, a function each. Main thread. Nothing here waits: what takes time is
 * a job that answers when the VM has changed, or when its time is over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hostd/oper.h"
#include "lib/qfd.h"
#include "lib/qlog.h"

#define NS_OF_MS(ms) ((uint64_t)(ms) * Q_NSEC_PER_MSEC)

/* ---- answers ---- */

static void fill_info(const struct hd_vm *vm, Parley__VmInfo *ret)
{
	*ret = (Parley__VmInfo)PARLEY__VM_INFO__INIT;
	ret->name = (char *)vm->name;
	ret->state = (Parley__VmState)vm->state;
	ret->class_ = vm->conf.class;
	ret->pid = vm->child ? (uint32_t)hd_child_pid(vm->child) : 0;
	ret->uptime_ms = vm->ready_ns ? (qnow_ns() - vm->ready_ns) / Q_NSEC_PER_MSEC : 0;
	ret->reason = (char *)vm->reason;
	ret->exit_code = vm->exit_code;
	ret->config = vm->config;
	ret->starts = vm->starts;
	ret->want = (char *)(vm->want_up || vm->again ? "up" : "down");
	ret->paused = vm->paused;
}

static void reply_info(struct hd_client *c, uint32_t id, const struct hd_vm *vm, bool with_log)
{
	Parley__VmInfo info;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	char *log[HD_LINES_KEPT];

	fill_info(vm, &info);
	for (unsigned i = 0; with_log && hd_lines_at(&vm->lines, i); i++)
		log[info.n_log++] = hd_lines_at(&vm->lines, i)->text;
	info.log = log;
	e.body_case = PARLEY__ENVELOPE__BODY_VM_INFO;
	e.vm_info = &info;
	hd_client_reply(c, id, &e);
}

void hd_reply_info(struct hd_client *c, uint32_t id, const struct hd_vm *vm)
{
	reply_info(c, id, vm, false);
}

/*
 * Why a start came to nothing: a refused configuration with all its lines; else the reason, and
 * what may be behind it.
 */
static void reply_start_failed(struct hd_client *c, uint32_t id, const struct hd_vm *vm)
{
	const char *lines = vm->fail_code == PARLEY__CODE__E_CONFIG ? vm->failed_text : NULL;
	enum hd_med_state med_state = hd_med_state(c->oper->med);
	Parley__ProcInfo med;

	hd_med_info(c->oper->med, &med);
	if (lines)
		hd_link_send_error(c->link, id, vm->fail_code,
				   "%s did not start, its configuration is refused:\n%s",
				   vm->name, lines);
	else if (med_state == HD_MED_FAILED || med_state == HD_MED_WAITING)
		hd_link_send_error(c->link, id, vm->fail_code,
				   "%s did not start: %s\nThe mediator is %s: %s", vm->name,
				   vm->reason, med.state, med.reason);
	else
		hd_link_send_error(c->link, id, vm->fail_code, "%s did not start: %s", vm->name,
				   vm->reason);
}

/* ---- waiting for a VM ---- */

enum goal { GOAL_STARTED, GOAL_STOPPED, GOAL_REBOOTED };

struct wait {
	struct hd_job job;
	struct hd_vm *vm;	/* alive while we wait, so it is not removed */
	enum goal goal;
	struct event *ev;	/* the deadline */
};

static void wait_free(struct wait *w)
{
	if (w->ev)
		event_free(w->ev);
	free(w);
}

static void wait_cancel(struct hd_job *job)
{
	wait_free(Q_CONTAINER_OF(job, struct wait, job));
}

static bool is_on_its_way(const struct hd_vm *vm, enum goal goal)
{
	bool goes = vm->state == HD_VM_STOPPING, comes = vm->state == HD_VM_STARTING;

	switch (goal) {
	case GOAL_STARTED:
		return comes;
	case GOAL_STOPPED:
		return goes;
	case GOAL_REBOOTED:
		return goes || comes || vm->again;
	}
	return false;
}

/* True when the wait is over; then it was answered. */
static bool wait_answer(struct hd_client *c, uint32_t id, const struct hd_vm *vm, enum goal goal)
{
	if (is_on_its_way(vm, goal))
		return false;
	if (goal == GOAL_STOPPED && vm->state == HD_VM_FAILED)
		hd_link_send_error(c->link, id, PARLEY__CODE__E_FAILED,
				   "%s ended, but not as asked: %s", vm->name, vm->reason);
	else if (goal == GOAL_STOPPED || vm->state == HD_VM_RUNNING)
		reply_info(c, id, vm, false);
	else if (vm->state == HD_VM_FAILED)
		reply_start_failed(c, id, vm);
	else
		hd_link_send_error(c->link, id, PARLEY__CODE__E_FAILED,
				   "%s was stopped before it was ready", vm->name);
	return true;
}

static void wait_vm_changed(struct hd_job *job, struct hd_vm *vm)
{
	struct wait *w = Q_CONTAINER_OF(job, struct wait, job);

	if (w->vm != vm || !wait_answer(job->client, job->id, vm, w->goal))
		return;
	hd_job_remove(job);
	wait_free(w);
}

static void wait_late(evutil_socket_t fd, short what, void *arg)
{
	struct wait *w = arg;

	hd_link_send_error(w->job.client->link, w->job.id, PARLEY__CODE__E_TIMEOUT,
			   "%s is still %s; see 'hostctl status %s'", w->vm->name,
			   hd_vm_state_str(w->vm->state), w->vm->name);
	hd_job_remove(&w->job);
	wait_free(w);
}

static void wait_for(struct hd_client *c, uint32_t id, struct hd_vm *vm, enum goal goal,
		     uint64_t timeout_ns)
{
	const struct timeval tv = {
		.tv_sec = (time_t)(timeout_ns / Q_NSEC_PER_SEC),
		.tv_usec = (suseconds_t)(timeout_ns % Q_NSEC_PER_SEC / Q_NSEC_PER_USEC),
	};

	if (wait_answer(c, id, vm, goal))
		return;
	struct wait *w = calloc(1, sizeof(*w));
	if (w)
		w->ev = evtimer_new(c->oper->env->base, wait_late, w);
	if (!w || !w->ev || (timeout_ns && event_add(w->ev, &tv) < 0)) {
		if (w)
			wait_free(w);
		hd_link_send_error(c->link, id, PARLEY__CODE__E_FAILED,
				   "out of memory; the request itself is under way");
		return;
	}
	w->vm = vm;
	w->goal = goal;
	w->job.cancel = wait_cancel;
	w->job.vm_changed = wait_vm_changed;
	if (hd_job_add(&w->job, c, id) < 0)
		wait_free(w);
}

/* ---- verbs of one VM ---- */

static void verb_start(struct hd_client *c, uint32_t id, struct hd_vm *vm,
		       const Parley__VmRequest *req)
{
	if (c->oper->env->ending) {
		hd_link_send_error(c->link, id, PARLEY__CODE__E_BUSY, "hostd is ending");
		return;
	}
	if (vm->state == HD_VM_RUNNING) {
		hd_link_send_error(c->link, id, PARLEY__CODE__E_ALREADY,
				   "%s runs already, as process %d", vm->name,
				   (int)hd_child_pid(vm->child));
		return;
	}
	if (vm->state == HD_VM_STOPPING) {
		hd_link_send_error(c->link, id, PARLEY__CODE__E_BUSY,
				   "%s is stopping: start it again when it is off", vm->name);
		return;
	}
	if (hd_mode_of(c->oper->env->causes) == HD_MODE_SAFE &&
	    vm->conf.class == PARLEY__CLASS__CLASS_BEST_EFFORT) {
		hd_link_send_error(c->link, id, PARLEY__CODE__E_BUSY,
				   "%s was not started: the host is in safe mode, see 'hostctl "
				   "list'", vm->name);
		return;
	}
	if (vm->state != HD_VM_STARTING && vm->conf_errors) {
		hd_link_send_error(c->link, id, PARLEY__CODE__E_CONFIG, "%s was not started:\n%s",
				   vm->name, vm->conf_errors);
		return;
	}
	if (vm->state != HD_VM_STARTING) {
		hd_med_try(c->oper->med);
		hd_vm_start(vm);
	}
	if (req->no_wait && vm->state == HD_VM_STARTING)
		reply_info(c, id, vm, false);
	else
		wait_for(c, id, vm, GOAL_STARTED, NS_OF_MS(req->timeout_ms));
}

/* hostd's own deadlines bound the stop; a kernel that does not end a process bounds nothing. */
static uint64_t stop_limit_ns(const struct hd_client *c, const struct hd_vm *vm,
			      const Parley__VmRequest *req)
{
	return NS_OF_MS(req->timeout_ms) + vm->conf.stop_timeout_ns +
	       2 * c->oper->env->conf.cut_timeout_ns + 5 * Q_NSEC_PER_SEC;
}

static void verb_stop(struct hd_client *c, uint32_t id, struct hd_vm *vm,
		      const Parley__VmRequest *req)
{
	if (vm->state == HD_VM_OFF && vm->held) {
		hd_vm_stop(vm, 0);
		reply_info(c, id, vm, false);
		return;
	}
	if (vm->state == HD_VM_OFF) {
		hd_link_send_error(c->link, id, PARLEY__CODE__E_ALREADY, "%s is off already",
				   vm->name);
		return;
	}
	if (req->verb == PARLEY__VM_REQUEST__VERB__KILL)
		hd_vm_cut(vm);
	else if (vm->state != HD_VM_STOPPING)
		hd_vm_stop(vm, NS_OF_MS(req->timeout_ms));
	if (req->no_wait)
		reply_info(c, id, vm, false);
	else
		wait_for(c, id, vm, GOAL_STOPPED, stop_limit_ns(c, vm, req));
}

static void verb_reboot(struct hd_client *c, uint32_t id, struct hd_vm *vm,
			const Parley__VmRequest *req)
{
	if (vm->state != HD_VM_RUNNING) {
		hd_link_send_error(c->link, id, PARLEY__CODE__E_NOT_RUNNING, "%s is %s", vm->name,
				   hd_vm_state_str(vm->state));
		return;
	}
	hd_vm_reboot(vm, NS_OF_MS(req->timeout_ms));
	if (req->no_wait)
		reply_info(c, id, vm, false);
	else
		wait_for(c, id, vm, GOAL_REBOOTED, stop_limit_ns(c, vm, req) +
			 2 * c->oper->env->conf.start_timeout_ns);
}

/* NULL when there is none; then the client was told. */
static struct hd_vm *find_vm(struct hd_client *c, uint32_t id, const char *name)
{
	const char *names[HD_VMS_MAX];
	size_t n = 0;
	struct hd_vm *vm;
	int r = hd_vms_scan(c->oper->vms);

	if (r < 0)
		qlog_err(r, "ev=scan_failed dir=%s/vms", c->oper->env->config_dir);
	LIST_FOREACH(vm, &c->oper->vms->list, entry) {
		if (strcmp(vm->name, name) == 0)
			return vm;
		names[n++] = vm->name;
	}
	const char *near = hd_name_ok(name) ? cf_nearest(name, names, n) : NULL;
	char shown[260];

	qlog_escape(shown, sizeof(shown), name, strlen(name));
	if (!*name)
		hd_link_send_error(c->link, id, PARLEY__CODE__E_USAGE, "no VM was named");
	else if (near)
		hd_link_send_error(c->link, id, PARLEY__CODE__E_NO_SUCH,
				   "there is no VM '%s'; did you mean '%s'?", shown, near);
	else
		hd_link_send_error(c->link, id, PARLEY__CODE__E_NO_SUCH,
				   "there is no VM '%s': %s/vms has no %s.qvmconf", shown,
				   c->oper->env->config_dir, shown);
	return NULL;
}

static void on_vm_request(struct hd_client *c, const Parley__Envelope *e)
{
	const Parley__VmRequest *req = e->vm_request;
	bool all = req->verb == PARLEY__VM_REQUEST__VERB__CHECK && !*req->name;
	struct hd_vm *vm = all ? NULL : find_vm(c, e->id, req->name);

	if (all)
		(void)hd_vms_scan(c->oper->vms);
	else if (!vm)
		return;
	switch (req->verb) {
	case PARLEY__VM_REQUEST__VERB__STATUS:
		reply_info(c, e->id, vm, true);
		return;
	case PARLEY__VM_REQUEST__VERB__START:
		verb_start(c, e->id, vm, req);
		return;
	case PARLEY__VM_REQUEST__VERB__STOP:
	case PARLEY__VM_REQUEST__VERB__KILL:
		verb_stop(c, e->id, vm, req);
		return;
	case PARLEY__VM_REQUEST__VERB__REBOOT:
		verb_reboot(c, e->id, vm, req);
		return;
	case PARLEY__VM_REQUEST__VERB__PAUSE:
	case PARLEY__VM_REQUEST__VERB__RESUME:
		hd_guest_pause(c, e->id, vm, req->verb == PARLEY__VM_REQUEST__VERB__PAUSE);
		return;
	case PARLEY__VM_REQUEST__VERB__DUMP:
		hd_guest_dump(c, e->id, vm);
		return;
	case PARLEY__VM_REQUEST__VERB__CHECK:
		hd_check(c, e->id, req->name);
		return;
	case PARLEY__VM_REQUEST__VERB__PLAN:
		hd_plan(c, e->id, vm->name, req->json);
		return;
	default:
		hd_link_send_error(c->link, e->id, PARLEY__CODE__E_USAGE, "no such request");
	}
}

/* ---- the others ---- */

static size_t mode_causes(uint32_t causes, char *ret[HD_CAUSES])
{
	size_t n = 0;

	for (unsigned i = 0; i < HD_CAUSES; i++)
		if (causes >> i & 1)
			ret[n++] = (char *)hd_mode_rows[i].cause;
	return n;
}

static void on_list(struct hd_client *c, const Parley__Envelope *req)
{
	Parley__ListReply reply = PARLEY__LIST_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	Parley__ProcInfo proc, *procs[] = { &proc };
	char *causes[HD_CAUSES];
	struct hd_vm *vm;
	int r = hd_vms_scan(c->oper->vms);
	unsigned n = c->oper->vms->n;
	Parley__VmInfo *infos = calloc(n + 1, sizeof(infos[0]));
	Parley__VmInfo **v = calloc(n + 1, sizeof(v[0]));

	if (r < 0)
		qlog_err(r, "ev=scan_failed dir=%s/vms", c->oper->env->config_dir);
	if (infos && v) {
		LIST_FOREACH(vm, &c->oper->vms->list, entry) {
			fill_info(vm, &infos[reply.n_vms]);
			v[reply.n_vms] = &infos[reply.n_vms];
			reply.n_vms++;
		}
		reply.vms = v;
		hd_med_info(c->oper->med, &proc);
		reply.n_procs = 1;
		reply.procs = procs;
		reply.mode = (char *)hd_mode_str(hd_mode_of(c->oper->env->causes));
		reply.n_causes = mode_causes(c->oper->env->causes, causes);
		reply.causes = causes;
		e.body_case = PARLEY__ENVELOPE__BODY_LIST_REPLY;
		e.list_reply = &reply;
		hd_client_reply(c, req->id, &e);
	} else {
		hd_link_send_error(c->link, req->id, PARLEY__CODE__E_FAILED, "out of memory");
	}
	free(v);
	free(infos);
}

static void on_console(struct hd_client *c, const Parley__Envelope *req)
{
	const Parley__ConsoleRequest *q = req->console_request;
	Parley__ConsoleReply reply = PARLEY__CONSOLE_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	struct hd_vm *vm = find_vm(c, req->id, q->name);
	QCLEAN(qfd_close) int fd = -1;
	bool writer = false;

	if (!vm)
		return;
	if (!q->read_only && vm->console.vm_fd < 0) {
		hd_link_send_error(c->link, req->id, PARLEY__CODE__E_NOT_RUNNING,
				   "%s is %s%s; what it printed: hostctl console --no-input %s",
				   vm->name, hd_vm_state_str(vm->state),
				   vm->child ? " without a console here" : "", vm->name);
		return;
	}
	int r = hd_console_attach(&vm->console, q->replay, q->read_only, &fd, &writer);
	if (r < 0) {
		hd_link_send_error(c->link, req->id, PARLEY__CODE__E_BUSY,
				   "no further console for %s: %s", vm->name,
				   r == -EUSERS ? "too many are open" : strerror(-r));
		return;
	}
	reply.writer = writer;
	e.id = req->id;
	e.body_case = PARLEY__ENVELOPE__BODY_CONSOLE_REPLY;
	e.console_reply = &reply;
	hd_link_send(c->link, &e, &fd, 1);
}

/* Nobody waits for an answer: what cannot be told now is told with the next size. */
static void on_console_size(struct hd_client *c, const Parley__Envelope *req)
{
	struct hd_vm *vm = hd_vms_find(c->oper->vms, req->console_size->name);
	Parley__ConsoleSize size = PARLEY__CONSOLE_SIZE__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	if (!vm || !vm->child)
		return;
	size.columns = req->console_size->columns;
	size.rows = req->console_size->rows;
	e.body_case = PARLEY__ENVELOPE__BODY_CONSOLE_SIZE;
	e.console_size = &size;
	(void)hd_child_send(vm->child, &e, NULL, 0);
}

static void on_logs(struct hd_client *c, const Parley__Envelope *req)
{
	const char *name = req->logs_request->name;

	if (!*name || strcmp(name, "mediator") == 0 || find_vm(c, req->id, name))
		hd_show_logs(c, req);
}

static void on_version(struct hd_client *c, const Parley__Envelope *req)
{
	Parley__VersionReply v = PARLEY__VERSION_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	v.version = (char *)PARLEY_VERSION;
	v.pid = (uint32_t)getpid();
	v.uptime_ms = (qnow_ns() - c->oper->env->start_ns) / Q_NSEC_PER_MSEC;
	v.config_dir = (char *)c->oper->env->config_dir;
	v.state_dir = (char *)c->oper->env->state_dir;
	e.body_case = PARLEY__ENVELOPE__BODY_VERSION_REPLY;
	e.version_reply = &v;
	hd_client_reply(c, req->id, &e);
}

static void on_events(struct hd_client *c, const Parley__Envelope *req)
{
	if (req->events_request->recorded) {
		hd_recall(c, req);
		return;
	}
	Parley__EventsReply reply = PARLEY__EVENTS_REPLY__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	Parley__Event m[HD_EVENTS_KEPT], *v[HD_EVENTS_KEPT];
	const struct hd_event *ev;

	while ((ev = hd_event_at(&c->oper->env->events, (unsigned)reply.n_events))) {
		hd_event_to_proto(ev, &m[reply.n_events]);
		v[reply.n_events] = &m[reply.n_events];
		reply.n_events++;
	}
	reply.events = v;
	e.body_case = PARLEY__ENVELOPE__BODY_EVENTS_REPLY;
	e.events_reply = &reply;
	hd_client_reply(c, req->id, &e);
	c->follows = req->events_request->follow;
}

void hd_verbs_handle(struct hd_client *c, const Parley__Envelope *e)
{
	switch (e->body_case) {
	case PARLEY__ENVELOPE__BODY_LIST_REQUEST:
		on_list(c, e);
		return;
	case PARLEY__ENVELOPE__BODY_VM_REQUEST:
		on_vm_request(c, e);
		return;
	case PARLEY__ENVELOPE__BODY_CONSOLE_REQUEST:
		on_console(c, e);
		return;
	case PARLEY__ENVELOPE__BODY_CONSOLE_SIZE:
		on_console_size(c, e);
		return;
	case PARLEY__ENVELOPE__BODY_STATS_REQUEST:
		hd_gather_stats(c, e);
		return;
	case PARLEY__ENVELOPE__BODY_SET_PRIORITIES:
	case PARLEY__ENVELOPE__BODY_POLICY_REQUEST:
	case PARLEY__ENVELOPE__BODY_EXPLAIN_REQUEST:
		hd_gather_relay(c, e);
		return;
	case PARLEY__ENVELOPE__BODY_INJECT_REQUEST:
		hd_inject(c, e);
		return;
	case PARLEY__ENVELOPE__BODY_VERSION_REQUEST:
		on_version(c, e);
		return;
	case PARLEY__ENVELOPE__BODY_LOGS_REQUEST:
		on_logs(c, e);
		return;
	case PARLEY__ENVELOPE__BODY_EVENTS_REQUEST:
		on_events(c, e);
		return;
	default:
		hd_link_send_error(c->link, e->id, PARLEY__CODE__E_USAGE,
				   "hostd does not answer this request");
	}
}
