/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGUSR1: what the VM and its vdevs are doing, as log lines of severity info. Main thread.
 */
#pragma once

#include "qvm/vm.h"

/* Before the guest runs: from here on the drift of its clock is counted. */
void status_start(struct vm *vm);
/* Logs everything. The guest is held for a moment, 1 s at most, for its registers and its clock. */
void status_log(struct vm *vm);
