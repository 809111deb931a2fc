/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device whose queues are served by a vhost-user back end in another process: kicks and
 * interrupts go straight between guest and back end (ioeventfd in, irqfd out), and this process is
 * not on the data path. What the device is (disk, sound, …) says a struct virtio_vhu_kind.
 *
 *   state       entered when              leaves on                        deadline   held
 *   LOST        hang-up, fault, late      next attempt: CONNECTING         10 ms to   in-flight
 *               answer                                                     1 s,       region
 *                                                                          doubling
 *   CONNECTING  socket connected          handshake done: READY,           2 s        + socket
 *                                         else LOST
 *   READY       back end known, no        guest is RUNNING: STARTING       none       + watch
 *               queue runs
 *   STARTING    guest's DRIVER_OK, back   queues run: RUNNING,             2 s        + memory,
 *               end is back, vector       else LOST                                   rings
 *               moved
 *   RUNNING     back end serves           guest's reset: STOPPING          none       all
 *   STOPPING    guest's reset             queues stopped: READY,           1 s an     all
 *                                         else LOST                        answer,
 *                                                                          2 s in all
 *
 * Everything but LOST leaves to LOST when the back end hangs up. Attempts go on without limit; the
 * guest sees a stall. What was in flight is replayed by the next back end from the in-flight
 * region, which is kept here until the guest resets. Work that waits runs on the I/O thread without
 * the vdev's lock, so that no vCPU waits with it.
 */
#pragma once

#include "vdevs/virtio.h"

struct virtio_vhu_kind {
	struct virtio_ops ops;	/* id and pci_class; the rest is filled here */
	/* device features (bits 0-23, 50-63) that are passed on when the back end has them */
	uint64_t features;
	unsigned config_len;	/* of config space, all of it the back end's */
	uint32_t queue_size_max;
	unsigned n_queues;	/* without mq_feature */
	/*
	 * More queues: their number is the le16 at mq_off of config space; 0 = never. Of what the
	 * back end has, as many as option "queues" says, or one a vCPU.
	 */
	uint64_t mq_feature;
	unsigned mq_off;
};

/* For a type's create(): @hostdev names the back end. Waits up to 5 s for it to be there. */
int virtio_vhu_create(const struct vd_type *type, const struct virtio_vhu_kind *kind,
		      const struct vd_config *cfg, const struct vd_arg *hostdev,
		      struct vd_host *host, struct cf_errors *errs, struct vdev **ret);
