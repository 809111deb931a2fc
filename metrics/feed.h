/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hostd last said, and the latencies of the last minutes. Asks hostd over its socket as an
 * operator does, every two seconds; one that is not there, hangs or breaks a rule is tried again.
 * Main thread.
 */
#pragma once

#include <event2/event.h>

#include "proto/qp_chan.h"

#define MT_POINTS 300u		/* of a line of a plot: ten minutes */
#define MT_LINES_MAX 64u	/* shares that have one */

struct mt_point {
	uint64_t worst_ns, p99_ns, bound_ns;
};

struct mt_line {
	char share[128];
	struct mt_point points[MT_POINTS];	/* a ring */
	uint64_t n;				/* ever */
};

struct mt_feed {
	struct event_base *base;
	const char *socket;		/* borrowed */
	struct qp_chan *chan;		/* NULL: not connected */
	struct event *ev_read, *ev_write, *ev_tick;
	unsigned n_silent;		/* ticks without an answer */
	Parley__Envelope *list, *stats;	/* the last answers; owned, NULL: hostd is not there */
	struct mt_line *lines;		/* owned, n_lines */
	size_t n_lines;
};

/* 0 or -ENOMEM; then mt_feed_fini() as well. */
int mt_feed_init(struct mt_feed *f, struct event_base *base, const char *socket);
void mt_feed_fini(struct mt_feed *f);
/* NULL when hostd has not answered lately. Borrowed until the loop goes on. */
const Parley__ListReply *mt_feed_list(const struct mt_feed *f);
const Parley__StatsReply *mt_feed_stats(const struct mt_feed *f);
