/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which processes a hostd has started, on disk: STATE/run/NAME.pid holds "pid starttime", so that a
 * hostd that comes after one that died knows what still runs. Main thread. Blocking, but tiny.
 */
#pragma once

#include <sys/types.h>

#include "lib/qdef.h"

/* 0 or -errno. */
int hd_pidfile_write(const char *state_dir, const char *name, pid_t pid);
/* It is over: its socket goes as well. */
void hd_pidfile_remove(const char *state_dir, const char *name);
/* The process, if it still is the one that was written down; 0 when there is none. */
pid_t hd_pidfile_alive(const char *state_dir, const char *name);
/* Whether one was written down and not removed, alive or not. */
bool hd_pidfile_there(const char *state_dir, const char *name);

/* Where a later hostd finds that process, into @buf. False when the path is too long. */
bool hd_takeover_path(const char *state_dir, const char *name, char *buf, size_t buf_bytes);

/* Locks @state_dir (created when missing) for this process until it ends. Descriptor, or -EBUSY
 * with the other's pid (0 when it cannot be read), or -errno. */
int hd_state_lock(const char *state_dir, pid_t *ret_other);
