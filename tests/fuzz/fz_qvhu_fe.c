/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back end that answers what it likes. The answers stand in the socket before the front end
 * asks, so that one thread is enough: a front end cannot tell when an answer was written.
 *
 * Input: number of calls, one byte for each; then answers until the end: number of descriptors (1
 * byte), length (16 bits), bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "lib/qfd.h"
#include "lib/qvhu_fe.h"
#include "tests/fuzz/fuzz.h"

#define CALLS_MAX 32u
#define CALL_KINDS 10u

struct peer {
	struct qvhu_fe *fe;
	struct qmem *mem;
	int event_fd;
};

static int use_inflight(struct peer *p)
{
	struct qvhu_inflight in;
	int fd = -1, r = qvhu_fe_inflight_get(p->fe, 1, 64, &in, &fd);

	if (r != QVHU_OK)
		return r;
	qassert(fd >= 0 && in.n_queues == 1 && in.queue_size == 64 && in.mmap_len > 0);
	r = qvhu_fe_inflight_set(p->fe, &in, fd);
	qfd_close(&fd);
	return r;
}

static int make_call(struct peer *p, unsigned call)
{
	const struct qring_cfg ring = { .num = 64, .avail = { 0x1000 }, .used = { 0x2000 } };
	uint8_t buf[QVHU_CONFIG_MAX] = { 0 };
	unsigned n = 0;
	uint16_t base;

	switch (call % CALL_KINDS) {
	case 0:
		return qvhu_fe_queue_num(p->fe, &n);
	case 1:
		return qvhu_fe_config_get(p->fe, 0, buf, 60);
	case 2:
		return qvhu_fe_config_get(p->fe, 0, buf, sizeof(buf));
	case 3:
		return qvhu_fe_config_set(p->fe, 32, buf, 1);
	case 4:
		return qvhu_fe_set_features(p->fe, qvhu_fe_features(p->fe));
	case 5:
		return qvhu_fe_set_mem(p->fe, p->mem);
	case 6:
		return qvhu_fe_queue_start(p->fe, 0, p->mem, &ring, p->event_fd, p->event_fd);
	case 7:
		return qvhu_fe_queue_start(p->fe, 1, p->mem, &ring, -1, -1);
	case 8:
		return qvhu_fe_queue_stop(p->fe, 0, &base);
	default:
		return use_inflight(p);
	}
}

/* Writes the answers; those that the socket does not take are lost. */
static void write_answers(int sock, struct fuzz_in *in)
{
	uint8_t buf[1024];
	int fd = qfd_memfd("answer", 4096), fds[16];

	qassert(fd >= 0);
	for (unsigned i = 0; i < Q_ARRAY_LEN(fds); i++)
		fds[i] = fd;
	while (in->left > 0) {
		unsigned n_fds = fuzz_u8(in) % (Q_ARRAY_LEN(fds) + 1);
		size_t len = fuzz_u16(in) % (sizeof(buf) + 1);

		fuzz_bytes(in, buf, len);
		if (len > 0 && qfd_send(sock, buf, len, fds, n_fds) < 0)
			break;
	}
	qfd_close(&fd);
}

static void run_calls(struct peer *p, const uint8_t *calls, unsigned n)
{
	int ended = QVHU_OK;

	for (unsigned i = 0; i < n; i++) {
		int r = make_call(p, calls[i]);

		/* The first bad answer ends it, and every later call says so. */
		if (ended != QVHU_OK)
			qassert(r == ended || r == -EOPNOTSUPP);
		else if (r > 0 && r != QVHU_REFUSED)
			ended = r;
	}
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
	struct peer p = { .mem = qmem_new(), .event_fd = qfd_eventfd() };
	uint8_t calls[CALLS_MAX];
	unsigned n_calls = fuzz_u8(&in) % (CALLS_MAX + 1);
	int sv[2];

	fuzz_bytes(&in, calls, n_calls);
	qassert(p.mem && p.event_fd >= 0 && qmem_add(p.mem, gpa(0), 0x10000, 0, "ram") == 0);
	qassert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == 0);
	unsigned fds_before = count_fds();
	write_answers(sv[1], &in);
	if (qvhu_fe_new(sv[0], UINT64_MAX, 0, &p.fe) == QVHU_OK) {
		qassert(!(qvhu_fe_features(p.fe) & QVHU_F_PROTOCOL_FEATURES));
		run_calls(&p, calls, n_calls);
		p.fe = qvhu_fe_free(p.fe);
	}
	/* The front end took its socket, whatever came of it, and nothing else is left. */
	qassert(count_fds() == fds_before - 1);
	qfd_close(&sv[1]);
	qfd_close(&p.event_fd);
	qmem_unref(p.mem);
	return 0;
}
