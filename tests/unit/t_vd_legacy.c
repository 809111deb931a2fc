/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interface of virtio 0.9.5 over PCI and MMIO, and INTA: registers with every width, drivers
 * that use queues before DRIVER_OK, drivers that break the rules. Requests over it: t_vd_blk.c.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vddriver.h"
#include "vdevs/virtio.h"

#define RING gpa(VDH_RAM_GPA)
#define DATA (VDH_RAM_GPA + 0x100000)
#define A VIRTIO_CONFIG_S_ACKNOWLEDGE
#define D VIRTIO_CONFIG_S_DRIVER
#define O VIRTIO_CONFIG_S_DRIVER_OK
#define N VIRTIO_CONFIG_S_NEEDS_RESET

/* Each test runs over both: even loop numbers PCI, odd MMIO. */
static void dev_open(struct vdh *h, struct vdd *d, bool mmio)
{
	vdh_init(h);
	vdh_arg(h, "hostdev", "disk", 0);
	vdh_arg(h, "legacy", NULL, 0);
	ck_assert_int_eq(vdh_create(h, "virtio-blk", mmio ? VD_MEM : VD_PCI, VDD_MMIO, mmio), 0);
	vdd_init(d, h);
	ck_assert(d->legacy);
}

static struct virtio_dev *virtio_of(struct vdh *h)
{
	return Q_CONTAINER_OF(h->v, struct virtio_dev, v);
}

static uint64_t in(struct vdh *h, unsigned off, unsigned size)
{
	return vdh_read(h, VD_IO, VDD_IO + off, size);
}

static void out(struct vdh *h, unsigned off, unsigned size, uint64_t val)
{
	vdh_write(h, VD_IO, VDD_IO + off, size, val);
}

static uint64_t mmio(struct vdh *h, unsigned off)
{
	return vdh_read(h, VD_MEM, VDD_MMIO + off, 4);
}

static void set_mmio(struct vdh *h, unsigned off, uint64_t val)
{
	vdh_write(h, VD_MEM, VDD_MMIO + off, 4, val);
}

static const struct { unsigned off, size; uint32_t want; } id_rows[] = {
	{ PCI_VENDOR_ID, 4, 0x10011af4 },
	{ PCI_REVISION_ID, 1, 0 },
	{ PCI_CLASS_DEVICE, 2, 0x0100 },
	{ PCI_SUBSYSTEM_VENDOR_ID, 2, 0x1c05 },
	{ PCI_SUBSYSTEM_ID, 2, 2 },
	{ PCI_INTERRUPT_PIN, 1, 1 },
	{ PCI_BASE_ADDRESS_0, 4, VDD_IO | 1 },
	{ PCI_BASE_ADDRESS_1, 4, VDD_BAR },
	{ PCI_BASE_ADDRESS_2, 4, 0 },
};
START_TEST(identity)
{
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, false);
	ck_assert_uint_eq(vdh_cfg_read(&h, id_rows[_i].off, id_rows[_i].size), id_rows[_i].want);
	/* One capability, MSI-X: nothing that a driver of virtio 1 would take. */
	ck_assert_uint_eq(vdh_cfg_read(&h, vdh_cfg_read(&h, PCI_CAPABILITY_LIST, 1), 2), 0x11);
	vdh_fini(&h);
}
END_TEST

START_TEST(features)
{
	const uint64_t always = 1ull << 27 | VDD_INDIRECT | VDD_EVENT_IDX |
				1ull << VIRTIO_BLK_F_FLUSH;
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, _i);
	ck_assert_uint_eq(vdd_offered(&d) & always, always);
	ck_assert_uint_eq(vdd_offered(&d) >> 32, 0);
	/* What is not offered is not had, and nobody is told. */
	ck_assert_uint_eq(vdd_negotiate(&d, ~0ull), A | D);
	ck_assert_uint_eq(virtio_of(&h)->acked, vdd_offered(&d));
	ck_assert_uint_eq(h.n_faults, 0);
	if (!_i)
		ck_assert_uint_eq(in(&h, VIRTIO_PCI_GUEST_FEATURES, 4), vdd_offered(&d));
	vdh_fini(&h);
}
END_TEST

/* Reads and writes of the wrong width or of what is not writable: no change, and a fault where the
 * width is wrong. */
