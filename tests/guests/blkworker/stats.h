/* SPDX-License-Identifier: Apache-2.0 */
/* Counts and latencies of requests, over three spans at once: interval, since the reset, all. */
#pragma once
#include "tests/guests/blkworker/hist.h"

enum op_kind { OP_READ, OP_WRITE, OP_FLUSH, OP_KINDS };
enum stats_span { SPAN_INTERVAL, SPAN_SINCE_RESET, SPAN_TOTAL, SPANS };

/* Starts all spans at @now. */
void stats_start(uint64_t now);
void stats_reset(enum stats_span span, uint64_t now);
void stats_add(enum op_kind kind, uint64_t ticks, bool error);
uint64_t stats_ops(enum stats_span span);
uint64_t stats_errors(enum stats_span span);
/* "blk: <title> t=<ms since start> ops=... " of the span that ends at @now, without a newline. */
void stats_print(enum stats_span span, const char *title, uint64_t now);
/* The same figures by kind, as " rd_ops=... wr_... fl_...", to follow stats_print(). */
void stats_print_kinds(enum stats_span span);
