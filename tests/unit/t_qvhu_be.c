/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qvhu_be.h: every fault a front end can commit, by raw bytes; and what the owner sees. */
#include "lib/qvhu_be.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "lib/qfd.h"
#include "tests/unit/fixture.h"

#define K 1024ull
#define MEM_BYTES (64 * K)
#define GPA 0x100000ull
#define UADDR 0x7f0000000000ull
#define OFFERED (QVHU_F_PROTOCOL_FEATURES | 1ull << 28 | 1ull << 29 | 1ull << 32)
#define PROTOCOL                                                                         \
	(QVHU_PF_MQ | QVHU_PF_REPLY_ACK | QVHU_PF_CONFIG | QVHU_PF_INFLIGHT |            \
	 QVHU_PF_RESET_DEVICE | QVHU_PF_CONFIGURE_MEM_SLOTS | QVHU_PF_STATUS)

/* A back end, the front end's end of its socket, and what the owner was told. */
struct world {
	struct qvhu_be_ops ops;
	struct qvhu_be *be;
	int peer;
	unsigned starts[2], stops[2], calls;
	bool running[2];
	bool stop_waits;		/* queue_stop returns false */
	bool stop_inside;		/* ... after having called qvhu_be_queue_stopped() itself */
	uint16_t stop_base;
	struct qvhu_be_queue q[2];
	struct qmem *mem;		/* of the last start */
	int start_verdict;
	uint64_t features;
	uint8_t config[32];
};

static void on_features(void *ctx, uint64_t features)
{
	((struct world *)ctx)->features = features;
}

static int on_config_get(void *ctx, uint32_t off, uint8_t *buf, uint32_t len)
{
	struct world *w = ctx;

	if (!qspan_inside(off, len, sizeof(w->config)))
		return QVHU_REFUSED;
	memcpy(buf, w->config + off, len);
	return QVHU_OK;
}

static int on_config_set(void *ctx, uint32_t off, const uint8_t *buf, uint32_t len)
{
	struct world *w = ctx;

	if (off < 16 || !qspan_inside(off, len, sizeof(w->config)))
		return QVHU_REFUSED;
	memcpy(w->config + off, buf, len);
	return QVHU_OK;
}

static int on_start(void *ctx, unsigned i, const struct qvhu_be_queue *q, struct qmem *mem)
{
	struct world *w = ctx;
	struct qring r;

	ck_assert(!w->running[i]);
	if (w->start_verdict != QVHU_OK)
		return w->start_verdict;
	ck_assert_int_eq(qring_init(&r, mem, &q->ring), 0);
	w->running[i] = true;
	w->starts[i]++;
	w->q[i] = *q;
	w->mem = mem;
	return QVHU_OK;
}

static void on_call(void *ctx, unsigned i, int call_fd)
{
	struct world *w = ctx;

	ck_assert(w->running[i]);
	w->q[i].call_fd = call_fd;
	w->calls++;
}

static bool on_stop(void *ctx, unsigned i, uint16_t *ret_base)
{
	struct world *w = ctx;

	ck_assert(w->running[i]);
	w->running[i] = false;
	w->stops[i]++;
	if (w->stop_inside)
		qvhu_be_queue_stopped(w->be, i, w->stop_base);
	if (w->stop_waits || w->stop_inside)
		return false;
	*ret_base = w->stop_base;
	return true;
}

static void world_open(struct world *w)
{
	int sv[2];

	*w = (struct world){
		.ops = { .features = OFFERED, .protocol_features = PROTOCOL, .n_queues = 2,
			 .queue_size_max = 256, .require_sealed = true,
			 .features_set = on_features, .config_get = on_config_get,
			 .config_set = on_config_set, .queue_start = on_start,
			 .queue_call = on_call, .queue_stop = on_stop },
		.stop_base = 7,
	};
	for (unsigned i = 0; i < sizeof(w->config); i++)
		w->config[i] = (uint8_t)(i + 1);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	w->peer = sv[0];
	w->be = qvhu_be_new(sv[1], &w->ops, w);
	ck_assert_ptr_nonnull(w->be);
}

static void world_close(struct world *w)
{
	ck_assert(qvhu_be_stop_all(w->be));
	ck_assert(!w->running[0] && !w->running[1]);
	ck_assert_uint_eq(w->starts[0], w->stops[0]);
	ck_assert_uint_eq(w->starts[1], w->stops[1]);
	w->be = qvhu_be_free(w->be);
	qfd_close(&w->peer);
}

/* ---- descriptors by letter ---- */

/* A region that a later back end made: version 2. */
static int odd_inflight(void)
{
	int fd = qfd_memfd("odd", 64 * K);
	uint16_t version = 2;

	ck_assert_int_eq(pwrite(fd, &version, sizeof(version), 8), sizeof(version));
	return fd;
}

static int make_fd(char kind)
{
	int p[2];

	switch (kind) {
	case 'm':
		return qfd_memfd("m", MEM_BYTES);
	case 's':
		return qfd_memfd("short", 4 * K);
	case 'u': {
		int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		ck_assert_int_eq(ftruncate(fd, MEM_BYTES), 0);
		return fd;
	}
	case 'v':
		return odd_inflight();
	case 'e':
		return qfd_eventfd();
	case 'p':
		ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
		close(p[0]);
		return p[1];
	default:
		return open("/dev/zero", O_RDWR | O_CLOEXEC);
	}
}

static void say_fds(struct world *w, uint32_t req, uint32_t flags, const void *payload,
		    uint32_t len, const char *kinds)
{
	uint32_t hdr[3] = { req, flags, len };
	uint8_t buf[1024];
	int fds[QFD_PASS_MAX];
	unsigned n = 0;

	for (; kinds && kinds[n]; n++) {
		fds[n] = make_fd(kinds[n]);
		ck_assert_int_ge(fds[n], 0);
	}
	memcpy(buf, hdr, sizeof(hdr));
	if (len && len <= 512)
		memcpy(buf + sizeof(hdr), payload, len);
	size_t bytes = sizeof(hdr) + (len <= 512 ? len : 0);
	ck_assert_int_eq(qfd_send(w->peer, buf, bytes, fds, n), (ssize_t)bytes);
	for (unsigned i = 0; i < n; i++)
		qfd_close(&fds[i]);
}

