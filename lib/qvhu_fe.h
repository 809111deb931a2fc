/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front end of a vhost-user connection: blocking calls, each bounded by the timeout given at
 * connect, so that it is used from a thread that may wait that long. One thread at a time. The
 * back end's answers are checked; a back end that breaks the protocol gives QVHU_FAULT, one that
 * hangs up QVHU_CLOSED, one that is late QVHU_TIMEOUT: end the connection then. Every function
 * returns QVHU_OK, one of these, QVHU_REFUSED where a reply can say so, or -errno.
 */
#pragma once

#include "lib/qring.h"
#include "lib/qvhu.h"

struct qvhu_fe;

/* Takes @take_sock_fd on success and failure. Negotiates protocol features (those of @want the
 * peer has), takes ownership, reads device features. *ret is owned. */
int qvhu_fe_new(int take_sock_fd, uint64_t want_protocol_features, unsigned timeout_ms,
		struct qvhu_fe **ret);
struct qvhu_fe *qvhu_fe_free(struct qvhu_fe *fe);
/* Readable or hung up: the back end is gone (or sends rubbish). */
int qvhu_fe_fd(const struct qvhu_fe *fe);

uint64_t qvhu_fe_features(const struct qvhu_fe *fe);	/* offered by the device, without bit 30 */
uint64_t qvhu_fe_protocol_features(const struct qvhu_fe *fe);	/* negotiated */
int qvhu_fe_queue_num(struct qvhu_fe *fe, unsigned *ret_n);	/* 1 without MQ */

int qvhu_fe_config_get(struct qvhu_fe *fe, uint32_t off, void *buf, uint32_t len);
int qvhu_fe_config_set(struct qvhu_fe *fe, uint32_t off, const void *buf, uint32_t len);

int qvhu_fe_set_features(struct qvhu_fe *fe, uint64_t features);
/* Sends the whole table (at most QVHU_MEM_REGIONS_MAX regions; -ENOSPC beyond). user_addr sent is
 * the host mapping. Read-only regions are sent too. */
int qvhu_fe_set_mem(struct qvhu_fe *fe, const struct qmem *mem);
/* Number, addresses, base, call, kick of queue @i (fds borrowed; -1 kick = the back end polls),
 * then enables it. */
int qvhu_fe_queue_start(struct qvhu_fe *fe, unsigned i, const struct qmem *mem,
			const struct qring_cfg *ring, int kick_fd, int call_fd);
/* Where the back end tells that the driver broke queue @i (an eventfd, borrowed; -1 = nowhere).
 * Before qvhu_fe_queue_start(). */
int qvhu_fe_queue_err(struct qvhu_fe *fe, unsigned i, int err_fd);
/* Stops queue @i; the avail index to go on from in *ret_base. */
int qvhu_fe_queue_stop(struct qvhu_fe *fe, unsigned i, uint16_t *ret_base);

/* In-flight region: get makes the back end create one (*ret_fd is owned); set gives it (again) to
 * a back end. */
int qvhu_fe_inflight_get(struct qvhu_fe *fe, uint16_t n_queues, uint16_t queue_size,
			 struct qvhu_inflight *ret, int *ret_fd);
int qvhu_fe_inflight_set(struct qvhu_fe *fe, const struct qvhu_inflight *in, int fd);
