/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of a back end under test: see qvhu_world.h. One thread. */
#include "tests/unit/qvhu_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

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

void world_open(struct world *w)
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

void world_close(struct world *w)
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

void say_fds(struct world *w, uint32_t req, uint32_t flags, const void *payload,
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

int tell(struct world *w, uint32_t req, const void *payload, uint32_t len, const char *kinds)
{
	say_fds(w, req, QVHU_VERSION, payload, len, kinds);
	return qvhu_be_serve(w->be);
}

void ok(struct world *w, uint32_t req, const void *payload, uint32_t len, const char *kinds)
{
	int r = tell(w, req, payload, len, kinds);

	ck_assert_msg(r == QVHU_OK, "%s: verdict %d, %s", qvhu_req_str(req), r,
		      qvhu_be_fault(w->be));
}

void ok_u64(struct world *w, uint32_t req, uint64_t v, const char *kinds)
{
	ok(w, req, &v, sizeof(v), kinds);
}

void ok_state(struct world *w, uint32_t req, uint32_t index, uint32_t num)
{
	const uint32_t v[2] = { index, num };

	ok(w, req, v, sizeof(v), NULL);
}

/* The answer to @req; its length. */
uint32_t hear(struct world *w, uint32_t req, void *payload, size_t max)
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

uint64_t hear_u64(struct world *w, uint32_t req)
{
	uint64_t v = 0;

	ck_assert_uint_eq(hear(w, req, &v, sizeof(v)), sizeof(v));
	return v;
}

bool hears_nothing(struct world *w)
{
	char c;

	return recv(w->peer, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* ---- how far the connection has come ---- */

void say_mem(struct world *w, uint64_t gpa_, uint64_t uaddr)
{
	const uint64_t table[] = { 1, gpa_, MEM_BYTES, uaddr, 0 };

	ok(w, QVHU_SET_MEM_TABLE, table, sizeof(table), "m");
}

void say_ring(struct world *w, unsigned i)
{
	const struct qvhu_vring_addr a = { .index = i, .desc = UADDR + i * 0x4000,
					   .avail = UADDR + i * 0x4000 + 0x1000,
					   .used = UADDR + i * 0x4000 + 0x2000 };

	ok_state(w, QVHU_SET_VRING_NUM, i, 128);
	ok_state(w, QVHU_SET_VRING_BASE, i, 3);
	ok(w, QVHU_SET_VRING_ADDR, &a, sizeof(a), NULL);
}

void world_at(struct world *w, enum stage stage)
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
