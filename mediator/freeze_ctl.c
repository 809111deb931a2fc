/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells hostd which VMs may be frozen while a device stands at the last step of its ladder: at once
 * when a step is taken, and again and again while it lasts, because what hostd does is a lease
 * (proto/parley.proto). Main thread. Invariant: the timer is pending while hostd was last told of
 * any VM, or a device is at that step.
 */
#include <string.h>

#include "mediator/control_priv.h"
#include "mediator/freeze.h"

static const struct timeval again = { .tv_usec = 500 * 1000 };

/* By the policy's devices: which stand at the last step. True when any does. */
static bool find_top(const struct control *c, const struct med_policy *p, bool *at_top)
{
	bool any = false;

	for (const struct med_disk *d = NULL; (d = med_disks_next(c->disks, d));) {
		uint64_t step = atomic_load_explicit(&d->stats->ladder_step, memory_order_relaxed);
		int k = step == LADDER_FREEZE ? med_policy_device(p, d->policy->name) : -1;

		if (k >= 0)
			at_top[k] = any = true;
	}
	return any;
}

static void tell(struct control *c, char (*names)[FREEZE_NAME_BYTES], size_t n)
{
	Parley__FreezeVms m = PARLEY__FREEZE_VMS__INIT;
	Parley__Envelope e = PARLEY__ENVELOPE__INIT;
	char *list[FREEZE_MAX];

	for (size_t i = 0; i < n; i++)
		list[i] = names[i];
	m.n_systems = n;
	m.systems = list;
	e.body_case = PARLEY__ENVELOPE__BODY_FREEZE_VMS;
	e.freeze_vms = &m;
	control_tell_hostd(c, &e);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	control_freeze(arg);
}

void control_freeze(struct control *c)
{
	const struct med_policy *p = c->live ? live_policy(c->live) : NULL;
	char names[FREEZE_MAX][FREEZE_NAME_BYTES];
	bool at_top[MED_DEVICES_MAX] = { false };
	bool any = p && find_top(c, p, at_top);
	size_t n = any ? freeze_systems(p, at_top, names) : 0;

	if (n || c->n_frozen)
		tell(c, names, n);
	c->n_frozen = n;
	if (!any)
		return;
	if (!c->ev_freeze)
		c->ev_freeze = evtimer_new(c->base, on_again, c);
	if (c->ev_freeze)
		event_add(c->ev_freeze, &again);
}
