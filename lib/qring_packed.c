/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a packed virtqueue (virtio 1.2, 2.8). Runs on the one thread that serves the
 * ring.
 *
 * Theory of operation. There is one ring of descriptors. The driver makes one available by writing
 * its flags last, with the bits AVAIL and USED unequal and AVAIL as its wrap counter is; the
 * counter turns over whenever it comes back to the first place. We take descriptors in that order,
 * a chain being those that stand side by side until one without NEXT. What is used is written over
 * the places of what was taken before, in the same order of places, but with the id of whatever
 * chain it is that is done: so that what we have to know of a chain that is out, its id and how
 * many places it took, is ours (struct slot), and a chain's head is the number of its slot. An id
 * is the driver's and may be any number; two chains with one id are the driver's own confusion.
 *
 * Invariants: n_out places are out, at most num, and are those from used_idx up to last_avail: the
 * driver cannot make us write a used element where nothing of it was taken. No descriptor is read
 * twice; nothing we have written is read back. A chain makes at most n_free steps in the ring and
 * as many as its table has entries there.
 *
 * Several used elements become visible at once: the flags of the first are written by publish().
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/qring_priv.h"

struct slot {
	uint16_t id, n_desc;
	uint16_t next_free;
	bool out;
};

struct qring_packed {
	bool avail_wrap, used_wrap;
	uint16_t n_out;		/* places */
	uint16_t free_slot;	/* num = none */
	uint16_t n_pushed;	/* places, since the last publish; at most num */
	uint16_t first_pushed, first_flags; /* to be written by it */
	struct slot slot[];	/* num */
};

int qring_packed_init(struct qring *r, const struct qmem *mem, const struct qring_cfg *cfg)
{
	uint32_t num = cfg->num;

	if (num == 0 || num > QRING_SIZE_MAX)
		return -EINVAL;

	const void *desc = qmem_ptr(mem, cfg->desc, qring_desc_bytes(num), true);
	const void *avail = qmem_ptr(mem, cfg->avail, QRING_PEVENT_BYTES, false);
	void *used = qmem_ptr(mem, cfg->used, QRING_PEVENT_BYTES, true);
	if (!qring_is_aligned(desc, cfg->desc, 16) || !qring_is_aligned(avail, cfg->avail, 4) ||
	    !qring_is_aligned(used, cfg->used, 4))
		return -EINVAL;
	if (!desc || !avail || !used)
		return -EFAULT;

	struct qring_packed *k = calloc(1, sizeof(*k) + num * sizeof(k->slot[0]));
	if (!k)
		return -ENOMEM;
	k->avail_wrap = k->used_wrap = true;
	for (uint32_t i = 0; i < num; i++)
		k->slot[i].next_free = i + 1;
	*r = (struct qring){
		.mem = mem, .packed = k, .desc = desc, .avail = avail, .used = used, .num = num,
		.features = cfg->features,
	};
	return 0;
}

/* The place @n after @at, n <= num; *wrap turns over on the way. */
static uint16_t forward(const struct qring *r, uint16_t at, uint16_t n, bool *wrap)
{
	uint32_t to = (uint32_t)at + n;

	if (to < r->num)
		return to;
	*wrap = !*wrap;
	return to - r->num;
}

static bool is_available(const struct qring *r, uint16_t flags)
{
	bool avail = flags & QRING_PDESC_AVAIL, used = flags & QRING_PDESC_USED;

	return avail != used && avail == r->packed->avail_wrap;
}

static uint16_t load_flags(const struct qring *r, uint16_t at, memory_order order)
{
	const struct qring_pdesc *ring = r->desc;

	return qring_load(&ring[at].w_flags, order);
}

/* All entries of the table that @d names (2.8.7): they stand side by side, and of their flags only
 * WRITE means something, but one that goes deeper is refused. */
