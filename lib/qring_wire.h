/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split and the packed ring as they stand in memory (virtio 1.2, 2.7 and 2.8), for their two
 * sides in qring*.c and qdriver*.c and for tests that play a hostile peer. Every word is
 * little-endian, written by one side and read by the other while both run: words that both touch
 * at any time go through the atomics here, descriptors and used elements through one volatile
 * copy. Nothing here is checked.
 */
#pragma once

#include <endian.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>

#include "lib/qdef.h"

#define QRING_DESC_BYTES 16u

/* Packed: an indirect table stands at any address. */
struct qring_desc {
	uint64_t w_addr;
	uint32_t w_len;
	uint16_t w_flags, w_next;
} __attribute__((packed));
static_assert(sizeof(struct qring_desc) == QRING_DESC_BYTES, "the wire format");

/* Avail and used start alike: flags, idx, then the elements, then the other side's event index. */
struct qring_avail {
	_Atomic uint16_t w_flags, w_idx;
	_Atomic uint16_t w_ring[];	/* num, then used_event */
};

struct qring_used_elem {
	uint32_t w_id, w_len;
};

struct qring_used {
	_Atomic uint16_t w_flags, w_idx;
	struct qring_used_elem ring[];	/* num, then avail_event */
};

/* Bytes of the parts of a ring of @num entries. */
static inline uint64_t qring_desc_bytes(uint32_t num)
{
	return (uint64_t)num * QRING_DESC_BYTES;
}

static inline uint64_t qring_avail_bytes(uint32_t num, bool event_idx)
{
	return sizeof(struct qring_avail) + 2ull * num + (event_idx ? 2 : 0);
}

static inline uint64_t qring_used_bytes(uint32_t num, bool event_idx)
{
	return sizeof(struct qring_used) + sizeof(struct qring_used_elem) * (uint64_t)num +
	       (event_idx ? 2 : 0);
}

/* Where the driver says at which used entry it wants an interrupt, and the device at which avail
 * entry a kick. */
static inline _Atomic uint16_t *qring_used_event(const void *avail, uint32_t num)
{
	return &((struct qring_avail *)(uintptr_t)avail)->w_ring[num];
}

static inline _Atomic uint16_t *qring_avail_event(const void *used, uint32_t num)
{
	return (_Atomic uint16_t *)&((struct qring_used *)(uintptr_t)used)->ring[num];
}

/* A descriptor of a packed ring. The flags are written last and read first. */
struct qring_pdesc {
	uint64_t w_addr;
	uint32_t w_len;
	uint16_t w_id;
	_Atomic uint16_t w_flags;
};
static_assert(sizeof(struct qring_pdesc) == QRING_DESC_BYTES, "the wire format");

/* One of an indirect table, which stands at any address: no driver moves a flag there. */
struct qring_ptable_desc {
	uint64_t w_addr;
	uint32_t w_len;
	uint16_t w_id, w_flags;
} __attribute__((packed));
static_assert(sizeof(struct qring_ptable_desc) == QRING_DESC_BYTES, "the wire format");

#define QRING_PDESC_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define QRING_PDESC_USED (1u << VRING_PACKED_DESC_F_USED)

/* What one side asks of the other: offset and wrap counter in the low half, flags in the high one,
 * written and read as one word. */
typedef _Atomic uint32_t qring_pevent;
#define QRING_PEVENT_BYTES 4u

static inline uint32_t qring_pevent_word(unsigned flags, uint16_t at, bool wrap)
{
	return (uint32_t)flags << 16 | (uint32_t)wrap << VRING_PACKED_EVENT_F_WRAP_CTR | at;
}

/* Does the word @w ask to be told, when @n descriptors were passed on the way to place @now of lap
 * @wrap in a ring of @num? */
static inline bool qring_pevent_wants(uint32_t w, bool event_idx, uint32_t num, uint16_t now,
				      bool wrap, uint16_t n)
{
	unsigned flags = w >> 16;
	uint16_t event = w & 0x7fff;

	if (flags == VRING_PACKED_EVENT_FLAG_DISABLE)
		return false;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !event_idx)
		return true;
	/* Places are counted from the start of this lap: those of the last are below 0. */
	if ((w >> VRING_PACKED_EVENT_F_WRAP_CTR & 1) != wrap)
		event -= num;
	return vring_need_event(event, now, now - n);
}

static inline uint16_t qring_load(const _Atomic uint16_t *w, memory_order order)
{
	return le16toh(atomic_load_explicit(w, order));
}

static inline void qring_store(_Atomic uint16_t *w, uint16_t v, memory_order order)
{
	atomic_store_explicit(w, htole16(v), order);
}

/* Orders an earlier store with a later load, which neither acquire nor release does. Each caller
 * names its partner. */
static inline void qring_full_barrier(void)
{
#ifdef __SANITIZE_THREAD__	/* TSan does not model fences; our data rests on acquire, release */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
	atomic_thread_fence(memory_order_seq_cst);
#ifdef __SANITIZE_THREAD__
#pragma GCC diagnostic pop
#endif
}
