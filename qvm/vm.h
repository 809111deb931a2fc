/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine: everything that a qvm process owns, assembled once on the main thread, run,
 * and taken apart.
 *
 * Threads: main assembles and waits; one thread a vCPU; one I/O thread. What they share is in bus,
 * irqs, the vdevs (a lock each) and the end, which the first who calls vm_end() decides.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "lib/qlog.h"
#include "lib/qmem.h"
#include "qvm/alive.h"
#include "qvm/bus.h"
#include "qvm/cfg.h"
#include "qvm/irq.h"
#include "qvm/load.h"
#include "qvm/pci.h"
#include "qvm/unsup.h"

/* What the process returns (the reference, 4.2). */
enum vm_exit {
	VM_EXIT_OK = 0,	 /* the guest shut down or rebooted */
	VM_EXIT_CUT = 3, /* power cut: SIGQUIT, or a guest that did not go by itself */
	VM_EXIT_WATCHDOG = 4,
	VM_EXIT_UNSUPPORTED = 5,
	VM_EXIT_VDEV = 6,
	VM_EXIT_UNEXPECTED = 7,
	VM_EXIT_FATAL_START = 64,
	VM_EXIT_CONFIG = 65,
	VM_EXIT_FATAL_RUN = 96,
};

struct vm;
struct vm_arch;
struct vm_dev;
struct vcpu;
struct loop;
struct dump;

/* Why it did not start: one sentence for the operator. */
struct vm_failure {
	const char *stage; /* "kvm", "memory", "devices", "load", "threads", … */
	int err;	   /* positive errno or 0 */
	char text[512];
};

struct vm {
	const struct vm_cfg *cfg;
	const char *run_dir; /* where sockets are found; NULL: there is none */
	int kvm_fd, vm_fd;
	struct qmem *mem;
	struct bus bus[2]; /* by enum vd_space: VD_MEM, VD_IO */
	struct irqs irqs;
	struct pci pci;
	struct load_result boot;
	struct vm_arch *arch;
	struct loop *loop;
	struct dump *dump; /* qvm/dump.c; NULL: the configuration has none */
	struct vm_shm *shm; /* qvm/shm.c; NULL: no vdev needed it yet */
	struct vm_dev *devs; /* n_devs, in the order of the configuration */
	size_t n_devs;
	struct vcpu *vcpus;
	size_t n_vcpus;
	pthread_mutex_t gate_lock; /* vCPU threads wait at the gate until all are ready */
	pthread_cond_t gate_moved;
	size_t n_at_gate; /* under gate_lock, as gate_open */
	bool gate_open;
	unsigned n_pauses; /* who holds the guest (qvm/pause.h); these three under gate_lock */
	size_t n_parked;   /* vCPU threads that wait for the end of that, or have ended */
	bool io_parked;
	struct unsup unsup;
	_Atomic bool stopping; /* vCPU threads leave at their next exit */
	_Atomic int end_code;  /* enum vm_exit, -1 while it runs */
	const char *_Atomic end_why;
	_Atomic bool reset;	/* the guest expects to be started again */
	int end_fd; /* eventfd: end_code was set */
	uint64_t started_ns;
	_Atomic uint32_t console_size;	/* of standard input: columns << 16 | rows; 0 = unknown */
	uint64_t counter_gap; /* host's counter less the guest's, at the start (qvm/status.c) */
	struct alive alive;
	struct vm_failure fail;
};

/*
 * Fills vm->fail and returns -@err (@err: positive errno, or a negative -errno; 0 gives -EINVAL).
 */
int vm_fail(struct vm *vm, const char *stage, int err, const char *fmt, ...) Q_PRINTF(4, 5);

/*
 * Assembles everything up to the point where vm_start_threads() is next. 0, or -errno with vm->fail
 * filled; configuration errors of vdevs are in @errs too. vm_fini() is due in any case.
 */
int vm_init(struct vm *vm, const struct vm_cfg *cfg, const char *run_dir, struct cf_errors *errs);
/* All threads, with their scheduling; no guest's instruction yet. 0 or -errno with vm->fail
 * filled. */
int vm_start_threads(struct vm *vm);
/* The guest runs. */
void vm_run(struct vm *vm);
/* Stops all threads, quiesces the vdevs. The guest will not run any more. Idempotent. */
void vm_stop(struct vm *vm);
void vm_fini(struct vm *vm);

/*
 * The VM has to end, with @code because of @why (a constant string). The first call counts. Any
 * thread; returns at once.
 */
void vm_end(struct vm *vm, enum vm_exit code, const char *why);
/* The same with VM_EXIT_OK, where the guest expects to be started again. */
void vm_end_reset(struct vm *vm, const char *why);
/* The power button: true when the guest can notice it. Main thread. */
bool vm_button(struct vm *vm);

/* Calls @fn for each counter that an operator may want: exits by reason, faults by vdev. */
void vm_counters(struct vm *vm, void (*fn)(void *arg, const char *name, uint64_t value), void *arg);
