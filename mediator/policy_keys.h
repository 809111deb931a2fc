/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of a policy's sections (docs/parley-policy.5): which field each is, what it expects, and
 * its value as text, both ways. Main thread.
 */
#pragma once

#include "mediator/policy.h"

enum policy_key_kind {
	KEY_TEXT,	/* char *, owned, or NULL */
	KEY_U32,
	KEY_U64,
	KEY_BYTES32,	/* a size in an uint32_t */
	KEY_BYTES,	/* in an uint64_t */
	KEY_TIME,	/* nanoseconds in an uint64_t */
	KEY_BOOL,
	KEY_CLASS
};

enum policy_key_flag {
	KEY_FIXED = 1 << 0,	/* cannot change while the mediator runs */
	KEY_NONE = 1 << 1,	/* "none" is 0, or no text */
};

struct policy_key {
	const char *name;
	enum policy_key_kind kind;
	size_t offset;		/* of the field in its struct med_*_policy */
	uint64_t min, max;	/* of the number, in the field's unit */
	const char *expected;
	unsigned flags;
};

/* Each ends with name NULL. */
extern const struct policy_key policy_device_keys[];
extern const struct policy_key policy_share_keys[];
extern const struct policy_key policy_group_keys[];

/*
 * Sets the field of @k in @object from @value. False, and nothing changed: it is not what @k
 * expects, or *oom was set.
 */
bool policy_key_set(const struct policy_key *k, void *object, const char *value, bool *oom);
/* The value as a policy file would have it; "none" for what is not there. */
void policy_key_format(const struct policy_key *k, const void *object, char *buf, size_t buf_bytes);