static int tell(struct world *w, uint32_t req, const void *payload, uint32_t len, const char *kinds)
{
	say_fds(w, req, QVHU_VERSION, payload, len, kinds);
	return qvhu_be_serve(w->be);
}

static void ok(struct world *w, uint32_t req, const void *payload, uint32_t len, const char *kinds)
{
	int r = tell(w, req, payload, len, kinds);

	ck_assert_msg(r == QVHU_OK, "%s: verdict %d, %s", qvhu_req_str(req), r,
		      qvhu_be_fault(w->be));
}

static void ok_u64(struct world *w, uint32_t req, uint64_t v, const char *kinds)
{
	ok(w, req, &v, sizeof(v), kinds);
}

static void ok_state(struct world *w, uint32_t req, uint32_t index, uint32_t num)
{
	const uint32_t v[2] = { index, num };

	ok(w, req, v, sizeof(v), NULL);
}

/* The answer to @req; its length. */
static uint32_t hear(struct world *w, uint32_t req, void *payload, size_t max)
{
	struct qvhu_msg m;

	ck_assert_int_eq(qvhu_recv(w->peer, &m, qnow_ns() + Q_NSEC_PER_SEC), QVHU_OK);
	ck_assert_uint_eq(m.hdr.req, req);
	ck_assert_uint_eq(m.hdr.flags, QVHU_VERSION | QVHU_FLAG_REPLY);
	ck_assert_uint_le(m.hdr.len_bytes, max);
	memcpy(payload, m.payload, m.hdr.len_bytes);
	qvhu_msg_fini(&m);
	return m.hdr.len_bytes;
}

static uint64_t hear_u64(struct world *w, uint32_t req)
{
	uint64_t v = 0;

	ck_assert_uint_eq(hear(w, req, &v, sizeof(v)), sizeof(v));
	return v;
}

