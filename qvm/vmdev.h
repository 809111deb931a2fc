/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vdev in its VM: the vdev, its lock, its windows on the buses, its interrupts, and what the
 * host keeps for it. The lock is held around every call into the vdev, whoever calls.
 */
#pragma once

#include "lib/qlog.h"
#include "qvm/irq.h"
#include "qvm/vm.h"

#define VMDEV_VECTORS_MAX 64u

struct vm_dev {
	struct vd_host host; /* what the vdev sees of us */
	struct vm *vm;
	const struct cfg_vdev *cfg;
	struct cfg_vdev own_cfg; /* of an implicit vdev that the configuration does not name */
	struct vdev *v;		 /* NULL before create, and for what the kernel makes */
	pthread_mutex_t lock;
	bool is_mapped[8]; /* windows on a bus, by number */
	enum vd_space spaces[8];
	struct irq_line lines[CFG_IRQS_MAX];
	unsigned n_lines;
	struct irq_msi *msis; /* VMDEV_VECTORS_MAX, made at the first use */
	uint32_t devid;	      /* PCI bus << 8 | devfn */
	struct qlog_limit faults[VD_FAULTS];
};

/*
 * Makes all vdevs of the configuration and the implicit ones, and puts them on their buses. 0 or
 * -errno with vm->fail filled (and sentences in @errs).
 */
int vmdev_make_all(struct vm *vm, struct cf_errors *errs);
/*
 * The guest will not run any more: quiesce. Then, after the I/O thread ended, free. Both
 * idempotent.
 */
void vmdev_quiesce_all(struct vm *vm);
void vmdev_free_all(struct vm *vm);

/* Every vdev is asked; true when one says that the guest can see it. */
bool vmdev_button_all(struct vm *vm);
/* What the vdev says of itself: key=value words, or nothing. Any thread. */
void vmdev_status(struct vm_dev *d, char *buf, size_t buf_bytes);
/* What the guest did wrong with it, by kind. */
void vmdev_faults(struct vm_dev *d, uint64_t ret[VD_FAULTS]);

/* Puts window @win on a bus, or takes it away. 0 or -errno (-EEXIST: something else is there). */
int vmdev_map(struct vm_dev *d, unsigned win, enum vd_space space, uint64_t base,
	      uint64_t len_bytes, bool on);

/* PCI configuration space of the function, with the lock held around it. */
uint32_t vmdev_cfg_read(struct vm_dev *d, unsigned off, unsigned size);
void vmdev_cfg_write(struct vm_dev *d, unsigned off, unsigned size, uint32_t val);

/* The ops that every vdev's host has (vhost.c). */
extern const struct vd_host_ops vhost_ops;
