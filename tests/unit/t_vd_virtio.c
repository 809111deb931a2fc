/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio.c over both transports: the status machine with each order that the specification
 * forbids, queues that cannot be used, features, config space, resets with work in flight. The
 * device is virtio-blk with a file.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vddriver.h"
#include "vdevs/virtio.h"

#define RING gpa(VDH_RAM_GPA)
#define DATA (VDH_RAM_GPA + 0x100000)

/* Each test runs over both: even loop numbers PCI, odd MMIO. */
static void dev_open(struct vdh *h, struct vdd *d, bool mmio)
{
	vdh_init(h);
	vdh_arg(h, "hostdev", "disk", 0);
	if (mmio)
		ck_assert_int_eq(vdh_create(h, "virtio-blk", VD_MEM, VDD_MMIO, 1), 0);
	else
		ck_assert_int_eq(vdh_create(h, "virtio-blk", VD_PCI, 0, 0), 0);
	vdd_init(d, h);
}

static struct virtio_dev *virtio_of(struct vdh *h)
{
	return Q_CONTAINER_OF(h->v, struct virtio_dev, v);
}

/* ---- status ---- */

#define A VIRTIO_CONFIG_S_ACKNOWLEDGE
#define D VIRTIO_CONFIG_S_DRIVER
#define F VIRTIO_CONFIG_S_FEATURES_OK
#define O VIRTIO_CONFIG_S_DRIVER_OK
#define X VIRTIO_CONFIG_S_FAILED
#define N VIRTIO_CONFIG_S_NEEDS_RESET
#define LEAVE 0xfe	/* ack VERSION_1 here */
#define BAD 0xfd	/* ack a bit that is not offered, with VERSION_1, here */

static const struct {
	const char *what;
	uint8_t write[8];	/* until 0 */
	uint8_t want;
	unsigned faults;
} status_rows[] = {
	{ "in order", { A, A | D, LEAVE, A | D | F, A | D | F | O }, A | D | F | O, 0 },
	{ "two at once", { A | D, LEAVE, A | D | F, A | D | F | O }, A | D | F | O, 0 },
	{ "the same again", { A, A, A | D, A | D }, A | D, 0 },
	{ "driver without acknowledge", { D }, N, 1 },
	{ "features without driver", { A, LEAVE, A | F }, A | N, 1 },
	{ "driver ok without features ok", { A, A | D, A | D | O }, A | D | N, 1 },
	{ "features ok and driver ok at once", { A, A | D, LEAVE, A | D | F | O }, A | D | N, 1 },
	{ "legacy driver", { A, A | D, A | D | F }, A | D, 0 },
	{ "features not offered", { A, A | D, BAD, A | D | F }, A | D, 1 },
	{ "driver ok after refused features", { A, A | D, A | D | F, A | D | O }, A | D | N, 1 },
	{ "bits cleared", { A, A | D, LEAVE, A | D | F, A | D }, A | D | F | N, 1 },
	{ "bits cleared while live", { A | D, LEAVE, A | D | F, A | D | F | O, A },
	  A | D | F | O | N, 1 },
	{ "reserved bits", { A | 0x10, A | 0x30 }, A, 2 },
	{ "needs reset cannot be written", { A, A | N }, A, 0 },
	{ "driver gives up", { A, A | X }, A | X, 0 },
	{ "nothing heals but a reset", { D, A | D }, A | D | N, 1 },
	{ "features changed after features ok", { A | D, LEAVE, A | D | F, LEAVE }, A | D | F, 2 },
};
START_TEST(status_orders)
{
	const typeof(status_rows[0]) *row = &status_rows[_i / 2];
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, _i % 2);
	for (unsigned i = 0; i < 8 && row->write[i]; i++) {
		if (row->write[i] == LEAVE)
			vdd_ack(&d, VDD_VERSION_1);
		else if (row->write[i] == BAD)
			vdd_ack(&d, VDD_VERSION_1 | 1ull << 36);
		else
			vdd_set_status(&d, row->write[i]);
	}
	ck_assert_msg(vdd_status(&d) == row->want, "%s: %#x", row->what, vdd_status(&d));
	ck_assert_msg(vdh_fault_count(&h, VD_FAULT_BAD_STATE) == row->faults, "%s: %u faults",
		      row->what, h.n_faults);
	vdd_set_status(&d, 0);
	ck_assert_uint_eq(vdd_status(&d), 0);
	ck_assert_uint_eq(vdd_negotiate(&d, VDD_VERSION_1), A | D | F);
	vdh_fini(&h);
}
END_TEST

