/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts of a VM: wired lines that several devices may share, descriptors that raise them, and
 * message-signalled ones, each with a route of its own in the kernel. Any thread.
 */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>

#include "lib/qdef.h"

#define IRQ_LINES_MAX  512u
#define IRQ_ROUTES_MAX 1024u

/* Messages to @doorbell whose data is one of these lines are edges on that line; count 0: none. */
struct irq_frame {
	uint64_t doorbell;
	unsigned first, count;
};

struct irqs {
	int vm_fd;
	struct irq_frame frame; /* set before the guest runs */
	pthread_mutex_t lock;
	uint8_t n_high[IRQ_LINES_MAX]; /* sources that hold the line up */
	struct kvm_irq_routing *table; /* IRQ_ROUTES_MAX entries; allocated at the first message */
	unsigned n_fixed;	       /* entries for wired lines, before those of messages */
	bool used[IRQ_ROUTES_MAX];     /* message routes, by entry - n_fixed */
	unsigned gsi_first;	       /* of the first message route */
};

/* A wired input of one device. */
struct irq_line {
	unsigned line; /* as in the configuration: pin of the ioapic, INTID of the GIC */
	bool high;     /* under irqs->lock */
	int fd;	       /* eventfd of irq_line_fd(), or -1 */
};
/* A message-signalled interrupt of one device. */
struct irq_msi {
	int fd;	       /* eventfd, -1 before it is asked for */
	int route;     /* index, -1 = none yet */
	bool attached; /* the kernel listens to fd */
	uint64_t addr;
	uint32_t data;
};
#define IRQ_LINE_NULL ((struct irq_line){ .fd = -1 })
#define IRQ_MSI_NULL  ((struct irq_msi){ .fd = -1, .route = -1 })

void irqs_init(struct irqs *q, int vm_fd);
void irqs_fini(struct irqs *q);

/* Drives @l. Sources that share a line are ored. */
void irq_line_set(struct irqs *q, struct irq_line *l, bool level);
/* The descriptor whose signals are edges on @l; made on first use. -errno when it cannot be. */
int irq_line_fd(struct irqs *q, struct irq_line *l);
void irq_line_fini(struct irqs *q, struct irq_line *l);

/* The descriptor of @m; made on first use. Signals while it is masked are kept. -errno. */
int irq_msi_fd(struct irq_msi *m);
/*
 * Masks @m, or sends it to @addr/@data from now on; @devid is the sender's id for an ITS. 0,
 * -ENOSPC (no route left), -errno.
 */
int irq_msi_set(struct irqs *q, struct irq_msi *m, bool masked, uint64_t addr, uint32_t data,
		uint32_t devid);
void irq_msi_fini(struct irqs *q, struct irq_msi *m);

/* ---- what an architecture says about its lines (arch/) ---- */

/* The kernel's word for @line in KVM_IRQ_LINE, and in KVM_IRQFD. */
uint32_t arch_irq_line_word(unsigned line);
uint32_t arch_irq_line_gsi(unsigned line);
/* Entries for all wired lines, as they stand before the first message route; how many. */
unsigned arch_irq_fixed_routes(struct kvm_irq_routing_entry *ret, unsigned max);
/* First number for messages. */
unsigned arch_irq_first_msi_gsi(void);
/* Messages carry the id of their sender. */
bool arch_irq_msi_has_devid(void);
