/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of windows is a sequence lock: a writer makes seq odd, moves slots, makes it even; a
 * reader copies the slot it found and believes it only when seq did not change. No allocation and
 * no reclaiming, so a guest that moves BARs in a loop costs nothing. A reader that met a writer too
 * often takes the writers' mutex instead: a real-time vCPU must not spin for a writer that it keeps
 * off the processor. The mutex inherits priority for the same reason.
 */
#include "qvm/bus.h"

#include <errno.h>
#include <string.h>

#include "lib/qsched.h"

#define SPINS_MAX 64

void bus_init(struct bus *b)
{
	atomic_init(&b->seq, 0);
	atomic_init(&b->n, 0);
	qsched_mutex_init(&b->lock);
}

void bus_fini(struct bus *b)
{
	pthread_mutex_destroy(&b->lock);
}

/* Relaxed throughout: bus_find() decides by seq whether what it read belongs together. */
static void slot_get(struct bus_slot *s, struct bus_window *ret)
{
	ret->base = atomic_load_explicit(&s->base, memory_order_relaxed);
	ret->len_bytes = atomic_load_explicit(&s->len_bytes, memory_order_relaxed);
	ret->ops = atomic_load_explicit(&s->ops, memory_order_relaxed);
	ret->ctx = atomic_load_explicit(&s->ctx, memory_order_relaxed);
	ret->win = atomic_load_explicit(&s->win, memory_order_relaxed);
	ret->name = atomic_load_explicit(&s->name, memory_order_relaxed);
}

static void slot_set(struct bus_slot *s, const struct bus_window *w)
{
	atomic_store_explicit(&s->base, w->base, memory_order_relaxed);
	atomic_store_explicit(&s->len_bytes, w->len_bytes, memory_order_relaxed);
	atomic_store_explicit(&s->ops, w->ops, memory_order_relaxed);
	atomic_store_explicit(&s->ctx, w->ctx, memory_order_relaxed);
	atomic_store_explicit(&s->win, w->win, memory_order_relaxed);
	atomic_store_explicit(&s->name, w->name, memory_order_relaxed);
}

/* First slot whose base is above @addr. */
static unsigned slot_after(struct bus *b, uint64_t addr)
{
	unsigned lo = 0, hi = atomic_load_explicit(&b->n, memory_order_relaxed);

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;
		if (atomic_load_explicit(&b->slots[mid].base, memory_order_relaxed) > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static bool find_once(struct bus *b, uint64_t addr, struct bus_window *ret)
{
	unsigned i = slot_after(b, addr);

	if (i == 0)
		return false;
	slot_get(&b->slots[i - 1], ret);
	return addr >= ret->base && addr - ret->base < ret->len_bytes;
}

bool bus_find(struct bus *b, uint64_t addr, struct bus_window *ret)
{
	for (unsigned n_spins = 0; n_spins < SPINS_MAX; n_spins++) {
		/*
		 * Pairs with the release store in write_end(): the slots of that change are seen.
		 */
		unsigned seq = atomic_load_explicit(&b->seq, memory_order_acquire);
		if (seq & 1)
			continue;
		bool found = find_once(b, addr, ret);
		/* Keeps the loads above before the second look at seq; pairs with the fence in
		 * write_begin(). */
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&b->seq, memory_order_relaxed) == seq)
			return found;
	}
	pthread_mutex_lock(&b->lock);
	bool found = find_once(b, addr, ret);
	pthread_mutex_unlock(&b->lock);
	return found;
}

unsigned bus_around(struct bus *b, uint64_t addr, struct bus_window ret[2])
{
	unsigned n = 0;

	/* For a message, once in a while: the writers' lock will do. */
	pthread_mutex_lock(&b->lock);
	unsigned at = slot_after(b, addr);
	if (at > 0)
		slot_get(&b->slots[at - 1], &ret[n++]);
	if (at < atomic_load_explicit(&b->n, memory_order_relaxed))
		slot_get(&b->slots[at], &ret[n++]);
	pthread_mutex_unlock(&b->lock);
	for (unsigned i = 0; i < n; i++)
		if (!ret[i].name)
			ret[i].name = "a device";
	return n;
}

static void write_begin(struct bus *b)
{
	unsigned seq = atomic_load_explicit(&b->seq, memory_order_relaxed);

	atomic_store_explicit(&b->seq, seq + 1, memory_order_relaxed);
	/* The odd seq is visible before any changed slot; pairs with the fence in bus_find(). */
	atomic_thread_fence(memory_order_release);
}