START_TEST(run_states)
{
	for (unsigned i = 0; i < VIRTIO_RUNS; i++)
		ck_assert_ptr_nonnull(virtio_run_str(i));
	ck_assert_str_eq(virtio_run_str(VIRTIO_RUNS), "unknown");
}
END_TEST

START_TEST(features_words)
{
	struct vdh h;
	struct vdd d;
	uint64_t offered;

	dev_open(&h, &d, _i);
	offered = vdd_offered(&d);
	ck_assert(offered & VDD_VERSION_1);
	ck_assert(offered & VDD_INDIRECT);
	ck_assert(offered & VDD_EVENT_IDX);
	ck_assert(offered & 1ull << VIRTIO_BLK_F_FLUSH);
	ck_assert(offered & VDD_PACKED);
	/* ANY_LAYOUT, ACCESS_PLATFORM, IN_ORDER, ORDER_PLATFORM, SR_IOV, NOTIFICATION_DATA,
	 * NOTIF_CONFIG_DATA, RING_RESET */
	ck_assert_uint_eq(offered & (1ull << 27 | 1ull << 33 | 0x3full << 35), 0);
	ck_assert_uint_eq(vdd_negotiate(&d, offered), A | D | F);
	ck_assert_uint_eq(virtio_of(&h)->acked, offered);
	vdd_set_status(&d, 0);
	ck_assert_uint_eq(virtio_of(&h)->acked, 0);
	vdh_fini(&h);
}
END_TEST

/* ---- queues ---- */

static const struct {
	const char *what;
	uint64_t num, desc, avail, used;
	bool ok;
} queue_rows[] = {
	{ "usual", 256, 0x100000, 0x101000, 0x102000, true },
	{ "smallest", 1, 0x100000, 0x101000, 0x102000, true },
	{ "at the end of memory", 16, 0x4fff00, 0x4ffe00, 0x4ffd00, true },
	{ "no entries", 0, 0x100000, 0x101000, 0x102000, false },
	{ "not a power of 2", 96, 0x100000, 0x101000, 0x102000, false },
	{ "more than offered", 512, 0x100000, 0x104000, 0x106000, false },
	{ "more than a ring may have", 0x8000, 0x100000, 0x200000, 0x300000, false },
	{ "descriptors unaligned", 16, 0x100008, 0x101000, 0x102000, false },
	{ "avail unaligned", 16, 0x100000, 0x101001, 0x102000, false },
	{ "used unaligned", 16, 0x100000, 0x101000, 0x102002, false },
	{ "outside memory", 16, 0x90000000, 0x101000, 0x102000, false },
	{ "below memory", 16, 0xfff00, 0x101000, 0x102000, false },
	{ "across the end", 16, 0x100000, 0x101000, 0x4ffffc, false },
	{ "wraps", 16, 0xfffffffffffffff0, 0x101000, 0x102000, false },
};
START_TEST(queue_checks)
{
	const typeof(queue_rows[0]) *row = &queue_rows[_i / 2];
	const struct qring_cfg cfg = { .num = (uint32_t)row->num, .desc = gpa(row->desc),
				       .avail = gpa(row->avail), .used = gpa(row->used) };
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, _i % 2);
	vdd_negotiate(&d, VDD_VERSION_1);
	vdd_queue_set(&d, 0, &cfg);
	vdd_queue_enable(&d, 0);
	ck_assert_msg(vdd_queue_enabled(&d, 0) == row->ok, "%s", row->what);
	ck_assert_uint_eq(vdd_status(&d), row->ok ? A | D | F : A | D | F | N);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_RING), !row->ok);
	vdh_fini(&h);
}
END_TEST

