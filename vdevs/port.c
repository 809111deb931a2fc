/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See port.h. Read and written by whoever holds the vdev's lock; watches run on the I/O thread.
 * Invariant: a watch exists from the read that found nothing, or the write that found no room, to
 * its event, and never on a descriptor that is not ours any more.
 */
#include "vdevs/port.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/qlog.h"

#define DIGITS "0123456789"

bool vd_delay_parse(const char *text, uint64_t *ret_ns)
{
	size_t len = strlen(text);

	if (!strcmp(text, "forever")) {
		*ret_ns = UINT64_MAX;
		return true;
	}
	if (!len || len > 7 || strspn(text, DIGITS) != len)
		return false;
	unsigned long seconds = strtoul(text, NULL, 10);
	if (seconds > VD_DELAY_MAX_S)
		return false;
	*ret_ns = seconds * Q_NSEC_PER_SEC;
	return true;
}

/* ---- watches: one shot ---- */

static void unwatch(struct vd_port *p, struct vd_watch **w)
{
	if (*w)
		p->v->host->ops->unwatch(p->v->host, *w);
	*w = NULL;
}

static void in_ready(struct vdev *v, void *arg)
{
	struct vd_port *p = arg;

	unwatch(p, &p->in_watch);
	p->event(p, VD_PORT_IN);
}

static void out_ready(struct vdev *v, void *arg)
{
	struct vd_port *p = arg;

	unwatch(p, &p->out_watch);
	p->event(p, VD_PORT_OUT);
}

void vd_port_want(struct vd_port *p)
{
	if (p->in_fd >= 0 && !p->in_watch)
		p->in_watch = p->v->host->ops->watch(p->v->host, p->in_fd, in_ready, p);
}

static void watch_out(struct vd_port *p)
{
	if (!p->out_watch)
		p->out_watch = p->v->host->ops->watch_out(p->v->host, p->out_fd, out_ready, p);
}

/* ---- descriptors ---- */

static void ask_fds(struct vd_port *p)
{
	const struct vd_stream_ops *ops = p->v->host->ops->stream;

	p->in_fd = ops->fd(p->v->host, p->stream, false);
	p->out_fd = ops->fd(p->v->host, p->stream, true);
}

static void changed(struct vdev *v, void *arg)
{
	struct vd_port *p = arg;

	unwatch(p, &p->in_watch);
	unwatch(p, &p->out_watch);
	ask_fds(p);
	p->event(p, VD_PORT_CHANGED);
}

static void drop(struct vd_port *p, bool out, int err)
{
	struct vd_host *h = p->v->host;

	unwatch(p, &p->in_watch);
	unwatch(p, &p->out_watch);
	h->ops->log(h, QLOG_DEBUG, "ev=stream_ended dir=%s errno=%d", out ? "out" : "in", err);
	h->ops->stream->drop(h, p->stream, out);
	ask_fds(p);
	p->event(p, VD_PORT_CHANGED);
}

size_t vd_port_read(struct vd_port *p, const struct iovec *iov, unsigned n_iov)
{
	ssize_t n;

	if (p->in_fd < 0)
		return 0;
	do
		n = readv(p->in_fd, iov, (int)Q_MIN(n_iov, (unsigned)IOV_MAX));
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return (size_t)n;
	if (n < 0 && errno == EAGAIN)
		vd_port_want(p);
	else
		drop(p, false, n < 0 ? errno : 0);
	return 0;
}

size_t vd_port_write(struct vd_port *p, const struct iovec *iov, unsigned n_iov)
{
	size_t want = 0;
	ssize_t n;

	if (p->out_fd < 0)
		return 0;
	n_iov = Q_MIN(n_iov, (unsigned)IOV_MAX);
	for (unsigned i = 0; i < n_iov; i++)
		want += iov[i].iov_len;
	do
		n = writev(p->out_fd, iov, (int)n_iov);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN) {
		drop(p, true, errno);
		return 0;
	}
	if (n < 0 || (size_t)n < want)
		watch_out(p);
	return n < 0 ? 0 : (size_t)n;
}

void vd_port_hang_up(struct vd_port *p)
{
	if (!p->stream || !vd_port_has(p))
		return;
	unwatch(p, &p->in_watch);
	unwatch(p, &p->out_watch);
	p->v->host->ops->stream->hang_up(p->v->host, p->stream);
	ask_fds(p);
	p->event(p, VD_PORT_CHANGED);
}

/* ---- life ---- */

int vd_port_open(struct vd_port *p, struct vdev *v, const char *name,
		 void (*event)(struct vd_port *p, enum vd_port_event e), void *arg,
		 struct cf_errors *errs)
{
	const struct vd_stream_cfg cfg = { .cfg = v->cfg, .port = name, .changed = changed,
					   .arg = p };

	*p = VD_PORT_NULL;
	p->v = v;
	p->event = event;
	p->arg = arg;
	int r = v->host->ops->stream->open(v->host, &cfg, errs, &p->stream);
	if (r == -ENOMEM)
		cf_error_add(errs, CF_ERROR, v->cfg->file, v->cfg->line, v->cfg->col,
			     "%s: out of memory", v->cfg->name);
	if (r == 0)
		ask_fds(p);
	return r;
}

void vd_port_close(struct vd_port *p)
{
	if (!p->stream)
		return;
	unwatch(p, &p->in_watch);
	unwatch(p, &p->out_watch);
	p->v->host->ops->stream->close(p->v->host, p->stream);
	*p = VD_PORT_NULL;
}