static const struct { unsigned off, size; uint64_t val; unsigned faults; } port_rows[] = {
	{ VIRTIO_PCI_HOST_FEATURES, 4, 0, 0 },
	{ VIRTIO_PCI_HOST_FEATURES, 2, 0, 1 },
	{ VIRTIO_PCI_GUEST_FEATURES, 1, 1, 1 },
	{ VIRTIO_PCI_GUEST_FEATURES + 1, 1, 1, 1 },
	{ VIRTIO_PCI_QUEUE_PFN, 2, 0x100, 1 },
	{ VIRTIO_PCI_QUEUE_PFN + 2, 2, 1, 1 },
	{ VIRTIO_PCI_QUEUE_NUM, 2, 16, 0 },
	{ VIRTIO_PCI_QUEUE_NUM, 4, 16, 1 },
	{ VIRTIO_PCI_QUEUE_SEL, 1, 1, 1 },
	{ VIRTIO_PCI_STATUS, 2, 7, 1 },
	{ VIRTIO_PCI_ISR, 1, 3, 0 },
	{ VIRTIO_MSI_CONFIG_VECTOR, 4, 0, 1 },
	{ VIRTIO_MSI_QUEUE_VECTOR, 2, 77, 0 },
	{ VIRTIO_PCI_CONFIG_OFF(true), 4, 1, 1 },	/* config space is read-only */
};
START_TEST(port_widths)
{
	static const struct { unsigned off, size; uint64_t want; } after[] = {
		{ VIRTIO_PCI_GUEST_FEATURES, 4, 0 },
		{ VIRTIO_PCI_QUEUE_PFN, 4, 0 },
		{ VIRTIO_PCI_QUEUE_NUM, 2, 256 },
		{ VIRTIO_PCI_QUEUE_SEL, 2, 0 },
		{ VIRTIO_PCI_QUEUE_NOTIFY, 2, 0 },
		{ VIRTIO_PCI_STATUS, 1, 0 },
		{ VIRTIO_PCI_ISR, 1, 0 },
		{ VIRTIO_MSI_CONFIG_VECTOR, 2, VIRTIO_MSI_NO_VECTOR },
		{ VIRTIO_MSI_QUEUE_VECTOR, 2, VIRTIO_MSI_NO_VECTOR },
		{ VIRTIO_PCI_CONFIG_OFF(true), 4, 2048 },
		{ VIRTIO_PCI_CONFIG_OFF(true) + 1, 1, 8 },
		{ VIRTIO_PCI_QUEUE_PFN + 1, 1, 0 },
		{ VIRTIO_PCI_QUEUE_NUM, 4, 0 },		/* wider than the register */
	};
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, false);
	out(&h, port_rows[_i].off, port_rows[_i].size, port_rows[_i].val);
	ck_assert_uint_eq(h.n_faults, port_rows[_i].faults);
	for (unsigned i = 0; i < Q_ARRAY_LEN(after); i++)
		ck_assert_msg(in(&h, after[i].off, after[i].size) == after[i].want,
			      "offset %#x: %#llx", after[i].off,
			      (unsigned long long)in(&h, after[i].off, after[i].size));
	vdh_fini(&h);
}
END_TEST

/* The vectors stand in front of the configuration while MSI-X is enabled, and only then. */
START_TEST(config_moves)
{
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, false);
	ck_assert_uint_eq(in(&h, 24, 4), 2048);
	vdh_cfg_write(&h, d.msix_cap + PCI_MSIX_FLAGS, 2, 0);
	ck_assert_uint_eq(in(&h, 20, 4), 2048);
	ck_assert_uint_eq(in(&h, 24, 4), 0);
	vdh_fini(&h);
}
END_TEST

