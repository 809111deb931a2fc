/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/pcifn.c and what vdevs/virtio_pci.c builds on it: identity, BARs that are sized and moved,
 * MSI-X, the window.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vddriver.h"
#include "vdevs/pcifn.h"
#include "vdevs/virtio.h"

#define BAR_BYTES 0x8000u

static void fn_open(struct vdh *h)
{
	vdh_init(h);
	vdh_arg(h, "hostdev", "disk", 0);
	ck_assert_int_eq(vdh_create(h, "virtio-blk", VD_PCI, 0, 0), 0);
}

static void place(struct vdh *h, uint32_t addr)
{
	vdh_cfg_write(h, PCI_BASE_ADDRESS_0, 4, addr);
	vdh_cfg_write(h, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
}

static const struct { unsigned off, size; uint32_t want; } id_rows[] = {
	{ PCI_VENDOR_ID, 2, 0x1af4 },
	{ PCI_DEVICE_ID, 2, 0x1042 },
	{ PCI_VENDOR_ID, 4, 0x10421af4 },
	{ PCI_REVISION_ID, 1, 1 },
	{ PCI_CLASS_PROG, 1, 0 },
	{ PCI_CLASS_DEVICE, 2, 0x0100 },
	{ PCI_HEADER_TYPE, 1, 0 },
	{ PCI_SUBSYSTEM_VENDOR_ID, 2, 0x1c05 },
	{ PCI_SUBSYSTEM_ID, 2, 0x42 },
	{ PCI_INTERRUPT_PIN, 1, 1 },
	{ PCI_STATUS, 2, PCI_STATUS_CAP_LIST },
	{ PCI_COMMAND, 2, 0 },
	{ PCI_BASE_ADDRESS_0, 4, 0 },
	{ PCI_BASE_ADDRESS_1, 4, 0 },
	{ PCI_ROM_ADDRESS, 4, 0 },
	{ 0x100, 4, 0 },
	{ 0xffc, 4, 0 },
};
START_TEST(identity)
{
	struct vdh h;

	fn_open(&h);
	ck_assert_uint_eq(vdh_cfg_read(&h, id_rows[_i].off, id_rows[_i].size), id_rows[_i].want);
	vdh_cfg_write(&h, 0x100, 4, 0xffffffff);
	ck_assert_uint_eq(vdh_cfg_read(&h, 0x100, 4), 0);
	vdh_fini(&h);
}
END_TEST

/* Everything written with ones: only what a guest may write has changed. */
START_TEST(read_only_bits)
{
	struct vdh h;
	static const struct { unsigned off, size; uint32_t want; } rows[] = {
		{ PCI_VENDOR_ID, 4, 0x10421af4 },
		{ PCI_COMMAND, 2,
		  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE },
		{ PCI_STATUS, 2, PCI_STATUS_CAP_LIST },
		{ PCI_CLASS_REVISION, 4, 0x01000001 },
		{ PCI_CACHE_LINE_SIZE, 4, 0xff },
		{ PCI_BASE_ADDRESS_0, 4, (uint32_t)~(BAR_BYTES - 1) },
		{ PCI_BASE_ADDRESS_1, 4, 0 },
		{ PCI_SUBSYSTEM_VENDOR_ID, 4, 0x00421c05 },
		{ PCI_INTERRUPT_LINE, 2, 0x1ff },
	};

	fn_open(&h);
	for (unsigned off = 0; off < 256; off += 4)
		vdh_cfg_write(&h, off, 4, 0xffffffff);
	for (unsigned i = 0; i < Q_ARRAY_LEN(rows); i++)
		ck_assert_msg(vdh_cfg_read(&h, rows[i].off, rows[i].size) == rows[i].want,
			      "offset %#x: %#x", rows[i].off,
			      vdh_cfg_read(&h, rows[i].off, rows[i].size));
	vdh_fini(&h);
}
END_TEST

START_TEST(capabilities)
{
	struct vdh h;
	unsigned seen = 0, msix = 0, n = 0;

	fn_open(&h);
	for (unsigned cap = vdh_cfg_read(&h, PCI_CAPABILITY_LIST, 1); cap;
	     cap = vdh_cfg_read(&h, cap + 1, 1)) {
		ck_assert_uint_ge(cap, 0x40);
		ck_assert_uint_eq(cap % 4, 0);
		ck_assert_uint_lt(n++, 16);
		if (vdh_cfg_read(&h, cap, 1) == PCI_CAP_ID_MSIX) {
			msix++;
			ck_assert_uint_eq(vdh_cfg_read(&h, cap + 2, 2), 1);	/* 2 vectors, off */
			continue;
		}
		ck_assert_uint_eq(vdh_cfg_read(&h, cap, 1), PCI_CAP_ID_VNDR);
		seen |= 1u << vdh_cfg_read(&h, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1);
		ck_assert_uint_le(vdh_cfg_read(&h, cap + VIRTIO_PCI_CAP_OFFSET, 4) +
				  vdh_cfg_read(&h, cap + VIRTIO_PCI_CAP_LENGTH, 4), BAR_BYTES);
	}
	ck_assert_uint_eq(msix, 1);
	ck_assert_uint_eq(seen, 1 << VIRTIO_PCI_CAP_COMMON_CFG | 1 << VIRTIO_PCI_CAP_NOTIFY_CFG |
				1 << VIRTIO_PCI_CAP_ISR_CFG | 1 << VIRTIO_PCI_CAP_DEVICE_CFG |
				1 << VIRTIO_PCI_CAP_PCI_CFG);
	vdh_fini(&h);
}
END_TEST

/* ---- BARs ---- */

START_TEST(bar_sizing)
{
	struct vdh h;

	fn_open(&h);
	place(&h, 0xe0000000);
	ck_assert(h.win[0].mapped);
	vdh_cfg_write(&h, PCI_BASE_ADDRESS_0, 4, 0xffffffff);	/* with decoding on, as some do */
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_BASE_ADDRESS_0, 4), (uint32_t)~(BAR_BYTES - 1));
	ck_assert(!h.win[0].mapped);
	vdh_cfg_write(&h, PCI_BASE_ADDRESS_0, 4, 0xe0000000);
	ck_assert(h.win[0].mapped);
	ck_assert_uint_eq(h.win[0].addr, 0xe0000000);
	ck_assert_uint_eq(h.win[0].len_bytes, BAR_BYTES);
	vdh_fini(&h);
}
END_TEST

