/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_vhu.c: a disk behind a back end that is late, dies with requests, falls silent,
 * comes back, or comes back as another. The guest may see a stall, never an error, and no request
 * is lost or done twice. Resets are in t_vd_vhu_reset.c.
 */
#include <errno.h>
#include <linux/virtio_pci.h>

#include "tests/unit/vhudisk.h"

/* ---- the usual ---- */

static const uint64_t ring_rows[] = { 0, VDD_INDIRECT | VDD_EVENT_IDX };
START_TEST(content)
{
	struct vhd k;
	uint8_t back[4096];

	vhd_new(&k);
	vhd_open(&k, _i / 2);
	vhd_live(&k, ring_rows[_i % 2]);
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned n = 0; n < 8; n++) {
			vhd_fill(&k, n, (uint8_t)(round * 8 + n));
			vhd_queue(&k, n, VIRTIO_BLK_T_OUT, 8 * (round + n));
		}
		vhd_kick(&k);
		vhd_reap(&k, 8);
		vhd_fill(&k, 0, 0);
		vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 8 * (round + 7));
		vhd_kick(&k);
		vhd_reap(&k, 1);
		qmem_read(k.h.mem, gpa(vhd_slot(0) + 0x200), back, sizeof(back));
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
	vhd_close(&k);
}
END_TEST

START_TEST(identity)
{
	struct vhd k;
	uint64_t offered;

	vhd_new(&k);
	k.b.n_queues = 2;
	k.h.host.n_vcpus = 4;	/* more than there are queues */
	k.b.features |= 1ull << VIRTIO_BLK_F_MQ | 1ull << VIRTIO_BLK_F_CONFIG_WCE |
			1ull << 34 | 1ull << 33 | 1ull << VIRTIO_BLK_F_RO;
	vhd_open(&k, _i);
	offered = vdd_offered(&k.d);
	ck_assert(offered & 1ull << VIRTIO_BLK_F_MQ);
	ck_assert(offered & 1ull << VIRTIO_BLK_F_RO);
	ck_assert(offered & VDD_VERSION_1);
	/* Packed rings, an IOMMU, a switch in config space: not ours to pass on. */
	ck_assert_uint_eq(offered & (1ull << 34 | 1ull << 33 | 1ull << 30 |
				     1ull << VIRTIO_BLK_F_CONFIG_WCE), 0);
	ck_assert_uint_eq(vdd_config(&k.d, 0, 8), VDB_DISK_BYTES / 2 / 512);
	ck_assert_uint_eq(vdd_config(&k.d, offsetof(struct virtio_blk_config, num_queues), 2), 2);
	ck_assert_uint_eq(vhd_virtio(&k)->n_queues, 2);
	ck_assert_uint_eq(vdd_queue_max(&k.d, 1), 256);
	vhd_close(&k);
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
	struct vhd k;

	vhd_new(&k);
	k.b.n_queues = row->n_backend;
	k.b.features |= 1ull << VIRTIO_BLK_F_MQ;
	k.h.host.n_vcpus = row->n_vcpus;
	if (row->option)
		vdh_arg(&k.h, row->option, NULL, row->num);
	vhd_open(&k, false);
	ck_assert_uint_eq(vhd_virtio(&k)->n_queues, row->want);
	ck_assert_uint_eq(vdd_config(&k.d, offsetof(struct virtio_blk_config, num_queues), 2),
			  row->want);
	vhd_close(&k);
}
END_TEST

/* Interrupts come a moment after what they tell of. */
static void wait_interrupt(struct vhd *k)
{
	uint64_t until_ns = qnow_ns() + VHD_WAIT_NS;

	while (!vdd_interrupts(&k->d)) {
		ck_assert_msg(qnow_ns() < until_ns, "no interrupt");
		vdh_step(&k->h, 5);
	}
}

