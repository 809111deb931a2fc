/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, 5.1): an Ethernet interface whose other end is what `peer` names: another
 * VM's virtio-net, without any network of the host between, or a tap of the host. This file has its
 * configuration and its life; frames are in virtio_net_tx.c and virtio_net_rx.c.
 *
 * What the guest is offered depends on the configuration and the host alone, never on who happens
 * to be there: whatever one end sends and the other did not agree to take is finished in software
 * on arrival. So the two ends need not agree about peerfeats. Invariant: config space says
 * LINK_UP exactly while net->link_up.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qlog.h"
#include "vdevs/types.h"
#include "vdevs/virtio_net.h"

#define PCI_CLASS 0x020000u	/* network, Ethernet */
#define MTU_MIN 68u
#define MTU_DEFAULT 1500u
#define B(name) VIRTIO_BIT(VIRTIO_NET_F_##name)

/* What config space has that we give a meaning to. */
#define CONFIG_LEN (offsetof(struct virtio_net_config, mtu) + sizeof(uint16_t))

/* ---- features ---- */

/* Virtio 1.2, 5.1.3.1: a feature is not offered without those that it needs. */
static const struct {
	unsigned bit;
	uint64_t needs;	/* one of them */
	const char *name, *needs_name;
} needs_rows[] = {
	{ VIRTIO_NET_F_GSO, B(CSUM), "GSO", "CSUM (bit 0)" },
	{ VIRTIO_NET_F_GUEST_TSO4, B(GUEST_CSUM), "GUEST_TSO4", "GUEST_CSUM (bit 1)" },
	{ VIRTIO_NET_F_GUEST_TSO6, B(GUEST_CSUM), "GUEST_TSO6", "GUEST_CSUM (bit 1)" },
	{ VIRTIO_NET_F_GUEST_ECN, B(GUEST_TSO4) | B(GUEST_TSO6), "GUEST_ECN",
	  "GUEST_TSO4 or GUEST_TSO6 (bits 7, 8)" },
	{ VIRTIO_NET_F_GUEST_UFO, B(GUEST_CSUM), "GUEST_UFO", "GUEST_CSUM (bit 1)" },
	{ VIRTIO_NET_F_HOST_TSO4, B(CSUM), "HOST_TSO4", "CSUM (bit 0)" },
	{ VIRTIO_NET_F_HOST_TSO6, B(CSUM), "HOST_TSO6", "CSUM (bit 0)" },
	{ VIRTIO_NET_F_HOST_ECN, B(HOST_TSO4) | B(HOST_TSO6), "HOST_ECN",
	  "HOST_TSO4 or HOST_TSO6 (bits 11, 12)" },
	{ VIRTIO_NET_F_HOST_UFO, B(CSUM), "HOST_UFO", "CSUM (bit 0)" },
};

/* Ascending bits, so that what is dropped first is seen missing by those after it. */
static uint64_t with_needs(uint64_t f)
{
	for (unsigned i = 0; i < Q_ARRAY_LEN(needs_rows); i++)
		if (!(f & needs_rows[i].needs))
			f &= ~VIRTIO_BIT(needs_rows[i].bit);
	return f;
}

#define GUEST_BITS (B(GUEST_CSUM) | B(GUEST_TSO4) | B(GUEST_TSO6) | B(GUEST_ECN) | B(GUEST_UFO))

static uint64_t peer_mask(const struct vd_config *cfg)
{
	const struct vd_arg *a = vd_arg_find(cfg, "peerfeats");

	return a ? a->num & VD_NET_PEER_FEATURES : VD_NET_PEER_DEFAULT;
}