static bool hears_nothing(struct world *w)
{
	char c;

	return recv(w->peer, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* ---- how far the connection has come ---- */

enum stage { NEW, NEGOTIATED, MEMORY, READY, RUNNING };

static void say_mem(struct world *w, uint64_t gpa_, uint64_t uaddr)
{
	const uint64_t table[] = { 1, gpa_, MEM_BYTES, uaddr, 0 };

	ok(w, QVHU_SET_MEM_TABLE, table, sizeof(table), "m");
}

static void say_ring(struct world *w, unsigned i)
{
	const struct qvhu_vring_addr a = { .index = i, .desc = UADDR + i * 0x4000,
					   .avail = UADDR + i * 0x4000 + 0x1000,
					   .used = UADDR + i * 0x4000 + 0x2000 };

	ok_state(w, QVHU_SET_VRING_NUM, i, 128);
	ok_state(w, QVHU_SET_VRING_BASE, i, 3);
	ok(w, QVHU_SET_VRING_ADDR, &a, sizeof(a), NULL);
}

static void world_at(struct world *w, enum stage stage)
{
	world_open(w);
	if (stage >= NEGOTIATED) {
		ok_u64(w, QVHU_SET_PROTOCOL_FEATURES, PROTOCOL, NULL);
		ok_u64(w, QVHU_SET_FEATURES, OFFERED, NULL);
		ck_assert_uint_eq(w->features, OFFERED);
	}
	if (stage >= MEMORY)
		say_mem(w, GPA, UADDR);
	if (stage >= READY) {
		ok_state(w, QVHU_SET_VRING_ENABLE, 0, 1);
		ok_state(w, QVHU_SET_VRING_NUM, 0, 128);
		ok_u64(w, QVHU_SET_VRING_KICK, 0, "e");
		ck_assert(!w->running[0]);
	}
	if (stage >= RUNNING) {
		say_ring(w, 0);
		ck_assert(w->running[0]);
	}
}

/* ---- faults ---- */

#define U32(lo, hi) ((uint64_t)(lo) | (uint64_t)(hi) << 32)
#define INFL(queues, size) ((uint64_t)(queues) | (uint64_t)(size) << 16)

static const struct {
	enum stage stage;
	uint32_t req, flags, len;
	const char *fds;
	const char *want;
	uint64_t w[12];
} fault_rows[] = {
	/* the header */
	{ NEW, 0, 1, 0, "", "unknown request: number" },
	{ NEW, 6, 1, 0, "", "unknown request: number" },
	{ NEW, 41, 1, 0, "", "unknown request: number" },
	{ NEW, UINT32_MAX, 1, 0, "m", "unknown request: number" },
	{ NEW, QVHU_GET_FEATURES, 0, 0, "", "GET_FEATURES: version or flags" },
	{ NEW, QVHU_GET_FEATURES, 2, 0, "", "GET_FEATURES: version or flags" },
	{ NEW, QVHU_GET_FEATURES, 3, 0, "", "GET_FEATURES: version or flags" },
	{ NEW, QVHU_GET_FEATURES, 0x11, 0, "", "GET_FEATURES: version or flags" },
	{ NEW, QVHU_GET_FEATURES, 0x80000001, 0, "", "GET_FEATURES: version or flags" },
	{ NEW, QVHU_GET_FEATURES, 5, 0, "", "GET_FEATURES: a reply" },
	{ NEW, QVHU_GET_FEATURES, 1, 513, "", "GET_FEATURES: payload too large" },
	{ NEW, QVHU_GET_FEATURES, 1, UINT32_MAX, "m", "GET_FEATURES: payload too large" },
	{ NEW, QVHU_GET_FEATURES, 1, 8, "", "GET_FEATURES: length" },
	/* descriptors where none belong */
	{ NEW, QVHU_GET_FEATURES, 1, 0, "e", "GET_FEATURES: number of descriptors" },
	{ NEW, QVHU_SET_OWNER, 1, 0, "ee", "SET_OWNER: number of descriptors" },
	{ MEMORY, QVHU_SET_VRING_NUM, 1, 8, "e", "SET_VRING_NUM: number of descriptors" },
	{ MEMORY, QVHU_SET_VRING_KICK, 1, 8, "ee", "SET_VRING_KICK: number of descriptors" },
	{ NEW, QVHU_SET_MEM_TABLE, 1, 8, "eeeeeeeee", "SET_MEM_TABLE: descriptors" },
	/* features */
	{ NEW, QVHU_SET_FEATURES, 1, 4, "", "SET_FEATURES: length" },
	{ NEW, QVHU_SET_FEATURES, 1, 8, "", "SET_FEATURES: bits not offered", { 1ull << 33 } },
	{ RUNNING, QVHU_SET_FEATURES, 1, 8, "", "SET_FEATURES: changed under a running queue",
	  { 1ull << 32 } },
	{ NEW, QVHU_SET_PROTOCOL_FEATURES, 1, 8, "", "SET_PROTOCOL_FEATURES: bits not offered",
	  { 2 } },
	{ NEW, QVHU_SET_PROTOCOL_FEATURES, 1, 0, "", "SET_PROTOCOL_FEATURES: length" },
	{ NEW, QVHU_GET_CONFIG, 1, 13, "", "GET_CONFIG: feature not negotiated", { U32(0, 1) } },
	{ NEW, QVHU_SET_CONFIG, 1, 13, "", "SET_CONFIG: feature not negotiated", { U32(0, 1) } },
	{ NEW, QVHU_GET_INFLIGHT_FD, 1, 24, "", "GET_INFLIGHT_FD: feature not negotiated" },
	{ NEW, QVHU_SET_INFLIGHT_FD, 1, 24, "m", "SET_INFLIGHT_FD: feature not negotiated" },
	{ NEW, QVHU_GET_MAX_MEM_SLOTS, 1, 0, "", "GET_MAX_MEM_SLOTS: feature not negotiated" },
	{ NEW, QVHU_ADD_MEM_REG, 1, 40, "m", "ADD_MEM_REG: feature not negotiated" },
	{ NEW, QVHU_REM_MEM_REG, 1, 40, "", "REM_MEM_REG: feature not negotiated" },
	{ NEW, QVHU_RESET_DEVICE, 1, 0, "", "RESET_DEVICE: feature not negotiated" },
	{ NEW, QVHU_SET_STATUS, 1, 8, "", "SET_STATUS: feature not negotiated" },
	{ NEGOTIATED, QVHU_SET_STATUS, 1, 8, "", "SET_STATUS: upper bits", { 256 } },
	{ NEGOTIATED, QVHU_SET_STATUS, 1, 4, "", "SET_STATUS: length" },
	/* config space */
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 12, "", "GET_CONFIG: length or offset" },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 11, "", "GET_CONFIG: length or offset" },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 12, "", "GET_CONFIG: length or offset", { U32(0, 4) } },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 20, "", "GET_CONFIG: length or offset", { U32(0, 4) } },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 13, "", "GET_CONFIG: length or offset",
	  { U32(256, 1) } },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 16, "", "GET_CONFIG: length or offset",
	  { U32(UINT32_MAX, 4) } },
	{ NEGOTIATED, QVHU_GET_CONFIG, 1, 16, "", "GET_CONFIG: length or offset",
	  { U32(0, UINT32_MAX) } },
	{ NEGOTIATED, QVHU_SET_CONFIG, 1, 13, "", "SET_CONFIG: length or offset",
	  { U32(16, 1), 2 } },
	/* memory table: count and padding, then gpa, length, user address, file offset */
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "", "SET_MEM_TABLE: number of descriptors",
	  { 1, GPA, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 8, "m",
	  "SET_MEM_TABLE: length or number of descriptors" },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "mm",
	  "SET_MEM_TABLE: length or number of descriptors", { 1, GPA, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: length or number of descriptors", { 2, GPA, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "mm",
	  "SET_MEM_TABLE: length or number of descriptors", { 2, GPA, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 296, "m",
	  "SET_MEM_TABLE: length or number of descriptors", { 9, GPA, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: length or number of descriptors", { UINT32_MAX } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: region not aligned or wraps", { 1, GPA + 1, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: region not aligned or wraps", { 1, GPA, 0, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: region not aligned or wraps", { 1, GPA, MEM_BYTES - 1, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: region not aligned or wraps", { 1, -4096ull, MEM_BYTES, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: region not aligned or wraps", { 1, GPA, 4096, UADDR, 1 } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m", "SET_MEM_TABLE: user address wraps",
	  { 1, GPA, MEM_BYTES, -4096ull } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 72, "mm", "SET_MEM_TABLE: regions overlap",
	  { 2, GPA, MEM_BYTES, UADDR, 0, GPA + 0xf000, MEM_BYTES, UADDR + MEM_BYTES, 0 } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "s",
	  "SET_MEM_TABLE: file shorter than its region", { 1, GPA, 8192, UADDR } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: file shorter than its region", { 1, GPA, MEM_BYTES, UADDR, 4096 } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "m",
	  "SET_MEM_TABLE: file shorter than its region", { 1, GPA, 4096, UADDR, -4096ull } },
	{ NEGOTIATED, QVHU_SET_MEM_TABLE, 1, 40, "u", "SET_MEM_TABLE: file can shrink",
	  { 1, GPA, MEM_BYTES, UADDR } },
	{ MEMORY, QVHU_ADD_MEM_REG, 1, 40, "", "ADD_MEM_REG: number of descriptors" },
	{ MEMORY, QVHU_ADD_MEM_REG, 1, 32, "m", "ADD_MEM_REG: length" },
	{ MEMORY, QVHU_ADD_MEM_REG, 1, 40, "m", "ADD_MEM_REG: regions overlap",
	  { 0, GPA, MEM_BYTES, UADDR } },
	{ MEMORY, QVHU_ADD_MEM_REG, 1, 40, "u", "ADD_MEM_REG: file can shrink",
	  { 0, GPA * 2, MEM_BYTES, UADDR * 2 } },
	{ MEMORY, QVHU_REM_MEM_REG, 1, 40, "", "REM_MEM_REG: no such region",
	  { 0, GPA + 4096, MEM_BYTES, UADDR } },
	{ MEMORY, QVHU_REM_MEM_REG, 1, 40, "", "REM_MEM_REG: no such region",
	  { 0, GPA, 4096, UADDR } },
	{ NEGOTIATED, QVHU_REM_MEM_REG, 1, 40, "", "REM_MEM_REG: no such region",
	  { 0, GPA, MEM_BYTES, UADDR } },
	{ MEMORY, QVHU_REM_MEM_REG, 1, 8, "", "REM_MEM_REG: length" },
	/* queues */
	{ NEW, QVHU_SET_VRING_NUM, 1, 4, "", "SET_VRING_NUM: length" },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: no such queue", { U32(2, 128) } },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: no such queue",
	  { U32(UINT32_MAX, 128) } },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: size", { U32(0, 0) } },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: size", { U32(0, 127) } },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: size", { U32(0, 512) } },
	{ NEW, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: size", { U32(0, 1u << 31) } },
	{ RUNNING, QVHU_SET_VRING_NUM, 1, 8, "", "SET_VRING_NUM: changed under a running queue",
	  { U32(0, 64) } },
	{ NEW, QVHU_SET_VRING_BASE, 1, 8, "", "SET_VRING_BASE: index", { U32(0, 65536) } },
	{ NEW, QVHU_SET_VRING_BASE, 1, 8, "", "SET_VRING_BASE: no such queue", { U32(9, 0) } },
	{ RUNNING, QVHU_SET_VRING_BASE, 1, 8, "",
	  "SET_VRING_BASE: changed under a running queue", { U32(0, 3) } },
	{ NEW, QVHU_GET_VRING_BASE, 1, 8, "", "GET_VRING_BASE: no such queue", { U32(64, 0) } },
	{ NEW, QVHU_GET_VRING_BASE, 1, 9, "", "GET_VRING_BASE: length" },
	{ NEW, QVHU_SET_VRING_ENABLE, 1, 8, "", "SET_VRING_ENABLE: neither 0 nor 1",
	  { U32(0, 2) } },
	{ NEW, QVHU_SET_VRING_ENABLE, 1, 8, "", "SET_VRING_ENABLE: no such queue",
	  { U32(2, 1) } },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 39, "", "SET_VRING_ADDR: length" },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: no such queue", { U32(2, 0) } },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: flags", { U32(0, 1) } },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: alignment",
	  { 0, UADDR + 8, UADDR, UADDR } },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: alignment",
	  { 0, UADDR, UADDR + 2, UADDR } },
	{ NEW, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: alignment",
	  { 0, UADDR, UADDR, UADDR + 1 } },
	/* desc, used, avail; 128 entries: 2048, 1030, 262 bytes */
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, 0, UADDR, UADDR } },
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, GPA, GPA, GPA } },
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, UADDR + MEM_BYTES - 2032, UADDR, UADDR } },
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, UADDR, UADDR + MEM_BYTES - 1028, UADDR } },
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, UADDR, UADDR, UADDR + MEM_BYTES - 260 } },
	{ READY, QVHU_SET_VRING_ADDR, 1, 40, "", "SET_VRING_ADDR: ring outside the memory table",
	  { 0, -16ull, UADDR, UADDR } },
	{ RUNNING, QVHU_SET_VRING_ADDR, 1, 40, "",
	  "SET_VRING_ADDR: changed under a running queue", { 0, UADDR, UADDR, UADDR } },
	/* kick, call, err */
	{ NEW, QVHU_SET_VRING_KICK, 1, 4, "e", "SET_VRING_KICK: length" },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "e", "SET_VRING_KICK: no such queue", { 2 } },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "e", "SET_VRING_KICK: no such queue", { 255 } },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "e", "SET_VRING_KICK: upper bits", { 512 } },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "e", "SET_VRING_KICK: upper bits", { 1ull << 63 } },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "e", "SET_VRING_KICK: descriptor and flag disagree",
	  { QVHU_NOFD } },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "", "SET_VRING_KICK: descriptor and flag disagree" },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "p", "SET_VRING_KICK: not an eventfd" },
	{ NEW, QVHU_SET_VRING_KICK, 1, 8, "m", "SET_VRING_KICK: not an eventfd" },
	{ NEW, QVHU_SET_VRING_CALL, 1, 8, "z", "SET_VRING_CALL: not an eventfd" },
	{ NEW, QVHU_SET_VRING_CALL, 1, 8, "e", "SET_VRING_CALL: no such queue", { 3 } },
	{ NEW, QVHU_SET_VRING_ERR, 1, 8, "", "SET_VRING_ERR: descriptor and flag disagree" },
	{ NEW, QVHU_SET_VRING_ERR, 1, 8, "e", "SET_VRING_ERR: upper bits", { UINT64_MAX } },
	/* in-flight region: length, offset, queues and size */
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 16, "", "GET_INFLIGHT_FD: length" },
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 24, "", "GET_INFLIGHT_FD: number of queues" },
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 24, "", "GET_INFLIGHT_FD: number of queues",
	  { 0, 0, INFL(3, 128) } },
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 24, "", "GET_INFLIGHT_FD: queue size",
	  { 0, 0, INFL(1, 0) } },
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 24, "", "GET_INFLIGHT_FD: queue size",
	  { 0, 0, INFL(1, 512) } },
	{ NEGOTIATED, QVHU_GET_INFLIGHT_FD, 1, 24, "e", "GET_INFLIGHT_FD: number of descriptors",
	  { 0, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "", "SET_INFLIGHT_FD: number of descriptors",
	  { 4224, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "m", "SET_INFLIGHT_FD: in-flight length",
	  { 2111, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "m", "SET_INFLIGHT_FD: in-flight length",
	  { 4223, 0, INFL(2, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "s",
	  "SET_INFLIGHT_FD: in-flight file too short", { 4224, 0, INFL(2, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "m",
	  "SET_INFLIGHT_FD: in-flight file too short", { UINT64_MAX, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "m",
	  "SET_INFLIGHT_FD: in-flight file too short", { 4096, -4096ull, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "m", "SET_INFLIGHT_FD: in-flight offset",
	  { 4096, 64, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "u",
	  "SET_INFLIGHT_FD: in-flight file can shrink", { 4096, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "e",
	  "SET_INFLIGHT_FD: in-flight file can shrink", { 4096, 0, INFL(1, 128) } },
	{ NEGOTIATED, QVHU_SET_INFLIGHT_FD, 1, 24, "v",
	  "SET_INFLIGHT_FD: in-flight region is not ours", { 4096, 0, INFL(1, 128) } },
};

START_TEST(fault_row)
{
	struct world w;

	world_at(&w, fault_rows[_i].stage);
	/* A fault is acknowledged too, when the front end can ask for that. */
	bool asks = fault_rows[_i].stage >= NEGOTIATED && (fault_rows[_i].flags & 3) == 1;
	say_fds(&w, fault_rows[_i].req, fault_rows[_i].flags | (asks ? QVHU_FLAG_NEED_REPLY : 0),
		fault_rows[_i].w, fault_rows[_i].len, fault_rows[_i].fds);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be), fault_rows[_i].want);
	/* It stays ended. */
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_FAULT);
	world_close(&w);
}
END_TEST

/* A front end that gave no table: rings told before it wait for it. */
START_TEST(any_order)
{
	struct world w;

	world_at(&w, NEGOTIATED);
	ok_u64(&w, QVHU_SET_VRING_KICK, 0, "e");
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	say_ring(&w, 0);
	ck_assert(!w.running[0]);
	say_mem(&w, GPA, UADDR);
	ck_assert(w.running[0]);
	ck_assert_uint_eq(w.q[0].ring.num, 128);
	ck_assert_uint_eq(w.q[0].ring.desc.v, GPA);
	ck_assert_uint_eq(w.q[0].ring.avail.v, GPA + 0x1000);
	ck_assert_uint_eq(w.q[0].ring.used.v, GPA + 0x2000);
	ck_assert_uint_eq(w.q[0].ring.base, 3);
	ck_assert_uint_eq(w.q[0].ring.features, QRING_INDIRECT | QRING_EVENT_IDX);
	ck_assert_int_ge(w.q[0].kick_fd, 0);
	ck_assert_int_eq(w.q[0].call_fd, -1);
	world_close(&w);
}
END_TEST

START_TEST(no_protocol_features)
{
	struct world w;

	world_open(&w);
	ok_u64(&w, QVHU_SET_FEATURES, 1ull << 32, NULL);
	say_mem(&w, GPA, UADDR);
	say_ring(&w, 1);
	ok_u64(&w, QVHU_SET_VRING_KICK, 1 | QVHU_NOFD, NULL);
	ck_assert(w.running[1]);
	ck_assert_int_eq(w.q[1].kick_fd, -1);
	ck_assert_uint_eq(w.q[1].ring.features, 0);
	world_close(&w);
}
END_TEST

START_TEST(queries)
{
	struct world w;

	world_open(&w);
	ok(&w, QVHU_GET_FEATURES, NULL, 0, NULL);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_FEATURES), OFFERED);
	ok(&w, QVHU_GET_PROTOCOL_FEATURES, NULL, 0, NULL);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_PROTOCOL_FEATURES), PROTOCOL);
	ok(&w, QVHU_GET_QUEUE_NUM, NULL, 0, NULL);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_QUEUE_NUM), 2);
	ok_u64(&w, QVHU_SET_PROTOCOL_FEATURES, PROTOCOL, NULL);
	ok(&w, QVHU_GET_MAX_MEM_SLOTS, NULL, 0, NULL);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_MAX_MEM_SLOTS), QMEM_REGIONS_MAX);
	ok_u64(&w, QVHU_SET_STATUS, 0x0f, NULL);
	ok(&w, QVHU_GET_STATUS, NULL, 0, NULL);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_STATUS), 0x0f);
	ok(&w, QVHU_SET_OWNER, NULL, 0, NULL);
	ck_assert(hears_nothing(&w));
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_AGAIN);
	ck_assert_str_eq(qvhu_be_fault(w.be), "none");
	world_close(&w);
}
END_TEST

