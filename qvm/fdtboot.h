/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device tree on its way into a guest: made, kept in a file where `set fdt-dump-file` wants it,
 * and put into guest memory; or all but the last, in a dry run. Main thread.
 */
#pragma once

#include "lib/qmem.h"
#include "qvm/fdtgen.h"
#include "qvm/load.h"

/* Keeps other files away from where `fdt load` wants the tree. Before load_all(). 0 or -ENOSPC. */
int fdtboot_claim(const struct vm_cfg *cfg, struct load_result *res);
/*
 * Makes the tree of @g (its initrd is filled in here), writes it to the dump file, and puts it into
 * @mem; *ret_at says where. 0, or -errno with a sentence in @text.
 */
int fdtboot_put(const struct fdtgen *g, const struct qmem *mem, const struct load_result *res,
		uint64_t *ret_at, char *text, size_t text_bytes);
/*
 * The tree of a dry run into the dump file: everything is loaded as it would be, into memory that
 * nobody runs in. A GIC whose version is not said is taken for a GICv3 with an ITS. Nothing is done
 * where nobody asked. 1: the file is there; 0: nobody asked; or -errno with a sentence in @text.
 */
int fdtboot_dry(const struct vm_cfg *cfg, char *text, size_t text_bytes);
