/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the control plane have of each other: conversations and events (control.c), the
 * requests that are answered from the disks and the policy (requests.c), failures on purpose
 * (inject_ctl.c), sockets that hostd makes (listen_ctl.c). Main thread.
 */
#pragma once

#include "mediator/control.h"
#include "mediator/disks.h"

#define PEERS_MAX 16u

struct told;

struct peer {
	struct control *control;
	struct qp_chan *chan;
	struct event *ev_read, *ev_write;
	bool is_hostd;
};

struct control {
	struct event_base *base;
	struct med_disk *disks;
	struct live *live;
	struct med_audio *audio;	/* borrowed, or NULL */
	uint32_t n_injections;		/* since the start: the number of the last */
	const struct statpage *page;
	int listen_fd;
	uid_t owner;			/* of hostd, and of who may come after it */
	struct event *ev_listen, *ev_pipe;
	int pipe_fd[2];
	_Atomic uint64_t events_lost;
	struct told *told;		/* owned, n_told: kinds and shares are few */
	size_t n_told;
	struct peer peers[PEERS_MAX];
	struct listen_wait *wait;	/* for sockets of hostd's; or NULL */
	struct event *ev_freeze;	/* or NULL: it was not needed yet */
	size_t n_frozen;		/* VMs that hostd was last told to freeze */
};

/* ---- control.c: an answer, after which the peer may be gone ---- */

void control_send(struct peer *p, const Parley__Envelope *e);
void control_error(struct peer *p, uint32_t id, Parley__Code code, const char *text);
void control_done(struct peer *p, uint32_t id);

/* What hostd, if there is one, did not ask for. One that does not read loses it, not its
 * channel. */
void control_tell_hostd(struct control *c, const Parley__Envelope *e);

/* ---- listen_ctl.c: sockets for shares that come later ---- */

/* The request @req of @p is to be served again when they came. False: it cannot be kept. */
bool control_defer(struct peer *p, const Parley__Envelope *req);
/* hostd's answer: takes the descriptors that it needs, and leaves -1. False: @e is none. */
bool control_listen_reply(struct control *c, const Parley__Envelope *e, int *fds, unsigned n_fds);
/* hostd's channel is gone, or we end: what waits is forgotten. */
void control_listen_drop(struct control *c);

/* ---- freeze_ctl.c: a device has taken a step of its ladder ---- */

void control_freeze(struct control *c);

/* ---- requests.c ---- */

/* Any request of a peer; answers it. */
void control_handle(struct peer *p, const Parley__Envelope *e);
/* There is no device @name; with what may have been meant. */
void control_no_device(struct peer *p, uint32_t id, const char *name);

/* ---- inject_ctl.c ---- */

void control_inject(struct peer *p, const Parley__Envelope *req);
