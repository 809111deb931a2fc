/* SPDX-License-Identifier: Apache-2.0 */
/* Between the two halves of the scheduler: its decisions, and its shares. */
#pragma once

#include "mediator/scheduler.h"

#define SCHED_VTIME_SCALE 1000u	/* largest weight: costs stay whole numbers */

static inline bool sched_is_lower(const struct sched_share *sh)
{
	return sh->class != SCHED_SAFETY;
}

/* Slices at the device that the cap is for. */
static inline uint32_t sched_capped(const struct sched *s)
{
	return s->lower_in_flight + s->orphans + (s->n_safety > 1 ? s->over_in_flight : 0);
}

/* From when on the limits of @sh and its group let its head go; 0 = at any time. */
uint64_t sched_free_ns(const struct sched *s, const struct sched_share *sh);
/* Its head is a request of which nothing was given yet: an operation. */
bool sched_head_is_op(const struct sched_share *sh);
enum limit_dir sched_head_dir(const struct sched_share *sh);

/* Starts the measured peaks with what the policy says. */
void sched_measure(struct sched *s, uint64_t now_ns);
/* The largest cap that the target has room for. */
void sched_choose_cap(struct sched *s);
/* Puts @share where it belongs now. To be called when anything changed that this depends on. */
void sched_place(struct sched *s, uint32_t share);
void sched_place_all(struct sched *s);
/*
 * Takes the slices of @sh that were given as safety out of the books, to be changed, or puts them
 * in.
 */
void sched_books(struct sched *s, const struct sched_share *sh, bool in);
