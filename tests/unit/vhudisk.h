/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-blk behind a back end of ours, and the driver of its first queue: for the tests of
 * vdevs/virtio_vhu.c. Requests stand in slots, each with a header, a status and 4096 bytes.
 */
#pragma once

#include <linux/virtio_blk.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vdbackend.h"
#include "tests/unit/vddriver.h"
#include "vdevs/virtio.h"

#define VHD_RING gpa(VDH_RAM_GPA)
#define VHD_BUF (VDH_RAM_GPA + 0x100000)
#define VHD_SLOT_BYTES 0x2000u
#define VHD_WAIT_NS (5 * Q_NSEC_PER_SEC)

struct vhd {
	struct vdh h;
	struct vdd d;
	struct qdriver q;
	struct vdb b;
	bool live;
};

/* Options may be added between the two. */
void vhd_new(struct vhd *k);
void vhd_open(struct vhd *k, bool mmio);
void vhd_close(struct vhd *k);
struct virtio_dev *vhd_virtio(struct vhd *k);

/* Whether the vdev says of itself that its back end is in that state; until it is; until @count has
 * come to @want. */
bool vhd_in_state(struct vhd *k, const char *state);
void vhd_wait_state(struct vhd *k, const char *state);
void vhd_wait_count(struct vhd *k, atomic_uint *count, unsigned want);
/* A driver with @features and a queue of 64; the back end runs. */
void vhd_live(struct vhd *k, uint64_t features);

uint64_t vhd_slot(unsigned n);	/* where it stands in the guest's memory */
void vhd_queue(struct vhd *k, unsigned n, uint32_t type, uint64_t sector);
void vhd_kick(struct vhd *k);
/* Waits for @n answers; each slot once and with success. */
void vhd_reap(struct vhd *k, unsigned n);
void vhd_fill(struct vhd *k, unsigned n, uint8_t byte);