START_TEST(config_space)
{
	struct world w;
	uint8_t got[64] = { 0 };
	uint8_t msg[12 + 8] = { 4, 0, 0, 0, 8, 0, 0, 0 };

	world_at(&w, NEGOTIATED);
	ok(&w, QVHU_GET_CONFIG, msg, sizeof(msg), NULL);
	ck_assert_uint_eq(hear(&w, QVHU_GET_CONFIG, got, sizeof(got)), sizeof(msg));
	ck_assert_mem_eq(got, msg, 8);
	ck_assert_mem_eq(got + 12, w.config + 4, 8);
	msg[0] = 30;	/* beyond what the owner has: an empty answer, and on we go */
	ok(&w, QVHU_GET_CONFIG, msg, sizeof(msg), NULL);
	ck_assert_uint_eq(hear(&w, QVHU_GET_CONFIG, got, sizeof(got)), 0);
	msg[0] = 16;
	memset(msg + 12, 0xee, 8);
	ok(&w, QVHU_SET_CONFIG, msg, sizeof(msg), NULL);
	ck_assert_uint_eq(w.config[16], 0xee);
	ck_assert_uint_eq(w.config[24], 25);
	/* Refused: said when asked for, and not the end. */
	msg[0] = 0;
	say_fds(&w, QVHU_SET_CONFIG, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, msg, sizeof(msg), NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert_uint_ne(hear_u64(&w, QVHU_SET_CONFIG), 0);
	ck_assert_uint_eq(w.config[0], 1);
	world_close(&w);
}
END_TEST

START_TEST(acknowledgements)
{
	struct world w;

	world_open(&w);
	/* Not negotiated: the flag means nothing. */
	say_fds(&w, QVHU_SET_OWNER, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, NULL, 0, NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert(hears_nothing(&w));
	ok_u64(&w, QVHU_SET_PROTOCOL_FEATURES, PROTOCOL, NULL);
	say_fds(&w, QVHU_SET_OWNER, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, NULL, 0, NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert_uint_eq(hear_u64(&w, QVHU_SET_OWNER), 0);
	/* A request with an answer of its own gets one answer. */
	say_fds(&w, QVHU_GET_FEATURES, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, NULL, 0, NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_FEATURES), OFFERED);
	ck_assert(hears_nothing(&w));
	say_fds(&w, 99, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, NULL, 0, NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_FAULT);
	ck_assert_uint_eq(hear_u64(&w, 99), 1);
	world_close(&w);
}
END_TEST

START_TEST(stop_and_start_again)
{
	struct world w;
	uint32_t state[2];

	world_at(&w, RUNNING);
	ok_state(&w, QVHU_GET_VRING_BASE, 0, 0);
	ck_assert_uint_eq(hear(&w, QVHU_GET_VRING_BASE, state, sizeof(state)), sizeof(state));
	ck_assert_uint_eq(state[0], 0);
	ck_assert_uint_eq(state[1], 7);
	ck_assert(!w.running[0]);
	/* Stopped, it takes a new configuration, and runs on a new kick only. */
	ok_state(&w, QVHU_SET_VRING_NUM, 0, 64);
	ok_state(&w, QVHU_SET_VRING_BASE, 0, 9);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	ck_assert(!w.running[0]);
	ok_u64(&w, QVHU_SET_VRING_KICK, 0, "e");
	ck_assert(w.running[0]);
	ck_assert_uint_eq(w.q[0].ring.num, 64);
	ck_assert_uint_eq(w.q[0].ring.base, 9);
	/* What changes nothing is no fault while it runs. */
	ok_state(&w, QVHU_SET_VRING_NUM, 0, 64);
	ok_u64(&w, QVHU_SET_FEATURES, OFFERED, NULL);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	ck_assert_uint_eq(w.starts[0], 2);
	world_close(&w);
}
END_TEST

START_TEST(disable_and_enable)
{
	struct world w;

	world_at(&w, RUNNING);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 0);
	ck_assert(!w.running[0]);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	ck_assert(w.running[0]);
	ck_assert_uint_eq(w.q[0].ring.base, 7);
	world_close(&w);
}
END_TEST

START_TEST(descriptors_change)
{
	struct world w;

	world_at(&w, RUNNING);
	ok_u64(&w, QVHU_SET_VRING_CALL, 0, "e");
	ck_assert_uint_eq(w.calls, 1);
	ck_assert_int_ge(w.q[0].call_fd, 0);
	qfd_event_signal(w.q[0].call_fd);
	ok_u64(&w, QVHU_SET_VRING_CALL, QVHU_NOFD, NULL);
	ck_assert_uint_eq(w.calls, 2);
	ck_assert_int_eq(w.q[0].call_fd, -1);
	ck_assert_uint_eq(w.stops[0], 0);
	/* Kick and err go through a stop. */
	ok_u64(&w, QVHU_SET_VRING_KICK, 0, "e");
	ck_assert_uint_eq(w.starts[0], 2);
	ok_u64(&w, QVHU_SET_VRING_ERR, 0, "e");
	ck_assert_uint_eq(w.starts[0], 3);
	ck_assert_int_ge(w.q[0].err_fd, 0);
	ck_assert(fcntl(w.q[0].kick_fd, F_GETFL) & O_NONBLOCK);
	ck_assert(fcntl(w.q[0].err_fd, F_GETFD) & FD_CLOEXEC);
	world_close(&w);
}
END_TEST

/* A message waits for requests in flight, and nothing after it is looked at. */
START_TEST(a_stop_takes_time)
{
	struct world w;
	uint32_t state[2] = { 0, 0 };

	world_at(&w, RUNNING);
	w.stop_waits = true;
	say_fds(&w, QVHU_GET_VRING_BASE, QVHU_VERSION, state, sizeof(state), NULL);
	say_fds(&w, QVHU_GET_FEATURES, QVHU_VERSION, NULL, 0, NULL);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert(qvhu_be_waiting(w.be));
	ck_assert(hears_nothing(&w));
	qvhu_be_queue_stopped(w.be, 0, 21);
	ck_assert(!qvhu_be_waiting(w.be));
	hear(&w, QVHU_GET_VRING_BASE, state, sizeof(state));
	ck_assert_uint_eq(state[1], 21);
	ck_assert(hears_nothing(&w));
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert_uint_eq(hear_u64(&w, QVHU_GET_FEATURES), OFFERED);
	world_close(&w);
}
END_TEST

START_TEST(a_stop_ends_inside)
{
	struct world w;
	uint32_t state[2] = { 0, 0 };

	world_at(&w, RUNNING);
	w.stop_inside = true;
	ok_state(&w, QVHU_GET_VRING_BASE, 0, 0);
	ck_assert(!qvhu_be_waiting(w.be));
	hear(&w, QVHU_GET_VRING_BASE, state, sizeof(state));
	ck_assert_uint_eq(state[1], 7);
	world_close(&w);
}
END_TEST

START_TEST(memory_is_swapped_when_all_have_stopped)
{
	struct world w;
	const uint64_t table[] = { 1, GPA * 2, MEM_BYTES, UADDR, 0 };

	world_at(&w, RUNNING);
	say_ring(&w, 1);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 1, 1);
	ok_u64(&w, QVHU_SET_VRING_KICK, 1, "e");
	ck_assert(w.running[1]);
	struct qmem *old = qmem_ref(w.mem);	/* of a request in flight */

	w.stop_waits = true;
	say_fds(&w, QVHU_SET_MEM_TABLE, QVHU_VERSION | QVHU_FLAG_NEED_REPLY, table, sizeof(table),
		"m");
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert(qvhu_be_waiting(w.be));
	qvhu_be_queue_stopped(w.be, 1, 100);
	ck_assert(qvhu_be_waiting(w.be));
	ck_assert_ptr_eq(qvhu_be_mem(w.be), old);
	qvhu_be_queue_stopped(w.be, 0, 200);
	ck_assert(!qvhu_be_waiting(w.be));
	ck_assert_uint_eq(hear_u64(&w, QVHU_SET_MEM_TABLE), 0);
	ck_assert(w.running[0] && w.running[1]);
	ck_assert_ptr_ne(w.mem, old);
	ck_assert_ptr_eq(w.mem, qvhu_be_mem(w.be));
	ck_assert_uint_eq(w.q[0].ring.desc.v, GPA * 2);
	ck_assert_uint_eq(w.q[0].ring.base, 200);
	ck_assert_uint_eq(w.q[1].ring.base, 100);
	/* The old table still is what it was, for those who hold it. */
	ck_assert_ptr_nonnull(qmem_ptr(old, gpa(GPA), MEM_BYTES, true));
	qmem_unref(old);
	w.stop_waits = false;
	world_close(&w);
}
END_TEST

