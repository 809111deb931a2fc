/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user front end: requests out, answers back, each wait bounded by the timeout of
 * qvhu_fe_new(). One thread at a time.
 *
 * With REPLY_ACK every request that changes something asks for its acknowledgement. Those that
 * belong together (the messages that set up one queue) are sent in one go and their
 * acknowledgements read afterwards, in order, so that a queue costs one round trip and not seven.
 *
 * Invariant: between two calls no answer is outstanding. A call that fails in any other way than
 * QVHU_REFUSED breaks it, so that verdict sticks: every later call returns it unsent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"
#include "lib/qvhu_fe.h"

/* What we can speak, whatever is wanted: the others oblige us to send messages that we do not
 * have. */
#define FE_PROTOCOL_FEATURES \
	((uint64_t)(QVHU_PF_MQ | QVHU_PF_REPLY_ACK | QVHU_PF_CONFIG | QVHU_PF_INFLIGHT))

struct qvhu_fe {
	int sock_fd;
	uint64_t timeout_ns;
	uint64_t features;	/* offered, with bit 30 */
	uint64_t protocol;	/* negotiated */
	int broken;		/* what every call returns from now on, if not QVHU_OK */
	unsigned n_acks;	/* acknowledgements on their way */
	uint32_t ack_req[8];	/* of these requests, in order */
};

static int broken(struct qvhu_fe *fe, int r)
{
	if (r != QVHU_OK && r != QVHU_REFUSED)
		fe->broken = r;
	return r;
}

static uint64_t deadline_ns(const struct qvhu_fe *fe)
{
	return qnow_ns() + fe->timeout_ns;
}

static int send_req(struct qvhu_fe *fe, uint32_t req, uint32_t flags, const void *payload,
		    uint32_t len, const int *fds, unsigned n_fds)
{
	struct qvhu_hdr hdr = { .req = req, .flags = QVHU_VERSION | flags, .len_bytes = len };

	if (fe->broken)
		return fe->broken;
	return broken(fe, qvhu_send(fe->sock_fd, &hdr, payload, fds, n_fds, deadline_ns(fe)));
}

/* The answer to @req with at most @max_fds descriptors, which are the caller's on QVHU_OK. */
static int recv_reply(struct qvhu_fe *fe, uint32_t req, unsigned max_fds, struct qvhu_msg *m)
{
	int r = qvhu_recv(fe->sock_fd, m, deadline_ns(fe));

	if (r != QVHU_OK)
		return broken(fe, r);
	/* Some back ends leave the request's NEED_REPLY bit in the answer. */
	uint32_t flags = m->hdr.flags & ~QVHU_FLAG_NEED_REPLY;
	if (m->hdr.req == req && flags == (QVHU_VERSION | QVHU_FLAG_REPLY) && m->n_fds <= max_fds)
		return QVHU_OK;
	qvhu_msg_fini(m);
	return broken(fe, QVHU_FAULT);
}

/* Sends a request that changes something; fe_settle() waits for its acknowledgement. */
static int post(struct qvhu_fe *fe, uint32_t req, const void *payload, uint32_t len, const int *fds,
		unsigned n_fds)
{
	bool ack = fe->protocol & QVHU_PF_REPLY_ACK;

	qassert(fe->n_acks < Q_ARRAY_LEN(fe->ack_req));
	int r = send_req(fe, req, ack ? QVHU_FLAG_NEED_REPLY : 0, payload, len, fds, n_fds);
	if (r == QVHU_OK && ack)
		fe->ack_req[fe->n_acks++] = req;
	return r;
}

/* Reads all acknowledgements. QVHU_REFUSED when one of them says no. @r is what posting came to. */
static int settle(struct qvhu_fe *fe, int r)
{
	unsigned n = fe->n_acks;
	int verdict = QVHU_OK;

	fe->n_acks = 0;
	for (unsigned i = 0; r == QVHU_OK && i < n; i++) {
		struct qvhu_msg m;
		uint64_t no = 0;

		r = recv_reply(fe, fe->ack_req[i], 0, &m);
		if (r == QVHU_OK && !qvhu_get_u64(&m, &no))
			r = broken(fe, QVHU_FAULT);
		if (r == QVHU_OK && no)
			verdict = QVHU_REFUSED;
	}
	return r == QVHU_OK ? verdict : r;
}