/* A packed ring may have any number of places; what each side asks for stands on 4 bytes. */
static const struct {
	const char *what;
	uint64_t num, desc, avail, used;
	bool ok;
} packed_rows[] = {
	{ "usual", 256, 0x100000, 0x101000, 0x101004, true },
	{ "not a power of 2", 96, 0x100000, 0x101000, 0x101004, true },
	{ "one", 1, 0x100000, 0x101000, 0x101004, true },
	{ "at the end of memory", 16, 0x4fff00, 0x4ffefc, 0x4ffef8, true },
	{ "across the end", 17, 0x4fff00, 0x4ffefc, 0x4ffef8, false },
	{ "none", 0, 0x100000, 0x101000, 0x101004, false },
	{ "more than offered", 257, 0x100000, 0x102000, 0x102004, false },
	{ "descriptors unaligned", 16, 0x100008, 0x101000, 0x101004, false },
	{ "driver's unaligned", 16, 0x100000, 0x101002, 0x101004, false },
	{ "device's unaligned", 16, 0x100000, 0x101000, 0x101006, false },
	{ "device's outside", 16, 0x100000, 0x101000, 0x90000000, false },
};
START_TEST(packed_queue_checks)
{
	const typeof(packed_rows[0]) *row = &packed_rows[_i / 2];
	const struct qring_cfg cfg = { .num = (uint32_t)row->num, .desc = gpa(row->desc),
				       .avail = gpa(row->avail), .used = gpa(row->used) };
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, _i % 2);
	vdd_negotiate(&d, VDD_VERSION_1 | VDD_PACKED);
	vdd_queue_set(&d, 0, &cfg);
	vdd_queue_enable(&d, 0);
	ck_assert_msg(vdd_queue_enabled(&d, 0) == row->ok, "%s", row->what);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_RING), !row->ok);
	vdd_set_status(&d, 0);		/* and again, as a split ring */
	vdd_negotiate(&d, VDD_VERSION_1);
	vdd_queue_set(&d, 0, &(struct qring_cfg){ .num = 16, .desc = gpa(0x100000),
						  .avail = gpa(0x101000), .used = gpa(0x102000) });
	vdd_queue_enable(&d, 0);
	ck_assert(vdd_queue_enabled(&d, 0));
	vdh_fini(&h);
}
END_TEST

/* A chain that goes round and round: the ring is lost, the device says so, a reset heals it. */
START_TEST(packed_broken)
{
	const struct vring_packed_desc desc = {
		.addr = htole64(DATA), .len = htole32(16), .flags = htole16(1 << 7 | 1),
	};
	struct vdh h;
	struct vdd d;
	struct qdriver q;

	dev_open(&h, &d, _i);
	vdd_live(&d, VDD_VERSION_1 | VDD_PACKED, &q, RING, 4);
	for (unsigned i = 0; i < 4; i++)
		qmem_write(h.mem, gpa(RING.v + 16 * i), &desc, sizeof(desc));
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_INDEX), 1);
	ck_assert_uint_eq(vdd_status(&d), A | D | F | O | N);
	qdriver_fini(&q);
	vdd_live(&d, VDD_VERSION_1 | VDD_PACKED, &q, RING, 4);
	vdh_settle(&h);
	ck_assert_uint_eq(vdd_status(&d), VDD_STATUS_LIVE);
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

