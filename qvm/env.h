/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in the VM's runtime directory for whoever watches it from outside: the file `env`
 * (JSON: the VM, its vCPUs, vdevs and counters), and for each vdev a file of its name with its
 * state, unless the vdev made something of its own there. Main thread. All take NULL: a VM without
 * a directory.
 */
#pragma once

#include "qvm/vm.h"

struct env;

#define ENV_SCHEMA 1
#define ENV_PERIOD_MS 1000

/* @dir_fd: borrowed; -1 gives NULL, as when out of memory. */
struct env *env_new(struct vm *vm, int dir_fd);
struct env *env_free(struct env *e);
/*
 * Writes what is new, each file at once or not at all; and asks the vCPUs to tell where they are at
 * their next exit, for the next time. What cannot be written is logged once.
 */
void env_write(struct env *e);
