/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A control channel: Envelopes behind a length, on a UNIX stream socket, with descriptors.
 * Nonblocking, for one thread and its loop; qp_chan_wait() serves those that have no loop. The
 * peer is hostile: sizes, counts, strings and descriptors are limited, the first message must be
 * Hello of our major version, and whatever breaks a rule gives QP_FAULT: end the channel.
 *
 * Frame: u32 little-endian length of the Envelope, then its bytes. Descriptors travel with the
 * first byte of their frame.
 */
#pragma once

#include <sys/types.h>

#include "lib/qdef.h"
#include "proto/parley.pb-c.h"

#define QP_VERSION_MAJOR 1u
#define QP_VERSION_MINOR 0u
#define QP_FRAME_MAX (1u << 20)
#define QP_FDS_MAX 16u
#define QP_REPEAT_MAX 4096u
#define QP_STRING_MAX 4096u
#define QP_OUT_MAX (4u << 20)	/* unsent bytes that we hold for a peer that does not read */

enum qp_verdict {
	QP_OK = 0,
	QP_AGAIN,	/* nothing whole to read now */
	QP_CLOSED,	/* the peer hung up */
	QP_FAULT,	/* the peer broke a rule: qp_chan_fault() says which */
	QP_FULL,	/* the peer does not read: QP_OUT_MAX is held already */
	QP_TIMEOUT,
};

struct qp_chan;

/* Takes @take_fd on success and failure. Queues our Hello. @program is borrowed. NULL when out of
 * memory. */
struct qp_chan *qp_chan_new(int take_fd, const char *program);
struct qp_chan *qp_chan_free(struct qp_chan *c);
/*
 * A supervisor that comes after an earlier one: accepts who waits at @listen_fd, if he is of the
 * user @owner or root, whom ret_* name in any case but -EAGAIN. 0; -EACCES, and he is hung up on;
 * -EAGAIN when he went again, or nothing is left to have him: the next one may do.
 */
int qp_chan_succeed(int listen_fd, const char *program, uid_t owner, struct qp_chan **ret,
		    pid_t *ret_pid, uid_t *ret_uid);

int qp_chan_fd(const struct qp_chan *c);
/* True when there are bytes to be sent: wait for writable, then qp_chan_flush(). */
bool qp_chan_wants_write(const struct qp_chan *c);

/* One whole message that is not Hello (that one is handled inside). *ret is freed with
 * qp_msg_free(). Descriptors: up to QP_FDS_MAX into @fds, the caller's from then on; *ret_n_fds
 * of them. QP_OK, QP_AGAIN, QP_CLOSED, QP_FAULT or -errno. */
int qp_chan_recv(struct qp_chan *c, Parley__Envelope **ret, int *fds, unsigned *ret_n_fds);
/* A body of a later version, unknown here, arrives as ..._BODY__NOT_SET: answered with E_USAGE. */
void qp_msg_free(Parley__Envelope *e);

/* Queues @e (descriptors borrowed: duplicated while queued) and sends what goes. QP_OK, QP_FULL,
 * QP_CLOSED or -errno. */
int qp_chan_send(struct qp_chan *c, const Parley__Envelope *e, const int *fds, unsigned n_fds);
int qp_chan_flush(struct qp_chan *c);
/* Shorthand: an Error in answer to @id. */
int qp_chan_send_error(struct qp_chan *c, uint32_t id, Parley__Code code, int sys_errno,
		       const char *fmt, ...) Q_PRINTF(5, 6);

/* For those without a loop: flushes and waits until a message is there or @deadline_ns
 * (qnow_ns()) has passed. As qp_chan_recv(), or QP_TIMEOUT. */
int qp_chan_wait(struct qp_chan *c, uint64_t deadline_ns, Parley__Envelope **ret, int *fds,
		 unsigned *ret_n_fds);

const char *qp_chan_fault(const struct qp_chan *c);	/* a word */
/* Credentials of the peer, from the kernel. 0 or -errno. */
int qp_chan_peer(const struct qp_chan *c, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid);

const char *qp_class_str(Parley__Class c);		/* "safety", "normal", "best-effort" */
int qp_class_parse(const char *word, Parley__Class *ret);/* 0 or -EINVAL */
