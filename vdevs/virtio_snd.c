/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-snd (virtio 1.2, 5.14): a sound card whose PCMs are devices or files of this VM alone, or,
 * by the same name, a share of a back end, which then speaks the whole of the protocol
 * (virtio_vhu.c).
 *
 * With its own: four queues, served on the I/O thread. What a request means is lib/qsnd's to say,
 * what it does to a stream is virtio_snd_pcm.c's. Control requests are answered one after the
 * other, each before the next is looked at. Events wait in a mask each until the driver has a
 * buffer for them; the event queue is on hold while there is nothing to tell.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qiov.h"
#include "vdevs/types.h"
#include "vdevs/virtio_snd.h"
#include "vdevs/virtio_vhu.h"

#define PCI_CLASS 0x040100u	/* multimedia, audio */


static struct virtio_snd *snd_of(struct virtio_dev *d)
{
	return Q_CONTAINER_OF(d, struct virtio_snd, d);
}

/* ---- events ---- */

static bool has_events(const struct virtio_snd *s)
{
	return s->events.jacks || s->events.xruns || s->events.periods;
}

/* False: the driver broke the queue. */
static bool tell_one(struct virtio_snd *s, const struct iovec *iov, const struct qring_chain *c)
{
	struct virtio_snd_event ev;

	if (c->n_out || c->in_bytes < sizeof(ev)) {
		virtio_broken(&s->d, VD_FAULT_BAD_CHAIN);
		return false;
	}
	qsnd_events_next(&s->events, &s->desc, &ev);
	qiov_scatter(iov, c->n_in, &ev, sizeof(ev));
	virtio_push_quiet(&s->d, VIRTIO_SND_VQ_EVENT, c->head, sizeof(ev));
	return true;
}

void virtio_snd_tell(struct virtio_snd *s)
{
	struct iovec iov[8];
	struct qring_chain c;

	if (!has_events(s) || s->d.run != VIRTIO_RUNNING)
		return;
	while (has_events(s) && virtio_pop(&s->d, VIRTIO_SND_VQ_EVENT, iov, Q_ARRAY_LEN(iov), &c))
		if (!tell_one(s, iov, &c))
			return;
	virtio_tell(&s->d, VIRTIO_SND_VQ_EVENT);
	if (has_events(s))
		virtio_resume(&s->d, VIRTIO_SND_VQ_EVENT);	/* wait for buffers */
}

static bool serve_events(struct virtio_snd *s)
{
	virtio_snd_tell(s);
	if (!has_events(s) && s->d.run == VIRTIO_RUNNING)
		virtio_hold(&s->d, VIRTIO_SND_VQ_EVENT);
	return false;
}

/* ---- control ---- */

static uint32_t do_request(struct virtio_snd *s, const struct qring_chain *c, struct qsnd_req *req)
{
	uint8_t buf[QSND_REQ_BYTES_MAX];
	size_t len = qiov_gather(s->ctl_iov, c->n_out, buf, sizeof(buf));
	uint32_t status = qsnd_ctl_parse(&s->desc, buf, len, c->in_bytes, req);

	if (status == VIRTIO_SND_S_OK && qsnd_ctl_is_pcm(req->code))
		status = virtio_snd_stream_request(&s->streams[req->id], req);
	return status;
}

/* False: the driver broke the queue. */
static bool answer_one(struct virtio_snd *s, const struct qring_chain *c)
{
	struct qsnd_req req;
	uint32_t status;
	size_t len;

	if (c->in_bytes < sizeof(struct virtio_snd_hdr)) {
		virtio_broken(&s->d, VD_FAULT_BAD_REQUEST);
		return false;
	}
	status = do_request(s, c, &req);
	if (s->d.run != VIRTIO_RUNNING)
		return false;	/* another queue was found broken; this one is not ours any more */
	s->n_bad += status != VIRTIO_SND_S_OK;
	len = qsnd_ctl_answer(&s->desc, &req, status, s->resp);
	qiov_scatter(s->ctl_iov + c->n_out, c->n_in, s->resp, len);
	virtio_push(&s->d, VIRTIO_SND_VQ_CONTROL, c->head, (uint32_t)len);
	return true;
}

static bool serve_control(struct virtio_snd *s, unsigned budget)
{
	struct qring_chain c;

	for (; budget > 0; budget--) {
		if (!virtio_pop(&s->d, VIRTIO_SND_VQ_CONTROL, s->ctl_iov, QSND_IOV_MAX, &c) ||
		    !answer_one(s, &c))
			return false;
	}
	return true;
}

/* ---- virtio_ops ---- */

static bool snd_serve(struct virtio_dev *d, unsigned q, unsigned budget)
{
	struct virtio_snd *s = snd_of(d);

	switch (q) {
	case VIRTIO_SND_VQ_CONTROL:
		return serve_control(s, budget);
	case VIRTIO_SND_VQ_EVENT:
		return serve_events(s);
	default:
		return virtio_snd_take(s, q == VIRTIO_SND_VQ_TX, budget);
	}
}

