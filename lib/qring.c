/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a split virtqueue, and the way to the packed one's (qring_packed.c), which
 * costs a split ring one test of a word a call. Runs on the one thread that serves the ring.
 *
 * Theory of operation. The driver fills descriptors, writes a head into the avail ring and moves
 * avail.idx; we take heads in that order, hand out iovecs, later write used elements and move
 * used.idx. Each index is a free-running 16-bit counter and is compared by subtraction only.
 *
 * Invariants: no descriptor is looked at twice, what is checked is our copy; every iovec lies
 * inside one region of the qmem, and inside a writable one when the device may write there; a
 * chain makes at most as many steps as its table has entries. Nothing that stands in the used
 * ring is ever read back, save its index once in qring_init().
 *
 * Sleeping (arm) and signalling (publish) are the two halves of the same protocol: store what the
 * other side waits for, full barrier, load what the other side asked for. Each side does it in
 * that order, so that at least one of them sees the other's store and no wake-up is lost.
 */
#include "lib/qring_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A descriptor table: the ring's own, or an indirect one. */
struct table {
	const struct qring_desc *host;	/* NULL when it spans regions: then read through qmem */
	uint64_t at;			/* gpa, of an indirect one */
	uint32_t n_desc;
	bool indirect;
};

const char *qring_verdict_str(enum qring_verdict v)
{
	static const char *const str[] = {
		[QRING_OK] = "ok",		     [QRING_EMPTY] = "empty",
		[QRING_BAD_AVAIL] = "bad_avail",     [QRING_BAD_INDEX] = "bad_index",
		[QRING_BAD_CHAIN] = "bad_chain",     [QRING_BAD_ADDR] = "bad_addr",
		[QRING_TOO_MANY] = "too_many",
	};
	static_assert(Q_ARRAY_LEN(str) == QRING_VERDICTS, "every verdict has a name");

	return (unsigned)v < QRING_VERDICTS ? str[v] : "?";
}

int qring_init(struct qring *r, const struct qmem *mem, const struct qring_cfg *cfg)
{
	bool event_idx = cfg->features & QRING_EVENT_IDX;
	uint32_t num = cfg->num;

	if (cfg->features & QRING_PACKED)
		return qring_packed_init(r, mem, cfg);
	if (num == 0 || num > QRING_SIZE_MAX || (num & (num - 1)))
		return -EINVAL;

	const void *desc = qmem_ptr(mem, cfg->desc, qring_desc_bytes(num), false);
	const void *avail = qmem_ptr(mem, cfg->avail, qring_avail_bytes(num, event_idx), false);
	struct qring_used *used =
		qmem_ptr(mem, cfg->used, qring_used_bytes(num, event_idx), true);
	if (!qring_is_aligned(desc, cfg->desc, 16) || !qring_is_aligned(avail, cfg->avail, 2) ||
	    !qring_is_aligned(used, cfg->used, 4))
		return -EINVAL;
	if (!desc || !avail || !used)
		return -EFAULT;

	/* Relaxed: the other writers of used.idx, a predecessor of ours or the driver that zeroed
	 * it, were done before somebody told us to start. */
	uint16_t used_idx = qring_load(&used->w_idx, memory_order_relaxed);
	*r = (struct qring){
		.mem = mem, .desc = desc, .avail = avail, .used = used, .num = num,
		.features = cfg->features, .last_avail = cfg->base, .avail_seen = cfg->base,
		.used_idx = used_idx, .signalled_used = used_idx,
	};
	return 0;
}

void qring_fini(struct qring *r)
{
	free(r->packed);
	r->packed = NULL;
}

/* Copies entry @i of @t, once. */
static inline enum qring_verdict read_desc(const struct qring *r, const struct table *t, uint16_t i,
					   struct qring_buf *ret)
{
	struct qring_desc copy;
	const volatile struct qring_desc *w = t->host ? &t->host[i] : &copy;

