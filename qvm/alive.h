/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the threads of a VM do their work, for the supervisor that asks now and then. A vCPU
 * thread does while it is inside its guest, whatever that does there, or has left it since it was
 * looked at; the I/O thread while its loop does what it is posted. Main thread.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "lib/qdef.h"

struct vm;

struct alive_cpu {
	uint64_t n_exits;	/* when it was looked at last … */
	uint64_t moved_ns;	/* … and when it was seen to go on; 0: never looked */
};

struct alive {
	struct alive_cpu *cpus;	/* owned; one a vCPU, NULL before the first look */
	pthread_mutex_t lock;	/* of what is posted to the I/O thread */
	bool lock_there;
	_Atomic bool beat_due;	/* posted, and not done yet */
	uint64_t beat_ns;	/* when it was posted */
};

/*
 * The longest time for which one of the threads has stood still, and in @what which. 0: none does.
 * A guest that is held stands still rightly.
 */
uint64_t alive_look(struct alive *a, struct vm *vm, char *what, size_t what_bytes);
/* After the I/O thread has ended. */
void alive_fini(struct alive *a);