static int set_u64(struct qvhu_fe *fe, uint32_t req, uint64_t value)
{
	return settle(fe, post(fe, req, &value, sizeof(value), NULL, 0));
}

static int get_u64(struct qvhu_fe *fe, uint32_t req, uint64_t *ret)
{
	struct qvhu_msg m;
	int r = send_req(fe, req, 0, NULL, 0, NULL, 0);

	if (r == QVHU_OK)
		r = recv_reply(fe, req, 0, &m);
	if (r == QVHU_OK && !qvhu_get_u64(&m, ret))
		r = broken(fe, QVHU_FAULT);
	return r;
}

static int negotiate(struct qvhu_fe *fe, uint64_t want)
{
	uint64_t offered = 0;
	int r = get_u64(fe, QVHU_GET_FEATURES, &fe->features);

	if (r == QVHU_OK && (fe->features & QVHU_F_PROTOCOL_FEATURES)) {
		r = get_u64(fe, QVHU_GET_PROTOCOL_FEATURES, &offered);
		uint64_t common = offered & want & FE_PROTOCOL_FEATURES;
		if (r == QVHU_OK)
			r = set_u64(fe, QVHU_SET_PROTOCOL_FEATURES, common);
		if (r == QVHU_OK)
			fe->protocol = common;	/* from the next message on */
	}
	return r == QVHU_OK ? settle(fe, post(fe, QVHU_SET_OWNER, NULL, 0, NULL, 0)) : r;
}

int qvhu_fe_new(int take_sock_fd, uint64_t want_protocol_features, unsigned timeout_ms,
		struct qvhu_fe **ret)
{
	QCLEAN(qfd_close) int sock_fd = take_sock_fd;
	int r = qfd_nonblock(sock_fd, true);
	struct qvhu_fe *fe = r < 0 ? NULL : calloc(1, sizeof(*fe));

	if (!fe)
		return r < 0 ? r : -ENOMEM;
	fe->sock_fd = sock_fd;
	sock_fd = -1;
	fe->timeout_ns = timeout_ms * Q_NSEC_PER_MSEC;
	r = negotiate(fe, want_protocol_features);
	if (r != QVHU_OK) {
		qvhu_fe_free(fe);
		return r;
	}
	*ret = fe;
	return QVHU_OK;
}

struct qvhu_fe *qvhu_fe_free(struct qvhu_fe *fe)
{
	if (fe)
		qfd_close(&fe->sock_fd);
	free(fe);
	return NULL;
}

int qvhu_fe_fd(const struct qvhu_fe *fe)
{
	return fe->sock_fd;
}

uint64_t qvhu_fe_features(const struct qvhu_fe *fe)
{
	return fe->features & ~QVHU_F_PROTOCOL_FEATURES;
}

uint64_t qvhu_fe_protocol_features(const struct qvhu_fe *fe)
{
	return fe->protocol;
}

int qvhu_fe_queue_num(struct qvhu_fe *fe, unsigned *ret_n)
{
	uint64_t n = 1;
	int r = fe->protocol & QVHU_PF_MQ ? get_u64(fe, QVHU_GET_QUEUE_NUM, &n) : fe->broken;

	if (r != QVHU_OK)
		return r;
	if (n == 0)
		return broken(fe, QVHU_FAULT);
	*ret_n = (unsigned)Q_MIN(n, (uint64_t)QVHU_QUEUES_MAX);
	return QVHU_OK;
}

/* The wire form of a config message: offset, size, flags and @len bytes. Its length. */
static uint32_t put_config(uint8_t *payload, uint32_t off, const void *buf, uint32_t len)
{
	const uint32_t w[3] = { off, len, 0 };

	memcpy(payload, w, sizeof(w));
	if (buf)
		memcpy(payload + sizeof(w), buf, len);
	else
		memset(payload + sizeof(w), 0, len);
	return (uint32_t)sizeof(w) + len;
}

