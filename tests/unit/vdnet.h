/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer of a network vdev for tests: frames go in and out by hand, room and link are what the test
 * says. One thread, with vdharness.
 */
#pragma once

#include "tests/unit/vdharness.h"
#include "vdevs/vdnet.h"

#define VDN_FRAMES 512u

struct vdn_frame {
	uint8_t *data;	/* owned; header first */
	uint32_t len;
	unsigned pair;
};

struct vdn {
	struct vd_net n;	/* first. features: set before vdh_create() */
	struct vd_net_cfg cfg;
	struct vdh *h;
	bool is_open;
	int open_err;		/* what net_open() says instead */
	unsigned room;		/* frames that send() still takes */
	struct vdn_frame in[VDN_FRAMES], out[VDN_FRAMES];
	unsigned n_in, n_out;
	bool listening[VD_NET_PAIRS_MAX];
	unsigned n_purges, n_flushes;
	uint64_t guest_features;
	unsigned guest_pairs;
};

/* All features, one pair, link up, room for everything. */
void vdn_init(struct vdn *n, struct vdh *h);
/* After vdh_fini(). */
void vdn_fini(struct vdn *n);
/* A frame for the guest, its header first; the vdev is told when it listens. */
void vdn_put(struct vdn *n, unsigned pair, const void *hdr, const void *frame, uint32_t frame_len);
/* Room for @n more frames: the vdev is told. */
void vdn_make_room(struct vdn *n, unsigned frames);
void vdn_set_link(struct vdn *n, bool up);
/* Forgets what was sent. */
void vdn_clear(struct vdn *n);
