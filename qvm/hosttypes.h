/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdev types that are no code of ours: the kernel has them, qvm only configures them. They are
 * configured like any vdev, and are found by cfg_type_find() before those of the registry. Constant
 * data, any thread.
 */
#pragma once

#include "vdevs/vdev.h"

/* Ends with NULL. */
extern const struct vd_type *const qvm_host_types[];
extern const struct vd_type qvm_type_ioapic, qvm_type_8259, qvm_type_timer8254, qvm_type_gic;
