/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done when the safety shares of a device miss their targets: one step after the other, and
 * back, slowly. A pure state machine: time comes in as an argument. Device's thread.
 *
 * How far it may go is the policy's (`ladder`): top.
 *
 * step      lower classes                   next step up                   step down
 * FREE      by the cap                      a miss                         -
 * THROTTLE  one slice at the device         a miss, SETTLE after the last  calm for calm_ns
 * PAUSE     none; they wait                 the same                       the same
 * FREEZE    none; hostd may freeze the VMs  -                              the same
 *
 * A miss is a promised request that took, or waits for already, longer than its target. It counts
 * only while lower classes can have to do with it: they have something at the device, or had within
 * ALONE. What misses its target all alone is not helped by any step, and the others do not wait for
 * ever for a device that is just slow.
 *
 * Calm is when nothing took longer than three quarters of its target. Who comes up again soon after
 * a step down stays there for twice as long, so that a load that is just too much does not make it
 * swing.
 */
#pragma once

#include "lib/qdef.h"

#define LADDER_SETTLE_NS (4 * Q_NSEC_PER_MSEC)	/* what was at the device before a step drains */
#define LADDER_CALM_NS (1 * Q_NSEC_PER_SEC)	/* at first … */
#define LADDER_CALM_MAX_NS (16 * Q_NSEC_PER_SEC)	/* … and doubled up to this */
#define LADDER_ALONE_NS (1 * Q_NSEC_PER_SEC)

enum ladder_step { LADDER_FREE, LADDER_THROTTLE, LADDER_PAUSE, LADDER_FREEZE, LADDER_STEPS };
const char *ladder_step_str(enum ladder_step s);

struct ladder {
	enum ladder_step step, top;	/* top: written by its owner, at any time */
	uint64_t since_ns;	/* when it was taken */
	uint64_t bad_ns;	/* when it was last not calm */
	uint64_t calm_ns;	/* for so long it must be, for the next step down */
	uint64_t down_ns;	/* the last step down; 0 = none yet */
	uint64_t lower_ns;	/* lower classes had something at the device; 0 = never */
	uint64_t n_up, n_missed; /* ever: steps up, and requests that missed their target */
};

/* A zeroed ladder stands at FREE, and stays there until top is set. All three: true when the step
 * is another now. */

/*
 * A promised request took @took_ns, or with @waits is that old and has not ended. Each one that
 * ends is told once; one that waits may be told any number of times.
 */
bool ladder_seen(struct ladder *l, uint64_t took_ns, uint64_t target_ns, bool waits,
		 uint64_t now_ns);
/* Something of a lower class is at the device. */
void ladder_lower(struct ladder *l, uint64_t now_ns);
/* Nothing happened, perhaps. To be called at ladder_due_ns() at the latest. */
bool ladder_tick(struct ladder *l, uint64_t now_ns);
/* When the next step down may be due; 0 = never. */
uint64_t ladder_due_ns(const struct ladder *l);
/*
 * From when on a request that came at @arrival_ns and still waits at @now_ns is to be told, perhaps
 * since before now; 0 = not as things stand.
 */
uint64_t ladder_look_ns(const struct ladder *l, uint64_t arrival_ns, uint64_t target_ns,
			uint64_t now_ns);
/* Lower-class slices at the device that the step allows. */
uint32_t ladder_lower_max(const struct ladder *l);
