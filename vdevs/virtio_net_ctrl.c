/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control queue of virtio-net (virtio 1.2, 5.1.6.5): what the guest wants to receive, its
 * address, how many queue pairs it uses, which offloads it takes. I/O thread. A command that is
 * not understood, too short or not agreed upon is answered with an error and changes nothing.
 */
#include <endian.h>
#include <string.h>

#include "lib/qfd.h"
#include "vdevs/virtio_net.h"

#define CMD_BYTES_MAX 4096u	/* two tables of 64 addresses, five times over */

struct net_cmd {
	uint8_t class, cmd;
	const uint8_t *data;
	uint32_t len;
};

/* ---- what is received ---- */

void net_filter_reset(struct net_filter *f)
{
	*f = (struct net_filter){ .promisc = true };
}

static bool in_table(const uint8_t (*table)[VD_NET_MAC_BYTES], unsigned n, const uint8_t *mac)
{
	for (unsigned i = 0; i < n; i++)
		if (!memcmp(table[i], mac, VD_NET_MAC_BYTES))
			return true;
	return false;
}

bool net_filter_takes(const struct net_filter *f, const uint8_t mac[VD_NET_MAC_BYTES],
		      const uint8_t *dst)
{
	static const uint8_t all[VD_NET_MAC_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (f->promisc)
		return true;
	if (!memcmp(dst, all, sizeof(all)))
		return !f->nobcast;
	if (dst[0] & 1)
		return !f->nomulti && (f->allmulti || f->multi_overflow ||
				       in_table(f->multi, f->n_multi, dst));
	return !f->nouni && (f->alluni || f->uni_overflow ||
			     !memcmp(dst, mac, VD_NET_MAC_BYTES) ||
			     in_table(f->uni, f->n_uni, dst));
}

static bool rx_mode(struct virtio_net *n, const struct net_cmd *c)
{
	struct net_filter *f = &n->filter;
	bool *const flag[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &f->promisc,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &f->allmulti,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &f->alluni,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &f->nomulti,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &f->nouni,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &f->nobcast,
	};
	unsigned feature = c->cmd <= VIRTIO_NET_CTRL_RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX :
								   VIRTIO_NET_F_CTRL_RX_EXTRA;

	if (c->cmd >= Q_ARRAY_LEN(flag) || c->len != 1 || !virtio_has(&n->d, feature))
		return false;
	*flag[c->cmd] = c->data[0];
	return true;
}

/* One table at @at of the command. False: it is not all there. */
static bool mac_table(const struct net_cmd *c, uint32_t *at, uint8_t (*table)[VD_NET_MAC_BYTES],
		      unsigned *ret_n, bool *ret_overflow)
{
	uint32_t w_n, n;

	if (!qspan_inside(*at, sizeof(w_n), c->len))
		return false;
	memcpy(&w_n, c->data + *at, sizeof(w_n));
	n = le32toh(w_n);
	*at += sizeof(w_n);
	if (!qspan_inside(*at, (uint64_t)n * VD_NET_MAC_BYTES, c->len))
		return false;
	*ret_overflow = n > NET_MACS_MAX;
	*ret_n = *ret_overflow ? 0 : n;
	memcpy(table, c->data + *at, *ret_n * VD_NET_MAC_BYTES);
	*at += n * VD_NET_MAC_BYTES;
	return true;
}

static bool mac_cmd(struct virtio_net *n, const struct net_cmd *c)
{
	struct net_filter f = n->filter;
	uint32_t at = 0;

	switch (c->cmd) {
	case VIRTIO_NET_CTRL_MAC_TABLE_SET:
		if (!virtio_has(&n->d, VIRTIO_NET_F_CTRL_RX) ||
		    !mac_table(c, &at, f.uni, &f.n_uni, &f.uni_overflow) ||
		    !mac_table(c, &at, f.multi, &f.n_multi, &f.multi_overflow) || at != c->len)
			return false;
		n->filter = f;
		return true;
	case VIRTIO_NET_CTRL_MAC_ADDR_SET:
		if (!virtio_has(&n->d, VIRTIO_NET_F_CTRL_MAC_ADDR) || c->len != sizeof(n->mac))
			return false;
		memcpy(n->mac, c->data, sizeof(n->mac));
		memcpy(n->d.config, c->data, sizeof(n->mac));
		return true;
	default:
		return false;
	}
}

/* ---- queue pairs, offloads ---- */

void net_guest_changed(struct virtio_net *n)
{
	if (n->net)
		n->net->ops->guest(n->net, n->offloads, n->n_pairs);
}

static bool pairs_cmd(struct virtio_net *n, const struct net_cmd *c)
{
	uint16_t w_n;
	unsigned want;

	if (c->cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || c->len != sizeof(w_n) ||
	    !virtio_has(&n->d, VIRTIO_NET_F_MQ))
		return false;
	memcpy(&w_n, c->data, sizeof(w_n));
	want = le16toh(w_n);
	if (want < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || want > n->max_pairs)
		return false;
	/* What was taken for a pair that is none any more is over: its peer would tell again. */
	for (unsigned i = want; i < n->n_pairs; i++) {
		n->n_rx_drop += n->pairs[i].rx.have;
		n->pairs[i].rx.have = false;
	}
	n->n_pairs = want;
	net_guest_changed(n);
	/* Every queue finds out anew what it waits for: frames may be another's to look for now. */
	for (unsigned i = 0; i < n->max_pairs; i++) {
		virtio_resume(&n->d, net_rx_queue(i));
		qfd_event_signal(n->d.q[net_rx_queue(i)].kick_fd);
	}
	return true;
}

static bool offloads_cmd(struct virtio_net *n, const struct net_cmd *c)
{
	uint64_t w_set, set;

	if (c->cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || c->len != sizeof(w_set) ||
	    !virtio_has(&n->d, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))
		return false;
	memcpy(&w_set, c->data, sizeof(w_set));
	set = le64toh(w_set);
	if (set & ~n->d.acked)
		return false;
	n->offloads = set & VD_NET_PEER_FEATURES;
	net_guest_changed(n);
	return true;
}

/* ---- the queue ---- */

static bool run_cmd(struct virtio_net *n, const struct net_cmd *c)
{
	switch (c->class) {
	case VIRTIO_NET_CTRL_RX:
		return rx_mode(n, c);
	case VIRTIO_NET_CTRL_MAC:
		return mac_cmd(n, c);
	case VIRTIO_NET_CTRL_MQ:
		return pairs_cmd(n, c);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return offloads_cmd(n, c);
	default:
		return false;
	}
}

static uint8_t answer(struct virtio_net *n, const struct iovec *iov, const struct qring_chain *c)
{
	uint8_t buf[CMD_BYTES_MAX];
	struct net_cmd cmd;

	if (c->out_bytes < 2 || c->out_bytes > sizeof(buf))
		return VIRTIO_NET_ERR;
	net_iov_get(iov, c->n_out, 0, buf, c->out_bytes);
	cmd = (struct net_cmd){ buf[0], buf[1], buf + 2, (uint32_t)c->out_bytes - 2 };
	return run_cmd(n, &cmd) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
}

bool net_ctrl_serve(struct virtio_net *n, unsigned q, unsigned budget)
{
	struct iovec iov[64];
	struct qring_chain c;
	uint8_t ack;

	while (budget-- > 0) {
		if (!virtio_pop(&n->d, q, iov, Q_ARRAY_LEN(iov), &c))
			return false;
		if (!c.in_bytes) {
			virtio_broken(&n->d, VD_FAULT_BAD_REQUEST);
			return false;
		}
		ack = answer(n, iov, &c);
		if (ack != VIRTIO_NET_OK)
			vdev_fault(&n->d.v, VD_FAULT_BAD_REQUEST);
		*(uint8_t *)iov[c.n_out].iov_base = ack;
		virtio_push(&n->d, q, c.head, 1);
	}
	return true;
}
