/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over MMIO (virtio 1.2, 4.2): one window at loc, one interrupt (edges). Version 2, or, for
 * a legacy device, version 1 (4.2.4), where a ring is given as the number of its page.
 *
 * Each queue's notification is an ioeventfd on QueueNotify that matches its number, and whoever
 * completes requests (a back end in another process too) signals the interrupt's descriptor
 * directly. So nobody can set a bit here first, and the used-buffer bit of InterruptStatus reads as
 * set as long as the device is live: a driver that looks at its queues for nothing loses a moment,
 * one that is told "nothing" loses an interrupt. vCPU threads, under the vdev's lock; the I/O
 * thread for interrupts where the host has no descriptor for them.
 */
#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qfd.h"
#include "vdevs/virtio_transport.h"

#define MAGIC 0x74726976u	/* "virt" */
#define VERSION 2u
#define VERSION_LEGACY 1u

struct virtio_mmio {
	struct virtio_dev *d;
	bool config_pending;
	int call_fd;		/* the interrupt's, borrowed; or own_fd */
	int own_fd;		/* where the host has no descriptor: watched, turned into a pulse */
	struct vd_watch *watch;
	bool notify[VIRTIO_QUEUES_MAX];
	uint32_t page_bytes, align;	/* legacy: as the driver wrote them */
};

static struct virtio_mmio *mmio_of(struct virtio_dev *d)
{
	return d->tr_state;
}

static struct virtio_mmio *mmio_of_vdev(struct vdev *v)
{
	return mmio_of(Q_CONTAINER_OF(v, struct virtio_dev, v));
}

/* ---- interrupts ---- */

static int mmio_call_fd(struct virtio_dev *d, unsigned q)
{
	return mmio_of(d)->call_fd;
}

static void mmio_config_irq(struct virtio_dev *d)
{
	mmio_of(d)->config_pending = true;
	qfd_event_signal(mmio_of(d)->call_fd);
}

static void pulse(struct vdev *v, void *arg)
{
	struct virtio_mmio *m = arg;

	qfd_event_clear(m->own_fd);
	v->host->ops->irq_set(v->host, 0, true);
	v->host->ops->irq_set(v->host, 0, false);
}

static int open_irq(struct virtio_mmio *m)
{
	struct vd_host *h = m->d->v.host;

	m->call_fd = h->ops->irq_fd(h, 0);
	if (m->call_fd >= 0)
		return 0;
	m->own_fd = qfd_eventfd();
	if (m->own_fd < 0)
		return m->own_fd;
	m->call_fd = m->own_fd;
	m->watch = h->ops->watch(h, m->own_fd, pulse, m);
	return m->watch ? 0 : -ENOMEM;
}

static uint32_t interrupt_status(const struct virtio_mmio *m)
{
	bool live = m->d->status & VIRTIO_CONFIG_S_DRIVER_OK || m->d->run == VIRTIO_RUNNING;

	return (live ? VIRTIO_MMIO_INT_VRING : 0) |
	       (m->config_pending ? VIRTIO_MMIO_INT_CONFIG : 0);
}

static void mmio_reset(struct virtio_dev *d)
{
	/* The page size stays: Linux writes it once, before its first reset. */
	mmio_of(d)->config_pending = false;
}

/* ---- registers ---- */

static uint32_t queue_reg_read(struct virtio_mmio *m, unsigned off)
{
	const struct virtio_queue *q = virtio_queue_sel(m->d);

	if (!q)
		return 0;
	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return m->d->queue_size_max;
	case VIRTIO_MMIO_QUEUE_READY:
		return q->enabled && !m->d->legacy;
	case VIRTIO_MMIO_QUEUE_PFN:
		return q->enabled && m->page_bytes ? (uint32_t)(q->cfg.desc.v / m->page_bytes) : 0;
	default:	/* QueueReset: a feature that is not offered; the others are write-only */
		return 0;
	}
}

static uint32_t reg_read(struct virtio_mmio *m, unsigned off)
{
	struct virtio_dev *d = m->d;

	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return d->legacy ? VERSION_LEGACY : VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return d->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VIRTIO_SUB_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return virtio_offered_word(d);
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return interrupt_status(m);
	case VIRTIO_MMIO_STATUS:
		return virtio_status_read(d);
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return d->legacy ? 0 : d->config_gen;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return 0xffffffff;	/* no shared memory region, whatever SHMSel says (4.2.2) */
	default:
		return queue_reg_read(m, off);
	}
}

static void queue_ready_write(struct virtio_mmio *m, uint32_t val)
{
	struct virtio_queue *q = virtio_queue_sel(m->d);

	if (val) {
		virtio_queue_enable(m->d);
		return;
	}
	/* A queue is given up before DRIVER_OK or by a reset; QueueReset is not offered. */
	if (q && !(m->d->status & VIRTIO_CONFIG_S_DRIVER_OK))
		q->enabled = false;
	else if (q)
		vdev_fault(&m->d->v, VD_FAULT_BAD_STATE);
}

static void queue_reg_write(struct virtio_mmio *m, unsigned off, uint32_t val)
{
	struct virtio_queue *q;

	if (off == VIRTIO_MMIO_QUEUE_READY) {
		queue_ready_write(m, val);
		return;
	}
	q = virtio_queue_edit(m->d);
	if (!q)
		return;
	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM:
		q->cfg.num = val;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		virtio_set_half(&q->cfg.desc, off == VIRTIO_MMIO_QUEUE_DESC_HIGH, val);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		virtio_set_half(&q->cfg.avail, off == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, val);
		break;
	default:
		virtio_set_half(&q->cfg.used, off == VIRTIO_MMIO_QUEUE_USED_HIGH, val);
		break;
	}
}

