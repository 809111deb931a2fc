/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at the threads of a VM. Main thread, but for the beat, which runs on the I/O thread.
 *
 * No thread is made to do anything for it but the I/O thread: what a vCPU thread does is read from
 * the counters that it keeps anyway, and from where it is.
 *
 * Invariant: at most one beat is posted and not done.
 */
#include "qvm/alive.h"

#include <stdio.h>
#include <stdlib.h>

#include "qvm/loop.h"
#include "qvm/pause.h"
#include "qvm/vcpu.h"
#include "qvm/vm.h"

static void on_beat(void *owner, void *arg)
{
	struct alive *a = owner;

	/* Release: pairs with nothing but itself, the flag is all that is told. */
	atomic_store_explicit(&a->beat_due, false, memory_order_release);
}

static uint64_t exits_of(const struct vcpu *v)
{
	uint64_t n = 0;

	for (int i = 0; i < VCPU_EXITS; i++)
		n += atomic_load_explicit(&v->n_exits[i], memory_order_relaxed);
	return n;
}

/* How long this vCPU's thread has been outside its guest without an end to it. */
static uint64_t cpu_stalled_ns(struct alive_cpu *c, const struct vcpu *v, uint64_t now_ns)
{
	uint64_t n = exits_of(v);
	bool inside = atomic_load_explicit(&v->inside, memory_order_relaxed);

	if (inside || n != c->n_exits || c->moved_ns == 0) {
		c->n_exits = n;
		c->moved_ns = now_ns;
	}
	return now_ns - c->moved_ns;
}

static uint64_t io_stalled_ns(struct alive *a, struct vm *vm, uint64_t now_ns)
{
	if (atomic_load_explicit(&a->beat_due, memory_order_acquire))
		return now_ns - a->beat_ns;
	a->beat_ns = now_ns;
	atomic_store_explicit(&a->beat_due, true, memory_order_relaxed);
	if (loop_post(vm->loop, &a->lock, on_beat, a, NULL, 0) < 0)
		atomic_store_explicit(&a->beat_due, false, memory_order_relaxed);
	return 0;
}

static bool prepare(struct alive *a, const struct vm *vm)
{
	if (!a->lock_there)
		a->lock_there = pthread_mutex_init(&a->lock, NULL) == 0;
	if (!a->cpus)
		a->cpus = calloc(vm->n_vcpus, sizeof(a->cpus[0]));
	return a->lock_there && a->cpus;
}

/* A guest that is held: none of its threads owes anything until it goes on. */
static uint64_t held(struct alive *a, const struct vm *vm, uint64_t now_ns)
{
	for (size_t i = 0; i < vm->n_vcpus; i++)
		a->cpus[i].moved_ns = now_ns;
	a->beat_ns = now_ns;
	return 0;
}

uint64_t alive_look(struct alive *a, struct vm *vm, char *what, size_t what_bytes)
{
	uint64_t now_ns = qnow_ns(), worst_ns;

	snprintf(what, what_bytes, "nothing");
	if (!prepare(a, vm))
		return 0;
	if (pause_is_on(vm))
		return held(a, vm, now_ns);
	worst_ns = io_stalled_ns(a, vm, now_ns);
	if (worst_ns)
		snprintf(what, what_bytes, "the I/O thread");
	for (size_t i = 0; i < vm->n_vcpus; i++) {
		uint64_t ns = cpu_stalled_ns(&a->cpus[i], &vm->vcpus[i], now_ns);

		if (ns <= worst_ns)
			continue;
		worst_ns = ns;
		snprintf(what, what_bytes, "the thread of vCPU %zu", i);
	}
	return worst_ns;
}

void alive_fini(struct alive *a)
{
	free(a->cpus);
	a->cpus = NULL;
	if (a->lock_there)
		pthread_mutex_destroy(&a->lock);
	a->lock_there = false;
}
