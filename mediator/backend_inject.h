/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back end around another that makes it fail as its rules say: there only when the mediator was
 * started with --inject, so that it costs nothing otherwise. Rules are the main thread's to add and
 * clear; everything else happens on the device's thread.
 */
#pragma once

#include "mediator/disk.h"
#include "mediator/inject_rule.h"

#define INJECT_RULES_MAX 16u

/* Puts itself around the disk's back end (main thread, before med_disk_start()). 0 or -errno. */
int backend_inject_wrap(struct med_disk *d);

/* Main thread. @r->id is the caller's choice, and no other rule's. 0 or -ENOSPC. */
int backend_inject_add(struct med_disk *d, const struct inject_rule *r);
/* Ends rule @id (0 = all) now. How many were. */
unsigned backend_inject_clear(struct med_disk *d, uint32_t id);
/* Copies of the rules; their number, at most INJECT_RULES_MAX. */
unsigned backend_inject_list(struct med_disk *d, struct inject_rule *ret);

/* Device's thread: share number @share is no more; rules for it end. Fine without any. */
void backend_inject_forget(struct med_disk *d, unsigned share);
/* Device's thread: a connection to share number @share is to be hung up on. */
bool backend_inject_refuses(struct med_disk *d, unsigned share);
