/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress: a port to which a guest writes how far it has come, as a PC's firmware writes its codes
 * to port 0x80. QNX has a vdev of this name and does not say what it does: this is our reading. A
 * write of 1, 2 or 4 bytes to the first byte of the window is a code. The last code, how many there
 * were and when the last one came are in the status; a code that differs from the one before it is
 * a line of log at debug, through a limiter. The window cannot be read: all ones.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/qlog.h"
#include "vdevs/types.h"

#define PORT 0x80u

struct progress {
	struct vdev v;
	uint32_t code;
	uint64_t n_codes, n_changes;
	uint64_t begun_ns, last_ns;
	struct qlog_limit limit;
};

static uint64_t progress_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	return UINT64_MAX;
}

static void progress_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct progress *p = Q_CONTAINER_OF(v, struct progress, v);
	uint32_t code = size == 4 ? (uint32_t)val : (uint32_t)val & ((1u << 8 * (size & 3)) - 1);
	bool is_new = !p->n_codes || code != p->code;
	uint64_t n;

	if (off || size > 4)
		return;
	p->code = code;
	p->n_codes++;
	p->last_ns = v->host->ops->now(v->host);
	p->n_changes += is_new;
	if (is_new && qlog_limit_hit(&p->limit, p->last_ns, &n))
		v->host->ops->log(v->host, QLOG_DEBUG, "ev=progress code=%#x n=%" PRIu64, code, n);
}

static void progress_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	const struct progress *p = Q_CONTAINER_OF(v, struct progress, v);

	if (!p->n_codes)
		snprintf(buf, buf_bytes, "codes=0");
	else
		snprintf(buf, buf_bytes,
			 "code=%#x codes=%" PRIu64 " changes=%" PRIu64 " last_ms=%" PRIu64, p->code,
			 p->n_codes, p->n_changes,
			 (uint64_t)((p->last_ns - p->begun_ns) / Q_NSEC_PER_MSEC));
}

static void progress_free(struct vdev *v)
{
	free(Q_CONTAINER_OF(v, struct progress, v));
}

static const struct vdev_ops progress_ops = {
	.read = progress_read,
	.write = progress_write,
	.status = progress_status,
	.free = progress_free,
};

static int progress_create(const struct vd_config *cfg, struct vd_host *host,
			   struct cf_errors *errs, struct vdev **ret)
{
	struct progress *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->v = (struct vdev){ .ops = &progress_ops, .type = &vd_progress_type, .cfg = cfg,
			      .host = host };
	p->begun_ns = host->ops->now(host);
	*ret = &p->v;
	return 0;
}

static const struct vd_option progress_options[] = {
	{ NULL },
};

const struct vd_type vd_progress_type = {
	.name = "progress",
	.flags = VD_NEEDS_LOC,
	.default_space = VD_IO,
	.default_base = PORT,
	.len_bytes = 4,
	.max_irqs = 0,
	.options = progress_options,
	.create = progress_create,
};
