/* SPDX-License-Identifier: Apache-2.0 */
/* The same command on another host. Main thread. */
#pragma once

#include "hostctl/conn.h"

/* Runs hostctl with @argv, but for -H, on @host ("[USER@]HOST"), with a terminal there if
 * @terminal. Its exit code; HC_NO_HOSTD when there is no way to it. */
enum hc_exit hc_remote(const struct hc *hc, const char *host, bool terminal, int argc,
		       char **argv);
