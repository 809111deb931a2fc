/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds out the mode and does what its row says. Main thread; the sole writer of env->causes.
 * Invariant: outside of safe mode no VM is held.
 */
#include "hostd/modes.h"

#include <stdio.h>
#include <string.h>

static bool is_safety(const struct hd_vm *vm)
{
	return vm->conf.class == PARLEY__CLASS__CLASS_SAFETY;
}

static void look_at_vm(const struct hd_vm *vm, struct hd_mode_facts *f)
{
	bool lost = vm->state == HD_VM_FAILED && vm->want_up && !vm->held;

	f->n_refused += vm->conf_errors != NULL;
	if (lost && is_safety(vm) && vm->fail_code != PARLEY__CODE__E_CONFIG)
		f->n_safety_lost++;
	else if (lost)
		f->n_lost++;
	else if (vm->state == HD_VM_WAITING && is_safety(vm))
		f->n_safety_away++;
}

static void look_at_mediator(const struct hd_med *med, struct hd_mode_facts *f)
{
	enum hd_med_state s = hd_med_state(med);

	f->mediator_lost = s == HD_MED_FAILED;
	f->mediator_away = s == HD_MED_WAITING || (s == HD_MED_STARTING && hd_med_settled(med));
}

/* Of several, the first in the order of names. */
static void hold_and_let_go(struct hd_vms *vms, bool safe)
{
	struct hd_vm *vm;

	LIST_FOREACH(vm, &vms->list, entry) {
		if (safe && vm->conf.class == PARLEY__CLASS__CLASS_BEST_EFFORT)
			hd_vm_hold(vm);
		else if (vm->held)
			hd_vm_let_go(vm);
	}
}

void hd_modes_update(struct hd_env *env, struct hd_vms *vms, const struct hd_med *med,
		     const struct hd_freeze *freeze)
{
	struct hd_mode_facts f = {
		.n_frozen = freeze->n,
		.unrecorded = env->conf.events_kept &&
			      (env->recorder.fd < 0 || env->recorder.failed),
	};
	enum hd_mode was = hd_mode_of(env->causes), is;
	struct hd_vm *vm;
	char words[160];

	LIST_FOREACH(vm, &vms->list, entry)
		look_at_vm(vm, &f);
	look_at_mediator(med, &f);
	uint32_t causes = hd_mode_causes(&f);
	is = hd_mode_of(causes);
	if (causes != env->causes) {
		env->causes = causes;
		hd_mode_words(causes, words, sizeof(words));
		hd_event_add(&env->events, "mode", "hostd", "%s -> %s: %s", hd_mode_str(was),
			     hd_mode_str(is), causes ? words : "all is well again");
	}
	if (is == HD_MODE_SAFE || was == HD_MODE_SAFE)
		hold_and_let_go(vms, is == HD_MODE_SAFE);
}