static int config_check(const struct qvhu_fe *fe, uint32_t off, uint32_t len)
{
	if (!(fe->protocol & QVHU_PF_CONFIG))
		return -EOPNOTSUPP;
	return len > 0 && qspan_inside(off, len, QVHU_CONFIG_MAX) ? 0 : -EINVAL;
}

int qvhu_fe_config_get(struct qvhu_fe *fe, uint32_t off, void *buf, uint32_t len)
{
	struct qvhu_msg m;
	uint32_t got_off, got_len;
	const uint8_t *data;
	int r = config_check(fe, off, len);

	if (r < 0)
		return r;
	uint32_t payload_len = put_config(m.payload, off, NULL, len);
	r = send_req(fe, QVHU_GET_CONFIG, 0, m.payload, payload_len, NULL, 0);
	if (r == QVHU_OK)
		r = recv_reply(fe, QVHU_GET_CONFIG, 0, &m);
	if (r != QVHU_OK)
		return r;
	if (m.hdr.len_bytes == 0)
		return QVHU_REFUSED;
	if (!qvhu_get_config(&m, &got_off, &got_len, &data) || got_off != off || got_len != len)
		return broken(fe, QVHU_FAULT);
	memcpy(buf, data, len);
	return QVHU_OK;
}

int qvhu_fe_config_set(struct qvhu_fe *fe, uint32_t off, const void *buf, uint32_t len)
{
	uint8_t payload[QVHU_PAYLOAD_MAX];
	int r = config_check(fe, off, len);

	if (r < 0)
		return r;
	uint32_t payload_len = put_config(payload, off, buf, len);
	return settle(fe, post(fe, QVHU_SET_CONFIG, payload, payload_len, NULL, 0));
}

int qvhu_fe_set_features(struct qvhu_fe *fe, uint64_t features)
{
	if (features & ~qvhu_fe_features(fe))
		return -EINVAL;
	/* With bit 30 the queues wait for SET_VRING_ENABLE. */
	return set_u64(fe, QVHU_SET_FEATURES, features | (fe->features & QVHU_F_PROTOCOL_FEATURES));
}

int qvhu_fe_set_mem(struct qvhu_fe *fe, const struct qmem *mem)
{
	struct {
		uint32_t n, padding;
		struct qvhu_mem_region r[QVHU_MEM_REGIONS_MAX];
	} w = { .n = mem->n };
	int fds[QVHU_MEM_REGIONS_MAX];

	if (mem->n == 0)
		return -EINVAL;
	if (mem->n > QVHU_MEM_REGIONS_MAX)
		return -ENOSPC;
	for (unsigned i = 0; i < mem->n; i++) {
		const struct qmem_region *r = &mem->r[i];

		w.r[i] = (struct qvhu_mem_region){ .gpa = r->gpa, .len_bytes = r->len_bytes,
						   .user_addr = (uint64_t)(uintptr_t)r->host,
						   .fd_off = r->fd_off };
		fds[i] = r->fd;
	}
	uint32_t len = 8 + mem->n * (uint32_t)sizeof(w.r[0]);
	return settle(fe, post(fe, QVHU_SET_MEM_TABLE, &w, len, fds, mem->n));
}

static int post_state(struct qvhu_fe *fe, uint32_t req, unsigned i, uint32_t num)
{
	const struct qvhu_vring_state s = { .index = i, .num = num };

	return post(fe, req, &s, sizeof(s), NULL, 0);
}

static int post_event_fd(struct qvhu_fe *fe, uint32_t req, unsigned i, int fd)
{
	const uint64_t w = i | (fd < 0 ? QVHU_NOFD : 0);

	return post(fe, req, &w, sizeof(w), &fd, fd < 0 ? 0 : 1);
}

/* The addresses of @ring in our address space. 0 or -EFAULT. */
static int put_vring_addr(const struct qmem *mem, unsigned i, const struct qring_cfg *ring,
			  struct qvhu_vring_addr *ret)
{
	const void *desc = qmem_ptr(mem, ring->desc, 16ull * ring->num, false);
	const void *avail = qmem_ptr(mem, ring->avail, 6 + 2ull * ring->num, false);
	const void *used = qmem_ptr(mem, ring->used, 6 + 8ull * ring->num, true);

