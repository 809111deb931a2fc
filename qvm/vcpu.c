/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPU threads. One loop: enter the guest, see why it left, answer, again. It ends when the VM
 * is to end.
 *
 * Leaving races with entering: the flag immediate_exit makes the next KVM_RUN return at once, the
 * signal makes the present one return. Set in this order, either the thread was inside and is
 * interrupted, or it was not and does not get in.
 */
#include "qvm/vcpu.h"

#include <endian.h>
#include <errno.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qsched.h"
#include "qvm/arch.h"
#include "qvm/pause.h"
#include "qvm/unsup.h"
#include "qvm/vm.h"

#define KICK_SIGNAL (SIGRTMIN + 1)

static const char *const exit_str[] = {
	[VCPU_EXIT_IO] = "io",	       [VCPU_EXIT_MMIO] = "mmio", [VCPU_EXIT_INTR] = "intr",
	[VCPU_EXIT_SYSTEM] = "system", [VCPU_EXIT_HLT] = "hlt",	  [VCPU_EXIT_OTHER] = "other",
	[VCPU_EXIT_FAULT] = "fault",
};
static_assert(Q_ARRAY_LEN(exit_str) == VCPU_EXITS, "every exit has a word");

const char *vcpu_exit_str(enum vcpu_exit e)
{
	return exit_str[e];
}

int vcpu_init(struct vcpu *v, struct vm *vm, unsigned idx)
{
	*v = (struct vcpu){ .vm = vm, .idx = idx, .fd = -1, .cfg = &vm->cfg->cpus[idx] };

	int run_bytes = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (run_bytes < (int)sizeof(struct kvm_run))
		return vm_fail(vm, "kvm", errno, "KVM does not say how large a vCPU's run page is");
	v->fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, (unsigned long)idx);
	if (v->fd < 0)
		return vm_fail(vm, "kvm", errno, "KVM gives no vCPU number %u", idx);
	void *p = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (p == MAP_FAILED)
		return vm_fail(vm, "kvm", errno, "cannot map the run page of vCPU %u", idx);
	v->run = p;
	v->run_bytes = (size_t)run_bytes;
	int r = arch_vcpu_init(vm, v);
	return r < 0 ? r : arch_policy_vcpu(vm, v);
}

void vcpu_fini(struct vcpu *v)
{
	if (v->run)
		munmap(v->run, v->run_bytes);
	v->run = NULL;
	qfd_close(&v->fd);
}

/* ---- exits ---- */

static void count(struct vcpu *v, enum vcpu_exit e)
{
	uint64_t n = atomic_load_explicit(&v->n_exits[e], memory_order_relaxed);

	/* Relaxed: a counter with one writer, read for show. */
	atomic_store_explicit(&v->n_exits[e], n + 1, memory_order_relaxed);
}

static enum vcpu_exit exit_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *p = (uint8_t *)run + run->io.data_offset;

	const bool out = run->io.direction == KVM_EXIT_IO_OUT;
	const unsigned size = Q_MIN(run->io.size, 8u);
	unsigned n_missed = 0;
	uint64_t val = 0;

	for (uint32_t i = 0; i < run->io.count; i++, p += run->io.size)
		n_missed += out ? bus_write(&v->vm->bus[VD_IO], run->io.port, p, size) :
				  bus_read(&v->vm->bus[VD_IO], run->io.port, p, size);
	if (!n_missed)
		return VCPU_EXIT_IO;
	memcpy(&val, (uint8_t *)run + run->io.data_offset, size);
	return unsup_reference(v, VD_IO, run->io.port, size, out, le64toh(val));
}

static enum vcpu_exit exit_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint64_t addr = run->mmio.phys_addr;
	unsigned len = Q_MIN(run->mmio.len, 8u);
	unsigned n = run->mmio.is_write ?
			     bus_write(&v->vm->bus[VD_MEM], addr, run->mmio.data, len) :
			     bus_read(&v->vm->bus[VD_MEM], addr, run->mmio.data, len);

	uint64_t val = 0;

	if (!n)
		return VCPU_EXIT_MMIO;
	memcpy(&val, run->mmio.data, len);
	return unsup_reference(v, VD_MEM, addr, len, run->mmio.is_write, le64toh(val));
}

static enum vcpu_exit exit_system(struct vcpu *v)
{
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_end(v->vm, VM_EXIT_OK, "guest powered off");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		vm_end_reset(v->vm, "guest reset");
		break;
	default:
		vm_end(v->vm, VM_EXIT_UNEXPECTED, "guest crashed");
		break;
	}
	return VCPU_EXIT_SYSTEM;
}

static enum vcpu_exit exit_bad(struct vcpu *v, enum vm_exit code, const char *why, uint64_t detail)
{
	char where[256];