static void describe(struct virtio_net *n)
{
	struct virtio_dev *d = &n->d;
	uint64_t f = with_needs(n->net->features & peer_mask(d->v.cfg));
	struct virtio_net_config w_cfg = { 0 };

	if (!virtio_is_legacy(d))
		f &= ~B(GSO);
	d->offered = f | B(MAC) | B(STATUS) | B(MTU) | B(MRG_RXBUF) | B(CTRL_VQ) | B(CTRL_RX) |
		     B(CTRL_RX_EXTRA) | B(CTRL_MAC_ADDR) | VIRTIO_RINGS;
	if (f & GUEST_BITS)
		d->offered |= B(CTRL_GUEST_OFFLOADS);
	n->max_pairs = n->net->pairs;
	if (n->max_pairs > 1)
		d->offered |= B(MQ);
	d->n_queues = 2 * n->max_pairs + 1;
	d->queue_size_max = NET_QUEUE_SIZE;
	memcpy(w_cfg.mac, n->net->mac, sizeof(w_cfg.mac));
	w_cfg.status = htole16(n->net->link_up ? VIRTIO_NET_S_LINK_UP : 0);
	w_cfg.max_virtqueue_pairs = htole16((uint16_t)n->max_pairs);
	w_cfg.mtu = htole16(n->net->mtu);
	d->config_len = CONFIG_LEN;
	memcpy(d->config, &w_cfg, CONFIG_LEN);
}

/* ---- while it runs ---- */

static void forget_frames(struct virtio_net *n)
{
	for (unsigned i = 0; i < n->max_pairs; i++) {
		struct net_rx *x = &n->pairs[i].rx;

		x->have = x->starved = false;
		x->n_chains = x->n_iov = 0;
		x->room_bytes = 0;
		n->pairs[i].tx.have = n->pairs[i].tx.stalled = false;
	}
}

static void net_start(struct virtio_dev *d)
{
	struct virtio_net *n = net_of(d);

	forget_frames(n);
	n->n_pairs = 1;
	n->offloads = with_needs(d->acked & GUEST_BITS);
	memcpy(n->mac, d->config, sizeof(n->mac));
	net_filter_reset(&n->filter);
	n->net->ops->purge(n->net);	/* it was sent to whoever was here before */
	net_guest_changed(n);
}

static bool net_stop(struct virtio_dev *d)
{
	struct virtio_net *n = net_of(d);

	forget_frames(n);
	n->n_pairs = 1;
	memcpy(d->config, n->net->mac, sizeof(n->mac));
	return true;
}

static bool net_serve(struct virtio_dev *d, unsigned q, unsigned budget)
{
	struct virtio_net *n = net_of(d);
	unsigned n_pairs = virtio_has(d, VIRTIO_NET_F_MQ) ? n->max_pairs : 1;

	if (q == 2 * n_pairs)
		return net_ctrl_serve(n, q, budget);
	if (q > 2 * n_pairs) {
		virtio_hold(d, q);	/* a queue that this guest has no name for */
		return false;
	}
	return q % 2 ? net_tx_serve(n, q / 2, budget) : net_rx_serve(n, q / 2, budget);
}

static void net_config_write(struct virtio_dev *d, unsigned off, const void *buf, unsigned len)
{
	/* Drivers before the control queue set their address so. */
	if (!virtio_is_legacy(d) || !qspan_inside(off, len, VD_NET_MAC_BYTES)) {
		vdev_fault(&d->v, VD_FAULT_BAD_REQUEST);
		return;
	}
	memcpy(d->config + off, buf, len);
	memcpy(net_of(d)->mac, d->config, VD_NET_MAC_BYTES);
}

static void net_link(struct vdev *v)
{
	struct virtio_net *n = Q_CONTAINER_OF(v, struct virtio_net, d.v);
	uint16_t w_status = htole16(n->net->link_up ? VIRTIO_NET_S_LINK_UP : 0);

	memcpy(n->d.config + offsetof(struct virtio_net_config, status), &w_status,
	       sizeof(w_status));
	virtio_config_changed(&n->d);
	net_tx_room(v);		/* what waited for room is lost now, or has it */
}

