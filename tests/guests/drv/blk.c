/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk driver: header, data in pieces, status, one chain a request. */
#include "tests/guests/drv/blk.h"

const char *blk_open(struct blk *b, struct vio_dev *d, uint64_t features, uint16_t queue_size)
{
	const char *why = vio_begin(d, features | BLK_F_SEG_MAX | BLK_F_RO | BLK_F_FLUSH);

	if (why)
		return why;
	b->dev = d;
	b->capacity = vio_config_read64(d, 0);
	b->read_only = d->features & BLK_F_RO;
	b->can_flush = d->features & BLK_F_FLUSH;
	if (b->n_segs == 0)
		b->n_segs = 1;
	if (d->features & BLK_F_SEG_MAX && b->n_segs > d->ops->config_read(d, 12, 4))
		return "seg_max is lower than the number of segments asked for";
	why = vq_init(&b->q, d, 0, queue_size);
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
	return vq_add(&b->q, seg, 1 + (to_device ? n_data : 0), 1 + (to_device ? 0 : n_data), r);
}

void blk_kick(struct blk *b)
{
	vq_kick(&b->q);
}

struct blk_req *blk_reap(struct blk *b)
{
	int irq = b->dev->irq[0];
	uint32_t len;

	if (irq >= 0 && rt_irq_count[irq] != b->irqs_acked) {
		b->irqs_acked = rt_irq_count[irq];
		b->dev->ops->irq_ack(b->dev);
	}
	struct blk_req *r = vq_poll(&b->q, &len);
	if (r)
		r->used_len = len;
	return r;
}
