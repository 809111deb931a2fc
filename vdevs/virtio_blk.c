/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk (virtio 1.2, 5.2): a disk that is a file or block device of this VM alone, or, by the
 * same name, a share of a back end (virtio_vhu.c).
 *
 * With its own file (virtio_blk_media.c): one queue, served on the I/O thread. A chain is decoded
 * into a slot (qblk),
 * goes to the host's block back end, and its done() answers the guest. Slots are as many as the
 * queue has entries, which is as many as a driver that keeps the rules can have out. Invariant:
 * in_flight slots are out; STOPPING ends when it is 0.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vdevs/types.h"
#include "vdevs/virtio_blk.h"
#include "vdevs/virtio_blk_priv.h"
#include "vdevs/virtio_vhu.h"

#define QUEUE_SIZE VIRTIO_BLK_QUEUE_SIZE
#define PCI_CLASS 0x010000u	/* mass storage, SCSI: what guests expect of virtio-blk */

struct blk_slot {
	struct vd_blk_io io;
	struct qblk_req req;
	struct blk_slot *next_free;
	bool flushing;		/* written; the flush of a write-through write is under way */
	struct iovec iov[QBLK_IOV_MAX];
};

static struct virtio_blk *blk_of(struct virtio_dev *d)
{
	return Q_CONTAINER_OF(d, struct virtio_blk, d);
}

/* ---- requests ---- */

/* NULL: all are out. */
static struct blk_slot *slot_get(struct virtio_blk *b)
{
	struct blk_slot *s = b->free;

	if (s)
		b->free = s->next_free;
	else if (b->n_touched < QUEUE_SIZE)
		s = &b->slots[b->n_touched++];
	return s;
}

static void slot_put(struct virtio_blk *b, struct blk_slot *s)
{
	s->next_free = b->free;
	b->free = s;
}

static void slot_answer(struct virtio_blk *b, struct blk_slot *s, uint8_t status)
{
	/*
	 * After a reset nobody waits for the answer, and its memory is about to be the driver's
	 * again.
	 */
	if (b->d.run == VIRTIO_RUNNING)
		virtio_push(&b->d, 0, s->req.head, qblk_done(&s->req, status));
	if (status != VIRTIO_BLK_S_OK)
		b->n_errors++;
	slot_put(b, s);
	b->in_flight--;
	if (!b->in_flight && b->d.run == VIRTIO_STOPPING)
		virtio_stopped(&b->d);
}

static bool slot_submit(struct virtio_blk *b, struct blk_slot *s)
{
	return b->blk && b->d.v.host->ops->blk_submit(b->d.v.host, b->blk, &s->io) == 0;
}

/* A write is on the disk before its answer when the driver has no other way to make it so, or has
 * asked for it (5.2.6.2). */
static bool is_write_through(const struct virtio_blk *b)
{
	const struct virtio_blk_config *c = (const void *)b->d.config;

	return virtio_has(&b->d, VIRTIO_BLK_F_CONFIG_WCE) ? !c->wce :
							    !virtio_has(&b->d, VIRTIO_BLK_F_FLUSH);
}

