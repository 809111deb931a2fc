/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split ring as it stands in memory (virtio 1.2, 2.7), for its two sides qring.c and
 * qdriver.c and for tests that play a hostile peer. Every word is little-endian, written by one
 * side and read by the other while both run: words that both touch at any time go through the
 * atomics here, descriptors and used elements through one volatile copy. Nothing here is checked.
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
