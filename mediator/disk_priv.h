/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a disk have of each other: its data path (disk.c), its thread's rounds
 * (disk_thread.c), another policy (disk_change.c), its opening and end (disk_life.c).
 */
#pragma once

#include "mediator/disk.h"

/* ---- disk.c, on the device's thread ---- */

/* The share's queue is another than the scheduler knows. */
void disk_tell_sched(struct med_share *sh);
/* A round's share of giving: nothing; all that may be given now; or some of it, and more may be. */
enum disk_gave { DISK_GAVE_NOTHING, DISK_GAVE_ALL, DISK_GAVE_SOME };
/* Gives slices to the back end, of lower classes only so much. */
enum disk_gave disk_give(struct med_disk *d);
/* The request, which is in no list and has no slices, is over: r->err says how. */
void disk_answer(struct med_req *r, uint64_t now_ns);
/* Also before the thread runs. */
void disk_put_slice(struct med_disk *d, struct med_slice *s);

/* ---- disk_thread.c, on the device's thread ---- */

/* 0 or -errno, and nothing is left behind. */
int disk_set_up(struct med_disk *d);
/* Until the disk is to stop; undoes disk_set_up(). */
void disk_run(struct med_disk *d);

/* The share's socket tells of connections from now on. */
void disk_watch_share(struct med_share *sh);
/* No more of them are taken. */
void disk_unwatch_share(struct med_share *sh);

/* ---- disk_change.c, on the device's thread ---- */

/* The main thread may have handed over a change. */
void disk_take_change(struct med_disk *d);
/* While d->changing, once a round: what is left of it, as far as it can be done now. */
void disk_end_change(struct med_disk *d);

/* ---- disk_life.c: what the policy says, for the scheduler ---- */

struct sched_share_cfg disk_sched_cfg(const struct med_share_policy *p);
/* An entry of d->shares that is no share. */
void disk_share_none(struct med_share *sh);
void disk_set_groups(struct med_disk *d, const struct med_policy *p);
