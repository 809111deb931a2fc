/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_net*.c under a real driver (lib/qdriver), with a peer whose frames, room and link are
 * the test's (vdnet.h): both directions, every kind of ring and transport, what headers may say,
 * commands and their abuse, resets in the middle.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vddriver.h"
#include "tests/unit/vdnet.h"
#include "vdevs/virtio_net.h"

#define B(name) (1ull << VIRTIO_NET_F_##name)
#define CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM
#define PAIRS_MAX 4u
#define QUEUES_MAX (2 * PAIRS_MAX + 1)
#define ENTRIES 64u
#define RING(q) (VDH_RAM_GPA + (uint64_t)(q) * 0x20000)
#define MEM(q) (VDH_RAM_GPA + 0x200000 + (uint64_t)(q) * 0x38000)
#define BASE (B(MAC) | B(STATUS) | B(MTU) | B(MRG_RXBUF) | B(CTRL_VQ) | B(CTRL_RX) | \
	      B(CTRL_RX_EXTRA) | B(CTRL_MAC_ADDR))

struct nic {
	struct vdh h;
	struct vdd d;
	struct vdn n;
	struct qdriver q[QUEUES_MAX];
	unsigned n_queues, ctrl;
	uint64_t features;
};

enum how { PCI, MMIO, LEGACY, PACKED, HOWS };

static void nic_config(struct nic *k)
{
	vdh_init(&k->h);
	vdn_init(&k->n, &k->h);
	memset(k->q, 0, sizeof(k->q));
	vdh_arg(&k->h, "peer", "ivi/net", 0);
}

static void nic_create(struct nic *k, enum how how)
{
	if (how == LEGACY)
		vdh_arg(&k->h, "legacy", NULL, 0);
	ck_assert_int_eq(vdh_create(&k->h, "virtio-net", how == MMIO ? VD_MEM : VD_PCI, VDD_MMIO, 1),
			 0);
	vdd_init(&k->d, &k->h);
}

/* Driver up with @pairs queue pairs and the control queue. */
static void nic_live(struct nic *k, uint64_t features, unsigned pairs)
{
	unsigned max = pairs > 1 ? (unsigned)vdd_config(&k->d, 8, 2) : 1;
	unsigned ring = (features & VDD_INDIRECT ? QRING_INDIRECT : 0) |
			(features & VDD_EVENT_IDX ? QRING_EVENT_IDX : 0) |
			(features & VDD_PACKED ? QRING_PACKED : 0);

	if (!k->d.legacy)
		features |= VDD_VERSION_1;
	k->features = features;
	vdd_negotiate(&k->d, features);
	k->ctrl = 2 * max;
	k->n_queues = k->ctrl + 1;
	for (unsigned q = 0; q < k->n_queues; q++) {
		qdriver_fini(&k->q[q]);
		/* The ring of a legacy device is as long as the device says. */
		uint32_t num = k->d.legacy ? vdd_queue_max(&k->d, q) : ENTRIES;
		ck_assert_int_eq(qdriver_init(&k->q[q], k->h.mem, gpa(RING(q)), num, ring,
					      gpa(RING(q) + 0x10000), 8), 0);
		vdd_queue_set(&k->d, q, &k->q[q].cfg);
		vdd_queue_enable(&k->d, q);
	}
	vdd_set_status(&k->d, k->d.legacy ? VDD_STATUS_LIVE_LEGACY : VDD_STATUS_LIVE);
	vdh_settle(&k->h);
}

static void nic_open(struct nic *k, enum how how, uint64_t features)
{
	nic_config(k);
	nic_create(k, how);
	nic_live(k, features | (how == PACKED ? VDD_PACKED : 0), 1);
}

static void nic_close(struct nic *k)
{
	for (unsigned q = 0; q < k->n_queues; q++)
		qdriver_fini(&k->q[q]);
	vdh_fini(&k->h);
	vdn_fini(&k->n);
}

static uint32_t hdr_bytes(const struct nic *k)
{
	return k->d.legacy && !(k->features & B(MRG_RXBUF)) ? 10 : 12;
}

static void go(struct nic *k, unsigned q)
{
	if (qdriver_publish(&k->q[q]))
		vdd_notify(&k->d, q);
	vdh_settle(&k->h);
}

static void fill(uint8_t *p, uint32_t len, unsigned seed)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 13 + seed + (i >> 8));
}

/* ---- what is offered ---- */

static const struct {
	uint64_t mask, offered;
	bool legacy;
} mask_rows[] = {
	{ ~0ull, B(CSUM) | B(GUEST_CSUM) | 0x3b80, false },
	{ 0x7fc3, 0x7f83, false },
	{ 0x7fc3, 0x7fc3, true },
	{ 0x3, 0x3, false },
	{ 0, 0, false },
	{ 0x0382, 0x0382, false },
	{ 0x0380, 0, false },		/* GUEST_TSO without GUEST_CSUM */
	{ 0x7800, 0, false },		/* HOST_TSO without CSUM */
	{ 0x2001, 0x1, false },		/* HOST_ECN without HOST_TSO */
	{ 0x19c3, 0x1983, false },
};
START_TEST(offered)
{
	struct nic k = { 0 };
	uint64_t want = mask_rows[_i].offered | BASE | VDD_INDIRECT | VDD_EVENT_IDX;

	nic_config(&k);
	if (mask_rows[_i].mask != ~0ull)
		vdh_arg(&k.h, "peerfeats", "x", mask_rows[_i].mask);
	nic_create(&k, mask_rows[_i].legacy ? LEGACY : PCI);
	if (mask_rows[_i].offered & 0x782)
		want |= B(CTRL_GUEST_OFFLOADS);
	if (mask_rows[_i].legacy)
		want |= 1ull << 27;
	else
		want |= VDD_VERSION_1 | VDD_PACKED;
	ck_assert_msg(vdd_offered(&k.d) == want, "0x%llx, expected 0x%llx",
		      (unsigned long long)vdd_offered(&k.d), (unsigned long long)want);
	nic_close(&k);
}
END_TEST

