/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames between two qvm: rings in shared memory, and a bell on the session's socket for who
 * sleeps. A bell is a message and no eventfd, because only with send() it is for us alone to say
 * that we do not wait; a full socket has bells enough in it. I/O thread.
 *
 * Of the rings of pair i, number 2i goes from the caller to the called, 2i+1 back. The memory is
 * the caller's; the called takes it only when it cannot shrink and has the size that it must have.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/qfd.h"
#include "qvm/netpeer_vm.h"

#define PAGE_BYTES 4096u
#define BELLS_PER_TURN 16u
#define EARLY_BYTES (64u << 10) /* the other end begins while we go on */

static struct netpeer *peer_of(struct vd_net *n)
{
	return Q_CONTAINER_OF(n, struct netpeer, n);
}

/* ---- memory ---- */

static_assert(2 * VD_NET_PAIRS_MAX * NP_CTL_BYTES <= PAGE_BYTES, "one page of control lines");

size_t np_shared_bytes(unsigned pairs)
{
	return PAGE_BYTES + (size_t)2 * pairs * NP_RING_BYTES;
}

static int map_it(struct np_shared *m)
{
	m->map = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	if (m->map != MAP_FAILED)
		return 0;
	m->map = NULL;
	return -errno;
}

int np_shared_make(struct np_shared *m, unsigned pairs)
{
	*m = (struct np_shared){ .pairs = pairs, .bytes = np_shared_bytes(pairs) };
	m->fd = qfd_memfd("net-rings", m->bytes);
	int r = m->fd < 0 ? m->fd : map_it(m);
	if (r < 0)
		np_shared_drop(m);
	return r;
}

int np_shared_take(struct np_shared *m, unsigned pairs, int take_fd)
{
	struct stat st;
	int r = take_fd < 0 ? -EBADF : qfd_check_no_shrink(take_fd);

	*m = (struct np_shared){ .fd = take_fd, .pairs = pairs, .bytes = np_shared_bytes(pairs) };
	if (r == 0 && fstat(take_fd, &st) < 0)
		r = -errno;
	if (r == 0 && (uint64_t)st.st_size != m->bytes)
		r = -ERANGE;
	if (r == 0)
		r = map_it(m);
	if (r < 0)
		np_shared_drop(m);
	return r;
}

void np_shared_drop(struct np_shared *m)
{
	if (m->map)
		munmap(m->map, m->bytes);
	qfd_close(&m->fd);
	*m = NP_SHARED_NULL;
}

static void ring_at(struct netpeer *p, struct np_ring *r, unsigned i)
{
	np_ring_init(r, (struct np_ctl *)p->mem.map + i,
		     (uint8_t *)p->mem.map + PAGE_BYTES + (size_t)i * NP_RING_BYTES);
}

void np_link_begin(struct netpeer *p, unsigned pairs)
{
	p->pairs = pairs;
	p->tx_waits = false;
	for (unsigned i = 0; i < pairs; i++) {
		ring_at(p, &p->tx[i], 2 * i + !p->caller);
		ring_at(p, &p->rx[i], 2 * i + p->caller);
	}
}

/* ---- bells ---- */

