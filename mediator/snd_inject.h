/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sound devices that fail on purpose: gone (ENODEV, and it cannot be opened) or stalled (it takes
 * everything and plays nothing). A device in front of the real one; the rules stand beside both of
 * a sound's devices. Main thread adds and clears, the session's sees them end, the real-time thread
 * looks.
 */
#pragma once

#include <stdatomic.h>

#include "mediator/inject_rule.h"
#include "mediator/snd_dev.h"

enum snd_inject_kind { SND_INJECT_GONE, SND_INJECT_STALL, SND_INJECT_KINDS };

struct snd_inject {
	bool on;		/* the mediator was started for it; fixed */
	struct inject_rule asked[SND_INJECT_KINDS];	/* main thread's */
	struct {
		_Atomic uint32_t id;		/* 0 = none */
		_Atomic uint64_t until_ns;
	} rule[SND_INJECT_KINDS];
};

/* Main thread. 0; -EINVAL: no sound device can do that; -EBUSY: it does already. */
int snd_inject_add(struct snd_inject *in, const struct inject_rule *rule);
/* All, or the one of that number: they are over now. How many. */
unsigned snd_inject_clear(struct snd_inject *in, uint32_t id);
/* Copies; at most SND_INJECT_KINDS. */
unsigned snd_inject_list(const struct snd_inject *in, struct inject_rule *ret);

/* Session's thread: kind and number of one that is over, told once; false: none. */
bool snd_inject_over(struct snd_inject *in, uint64_t now_ns, enum inject_kind *ret_kind,
		     uint32_t *ret_id);
/* When the next one is over; 0 = none is. */
uint64_t snd_inject_deadline_ns(const struct snd_inject *in);

/* Whether it holds now. Any thread. */
bool snd_inject_holds(const struct snd_inject *in, enum snd_inject_kind kind);
/* Puts itself in front of *dev. 0 or -ENOMEM: *dev is as it was. */
int snd_inject_wrap(const struct snd_inject *in, struct snd_dev **dev);