/* What the host cannot do is not offered, whatever the mask. */
START_TEST(offered_by_host)
{
	struct nic k = { 0 };

	nic_config(&k);
	k.n.n.features = B(CSUM) | B(HOST_TSO4) | B(GUEST_TSO4);
	nic_create(&k, PCI);
	ck_assert_uint_eq(vdd_offered(&k.d) & VD_NET_PEER_FEATURES, B(CSUM) | B(HOST_TSO4));
	nic_close(&k);
}
END_TEST

START_TEST(config_space)
{
	struct nic k = { 0 };
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 7 };

	nic_config(&k);
	vdh_arg(&k.h, "mac", "02:00:00:00:00:07", 0);
	vdh_arg(&k.h, "mtu", "x", 9000);
	vdh_arg(&k.h, "queues", "x", 3);
	nic_create(&k, _i);
	for (unsigned i = 0; i < 6; i++)
		ck_assert_uint_eq(vdd_config(&k.d, i, 1), mac[i]);
	ck_assert_uint_eq(vdd_config(&k.d, 6, 2), 1);
	ck_assert_uint_eq(vdd_config(&k.d, 8, 2), 3);
	ck_assert_uint_eq(vdd_config(&k.d, 10, 2), 9000);
	ck_assert(vdd_offered(&k.d) & B(MQ));
	ck_assert_uint_eq(k.n.cfg.pairs, 3);
	ck_assert_uint_ne(vdd_queue_max(&k.d, 6), 0);
	ck_assert_uint_eq(vdd_queue_max(&k.d, 7), 0);
	nic_close(&k);
}
END_TEST

static const struct {
	const char *name, *text;
	uint64_t num;
	const char *says;
} wrong_rows[] = {
	{ "peerfeats", "x", 0x8000, "bits 0x8000" },
	{ "peerfeats", "x", 0x21, "bits 0x20" },
	{ "mac", "01:00:00:00:00:00", 0, "group address" },
	{ "queues", "x", 9, "1 to 8" },
	{ "queues", "x", 0, "1 to 8" },
	{ "mtu", "x", 67, "68 to 65535" },
	{ "tapdev", "vp0", 0, "only one of the two" },
	{ "peer", "ivi", 0, "SYSTEM/NAME" },
};
START_TEST(wrong)
{
	struct nic k = { 0 };

	nic_config(&k);
	vdh_arg(&k.h, wrong_rows[_i].name, wrong_rows[_i].text, wrong_rows[_i].num);
	ck_assert_int_eq(vdh_create(&k.h, "virtio-net", VD_PCI, 0, 1), -EINVAL);
	ck_assert_ptr_nonnull(strstr(k.h.errs.v[k.h.errs.n - 1].text, wrong_rows[_i].says));
	vdh_fini(&k.h);
	vdn_fini(&k.n);
}
END_TEST

START_TEST(no_such_peer)
{
	struct nic k = { 0 };

	nic_config(&k);
	k.n.open_err = -ENODEV;
	ck_assert_int_eq(vdh_create(&k.h, "virtio-net", VD_PCI, 0, 1), -ENODEV);
	vdh_fini(&k.h);
	vdn_fini(&k.n);
}
END_TEST

/* ---- from the guest ---- */

/* One chain: header and frame in MEM(1), in pieces of @sizes (the last one is what is left). */
static void send_pieces(struct nic *k, const uint8_t *hdr, uint32_t len, const uint32_t *sizes,
			unsigned n_sizes)
{
	static uint8_t buf[VD_NET_HDR_BYTES + VD_NET_FRAME_MAX + 64];
	struct qdriver_buf bufs[8];
	uint32_t total = hdr_bytes(k) + len, at = 0;
	unsigned n = 0;

	memcpy(buf, hdr, hdr_bytes(k));
	fill(buf + hdr_bytes(k), len, len);
	ck_assert_int_eq(qmem_write(k->h.mem, gpa(MEM(1)), buf, total), 0);
	while (at < total) {
		uint32_t size = n < n_sizes ? Q_MIN(sizes[n], total - at) : total - at;

		bufs[n++] = (struct qdriver_buf){ gpa(MEM(1) + at), size, false };
		at += size;
	}
	ck_assert_int_eq(qdriver_add(&k->q[1], bufs, n, k), QDRIVER_OK);
	go(k, 1);
}

static void reaped(struct nic *k, unsigned q, uint32_t want)
{
	void *token;
	uint32_t written;

	ck_assert_int_eq(qdriver_poll(&k->q[q], &token, &written), QDRIVER_OK);
	ck_assert_uint_eq(written, want);
}

