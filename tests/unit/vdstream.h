/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host streams for the test harness. What hostdev means is con_in_fd and con_out_fd of struct vdh,
 * which stay the test's; a named port is a socket without a client at first. Any of them can be
 * given descriptors later.
 */
#pragma once

#include "tests/unit/vdharness.h"

struct vd_stream {
	struct vd_stream_cfg cfg;
	int fds[2];			/* in, out; -1 none, out: -EAGAIN none yet */
	bool is_connection;		/* both are one descriptor, and ours to close */
	bool is_tty;
	uint16_t size[2];
	unsigned n_hangups;
};

/* The vdev's stream of that name (NULL: of hostdev), or NULL. */
struct vd_stream *vdh_stream(struct vdh *h, const char *port);
/* A client comes, or what was waited for. As a connection it takes the descriptor. */
void vdh_stream_give(struct vdh *h, struct vd_stream *s, int in_fd, int out_fd,
		     bool is_connection);

extern const struct vd_stream_ops vdh_stream_ops;
