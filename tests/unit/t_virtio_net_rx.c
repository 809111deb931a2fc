/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_net_rx.c: frames to the guest, in every kind of ring and buffer; what a hostile peer
 * may say; and what the guest did not agree to take, finished in software.
 */
#include <linux/virtio_net.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vdnic.h"

#define CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM

static const struct {
	uint64_t features;
	unsigned n;
	uint32_t bytes, len;
	unsigned used;		/* buffers; 0 = the frame does not fit and is lost */
} rx_rows[] = {
	{ 0, 4, 1526, 60, 1 },
	{ 0, 4, 1526, 1514, 1 },
	{ 0, 4, 1526, 1517, 0 },
	{ 0, 2, 65700, VD_NET_FRAME_MAX, 1 },
	{ B(MRG_RXBUF), 4, 1526, 1514, 1 },
	{ B(MRG_RXBUF), 4, 1526, 1515, 2 },
	{ B(MRG_RXBUF), 60, 1526, 65000, 43 },
	{ B(MRG_RXBUF), 60, 12, 60, 6 },	/* the smallest that may be: the header alone */
	{ B(MRG_RXBUF), 60, 100, 14, 1 },
};
START_TEST(rx_sizes)
{
	const typeof(rx_rows[0]) *row = &rx_rows[_i / HOWS];
	static uint8_t frame[VD_NET_FRAME_MAX], got[VD_NET_BUF_BYTES];
	static const uint8_t hdr[12];
	struct nic k = { 0 };
	unsigned left;

	nic_open(&k, _i % HOWS, row->features);
	nic_give_buffers(&k, 0, row->n, row->bytes);
	nic_fill(frame, row->len, 3);
	vdn_put(&k.n, 0, hdr, frame, row->len);
	vdh_settle(&k.h);
	left = row->n - row->used;
	if (row->used) {
		ck_assert_uint_eq(nic_take_frame(&k, 0, got), nic_hdr_bytes(&k) + row->len);
		ck_assert_int_eq(memcmp(got + nic_hdr_bytes(&k), frame, row->len), 0);
		if (nic_hdr_bytes(&k) == 12)
			ck_assert_uint_eq(got[10] | got[11] << 8, row->used);
	}
	ck_assert_uint_eq(qdriver_outstanding(&k.q[0]), left);
	/* The next one goes as if nothing had been. */
	nic_fill(frame, 14, 4);
	vdn_put(&k.n, 0, hdr, frame, 14);
	vdh_settle(&k.h);
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), nic_hdr_bytes(&k) + 14);
	ck_assert_int_eq(memcmp(got + nic_hdr_bytes(&k), frame, 14), 0);
	nic_close(&k);
}
END_TEST

/* Frames wait for buffers, in order, and buffers for frames; kicks only when they are missing. */
START_TEST(rx_starved)
{
	uint8_t frame[200], got[400];
	static const uint8_t hdr[12];
	struct nic k = { 0 };

	nic_open(&k, _i % HOWS, _i >= HOWS ? B(MRG_RXBUF) | VDD_EVENT_IDX : 0);
	for (unsigned i = 0; i < 6; i++) {
		nic_fill(frame, 200, i);
		vdn_put(&k.n, 0, hdr, frame, 200);
	}
	vdh_settle(&k.h);
	for (unsigned i = 0; i < 6; i++) {
		nic_give_buffers(&k, 0, 1, 400);
		ck_assert_uint_eq(nic_take_frame(&k, 0, got), nic_hdr_bytes(&k) + 200);
		nic_fill(frame, 200, i);
		ck_assert_int_eq(memcmp(got + nic_hdr_bytes(&k), frame, 200), 0);
	}
	nic_give_buffers(&k, 0, 3, 400);
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), 0);
	vdn_put(&k.n, 0, hdr, frame, 200);
	vdh_settle(&k.h);
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), nic_hdr_bytes(&k) + 200);
	nic_close(&k);
}
END_TEST

