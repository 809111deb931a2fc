/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection of a vhost-user client that outlives its back end: memory, rings and in-flight
 * region stay, and each back end is given the same, as qvm does. For the clients of these tests.
 * One thread.
 */
#pragma once

#include "lib/qdriver.h"
#include "lib/qvhu_fe.h"

#define VUCONN_QUEUES_MAX 4u

struct vuconn {
	/* The caller's, before vuconn_open(). */
	const char *path;
	uint64_t features;		/* wanted, of those that are offered */
	uint64_t protocol;		/* QVHU_PF_* */
	unsigned n_queues, ring;	/* entries of each */
	unsigned answer_ms;		/* how long a back end may take for an answer */
	uint64_t pause_ns, give_up_ns;	/* between two tries, and in all */
	/* Asked of each back end before it is told anything; may be NULL. QVHU_OK: go on. */
	int (*meet)(void *ctx, struct qvhu_fe *fe);
	void *ctx;

	struct qmem *mem;		/* a reference of ours */
	struct qvhu_fe *fe;		/* NULL: none */
	struct qdriver q[VUCONN_QUEUES_MAX];
	int kick_fd[VUCONN_QUEUES_MAX], call_fd[VUCONN_QUEUES_MAX];
	int inflight_fd;
	struct qvhu_inflight inflight;
	uint64_t reconnects;
};

/* @take_mem, and a ring of @c->ring entries at each multiple of @queue_bytes of it, from address 0;
 * nothing is connected. 0 or -errno; vuconn_close() after both. */
int vuconn_open(struct vuconn *c, struct qmem *take_mem, uint64_t queue_bytes);
void vuconn_close(struct vuconn *c);

/* Leaves the back end there is, and comes to the next one; all queues are kicked, for nobody may
 * have been for what was made available meanwhile. False: none came in time. */
bool vuconn_connect(struct vuconn *c);

enum vuconn_wait { VUCONN_USED, VUCONN_INTERRUPTED, VUCONN_GONE, VUCONN_SILENT };
/* Sleeps until something is used in queue @q, the back end hangs up, or @limit_ns is over. */
enum vuconn_wait vuconn_wait(struct vuconn *c, unsigned q, uint64_t limit_ns);
