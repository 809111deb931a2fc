/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_vhu.c: a disk behind a back end that is late, dies with requests, falls silent,
 * comes back, or comes back as another. The guest may see a stall, never an error, and no request
 * is lost or done twice.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_pci.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vdbackend.h"
#include "tests/unit/vddriver.h"
#include "vdevs/virtio.h"

#define RING gpa(VDH_RAM_GPA)
#define BUF (VDH_RAM_GPA + 0x100000)
#define SLOT_BYTES 0x2000u
#define WAIT_NS (5 * Q_NSEC_PER_SEC)

struct disk {
	struct vdh h;
	struct vdd d;
	struct qdriver q;
	struct vdb b;
	bool live;
};

static void disk_new(struct disk *k)
{
	memset(k, 0, sizeof(*k));
	vdh_init(&k->h);
	vdb_init(&k->b);
	k->h.backend = vdb_connect;
	k->h.backend_ctx = &k->b;
	vdh_arg(&k->h, "hostdev", "mediator:disk", 0);
}

static void disk_open(struct disk *k, bool mmio)
{
	ck_assert_int_eq(vdh_create(&k->h, "virtio-blk", mmio ? VD_MEM : VD_PCI, VDD_MMIO, 1), 0);
	vdd_init(&k->d, &k->h);
}

static struct virtio_dev *virtio_of(struct disk *k)
{
	return Q_CONTAINER_OF(k->h.v, struct virtio_dev, v);
}

static bool in_state(struct disk *k, const char *state)
{
	char text[512], want[64];

	snprintf(want, sizeof(want), "backend_state=%s", state);
	k->h.v->ops->status(k->h.v, text, sizeof(text));
	return strstr(text, want);
}

static void wait_state(struct disk *k, const char *state)
{
	uint64_t until_ns = qnow_ns() + WAIT_NS;

	while (!in_state(k, state)) {
		ck_assert_msg(qnow_ns() < until_ns, "never %s", state);
		vdh_step(&k->h, 5);
	}
}

static void wait_count(struct disk *k, atomic_uint *count, unsigned want)
{
	uint64_t until_ns = qnow_ns() + WAIT_NS;

	while (atomic_load(count) < want) {
		ck_assert_msg(qnow_ns() < until_ns, "%u of %u", atomic_load(count), want);
		vdh_step(&k->h, 5);
	}
}

static void disk_live(struct disk *k, uint64_t features)
{
	if (k->live)
		qdriver_fini(&k->q);
	vdd_live(&k->d, VDD_VERSION_1 | features, &k->q, RING, 64);
	k->live = true;
	wait_state(k, "running");
}

static void disk_close(struct disk *k)
{
	if (k->live)
		qdriver_fini(&k->q);
	vdh_fini(&k->h);
	vdb_kill(&k->b);
}

static uint64_t slot(unsigned n)
{
	return BUF + (uint64_t)n * SLOT_BYTES;
}

static void queue_req(struct disk *k, unsigned n, uint32_t type, uint64_t sector)
{
	const struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };
	const struct qdriver_buf bufs[] = {
		{ gpa(slot(n)), 16, false },
		{ gpa(slot(n) + 0x200), 4096, type == VIRTIO_BLK_T_IN },
		{ gpa(slot(n) + 0x10), 1, true },
	};
	uint8_t none = 0xff;

	qmem_write(k->h.mem, gpa(slot(n)), &hdr, sizeof(hdr));
	qmem_write(k->h.mem, gpa(slot(n) + 0x10), &none, 1);
	ck_assert_int_eq(qdriver_add(&k->q, bufs, 3, (void *)(uintptr_t)(n + 1)), QDRIVER_OK);
}

static void kick(struct disk *k)
{
	if (qdriver_publish(&k->q))
		vdd_notify(&k->d, 0);
}

/* Waits for @n answers; each slot once and with success. */
static void reap(struct disk *k, unsigned n)
{
	uint64_t until_ns = qnow_ns() + WAIT_NS, seen = 0;
	uint32_t written;
	void *token;

	while (n > 0) {
		uint8_t st;

		if (qdriver_poll(&k->q, &token, &written) != QDRIVER_OK) {
			ck_assert_msg(qnow_ns() < until_ns, "%u answers are missing", n);
			vdh_step(&k->h, 5);
			continue;
		}
		unsigned i = (unsigned)(uintptr_t)token - 1;
		ck_assert(!(seen & 1ull << i));
		seen |= 1ull << i;
		qmem_read(k->h.mem, gpa(slot(i) + 0x10), &st, 1);
		ck_assert_uint_eq(st, VIRTIO_BLK_S_OK);
		n--;
	}
}

