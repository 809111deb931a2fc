/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terminals of the host: opening what a stream (stream.h) names, and the terminal that we were
 * started from.
 */
#pragma once

#include "lib/qdef.h"

/*
 * Opens @path, or standard input or output for "-", with @flags O_RDONLY, O_WRONLY or O_RDWR: a
 * nonblocking descriptor, the caller's, or -errno. A terminal becomes raw (standard input: single
 * characters without echo), a regular file is made and appended to with O_WRONLY. Before the guest
 * runs, for "-".
 */
int console_open_path(const char *path, int flags);
/* Gives the terminal back as it was, if console_open() changed it. Idempotent. */
void console_restore(void);
