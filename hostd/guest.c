/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a running guest's qvm is asked to do with it, on behalf of an operator: pause, resume, dump.
 * Main thread. A job is answered when qvm has answered, or by its deadline; what was sent is sent.
 *
 * vm->paused is what was asked last, so that a client that does not wait changes nothing; a refusal
 * takes it back.
 */
#include <stdlib.h>
#include <string.h>

#include "hostd/oper.h"

#define ANSWER_MS 2000u

struct guest_ask {
	struct hd_job job;
	struct hd_vm *vm;
	bool was_paused;
	struct event *ev;	/* the deadline */
};

static void ask_free(struct guest_ask *a)
{
	if (a->vm->child)
		hd_child_forget(a->vm->child, a);
	if (a->ev)
		event_free(a->ev);
	free(a);
}

static void ask_cancel(struct hd_job *job)
{
	ask_free(Q_CONTAINER_OF(job, struct guest_ask, job));
}

static void finish(struct guest_ask *a)
{
	hd_job_remove(&a->job);
	ask_free(a);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct guest_ask *a = arg;

	hd_link_send_error(a->job.client->link, a->job.id, PARLEY__CODE__E_TIMEOUT,
			   "the qvm of %s has not answered within %u s", a->vm->name,
			   ANSWER_MS / 1000);
	finish(a);
}

static void on_answer(void *ctx, const Parley__Envelope *e)
{
	struct guest_ask *a = ctx;
	struct hd_link *link = a->job.client->link;

	if (e && e->body_case == PARLEY__ENVELOPE__BODY_DONE) {
		hd_reply_info(a->job.client, a->job.id, a->vm);
		finish(a);
		return;
	}
	a->vm->paused = a->was_paused;
	if (e && e->body_case == PARLEY__ENVELOPE__BODY_ERROR)
		hd_link_send_error(link, a->job.id, e->error->code, "%s: %s", a->vm->name,
				   e->error->text);
	else
		hd_link_send_error(link, a->job.id, PARLEY__CODE__E_NOT_RUNNING,
				   "%s has ended meanwhile", a->vm->name);
	finish(a);
}

static struct guest_ask *ask_new(struct hd_client *c, uint32_t id, struct hd_vm *vm)
{
	static const struct timeval tv = { .tv_sec = ANSWER_MS / 1000 };
	struct guest_ask *a = calloc(1, sizeof(*a));

	if (a) {
		a->vm = vm;
		a->was_paused = vm->paused;
		a->job.cancel = ask_cancel;
		a->ev = evtimer_new(c->oper->env->base, on_late, a);
	}
	if (a && a->ev && event_add(a->ev, &tv) == 0) {
		if (hd_job_add(&a->job, c, id) == 0)
			return a;
		ask_free(a);
		return NULL;
	}
	if (a)
		ask_free(a);
	hd_link_send_error(c->link, id, PARLEY__CODE__E_FAILED, "out of memory");
	return NULL;
}

static void send_it(struct hd_client *c, uint32_t id, struct hd_vm *vm, Parley__Envelope *e)
{
	struct guest_ask *a = ask_new(c, id, vm);

	if (!a)
		return;
	if (e->body_case == PARLEY__ENVELOPE__BODY_PAUSE)
		vm->paused = e->pause->on;
	if (hd_child_ask(vm->child, e, on_answer, a) < 0)
		on_answer(a, NULL);
}

/* True when there is somebody to ask; else the client was told. */
static bool can_be_asked(struct hd_client *c, uint32_t id, const struct hd_vm *vm)
{
	if (vm->state == HD_VM_RUNNING && hd_child_has_chan(vm->child))
		return true;
	hd_link_send_error(c->link, id, PARLEY__CODE__E_NOT_RUNNING, "%s is %s%s", vm->name,
			   hd_vm_state_str(vm->state),
			   vm->state == HD_VM_RUNNING ? ", but has no channel to this hostd" : "");
	return false;
}

void hd_guest_pause(struct hd_client *c, uint32_t id, struct hd_vm *vm, bool on)
{
	Parley__Pause pause = PARLEY__PAUSE__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	if (!can_be_asked(c, id, vm))
		return;
	if (vm->paused == on) {
		hd_link_send_error(c->link, id, PARLEY__CODE__E_ALREADY, "%s is %s already",
				   vm->name, on ? "paused" : "running");
		return;
	}
	pause.on = on;
	e.body_case = PARLEY__ENVELOPE__BODY_PAUSE;
	e.pause = &pause;
	hd_event_add(&vm->env->events, on ? "vm_paused" : "vm_resumed", vm->name,
		     "asked by process %d", (int)c->pid);
	send_it(c, id, vm, &e);
}

void hd_guest_dump(struct hd_client *c, uint32_t id, struct hd_vm *vm)
{
	Parley__Dump dump = PARLEY__DUMP__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	if (!can_be_asked(c, id, vm))
		return;
	e.body_case = PARLEY__ENVELOPE__BODY_DUMP;
	e.dump = &dump;
	send_it(c, id, vm, &e);
}