static enum qring_verdict walk_indirect(struct qring *r, const struct qring_buf *d,
					struct qring_parts *p)
{
	if (!(r->features & QRING_INDIRECT) || (d->flags & VRING_DESC_F_NEXT) ||
	    d->len_bytes == 0 || d->len_bytes % QRING_DESC_BYTES ||
	    d->len_bytes / QRING_DESC_BYTES > QRING_SIZE_MAX)
		return QRING_BAD_CHAIN;
	for (uint32_t off = 0; off < d->len_bytes; off += QRING_DESC_BYTES) {
		struct qring_ptable_desc w;

		if (d->addr > UINT64_MAX - off ||
		    qmem_read(r->mem, gpa(d->addr + off), &w, sizeof(w)) < 0)
			return QRING_BAD_ADDR;
		const struct qring_buf b = {
			.addr = le64toh(w.w_addr), .len_bytes = le32toh(w.w_len),
			.flags = le16toh(w.w_flags),
		};
		enum qring_verdict v = b.flags & VRING_DESC_F_INDIRECT ?
					       QRING_BAD_CHAIN : qring_add_buffer(r, &b, p);
		if (v != QRING_OK)
			return v;
	}
	return QRING_OK;
}

/* Copies the descriptor at @at, once; of the first one we have the flags already. */
static struct qring_buf read_desc(const struct qring *r, uint16_t at, uint16_t flags,
				  uint16_t *ret_id)
{
	const volatile struct qring_pdesc *w = &((const struct qring_pdesc *)r->desc)[at];

	*ret_id = le16toh(w->w_id);
	return (struct qring_buf){
		.addr = le64toh(w->w_addr), .len_bytes = le32toh(w->w_len), .flags = flags,
	};
}

/*
 * The chain from last_avail on, whose first flags are @flags. What is wrong with it does not end
 * the walk, for it has to be known where the next one begins: *ret_n_desc is 0 when that cannot be.
 */
static enum qring_verdict walk(struct qring *r, uint16_t flags, struct qring_parts *p,
			       uint16_t *ret_n_desc, uint16_t *ret_id)
{
	uint32_t n_free = r->num - r->packed->n_out;
	enum qring_verdict v = QRING_OK;
	uint16_t at = r->last_avail;
	bool wrap = r->packed->avail_wrap;

	for (uint32_t n = 1; n <= n_free; n++) {
		struct qring_buf d = read_desc(r, at, flags, ret_id);

		if (v == QRING_OK)
			v = d.flags & VRING_DESC_F_INDIRECT ? walk_indirect(r, &d, p) :
							      qring_add_buffer(r, &d, p);
		if (!(d.flags & VRING_DESC_F_NEXT)) {
			*ret_n_desc = n;
			return v;
		}
		at = forward(r, at, 1, &wrap);
		/* Relaxed: the first one's flags were written after all of these. */
		flags = load_flags(r, at, memory_order_relaxed);
	}
	*ret_n_desc = 0;
	return QRING_BAD_AVAIL;
}

enum qring_verdict qring_packed_pop(struct qring *r, struct iovec *iov, unsigned max_iov,
				    struct qring_chain *ret_chain)
{
	struct qring_packed *k = r->packed;
	/* Pairs with the driver's release store of these flags (qdriver_publish(), a guest's write
	 * barrier): the descriptor, and those behind it, are written. */
	uint16_t flags = load_flags(r, r->last_avail, memory_order_acquire), n_desc, id;

	if (!is_available(r, flags))
		return QRING_EMPTY;

	struct qring_chain c = { 0 };
	struct qring_parts p = { .iov = iov, .max = max_iov, .chain = &c };
	enum qring_verdict v = walk(r, flags, &p, &n_desc, &id);
	if (n_desc == 0)
		return QRING_BAD_AVAIL;

	/* Each that is out has a place at least, and one is free: so is a slot. */
	uint16_t head = k->free_slot;
	k->free_slot = k->slot[head].next_free;
	k->slot[head] = (struct slot){ .id = id, .n_desc = n_desc, .out = true };
	k->n_out += n_desc;
	r->last_avail = forward(r, r->last_avail, n_desc, &k->avail_wrap);
	c.head = head;
	*ret_chain = v == QRING_OK ? c : (struct qring_chain){ .head = head };
	return v;
}

