/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of a serial vdev: see console.h. Two rings; the output ring is drained by whoever holds
 * the lock (the vCPU that wrote, or the timer), the input ring is filled on the I/O thread.
 * Invariant: the watch exists exactly while there is room for input and the stream has not ended.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/qlog.h"
#include "vdevs/console.h"

#define RETRY_NS (10 * Q_NSEC_PER_MSEC)
#define BATCH_MAX_US 1000000u

void vd_console_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *a = vd_arg_find(cfg, "batch");

	if (a && a->num > BATCH_MAX_US)
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: batch is in microseconds, at most %u", cfg->type, BATCH_MAX_US);
	a = vd_arg_find(cfg, "delayed");
	if (a)
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: delayed is not served; the host device must exist at start",
			     cfg->type);
}

/* ---- out ---- */

static void out_arm(struct vd_console *c, uint64_t in_ns)
{
	const struct vd_host_ops *ops = c->v->host->ops;

	if (c->armed || !c->timer)
		return;
	c->armed = true;
	ops->timer_arm(c->v->host, c->timer, qnow_ns() + in_ns);
}

static void out_end(struct vd_console *c, int err)
{
	c->out_fd = -1;
	c->dropped += c->out_len;
	c->out_len = 0;
	c->v->host->ops->log(c->v->host, QLOG_WARN, "ev=console_lost errno=%d", err);
}

/* Writes what the descriptor takes. */
static void out_drain(struct vd_console *c)
{
	while (c->out_len && c->out_fd >= 0) {
		unsigned first = Q_MIN(c->out_len, VD_CONSOLE_OUT_BYTES - c->out_head);
		struct iovec iov[2] = { { c->out + c->out_head, first },
					{ c->out, c->out_len - first } };
		ssize_t n = writev(c->out_fd, iov, iov[1].iov_len ? 2 : 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			out_end(c, errno);
			return;
		}
		if (n <= 0)
			return;
		c->out_head = (c->out_head + (unsigned)n) % VD_CONSOLE_OUT_BYTES;
		c->out_len -= (unsigned)n;
	}
}

static void out_timer(struct vdev *v, void *arg)
{
	struct vd_console *c = arg;

	c->armed = false;
	out_drain(c);
	if (c->out_len)
		out_arm(c, RETRY_NS);
}

void vd_console_put(struct vd_console *c, uint8_t byte)
{
	if (c->out_fd < 0)
		return;
	if (c->out_len == VD_CONSOLE_OUT_BYTES)
		out_drain(c);
	if (c->out_len == VD_CONSOLE_OUT_BYTES || c->out_fd < 0) {
		c->dropped++;
		return;
	}
	c->out[(c->out_head + c->out_len++) % VD_CONSOLE_OUT_BYTES] = (char)byte;
	if (c->batch_ns) {
		out_arm(c, c->batch_ns);
		return;
	}
	/* While a retry is due the descriptor is known to be full: no system call a byte. */
	if (!c->armed)
		out_drain(c);
	if (c->out_len)
		out_arm(c, RETRY_NS);
}

void vd_console_flush(struct vd_console *c)
{
	out_drain(c);
}

/* ---- in ---- */

static void in_unwatch(struct vd_console *c)
{
	if (c->watch)
		c->v->host->ops->unwatch(c->v->host, c->watch);
	c->watch = NULL;
}

static void in_ready(struct vdev *v, void *arg)
{
	struct vd_console *c = arg;
	unsigned tail = (c->in_head + c->in_len) % VD_CONSOLE_IN_BYTES;
	unsigned room = Q_MIN(VD_CONSOLE_IN_BYTES - c->in_len, VD_CONSOLE_IN_BYTES - tail);
	ssize_t n = read(c->in_fd, c->in + tail, room);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {	/* end of file, or the other side is gone: it does not come back */
		in_unwatch(c);
		c->in_fd = -1;
		return;
	}
	c->in_len += (unsigned)n;
	if (c->in_len == VD_CONSOLE_IN_BYTES)
		in_unwatch(c);
	c->input(v);
}

static void in_watch(struct vd_console *c)
{
	if (c->in_fd >= 0 && !c->watch)
		c->watch = c->v->host->ops->watch(c->v->host, c->in_fd, in_ready, c);
}

bool vd_console_get(struct vd_console *c, uint8_t *ret)
{
	if (!c->in_len)
		return false;
	*ret = c->in[c->in_head];
	c->in_head = (c->in_head + 1) % VD_CONSOLE_IN_BYTES;
	c->in_len--;
	/* Not before it is empty: one watch a buffer, not one a byte. */
	if (!c->in_len)
		in_watch(c);
	return true;
}

/* ---- life ---- */

int vd_console_init(struct vd_console *c, struct vdev *v, void (*input)(struct vdev *v),
		    struct cf_errors *errs)
{
	const struct vd_arg *batch = vd_arg_find(v->cfg, "batch");
	int r;

	*c = (struct vd_console){ .v = v, .input = input, .in_fd = -1, .out_fd = -1 };
	c->batch_ns = batch ? batch->num * Q_NSEC_PER_USEC : 0;
	r = v->host->ops->console_open(v->host, v->cfg, errs, &c->in_fd, &c->out_fd);
	if (r < 0)
		return r;
	c->out = malloc(VD_CONSOLE_OUT_BYTES);
	c->timer = v->host->ops->timer_new(v->host, out_timer, c);
	if (!c->out || !c->timer) {
		cf_error_add(errs, CF_ERROR, v->cfg->file, v->cfg->line, v->cfg->col,
			     "%s: out of memory", v->cfg->name);
		return -ENOMEM;
	}
	in_watch(c);
	/* a regular file or /dev/null: nothing to wait for */
	if (c->in_fd >= 0 && !c->watch) {
		v->host->ops->log(v->host, QLOG_WARN, "ev=console_input why=unwatchable");
		c->in_fd = -1;
	}
	return 0;
}

void vd_console_fini(struct vd_console *c)
{
	if (!c->v)
		return;
	in_unwatch(c);
	if (c->timer)
		c->v->host->ops->timer_free(c->v->host, c->timer);
	c->timer = NULL;
	free(c->out);
	c->out = NULL;
	c->out_len = 0;
	c->in_fd = c->out_fd = -1;
}
