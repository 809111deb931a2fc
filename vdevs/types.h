/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types that the registry lists. Each is defined in the file of its device.
 */
#pragma once

#include "vdevs/vdev.h"

extern const struct vd_type vd_acpipm_type;
extern const struct vd_type vd_debug_exit_type;
extern const struct vd_type vd_hpet_type;
extern const struct vd_type vd_mc146818_type;
extern const struct vd_type vd_pci_dummy_type;
extern const struct vd_type vd_pckeyboard_type;
extern const struct vd_type vd_pl011_type;
extern const struct vd_type vd_progress_type;
extern const struct vd_type vd_ser8250_type;
extern const struct vd_type vd_shmem_type;
extern const struct vd_type vd_virtio_blk_type;
extern const struct vd_type vd_virtio_console_type;
extern const struct vd_type vd_virtio_entropy_type;
extern const struct vd_type vd_virtio_net_type;
extern const struct vd_type vd_virtio_snd_type;
extern const struct vd_type vd_wdt_sp805_type;
extern const struct vd_type vd_wdt_ib700_type;
