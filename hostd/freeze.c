/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the list of frozen VMs. Main thread. Invariant: ev_end is pending while there are any, and
 * lets them go.
 */
#include "hostd/freeze.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool listed(const struct hd_freeze *f, const char *name)
{
	for (unsigned i = 0; i < f->n; i++)
		if (strcmp(f->names[i], name) == 0)
			return true;
	return false;
}

static int send_lease(struct hd_vm *vm, uint32_t lease_ms)
{
	Parley__Freeze freeze = PARLEY__FREEZE__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;

	freeze.lease_ms = lease_ms;
	e.body_case = PARLEY__ENVELOPE__BODY_FREEZE;
	e.freeze = &freeze;
	return vm->child ? hd_child_send(vm->child, &e, NULL, 0) : -ESRCH;
}

static void thaw(struct hd_freeze *f, const char *name, const char *why)
{
	struct hd_vm *vm = hd_vms_find(f->vms, name);

	if (!vm)
		return;
	(void)send_lease(vm, 0);	/* one without a process needs none */
	hd_event_add(&vm->env->events, "vm_thawed", name, "%s", why);
}

/* True when it is frozen now. */
static bool freeze(struct hd_freeze *f, const char *name, const char *why)
{
	struct hd_vm *vm = hd_vms_find(f->vms, name);

	if (!vm || vm->state != HD_VM_RUNNING || vm->conf.class == PARLEY__CLASS__CLASS_SAFETY ||
	    send_lease(vm, HD_FREEZE_MS) < 0)
		return false;
	if (!listed(f, name))
		hd_event_add(&vm->env->events, "vm_frozen", name, "%s", why);
	return true;
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	hd_freeze_set(arg, NULL, 0, "the mediator asks for it no more");
}

void hd_freeze_set(struct hd_freeze *f, char *const *names, size_t n, const char *why)
{
	static const struct timeval lease = { .tv_sec = HD_FREEZE_MS / 1000,
					      .tv_usec = HD_FREEZE_MS % 1000 * 1000 };
	struct hd_freeze next = { .n = 0 };

	for (size_t i = 0; i < n && next.n < HD_FROZEN_MAX; i++) {
		if (strlen(names[i]) > HD_NAME_MAX || listed(&next, names[i]) ||
		    !freeze(f, names[i], why))
			continue;
		snprintf(next.names[next.n++], sizeof(next.names[0]), "%s", names[i]);
	}
	for (unsigned i = 0; i < f->n; i++)
		if (!listed(&next, f->names[i]))
			thaw(f, f->names[i], why);
	memcpy(f->names, next.names, sizeof(f->names));
	f->n = next.n;
	if (f->n)
		event_add(f->ev_end, &lease);
	else
		event_del(f->ev_end);
	if (f->changed)
		f->changed(f->ctx);
}

int hd_freeze_init(struct hd_freeze *f, struct hd_vms *vms)
{
	*f = (struct hd_freeze){ .vms = vms };
	f->ev_end = evtimer_new(vms->env->base, on_end, f);
	return f->ev_end ? 0 : -ENOMEM;
}

void hd_freeze_fini(struct hd_freeze *f)
{
	if (!f->ev_end)
		return;
	hd_freeze_set(f, NULL, 0, "hostd ends");
	event_free(f->ev_end);
	f->ev_end = NULL;
}
