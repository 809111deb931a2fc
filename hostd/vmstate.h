/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a VM. Pure. The numbers are those of the protocol (VmState).
 *
 * state     entered when              leaves on                        deadline          held
 * OFF       at first; ended as asked  start; restart by policy ->      none              -
 *                                     WAITING
 * STARTING  start                     Ready -> RUNNING; exit ->        start-timeout,    process,
 *                                     FAILED; stop -> STOPPING         then SIGKILL      console
 * RUNNING   Ready                     stop, Ended -> STOPPING;         none              process,
 *                                     exit -> OFF, FAILED                                console
 * STOPPING  stop, kill; the guest     exit -> OFF, or FAILED when it   stop-timeout, 2 s process,
 *           ended and qvm cleans up   died of something else           for the power     console
 *                                                                      cut, then SIGKILL
 * FAILED    ended as nobody asked     start; stop acknowledges -> OFF; none              -
 *                                     restart by policy -> WAITING
 * WAITING   ended, and is started     delay over, start -> STARTING;   restart delay     -
 *           again by policy           stop -> OFF
 *
 * The desired state (up, down) stands beside it: FAILED with "up" is what an operator looks for.
 */
#pragma once

#include "lib/qdef.h"

enum hd_vm_state {
	HD_VM_OFF,
	HD_VM_STARTING,
	HD_VM_RUNNING,
	HD_VM_STOPPING,
	HD_VM_FAILED,
	HD_VM_WAITING,
	HD_VM_STATES
};

const char *hd_vm_state_str(enum hd_vm_state s);	/* "off", … ; "unknown" when it is none */
/* True when the table lets @from become @to. False for values that are no state. */
bool hd_vm_state_may(enum hd_vm_state from, enum hd_vm_state to);
/* True when the state has a process. */
bool hd_vm_state_alive(enum hd_vm_state s);

/* What stands in front of the end of a VM that stops, mildest first. */
enum hd_stop_stage {
	HD_STOP_NONE,	/* nobody asked */
	HD_STOP_LEAVING,/* the guest ended by itself, qvm cleans up */
	HD_STOP_BUTTON,	/* the guest was told */
	HD_STOP_CUT,	/* power cut */
	HD_STOP_KILL,	/* SIGKILL */
	HD_STOP_STAGES
};
const char *hd_stop_stage_str(enum hd_stop_stage s);
