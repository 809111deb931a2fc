/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of modes. Pure, any thread. Invariant: a cause without a row does not compile, and a
 * row that docs/modes.md does not have, or has otherwise, fails a test.
 */
#include "hostd/mode.h"

#include <stdio.h>

const struct hd_mode_row hd_mode_rows[HD_CAUSES] = {
	[HD_CAUSE_SAFETY_LOST] = { "safety-lost", HD_MODE_SAFE,
		"a safety VM that is wanted has failed and is not started again",
		"it runs, or an operator stops it",
		"best-effort VMs are stopped and none is started; when the mode is left, those "
		"that it stopped are started" },
	[HD_CAUSE_SAFETY_AWAY] = { "safety-away", HD_MODE_DEGRADED,
		"a safety VM ended and waits for its next start",
		"it runs, or an operator stops it",
		"it is started when its restart-delay is over" },
	[HD_CAUSE_VM_LOST] = { "vm-lost", HD_MODE_DEGRADED,
		"a VM that is wanted has failed and is not started again; of a safety VM, because "
		"its configuration is refused",
		"it runs, or an operator stops it",
		"the others go on" },
	[HD_CAUSE_VM_REFUSED] = { "vm-refused", HD_MODE_DEGRADED,
		"the NAME.vm of a VM is refused",
		"it is put right, and read again",
		"that VM is not started" },
	[HD_CAUSE_MEDIATOR_LOST] = { "mediator-lost", HD_MODE_DEGRADED,
		"the mediator was refused, or died young too often",
		"it is ready",
		"it is tried again with the next start of a VM; guests with shares wait" },
	[HD_CAUSE_MEDIATOR_AWAY] = { "mediator-away", HD_MODE_DEGRADED,
		"the mediator died after it had been ready",
		"it is ready, or is mediator-lost",
		"it is started again; guests with shares wait" },
	[HD_CAUSE_FROZEN] = { "frozen", HD_MODE_DEGRADED,
		"the mediator asks for VMs to be frozen, because a safety share misses its target",
		"it does not ask any more",
		"those VMs stand still" },
	[HD_CAUSE_UNRECORDED] = { "unrecorded", HD_MODE_DEGRADED,
		"the flight recorder's file cannot be written",
		"it can",
		"events are kept in memory and in the log only" },
};

static const char *const mode_str[] = {
	[HD_MODE_NORMAL] = "normal",
	[HD_MODE_DEGRADED] = "degraded",
	[HD_MODE_SAFE] = "safe",
};
static_assert(Q_ARRAY_LEN(mode_str) == HD_MODES, "every mode has a word");

const char *hd_mode_str(enum hd_mode m)
{
	return (unsigned)m < HD_MODES ? mode_str[m] : "unknown";
}

uint32_t hd_mode_causes(const struct hd_mode_facts *f)
{
	const bool is[HD_CAUSES] = {
		[HD_CAUSE_SAFETY_LOST] = f->n_safety_lost,
		[HD_CAUSE_SAFETY_AWAY] = f->n_safety_away,
		[HD_CAUSE_VM_LOST] = f->n_lost,
		[HD_CAUSE_VM_REFUSED] = f->n_refused,
		[HD_CAUSE_MEDIATOR_LOST] = f->mediator_lost,
		[HD_CAUSE_MEDIATOR_AWAY] = f->mediator_away,
		[HD_CAUSE_FROZEN] = f->n_frozen,
		[HD_CAUSE_UNRECORDED] = f->unrecorded,
	};
	uint32_t causes = 0;

	for (unsigned i = 0; i < HD_CAUSES; i++)
		causes |= (uint32_t)is[i] << i;
	return causes;
}

enum hd_mode hd_mode_of(uint32_t causes)
{
	enum hd_mode m = HD_MODE_NORMAL;

	for (unsigned i = 0; i < HD_CAUSES; i++)
		if (causes >> i & 1 && hd_mode_rows[i].mode > m)
			m = hd_mode_rows[i].mode;
	return m;
}

const char *hd_mode_words(uint32_t causes, char *buf, size_t buf_bytes)
{
	size_t at = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < HD_CAUSES && at < buf_bytes; i++)
		if (causes >> i & 1)
			at += (size_t)snprintf(buf + at, buf_bytes - at, "%s%s", at ? " " : "",
					       hd_mode_rows[i].cause);
	return buf;
}
