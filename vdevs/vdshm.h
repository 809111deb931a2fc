/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is not the guest's own, for vdevs that show it to the guest: shared with others, or
 * a device's. What vd_host_ops.shm points to; callable as the other functions of the host.
 */
#pragma once

#include "lib/cferr.h"
#include "lib/qshm.h"

struct vd_host;
struct vd_ram;	/* the host's handle */

struct vd_shm_ops {
	/* The regions that this VM shares with others: one for all its vdevs, the host's to free.
	 * Before the guest runs only. 0, or -errno with a sentence in @errs. */
	int (*hub)(struct vd_host *h, struct cf_errors *errs, struct qshm **ret);
	/* Shows the first @len_bytes of @fd, which cannot shrink, as RAM at guest-physical @addr:
	 * accesses there reach no window any more. Both are multiples of 4 KiB; @fd is borrowed. It
	 * is no part of vd_host.mem: no queue can stand there. 0, -EEXIST (RAM is there), -ENOSPC
	 * (no more of them), -errno. */
	int (*ram_map)(struct vd_host *h, uint64_t addr, int fd, uint64_t len_bytes,
		       struct vd_ram **ret);
	void (*ram_unmap)(struct vd_host *h, struct vd_ram *r);
};
