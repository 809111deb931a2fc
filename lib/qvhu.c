/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user codec proper: whole messages in and out of a stream socket, and the decoders.
 *
 * Any thread, one at a time per socket; no state but the caller's. Everything received is
 * hostile. A decoder looks at the copy in struct qvhu_msg only and says yes only when the length
 * is exact, so that its caller checks meaning and never form.
 *
 * Descriptors belong to the first byte of a message. They are asked for with that byte only: any
 * that come later, or in excess, were closed by qfd_recv() and make the message a fault.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "lib/qfd.h"
#include "lib/qvhu.h"

static_assert(sizeof(struct qvhu_hdr) == 12, "the wire header");
static_assert(sizeof(struct qvhu_mem_region) == 32, "a region on the wire");
static_assert(sizeof(struct qvhu_vring_state) == 8, "a vring state on the wire");
static_assert(sizeof(struct qvhu_vring_addr) == 40, "a vring address on the wire");
static_assert(sizeof(struct qvhu_inflight) == 24, "an in-flight description on the wire");
static_assert(QVHU_CONFIG_MAX + 12 <= QVHU_PAYLOAD_MAX, "a config message fits");
static_assert(QVHU_MEM_REGIONS_MAX * 32 + 8 <= QVHU_PAYLOAD_MAX, "a memory table fits");

static const char *const req_names[] = {
	[QVHU_GET_FEATURES] = "GET_FEATURES",
	[QVHU_SET_FEATURES] = "SET_FEATURES",
	[QVHU_SET_OWNER] = "SET_OWNER",
	[QVHU_RESET_OWNER] = "RESET_OWNER",
	[QVHU_SET_MEM_TABLE] = "SET_MEM_TABLE",
	[QVHU_SET_VRING_NUM] = "SET_VRING_NUM",
	[QVHU_SET_VRING_ADDR] = "SET_VRING_ADDR",
	[QVHU_SET_VRING_BASE] = "SET_VRING_BASE",
	[QVHU_GET_VRING_BASE] = "GET_VRING_BASE",
	[QVHU_SET_VRING_KICK] = "SET_VRING_KICK",
	[QVHU_SET_VRING_CALL] = "SET_VRING_CALL",
	[QVHU_SET_VRING_ERR] = "SET_VRING_ERR",
	[QVHU_GET_PROTOCOL_FEATURES] = "GET_PROTOCOL_FEATURES",
	[QVHU_SET_PROTOCOL_FEATURES] = "SET_PROTOCOL_FEATURES",
	[QVHU_GET_QUEUE_NUM] = "GET_QUEUE_NUM",
	[QVHU_SET_VRING_ENABLE] = "SET_VRING_ENABLE",
	[QVHU_GET_CONFIG] = "GET_CONFIG",
	[QVHU_SET_CONFIG] = "SET_CONFIG",
	[QVHU_GET_INFLIGHT_FD] = "GET_INFLIGHT_FD",
	[QVHU_SET_INFLIGHT_FD] = "SET_INFLIGHT_FD",
	[QVHU_RESET_DEVICE] = "RESET_DEVICE",
	[QVHU_GET_MAX_MEM_SLOTS] = "GET_MAX_MEM_SLOTS",
	[QVHU_ADD_MEM_REG] = "ADD_MEM_REG",
	[QVHU_REM_MEM_REG] = "REM_MEM_REG",
	[QVHU_SET_STATUS] = "SET_STATUS",
	[QVHU_GET_STATUS] = "GET_STATUS",
};

const char *qvhu_req_str(uint32_t req)
{
	if (req >= Q_ARRAY_LEN(req_names) || !req_names[req])
		return "unknown request";
	return req_names[req];
}

void qvhu_msg_fini(struct qvhu_msg *m)
{
	for (unsigned i = 0; i < m->n_fds; i++)
		qfd_close(&m->fds[i]);
	m->n_fds = 0;
}

/* Milliseconds to poll until @deadline_ns, rounded up so that we never spin; 0 when it has
 * passed. */
static int poll_ms(uint64_t deadline_ns)
{
	uint64_t now_ns = deadline_ns ? qnow_ns() : 0;

	if (deadline_ns <= now_ns)
		return 0;
	uint64_t ms = (deadline_ns - now_ns + Q_NSEC_PER_MSEC - 1) / Q_NSEC_PER_MSEC;
	return (int)Q_MIN(ms, 1000000000u);
}

/* QVHU_OK when the socket may be ready, QVHU_TIMEOUT, or -errno. */
static int wait_ready(int sock, short events, uint64_t deadline_ns)
{
	struct pollfd pfd = { .fd = sock, .events = events };
	int ms = poll_ms(deadline_ns);

	if (ms == 0)
		return QVHU_TIMEOUT;
	int n = poll(&pfd, 1, ms);
	if (n < 0)
		return errno == EINTR ? QVHU_OK : -errno;
	/* Nothing yet: the caller tries once more and asks again, and then the deadline has
	 * passed. */
	return QVHU_OK;
}

/* Fills @part, whose first byte is byte @start of the message, up to @want bytes. */
static int recv_part(int sock, struct qvhu_msg *m, size_t *got, size_t start, void *part,
		     size_t want)
{
	while (*got < start + want) {
		bool first = *got == 0;
		unsigned n_fds = 0;
		size_t have = *got - start;
		ssize_t n = qfd_recv(sock, (char *)part + have, want - have, first ? m->fds : NULL,
				     first ? QVHU_MEM_REGIONS_MAX : 0, &n_fds);

		if (n == 0 || n == -ECONNRESET || n == -EPIPE)
			return QVHU_CLOSED;
		if (n == -EAGAIN)
			return QVHU_AGAIN;
		if (n == -EBADMSG)
			return QVHU_FAULT;
		if (n < 0)
			return (int)n;
		if (first)
			m->n_fds = n_fds;
		*got += (size_t)n;
	}
	return QVHU_OK;
}