static const struct {
	uint32_t size[4];
	unsigned n;
	uint32_t len;
} layouts[] = {
	{ { 0 }, 0, 60 }, { { 12 }, 1, 60 }, { { 10 }, 1, 60 }, { { 1, 1, 1, 9 }, 4, 60 },
	{ { 26 }, 1, 60 }, { { 5, 30, 1 }, 3, 1514 }, { { 12, 4096, 4096, 4096 }, 4, 65000 },
	{ { 0 }, 0, 14 }, { { 0 }, 0, VD_NET_FRAME_MAX },
};
START_TEST(tx_layouts)
{
	const typeof(layouts[0]) *row = &layouts[_i / (HOWS + 1)];
	unsigned how = _i % (HOWS + 1);
	static const uint8_t hdr[12];
	static uint8_t want[VD_NET_FRAME_MAX];
	struct nic k = { 0 };

	nic_open(&k, how % HOWS, how == HOWS ? VDD_INDIRECT | VDD_EVENT_IDX : 0);
	send_pieces(&k, hdr, row->len, row->size, row->n);
	reaped(&k, 1, 0);
	ck_assert_uint_eq(k.n.n_out, 1);
	ck_assert_uint_eq(k.n.out[0].len, 12 + row->len);
	fill(want, row->len, row->len);
	ck_assert_int_eq(memcmp(k.n.out[0].data + 12, want, row->len), 0);
	ck_assert_uint_gt(k.n.n_flushes, 0);
	nic_close(&k);
}
END_TEST

#define ALL_TX (B(CSUM) | B(HOST_TSO4) | B(HOST_TSO6) | B(HOST_ECN) | B(HOST_UFO))
static const struct {
	const char *what;
	uint64_t features;
	uint8_t flags, gso;
	uint16_t size, start, off;
	uint32_t len;
	bool sent;
} tx_rows[] = {
	{ "plain", 0, 0, 0, 0, 0, 0, 60, true },
	{ "a runt", 0, 0, 0, 0, 0, 0, 13, false },
	{ "too long", 0, 0, 0, 0, 0, 0, VD_NET_FRAME_MAX + 1, false },
	{ "sum", ALL_TX, CSUM, 0, 0, 34, 16, 60, true },
	{ "sum, not agreed", 0, CSUM, 0, 0, 34, 16, 60, false },
	{ "sum outside", ALL_TX, CSUM, 0, 0, 34, 25, 60, false },
	{ "tso", ALL_TX, CSUM, 1, 1448, 34, 16, 9000, true },
	{ "tso, sum only agreed", B(CSUM), CSUM, 1, 1448, 34, 16, 9000, false },
	{ "tso6, tso4 agreed", B(CSUM) | B(HOST_TSO4), CSUM, 4, 1448, 54, 16, 9000, false },
	{ "ecn, not agreed", B(CSUM) | B(HOST_TSO4), CSUM, 0x81, 1448, 34, 16, 9000, false },
	{ "ecn", ALL_TX, CSUM, 0x81, 1448, 34, 16, 9000, true },
	{ "ufo", ALL_TX, CSUM, 3, 1472, 34, 6, 9000, true },
	{ "nonsense", ALL_TX, CSUM, 0x55, 1472, 34, 6, 9000, false },
};
START_TEST(tx_headers)
{
	const typeof(tx_rows[0]) *row = &tx_rows[_i];
	const uint16_t f[4] = { 0x1234, row->size, row->start, row->off };
	uint8_t hdr[12] = { row->flags, row->gso };
	struct nic k = { 0 };

	memcpy(hdr + 2, f, sizeof(f));
	nic_config(&k);
	vdh_arg(&k.h, "peerfeats", "x", 0x7fc3);
	nic_create(&k, PCI);
	nic_live(&k, row->features, 1);
	send_pieces(&k, hdr, row->len, NULL, 0);
	reaped(&k, 1, 0);	/* in either case the guest has its buffer back */
	ck_assert_msg(k.n.n_out == row->sent, "%s", row->what);
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), !row->sent);
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE);
	if (row->sent) {
		const uint8_t *out = k.n.out[0].data;

		ck_assert_uint_eq(out[0], row->flags);
		ck_assert_uint_eq(out[1], row->gso);
		ck_assert_int_eq(memcmp(out + 4, hdr + 4, 6), 0);
		ck_assert_uint_eq(out[2] | out[3] << 8, 0);	/* hdr_len: never as it came */
	}
	nic_close(&k);
}
END_TEST

/* A chain shorter than a header; one with a part to write. */
START_TEST(tx_odd_chains)
{
	struct nic k = { 0 };
	const struct qdriver_buf shorter = { gpa(MEM(1)), 7, false };
	const struct qdriver_buf in = { gpa(MEM(1)), 100, true };

	nic_open(&k, PCI, 0);
	ck_assert_int_eq(qdriver_add(&k.q[1], &shorter, 1, &k), QDRIVER_OK);
	ck_assert_int_eq(qdriver_add(&k.q[1], &in, 1, &k), QDRIVER_OK);
	go(&k, 1);
	reaped(&k, 1, 0);
	reaped(&k, 1, 0);
	ck_assert_uint_eq(k.n.n_out, 0);
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), 2);
	nic_close(&k);
}
END_TEST

static void queue_frames(struct nic *k, unsigned n)
{
	static const uint8_t buf[12 + 60];
	const struct qdriver_buf b = { gpa(MEM(1)), sizeof(buf), false };

	qmem_write(k->h.mem, gpa(MEM(1)), buf, sizeof(buf));
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(qdriver_add(&k->q[1], &b, 1, k), QDRIVER_OK);
	go(k, 1);
}

