/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens what `hostdev` of a serial vdev names. Forms: "-" (stdin and stdout), a path (both ways),
 * ">X" output only, "<X" input only; the last one of each direction wins. Main thread.
 */
#pragma once

#include "vdevs/vdev.h"

/*
 * Descriptors are nonblocking and the caller's; -1 for a direction that has none. Both may be the
 * same number: close it once. 0, or -errno with a sentence in @errs.
 */
int console_open(const struct vd_config *cfg, struct cf_errors *errs, int *ret_in_fd,
		 int *ret_out_fd);
/* Gives the terminal back as it was, if console_open() changed it. Idempotent. */
void console_restore(void);
