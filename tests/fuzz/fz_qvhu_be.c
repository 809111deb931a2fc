/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front end that writes what it likes to a vhost-user back end: messages with descriptors of
 * every kind, torn at any place, with rings that the owner really uses and with stops that take
 * time.
 *
 * Input: steps, each an operation byte (low 3 bits) and its operands:
 *   0-3 SAY       request, flags, descriptors (count in the low 4 bits, kinds follow), length
 *                 (16 bits), payload; with bit 3, only the first bytes of it (their number
 *                 follows)
 *   4   RAW       length, bytes
 *   5   SCRIBBLE  which file, offset (16 bits), length, bytes
 *   6   OWNER     which queue: ends its stop, or drains its ring
 *   7   READ      takes answers from the socket
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "lib/qvhu_be.h"
#include "tests/fuzz/fuzz.h"

#define N_QUEUES 2u
#define FILE_BYTES 0x10000u
#define STEPS_MAX 256u

enum file { F_MEM, F_MEM2, F_SHORT, F_UNSEALED, F_EVENT, F_OTHER, FILES };

struct owner {
	struct qvhu_be *be;
	int peer, files[FILES];
	struct qmem *mem[N_QUEUES];	/* a reference while the queue runs */
	struct qring ring[N_QUEUES];
	bool running[N_QUEUES], stopping[N_QUEUES], slow;
};

static void drain(struct owner *o, unsigned i)
{
	struct qvhu_inflight_queue *inflight = qvhu_be_inflight(o->be, i);
	struct qring *r = &o->ring[i];
	struct iovec iov[8];
	struct qring_chain c;

	for (unsigned budget = 4; budget > 0; budget--) {
		enum qring_verdict v = qring_pop(r, iov, 8, &c);

		if (v == QRING_EMPTY || v == QRING_BAD_AVAIL)
			return;
		for (unsigned k = 0; v == QRING_OK && k < c.n_in; k++)
			memset(iov[c.n_out + k].iov_base, 0x5a, iov[c.n_out + k].iov_len);
		if (inflight && qvhu_inflight_take(inflight, c.head))
			qvhu_inflight_batch(inflight, c.head);
		qring_push(r, c.head, 0);
		qring_publish(r);
		if (inflight) {
			qvhu_inflight_done(inflight, c.head);
			qvhu_inflight_used(inflight, r->used_idx);
		}
	}
}

static int on_start(void *ctx, unsigned i, const struct qvhu_be_queue *q, struct qmem *mem)
{
	struct owner *o = ctx;
	struct qvhu_inflight_queue *inflight = qvhu_be_inflight(o->be, i);
	uint16_t heads[16];

	qassert(!o->running[i] && !o->stopping[i]);
	if (qring_init(&o->ring[i], mem, &q->ring) < 0)
		return QVHU_FAULT;
	if (inflight) {
		unsigned n = qvhu_inflight_recover(inflight, o->ring[i].used_idx, heads, 16);
		qassert(n <= q->ring.num);
		for (unsigned k = 0; k < Q_MIN(n, 16u); k++)
			qassert(heads[k] < q->ring.num);
	}
	o->mem[i] = qmem_ref(mem);
	o->running[i] = true;
	return QVHU_OK;
}

static bool on_stop(void *ctx, unsigned i, uint16_t *ret_base)
{
	struct owner *o = ctx;

	qassert(o->running[i]);
	o->running[i] = false;
	o->stopping[i] = o->slow;
	*ret_base = o->ring[i].last_avail;
	if (!o->slow)
		o->mem[i] = qmem_unref(o->mem[i]);
	return !o->slow;
}

static void end_stop(struct owner *o, unsigned i)
{
	o->stopping[i] = false;
	o->mem[i] = qmem_unref(o->mem[i]);
	qvhu_be_queue_stopped(o->be, i, o->ring[i].last_avail);
}

static int on_config_get(void *ctx, uint32_t off, uint8_t *buf, uint32_t len)
{
	qassert(qspan_inside(off, len, QVHU_CONFIG_MAX));
	memset(buf, 1, len);
	return off < 60 ? QVHU_OK : QVHU_REFUSED;
}

static int on_config_set(void *ctx, uint32_t off, const uint8_t *buf, uint32_t len)
{
	qassert(qspan_inside(off, len, QVHU_CONFIG_MAX));
	return buf[0] & 1 ? QVHU_OK : QVHU_REFUSED;
}

static const struct qvhu_be_ops ops = {
	.features = QVHU_F_PROTOCOL_FEATURES | 1ull << 28 | 1ull << 29 | 1ull << 32,
	.protocol_features = QVHU_PF_MQ | QVHU_PF_REPLY_ACK | QVHU_PF_CONFIG | QVHU_PF_INFLIGHT |
			     QVHU_PF_RESET_DEVICE | QVHU_PF_CONFIGURE_MEM_SLOTS | QVHU_PF_STATUS,
	.n_queues = N_QUEUES, .queue_size_max = 256, .require_sealed = true,
	.config_get = on_config_get, .config_set = on_config_set,
	.queue_start = on_start, .queue_stop = on_stop,
};