bool qring_packed_pending(const struct qring *r)
{
	/* Relaxed: only a hint to call qring_pop(), which acquires. */
	return is_available(r, load_flags(r, r->last_avail, memory_order_relaxed));
}

void qring_packed_push(struct qring *r, uint16_t head, uint32_t written_bytes)
{
	struct qring_packed *k = r->packed;

	qassert(head < r->num && k->slot[head].out);

	struct slot *s = &k->slot[head];
	struct qring_pdesc *ring = (struct qring_pdesc *)(uintptr_t)r->desc;
	volatile struct qring_pdesc *w = &ring[r->used_idx];
	uint16_t flags = (k->used_wrap ? QRING_PDESC_AVAIL | QRING_PDESC_USED : 0) |
			 (written_bytes ? VRING_DESC_F_WRITE : 0);

	w->w_id = htole16(s->id);
	w->w_len = htole32(written_bytes);
	if (k->n_pushed == 0) {
		k->first_pushed = r->used_idx;
		k->first_flags = flags;
	} else {
		/* Relaxed: the driver comes here after the first one, which publish() releases. */
		qring_store(&ring[r->used_idx].w_flags, flags, memory_order_relaxed);
	}
	/* A driver that reuses places which are not published yet could make it go round. */
	k->n_pushed = Q_MIN(k->n_pushed + (uint32_t)s->n_desc, r->num);
	k->n_out -= s->n_desc;
	r->used_idx = forward(r, r->used_idx, s->n_desc, &k->used_wrap);
	s->out = false;
	s->next_free = k->free_slot;
	k->free_slot = head;
}

bool qring_packed_publish(struct qring *r)
{
	struct qring_packed *k = r->packed;
	struct qring_pdesc *ring = (struct qring_pdesc *)(uintptr_t)r->desc;
	uint16_t n = k->n_pushed;

	if (n == 0)
		return false;
	/* Pairs with the driver's acquire load of these flags (qdriver_poll(), a guest's read
	 * barrier): this element, those behind it and the data are written before. */
	qring_store(&ring[k->first_pushed].w_flags, k->first_flags, memory_order_release);
	k->n_pushed = 0;

	/* Pairs with the driver's barrier between asking for an interrupt and its last look at the
	 * ring (qdriver_arm()): one of us sees the other's store. */
	qring_full_barrier();
	/* Relaxed: the barrier orders them. */
	uint32_t w = le32toh(atomic_load_explicit((const qring_pevent *)r->avail,
						  memory_order_relaxed));
	return qring_pevent_wants(w, r->features & QRING_EVENT_IDX, r->num, r->used_idx,
				  k->used_wrap, n);
}

static void ask(struct qring *r, uint32_t w)
{
	/* Relaxed: what must be ordered with it is ordered by the barrier in arm(). */
	atomic_store_explicit((qring_pevent *)r->used, htole32(w), memory_order_relaxed);
}

bool qring_packed_arm(struct qring *r)
{
	if (r->features & QRING_EVENT_IDX)
		ask(r, qring_pevent_word(VRING_PACKED_EVENT_FLAG_DESC, r->last_avail,
					 r->packed->avail_wrap));
	else
		ask(r, qring_pevent_word(VRING_PACKED_EVENT_FLAG_ENABLE, 0, false));
	/* Pairs with the driver's barrier between its store of flags and its look at what we asked
	 * for (qdriver_publish()): one of us sees the other's store. */
	qring_full_barrier();
	return qring_packed_pending(r);
}

void qring_packed_disarm(struct qring *r)
{
	/* An event that lies behind comes round again with every second lap: say no. */
	ask(r, qring_pevent_word(VRING_PACKED_EVENT_FLAG_DISABLE, 0, false));
}
