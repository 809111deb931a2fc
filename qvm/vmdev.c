/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vdevs of a VM from creation to their end. Main thread for both; in between, vCPU threads come
 * through the buses and the I/O thread through the loop, each with the vdev's lock. The lock
 * inherits priority, because a real-time vCPU may wait for the I/O thread here.
 */
#include "qvm/vmdev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qsched.h"
#include "qvm/arch.h"

/* ---- accesses ---- */

static uint64_t dev_read(void *ctx, unsigned win, uint64_t off, unsigned size)
{
	struct vm_dev *d = ctx;

	pthread_mutex_lock(&d->lock);
	uint64_t val = d->v->ops->read ? d->v->ops->read(d->v, win, off, size) : UINT64_MAX;
	pthread_mutex_unlock(&d->lock);
	return val;
}

static void dev_write(void *ctx, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct vm_dev *d = ctx;

	pthread_mutex_lock(&d->lock);
	if (d->v->ops->write)
		d->v->ops->write(d->v, win, off, size, val);
	pthread_mutex_unlock(&d->lock);
}

static const struct bus_ops dev_bus_ops = { .read = dev_read, .write = dev_write };

uint32_t vmdev_cfg_read(struct vm_dev *d, unsigned off, unsigned size)
{
	uint32_t val = UINT32_MAX;

	pthread_mutex_lock(&d->lock);
	if (d->v && d->v->ops->cfg_read)
		val = d->v->ops->cfg_read(d->v, off, size);
	pthread_mutex_unlock(&d->lock);
	return val;
}

void vmdev_cfg_write(struct vm_dev *d, unsigned off, unsigned size, uint32_t val)
{
	pthread_mutex_lock(&d->lock);
	if (d->v && d->v->ops->cfg_write)
		d->v->ops->cfg_write(d->v, off, size, val);
	pthread_mutex_unlock(&d->lock);
}

int vmdev_map(struct vm_dev *d, unsigned win, enum vd_space space, uint64_t base,
	      uint64_t len_bytes, bool on)
{
	if (win >= Q_ARRAY_LEN(d->is_mapped) || (space != VD_MEM && space != VD_IO))
		return -EINVAL;
	if (d->is_mapped[win])
		bus_del(&d->vm->bus[d->spaces[win]], d, win);
	d->is_mapped[win] = false;
	if (!on)
		return 0;
	const struct bus_window w = {
		.base = base, .len_bytes = len_bytes, .ops = &dev_bus_ops, .ctx = d, .win = win,
		.name = d->cfg->cfg.name
	};
	int r = bus_add(&d->vm->bus[space], &w);
	d->is_mapped[win] = r == 0;
	d->spaces[win] = space;
	/* Before the guest runs only: the latch is read without a lock. */
	if (r == -EEXIST && space == VD_IO && !d->vm->started_ns &&
	    pci_map_under_latch(&d->vm->pci, &w) == 0)
		return 0;
	return r;
}

/* ---- making ---- */

static void dev_init(struct vm_dev *d, struct vm *vm, const struct cfg_vdev *cfg)
{
	d->vm = vm;
	d->cfg = cfg;
	d->host = (struct vd_host){
		.ops = &vhost_ops, .mem = vm->mem, .n_vcpus = (unsigned)vm->cfg->n_cpus,
	};
	qsched_mutex_init(&d->lock);
	for (unsigned i = 0; i < CFG_IRQS_MAX; i++)
		d->lines[i] = IRQ_LINE_NULL;
	for (unsigned i = 0; i < cfg->n_irqs; i++)
		d->lines[i].line = cfg->irqs[i].line;
	d->n_lines = cfg->n_irqs;
	if (cfg->on_pci) {
		d->devid = (uint32_t)cfg->pci_dev << 3;
		d->lines[0].line = pci_intx_line((unsigned)cfg->pci_dev);
		d->n_lines = 1;
	}
}

static int dev_create(struct vm_dev *d, struct cf_errors *errs)
{
	const struct cfg_vdev *c = d->cfg;
	const char *name = c->cfg.name;
	int r = c->type->create(&c->cfg, &d->host, errs, &d->v);

	if (r < 0)
		return vm_fail(d->vm, "devices", r, "vdev %s (%s) could not be made", name,
			       c->type->name);
	if (c->on_pci)
		return pci_add(&d->vm->pci, (unsigned)c->pci_dev, d) < 0 ?
			       vm_fail(d->vm, "devices", EEXIST, "vdev %s: PCI slot %d is taken",
				       name, c->pci_dev) :
			       0;
	r = vmdev_map(d, 0, c->cfg.space, c->cfg.base, c->cfg.len_bytes, true);
	if (r < 0)
		return vm_fail(d->vm, "devices", r, "vdev %s: its window at 0x%llx cannot be had",
			       name, (unsigned long long)c->cfg.base);
	return 0;
}

static bool is_named(const struct vm_cfg *cfg, const struct vd_type *t)
{
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		if (cfg->vdevs[i].type == t)
			return true;
	return false;
}

static bool is_implicit(const struct vm_cfg *cfg, const struct vd_type *t)
{
	return (t->flags & VD_IMPLICIT) && !(t->flags & VD_HOST_MADE) &&
	       (!t->archs || !strcmp(t->archs, arch_name())) && !is_named(cfg, t);
}

