/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a network vdev may ask of its host: frames to and from whatever `peer` names. The host makes
 * a struct vd_net (net_open() of vdhost.h); the vdev calls its ops, and is told by callbacks what
 * happens on the other side. All with the vdev's lock held; none of it blocks.
 *
 * A frame travels with a virtio_net_hdr in front (virtio 1.2, 5.1.6: VD_NET_HDR_BYTES, little-
 * endian, num_buffers of no meaning). What comes from the host may be a hostile guest's: the header
 * and the frame are checked by who receives them.
 */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include "lib/cferr.h"
#include "lib/qdef.h"

struct vdev;
struct vd_arg;
struct vd_config;

#define VD_NET_HDR_BYTES 12u
#define VD_NET_FRAME_MIN 14u	/* an Ethernet header */
#define VD_NET_FRAME_MAX 65600u /* 64 KiB of IPv6 payload and every header before it */
#define VD_NET_BUF_BYTES (VD_NET_HDR_BYTES + VD_NET_FRAME_MAX)
#define VD_NET_PAIRS_MAX 8u
#define VD_NET_MAC_BYTES 6u

/*
 * The feature bits that are about a peer: CSUM, GUEST_CSUM, the legacy GSO, GUEST_TSO4 to HOST_UFO.
 */
#define VD_NET_PEER_FEATURES 0x7fc3ull
/* Without peerfeats: all but fragmentation of UDP, which no peer can do in another's stead. */
#define VD_NET_PEER_DEFAULT (VD_NET_PEER_FEATURES & ~0x4400ull)

struct vd_net;

struct vd_net_ops {
	/*
	 * Sends a frame of @len_bytes with its header through queue pair @pair (of n->pairs). 0: it
	 * is copied; -EAGAIN: no room now, writable() follows; another -errno: it is lost.
	 */
	int (*send)(struct vd_net *n, unsigned pair, const struct iovec *iov, unsigned n_iov,
		    uint32_t len_bytes);
	/*
	 * Takes the next frame with its header into @buf (VD_NET_BUF_BYTES): its length; 0: there
	 * is none; -errno: there was one, and it is of no use.
	 */
	ssize_t (*recv)(struct vd_net *n, unsigned pair, void *buf);
	/* Asks for readable(): true when there is something already. */
	bool (*listen)(struct vd_net *n, unsigned pair);
	/* After a batch of send() or recv(): the other side learns of it. */
	void (*flush)(struct vd_net *n);
	/* Throws away what has come. */
	void (*purge)(struct vd_net *n);
	/* What the guest takes now (GUEST_* of VD_NET_PEER_FEATURES), and the pairs it uses. */
	void (*guest)(struct vd_net *n, uint64_t features, unsigned pairs);
	/* key=value words. */
	void (*status)(struct vd_net *n, char *buf, size_t buf_bytes);
	void (*close)(struct vd_net *n);
};

/* Made by the host, read by the vdev. */
struct vd_net {
	const struct vd_net_ops *ops;
	uint64_t features;	/* of VD_NET_PEER_FEATURES: what this peer can do, unmasked */
	unsigned pairs;		/* as asked for, or fewer */
	uint16_t mtu;
	uint8_t mac[VD_NET_MAC_BYTES]; /* as asked for, or made of the names */
	bool link_up;
};

struct vd_net_cfg {
	const struct vd_config *cfg;
	const struct vd_arg *peer;
	uint64_t features;	/* of VD_NET_PEER_FEATURES: the mask of the configuration */
	unsigned pairs;		/* 1..VD_NET_PAIRS_MAX */
	uint16_t mtu;		/* 0 = the peer's */
	const uint8_t *mac;	/* NULL = stable, made by the host */
	/* I/O thread. n->link_up changed. */
	void (*link)(struct vdev *v);
	/* There is something to recv(): again and again until it is taken, or once after
	 * listen(). */
	void (*readable)(struct vdev *v, unsigned pair);
	/* Where send() said -EAGAIN there is room again. */
	void (*writable)(struct vdev *v);
};

/* ---- what the text of peer means (vdnet.c) ---- */

#define VD_NET_NAME_BYTES 64u

enum vd_net_form {
	VD_NET_NONE,		/* not understood */
	VD_NET_VM,		/* another VM's vdev: system and name */
	VD_NET_TAP,		/* name is a tap of the host */
	VD_NET_BRIDGE,		/* name is a bridge of the host */
};
struct vd_net_peer {
	enum vd_net_form form;
	bool vdevpeers;		/* it was /dev/vdevpeers/NAME */
	char system[VD_NET_NAME_BYTES], name[VD_NET_NAME_BYTES];
};
/*
 * "SYSTEM/NAME" (also behind /dev/qvm/ or any path that ends in /qvm/), "tap:NAME", "bridge:NAME",
 * "/dev/vdevpeers/NAME". NULL, or what is wrong with it.
 */
const char *vd_net_peer_parse(const char *text, struct vd_net_peer *ret);
/* The argument of tapdev: the name of a tap alone. */
const char *vd_net_tap_parse(const char *text, struct vd_net_peer *ret);
/* Six bytes with ':' or '-' between them, or twelve digits. NULL, or what is wrong with it. */
const char *vd_net_mac_parse(const char *text, uint8_t ret_mac[VD_NET_MAC_BYTES]);
