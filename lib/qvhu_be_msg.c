/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user back end, second half: one table that says for each message what may come with
 * it and who handles it; the handlers of queues are in qvhu_be_ring.c, those of memory in
 * qvhu_be_mem.c. Same thread as qvhu_be.c; see there for the two steps of a message.
 *
 * A handler returns QVHU_OK, QVHU_REFUSED (the front end is told when it asked, the connection
 * goes on), QVHU_FAULT or -errno. It runs when the queues that its row names stand still, has the
 * exact number of descriptors that its row allows, and decodes before it changes anything.
 */
#include <string.h>

#include "lib/qfd.h"
#include "lib/qvhu_be_priv.h"

#define ALL_QUEUES UINT64_MAX

struct msg_row {
	int (*apply)(struct qvhu_be *be);
	/* NULL: none. The message may be malformed. */
	uint64_t (*stops)(const struct qvhu_be *be);
	uint64_t needs;		/* a protocol feature that must have been acked, or 0 */
	unsigned fds_min, fds_max;
	bool replies;		/* has an answer of its own: REPLY_ACK adds none */
	bool empty;		/* has no payload */
};

int be_reply(struct qvhu_be *be, const void *payload, uint32_t len, int fd)
{
	struct qvhu_hdr hdr = { .req = be->msg.hdr.req, .flags = QVHU_VERSION | QVHU_FLAG_REPLY,
				.len_bytes = len };
	int r = qvhu_send(be->sock_fd, &hdr, payload, &fd, fd >= 0 ? 1 : 0, 0);

	return r == QVHU_TIMEOUT ? be_fault(be, "answers are not read") : r;
}

int be_reply_u64(struct qvhu_be *be, uint64_t value)
{
	return be_reply(be, &value, sizeof(value), -1);
}

int be_take_fd(struct qvhu_msg *m, unsigned i)
{
	int fd = m->fds[i];

	m->fds[i] = -1;
	return fd;
}

/* ---- which queues must stand still ---- */

static uint64_t stops_all(const struct qvhu_be *be)
{
	return ALL_QUEUES;
}

static uint64_t stops_state_index(const struct qvhu_be *be)
{
	struct qvhu_vring_state s;

	if (!qvhu_get_vring_state(&be->msg, &s) || s.index >= be->ops->n_queues)
		return 0;
	return 1ull << s.index;
}

/* Disabling stops; enabling what runs changes nothing. */
static uint64_t stops_enable(const struct qvhu_be *be)
{
	struct qvhu_vring_state s;

	if (!qvhu_get_vring_state(&be->msg, &s) || s.num != 0)
		return 0;
	return stops_state_index(be);
}

static uint64_t stops_fd_index(const struct qvhu_be *be)
{
	uint64_t w;

	if (!qvhu_get_u64(&be->msg, &w) || (w & BE_VRING_INDEX_MASK) >= be->ops->n_queues)
		return 0;
	return 1ull << (w & BE_VRING_INDEX_MASK);
}

/* An owner that cannot be told of a new call descriptor gets it with the next start. */
static uint64_t stops_call(const struct qvhu_be *be)
{
	return be->ops->queue_call ? 0 : stops_fd_index(be);
}

/* Status 0 is the driver's reset. */
static uint64_t stops_status(const struct qvhu_be *be)
{
	uint64_t status;

	return qvhu_get_u64(&be->msg, &status) && status == 0 ? ALL_QUEUES : 0;
}

/* ---- features, ownership, status ---- */

static int get_features(struct qvhu_be *be)
{
	return be_reply_u64(be, be->ops->features);
}

static int set_features(struct qvhu_be *be)
{
	uint64_t features;

	if (!qvhu_get_u64(&be->msg, &features))
		return be_fault(be, "length");
	if (features & ~be->ops->features)
		return be_fault(be, "bits not offered");
	for (unsigned i = 0; i < be->ops->n_queues; i++)
		if (be->q[i].state != BEQ_STOPPED && features != be->features)
			return be_fault(be, "changed under a running queue");
	be->features = features;
	if (be->ops->features_set)
		be->ops->features_set(be->ctx, features);
	return be_queues_start(be);
}

static int get_protocol_features(struct qvhu_be *be)
{
	return be_reply_u64(be, be->ops->protocol_features);
}

