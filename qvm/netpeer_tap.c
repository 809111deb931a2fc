/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer that is a tap of this host: one that exists, or one that is made for as long as the VM
 * runs, into a bridge if so configured. The kernel does with frames what the header asks, and the
 * guest's offloads are told to it. Opened on the main thread, then the I/O thread; the vdev's lock
 * is held.
 *
 * A queue is watched while somebody listens. When a frame comes to a guest that does not take it,
 * the watch is taken away until the next listen(): what comes meanwhile waits in the kernel, or
 * is dropped there. Invariant: q[i].watch is not NULL while q[i].listening.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/loop.h"
#include "qvm/netpeer.h"

#define TUN_DEVICE "/dev/net/tun"
#define MTU_DEFAULT 1500u
#define PURGE_MAX 1024u		/* frames: what the kernel keeps for a tap */
#define MADE_NAME "qvm%d"	/* the kernel counts */
#define F(name) (1ull << VIRTIO_NET_F_##name)

struct tap;
struct tap_queue {
	struct tap *t;
	unsigned i;
	int fd;
	struct loop_watch *watch;
	bool listening;
};

struct tap {
	struct vd_net n;	/* first */
	struct netpeer_host host;
	struct vd_net_cfg cfg;
	char name[IFNAMSIZ];
	unsigned active;	/* queues that the kernel uses */
	struct tap_queue q[VD_NET_PAIRS_MAX];
};

static struct tap *tap_of(struct vd_net *n)
{
	return Q_CONTAINER_OF(n, struct tap, n);
}

/* ---- ops ---- */

static int tap_send(struct vd_net *n, unsigned pair, const struct iovec *iov, unsigned n_iov,
		    uint32_t len)
{
	/* What the kernel has no room for is lost, as on any wire. */
	if (writev(tap_of(n)->q[pair].fd, iov, (int)n_iov) >= 0)
		return 0;
	return errno == EAGAIN ? -ENOBUFS : -errno;
}

