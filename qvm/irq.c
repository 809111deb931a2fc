/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes in the kernel's table and descriptors attached to them. A message has one route for as
 * long as its device lives; its entry is written again when the guest gives it another address.
 * Masking detaches the descriptor, so that signals are kept in its counter, and the kernel looks at
 * the counter when it is attached again: nothing is lost, and no code of ours runs in between.
 *
 * One lock: the kernel takes the whole table at once, so writers must take turns. It is a leaf.
 */
#include "qvm/irq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/qfd.h"

void irqs_init(struct irqs *q, int vm_fd)
{
	memset(q, 0, sizeof(*q));
	q->vm_fd = vm_fd;
	pthread_mutex_init(&q->lock, NULL);
}

void irqs_fini(struct irqs *q)
{
	free(q->table);
	q->table = NULL;
	pthread_mutex_destroy(&q->lock);
}

/* ---- lines ---- */

void irq_line_set(struct irqs *q, struct irq_line *l, bool level)
{
	if (l->line >= IRQ_LINES_MAX)
		return;
	pthread_mutex_lock(&q->lock);
	if (l->high != level) {
		uint8_t *n = &q->n_high[l->line];
		bool was = *n > 0;
		l->high = level;
		*n = (uint8_t)(level ? *n + 1 : *n - 1);
		if (was != (*n > 0)) {
			struct kvm_irq_level kl = { .irq = arch_irq_line_word(l->line),
						    .level = level };
			/* Fails only for a line that does not exist, which the checker refused. */
			ioctl(q->vm_fd, KVM_IRQ_LINE, &kl);
		}
	}
	pthread_mutex_unlock(&q->lock);
}

static int irqfd(int vm_fd, int fd, uint32_t gsi, bool on)
{
	struct kvm_irqfd kf = { .fd = (uint32_t)fd,
				.gsi = gsi,
				.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

	return ioctl(vm_fd, KVM_IRQFD, &kf) < 0 ? -errno : 0;
}

int irq_line_fd(struct irqs *q, struct irq_line *l)
{
	if (l->fd >= 0)
		return l->fd;
	int fd = qfd_eventfd();
	if (fd < 0)
		return fd;
	int r = irqfd(q->vm_fd, fd, arch_irq_line_gsi(l->line), true);
	if (r < 0) {
		qfd_close(&fd);
		return r;
	}
	l->fd = fd;
	return fd;
}

void irq_line_fini(struct irqs *q, struct irq_line *l)
{
	if (l->fd >= 0)
		irqfd(q->vm_fd, l->fd, arch_irq_line_gsi(l->line), false);
	qfd_close(&l->fd);
}

/* ---- messages ---- */

static int table_make(struct irqs *q)
{
	if (q->table)
		return 0;
	q->table = calloc(1, sizeof(*q->table) +
				     IRQ_ROUTES_MAX * sizeof(struct kvm_irq_routing_entry));
	if (!q->table)
		return -ENOMEM;
	q->n_fixed = arch_irq_fixed_routes(q->table->entries, IRQ_ROUTES_MAX);
	q->table->nr = q->n_fixed;
	q->gsi_first = arch_irq_first_msi_gsi();
	return 0;
}

static int route_get(struct irqs *q)
{
	for (unsigned i = 0; i < IRQ_ROUTES_MAX - q->n_fixed; i++) {
		if (!q->used[i]) {
			q->used[i] = true;
			return (int)i;
		}
	}
	return -ENOSPC;
}

/* Where route @i stands among the entries; a new one goes to the end. */
static struct kvm_irq_routing_entry *entry_of(struct irqs *q, unsigned i)
{
	struct kvm_irq_routing *t = q->table;

	for (unsigned e = q->n_fixed; e < t->nr; e++)
		if (t->entries[e].gsi == q->gsi_first + i)
			return &t->entries[e];
	return &t->entries[t->nr++];
}

static bool in_frame(const struct irq_frame *f, const struct irq_msi *m)
{
	return m->addr == f->doorbell && m->data - f->first < f->count;
}

static void frame_target(struct kvm_irq_routing_entry *e, const struct irq_msi *m)
{
	e->type = KVM_IRQ_ROUTING_IRQCHIP;
	e->u.irqchip.pin = arch_irq_line_gsi(m->data);
}

static void msi_target(struct kvm_irq_routing_entry *e, const struct irq_msi *m, uint32_t devid)
{
	e->type = KVM_IRQ_ROUTING_MSI;
	e->u.msi.address_lo = (uint32_t)m->addr;
	e->u.msi.address_hi = (uint32_t)(m->addr >> 32);
	e->u.msi.data = m->data;
	if (arch_irq_msi_has_devid()) {
		e->flags = KVM_MSI_VALID_DEVID;
		e->u.msi.devid = devid;
	}
}

static int route_write(struct irqs *q, const struct irq_msi *m, uint32_t devid)
{
	const unsigned nr = q->table->nr;
	struct kvm_irq_routing_entry *e = entry_of(q, (unsigned)m->route);
	const struct kvm_irq_routing_entry was = *e;

	*e = (struct kvm_irq_routing_entry){ .gsi = q->gsi_first + (unsigned)m->route };
	if (in_frame(&q->frame, m))
		frame_target(e, m);
	else
		msi_target(e, m, devid);
	int r = ioctl(q->vm_fd, KVM_SET_GSI_ROUTING, q->table) < 0 ? -errno : 0;
	if (r < 0) {
		/* The table is everybody's: an entry that the kernel refuses must not stay. */
		*e = was;
		q->table->nr = nr;
	}
	return r;
}

static void msi_detach(struct irqs *q, struct irq_msi *m)
{
	if (m->attached)
		irqfd(q->vm_fd, m->fd, q->gsi_first + (unsigned)m->route, false);
	m->attached = false;
}

static int msi_attach(struct irqs *q, struct irq_msi *m, uint64_t addr, uint32_t data,
		      uint32_t devid)
{
	int r = table_make(q);

	if (r < 0)
		return r;
	if (m->route < 0 || m->addr != addr || m->data != data) {
		if (m->route < 0) {
			r = route_get(q);
			if (r < 0)
				return r;
			m->route = r;
		}
		m->addr = addr;
		m->data = data;
		r = route_write(q, m, devid);
		if (r < 0) {
			m->addr = UINT64_MAX; /* so that the next try writes again */
			return r;
		}
	}
	if (!m->attached) {
		r = irqfd(q->vm_fd, m->fd, q->gsi_first + (unsigned)m->route, true);
		m->attached = r == 0;
	}
	return r;
}

int irq_msi_fd(struct irq_msi *m)
{
	if (m->fd < 0) {
		int fd = qfd_eventfd();
		if (fd < 0)
			return fd;
		m->fd = fd;
	}
	return m->fd;
}

int irq_msi_set(struct irqs *q, struct irq_msi *m, bool masked, uint64_t addr, uint32_t data,
		uint32_t devid)
{
	int r = irq_msi_fd(m);

	if (r < 0)
		return r;
	pthread_mutex_lock(&q->lock);
	r = 0;
	if (masked)
		msi_detach(q, m);
	else
		r = msi_attach(q, m, addr, data, devid);
	pthread_mutex_unlock(&q->lock);
	return r;
}

void irq_msi_fini(struct irqs *q, struct irq_msi *m)
{
	pthread_mutex_lock(&q->lock);
	msi_detach(q, m);
	if (m->route >= 0)
		q->used[m->route] = false;
	m->route = -1;
	pthread_mutex_unlock(&q->lock);
	qfd_close(&m->fd);
}