	if (!t->host &&
	    qmem_read(r->mem, gpa(t->at + (uint64_t)i * QRING_DESC_BYTES), &copy, sizeof(copy)) < 0)
		return QRING_BAD_ADDR;
	*ret = (struct qring_buf){
		.addr = le64toh(w->w_addr), .len_bytes = le32toh(w->w_len),
		.flags = le16toh(w->w_flags), .next = le16toh(w->w_next),
	};
	return QRING_OK;
}

/* Goes on in the indirect table that @d names (2.7.5.3). The write flag means nothing here. */
static enum qring_verdict enter_indirect(struct qring *r, const struct qring_buf *d,
					 struct table *t)
{
	if (!(r->features & QRING_INDIRECT) || t->indirect || (d->flags & VRING_DESC_F_NEXT) ||
	    d->len_bytes == 0 || d->len_bytes % QRING_DESC_BYTES ||
	    d->len_bytes / QRING_DESC_BYTES > QRING_SIZE_MAX)
		return QRING_BAD_CHAIN;

	uint64_t addr = d->addr, run;
	void *host = NULL;
	for (uint64_t left = d->len_bytes; left; left -= run, addr += run) {
		host = qring_resolve(r, addr, left, false, &run);
		if (!host)
			return QRING_BAD_ADDR;
		if (run != d->len_bytes)
			host = NULL;
	}
	*t = (struct table){
		.host = host, .at = d->addr, .n_desc = d->len_bytes / QRING_DESC_BYTES,
		.indirect = true,
	};
	return QRING_OK;
}

/* Follows the chain from @i: the one function that walks guest memory. Each table is left after
 * as many steps as it has entries: a loop ends there. */
static enum qring_verdict walk(struct qring *r, uint16_t i, struct qring_parts *p)
{
	struct table t = { .host = r->desc, .n_desc = r->num };

	for (uint32_t left = t.n_desc; left > 0; left--) {
		struct qring_buf d;
		enum qring_verdict v = read_desc(r, &t, i, &d);

		if (v != QRING_OK)
			return v;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			v = enter_indirect(r, &d, &t);
			if (v != QRING_OK)
				return v;
			i = 0;
			left = t.n_desc + 1;	/* the loop takes one off */
			continue;
		}
		v = qring_add_buffer(r, &d, p);
		if (v != QRING_OK)
			return v;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return QRING_OK;
		if (d.next >= t.n_desc)
			return QRING_BAD_INDEX;
		i = d.next;
	}
	return QRING_BAD_CHAIN;
}

static inline enum qring_verdict fetch(struct qring *r, uint16_t head, struct iovec *iov,
				       unsigned max_iov, struct qring_chain *ret_chain)
{
	if (head >= r->num)
		return QRING_BAD_AVAIL;

	struct qring_chain c = { .head = head };
	struct qring_parts p = { .iov = iov, .max = max_iov, .chain = &c };
	enum qring_verdict v = walk(r, head, &p);

	*ret_chain = v == QRING_OK ? c : (struct qring_chain){ .head = head };
	return v;
}

enum qring_verdict qring_fetch(struct qring *r, uint16_t head, struct iovec *iov, unsigned max_iov,
			       struct qring_chain *ret_chain)
{
	return r->packed ? QRING_BAD_AVAIL : fetch(r, head, iov, max_iov, ret_chain);
}

/* Reads avail.idx again when all that was seen is taken. */
static inline enum qring_verdict look(struct qring *r)
{
	const struct qring_avail *a = r->avail;

	if (r->avail_seen != r->last_avail)
		return QRING_OK;
	/* Pairs with the driver's release store of avail.idx (qdriver_publish(), a guest's write
	 * barrier): the entries and descriptors behind it are written. */
	uint16_t idx = qring_load(&a->w_idx, memory_order_acquire);
	uint16_t n_new = idx - r->last_avail;
	if (n_new == 0)
		return QRING_EMPTY;
	if (n_new > r->num)
		return QRING_BAD_AVAIL;
	r->avail_seen = idx;
	return QRING_OK;
}

