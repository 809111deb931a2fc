/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, 5.1), shared by its files: virtio_net.c (type, configuration, life),
 * virtio_net_tx.c, virtio_net_rx.c, virtio_net_ctrl.c. Nobody else includes it, but their tests.
 */
#pragma once

#include <linux/virtio_net.h>

#include "vdevs/vdnet.h"
#include "vdevs/virtio.h"
#include "vdevs/virtio_net_frame.h"

#define NET_QUEUE_SIZE 256u
#define NET_IOV_MAX (2 * NET_QUEUE_SIZE) /* of a chain, and of all that a frame is put into */
#define NET_CHAINS_MAX 128u	/* that one frame is put into */
#define NET_MACS_MAX 64u	/* in the guest's table */
#define NET_TURN_BYTES (256u << 10) /* sent or received in one turn: other vdevs wait that long */

/* What the guest wants to receive. All of it, until it says something else. */
struct net_filter {
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool uni_overflow, multi_overflow;	/* more than the table holds: all of the kind */
	unsigned n_uni, n_multi;
	uint8_t uni[NET_MACS_MAX][VD_NET_MAC_BYTES], multi[NET_MACS_MAX][VD_NET_MAC_BYTES];
};

struct net_rx {
	uint8_t *buf;		/* owned: VD_NET_BUF_BYTES, a frame behind its header */
	bool have;		/* a frame is in it and not (wholly) delivered */
	uint32_t len;		/* of the frame */
	struct net_meta meta;
	bool cut;		/* it goes out in segments: n_segs, of which seg is next */
	uint32_t seg, n_segs;
	bool starved;		/* waits for the guest's buffers; else the queue is held */
	/* Buffers taken from the queue and not yet filled. */
	struct qring_chain chains[NET_CHAINS_MAX];
	unsigned n_chains, n_iov;
	struct iovec iov[NET_IOV_MAX];
	uint64_t room_bytes;
};

struct net_tx {
	bool have;		/* a chain that the peer had no room for */
	bool stalled;		/* the peer took nothing for too long: frames are dropped */
	uint64_t since_ns;	/* that it waits, on the clock of now() */
	struct qring_chain chain;
	uint8_t hdr[VD_NET_HDR_BYTES];
	struct iovec iov[1 + NET_IOV_MAX]; /* from first on: our copy of the header, the frame */
	unsigned first, n_iov;
	uint32_t len;
};

struct net_pair {
	struct net_rx rx;
	struct net_tx tx;
};

struct virtio_net {
	struct virtio_dev d;
	struct vd_net *net;
	struct vd_timer *tx_timer;	/* a peer that takes nothing */
	bool tx_timer_armed;
	unsigned max_pairs, n_pairs;	/* offered; used by the guest now */
	uint64_t offloads;		/* GUEST_* that the guest takes now */
	uint8_t mac[VD_NET_MAC_BYTES];	/* that the filter knows: the guest may change it */
	struct net_filter filter;
	uint64_t n_tx, n_rx, n_tx_bytes, n_rx_bytes;
	uint64_t n_tx_drop, n_rx_drop;	/* nobody there, no room, not understood */
	uint64_t n_rx_bad, n_rx_filtered, n_rx_cut;
	struct net_pair *pairs;		/* max_pairs; untouched pages cost nothing */
};

static inline struct virtio_net *net_of(struct virtio_dev *d)
{
	return Q_CONTAINER_OF(d, struct virtio_net, d);
}
static inline unsigned net_rx_queue(unsigned pair)
{
	return 2 * pair;
}
static inline unsigned net_tx_queue(unsigned pair)
{
	return 2 * pair + 1;
}
/* Of the guest's rings: without num_buffers for a legacy guest that does not merge. */
static inline uint32_t net_hdr_bytes(const struct virtio_net *n)
{
	return virtio_is_legacy(&n->d) && !virtio_has(&n->d, VIRTIO_NET_F_MRG_RXBUF) ?
		       sizeof(struct virtio_net_hdr) : VD_NET_HDR_BYTES;
}
/* The part of an iovec list behind its first @skip bytes. False when it has not so many. */
bool net_iov_skip(struct iovec *iov, unsigned n_iov, unsigned *first, uint64_t skip);
uint64_t net_iov_get(const struct iovec *iov, unsigned n_iov, uint64_t off, void *buf,
		     uint64_t len);

/* virtio_net_tx.c: serve() of a transmit queue, callbacks of peer and timer. */
bool net_tx_serve(struct virtio_net *n, unsigned pair, unsigned budget);
void net_tx_room(struct vdev *v);
void net_tx_timeout(struct vdev *v, void *arg);

/* virtio_net_rx.c: serve() of a receive queue, callback of the peer. */
bool net_rx_serve(struct virtio_net *n, unsigned pair, unsigned budget);
void net_rx_readable(struct vdev *v, unsigned pair);

/* virtio_net_ctrl.c */
bool net_ctrl_serve(struct virtio_net *n, unsigned q, unsigned budget);
void net_filter_reset(struct net_filter *f);
bool net_filter_takes(const struct net_filter *f, const uint8_t mac[VD_NET_MAC_BYTES],
		      const uint8_t *dst);
/* The guest's offloads or number of pairs changed: tells the peer. */
void net_guest_changed(struct virtio_net *n);
