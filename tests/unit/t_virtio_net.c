/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_net.c, _tx.c and _ctrl.c: what is offered, frames from the guest, commands and their
 * abuse, link and resets. Frames to the guest are in t_virtio_net_rx.c.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vdnic.h"
#include "vdevs/virtio_net.h"

#define CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM

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
	uint32_t total = nic_hdr_bytes(k) + len, at = 0;
	unsigned n = 0;

	memcpy(buf, hdr, nic_hdr_bytes(k));
	nic_fill(buf + nic_hdr_bytes(k), len, len);
	ck_assert_int_eq(qmem_write(k->h.mem, gpa(MEM(1)), buf, total), 0);
	while (at < total) {
		uint32_t size = n < n_sizes ? Q_MIN(sizes[n], total - at) : total - at;

		bufs[n++] = (struct qdriver_buf){ gpa(MEM(1) + at), size, false };
		at += size;
	}
	ck_assert_int_eq(qdriver_add(&k->q[1], bufs, n, k), QDRIVER_OK);
	nic_go(k, 1);
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
	nic_reaped(&k, 1, 0);
	ck_assert_uint_eq(k.n.n_out, 1);
	ck_assert_uint_eq(k.n.out[0].len, 12 + row->len);
	nic_fill(want, row->len, row->len);
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
	nic_reaped(&k, 1, 0);	/* in either case the guest has its buffer back */
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
	nic_go(&k, 1);
	nic_reaped(&k, 1, 0);
	nic_reaped(&k, 1, 0);
	ck_assert_uint_eq(k.n.n_out, 0);
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), 2);
	nic_close(&k);
}
END_TEST