static ssize_t tap_recv(struct vd_net *n, unsigned pair, void *buf)
{
	ssize_t len = read(tap_of(n)->q[pair].fd, buf, VD_NET_BUF_BYTES);

	if (len >= 0)
		return len;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static void tap_readable(void *owner, void *arg)
{
	struct tap_queue *q = arg;
	struct tap *t = q->t;

	if (!*t->host.v)
		return;
	q->listening = false;
	t->cfg.readable(*t->host.v, q->i);
	if (q->listening)
		return;
	loop_unwatch(q->watch);	/* nobody takes it now */
	q->watch = NULL;
}

static bool tap_listen(struct vd_net *n, unsigned pair)
{
	struct tap *t = tap_of(n);
	struct tap_queue *q = &t->q[pair];

	if (pair >= t->active)
		return false;
	if (!q->watch)
		q->watch = loop_watch(t->host.loop, t->host.lock, q->fd, tap_readable, t, q);
	q->listening = q->watch;
	return false;	/* the loop tells of what is there already */
}

static void tap_flush(struct vd_net *n)
{
}

static void tap_purge(struct vd_net *n)
{
	struct tap *t = tap_of(n);
	char part[64];	/* the rest of a frame goes with it */

	for (unsigned i = 0; i < n->pairs; i++)
		for (unsigned k = 0; k < PURGE_MAX && read(t->q[i].fd, part, sizeof(part)) > 0; k++)
			continue;
}

static unsigned tun_offloads(uint64_t f)
{
	return (f & F(GUEST_CSUM) ? TUN_F_CSUM : 0) | (f & F(GUEST_TSO4) ? TUN_F_TSO4 : 0) |
	       (f & F(GUEST_TSO6) ? TUN_F_TSO6 : 0) | (f & F(GUEST_ECN) ? TUN_F_TSO_ECN : 0) |
	       (f & F(GUEST_UFO) ? TUN_F_UFO : 0);
}

static void use_queues(struct tap *t, unsigned n)
{
	for (unsigned i = 0; t->n.pairs > 1 && i < t->n.pairs; i++) {
		struct ifreq r = { .ifr_flags = i < n ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

		if ((i < n) != (i < t->active))
			ioctl(t->q[i].fd, TUNSETQUEUE, &r);
	}
	t->active = n;
}

static void tap_guest(struct vd_net *n, uint64_t features, unsigned pairs)
{
	struct tap *t = tap_of(n);

	/* Refused: frames come as they did, and the vdev finishes what the guest cannot take. */
	ioctl(t->q[0].fd, TUNSETOFFLOAD, tun_offloads(features));
	use_queues(t, Q_MIN(pairs, n->pairs));
}

static void tap_status(struct vd_net *n, char *buf, size_t buf_bytes)
{
	snprintf(buf, buf_bytes, "peer=tap:%s", tap_of(n)->name);
}

static void tap_close(struct vd_net *n)
{
	struct tap *t = tap_of(n);

	for (unsigned i = 0; i < VD_NET_PAIRS_MAX; i++) {
		loop_unwatch(t->q[i].watch);
		qfd_close(&t->q[i].fd);
	}
	free(t);
}

static const struct vd_net_ops tap_ops = {
	.send = tap_send,
	.recv = tap_recv,
	.listen = tap_listen,
	.flush = tap_flush,
	.purge = tap_purge,
	.guest = tap_guest,
	.status = tap_status,
	.close = tap_close,
};

/* ---- opening ---- */

static int attach_failed(const struct tap *t, struct cf_errors *errs, int err, bool there)
{
	switch (-err) {
	case EPERM:
		if (there)
			return np_refuse(&t->cfg, errs, err,
					 "the tap %s is another user's: ip tuntap add dev %s mode "
					 "tap user USER makes one that is yours", t->name, t->name);
		return np_refuse(&t->cfg, errs, err,
				 "there is no tap %s, and making one needs CAP_NET_ADMIN: let root "
				 "say ip tuntap add dev %s mode tap user USER", t->name, t->name);
	case EBUSY:
		return np_refuse(&t->cfg, errs, err, "the tap %s is in use by another program",
				 t->name);
	case EINVAL:
		return there ? np_refuse(&t->cfg, errs, err,
					 "%s is no tap, or one with%s several queues: "
					 "queues here and multi_queue there must agree",
					 t->name, t->n.pairs > 1 ? "out" : "") :
			       np_refuse(&t->cfg, errs, err, "the tap %s cannot be made", t->name);
	default:
		return np_refuse(&t->cfg, errs, err, "the tap %s cannot be opened: %s", t->name,
				 strerrordesc_np(-err));
	}
}

static int tun_open(const struct tap *t, struct cf_errors *errs)
{
	int fd = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	return np_refuse(&t->cfg, errs, -errno, errno == ENOENT || errno == ENODEV ?
			 TUN_DEVICE " is not there: load the module tun (%s)" :
			 TUN_DEVICE " cannot be opened: %s", strerrordesc_np(errno));
}

/* One queue on the interface @t->name, which becomes its name when it is made. */
static int attach(struct tap *t, int fd, bool multi)
{
	struct ifreq r = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
						(multi ? IFF_MULTI_QUEUE : 0)) };
	const int hdr_bytes = VD_NET_HDR_BYTES, le = 1;

	memcpy(r.ifr_name, t->name, sizeof(r.ifr_name));
	if (ioctl(fd, TUNSETIFF, &r) < 0)
		return -errno;
	memcpy(t->name, r.ifr_name, sizeof(t->name));
	t->name[sizeof(t->name) - 1] = 0;
	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr_bytes) < 0 || ioctl(fd, TUNSETVNETLE, &le) < 0)
		return -errno;
	return 0;
}

static int attach_all(struct tap *t, bool there, struct cf_errors *errs)
{
	bool multi = t->n.pairs > 1;

	for (unsigned i = 0; i < t->n.pairs; i++) {
		t->q[i].fd = tun_open(t, errs);
		if (t->q[i].fd < 0)
			return t->q[i].fd;
		int r = attach(t, t->q[i].fd, multi);
		/* One that was made for several queues wants to hear of it even from one. */
		if (r == -EINVAL && !multi && there)
			r = attach(t, t->q[i].fd, true);
		if (r < 0)
			return attach_failed(t, errs, r, there);
	}
	t->active = t->n.pairs;
	return 0;
}