static void fill(struct disk *k, unsigned n, uint8_t byte)
{
	uint8_t data[4096];

	memset(data, byte, sizeof(data));
	qmem_write(k->h.mem, gpa(slot(n) + 0x200), data, sizeof(data));
}

/* ---- the usual ---- */

static const uint64_t ring_rows[] = { 0, VDD_INDIRECT | VDD_EVENT_IDX };
START_TEST(content)
{
	struct disk k;
	uint8_t back[4096];

	disk_new(&k);
	disk_open(&k, _i / 2);
	disk_live(&k, ring_rows[_i % 2]);
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned n = 0; n < 8; n++) {
			fill(&k, n, (uint8_t)(round * 8 + n));
			queue_req(&k, n, VIRTIO_BLK_T_OUT, 8 * (round + n));
		}
		kick(&k);
		reap(&k, 8);
		fill(&k, 0, 0);
		queue_req(&k, 0, VIRTIO_BLK_T_IN, 8 * (round + 7));
		kick(&k);
		reap(&k, 1);
		qmem_read(k.h.mem, gpa(slot(0) + 0x200), back, sizeof(back));
		for (unsigned i = 0; i < sizeof(back); i++)
			ck_assert_uint_eq(back[i], (uint8_t)(round * 8 + 7));
	}
	ck_assert_uint_gt(vdd_interrupts(&k.d), 0);
	vdb_kill(&k.b);		/* its disk is ours to look at now */
	for (unsigned at = 0; at < 57; at++) {
		unsigned last = Q_MIN(at, 49u);	/* round that wrote it last */

		ck_assert_uint_eq(k.b.disk[4096 * at + 17], (uint8_t)(last * 8 + at - last));
	}
	ck_assert_uint_eq(k.h.n_submits, 0);	/* nothing went through this process */
	disk_close(&k);
}
END_TEST

START_TEST(identity)
{
	struct disk k;
	uint64_t offered;

	disk_new(&k);
	k.b.n_queues = 2;
	k.h.host.n_vcpus = 4;	/* more than there are queues */
	k.b.features |= 1ull << VIRTIO_BLK_F_MQ | 1ull << VIRTIO_BLK_F_CONFIG_WCE |
			1ull << 34 | 1ull << 33 | 1ull << VIRTIO_BLK_F_RO;
	disk_open(&k, _i);
	offered = vdd_offered(&k.d);
	ck_assert(offered & 1ull << VIRTIO_BLK_F_MQ);
	ck_assert(offered & 1ull << VIRTIO_BLK_F_RO);
	ck_assert(offered & VDD_VERSION_1);
	/* Packed rings, an IOMMU, a switch in config space: not ours to pass on. */
	ck_assert_uint_eq(offered & (1ull << 34 | 1ull << 33 | 1ull << 30 |
				     1ull << VIRTIO_BLK_F_CONFIG_WCE), 0);
	ck_assert_uint_eq(vdd_config(&k.d, 0, 8), VDB_DISK_BYTES / 2 / 512);
	ck_assert_uint_eq(vdd_config(&k.d, offsetof(struct virtio_blk_config, num_queues), 2), 2);
	ck_assert_uint_eq(virtio_of(&k)->n_queues, 2);
	ck_assert_uint_eq(vdd_queue_max(&k.d, 1), 256);
	disk_close(&k);
}
END_TEST

/* A queue a vCPU, unless the configuration says otherwise, of those that the back end has. */
static const struct queues_row {
	unsigned n_vcpus, n_backend;
	const char *option;
	uint64_t num;
	unsigned want;
} queues_rows[] = {
	{ 1, 16, NULL, 0, 1 },
	{ 4, 16, NULL, 0, 4 },
	{ 8, 2, NULL, 0, 2 },
	{ 0, 3, NULL, 0, 3 },
	{ 1, 16, "queues", 4, 4 },
	{ 8, 16, "queues", 1, 1 },
	{ 1, 2, "queues", 32, 2 },
};