/* A peer without room makes the guest wait; room lets it go on; no frame is lost or doubled. */
START_TEST(tx_backpressure)
{
	struct nic k = { 0 };

	nic_open(&k, PCI, _i ? VDD_EVENT_IDX : 0);
	vdh_advance(&k.h, 1);
	k.n.room = 2;
	nic_queue_frames(&k, 10);
	ck_assert_uint_eq(k.n.n_out, 2);
	ck_assert_uint_eq(qdriver_outstanding(&k.q[1]), 10);
	nic_queue_frames(&k, 1);	/* a kick meanwhile changes nothing */
	ck_assert_uint_eq(k.n.n_out, 2);
	vdn_make_room(&k.n, 5);
	vdh_settle(&k.h);
	ck_assert_uint_eq(k.n.n_out, 7);
	vdn_make_room(&k.n, 100);
	vdh_settle(&k.h);
	ck_assert_uint_eq(k.n.n_out, 11);
	for (unsigned i = 0; i < 11; i++)
		nic_reaped(&k, 1, 0);
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
	nic_queue_frames(&k, 5);
	vdh_advance(&k.h, 100 * Q_NSEC_PER_MSEC);
	ck_assert_uint_eq(k.n.n_out, 0);
	ck_assert_int_eq(qdriver_outstanding(&k.q[1]), 5);
	vdh_advance(&k.h, 150 * Q_NSEC_PER_MSEC);
	for (unsigned i = 0; i < 5; i++)
		nic_reaped(&k, 1, 0);
	nic_queue_frames(&k, 3);		/* dropped at once now */
	for (unsigned i = 0; i < 3; i++)
		nic_reaped(&k, 1, 0);
	k.n.room = 1;
	nic_queue_frames(&k, 2);		/* one goes; the other waits again */
	ck_assert_uint_eq(k.n.n_out, 1);
	nic_reaped(&k, 1, 0);
	ck_assert_uint_eq(qdriver_outstanding(&k.q[1]), 1);
	void *token;
	uint32_t written;
	ck_assert_int_eq(qdriver_poll(&k.q[1], &token, &written), QDRIVER_EMPTY);
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
	nic_go(k, k->ctrl);
	nic_reaped(k, k->ctrl, 1);
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
	nic_go(&k, k.ctrl);
	ck_assert_uint_eq(!!(vdd_status(&k.d) & VIRTIO_CONFIG_S_NEEDS_RESET), odd_rows[_i].broken);
	if (!odd_rows[_i].broken)
		nic_reaped(&k, k.ctrl, 1);
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
	nic_give_buffers(&k, 0, 8, 1526);
	memcpy(frame, uni_a, 6);
	vdn_put(&k.n, 0, hdr, frame, 60);	/* nothing was said: all */
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), 72);
	ck_assert_uint_eq(command(&k, 0, 0, "\0", 1), 0);
	vdn_put(&k.n, 0, hdr, frame, 60);
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), 0);
	ck_assert_uint_eq(command(&k, 1, 1, uni_a, 6), 0);
	ck_assert_uint_eq(vdd_config(&k.d, 5, 1), 0xaa);
	vdn_put(&k.n, 0, hdr, frame, 60);
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), 72);
	memcpy(frame, uni_b, 6);
	vdn_put(&k.n, 0, hdr, frame, 60);
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), 0);
	ck_assert_uint_eq(command(&k, 1, 0, table, sizeof(table)), 0);	/* more than fit: all */
	vdn_put(&k.n, 0, hdr, frame, 60);
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), 72);
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
		nic_give_buffers(&k, 2 * p, 4, 1526);
	for (unsigned p = 0; p < 4; p++)	/* one pair until told: all come there */
		vdn_put(&k.n, p, hdr, frame, 60);
	vdh_settle(&k.h);
	for (unsigned p = 0; p < 4; p++)
		ck_assert_uint_eq(nic_take_frame(&k, 0, got), 72);
	ck_assert_uint_eq(command(&k, 4, 0, "\4\0", 2), 0);
	ck_assert_uint_eq(k.n.guest_pairs, 4);
	nic_give_buffers(&k, 0, 4, 1526);
	for (unsigned p = 0; p < 4; p++) {
		frame[59] = (uint8_t)p;
		vdn_put(&k.n, p, hdr, frame, 60);
		vdh_settle(&k.h);
		ck_assert_uint_eq(nic_take_frame(&k, 2 * p, got), 72);
		ck_assert_uint_eq(got[71], p);
	}
	for (unsigned p = 0; p < 4; p++) {	/* and out by the pair it was queued on */
		const struct qdriver_buf b = { gpa(MEM(1)), 72, false };

		ck_assert_int_eq(qdriver_add(&k.q[2 * p + 1], &b, 1, &k), QDRIVER_OK);
		nic_go(&k, 2 * p + 1);
		ck_assert_uint_eq(k.n.out[p].pair, p);
	}
	/* Back to one, with a pair that waits for buffers, and then has some. */
	for (unsigned p = 0; p < 20; p++)
		vdn_put(&k.n, 3, hdr, frame, 60);
	vdh_settle(&k.h);
	while (nic_take_frame(&k, 6, got))
		continue;
	ck_assert_uint_eq(command(&k, 4, 0, "\1\0", 2), 0);
	nic_give_buffers(&k, 6, 4, 1526);
	nic_give_buffers(&k, 0, 30, 1526);
	while (nic_take_frame(&k, 0, got))
		continue;
	vdn_put(&k.n, 3, hdr, frame, 60);
	vdh_settle(&k.h);
	ck_assert_uint_eq(nic_take_frame(&k, 0, got), 72);
	nic_close(&k);
}
END_TEST

