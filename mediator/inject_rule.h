/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What shall fail, as an operator says it: a kind, the operations that it hits, how often and how
 * long. Text into rules and back; nothing here makes anything fail (backend_inject.c does). No
 * state, any thread.
 */
#pragma once

#include <stddef.h>

#include "lib/qblk.h"
#include "lib/qdef.h"

enum inject_kind {
	INJECT_ERROR,	/* operations fail with EIO, and have not happened */
	INJECT_FULL,	/* writes fail with ENOSPC */
	INJECT_GONE,	/* everything fails with ENODEV, and the file cannot be opened again */
	INJECT_STALL,	/* operations reach the device when it is over, not before */
	INJECT_LATE,	/* completions are told after a delay */
	INJECT_LOST,	/* completions are told when it is over, not before */
	INJECT_REFUSE,	/* the share's clients are cut off, and who comes is hung up on */
	INJECT_KINDS
};

struct inject_rule {
	uint32_t id;		/* 0 = none */
	enum inject_kind kind;
	unsigned ops;		/* bits 1 << enum qblk_op */
	int share;		/* number on its disk; -1 = all of the device */
	uint32_t count;		/* operations that it still hits; 0 = all */
	bool spent;		/* it hits no more, but what it keeps is kept */
	uint64_t for_ns;	/* until it ends by itself */
	uint64_t until_ns;	/* set when it begins */
	uint64_t delay_ns;	/* INJECT_LATE */
	uint64_t hits;
};

#define INJECT_OPS_BYTES 64u

const char *inject_kind_str(enum inject_kind k);
/*
 * Makes a rule of @kind with @n @settings "key=value": for=TIME, count=N, ops=WORD[,WORD…],
 * delay=TIME. False when one is wrong, with a sentence in @why; *ret is written on success only.
 */
bool inject_rule_parse(const char *kind, char *const *settings, size_t n, struct inject_rule *ret,
		       char *why, size_t why_bytes);
/* "all", or words with commas. Returns @buf. */
const char *inject_ops_str(const struct inject_rule *r, char buf[INJECT_OPS_BYTES]);
/* Whether it hits @op of share number @share at @now_ns. */
bool inject_rule_hits(const struct inject_rule *r, unsigned share, enum qblk_op op,
		      uint64_t now_ns);