/* A legacy guest, of which the back end knows nothing: it dies, too, and is not missed. */
START_TEST(legacy)
{
	struct vhd k;

	vhd_new(&k);
	vdh_arg(&k.h, "legacy", NULL, 0);
	vhd_open(&k, _i % 2);
	ck_assert(k.d.legacy);
	ck_assert_uint_eq(vdd_offered(&k.d) & (1ull << 27 | VDD_VERSION_1), 1ull << 27);
	vdd_live(&k.d, vdd_offered(&k.d), &k.q, VHD_RING, 256);
	k.live = true;
	for (unsigned n = 0; n < 4; n++) {
		vhd_fill(&k, n, (uint8_t)(0x40 + n));
		vhd_queue(&k, n, VIRTIO_BLK_T_OUT, 8 * n);
	}
	vhd_kick(&k);
	vhd_reap(&k, 4);
	wait_interrupt(&k);
	vdb_kill(&k.b);
	vhd_wait_state(&k, "lost");
	vhd_queue(&k, 4, VIRTIO_BLK_T_IN, 8);
	vhd_kick(&k);
	vhd_reap(&k, 1);
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE_LEGACY);
	for (unsigned n = 0; n < 4; n++)
		ck_assert_uint_eq(k.b.disk[4096 * n], 0x40 + n);
	ck_assert_uint_eq(k.h.n_faults, 0);
	vhd_close(&k);
}
END_TEST

/* A legacy driver that reads before it says DRIVER_OK. */
START_TEST(legacy_early)
{
	struct vhd k;

	vhd_new(&k);
	vdh_arg(&k.h, "legacy", NULL, 0);
	vhd_open(&k, _i);
	vdd_negotiate(&k.d, 0);
	ck_assert_int_eq(qdriver_init(&k.q, k.h.mem, VHD_RING, 256, 0, gpa(0), 0), 0);
	k.live = true;
	vdd_queue_set(&k.d, 0, &k.q.cfg);
	vdd_queue_enable(&k.d, 0);
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_reap(&k, 1);
	ck_assert_uint_eq(vdd_status(&k.d), 3);
	vhd_close(&k);
}
END_TEST

/* Without MSI-X the back end signals us, and INTA rises. */
START_TEST(inta)
{
	struct vhd k;

	vhd_new(&k);
	ck_assert_int_eq(vdh_create(&k.h, "virtio-blk", VD_PCI, 0, 0), 0);
	vdd_init_intx(&k.d, &k.h);
	vhd_live(&k, 0);
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_reap(&k, 1);
	wait_interrupt(&k);	/* by the ISR register, which lowers the line */
	ck_assert_uint_gt(k.h.raises[0], 0);
	ck_assert_uint_eq(vdh_msis(&k.h, 1), 0);
	vhd_close(&k);
}
END_TEST

/* ---- a back end that dies ---- */

/*
 * Requests are out, and one has been answered out of order: each is answered once, by the next one.
 */
START_TEST(dies_with_requests)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, _i);
	vhd_live(&k, 0);
	atomic_store(&k.b.hold, true);
	for (unsigned n = 0; n < 6; n++) {
		vhd_fill(&k, n, (uint8_t)(0x40 + n));
		vhd_queue(&k, n, VIRTIO_BLK_T_OUT, 8 * n);
	}
	vhd_kick(&k);
	vhd_wait_count(&k, &k.b.n_taken, 6);
	atomic_store(&k.b.hold, false);
	vhd_fill(&k, 6, 0x46);
	vhd_queue(&k, 6, VIRTIO_BLK_T_OUT, 8 * 6);
	vhd_kick(&k);
	vhd_wait_count(&k, &k.b.n_served, 1);
	vdd_interrupts(&k.d);
	vdb_kill(&k.b);
	vhd_wait_state(&k, "lost");
	ck_assert_ptr_nonnull(strstr(k.h.logged, "backend_lost"));
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE);	/* the guest sees nothing */
	vhd_queue(&k, 7, VIRTIO_BLK_T_IN, 8 * 2);		/* into the outage */
	vhd_kick(&k);
	vhd_wait_state(&k, "running");
	vhd_reap(&k, 8);
	vhd_wait_count(&k, &k.b.n_served, 8);
	ck_assert_uint_eq(atomic_load(&k.b.n_recovered), 6);
	ck_assert_uint_eq(atomic_load(&k.b.n_served), 8);
	for (unsigned n = 0; n < 7; n++)
		ck_assert_uint_eq(k.b.disk[4096 * n], 0x40 + n);
	ck_assert_uint_ge(vdd_interrupts(&k.d), 1);
	ck_assert_ptr_nonnull(strstr(k.h.logged, "backend_back"));
	vhd_close(&k);
}
END_TEST

