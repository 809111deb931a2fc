/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of starts. Main thread. Owns nothing. Invariant: what hd_order_check() lets pass has no
 * circle, so of the VMs that are starting there always is one that waits for none of them.
 */
#include "hostd/order.h"

#include <stdlib.h>
#include <string.h>

static bool names(const struct hd_vm *vm, const struct hd_vm *other)
{
	for (unsigned i = 0; i < vm->conf.n_after; i++)
		if (strcmp(vm->conf.after[i].name, other->name) == 0)
			return true;
	return false;
}

/* Whether @from comes to stand behind @to, over any number of others. */
static bool leads_to(struct hd_vms *s, const struct hd_vm *from, const struct hd_vm *to,
		     const struct hd_vm **seen, unsigned *n_seen)
{
	struct hd_vm *next;

	for (unsigned i = 0; i < *n_seen; i++)
		if (seen[i] == from)
			return false;
	seen[(*n_seen)++] = from;
	LIST_FOREACH(next, &s->list, entry)
		if (names(from, next) && (next == to || leads_to(s, next, to, seen, n_seen)))
			return true;
	return false;
}

static bool in_a_circle(struct hd_vms *s, const struct hd_vm *vm)
{
	const struct hd_vm *seen[HD_VMS_MAX];
	unsigned n_seen = 0;

	return leads_to(s, vm, vm, seen, &n_seen);
}

static void check_one(struct hd_vms *s, struct hd_vm *vm)
{
	for (unsigned i = 0; i < vm->conf.n_after; i++) {
		const char *name = vm->conf.after[i].name;
		const struct hd_vm *other = hd_vms_find(s, name);

		if (!other)
			hd_vm_complain(vm, CF_ERROR, "after = %s: there is no such VM", name);
		else if (other == vm)
			hd_vm_complain(vm, CF_ERROR, "after = %s: that is this VM itself", name);
		else if (hd_order_rank(other->conf.class) < hd_order_rank(vm->conf.class))
			hd_vm_complain(vm, CF_ERROR, "after = %s: that VM is of a lower class, and "
				       "nothing may depend on one", name);
	}
	if (vm->conf.n_after && !vm->conf_errors && in_a_circle(s, vm))
		hd_vm_complain(vm, CF_ERROR, "after = %s: that VM waits for this one in turn",
			       vm->conf.after[0].name);
}

void hd_order_check(struct hd_vms *s)
{
	struct hd_vm *vm;

	LIST_FOREACH(vm, &s->list, entry)
		if (!hd_vm_state_alive(vm->state) && !vm->conf_errors)
			check_one(s, vm);
}

const struct hd_vm *hd_order_awaited(const struct hd_vms *s, const struct hd_vm *vm)
{
	const struct hd_vm *other;

	LIST_FOREACH(other, &s->list, entry)
		if (other != vm && other->state == HD_VM_STARTING &&
		    (names(vm, other) ||
		     hd_order_rank(other->conf.class) > hd_order_rank(vm->conf.class)))
			return other;
	return NULL;
}
