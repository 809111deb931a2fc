/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-net under test: the vdev, a guest's driver (vddriver.h) and a peer by hand (vdnet.h).
 * Queue q has its ring at RING(q) and its buffers at MEM(q).
 */
#pragma once

#include <linux/virtio_net.h>

#include "tests/unit/vddriver.h"
#include "tests/unit/vdnet.h"

#define B(name) (1ull << VIRTIO_NET_F_##name)
#define PAIRS_MAX 4u
#define QUEUES_MAX (2 * PAIRS_MAX + 1)
#define ENTRIES 64u
#define RING(q) (VDH_RAM_GPA + (uint64_t)(q) * 0x20000)
#define MEM(q) (VDH_RAM_GPA + 0x200000 + (uint64_t)(q) * 0x38000)
#define BASE (B(MAC) | B(STATUS) | B(MTU) | B(MRG_RXBUF) | B(CTRL_VQ) | B(CTRL_RX) | \
	      B(CTRL_RX_EXTRA) | B(CTRL_MAC_ADDR))

struct nic {
	struct vdh h;
	struct vdd d;
	struct vdn n;
	struct qdriver q[QUEUES_MAX];
	unsigned n_queues, ctrl;
	uint64_t features;
};

enum how { PCI, MMIO, LEGACY, PACKED, HOWS };

void nic_config(struct nic *k);
void nic_create(struct nic *k, enum how how);
/* Driver up with @pairs queue pairs and the control queue; may be called again. */
void nic_live(struct nic *k, uint64_t features, unsigned pairs);
/* All three, with one pair. */
void nic_open(struct nic *k, enum how how, uint64_t features);
void nic_close(struct nic *k);
/* Of the header in the guest's rings. */
uint32_t nic_hdr_bytes(const struct nic *k);
/* Publishes queue @q, kicks, and runs what is due. */
void nic_go(struct nic *k, unsigned q);
/* Bytes that depend on their place and @seed. */
void nic_fill(uint8_t *p, uint32_t len, unsigned seed);
/* One chain of queue @q has come back with @want bytes written. */
void nic_reaped(struct nic *k, unsigned q, uint32_t want);
/* @n frames of 60 bytes to send. */
void nic_queue_frames(struct nic *k, unsigned n);
/* @n buffers of @bytes each for receive queue @q. */
void nic_give_buffers(struct nic *k, unsigned q, unsigned n, uint32_t bytes);
/* A frame of queue @q with its header, put together from its buffers: its length, 0 = none. */
uint32_t nic_take_frame(struct nic *k, unsigned q, uint8_t *buf);
