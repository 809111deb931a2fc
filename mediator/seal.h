/* SPDX-License-Identifier: Apache-2.0 */
/* What the mediator gives up before it serves its first client. Main thread. */
#pragma once

#include "lib/qjail.h"

/*
 * All devices are open, all threads are there and have their priority. Afterwards, in all threads:
 * no capability, no privilege by execve, and no system call but those of the table in seal.c.
 * Still possible: everything with descriptors that are open, files that our user may open (devices
 * that come back, policies that are read again), sockets of this host, real-time priorities that
 * the limit on them has.
 * No longer: execve, processes, signals to others, memory that becomes code, other sockets.
 * 0 or -errno.
 */
int med_seal(enum qjail_mode mode);
