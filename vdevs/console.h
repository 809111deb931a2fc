/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of a serial vdev: a byte stream out that never blocks a vCPU, and one in that is
 * read only as far as the guest has room.
 *
 * Out: bytes are written at once, or after the collecting time of `batch`. What the descriptor does
 * not take stays in a buffer of VD_CONSOLE_OUT_BYTES and is tried again every 10 ms; when that is
 * full, the newest bytes are dropped and counted (the log before a hang matters more than the flood
 * after). In: a full buffer stops the watch until the guest has read, so that the sender blocks,
 * not we.
 *
 * All calls with the vdev's lock held.
 */
#pragma once

#include "vdevs/vdev.h"

#define VD_CONSOLE_OUT_BYTES 65536u
#define VD_CONSOLE_IN_BYTES 256u

struct vd_console {
	struct vdev *v;
	void (*input)(struct vdev *v);	/* something came in (I/O thread) */
	int in_fd, out_fd;		/* borrowed; -1 = none, or ended */
	struct vd_watch *watch;
	struct vd_timer *timer;
	bool armed;
	uint64_t batch_ns;
	uint64_t dropped;		/* output bytes */
	unsigned out_head, out_len, in_head, in_len;
	char *out;			/* VD_CONSOLE_OUT_BYTES, owned */
	uint8_t in[VD_CONSOLE_IN_BYTES];
};

/* What every serial vdev takes: put into its option table. `delayed` is refused by name. */
#define VD_CONSOLE_OPTIONS                                                                         \
	{ "hostdev", VD_ARG_STRING, true }, { "batch", VD_ARG_NUMBER, false },                     \
	{ "delayed", VD_ARG_STRING, false }
void vd_console_check(const struct vd_config *cfg, struct cf_errors *errs);

/* @v has its cfg and host. 0 or -errno with a sentence in @errs; fini is due in both cases. */
int vd_console_init(struct vd_console *c, struct vdev *v, void (*input)(struct vdev *v),
		    struct cf_errors *errs);
void vd_console_fini(struct vd_console *c);

void vd_console_put(struct vd_console *c, uint8_t byte);
/* Takes one byte that came in; false when there is none. */
bool vd_console_get(struct vd_console *c, uint8_t *ret);
/* Writes out what can be written without waiting: the guest is gone. */
void vd_console_flush(struct vd_console *c);
