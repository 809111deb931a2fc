/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How well the host does: normal, degraded (it does its work, but something is not as it should
 * be) or safe (the safety VMs are not all there: what is least important makes way). A table of
 * causes, each with its mode; the mode is that of the gravest cause. docs/modes.md is the same
 * table, and a test holds them against each other. Pure.
 */
#pragma once

#include "lib/qdef.h"

enum hd_mode { HD_MODE_NORMAL, HD_MODE_DEGRADED, HD_MODE_SAFE, HD_MODES };

enum hd_cause {
	HD_CAUSE_SAFETY_LOST,
	HD_CAUSE_SAFETY_AWAY,
	HD_CAUSE_VM_LOST,
	HD_CAUSE_VM_REFUSED,
	HD_CAUSE_MEDIATOR_LOST,
	HD_CAUSE_MEDIATOR_AWAY,
	HD_CAUSE_FROZEN,
	HD_CAUSE_UNRECORDED,
	HD_CAUSES
};

struct hd_mode_row {
	const char *cause;		/* a word */
	enum hd_mode mode;
	const char *enters, *leaves, *done;
};
extern const struct hd_mode_row hd_mode_rows[HD_CAUSES];

/* What the causes follow from. */
struct hd_mode_facts {
	unsigned n_safety_lost;		/* wanted up, failed, and not by their configuration */
	unsigned n_safety_away;		/* wanted up, and waiting for their next start */
	unsigned n_lost;		/* other VMs that are wanted up and failed */
	unsigned n_refused;		/* VMs whose NAME.vm is refused */
	bool mediator_lost, mediator_away;
	unsigned n_frozen;
	bool unrecorded;
};

const char *hd_mode_str(enum hd_mode m);
/* A bit a cause. */
uint32_t hd_mode_causes(const struct hd_mode_facts *f);
/* The gravest of them. */
enum hd_mode hd_mode_of(uint32_t causes);
/* The words of @causes with blanks between them, cut to fit; "" for none. Returns @buf. */
const char *hd_mode_words(uint32_t causes, char *buf, size_t buf_bytes);