/* Regions come and go one by one; a queue whose ring is gone waits for it. */
START_TEST(memory_by_slots)
{
	struct world w;
	const uint64_t first[] = { 0, GPA, MEM_BYTES, UADDR, 0 };
	const uint64_t second[] = { 0, GPA * 2, MEM_BYTES, UADDR * 2, 0 };

	world_at(&w, RUNNING);
	ok(&w, QVHU_ADD_MEM_REG, second, sizeof(second), "m");
	ck_assert_uint_eq(qvhu_be_mem(w.be)->n, 2);
	ck_assert_uint_eq(w.starts[0], 2);
	ok(&w, QVHU_REM_MEM_REG, first, sizeof(first), "m"); /* its descriptor is closed */
	ck_assert_uint_eq(qvhu_be_mem(w.be)->n, 1);
	ck_assert(!w.running[0]);
	ok(&w, QVHU_ADD_MEM_REG, first, sizeof(first), "m");
	ck_assert(w.running[0]);
	ck_assert_uint_eq(w.q[0].ring.base, 7);
	world_close(&w);
}
END_TEST

START_TEST(unsealed_memory_where_allowed)
{
	struct world w;
	const uint64_t table[] = { 1, GPA, MEM_BYTES, UADDR, 0 };

	world_open(&w);
	w.ops.require_sealed = false;
	ok(&w, QVHU_SET_MEM_TABLE, table, sizeof(table), "u");
	ck_assert_uint_eq(qvhu_be_mem(w.be)->n, 1);
	world_close(&w);
}
END_TEST