/* A peer without room makes the guest wait; room lets it go on; no frame is lost or doubled. */
START_TEST(tx_backpressure)
{
	struct nic k = { 0 };

	nic_open(&k, PCI, _i ? VDD_EVENT_IDX : 0);
	vdh_advance(&k.h, 1);
	k.n.room = 2;
	queue_frames(&k, 10);
	ck_assert_uint_eq(k.n.n_out, 2);
	ck_assert_uint_eq(qdriver_outstanding(&k.q[1]), 10);
	queue_frames(&k, 1);	/* a kick meanwhile changes nothing */
	ck_assert_uint_eq(k.n.n_out, 2);
	vdn_make_room(&k.n, 5);
	vdh_settle(&k.h);
	ck_assert_uint_eq(k.n.n_out, 7);
	vdn_make_room(&k.n, 100);
	vdh_settle(&k.h);
	ck_assert_uint_eq(k.n.n_out, 11);
	for (unsigned i = 0; i < 11; i++)
		reaped(&k, 1, 0);
	nic_close(&k);
}
END_TEST

/* A peer that takes nothing at all does not hold the guest for ever, and is tried again. */
START_TEST(tx_stall)
{
	struct nic k = { 0 };

	nic_open(&k, PCI, 0);
	vdh_advance(&k.h, 1);
	k.n.room = 0;
	queue_frames(&k, 5);
	vdh_advance(&k.h, 100 * Q_NSEC_PER_MSEC);
	ck_assert_uint_eq(k.n.n_out, 0);
	ck_assert_int_eq(qdriver_outstanding(&k.q[1]), 5);
	vdh_advance(&k.h, 150 * Q_NSEC_PER_MSEC);
	for (unsigned i = 0; i < 5; i++)
		reaped(&k, 1, 0);
	queue_frames(&k, 3);		/* dropped at once now */
	for (unsigned i = 0; i < 3; i++)
		reaped(&k, 1, 0);
	k.n.room = 1;
	queue_frames(&k, 2);		/* one goes; the other waits again */
	ck_assert_uint_eq(k.n.n_out, 1);
	reaped(&k, 1, 0);
	ck_assert_uint_eq(qdriver_outstanding(&k.q[1]), 1);
	void *token;
	uint32_t written;
	ck_assert_int_eq(qdriver_poll(&k.q[1], &token, &written), QDRIVER_EMPTY);
	nic_close(&k);
}
END_TEST

/* ---- to the guest ---- */

/* @n buffers of @bytes each for queue @q. */
static void give_buffers(struct nic *k, unsigned q, unsigned n, uint32_t bytes)
{
	for (unsigned i = 0; i < n; i++) {
		const struct qdriver_buf b = { gpa(MEM(q) + (uint64_t)i * bytes), bytes, true };

		ck_assert_int_eq(qdriver_add(&k->q[q], &b, 1, (void *)(uintptr_t)(b.at.v)),
				 QDRIVER_OK);
	}
	go(k, q);
}

static uint32_t take_frame(struct nic *k, unsigned q, uint8_t *buf)
{
	uint32_t written, total = 0;
	unsigned n = 1;
	void *token;

	for (unsigned i = 0; i < n; i++) {
		if (qdriver_poll(&k->q[q], &token, &written) != QDRIVER_OK) {
			ck_assert_uint_eq(i, 0);
			return 0;
		}
		ck_assert_int_eq(qmem_read(k->h.mem, gpa((uintptr_t)token), buf + total, written), 0);
		total += written;
		if (i == 0 && hdr_bytes(k) == 12)
			n = buf[10] | buf[11] << 8;
	}
	ck_assert_uint_ge(n, 1);
	return total;
}

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
	give_buffers(&k, 0, row->n, row->bytes);
	fill(frame, row->len, 3);
	vdn_put(&k.n, 0, hdr, frame, row->len);
	vdh_settle(&k.h);
	left = row->n - row->used;
	if (row->used) {
		ck_assert_uint_eq(take_frame(&k, 0, got), hdr_bytes(&k) + row->len);
		ck_assert_int_eq(memcmp(got + hdr_bytes(&k), frame, row->len), 0);
		if (hdr_bytes(&k) == 12)
			ck_assert_uint_eq(got[10] | got[11] << 8, row->used);
	}
	ck_assert_uint_eq(qdriver_outstanding(&k.q[0]), left);
	/* The next one goes as if nothing had been. */
	fill(frame, 14, 4);
	vdn_put(&k.n, 0, hdr, frame, 14);
	vdh_settle(&k.h);
	ck_assert_uint_eq(take_frame(&k, 0, got), hdr_bytes(&k) + 14);
	ck_assert_int_eq(memcmp(got + hdr_bytes(&k), frame, 14), 0);
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
		fill(frame, 200, i);
		vdn_put(&k.n, 0, hdr, frame, 200);
	}
	vdh_settle(&k.h);
	for (unsigned i = 0; i < 6; i++) {
		give_buffers(&k, 0, 1, 400);
		ck_assert_uint_eq(take_frame(&k, 0, got), hdr_bytes(&k) + 200);
		fill(frame, 200, i);
		ck_assert_int_eq(memcmp(got + hdr_bytes(&k), frame, 200), 0);
	}
	give_buffers(&k, 0, 3, 400);
	ck_assert_uint_eq(take_frame(&k, 0, got), 0);
	vdn_put(&k.n, 0, hdr, frame, 200);
	vdh_settle(&k.h);
	ck_assert_uint_eq(take_frame(&k, 0, got), hdr_bytes(&k) + 200);
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
	give_buffers(&k, 0, 2, 1000);
	fill(frame, 5000, 9);
	vdn_put(&k.n, 0, hdr, frame, 5000);
	vdh_settle(&k.h);
	ck_assert_uint_eq(take_frame(&k, 0, got), 0);
	for (unsigned i = 2; i < 6; i++) {
		const struct qdriver_buf b = { gpa(MEM(0) + i * 1000), 1000, true };

		ck_assert_int_eq(qdriver_add(&k.q[0], &b, 1, (void *)(uintptr_t)b.at.v), 0);
	}
	go(&k, 0);
	ck_assert_uint_eq(take_frame(&k, 0, got), 5012);
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
	go(&k, 0);
	vdn_put(&k.n, 0, hdr, frame, 60);
	vdh_settle(&k.h);
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), 1);
	nic_live(&k, 0, 1);	/* and a reset mends it */
	give_buffers(&k, 0, 1, 1526);
	vdn_put(&k.n, 0, hdr, frame, 60);
	vdh_settle(&k.h);
	ck_assert_uint_eq(qdriver_outstanding(&k.q[0]), 1);
	uint8_t got[100];
	ck_assert_uint_eq(take_frame(&k, 0, got), 72);
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
	give_buffers(&k, 0, 2, 70000);
	fill(frame, row->len, 1);
	vdn_put(&k.n, 0, hdr, frame, row->len);
	memset(hdr, 0, sizeof(hdr));
	vdn_put(&k.n, 0, hdr, frame, 60);
	vdh_settle(&k.h);
	ck_assert_uint_eq(take_frame(&k, 0, got), 72);
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

	fill(f, len, 5);
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
	{ B(GUEST_TSO4), 1000, 4500, 5, false },	/* without GUEST_CSUM it counts for nothing */
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
			give_buffers(&k, 0, row->n == 64 ? 32 : 3, row->n == 1 ? 70000 : 1526);
		uint32_t n = take_frame(&k, 0, got);

		ck_assert_uint_gt(n, 12 + 54);
		ck_assert_uint_eq(got[0], row->partial ? CSUM : 0);
		if (!row->partial)
			ck_assert_uint_eq(def_sum(got + 12 + 34, n - 12 - 34,
						  def_sum(got + 12 + 26, 8, 6 + n - 12 - 34)), 0xffff);
		ck_assert_int_eq(memcmp(got + 12 + 54, frame + 54 + bytes, n - 12 - 54), 0);
		bytes += n - 12 - 54;
	}
	ck_assert_uint_eq(bytes, row->payload);
	nic_close(&k);
}
END_TEST

