/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dumps of the guest, as `dump` of the configuration says where to: a file
 * <system>-YYYYMMDD-hhmmss.gcore in a directory, or a shell command's standard input. The guest is
 * held while it is written, from the moment of the request on, and goes on after it.
 */
#pragma once

#include "qvm/vm.h"

/*
 * What it takes later is opened now: the directory, or the process that starts the command. 0 or
 * -errno with vm->fail filled. Without `dump` there is nothing to do, and requests are refused.
 * Main thread, before privileges are dropped.
 */
int dump_init(struct vm *vm);
/*
 * A dump is to be made because of @why (a constant string). @end: VM_EXIT_OK, the guest goes on;
 * else the VM ends with this exit code when the dump is done, or could not be made. One that is
 * asked for while another is written is refused, but its @end counts. Any thread, with any lock
 * held; returns at once. True when it will be made.
 */
bool dump_request(struct vm *vm, const char *why, enum vm_exit end);

/* Main thread: when this descriptor is readable, dump_serve() has something to do. -1: never. */
int dump_wake_fd(const struct vm *vm);
void dump_serve(struct vm *vm);
/* A dump that is being written is given up. Idempotent. Main thread. */
void dump_stop(struct vm *vm);
void dump_fini(struct vm *vm);

struct tm;
#define DUMP_NAME_BYTES 128u
/*
 * Creates the file for a dump of @system at @when: a descriptor, and its name; -EEXIST when the
 * name is taken, and the names with -1 to -9 before the ending too; -errno.
 */
int dump_create(int dir_fd, const char *system, const struct tm *when,
		char ret_name[DUMP_NAME_BYTES]);
