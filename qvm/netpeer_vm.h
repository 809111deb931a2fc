/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer that is another VM's vdev, shared by its two files: how the two find each other
 * (netpeer_vm.c) and how frames flow (netpeer_link.c). All with the vdev's lock held; I/O thread,
 * but for opening and closing.
 *
 * Of two peers the one whose name sorts first calls, the other knocks: it says that it is there,
 * and is called. So there is one session at most, whoever starts first or comes back.
 *
 *   state     entered when                     leaves on                      deadline  held
 *   AWAY      start; the session or a call     caller: its timer: CALLING     caller:   endpoint
 *             ended                            the other: a call: UP          1 s
 *   CALLING   connected, CALL is sent          ACCEPT: UP; REFUSE, hang-up,   1 s       + socket,
 *                                              deadline: AWAY                           rings
 *   KNOCKING  connected, KNOCK is sent         any answer, hang-up,           1 s       + socket
 *                                              deadline: AWAY; a call: UP
 *   UP        ACCEPT came or went              hang-up, nonsense: AWAY;       none      + socket,
 *                                              a call: UP anew                          rings
 */
#pragma once

#include "qvm/loop.h"
#include "qvm/netpeer.h"
#include "qvm/netpeer_msg.h"
#include "qvm/netpeer_ring.h"

#define NP_PATH_BYTES 108u	/* of a UNIX socket */

enum np_state { NP_AWAY, NP_CALLING, NP_KNOCKING, NP_UP, NP_STATES };

/* A socket with somebody on the other side. */
struct np_conn {
	int fd;		/* -1 = none */
	struct loop_watch *watch;
};

/* The memory of a session: control lines of all rings, then the rings. */
struct np_shared {
	int fd;
	void *map;
	size_t bytes;
	unsigned pairs;
};
#define NP_SHARED_NULL ((struct np_shared){ .fd = -1 })

struct netpeer {
	struct vd_net n;	/* first */
	struct netpeer_host host;
	struct vd_net_cfg cfg;
	const char *dev;	/* the vdev's name, for the log */
	char me[NP_NAME_BYTES], other[NP_NAME_BYTES];
	char path[NP_PATH_BYTES], other_path[NP_PATH_BYTES];
	bool caller;
	enum np_state st;
	int listen_fd;
	struct loop_watch *listen_watch;
	struct np_conn in;	/* somebody who has not said yet what he wants */
	struct np_conn out;	/* our call or knock, then the session of either */
	struct loop_timer *timer;
	struct np_shared mem;
	struct np_ring rx[VD_NET_PAIRS_MAX], tx[VD_NET_PAIRS_MAX];
	unsigned pairs;		/* of the session */
	bool tx_waits;		/* somebody got -EAGAIN */
	bool listens[VD_NET_PAIRS_MAX]; /* the vdev waits for frames: also between sessions */
	uint32_t unsaid_bytes;	/* sent or taken since the other end was told */
	unsigned n_tries;	/* calls in vain since the last session */
	char told[320];		/* the last complaint, so that it is made once */
	uint64_t n_sessions, n_bells;
};

/* ---- netpeer_link.c ---- */

size_t np_shared_bytes(unsigned pairs);
/* Makes fresh memory for @pairs. 0 or -errno. */
int np_shared_make(struct np_shared *m, unsigned pairs);
/* Maps what a peer sent, if it is what it must be: @take_fd is consumed. 0 or -errno. */
int np_shared_take(struct np_shared *m, unsigned pairs, int take_fd);
void np_shared_drop(struct np_shared *m);
/* Lays the rings of both directions over p->mem. */
void np_link_begin(struct netpeer *p, unsigned pairs);
/* The vdev hears of what came to a pair that it waits for; else we listen on for it. */
void np_link_look(struct netpeer *p);
/* The session's socket is readable: bells. False: it is over. */
bool np_link_bells(struct netpeer *p);
extern const struct vd_net_ops np_link_ops;

/* ---- netpeer_vm.c ---- */

/* The session is over: @why for the log. The rings are gone when it returns. */
void np_session_end(struct netpeer *p, const char *why);
void np_close(struct netpeer *p);