START_TEST(queue_order)
{
	const struct qring_cfg cfg = { .num = 16, .desc = gpa(0x100000), .avail = gpa(0x101000),
				       .used = gpa(0x102000) };
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, _i);
	ck_assert_uint_eq(vdd_queue_max(&d, 0), 256);
	ck_assert_uint_eq(vdd_queue_max(&d, 1), 0);	/* not there */
	vdd_queue_set(&d, 0, &cfg);
	vdd_queue_enable(&d, 0);			/* before FEATURES_OK */
	ck_assert(!vdd_queue_enabled(&d, 0));
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_STATE), 1);
	vdd_negotiate(&d, VDD_VERSION_1);
	vdd_queue_set(&d, 0, &cfg);
	vdd_queue_enable(&d, 0);
	ck_assert(vdd_queue_enabled(&d, 0));
	vdd_queue_set(&d, 0, &cfg);			/* while enabled: not changed */
	ck_assert_uint_gt(vdh_fault_count(&h, VD_FAULT_BAD_STATE), 1);
	vdd_queue_enable(&d, 5);
	ck_assert(!vdd_queue_enabled(&d, 5));
	vdd_set_status(&d, VDD_STATUS_LIVE);
	ck_assert_uint_eq(vdd_status(&d), VDD_STATUS_LIVE);
	vdd_set_status(&d, 0);
	ck_assert(!vdd_queue_enabled(&d, 0));
	vdh_fini(&h);
}
END_TEST

START_TEST(live_without_queues)
{
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, _i);
	vdd_negotiate(&d, VDD_VERSION_1);
	vdd_set_status(&d, VDD_STATUS_LIVE);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert_uint_eq(vdd_status(&d), VDD_STATUS_LIVE);
	vdh_fini(&h);
}
END_TEST

/* ---- running ---- */

static void add_read(struct qdriver *q, uint64_t sector, void *token)
{
	const struct virtio_blk_outhdr hdr = { .type = VIRTIO_BLK_T_IN, .sector = sector };
	const struct qdriver_buf bufs[] = { { gpa(DATA), 16, false },
					    { gpa(DATA + 0x1000), 512, true },
					    { gpa(DATA + 0x100), 1, true } };

	ck_assert_int_eq(qmem_write(q->mem, gpa(DATA), &hdr, sizeof(hdr)), 0);
	ck_assert_int_eq(qdriver_add(q, bufs, 3, token), QDRIVER_OK);
	qdriver_publish(q);
}

