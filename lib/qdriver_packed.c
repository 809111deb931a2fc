/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a packed virtqueue: see qring_packed.c for the protocol; this is its mirror.
 * Runs on one thread at a time.
 *
 * A chain's places stand side by side from put_at on; its id is what it would have been the head of
 * in a split ring, taken from the same free list, and says nothing about the places. Invariants:
 * n_free places are free, those from put_at to get_at; chains are visible in the order they were
 * added, because the flags of the first place since the last publish are written by the next one.
 */
#include <string.h>

#include "lib/qdriver_priv.h"
#include "lib/qring_wire.h"

void qdriver_packed_init(struct qdriver *d)
{
	d->put_wrap = d->get_wrap = true;
}

static uint16_t forward(const struct qdriver *d, uint16_t at, uint16_t n, bool *wrap)
{
	uint32_t to = (uint32_t)at + n;

	if (to < d->cfg.num)
		return to;
	*wrap = !*wrap;
	return to - d->cfg.num;
}

/* Writes one place and goes on to the next. */
static void put(struct qdriver *d, uint64_t addr, uint32_t len_bytes, uint16_t id, uint16_t flags)
{
	struct qring_pdesc *w = &((struct qring_pdesc *)d->desc)[d->put_at];

	w->w_addr = htole64(addr);
	w->w_len = htole32(len_bytes);
	w->w_id = htole16(id);
	flags |= d->put_wrap ? QRING_PDESC_AVAIL : QRING_PDESC_USED;
	if (d->n_put == 0) {
		d->first_put = d->put_at;
		d->first_flags = flags;
	} else {
		/* Relaxed: the device comes here after the first one, which publish() releases. */
		qring_store(&w->w_flags, flags, memory_order_relaxed);
	}
	d->n_put++;
	d->put_at = forward(d, d->put_at, 1, &d->put_wrap);
}

static void put_table(struct qdriver *d, uint16_t id, const struct qdriver_buf *bufs, unsigned n)
{
	uint64_t off = id * qring_desc_bytes(d->indirect_max);
	struct qring_ptable_desc *table =
		(struct qring_ptable_desc *)((char *)d->indirect_host + off);

	for (unsigned i = 0; i < n; i++)
		table[i] = (struct qring_ptable_desc){
			.w_addr = htole64(bufs[i].at.v), .w_len = htole32(bufs[i].len_bytes),
			.w_flags = htole16(bufs[i].device_writes ? VRING_DESC_F_WRITE : 0),
		};
	put(d, d->indirect.v + off, n * QRING_DESC_BYTES, id, VRING_DESC_F_INDIRECT);
}

unsigned qdriver_packed_put(struct qdriver *d, uint16_t id, const struct qdriver_buf *bufs,
			    unsigned n, bool indirect)
{
	d->slot[id].tail = id;	/* of the free list: one id a chain */
	if (indirect) {
		put_table(d, id, bufs, n);
		return 1;
	}
	for (unsigned i = 0; i < n; i++)
		put(d, bufs[i].at.v, bufs[i].len_bytes, id,
		    (bufs[i].device_writes ? VRING_DESC_F_WRITE : 0) |
			    (i + 1 < n ? VRING_DESC_F_NEXT : 0));
	return n;
}

bool qdriver_packed_publish(struct qdriver *d)
{
	struct qring_pdesc *ring = d->desc;
	uint16_t n = d->n_put;

	if (n == 0)
		return false;
	/* Pairs with the acquire load of these flags in qring_packed_pop(): this descriptor and
	 * those behind it are written before. */
	qring_store(&ring[d->first_put].w_flags, d->first_flags, memory_order_release);
	d->n_put = 0;
	d->kicked_idx = d->avail_idx;

	/* Pairs with the barrier in qring_packed_arm(), between the device's request for a kick
	 * and its last look at the ring: one of us sees the other's store. */
	qring_full_barrier();
	/* Relaxed: the barrier orders them. */
	uint32_t w = le32toh(atomic_load_explicit((const qring_pevent *)d->used,
						  memory_order_relaxed));
	return qring_pevent_wants(w, d->cfg.features & QRING_EVENT_IDX, d->cfg.num, d->put_at,
				  d->put_wrap, n);
}

static bool is_used(const struct qdriver *d, uint16_t flags)
{
	bool avail = flags & QRING_PDESC_AVAIL, used = flags & QRING_PDESC_USED;

	return avail == used && used == d->get_wrap;
}

static uint16_t load_flags(const struct qdriver *d, memory_order order)
{
	return qring_load(&((const struct qring_pdesc *)d->desc)[d->get_at].w_flags, order);
}

enum qdriver_verdict qdriver_packed_look(const struct qdriver *d, uint32_t *ret_id,
					 uint32_t *ret_written_bytes)
{
	const volatile struct qring_pdesc *w = &((const struct qring_pdesc *)d->desc)[d->get_at];

	/* Pairs with the release store of these flags in qring_packed_publish(): the element and
	 * the data are written before. */
	if (!is_used(d, load_flags(d, memory_order_acquire)))
		return QDRIVER_EMPTY;
	if (d->kicked_idx == d->last_used)
		return QDRIVER_BAD_USED;
	*ret_id = le16toh(w->w_id);
	*ret_written_bytes = le32toh(w->w_len);
	return QDRIVER_OK;
}

void qdriver_packed_got(struct qdriver *d, uint16_t n_desc)
{
	d->get_at = forward(d, d->get_at, n_desc, &d->get_wrap);
}

static void ask(struct qdriver *d, uint32_t w)
{
	/* Relaxed: what must be ordered with it is ordered by the barrier in arm(). */
	atomic_store_explicit((qring_pevent *)d->avail, htole32(w), memory_order_relaxed);
}

bool qdriver_packed_arm(struct qdriver *d)
{
	if (d->cfg.features & QRING_EVENT_IDX)
		ask(d, qring_pevent_word(VRING_PACKED_EVENT_FLAG_DESC, d->get_at, d->get_wrap));
	else
		ask(d, qring_pevent_word(VRING_PACKED_EVENT_FLAG_ENABLE, 0, false));
	/* Pairs with the barrier in qring_packed_publish(), between the device's store of flags
	 * and its look at our request: one of us sees the other's store. */
	qring_full_barrier();
	/* Relaxed: only a hint to call qdriver_poll(), which acquires. */
	return is_used(d, load_flags(d, memory_order_relaxed));
}

void qdriver_packed_disarm(struct qdriver *d)
{
	ask(d, qring_pevent_word(VRING_PACKED_EVENT_FLAG_DISABLE, 0, false));
}