static void net_status(struct virtio_dev *d, char *buf, size_t buf_bytes)
{
	struct virtio_net *n = net_of(d);
	int len = snprintf(buf, buf_bytes,
			   "link=%s pairs=%u/%u tx=%" PRIu64 " tx_bytes=%" PRIu64
			   " tx_drop=%" PRIu64 " rx=%" PRIu64 " rx_bytes=%" PRIu64
			   " rx_drop=%" PRIu64 " rx_bad=%" PRIu64 " rx_filtered=%" PRIu64
			   " rx_cut=%" PRIu64 " rx_waits_for=%s ",
			   n->net->link_up ? "up" : "down", n->n_pairs, n->max_pairs, n->n_tx,
			   n->n_tx_bytes, n->n_tx_drop, n->n_rx, n->n_rx_bytes, n->n_rx_drop,
			   n->n_rx_bad, n->n_rx_filtered, n->n_rx_cut,
			   d->q[0].held ? "frames" : n->pairs[0].rx.starved ? "buffers" : "turn");

	if (len > 0 && (size_t)len < buf_bytes)
		n->net->ops->status(n->net, buf + len, buf_bytes - (size_t)len);
}

static void net_free(struct virtio_dev *d)
{
	struct virtio_net *n = net_of(d);

	if (n->net)
		n->net->ops->close(n->net);
	if (n->tx_timer)
		d->v.host->ops->timer_free(d->v.host, n->tx_timer);
	virtio_fini(d);
	for (unsigned i = 0; n->pairs && i < VD_NET_PAIRS_MAX; i++)
		free(n->pairs[i].rx.buf);
	free(n->pairs);
	free(n);
}

static const struct virtio_ops net_ops = {
	.id = VIRTIO_ID_NET,
	.pci_class = PCI_CLASS,
	.config_write = net_config_write,
	.start = net_start,
	.serve = net_serve,
	.stop = net_stop,
	.status = net_status,
	.free = net_free,
};

/* ---- making ---- */

/* tapdev NAME is tap:NAME by its old word. */
static const struct vd_arg *peer_arg(const struct vd_config *cfg)
{
	const struct vd_arg *a = vd_arg_find(cfg, "peer");

	return a ? a : vd_arg_find(cfg, "tapdev");
}

static int net_open(struct virtio_net *n, struct cf_errors *errs)
{
	const struct vd_config *cfg = n->d.v.cfg;
	const struct vd_arg *mac = vd_arg_find(cfg, "mac"), *mtu = vd_arg_find(cfg, "mtu");
	const struct vd_arg *queues = vd_arg_find(cfg, "queues");
	struct vd_host *h = n->d.v.host;
	const struct vd_net_cfg net_cfg = {
		.cfg = cfg,
		.peer = peer_arg(cfg),
		.features = peer_mask(cfg),
		.pairs = queues ? (unsigned)queues->num : 1,
		.mtu = mtu ? (uint16_t)mtu->num : 0,
		.mac = mac && !vd_net_mac_parse(mac->text, n->mac) ? n->mac : NULL,
		.link = net_link,
		.readable = net_rx_readable,
		.writable = net_tx_room,
	};
	int r;

	n->n_pairs = n->max_pairs = 1;
	n->tx_timer = h->ops->timer_new(h, net_tx_timeout, NULL);
	n->pairs = calloc(VD_NET_PAIRS_MAX, sizeof(*n->pairs));
	if (!n->tx_timer || !n->pairs)
		return -ENOMEM;
	r = h->ops->net_open(h, &net_cfg, errs, &n->net);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < n->net->pairs; i++)
		if (!(n->pairs[i].rx.buf = malloc(VD_NET_BUF_BYTES)))
			return -ENOMEM;
	describe(n);
	net_filter_reset(&n->filter);
	return virtio_attach(&n->d, errs);
}

static int net_create(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
		      struct vdev **ret)
{
	struct virtio_net *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	virtio_init(&n->d, &vd_virtio_net_type, cfg, host, &net_ops);
	r = net_open(n, errs);
	if (r < 0) {
		if (cf_errors_ok(errs))
			cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col, "%s: %s",
				     cfg->name, strerror(-r));
		net_free(&n->d);
		return r;
	}
	*ret = &n->d.v;
	return 0;
}

/* ---- configuration ---- */

