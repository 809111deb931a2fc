/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user messages (QEMU's interop/vhost-user specification) as both ends need them: numbers,
 * wire layout, decoding with every field checked. Socket handling is in qvhu_fe.h and qvhu_be.h.
 */
#pragma once

#include "lib/qdef.h"
#include "lib/qmem.h"

#define QVHU_VERSION 1u
#define QVHU_FLAG_REPLY (1u << 2)
#define QVHU_FLAG_NEED_REPLY (1u << 3)
#define QVHU_MEM_REGIONS_MAX 8u		/* of SET_MEM_TABLE */
#define QVHU_CONFIG_MAX 256u
#define QVHU_PAYLOAD_MAX 512u		/* larger messages are a fault */
#define QVHU_QUEUES_MAX 64u
#define QVHU_NOFD (1ull << 8)		/* SET_VRING_KICK/CALL/ERR: no descriptor comes along */

enum qvhu_req {
	QVHU_GET_FEATURES = 1,
	QVHU_SET_FEATURES = 2,
	QVHU_SET_OWNER = 3,
	QVHU_RESET_OWNER = 4,
	QVHU_SET_MEM_TABLE = 5,
	QVHU_SET_VRING_NUM = 8,
	QVHU_SET_VRING_ADDR = 9,
	QVHU_SET_VRING_BASE = 10,
	QVHU_GET_VRING_BASE = 11,
	QVHU_SET_VRING_KICK = 12,
	QVHU_SET_VRING_CALL = 13,
	QVHU_SET_VRING_ERR = 14,
	QVHU_GET_PROTOCOL_FEATURES = 15,
	QVHU_SET_PROTOCOL_FEATURES = 16,
	QVHU_GET_QUEUE_NUM = 17,
	QVHU_SET_VRING_ENABLE = 18,
	QVHU_GET_CONFIG = 24,
	QVHU_SET_CONFIG = 25,
	QVHU_GET_INFLIGHT_FD = 31,
	QVHU_SET_INFLIGHT_FD = 32,
	QVHU_RESET_DEVICE = 34,
	QVHU_GET_MAX_MEM_SLOTS = 36,
	QVHU_ADD_MEM_REG = 37,
	QVHU_REM_MEM_REG = 38,
	QVHU_SET_STATUS = 39,
	QVHU_GET_STATUS = 40,
};
const char *qvhu_req_str(uint32_t req);

/* Bit 30 of the device features: protocol features are spoken. */
#define QVHU_F_PROTOCOL_FEATURES (1ull << 30)
enum qvhu_protocol_feature {
	QVHU_PF_MQ = 1 << 0,
	QVHU_PF_REPLY_ACK = 1 << 3,
	QVHU_PF_CONFIG = 1 << 9,
	QVHU_PF_INFLIGHT = 1 << 12,
	QVHU_PF_RESET_DEVICE = 1 << 13,
	QVHU_PF_CONFIGURE_MEM_SLOTS = 1 << 15,
	QVHU_PF_STATUS = 1 << 16,
};

struct qvhu_hdr {
	uint32_t req, flags, len_bytes;
};

struct qvhu_mem_region {	/* wire layout, host order after decoding */
	uint64_t gpa, len_bytes, user_addr, fd_off;
};
struct qvhu_vring_state {
	uint32_t index, num;
};
struct qvhu_vring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log; /* addresses in the front end's address space */
};
struct qvhu_inflight {	/* on the wire with or without the 4 bytes of padding that C adds */
	uint64_t mmap_len, mmap_off;
	uint16_t n_queues, queue_size;
};
#define QVHU_INFLIGHT_WIRE_MIN 20u

/* One message with its descriptors, which are the message's until taken (set to -1). */
struct qvhu_msg {
	struct qvhu_hdr hdr;
	uint8_t payload[QVHU_PAYLOAD_MAX];
	int fds[QVHU_MEM_REGIONS_MAX];
	unsigned n_fds;
};
void qvhu_msg_fini(struct qvhu_msg *m);	/* closes what was not taken */

enum qvhu_verdict {
	QVHU_OK = 0,
	QVHU_AGAIN,	/* nothing (more) to read now */
	QVHU_CLOSED,	/* the peer hung up */
	QVHU_FAULT,	/* the peer broke the protocol: end this connection */
	QVHU_TIMEOUT,
	QVHU_REFUSED,	/* the back end answered a request with an error */
};

/*
 * Reads what is there of one message (header then payload; descriptors with the first byte and
 * nowhere else) from the nonblocking @sock. *got counts the bytes of @m that are here: 0 before
 * the first call, and again after the message was used. QVHU_OK: whole; QVHU_AGAIN: come back
 * when readable; CLOSED, FAULT or -errno: @m holds no descriptor any more.
 */
int qvhu_recv_some(int sock, struct qvhu_msg *m, size_t *got);
/*
 * Reads one whole message. A peer that sends half of it may not block us: @deadline_ns (qnow_ns()
 * clock; 0 = wait for nothing) bounds the wait; what came of a half message is lost then. As
 * above, but QVHU_AGAIN only when @deadline_ns is 0 and nothing came; else QVHU_TIMEOUT.
 */
int qvhu_recv(int sock, struct qvhu_msg *m, uint64_t deadline_ns);
/* Sends header and payload with @n_fds borrowed descriptors; @sock is nonblocking. QVHU_OK,
 * QVHU_CLOSED, QVHU_TIMEOUT or -errno. */
int qvhu_send(int sock, const struct qvhu_hdr *hdr, const void *payload, const int *fds,
	      unsigned n_fds, uint64_t deadline_ns);

/* Decoders: true when the payload has exactly the right length (and counts inside it are
 * possible). */
bool qvhu_get_u64(const struct qvhu_msg *m, uint64_t *ret);
bool qvhu_get_vring_state(const struct qvhu_msg *m, struct qvhu_vring_state *ret);
bool qvhu_get_vring_addr(const struct qvhu_msg *m, struct qvhu_vring_addr *ret);
/* SET_MEM_TABLE: number of regions equals the descriptors. ADD_MEM_REG has one and a padding
 * word. */
bool qvhu_get_mem_table(const struct qvhu_msg *m, struct qvhu_mem_region *ret, unsigned *ret_n);
bool qvhu_get_mem_reg(const struct qvhu_msg *m, struct qvhu_mem_region *ret);
bool qvhu_get_inflight(const struct qvhu_msg *m, struct qvhu_inflight *ret);
/* GET/SET_CONFIG: offset, size, flags (0, or 1: migration) and @size bytes, all within
 * QVHU_CONFIG_MAX; *ret_data points into the message. */
bool qvhu_get_config(const struct qvhu_msg *m, uint32_t *ret_off, uint32_t *ret_size,
		     const uint8_t **ret_data);