static const uint32_t reset_rows[] = { QVHU_RESET_OWNER, QVHU_RESET_DEVICE, QVHU_SET_STATUS };

START_TEST(reset_row)
{
	struct world w;
	uint64_t zero = 0;
	uint32_t req = reset_rows[_i];

	world_at(&w, RUNNING);
	ok(&w, req, &zero, req == QVHU_SET_STATUS ? sizeof(zero) : 0, NULL);
	ck_assert(!w.running[0]);
	/* It does not come back by itself, and does when set up again. */
	say_ring(&w, 0);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	ck_assert(!w.running[0]);
	ok_u64(&w, QVHU_SET_VRING_KICK, 0, "e");
	ck_assert(w.running[0]);
	world_close(&w);
}
END_TEST

START_TEST(owner_refuses_a_ring)
{
	struct world w;

	world_at(&w, READY);
	w.start_verdict = QVHU_FAULT;
	const struct qvhu_vring_addr a = { .desc = UADDR, .avail = UADDR + 0x1000,
					   .used = UADDR + 0x2000 };
	ck_assert_int_eq(tell(&w, QVHU_SET_VRING_ADDR, &a, sizeof(a), NULL), QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be), "SET_VRING_ADDR: ring refused");
	world_close(&w);
}
END_TEST

