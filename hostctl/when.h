/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moments as an operator writes them. Pure but for the time zone.
 */
#pragma once

#include "lib/qdef.h"

/*
 * "2026-11-20 03:12:05", "2026-11-20 03:12", "2026-11-20", "03:12", "03:12:05" (of today), all
 * local time; "now", "today", "yesterday"; "-15min", "15min ago" (ms, s, min, h, d);
 * "@1795000000.5" (since 1970). A 'T' may stand for the blank. @now_ms and *ret_ms since 1970.
 * False: it is none of these.
 */
bool hc_when_parse(const char *s, uint64_t now_ms, uint64_t *ret_ms);