	arch_vcpu_where(v, where, sizeof(where));
	qlog(QLOG_FATAL, "ev=vcpu_stopped cpu=%u why=\"%s\" reason=%u detail=0x%llx %s", v->idx,
	     why, v->run->exit_reason, (unsigned long long)detail, where);
	vm_end(v->vm, code, why);
	return VCPU_EXIT_FAULT;
}

static enum vcpu_exit handle(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	enum vcpu_exit e;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return exit_io(v);
	case KVM_EXIT_MMIO:
		return exit_mmio(v);
	case KVM_EXIT_INTR:
		return VCPU_EXIT_INTR;
	case KVM_EXIT_SYSTEM_EVENT:
		return exit_system(v);
	case KVM_EXIT_SHUTDOWN:
		/*
		 * A triple fault: what "reboot=t" does, and what a kernel without a way out does.
		 */
		vm_end_reset(v->vm, "guest reset (triple fault)");
		return VCPU_EXIT_SYSTEM;
	case KVM_EXIT_HLT:
		return VCPU_EXIT_HLT;
	case KVM_EXIT_INTERNAL_ERROR:
		if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
			return unsup_instruction(v);
		return exit_bad(v, VM_EXIT_UNSUPPORTED, "guest instruction not supported by KVM",
				run->internal.suberror);
	case KVM_EXIT_FAIL_ENTRY:
		return exit_bad(v, VM_EXIT_UNEXPECTED, "the processor refused the guest's state",
				run->fail_entry.hardware_entry_failure_reason);
	default:
		if (arch_vcpu_exit(v, &e))
			return e;
		return exit_bad(v, VM_EXIT_UNEXPECTED, "exit that nobody expects", 0);
	}
}

static enum vcpu_exit run_failed(struct vcpu *v, int err)
{
	/* arm64: an access to a device by an instruction that says too little about itself. */
	if (err == ENOSYS)
		return exit_bad(v, VM_EXIT_UNSUPPORTED, "guest instruction not supported by KVM",
				0);
	qlog_err(err, "ev=kvm_run_failed cpu=%u", v->idx);
	return exit_bad(v, VM_EXIT_FATAL_RUN, "KVM_RUN failed", (uint64_t)err);
}

/* A vCPU that is started by another one may see EAGAIN once or twice; for ever, it is a failure. */
#define AGAINS_MAX 1000u

/* Somebody wants to know where the guest is, and it is out of the guest now anyway. */
static void tell_ip(struct vcpu *v)
{
	uint64_t ip;

	if (!atomic_load_explicit(&v->ip_wanted, memory_order_relaxed))
		return;
	atomic_store_explicit(&v->ip_wanted, false, memory_order_relaxed);
	/* Relaxed: a number for show. */
	if (arch_vcpu_ip(v, &ip) == 0)
		atomic_store_explicit(&v->last_ip, ip, memory_order_relaxed);
}

/* As ioctl(). */
static int enter(struct vcpu *v)
{
	/* Relaxed: for who looks now and then whether the thread stands still (qvm/alive.h). */
	atomic_store_explicit(&v->inside, true, memory_order_relaxed);
	int r = ioctl(v->fd, KVM_RUN, 0);
	atomic_store_explicit(&v->inside, false, memory_order_relaxed);
	return r;
}

static void vcpu_loop(struct vcpu *v)
{
	unsigned n_agains = 0; /* since it last ran */

	/* Pairs with the release store in vm_stop(), by way of the kick. */
	while (!atomic_load_explicit(&v->vm->stopping, memory_order_acquire)) {
		if (enter(v) == 0) {
			enum vcpu_exit e = handle(v);

			n_agains = 0;
			count(v, e);
			tell_ip(v);
			/* The guest is over: entering it again would only say so again. */
			if (e == VCPU_EXIT_SYSTEM || e == VCPU_EXIT_FAULT)
				break;
			continue;
		}
		if (errno == EINTR || (errno == EAGAIN && ++n_agains < AGAINS_MAX)) {
			tell_ip(v);
			if (!pause_point(v))
				count(v, VCPU_EXIT_INTR);
			continue;
		}
		count(v, run_failed(v, errno));
		break;
	}
}

/* ---- the thread ---- */

static int set_policy(const struct cfg_cpu *c)
{
	struct sched_param prm = { 0 };

	switch (c->policy) {
	case CFG_SCHED_INHERIT:
		return 0;
	case CFG_SCHED_OTHER:
		return -pthread_setschedparam(pthread_self(), SCHED_OTHER, &prm);
	case CFG_SCHED_SPORADIC:
		return qsched_deadline(0, c->budget_ns, c->repl_period_ns);
	case CFG_SCHED_RR:
	case CFG_SCHED_FIFO:
		break;
	}
	int policy = c->policy == CFG_SCHED_RR ? SCHED_RR : SCHED_FIFO;
	int max = sched_get_priority_max(policy);
	prm.sched_priority = (int)c->prio < max ? (int)c->prio : max;
	if (prm.sched_priority < 1)
		prm.sched_priority = 1;
	return -pthread_setschedparam(pthread_self(), policy, &prm);
}