/* Kicks and interrupts take the short way when the host can, and arrive when it cannot. */
START_TEST(notify_and_interrupt)
{
	struct vdh h;
	struct vdd d;
	struct qdriver q;
	void *token;
	uint32_t len;

	vdh_init(&h);
	h.no_notify = _i & 2;
	h.no_irq_fd = _i & 2;
	vdh_arg(&h, "hostdev", "disk", 0);
	ck_assert_int_eq(vdh_create(&h, "virtio-blk", _i & 1 ? VD_MEM : VD_PCI, VDD_MMIO, 1), 0);
	vdd_init(&d, &h);
	ck_assert_uint_eq(vdh_notify_count(&h), _i & 2 ? 0 : 1);
	vdd_live(&d, VDD_VERSION_1, &q, RING, 16);
	vdh_settle(&h);
	add_read(&q, 1, &q);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert_int_eq(qdriver_poll(&q, &token, &len), QDRIVER_OK);
	ck_assert_uint_eq(len, 513);
	if (_i == 3)
		ck_assert_uint_eq(h.raises[0], 1);
	else
		ck_assert_uint_eq(vdd_interrupts(&d), 1);
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

/* What was made available before DRIVER_OK and never kicked is served too. */
START_TEST(early_buffers)
{
	struct vdh h;
	struct vdd d;
	struct qdriver q;

	dev_open(&h, &d, _i);
	vdd_negotiate(&d, VDD_VERSION_1);
	ck_assert_int_eq(qdriver_init(&q, h.mem, RING, 16, 0, gpa(0), 0), 0);
	vdd_queue_set(&d, 0, &q.cfg);
	vdd_queue_enable(&d, 0);
	add_read(&q, 0, &q);
	vdd_set_status(&d, VDD_STATUS_LIVE);
	vdh_settle(&h);
	ck_assert_uint_eq(h.n_submits, 1);
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

static const struct {
	const char *what;
	unsigned off;
	uint16_t val;
	enum vd_fault want;
} bad_rings[] = {
	{ "index runs ahead", 2, 17, VD_FAULT_BAD_INDEX },
	{ "head outside", 4, 16, VD_FAULT_BAD_INDEX },
	{ "zero-length descriptor", 4, 3, VD_FAULT_BAD_CHAIN },
};
START_TEST(broken_ring)
{
	const typeof(bad_rings[0]) *row = &bad_rings[_i / 2];
	struct vdh h;
	struct vdd d;
	struct qdriver q;
	uint16_t idx = 1;

	dev_open(&h, &d, _i % 2);
	vdd_live(&d, VDD_VERSION_1, &q, RING, 16);
	vdh_settle(&h);
	qmem_write(h.mem, gpa(q.cfg.avail.v + 2), &idx, 2);
	qmem_write(h.mem, gpa(q.cfg.avail.v + row->off), &row->val, 2);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert_uint_eq(vdd_status(&d), VDD_STATUS_LIVE | N);
	ck_assert_msg(vdh_fault_count(&h, row->want) == 1, "%s", row->what);
	if (_i % 2) {	/* the guest is told, and sees why */
		ck_assert_uint_eq(vdd_interrupts(&d), 1);
		ck_assert_uint_eq(vdh_read(&h, VD_MEM, VDD_MMIO + VIRTIO_MMIO_INTERRUPT_STATUS, 4),
				  3);
	}
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert_uint_eq(h.n_faults, 1);	/* served no more */
	qdriver_fini(&q);
	vdd_live(&d, VDD_VERSION_1, &q, RING, 16);
	vdh_settle(&h);
	add_read(&q, 0, &q);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert_uint_eq(h.n_submits, 1);	/* healed by the reset */
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

/* A reset while a request is out: status is not 0 before nothing touches memory any more. */
START_TEST(reset_in_flight)
{
	struct vdh h;
	struct vdd d;
	struct qdriver q;
	uint8_t status = 0xaa;

	dev_open(&h, &d, _i % 2);
	vdd_live(&d, VDD_VERSION_1 | (_i / 2 ? VDD_PACKED : 0), &q, RING, 16);
	vdh_settle(&h);
	h.hold = true;
	add_read(&q, 0, &q);
	qmem_write(h.mem, gpa(DATA + 0x100), &status, 1);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert_uint_eq(h.n_io, 1);
	vdd_set_status(&d, 0);
	ck_assert_uint_eq(vdd_status(&d), N);
	vdh_settle(&h);
	ck_assert_uint_eq(vdd_status(&d), N);
	h.hold = false;
	vdh_settle(&h);
	ck_assert_uint_eq(vdd_status(&d), 0);
	qmem_read(h.mem, gpa(DATA + 0x100), &status, 1);
	ck_assert_uint_eq(status, 0xaa);	/* nothing was answered after the reset */
	ck_assert_uint_eq(vdd_interrupts(&d), 0);
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

/* A driver that does not wait for 0 goes on; the device starts when the old work is over. */
START_TEST(reset_not_waited_for)
{
	struct vdh h;
	struct vdd d;
	struct qdriver q;
	uint64_t features = VDD_VERSION_1 | (_i / 2 ? VDD_PACKED : 0);

	dev_open(&h, &d, _i % 2);
	vdd_live(&d, features, &q, RING, 16);
	vdh_settle(&h);
	h.hold = true;
	add_read(&q, 0, &q);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	qdriver_fini(&q);
	/* The way of Linux: each status is the one read, with a bit more. */
	vdd_set_status(&d, 0);
	vdd_set_status(&d, vdd_status(&d) | A);
	vdd_set_status(&d, vdd_status(&d) | D);
	vdd_ack(&d, features);
	vdd_set_status(&d, vdd_status(&d) | F);
	ck_assert(vdd_status(&d) & F);
	ck_assert_int_eq(qdriver_init(&q, h.mem, gpa(VDH_RAM_GPA + 0x80000), 16,
				      _i / 2 ? QRING_PACKED : 0, gpa(0), 0), 0);
	vdd_queue_set(&d, 0, &q.cfg);
	vdd_queue_enable(&d, 0);
	add_read(&q, 2, &q);
	vdd_set_status(&d, vdd_status(&d) | O);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert_uint_eq(h.n_submits, 1);
	ck_assert_int_eq(virtio_of(&h)->run, VIRTIO_STOPPING);
	h.hold = false;
	vdh_settle(&h);
	ck_assert_uint_eq(vdd_status(&d), VDD_STATUS_LIVE);
	ck_assert_int_eq(virtio_of(&h)->run, VIRTIO_RUNNING);
	ck_assert_uint_eq(h.n_submits, 2);
	ck_assert_uint_eq(h.n_faults, 0);
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

/* ---- config space, small things of MMIO ---- */

START_TEST(config_space)
{
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, _i);
	ck_assert_uint_eq(vdd_config(&d, 0, 8), (1 << 20) / 512);
	ck_assert_uint_eq(vdd_config(&d, 0, 4), (1 << 20) / 512);
	ck_assert_uint_eq(vdd_config(&d, offsetof(struct virtio_blk_config, blk_size), 4), 512);
	ck_assert_uint_eq(vdd_config(&d, offsetof(struct virtio_blk_config, blk_size) + 1, 1), 2);
	ck_assert_uint_eq(vdd_config(&d, sizeof(struct virtio_blk_config), 1), 0);
	ck_assert_uint_eq(vdd_config(&d, 0xf8, 8), 0);
	virtio_config_changed(virtio_of(&h));
	ck_assert_uint_eq(vdd_interrupts(&d), 0);	/* nobody is there to be told */
	vdh_fini(&h);
}
END_TEST

static const struct { unsigned off, size; uint64_t want; } mmio_rows[] = {
	{ VIRTIO_MMIO_MAGIC_VALUE, 4, 0x74726976 },
	{ VIRTIO_MMIO_VERSION, 4, 2 },
	{ VIRTIO_MMIO_DEVICE_ID, 4, 2 },
	{ VIRTIO_MMIO_VENDOR_ID, 4, 0x1c05 },
	{ VIRTIO_MMIO_QUEUE_NUM_MAX, 4, 256 },
	{ VIRTIO_MMIO_SHM_LEN_LOW, 4, 0xffffffff },
	{ VIRTIO_MMIO_SHM_LEN_HIGH, 4, 0xffffffff },
	{ VIRTIO_MMIO_INTERRUPT_STATUS, 4, 0 },
	{ VIRTIO_MMIO_MAGIC_VALUE, 1, 0 },	/* registers have one width */
	{ VIRTIO_MMIO_MAGIC_VALUE, 8, 0 },
	{ 0x0c0, 4, 0 },			/* QueueReset is not offered */
};
START_TEST(mmio_registers)
{
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, true);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, VDD_MMIO + mmio_rows[_i].off, mmio_rows[_i].size),
			  mmio_rows[_i].want);
	vdh_fini(&h);
}
END_TEST

START_TEST(mmio_interrupt_status)
{
	const uint64_t status = VDD_MMIO + VIRTIO_MMIO_INTERRUPT_STATUS;
	const uint64_t ack = VDD_MMIO + VIRTIO_MMIO_INTERRUPT_ACK;
	struct vdh h;
	struct vdd d;
	struct qdriver q;

	dev_open(&h, &d, true);
	vdd_live(&d, VDD_VERSION_1, &q, RING, 16);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, status, 4), 1);
	vdh_write(&h, VD_MEM, ack, 4, 1);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, status, 4), 1);	/* see virtio_mmio.c why */
	virtio_config_changed(virtio_of(&h));
	ck_assert_uint_eq(vdd_interrupts(&d), 1);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, status, 4), 3);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, VDD_MMIO + VIRTIO_MMIO_CONFIG_GENERATION, 4), 1);
	vdh_write(&h, VD_MEM, ack, 4, 3);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, status, 4), 1);
	vdh_write(&h, VD_MEM, VDD_MMIO + VIRTIO_MMIO_QUEUE_READY, 4, 0); /* while live */
	ck_assert(vdd_queue_enabled(&d, 0));
	vdd_set_status(&d, 0);
	vdh_settle(&h);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, status, 4), 0);
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

