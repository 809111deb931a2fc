/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the peer to the guest. A frame is taken into a buffer of our own, checked, filtered, and
 * copied into the guest's buffers: one, or as many as it needs with MRG_RXBUF. What the guest did
 * not agree to receive is finished here: checksums are filled in, large TCP segments are cut. I/O
 * thread.
 *
 * Invariant: a receive queue is held (its kicks do nothing) while frames are what is missing, and
 * is not held while buffers are (rx->starved), or while its own kick is on the way.
 */
#include <errno.h>
#include <string.h>

#include "vdevs/virtio_net.h"

/* What the guest can be handed: in one piece, cut, or not at all. */
static bool rx_suit(struct virtio_net *n, struct net_rx *x)
{
	uint8_t *frame = x->buf + VD_NET_HDR_BYTES;
	uint64_t lacks = net_meta_needs(&x->meta, true) & ~n->offloads;
	const uint64_t csum = VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM);

	x->cut = false;
	if (!lacks)
		return true;
	if (x->meta.gso == VIRTIO_NET_HDR_GSO_UDP)
		return false;	/* fragments would have to be made: see VD_NET_PEER_DEFAULT */
	if (x->meta.gso != VIRTIO_NET_HDR_GSO_NONE) {
		x->cut = true;
		x->seg = 0;
		x->n_segs = net_seg_count(&x->meta, x->len);
		n->n_rx_cut++;
	} else if (lacks & csum) {
		net_csum_finish(&x->meta, frame, x->len);
		x->meta.needs_csum = false;
		x->meta.csum_start = x->meta.csum_off = 0;
	}
	return true;
}

/* True: a frame for the guest is in x->buf. */
static bool rx_judge(struct virtio_net *n, struct net_rx *x, ssize_t len)
{
	const uint8_t *frame = x->buf + VD_NET_HDR_BYTES;

	if (len < (ssize_t)(VD_NET_HDR_BYTES + VD_NET_FRAME_MIN)) {
		n->n_rx_bad++;
		return false;
	}
	x->len = (uint32_t)len - VD_NET_HDR_BYTES;
	if (net_meta_read(x->buf, x->len, &x->meta) != NET_OK ||
	    net_meta_parse(&x->meta, frame, x->len) != NET_OK) {
		n->n_rx_bad++;
		return false;
	}
	if (!net_filter_takes(&n->filter, n->mac, frame)) {
		n->n_rx_filtered++;
		return false;
	}
	if (!rx_suit(n, x)) {
		n->n_rx_drop++;
		return false;
	}
	return true;
}

enum rx_step { RX_ONE, RX_NONE, RX_STARVED };

/* One frame from the pairs of the peer that end in @pair. Taken and thrown away is RX_ONE too. */
static enum rx_step rx_fetch(struct virtio_net *n, struct net_rx *x, unsigned pair)
{
	for (unsigned s = pair; s < n->net->pairs; s += n->n_pairs) {
		ssize_t len = n->net->ops->recv(n->net, s, x->buf);

		if (!len)
			continue;
		x->have = rx_judge(n, x, len);
		return RX_ONE;
	}
	return RX_NONE;
}

/* Takes buffers until @need bytes fit: RX_ONE, RX_STARVED, or RX_NONE: they never will. */
static enum rx_step rx_room(struct virtio_net *n, struct net_rx *x, unsigned q, uint64_t need)
{
	bool merge = virtio_has(&n->d, VIRTIO_NET_F_MRG_RXBUF);
	struct qring_chain *c;

	while (!x->n_chains || (merge && x->room_bytes < need)) {
		c = &x->chains[x->n_chains];
		if (x->n_chains == NET_CHAINS_MAX || x->n_iov == NET_IOV_MAX)
			return RX_NONE;
		if (!virtio_pop(&n->d, q, x->iov + x->n_iov, NET_IOV_MAX - x->n_iov, c))
			return RX_STARVED;
		/* Parts to read come first; here there are to be none. */
		if (c->n_out || c->in_bytes < net_hdr_bytes(n)) {
			virtio_broken(&n->d, VD_FAULT_BAD_REQUEST);
			return RX_STARVED;
		}
		x->n_chains++;
		x->n_iov += c->n_in;
		x->room_bytes += c->in_bytes;
	}
	return x->room_bytes >= need ? RX_ONE : RX_NONE;
}

/* Copies to the guest's parts, from part *@at and its byte *@off on. */
static void rx_put(struct net_rx *x, unsigned *at, uint64_t *off, const void *data, uint64_t len)
{
	const char *p = data;

	while (len > 0 && *at < x->n_iov) {
		uint64_t n = Q_MIN(len, x->iov[*at].iov_len - *off);

		memcpy((char *)x->iov[*at].iov_base + *off, p, n);
		p += n;
		len -= n;
		*off += n;
		if (*off == x->iov[*at].iov_len) {
			*off = 0;
			(*at)++;
		}
	}
}