static void owner_open(struct owner *o)
{
	int sv[2];

	*o = (struct owner){ 0 };
	qassert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == 0);
	o->files[F_MEM] = qfd_memfd("mem", FILE_BYTES);
	o->files[F_MEM2] = qfd_memfd("mem2", FILE_BYTES);
	o->files[F_SHORT] = qfd_memfd("short", 4096);
	o->files[F_UNSEALED] = memfd_create("unsealed", MFD_CLOEXEC);
	qassert(ftruncate(o->files[F_UNSEALED], FILE_BYTES) == 0);
	o->files[F_EVENT] = qfd_eventfd();
	o->files[F_OTHER] = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (unsigned i = 0; i < FILES; i++)
		qassert(o->files[i] >= 0);
	o->peer = sv[0];
	o->be = qvhu_be_new(sv[1], &ops, o);
	qassert(o->be);
}

static void owner_close(struct owner *o)
{
	while (!qvhu_be_stop_all(o->be))
		for (unsigned i = 0; i < N_QUEUES; i++)
			if (o->stopping[i])
				end_stop(o, i);
	o->be = qvhu_be_free(o->be);
	for (unsigned i = 0; i < N_QUEUES; i++)
		qassert(!o->running[i] && !o->stopping[i] && !o->mem[i]);
	for (unsigned i = 0; i < FILES; i++)
		qfd_close(&o->files[i]);
	qfd_close(&o->peer);
}

static void put(struct owner *o, const void *bytes, size_t len, const int *fds, unsigned n_fds)
{
	if (len > 0)
		(void)qfd_send(o->peer, bytes, len, fds, n_fds);	/* full or gone: so be it */
}

static void say(struct owner *o, struct fuzz_in *in, bool cut)
{
	uint8_t buf[12 + 1024];
	uint32_t hdr[3] = { fuzz_u8(in), fuzz_u8(in), 0 };
	unsigned n_fds = fuzz_u8(in) & 15;
	int fds[15];

	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = o->files[fuzz_u8(in) % FILES];
	hdr[2] = fuzz_u16(in);
	size_t len = Q_MIN(hdr[2], 1024u);
	memcpy(buf, hdr, sizeof(hdr));
	fuzz_bytes(in, buf + sizeof(hdr), len);
	len += sizeof(hdr);
	put(o, buf, cut ? Q_MIN(len, (size_t)fuzz_u8(in)) : len, fds, n_fds);
}

static void raw(struct owner *o, struct fuzz_in *in)
{
	uint8_t buf[256];
	size_t len = fuzz_u8(in);

	fuzz_bytes(in, buf, len);
	put(o, buf, len, NULL, 0);
}

static void scribble(struct owner *o, struct fuzz_in *in)
{
	uint8_t buf[256];
	int fd = o->files[fuzz_u8(in) % 2];
	uint16_t off = fuzz_u16(in);
	size_t len = fuzz_u8(in);

	fuzz_bytes(in, buf, len);
	(void)!pwrite(fd, buf, Q_MIN(len, (size_t)(FILE_BYTES - off)), off);
}

static void owner_works(struct owner *o, unsigned what)
{
	unsigned i = what % N_QUEUES;

	o->slow = what & 4;
	if (o->stopping[i])
		end_stop(o, i);
	else if (o->running[i])
		drain(o, i);
}

static void read_answers(struct owner *o)
{
	struct qvhu_msg m;

	while (qvhu_recv(o->peer, &m, 0) == QVHU_OK) {
		qassert(m.hdr.flags == (QVHU_VERSION | QVHU_FLAG_REPLY));
		qvhu_msg_fini(&m);
	}
}

/* True as long as the connection lives. */
static bool serve(struct owner *o)
{
	int r = QVHU_OK;

	while (r == QVHU_OK && !qvhu_be_waiting(o->be))
		r = qvhu_be_serve(o->be);
	qassert(r != QVHU_FAULT || strcmp(qvhu_be_fault(o->be), "none") != 0);
	return r == QVHU_OK || r == QVHU_AGAIN;
}

static unsigned count_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	struct owner o;
	unsigned fds_before = count_fds();

	owner_open(&o);
	for (unsigned step = 0; in.left > 0 && step < STEPS_MAX; step++) {
		uint8_t op = fuzz_u8(&in);

		if ((op & 7) < 4)
			say(&o, &in, op & 8);
		else if ((op & 7) == 4)
			raw(&o, &in);
		else if ((op & 7) == 5)
			scribble(&o, &in);
		else if ((op & 7) == 6)
			owner_works(&o, fuzz_u8(&in));
		else
			read_answers(&o);
		if (!serve(&o))
			break;
	}
	owner_close(&o);
	qassert(count_fds() == fds_before);
	return 0;
}
