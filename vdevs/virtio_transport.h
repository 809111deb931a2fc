/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between virtio.c and the registers that a driver sees: virtio_pci*.c and virtio_mmio.c. All calls
 * with the vdev's lock held.
 */
#pragma once

#include "vdevs/virtio.h"

struct virtio_transport {
	/* What to signal when queue @q has used buffers: borrowed, -1 = nobody wants it. */
	int (*call_fd)(struct virtio_dev *d, unsigned q);
	void (*config_irq)(struct virtio_dev *d);
	void (*reset)(struct virtio_dev *d);
};


uint8_t virtio_status_read(const struct virtio_dev *d);
void virtio_status_write(struct virtio_dev *d, uint8_t val);
/* Words of 32 bits, selected by dfsel and gfsel. */
uint32_t virtio_offered_word(const struct virtio_dev *d);
uint32_t virtio_acked_word(const struct virtio_dev *d);
void virtio_acked_write(struct virtio_dev *d, uint32_t val);
/* The queue that qsel names, NULL when there is none. */
struct virtio_queue *virtio_queue_sel(struct virtio_dev *d);
/* The same for writing: NULL (and a fault) when it may not be changed now. */
struct virtio_queue *virtio_queue_edit(struct virtio_dev *d);
void virtio_queue_enable(struct virtio_dev *d);
/*
 * Legacy: a ring at @at, laid out with @align (1.2, 2.7.2); 0 gives it up. With it the queue is
 * enabled, and a kick starts the device: drivers of that time use queues before DRIVER_OK (3.1.2).
 */
void virtio_queue_place(struct virtio_dev *d, uint64_t at, uint64_t align);
/* A notification that came as an exit. */
void virtio_queue_kick(struct virtio_dev *d, uint32_t q);
void virtio_config_read(const struct virtio_dev *d, unsigned off, void *buf, unsigned len);
void virtio_config_write(struct virtio_dev *d, unsigned off, const void *buf, unsigned len);

void virtio_status_text(struct virtio_dev *d, char *buf, size_t buf_bytes);
void virtio_quiesce(struct virtio_dev *d);

int virtio_pci_attach(struct virtio_dev *d, struct cf_errors *errs);
int virtio_mmio_attach(struct virtio_dev *d, struct cf_errors *errs);
/* Half of a 64-bit address. */
static inline void virtio_set_half(gpa_t *at, bool high, uint32_t val)
{
	at->v = high ? (at->v & 0xffffffffull) | (uint64_t)val << 32 :
		       (at->v & ~0xffffffffull) | val;
}