static uint8_t status_of(int err)
{
	return !err ? VIRTIO_BLK_S_OK :
	       err == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

static void io_done(struct vdev *v, struct vd_blk_io *io, int err)
{
	struct virtio_blk *b = Q_CONTAINER_OF(v, struct virtio_blk, d.v);
	struct blk_slot *s = Q_CONTAINER_OF(io, struct blk_slot, io);

	if (!err && io->op == VD_BLK_WRITE && is_write_through(b) &&
	    b->d.run == VIRTIO_RUNNING) {
		s->io = (struct vd_blk_io){ .op = VD_BLK_FLUSH, .done = io_done };
		if (slot_submit(b, s)) {
			v->host->ops->blk_kick(v->host, b->blk);
			return;
		}
		err = -EIO;
	}
	slot_answer(b, s, status_of(err));
}

static void slot_run(struct virtio_blk *b, struct blk_slot *s)
{
	static const unsigned op[] = {
		[QBLK_READ] = VD_BLK_READ, [QBLK_WRITE] = VD_BLK_WRITE,
		[QBLK_FLUSH] = VD_BLK_FLUSH, [QBLK_DISCARD] = VD_BLK_DISCARD,
		[QBLK_WRITE_ZEROES] = VD_BLK_ZERO,
	};
	const struct qblk_req *r = &s->req;

	if (r->op == QBLK_GET_ID) {
		slot_answer(b, s, qblk_get_id(&b->qd, r));
		return;
	}
	b->n_read += r->op == QBLK_READ;
	b->n_write += r->op == QBLK_WRITE;
	b->n_other += r->op != QBLK_READ && r->op != QBLK_WRITE;
	s->io = (struct vd_blk_io){
		.op = op[r->op], .len_bytes = r->len_bytes, .iov = r->iov, .n_iov = r->n_iov,
		.unmap = r->unmap, .done = io_done,
	};
	/*
	 * qblk has checked sector and length against the capacity, so that the product cannot wrap;
	 * a flush has no place, whatever its header says.
	 */
	if (r->op != QBLK_FLUSH)
		s->io.off = r->sector * Q_SECTOR_BYTES;
	if (!slot_submit(b, s))
		slot_answer(b, s, VIRTIO_BLK_S_IOERR);
}

static void slot_parse(struct virtio_blk *b, struct blk_slot *s, const struct qring_chain *c)
{
	switch (qblk_parse(&b->qd, c, s->iov, &s->req)) {
	case QBLK_OK:
		slot_run(b, s);
		break;
	case QBLK_IOERR:
		slot_answer(b, s, VIRTIO_BLK_S_IOERR);
		break;
	case QBLK_UNSUPP:
		slot_answer(b, s, VIRTIO_BLK_S_UNSUPP);
		break;
	case QBLK_BROKEN:
		virtio_broken(&b->d, VD_FAULT_BAD_REQUEST);
		slot_answer(b, s, VIRTIO_BLK_S_IOERR);	/* gives the slot back, no more */
		break;
	}
}

/* Serves one chain; false when there is none. */
static bool serve_one(struct virtio_blk *b)
{
	struct blk_slot *s = slot_get(b);
	struct qring_chain c;

	if (!s) {	/* more chains are out than the queue has entries */
		if (qring_pending(&b->d.q[0].ring))
			virtio_broken(&b->d, VD_FAULT_BAD_INDEX);
		return false;
	}
	if (!virtio_pop(&b->d, 0, s->iov, QBLK_IOV_MAX, &c)) {
		slot_put(b, s);
		return false;
	}
	b->in_flight++;
	slot_parse(b, s, &c);
	return b->d.run == VIRTIO_RUNNING;
}

static bool blk_serve(struct virtio_dev *d, unsigned q, unsigned budget)
{
	struct virtio_blk *b = blk_of(d);
	bool more = true;

	while (budget-- > 0 && more)
		more = serve_one(b);
	if (b->blk)
		d->v.host->ops->blk_kick(d->v.host, b->blk);
	return more;
}

/* ---- device ---- */

static void blk_start(struct virtio_dev *d)
{
	struct virtio_blk *b = blk_of(d);

	b->qd.discard = virtio_has(d, VIRTIO_BLK_F_DISCARD);
	b->qd.write_zeroes = virtio_has(d, VIRTIO_BLK_F_WRITE_ZEROES);
}

static bool blk_stop(struct virtio_dev *d)
{
	((struct virtio_blk_config *)d->config)->wce = 1;
	return blk_of(d)->in_flight == 0;
}

/* The switch of the write cache is the only field that is the driver's. */
static void blk_config_write(struct virtio_dev *d, unsigned off, const void *buf, unsigned len)
{
	const uint8_t *b = buf;

	if (off == offsetof(struct virtio_blk_config, wce) && len == 1 && b[0] <= 1 &&
	    virtio_has(d, VIRTIO_BLK_F_CONFIG_WCE))
		d->config[off] = b[0];
	else
		vdev_fault(&d->v, VD_FAULT_BAD_REQUEST);
}

static void blk_status(struct virtio_dev *d, char *buf, size_t buf_bytes)
{
	const struct virtio_blk *b = blk_of(d);

	snprintf(buf, buf_bytes,
		 "file=%s in_flight=%u reads=%llu writes=%llu others=%llu errors=%llu",
		 virtio_blk_media_str(b), b->in_flight, (unsigned long long)b->n_read,
		 (unsigned long long)b->n_write,
		 (unsigned long long)b->n_other, (unsigned long long)b->n_errors);
}

static void blk_free(struct virtio_dev *d)
{
	struct virtio_blk *b = blk_of(d);

	virtio_blk_media_close(b);
	virtio_fini(d);
	free(b->slots);
	free(b);
}

static const struct virtio_ops blk_ops = {
	.id = VIRTIO_ID_BLOCK,
	.pci_class = PCI_CLASS,
	.config_write = blk_config_write,
	.start = blk_start,
	.serve = blk_serve,
	.stop = blk_stop,
	.status = blk_status,
	.free = blk_free,
};

static int blk_open(struct virtio_blk *b, const struct vd_arg *hostdev, struct cf_errors *errs)
{
	int r;

	b->slots = calloc(QUEUE_SIZE, sizeof(*b->slots));
	if (!b->slots)
		return -ENOMEM;
	r = virtio_blk_media_open(b, hostdev, errs);
	return r < 0 ? r : virtio_attach(&b->d, errs);
}

static int blk_create_file(const struct vd_config *cfg, const struct vd_arg *hostdev,
			   struct vd_host *host, struct cf_errors *errs, struct vdev **ret)
{
	struct virtio_blk *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	virtio_init(&b->d, &vd_virtio_blk_type, cfg, host, &blk_ops);
	r = blk_open(b, hostdev, errs);
	if (r < 0) {
		blk_free(&b->d);
		return r;
	}
	*ret = &b->d.v;
	return 0;
}

/* ---- behind a back end ---- */

/*
 * What is passed on. Not CONFIG_WCE: its switch is a write to config space, which stays read-only
 * here.
 */
static const struct virtio_vhu_kind blk_vhu_kind = {
	.ops = { .id = VIRTIO_ID_BLOCK, .pci_class = PCI_CLASS },
	.features = VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) |
		    VIRTIO_BIT(VIRTIO_BLK_F_GEOMETRY) | VIRTIO_BIT(VIRTIO_BLK_F_RO) |
		    VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) |
		    VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) |
		    VIRTIO_BIT(VIRTIO_BLK_F_MQ) | VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) |
		    VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES),
	/*
	 * What the features above give a meaning to: a back end refuses to be asked for more than
	 * it knows.
	 */
	.config_len = offsetof(struct virtio_blk_config, max_secure_erase_sectors),
	.queue_size_max = QUEUE_SIZE,
	.n_queues = 1,
	.mq_feature = VIRTIO_BIT(VIRTIO_BLK_F_MQ),
	.mq_off = offsetof(struct virtio_blk_config, num_queues),
};