static void write_end(struct bus *b)
{
	unsigned seq = atomic_load_explicit(&b->seq, memory_order_relaxed);

	/* Pairs with the acquire load in bus_find(). */
	atomic_store_explicit(&b->seq, seq + 1, memory_order_release);
}

static bool has_room(struct bus *b, const struct bus_window *w, unsigned at, unsigned n)
{
	struct bus_window other;

	if (at > 0) {
		slot_get(&b->slots[at - 1], &other);
		if (qspan_overlap(other.base, other.len_bytes, w->base, w->len_bytes))
			return false;
	}
	if (at < n) {
		slot_get(&b->slots[at], &other);
		if (qspan_overlap(other.base, other.len_bytes, w->base, w->len_bytes))
			return false;
	}
	return true;
}

static int add_locked(struct bus *b, const struct bus_window *w)
{
	struct bus_window moved;
	unsigned n = atomic_load_explicit(&b->n, memory_order_relaxed);
	unsigned at = slot_after(b, w->base);

	if (n == BUS_WINDOWS_MAX)
		return -ENOSPC;
	if (!has_room(b, w, at, n))
		return -EEXIST;
	write_begin(b);
	for (unsigned i = n; i > at; i--) {
		slot_get(&b->slots[i - 1], &moved);
		slot_set(&b->slots[i], &moved);
	}
	slot_set(&b->slots[at], w);
	atomic_store_explicit(&b->n, n + 1, memory_order_relaxed); /* published by write_end() */
	write_end(b);
	return 0;
}

int bus_add(struct bus *b, const struct bus_window *w)
{
	if (!w->len_bytes || w->len_bytes - 1 > UINT64_MAX - w->base)
		return -EINVAL;
	pthread_mutex_lock(&b->lock);
	int r = add_locked(b, w);
	pthread_mutex_unlock(&b->lock);
	return r;
}

static void del_locked(struct bus *b, unsigned at)
{
	struct bus_window moved;
	unsigned n = atomic_load_explicit(&b->n, memory_order_relaxed);

	write_begin(b);
	for (unsigned i = at + 1; i < n; i++) {
		slot_get(&b->slots[i], &moved);
		slot_set(&b->slots[i - 1], &moved);
	}
	atomic_store_explicit(&b->n, n - 1, memory_order_relaxed); /* published by write_end() */
	write_end(b);
}

void bus_del(struct bus *b, const void *ctx, unsigned win)
{
	struct bus_window w;

	pthread_mutex_lock(&b->lock);
	unsigned n = atomic_load_explicit(&b->n, memory_order_relaxed);
	for (unsigned i = 0; i < n; i++) {
		slot_get(&b->slots[i], &w);
		if (w.ctx == ctx && w.win == win) {
			del_locked(b, i);
			break;
		}
	}
	pthread_mutex_unlock(&b->lock);
}

/* The largest power of 2 that is at most @n (1..8). */
static unsigned pow2_floor(unsigned n)
{
	return n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}

/* How many of @size bytes at @addr go to @w in one call. */
static unsigned part_bytes(const struct bus_window *w, uint64_t addr, unsigned size)
{
	uint64_t left = w->len_bytes - (addr - w->base);

	return pow2_floor((unsigned)Q_MIN(left, size));
}

unsigned bus_read(struct bus *b, uint64_t addr, void *data, unsigned size)
{
	struct bus_window w;
	uint8_t *p = data;
	unsigned n_missed = 0;

	while (size > 0) {
		unsigned part = 1;
		uint64_t val = UINT64_MAX;
		if (bus_find(b, addr, &w)) {
			part = part_bytes(&w, addr, size);
			val = w.ops->read(w.ctx, w.win, addr - w.base, part);
		} else {
			n_missed++;
		}
		for (unsigned i = 0; i < part; i++)
			p[i] = (uint8_t)(val >> 8 * i);
		p += part, addr += part, size -= part;
	}
	return n_missed;
}

unsigned bus_write(struct bus *b, uint64_t addr, const void *data, unsigned size)
{
	struct bus_window w;
	const uint8_t *p = data;
	unsigned n_missed = 0;

	while (size > 0) {
		unsigned part = 1;
		uint64_t val = 0;
		bool found = bus_find(b, addr, &w);
		if (found)
			part = part_bytes(&w, addr, size);
		for (unsigned i = 0; i < part; i++)
			val |= (uint64_t)p[i] << 8 * i;
		if (found)
			w.ops->write(w.ctx, w.win, addr - w.base, part, val);
		else
			n_missed++;
		p += part, addr += part, size -= part;
	}
	return n_missed;
}