START_TEST(queues)
{
	const struct queues_row *row = &queues_rows[_i];
	struct disk k;

	disk_new(&k);
	k.b.n_queues = row->n_backend;
	k.b.features |= 1ull << VIRTIO_BLK_F_MQ;
	k.h.host.n_vcpus = row->n_vcpus;
	if (row->option)
		vdh_arg(&k.h, row->option, NULL, row->num);
	disk_open(&k, false);
	ck_assert_uint_eq(virtio_of(&k)->n_queues, row->want);
	ck_assert_uint_eq(vdd_config(&k.d, offsetof(struct virtio_blk_config, num_queues), 2),
			  row->want);
	disk_close(&k);
}
END_TEST

/* Interrupts come a moment after what they tell of. */
static void wait_interrupt(struct disk *k)
{
	uint64_t until_ns = qnow_ns() + WAIT_NS;

	while (!vdd_interrupts(&k->d)) {
		ck_assert_msg(qnow_ns() < until_ns, "no interrupt");
		vdh_step(&k->h, 5);
	}
}

/* A legacy guest, of which the back end knows nothing: it dies, too, and is not missed. */
START_TEST(legacy)
{
	struct disk k;

	disk_new(&k);
	vdh_arg(&k.h, "legacy", NULL, 0);
	disk_open(&k, _i % 2);
	ck_assert(k.d.legacy);
	ck_assert_uint_eq(vdd_offered(&k.d) & (1ull << 27 | VDD_VERSION_1), 1ull << 27);
	vdd_live(&k.d, vdd_offered(&k.d), &k.q, RING, 256);
	k.live = true;
	for (unsigned n = 0; n < 4; n++) {
		fill(&k, n, (uint8_t)(0x40 + n));
		queue_req(&k, n, VIRTIO_BLK_T_OUT, 8 * n);
	}
	kick(&k);
	reap(&k, 4);
	wait_interrupt(&k);
	vdb_kill(&k.b);
	wait_state(&k, "lost");
	queue_req(&k, 4, VIRTIO_BLK_T_IN, 8);
	kick(&k);
	reap(&k, 1);
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE_LEGACY);
	for (unsigned n = 0; n < 4; n++)
		ck_assert_uint_eq(k.b.disk[4096 * n], 0x40 + n);
	ck_assert_uint_eq(k.h.n_faults, 0);
	disk_close(&k);
}
END_TEST

/* A legacy driver that reads before it says DRIVER_OK. */
START_TEST(legacy_early)
{
	struct disk k;

	disk_new(&k);
	vdh_arg(&k.h, "legacy", NULL, 0);
	disk_open(&k, _i);
	vdd_negotiate(&k.d, 0);
	ck_assert_int_eq(qdriver_init(&k.q, k.h.mem, RING, 256, 0, gpa(0), 0), 0);
	k.live = true;
	vdd_queue_set(&k.d, 0, &k.q.cfg);
	vdd_queue_enable(&k.d, 0);
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	reap(&k, 1);
	ck_assert_uint_eq(vdd_status(&k.d), 3);
	disk_close(&k);
}
END_TEST

/* Without MSI-X the back end signals us, and INTA rises. */
START_TEST(inta)
{
	struct disk k;

	disk_new(&k);
	ck_assert_int_eq(vdh_create(&k.h, "virtio-blk", VD_PCI, 0, 0), 0);
	vdd_init_intx(&k.d, &k.h);
	disk_live(&k, 0);
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	reap(&k, 1);
	wait_interrupt(&k);	/* by the ISR register, which lowers the line */
	ck_assert_uint_gt(k.h.raises[0], 0);
	ck_assert_uint_eq(vdh_msis(&k.h, 1), 0);
	disk_close(&k);
}
END_TEST

/* ---- a back end that dies ---- */

/*
 * Requests are out, and one has been answered out of order: each is answered once, by the next one.
 */
