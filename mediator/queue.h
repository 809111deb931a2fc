/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues of a client: rings, the requests taken from them, and their answers. What a client is
 * as a connection is in client.c; both see the same struct. Device's thread only.
 */
#pragma once

#include "lib/qvhu_be.h"
#include "mediator/client.h"

#define QUEUES_MAX 16u
#define QUEUE_SIZE_MAX 1024u

struct client_req;

struct med_queue {
	struct med_client *client;
	unsigned index;
	struct qring ring;
	struct qmem *mem;		/* our reference while it runs */
	struct pins_mem *pins;		/* the back end's of it, or NULL */
	struct qvhu_inflight_queue *inflight;
	struct loop_watch *kick;
	int call_fd, err_fd;		/* borrowed */
	bool running, stopping, broken;
	uint32_t outstanding;
	uint64_t looked_ns;		/* at the ring, or before: what was found has arrived */
	struct client_req *done, **done_tail;
	/* In the disk's list: something is done, or its driver is to be signalled. */
	bool answered, signal;
	struct med_queue *next_answered;
	uint64_t *out_heads;		/* bitmap: heads that are out */
};

static_assert(QUEUES_MAX <= 32, "a bit of a word for each");

struct med_client {
	struct med_share *share;
	struct qvhu_be *be;
	struct qvhu_be_ops ops;
	struct qblk_dev dev;
	struct socket_watch *sock;
	bool sock_ready;
	bool dying;
	bool write_through;	/* the driver cannot flush: what it wrote must stay (5.2.6.2) */
	uint32_t running;	/* queues that run, a bit each */
	unsigned first_queue;	/* to be served */
	struct client_req *free_reqs;
	struct med_queue q[QUEUES_MAX];
};

/* Told to the operator. */
void med_client_tell(const struct med_client *c, const char *kind, const char *text);
/* The connection is over, for this reason. */
void med_client_gone(struct med_client *c, const char *kind, const char *why);
/* Counts a breach of the protocol. False when it was one too many: the share is closed then, for as
 * long as breaches are remembered. */
bool med_client_may_err(struct med_client *c, const char *text);
/* A breach that ends the connection. */
void med_client_fault(struct med_client *c, const char *why);

/* The queue_* members of struct qvhu_be_ops; @ctx is the client. */
int med_queue_start(void *ctx, unsigned i, const struct qvhu_be_queue *bq, struct qmem *mem);
void med_queue_call(void *ctx, unsigned i, int call_fd);
bool med_queue_stop(void *ctx, unsigned i, uint16_t *ret_base);

/* Requests may be taken from it. */
bool med_queue_serves(const struct med_queue *q);
/*
 * Takes a budget of requests, by the disk's clock as last looked at. True when more may be there.
 */
bool med_queue_serve(struct med_queue *q);
/* Publishes the answers of all queues that have some: a driver that polls finds them. */
void med_queues_show(struct med_disk *d);
/* The same, and signals the drivers that wait for these, or for what was shown before. */
void med_queues_publish(struct med_disk *d);
/* Ends a stop that waited for answers, which are published. True when one did. */
bool med_queue_settle(struct med_queue *q);
/* The client's end: what it kept for requests to come. */
void med_queue_free_requests(struct med_client *c);
