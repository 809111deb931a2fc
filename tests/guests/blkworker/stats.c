/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics of the worker. Percentiles in the common fields are over reads and writes; flushes
 * have fields of their own, because one flush says nothing about a read.
 */
#include "tests/guests/blkworker/stats.h"

struct span {
	struct hist hist[OP_KINDS];
	uint64_t n_err, began;
};

static struct span spans[SPANS];
static uint64_t started;

void stats_reset(enum stats_span which, uint64_t now)
{
	struct span *s = &spans[which];

	for (unsigned k = 0; k < OP_KINDS; k++)
		hist_reset(&s->hist[k]);
	s->n_err = 0;
	s->began = now;
}

void stats_start(uint64_t now)
{
	started = now;
	for (unsigned i = 0; i < SPANS; i++)
		stats_reset(i, now);
}

void stats_add(enum op_kind kind, uint64_t ticks, bool error)
{
	uint64_t ns = rt_ns(ticks);

	for (unsigned i = 0; i < SPANS; i++) {
		hist_add(&spans[i].hist[kind], ns);
		spans[i].n_err += error;
	}
}

uint64_t stats_ops(enum stats_span which)
{
	const struct span *s = &spans[which];
	return s->hist[OP_READ].n + s->hist[OP_WRITE].n + s->hist[OP_FLUSH].n;
}

uint64_t stats_errors(enum stats_span which)
{
	return spans[which].n_err;
}

static void print_us(const char *prefix, const char *name, uint64_t ns)
{
	uint64_t tenths = (ns + 50) / 100;
	rt_printf(" %s%s_us=%lu.%lu", prefix, name, tenths / 10, tenths % 10);
}

static void print_latency(const char *prefix, const struct hist *const *h, unsigned n)
{
	uint64_t max_ns = 0;

	for (unsigned i = 0; i < n; i++)
		if (h[i]->max_ns > max_ns)
			max_ns = h[i]->max_ns;
	print_us(prefix, "p50", hist_percentile(h, n, 50000));
	print_us(prefix, "p99", hist_percentile(h, n, 99000));
	print_us(prefix, "p999", hist_percentile(h, n, 99900));
	print_us(prefix, "max", max_ns);
}

void stats_print(enum stats_span which, const char *title, uint64_t now)
{
	const struct span *s = &spans[which];
	const struct hist *data[2] = { &s->hist[OP_READ], &s->hist[OP_WRITE] };
	uint64_t us = rt_ns(now - s->began) / RT_NS_PER_US, n = stats_ops(which);

	rt_printf("blk: %s%st=%lu ops=%lu err=%lu", title, *title ? " " : "",
		  rt_ns(now - started) / RT_NS_PER_MS, n, s->n_err);
	print_latency("", data, 2);
	rt_printf(" iops=%lu", us ? n * 1000000 / us : 0);
}

void stats_print_kinds(enum stats_span which)
{
	static const char *const prefix[OP_KINDS] = { "rd_", "wr_", "fl_" };

	for (unsigned k = 0; k < OP_KINDS; k++) {
		const struct hist *h = &spans[which].hist[k];
		rt_printf(" %sops=%lu", prefix[k], h->n);
		print_latency(prefix[k], &h, 1);
	}
}
