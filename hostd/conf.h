/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator wrote for hostd: CONFIG/hostd.conf, and CONFIG/vms/NAME.vm beside each
 * NAME.qvmconf. INI files; every key is a row of a table. Main thread.
 */
#pragma once

#include "hostd/restart.h"
#include "lib/cferr.h"
#include "lib/qdef.h"
#include "proto/parley.pb-c.h"

#define HD_NAME_MAX 63u	/* letters of a VM's name */
#define HD_AFTER_MAX 8u
#define HD_ENVIRONMENT_MAX 16u
#define HD_VARIABLE_MAX 159u	/* letters of NAME=value */

struct hd_conf {
	uint64_t start_timeout_ns;	/* from start to Ready */
	uint64_t stop_timeout_ns;	/* from the power button to the power cut */
	uint64_t cut_timeout_ns;	/* from the power cut to SIGKILL */
	bool inject;			/* failures may be made on purpose */
	/* Within which a child has to say that it lives; 0: nobody asks it. */
	uint64_t qvm_hang_ns, mediator_hang_ns;
	uint32_t events_kept;		/* on disk; 0: none */
	char group[64];			/* whose members may control; "" = none */
};

struct hd_after {
	char name[HD_NAME_MAX + 1];
};

struct hd_variable {
	char text[HD_VARIABLE_MAX + 1];	/* NAME=value */
};

struct hd_vm_conf {
	Parley__Class class;
	uint64_t stop_timeout_ns;
	bool autostart;
	struct hd_restart_conf restart;
	enum hd_watchdog watchdog;
	/* Does not start while one of these is starting. */
	struct hd_after after[HD_AFTER_MAX];
	unsigned n_after, after_line;
	struct hd_variable environment[HD_ENVIRONMENT_MAX];
	unsigned n_environment;
};

/* Defaults, then @path over them; a file that is not there is as an empty one. Errors go to
 * @errs. 0, -EINVAL (see errs), -ENOMEM. */
int hd_conf_load(const char *path, struct cf_errors *errs, struct hd_conf *ret);
/* The same for a NAME.vm; what it does not say is taken from @host. */
int hd_vm_conf_load(const char *path, const struct hd_conf *host, struct cf_errors *errs,
		    struct hd_vm_conf *ret);

/* Letters, digits, '.', '_' and '-', not first '.' or '-', at most HD_NAME_MAX. */
bool hd_name_ok(const char *name);