/* ---- commands ---- */

static uint8_t command(struct nic *k, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	const struct qdriver_buf bufs[2] = {
		{ gpa(MEM(8)), 2 + len, false }, { gpa(MEM(8) + 0x10000), 1, true },
	};
	const uint8_t head[2] = { class, cmd }, none = 0xee;
	uint8_t ack;

	qmem_write(k->h.mem, bufs[0].at, head, 2);
	if (len)
		qmem_write(k->h.mem, gpa(MEM(8) + 2), data, len);
	qmem_write(k->h.mem, bufs[1].at, &none, 1);
	ck_assert_int_eq(qdriver_add(&k->q[k->ctrl], bufs, 2, k), QDRIVER_OK);
	go(k, k->ctrl);
	reaped(k, k->ctrl, 1);
	ck_assert_int_eq(qmem_read(k->h.mem, bufs[1].at, &ack, 1), 0);
	return ack;
}

#define ALL_CTRL (BASE | B(GUEST_CSUM) | B(GUEST_TSO4) | B(CTRL_GUEST_OFFLOADS) | B(MQ))
static const struct {
	const char *what;
	uint64_t features;
	uint8_t class, cmd;
	const char *data;
	uint32_t len;
	uint8_t want;
} cmd_rows[] = {
	{ "promisc", ALL_CTRL, 0, 0, "\1", 1, 0 },
	{ "promisc, no data", ALL_CTRL, 0, 0, "", 0, 1 },
	{ "promisc, two bytes", ALL_CTRL, 0, 0, "\1\1", 2, 1 },
	{ "allmulti", ALL_CTRL, 0, 1, "\1", 1, 0 },
	{ "nobcast", ALL_CTRL, 0, 5, "\1", 1, 0 },
	{ "nobcast, not agreed", ALL_CTRL & ~B(CTRL_RX_EXTRA), 0, 5, "\1", 1, 1 },
	{ "promisc, not agreed", ALL_CTRL & ~B(CTRL_RX), 0, 0, "\1", 1, 1 },
	{ "rx mode 6", ALL_CTRL, 0, 6, "\1", 1, 1 },
	{ "tables, empty", ALL_CTRL, 1, 0, "\0\0\0\0\0\0\0\0", 8, 0 },
	{ "tables, one each", ALL_CTRL, 1, 0, "\1\0\0\0abcdef\1\0\0\0ghijkl", 20, 0 },
	{ "one table", ALL_CTRL, 1, 0, "\0\0\0\0", 4, 1 },
	{ "a table that is not there", ALL_CTRL, 1, 0, "\377\377\377\377\0\0\0\0", 8, 1 },
	{ "a table whose size wraps", ALL_CTRL, 1, 0, "\253\252\252\52\0\0\0\0", 8, 1 },
	{ "more behind the tables", ALL_CTRL, 1, 0, "\0\0\0\0\0\0\0\0x", 9, 1 },
	{ "address", ALL_CTRL, 1, 1, "\2\0\0\0\0\x55", 6, 0 },
	{ "address, short", ALL_CTRL, 1, 1, "\2\0\0\0\0", 5, 1 },
	{ "address, not agreed", ALL_CTRL & ~B(CTRL_MAC_ADDR), 1, 1, "\2\0\0\0\0\x55", 6, 1 },
	{ "vlan", ALL_CTRL, 2, 0, "\1\0", 2, 1 },
	{ "announce", ALL_CTRL, 3, 0, "", 0, 1 },
	{ "pairs 2", ALL_CTRL, 4, 0, "\2\0", 2, 0 },
	{ "pairs 0", ALL_CTRL, 4, 0, "\0\0", 2, 1 },
	{ "pairs 5", ALL_CTRL, 4, 0, "\5\0", 2, 1 },
	{ "pairs 0x101", ALL_CTRL, 4, 0, "\1\1", 2, 1 },
	{ "rss", ALL_CTRL, 4, 1, "\2\0", 2, 1 },
	{ "offloads", ALL_CTRL, 5, 0, "\202\0\0\0\0\0\0\0", 8, 0 },
	{ "offloads, none", ALL_CTRL, 5, 0, "\0\0\0\0\0\0\0\0", 8, 0 },
	{ "offloads, not agreed", ALL_CTRL, 5, 0, "\2\1\0\0\0\0\0\0", 8, 1 },
	{ "offloads, short", ALL_CTRL, 5, 0, "\2", 1, 1 },
	{ "class 255", ALL_CTRL, 255, 255, "", 0, 1 },
};
START_TEST(commands)
{
	const typeof(cmd_rows[0]) *row = &cmd_rows[_i];
	struct nic k = { 0 };
	uint8_t got;

	nic_config(&k);
	vdh_arg(&k.h, "queues", "x", 4);
	nic_create(&k, PCI);
	nic_live(&k, row->features, 4);
	got = command(&k, row->class, row->cmd, row->data, row->len);
	ck_assert_msg(got == row->want, "%s: %u", row->what, got);
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), row->want);
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE);
	nic_close(&k);
}
END_TEST

