/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host streams: what stands behind a serial line or a console port. A stream has up to two
 * descriptors, which may be one, and which may come and go: a client of a socket, a device that is
 * waited for (`delayed`). Part of struct vd_host_ops, under its rules.
 */
#pragma once

#include "lib/cferr.h"
#include "lib/qdef.h"

struct vdev;
struct vd_host;
struct vd_config;
struct vd_stream;	/* the host's handle */

struct vd_stream_cfg {
	const struct vd_config *cfg;
	/* NULL: what the hostdev options say. Else what stands behind "NAME," in the port
	 * options of that name. */
	const char *port;
	/* stream_fd() gives something that it did not give before. I/O thread. */
	void (*changed)(struct vdev *v, void *arg);
	void *arg;
};

struct vd_stream_ops {
	/* 0 or -errno with a sentence in @errs. */
	int (*open)(struct vd_host *h, const struct vd_stream_cfg *cfg, struct cf_errors *errs,
		    struct vd_stream **ret);
	/* To read from or (@out) write to: nonblocking, borrowed until drop() or close(). -1: there
	 * is none now. -EAGAIN: none yet, it is waited for. */
	int (*fd)(struct vd_host *h, struct vd_stream *s, bool out);
	/* That direction ended: end of file or an error. Of a connection both directions are over
	 * then, and the next one is waited for. Nothing may watch the descriptor any more. */
	void (*drop)(struct vd_host *h, struct vd_stream *s, bool out);
	/* The guest is done with it: a connection ends, anything else stays as it is. As drop(). */
	void (*hang_up)(struct vd_host *h, struct vd_stream *s);
	/* Columns and rows of the terminal that it is, 0 while they are not known; false when it is
	 * none. */
	bool (*size)(struct vd_host *h, struct vd_stream *s, uint16_t ret[2]);
	void (*close)(struct vd_host *h, struct vd_stream *s);
};

/* "forever" or a number of seconds, at most VD_DELAY_MAX_S: in ns, UINT64_MAX for forever. */
#define VD_DELAY_MAX_S 1000000u
bool vd_delay_parse(const char *text, uint64_t *ret_ns);