START_TEST(half_a_message)
{
	struct world w;
	const uint32_t msg[5] = { QVHU_SET_FEATURES, QVHU_VERSION, 8, 0, 1 };

	world_open(&w);
	/* Byte by byte is slow and right. */
	for (unsigned i = 0; i < sizeof(msg); i++) {
		ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_AGAIN);
		ck_assert_int_eq(send(w.peer, (const char *)msg + i, 1, 0), 1);
	}
	ck_assert_uint_ne(qvhu_be_deadline_ns(w.be), 0);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	ck_assert_uint_eq(qvhu_be_features(w.be), 1ull << 32);
	ck_assert_uint_eq(qvhu_be_deadline_ns(w.be), 0);
	/* Half of one is given up when its time has come. */
	ck_assert_int_eq(send(w.peer, msg, 13, 0), 13);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_AGAIN);
	while (qnow_ns() < qvhu_be_deadline_ns(w.be))
		usleep(10000);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be), "SET_FEATURES: half a message");
	world_close(&w);
}
END_TEST

START_TEST(descriptors_in_the_middle)
{
	struct world w;
	const uint32_t msg[5] = { QVHU_SET_VRING_KICK, QVHU_VERSION, 8, 0, 0 };
	int fd = qfd_eventfd();

	world_open(&w);
	ck_assert_int_eq(send(w.peer, msg, 12, 0), 12);
	ck_assert_int_eq(qfd_send(w.peer, msg + 3, 8, &fd, 1), 8);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be), "SET_VRING_KICK: descriptors");
	qfd_close(&fd);
	world_close(&w);
}
END_TEST

START_TEST(hang_up)
{
	struct world w;

	world_at(&w, RUNNING);
	ck_assert_int_eq(send(w.peer, "\1\0\0", 3, 0), 3);
	qfd_close(&w.peer);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_CLOSED);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_CLOSED);
	world_close(&w);
}
END_TEST

/* The peer goes while a message waits: found out when it is answered, reported by the next serve. */
START_TEST(hang_up_during_a_stop)
{
	struct world w;
	uint32_t state[2] = { 0, 0 };
	char c;

	world_at(&w, RUNNING);
	w.stop_waits = true;
	ok(&w, QVHU_GET_VRING_BASE, state, sizeof(state), NULL);
	qfd_close(&w.peer);
	qvhu_be_queue_stopped(w.be, 0, 1);
	ck_assert_int_ge(recv(qvhu_be_fd(w.be), &c, 1, MSG_PEEK | MSG_DONTWAIT), 0);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_CLOSED);
	world_close(&w);
}
END_TEST

