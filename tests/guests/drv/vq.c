/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueue, driver side. Memory of one queue: descriptors, available ring, used ring, laid
 * out as legacy devices want it, one indirect table for each head. Descriptors of a chain are
 * linked through their next fields also while they are free.
 *
 * Sleeping: vq_arm() publishes the wish for an interrupt, then looks at the used index once more.
 * Kicking: vq_kick() publishes the entries, then reads the device's wish. Both need the full
 * barrier between their store and their load, paired with the same two in the device.
 */
#include "tests/guests/drv/vq_packed.h"

#define LEGACY_ALIGN 4096u

static volatile uint16_t *used_event(struct vq *q)
{
	return &q->avail->ring[q->num];
}

static volatile uint16_t *avail_event(struct vq *q)
{
	return (volatile uint16_t *)&q->used->ring[q->num];
}

/* For VQ_MAX_SIZE entries: a page of descriptors, one for the avail ring, one for the used ring. */
static void alloc_rings(struct vq *q)
{
	q->desc = rt_need(3 * LEGACY_ALIGN, LEGACY_ALIGN, "rings");
	q->tables = rt_need(sizeof(struct vq_desc) * VQ_MAX_SIZE * VQ_MAX_SEGS, 16,
			    "indirect tables");
}

static void place_rings(struct vq *q)
{
	uint64_t avail = (uint64_t)q->desc + sizeof(struct vq_desc) * q->num;
	uint64_t end = avail + sizeof(struct vq_avail) + 2 * (uint64_t)q->num + 2;

	memset((void *)q->desc, 0, 3 * LEGACY_ALIGN);
	q->avail = (volatile struct vq_avail *)avail;
	q->used = (volatile struct vq_used *)((end + LEGACY_ALIGN - 1) &
					      ~(uint64_t)(LEGACY_ALIGN - 1));
	for (uint16_t i = 0; i < q->num; i++)
		q->desc[i].next = (uint16_t)(i + 1);
}

const char *vq_init(struct vq *q, struct vio_dev *d, unsigned index, uint16_t max_num)
{
	uint16_t num = d->ops->queue_max(d, index);

	if (!q->desc)
		alloc_rings(q);
	if (num == 0)
		return "queue does not exist";
	if (max_num == 0 || max_num > VQ_MAX_SIZE)
		max_num = VQ_MAX_SIZE;
	if (d->legacy && d->port && num > VQ_MAX_SIZE)
		return "queue is longer than this driver can";
	while (num > max_num && !(d->legacy && d->port))
		num /= 2;
	q->dev = d;
	q->index = index;
	q->num = num;
	q->event_idx = d->features & VIO_F_EVENT_IDX;
	q->indirect = d->features & VIO_F_INDIRECT;
	q->packed = d->features & VIO_F_PACKED;
	q->free_head = 0;
	q->n_free = num;
	q->avail_idx = q->kicked_idx = q->used_idx = 0;
	memset(q->head, 0, sizeof(q->head));
	place_rings(q);
	if (q->packed)
		vqp_init(q);
	const uint64_t addr[3] = { (uint64_t)q->desc, (uint64_t)q->avail, (uint64_t)q->used };
	vq_disarm(q);
	return d->ops->queue_set(d, index, num, addr, true) ? NULL : "queue does not come up";
}

static void fill_indirect(struct vq *q, uint16_t head, const struct vq_seg *seg, unsigned n_out,
			  unsigned n)
{
	struct vq_desc *t = q->tables + (size_t)head * VQ_MAX_SEGS;

	for (unsigned i = 0; i < n; i++)
		t[i] = (struct vq_desc){
			.addr = (uint64_t)seg[i].addr, .len = seg[i].len,
			.flags = (uint16_t)((i + 1 < n ? VQ_F_NEXT : 0) |
					    (i >= n_out ? VQ_F_WRITE : 0)),
			.next = (uint16_t)(i + 1),
		};
	q->desc[head].addr = (uint64_t)t;
	q->desc[head].len = (uint32_t)(n * sizeof(*t));
	q->desc[head].flags = VQ_F_INDIRECT;
}