/* A moved BAR takes its notifications with it; one write of two bytes at a time is two moves. */
START_TEST(bar_moves)
{
	struct vdh h;

	fn_open(&h);
	ck_assert_uint_eq(vdh_notify_count(&h), 0);
	vdh_cfg_write(&h, PCI_BASE_ADDRESS_0, 4, 0xe0000000);
	ck_assert(!h.win[0].mapped);			/* decoding is off */
	vdh_cfg_write(&h, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	ck_assert(h.win[0].mapped);
	ck_assert_uint_eq(vdh_notify_count(&h), 1);
	ck_assert_uint_eq(h.notify[0].addr, 0xe0003000);
	vdh_cfg_write(&h, PCI_BASE_ADDRESS_0 + 2, 2, 0xd000);
	ck_assert_uint_eq(h.win[0].addr, 0xd0000000);
	ck_assert_uint_eq(h.notify[0].addr, 0xd0003000);
	ck_assert_uint_eq(vdh_notify_count(&h), 1);
	vdh_cfg_write(&h, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ck_assert_uint_eq(h.win[0].moves, 3);		/* in, out, in; nothing for the same */
	vdh_cfg_write(&h, PCI_COMMAND, 2, 0);
	ck_assert(!h.win[0].mapped);
	ck_assert_uint_eq(vdh_notify_count(&h), 0);
	vdh_fini(&h);
}
END_TEST

START_TEST(bar_nowhere)
{
	struct vdh h;

	fn_open(&h);
	vdh_cfg_write(&h, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	ck_assert(!h.win[0].mapped);			/* 0 is no address */
	h.taken_addr = 0xe0000000;
	vdh_cfg_write(&h, PCI_BASE_ADDRESS_0, 4, 0xe0000000);
	ck_assert(!h.win[0].mapped);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_ADDR), 1);
	ck_assert_uint_eq(vdh_notify_count(&h), 0);
	vdh_cfg_write(&h, PCI_BASE_ADDRESS_0, 4, 0xe0008000);
	ck_assert(h.win[0].mapped);
	vdh_fini(&h);
}
END_TEST

/* A 64-bit BAR, which virtio does not have: the function by itself. */
static unsigned n_moved;
static uint64_t moved_to;
static void moved(struct vdev *v, unsigned bar, uint64_t addr, bool mapped)
{
	n_moved++;
	moved_to = mapped ? addr : 0;
}

START_TEST(bar_64)
{
	const struct pcifn_id id = { .vendor = 1, .device = 2 };
	struct vdh h;
	struct vdev v = { 0 };
	struct pcifn f;

	vdh_init(&h);
	v.host = &h.host;
	pcifn_init(&f, &v, &id, moved);
	pcifn_add_bar(&f, 0, VD_MEM, 1ull << 33, true);
	pcifn_add_bar(&f, 2, VD_IO, 32, false);
	ck_assert_uint_eq(pcifn_cfg_read(&f, PCI_BASE_ADDRESS_0, 4), 4);
	ck_assert_uint_eq(pcifn_cfg_read(&f, PCI_BASE_ADDRESS_2, 4), 1);
	pcifn_cfg_write(&f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	pcifn_cfg_write(&f, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	pcifn_cfg_write(&f, PCI_BASE_ADDRESS_1, 4, 0xffffffff);
	ck_assert_uint_eq(pcifn_cfg_read(&f, PCI_BASE_ADDRESS_0, 4), 4);
	ck_assert_uint_eq(pcifn_cfg_read(&f, PCI_BASE_ADDRESS_1, 4), 0xfffffffe);
	ck_assert_uint_eq(n_moved, 0);
	pcifn_cfg_write(&f, PCI_BASE_ADDRESS_1, 4, 0x40);
	ck_assert_uint_eq(n_moved, 1);
	ck_assert_uint_eq(moved_to, 0x40ull << 32);
	pcifn_cfg_write(&f, PCI_BASE_ADDRESS_2, 4, 0xc100);
	ck_assert_uint_eq(h.win[2].addr, 0xc100);
	ck_assert_int_eq(h.win[2].space, VD_IO);
	pcifn_fini(&f);
	ck_assert(!h.win[0].mapped && !h.win[2].mapped);
	vdh_fini(&h);
}
END_TEST

/* ---- MSI-X ---- */

static void signal_vector(struct vdh *h, unsigned i)
{
	qfd_event_signal(h->host.ops->msi_fd(&h->host, i));
}

START_TEST(msix_masks)
{
	struct vdh h;
	struct vdd d;

	fn_open(&h);
	vdd_init(&d, &h);
	ck_assert(h.vec[1].live);
	ck_assert_uint_eq(h.vec[1].addr, 0xfee00000);
	ck_assert_uint_eq(h.vec[1].data, 1);
	signal_vector(&h, 1);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.pba, 8), 0);	/* on its way, not pending */
	ck_assert_uint_eq(vdh_msis(&h, 1), 1);

	vdh_write(&h, VD_MEM, d.table + 16 + 12, 4, 1);		/* this vector */
	ck_assert(!h.vec[1].live && h.vec[0].live);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.pba, 8), 0);
	signal_vector(&h, 1);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.pba, 8), 2);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.pba, 4), 2);
	vdh_write(&h, VD_MEM, d.table + 16, 8, 0xfee01000);	/* moved while masked */
	vdh_write(&h, VD_MEM, d.table + 16 + 8, 8, 77);		/* data, and the mask goes */
	ck_assert(h.vec[1].live);
	ck_assert_uint_eq(h.vec[1].addr, 0xfee01000);
	ck_assert_uint_eq(h.vec[1].data, 77);
	ck_assert_uint_eq(vdh_msis(&h, 1), 1);			/* kept, delivered now */
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.pba, 8), 0);

	vdh_cfg_write(&h, d.msix_cap + 2, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	ck_assert(!h.vec[0].live && !h.vec[1].live);
	vdh_cfg_write(&h, d.msix_cap + 2, 2, PCI_MSIX_FLAGS_ENABLE);
	ck_assert(h.vec[0].live && h.vec[1].live);
	vdh_cfg_write(&h, d.msix_cap + 2, 2, 0);
	ck_assert(!h.vec[0].live && !h.vec[1].live);
	vdh_fini(&h);
}
END_TEST

