/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of a console: a byte stream out that never makes a vCPU wait, and one in that is
 * read only as far as the guest has room.
 *
 * Out: bytes are written at once, or after the collecting time of `batch`. What the host does not
 * take stays in a buffer of VD_CONSOLE_OUT_BYTES until it does; when that is full, the newest bytes
 * are dropped and counted (the log before a hang matters more than the flood after). The same for
 * what comes while a host device is waited for (`delayed`). Where nobody is and nobody is waited
 * for, output is lost. In: what the guest has no room for is not read, so that the sender blocks,
 * not we.
 *
 * All calls with the vdev's lock held.
 */
#pragma once

#include "vdevs/port.h"

#define VD_CONSOLE_OUT_BYTES 65536u
#define VD_CONSOLE_IN_BYTES 256u

struct vd_console {
	struct vd_port port;
	void (*input)(struct vdev *v);		/* something came in (I/O thread); or */
	void (*changed)(struct vd_console *c);	/* as of vd_console_init_out() */
	void (*ready)(struct vd_console *c);
	struct vd_timer *timer;			/* of `batch` */
	bool armed;
	uint64_t batch_ns;
	uint64_t dropped;			/* output bytes */
	unsigned out_head, out_len, in_head, in_len;
	char *out;				/* VD_CONSOLE_OUT_BYTES, owned */
	uint8_t in[VD_CONSOLE_IN_BYTES];
};

/* What every serial vdev takes: put into its option table. */
#define VD_CONSOLE_OPTIONS                                                                         \
	{ "hostdev", VD_ARG_STRING, true }, { "batch", VD_ARG_NUMBER, false },                     \
	{ "delayed", VD_ARG_STRING, false }
void vd_console_check(const struct vd_config *cfg, struct cf_errors *errs);
/* A hostdev as it stands behind the option, or behind a port's name. */
void vd_console_check_hostdev(const struct vd_config *cfg, const struct vd_arg *a,
			      const char *text, struct cf_errors *errs);

/* @v has its cfg and host. 0 or -errno with a sentence in @errs; fini is due in both cases. */
int vd_console_init(struct vd_console *c, struct vdev *v, void (*input)(struct vdev *v),
		    struct cf_errors *errs);
/*
 * The same for who reads c->port itself: @ready says that there is something again, @changed that
 * who is there changed (also out of a read or write).
 */
int vd_console_init_out(struct vd_console *c, struct vdev *v,
			void (*ready)(struct vd_console *c), void (*changed)(struct vd_console *c),
			struct cf_errors *errs);
void vd_console_fini(struct vd_console *c);

void vd_console_write(struct vd_console *c, const void *buf, size_t len);
static inline void vd_console_put(struct vd_console *c, uint8_t byte)
{
	vd_console_write(c, &byte, 1);
}
/* Takes one byte that came in; false when there is none. */
bool vd_console_get(struct vd_console *c, uint8_t *ret);
/* Writes out what can be written without waiting: the guest is gone. */
void vd_console_flush(struct vd_console *c);