/* Buffers that were taken for a frame that is gone serve the next ones, each as it is needed. */
START_TEST(left_over)
{
	static const uint8_t hdr[12];
	static uint8_t frame[5000];
	uint8_t got[1100];
	struct nic k = { 0 };

	nic_config(&k);
	vdh_arg(&k.h, "queues", "x", 2);
	nic_create(&k, PCI);
	nic_live(&k, ALL_CTRL, 2);
	ck_assert_uint_eq(command(&k, 4, 0, "\2\0", 2), 0);
	nic_give_buffers(&k, 2, 3, 1000);
	vdn_put(&k.n, 1, hdr, frame, 5000);	/* takes all three, and waits for more */
	vdh_settle(&k.h);
	ck_assert_uint_eq(nic_take_frame(&k, 2, got), 0);
	ck_assert_uint_eq(command(&k, 4, 0, "\1\0", 2), 0);
	ck_assert_uint_eq(command(&k, 4, 0, "\2\0", 2), 0);
	for (unsigned i = 0; i < 3; i++) {
		frame[59] = (uint8_t)(i + 1);
		vdn_put(&k.n, 1, hdr, frame, 60);
		vdh_settle(&k.h);
		ck_assert_uint_eq(nic_take_frame(&k, 2, got), 72);
		ck_assert_uint_eq(got[71], i + 1);
		ck_assert_uint_eq(qdriver_outstanding(&k.q[2]), 2 - i);
	}
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
	/* A queue that this driver has no name for: what it puts there is left alone. */
	nic_close(&k);
	nic_config(&k);
	vdh_arg(&k.h, "queues", "x", 4);
	nic_create(&k, PCI);
	nic_live(&k, BASE, 4);
	const struct qdriver_buf b = { gpa(MEM(1)), 72, true };
	ck_assert_int_eq(qdriver_add(&k.q[8], &b, 1, &k), QDRIVER_OK);
	nic_go(&k, 8);
	ck_assert_uint_eq(qdriver_outstanding(&k.q[8]), 1);
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
	nic_queue_frames(&k, 3);		/* nobody there: lost, and the guest goes on */
	for (unsigned i = 0; i < 3; i++)
		nic_reaped(&k, 1, 0);
	vdn_set_link(&k.n, true);
	ck_assert_uint_eq(vdd_config(&k.d, 6, 2), 1);
	k.n.room = 0;
	nic_queue_frames(&k, 2);
	ck_assert_uint_eq(qdriver_outstanding(&k.q[1]), 2);
	vdn_set_link(&k.n, false);	/* what waited for room is lost */
	vdh_settle(&k.h);
	ck_assert_uint_eq(vdd_config(&k.d, 6, 2), 0);
	nic_reaped(&k, 1, 0);
	nic_reaped(&k, 1, 0);
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
		nic_queue_frames(&k, 4);
		nic_give_buffers(&k, 0, 2, 1000);
		nic_fill(frame, 5000, round);
		vdn_put(&k.n, 0, hdr, frame, 5000);
		vdh_settle(&k.h);
		nic_live(&k, B(MRG_RXBUF) | (_i == PACKED ? VDD_PACKED : 0), 1);
		ck_assert_uint_eq(k.n.n_purges, round + 2);
		k.n.room = UINT32_MAX;
		vdn_clear(&k.n);
		nic_queue_frames(&k, 2);
		ck_assert_uint_eq(k.n.n_out, 2);
		nic_reaped(&k, 1, 0);
		nic_reaped(&k, 1, 0);
		nic_give_buffers(&k, 0, 4, 1000);
		nic_fill(frame, 60, 77);
		vdn_put(&k.n, 0, hdr, frame, 60);
		vdh_settle(&k.h);
		ck_assert_uint_eq(nic_take_frame(&k, 0, got), 72);
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
	nic_give_buffers(&k, 0, 2, 1526);
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
		nic_give_buffers(&k, 0, 2, 1526);
		ck_assert_uint_eq(command(&k, 0, 0, "\0", 1), 0);
		vdn_put(&k.n, 0, hdr, frame, 60);
		ck_assert_uint_eq(nic_take_frame(&k, 0, got), 70);
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
	tcase_add_loop_test(tc, commands, 0, Q_ARRAY_LEN(cmd_rows));
	tcase_add_loop_test(tc, odd_commands, 0, Q_ARRAY_LEN(odd_rows));
	tcase_add_loop_test(tc, filters, 0, Q_ARRAY_LEN(filter_rows));
	tcase_add_test(tc, filtering);
	tcase_add_loop_test(tc, pairs, 0, 2);
	tcase_add_test(tc, left_over);
	tcase_add_test(tc, one_of_many);
	tcase_add_test(tc, link_changes);
	tcase_add_test(tc, link_interrupt);
	tcase_add_loop_test(tc, reset_in_the_middle, 0, HOWS);
	tcase_add_test(tc, no_driver);
	tcase_add_loop_test(tc, legacy_address, 0, 2);
	return fixture_main(s);
}