enum qring_verdict qring_pop(struct qring *r, struct iovec *iov, unsigned max_iov,
			     struct qring_chain *ret_chain)
{
	if (r->packed)
		return qring_packed_pop(r, iov, max_iov, ret_chain);

	const struct qring_avail *a = r->avail;
	enum qring_verdict v = look(r);
	if (v != QRING_OK)
		return v;
	/* Relaxed: look() has acquired it. */
	uint16_t head = qring_load(&a->w_ring[r->last_avail & (r->num - 1)], memory_order_relaxed);
	v = fetch(r, head, iov, max_iov, ret_chain);
	if (v != QRING_BAD_AVAIL)
		r->last_avail++;
	return v;
}

bool qring_pending(const struct qring *r)
{
	const struct qring_avail *a = r->avail;

	if (r->packed)
		return qring_packed_pending(r);
	/* Relaxed: only a hint to call qring_pop(), which acquires. */
	return r->avail_seen != r->last_avail ||
	       qring_load(&a->w_idx, memory_order_relaxed) != r->last_avail;
}

void qring_push(struct qring *r, uint16_t head, uint32_t written_bytes)
{
	if (r->packed) {
		qring_packed_push(r, head, written_bytes);
		return;
	}
	struct qring_used *u = r->used;
	volatile struct qring_used_elem *e = &u->ring[r->used_idx & (r->num - 1)];

	e->w_id = htole32(head);
	e->w_len = htole32(written_bytes);
	r->used_idx++;
}

bool qring_publish(struct qring *r)
{
	struct qring_used *u = r->used;
	const struct qring_avail *a = r->avail;
	uint16_t now = r->used_idx, before = r->signalled_used;
	bool known = r->signalled_valid;

	if (r->packed)
		return qring_packed_publish(r);
	if (now == before)
		return false;
	/* Pairs with the driver's acquire load of used.idx (qdriver_poll(), a guest's read
	 * barrier): the elements and the data behind them must be visible once idx is. */
	qring_store(&u->w_idx, now, memory_order_release);
	r->signalled_used = now;
	r->signalled_valid = true;

	/* Pairs with the driver's barrier between asking for an interrupt and its last look at
	 * used.idx (qdriver_arm()): without it we could miss the request while it misses the
	 * index, and it sleeps on. */
	qring_full_barrier();
	/* Relaxed: the barrier orders them, and nothing else hangs on their value. */
	memory_order order = memory_order_relaxed;
	if (!(r->features & QRING_EVENT_IDX))
		return !(qring_load(&a->w_flags, order) & VRING_AVAIL_F_NO_INTERRUPT);
	return !known ||
	       vring_need_event(qring_load(qring_used_event(a, r->num), order), now, before);
}

bool qring_arm(struct qring *r)
{
	struct qring_used *u = r->used;

	if (r->packed)
		return qring_packed_arm(r);
	/* Relaxed: the barrier below orders them. */
	if (r->features & QRING_EVENT_IDX)
		qring_store(qring_avail_event(u, r->num), r->last_avail, memory_order_relaxed);
	else
		qring_store(&u->w_flags, 0, memory_order_relaxed);
	/* Pairs with the driver's barrier between its store of avail.idx and its look at
	 * avail_event or used.flags (qdriver_publish()): without it we could miss the entry while
	 * it misses our request. */
	qring_full_barrier();
	return qring_pending(r);
}

void qring_disarm(struct qring *r)
{
	struct qring_used *u = r->used;

	if (r->packed) {
		qring_packed_disarm(r);
		return;
	}
	/* With EVENT_IDX the event of the last arm lies behind us: no kick before the index has
	 * gone round once. Relaxed: a kick too many is harmless. */
	if (!(r->features & QRING_EVENT_IDX))
		qring_store(&u->w_flags, VRING_USED_F_NO_NOTIFY, memory_order_relaxed);
}
