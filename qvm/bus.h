/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One address space of the guest (memory or ports) as a sorted table of windows. Lookups come from
 * every vCPU thread at once and take no lock; the table changes rarely (a BAR moves) and under a
 * mutex. Owners live as long as the bus, so that an access that races with a move reaches the old
 * owner or the new one, never freed memory.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "lib/qdef.h"

#define BUS_WINDOWS_MAX 256u

/* @size is 1, 2, 4 or 8; @off + @size lies inside the window. */
struct bus_ops {
	uint64_t (*read)(void *ctx, unsigned win, uint64_t off, unsigned size);
	void (*write)(void *ctx, unsigned win, uint64_t off, unsigned size, uint64_t val);
};

struct bus_window {
	uint64_t base, len_bytes;
	const struct bus_ops *ops;
	void *ctx;
	unsigned win; /* handed to ops */
	const char *name; /* for people; lives as long as the bus */
};

struct bus_slot { /* a bus_window that is read while it changes: see bus.c */
	_Atomic uint64_t base, len_bytes;
	_Atomic(const struct bus_ops *) ops;
	_Atomic(void *) ctx;
	_Atomic unsigned win;
	_Atomic(const char *) name;
};

struct bus {
	_Atomic unsigned seq; /* odd while the table changes */
	_Atomic unsigned n;
	pthread_mutex_t lock; /* of writers, and of readers that waited too long */
	struct bus_slot slots[BUS_WINDOWS_MAX]; /* sorted by base, never overlapping */
};

void bus_init(struct bus *b);
void bus_fini(struct bus *b);

/*
 * 0; -EINVAL (empty or wraps), -EEXIST (another window is there), -ENOSPC (table full). Any thread.
 */
int bus_add(struct bus *b, const struct bus_window *w);
/* Removes window @win of @ctx if it is there. Any thread. */
void bus_del(struct bus *b, const void *ctx, unsigned win);
/* The window at @addr, copied out. Any thread. */
bool bus_find(struct bus *b, uint64_t addr, struct bus_window *ret);
/* The nearest windows below and above @addr, copied out: how many there are. Any thread. */
unsigned bus_around(struct bus *b, uint64_t addr, struct bus_window ret[2]);

/*
 * One access of @size bytes at @data (little-endian, as the guest sees memory), cut where it
 * crosses a window's end or is no power of 2. Bytes that nobody owns read as all ones; returns how
 * many there were. Any vCPU thread.
 */
unsigned bus_read(struct bus *b, uint64_t addr, void *data, unsigned size);
unsigned bus_write(struct bus *b, uint64_t addr, const void *data, unsigned size);
