/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file behind a virtio-blk, and what the guest is told of it. Main thread for the first open,
 * the I/O thread for what is waited for (`delayed`), under the vdev's lock.
 *
 *   medium    entered when                leaves on                          deadline     held
 *   AWAITED   `delayed`, and the file     it can be opened: THERE            `delayed`    timer
 *             is not there at the start   deadline: MISSING
 *   THERE     opened                      never                              none         the file
 *   MISSING   it did not come in time     never                              none         nothing
 *
 * Without a file the disk has no sectors: reads and writes fail, and a driver that looks at the
 * capacity again when it is told of a change, as it should (5.2.5), finds the disk when it comes.
 * What a driver has been promised stays: features that only the file decides (discard, write
 * zeroes) and its block size are had when it is there before the driver comes.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "lib/qlog.h"
#include "vdevs/virtio_blk_priv.h"

#define RANGE_SECTORS_MAX (1u << 22)	/* of a discard: 2 GiB in one request */
#define RETRY_NS (100 * Q_NSEC_PER_MSEC)

/* ---- what the guest sees ---- */

/* @bytes in units of @unit, 0 when it is not a multiple. */
static uint32_t in_units(uint32_t bytes, uint32_t unit)
{
	return bytes % unit ? 0 : bytes / unit;
}

static uint8_t log2_of(uint32_t v)
{
	uint8_t n = 0;

	while (v > 1) {
		v /= 2;
		n++;
	}
	return n;
}

static void put_topology(struct virtio_blk_config *c, const struct vd_blk_info *info)
{
	uint32_t per_physical = in_units(info->physical_bytes, info->block_bytes);

	if (per_physical && !(per_physical & (per_physical - 1)))
		c->physical_block_exp = log2_of(per_physical);
	c->min_io_size = htole16((uint16_t)Q_MIN(in_units(info->io_min_bytes, info->block_bytes),
						 UINT16_MAX));
	c->opt_io_size = htole32(in_units(info->io_best_bytes, info->block_bytes));
}

static uint64_t put_ranges(struct virtio_blk_config *c, const struct vd_blk_info *info)
{
	uint32_t align = Q_MAX(info->discard_bytes, info->block_bytes);
	uint64_t features = 0;

	if (info->can_discard && !info->read_only) {
		features |= VIRTIO_BIT(VIRTIO_BLK_F_DISCARD);
		c->max_discard_sectors = htole32(RANGE_SECTORS_MAX);
		c->max_discard_seg = htole32(1);
		c->discard_sector_alignment = htole32(align / Q_SECTOR_BYTES);
	}
	if (info->can_zero && !info->read_only) {
		features |= VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
		c->max_write_zeroes_sectors = htole32(RANGE_SECTORS_MAX);
		c->max_write_zeroes_seg = htole32(1);
		c->write_zeroes_may_unmap = info->can_discard;
	}
	return features;
}

/* Config space and features of a disk like @info. */
static uint64_t describe(struct virtio_blk *b, const struct vd_blk_info *info)
{
	struct virtio_blk_config c = {
		.capacity = htole64(info->len_bytes / Q_SECTOR_BYTES),
		.seg_max = htole32(QBLK_SEG_MAX),
		.blk_size = htole32(info->block_bytes),
		.wce = 1,
		.num_queues = htole16(1),
	};
	uint64_t features = VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) |
			    VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) |
			    VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE) | put_ranges(&c, info);

	put_topology(&c, info);
	static_assert(sizeof(c) <= VIRTIO_CONFIG_BYTES, "config space holds it");
	memcpy(b->d.config, &c, sizeof(c));
	b->d.config_len = sizeof(c);
	b->qd.capacity_sectors = info->len_bytes / Q_SECTOR_BYTES;
	b->qd.read_only = info->read_only;
	return features | (info->read_only ? VIRTIO_BIT(VIRTIO_BLK_F_RO) : 0);
}

/* ---- waiting for it ---- */

static void arm(struct virtio_blk *b, uint64_t now_ns)
{
	uint64_t next = now_ns + RETRY_NS;

	b->d.v.host->ops->timer_arm(b->d.v.host, b->timer, Q_MIN(next, b->until_ns));
}

