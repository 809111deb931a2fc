/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long an x86 instruction is: enough to step over one that is not carried out. No state.
 */
#pragma once

#include "lib/qdef.h"

/* Of @n bytes at @p, in code of 16, 32 or 64 @bits. 0: not known, or not all of it is there. */
unsigned x86_insn_len(const uint8_t *p, unsigned n, unsigned bits);
