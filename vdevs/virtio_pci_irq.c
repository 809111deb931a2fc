/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts of virtio over PCI, and the life of the function. vCPU threads, under the vdev's lock;
 * the I/O thread for INTA.
 *
 * With MSI-X each queue has a vector, whose descriptor whoever completes requests signals, here or
 * in another process. Without, they all signal one descriptor of ours; the I/O thread sets the bit
 * of the ISR register and raises INTA, and the driver's read of ISR takes both back (virtio 1.2,
 * 4.1.4.5.1). Invariant: INTA is wanted exactly while ISR is not 0.
 */
#include <errno.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>

#include "lib/qfd.h"
#include "vdevs/virtio_pci_priv.h"

/* ---- signalling ---- */

static int vector_fd(struct virtio_pci *p, uint16_t vector)
{
	struct vd_host *h = p->d->v.host;

	return vector < p->fn.n_vectors ? h->ops->msi_fd(h, vector) : -1;
}

static int pci_call_fd(struct virtio_dev *d, unsigned q)
{
	struct virtio_pci *p = virtio_pci_of(d);

	return pcifn_msix_enabled(&p->fn) ? vector_fd(p, p->vector[q]) : p->intx_fd;
}

static void isr_set(struct virtio_pci *p, uint8_t bits)
{
	p->isr |= bits;
	pcifn_intx(&p->fn, p->isr);
}

uint8_t virtio_pci_isr_read(struct virtio_pci *p)
{
	uint8_t isr = p->isr;

	p->isr = 0;	/* by the read, as the driver expects */
	pcifn_intx(&p->fn, false);
	return isr;
}

static void intx_signalled(struct vdev *v, void *arg)
{
	struct virtio_pci *p = arg;

	qfd_event_clear(p->intx_fd);
	if (!pcifn_msix_enabled(&p->fn))
		isr_set(p, VIRTIO_PCI_ISR_QUEUE);
}

static void pci_config_irq(struct virtio_dev *d)
{
	struct virtio_pci *p = virtio_pci_of(d);
	int fd = pcifn_msix_enabled(&p->fn) ? vector_fd(p, p->config_vector) : -1;

	isr_set(p, VIRTIO_PCI_ISR_CONF);
	if (fd >= 0)
		qfd_event_signal(fd);
}

/* ---- vectors ---- */

static void pci_reset(struct virtio_dev *d)
{
	struct virtio_pci *p = virtio_pci_of(d);

	virtio_pci_isr_read(p);
	p->config_vector = VIRTIO_MSI_NO_VECTOR;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		p->vector[i] = VIRTIO_MSI_NO_VECTOR;
}

/* A vector that does not exist reads back as none: so the driver learns (4.1.5.1.2). */
static uint16_t vector_checked(const struct virtio_pci *p, uint32_t val)
{
	return val < p->fn.n_vectors ? (uint16_t)val : VIRTIO_MSI_NO_VECTOR;
}

void virtio_pci_config_vector_write(struct virtio_pci *p, uint32_t val)
{
	p->config_vector = vector_checked(p, val);
}

static void call_changed(struct virtio_dev *d, unsigned q)
{
	if (d->run == VIRTIO_RUNNING && d->ops->call_changed)
		d->ops->call_changed(d, q);
}

void virtio_pci_queue_vector_write(struct virtio_pci *p, uint32_t val)
{
	struct virtio_dev *d = p->d;

	if (!virtio_queue_sel(d))
		return;
	p->vector[d->qsel] = vector_checked(p, val);
	call_changed(d, d->qsel);
}

uint16_t virtio_pci_queue_vector(const struct virtio_pci *p)
{
	return virtio_queue_sel(p->d) ? p->vector[p->d->qsel] : VIRTIO_MSI_NO_VECTOR;
}

void virtio_pci_fn_write(struct virtio_pci *p, unsigned off, unsigned size, uint32_t val)
{
	bool before = pcifn_msix_enabled(&p->fn);

	pcifn_cfg_write(&p->fn, off, size, val);
	if (pcifn_msix_enabled(&p->fn) == before)
		return;
	for (unsigned i = 0; i < p->d->n_queues; i++)
		call_changed(p->d, i);
}

const struct virtio_transport virtio_pci_transport = {
	.call_fd = pci_call_fd,
	.config_irq = pci_config_irq,
	.reset = pci_reset,
};

/* ---- device configuration ---- */

uint64_t virtio_pci_device_read(struct virtio_pci *p, unsigned off, unsigned size)
{
	uint8_t b[8];
	uint64_t val = 0;

	virtio_config_read(p->d, off, b, size);
	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)b[i] << (8 * i);
	return val;
}

void virtio_pci_device_write(struct virtio_pci *p, unsigned off, unsigned size, uint64_t val)
{
	uint8_t b[8];

	for (unsigned i = 0; i < size; i++)
		b[i] = (uint8_t)(val >> (8 * i));
	virtio_config_write(p->d, off, b, size);
}

/* ---- life ---- */

static int irq_open(struct virtio_pci *p)
{
	struct vd_host *h = p->d->v.host;

	p->intx_fd = qfd_eventfd();
	if (p->intx_fd < 0)
		return p->intx_fd;
	p->intx_watch = h->ops->watch(h, p->intx_fd, intx_signalled, p);
	return p->intx_watch ? 0 : -ENOMEM;
}

static void pci_close(struct virtio_pci *p)
{
	struct virtio_dev *d = p->d;

	pcifn_fini(&p->fn);
	if (p->intx_watch)
		d->v.host->ops->unwatch(d->v.host, p->intx_watch);
	qfd_close(&p->intx_fd);
	free(p);
	d->tr_state = NULL;
}

struct virtio_pci *virtio_pci_new(struct virtio_dev *d, const struct pcifn_id *id,
				  const struct vdev_ops *ops,
				  void (*bar_moved)(struct vdev *v, unsigned bar, uint64_t addr,
						    bool mapped),
				  struct cf_errors *errs)
{
	struct virtio_pci *p = calloc(1, sizeof(*p));
	int r = -ENOMEM;

	if (p) {
		p->d = d;
		pcifn_init(&p->fn, &d->v, id, bar_moved);
		pcifn_add_intx(&p->fn);
		r = irq_open(p);
	}
	if (r < 0) {
		cf_error_add(errs, CF_ERROR, d->v.cfg->file, d->v.cfg->line, d->v.cfg->col,
			     "%s: out of memory or descriptors", d->v.cfg->name);
		if (p)
			pci_close(p);
		return NULL;
	}
	d->tr = &virtio_pci_transport;
	d->tr_state = p;
	d->v.ops = ops;
	pci_reset(d);
	return p;
}

void virtio_pci_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	virtio_status_text(virtio_pci_of_vdev(v)->d, buf, buf_bytes);
}

void virtio_pci_quiesce(struct vdev *v)
{
	virtio_quiesce(virtio_pci_of_vdev(v)->d);
}

void virtio_pci_free(struct vdev *v)
{
	struct virtio_dev *d = virtio_pci_of_vdev(v)->d;

	pci_close(virtio_pci_of(d));
	d->ops->free(d);
}
