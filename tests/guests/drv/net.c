/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net driver: queues 2i receive, 2i+1 transmit, the last one control (virtio 1.2, 5.1.2). */
#include "tests/guests/drv/net.h"

#define C_STATUS	6
#define C_MAX_PAIRS	8
#define CTRL_MQ		4
#define CTRL_MQ_SET	0
#define CTRL_WAIT_NS	(5 * RT_NS_PER_S)

/* ---- receive ---- */

static void rx_give(struct net_rx *x, struct net_buf *b)
{
	const struct vq_seg seg = { b, x->buf_bytes };

	if (!vq_add(&x->q, &seg, 0, 1, b))
		rt_fail("receive queue %u is full of what it gave back", x->q.index);
}

static const char *rx_open(struct net *n, unsigned pair, const struct net_setup *s)
{
	struct net_rx *x = &n->rx[pair];
	const char *why = vq_init(&x->q, n->dev, 2 * pair, s->queue_size);

	if (why)
		return why;
	if (!x->whole)
		x->whole = rt_need(NET_FRAME_MAX, 64, "a frame");
	x->buf_bytes = s->rx_bytes;
	for (unsigned i = 0; i < s->n_rx && i < x->q.num; i++)
		rx_give(x, rt_need(s->rx_bytes, 64, "receive buffers"));
	return NULL;
}

/* A frame in several buffers is put together; the parts go back at once. */
static const uint8_t *rx_merge(struct net *n, struct net_rx *x, struct net_buf *b, uint32_t len,
			       uint32_t *ret_bytes)
{
	unsigned n_buffers = b->hdr.n_buffers;
	uint32_t at = len - NET_HDR_BYTES;

	memcpy(x->whole, b->frame, at);
	rx_give(x, b);
	for (unsigned i = 1; i < n_buffers; i++) {
		b = vq_poll(&x->q, &len);
		if (!b)
			rt_fail("num_buffers=%u, but %u came", n_buffers, i);
		if (len > x->buf_bytes || len > NET_FRAME_MAX - at)
			rt_fail("part %u of a frame has %u bytes", i, len);
		memcpy(x->whole + at, b, len);
		at += len;
		rx_give(x, b);
	}
	n->n_merged++;
	*ret_bytes = at;
	return x->whole;
}

const uint8_t *net_rx_get(struct net *n, unsigned pair, uint32_t *ret_bytes,
			  struct net_hdr *ret_hdr)
{
	struct net_rx *x = &n->rx[pair];
	uint32_t len;
	struct net_buf *b = vq_poll(&x->q, &len);

	if (!b)
		return NULL;
	if (len < NET_HDR_BYTES || len > x->buf_bytes)
		rt_fail("a frame of %u bytes in a buffer of %u", len, x->buf_bytes);
	*ret_hdr = b->hdr;
	if (n->dev->features & NET_F_MRG_RXBUF && b->hdr.n_buffers != 1)
		return rx_merge(n, x, b, len, ret_bytes);
	*ret_bytes = len - NET_HDR_BYTES;
	memcpy(x->whole, b->frame, *ret_bytes);
	rx_give(x, b);
	return x->whole;
}

void net_rx_kick(struct net *n, unsigned pair)
{
	vq_kick(&n->rx[pair].q);
}

/* ---- transmit ---- */

static const char *tx_open(struct net *n, unsigned pair, const struct net_setup *s)
{
	struct net_tx *t = &n->tx[pair];
	const char *why = vq_init(&t->q, n->dev, 2 * pair + 1, s->queue_size);

	if (why)
		return why;
	t->n_bufs = s->n_tx < t->q.num ? s->n_tx : t->q.num;
	t->free = rt_need(t->n_bufs * sizeof(*t->free), 64, "transmit buffers");
	for (t->n_free = 0; t->n_free < t->n_bufs; t->n_free++)
		t->free[t->n_free] = rt_need(NET_HDR_BYTES + s->tx_bytes, 64, "transmit buffers");
	return NULL;
}

struct net_buf *net_tx_get(struct net *n, unsigned pair)
{
	struct net_tx *t = &n->tx[pair];
	struct net_buf *b;
	uint32_t len;

