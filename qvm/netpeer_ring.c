/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The byte ring of netpeer_ring.h. Runs on the I/O thread of either qvm. Invariant: nothing outside
 * [data, data + NP_RING_BYTES) and the caller's buffer is touched, whatever stands in the shared
 * memory, and no loop's length depends on it twice.
 */
#include "qvm/netpeer_ring.h"

#include <endian.h>
#include <string.h>

#define LEN_BYTES 4u

static_assert((NP_RING_BYTES & (NP_RING_BYTES - 1)) == 0, "indices wrap with 32 bits");

void np_ring_init(struct np_ring *r, struct np_ctl *ctl, uint8_t *data)
{
	*r = (struct np_ring){ .ctl = ctl, .data = data };
}

static uint32_t taken_bytes(uint32_t len)
{
	return Q_ALIGN_UP(LEN_BYTES + len, NP_ALIGN);
}

/* [at, at + len) of the ring, which may wrap once. len is at most NP_RING_BYTES. */
static void copy_in(struct np_ring *r, uint32_t at, const void *from, uint32_t len)
{
	uint32_t off = at & (NP_RING_BYTES - 1), n = Q_MIN(len, NP_RING_BYTES - off);

	memcpy(r->data + off, from, n);
	memcpy(r->data, (const char *)from + n, len - n);
}

static void copy_out(const struct np_ring *r, uint32_t at, void *to, uint32_t len)
{
	uint32_t off = at & (NP_RING_BYTES - 1), n = Q_MIN(len, NP_RING_BYTES - off);

	memcpy(to, r->data + off, n);
	memcpy((char *)to + n, r->data, len - n);
}

/* ---- the writer ---- */

static enum np_ring_verdict look_for_room(struct np_ring *r, uint32_t need)
{
	/* Pairs with the reader's release of tail: it has read what we are about to overwrite.
	 * Sequentially consistent for the sake of want_room, see np_ring_wanted_room(). */
	uint32_t seen = atomic_load(&r->ctl->tail);

	if (r->pos - seen > NP_RING_BYTES)
		return NP_RING_BROKEN;
	r->seen = seen;
	return NP_RING_BYTES - (r->pos - seen) >= need ? NP_RING_OK : NP_RING_FULL;
}

static enum np_ring_verdict room(struct np_ring *r, uint32_t need)
{
	enum np_ring_verdict v;

	if (NP_RING_BYTES - (r->pos - r->seen) >= need)
		return NP_RING_OK;
	v = look_for_room(r, need);
	if (v != NP_RING_FULL)
		return v;
	/* The wish first, then the look: the reader does it the other way round. */
	atomic_store(&r->ctl->want_room, 1);
	return look_for_room(r, need);
}

enum np_ring_verdict np_ring_put(struct np_ring *r, const struct iovec *iov, unsigned n_iov,
				 uint32_t len)
{
	uint32_t w_len = htole32(len), at = r->pos + LEN_BYTES;
	enum np_ring_verdict v = room(r, taken_bytes(len));

	if (v != NP_RING_OK)
		return v;
	copy_in(r, r->pos, &w_len, sizeof(w_len));
	for (unsigned i = 0; i < n_iov; i++) {
		copy_in(r, at, iov[i].iov_base, (uint32_t)iov[i].iov_len);
		at += (uint32_t)iov[i].iov_len;
	}
	r->pos += taken_bytes(len);
	r->moved = true;
	/* Pairs with the reader's load of head: the frame is there when the index says so. */
	atomic_store_explicit(&r->ctl->head, r->pos, memory_order_release);
	return NP_RING_OK;
}

bool np_ring_wanted_data(struct np_ring *r)
{
	if (!r->moved)
		return false;
	r->moved = false;
	/* Pairs with np_ring_listen(): of "head, then the wish" here and "the wish, then head"
	 * there, at least one sees the other. */
	atomic_store(&r->ctl->head, r->pos);
	if (!atomic_load(&r->ctl->want_data))
		return false;
	atomic_store_explicit(&r->ctl->want_data, 0, memory_order_relaxed);	/* rung once */
	return true;
}

/* ---- the reader ---- */

static enum np_ring_verdict look_for_data(struct np_ring *r)
{
	/* Pairs with the writer's release of head; sequentially consistent for want_data. */
	uint32_t seen = atomic_load(&r->ctl->head), n = seen - r->pos;

	if (n > NP_RING_BYTES || n % NP_ALIGN)
		return NP_RING_BROKEN;
	r->seen = seen;
	return n ? NP_RING_OK : NP_RING_EMPTY;
}

static void release(struct np_ring *r, uint32_t to)
{
	r->pos = to;
	r->moved = true;
	/* Pairs with the writer's load of tail: what it overwrites was read. */
	atomic_store_explicit(&r->ctl->tail, to, memory_order_release);
}

enum np_ring_verdict np_ring_get(struct np_ring *r, void *buf, uint32_t max, uint32_t *ret_len)
{
	enum np_ring_verdict v = r->pos == r->seen ? look_for_data(r) : NP_RING_OK;
	uint32_t w_len, len;

	if (v != NP_RING_OK)
		return v;
	copy_out(r, r->pos, &w_len, sizeof(w_len));
	len = le32toh(w_len);
	if (!len || len > max || taken_bytes(len) > r->seen - r->pos)
		return NP_RING_BROKEN;
	copy_out(r, r->pos + LEN_BYTES, buf, len);
	release(r, r->pos + taken_bytes(len));
	*ret_len = len;
	return NP_RING_OK;
}

bool np_ring_listen(struct np_ring *r)
{
	if (r->pos != r->seen)
		return true;
	atomic_store(&r->ctl->want_data, 1);
	return look_for_data(r) != NP_RING_EMPTY;
}

enum np_ring_verdict np_ring_purge(struct np_ring *r)
{
	enum np_ring_verdict v = look_for_data(r);

	if (v == NP_RING_OK)
		release(r, r->seen);
	return v == NP_RING_BROKEN ? v : NP_RING_OK;
}

bool np_ring_wanted_room(struct np_ring *r)
{
	if (!r->moved)
		return false;
	r->moved = false;
	/* Pairs with room(): as np_ring_wanted_data() does with np_ring_listen(). */
	atomic_store(&r->ctl->tail, r->pos);
	if (!atomic_load(&r->ctl->want_room))
		return false;
	atomic_store_explicit(&r->ctl->want_room, 0, memory_order_relaxed);
	return true;
}
