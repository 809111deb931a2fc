/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netpath: what it costs to carry frames from one process to another, the two ways that were
 * weighed for virtio-net between two qvm (docs/decisions/0013): the rings of qvm/netpeer_ring.h
 * with bells on a socket, or messages of a SOCK_SEQPACKET socket, many a system call. No guest, no
 * copy into one: only the path. Prints one JSON object.
 *
 * netpath ring|socket FRAMES BYTES. The child sends, the parent takes; both sleep when they must.
 *
 * Exit status: 0 measured; 1 something failed; 2 usage.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/netpeer_ring.h"

#define BATCH 32u
#define FRAME_MAX 65612u

struct path {
	struct np_ctl *ctl;
	uint8_t *data;
	int sock;
	unsigned n_frames;
	uint32_t len;
};

static char frame[FRAME_MAX];

static int wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 20000) == 1 ? 0 : -ETIMEDOUT;
}

/* ---- rings ---- */

static void bell(int sock)
{
	(void)!send(sock, "B", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int sleep_on(int sock)
{
	char buf[BATCH];
	int r = wait_for(sock, POLLIN);

	while (r == 0 && recv(sock, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		continue;
	return r;
}

static int ring_send(const struct path *p)
{
	const struct iovec iov = { frame, p->len };
	struct np_ring r;
	int e = 0;

	np_ring_init(&r, p->ctl, p->data);
	for (unsigned i = 0; e == 0 && i < p->n_frames;) {
		enum np_ring_verdict v = np_ring_put(&r, &iov, 1, p->len);

		i += v == NP_RING_OK;
		if ((v == NP_RING_FULL || i % BATCH == 0 || i == p->n_frames) &&
		    np_ring_wanted_data(&r))
			bell(p->sock);
		if (v == NP_RING_FULL)
			e = sleep_on(p->sock);
	}
	return e;
}

static int ring_take(const struct path *p)
{
	struct np_ring r;
	uint32_t len;
	int e = 0;

	np_ring_init(&r, p->ctl, p->data);
	for (unsigned i = 0; e == 0 && i < p->n_frames;) {
		enum np_ring_verdict v = np_ring_get(&r, frame, sizeof(frame), &len);

		i += v == NP_RING_OK;
		if (v == NP_RING_BROKEN)
			return -EPROTO;
		if ((v == NP_RING_EMPTY || i % BATCH == 0) && np_ring_wanted_room(&r))
			bell(p->sock);
		if (v == NP_RING_EMPTY && !np_ring_listen(&r))
			e = sleep_on(p->sock);
	}
	return e;
}

/* ---- the socket ---- */

static int socket_send(const struct path *p)
{
	struct iovec iov = { frame, p->len };
	struct mmsghdr m[BATCH] = { 0 };
	int e = 0;

	for (unsigned i = 0; i < BATCH; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	for (unsigned i = 0; e == 0 && i < p->n_frames;) {
		int n = sendmmsg(p->sock, m, Q_MIN(BATCH, p->n_frames - i), MSG_DONTWAIT);

		if (n > 0)
			i += (unsigned)n;
		else
			e = errno == EAGAIN ? wait_for(p->sock, POLLOUT) : -errno;
	}
	return e;
}

static int socket_take(const struct path *p)
{
	static char buf[BATCH][FRAME_MAX];
	struct iovec iov[BATCH];
	struct mmsghdr m[BATCH] = { 0 };
	int e = 0;

	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ buf[i], FRAME_MAX };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	for (unsigned i = 0; e == 0 && i < p->n_frames;) {
		int n = recvmmsg(p->sock, m, BATCH, MSG_DONTWAIT, NULL);

		if (n > 0)
			i += (unsigned)n;
		else
			e = errno == EAGAIN ? wait_for(p->sock, POLLIN) : -errno;
	}
	return e;
}

/* ---- both ---- */

static int open_path(struct path *p, int ret_socks[2])
{
	void *mem = mmap(NULL, 4096 + NP_RING_BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_socks) < 0)
		return -errno;
	p->ctl = mem;
	p->data = (uint8_t *)mem + 4096;
	return 0;
}

static int measure(struct path *p, bool ring, double *ret_secs)
{
	int socks[2], status = 0, e = open_path(p, socks);

	if (e < 0)
		return e;
	uint64_t from_ns = qnow_ns();
	pid_t child = fork();
	if (child < 0)
		return -errno;
	p->sock = socks[child == 0];
	if (child == 0)
		_exit(ring ? ring_send(p) < 0 : socket_send(p) < 0);
	e = ring ? ring_take(p) : socket_take(p);
	*ret_secs = (double)(qnow_ns() - from_ns) / 1e9;
	waitpid(child, &status, 0);
	return e < 0 ? e : status ? -EIO : 0;
}

int main(int argc, char **argv)
{
	struct path p = { 0 };
	double secs = 0;

	if (argc != 4 || (strcmp(argv[1], "ring") && strcmp(argv[1], "socket"))) {
		fprintf(stderr, "usage: netpath ring|socket FRAMES BYTES\n");
		return 2;
	}
	p.n_frames = (unsigned)strtoul(argv[2], NULL, 10);
	p.len = (uint32_t)strtoul(argv[3], NULL, 10);
	if (!p.n_frames || !p.len || p.len > FRAME_MAX)
		return 2;
	int e = measure(&p, !strcmp(argv[1], "ring"), &secs);
	if (e < 0) {
		fprintf(stderr, "netpath: %s\n", strerror(-e));
		return 1;
	}
	printf("{\"secs\": %.6f, \"frames_s\": %.0f, \"mb_s\": %.1f}\n", secs, p.n_frames / secs,
	       (double)p.n_frames * p.len / secs / 1e6);
	return 0;
}
