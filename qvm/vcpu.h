/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU: its descriptor, its run page, its thread, and how often and why it left the guest.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "lib/qdef.h"

struct vm;
struct kvm_run;
struct cfg_cpu;

enum vcpu_exit {
	VCPU_EXIT_IO,
	VCPU_EXIT_MMIO,
	VCPU_EXIT_INTR,	  /* a signal */
	VCPU_EXIT_SYSTEM, /* power off, reset, triple fault */
	VCPU_EXIT_HLT,
	VCPU_EXIT_OTHER,
	VCPU_EXIT_FAULT, /* KVM cannot go on */
	VCPU_EXITS
};
const char *vcpu_exit_str(enum vcpu_exit e);

struct vcpu {
	struct vm *vm;
	unsigned idx;
	int fd;
	struct kvm_run *run;
	size_t run_bytes;
	const struct cfg_cpu *cfg;
	pthread_t thread;
	bool has_thread;
	int sched_err;	  /* of its thread, before it is ready: 0, or -errno and sched_what */
	const char *sched_what;
	_Atomic uint64_t n_exits[VCPU_EXITS]; /* written by its thread alone, as inside */
	_Atomic bool inside; /* in KVM_RUN, or about to be */
	/* Anybody sets ip_wanted; its thread writes last_ip at its next exit (0: none yet). */
	_Atomic bool ip_wanted;
	_Atomic uint64_t last_ip;
	_Atomic pid_t tid; /* of its thread; 0 before it runs */
};

/* 0 or -errno with vm->fail filled. Main thread. */
int vcpu_init(struct vcpu *v, struct vm *vm, unsigned idx);
void vcpu_fini(struct vcpu *v);
/*
 * The threads of all vCPUs, with the scheduling that the configuration asks for; the guest runs
 * when all have it and vcpu_open_gate() was called, or not at all. 0 or -errno with vm->fail
 * filled; what was started waits for vcpu_join(). Main thread.
 */
int vcpu_start_all(struct vm *vm);
/* Lets waiting threads on; they look at vm->stopping first. Any thread. */
void vcpu_open_gate(struct vm *vm);
/* After vm->stopping was set, or a hold asked for: makes the thread leave the guest. Any thread. */
void vcpu_kick(struct vcpu *v);
void vcpu_join(struct vcpu *v);
/* Once in the process, before threads: what a kick uses. */
void vcpu_signals_init(void);
