/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-entropy (virtio 1.2, 5.4): random bytes of the host's kernel. One queue, served on the I/O
 * thread: at most TURN_BYTES a turn, then other vdevs are served, so that a guest that asks without
 * end cannot have the thread for itself. A buffer longer than what is left of the turn is given
 * back with less, as the specification allows. No state of its own.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "lib/qlog.h"
#include "vdevs/types.h"
#include "vdevs/virtio.h"

#define QUEUE_SIZE 64u
#define PARTS_MAX 32u
#define TURN_BYTES 65536u
#define PCI_CLASS 0x00ff00u	/* no class of its own */

struct virtio_entropy {
	struct virtio_dev d;
	uint64_t n_bytes;
};

/* Bytes written, or -errno. */
static ssize_t fill(const struct iovec *iov, unsigned n_iov, size_t max_bytes)
{
	size_t done = 0;

	for (unsigned i = 0; i < n_iov && done < max_bytes; i++) {
		size_t len = Q_MIN(iov[i].iov_len, max_bytes - done);

		for (size_t at = 0; at < len;) {
			ssize_t n = getrandom((char *)iov[i].iov_base + at, len - at, 0);

			if (n < 0 && errno != EINTR)
				return -errno;
			at += n < 0 ? 0 : (size_t)n;
		}
		done += len;
	}
	return (ssize_t)done;
}

static bool entropy_serve(struct virtio_dev *d, unsigned q, unsigned budget)
{
	struct virtio_entropy *e = Q_CONTAINER_OF(d, struct virtio_entropy, d);
	struct iovec iov[PARTS_MAX];
	struct qring_chain chain;
	size_t left = TURN_BYTES;

	for (; budget > 0 && left > 0; budget--) {
		if (!virtio_pop(d, q, iov, PARTS_MAX, &chain))
			return false;
		if (chain.n_out || !chain.n_in) {
			virtio_broken(d, VD_FAULT_BAD_CHAIN);
			return false;
		}
		ssize_t n = fill(iov, chain.n_in, left);
		if (n < 0) {
			d->v.host->ops->log(d->v.host, QLOG_ERROR, "ev=no_entropy errno=%d",
					    (int)-n);
			virtio_broken(d, VD_FAULT_NONE);
			return false;
		}
		virtio_push(d, q, chain.head, (uint32_t)n);
		e->n_bytes += (uint64_t)n;
		left -= (size_t)n;
	}
	return true;
}

static void entropy_start(struct virtio_dev *d)
{
}

static bool entropy_stop(struct virtio_dev *d)
{
	return true;
}

static void entropy_status(struct virtio_dev *d, char *buf, size_t buf_bytes)
{
	const struct virtio_entropy *e = Q_CONTAINER_OF(d, struct virtio_entropy, d);

	snprintf(buf, buf_bytes, "bytes=%" PRIu64, e->n_bytes);
}

static void entropy_free(struct virtio_dev *d)
{
	virtio_fini(d);
	free(Q_CONTAINER_OF(d, struct virtio_entropy, d));
}

static const struct virtio_ops entropy_ops = {
	.id = VIRTIO_ID_RNG,
	.pci_class = PCI_CLASS,
	.start = entropy_start,
	.serve = entropy_serve,
	.stop = entropy_stop,
	.status = entropy_status,
	.free = entropy_free,
};

static int entropy_create(const struct vd_config *cfg, struct vd_host *host,
			  struct cf_errors *errs, struct vdev **ret)
{
	struct virtio_entropy *e = calloc(1, sizeof(*e));
	int r;

	if (!e) {
		cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col, "%s: out of memory",
			     cfg->name);
		return -ENOMEM;
	}
	virtio_init(&e->d, &vd_virtio_entropy_type, cfg, host, &entropy_ops);
	e->d.offered = VIRTIO_RING_INDIRECT | VIRTIO_RING_EVENT_IDX;
	e->d.n_queues = 1;
	e->d.queue_size_max = QUEUE_SIZE;
	r = virtio_attach(&e->d, errs);
	if (r < 0) {
		entropy_free(&e->d);
		return r;
	}
	*ret = &e->d.v;
	return 0;
}

static const struct vd_option entropy_options[] = {
	{ NULL },
};

const struct vd_type vd_virtio_entropy_type = {
	.name = "virtio-entropy",
	.flags = VD_PCI_CAPABLE,
	.default_space = VD_PCI,
	.len_bytes = 0x200,
	.max_irqs = 1,
	.options = entropy_options,
	.check = virtio_check,
	.create = entropy_create,
};
