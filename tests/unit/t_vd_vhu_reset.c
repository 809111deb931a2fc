/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_vhu.c: what a driver may do to a disk while its back end works, is silent or gone:
 * reset it, break a queue, move a vector. The device is waited for, and not for ever.
 */
#include <linux/virtio_pci.h>

#include "tests/unit/vhudisk.h"

static void wait_reset(struct vhd *k, uint64_t at_most_ns)
{
	uint64_t until_ns = qnow_ns() + at_most_ns;

	while (vdd_status(&k->d)) {
		ck_assert_msg(qnow_ns() < until_ns, "the reset does not end");
		vdh_step(&k->h, 5);
	}
}

START_TEST(reset_and_again)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, _i);
	for (unsigned round = 0; round < 5; round++) {
		vhd_live(&k, 0);
		atomic_store(&k.b.hold, round % 2);
		for (unsigned n = 0; n < 4; n++)
			vhd_queue(&k, n, VIRTIO_BLK_T_IN, n);
		vhd_kick(&k);
		if (round % 2 == 0)
			vhd_reap(&k, 4);
		vdd_set_status(&k.d, 0);
		ck_assert_uint_ne(vdd_status(&k.d), 0);	/* the back end has not said so yet */
		wait_reset(&k, VHD_WAIT_NS);
		vhd_wait_state(&k, "ready");
		ck_assert_uint_eq(atomic_load(&k.b.n_stops), round + 1);
	}
	ck_assert_uint_eq(atomic_load(&k.b.n_recovered), 0);	/* a reset forgets what was out */
	vhd_close(&k);
}
END_TEST

START_TEST(reset_while_silent)
{
	struct vhd k;
	uint64_t began_ns;

	vhd_new(&k);
	vhd_open(&k, false);
	vhd_live(&k, 0);
	atomic_store(&k.b.silent, true);
	usleep(50000);		/* it may be waiting for a message still */
	began_ns = qnow_ns();
	vdd_set_status(&k.d, 0);
	wait_reset(&k, 3 * Q_NSEC_PER_SEC);
	ck_assert_uint_ge(qnow_ns() - began_ns, 900 * Q_NSEC_PER_MSEC);
	ck_assert_ptr_nonnull(strstr(k.h.logged, "why=late"));
	atomic_store(&k.b.silent, false);
	vhd_wait_state(&k, "ready");
	vhd_live(&k, 0);
	vhd_close(&k);
}
END_TEST

/* The VM ends while a new connection waits for its turn: the fixture counts descriptors. */
START_TEST(freed_while_connecting)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, false);
	vhd_live(&k, 0);
	k.b.absent = true;
	vdb_kill(&k.b);
	vhd_wait_state(&k, "lost");
	k.b.absent = false;
	vhd_wait_state(&k, "connecting");
	vhd_close(&k);
}
END_TEST

START_TEST(reset_during_outage)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, false);
	vhd_live(&k, 0);
	atomic_store(&k.b.hold, true);
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_wait_count(&k, &k.b.n_taken, 1);
	k.b.absent = true;
	vdb_kill(&k.b);
	vhd_wait_state(&k, "lost");
	vdd_set_status(&k.d, 0);
	ck_assert_uint_eq(vdd_status(&k.d), 0);
	k.b.absent = false;
	atomic_store(&k.b.hold, false);
	vhd_live(&k, 0);
	ck_assert_uint_eq(atomic_load(&k.b.n_recovered), 0);
	vhd_queue(&k, 1, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_reap(&k, 1);
	vhd_close(&k);
}
END_TEST

/* The driver is back before the back end has answered to the reset. */
START_TEST(reset_not_waited_for)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, true);
	for (unsigned round = 0; round < 5; round++) {
		vhd_live(&k, 0);
		vhd_queue(&k, round, VIRTIO_BLK_T_IN, 0);
		vhd_kick(&k);
		vhd_reap(&k, 1);
	}
	ck_assert_uint_eq(atomic_load(&k.b.n_starts), 5);
	ck_assert_uint_eq(atomic_load(&k.b.n_stops), 4);
	vhd_close(&k);
}
END_TEST

/* The back end says that the guest broke a queue: it has to reset, and keeps its connection. */
START_TEST(guest_broke_a_queue)
{
	struct vhd k;
	unsigned connects;

	vhd_new(&k);
	vhd_open(&k, _i);
	vhd_live(&k, 0);
	connects = k.b.n_connects;
	atomic_store(&k.b.blame, true);
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_wait_state(&k, "ready");
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE | 0x40);
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), 1);
	ck_assert_uint_eq(atomic_load(&k.b.n_stops), 1);
	vdh_settle(&k.h);
	ck_assert(vhd_in_state(&k, "ready"));	/* and not started before the reset */
	vhd_live(&k, 0);
	vhd_queue(&k, 1, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_reap(&k, 1);
	ck_assert_uint_eq(k.b.n_connects, connects);
	ck_assert_uint_eq(atomic_load(&k.b.n_recovered), 0);
	vhd_close(&k);
}
END_TEST

/* What the back end says of the rings before a reset is not about those after it. */
START_TEST(blame_of_the_last_session)
{
	QCLEAN(qfd_close) int err_fd = -1;
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, _i);
	vhd_live(&k, 0);
	err_fd = dup(k.b.q[0].err_fd);
	vdd_set_status(&k.d, 0);
	vhd_wait_state(&k, "ready");
	qdriver_fini(&k.q);
	vdd_live(&k.d, VDD_VERSION_1, &k.q, VHD_RING, 64);
	qfd_event_signal(err_fd);
	ck_assert(vdh_watches(&k.h));
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE);
	vhd_wait_state(&k, "running");
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), 0);
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_reap(&k, 1);
	vhd_close(&k);
}
END_TEST

START_TEST(vector_moves)
{
	struct vhd k;

	vhd_new(&k);
	vhd_open(&k, false);
	vhd_live(&k, 0);
	vdh_write(&k.h, VD_MEM, k.d.common + VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	vdh_write(&k.h, VD_MEM, k.d.common + VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
	vhd_wait_count(&k, &k.b.n_starts, 2);
	vhd_wait_state(&k, "running");
	vdh_msis(&k.h, 0);
	vdh_msis(&k.h, 1);
	vhd_queue(&k, 0, VIRTIO_BLK_T_IN, 0);
	vhd_kick(&k);
	vhd_reap(&k, 1);
	ck_assert_uint_eq(vdh_msis(&k.h, 1), 0);
	ck_assert_uint_eq(vdh_msis(&k.h, 0), 1);
	vhd_close(&k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_vhu_reset");
	TCase *tc = fixture_case(s, "vhost-user device");

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, reset_and_again, 0, 2);
	tcase_add_test(tc, reset_while_silent);
	tcase_add_test(tc, reset_during_outage);
	tcase_add_test(tc, freed_while_connecting);
	tcase_add_test(tc, reset_not_waited_for);
	tcase_add_loop_test(tc, guest_broke_a_queue, 0, 2);
	tcase_add_loop_test(tc, blame_of_the_last_session, 0, 2);
	tcase_add_test(tc, vector_moves);
	return fixture_main(s);
}
