/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vhost-user device says to its back end, in pieces that wait for answers: run without the
 * vdev's lock, on copies of what the device knows. One job at a time a device. Waits: a whole job
 * timeout_ms, each answer half of it.
 */
#pragma once

#include "lib/qvhu_fe.h"
#include "vdevs/virtio.h"

#define VHU_JOB_MS 2000u	/* where the configuration says nothing */

struct vhu_queue {
	bool on;		/* enabled by the guest */
	bool again;		/* for vhu_job_recall(): its call descriptor is another */
	struct qring_cfg ring;
	int kick_fd, call_fd;	/* borrowed */
};

struct vhu_job {
	int r;			/* QVHU_* or -errno: what it came to */
	unsigned timeout_ms;	/* 0: VHU_JOB_MS */
	struct qvhu_fe *fe;	/* borrowed, but owned by the result of vhu_job_connect() */
	/* connect: in and out */
	int sock_fd;		/* taken */
	unsigned config_len;
	uint8_t config[VIRTIO_CONFIG_BYTES];
	unsigned n_queues_max;
	/* start */
	const struct qmem *mem;
	uint64_t features;
	unsigned n_queues;
	uint32_t queue_size_max;
	struct vhu_queue q[VIRTIO_QUEUES_MAX];
	struct qvhu_inflight inflight;
	int err_fd;
	int inflight_fd;	/* in and out: made when -1 and the back end can */
	uint64_t deadline_ns;
};

/* Handshake on sock_fd; config space and number of queues are read. */
void vhu_job_connect(void *job);
/*
 * Features, in-flight region, memory, then each queue that is on, from its used index on: what a
 * fresh ring and one that a lost back end left have in common.
 */
void vhu_job_start(void *job);
/* Stops each queue that is on. */
void vhu_job_stop(void *job);
/* Stops and starts the queues marked again. */
void vhu_job_recall(void *job);