	if (!desc || !avail || !used)
		return -EFAULT;
	*ret = (struct qvhu_vring_addr){ .index = i, .desc = (uint64_t)(uintptr_t)desc,
					 .used = (uint64_t)(uintptr_t)used,
					 .avail = (uint64_t)(uintptr_t)avail };
	return 0;
}

int qvhu_fe_queue_start(struct qvhu_fe *fe, unsigned i, const struct qmem *mem,
			const struct qring_cfg *ring, int kick_fd, int call_fd)
{
	struct qvhu_vring_addr addr;
	int r = i < QVHU_QUEUES_MAX ? put_vring_addr(mem, i, ring, &addr) : -EINVAL;

	if (r < 0)
		return r;
	r = post_state(fe, QVHU_SET_VRING_NUM, i, ring->num);
	if (r == QVHU_OK)
		r = post_state(fe, QVHU_SET_VRING_BASE, i, ring->base);
	if (r == QVHU_OK)
		r = post(fe, QVHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	if (r == QVHU_OK)
		r = post_event_fd(fe, QVHU_SET_VRING_CALL, i, call_fd);
	if (r == QVHU_OK)
		r = post_event_fd(fe, QVHU_SET_VRING_KICK, i, kick_fd);
	if (r == QVHU_OK && (fe->features & QVHU_F_PROTOCOL_FEATURES))
		r = post_state(fe, QVHU_SET_VRING_ENABLE, i, 1);
	return settle(fe, r);
}

int qvhu_fe_queue_err(struct qvhu_fe *fe, unsigned i, int err_fd)
{
	if (i >= QVHU_QUEUES_MAX)
		return -EINVAL;
	return settle(fe, post_event_fd(fe, QVHU_SET_VRING_ERR, i, err_fd));
}

int qvhu_fe_queue_stop(struct qvhu_fe *fe, unsigned i, uint16_t *ret_base)
{
	struct qvhu_vring_state s = { .index = i };
	struct qvhu_msg m;
	int r = send_req(fe, QVHU_GET_VRING_BASE, 0, &s, sizeof(s), NULL, 0);

	if (r == QVHU_OK)
		r = recv_reply(fe, QVHU_GET_VRING_BASE, 0, &m);
	if (r != QVHU_OK)
		return r;
	if (!qvhu_get_vring_state(&m, &s) || s.index != i || s.num > UINT16_MAX)
		return broken(fe, QVHU_FAULT);
	*ret_base = (uint16_t)s.num;
	return QVHU_OK;
}

int qvhu_fe_inflight_get(struct qvhu_fe *fe, uint16_t n_queues, uint16_t queue_size,
			 struct qvhu_inflight *ret, int *ret_fd)
{
	struct qvhu_inflight in = { .n_queues = n_queues, .queue_size = queue_size };
	struct qvhu_msg m;

	if (!(fe->protocol & QVHU_PF_INFLIGHT))
		return -EOPNOTSUPP;
	int r = send_req(fe, QVHU_GET_INFLIGHT_FD, 0, &in, sizeof(in), NULL, 0);
	if (r == QVHU_OK)
		r = recv_reply(fe, QVHU_GET_INFLIGHT_FD, 1, &m);
	if (r != QVHU_OK)
		return r;
	if (!qvhu_get_inflight(&m, &in) || m.n_fds != 1 || in.mmap_len == 0 ||
	    in.n_queues != n_queues || in.queue_size != queue_size) {
		qvhu_msg_fini(&m);
		return broken(fe, QVHU_FAULT);
	}
	*ret = in;
	*ret_fd = m.fds[0];
	return QVHU_OK;
}

int qvhu_fe_inflight_set(struct qvhu_fe *fe, const struct qvhu_inflight *in, int fd)
{
	if (!(fe->protocol & QVHU_PF_INFLIGHT))
		return -EOPNOTSUPP;
	return settle(fe, post(fe, QVHU_SET_INFLIGHT_FD, in, sizeof(*in), &fd, 1));
}
