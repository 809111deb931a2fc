/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was wanted, on disk, so that a hostd that comes after one that died goes on where it
 * stopped: STATE/run/NAME.want is there while a VM is wanted up, STATE/run/hostd.boot from the
 * start of a hostd until it has stopped all VMs as asked. Both hold the boot they are of: after a
 * reboot they mean nothing. Main thread. Blocking, but tiny.
 */
#pragma once

#include "lib/qdef.h"

/* 0 or -errno. */
int hd_want_write(const char *state_dir, const char *name, bool up);
bool hd_want_read(const char *state_dir, const char *name);
/* It is being stopped, and is to be started again: a reboot. */
int hd_want_write_again(const char *state_dir, const char *name, bool again);
bool hd_want_read_again(const char *state_dir, const char *name);

/* True when the last hostd of this boot, with this folder, has not ended as asked. */
bool hd_want_interrupted(const char *state_dir);
/* Says that a hostd works, or that it has ended. 0 or -errno. */
int hd_want_working(const char *state_dir, bool yes);
