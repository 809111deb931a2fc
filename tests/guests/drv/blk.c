/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk driver: header, data in pieces, status, one chain a request. */
#include "tests/guests/drv/blk.h"

#define CONFIG_NUM_QUEUES 34

struct vq *blk_queue(struct blk *b, unsigned i)
{
	return i ? &b->more[i - 1] : &b->q;
}

const char *blk_open(struct blk *b, struct vio_dev *d, uint64_t features, uint16_t queue_size)
{
	if (b->n_queues == 0)
		b->n_queues = 1;
	if (b->n_queues > 1)
		features |= BLK_F_MQ;
	const char *why = vio_begin(d, features | BLK_F_SEG_MAX | BLK_F_RO | BLK_F_FLUSH);
	if (why)
		return why;
	if (b->n_queues > 1 && (!(d->features & BLK_F_MQ) ||
				d->ops->config_read(d, CONFIG_NUM_QUEUES, 2) < b->n_queues))
		return "has fewer queues than were asked for";
	b->dev = d;
	b->capacity = vio_config_read64(d, 0);
	b->read_only = d->features & BLK_F_RO;
	b->can_flush = d->features & BLK_F_FLUSH;
	if (b->n_segs == 0)
		b->n_segs = 1;
	if (d->features & BLK_F_SEG_MAX && b->n_segs > d->ops->config_read(d, 12, 4))
		return "seg_max is lower than the number of segments asked for";
	for (unsigned i = 0; i < b->n_queues && !why; i++)
		why = vq_init(blk_queue(b, i), d, i, queue_size);
	if (!why)
		vio_run(d);
	return why;
}

/* Pieces are uneven on purpose: 1/2, 1/4, ... and the rest, not sector-aligned. */
static unsigned cut(const struct blk *b, struct blk_req *r, struct vq_seg *seg)
{
	unsigned n = 0;
	uint32_t done = 0;

	while (n + 1 < b->n_segs && r->len - done > 2) {
		uint32_t piece = (r->len - done) / 2 + 1;
		seg[n++] = (struct vq_seg){ (char *)r->data + done, piece };
		done += piece;
	}
	seg[n++] = (struct vq_seg){ (char *)r->data + done, r->len - done };
	return n;
}

bool blk_submit(struct blk *b, struct blk_req *r)
{
	struct vq_seg seg[VQ_MAX_SEGS] = { { &r->header, sizeof(r->header) } };
	unsigned n_data = r->len ? cut(b, r, seg + 1) : 0;
	bool to_device = r->header.type == BLK_T_OUT || r->header.type == BLK_T_DISCARD ||
			 r->header.type == BLK_T_WRITE_ZEROES;

	r->status = BLK_S_PENDING;
	seg[1 + n_data] = (struct vq_seg){ (void *)&r->status, 1 };
	struct vq *q = blk_queue(b, b->put);
	b->put = (b->put + 1) % b->n_queues;
	return vq_add(q, seg, 1 + (to_device ? n_data : 0), 1 + (to_device ? 0 : n_data), r);
}

void blk_kick(struct blk *b)
{
	for (unsigned i = 0; i < b->n_queues; i++)
		vq_kick(blk_queue(b, i));
}

struct blk_req *blk_reap(struct blk *b)
{
	int irq = b->dev->irq[0];
	uint32_t len;

	if (irq >= 0 && rt_irq_count[irq] != b->irqs_acked) {
		b->irqs_acked = rt_irq_count[irq];
		b->dev->ops->irq_ack(b->dev);
	}
	for (unsigned n = 0; n < b->n_queues; n++) {
		struct blk_req *r = vq_poll(blk_queue(b, b->get), &len);
		if (r) {
			r->used_len = len;
			return r;
		}
		b->get = (b->get + 1) % b->n_queues;
	}
	return NULL;
}
