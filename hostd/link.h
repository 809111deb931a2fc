/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A control channel on the event loop. Main thread.
 *
 * Sending never calls back and never frees: a channel that breaks ends from the loop, in a call of
 * its own (ops->end), and that is where its owner may free it and itself. hd_link_free() may be
 * called inside either callback.
 */
#pragma once

#include <event2/event.h>

#include "proto/qp_chan.h"

struct hd_link;

struct hd_link_ops {
	/* @e and the descriptors are the link's; a callee that keeps one sets it to -1. */
	void (*msg)(void *ctx, const Parley__Envelope *e, int *fds, unsigned n_fds);
	/* The last call. @why is a word: "hung_up", a fault of the peer, an error. */
	void (*end)(void *ctx, const char *why);
};

/* Takes @take_fd on success and failure. NULL when out of memory. */
struct hd_link *hd_link_new(struct event_base *base, int take_fd, const struct hd_link_ops *ops,
			    void *ctx);
struct hd_link *hd_link_free(struct hd_link *l);

/* 0, or -EPIPE when the link is ending (ops->end follows), or -ENOMEM. */
int hd_link_send(struct hd_link *l, const Parley__Envelope *e, const int *fds, unsigned n_fds);
int hd_link_send_error(struct hd_link *l, uint32_t id, Parley__Code code, const char *fmt, ...)
	Q_PRINTF(4, 5);
/* Ends the link from the loop; nothing more is received. */
void hd_link_break(struct hd_link *l, const char *why);
/* Ends it when what was sent has gone, or after a second. */
void hd_link_finish(struct hd_link *l, const char *why);
/* Takes what is there now, for a peer that is known to be dead: bounded by what a socket holds. */
void hd_link_drain(struct hd_link *l);
int hd_link_peer(const struct hd_link *l, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid);
int hd_link_fd(const struct hd_link *l);
