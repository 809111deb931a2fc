/* SPDX-License-Identifier: Apache-2.0 */
/* See vdnet.h. */
#include "tests/unit/vdnet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct vdn *vdn_of(struct vd_net *n)
{
	return Q_CONTAINER_OF(n, struct vdn, n);
}

static int fake_send(struct vd_net *net, unsigned pair, const struct iovec *iov, unsigned n_iov,
		     uint32_t len)
{
	struct vdn *n = vdn_of(net);
	struct vdn_frame *f = &n->out[n->n_out];
	uint32_t at = 0;

	qassert(pair < net->pairs && net->link_up);
	if (!n->room)
		return -EAGAIN;
	n->room--;
	if (n->n_out == VDN_FRAMES)
		return -ENOBUFS;
	*f = (struct vdn_frame){ malloc(len), len, pair };
	for (unsigned i = 0; i < n_iov; i++) {
		qassert(qspan_inside(at, iov[i].iov_len, len));
		memcpy(f->data + at, iov[i].iov_base, iov[i].iov_len);
		at += (uint32_t)iov[i].iov_len;
	}
	qassert(at == len);
	n->n_out++;
	return 0;
}

static struct vdn_frame *first_of(struct vdn *n, unsigned pair)
{
	for (unsigned i = 0; i < n->n_in; i++)
		if (n->in[i].pair == pair)
			return &n->in[i];
	return NULL;
}

static ssize_t fake_recv(struct vd_net *net, unsigned pair, void *buf)
{
	struct vdn *n = vdn_of(net);
	struct vdn_frame *f = first_of(n, pair);
	ssize_t len;

	qassert(pair < net->pairs);
	if (!f)
		return 0;
	len = f->len <= VD_NET_BUF_BYTES ? (ssize_t)f->len : -EMSGSIZE;
	if (len > 0)
		memcpy(buf, f->data, f->len);
	free(f->data);
	n->n_in--;
	memmove(f, f + 1, (size_t)(n->in + n->n_in - f) * sizeof(*f));
	return len;
}

static bool fake_listen(struct vd_net *net, unsigned pair)
{
	vdn_of(net)->listening[pair] = true;
	return first_of(vdn_of(net), pair);
}

static void fake_flush(struct vd_net *net)
{
	vdn_of(net)->n_flushes++;
}

static void fake_purge(struct vd_net *net)
{
	struct vdn *n = vdn_of(net);

	n->n_purges++;
	while (n->n_in)
		free(n->in[--n->n_in].data);
}

static void fake_guest(struct vd_net *net, uint64_t features, unsigned pairs)
{
	vdn_of(net)->guest_features = features;
	vdn_of(net)->guest_pairs = pairs;
}

static void fake_status(struct vd_net *net, char *buf, size_t buf_bytes)
{
	snprintf(buf, buf_bytes, "peer=fake");
}

static void fake_close(struct vd_net *net)
{
	vdn_of(net)->is_open = false;
}

static const struct vd_net_ops fake_ops = {
	.send = fake_send,
	.recv = fake_recv,
	.listen = fake_listen,
	.flush = fake_flush,
	.purge = fake_purge,
	.guest = fake_guest,
	.status = fake_status,
	.close = fake_close,
};

static int fake_open(struct vdh *h, const struct vd_net_cfg *cfg, struct vd_net **ret)
{
	static const uint8_t mac[VD_NET_MAC_BYTES] = { 2, 0, 0, 0, 0, 0x11 };
	struct vdn *n = h->net_ctx;

	if (n->open_err)
		return n->open_err;
	n->cfg = *cfg;
	n->n.pairs = cfg->pairs;
	n->n.mtu = cfg->mtu ? cfg->mtu : 1500;
	memcpy(n->n.mac, cfg->mac ? cfg->mac : mac, sizeof(mac));
	n->is_open = true;
	*ret = &n->n;
	return 0;
}

void vdn_init(struct vdn *n, struct vdh *h)
{
	*n = (struct vdn){
		.n = { .ops = &fake_ops, .features = VD_NET_PEER_FEATURES, .link_up = true },
		.h = h, .room = UINT32_MAX,
	};
	h->net_open = fake_open;
	h->net_ctx = n;
}

void vdn_clear(struct vdn *n)
{
	while (n->n_out)
		free(n->out[--n->n_out].data);
}

void vdn_fini(struct vdn *n)
{
	qassert(!n->is_open);
	vdn_clear(n);
	fake_purge(&n->n);
}

void vdn_put(struct vdn *n, unsigned pair, const void *hdr, const void *frame, uint32_t frame_len)
{
	struct vdn_frame *f = &n->in[n->n_in];

	if (n->n_in == VDN_FRAMES)
		return;
	*f = (struct vdn_frame){ malloc(VD_NET_HDR_BYTES + frame_len),
				 VD_NET_HDR_BYTES + frame_len, pair };
	memcpy(f->data, hdr, VD_NET_HDR_BYTES);
	memcpy(f->data + VD_NET_HDR_BYTES, frame, frame_len);
	n->n_in++;
	if (n->listening[pair]) {
		n->listening[pair] = false;
		n->cfg.readable(n->h->v, pair);
	}
}

void vdn_make_room(struct vdn *n, unsigned frames)
{
	n->room = frames;
	n->cfg.writable(n->h->v);
}

void vdn_set_link(struct vdn *n, bool up)
{
	n->n.link_up = up;
	n->cfg.link(n->h->v);
}