START_TEST(msix_table_access)
{
	struct vdh h;
	struct vdd d;
	unsigned sets;

	fn_open(&h);
	vdd_init(&d, &h);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.table, 8), 0xfee00000);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.table + 24, 8), 1);
	/* narrow: undefined, 0 here */
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.table + 16, 2), 0);
	vdh_write(&h, VD_MEM, d.table + 16, 2, 0x1234);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_REQUEST), 1);
	vdh_write(&h, VD_MEM, d.table + 32, 4, 1);			/* behind the last */
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_REQUEST), 2);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.table + 32, 4), 0);
	vdh_write(&h, VD_MEM, d.table + 16, 4, 0xfee00fff);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.table + 16, 4), 0xfee00ffc);
	sets = h.vec[1].sets;
	/* the same: nothing to do */
	vdh_write(&h, VD_MEM, d.table + 16, 4, 0xfee00ffc);
	ck_assert_uint_eq(h.vec[1].sets, sets);
	vdh_write(&h, VD_MEM, d.table + 12, 4, 0xfffffffe);		/* reserved bits */
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.table + 12, 4), 0);
	vdh_fini(&h);
}
END_TEST

START_TEST(msix_no_route)
{
	struct vdh h;
	struct vdd d;

	fn_open(&h);
	h.no_routes = true;
	vdd_init(&d, &h);
	ck_assert_ptr_nonnull(strstr(h.logged, "msi_lost"));
	ck_assert(!h.vec[0].live);
	h.no_routes = false;
	vdh_write(&h, VD_MEM, d.table + 12, 4, 1);
	vdh_write(&h, VD_MEM, d.table + 12, 4, 0);
	ck_assert(h.vec[0].live);
	vdh_fini(&h);
}
END_TEST

