/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of the vhost-user back end, qvhu_be.c (life cycle, queues) and
 * qvhu_be_msg.c (what each message means, with qvhu_be_ring.c and qvhu_be_mem.c), and by nobody
 * else.
 */
#pragma once

#include "lib/qvhu_be.h"
#include "lib/qvhu_inflight.h"

/*
 * A queue's life. Its configuration (num, addresses, base, descriptors) is kept apart from its
 * state, and changes in STOPPED only; the call descriptor alone may change in RUNNING.
 *
 * state    | entered when         | leaves on                        | deadline    | held
 * STOPPED  | at first; the stop   | configuration complete: RUNNING  | none        | nothing
 *          | has ended            |                                  |             |
 * RUNNING  | queue_start said yes | a message that needs it stopped, | none        | the owner's
 *          |                      | or stop_all: STOPPING            |             | ring
 * STOPPING | queue_stop was       | it returned true, or             | the owner's | the ring, the
 *          | called               | queue_stopped: STOPPED           |             | message
 */
enum be_queue_state { BEQ_STOPPED, BEQ_RUNNING, BEQ_STOPPING, BEQ_STATES };

struct be_queue {
	enum be_queue_state state;
	uint32_t num;		/* 0 = not told */
	bool has_addr, has_kick, enabled;
	uint64_t desc, avail, used;	/* in the front end's address space */
	uint16_t base;
	int kick_fd, call_fd, err_fd;	/* owned */
};

struct qvhu_be {
	int sock_fd;
	const struct qvhu_be_ops *ops;
	void *ctx;
	uint64_t features, protocol;	/* acked */
	uint8_t status;
	struct qmem *mem;
	struct qvhu_inflight_region *inflight;
	struct qvhu_msg msg;	/* being received, handled, or held until queues have stopped */
	size_t got;		/* bytes of it that are here */
	uint64_t half_since_ns;	/* when its first byte came, while it is not whole */
	bool held;		/* msg waits for queues to stop */
	bool stopping;		/* inside the loop that asks queues to stop */
	bool ending;		/* stop_all was called: no queue starts any more */
	int broken;		/* what qvhu_be_serve() has to report before anything else */
	char fault[96];
	struct be_queue q[QVHU_QUEUES_MAX];
};

/* Notes what the peer did wrong in the message at hand, and returns QVHU_FAULT. The first fault
 * stays. */
int be_fault(struct qvhu_be *be, const char *why);

/*
 * Starts queue @i if it is stopped and all it needs is known. QVHU_OK also when it is not;
 * QVHU_FAULT when what is known is wrong; -errno. @strict: ring addresses that the memory table
 * does not hold are a fault, and not a reason to wait for a table that does.
 */
int be_queue_start(struct qvhu_be *be, unsigned i, bool strict);
/* The same for all queues, not strict. */
int be_queues_start(struct qvhu_be *be);

/* The queues that must stand still before @be->msg is applied, as a mask. Never fails: what makes
 * no sense stops nothing. */
uint64_t be_msg_stops(const struct qvhu_be *be);
/* Applies @be->msg, all checks included, and answers it. QVHU_OK, QVHU_FAULT, QVHU_CLOSED or
 * -errno. */
int be_msg_apply(struct qvhu_be *be);

/* ---- for and from the handlers ---- */

#define BE_VRING_INDEX_MASK 0xffull

/* Answers the message at hand with @len bytes and @fd (borrowed, -1 = none). QVHU_OK, QVHU_FAULT,
 * QVHU_CLOSED or -errno. */
int be_reply(struct qvhu_be *be, const void *payload, uint32_t len, int fd);
int be_reply_u64(struct qvhu_be *be, uint64_t value);
/* Takes descriptor @i out of the message: the caller's from now on. */
int be_take_fd(struct qvhu_msg *m, unsigned i);

int be_set_vring_num(struct qvhu_be *be);
int be_set_vring_base(struct qvhu_be *be);
int be_get_vring_base(struct qvhu_be *be);
int be_set_vring_addr(struct qvhu_be *be);
int be_set_vring_enable(struct qvhu_be *be);
int be_set_vring_kick(struct qvhu_be *be);
int be_set_vring_call(struct qvhu_be *be);
int be_set_vring_err(struct qvhu_be *be);
int be_set_mem_table(struct qvhu_be *be);
int be_get_max_mem_slots(struct qvhu_be *be);
int be_add_mem_reg(struct qvhu_be *be);
int be_rem_mem_reg(struct qvhu_be *be);
int be_get_inflight_fd(struct qvhu_be *be);
int be_set_inflight_fd(struct qvhu_be *be);