/* A request about the interface. 0 or -errno. */
static int about(const struct tap *t, unsigned long request, struct ifreq *r)
{
	QCLEAN(qfd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	memcpy(r->ifr_name, t->name, sizeof(r->ifr_name));
	return ioctl(fd, request, r) < 0 ? -errno : 0;
}

static int set_up(const struct tap *t)
{
	struct ifreq r = { 0 };
	int e = about(t, SIOCGIFFLAGS, &r);

	r.ifr_flags |= IFF_UP;
	return e < 0 ? e : about(t, SIOCSIFFLAGS, &r);
}

static int put_into(const struct tap *t, const char *bridge, struct cf_errors *errs)
{
	QCLEAN(qfd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { .ifr_ifindex = (int)if_nametoindex(t->name) };
	int e = fd < 0 ? -errno : 0;

	memcpy(r.ifr_name, bridge, strlen(bridge) + 1);
	if (e == 0 && ioctl(fd, SIOCBRADDIF, &r) < 0)
		e = -errno;
	if (e == -EOPNOTSUPP)
		return np_refuse(&t->cfg, errs, e, "%s is no bridge", bridge);
	if (e == -EPERM)
		return np_refuse(&t->cfg, errs, e,
				 "putting a tap into the bridge %s needs CAP_NET_ADMIN", bridge);
	return e < 0 ? np_refuse(&t->cfg, errs, e, "no tap can be put into the bridge %s: %s",
				 bridge, strerrordesc_np(-e)) :
		       0;
}

static void describe(struct tap *t)
{
	const uint64_t all = F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN);
	struct ifreq r = { 0 };

	t->n.link_up = true;
	t->n.mtu = t->cfg.mtu ? t->cfg.mtu : MTU_DEFAULT;
	if (!t->cfg.mtu && about(t, SIOCGIFMTU, &r) == 0 && r.ifr_mtu > 0 &&
	    r.ifr_mtu <= UINT16_MAX)
		t->n.mtu = (uint16_t)r.ifr_mtu;
	/* What the guest sends the kernel takes in every form; what it may be sent is asked. */
	t->n.features = F(CSUM) | F(GSO) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN) | F(HOST_UFO);
	if (ioctl(t->q[0].fd, TUNSETOFFLOAD, tun_offloads(all | F(GUEST_UFO))) == 0)
		t->n.features |= all | F(GUEST_UFO);
	else if (ioctl(t->q[0].fd, TUNSETOFFLOAD, tun_offloads(all)) == 0)
		t->n.features |= all;
	ioctl(t->q[0].fd, TUNSETOFFLOAD, 0);
}

static int open_it(struct tap *t, const struct vd_net_peer *peer, struct cf_errors *errs)
{
	bool bridge = peer->form == VD_NET_BRIDGE, there;
	int r;

	if (bridge && !if_nametoindex(peer->name))
		return np_refuse(&t->cfg, errs, -ENODEV,
				 "there is no bridge %s: ip link add %s type bridge "
				 "makes one",
				 peer->name, peer->name);
	snprintf(t->name, sizeof(t->name), "%.*s", IFNAMSIZ - 1, bridge ? MADE_NAME : peer->name);
	there = !bridge && if_nametoindex(t->name);
	r = attach_all(t, there, errs);
	if (r == 0 && bridge)
		r = put_into(t, peer->name, errs);
	/* One that was there is as its owner wants it. */
	if (r == 0 && !there && (r = set_up(t)) < 0)
		np_refuse(&t->cfg, errs, r, "the tap %s cannot be brought up: %s", t->name,
			  strerrordesc_np(-r));
	return r;
}

int netpeer_tap_open(const struct netpeer_host *h, const struct vd_net_cfg *cfg,
		     const struct vd_net_peer *peer, struct cf_errors *errs, struct vd_net **ret)
{
	struct tap *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	*t = (struct tap){ .n = { .ops = &tap_ops, .pairs = cfg->pairs }, .host = *h, .cfg = *cfg };
	for (unsigned i = 0; i < VD_NET_PAIRS_MAX; i++)
		t->q[i] = (struct tap_queue){ .t = t, .i = i, .fd = -1 };
	if (cfg->mac)
		memcpy(t->n.mac, cfg->mac, VD_NET_MAC_BYTES);
	else
		netpeer_mac(h->system, cfg->cfg->name, t->n.mac);
	r = open_it(t, peer, errs);
	if (r < 0) {
		tap_close(&t->n);
		return r;
	}
	describe(t);
	*ret = &t->n;
	return 0;
}