/* A ring at page @pfn of @page bytes with @align: is it taken? */
static const struct {
	const char *what;
	uint64_t pfn, page, num, align;
	bool ok;
} place_rows[] = {
	{ "usual", 0x100, 4096, 256, 4096, true },
	{ "large pages", 0x10, 0x10000, 256, 0x10000, true },
	{ "small pages", 0x400, 1024, 64, 64, true },
	{ "at the end of memory", 0x4fd, 4096, 256, 4096, true },
	{ "across the end", 0x4fe, 4096, 256, 4096, false },
	{ "outside", 0xfffff, 4096, 256, 4096, false },
	{ "wraps", 0xffffffff, 0xffffffff, 256, 4096, false },
	{ "no page size", 0x100, 0, 256, 4096, true },	/* page 0 of nothing: given up */
	{ "align 0", 0x100, 4096, 256, 0, false },
	{ "align 2", 0x100, 4096, 256, 2, false },
	{ "align no power of 2", 0x100, 4096, 256, 96, false },
	{ "not a power of 2", 0x100, 4096, 96, 4096, false },
	{ "no entries", 0x100, 4096, 0, 4096, false },
	{ "too many", 0x100, 4096, 512, 4096, false },
	{ "unaligned", 0x10000f, 1, 256, 4096, false },
};
START_TEST(mmio_place)
{
	const typeof(place_rows[0]) *row = &place_rows[_i];
	bool none = row->page == 0;
	struct vdh h;
	struct vdd d;

	dev_open(&h, &d, true);
	set_mmio(&h, VIRTIO_MMIO_GUEST_PAGE_SIZE, row->page);
	vdd_negotiate(&d, 0);	/* with a reset: the page size stays */
	ck_assert_uint_eq(mmio(&h, VIRTIO_MMIO_VERSION), 1);
	ck_assert_uint_eq(mmio(&h, VIRTIO_MMIO_QUEUE_NUM_MAX), 256);
	set_mmio(&h, VIRTIO_MMIO_QUEUE_NUM, row->num);
	set_mmio(&h, VIRTIO_MMIO_QUEUE_ALIGN, row->align);
	set_mmio(&h, VIRTIO_MMIO_QUEUE_PFN, row->pfn);
	ck_assert_msg(mmio(&h, VIRTIO_MMIO_QUEUE_PFN) == (row->ok && !none ? row->pfn : 0), "%s",
		      row->what);
	ck_assert_uint_eq(vdd_status(&d), row->ok ? A | D : A | D | N);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_RING), !row->ok);
	/* Registers of version 2 mean nothing here. */
	set_mmio(&h, VIRTIO_MMIO_QUEUE_DESC_LOW, 1);
	set_mmio(&h, VIRTIO_MMIO_QUEUE_READY, 1);
	ck_assert_uint_eq(mmio(&h, VIRTIO_MMIO_QUEUE_READY), 0);
	ck_assert_uint_eq(h.n_faults, !row->ok);
	vdh_fini(&h);
}
END_TEST

/* And those of version 1 mean nothing to version 2. */
START_TEST(not_legacy)
{
	struct vdh h;

	vdh_init(&h);
	vdh_arg(&h, "hostdev", "disk", 0);
	ck_assert_int_eq(vdh_create(&h, "virtio-blk", VD_MEM, VDD_MMIO, 1), 0);
	ck_assert_uint_eq(mmio(&h, VIRTIO_MMIO_VERSION), 2);
	set_mmio(&h, VIRTIO_MMIO_GUEST_PAGE_SIZE, 4096);
	set_mmio(&h, VIRTIO_MMIO_QUEUE_ALIGN, 4096);
	set_mmio(&h, VIRTIO_MMIO_QUEUE_PFN, 0x100);
	ck_assert_uint_eq(mmio(&h, VIRTIO_MMIO_QUEUE_PFN), 0);
	ck_assert_uint_eq(h.n_faults, 0);
	vdh_fini(&h);
}
END_TEST

START_TEST(place_order)
{
	struct vdh h;
	struct vdd d;
	struct qdriver q;

	dev_open(&h, &d, _i);
	vdd_live(&d, 0, &q, RING, 256);
	ck_assert_uint_eq(vdd_status(&d), VDD_STATUS_LIVE_LEGACY);
	ck_assert_uint_eq(h.n_faults, 0);
	vdd_queue_enable(&d, 0);		/* a second time */
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_STATE), 1);
	d.place[0] = gpa(0);
	vdd_queue_enable(&d, 0);		/* given up while it runs */
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_STATE), 2);
	ck_assert(vdd_queue_enabled(&d, 0));
	vdd_ack(&d, VDD_INDIRECT);		/* final by now; MMIO has two words */
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_STATE), 3 + _i);
	ck_assert_uint_eq(virtio_of(&h)->acked, 0);
	vdd_set_status(&d, 0);
	ck_assert(!vdd_queue_enabled(&d, 0));
	d.place[3] = RING;
	vdd_queue_enable(&d, 3);		/* no such queue */
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_STATE), 4 + _i);
	vdd_negotiate(&d, 0);
	vdd_queue_set(&d, 0, &q.cfg);
	vdd_queue_enable(&d, 0);
	d.place[0] = gpa(0);
	vdd_queue_enable(&d, 0);		/* given up before anything ran: fine */
	ck_assert(!vdd_queue_enabled(&d, 0));
	ck_assert_uint_eq(h.n_faults, 4 + _i);
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

