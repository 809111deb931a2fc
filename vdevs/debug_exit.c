/* SPDX-License-Identifier: Apache-2.0 */
/*
 * debug-exit: a register with which a guest ends its VM and says how it went: a write of 0..31, in
 * 1, 2 or 4 bytes to the first byte of the window, ends qvm with exit code 32 + that number. For
 * tests of guests and of their boot, which want a verdict and no power management. Port 0xf4, where
 * QEMU's isa-debug-exit is by habit, unless loc says another place. Larger numbers are faults of
 * the guest's and do nothing. It cannot be read: all ones.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vdevs/types.h"

#define PORT	  0xf4u
#define LEN_BYTES 4u
#define CODES	  (VD_LEAVE_MAX - VD_LEAVE_MIN + 1)

struct debug_exit {
	struct vdev v;
};

static uint64_t debug_exit_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	return UINT64_MAX;
}

static void debug_exit_write(struct vdev *v, unsigned win, uint64_t off, unsigned size,
			     uint64_t val)
{
	if (off || size > LEN_BYTES)
		return;
	if (val >= CODES) {
		vdev_fault(v, VD_FAULT_BAD_REQUEST);
		return;
	}
	v->host->ops->leave(v->host, VD_LEAVE_MIN + (unsigned)val);
}

static void debug_exit_free(struct vdev *v)
{
	free(Q_CONTAINER_OF(v, struct debug_exit, v));
}

static const struct vdev_ops debug_exit_ops = {
	.read = debug_exit_read,
	.write = debug_exit_write,
	.free = debug_exit_free,
};

static int debug_exit_create(const struct vd_config *cfg, struct vd_host *host,
			     struct cf_errors *errs, struct vdev **ret)
{
	struct debug_exit *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->v = (struct vdev){ .ops = &debug_exit_ops, .type = &vd_debug_exit_type, .cfg = cfg,
			      .host = host };
	*ret = &d->v;
	return 0;
}

static const struct vd_option debug_exit_options[] = {
	{ NULL },
};

const struct vd_type vd_debug_exit_type = {
	.name = "debug-exit",
	.flags = VD_NEEDS_LOC,
	.default_space = VD_IO,
	.default_base = PORT,
	.len_bytes = LEN_BYTES,
	.max_irqs = 0,
	.options = debug_exit_options,
	.create = debug_exit_create,
};