START_TEST(dies_with_requests)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, _i);
	disk_live(&k, 0);
	atomic_store(&k.b.hold, true);
	for (unsigned n = 0; n < 6; n++) {
		fill(&k, n, (uint8_t)(0x40 + n));
		queue_req(&k, n, VIRTIO_BLK_T_OUT, 8 * n);
	}
	kick(&k);
	wait_count(&k, &k.b.n_taken, 6);
	atomic_store(&k.b.hold, false);
	fill(&k, 6, 0x46);
	queue_req(&k, 6, VIRTIO_BLK_T_OUT, 8 * 6);
	kick(&k);
	wait_count(&k, &k.b.n_served, 1);
	vdd_interrupts(&k.d);
	vdb_kill(&k.b);
	wait_state(&k, "lost");
	ck_assert_ptr_nonnull(strstr(k.h.logged, "backend_lost"));
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE);	/* the guest sees nothing */
	queue_req(&k, 7, VIRTIO_BLK_T_IN, 8 * 2);		/* into the outage */
	kick(&k);
	wait_state(&k, "running");
	reap(&k, 8);
	wait_count(&k, &k.b.n_served, 8);
	ck_assert_uint_eq(atomic_load(&k.b.n_recovered), 6);
	ck_assert_uint_eq(atomic_load(&k.b.n_served), 8);
	for (unsigned n = 0; n < 7; n++)
		ck_assert_uint_eq(k.b.disk[4096 * n], 0x40 + n);
	ck_assert_uint_ge(vdd_interrupts(&k.d), 1);
	ck_assert_ptr_nonnull(strstr(k.h.logged, "backend_back"));
	disk_close(&k);
}
END_TEST

/* It answers, and dies before it has said so: the guest is told by us. */
START_TEST(dies_before_the_signal)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, _i);
	disk_live(&k, 0);
	atomic_store(&k.b.mute, true);
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	wait_count(&k, &k.b.n_served, 1);
	ck_assert_uint_eq(vdd_interrupts(&k.d), 0);
	vdb_kill(&k.b);
	wait_state(&k, "lost");
	wait_state(&k, "running");
	ck_assert_uint_eq(vdd_interrupts(&k.d), 1);
	reap(&k, 1);
	disk_close(&k);
}
END_TEST

/* A back end that keeps no record goes on where the used ring says. */
START_TEST(no_region)
{
	struct disk k;

	disk_new(&k);
	k.b.protocol &= ~(uint64_t)QVHU_PF_INFLIGHT;
	disk_open(&k, false);
	disk_live(&k, 0);
	for (unsigned n = 0; n < 10; n++) {
		queue_req(&k, n, VIRTIO_BLK_T_IN, 8 * n);
		kick(&k);
		reap(&k, 1);
	}
	vdb_kill(&k.b);
	wait_state(&k, "lost");
	wait_state(&k, "running");
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	reap(&k, 1);
	wait_count(&k, &k.b.n_served, 11);
	ck_assert_uint_eq(atomic_load(&k.b.n_served), 11);
	disk_close(&k);
}
END_TEST

START_TEST(dies_again_and_again)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, false);
	disk_live(&k, VDD_EVENT_IDX);
	for (unsigned round = 0; round < 10; round++) {
		unsigned taken = atomic_load(&k.b.n_taken);

		atomic_store(&k.b.hold, true);
		for (unsigned n = 0; n < 8; n++)
			queue_req(&k, n, VIRTIO_BLK_T_IN, 8 * n);
		kick(&k);
		if (round % 2)
			wait_count(&k, &k.b.n_taken, taken + 8);
		vdb_kill(&k.b);
		atomic_store(&k.b.hold, false);
		wait_state(&k, "lost");
		wait_state(&k, "running");
		reap(&k, 8);
	}
	ck_assert_uint_eq(qdriver_outstanding(&k.q), 0);
	ck_assert_uint_eq(k.h.n_faults, 0);
	disk_close(&k);
}
END_TEST

START_TEST(idle_back_end_returns)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, false);
	vdb_kill(&k.b);
	wait_state(&k, "lost");
	wait_state(&k, "ready");		/* no driver yet: nothing is started */
	ck_assert_uint_eq(atomic_load(&k.b.n_starts), 0);
	disk_live(&k, 0);
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	reap(&k, 1);
	disk_close(&k);
}
END_TEST

