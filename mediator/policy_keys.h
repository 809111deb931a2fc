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
	KEY_CLASS,
	KEY_WORD	/* one of words, as its index, in an uint32_t or an enum */
};

enum policy_key_flag {
	KEY_FIXED = 1 << 0,	/* cannot change while the mediator runs */
	KEY_NONE = 1 << 1,	/* "none" is 0, or no text */
	KEY_MODEL = 1 << 2,	/* of a device that is simulated only */
};

struct policy_key {
	const char *name;
	enum policy_key_kind kind;
	size_t offset;		/* of the field in its struct med_*_policy */
	uint64_t min, max;	/* of the number, in the field's unit */
	const char *expected;
	unsigned flags;
	const char *const *words;	/* of KEY_WORD: max + 1 of them */
};

/*
 * The keys of a device's model (simulate_model.h) in field @of(model), as rows of a table, each
 * name behind @prefix.
 */
#define POLICY_MODEL_TIME(name, of, op, flags)                                                     \
	{ name, KEY_TIME, of(model.base_ns[op]), 0, SIM_TIME_MAX_NS,                               \
	  "a time from 0us to 600s, such as 80us", flags }
#define POLICY_MODEL_KIB(name, of, op, flags)                                                      \
	{ name, KEY_TIME, of(model.kib_ns[op]), 0, SIM_KIB_TIME_MAX_NS,                            \
	  "a time from 0ns to 1s, such as 500ns", flags }
#define POLICY_MODEL_KEYS(prefix, of, flags)                                                       \
	{ prefix "parallel", KEY_U32, of(model.parallel), 1, 1024, "a number from 1 to 1024",      \
	  flags },                                                                                 \
	POLICY_MODEL_TIME(prefix "read", of, SIM_READ, flags),                                     \
	POLICY_MODEL_TIME(prefix "write", of, SIM_WRITE, flags),                                   \
	POLICY_MODEL_TIME(prefix "flush", of, SIM_FLUSH, flags),                                   \
	POLICY_MODEL_TIME(prefix "discard", of, SIM_DISCARD, flags),                               \
	POLICY_MODEL_KIB(prefix "read-kib", of, SIM_READ, flags),                                  \
	POLICY_MODEL_KIB(prefix "write-kib", of, SIM_WRITE, flags),                                \
	POLICY_MODEL_KIB(prefix "discard-kib", of, SIM_DISCARD, flags),                            \
	{ prefix "distribution", KEY_WORD, of(model.distribution), 0, SIM_DISTRIBUTIONS - 1,       \
	  "fixed, uniform, exponential or bimodal", flags, sim_distribution_words },               \
	{ prefix "spread", KEY_U32, of(model.spread_percent), 0, 100,                              \
	  "a number of percent from 0 to 100", flags },                                            \
	{ prefix "stall", KEY_TIME, of(model.stall_ns), 0, SIM_TIME_MAX_NS,                        \
	  "a time from 0us to 600s, such as 30ms", flags },                                        \
	{ prefix "stall-ppm", KEY_U32, of(model.stall_ppm), 0, 1000000,                            \
	  "a number of a million from 0 to 1000000", flags }

/* Each ends with name NULL. */
extern const struct policy_key policy_device_keys[];
extern const struct policy_key policy_share_keys[];
extern const struct policy_key policy_group_keys[];
extern const struct policy_key policy_sound_keys[];
extern const struct policy_key policy_voice_keys[];

/*
 * Sets the field of @k in @object from @value. False, and nothing changed: it is not what @k
 * expects, or *oom was set.
 */
bool policy_key_set(const struct policy_key *k, void *object, const char *value, bool *oom);
/* The value as a policy file would have it; "none" for what is not there. */
void policy_key_format(const struct policy_key *k, const void *object, char *buf, size_t buf_bytes);