static int set_protocol_features(struct qvhu_be *be)
{
	uint64_t features;

	if (!qvhu_get_u64(&be->msg, &features))
		return be_fault(be, "length");
	if (features & ~be->ops->protocol_features)
		return be_fault(be, "bits not offered");
	be->protocol = features;
	return QVHU_OK;
}

static int get_queue_num(struct qvhu_be *be)
{
	if (!(be->ops->protocol_features & QVHU_PF_MQ))
		return be_fault(be, "feature not offered");
	return be_reply_u64(be, be->ops->n_queues);
}

static int set_owner(struct qvhu_be *be)
{
	return QVHU_OK;	/* one connection is one owner */
}

/* The old meaning that the specification recommends: disable all rings. */
static int reset_owner(struct qvhu_be *be)
{
	for (unsigned i = 0; i < be->ops->n_queues; i++)
		be->q[i].enabled = be->q[i].has_kick = false;
	return QVHU_OK;
}

/* Call and err descriptors stay: a front end need not send them again. */
static void forget_rings(struct qvhu_be *be)
{
	for (unsigned i = 0; i < be->ops->n_queues; i++) {
		struct be_queue *q = &be->q[i];

		q->enabled = q->has_kick = q->has_addr = false;
		q->num = 0;
		q->base = 0;
		qfd_close(&q->kick_fd);
	}
}

static int reset_device(struct qvhu_be *be)
{
	forget_rings(be);
	be->status = 0;
	return QVHU_OK;
}

static int set_status(struct qvhu_be *be)
{
	uint64_t status;

	if (!qvhu_get_u64(&be->msg, &status))
		return be_fault(be, "length");
	if (status > UINT8_MAX)
		return be_fault(be, "upper bits");
	be->status = (uint8_t)status;
	if (status == 0)
		forget_rings(be);
	return QVHU_OK;
}

static int get_status(struct qvhu_be *be)
{
	return be_reply_u64(be, be->status);
}

/* ---- config space ---- */

static int get_config(struct qvhu_be *be)
{
	uint32_t off, size;
	const uint8_t *data;

	if (!qvhu_get_config(&be->msg, &off, &size, &data))
		return be_fault(be, "length or offset");
	uint8_t *payload = be->msg.payload;	/* header in place; the data is ours to fill */
	memset(payload + 12, 0, size);
	int r = be->ops->config_get ? be->ops->config_get(be->ctx, off, payload + 12, size)
				    : QVHU_REFUSED;
	if (r != QVHU_OK)
		return be_reply(be, NULL, 0, -1);	/* no payload: the specification's "no" */
	return be_reply(be, payload, 12 + size, -1);
}

static int set_config(struct qvhu_be *be)
{
	uint32_t off, size;
	const uint8_t *data;

	if (!qvhu_get_config(&be->msg, &off, &size, &data))
		return be_fault(be, "length or offset");
	if (!be->ops->config_set || be->ops->config_set(be->ctx, off, data, size) != QVHU_OK)
		return QVHU_REFUSED;
	return QVHU_OK;
}

/* ---- the table ---- */