/* ---- type ---- */

enum vd_blk_form vd_blk_form(const char *hostdev)
{
	static const struct { const char *prefix; enum vd_blk_form form; } forms[] = {
		{ "mediator:", VD_BLK_BACKEND },
		{ "vhost-user:", VD_BLK_BACKEND },
		{ "refer:", VD_BLK_UNKNOWN },
	};

	for (unsigned i = 0; i < Q_ARRAY_LEN(forms); i++) {
		size_t len = strlen(forms[i].prefix);

		if (!strncmp(hostdev, forms[i].prefix, len))
			return hostdev[len] ? forms[i].form : VD_BLK_UNKNOWN;
	}
	return hostdev[hostdev[0] == '<'] ? VD_BLK_FILE : VD_BLK_UNKNOWN;
}

static void blk_check_hostdev(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *a = vd_arg_find(cfg, "hostdev");

	if (!a)
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
			     "%s: hostdev is missing: FILE, <FILE, mediator:NAME or "
			     "vhost-user:PATH", cfg->type);
	else if (vd_blk_form(a->text) == VD_BLK_UNKNOWN)
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: hostdev %s is not served, expected FILE, <FILE, mediator:NAME or "
			     "vhost-user:PATH", cfg->type, a->text);
}

/* What the host does with a file means nothing for a back end, which has its own file. */
static void check_of_file(const struct vd_config *cfg, const struct vd_arg *a, bool ok,
			  const char *expected, struct cf_errors *errs)
{
	const struct vd_arg *hostdev = vd_arg_find(cfg, "hostdev");

	if (!ok)
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: %s %s is not served, expected %s", cfg->type, a->opt->name,
			     a->text, expected);
	else if (hostdev && vd_blk_form(hostdev->text) == VD_BLK_BACKEND)
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: %s is for a file of this VM; a back end has its own, and is "
			     "waited for", cfg->type, a->opt->name);
}

