/* SPDX-License-Identifier: Apache-2.0 */
/* The harness's part of struct vd_shm_ops: regions of a folder of the test's, memory by address. */
#pragma once

#include "vdevs/vdshm.h"

struct vdh;

#define VDH_MORE_BASE 0xd0000000ull	/* of a vdev's further window, when it is no PCI device */
#define VDH_RAMS 32u

struct vd_ram {
	uint64_t addr, len_bytes;
	char *host;
};

extern const struct vd_shm_ops vdh_shm_ops;

/* What the guest finds at @addr: memory that the vdev showed it; NULL: none of @len_bytes there. */
char *vdh_ram(struct vdh *h, uint64_t addr, uint64_t len_bytes);
unsigned vdh_rams(const struct vdh *h);