START_TEST(driver_comes_during_outage)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, false);
	k.b.absent = true;
	vdb_kill(&k.b);
	wait_state(&k, "lost");
	vdd_live(&k.d, VDD_VERSION_1, &k.q, RING, 64);
	k.live = true;
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	vdh_step(&k.h, 20);
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE);
	k.b.absent = false;
	wait_state(&k, "running");
	reap(&k, 1);
	disk_close(&k);
}
END_TEST

/* 10 ms, 20, 40 … 1 s: not a busy loop, and not given up. */
START_TEST(backs_off)
{
	struct disk k;
	uint64_t began_ns;
	unsigned n;

	disk_new(&k);
	disk_open(&k, false);
	k.b.absent = true;
	vdb_kill(&k.b);
	wait_state(&k, "lost");
	k.b.n_connects = 0;
	began_ns = qnow_ns();
	while (qnow_ns() - began_ns < 700 * Q_NSEC_PER_MSEC)
		vdh_step(&k.h, 5);
	n = k.b.n_connects;
	ck_assert_uint_ge(n, 3);
	ck_assert_uint_le(n, 7);
	disk_close(&k);
}
END_TEST

START_TEST(rubbish)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, false);
	disk_live(&k, 0);
	vdb_rubbish(&k.b);
	wait_state(&k, "lost");
	wait_state(&k, "running");
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	reap(&k, 1);
	disk_close(&k);
}
END_TEST

/* ---- a back end that is another ---- */

START_TEST(returns_different)
{
	struct disk k;
	uint64_t features;

	disk_new(&k);
	features = k.b.features;
	disk_open(&k, false);
	disk_live(&k, 0);
	if (_i == 0)
		k.b.features &= ~(1ull << VIRTIO_BLK_F_FLUSH);
	else
		k.b.protocol &= ~(uint64_t)QVHU_PF_CONFIG;
	vdb_kill(&k.b);
	wait_state(&k, "lost");
	k.b.n_connects = 0;
	while (k.b.n_connects < 3) {
		vdh_step(&k.h, 5);
		ck_assert(!in_state(&k, "running"));
	}
	wait_state(&k, "lost");
	if (_i == 0)
		ck_assert_ptr_nonnull(strstr(k.h.logged, "backend_differs"));
	k.b.features = features;
	k.b.protocol |= QVHU_PF_CONFIG;
	wait_state(&k, "running");
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	reap(&k, 1);
	disk_close(&k);
}
END_TEST

START_TEST(returns_larger)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, false);
	disk_live(&k, 0);
	vdh_write(&k.h, VD_MEM, k.d.common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
	k.b.capacity_bytes = VDB_DISK_BYTES;
	vdb_kill(&k.b);
	wait_state(&k, "lost");
	ck_assert_uint_eq(vdh_msis(&k.h, 0), 0);
	wait_state(&k, "running");
	ck_assert_uint_eq(vdd_config(&k.d, 0, 8), VDB_DISK_BYTES / 512);
	ck_assert_uint_eq(vdh_msis(&k.h, 0), 1);
	disk_close(&k);
}
END_TEST

/* ---- resets ---- */

static void wait_reset(struct disk *k, uint64_t at_most_ns)
{
	uint64_t until_ns = qnow_ns() + at_most_ns;

	while (vdd_status(&k->d)) {
		ck_assert_msg(qnow_ns() < until_ns, "the reset does not end");
		vdh_step(&k->h, 5);
	}
}

START_TEST(reset_and_again)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, _i);
	for (unsigned round = 0; round < 5; round++) {
		disk_live(&k, 0);
		atomic_store(&k.b.hold, round % 2);
		for (unsigned n = 0; n < 4; n++)
			queue_req(&k, n, VIRTIO_BLK_T_IN, n);
		kick(&k);
		if (round % 2 == 0)
			reap(&k, 4);
		vdd_set_status(&k.d, 0);
		ck_assert_uint_ne(vdd_status(&k.d), 0);	/* the back end has not said so yet */
		wait_reset(&k, WAIT_NS);
		wait_state(&k, "ready");
		ck_assert_uint_eq(atomic_load(&k.b.n_stops), round + 1);
	}
	ck_assert_uint_eq(atomic_load(&k.b.n_recovered), 0);	/* a reset forgets what was out */
	disk_close(&k);
}
END_TEST

