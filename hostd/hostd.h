/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostd as a whole: its parts, put together and taken apart in order. Main thread.
 */
#pragma once

#include "hostd/freeze.h"
#include "hostd/notify.h"
#include "hostd/oper.h"

struct hostd {
	struct hd_env env;
	struct hd_vms vms;
	struct hd_med *med;
	struct hd_plans *plans;
	struct hd_oper oper;
	struct hd_freeze freeze;
	struct event *ev_step;		/* something changed: kick VMs, go on ending */
	struct event *ev_term, *ev_int, *ev_leave;
	unsigned n_stops;		/* signals to end: the second forces */
	struct hd_notify notify;
};

/* @env has its folders and configuration, and a loop; it is the hostd's from now on. 0 or -errno;
 * after a failure hostd_fini() as well. */
int hostd_init(struct hostd *h, const struct hd_env *env);
/* What still runs lives on. */
void hostd_fini(struct hostd *h);
