/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy for what nobody serves. A place is an address (a register, an instruction's address)
 * with a width and a direction: the first time it is told with all that helps to find the driver
 * that is wrong, then at most once a minute as a number. The table of places is small and never
 * grows, so a guest that roams over its address space fills neither the log nor our memory: what
 * does not fit is one place more, "others".
 *
 * vCPU threads; the lock is held for the table only, never while something is written.
 */
#include "qvm/unsup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "qvm/arch.h"
#include "qvm/cfg_arch.h"

void unsup_init(struct unsup *u)
{
	memset(u, 0, sizeof(*u));
	pthread_mutex_init(&u->lock, NULL);
}

void unsup_fini(struct unsup *u)
{
	pthread_mutex_destroy(&u->lock);
}

/* ---- places ---- */

/* Under the lock. *ret_other: it stands for all that do not fit. */
static struct unsup_place *place_of(struct unsup *u, enum unsup_list list,
				    const struct unsup_place *like, bool *ret_other)
{
	struct unsup_place *p = u->places[list];
	unsigned *n = &u->n_places[list];

	*ret_other = false;
	for (unsigned i = 0; i < *n; i++)
		if (p[i].addr == like->addr && p[i].size == like->size &&
		    p[i].is_write == like->is_write)
			return &p[i];
	*ret_other = *n == UNSUP_PLACES_MAX;
	if (*ret_other)
		return &p[UNSUP_PLACES_MAX];
	p[*n] = *like;
	return &p[(*n)++];
}

/* Counts; true when a line is due, for @ret_n events. */
static bool hit(struct unsup *u, enum unsup_list list, enum cfg_unsup_kind kind,
		const struct unsup_place *like, uint64_t *ret_n, bool *ret_other)
{
	/* Relaxed: a counter for show. */
	atomic_fetch_add_explicit(&u->n[kind], 1, memory_order_relaxed);
	pthread_mutex_lock(&u->lock);
	bool due = qlog_limit_hit(&place_of(u, list, like, ret_other)->limit, qnow_ns(), ret_n);
	pthread_mutex_unlock(&u->lock);
	return due;
}

void unsup_counters(struct unsup *u, void (*fn)(void *arg, const char *name, uint64_t value),
		    void *arg)
{
	static const char *const names[] = {
		[CFG_UNSUP_INSTRUCTION] = "unsupported.instruction",
		[CFG_UNSUP_REFERENCE] = "access.unowned",
		[CFG_UNSUP_REGISTER] = "unsupported.register",
	};
	static_assert(Q_ARRAY_LEN(names) == CFG_UNSUP_KINDS, "every kind has a name");

	for (unsigned k = 0; k < CFG_UNSUP_KINDS; k++)
		fn(arg, names[k], atomic_load_explicit(&u->n[k], memory_order_relaxed));
}

/* ---- the nearest thing that is there ---- */

struct near {
	const char *name;	/* NULL: nothing yet */
	uint64_t base, len_bytes;
	uint64_t distance;	/* 0: inside */
	bool is_above;		/* @addr is */
};

static void near_try(struct near *n, uint64_t addr, const char *name, uint64_t base,
		     uint64_t len_bytes)
{
	uint64_t distance = 0;

	if (addr < base)
		distance = base - addr;
	else if (addr - base >= len_bytes)
		distance = addr - base - len_bytes + 1;
	if (n->name && n->distance <= distance)
		return;
	*n = (struct near){ .name = name, .base = base, .len_bytes = len_bytes,
			    .distance = distance, .is_above = addr >= base };
}

static void near_find(struct vm *vm, enum vd_space space, uint64_t addr, char *buf,
		      size_t buf_bytes)
{
	const struct vm_cfg *cfg = vm->cfg;
	struct near n = { 0 };
	struct bus_window around[2];
	unsigned n_around = bus_around(&vm->bus[space], addr, around);

	for (unsigned i = 0; i < n_around; i++)
		near_try(&n, addr, around[i].name, around[i].base, around[i].len_bytes);
	for (size_t i = 0; space == VD_MEM && i < cfg->n_ram; i++)
		near_try(&n, addr, cfg->ram[i].rom ? "rom" : "ram", cfg->ram[i].gpa,
			 cfg->ram[i].len_bytes);
	for (size_t i = 0; i < cfg->arch->n_windows; i++) {
		const struct cfg_window *w = &cfg->arch->windows[i];
		if (w->space == space && !w->vdevs_may)
			near_try(&n, addr, w->what, w->base, w->len_bytes);
	}
	if (!n.name)
		snprintf(buf, buf_bytes, "nothing");
	else if (!n.distance)
		snprintf(buf, buf_bytes, "in %s 0x%" PRIx64 "-0x%" PRIx64, n.name, n.base,
			 n.base + n.len_bytes - 1);
	else
		snprintf(buf, buf_bytes, "0x%" PRIx64 " %s %s 0x%" PRIx64 "-0x%" PRIx64, n.distance,
			 n.is_above ? "above" : "below", n.name, n.base, n.base + n.len_bytes - 1);
}

/* ---- what becomes of it ---- */

static const char *policy_word(enum cfg_unsup policy)
{
	static const char *const words[] = { "abort", "fail", "ignore" };

	return words[policy];
}

/* The guest is over: its state is told, whatever the limiter said. */
static enum vcpu_exit give_up(struct vcpu *v, const char *why)
{
	arch_vcpu_state(v);
	qlog(QLOG_FATAL, "ev=vcpu_stopped cpu=%u why=\"%s\"", v->idx, why);
	vm_end(v->vm, VM_EXIT_UNSUPPORTED, why);
	return VCPU_EXIT_FAULT;
}

/* Every PC kernel probes ports and registers: that alone is not worth a line by default. */
static enum qlog_sev severity(enum unsup_list list, enum cfg_unsup policy)
{
	if (policy == CFG_UNSUP_ABORT)
		return QLOG_FATAL;
	if (list == UNSUP_IO && policy == CFG_UNSUP_IGNORE)
		return QLOG_DEBUG;
	if (list == UNSUP_REGISTER && policy == CFG_UNSUP_FAIL)
		return QLOG_DEBUG;
	return QLOG_WARN;
}

static void tell_others(struct vcpu *v, const char *ev, enum qlog_sev sev, uint64_t n)
{
	qlog(sev, "ev=%s place=others cpu=%u n=%" PRIu64 " why=\"more than %u places\"", ev, v->idx,
	     n, UNSUP_PLACES_MAX);
}

static void tell_reference(struct vcpu *v, enum vd_space space, const struct unsup_place *p,
			   uint64_t val, uint64_t n)
{
	const enum cfg_unsup policy = v->vm->cfg->unsupported[CFG_UNSUP_REFERENCE];
	char where[256], near[192], value[40] = "";

	arch_vcpu_where(v, where, sizeof(where));
	near_find(v->vm, space, p->addr, near, sizeof(near));
	if (p->is_write)
		snprintf(value, sizeof(value), " value=0x%" PRIx64, val);
	qlog(severity(space == VD_IO ? UNSUP_IO : UNSUP_MEM, policy),
	     "ev=unowned_access space=%s op=%s addr=0x%" PRIx64 " size=%u%s cpu=%u n=%" PRIu64
	     " policy=%s near=\"%s\" %s",
	     space == VD_IO ? "io" : "mem", p->is_write ? "write" : "read", p->addr, p->size, value,
	     v->idx, n, policy_word(policy), near, where);
}

enum vcpu_exit unsup_reference(struct vcpu *v, enum vd_space space, uint64_t addr, unsigned size,
			       bool is_write, uint64_t val)
{
	const struct unsup_place p = { .addr = addr, .size = size, .is_write = is_write };
	const enum unsup_list list = space == VD_IO ? UNSUP_IO : UNSUP_MEM;
	const enum cfg_unsup policy = v->vm->cfg->unsupported[CFG_UNSUP_REFERENCE];
	bool other;
	uint64_t n;

	if (hit(&v->vm->unsup, list, CFG_UNSUP_REFERENCE, &p, &n, &other)) {
		if (other)
			tell_others(v, "unowned_access", severity(list, policy), n);
		else
			tell_reference(v, space, &p, val, n);
	}
	if (policy == CFG_UNSUP_ABORT)
		return give_up(v, "access to an address that nobody owns");
	if (policy == CFG_UNSUP_FAIL && !arch_fail_access(v, is_write))
		return give_up(v, "access to an address that nobody owns, and KVM takes no "
			       "exception");
	return space == VD_IO ? VCPU_EXIT_IO : VCPU_EXIT_MMIO;
}

enum vcpu_exit unsup_register(struct vcpu *v, uint64_t reg, bool is_write, uint64_t val,
			      bool *ret_fault)
{
	const struct unsup_place p = { .addr = reg, .is_write = is_write };
	const enum cfg_unsup policy = v->vm->cfg->unsupported[CFG_UNSUP_REGISTER];
	const enum qlog_sev sev = severity(UNSUP_REGISTER, policy);
	char where[256], value[40] = "";
	bool other;
	uint64_t n;

	*ret_fault = policy == CFG_UNSUP_FAIL;
	if (hit(&v->vm->unsup, UNSUP_REGISTER, CFG_UNSUP_REGISTER, &p, &n, &other)) {
		arch_vcpu_where(v, where, sizeof(where));
		if (is_write)
			snprintf(value, sizeof(value), " value=0x%" PRIx64, val);
		if (other)
			tell_others(v, "unsupported_register", sev, n);
		else
			qlog(sev, "ev=unsupported_register op=%s reg=0x%" PRIx64 "%s cpu=%u n=%"
			     PRIu64 " policy=%s %s", is_write ? "write" : "read", reg, value,
			     v->idx, n, policy_word(policy), where);
	}
	if (policy == CFG_UNSUP_ABORT)
		return give_up(v, "access to a register that KVM does not know");
	return VCPU_EXIT_OTHER;
}

enum vcpu_exit unsup_instruction(struct vcpu *v)
{
	const enum cfg_unsup policy = v->vm->cfg->unsupported[CFG_UNSUP_INSTRUCTION];
	struct unsup_place p = { 0 };
	char where[256], what[64];
	bool other;
	uint64_t n;

	/* An address that cannot be had is a place, too. */
	(void)arch_vcpu_insn(v, &p.addr, what, sizeof(what));
	if (hit(&v->vm->unsup, UNSUP_INSTRUCTION, CFG_UNSUP_INSTRUCTION, &p, &n, &other)) {
		arch_vcpu_where(v, where, sizeof(where));
		if (other)
			tell_others(v, "unsupported_instruction", QLOG_WARN, n);
		else
			qlog(severity(UNSUP_INSTRUCTION, policy),
			     "ev=unsupported_instruction addr=0x%" PRIx64 " bytes=\"%s\" cpu=%u n=%"
			     PRIu64 " policy=%s %s", p.addr, what, v->idx, n, policy_word(policy),
			     where);
	}
	if (policy == CFG_UNSUP_ABORT)
		return give_up(v, "guest instruction not supported by KVM");
	if (policy == CFG_UNSUP_FAIL && !arch_fail_insn(v))
		return give_up(v, "guest instruction not supported by KVM, which takes no "
			       "exception");
	if (policy == CFG_UNSUP_IGNORE && !arch_skip_insn(v))
		return give_up(v, "guest instruction not supported by KVM, and its length is not "
			       "known: it cannot be ignored");
	return VCPU_EXIT_OTHER;
}