static void legacy_reg_write(struct virtio_mmio *m, unsigned off, uint32_t val)
{
	switch (off) {
	case VIRTIO_MMIO_GUEST_PAGE_SIZE:
		m->page_bytes = val;
		break;
	case VIRTIO_MMIO_QUEUE_ALIGN:
		m->align = val;
		break;
	default:
		virtio_queue_place(m->d, (uint64_t)val * m->page_bytes, m->align);
		break;
	}
}

static void reg_write(struct virtio_mmio *m, unsigned off, uint32_t val)
{
	struct virtio_dev *d = m->d;

	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		d->dfsel = val;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		d->gfsel = val;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		virtio_acked_write(d, val);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		d->qsel = val;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		virtio_queue_kick(d, val);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		if (val & VIRTIO_MMIO_INT_CONFIG)
			m->config_pending = false;
		break;
	case VIRTIO_MMIO_STATUS:
		virtio_status_write(d, (uint8_t)val);
		break;
	case VIRTIO_MMIO_GUEST_PAGE_SIZE:
	case VIRTIO_MMIO_QUEUE_ALIGN:
	case VIRTIO_MMIO_QUEUE_PFN:
		if (d->legacy)
			legacy_reg_write(m, off, val);
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
		queue_reg_write(m, off, val);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		if (!d->legacy)
			queue_reg_write(m, off, val);
		break;
	default:	/* SHMSel, QueueReset, read-only registers */
		break;
	}
}

static uint64_t virtio_mmio_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	struct virtio_mmio *m = mmio_of_vdev(v);
	uint8_t b[8];
	uint64_t val = 0;

	/* Registers are 32 bits wide and read so (4.2.2.2); config space has fields of its own. */
	if (off < VIRTIO_MMIO_CONFIG)
		return size == 4 && off % 4 == 0 ? reg_read(m, (unsigned)off) : 0;
	if (off >= VIRTIO_MMIO_CONFIG + VIRTIO_CONFIG_BYTES)
		return 0;
	virtio_config_read(m->d, (unsigned)off - VIRTIO_MMIO_CONFIG, b, size);
	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)b[i] << (8 * i);
	return val;
}

static void virtio_mmio_write(struct vdev *v, unsigned win, uint64_t off, unsigned size,
			      uint64_t val)
{
	struct virtio_mmio *m = mmio_of_vdev(v);
	uint8_t b[8];

	if (off < VIRTIO_MMIO_CONFIG) {
		if (size == 4 && off % 4 == 0)
			reg_write(m, (unsigned)off, (uint32_t)val);
		else
			vdev_fault(v, VD_FAULT_BAD_REQUEST);
		return;
	}
	if (off >= VIRTIO_MMIO_CONFIG + VIRTIO_CONFIG_BYTES)
		return;
	for (unsigned i = 0; i < size; i++)
		b[i] = (uint8_t)(val >> (8 * i));
	virtio_config_write(m->d, (unsigned)off - VIRTIO_MMIO_CONFIG, b, size);
}

/* ---- life ---- */

static void notify_all(struct virtio_mmio *m, bool add)
{
	struct vd_host *h = m->d->v.host;
	uint64_t at = m->d->v.cfg->base + VIRTIO_MMIO_QUEUE_NOTIFY;

	for (unsigned i = 0; i < m->d->n_queues; i++) {
		uint64_t match = i;
		int fd = m->d->q[i].kick_fd;

		if (add)
			m->notify[i] = !h->ops->notify_add(h, VD_MEM, at, 4, &match, fd);
		else if (m->notify[i])
			h->ops->notify_del(h, VD_MEM, at, 4, &match, fd);
	}
}

static void mmio_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	virtio_status_text(mmio_of_vdev(v)->d, buf, buf_bytes);
}

static void mmio_quiesce(struct vdev *v)
{
	virtio_quiesce(mmio_of_vdev(v)->d);
}

static void mmio_close(struct virtio_mmio *m)
{
	if (m->watch)
		m->d->v.host->ops->unwatch(m->d->v.host, m->watch);
	qfd_close(&m->own_fd);
	m->d->tr_state = NULL;
	free(m);
}

static void mmio_free(struct vdev *v)
{
	struct virtio_mmio *m = mmio_of_vdev(v);
	struct virtio_dev *d = m->d;

	notify_all(m, false);
	mmio_close(m);
	d->ops->free(d);
}

static const struct vdev_ops virtio_mmio_vdev_ops = {
	.read = virtio_mmio_read,
	.write = virtio_mmio_write,
	.status = mmio_status,
	.quiesce = mmio_quiesce,
	.free = mmio_free,
};

static const struct virtio_transport virtio_mmio_transport = {
	.call_fd = mmio_call_fd,
	.config_irq = mmio_config_irq,
	.reset = mmio_reset,
};

int virtio_mmio_attach(struct virtio_dev *d, struct cf_errors *errs)
{
	const struct vd_config *cfg = d->v.cfg;
	struct virtio_mmio *m;
	int r;

	if (cfg->len_bytes < VIRTIO_MMIO_CONFIG + d->config_len) {
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "%s: loc is %#llx bytes long, %#x are needed", cfg->name,
			     (unsigned long long)cfg->len_bytes,
			     VIRTIO_MMIO_CONFIG + d->config_len);
		return -EINVAL;
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	*m = (struct virtio_mmio){ .d = d, .call_fd = -1, .own_fd = -1 };
	d->tr_state = m;
	r = open_irq(m);
	if (r < 0) {
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "%s: no descriptor is left for the interrupt", cfg->name);
		mmio_close(m);
		return r;
	}
	d->tr = &virtio_mmio_transport;
	d->v.ops = &virtio_mmio_vdev_ops;
	notify_all(m, true);
	return 0;
}
