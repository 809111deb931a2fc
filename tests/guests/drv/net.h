/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net: frames in both directions on one or more queue pairs, and the control queue. Written
 * from the specification alone.
 */
#pragma once
#include "tests/guests/drv/vq.h"

#define NET_F_CSUM		(UINT64_C(1) << 0)
#define NET_F_GUEST_CSUM	(UINT64_C(1) << 1)
#define NET_F_MAC		(UINT64_C(1) << 5)
#define NET_F_GUEST_TSO4	(UINT64_C(1) << 7)
#define NET_F_HOST_TSO4		(UINT64_C(1) << 11)
#define NET_F_MRG_RXBUF		(UINT64_C(1) << 15)
#define NET_F_STATUS		(UINT64_C(1) << 16)
#define NET_F_CTRL_VQ		(UINT64_C(1) << 17)
#define NET_F_CTRL_RX		(UINT64_C(1) << 18)
#define NET_F_MQ		(UINT64_C(1) << 22)

#define NET_HDR_BYTES	12u
#define NET_H_NEEDS_CSUM	1
#define NET_H_GSO_TCPV4		1
#define NET_PAIRS_MAX	4
#define NET_FRAME_MAX	65600u

struct net_hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset, n_buffers;
};

struct net_buf {
	struct net_hdr hdr;	/* then the frame: what the device reads or writes is one piece */
	uint8_t frame[];
};

struct net_rx {
	struct vq q;
	uint8_t *whole;		/* a frame that came in several buffers */
	uint32_t buf_bytes;
};

struct net_tx {
	struct vq q;
	struct net_buf **free;
	unsigned n_free, n_bufs;
};

struct net {
	struct vio_dev *dev;
	unsigned n_pairs;
	uint8_t mac[6];
	struct net_rx rx[NET_PAIRS_MAX];
	struct net_tx tx[NET_PAIRS_MAX];
	struct vq ctrl;
	uint32_t irqs_acked;
	uint64_t n_merged;	/* frames that came in several buffers */
};

struct net_setup {
	uint64_t features;	/* wanted, besides those of the ring */
	unsigned n_pairs;
	uint16_t queue_size;
	uint32_t rx_bytes;	/* of one receive buffer */
	unsigned n_rx, n_tx;	/* buffers a queue */
	uint32_t tx_bytes;	/* longest frame that is sent */
};

/* Brings the device up; NULL or what went wrong. */
const char *net_open(struct net *n, struct vio_dev *d, const struct net_setup *s);
bool net_link_up(struct net *n);
/* A buffer to fill (hdr is zero), or NULL: all are with the device. */
struct net_buf *net_tx_get(struct net *n, unsigned pair);
/* Queues it; then net_tx_kick(). */
void net_tx_put(struct net *n, unsigned pair, struct net_buf *b, uint32_t frame_bytes);
void net_tx_kick(struct net *n, unsigned pair);
/* The next frame, valid until the next call; its header in *ret_hdr. NULL: none. */
const uint8_t *net_rx_get(struct net *n, unsigned pair, uint32_t *ret_bytes,
			  struct net_hdr *ret_hdr);
/* Gives used buffers back to the device. */
void net_rx_kick(struct net *n, unsigned pair);
/* After an interrupt. */
void net_irq_ack(struct net *n);
/* One command on the control queue: what the device acknowledged (0: done), 0xff: nothing. */
uint8_t net_command(struct net *n, uint8_t class, uint8_t cmd, const void *data, uint32_t len);