/* A file has one queue: more would not make it faster. */
static void blk_check_queues(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *hostdev = vd_arg_find(cfg, "hostdev");
	const struct vd_arg *q = vd_arg_find(cfg, "queues");

	if (!q)
		return;
	if (q->num < 1 || q->num > VIRTIO_QUEUES_MAX)
		cf_error_add(errs, CF_ERROR, q->file, q->line, q->col,
			     "%s: queues %s is not served, expected 1 to %u", cfg->type, q->text,
			     VIRTIO_QUEUES_MAX);
	else if (hostdev && vd_blk_form(hostdev->text) == VD_BLK_FILE)
		cf_error_add(errs, CF_ERROR, q->file, q->line, q->col,
			     "%s: queues is for a back end; a file has one queue", cfg->type);
}

static void blk_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *dio = vd_arg_find(cfg, "dio"), *delayed = vd_arg_find(cfg, "delayed");
	uint64_t ns;

	virtio_check(cfg, errs);
	blk_check_hostdev(cfg, errs);
	blk_check_queues(cfg, errs);
	if (dio)
		check_of_file(cfg, dio,
			      !strcmp(dio->text, "enable") || !strcmp(dio->text, "disable"),
			      "enable or disable", errs);
	if (delayed)
		check_of_file(cfg, delayed, vd_delay_parse(delayed->text, &ns),
			      "forever or seconds", errs);
}

static int blk_create(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
		      struct vdev **ret)
{
	const struct vd_arg *hostdev = vd_arg_find(cfg, "hostdev");

	if (vd_blk_form(hostdev->text) == VD_BLK_BACKEND)
		return virtio_vhu_create(&vd_virtio_blk_type, &blk_vhu_kind, cfg, hostdev, host,
					 errs, ret);
	return blk_create_file(cfg, hostdev, host, errs, ret);
}

static const struct vd_option blk_options[] = {
	{ "hostdev", VD_ARG_STRING, false },
	{ "dio", VD_ARG_STRING, false },
	{ "delayed", VD_ARG_STRING, false },
	{ "queues", VD_ARG_NUMBER, false },
	VIRTIO_OPTION_LEGACY,
	{ NULL },
};

const struct vd_type vd_virtio_blk_type = {
	.name = "virtio-blk",
	.flags = VD_PCI_CAPABLE,
	.default_space = VD_PCI,
	.len_bytes = 0x200,
	.max_irqs = 1,
	.options = blk_options,
	.check = blk_check,
	.create = blk_create,
};