/* It answers, and dies before it has said so: the guest is told by us. */
START_TEST(dies_before_the_signal)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, _i);
	vhd_live(&k, 0);
	atomic_store(&k.b.mute, true);
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_wait_count(&k, &k.b.n_served, 1);
	ck_assert_uint_eq(vdd_interrupts(&k.d), 0);
	vdb_kill(&k.b);
	vhd_wait_state(&k, "lost");
	vhd_wait_state(&k, "running");
	ck_assert_uint_eq(vdd_interrupts(&k.d), 1);
	vhd_reap(&k, 1);
	vhd_close(&k);
}
END_TEST

/* A back end that keeps no record goes on where the used ring says. */
START_TEST(no_region)
{
	struct vhd k;

	vhd_new(&k);
	k.b.protocol &= ~(uint64_t)QVHU_PF_INFLIGHT;
	vhd_open(&k, false);
	vhd_live(&k, 0);
	for (unsigned n = 0; n < 10; n++) {
		vhd_queue(&k, n, VIRTIO_BLK_T_IN, 8 * n);
		vhd_kick(&k);
		vhd_reap(&k, 1);
	}
	vdb_kill(&k.b);
	vhd_wait_state(&k, "lost");
	vhd_wait_state(&k, "running");
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_reap(&k, 1);
	vhd_wait_count(&k, &k.b.n_served, 11);
	ck_assert_uint_eq(atomic_load(&k.b.n_served), 11);
	vhd_close(&k);
}
END_TEST

START_TEST(dies_again_and_again)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, false);
	vhd_live(&k, VDD_EVENT_IDX);
	for (unsigned round = 0; round < 10; round++) {
		unsigned taken = atomic_load(&k.b.n_taken);

		atomic_store(&k.b.hold, true);
		for (unsigned n = 0; n < 8; n++)
			vhd_queue(&k, n, VIRTIO_BLK_T_IN, 8 * n);
		vhd_kick(&k);
		if (round % 2)
			vhd_wait_count(&k, &k.b.n_taken, taken + 8);
		vdb_kill(&k.b);
		atomic_store(&k.b.hold, false);
		vhd_wait_state(&k, "lost");
		vhd_wait_state(&k, "running");
		vhd_reap(&k, 8);
	}
	ck_assert_uint_eq(qdriver_outstanding(&k.q), 0);
	ck_assert_uint_eq(k.h.n_faults, 0);
	vhd_close(&k);
}
END_TEST

START_TEST(idle_back_end_returns)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, false);
	vdb_kill(&k.b);
	vhd_wait_state(&k, "lost");
	vhd_wait_state(&k, "ready");		/* no driver yet: nothing is started */
	ck_assert_uint_eq(atomic_load(&k.b.n_starts), 0);
	vhd_live(&k, 0);
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_reap(&k, 1);
	vhd_close(&k);
}
END_TEST

START_TEST(driver_comes_during_outage)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, false);
	k.b.absent = true;
	vdb_kill(&k.b);
	vhd_wait_state(&k, "lost");
	vdd_live(&k.d, VDD_VERSION_1, &k.q, VHD_RING, 64);
	k.live = true;
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vdh_step(&k.h, 20);
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE);
	k.b.absent = false;
	vhd_wait_state(&k, "running");
	vhd_reap(&k, 1);
	vhd_close(&k);
}
END_TEST