START_TEST(end_during_a_stop)
{
	struct world w;
	uint32_t state[2] = { 0, 0 };

	world_at(&w, RUNNING);
	w.stop_waits = true;
	ok(&w, QVHU_GET_VRING_BASE, state, sizeof(state), NULL);
	ck_assert(!qvhu_be_stop_all(w.be));
	ck_assert(!qvhu_be_stop_all(w.be));
	qvhu_be_queue_stopped(w.be, 0, 1);
	ck_assert(hears_nothing(&w));	/* the message died with the connection */
	ck_assert(qvhu_be_stop_all(w.be));
	world_close(&w);
}
END_TEST

START_TEST(answers_are_not_read)
{
	struct world w;
	int r = QVHU_OK;

	world_open(&w);
	for (unsigned i = 0; r == QVHU_OK && i < 100000; i++)
		r = tell(&w, QVHU_GET_FEATURES, NULL, 0, NULL);
	ck_assert_int_eq(r, QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be), "GET_FEATURES: answers are not read");
	world_close(&w);
}
END_TEST

/* The region goes to the front end and comes back to another back end, with what was in flight. */
START_TEST(inflight_survives_the_back_end)
{
	struct world w;
	struct qvhu_inflight in = { .n_queues = 2, .queue_size = 128 };
	const struct qvhu_hdr set = { .req = QVHU_SET_INFLIGHT_FD, .flags = QVHU_VERSION,
				      .len_bytes = sizeof(in) };
	struct qvhu_msg m;
	uint16_t heads[4];

	world_at(&w, NEGOTIATED);
	ok(&w, QVHU_GET_INFLIGHT_FD, &in, sizeof(in), NULL);
	ck_assert_int_eq(qvhu_recv(w.peer, &m, qnow_ns() + Q_NSEC_PER_SEC), QVHU_OK);
	ck_assert(qvhu_get_inflight(&m, &in));
	ck_assert_uint_eq(m.n_fds, 1);
	ck_assert_uint_eq(in.n_queues, 2);
	ck_assert_uint_eq(in.queue_size, 128);
	ck_assert_uint_eq(in.mmap_len, 2 * (64 + 128 * 16));
	ck_assert_int_eq(qvhu_send(w.peer, &set, &in, m.fds, 1, 0), QVHU_OK);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	say_mem(&w, GPA, UADDR);
	say_ring(&w, 0);
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 1);
	ok_u64(&w, QVHU_SET_VRING_KICK, 0, "e");
	ck_assert_uint_eq(w.q[0].ring.base, 3);	/* a fresh region knows nothing */
	struct qvhu_inflight_queue *q = qvhu_be_inflight(w.be, 0);
	ck_assert_uint_eq(qvhu_inflight_recover(q, 0, heads, 4), 0);
	ck_assert(qvhu_inflight_take(q, 100));
	ck_assert(qvhu_inflight_take(q, 5));
	ck_assert(!qvhu_inflight_take(q, 5));
	ck_assert(!qvhu_inflight_take(q, 128));
	ck_assert_ptr_null(qvhu_be_inflight(w.be, 2));
	world_close(&w);

	world_at(&w, READY);
	ck_assert_int_eq(qvhu_send(w.peer, &set, &in, m.fds, 1, 0), QVHU_OK);
	qvhu_msg_fini(&m);
	ck_assert_int_eq(qvhu_be_serve(w.be), QVHU_OK);
	say_ring(&w, 0);
	ck_assert_uint_eq(w.q[0].ring.base, 2);	/* used index 0, two in flight */
	q = qvhu_be_inflight(w.be, 0);
	ck_assert_uint_eq(qvhu_inflight_recover(q, 0, heads, 4), 2);
	ck_assert_uint_eq(heads[0], 100);
	ck_assert_uint_eq(heads[1], 5);
	/* A ring that is larger than the region. */
	ok_state(&w, QVHU_SET_VRING_ENABLE, 0, 0);
	ok_state(&w, QVHU_SET_VRING_NUM, 0, 256);
	const uint32_t enable[2] = { 0, 1 };
	ck_assert_int_eq(tell(&w, QVHU_SET_VRING_ENABLE, enable, sizeof(enable), NULL), QVHU_FAULT);
	ck_assert_str_eq(qvhu_be_fault(w.be),
			 "SET_VRING_ENABLE: ring larger than its in-flight region");
	world_close(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qvhu_be");
	TCase *faults = fixture_case(s, "faults");
	TCase *tc = fixture_case(s, "life");

	tcase_add_loop_test(faults, fault_row, 0, Q_ARRAY_LEN(fault_rows));
	tcase_add_test(tc, any_order);
	tcase_add_test(tc, no_protocol_features);
	tcase_add_test(tc, queries);
	tcase_add_test(tc, config_space);
	tcase_add_test(tc, acknowledgements);
	tcase_add_test(tc, stop_and_start_again);
	tcase_add_test(tc, disable_and_enable);
	tcase_add_test(tc, descriptors_change);
	tcase_add_test(tc, a_stop_takes_time);
	tcase_add_test(tc, a_stop_ends_inside);
	tcase_add_test(tc, memory_is_swapped_when_all_have_stopped);
	tcase_add_test(tc, memory_by_slots);
	tcase_add_test(tc, unsealed_memory_where_allowed);
	tcase_add_loop_test(tc, reset_row, 0, Q_ARRAY_LEN(reset_rows));
	tcase_add_test(tc, owner_refuses_a_ring);
	tcase_add_test(tc, half_a_message);
	tcase_add_test(tc, descriptors_in_the_middle);
	tcase_add_test(tc, hang_up);
	tcase_add_test(tc, hang_up_during_a_stop);
	tcase_add_test(tc, end_during_a_stop);
	tcase_add_test(tc, answers_are_not_read);
	tcase_add_test(tc, inflight_survives_the_back_end);
	return fixture_main(s);
}
