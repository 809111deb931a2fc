/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM as hostd sees it: what is wanted, what is, its process, its console, why it ended. The
 * states stand in hostd/vmstate.h. Main thread.
 */
#pragma once

#include <event2/event.h>
#include <sys/queue.h>

#include "hostd/alive.h"
#include "hostd/child.h"
#include "hostd/console.h"
#include "hostd/env.h"
#include "hostd/lines.h"
#include "hostd/reason.h"
#include "hostd/vmstate.h"

struct hd_vm;

struct hd_vm_ops {
	/* Who must come up before it, NULL when nobody; hd_vm_kick() when that has changed.
	 * *ret_comes: whether that one is on its way itself. */
	const char *(*waits_for)(void *ctx, const struct hd_vm *vm, bool *ret_comes);
	/* Is about to start: hd_vm_checked() follows, from the loop. */
	void (*check)(void *ctx, struct hd_vm *vm);
	/* The state has changed. The VM is not freed by the callee. */
	void (*changed)(void *ctx, struct hd_vm *vm);
};

struct hd_vm {
	LIST_ENTRY(hd_vm) entry;
	struct hd_env *env;
	const struct hd_vm_ops *ops;
	void *ctx;

	char name[HD_NAME_MAX + 1];
	char *config;			/* path of the qvmconf; owned */
	struct hd_vm_conf conf;
	char *conf_errors;		/* lines of a NAME.vm that was refused, else NULL; owned */
	char *conf_warnings;		/* lines about one that was not, or NULL; owned */

	enum hd_vm_state state;		/* written by set_state() only */
	bool want_up;			/* written by set_want() only */
	struct hd_restarts restarts;
	enum hd_stop_stage stop;
	uint64_t stop_timeout_ns;	/* of the stop under way */
	bool late;			/* killed because Ready did not come */
	bool reset;			/* the guest has reset its machine */
	bool paused;			/* running, and held by an operator */
	bool again;			/* written by set_again(): it is started when it is off */
	bool held;			/* stopped, though wanted: see hd_vm_hold() */
	bool checking, checked;		/* this start, by the whole-system check */
	unsigned n_late;		/* start timeouts spent waiting for others */
	struct hd_child *child;		/* NULL when off, and while it waits for the mediator */
	struct hd_alive alive;		/* is watched while it runs */
	char hung[HD_HUNG_BYTES];	/* it was killed because of this; "": it was not */
	struct hd_console console;
	struct hd_lines lines;		/* of the last run */
	struct hd_lines printed;	/* on its console */
	struct event *ev_deadline;

	uint64_t ready_ns;		/* when Ready came, 0 = not in this run */
	uint32_t starts;
	uint32_t run_log_lines;		/* lines that went to hostd's log in this second */
	uint64_t run_log_sec, run_log_dropped;

	/* Of this run, or the last. */
	char reason[HD_REASON_BYTES];	/* a sentence, "" when there is nothing to say */
	Parley__Code fail_code;		/* why a start failed, for the one who asked */
	int exit_code;			/* -1: there was no run yet, or nobody knows */
	char *failed_stage, *failed_text, *ended_reason; /* what qvm said; owned or NULL */
	int ended_code;			/* what qvm said with it; -1: nothing */
};

struct hd_vm *hd_vm_new(struct hd_env *env, const char *name, const struct hd_vm_ops *ops,
			void *ctx);
/* Its process, if there is one, lives on. */
struct hd_vm *hd_vm_free(struct hd_vm *vm);
/* Reads NAME.vm again. Errors are kept in conf_errors: such a VM does not start. */
void hd_vm_reload(struct hd_vm *vm);
/* A line about NAME.vm, at its "after", into conf_errors or conf_warnings. */
void hd_vm_complain(struct hd_vm *vm, enum cf_level level, const char *fmt, ...) Q_PRINTF(3, 4);
/* Takes over a process that an earlier hostd has started, if one runs; one that has ended since is
 * restarted as its policy says, and one that was wanted but had no process yet is started. */
void hd_vm_adopt(struct hd_vm *vm);

/* OFF, FAILED or WAITING → STARTING (or FAILED at once). */
void hd_vm_start(struct hd_vm *vm);
/* The same, without a process before hd_vm_kick(): of several, the order is seen. */
void hd_vm_queue(struct hd_vm *vm, const char *why);
/* The mediator has come up, or will not: a VM that waited for it goes on. */
void hd_vm_kick(struct hd_vm *vm);
/* The answer to ops->check: nothing stands against its start, or @errors do (borrowed). */
void hd_vm_checked(struct hd_vm *vm, const char *errors);
/* Alive: the power button, force after @timeout_ns (0 = as configured). FAILED, WAITING: OFF. */
void hd_vm_stop(struct hd_vm *vm, uint64_t timeout_ns);
/* Stopped as by hd_vm_stop() if it is alive or waits, and not started by itself; but still wanted,
 * so that hd_vm_let_go(), or a later hostd, starts it again. An operator's stop ends that. */
void hd_vm_hold(struct hd_vm *vm);
void hd_vm_let_go(struct hd_vm *vm);
/* RUNNING: stopped as by hd_vm_stop(), and started again when it is off. */
void hd_vm_reboot(struct hd_vm *vm, uint64_t timeout_ns);
/* Alive: power cut, SIGKILL when that does not help. */
void hd_vm_cut(struct hd_vm *vm);
