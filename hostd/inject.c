/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures on purpose: what the mediator makes fail is asked of it, a signal to one of our
 * processes is sent here. Main thread. Invariant: nothing of it happens unless hostd.conf says
 * `inject = yes`.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "hostd/oper.h"
#include "lib/qlog.h"

static const struct {
	const char *name;
	int sig;
} signals[] = {
	{ "KILL", SIGKILL }, { "TERM", SIGTERM }, { "QUIT", SIGQUIT }, { "ABRT", SIGABRT },
	{ "SEGV", SIGSEGV }, { "BUS", SIGBUS },	  { "STOP", SIGSTOP }, { "CONT", SIGCONT },
};

/* The number of the signal that "signal=NAME" names, SIGKILL when nothing is said; -1: wrong. */
static int signal_of(const Parley__InjectRequest *req, const char **ret_name)
{
	static const char key[] = "signal=";
	const char *name = signals[0].name;

	if (req->n_settings > 1)
		return -1;
	if (req->n_settings == 1) {
		if (strncmp(req->settings[0], key, sizeof(key) - 1) != 0)
			return -1;
		name = req->settings[0] + sizeof(key) - 1;
	}
	for (size_t i = 0; i < Q_ARRAY_LEN(signals); i++) {
		if (strcmp(name, signals[i].name) == 0) {
			*ret_name = signals[i].name;
			return signals[i].sig;
		}
	}
	return -1;
}

static struct hd_child *find_process(struct hd_client *c, const char *name, bool *ret_known)
{
	struct hd_vm *vm;

	*ret_known = true;
	if (strcmp(name, "mediator") == 0)
		return hd_med_process(c->oper->med);
	vm = hd_vms_find(c->oper->vms, name);
	*ret_known = vm != NULL;
	return vm ? vm->child : NULL;
}

static void send_signal(struct hd_client *c, const Parley__Envelope *e)
{
	const Parley__InjectRequest *req = e->inject_request;
	Parley__Done done = PARLEY__DONE__INIT;
	Parley__Envelope reply = PARLEY__ENVELOPE__INIT;
	const char *name = NULL;
	bool known;
	int sig = signal_of(req, &name);
	struct hd_child *child = find_process(c, req->object, &known);
	char shown[80];

	qlog_escape(shown, sizeof(shown), req->object, strlen(req->object));
	if (sig < 0) {
		hd_link_send_error(c->link, e->id, PARLEY__CODE__E_USAGE,
				   "kill: expected signal=KILL, TERM, QUIT, ABRT, SEGV, BUS, STOP "
				   "or CONT");
	} else if (!known) {
		hd_link_send_error(c->link, e->id, PARLEY__CODE__E_NO_SUCH,
				   "there is no VM '%s'; see 'hostctl list'", shown);
	} else if (!child) {
		hd_link_send_error(c->link, e->id, PARLEY__CODE__E_NOT_RUNNING,
				   "%s has no process; see 'hostctl list'", shown);
	} else {
		/* Told first: an event that explains the death stands before it. */
		hd_event_add(&c->oper->env->events, "injected", req->object,
			     "signal %s to process %d, by process %d of user %u", name,
			     (int)hd_child_pid(child), (int)c->pid, (unsigned)c->uid);
		hd_child_signal(child, sig);
		reply.body_case = PARLEY__ENVELOPE__BODY_DONE;
		reply.done = &done;
		hd_client_reply(c, e->id, &reply);
	}
}

void hd_inject(struct hd_client *c, const Parley__Envelope *e)
{
	if (!c->oper->env->conf.inject)
		hd_link_send_error(c->link, e->id, PARLEY__CODE__E_DENIED,
				   "fault injection is off: write 'inject = yes' in %s/hostd.conf "
				   "and start hostd again", c->oper->env->config_dir);
	else if (e->inject_request->verb == PARLEY__INJECT_REQUEST__VERB__KILL)
		send_signal(c, e);
	else
		hd_gather_relay(c, e);
}
