/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qassert(): our own bugs, and nothing else. Always compiled in, no side effects in the condition.
 * Never reached from bytes that a guest or a peer wrote.
 */
#pragma once

/* Logs where and what, as internal, and aborts: a core is kept, the supervisor restarts us. */
_Noreturn void qassert_failed(const char *cond, const char *file, int line);

#define qassert(cond) ((cond) ? (void)0 : qassert_failed(#cond, __FILE__, __LINE__))
