/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running child of hostd (a qvm, the mediator, a check): its process, its control channel, its
 * stderr. Main thread.
 *
 * All callbacks come from the loop, never from a call into this module, except the answers of
 * hd_child_ask() when the child is freed. ops->exited is the last one; there, and nowhere else, the
 * owner frees the child.
 */
#pragma once

#include <event2/event.h>
#include <sys/types.h>

#include "hostd/lines.h"
#include "hostd/link.h"
#include "hostd/reason.h"

struct hd_child;

struct hd_child_ops {
	/* What is not an answer to hd_child_ask(). Descriptors as in hd_link_ops. */
	void (*msg)(void *ctx, const Parley__Envelope *e, int *fds, unsigned n_fds);
	void (*line)(void *ctx, const struct hd_line *line);	/* of stderr */
	/* Its channel ended though the process lives. May be NULL. */
	void (*chan_lost)(void *ctx, const char *why);
	/* It is gone, and all that it said was delivered. */
	void (*exited)(void *ctx, const struct hd_exit *ex);
};

struct hd_child_spec {
	const char *path, *cwd;		/* as in hd_spawn */
	char *const *argv;
	char *const *environment;	/* as in hd_spawn */
	int stdin_fd, stdout_fd;	/* borrowed; -1: /dev/null */
	bool control;			/* gets a channel on HD_CONTROL_FD */
	/* Where a later hostd finds it: a socket is made there, and it keeps that and our ends of
	 * console and stderr open. NULL: it is not to be found. */
	const char *takeover_path;
	int console_fd;			/* our end of its console, borrowed; -1: none */
};

/* @lines is the owner's, and outlives the child. 0 or -errno. */
int hd_child_start(struct event_base *base, const struct hd_child_spec *spec,
		   struct hd_lines *lines, const struct hd_child_ops *ops, void *ctx,
		   struct hd_child **ret);
/*
 * A process of an earlier hostd, that is not our child: its exit is unknown. With @takeover_path
 * (as it was started; or NULL) its channel, its stderr and, in *ret_console_fd (the caller's), its
 * console are taken over; NULL for that where it has none. What cannot be had (another user's
 * process, one that was not started so) it does without: see hd_child_has_chan(), and
 * *ret_console_fd is -1. 0 or -errno.
 */
int hd_child_adopt(struct event_base *base, pid_t pid, const char *takeover_path,
		   struct hd_lines *lines, const struct hd_child_ops *ops, void *ctx,
		   int *ret_console_fd, struct hd_child **ret);
struct hd_child *hd_child_free(struct hd_child *c);

pid_t hd_child_pid(const struct hd_child *c);
bool hd_child_has_chan(const struct hd_child *c);
void hd_child_signal(struct hd_child *c, int sig);
/* 0, -EPIPE without a channel, -ENOMEM. */
int hd_child_send(struct hd_child *c, const Parley__Envelope *e, const int *fds, unsigned n_fds);

/* @e is the answer, NULL when there will be none. */
typedef void (*hd_answer_fn)(void *ctx, const Parley__Envelope *e);
/* Sends @e with an id of its own. 0: @fn will be called once, unless hd_child_forget(). Else
 * -errno. */
int hd_child_ask(struct hd_child *c, Parley__Envelope *e, hd_answer_fn fn, void *ctx);
/* The answers for @ctx are not wanted any more. */
void hd_child_forget(struct hd_child *c, void *ctx);
