/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hostd tells systemd: that it is ready, what goes on, that it lives, that it ends. Without
 * systemd nothing of this does anything. Main thread; sd_notify(3).
 */
#pragma once

#include <event2/event.h>

#include "lib/qdef.h"

struct hd_notify {
	struct event *ev_watchdog;	/* NULL: nobody watches */
	char status[128];		/* told last */
};

/* Feeds the watchdog from @base, twice in the time that it allows. 0 or -ENOMEM. */
int hd_notify_init(struct hd_notify *n, struct event_base *base);
void hd_notify_fini(struct hd_notify *n);
void hd_notify_ready(struct hd_notify *n);
void hd_notify_stopping(struct hd_notify *n);
/* One line for `systemctl status`; told when it has changed. */
void hd_notify_status(struct hd_notify *n, const char *fmt, ...) Q_PRINTF(2, 3);
/* In a child, before it executes: what is ours to say is not its. */
void hd_notify_forget(void);