/* As the parser would have made it from "vdev TYPE" alone. */
static void implicit_cfg(const struct vd_type *t, struct cfg_vdev *ret)
{
	*ret = (struct cfg_vdev){
		.type = t,
		.cfg = { .type = t->name,
			 .name = t->name,
			 .space = t->default_space,
			 .base = t->default_base,
			 .len_bytes = t->len_bytes,
			 .file = "implicit" },
		.pci_dev = -1,
		.debug = true,
	};
}

/* A vdev that has an interrupt by convention gets it when nobody gave another. */
static const struct cfg_vdev *with_usual_irq(struct vm_dev *d, const struct cfg_vdev *c)
{
	int line = arch_usual_line(c->type->name);

	if (c->n_irqs || line < 0)
		return c;
	if (c != &d->own_cfg)
		d->own_cfg = *c;
	d->own_cfg.irqs[0].line = (unsigned)line;
	d->own_cfg.n_irqs = 1;
	d->own_cfg.cfg.n_irqs = 1;
	return &d->own_cfg;
}

static int make_one(struct vm *vm, const struct cfg_vdev *c, const struct vd_type *implicit,
		    struct cf_errors *errs)
{
	struct vm_dev *d = &vm->devs[vm->n_devs];

	if (implicit) {
		implicit_cfg(implicit, &d->own_cfg);
		c = &d->own_cfg;
	}
	if (c->type->flags & VD_HOST_MADE)
		return 0;
	dev_init(d, vm, with_usual_irq(d, c));
	vm->n_devs++;
	return dev_create(d, errs);
}

int vmdev_make_all(struct vm *vm, struct cf_errors *errs)
{
	size_t n = vm->cfg->n_vdevs;
	int r = 0;

	for (unsigned i = 0; vdev_registry[i]; i++)
		n++;
	vm->devs = calloc(n, sizeof(*vm->devs));
	if (!vm->devs)
		return vm_fail(vm, "devices", ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < vm->cfg->n_vdevs; i++)
		r = make_one(vm, &vm->cfg->vdevs[i], NULL, errs);
	for (unsigned i = 0; r == 0 && vdev_registry[i]; i++)
		if (is_implicit(vm->cfg, vdev_registry[i]))
			r = make_one(vm, NULL, vdev_registry[i], errs);
	return r;
}

/* ---- their end ---- */

void vmdev_quiesce_all(struct vm *vm)
{
	for (size_t i = 0; i < vm->n_devs; i++) {
		struct vm_dev *d = &vm->devs[i];
		pthread_mutex_lock(&d->lock);
		if (d->v && d->v->ops->quiesce)
			d->v->ops->quiesce(d->v);
		pthread_mutex_unlock(&d->lock);
	}
}

static void dev_free(struct vm_dev *d)
{
	if (d->vm->pci.under_latch.ctx == d)
		pci_map_under_latch(&d->vm->pci, &(struct bus_window){ 0 });
	pthread_mutex_lock(&d->lock);
	if (d->v)
		d->v->ops->free(d->v);
	d->v = NULL;
	pthread_mutex_unlock(&d->lock);
	for (unsigned i = 0; i < Q_ARRAY_LEN(d->is_mapped); i++)
		if (d->is_mapped[i])
			bus_del(&d->vm->bus[d->spaces[i]], d, i);
	for (unsigned i = 0; i < CFG_IRQS_MAX; i++)
		irq_line_fini(&d->vm->irqs, &d->lines[i]);
	for (unsigned i = 0; d->msis && i < VMDEV_VECTORS_MAX; i++)
		irq_msi_fini(&d->vm->irqs, &d->msis[i]);
	free(d->msis);
	pthread_mutex_destroy(&d->lock);
}

void vmdev_free_all(struct vm *vm)
{
	while (vm->n_devs > 0)
		dev_free(&vm->devs[--vm->n_devs]);
	free(vm->devs);
	vm->devs = NULL;
}

/* ---- what the operator asks ---- */

bool vmdev_button_all(struct vm *vm)
{
	bool seen = false;

	for (size_t i = 0; i < vm->n_devs; i++) {
		struct vm_dev *d = &vm->devs[i];
		pthread_mutex_lock(&d->lock);
		if (d->v && d->v->ops->button && d->v->ops->button(d->v))
			seen = true;
		pthread_mutex_unlock(&d->lock);
	}
	return seen;
}

void vmdev_faults(struct vm_dev *d, uint64_t ret[VD_FAULTS])
{
	memset(ret, 0, VD_FAULTS * sizeof(ret[0]));
	pthread_mutex_lock(&d->lock);
	if (d->v)
		memcpy(ret, d->v->faults, VD_FAULTS * sizeof(ret[0]));
	pthread_mutex_unlock(&d->lock);
}

void vmdev_status(struct vm_dev *d, char *buf, size_t buf_bytes)
{
	buf[0] = '\0';
	pthread_mutex_lock(&d->lock);
	if (d->v && d->v->ops->status)
		d->v->ops->status(d->v, buf, buf_bytes);
	pthread_mutex_unlock(&d->lock);
}