START_TEST(wrong_kicks)
{
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, _i);
	vdd_notify(&d, 9);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_INDEX), 1);
	vdd_notify(&d, 0);	/* nobody listens yet: no harm */
	vdh_settle(&h);
	ck_assert_uint_eq(h.n_faults, 1);
	vdh_fini(&h);
}
END_TEST

static const struct {
	enum vd_space space;
	unsigned n_irqs;
	const char *arg;
	bool ok;
} check_rows[] = {
	{ VD_PCI, 0, NULL, true }, { VD_MEM, 1, NULL, true }, { VD_MEM, 0, NULL, false },
	{ VD_MEM, 2, NULL, false }, { VD_IO, 1, NULL, false }, { VD_PCI, 0, "legacy", true },
	{ VD_MEM, 1, "legacy", true }, { VD_MEM, 0, "legacy", false },
};
START_TEST(checks)
{
	struct vdh h;

	vdh_init(&h);
	vdh_arg(&h, "hostdev", "disk", 0);
	if (check_rows[_i].arg)
		vdh_arg(&h, check_rows[_i].arg, NULL, 0);
	ck_assert_int_eq(vdh_create(&h, "virtio-blk", check_rows[_i].space, VDD_MMIO,
				    check_rows[_i].n_irqs) == 0, check_rows[_i].ok);
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_virtio");
	TCase *tc = fixture_case(s, "virtio");

	tcase_add_loop_test(tc, status_orders, 0, 2 * Q_ARRAY_LEN(status_rows));
	tcase_add_test(tc, run_states);
	tcase_add_loop_test(tc, features_words, 0, 2);
	tcase_add_loop_test(tc, queue_checks, 0, 2 * Q_ARRAY_LEN(queue_rows));
	tcase_add_loop_test(tc, queue_order, 0, 2);
	tcase_add_loop_test(tc, live_without_queues, 0, 2);
	tcase_add_loop_test(tc, notify_and_interrupt, 0, 4);
	tcase_add_loop_test(tc, early_buffers, 0, 2);
	tcase_add_loop_test(tc, broken_ring, 0, 2 * Q_ARRAY_LEN(bad_rings));
	tcase_add_loop_test(tc, reset_in_flight, 0, 4);
	tcase_add_loop_test(tc, reset_not_waited_for, 0, 4);
	tcase_add_loop_test(tc, packed_queue_checks, 0, 2 * Q_ARRAY_LEN(packed_rows));
	tcase_add_loop_test(tc, packed_broken, 0, 2);
	tcase_add_loop_test(tc, config_space, 0, 2);
	tcase_add_loop_test(tc, mmio_registers, 0, Q_ARRAY_LEN(mmio_rows));
	tcase_add_test(tc, mmio_interrupt_status);
	tcase_add_loop_test(tc, wrong_kicks, 0, 2);
	tcase_add_loop_test(tc, checks, 0, Q_ARRAY_LEN(check_rows));
	return fixture_main(s);
}