static const struct msg_row rows[] = {
	[QVHU_GET_FEATURES] = { get_features, .empty = true, .replies = true },
	[QVHU_SET_FEATURES] = { set_features },
	[QVHU_SET_OWNER] = { set_owner, .empty = true },
	[QVHU_RESET_OWNER] = { reset_owner, stops_all, .empty = true },
	[QVHU_SET_MEM_TABLE] = { be_set_mem_table, stops_all, .fds_min = 1,
				 .fds_max = QVHU_MEM_REGIONS_MAX },
	[QVHU_SET_VRING_NUM] = { be_set_vring_num },
	[QVHU_SET_VRING_ADDR] = { be_set_vring_addr },
	[QVHU_SET_VRING_BASE] = { be_set_vring_base },
	[QVHU_GET_VRING_BASE] = { be_get_vring_base, stops_state_index, .replies = true },
	[QVHU_SET_VRING_KICK] = { be_set_vring_kick, stops_fd_index, .fds_max = 1 },
	[QVHU_SET_VRING_CALL] = { be_set_vring_call, stops_call, .fds_max = 1 },
	[QVHU_SET_VRING_ERR] = { be_set_vring_err, stops_fd_index, .fds_max = 1 },
	[QVHU_GET_PROTOCOL_FEATURES] = { get_protocol_features, .empty = true, .replies = true },
	[QVHU_SET_PROTOCOL_FEATURES] = { set_protocol_features },
	[QVHU_GET_QUEUE_NUM] = { get_queue_num, .empty = true, .replies = true },
	[QVHU_SET_VRING_ENABLE] = { be_set_vring_enable, stops_enable },
	[QVHU_GET_CONFIG] = { get_config, .needs = QVHU_PF_CONFIG, .replies = true },
	[QVHU_SET_CONFIG] = { set_config, .needs = QVHU_PF_CONFIG },
	[QVHU_GET_INFLIGHT_FD] = { be_get_inflight_fd, .needs = QVHU_PF_INFLIGHT, .replies = true },
	[QVHU_SET_INFLIGHT_FD] = { be_set_inflight_fd, stops_all, .needs = QVHU_PF_INFLIGHT,
				   .fds_min = 1, .fds_max = 1 },
	[QVHU_RESET_DEVICE] = { reset_device, stops_all, .needs = QVHU_PF_RESET_DEVICE,
				.empty = true },
	[QVHU_GET_MAX_MEM_SLOTS] = { be_get_max_mem_slots, .needs = QVHU_PF_CONFIGURE_MEM_SLOTS,
				     .empty = true, .replies = true },
	[QVHU_ADD_MEM_REG] = { be_add_mem_reg, stops_all, .needs = QVHU_PF_CONFIGURE_MEM_SLOTS,
			       .fds_min = 1, .fds_max = 1 },
	/* Some front ends send a descriptor along; the specification lets us close it. */
	[QVHU_REM_MEM_REG] = { be_rem_mem_reg, stops_all, .needs = QVHU_PF_CONFIGURE_MEM_SLOTS,
			       .fds_max = 1 },
	[QVHU_SET_STATUS] = { set_status, stops_status, .needs = QVHU_PF_STATUS },
	[QVHU_GET_STATUS] = { get_status, .needs = QVHU_PF_STATUS, .empty = true, .replies = true },
};

static const struct msg_row *row_of(const struct qvhu_be *be)
{
	uint32_t req = be->msg.hdr.req;

	return req < Q_ARRAY_LEN(rows) && rows[req].apply ? &rows[req] : NULL;
}

/* Everything that can be said of a message without looking into its payload. */
static int check_form(struct qvhu_be *be, const struct msg_row *row)
{
	const struct qvhu_msg *m = &be->msg;

	if (!row)
		return be_fault(be, "number");
	if (m->hdr.flags & QVHU_FLAG_REPLY)
		return be_fault(be, "a reply");
	if ((m->hdr.flags & ~QVHU_FLAG_NEED_REPLY) != QVHU_VERSION)
		return be_fault(be, "version or flags");
	if (row->needs & ~be->protocol)
		return be_fault(be, "feature not negotiated");
	if (m->n_fds < row->fds_min || m->n_fds > row->fds_max)
		return be_fault(be, "number of descriptors");
	if (row->empty && m->hdr.len_bytes != 0)
		return be_fault(be, "length");
	return QVHU_OK;
}

uint64_t be_msg_stops(const struct qvhu_be *be)
{
	const struct msg_row *row = row_of(be);

	return row && row->stops ? row->stops(be) : 0;
}

/* QVHU_OK or what ends the connection. A fault is acknowledged too, as far as the socket takes
 * it. */
static int acknowledge(struct qvhu_be *be, const struct msg_row *row, int r)
{
	bool wanted = (be->msg.hdr.flags & QVHU_FLAG_NEED_REPLY) &&
		      (be->protocol & QVHU_PF_REPLY_ACK);
	int sent = QVHU_OK;

	if (wanted && !(row && row->replies))
		sent = be_reply_u64(be, r != QVHU_OK);
	return r == QVHU_OK || r == QVHU_REFUSED ? sent : r;
}

int be_msg_apply(struct qvhu_be *be)
{
	const struct msg_row *row = row_of(be);
	int r = check_form(be, row);

	if (r == QVHU_OK)
		r = row->apply(be);
	return acknowledge(be, row, r);
}
