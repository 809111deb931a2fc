/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a split virtqueue, and the way to the packed one's (qdriver_packed.c):
 * owns the free list and the memory of who is out, both outside shared memory. Runs on one thread
 * at a time. See qring.c for the protocol; this is its mirror.
 *
 * Invariants: the device cannot change what we believe about a descriptor, for next[] and slot[]
 * are ours and the shared table is only written; n_free descriptors hang on free_head through
 * next[]; chain h holds slot[h].n descriptors from h to slot[h].tail along next[]; the chains out
 * are avail_idx - last_used, modulo 2^16.
 */
#include "lib/qdriver_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qring_wire.h"

/* The parts start on cache lines of their own: avail is written by us, used by the device, which
 * starts on a page of its own, as a legacy device expects (2.7.2). */
#define PART_ALIGN 64u
#define RING_ALIGN 4096u

static bool is_packed(const struct qdriver *d)
{
	return d->cfg.features & QRING_PACKED;
}

uint64_t qdriver_layout(uint32_t num, uint64_t *ret_avail_off, uint64_t *ret_used_off)
{
	uint64_t avail = Q_ALIGN_UP(qring_desc_bytes(num), PART_ALIGN);
	uint64_t used = Q_ALIGN_UP(avail + qring_avail_bytes(num, true), RING_ALIGN);

	*ret_avail_off = avail;
	*ret_used_off = used;
	return Q_ALIGN_UP(used + qring_used_bytes(num, true), RING_ALIGN);
}

static int init_indirect(struct qdriver *d, gpa_t at, unsigned max)
{
	if (!(d->cfg.features & QRING_INDIRECT) || max == 0)
		return 0;
	if (max > QRING_SIZE_MAX)
		return -EINVAL;
	d->indirect_host = qmem_ptr(d->mem, at, d->cfg.num * qring_desc_bytes(max), true);
	if (!d->indirect_host)
		return -EFAULT;
	d->indirect = at;
	d->indirect_max = max;
	return 0;
}

static int init_own(struct qdriver *d)
{
	uint32_t num = d->cfg.num;

	d->next = calloc(num, sizeof(*d->next));
	d->slot = calloc(num, sizeof(*d->slot));
	if (!d->next || !d->slot)
		return -ENOMEM;
	for (uint32_t i = 0; i < num; i++)
		d->next[i] = i + 1;	/* the last one's is never followed: n_free is 0 by then */
	d->n_free = num;
	if (is_packed(d))
		qdriver_packed_init(d);
	return 0;
}

int qdriver_init(struct qdriver *d, const struct qmem *mem, gpa_t at, uint32_t num,
		 unsigned features, gpa_t indirect_at, unsigned indirect_max)
{
	uint64_t avail_off, used_off;

	*d = (struct qdriver){ .mem = mem };
	bool any_num = features & QRING_PACKED;
	if (num == 0 || num > QRING_SIZE_MAX || (!any_num && (num & (num - 1))) ||
	    at.v % RING_ALIGN)
		return -EINVAL;

	uint64_t len_bytes = qdriver_layout(num, &avail_off, &used_off);
	char *host = qmem_ptr(mem, at, len_bytes, true);
	if (!host)
		return -EFAULT;
	memset(host, 0, len_bytes);
	d->cfg = (struct qring_cfg){
		.num = num, .features = features,
		.desc = at, .avail = gpa(at.v + avail_off), .used = gpa(at.v + used_off),
	};
	d->desc = host;
	d->avail = host + avail_off;
	d->used = host + used_off;

	int r = init_indirect(d, indirect_at, indirect_max);
	if (r == 0)
		r = init_own(d);
	if (r < 0)
		qdriver_fini(d);
	return r;
}

void qdriver_fini(struct qdriver *d)
{
	free(d->next);
	free(d->slot);
	*d = (struct qdriver){ 0 };
}

static void write_desc(struct qring_desc *w, const struct qdriver_buf *b, bool more, uint16_t next)
{
	uint16_t flags = (b->device_writes ? VRING_DESC_F_WRITE : 0) |
			 (more ? VRING_DESC_F_NEXT : 0);

	*w = (struct qring_desc){
		.w_addr = htole64(b->at.v), .w_len = htole32(b->len_bytes),
		.w_flags = htole16(flags), .w_next = htole16(more ? next : 0),
	};
}

/* Writes the chain into @head's indirect table and names that in the ring. Returns the
 * descriptors taken. */
static unsigned put_indirect(struct qdriver *d, uint16_t head, const struct qdriver_buf *bufs,
			     unsigned n)
{
	uint64_t off = head * qring_desc_bytes(d->indirect_max);
	struct qring_desc *table = (struct qring_desc *)((char *)d->indirect_host + off);
	struct qring_desc *ring = d->desc;

	for (unsigned i = 0; i < n; i++)
		write_desc(&table[i], &bufs[i], i + 1 < n, i + 1);
	ring[head] = (struct qring_desc){
		.w_addr = htole64(d->indirect.v + off), .w_len = htole32(n * QRING_DESC_BYTES),
		.w_flags = htole16(VRING_DESC_F_INDIRECT),
	};
	d->slot[head].tail = head;
	return 1;
}

static unsigned put_direct(struct qdriver *d, uint16_t head, const struct qdriver_buf *bufs,
			   unsigned n)
{
	struct qring_desc *ring = d->desc;
	uint16_t at = head;

	for (unsigned i = 0; i < n; i++) {
		d->slot[head].tail = at;
		write_desc(&ring[at], &bufs[i], i + 1 < n, d->next[at]);
		at = d->next[at];
	}
	return n;
}