static void check_peer(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *peer = vd_arg_find(cfg, "peer"), *tap = vd_arg_find(cfg, "tapdev");
	const struct vd_arg *a = peer ? peer : tap;
	struct vd_net_peer p;
	const char *why;

	if (!a) {
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "%s needs a peer: SYSTEM/NAME of another VM's virtio-net, tap:NAME, "
			     "bridge:NAME or /dev/vdevpeers/NAME", cfg->type);
		return;
	}
	if (peer && tap)
		cf_error_add(errs, CF_ERROR, tap->file, tap->line, tap->col,
			     "%s: tapdev is another word for peer tap:NAME: only one of the two",
			     cfg->type);
	else if (tap)
		cf_error_add(errs, CF_WARNING, tap->file, tap->line, tap->col,
			     "%s: tapdev is deprecated: say peer tap:%s", cfg->type, tap->text);
	why = peer ? vd_net_peer_parse(a->text, &p) : vd_net_tap_parse(a->text, &p);
	if (why)
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col, "%s: %s '%s': %s",
			     cfg->type, peer ? "peer" : "tapdev", a->text, why);
	else if (p.vdevpeers)
		cf_error_add(errs, CF_WARNING, a->file, a->line, a->col,
			     "%s: peer %s is the tap '%s' of this host: say peer tap:%s", cfg->type,
			     a->text, p.name, p.name);
}

static void check_features(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *a = vd_arg_find(cfg, "peerfeats");
	uint64_t f;

	if (!a)
		return;
	if (a->num & ~VD_NET_PEER_FEATURES) {
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: peerfeats 0x%" PRIx64 ": bits 0x%" PRIx64 " are no features of a "
			     "peer: the mask is of 0x%x (0: CSUM, 1: GUEST_CSUM, 6: GSO, 7-10: "
			     "GUEST_TSO4 TSO6 ECN UFO, 11-14: HOST_TSO4 TSO6 ECN UFO)", cfg->type,
			     a->num, (uint64_t)(a->num & ~VD_NET_PEER_FEATURES),
			     (unsigned)VD_NET_PEER_FEATURES);
		return;
	}
	f = with_needs(a->num);
	for (unsigned i = 0; i < Q_ARRAY_LEN(needs_rows); i++)
		if ((a->num & ~f) & VIRTIO_BIT(needs_rows[i].bit))
			cf_error_add(errs, CF_WARNING, a->file, a->line, a->col,
				     "%s: peerfeats 0x%" PRIx64 ": %s (bit %u) is not offered, "
				     "because it needs %s", cfg->type, a->num, needs_rows[i].name,
				     needs_rows[i].bit, needs_rows[i].needs_name);
}

static void check_range(const struct vd_config *cfg, const char *name, uint64_t min, uint64_t max,
			struct cf_errors *errs)
{
	const struct vd_arg *a = vd_arg_find(cfg, name);

	if (a && (a->num < min || a->num > max))
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: %s %" PRIu64 ": expected %" PRIu64 " to %" PRIu64, cfg->type,
			     name, a->num, min, max);
}

static void net_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *mac = vd_arg_find(cfg, "mac");
	uint8_t bytes[VD_NET_MAC_BYTES];
	const char *why = mac ? vd_net_mac_parse(mac->text, bytes) : NULL;

	virtio_check(cfg, errs);
	check_peer(cfg, errs);
	if (why)
		cf_error_add(errs, CF_ERROR, mac->file, mac->line, mac->col, "%s: mac '%s': %s",
			     cfg->type, mac->text, why);
	check_features(cfg, errs);
	check_range(cfg, "queues", 1, VD_NET_PAIRS_MAX, errs);
	check_range(cfg, "mtu", MTU_MIN, UINT16_MAX, errs);
}

static const struct vd_option net_options[] = {
	{ "peer", VD_ARG_STRING, false },
	{ "tapdev", VD_ARG_STRING, false },
	{ "peerfeats", VD_ARG_NUMBER, false },
	{ "mac", VD_ARG_STRING, false },
	{ "mtu", VD_ARG_NUMBER, false },
	{ "queues", VD_ARG_NUMBER, false },
	VIRTIO_OPTION_LEGACY,
	{ NULL },
};

const struct vd_type vd_virtio_net_type = {
	.name = "virtio-net",
	.flags = VD_PCI_CAPABLE,
	.default_space = VD_PCI,
	.len_bytes = 0x200,
	.max_irqs = 1,
	.options = net_options,
	.check = net_check,
	.create = net_create,
};
