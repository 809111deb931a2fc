/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a guest is held. Who wants it counts itself in n_pauses and kicks every vCPU; a vCPU thread
 * that is kicked out of KVM_RUN waits in pause_point() for as long as anybody is counted.
 *
 * A kick is the flag immediate_exit and a signal (vcpu.c). With the flag set, KVM_RUN first
 * completes the access for which it left the last time, then says EINTR: so a thread that waits has
 * no half-done instruction, and its registers are what the guest would see. The thread takes the
 * flag back itself, before it looks why it was set: a reason given later sets it again.
 *
 * All fields are under gate_lock, and gate_moved is signalled whenever one of them changes.
 */
#include "qvm/pause.h"

#include <errno.h>
#include <linux/kvm.h>
#include <time.h>

#include "qvm/arch.h"
#include "qvm/loop.h"
#include "qvm/vcpu.h"

static bool is_stopping(const struct vm *vm)
{
	/* Pairs with the release store in vm_stop(), which then takes gate_lock and signals. */
	return atomic_load_explicit(&vm->stopping, memory_order_acquire);
}

void pause_begin(struct vm *vm)
{
	pthread_mutex_lock(&vm->gate_lock);
	vm->n_pauses++;
	pthread_mutex_unlock(&vm->gate_lock);
	for (size_t i = 0; i < vm->n_vcpus; i++)
		vcpu_kick(&vm->vcpus[i]);
}

static bool vcpus_stand(const struct vm *vm)
{
	return vm->n_parked == vm->n_vcpus;
}

static bool io_stands(const struct vm *vm)
{
	return vm->io_parked;
}

static int wait_until(struct vm *vm, bool (*stands)(const struct vm *vm), uint64_t limit_ns)
{
	uint64_t at_ns = qnow_ns() + limit_ns;
	struct timespec at = { .tv_sec = (time_t)(at_ns / Q_NSEC_PER_SEC),
			       .tv_nsec = (long)(at_ns % Q_NSEC_PER_SEC) };
	int r = 0;

	pthread_mutex_lock(&vm->gate_lock);
	while (r == 0 && !stands(vm) && !is_stopping(vm))
		r = -pthread_cond_clockwait(&vm->gate_moved, &vm->gate_lock, CLOCK_MONOTONIC, &at);
	if (stands(vm))
		r = 0;
	else if (is_stopping(vm))
		r = -ESRCH;
	pthread_mutex_unlock(&vm->gate_lock);
	return r;
}

int pause_wait(struct vm *vm, uint64_t limit_ns)
{
	return wait_until(vm, vcpus_stand, limit_ns);
}

/* On the I/O thread, with no lock: the rest of the loop waits with it. */
static void io_park(void *arg)
{
	struct vm *vm = *(struct vm **)arg;

	pthread_mutex_lock(&vm->gate_lock);
	vm->io_parked = true;
	pthread_cond_broadcast(&vm->gate_moved);
	while (vm->n_pauses && !is_stopping(vm))
		pthread_cond_wait(&vm->gate_moved, &vm->gate_lock);
	vm->io_parked = false;
	pthread_mutex_unlock(&vm->gate_lock);
}

static void io_parked_done(void *owner, void *arg)
{
}

int pause_io(struct vm *vm, uint64_t limit_ns)
{
	int r = loop_call(vm->loop, &vm->gate_lock, io_park, io_parked_done, NULL, &vm, sizeof(vm));

	return r < 0 ? r : wait_until(vm, io_stands, limit_ns);
}

void pause_end(struct vm *vm)
{
	pthread_mutex_lock(&vm->gate_lock);
	vm->n_pauses--;
	pthread_cond_broadcast(&vm->gate_moved);
	pthread_mutex_unlock(&vm->gate_lock);
}

bool pause_is_on(struct vm *vm)
{
	pthread_mutex_lock(&vm->gate_lock);
	bool on = vm->n_pauses > 0;
	pthread_mutex_unlock(&vm->gate_lock);
	return on;
}

bool pause_point(struct vcpu *v)
{
	struct vm *vm = v->vm;
	bool held = false;

	/* Pairs with the store in vcpu_kick(): who set it had said why before. */
	if (!__atomic_exchange_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST))
		return false;
	pthread_mutex_lock(&vm->gate_lock);
	vm->n_parked++;
	while (vm->n_pauses && !is_stopping(vm)) {
		held = true;
		pthread_cond_broadcast(&vm->gate_moved);
		pthread_cond_wait(&vm->gate_moved, &vm->gate_lock);
	}
	vm->n_parked--;
	pthread_mutex_unlock(&vm->gate_lock);
	if (held)
		arch_vcpu_resumed(v);
	return held;
}

void pause_gone(struct vcpu *v)
{
	pthread_mutex_lock(&v->vm->gate_lock);
	v->vm->n_parked++;
	pthread_cond_broadcast(&v->vm->gate_moved);
	pthread_mutex_unlock(&v->vm->gate_lock);
}