/* A frame that needs more buffers than there are waits for the rest, and is delivered whole. */
START_TEST(rx_half)
{
	static uint8_t frame[5000], got[6000];
	static const uint8_t hdr[12];
	struct nic k = { 0 };

	nic_open(&k, PCI, B(MRG_RXBUF));
	nic_give_buffers(&k, 0, 2, 1000);
	nic_fill(frame, 5000, 9);
	vdn_put(&k.n, 0, hdr, frame, 5000);
	vdh_settle(&k.h);
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), 0);
	for (unsigned i = 2; i < 6; i++) {
		const struct qdriver_buf b = { gpa(MEM(0) + i * 1000), 1000, true };

		ck_assert_int_eq(qdriver_add(&k.q[0], &b, 1, (void *)(uintptr_t)b.at.v), 0);
	}
	nic_go(&k, 0);
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), 5012);
	ck_assert_int_eq(memcmp(got + 12, frame, 5000), 0);
	nic_close(&k);
}
END_TEST

/* Receive buffers that are none. */
static const struct {
	uint32_t len;
	bool in;
} buffer_rows[] = { { 11, true }, { 1, true }, { 100, false } };
START_TEST(rx_bad_buffers)
{
	const struct qdriver_buf b = { gpa(MEM(0)), buffer_rows[_i].len, buffer_rows[_i].in };
	static const uint8_t hdr[12], frame[60];
	struct nic k = { 0 };

	nic_open(&k, PCI, B(MRG_RXBUF));
	ck_assert_int_eq(qdriver_add(&k.q[0], &b, 1, &k), QDRIVER_OK);
	nic_go(&k, 0);
	vdn_put(&k.n, 0, hdr, frame, 60);
	vdh_settle(&k.h);
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), 1);
	nic_live(&k, 0, 1);	/* and a reset mends it */
	nic_give_buffers(&k, 0, 1, 1526);
	vdn_put(&k.n, 0, hdr, frame, 60);
	vdh_settle(&k.h);
	ck_assert_uint_eq(qdriver_outstanding(&k.q[0]), 1);
	uint8_t got[100];
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), 72);
	nic_close(&k);
}
END_TEST

/* What a hostile peer may say: lost, counted, and nothing else. */
static const struct {
	uint8_t flags, gso;
	uint16_t size, start, off;
	uint32_t len;
} bad_rows[] = {
	{ 0, 0, 0, 0, 0, 13 }, { 0, 0, 0, 0, 0, 0 }, { 0, 0, 0, 0, 0, VD_NET_FRAME_MAX + 1 },
	{ CSUM, 0, 0, 0xffff, 0xffff, 60 }, { CSUM, 0, 0, 59, 0, 60 },
	{ CSUM, 1, 1448, 34, 16, 9000 },	/* no TCP in it */
	{ CSUM, 1, 0, 34, 16, 9000 }, { CSUM, 4, 1448, 0xfff0, 16, 9000 },
	{ 0, 1, 1448, 34, 16, 9000 }, { CSUM, 3, 1448, 34, 6, 9000 }, { CSUM, 9, 1, 34, 6, 60 },
};
START_TEST(rx_hostile)
{
	const typeof(bad_rows[0]) *row = &bad_rows[_i];
	const uint16_t f[4] = { 0xffff, row->size, row->start, row->off };
	static uint8_t frame[VD_NET_FRAME_MAX + 1], got[100];
	uint8_t hdr[12] = { row->flags, row->gso };
	struct nic k = { 0 };

	memcpy(hdr + 2, f, sizeof(f));
	nic_config(&k);
	vdh_arg(&k.h, "peerfeats", "x", 0x7fc3);
	nic_create(&k, PCI);
	nic_live(&k, 0x7f83, 1);
	nic_give_buffers(&k, 0, 2, 70000);
	nic_fill(frame, row->len, 1);
	vdn_put(&k.n, 0, hdr, frame, row->len);
	memset(hdr, 0, sizeof(hdr));
	vdn_put(&k.n, 0, hdr, frame, 60);
	vdh_settle(&k.h);
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), 72);
	ck_assert_uint_eq(qdriver_outstanding(&k.q[0]), 1);
	ck_assert_uint_eq(k.h.n_faults, 0);	/* not this guest's doing */
	nic_close(&k);
}
END_TEST

/* ---- what the guest did not agree to is finished here ---- */