/* Returns the last descriptor of the chain. */
static uint16_t fill_direct(struct vq *q, uint16_t head, const struct vq_seg *seg, unsigned n_out,
			    unsigned n)
{
	uint16_t at = head;

	for (unsigned i = 0;; i++) {
		q->desc[at].addr = (uint64_t)seg[i].addr;
		q->desc[at].len = seg[i].len;
		q->desc[at].flags = (uint16_t)((i + 1 < n ? VQ_F_NEXT : 0) |
					       (i >= n_out ? VQ_F_WRITE : 0));
		if (i + 1 == n)
			return at;
		at = q->desc[at].next;
	}
}

bool vq_add(struct vq *q, const struct vq_seg *seg, unsigned n_out, unsigned n_in, void *cookie)
{
	unsigned n = n_out + n_in;
	bool indirect = q->indirect && n > 1 && n <= VQ_MAX_SEGS;
	uint16_t n_desc = (uint16_t)(indirect ? 1 : n);
	uint16_t head = q->free_head, last = head;

	if (q->packed)
		return vqp_add(q, seg, n_out, n_in, cookie);
	if (n_desc > q->n_free || n == 0)
		return false;
	if (indirect)
		fill_indirect(q, head, seg, n_out, n);
	else
		last = fill_direct(q, head, seg, n_out, n);
	q->free_head = q->desc[last].next;
	q->n_free = (uint16_t)(q->n_free - n_desc);
	q->head[head].cookie = cookie;
	q->head[head].n_desc = n_desc;
	q->avail->ring[q->avail_idx % q->num] = head;
	q->avail_idx++;
	/* The device must not see the index before the entry. */
	arch_order();
	q->avail->idx = q->avail_idx;
	return true;
}

void vq_kick(struct vq *q)
{
	uint16_t old = q->kicked_idx, now = q->avail_idx;
	bool wanted;

	if (q->packed) {
		vqp_kick(q);
		return;
	}
	if (old == now)
		return;
	arch_mb();
	q->kicked_idx = now;
	if (q->event_idx)
		wanted = (uint16_t)(now - *avail_event(q) - 1) < (uint16_t)(now - old);
	else
		wanted = !(q->used->flags & 1);
	if (wanted) {
		q->n_kicks++;
		q->dev->ops->notify(q->dev, q->index);
	} else {
		q->n_kicks_saved++;
	}
}

static void free_chain(struct vq *q, uint16_t head)
{
	uint16_t last = head;

	for (unsigned i = 1; i < q->head[head].n_desc; i++)
		last = q->desc[last].next;
	q->desc[last].next = q->free_head;
	q->free_head = head;
	q->n_free = (uint16_t)(q->n_free + q->head[head].n_desc);
	q->head[head].cookie = NULL;
}

void *vq_poll(struct vq *q, uint32_t *ret_len)
{
	if (q->packed)
		return vqp_poll(q, ret_len);
	if (q->used->idx == q->used_idx)
		return NULL;
	/* The entry is read after the index that announced it. */
	arch_order();
	volatile struct vq_used_elem *e = &q->used->ring[q->used_idx % q->num];
	uint32_t id = e->id;
	if (id >= q->num || !q->head[id].cookie)
		rt_fail("%s queue %u returned head %u that was not given to it", q->dev->name,
			q->index, id);
	*ret_len = e->len;
	void *cookie = q->head[id].cookie;
	free_chain(q, (uint16_t)id);
	q->used_idx++;
	return cookie;
}

bool vq_arm(struct vq *q)
{
	if (q->packed)
		return vqp_arm(q);
	if (q->event_idx)
		*used_event(q) = q->used_idx;
	else
		q->avail->flags = 0;
	arch_mb();
	return q->used->idx != q->used_idx;
}

void vq_disarm(struct vq *q)
{
	if (q->packed)
		vqp_disarm(q);
	else if (q->event_idx)
		*used_event(q) = (uint16_t)(q->used_idx - 1);
	else
		q->avail->flags = 1;
}