/* Chains that are no commands. */
static const struct {
	uint32_t out, in;
	bool broken;
} odd_rows[] = {
	{ 1, 1, false }, { 0, 1, false }, { 4097, 1, false }, { 0x20000, 1, false },
	{ 3, 100, false }, { 3, 0, true },
};
START_TEST(odd_commands)
{
	const struct qdriver_buf out = { gpa(MEM(0)), odd_rows[_i].out, false };
	const struct qdriver_buf in = { gpa(MEM(4)), odd_rows[_i].in, true };
	struct qdriver_buf bufs[2];
	struct nic k = { 0 };
	unsigned n = 0;

	nic_open(&k, PCI, BASE);
	if (out.len_bytes)
		bufs[n++] = out;
	if (in.len_bytes)
		bufs[n++] = in;
	ck_assert_int_eq(qdriver_add(&k.q[k.ctrl], bufs, n, &k), QDRIVER_OK);
	go(&k, k.ctrl);
	ck_assert_uint_eq(!!(vdd_status(&k.d) & VIRTIO_CONFIG_S_NEEDS_RESET), odd_rows[_i].broken);
	if (!odd_rows[_i].broken)
		reaped(&k, k.ctrl, 1);
	nic_close(&k);
}
END_TEST

static const uint8_t uni_a[6] = { 2, 0, 0, 0, 0, 0xaa }, uni_b[6] = { 2, 0, 0, 0, 0, 0xbb };
static const uint8_t multi_a[6] = { 1, 0, 0x5e, 0, 0, 1 }, multi_b[6] = { 1, 0, 0x5e, 0, 0, 2 };
static const uint8_t own[6] = { 2, 0, 0, 0, 0, 0x11 };
static const uint8_t bcast[6] = { 255, 255, 255, 255, 255, 255 };
static const struct {
	struct net_filter f;
	unsigned takes;		/* bits: own, bcast, uni_a, uni_b, multi_a, multi_b */
} filter_rows[] = {
	{ { .promisc = true }, 0x3f },
	{ { 0 }, 0x03 },
	{ { .nobcast = true }, 0x01 },
	{ { .nouni = true }, 0x02 },
	{ { .allmulti = true }, 0x33 },
	{ { .allmulti = true, .nomulti = true }, 0x03 },
	{ { .alluni = true }, 0x0f },
	{ { .n_uni = 1, .uni = { { 2, 0, 0, 0, 0, 0xaa } } }, 0x07 },
	{ { .n_multi = 1, .multi = { { 1, 0, 0x5e, 0, 0, 2 } } }, 0x23 },
	{ { .uni_overflow = true }, 0x0f },
	{ { .multi_overflow = true }, 0x33 },
};
START_TEST(filters)
{
	const uint8_t *const dst[] = { own, bcast, uni_a, uni_b, multi_a, multi_b };

	for (unsigned i = 0; i < Q_ARRAY_LEN(dst); i++)
		ck_assert_int_eq(net_filter_takes(&filter_rows[_i].f, own, dst[i]),
				 filter_rows[_i].takes >> i & 1);
}
END_TEST

/* The filter as the guest sets it, up to what it then receives; a reset forgets it. */
START_TEST(filtering)
{
	static const uint8_t hdr[12];
	uint8_t frame[60] = { 0 }, got[100], table[8 + 6 * 65] = { 65 };
	struct nic k = { 0 };

	nic_open(&k, PCI, BASE);
	give_buffers(&k, 0, 8, 1526);
	memcpy(frame, uni_a, 6);
	vdn_put(&k.n, 0, hdr, frame, 60);	/* nothing was said: all */
	ck_assert_uint_eq(take_frame(&k, 0, got), 72);
	ck_assert_uint_eq(command(&k, 0, 0, "\0", 1), 0);
	vdn_put(&k.n, 0, hdr, frame, 60);
	ck_assert_uint_eq(take_frame(&k, 0, got), 0);
	ck_assert_uint_eq(command(&k, 1, 1, uni_a, 6), 0);
	ck_assert_uint_eq(vdd_config(&k.d, 5, 1), 0xaa);
	vdn_put(&k.n, 0, hdr, frame, 60);
	ck_assert_uint_eq(take_frame(&k, 0, got), 72);
	memcpy(frame, uni_b, 6);
	vdn_put(&k.n, 0, hdr, frame, 60);
	ck_assert_uint_eq(take_frame(&k, 0, got), 0);
	ck_assert_uint_eq(command(&k, 1, 0, table, sizeof(table)), 0);	/* more than fit: all */
	vdn_put(&k.n, 0, hdr, frame, 60);
	ck_assert_uint_eq(take_frame(&k, 0, got), 72);
	vdd_set_status(&k.d, 0);
	ck_assert_uint_eq(vdd_config(&k.d, 5, 1), 0x11);
	nic_close(&k);
}
END_TEST