START_TEST(reset_while_silent)
{
	struct disk k;
	uint64_t began_ns;

	disk_new(&k);
	disk_open(&k, false);
	disk_live(&k, 0);
	atomic_store(&k.b.silent, true);
	usleep(50000);		/* it may be waiting for a message still */
	began_ns = qnow_ns();
	vdd_set_status(&k.d, 0);
	wait_reset(&k, 3 * Q_NSEC_PER_SEC);
	ck_assert_uint_ge(qnow_ns() - began_ns, 900 * Q_NSEC_PER_MSEC);
	ck_assert_ptr_nonnull(strstr(k.h.logged, "why=late"));
	atomic_store(&k.b.silent, false);
	wait_state(&k, "ready");
	disk_live(&k, 0);
	disk_close(&k);
}
END_TEST

/* The VM ends while a new connection waits for its turn: the fixture counts descriptors. */
START_TEST(freed_while_connecting)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, false);
	disk_live(&k, 0);
	k.b.absent = true;
	vdb_kill(&k.b);
	wait_state(&k, "lost");
	k.b.absent = false;
	wait_state(&k, "connecting");
	disk_close(&k);
}
END_TEST

START_TEST(reset_during_outage)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, false);
	disk_live(&k, 0);
	atomic_store(&k.b.hold, true);
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	wait_count(&k, &k.b.n_taken, 1);
	k.b.absent = true;
	vdb_kill(&k.b);
	wait_state(&k, "lost");
	vdd_set_status(&k.d, 0);
	ck_assert_uint_eq(vdd_status(&k.d), 0);
	k.b.absent = false;
	atomic_store(&k.b.hold, false);
	disk_live(&k, 0);
	ck_assert_uint_eq(atomic_load(&k.b.n_recovered), 0);
	queue_req(&k, 1, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	reap(&k, 1);
	disk_close(&k);
}
END_TEST

/* The driver is back before the back end has answered to the reset. */
START_TEST(reset_not_waited_for)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, true);
	for (unsigned round = 0; round < 5; round++) {
		disk_live(&k, 0);
		queue_req(&k, round, VIRTIO_BLK_T_IN, 0);
		kick(&k);
		reap(&k, 1);
	}
	ck_assert_uint_eq(atomic_load(&k.b.n_starts), 5);
	ck_assert_uint_eq(atomic_load(&k.b.n_stops), 4);
	disk_close(&k);
}
END_TEST

/* The back end says that the guest broke a queue: it has to reset, and keeps its connection. */
START_TEST(guest_broke_a_queue)
{
	struct disk k;
	unsigned connects;

	disk_new(&k);
	disk_open(&k, _i);
	disk_live(&k, 0);
	connects = k.b.n_connects;
	atomic_store(&k.b.blame, true);
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	wait_state(&k, "ready");
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE | 0x40);
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), 1);
	ck_assert_uint_eq(atomic_load(&k.b.n_stops), 1);
	vdh_settle(&k.h);
	ck_assert(in_state(&k, "ready"));	/* and not started before the reset */
	disk_live(&k, 0);
	queue_req(&k, 1, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	reap(&k, 1);
	ck_assert_uint_eq(k.b.n_connects, connects);
	ck_assert_uint_eq(atomic_load(&k.b.n_recovered), 0);
	disk_close(&k);
}
END_TEST

/* What the back end says of the rings before a reset is not about those after it. */
START_TEST(blame_of_the_last_session)
{
	QCLEAN(qfd_close) int err_fd = -1;
	struct disk k;

	disk_new(&k);
	disk_open(&k, _i);
	disk_live(&k, 0);
	err_fd = dup(k.b.q[0].err_fd);
	vdd_set_status(&k.d, 0);
	wait_state(&k, "ready");
	qdriver_fini(&k.q);
	vdd_live(&k.d, VDD_VERSION_1, &k.q, RING, 64);
	qfd_event_signal(err_fd);
	ck_assert(vdh_watches(&k.h));
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE);
	wait_state(&k, "running");
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), 0);
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	reap(&k, 1);
	disk_close(&k);
}
END_TEST

