/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest asks for and nobody serves: addresses and ports without an owner, registers that
 * KVM does not know, instructions that it cannot carry out. Each is counted, explained once a
 * place, and then treated as `unsupported` says.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "lib/qlog.h"
#include "qvm/cfg.h"
#include "qvm/vcpu.h"

/* Places that are told apart; what comes after is one more. */
#define UNSUP_PLACES_MAX 32u
enum unsup_list { UNSUP_MEM, UNSUP_IO, UNSUP_REGISTER, UNSUP_INSTRUCTION, UNSUP_LISTS };

struct unsup_place {
	uint64_t addr;
	unsigned size;
	bool is_write;
	struct qlog_limit limit;
};

struct unsup {
	pthread_mutex_t lock;	/* of places and n_places */
	struct unsup_place places[UNSUP_LISTS][UNSUP_PLACES_MAX + 1];
	unsigned n_places[UNSUP_LISTS];
	_Atomic uint64_t n[CFG_UNSUP_KINDS];
};

void unsup_init(struct unsup *u);
void unsup_fini(struct unsup *u);

/*
 * All: on the thread of @v, which has just left the guest for this. VCPU_EXIT_FAULT when the VM is
 * to end, and was told to; else something to count, and the guest goes on.
 */

/* An access that nobody answered; what it reads is all ones already. @val was written. */
enum vcpu_exit unsup_reference(struct vcpu *v, enum vd_space space, uint64_t addr, unsigned size,
			       bool is_write, uint64_t val);
/* @ret_fault: the guest is to see an exception; else a read gives all ones. */
enum vcpu_exit unsup_register(struct vcpu *v, uint64_t reg, bool is_write, uint64_t val,
			      bool *ret_fault);
enum vcpu_exit unsup_instruction(struct vcpu *v);

/* Calls @fn for each counter. Any thread. */
void unsup_counters(struct unsup *u, void (*fn)(void *arg, const char *name, uint64_t value),
		    void *arg);