/* ---- several pairs ---- */

START_TEST(pairs)
{
	static const uint8_t hdr[12];
	uint8_t frame[60] = { 0 }, got[100];
	struct nic k = { 0 };

	nic_config(&k);
	vdh_arg(&k.h, "queues", "x", 4);
	nic_create(&k, _i ? MMIO : PCI);
	nic_live(&k, ALL_CTRL, 4);
	for (unsigned p = 0; p < 4; p++)
		give_buffers(&k, 2 * p, 4, 1526);
	for (unsigned p = 0; p < 4; p++)	/* one pair until told: all come there */
		vdn_put(&k.n, p, hdr, frame, 60);
	vdh_settle(&k.h);
	for (unsigned p = 0; p < 4; p++)
		ck_assert_uint_eq(take_frame(&k, 0, got), 72);
	ck_assert_uint_eq(command(&k, 4, 0, "\4\0", 2), 0);
	ck_assert_uint_eq(k.n.guest_pairs, 4);
	give_buffers(&k, 0, 4, 1526);
	for (unsigned p = 0; p < 4; p++) {
		frame[59] = (uint8_t)p;
		vdn_put(&k.n, p, hdr, frame, 60);
		vdh_settle(&k.h);
		ck_assert_uint_eq(take_frame(&k, 2 * p, got), 72);
		ck_assert_uint_eq(got[71], p);
	}
	for (unsigned p = 0; p < 4; p++) {	/* and out by the pair it was queued on */
		const struct qdriver_buf b = { gpa(MEM(1)), 72, false };

		ck_assert_int_eq(qdriver_add(&k.q[2 * p + 1], &b, 1, &k), QDRIVER_OK);
		go(&k, 2 * p + 1);
		ck_assert_uint_eq(k.n.out[p].pair, p);
	}
	ck_assert_uint_eq(command(&k, 4, 0, "\1\0", 2), 0);
	vdn_put(&k.n, 3, hdr, frame, 60);
	vdh_settle(&k.h);
	ck_assert_uint_eq(take_frame(&k, 0, got), 72);
	nic_close(&k);
}
END_TEST

/* Without MQ the control queue is the third, whatever the device could do. */
START_TEST(one_of_many)
{
	struct nic k = { 0 };

	nic_config(&k);
	vdh_arg(&k.h, "queues", "x", 4);
	nic_create(&k, PCI);
	nic_live(&k, BASE, 1);
	ck_assert_uint_eq(k.ctrl, 2);
	ck_assert_uint_eq(command(&k, 0, 0, "\1", 1), 0);
	vdd_notify(&k.d, 8);	/* a queue that this driver has no name for */
	vdh_settle(&k.h);
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE);
	nic_close(&k);
}
END_TEST

/* ---- link, resets ---- */

START_TEST(link_changes)
{
	struct nic k = { 0 };

	nic_config(&k);
	k.n.n.link_up = false;
	nic_create(&k, PCI);
	nic_live(&k, BASE, 1);
	ck_assert_uint_eq(vdd_config(&k.d, 6, 2), 0);
	queue_frames(&k, 3);		/* nobody there: lost, and the guest goes on */
	for (unsigned i = 0; i < 3; i++)
		reaped(&k, 1, 0);
	vdn_set_link(&k.n, true);
	ck_assert_uint_eq(vdd_config(&k.d, 6, 2), 1);
	k.n.room = 0;
	queue_frames(&k, 2);
	ck_assert_uint_eq(qdriver_outstanding(&k.q[1]), 2);
	vdn_set_link(&k.n, false);	/* what waited for room is lost */
	vdh_settle(&k.h);
	ck_assert_uint_eq(vdd_config(&k.d, 6, 2), 0);
	reaped(&k, 1, 0);
	reaped(&k, 1, 0);
	ck_assert_uint_eq(k.n.n_out, 0);
	nic_close(&k);
}
END_TEST

/* The change is an interrupt of the configuration's vector. */
START_TEST(link_interrupt)
{
	struct nic k = { 0 };

	nic_open(&k, MMIO, BASE);
	vdh_edges(&k.h, 0);
	vdn_set_link(&k.n, false);
	ck_assert_uint_eq(vdh_edges(&k.h, 0), 1);
	ck_assert_uint_eq(vdh_read(&k.h, VD_MEM, VDD_MMIO + 0x60, 4) & 2, 2);
	nic_close(&k);
}
END_TEST