START_TEST(vector_moves)
{
	struct disk k;

	disk_new(&k);
	disk_open(&k, false);
	disk_live(&k, 0);
	vdh_write(&k.h, VD_MEM, k.d.common + VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	vdh_write(&k.h, VD_MEM, k.d.common + VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
	wait_count(&k, &k.b.n_starts, 2);
	wait_state(&k, "running");
	vdh_msis(&k.h, 0);
	vdh_msis(&k.h, 1);
	queue_req(&k, 0, VIRTIO_BLK_T_IN, 0);
	kick(&k);
	reap(&k, 1);
	ck_assert_uint_eq(vdh_msis(&k.h, 1), 0);
	ck_assert_uint_eq(vdh_msis(&k.h, 0), 1);
	disk_close(&k);
}
END_TEST

/* ---- the start ---- */

START_TEST(late_at_start)
{
	struct disk k;

	disk_new(&k);
	k.b.absent_until_ns = qnow_ns() + 200 * Q_NSEC_PER_MSEC;
	disk_open(&k, false);
	ck_assert_uint_gt(k.b.n_connects, 2);
	disk_live(&k, 0);
	disk_close(&k);
}
END_TEST

static const struct {
	const char *what;
	bool absent;
	uint64_t no_features, no_protocol;
	bool silent;
	const char *say;
} start_rows[] = {
	{ "absent", true, 0, 0, false, "is not there (waited 5 s" },
	{ "legacy only", false, 1ull << 32, 0, false, "virtio 1" },
	{ "no config space", false, 0, QVHU_PF_CONFIG, false, "cannot be used" },
	{ "silent", false, 0, 0, true, "cannot be used: late" },
};
START_TEST(cannot_start)
{
	struct disk k;
	uint64_t began_ns = qnow_ns();

	disk_new(&k);
	k.b.absent = start_rows[_i].absent;
	k.b.features &= ~start_rows[_i].no_features;
	k.b.protocol &= ~start_rows[_i].no_protocol;
	atomic_store(&k.b.silent, start_rows[_i].silent);
	ck_assert_int_lt(vdh_create(&k.h, "virtio-blk", VD_PCI, 0, 0), 0);
	ck_assert_uint_eq(k.h.errs.n, 1);
	ck_assert_msg(strstr(k.h.errs.v[0].text, start_rows[_i].say), "%s: %s", start_rows[_i].what,
		      k.h.errs.v[0].text);
	ck_assert_ptr_nonnull(strstr(k.h.errs.v[0].text, "mediator:disk"));
	ck_assert_uint_lt(qnow_ns() - began_ns, 8 * Q_NSEC_PER_SEC);
	atomic_store(&k.b.silent, false);
	disk_close(&k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_vhu");
	TCase *tc = fixture_case(s, "vhost-user device");

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, content, 0, 4);
	tcase_add_loop_test(tc, identity, 0, 2);
	tcase_add_loop_test(tc, queues, 0, Q_ARRAY_LEN(queues_rows));
	tcase_add_loop_test(tc, dies_with_requests, 0, 2);
	tcase_add_loop_test(tc, dies_before_the_signal, 0, 2);
	tcase_add_test(tc, no_region);
	tcase_add_test(tc, dies_again_and_again);
	tcase_add_test(tc, idle_back_end_returns);
	tcase_add_test(tc, driver_comes_during_outage);
	tcase_add_test(tc, backs_off);
	tcase_add_test(tc, rubbish);
	tcase_add_loop_test(tc, returns_different, 0, 2);
	tcase_add_test(tc, returns_larger);
	tcase_add_loop_test(tc, reset_and_again, 0, 2);
	tcase_add_test(tc, reset_while_silent);
	tcase_add_test(tc, reset_during_outage);
	tcase_add_test(tc, freed_while_connecting);
	tcase_add_test(tc, reset_not_waited_for);
	tcase_add_loop_test(tc, guest_broke_a_queue, 0, 2);
	tcase_add_loop_test(tc, blame_of_the_last_session, 0, 2);
	tcase_add_test(tc, vector_moves);
	tcase_add_loop_test(tc, legacy, 0, 2);
	tcase_add_loop_test(tc, legacy_early, 0, 2);
	tcase_add_test(tc, inta);
	tcase_add_test(tc, late_at_start);
	tcase_add_loop_test(tc, cannot_start, 0, Q_ARRAY_LEN(start_rows));
	return fixture_main(s);
}