/* The first @n_chains hold @bytes now; what was taken beyond them stays for the next frame. */
static void rx_give_back(struct virtio_net *n, struct net_rx *x, unsigned q, unsigned n_chains,
			 uint64_t bytes)
{
	unsigned n_iov = 0;

	for (unsigned i = 0; i < n_chains; i++) {
		uint64_t part = Q_MIN(bytes, x->chains[i].in_bytes);

		virtio_push_quiet(&n->d, q, x->chains[i].head, (uint32_t)part);
		bytes -= part;
		n_iov += x->chains[i].n_in;
		x->room_bytes -= x->chains[i].in_bytes;
	}
	x->n_chains -= n_chains;
	x->n_iov -= n_iov;
	memmove(x->chains, x->chains + n_chains, x->n_chains * sizeof(x->chains[0]));
	memmove(x->iov, x->iov + n_iov, x->n_iov * sizeof(x->iov[0]));
}

/* How many of the chains that were taken hold @need bytes. */
static unsigned rx_count(const struct net_rx *x, uint64_t need)
{
	unsigned n = 0;

	for (uint64_t room = 0; n < x->n_chains && room < need; n++)
		room += x->chains[n].in_bytes;
	return n;
}

/* Header, @a and @b into as many buffers as that takes. */
static enum rx_step rx_place(struct virtio_net *n, struct net_rx *x, unsigned q,
			     const struct net_meta *m, const void *a, uint32_t a_len,
			     const void *b, uint32_t b_len)
{
	uint32_t hdr_bytes = net_hdr_bytes(n);
	uint64_t need = (uint64_t)hdr_bytes + a_len + b_len, off = 0;
	uint8_t hdr[VD_NET_HDR_BYTES];
	enum rx_step step = rx_room(n, x, q, need);
	unsigned at = 0;

	if (step == RX_ONE) {
		unsigned n_chains = rx_count(x, need);

		net_meta_write(m, (uint16_t)n_chains, hdr);
		rx_put(x, &at, &off, hdr, hdr_bytes);
		rx_put(x, &at, &off, a, a_len);
		rx_put(x, &at, &off, b, b_len);
		rx_give_back(n, x, q, n_chains, need);
		n->n_rx++;
		n->n_rx_bytes += a_len + b_len;
	}
	return step;
}

/* RX_ONE: the frame is delivered; RX_NONE: it can never be. */
static enum rx_step rx_deliver(struct virtio_net *n, struct net_rx *x, unsigned q)
{
	const uint8_t *frame = x->buf + VD_NET_HDR_BYTES;
	const struct net_meta plain = { 0 };
	uint8_t hdrs[NET_HDRS_MAX];
	enum rx_step step;
	uint32_t off, len;

	if (!x->cut)
		return rx_place(n, x, q, &x->meta, frame, x->len, NULL, 0);
	for (; x->seg < x->n_segs; x->seg++) {
		net_seg_make(&x->meta, frame, x->len, x->seg, hdrs, &off, &len);
		step = rx_place(n, x, q, &plain, hdrs, x->meta.hdrs_len, frame + off, len);
		if (step != RX_ONE)
			return step;
	}
	return RX_ONE;
}

/* True: more remains. */
static bool rx_run(struct virtio_net *n, unsigned pair, unsigned budget)
{
	struct net_rx *x = &n->pairs[pair].rx;
	unsigned q = net_rx_queue(pair);
	uint64_t bytes = 0;

	x->starved = false;
	while (budget-- > 0 && bytes < NET_TURN_BYTES) {
		enum rx_step step = x->have ? RX_ONE : rx_fetch(n, x, pair);
		bool came = false;

		for (unsigned s = pair; step == RX_NONE && s < n->net->pairs; s += n->n_pairs)
			came |= n->net->ops->listen(n->net, s);
		if (step == RX_NONE && !came)
			return false;
		if (!x->have)
			continue;
		bytes += x->len;
		step = rx_deliver(n, x, q);
		if (step == RX_STARVED) {
			x->starved = true;
			return false;
		}
		n->n_rx_drop += step == RX_NONE;	/* longer than the guest's buffers */
		x->have = false;
	}
	return true;
}

bool net_rx_serve(struct virtio_net *n, unsigned pair, unsigned budget)
{
	struct net_rx *x = &n->pairs[pair].rx;
	bool more = false;

	x->starved &= pair < n->n_pairs;	/* buffers of a pair that is not used are let be */
	if (pair < n->n_pairs) {
		more = rx_run(n, pair, budget);
		virtio_tell(&n->d, net_rx_queue(pair));
		n->net->ops->flush(n->net);
	}
	if (n->d.run == VIRTIO_RUNNING && !more && !x->starved)
		virtio_hold(&n->d, net_rx_queue(pair));
	return more;
}

void net_rx_readable(struct vdev *v, unsigned from)
{
	struct virtio_net *n = Q_CONTAINER_OF(v, struct virtio_net, d.v);
	unsigned pair = from % n->n_pairs, q = net_rx_queue(pair);

	/* Not held: its turn is on the way, or it waits for the guest. */
	if (n->d.run != VIRTIO_RUNNING || !n->d.q[q].held)
		return;
	if (net_rx_serve(n, pair, VIRTIO_BUDGET) || n->pairs[pair].rx.starved)
		virtio_resume(&n->d, q);
}