static void ring_bell(struct netpeer *p)
{
	static const uint8_t bell = NP_BELL;

	p->n_bells++;
	/* EAGAIN: enough of them wait there. Others: the watch learns of it. */
	(void)!send(p->out.fd, &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/*
 * A bell may ring for what was taken meanwhile; with it the other end has struck out our wish for
 * the next one. So each bell that finds nothing is a new wish.
 */
void np_link_look(struct netpeer *p)
{
	for (unsigned i = 0; p->st == NP_UP && i < p->pairs; i++) {
		if (!p->listens[i] || !*p->host.v || !np_ring_listen(&p->rx[i]))
			continue;
		p->listens[i] = false;
		p->cfg.readable(*p->host.v, i);
	}
}

bool np_link_bells(struct netpeer *p)
{
	uint8_t buf[2];
	unsigned n_fds;
	bool came = false;

	for (unsigned i = 0; i < BELLS_PER_TURN; i++) {
		ssize_t n = qfd_recv(p->out.fd, buf, sizeof(buf), NULL, 0, &n_fds);

		if (n == -EAGAIN)
			break;
		if (n != 1 || buf[0] != NP_BELL)
			return false;
		came = true;
	}
	if (!came)
		return true;
	np_link_look(p);
	if (p->st == NP_UP && p->tx_waits) {
		p->tx_waits = false;
		p->cfg.writable(*p->host.v);
	}
	return true;
}

/* ---- ops ---- */

static void link_flush(struct vd_net *n);

static void moved(struct netpeer *p, uint32_t bytes)
{
	p->unsaid_bytes += bytes;
	if (p->unsaid_bytes >= EARLY_BYTES)
		link_flush(&p->n);
}

static int link_send(struct vd_net *n, unsigned pair, const struct iovec *iov, unsigned n_iov,
		     uint32_t len)
{
	struct netpeer *p = peer_of(n);

	if (p->st != NP_UP)
		return -ENOLINK;
	switch (np_ring_put(&p->tx[pair % p->pairs], iov, n_iov, len)) {
	case NP_RING_OK:
		moved(p, len);
		return 0;
	case NP_RING_FULL:
		p->tx_waits = true;
		return -EAGAIN;
	default:
		np_session_end(p, "its ring index cannot be");
		return -EPROTO;
	}
}

static ssize_t link_recv(struct vd_net *n, unsigned pair, void *buf)
{
	struct netpeer *p = peer_of(n);
	uint32_t len;

	if (p->st != NP_UP || pair >= p->pairs)
		return 0;
	switch (np_ring_get(&p->rx[pair], buf, VD_NET_BUF_BYTES, &len)) {
	case NP_RING_OK:
		moved(p, len);
		return len;
	case NP_RING_EMPTY:
		return 0;
	default:
		np_session_end(p, "what it wrote into its ring cannot be");
		return -EPROTO;
	}
}

static bool link_listen(struct vd_net *n, unsigned pair)
{
	struct netpeer *p = peer_of(n);
	bool came = p->st == NP_UP && pair < p->pairs && np_ring_listen(&p->rx[pair]);

	p->listens[pair] = !came;
	return came;
}

static void link_flush(struct vd_net *n)
{
	struct netpeer *p = peer_of(n);
	bool wanted = false;

	p->unsaid_bytes = 0;
	for (unsigned i = 0; p->st == NP_UP && i < p->pairs; i++) {
		wanted |= np_ring_wanted_data(&p->tx[i]);
		wanted |= np_ring_wanted_room(&p->rx[i]);
	}
	if (wanted)
		ring_bell(p);
}

static void link_purge(struct vd_net *n)
{
	struct netpeer *p = peer_of(n);

	for (unsigned i = 0; p->st == NP_UP && i < p->pairs; i++)
		if (np_ring_purge(&p->rx[i]) != NP_RING_OK)
			np_session_end(p, "its ring index cannot be");
	link_flush(n);
}

static void link_guest(struct vd_net *n, uint64_t features, unsigned pairs)
{
	/* Nothing to tell: whoever receives finishes what its guest cannot take. */
}

static void link_status(struct vd_net *n, char *buf, size_t buf_bytes)
{
	static const char *const word[] = {
		[NP_AWAY] = "away",
		[NP_CALLING] = "calling",
		[NP_KNOCKING] = "knocking",
		[NP_UP] = "up",
	};
	static_assert(Q_ARRAY_LEN(word) == NP_STATES, "every state has a word");
	const struct netpeer *p = peer_of(n);

	snprintf(buf, buf_bytes, "peer=%s peer_state=%s sessions=%" PRIu64 " bells=%" PRIu64,
		 p->other, word[p->st], p->n_sessions, p->n_bells);
}

static void link_close(struct vd_net *n)
{
	np_close(peer_of(n));
}

const struct vd_net_ops np_link_ops = {
	.send = link_send,
	.recv = link_recv,
	.listen = link_listen,
	.flush = link_flush,
	.purge = link_purge,
	.guest = link_guest,
	.status = link_status,
	.close = link_close,
};
