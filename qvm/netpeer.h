/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of a virtio-net vdev, as `peer` names it: another VM's vdev (netpeer_vm.c) or a tap
 * of this host (netpeer_tap.c). Opened on the main thread, before the guest runs; then the ops of
 * struct vd_net, with the vdev's lock held.
 */
#pragma once

#include <pthread.h>

#include "vdevs/vdev.h"
#include "vdevs/vdnet.h"

struct loop;

/* Whose it is. Borrowed while the peer is open. */
struct netpeer_host {
	struct loop *loop;
	pthread_mutex_t *lock;	/* the vdev's */
	struct vdev **v;	/* NULL until it is made: it is not called before */
	const char *run_dir;	/* "": there is none */
	const char *system;
	bool system_given;	/* without a name of its own a VM cannot be found */
};

/* 0, or -errno with a sentence in @errs. */
int netpeer_open(const struct netpeer_host *h, const struct vd_net_cfg *cfg,
		 struct cf_errors *errs, struct vd_net **ret);

/* For the two kinds: says in @errs, where the peer of @cfg stands, what is wrong. Returns @err. */
int np_refuse(const struct vd_net_cfg *cfg, struct cf_errors *errs, int err, const char *fmt, ...)
	Q_PRINTF(4, 5);

/* Stable, of the two names: the same at every start, locally administered, not a group's. */
void netpeer_mac(const char *system, const char *name, uint8_t ret[VD_NET_MAC_BYTES]);

/* The two kinds, for netpeer_open() and tests. */
int netpeer_vm_open(const struct netpeer_host *h, const struct vd_net_cfg *cfg,
		    const struct vd_net_peer *peer, struct cf_errors *errs, struct vd_net **ret);
int netpeer_tap_open(const struct netpeer_host *h, const struct vd_net_cfg *cfg,
		     const struct vd_net_peer *peer, struct cf_errors *errs, struct vd_net **ret);