static unsigned def_sum(const uint8_t *p, size_t len, unsigned s)
{
	for (size_t i = 0; i < len; i++) {
		s += i % 2 ? p[i] : (unsigned)p[i] << 8;
		s = (s & 0xffff) + (s >> 16);
	}
	return s;
}

/* A frame of TCP over IPv4 with @payload bytes, its sum left to others. */
static uint32_t make_tcp(uint8_t *f, uint32_t payload, uint8_t hdr[12], uint16_t mss)
{
	const uint16_t h[4] = { 0, mss, 34, 16 };
	uint32_t len = 54 + payload, s;

	nic_fill(f, len, 5);
	f[12] = 8;
	f[13] = 0;
	f[14] = 0x45;
	f[23] = 6;
	f[46] = 0x50;
	f[47] = 0x18;
	s = def_sum(f + 26, 8, 6 + 20 + payload);
	f[50] = (uint8_t)(s >> 8);
	f[51] = (uint8_t)s;
	hdr[0] = CSUM;
	hdr[1] = mss ? VIRTIO_NET_HDR_GSO_TCPV4 : 0;
	memcpy(hdr + 2, h, sizeof(h));
	hdr[10] = hdr[11] = 0;
	return len;
}

static const struct {
	uint64_t features;
	uint16_t mss;
	uint32_t payload;
	unsigned n;		/* frames that come */
	bool partial;		/* the sum is left to the guest */
} finish_rows[] = {
	{ 0, 0, 100, 1, false },
	{ B(GUEST_CSUM), 0, 100, 1, true },
	{ 0, 1000, 4500, 5, false },
	{ B(GUEST_CSUM), 1000, 4500, 5, false },
	{ B(GUEST_CSUM) | B(GUEST_TSO4), 1000, 4500, 1, true },
	{ B(GUEST_CSUM) | B(GUEST_TSO6), 1000, 4500, 5, false },
	{ B(GUEST_TSO4), 1000, 4500, 5, false },	/* for nothing, without GUEST_CSUM */
	{ 0, 1000, 64000, 64, false },
};
START_TEST(finished)
{
	const typeof(finish_rows[0]) *row = &finish_rows[_i / 2];
	static uint8_t frame[VD_NET_FRAME_MAX], got[VD_NET_BUF_BYTES];
	uint8_t hdr[12];
	struct nic k = { 0 };
	uint32_t len, bytes = 0;

	nic_open(&k, PCI, row->features | (_i % 2 ? B(MRG_RXBUF) : 0));
	len = make_tcp(frame, row->payload, hdr, row->mss);
	vdn_put(&k.n, 0, hdr, frame, len);
	vdh_settle(&k.h);
	/* In two helpings: what is cut waits in the middle. */
	for (unsigned i = 0; i < row->n; i++) {
		if (i == 0 || i == row->n / 2)
			nic_give_buffers(&k, 0, row->n == 64 ? 32 : 3, row->n == 1 ? 70000 : 1526);
		uint32_t n = nic_take_frame(&k, 0, got);

		ck_assert_uint_gt(n, 12 + 54);
		ck_assert_uint_eq(got[0], row->partial ? CSUM : 0);
		if (!row->partial)
			ck_assert_uint_eq(def_sum(got + 46, n - 46,
						  def_sum(got + 38, 8, 6 + n - 46)), 0xffff);
		ck_assert_int_eq(memcmp(got + 12 + 54, frame + 54 + bytes, n - 12 - 54), 0);
		bytes += n - 12 - 54;
	}
	ck_assert_uint_eq(bytes, row->payload);
	nic_close(&k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_net_rx");
	TCase *tc = fixture_case(s, "receive");

	tcase_add_loop_test(tc, rx_sizes, 0, HOWS * Q_ARRAY_LEN(rx_rows));
	tcase_add_loop_test(tc, rx_starved, 0, 2 * HOWS);
	tcase_add_test(tc, rx_half);
	tcase_add_loop_test(tc, rx_bad_buffers, 0, Q_ARRAY_LEN(buffer_rows));
	tcase_add_loop_test(tc, rx_hostile, 0, Q_ARRAY_LEN(bad_rows));
	tcase_add_loop_test(tc, finished, 0, 2 * Q_ARRAY_LEN(finish_rows));
	return fixture_main(s);
}