/* 10 ms, 20, 40 … 1 s: not a busy loop, and not given up. */
START_TEST(backs_off)
{
	struct vhd k;
	uint64_t began_ns;
	unsigned n;

	vhd_new(&k);
	vhd_open(&k, false);
	k.b.absent = true;
	vdb_kill(&k.b);
	vhd_wait_state(&k, "lost");
	k.b.n_connects = 0;
	began_ns = qnow_ns();
	while (qnow_ns() - began_ns < 700 * Q_NSEC_PER_MSEC)
		vdh_step(&k.h, 5);
	n = k.b.n_connects;
	ck_assert_uint_ge(n, 3);
	ck_assert_uint_le(n, 7);
	vhd_close(&k);
}
END_TEST

START_TEST(rubbish)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, false);
	vhd_live(&k, 0);
	vdb_rubbish(&k.b);
	vhd_wait_state(&k, "lost");
	vhd_wait_state(&k, "running");
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_reap(&k, 1);
	vhd_close(&k);
}
END_TEST

/* ---- a back end that is another ---- */

START_TEST(returns_different)
{
	struct vhd k;
	uint64_t features;

	vhd_new(&k);
	features = k.b.features;
	vhd_open(&k, false);
	vhd_live(&k, 0);
	if (_i == 0)
		k.b.features &= ~(1ull << VIRTIO_BLK_F_FLUSH);
	else
		k.b.protocol &= ~(uint64_t)QVHU_PF_CONFIG;
	vdb_kill(&k.b);
	vhd_wait_state(&k, "lost");
	k.b.n_connects = 0;
	while (k.b.n_connects < 3) {
		vdh_step(&k.h, 5);
		ck_assert(!vhd_in_state(&k, "running"));
	}
	vhd_wait_state(&k, "lost");
	if (_i == 0)
		ck_assert_ptr_nonnull(strstr(k.h.logged, "backend_differs"));
	k.b.features = features;
	k.b.protocol |= QVHU_PF_CONFIG;
	vhd_wait_state(&k, "running");
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_reap(&k, 1);
	vhd_close(&k);
}
END_TEST

START_TEST(returns_larger)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, false);
	vhd_live(&k, 0);
	vdh_write(&k.h, VD_MEM, k.d.common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
	k.b.capacity_bytes = VDB_DISK_BYTES;
	vdb_kill(&k.b);
	vhd_wait_state(&k, "lost");
	ck_assert_uint_eq(vdh_msis(&k.h, 0), 0);
	vhd_wait_state(&k, "running");
	ck_assert_uint_eq(vdd_config(&k.d, 0, 8), VDB_DISK_BYTES / 512);
	ck_assert_uint_eq(vdh_msis(&k.h, 0), 1);
	vhd_close(&k);
}
END_TEST

/* ---- the start ---- */

START_TEST(late_at_start)
{
	struct vhd k;

	vhd_new(&k);
	k.b.absent_until_ns = qnow_ns() + 200 * Q_NSEC_PER_MSEC;
	vhd_open(&k, false);
	ck_assert_uint_gt(k.b.n_connects, 2);
	vhd_live(&k, 0);
	vhd_close(&k);
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
	struct vhd k;
	uint64_t began_ns = qnow_ns();

	vhd_new(&k);
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
	vhd_close(&k);
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
	tcase_add_loop_test(tc, legacy, 0, 2);
	tcase_add_loop_test(tc, legacy_early, 0, 2);
	tcase_add_test(tc, inta);
	tcase_add_test(tc, late_at_start);
	tcase_add_loop_test(tc, cannot_start, 0, Q_ARRAY_LEN(start_rows));
	return fixture_main(s);
}
