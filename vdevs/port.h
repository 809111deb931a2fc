/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vdev's side of a host stream: reads and writes that never wait, and a call when it can go on.
 * All calls with the vdev's lock held.
 */
#pragma once

#include <errno.h>
#include <sys/uio.h>

#include "vdevs/vdev.h"

enum vd_port_event {
	VD_PORT_IN,		/* after vd_port_read() gave nothing: there is something */
	VD_PORT_OUT,		/* after vd_port_write() was full: there is room */
	VD_PORT_CHANGED,	/* who is there: whoever waited for IN or OUT tries again */
};

struct vd_port {
	struct vdev *v;
	void (*event)(struct vd_port *p, enum vd_port_event e);
	void *arg;			/* the user's */
	struct vd_stream *stream;	/* the host's */
	int in_fd, out_fd;		/* borrowed; -1 = none now, out_fd -EAGAIN = none yet */
	struct vd_watch *in_watch, *out_watch;
};

/* A value on which vd_port_close() is safe. */
#define VD_PORT_NULL ((struct vd_port){ .in_fd = -1, .out_fd = -1 })

/*
 * @name: as struct vd_stream_cfg.port. @v has its cfg and host. @event: on the I/O thread, or
 * CHANGED out of read and write. 0 or -errno with a sentence in @errs.
 */
int vd_port_open(struct vd_port *p, struct vdev *v, const char *name,
		 void (*event)(struct vd_port *p, enum vd_port_event e), void *arg,
		 struct cf_errors *errs);
void vd_port_close(struct vd_port *p);

/* Somebody is there, in one direction at least. */
static inline bool vd_port_has(const struct vd_port *p)
{
	return p->in_fd >= 0 || p->out_fd >= 0;
}
static inline bool vd_port_has_out(const struct vd_port *p)
{
	return p->out_fd >= 0;
}
/* Nobody is there to write to, but somebody is waited for who will want it. */
static inline bool vd_port_awaits(const struct vd_port *p)
{
	return p->out_fd == -EAGAIN;
}

/* VD_PORT_IN as soon as there is something to read. */
void vd_port_want(struct vd_port *p);
/* Bytes read; 0 = none now. */
size_t vd_port_read(struct vd_port *p, const struct iovec *iov, unsigned n_iov);
/* Bytes taken; fewer than there are when it is full, 0 when nobody is there. */
size_t vd_port_write(struct vd_port *p, const struct iovec *iov, unsigned n_iov);
/* The guest is done with it: who is connected learns it. Nothing for what is no connection. */
void vd_port_hang_up(struct vd_port *p);