/* ---- virtio's own ---- */

START_TEST(vectors_of_queues)
{
	struct vdh h;
	struct vdd d;
	uint64_t c;

	fn_open(&h);
	vdd_init(&d, &h);
	c = d.common;
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, c + VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	vdh_write(&h, VD_MEM, c + VIRTIO_PCI_COMMON_MSIX, 2, 1);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, c + VIRTIO_PCI_COMMON_MSIX, 2), 1);
	vdh_write(&h, VD_MEM, c + VIRTIO_PCI_COMMON_MSIX, 2, 2);	/* not there */
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, c + VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	vdh_write(&h, VD_MEM, c + VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, c + VIRTIO_PCI_COMMON_Q_MSIX, 2), 1);
	vdd_set_status(&d, 0);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, c + VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	vdh_write(&h, VD_MEM, c + VIRTIO_PCI_COMMON_Q_SELECT, 2, 7);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, c + VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	vdh_write(&h, VD_MEM, c + VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, c + VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	vdh_fini(&h);
}
END_TEST

static const struct { unsigned off, size; uint64_t want; } common_rows[] = {
	{ VIRTIO_PCI_COMMON_NUMQ, 2, 1 },
	{ VIRTIO_PCI_COMMON_Q_SIZE, 2, 256 },
	{ VIRTIO_PCI_COMMON_Q_NOFF, 2, 0 },
	{ VIRTIO_PCI_COMMON_Q_RESET, 2, 0 },
	{ VIRTIO_PCI_COMMON_Q_NDATA, 2, 0 },
	{ VIRTIO_PCI_COMMON_STATUS, 1, 0 },
	{ VIRTIO_PCI_COMMON_Q_SIZE, 1, 0 },	/* narrow: the low byte */
	{ VIRTIO_PCI_COMMON_NUMQ + 1, 1, 0 },
	{ 0x40, 4, 0 },
	{ 0xff8, 8, 0 },
	{ 0x7000, 4, 0 },			/* a page with nothing in it */
};
START_TEST(common_reads)
{
	struct vdh h;
	struct vdd d;

	fn_open(&h);
	vdd_init(&d, &h);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.common + common_rows[_i].off,
				   common_rows[_i].size), common_rows[_i].want);
	vdh_fini(&h);
}
END_TEST

START_TEST(common_widths)
{
	struct vdh h;
	struct vdd d;

	fn_open(&h);
	vdd_init(&d, &h);
	vdh_write(&h, VD_MEM, d.common + VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0x1122334455667780);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.common + VIRTIO_PCI_COMMON_Q_DESCLO, 8),
			  0x1122334455667780);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.common + VIRTIO_PCI_COMMON_Q_DESCHI, 4),
			  0x11223344);
	vdh_write(&h, VD_MEM, d.common + VIRTIO_PCI_COMMON_STATUS, 4, 1);	/* too wide */
	ck_assert_uint_eq(vdd_status(&d), 0);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_REQUEST), 1);
	vdh_write(&h, VD_MEM, d.device, 4, 1);			/* config space is read-only */
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_REQUEST), 2);
	vdh_fini(&h);
}
END_TEST