static void queue_flush(struct vdh *h, struct qdriver *q)
{
	const struct virtio_blk_outhdr hdr = { .type = VIRTIO_BLK_T_FLUSH };
	const struct qdriver_buf bufs[] = { { gpa(DATA), 16, false },
					    { gpa(DATA + 16), 1, true } };

	qmem_write(h->mem, gpa(DATA), &hdr, sizeof(hdr));
	ck_assert_int_eq(qdriver_add(q, bufs, 2, q), QDRIVER_OK);
	qdriver_publish(q);
}

static bool is_answered(struct qdriver *q)
{
	uint32_t written;
	void *token;

	return qdriver_poll(q, &token, &written) == QDRIVER_OK;
}

/* A driver that reads the partition table while it is still probing. */
START_TEST(used_before_driver_ok)
{
	struct vdh h;
	struct vdd d;
	struct qdriver q;

	dev_open(&h, &d, _i % 2);
	h.no_notify = _i / 2;
	vdd_negotiate(&d, 1ull << VIRTIO_BLK_F_FLUSH);
	ck_assert_int_eq(qdriver_init(&q, h.mem, RING, 256, 0, gpa(0), 0), 0);
	vdd_queue_set(&d, 0, &q.cfg);
	vdd_queue_enable(&d, 0);
	queue_flush(&h, &q);
	vdh_settle(&h);
	ck_assert_msg(!is_answered(&q), "before the kick");
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert(is_answered(&q));
	ck_assert_uint_eq(vdd_status(&d), A | D);
	ck_assert_uint_eq(vdd_interrupts(&d), 1);
	vdd_set_status(&d, A | D | O);
	queue_flush(&h, &q);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert(is_answered(&q));
	ck_assert_uint_eq(h.n_faults, 0);
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

/* Reset with work in flight, set up again at once, used before DRIVER_OK: no kick is lost. */
START_TEST(reset_not_waited_for)
{
	struct vdh h;
	struct vdd d;
	struct qdriver q, again;

	dev_open(&h, &d, _i);
	vdd_live(&d, 1ull << VIRTIO_BLK_F_FLUSH, &q, RING, 256);
	h.hold = true;
	queue_flush(&h, &q);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	vdd_set_status(&d, 0);
	vdd_ack(&d, 1ull << VIRTIO_BLK_F_FLUSH);
	ck_assert_int_eq(qdriver_init(&again, h.mem, gpa(RING.v + 0x10000), 256, 0, gpa(0), 0), 0);
	vdd_queue_set(&d, 0, &again.cfg);
	vdd_queue_enable(&d, 0);
	queue_flush(&h, &again);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert(!is_answered(&again));
	h.hold = false;
	vdh_settle(&h);
	ck_assert(is_answered(&again));
	ck_assert_msg(!is_answered(&q), "its memory is the driver's again");
	ck_assert_uint_eq(h.n_faults, 0);
	qdriver_fini(&q);
	qdriver_fini(&again);
	vdh_fini(&h);
}
END_TEST

/* The VM ends: no kick starts anything any more. */
START_TEST(quiet_after_quiesce)
{
	struct vdh h;
	struct vdd d;
	struct qdriver q;

	dev_open(&h, &d, _i);
	vdd_negotiate(&d, 1ull << VIRTIO_BLK_F_FLUSH);
	ck_assert_int_eq(qdriver_init(&q, h.mem, RING, 256, 0, gpa(0), 0), 0);
	vdd_queue_set(&d, 0, &q.cfg);
	vdd_queue_enable(&d, 0);
	queue_flush(&h, &q);
	vdd_notify(&d, 0);
	h.v->ops->quiesce(h.v);
	vdh_settle(&h);
	ck_assert(!is_answered(&q));
	ck_assert_int_eq(virtio_of(&h)->run, VIRTIO_IDLE);
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

/* ---- INTA, of both interfaces ---- */

static void intx_open(struct vdh *h, struct vdd *d, bool legacy)
{
	vdh_init(h);
	vdh_arg(h, "hostdev", "disk", 0);
	if (legacy)
		vdh_arg(h, "legacy", NULL, 0);
	ck_assert_int_eq(vdh_create(h, "virtio-blk", VD_PCI, 0, 0), 0);
	vdd_init_intx(d, h);
}

static uint64_t isr(struct vdh *h, struct vdd *d)
{
	return d->legacy ? in(h, VIRTIO_PCI_ISR, 1) : vdh_read(h, VD_MEM, d->isr, 1);
}

static bool status_bit(struct vdh *h)
{
	return vdh_cfg_read(h, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;
}

START_TEST(inta)
{
	struct vdh h;
	struct vdd d;
	struct qdriver q;
	uint32_t command;

	intx_open(&h, &d, _i);
	vdd_live(&d, VDD_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH, &q, RING, 256);
	vdh_settle(&h);
	ck_assert(!h.level[0]);
	queue_flush(&h, &q);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert(h.level[0] && status_bit(&h));
	ck_assert_uint_eq(isr(&h, &d), 1);	/* takes it back */
	ck_assert(!h.level[0] && !status_bit(&h));
	ck_assert_uint_eq(isr(&h, &d), 0);

	virtio_config_changed(virtio_of(&h));
	ck_assert(h.level[0]);
	queue_flush(&h, &q);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert_uint_eq(h.raises[0], 2);	/* it was up already */

	/* Masked by the command register: pending, and not on the line. */
	command = vdh_cfg_read(&h, PCI_COMMAND, 2);
	vdh_cfg_write(&h, PCI_COMMAND, 2, command | PCI_COMMAND_INTX_DISABLE);
	ck_assert(!h.level[0] && status_bit(&h));
	vdh_cfg_write(&h, PCI_COMMAND, 2, command);
	ck_assert(h.level[0]);
	ck_assert_uint_eq(isr(&h, &d), 3);
	virtio_config_changed(virtio_of(&h));
	vdd_set_status(&d, 0);			/* a reset takes it back, too */
	ck_assert(!h.level[0]);
	ck_assert_uint_eq(isr(&h, &d), 0);
	qdriver_fini(&q);
	vdh_fini(&h);
}
END_TEST

/* A driver that changes its mind while the device runs. */
START_TEST(inta_or_msix)
{
	struct vdh h;
	struct vdd d;
	struct qdriver q;

	intx_open(&h, &d, _i);
	vdd_live(&d, VDD_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH, &q, RING, 256);
	queue_flush(&h, &q);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert(h.level[0]);
	vdh_cfg_write(&h, d.msix_cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	ck_assert(!h.level[0] && !status_bit(&h));
	queue_flush(&h, &q);
	vdd_notify(&d, 0);
	vdh_settle(&h);
	ck_assert(!h.level[0]);
	vdh_cfg_write(&h, d.msix_cap + PCI_MSIX_FLAGS, 2, 0);
	ck_assert_msg(h.level[0], "what was pending still is");
	vdh_fini(&h);
	ck_assert(!h.level[0]);
	qdriver_fini(&q);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_legacy");
	TCase *tc = fixture_case(s, "legacy");

	tcase_add_loop_test(tc, identity, 0, Q_ARRAY_LEN(id_rows));
	tcase_add_loop_test(tc, features, 0, 2);
	tcase_add_loop_test(tc, port_widths, 0, Q_ARRAY_LEN(port_rows));
	tcase_add_test(tc, config_moves);
	tcase_add_loop_test(tc, mmio_place, 0, Q_ARRAY_LEN(place_rows));
	tcase_add_test(tc, not_legacy);
	tcase_add_loop_test(tc, place_order, 0, 2);
	tcase_add_loop_test(tc, used_before_driver_ok, 0, 4);
	tcase_add_loop_test(tc, reset_not_waited_for, 0, 2);
	tcase_add_loop_test(tc, quiet_after_quiesce, 0, 2);
	tc = fixture_case(s, "inta");
	tcase_add_loop_test(tc, inta, 0, 2);
	tcase_add_loop_test(tc, inta_or_msix, 0, 2);
	return fixture_main(s);
}
