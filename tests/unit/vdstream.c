/* SPDX-License-Identifier: Apache-2.0 */
/* See vdstream.h. */
#include "tests/unit/vdstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int stream_open(struct vd_host *host, const struct vd_stream_cfg *cfg,
		       struct cf_errors *errs, struct vd_stream **ret)
{
	struct vdh *h = Q_CONTAINER_OF(host, struct vdh, host);
	struct vd_stream *s = calloc(1, sizeof(*s));

	s->cfg = *cfg;
	s->fds[0] = cfg->port ? -1 : h->con_in_fd;
	s->fds[1] = cfg->port ? -1 : h->con_out_fd;
	for (unsigned i = 0; i < VDH_STREAMS; i++) {
		if (h->streams[i])
			continue;
		h->streams[i] = *ret = s;
		return 0;
	}
	free(s);
	return -ENOMEM;
}

static int stream_fd(struct vd_host *host, struct vd_stream *s, bool out)
{
	return s->fds[out];
}

static void end_connection(struct vd_stream *s)
{
	qfd_close(&s->fds[0]);
	s->fds[1] = -1;
}

static void stream_drop(struct vd_host *host, struct vd_stream *s, bool out)
{
	if (s->is_connection)
		end_connection(s);
	s->fds[out] = -1;
}

static void stream_hang_up(struct vd_host *host, struct vd_stream *s)
{
	if (!s->is_connection || s->fds[0] < 0)
		return;
	s->n_hangups++;
	end_connection(s);
}

static bool stream_size(struct vd_host *host, struct vd_stream *s, uint16_t ret[2])
{
	memcpy(ret, s->size, sizeof(s->size));
	return s->is_tty;
}

static void stream_close(struct vd_host *host, struct vd_stream *s)
{
	struct vdh *h = Q_CONTAINER_OF(host, struct vdh, host);

	for (unsigned i = 0; i < VDH_STREAMS; i++)
		if (h->streams[i] == s)
			h->streams[i] = NULL;
	if (s->is_connection)
		end_connection(s);
	free(s);
}

const struct vd_stream_ops vdh_stream_ops = {
	.open = stream_open,
	.fd = stream_fd,
	.drop = stream_drop,
	.hang_up = stream_hang_up,
	.size = stream_size,
	.close = stream_close,
};

struct vd_stream *vdh_stream(struct vdh *h, const char *port)
{
	for (unsigned i = 0; i < VDH_STREAMS; i++) {
		struct vd_stream *s = h->streams[i];

		if (s && (port ? s->cfg.port && !strcmp(s->cfg.port, port) : !s->cfg.port))
			return s;
	}
	return NULL;
}

void vdh_stream_give(struct vdh *h, struct vd_stream *s, int in_fd, int out_fd,
		     bool is_connection)
{
	s->fds[0] = in_fd;
	s->fds[1] = out_fd;
	s->is_connection = is_connection;
	s->cfg.changed(h->v, s->cfg.arg);
}