static int set_runmask(const struct cfg_cpu *c)
{
	cpu_set_t set, now;

	CPU_ZERO(&set);
	for (unsigned i = 0; i < 64 * Q_ARRAY_LEN(c->runmask); i++)
		if (c->runmask[i / 64] >> i % 64 & 1)
			CPU_SET(i, &set);
	if (!CPU_COUNT(&set))
		return 0;
	int r = -pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	/* The kernel takes a set of which it has one, and forgets the rest. */
	if (r == 0 && pthread_getaffinity_np(pthread_self(), sizeof(now), &now) == 0 &&
	    !CPU_EQUAL(&set, &now))
		r = -EINVAL;
	return r;
}

/* 0, or -errno with v->sched_what: a guest that was promised a processor gets it, or is not run. */
static int set_scheduling(struct vcpu *v)
{
	int r = set_runmask(v->cfg);

	v->sched_what = "runmask: this host has not all of these CPUs, or qvm may not use them";
	if (r < 0)
		return r;
	v->sched_what = v->cfg->policy == CFG_SCHED_SPORADIC ?
				"sched: the host refuses SCHED_DEADLINE with this period and "
				"budget; it takes CAP_SYS_NICE, and processors that are not "
				"promised to others" :
				"sched: the host refuses this policy or priority; it takes "
				"CAP_SYS_NICE or an RLIMIT_RTPRIO that reaches it";
	return set_policy(v->cfg);
}

/* Waits until all threads are ready, or the VM is to end. */
static void wait_at_gate(struct vcpu *v, int sched_err)
{
	struct vm *vm = v->vm;

	pthread_mutex_lock(&vm->gate_lock);
	v->sched_err = sched_err;
	vm->n_at_gate++;
	pthread_cond_broadcast(&vm->gate_moved);
	while (!vm->gate_open)
		pthread_cond_wait(&vm->gate_moved, &vm->gate_lock);
	pthread_mutex_unlock(&vm->gate_lock);
}

void vcpu_open_gate(struct vm *vm)
{
	pthread_mutex_lock(&vm->gate_lock);
	vm->gate_open = true;
	pthread_cond_broadcast(&vm->gate_moved);
	pthread_mutex_unlock(&vm->gate_lock);
}

/* Thread names have 15 characters: the number must survive, the name may be cut. */
static void name_thread(const struct vcpu *v)
{
	char end[16], name[16];
	size_t n = (size_t)snprintf(end, sizeof(end), "-vCPU%u", v->idx % 1000);
	size_t keep = strnlen(v->vm->cfg->system, sizeof(name) - 1 - n);

	memcpy(name, v->vm->cfg->system, keep);
	memcpy(name + keep, end, n + 1);
	pthread_setname_np(pthread_self(), name);
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	sigset_t kick;

	name_thread(v);
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	v->tid = gettid();
	wait_at_gate(v, set_scheduling(v));
	vcpu_loop(v);
	pause_gone(v);
	return NULL;
}

static int start_thread(struct vcpu *v)
{
	int r = pthread_create(&v->thread, NULL, vcpu_main, v);

	if (r)
		return vm_fail(v->vm, "threads", r, "no thread for vCPU %u", v->idx);
	v->has_thread = true;
	return 0;
}

int vcpu_start_all(struct vm *vm)
{
	size_t n = 0;
	int r = 0;

	while (r == 0 && n < vm->n_vcpus) {
		r = start_thread(&vm->vcpus[n]);
		n += r == 0;
	}
	/* Each comes to the gate whatever happens: no deadline is needed. */
	pthread_mutex_lock(&vm->gate_lock);
	while (vm->n_at_gate < n)
		pthread_cond_wait(&vm->gate_moved, &vm->gate_lock);
	pthread_mutex_unlock(&vm->gate_lock);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct vcpu *v = &vm->vcpus[i];
		if (v->sched_err < 0)
			r = vm_fail(vm, "threads", v->sched_err, "%s:%u: cpu %u: %s",
				    v->cfg->pos.file, v->cfg->pos.line, v->idx, v->sched_what);
	}
	return r;
}

static void on_kick(int sig)
{
}

void vcpu_signals_init(void)
{
	struct sigaction sa = { .sa_handler = on_kick }; /* no SA_RESTART: KVM_RUN must return */
	sigset_t kick;

	sigaction(KICK_SIGNAL, &sa, NULL);
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &kick, NULL);
}

void vcpu_kick(struct vcpu *v)
{
	if (!v->has_thread)
		return;
	/*
	 * Read by the kernel at the next KVM_RUN; the signal below orders it for the present one.
	 */
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(v->thread, KICK_SIGNAL);
}

void vcpu_join(struct vcpu *v)
{
	if (v->has_thread)
		pthread_join(v->thread, NULL);
	v->has_thread = false;
}
