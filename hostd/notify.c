/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speaks to systemd by libsystemd. Main thread. The watchdog is fed by a timer of the one loop that
 * does all of hostd's work: a loop that hangs feeds nobody.
 */
#include "hostd/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	sd_notify(0, "WATCHDOG=1");
}

int hd_notify_init(struct hd_notify *n, struct event_base *base)
{
	uint64_t usec = 0;

	*n = (struct hd_notify){ .ev_watchdog = NULL };
	if (sd_watchdog_enabled(0, &usec) <= 0)
		return 0;
	const struct timeval half = { .tv_sec = (time_t)(usec / 2 / 1000000),
				      .tv_usec = (suseconds_t)(usec / 2 % 1000000) };
	n->ev_watchdog = event_new(base, -1, EV_PERSIST, on_watchdog, n);
	return n->ev_watchdog && event_add(n->ev_watchdog, &half) == 0 ? 0 : -ENOMEM;
}

void hd_notify_fini(struct hd_notify *n)
{
	if (n->ev_watchdog)
		event_free(n->ev_watchdog);
	n->ev_watchdog = NULL;
}

void hd_notify_ready(struct hd_notify *n)
{
	sd_notify(0, "READY=1");
}

void hd_notify_stopping(struct hd_notify *n)
{
	sd_notify(0, "STOPPING=1");
}

void hd_notify_status(struct hd_notify *n, const char *fmt, ...)
{
	char text[sizeof(n->status)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (strcmp(text, n->status) == 0)
		return;
	snprintf(n->status, sizeof(n->status), "%s", text);
	sd_notifyf(0, "STATUS=%s", n->status);
}

void hd_notify_forget(void)
{
	static const char *const names[] = { "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID" };

	for (size_t i = 0; i < Q_ARRAY_LEN(names); i++)
		unsetenv(names[i]);
}
