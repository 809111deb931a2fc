/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps files into the guest as RAM with memory slots of their own, at any time while it runs: any
 * thread, with the vdev's lock held. KVM makes the change seen by all vCPUs before the system call
 * returns, so that after ram_unmap() no access of the guest can reach the memory.
 *
 * Slots are handed out under a lock of this file. The hub of shared regions is made once, by the
 * main thread, when the first vdev asks for it.
 */
#include "qvm/shm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "qvm/vmdev.h"

static_assert(SHM_SLOT_FIRST >= QMEM_REGIONS_MAX, "RAM has the slots below");

struct vm_shm {
	struct qshm *hub;	/* NULL before it is asked for */
	pthread_mutex_t lock;	/* of used */
	bool used[SHM_SLOTS_MAX];
};

struct vd_ram {
	struct vm_shm *owner;
	unsigned slot;	/* in used[] */
	void *host;
	uint64_t addr, len_bytes;
};

static struct vm *vm_of(struct vd_host *h)
{
	return Q_CONTAINER_OF(h, struct vm_dev, host)->vm;
}

static struct vm_shm *shm_of(struct vm *vm)
{
	if (vm->shm)
		return vm->shm;
	vm->shm = calloc(1, sizeof(*vm->shm));
	if (vm->shm)
		pthread_mutex_init(&vm->shm->lock, NULL);
	return vm->shm;
}

struct vm_shm *vm_shm_free(struct vm_shm *s)
{
	if (!s)
		return NULL;
	s->hub = qshm_free(s->hub);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

/* ---- slots ---- */

static int slot_take(struct vm_shm *s)
{
	int slot = -ENOSPC;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; slot < 0 && i < SHM_SLOTS_MAX; i++)
		if (!s->used[i])
			slot = (int)i;
	if (slot >= 0)
		s->used[slot] = true;
	pthread_mutex_unlock(&s->lock);
	return slot;
}

static void slot_give(struct vm_shm *s, unsigned slot)
{
	pthread_mutex_lock(&s->lock);
	s->used[slot] = false;
	pthread_mutex_unlock(&s->lock);
}

/* Length 0 takes the slot's memory away. */
static int slot_set(struct vm *vm, const struct vd_ram *r, uint64_t len_bytes)
{
	struct kvm_userspace_memory_region m = {
		.slot = SHM_SLOT_FIRST + r->slot,
		.guest_phys_addr = r->addr,
		.memory_size = len_bytes,
		.userspace_addr = (uintptr_t)r->host,
	};

	return ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &m) < 0 ? -errno : 0;
}

/* ---- what vdevs ask ---- */

static int ram_fill(struct vm *vm, struct vd_ram *r, int fd)
{
	int slot = slot_take(r->owner);

	if (slot < 0)
		return slot;
	r->slot = (unsigned)slot;
	r->host = mmap(NULL, r->len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int res = r->host == MAP_FAILED ? -errno : slot_set(vm, r, r->len_bytes);
	if (res < 0) {
		if (r->host != MAP_FAILED)
			munmap(r->host, r->len_bytes);
		slot_give(r->owner, r->slot);
	}
	return res;
}

static int shm_ram_map(struct vd_host *h, uint64_t addr, int fd, uint64_t len_bytes,
		       struct vd_ram **ret)
{
	struct vm *vm = vm_of(h);
	struct vm_shm *s = shm_of(vm);
	struct vd_ram *r = s ? malloc(sizeof(*r)) : NULL;

	if (!r)
		return -ENOMEM;
	*r = (struct vd_ram){ .owner = s, .addr = addr, .len_bytes = len_bytes };
	int res = ram_fill(vm, r, fd);
	if (res < 0) {
		free(r);
		return res;
	}
	*ret = r;
	return 0;
}

static void shm_ram_unmap(struct vd_host *h, struct vd_ram *r)
{
	slot_set(vm_of(h), r, 0);
	munmap(r->host, r->len_bytes);
	slot_give(r->owner, r->slot);
	free(r);
}

static void hub_failed(const struct vm_dev *d, struct cf_errors *errs, int err)
{
	const struct vd_config *cfg = &d->cfg->cfg;
	const char *dir = d->vm->run_dir;

	if (!dir || !*dir)
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "vdev %s: there is no run directory, where the others could be found: "
			     "say --run-dir DIR", cfg->type);
	else
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "vdev %s: %s/shm cannot be used: %s", cfg->type, dir,
			     strerrordesc_np(-err));
}

static int shm_hub(struct vd_host *h, struct cf_errors *errs, struct qshm **ret)
{
	struct vm *vm = vm_of(h);
	struct vm_shm *s = shm_of(vm);
	char name[16];
	int r = !s ? -ENOMEM : !vm->run_dir || !*vm->run_dir ? -ENOENT : 0;

	if (r == 0 && !s->hub) {
		snprintf(name, sizeof(name), "%.11s-shm", vm->cfg->system);
		r = qshm_new(vm->run_dir, name, &s->hub);
	}
	if (r < 0) {
		hub_failed(Q_CONTAINER_OF(h, struct vm_dev, host), errs, r);
		return r;
	}
	*ret = s->hub;
	return 0;
}

const struct vd_shm_ops vm_shm_ops = {
	.hub = shm_hub,
	.ram_map = shm_ram_map,
	.ram_unmap = shm_ram_unmap,
};