START_TEST(isr_is_read_once)
{
	struct vdh h;
	struct vdd d;
	struct qdriver q;

	fn_open(&h);
	vdd_init(&d, &h);
	vdd_live(&d, VDD_VERSION_1, &q, gpa(VDH_RAM_GPA), 16);
	vdh_write(&h, VD_MEM, d.common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
	virtio_config_changed(Q_CONTAINER_OF(h.v, struct virtio_dev, v));
	ck_assert_uint_eq(vdh_msis(&h, 0), 1);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.isr, 1), 2);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.isr, 1), 0);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, d.common + VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

/* Access to the BAR through configuration space, for firmware that cannot map it. */
static const struct { uint32_t bar, off, len; unsigned size; uint32_t want; } window_rows[] = {
	{ 0, VIRTIO_PCI_COMMON_NUMQ, 2, 2, 1 },
	{ 0, 0x2000, 4, 4, 2048 },
	{ 0, VIRTIO_PCI_COMMON_STATUS, 1, 1, 0 },
	{ 1, VIRTIO_PCI_COMMON_NUMQ, 2, 2, 0 },		/* another BAR */
	{ 0, VIRTIO_PCI_COMMON_NUMQ, 4, 2, 0 },		/* length and access differ */
	{ 0, VIRTIO_PCI_COMMON_NUMQ, 3, 2, 0 },
	{ 0, 0xfffffffe, 2, 2, 0 },			/* outside */
	{ 0, BAR_BYTES, 4, 4, 0 },
	{ 0, VIRTIO_PCI_COMMON_NUMQ + 1, 2, 2, 0 },	/* unaligned */
};
static unsigned window_cap(struct vdh *h)
{
	unsigned cap = vdh_cfg_read(h, PCI_CAPABILITY_LIST, 1);

	while (vdh_cfg_read(h, cap, 1) != PCI_CAP_ID_VNDR ||
	       vdh_cfg_read(h, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1) != VIRTIO_PCI_CAP_PCI_CFG)
		cap = vdh_cfg_read(h, cap + 1, 1);
	return cap;
}

START_TEST(window)
{
	struct vdh h;
	unsigned cap;

	fn_open(&h);
	cap = window_cap(&h);
	vdh_cfg_write(&h, cap + VIRTIO_PCI_CAP_BAR, 1, window_rows[_i].bar);
	vdh_cfg_write(&h, cap + VIRTIO_PCI_CAP_OFFSET, 4, window_rows[_i].off);
	vdh_cfg_write(&h, cap + VIRTIO_PCI_CAP_LENGTH, 4, window_rows[_i].len);
	ck_assert_uint_eq(vdh_cfg_read(&h, cap + 16, window_rows[_i].size), window_rows[_i].want);
	vdh_fini(&h);
}
END_TEST

START_TEST(window_writes)
{
	struct vdh h;
	unsigned cap;

	fn_open(&h);
	cap = window_cap(&h);
	vdh_cfg_write(&h, cap + VIRTIO_PCI_CAP_OFFSET, 4, VIRTIO_PCI_COMMON_STATUS);
	vdh_cfg_write(&h, cap + VIRTIO_PCI_CAP_LENGTH, 4, 1);
	vdh_cfg_write(&h, cap + 16, 1, 3);
	ck_assert_uint_eq(vdh_cfg_read(&h, cap + 16, 1), 3);
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_pci");
	TCase *tc = fixture_case(s, "pci");

	tcase_add_loop_test(tc, identity, 0, Q_ARRAY_LEN(id_rows));
	tcase_add_test(tc, read_only_bits);
	tcase_add_test(tc, capabilities);
	tcase_add_test(tc, bar_sizing);
	tcase_add_test(tc, bar_moves);
	tcase_add_test(tc, bar_nowhere);
	tcase_add_test(tc, bar_64);
	tcase_add_test(tc, msix_masks);
	tcase_add_test(tc, msix_table_access);
	tcase_add_test(tc, msix_no_route);
	tcase_add_test(tc, vectors_of_queues);
	tcase_add_loop_test(tc, common_reads, 0, Q_ARRAY_LEN(common_rows));
	tcase_add_test(tc, common_widths);
	tcase_add_test(tc, isr_is_read_once);
	tcase_add_loop_test(tc, window, 0, Q_ARRAY_LEN(window_rows));
	tcase_add_test(tc, window_writes);
	return fixture_main(s);
}