static void snd_start(struct virtio_dev *d)
{
	virtio_snd_streams_reset(snd_of(d));
}

static bool snd_stop(struct virtio_dev *d)
{
	virtio_snd_streams_reset(snd_of(d));
	return true;
}

static void snd_status(struct virtio_dev *d, char *buf, size_t buf_bytes)
{
	const struct virtio_snd *s = snd_of(d);
	size_t at = 0;
	int n;

	n = snprintf(buf, buf_bytes, "bad=%" PRIu64, s->n_bad);
	for (unsigned i = 0; i < s->desc.n_streams && n > 0; i++) {
		const struct virtio_snd_stream *st = &s->streams[i];

		at += (size_t)n;
		if (at >= buf_bytes)
			return;
		n = snprintf(buf + at, buf_bytes - at,
			     " stream%u=%s messages%u=%" PRIu64 " xruns%u=%" PRIu64
			     " lost%u=%" PRIu64, i, qsnd_state_str(st->pcm.state), i,
			     st->n_messages, i, st->n_xruns, i, st->n_lost);
	}
}

static void snd_free(struct virtio_dev *d)
{
	struct virtio_snd *s = snd_of(d);

	virtio_snd_streams_fini(s);
	virtio_fini(d);
	free(s->tx.all);
	free(s->rx.all);
	free(s);
}

static const struct virtio_ops snd_ops = {
	.id = VIRTIO_ID_SOUND,
	.pci_class = PCI_CLASS,
	.start = snd_start,
	.serve = snd_serve,
	.stop = snd_stop,
	.status = snd_status,
	.free = snd_free,
};

/* ---- create ---- */

static int snd_open(struct virtio_snd *s, const struct virtio_snd_options *o,
		    struct cf_errors *errs)
{
	struct virtio_snd_config c;
	int r = 0;

	s->tx.all = calloc(VIRTIO_SND_QUEUE_SIZE, sizeof(*s->tx.all));
	s->rx.all = calloc(VIRTIO_SND_QUEUE_SIZE, sizeof(*s->rx.all));
	if (!s->tx.all || !s->rx.all)
		return -ENOMEM;
	for (unsigned i = 0; i < o->n_out + o->n_in && r == 0; i++)
		r = virtio_snd_stream_add(s, i < o->n_out, o, errs);
	if (r < 0)
		return r;
	qsnd_dev_config(&s->desc, &c);
	memcpy(s->d.config, &c, sizeof(c));
	s->d.config_len = sizeof(c);
	s->d.n_queues = VIRTIO_SND_VQ_MAX;
	s->d.queue_size_max = VIRTIO_SND_QUEUE_SIZE;
	return virtio_attach(&s->d, errs);
}

static int create_own(const struct vd_config *cfg, const struct virtio_snd_options *o,
		      struct vd_host *host, struct cf_errors *errs, struct vdev **ret)
{
	struct virtio_snd *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	virtio_init(&s->d, &vd_virtio_snd_type, cfg, host, &snd_ops);
	r = snd_open(s, o, errs);
	if (r < 0) {
		snd_free(&s->d);
		return r;
	}
	*ret = &s->d.v;
	return 0;
}

/* All of the protocol is the back end's: requests and events go by here unread. */
static const struct virtio_vhu_kind snd_vhu_kind = {
	.ops = { .id = VIRTIO_ID_SOUND, .pci_class = PCI_CLASS },
	.config_len = sizeof(struct virtio_snd_config),
	.queue_size_max = VIRTIO_SND_QUEUE_SIZE,
	.n_queues = VIRTIO_SND_VQ_MAX,
};

static int snd_create(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
		      struct vdev **ret)
{
	struct virtio_snd_options o;
	const char *rest;

	if (!virtio_snd_options(cfg, errs, &o))
		return -EINVAL;
	if (vd_snd_form(o.hostdev->text, &rest) == VD_SND_BACKEND)
		return virtio_vhu_create(&vd_virtio_snd_type, &snd_vhu_kind, cfg, o.hostdev, host,
					 errs, ret);
	return create_own(cfg, &o, host, errs, ret);
}

static void snd_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	struct virtio_snd_options o;

	virtio_check(cfg, errs);
	virtio_snd_options(cfg, errs, &o);
}

static const struct vd_option snd_options[] = {
	{ "hostdev", VD_ARG_STRING, false },
	{ "capture", VD_ARG_STRING, false },
	{ "streams", VD_ARG_STRING, false },
	{ "formats", VD_ARG_STRING, false },
	{ "rates", VD_ARG_STRING, false },
	{ "channels", VD_ARG_STRING, false },
	{ "fragment", VD_ARG_STRING, false },
	{ "buffer", VD_ARG_SIZE, false },
	{ NULL },
};

const struct vd_type vd_virtio_snd_type = {
	.name = "virtio-snd",
	.flags = VD_PCI_CAPABLE,
	.default_space = VD_PCI,
	.len_bytes = 0x200,
	.max_irqs = 1,
	.options = snd_options,
	.check = snd_check,
	.create = snd_create,
};
