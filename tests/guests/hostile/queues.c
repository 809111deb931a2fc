/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks on the way up and down: queue sizes and addresses, feature bits, the order of status
 * writes, notifications at the wrong time. Each starts with the device in reset.
 */
#include "tests/guests/hostile/hostile.h"

#define ACK_DRIVER	(VIO_S_ACKNOWLEDGE | VIO_S_DRIVER)

/* To FEATURES_OK; the queues are left to the attack. */
static void up_to_features(struct target *t)
{
	vio_begin(t->dev, VIO_F_INDIRECT | VIO_F_EVENT_IDX);
}

static void rings_of(const struct target *t, uint64_t addr[3])
{
	addr[0] = (uint64_t)t->q->desc;
	addr[1] = (uint64_t)t->q->avail;
	addr[2] = (uint64_t)t->q->used;
}

/* Runs the device with the queue as it is and sends one request through it. */
static void run_and_fire(struct target *t)
{
	vio_run(t->dev);
	put_request(t);
	fire(t, 0);
}

static void size(struct target *t, uint64_t arg)
{
	uint64_t addr[3];

	up_to_features(t);
	rings_of(t, addr);
	uint16_t max = t->dev->ops->queue_max(t->dev, t->qi);
	uint16_t num = (uint16_t)(arg == 0xfffe ? 2 * max : arg);
	t->dev->ops->queue_set(t->dev, t->qi, num, addr, true);
	run_and_fire(t);
}

/* @arg: which of the three in the high half, what to add to its address in the low half. */
static void misaligned(struct target *t, uint64_t arg)
{
	uint64_t addr[3];

	up_to_features(t);
	rings_of(t, addr);
	addr[arg >> 32] += (uint32_t)arg;
	t->dev->ops->queue_set(t->dev, t->qi, t->q->num, addr, true);
	run_and_fire(t);
}

static void ring_address(struct target *t, uint64_t arg)
{
	uint64_t addr[3];

	up_to_features(t);
	rings_of(t, addr);
	addr[arg >> 8] = bad_address(arg & 0xff) & ~(uint64_t)15;
	t->dev->ops->queue_set(t->dev, t->qi, t->q->num, addr, true);
	run_and_fire(t);
}

static void overlapping(struct target *t, uint64_t arg)
{
	uint64_t at = (uint64_t)t->data, addr[3] = { at, at + arg, at + 2 * arg };

	up_to_features(t);
	t->dev->ops->queue_set(t->dev, t->qi, t->q->num, addr, true);
	vio_run(t->dev);
	*(volatile uint16_t *)(addr[1] + 2) = 1;
	t->sent = 1;
	t->dev->ops->notify(t->dev, t->qi);
}

static void all_queues_same(struct target *t, uint64_t arg)
{
	uint64_t addr[3];

	(void)arg;
	up_to_features(t);
	rings_of(t, addr);
	for (unsigned i = 0; i < t->n_queues; i++)
		t->dev->ops->queue_set(t->dev, i, t->q->num, addr, true);
	run_and_fire(t);
}

static void enable_twice(struct target *t, uint64_t arg)
{
	uint64_t addr[3];

	up_to_features(t);
	rings_of(t, addr);
	t->dev->ops->queue_set(t->dev, t->qi, t->q->num, addr, true);
	if (arg)
		addr[0] = bad_address(AT_BEYOND_RAM);
	t->dev->ops->queue_set(t->dev, t->qi, t->q->num, addr, true);
	run_and_fire(t);
}

/* The queue moves while the device is running. */
static void move_running(struct target *t, uint64_t arg)
{
	uint64_t addr[3];

	target_up(t, 0);
	rings_of(t, addr);
	addr[arg] = (uint64_t)t->data;
	t->dev->ops->queue_set(t->dev, t->qi, t->q->num, addr, true);
	put_request(t);
	fire(t, 0);
}

static void no_such_queue(struct target *t, uint64_t arg)
{
	uint64_t addr[3];

	up_to_features(t);
	rings_of(t, addr);
	t->dev->ops->queue_set(t->dev, (unsigned)arg, t->q->num, addr, true);
	vio_run(t->dev);
	t->dev->ops->notify(t->dev, (unsigned)arg);
}

static void notify_not_enabled(struct target *t, uint64_t arg)
{
	(void)arg;
	up_to_features(t);
	vio_run(t->dev);
	t->dev->ops->notify(t->dev, t->qi);
}

static void notify_in_reset(struct target *t, uint64_t arg)
{
	for (uint64_t i = 0; i < arg; i++)
		t->dev->ops->notify(t->dev, (unsigned)i);
}

static void notify_before_driver_ok(struct target *t, uint64_t arg)
{
	uint64_t addr[3];

	(void)arg;
	up_to_features(t);
	rings_of(t, addr);
	t->dev->ops->queue_set(t->dev, t->qi, t->q->num, addr, true);
	put_request(t);
	fire(t, 0);
}

/* Accepts @arg, all 64 bits of it, whatever is offered. */
static void features(struct target *t, uint64_t arg)
{
	t->dev->ops->set_status(t->dev, ACK_DRIVER);
	t->dev->ops->accept(t->dev, arg);
	t->dev->ops->set_status(t->dev, ACK_DRIVER | VIO_S_FEATURES_OK);
}

