/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user block back end in a thread, for tests of the front end's device: a disk in memory
 * that outlives its instances. It can hold requests, die with them, fall silent, and come back as
 * somebody else.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "lib/qblk.h"
#include "lib/qvhu_be.h"
#include "tests/unit/vdharness.h"

#define VDB_DISK_BYTES (1u << 20)
#define VDB_QUEUES 2u

struct vdb {
	/* Set between instances. */
	uint64_t features, protocol;
	uint64_t capacity_bytes;	/* at most VDB_DISK_BYTES */
	unsigned n_queues;
	bool absent;			/* connect gives -ECONNREFUSED */
	uint64_t absent_until_ns;
	/* Any time. */
	atomic_bool hold;		/* requests are taken and kept */
	atomic_bool silent;		/* messages are not read */
	atomic_bool mute;		/* answers are not signalled */
	atomic_bool blame;		/* the next chain breaks the queue, for this back end */
	atomic_uint n_served, n_taken, n_recovered, n_starts, n_stops;
	unsigned n_connects;		/* attempts, of the front end's thread */
	uint8_t disk[VDB_DISK_BYTES];
	/* The instance's. */
	pthread_t thread;
	bool alive;
	int sock_fd, stop_fd, rubbish_fd;
	struct qvhu_be *be;
	struct vdb_queue {
		bool on;
		struct qring ring;
		int kick_fd, call_fd, err_fd;
		uint16_t held[256];
		unsigned n_held;
	} q[VDB_QUEUES];
};

void vdb_init(struct vdb *b);
/* For vdh.backend; vdh.backend_ctx is the vdb. A new instance ends the old one. */
int vdb_connect(struct vdh *h);
/* Ends the instance at once: what it held is not answered. */
void vdb_kill(struct vdb *b);
/* Says something that nobody asked for. */
void vdb_rubbish(struct vdb *b);
