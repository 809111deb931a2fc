/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI functions of the host, as its kernel shows them to everybody: the standard header of their
 * configuration space. Reads files only; nothing is opened for good. Main thread, before the guest
 * runs.
 */
#pragma once

#include "vdevs/vdev.h"

/*
 * The header of the function that @arg names ([pci:]bus:device[.function], numbers as in
 * `loc pci:`, or [pci:]vendor/device[/index] in hexadecimal). @ret has VD_PCI_HEADER_BYTES. 0,
 * -EINVAL, -ENODEV or -errno, each with a sentence in @errs.
 */
int pcihost_header(const struct vd_arg *arg, struct cf_errors *errs, uint8_t *ret);
/* The same below @root instead of /sys/bus/pci/devices. */
int pcihost_header_at(const char *root, const struct vd_arg *arg, struct cf_errors *errs,
		      uint8_t *ret);
