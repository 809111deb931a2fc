/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether what is mixed for the safety stream reaches the loudspeaker: what the device says it has
 * played must grow while safety speaks. A pure function of what it is shown; no thread of its own.
 */
#pragma once

#include "lib/qdef.h"

struct snd_heard {
	uint64_t consumed;	/* as it was when it last grew */
	uint64_t since_ns;	/* since then, or since safety began to speak */
	bool speaks, alarm;
};

enum snd_heard_news { SND_HEARD_SAME, SND_HEARD_ALARM, SND_HEARD_AGAIN };

/*
 * Shown every period: @lost, the device is replaced by a clock; @limit_ns, how long it may stand
 * still. Each alarm is told once, and its end.
 */
enum snd_heard_news snd_heard_look(struct snd_heard *h, uint64_t now_ns, uint64_t consumed,
				   bool speaks, bool lost, uint64_t limit_ns);