/* Relaxed: qdriver_publish() releases it. */
static void put_avail(struct qdriver *d, uint16_t head)
{
	struct qring_avail *a = d->avail;

	qring_store(&a->w_ring[d->avail_idx & (d->cfg.num - 1)], head, memory_order_relaxed);
}

enum qdriver_verdict qdriver_add(struct qdriver *d, const struct qdriver_buf *bufs, unsigned n,
				 void *token)
{
	bool indirect = n > 1 && n <= d->indirect_max;
	uint16_t head = d->free_head;

	qassert(n > 0 && token);
	if ((indirect ? 1 : n) > d->n_free)
		return QDRIVER_FULL;

	struct qdriver_slot *s = &d->slot[head];
	s->token = token;
	s->in_bytes = 0;
	for (unsigned i = 0; i < n; i++)
		s->in_bytes += bufs[i].device_writes ? bufs[i].len_bytes : 0;
	if (is_packed(d))
		s->n = qdriver_packed_put(d, head, bufs, n, indirect);
	else
		s->n = indirect ? put_indirect(d, head, bufs, n) : put_direct(d, head, bufs, n);
	d->free_head = d->next[s->tail];
	d->n_free -= s->n;
	if (!is_packed(d))
		put_avail(d, head);
	d->avail_idx++;
	return QDRIVER_OK;
}

bool qdriver_publish(struct qdriver *d)
{
	struct qring_avail *a = d->avail;
	const struct qring_used *u = d->used;
	uint16_t now = d->avail_idx, before = d->kicked_idx;

	if (is_packed(d))
		return qdriver_packed_publish(d);
	if (now == before)
		return false;
	/* Pairs with the acquire load of avail.idx in qring_pop(): entries and descriptors are
	 * written before. */
	qring_store(&a->w_idx, now, memory_order_release);
	d->kicked_idx = now;

	/* Pairs with the barrier in qring_arm(), between the device's request for a kick and its
	 * last look at avail.idx: one of us sees the other's store. */
	qring_full_barrier();
	/* Relaxed: the barrier orders them. */
	if (!(d->cfg.features & QRING_EVENT_IDX))
		return !(qring_load(&u->w_flags, memory_order_relaxed) & VRING_USED_F_NO_NOTIFY);
	uint16_t event = qring_load(qring_avail_event(u, d->cfg.num), memory_order_relaxed);
	return vring_need_event(event, now, before);
}

/* Hangs a chain's descriptors back on the free list. */
static void release(struct qdriver *d, uint16_t head)
{
	struct qdriver_slot *s = &d->slot[head];

	d->next[s->tail] = d->free_head;
	d->free_head = head;
	d->n_free += s->n;
	s->token = NULL;
}

/* What stands in the used ring next. */
static enum qdriver_verdict split_look(const struct qdriver *d, uint32_t *ret_id,
				       uint32_t *ret_written_bytes)
{
	const struct qring_used *u = d->used;
	/* Pairs with the release store of used.idx in qring_publish(): elements and data are
	 * written before. */
	uint16_t n_new = qring_load(&u->w_idx, memory_order_acquire) - d->last_used;
	uint16_t n_out = d->kicked_idx - d->last_used;

	if (n_new == 0)
		return QDRIVER_EMPTY;
	if (n_new > n_out)
		return QDRIVER_BAD_USED;

	const volatile struct qring_used_elem *w = &u->ring[d->last_used & (d->cfg.num - 1)];
	*ret_id = le32toh(w->w_id);
	*ret_written_bytes = le32toh(w->w_len);
	return QDRIVER_OK;
}

enum qdriver_verdict qdriver_poll(struct qdriver *d, void **ret_token, uint32_t *ret_written_bytes)
{
	uint32_t id, written;
	enum qdriver_verdict v = is_packed(d) ? qdriver_packed_look(d, &id, &written) :
						split_look(d, &id, &written);

	if (v != QDRIVER_OK)
		return v;
	if (id >= d->cfg.num || !d->slot[id].token || written > d->slot[id].in_bytes)
		return QDRIVER_BAD_USED;

	*ret_token = d->slot[id].token;
	*ret_written_bytes = written;
	if (is_packed(d))
		qdriver_packed_got(d, d->slot[id].n);
	release(d, id);
	d->last_used++;
	return QDRIVER_OK;
}

bool qdriver_arm(struct qdriver *d)
{
	struct qring_avail *a = d->avail;
	const struct qring_used *u = d->used;

	if (is_packed(d))
		return qdriver_packed_arm(d);
	/* Relaxed: the barrier below orders them. */
	if (d->cfg.features & QRING_EVENT_IDX)
		qring_store(qring_used_event(a, d->cfg.num), d->last_used, memory_order_relaxed);
	else
		qring_store(&a->w_flags, 0, memory_order_relaxed);
	/* Pairs with the barrier in qring_publish(), between the device's store of used.idx and
	 * its look at our request: one of us sees the other's store. */
	qring_full_barrier();
	/* Relaxed: only a hint to call qdriver_poll(), which acquires. */
	return qring_load(&u->w_idx, memory_order_relaxed) != d->last_used;
}

void qdriver_disarm(struct qdriver *d)
{
	struct qring_avail *a = d->avail;

	if (is_packed(d)) {
		qdriver_packed_disarm(d);
		return;
	}
	/* As in qring_disarm(): with EVENT_IDX the event lies behind us once it fired. Relaxed:
	 * an interrupt too many is harmless. */
	if (!(d->cfg.features & QRING_EVENT_IDX))
		qring_store(&a->w_flags, VRING_AVAIL_F_NO_INTERRUPT, memory_order_relaxed);
}

unsigned qdriver_outstanding(const struct qdriver *d)
{
	return (uint16_t)(d->avail_idx - d->last_used);
}