static void features_late(struct target *t, uint64_t arg)
{
	target_up(t, 0);
	t->dev->ops->accept(t->dev, arg);
	put_request(t);
	fire(t, 0);
}

/* Bytes of @arg are written to the status register one after the other, lowest first. */
static void status_order(struct target *t, uint64_t arg)
{
	for (; arg; arg >>= 8)
		t->dev->ops->set_status(t->dev, (uint8_t)arg);
}

static void status_all_values(struct target *t, uint64_t arg)
{
	(void)arg;
	for (unsigned i = 255; i > 0; i--)
		t->dev->ops->set_status(t->dev, (uint8_t)i);
}

static void status_bits_cleared(struct target *t, uint64_t arg)
{
	target_up(t, 0);
	t->dev->ops->set_status(t->dev, (uint8_t)arg);
	put_request(t);
	fire(t, 0);
}

static void reset_in_flight(struct target *t, uint64_t arg)
{
	for (uint64_t i = 0; i < arg; i++) {
		target_up(t, 0);
		put_request(t);
		for (unsigned k = 0; k < 64; k++)
			publish(t, 0);
		t->dev->ops->notify(t->dev, t->qi);
		t->dev->ops->set_status(t->dev, 0);
	}
	vio_reset(t->dev);
}

#define MIS(i, v)	((uint64_t)(i) << 32 | (v))
#define BAD(i, a)	((uint64_t)(i) << 8 | (a))

const struct attack device_attacks[] = {
	{ "size-0", size, 0 },
	{ "size-3", size, 3 },
	{ "size-65535", size, 65535 },
	{ "size-32768", size, 32768 },
	{ "size-twice-max", size, 0xfffe },
	{ "desc-misaligned", misaligned, MIS(0, 1) },
	{ "avail-misaligned", misaligned, MIS(1, 1) },
	{ "used-misaligned", misaligned, MIS(2, 2) },
	{ "desc-beyond-ram", ring_address, BAD(0, AT_BEYOND_RAM) },
	{ "avail-beyond-ram", ring_address, BAD(1, AT_BEYOND_RAM) },
	{ "used-beyond-ram", ring_address, BAD(2, AT_BEYOND_RAM) },
	{ "desc-wraps", ring_address, BAD(0, AT_WRAP) },
	{ "avail-wraps", ring_address, BAD(1, AT_WRAP) },
	{ "used-wraps", ring_address, BAD(2, AT_WRAP) },
	{ "desc-straddles-ram-end", ring_address, BAD(0, AT_STRADDLE) },
	{ "avail-straddles-ram-end", ring_address, BAD(1, AT_STRADDLE) },
	{ "used-straddles-ram-end", ring_address, BAD(2, AT_STRADDLE) },
	{ "desc-in-mmio-hole", ring_address, BAD(0, AT_HOLE) },
	{ "avail-in-mmio-hole", ring_address, BAD(1, AT_HOLE) },
	{ "used-in-mmio-hole", ring_address, BAD(2, AT_HOLE) },
	{ "rings-at-one-address", overlapping, 0 },
	{ "rings-overlap", overlapping, 16 },
	{ "all-queues-one-ring", all_queues_same },
	{ "enable-twice", enable_twice, 0 },
	{ "enable-twice-elsewhere", enable_twice, 1 },
	{ "desc-moves-running", move_running, 0 },
	{ "used-moves-running", move_running, 2 },
	{ "queue-64", no_such_queue, 64 },
	{ "queue-1024", no_such_queue, 1024 },
	{ "queue-65535", no_such_queue, 65535 },
	{ "notify-not-enabled", notify_not_enabled },
	{ "notify-in-reset", notify_in_reset, 4 },
	{ "notify-before-driver-ok", notify_before_driver_ok },
	{ "features-all", features, UINT64_MAX },
	{ "features-none", features, 0 },
	{ "features-never-offered", features,
	  VIO_F_VERSION_1 | UINT64_C(1) << 63 | UINT64_C(1) << 50 },
	{ "features-packed-ring", features, VIO_F_VERSION_1 | UINT64_C(1) << 34 },
	{ "features-after-driver-ok", features_late, 0 },
	{ "features-all-after-driver-ok", features_late, UINT64_MAX },
	{ "status-driver-ok-only", status_order, VIO_S_DRIVER_OK },
	{ "status-driver-ok-first", status_order, 0x0f0b0304 },
	{ "status-features-ok-first", status_order, 0x0f030108 },
	{ "status-failed", status_order, 0x8f830301 },
	{ "status-unknown-bits", status_order, 0x3f301020 },
	{ "status-all-values", status_all_values },
	{ "status-driver-ok-cleared", status_bits_cleared, ACK_DRIVER | VIO_S_FEATURES_OK },
	{ "status-only-acknowledge", status_bits_cleared, VIO_S_ACKNOWLEDGE },
	{ "status-needs-reset-by-driver", status_bits_cleared, 0x4f },
	{ "reset-in-flight", reset_in_flight, 16 },
};
const unsigned n_device_attacks = RT_ARRAY_LEN(device_attacks);
