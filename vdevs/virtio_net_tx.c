/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the guest to the peer. Each chain is one frame behind its header: the header is copied,
 * checked and written anew, so that what leaves is always well-formed; the frame itself is the
 * guest's own affair. I/O thread.
 *
 * A peer without room makes the queue wait, so that a fast guest does not lose its frames to a slow
 * one; but no longer than STALL_NS without a single frame taken: after that frames are dropped, as
 * a wire would, until one is taken again. Invariant: a chain that waits is in tx->chain, its queue
 * is held, and the timer is armed.
 */
#include <errno.h>
#include <string.h>

#include "lib/qfd.h"
#include "vdevs/virtio_net.h"

#define STALL_NS (200 * Q_NSEC_PER_MSEC)

bool net_iov_skip(struct iovec *iov, unsigned n_iov, unsigned *first, uint64_t skip)
{
	while (*first < n_iov) {
		struct iovec *v = &iov[*first];

		if (skip < v->iov_len) {
			v->iov_base = (char *)v->iov_base + skip;
			v->iov_len -= skip;
			return true;
		}
		skip -= v->iov_len;
		(*first)++;
	}
	return !skip;
}

uint64_t net_iov_get(const struct iovec *iov, unsigned n_iov, uint64_t off, void *buf, uint64_t len)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < n_iov && done < len; i++) {
		uint64_t n;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		n = Q_MIN(iov[i].iov_len - off, len - done);
		memcpy((char *)buf + done, (const char *)iov[i].iov_base + off, n);
		done += n;
		off = 0;
	}
	return done;
}

/* Features of frames that this guest may send. A legacy GSO stands for all kinds. */
static uint64_t tx_features(const struct virtio_net *n)
{
	uint64_t f = n->d.acked & VD_NET_PEER_FEATURES;

	if (virtio_is_legacy(&n->d) && (f & VIRTIO_BIT(VIRTIO_NET_F_GSO)))
		f |= VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) |
		     VIRTIO_BIT(VIRTIO_NET_F_HOST_ECN) | VIRTIO_BIT(VIRTIO_NET_F_HOST_UFO);
	return f;
}

/* Makes iov[first..] of the chain: our header, the frame. False: it is no frame. */
static bool tx_frame(struct virtio_net *n, struct net_tx *t)
{
	uint32_t hdr_bytes = net_hdr_bytes(n);
	uint8_t w_hdr[VD_NET_HDR_BYTES] = { 0 };
	struct net_meta m;

	if (t->chain.out_bytes < hdr_bytes ||
	    t->chain.out_bytes - hdr_bytes > VD_NET_FRAME_MAX)
		return false;
	net_iov_get(t->iov + 1, t->chain.n_out, 0, w_hdr, hdr_bytes);
	t->len = (uint32_t)t->chain.out_bytes - hdr_bytes;
	t->first = 1;
	if (!net_iov_skip(t->iov, 1 + t->chain.n_out, &t->first, hdr_bytes))
		return false;
	if (net_meta_read(w_hdr, t->len, &m) != NET_OK ||
	    (net_meta_needs(&m, false) & ~tx_features(n)))
		return false;
	net_meta_write(&m, 0, t->hdr);
	t->first--;	/* iov[0], or one that held nothing but header */
	t->iov[t->first] = (struct iovec){ t->hdr, VD_NET_HDR_BYTES };
	t->n_iov = 1 + t->chain.n_out - t->first;
	return true;
}

/* -EAGAIN: it waits; else it is over, one way or the other. */
static int tx_send(struct virtio_net *n, struct net_tx *t, unsigned pair)
{
	int r = n->net->link_up ? n->net->ops->send(n->net, pair % n->net->pairs,
						    t->iov + t->first, t->n_iov,
						    VD_NET_HDR_BYTES + t->len) : -ENOLINK;

	if (r == -EAGAIN && !t->stalled)
		return r;
	if (r == 0) {
		t->stalled = false;
		n->n_tx++;
		n->n_tx_bytes += t->len;
	} else {
		n->n_tx_drop++;
	}
	return 0;
}

static void tx_wait(struct virtio_net *n, struct net_tx *t, unsigned pair)
{
	struct vd_host *h = n->d.v.host;

	if (!t->have)
		t->since_ns = h->ops->now(h);
	t->have = true;
	virtio_hold(&n->d, net_tx_queue(pair));
	if (!n->tx_timer_armed)
		h->ops->timer_arm(h, n->tx_timer, t->since_ns + STALL_NS);
	n->tx_timer_armed = true;
}

bool net_tx_serve(struct virtio_net *n, unsigned pair, unsigned budget)
{
	struct net_tx *t = &n->pairs[pair].tx;
	unsigned q = net_tx_queue(pair);
	uint64_t bytes = 0;
	bool more = true;

	while (budget-- > 0 && bytes < NET_TURN_BYTES) {
		if (!t->have && !virtio_pop(&n->d, q, t->iov + 1, NET_IOV_MAX, &t->chain)) {
			more = false;
			break;
		}
		if (!t->have && !tx_frame(n, t)) {
			n->n_tx_drop++;
			vdev_fault(&n->d.v, VD_FAULT_BAD_REQUEST);
			virtio_push_quiet(&n->d, q, t->chain.head, 0);
			continue;
		}
		if (tx_send(n, t, pair) == -EAGAIN) {
			tx_wait(n, t, pair);
			break;
		}
		t->have = false;
		bytes += t->len;
		virtio_push_quiet(&n->d, q, t->chain.head, 0);
	}
	virtio_tell(&n->d, q);
	n->net->ops->flush(n->net);
	return more;
}

void net_tx_room(struct vdev *v)
{
	struct virtio_net *n = Q_CONTAINER_OF(v, struct virtio_net, d.v);

	for (unsigned i = 0; i < n->max_pairs; i++)
		if (n->pairs[i].tx.have)
			virtio_resume(&n->d, net_tx_queue(i));
}

void net_tx_timeout(struct vdev *v, void *arg)
{
	struct virtio_net *n = Q_CONTAINER_OF(v, struct virtio_net, d.v);
	struct vd_host *h = v->host;
	uint64_t now = h->ops->now(h), next = 0;

	for (unsigned i = 0; i < n->max_pairs; i++) {
		struct net_tx *t = &n->pairs[i].tx;

		if (t->have && t->since_ns + STALL_NS <= now) {
			t->stalled = true;
			virtio_resume(&n->d, net_tx_queue(i));
		} else if (t->have && (!next || t->since_ns + STALL_NS < next)) {
			next = t->since_ns + STALL_NS;
		}
	}
	n->tx_timer_armed = next;
	if (next)
		h->ops->timer_arm(h, n->tx_timer, next);
}