	while (t->n_free == 0 && (b = vq_poll(&t->q, &len)) != NULL)
		t->free[t->n_free++] = b;
	if (t->n_free == 0)
		return NULL;
	b = t->free[--t->n_free];
	memset(&b->hdr, 0, sizeof(b->hdr));
	return b;
}

void net_tx_put(struct net *n, unsigned pair, struct net_buf *b, uint32_t frame_bytes)
{
	struct net_tx *t = &n->tx[pair];
	const struct vq_seg seg = { b, NET_HDR_BYTES + frame_bytes };

	if (!vq_add(&t->q, &seg, 1, 0, b))
		rt_fail("transmit queue %u is full", t->q.index);
}

void net_tx_kick(struct net *n, unsigned pair)
{
	vq_kick(&n->tx[pair].q);
}

/* ---- control ---- */

uint8_t net_command(struct net *n, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	static struct {
		uint8_t head[2], data[256], ack;
	} *c;
	uint64_t until = arch_ticks() + rt_ticks(CTRL_WAIT_NS);
	uint32_t used;

	if (!c)
		c = rt_need(sizeof(*c), 64, "a command");
	c->head[0] = class;
	c->head[1] = cmd;
	c->ack = 0xff;
	memcpy(c->data, data, len < sizeof(c->data) ? len : sizeof(c->data));
	const struct vq_seg seg[3] = { { c->head, 2 }, { c->data, len }, { &c->ack, 1 } };
	if (!vq_add(&n->ctrl, seg, 2, 1, c))
		return 0xff;
	vq_kick(&n->ctrl);
	while (!vq_poll(&n->ctrl, &used))
		if (arch_ticks() > until)
			return 0xff;
	return *(volatile uint8_t *)&c->ack;
}

static const char *use_pairs(struct net *n)
{
	uint16_t pairs = (uint16_t)n->n_pairs;

	return net_command(n, CTRL_MQ, CTRL_MQ_SET, &pairs, sizeof(pairs)) == 0 ?
		       NULL : "VQ_PAIRS_SET was refused";
}

/* ---- the whole ---- */

bool net_link_up(struct net *n)
{
	return !(n->dev->features & NET_F_STATUS) ||
	       (n->dev->ops->config_read(n->dev, C_STATUS, 2) & 1);
}

void net_irq_ack(struct net *n)
{
	uint32_t now = 0;

	for (unsigned i = 0; i < 2 * n->n_pairs; i++)
		if (n->dev->irq[i] >= 0)
			now += rt_irq_count[n->dev->irq[i]];
	if (now != n->irqs_acked)
		n->dev->ops->irq_ack(n->dev);
	n->irqs_acked = now;
}

const char *net_open(struct net *n, struct vio_dev *d, const struct net_setup *s)
{
	uint64_t wanted = s->features | NET_F_MAC | NET_F_STATUS | NET_F_CTRL_VQ |
			  (s->n_pairs > 1 ? NET_F_MQ : 0);
	const char *why = vio_begin(d, wanted);
	unsigned ctrl = 2;

	if (why)
		return why;
	n->dev = d;
	n->n_pairs = s->n_pairs;
	for (unsigned i = 0; i < 6; i++)
		n->mac[i] = (uint8_t)d->ops->config_read(d, i, 1);
	if (s->n_pairs > 1) {
		if (!(d->features & NET_F_MQ))
			return "several queue pairs are not offered";
		ctrl = 2 * d->ops->config_read(d, C_MAX_PAIRS, 2);
		if (ctrl < 2 * s->n_pairs)
			return "fewer queue pairs are offered";
	}
	for (unsigned i = 0; i < s->n_pairs && !why; i++) {
		why = rx_open(n, i, s);
		if (!why)
			why = tx_open(n, i, s);
	}
	if (!why && d->features & NET_F_CTRL_VQ)
		why = vq_init(&n->ctrl, d, ctrl, 0);
	if (why)
		return why;
	vio_run(d);
	for (unsigned i = 0; i < s->n_pairs; i++)
		vq_kick(&n->rx[i].q);
	return s->n_pairs > 1 ? use_pairs(n) : NULL;
}
