/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of a VM that is not its RAM: what its vdevs show to the guest (struct vd_shm_ops), and the
 * regions that it shares with other processes of the host.
 */
#pragma once

#include "vdevs/vdshm.h"

struct vm;
struct vm_shm;

/* KVM's memory slots from here on; those below are RAM and ROM. */
#define SHM_SLOT_FIRST 64u
#define SHM_SLOTS_MAX  128u

extern const struct vd_shm_ops vm_shm_ops;

/* After all vdevs were freed. NULL is fine; returns NULL. */
struct vm_shm *vm_shm_free(struct vm_shm *s);
