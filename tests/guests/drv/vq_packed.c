/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed virtqueue, driver side: one ring that both write. A chain stands side by side from place
 * "put" on, all under one id; its first flags are written last, and that makes it the device's. The
 * device answers at place "get" with the id of what is done, and the next answer is behind as many
 * places as that chain took.
 *
 * Sleeping and kicking as in vq.c: store, full barrier, load what the other wants.
 */
#include "tests/guests/drv/vq_packed.h"

#define F_AVAIL		(1u << 7)
#define F_USED		(1u << 15)
#define EVENT_ENABLE	0
#define EVENT_DISABLE	1
#define EVENT_DESC	2
#define WRAP_BIT	15

void vqp_init(struct vq *q)
{
	memset((void *)q->desc, 0, sizeof(struct vq_pdesc) * q->num);
	q->ring = (volatile struct vq_pdesc *)q->desc;
	q->driver_event = (volatile struct vq_event *)q->avail;
	q->device_event = (volatile struct vq_event *)q->used;
	q->put = q->get = q->n_put = 0;
	q->put_wrap = q->get_wrap = true;
	for (uint16_t i = 0; i < q->num; i++)
		q->head[i].next_free = (uint16_t)(i + 1);
}

static void step(const struct vq *q, uint16_t *at, bool *wrap, unsigned n)
{
	*at = (uint16_t)(*at + n);
	if (*at >= q->num) {
		*at = (uint16_t)(*at - q->num);
		*wrap = !*wrap;
	}
}

/* Flags of a place of this lap. */
static uint16_t lap_flags(const struct vq *q, uint16_t flags)
{
	return (uint16_t)(flags | (q->put_wrap ? F_AVAIL : F_USED));
}

/* Fills the next place; all but the flags of a chain's first, which it returns. */
static uint16_t put(struct vq *q, uint64_t addr, uint32_t len, uint16_t id, uint16_t flags,
		    bool first)
{
	volatile struct vq_pdesc *d = &q->ring[q->put];

	flags = lap_flags(q, flags);
	d->addr = addr;
	d->len = len;
	d->id = id;
	if (!first)
		d->flags = flags;
	step(q, &q->put, &q->put_wrap, 1);
	return flags;
}

static uint16_t put_table(struct vq *q, uint16_t id, const struct vq_seg *seg, unsigned n_out,
			  unsigned n)
{
	struct vq_pdesc *t = (struct vq_pdesc *)q->tables + (size_t)id * VQ_MAX_SEGS;

	for (unsigned i = 0; i < n; i++)
		t[i] = (struct vq_pdesc){
			.addr = (uint64_t)seg[i].addr, .len = seg[i].len,
			.flags = i >= n_out ? VQ_F_WRITE : 0,
		};
	return put(q, (uint64_t)t, (uint32_t)(n * sizeof(*t)), id, VQ_F_INDIRECT, true);
}

static uint16_t put_direct(struct vq *q, uint16_t id, const struct vq_seg *seg, unsigned n_out,
			   unsigned n)
{
	uint16_t first = 0;

	for (unsigned i = 0; i < n; i++) {
		uint16_t flags = (uint16_t)((i + 1 < n ? VQ_F_NEXT : 0) |
					    (i >= n_out ? VQ_F_WRITE : 0));
		flags = put(q, (uint64_t)seg[i].addr, seg[i].len, id, flags, i == 0);
		if (i == 0)
			first = flags;
	}
	return first;
}

bool vqp_add(struct vq *q, const struct vq_seg *seg, unsigned n_out, unsigned n_in, void *cookie)
{
	unsigned n = n_out + n_in;
	bool indirect = q->indirect && n > 1 && n <= VQ_MAX_SEGS;
	uint16_t n_desc = (uint16_t)(indirect ? 1 : n);
	uint16_t id = q->free_head, at = q->put;

	if (n_desc > q->n_free || n == 0)
		return false;
	uint16_t flags = indirect ? put_table(q, id, seg, n_out, n) :
				    put_direct(q, id, seg, n_out, n);
	q->free_head = q->head[id].next_free;
	q->n_free = (uint16_t)(q->n_free - n_desc);
	q->n_put = (uint16_t)(q->n_put + n_desc);
	q->head[id].cookie = cookie;
	q->head[id].n_desc = n_desc;
	/* The device must not see the flags before all the rest. */
	arch_order();
	q->ring[at].flags = flags;
	return true;
}

void vqp_kick(struct vq *q)
{
	uint16_t n = q->n_put;
	bool wanted;

	if (n == 0)
		return;
	arch_mb();
	q->n_put = 0;
	uint16_t flags = q->device_event->flags;
	uint16_t off_wrap = q->device_event->off_wrap;
	if (flags == EVENT_DESC && q->event_idx) {
		/* Distance from the event to where we are, in places; a lap is num of them. */
		int event = off_wrap & 0x7fff, now = q->put;
		if ((off_wrap >> WRAP_BIT) != q->put_wrap)
			event -= q->num;
		wanted = event < now && event >= now - (int)n;
	} else {
		wanted = flags != EVENT_DISABLE;
	}
	if (wanted) {
		q->n_kicks++;
		q->dev->ops->notify(q->dev, q->index);
	} else {
		q->n_kicks_saved++;
	}
}

static bool is_used(const struct vq *q)
{
	uint16_t flags = q->ring[q->get].flags;
	bool avail = flags & F_AVAIL, used = flags & F_USED;

	return avail == used && used == q->get_wrap;
}

void *vqp_poll(struct vq *q, uint32_t *ret_len)
{
	if (!is_used(q))
		return NULL;
	/* The rest is read after the flags that announced it. */
	arch_order();
	uint16_t id = q->ring[q->get].id;
	if (id >= q->num || !q->head[id].cookie)
		rt_fail("%s queue %u returned id %u that was not given to it", q->dev->name,
			q->index, id);
	*ret_len = q->ring[q->get].len;
	void *cookie = q->head[id].cookie;
	q->head[id].cookie = NULL;
	q->head[id].next_free = q->free_head;
	q->free_head = id;
	q->n_free = (uint16_t)(q->n_free + q->head[id].n_desc);
	step(q, &q->get, &q->get_wrap, q->head[id].n_desc);
	return cookie;
}

bool vqp_arm(struct vq *q)
{
	q->driver_event->off_wrap = (uint16_t)(q->get | q->get_wrap << WRAP_BIT);
	/* The device must not see the wish without its place. */
	arch_order();
	q->driver_event->flags = q->event_idx ? EVENT_DESC : EVENT_ENABLE;
	arch_mb();
	return is_used(q);
}

void vqp_disarm(struct vq *q)
{
	q->driver_event->flags = EVENT_DISABLE;
}
