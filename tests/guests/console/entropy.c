/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads `bytes=` of each virtio-entropy device, in requests of many lengths and parts, and looks
 * whether they could be random: ones among the bits, bytes of each value, no block twice. Each
 * figure may be eight deviations from its mean, which chance does not do.
 */
#include "tests/guests/console/entropy.h"
#include "tests/guests/drv/vq.h"

#define VIO_ID_RNG 4
#define BLOCK_BYTES 16
#define ANSWER_NS (30 * RT_NS_PER_S)

static struct vq q;
static uint8_t *pool;
static uint64_t pool_bytes;

static void must(const char *why)
{
	if (why)
		rt_fail("entropy: %s", why);
}

/* One request in up to three parts; how much came. */
static uint32_t fetch(uint8_t *to, uint32_t len)
{
	struct vq_seg seg[3] = { { to, len / 3 }, { to + len / 3, len / 3 },
				 { to + 2 * (len / 3), len - 2 * (len / 3) } };
	uint64_t until = arch_ticks() + rt_ticks(ANSWER_NS);
	unsigned skip = len < 3 ? 2 : 0;
	uint32_t got;

	if (!vq_add(&q, seg + skip, 0, 3 - skip, to))
		rt_fail("entropy: no room");
	vq_kick(&q);
	for (;;) {
		uint32_t seen = rt_wake;

		q.dev->ops->irq_ack(q.dev);
		if (vq_poll(&q, &got))
			break;
		if (arch_ticks() > until)
			rt_fail("entropy: no answer to %u bytes", len);
		if (!vq_arm(&q))
			rt_wait(seen, until);
	}
	if (!got || got > len)
		rt_fail("entropy: %u bytes of %u", got, len);
	return got;
}

static unsigned bits(uint8_t b)
{
	unsigned n = 0;

	for (; b; b &= (uint8_t)(b - 1))
		n++;
	return n;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static void look(const struct vio_dev *d)
{
	uint64_t ones = 0, count[256] = { 0 }, worst = 0, mean = pool_bytes / 256, same = 0;

	for (uint64_t i = 0; i < pool_bytes; i++) {
		ones += bits(pool[i]);
		count[pool[i]]++;
	}
	for (unsigned i = 0; i < 256; i++)
		if (distance(count[i], mean) > worst)
			worst = distance(count[i], mean);
	/* Each block with those behind it, up to a distance that a stuck generator would show. */
	for (uint64_t i = 0; i + BLOCK_BYTES <= pool_bytes; i += BLOCK_BYTES)
		for (uint64_t j = i + BLOCK_BYTES; j + BLOCK_BYTES <= pool_bytes && j < i + 1024;
		     j += BLOCK_BYTES)
			same += !memcmp(pool + i, pool + j, BLOCK_BYTES);
	rt_printf("entropy: dev=%s bytes=%lu ones=%lu worst=%lu same=%lu packed=%u\n", d->name,
		  pool_bytes, ones, worst, same, d->features & VIO_F_PACKED ? 1 : 0);
	/* 64 KiB: deviation of the ones 362, of a byte's count 16. */
	if (pool_bytes >= 65536 && (distance(ones, pool_bytes * 4) * 65536 > 8 * 362 * pool_bytes ||
				    worst * 256 > 8 * 16 * mean))
		rt_fail("entropy: that is not random");
	if (same)
		rt_fail("entropy: the same block twice");
}

static void run_one(struct vio_dev *d)
{
	uint64_t at = 0;
	uint32_t len = 1;

	must(vio_begin(d, VIO_F_INDIRECT | VIO_F_EVENT_IDX |
			  (rt_arg_u64("packed", 0) ? VIO_F_PACKED : 0)));
	must(vq_init(&q, d, 0, 0));
	vio_run(d);
	for (unsigned n = 0; at < pool_bytes; n++) {
		at += fetch(pool + at, at + len < pool_bytes ? len : (uint32_t)(pool_bytes - at));
		len = len * 3 % 20011 + n;
	}
	look(d);
}

void entropy_run(void)
{
	struct vio_dev *devs;
	unsigned n = vio_scan(&devs), seen = 0;

	pool_bytes = rt_arg_u64("bytes", 65536);
	pool = rt_need(pool_bytes, 16, "pool");
	for (unsigned i = 0; i < n; i++) {
		if (devs[i].id != VIO_ID_RNG)
			continue;
		memset(pool, 0, pool_bytes);
		run_one(&devs[i]);
		seen++;
	}
	if (!seen)
		rt_fail("entropy: no device");
}
