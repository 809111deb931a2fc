/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_entropy.c over both transports: buffers are filled, with bytes that are not twice
 * the same; the budget of a turn; buffers of the wrong direction.
 */
#include <linux/virtio_config.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vddriver.h"

#define RING gpa(VDH_RAM_GPA)
#define DATA (VDH_RAM_GPA + 0x100000)

static void dev_open(struct vdh *h, struct vdd *d, struct qdriver *q, bool mmio)
{
	vdh_init(h);
	if (mmio)
		ck_assert_int_eq(vdh_create(h, "virtio-entropy", VD_MEM, VDD_MMIO, 1), 0);
	else
		ck_assert_int_eq(vdh_create(h, "virtio-entropy", VD_PCI, 0, 0), 0);
	vdd_init(d, h);
	vdd_live(d, VDD_VERSION_1, q, RING, 64);
	vdh_settle(h);
}

static void dev_close(struct vdh *h, struct qdriver *q)
{
	vdh_fini(h);
	qdriver_fini(q);
}

static void ask(struct qdriver *q, uint64_t at, uint32_t len)
{
	const struct qdriver_buf b = { gpa(at), len, true };

	ck_assert_int_eq(qdriver_add(q, &b, 1, (void *)(uintptr_t)at), QDRIVER_OK);
}

static const uint32_t fill_rows[] = { 1, 7, 255, 256, 257, 4096, 65536 };
START_TEST(fills)
{
	uint32_t len = fill_rows[_i / 2], got;
	static uint8_t first[65536], second[65536], zero[65536];
	struct qdriver q;
	struct vdh h;
	struct vdd d;
	void *token;

	dev_open(&h, &d, &q, _i % 2);
	for (unsigned i = 0; i < 2; i++) {
		ask(&q, DATA, len);
		qdriver_publish(&q);
		vdd_notify(&d, 0);
		vdh_settle(&h);
		ck_assert_int_eq(qdriver_poll(&q, &token, &got), QDRIVER_OK);
		ck_assert_uint_eq(got, len);
		qmem_read(h.mem, gpa(DATA), i ? second : first, len);
	}
	if (len >= 16) {	/* chance: 2^-128 */
		ck_assert_int_ne(memcmp(first, second, len), 0);
		ck_assert_int_ne(memcmp(first + len - 16, zero, 16), 0);
		ck_assert_int_ne(memcmp(second + len - 16, zero, 16), 0);
	}
	qmem_read(h.mem, gpa(DATA + len), second, 64);	/* nothing behind the buffer */
	ck_assert_int_eq(memcmp(second, zero, 64), 0);
	ck_assert_uint_ge(vdd_interrupts(&d), 1);
	dev_close(&h, &q);
}
END_TEST

/* Counts of ones, of bytes and of equal neighbours, each within eight deviations of its mean. */
START_TEST(looks_random)
{
	enum { N = 65536 };
	static uint8_t b[N];
	unsigned ones = 0, same = 0, count[256] = { 0 };
	double chi = 0;
	struct qdriver q;
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, &q, _i);
	ask(&q, DATA, N);
	qdriver_publish(&q);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	qmem_read(h.mem, gpa(DATA), b, N);
	for (unsigned i = 0; i < N; i++) {
		ones += (unsigned)__builtin_popcount(b[i]);
		count[b[i]]++;
		same += i && b[i] == b[i - 1];
	}
	for (unsigned i = 0; i < 256; i++)
		chi += (count[i] - 256.0) * (count[i] - 256.0) / 256.0;
	ck_assert_uint_ge(ones, N * 4 - 8 * 362);	/* deviation: sqrt(N * 8) / 2 */
	ck_assert_uint_le(ones, N * 4 + 8 * 362);
	ck_assert_uint_le(same, 256 + 8 * 16);
	ck_assert(chi > 255 - 8 * 22.6 && chi < 255 + 8 * 22.6);
	dev_close(&h, &q);
}
END_TEST

/* A turn gives 64 KiB at most, and comes to an end with each. */
START_TEST(turn)
{
	struct qdriver q;
	unsigned n = 0;
	uint32_t got;
	struct vdh h;
	struct vdd d;
	void *token;

	dev_open(&h, &d, &q, _i);
	for (unsigned i = 0; i < 10; i++)
		ask(&q, DATA + i * 0x20000, 50000);
	qdriver_publish(&q);
	vdd_notify(&d, 0);
	ck_assert(vdh_watches(&h));
	ck_assert_int_eq(qdriver_poll(&q, &token, &got), QDRIVER_OK);
	ck_assert_uint_eq(got, 50000);
	ck_assert_int_eq(qdriver_poll(&q, &token, &got), QDRIVER_OK);
	ck_assert_uint_eq(got, 65536 - 50000);	/* less than asked for, but some */
	ck_assert_int_eq(qdriver_poll(&q, &token, &got), QDRIVER_EMPTY);
	vdh_settle(&h);
	while (qdriver_poll(&q, &token, &got) == QDRIVER_OK)
		n++;
	ck_assert_uint_eq(n, 8);
	dev_close(&h, &q);
}
END_TEST

START_TEST(wrong_direction)
{
	const struct qdriver_buf b[] = { { gpa(DATA), 16, false }, { gpa(DATA + 16), 16, true } };
	struct qdriver q;
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, &q, _i % 2);
	ck_assert_int_eq(qdriver_add(&q, b, 1 + (unsigned)_i / 2, &q), QDRIVER_OK);
	qdriver_publish(&q);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert(vdd_status(&d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_CHAIN), 1);
	vdd_set_status(&d, 0);
	ck_assert_uint_eq(vdd_status(&d), 0);
	dev_close(&h, &q);
}
END_TEST

START_TEST(no_config)
{
	struct qdriver q;
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, &q, _i);
	ck_assert_uint_eq(vdd_offered(&d) & 0xffffff, 0);
	if (!d.pci)	/* on PCI there is not even a capability for it */
		ck_assert_uint_eq(vdd_config(&d, 0, 4), 0);
	ck_assert_uint_eq(vdd_queue_max(&d, 1), 0);
	dev_close(&h, &q);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_entropy");
	TCase *tc = fixture_case(s, "virtio_entropy");

	tcase_add_loop_test(tc, fills, 0, 2 * Q_ARRAY_LEN(fill_rows));
	tcase_add_loop_test(tc, looks_random, 0, 2);
	tcase_add_loop_test(tc, turn, 0, 2);
	tcase_add_loop_test(tc, wrong_direction, 0, 4);
	tcase_add_loop_test(tc, no_config, 0, 2);
	return fixture_main(s);
}