/* The file is there: the guest is told, and keeps what it was promised. */
static void arrived(struct virtio_blk *b, struct vd_blk_info *info)
{
	struct vd_host *h = b->d.v.host;
	const struct virtio_blk_config *c = (const void *)b->d.config;
	uint8_t wce = c->wce;
	uint64_t features;

	if (b->d.status)
		info->block_bytes = le32toh(c->blk_size);
	features = describe(b, info);
	if (b->d.status)
		((struct virtio_blk_config *)b->d.config)->wce = wce;
	else
		b->d.offered |= features;
	h->ops->log(h, QLOG_INFO, "ev=disk_there file=%s waited_ms=%llu", b->hostdev->text,
		    (unsigned long long)((qnow_ns() - b->since_ns) / Q_NSEC_PER_MSEC));
	virtio_config_changed(&b->d);
}

static void look(struct vdev *v, void *arg)
{
	struct virtio_blk *b = arg;
	struct cf_errors errs = CF_ERRORS_NULL;
	struct vd_host *h = v->host;
	struct vd_blk_info info;
	uint64_t now = qnow_ns();

	if (b->blk)
		return;
	if (h->ops->blk_open(h, b->hostdev, &errs, &b->blk, &info) == 0)
		arrived(b, &info);
	else if (now < b->until_ns)
		arm(b, now);
	else
		h->ops->log(h, QLOG_ERROR, "ev=disk_missing file=%s why=\"%s\"", b->hostdev->text,
			    errs.n ? errs.v[0].text : "unknown");
	cf_errors_fini(&errs);
}

/* Errors that say "not yet"; others (somebody else writes it, it is no disk) stand. */
static bool is_absence(int err)
{
	return err == -ENOENT || err == -ENXIO || err == -ENODEV || err == -ENOMEDIUM;
}

static int wait_for(struct virtio_blk *b, uint64_t delay_ns)
{
	struct vd_host *h = b->d.v.host;
	const struct vd_blk_info none = { .read_only = b->hostdev->text[0] == '<',
					  .block_bytes = Q_SECTOR_BYTES };

	b->timer = h->ops->timer_new(h, look, b);
	if (!b->timer)
		return -ENOMEM;
	b->since_ns = qnow_ns();
	b->until_ns = delay_ns > UINT64_MAX - b->since_ns ? UINT64_MAX : b->since_ns + delay_ns;
	b->d.offered = describe(b, &none);
	h->ops->log(h, QLOG_INFO, "ev=disk_awaited file=%s", b->hostdev->text);
	arm(b, b->since_ns);
	return 0;
}

/* ---- life ---- */

int virtio_blk_media_open(struct virtio_blk *b, const struct vd_arg *hostdev,
			  struct cf_errors *errs)
{
	const struct vd_arg *delayed = vd_arg_find(b->d.v.cfg, "delayed");
	struct cf_errors own = CF_ERRORS_NULL;
	struct vd_host *h = b->d.v.host;
	struct vd_blk_info info;
	uint64_t delay_ns = 0;
	int r;

	b->hostdev = hostdev;
	b->d.n_queues = 1;
	b->d.queue_size_max = VIRTIO_BLK_QUEUE_SIZE;
	memcpy(b->qd.serial, b->d.v.cfg->name, strnlen(b->d.v.cfg->name, sizeof(b->qd.serial)));
	if (delayed)
		vd_delay_parse(delayed->text, &delay_ns);
	r = h->ops->blk_open(h, hostdev, delayed ? &own : errs, &b->blk, &info);
	if (r == 0)
		b->d.offered = describe(b, &info);
	else if (delayed && is_absence(r))
		r = wait_for(b, delay_ns);
	else if (delayed && own.n)
		cf_error_add(errs, CF_ERROR, hostdev->file, hostdev->line, hostdev->col, "%s",
			     own.v[0].text);
	cf_errors_fini(&own);
	return r;
}

void virtio_blk_media_close(struct virtio_blk *b)
{
	struct vd_host *h = b->d.v.host;

	if (b->timer)
		h->ops->timer_free(h, b->timer);
	if (b->blk)
		h->ops->blk_close(h, b->blk);
}

const char *virtio_blk_media_str(const struct virtio_blk *b)
{
	return b->blk ? "there" : qnow_ns() < b->until_ns ? "awaited" : "missing";
}