/* A reset with a frame held in either direction; nothing of before is seen after. */
START_TEST(reset_in_the_middle)
{
	static uint8_t frame[5000], got[6000];
	static const uint8_t hdr[12];
	struct nic k = { 0 };

	nic_open(&k, _i, B(MRG_RXBUF));
	for (unsigned round = 0; round < 3; round++) {
		vdn_clear(&k.n);
		k.n.room = 1;
		queue_frames(&k, 4);
		give_buffers(&k, 0, 2, 1000);
		fill(frame, 5000, round);
		vdn_put(&k.n, 0, hdr, frame, 5000);
		vdh_settle(&k.h);
		nic_live(&k, B(MRG_RXBUF) | (_i == PACKED ? VDD_PACKED : 0), 1);
		ck_assert_uint_eq(k.n.n_purges, round + 2);
		k.n.room = UINT32_MAX;
		vdn_clear(&k.n);
		queue_frames(&k, 2);
		ck_assert_uint_eq(k.n.n_out, 2);
		reaped(&k, 1, 0);
		reaped(&k, 1, 0);
		give_buffers(&k, 0, 4, 1000);
		fill(frame, 60, 77);
		vdn_put(&k.n, 0, hdr, frame, 60);
		vdh_settle(&k.h);
		ck_assert_uint_eq(take_frame(&k, 0, got), 72);
		ck_assert_int_eq(memcmp(got + 12, frame, 60), 0);
	}
	nic_close(&k);
}
END_TEST

/* Frames that come while no driver is there, or after it is gone, touch nothing. */
START_TEST(no_driver)
{
	static const uint8_t hdr[12], frame[60];
	struct nic k = { 0 };
	char status[512];

	nic_config(&k);
	nic_create(&k, PCI);
	k.n.cfg.readable(k.h.v, 0);
	k.n.cfg.writable(k.h.v);
	vdn_set_link(&k.n, false);
	vdn_set_link(&k.n, true);
	nic_live(&k, 0, 1);
	give_buffers(&k, 0, 2, 1526);
	vdd_set_status(&k.d, 0);
	vdn_put(&k.n, 0, hdr, frame, 60);
	k.n.cfg.readable(k.h.v, 0);
	vdh_settle(&k.h);
	ck_assert_uint_eq(qdriver_outstanding(&k.q[0]), 2);
	k.h.v->ops->status(k.h.v, status, sizeof(status));
	ck_assert_ptr_nonnull(strstr(status, "link=up"));
	ck_assert_ptr_nonnull(strstr(status, "peer=fake"));
	nic_close(&k);
}
END_TEST

/* The address of a legacy driver without control queue: written into config space. */
START_TEST(legacy_address)
{
	static const uint8_t hdr[12];
	uint8_t frame[60] = { 2, 0, 0, 0, 0, 0x99 }, got[100];
	struct nic k = { 0 };

	nic_config(&k);
	nic_create(&k, _i ? PCI : LEGACY);
	for (unsigned i = 0; i < 6; i++) {
		if (k.d.legacy)
			vdh_write(&k.h, VD_IO, VDD_IO + VIRTIO_PCI_CONFIG_OFF(true) + i, 1,
				  frame[i]);
		else
			vdh_write(&k.h, VD_MEM, k.d.device + i, 1, frame[i]);
	}
	ck_assert_uint_eq(vdd_config(&k.d, 5, 1), _i ? 0x11 : 0x99);
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), _i ? 6 : 0);
	if (!_i) {
		nic_live(&k, BASE & ~B(MRG_RXBUF), 1);
		give_buffers(&k, 0, 2, 1526);
		ck_assert_uint_eq(command(&k, 0, 0, "\0", 1), 0);
		vdn_put(&k.n, 0, hdr, frame, 60);
		ck_assert_uint_eq(take_frame(&k, 0, got), 70);
	}
	nic_close(&k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_net");
	TCase *tc = fixture_case(s, "virtio-net");

	tcase_add_loop_test(tc, offered, 0, Q_ARRAY_LEN(mask_rows));
	tcase_add_test(tc, offered_by_host);
	tcase_add_loop_test(tc, config_space, 0, LEGACY);
	tcase_add_loop_test(tc, wrong, 0, Q_ARRAY_LEN(wrong_rows));
	tcase_add_test(tc, no_such_peer);
	tcase_add_loop_test(tc, tx_layouts, 0, (HOWS + 1) * Q_ARRAY_LEN(layouts));
	tcase_add_loop_test(tc, tx_headers, 0, Q_ARRAY_LEN(tx_rows));
	tcase_add_test(tc, tx_odd_chains);
	tcase_add_loop_test(tc, tx_backpressure, 0, 2);
	tcase_add_test(tc, tx_stall);
	tcase_add_loop_test(tc, rx_sizes, 0, HOWS * Q_ARRAY_LEN(rx_rows));
	tcase_add_loop_test(tc, rx_starved, 0, 2 * HOWS);
	tcase_add_test(tc, rx_half);
	tcase_add_loop_test(tc, rx_bad_buffers, 0, Q_ARRAY_LEN(buffer_rows));
	tcase_add_loop_test(tc, rx_hostile, 0, Q_ARRAY_LEN(bad_rows));
	tcase_add_loop_test(tc, finished, 0, 2 * Q_ARRAY_LEN(finish_rows));
	tcase_add_loop_test(tc, commands, 0, Q_ARRAY_LEN(cmd_rows));
	tcase_add_loop_test(tc, odd_commands, 0, Q_ARRAY_LEN(odd_rows));
	tcase_add_loop_test(tc, filters, 0, Q_ARRAY_LEN(filter_rows));
	tcase_add_test(tc, filtering);
	tcase_add_loop_test(tc, pairs, 0, 2);
	tcase_add_test(tc, one_of_many);
	tcase_add_test(tc, link_changes);
	tcase_add_test(tc, link_interrupt);
	tcase_add_loop_test(tc, reset_in_the_middle, 0, HOWS);
	tcase_add_test(tc, no_driver);
	tcase_add_loop_test(tc, legacy_address, 0, 2);
	return fixture_main(s);
}
