/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of VM states. Pure, any thread. Invariant: every state has a word and a row; a unit
 * test walks them all, because a static_assert on the length does not see a hole.
 */
#include "hostd/vmstate.h"

#define TO(s) (1u << HD_VM_##s)

static const char *const state_str[] = {
	[HD_VM_OFF] = "off",
	[HD_VM_STARTING] = "starting",
	[HD_VM_RUNNING] = "running",
	[HD_VM_STOPPING] = "stopping",
	[HD_VM_FAILED] = "failed",
	[HD_VM_WAITING] = "waiting",
};
static_assert(Q_ARRAY_LEN(state_str) == HD_VM_STATES, "every state has a word");

static const unsigned state_next[] = {
	[HD_VM_OFF] = TO(STARTING) | TO(WAITING),
	[HD_VM_STARTING] = TO(RUNNING) | TO(STOPPING) | TO(FAILED),
	[HD_VM_RUNNING] = TO(STOPPING) | TO(OFF) | TO(FAILED),
	[HD_VM_STOPPING] = TO(OFF) | TO(FAILED),
	[HD_VM_FAILED] = TO(STARTING) | TO(OFF) | TO(WAITING),
	[HD_VM_WAITING] = TO(STARTING) | TO(OFF),
};
static_assert(Q_ARRAY_LEN(state_next) == HD_VM_STATES, "every state has a row");

static const char *const stage_str[] = {
	[HD_STOP_NONE] = "none",
	[HD_STOP_LEAVING] = "leaving",
	[HD_STOP_BUTTON] = "button",
	[HD_STOP_CUT] = "cut",
	[HD_STOP_KILL] = "kill",
};
static_assert(Q_ARRAY_LEN(stage_str) == HD_STOP_STAGES, "every stage has a word");

const char *hd_vm_state_str(enum hd_vm_state s)
{
	return (unsigned)s < HD_VM_STATES ? state_str[s] : "unknown";
}

bool hd_vm_state_may(enum hd_vm_state from, enum hd_vm_state to)
{
	return (unsigned)from < HD_VM_STATES && (unsigned)to < HD_VM_STATES &&
	       (state_next[from] & 1u << to);
}

bool hd_vm_state_alive(enum hd_vm_state s)
{
	return s == HD_VM_STARTING || s == HD_VM_RUNNING || s == HD_VM_STOPPING;
}

const char *hd_stop_stage_str(enum hd_stop_stage s)
{
	return (unsigned)s < HD_STOP_STAGES ? stage_str[s] : "unknown";
}