static int recv_parts(int sock, struct qvhu_msg *m, size_t *got)
{
	int r = recv_part(sock, m, got, 0, &m->hdr, sizeof(m->hdr));
	if (r != QVHU_OK)
		return r;
	if (m->hdr.len_bytes > sizeof(m->payload))
		return QVHU_FAULT;
	return recv_part(sock, m, got, sizeof(m->hdr), m->payload, m->hdr.len_bytes);
}

int qvhu_recv_some(int sock, struct qvhu_msg *m, size_t *got)
{
	if (*got == 0) {
		memset(&m->hdr, 0, sizeof(m->hdr));
		m->n_fds = 0;
	}
	int r = recv_parts(sock, m, got);
	if (r != QVHU_OK && r != QVHU_AGAIN)
		qvhu_msg_fini(m);
	return r;
}

int qvhu_recv(int sock, struct qvhu_msg *m, uint64_t deadline_ns)
{
	size_t got = 0;

	for (;;) {
		int r = qvhu_recv_some(sock, m, &got);
		if (r != QVHU_AGAIN)
			return r;
		r = wait_ready(sock, POLLIN, deadline_ns);
		if (r == QVHU_OK)
			continue;
		qvhu_msg_fini(m);
		return r == QVHU_TIMEOUT && got == 0 && deadline_ns == 0 ? QVHU_AGAIN : r;
	}
}

int qvhu_send(int sock, const struct qvhu_hdr *hdr, const void *payload, const int *fds,
	      unsigned n_fds, uint64_t deadline_ns)
{
	uint8_t buf[sizeof(*hdr) + QVHU_PAYLOAD_MAX];
	size_t len = sizeof(*hdr) + hdr->len_bytes;

	qassert(hdr->len_bytes <= QVHU_PAYLOAD_MAX && n_fds <= QVHU_MEM_REGIONS_MAX);
	memcpy(buf, hdr, sizeof(*hdr));
	if (hdr->len_bytes)
		memcpy(buf + sizeof(*hdr), payload, hdr->len_bytes);

	for (size_t sent = 0; sent < len;) {
		ssize_t n = qfd_send(sock, buf + sent, len - sent, sent ? NULL : fds,
				     sent ? 0 : n_fds);
		if (n >= 0) {
			sent += (size_t)n;
			continue;
		}
		if (n == -EPIPE || n == -ECONNRESET)
			return QVHU_CLOSED;
		if (n != -EAGAIN)
			return (int)n;
		int r = wait_ready(sock, POLLOUT, deadline_ns);
		if (r != QVHU_OK)
			return r;
	}
	return QVHU_OK;
}

static bool get_exact(const struct qvhu_msg *m, void *ret, size_t len)
{
	if (m->hdr.len_bytes != len)
		return false;
	memcpy(ret, m->payload, len);
	return true;
}

bool qvhu_get_u64(const struct qvhu_msg *m, uint64_t *ret)
{
	return get_exact(m, ret, sizeof(*ret));
}

bool qvhu_get_vring_state(const struct qvhu_msg *m, struct qvhu_vring_state *ret)
{
	return get_exact(m, ret, sizeof(*ret));
}

bool qvhu_get_vring_addr(const struct qvhu_msg *m, struct qvhu_vring_addr *ret)
{
	return get_exact(m, ret, sizeof(*ret));
}

bool qvhu_get_mem_table(const struct qvhu_msg *m, struct qvhu_mem_region *ret, unsigned *ret_n)
{
	uint32_t n;

	if (m->hdr.len_bytes < 8)
		return false;
	memcpy(&n, m->payload, sizeof(n));
	if (n == 0 || n > QVHU_MEM_REGIONS_MAX || n != m->n_fds)
		return false;
	if (m->hdr.len_bytes != 8 + n * sizeof(*ret))
		return false;
	memcpy(ret, m->payload + 8, n * sizeof(*ret));
	*ret_n = n;
	return true;
}

bool qvhu_get_mem_reg(const struct qvhu_msg *m, struct qvhu_mem_region *ret)
{
	if (m->hdr.len_bytes != 8 + sizeof(*ret))
		return false;
	memcpy(ret, m->payload + 8, sizeof(*ret));
	return true;
}

bool qvhu_get_inflight(const struct qvhu_msg *m, struct qvhu_inflight *ret)
{
	if (m->hdr.len_bytes != sizeof(*ret) && m->hdr.len_bytes != QVHU_INFLIGHT_WIRE_MIN)
		return false;
	memcpy(ret, m->payload, QVHU_INFLIGHT_WIRE_MIN);
	return true;
}

bool qvhu_get_config(const struct qvhu_msg *m, uint32_t *ret_off, uint32_t *ret_size,
		     const uint8_t **ret_data)
{
	uint32_t w[3];	/* offset, size, flags */

	if (m->hdr.len_bytes < sizeof(w))
		return false;
	memcpy(w, m->payload, sizeof(w));
	if (w[1] == 0 || !qspan_inside(w[0], w[1], QVHU_CONFIG_MAX) || w[2] > 1)
		return false;
	if (m->hdr.len_bytes != sizeof(w) + w[1])
		return false;
	*ret_off = w[0];
	*ret_size = w[1];
	*ret_data = m->payload + sizeof(w);
	return true;
}
