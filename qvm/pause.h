/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holding a guest still, to look at it whole: its vCPU threads leave the guest and wait, each with
 * its last instruction done and its registers complete. Holds count: the guest goes on when the
 * last one is over. A guest that is to end is not held: its threads go.
 */
#pragma once

#include "qvm/vm.h"

/* The guest is held from now on, by the time its threads notice. Any thread; returns at once. */
void pause_begin(struct vm *vm);
/*
 * After pause_begin(): waits until no vCPU runs, for @limit_ns at most. 0; -ETIMEDOUT; -ESRCH when
 * the VM ends instead. Any thread but those of the vCPUs. pause_end() is due in any case.
 */
int pause_wait(struct vm *vm, uint64_t limit_ns);
/*
 * As well, and while the guest is held: waits until the I/O thread stands still, between two of its
 * callbacks. It goes on with the guest. 0, -ETIMEDOUT, -ENOMEM.
 */
int pause_io(struct vm *vm, uint64_t limit_ns);
/* Any thread; returns at once. */
void pause_end(struct vm *vm);
bool pause_is_on(struct vm *vm);

/*
 * Of a vCPU thread: KVM_RUN said EINTR, so nothing of the guest is half done: the place to wait.
 * True when it was held there: an exit that we made.
 */
bool pause_point(struct vcpu *v);
/* Of a vCPU thread that is about to end: it counts as standing still. */
void pause_gone(struct vcpu *v);
