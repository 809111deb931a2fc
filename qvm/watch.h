/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the main thread does while the guest runs: signals, the control channel, the end.
 */
#pragma once

#include "qvm/control.h"
#include "qvm/env.h"
#include "qvm/vm.h"

/*
 * Blocks the signals that watch_run() serves, so that none is lost before it runs and no thread is
 * interrupted by them. Before any thread.
 */
void watch_signals_block(void);
/*
 * Waits until the VM is to end; serves signals (the reference, 4.4) and @c (NULL: no channel)
 * meanwhile, and keeps @env (NULL: no directory) new. 0 or -errno (could not wait: the VM must
 * end).
 */
int watch_run(struct vm *vm, struct control *c, struct env *env);
