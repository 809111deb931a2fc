/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What virtio over PCI has in common, whichever interface the driver sees: the function, its
 * interrupts (virtio_pci_irq.c) and its life. For virtio_pci.c (virtio 1) and virtio_pci_legacy.c
 * (0.9.5) alone.
 */
#pragma once

#include "vdevs/pcifn.h"
#include "vdevs/virtio_transport.h"

#define VIRTIO_PCI_ISR_QUEUE 1u
#define VIRTIO_PCI_ISR_CONF 2u

struct virtio_pci {
	struct virtio_dev *d;
	struct pcifn fn;
	unsigned win_cap;		/* the configuration access capability */
	uint8_t isr;
	uint16_t config_vector;
	uint16_t vector[VIRTIO_QUEUES_MAX];
	bool notify[VIRTIO_QUEUES_MAX];	/* registered with the host */
	/* While MSI-X is off: signalled by who has used buffers; the I/O thread drives INTA. */
	int intx_fd;
	struct vd_watch *intx_watch;
};

static inline struct virtio_pci *virtio_pci_of(struct virtio_dev *d)
{
	return d->tr_state;
}

static inline struct virtio_pci *virtio_pci_of_vdev(struct vdev *v)
{
	return virtio_pci_of(Q_CONTAINER_OF(v, struct virtio_dev, v));
}

/* ---- interrupts ---- */

extern const struct virtio_transport virtio_pci_transport;
/* Reads and clears the ISR register, and INTA falls. */
uint8_t virtio_pci_isr_read(struct virtio_pci *p);
/* What a driver writes as a vector; one that does not exist reads back as none. */
void virtio_pci_config_vector_write(struct virtio_pci *p, uint32_t val);
void virtio_pci_queue_vector_write(struct virtio_pci *p, uint32_t val);
uint16_t virtio_pci_queue_vector(const struct virtio_pci *p);
/* A write to configuration space, of what no access window takes. */
void virtio_pci_fn_write(struct virtio_pci *p, unsigned off, unsigned size, uint32_t val);

/* ---- life ---- */

/* A function with identity @id and no BARs, @d's transport from now on; NULL with a sentence in
 * @errs. */
struct virtio_pci *virtio_pci_new(struct virtio_dev *d, const struct pcifn_id *id,
				  const struct vdev_ops *ops,
				  void (*bar_moved)(struct vdev *v, unsigned bar, uint64_t addr,
						    bool mapped),
				  struct cf_errors *errs);
/* Their part of struct vdev_ops. */
void virtio_pci_status(struct vdev *v, char *buf, size_t buf_bytes);
void virtio_pci_quiesce(struct vdev *v);
void virtio_pci_free(struct vdev *v);
/* Device configuration, little-endian. */
uint64_t virtio_pci_device_read(struct virtio_pci *p, unsigned off, unsigned size);
void virtio_pci_device_write(struct virtio_pci *p, unsigned off, unsigned size, uint64_t val);

int virtio_pci_legacy_attach(struct virtio_dev *d, struct cf_errors *errs);
