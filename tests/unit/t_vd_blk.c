/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/virtio_blk.c with a file of its own: requests of a real driver (lib/qdriver) against a disk
 * in memory.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <time.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vddriver.h"
#include "vdevs/virtio_blk.h"

#define RING gpa(VDH_RAM_GPA)
#define BUF (VDH_RAM_GPA + 0x100000)
#define SLOT_BYTES 0x2000u

struct disk {
	struct vdh h;
	struct vdd d;
	struct qdriver q;
};

/* How the guest sees it. */
enum how { PCI, MMIO, PCI_INTX, PCI_LEGACY, PCI_LEGACY_INTX, MMIO_LEGACY, HOWS };

static void disk_open(struct disk *k, enum how how, uint64_t features)
{
	bool mmio = how == MMIO || how == MMIO_LEGACY;
	/* The ring of a legacy device is as long as the device says. */
	uint32_t num = how == PCI_LEGACY || how == PCI_LEGACY_INTX ? 256 : 64;

	vdh_init(&k->h);
	vdh_arg(&k->h, "hostdev", "disk", 0);
	if (how >= PCI_LEGACY)
		vdh_arg(&k->h, "legacy", NULL, 0);
	k->h.disk_info.can_discard = k->h.disk_info.can_zero = true;
	ck_assert_int_eq(vdh_create(&k->h, "virtio-blk", mmio ? VD_MEM : VD_PCI, VDD_MMIO, 1), 0);
	if (how == PCI_INTX || how == PCI_LEGACY_INTX)
		vdd_init_intx(&k->d, &k->h);
	else
		vdd_init(&k->d, &k->h);
	ck_assert_int_eq(k->d.legacy, how >= PCI_LEGACY);
	vdd_live(&k->d, VDD_VERSION_1 | features, &k->q, RING, num);
	vdh_settle(&k->h);
}

static void disk_close(struct disk *k)
{
	qdriver_fini(&k->q);
	vdh_fini(&k->h);
}

static uint8_t live(const struct disk *k)
{
	return k->d.legacy ? VDD_STATUS_LIVE_LEGACY : VDD_STATUS_LIVE;
}

/* Slot @n of guest memory: header at 0, status at 0x10, data from 0x200. */
static uint64_t slot(unsigned n)
{
	return BUF + (uint64_t)n * SLOT_BYTES;
}

static void queue_req(struct disk *k, unsigned n, uint32_t type, uint64_t sector,
		      uint32_t data_bytes, bool data_in)
{
	const struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };
	struct qdriver_buf bufs[3];
	unsigned b = 0;
	uint8_t none = 0xff;

	qmem_write(k->h.mem, gpa(slot(n)), &hdr, sizeof(hdr));
	qmem_write(k->h.mem, gpa(slot(n) + 0x10), &none, 1);
	bufs[b++] = (struct qdriver_buf){ gpa(slot(n)), 16, false };
	if (data_bytes)
		bufs[b++] = (struct qdriver_buf){ gpa(slot(n) + 0x200), data_bytes, data_in };
	bufs[b++] = (struct qdriver_buf){ gpa(slot(n) + 0x10), 1, true };
	ck_assert_int_eq(qdriver_add(&k->q, bufs, b, (void *)(uintptr_t)(n + 1)), QDRIVER_OK);
}

static void run_queued(struct disk *k)
{
	if (qdriver_publish(&k->q))
		vdd_notify(&k->d, 0);
	vdh_settle(&k->h);
}

static uint8_t status_of(struct disk *k, unsigned n)
{
	uint8_t st;

	ck_assert_int_eq(qmem_read(k->h.mem, gpa(slot(n) + 0x10), &st, 1), 0);
	return st;
}

/* One request to its end: the status byte, and what the used ring says was written. */
static uint8_t one(struct disk *k, uint32_t type, uint64_t sector, uint32_t data_bytes,
		   bool data_in, uint32_t *ret_written)
{
	void *token;

	queue_req(k, 0, type, sector, data_bytes, data_in);
	run_queued(k);
	ck_assert_int_eq(qdriver_poll(&k->q, &token, ret_written), QDRIVER_OK);
	ck_assert_ptr_eq(token, (void *)1);
	return status_of(k, 0);
}

#define IN VIRTIO_BLK_T_IN
#define OUT VIRTIO_BLK_T_OUT
#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP
static const struct {
	const char *what;
	uint32_t type;
	uint64_t sector;
	uint32_t len;
	bool in;
	uint8_t want;
	uint32_t written;
} req_rows[] = {
	{ "read", IN, 0, 512, true, OK, 513 },
	{ "read 4 KiB at the end", IN, 2040, 4096, true, OK, 4097 },
	{ "read across the end", IN, 2041, 4096, true, IOERR, 0 },
	{ "read behind the end", IN, 1ull << 62, 512, true, IOERR, 0 },
	{ "read half a sector", IN, 0, 100, true, IOERR, 0 },
	{ "write", OUT, 3, 1024, false, OK, 1 },
	{ "write behind the end", OUT, 2048, 512, false, IOERR, 1 },
	{ "flush", VIRTIO_BLK_T_FLUSH, 0, 0, false, OK, 1 },
	{ "flush of a sector far out", VIRTIO_BLK_T_FLUSH, 1ull << 60, 0, false, OK, 1 },
	{ "serial number", VIRTIO_BLK_T_GET_ID, 0, 20, true, OK, 21 },
	{ "unknown", 0x7777, 0, 512, true, UNSUPP, 0 },
	{ "discard, not negotiated", VIRTIO_BLK_T_DISCARD, 0, 16, false, UNSUPP, 1 },
};
START_TEST(requests)
{
	const typeof(req_rows[0]) *row = &req_rows[_i / HOWS];
	struct disk k;
	uint32_t written;
	uint8_t st;

	disk_open(&k, _i % HOWS, 1ull << VIRTIO_BLK_F_FLUSH);
	st = one(&k, row->type, row->sector, row->len, row->in, &written);
	ck_assert_msg(st == row->want, "%s: status %u", row->what, st);
	ck_assert_msg(written == row->written, "%s: %u bytes", row->what, written);
	ck_assert_uint_eq(vdd_interrupts(&k.d), 1);
	ck_assert_uint_eq(vdd_interrupts(&k.d), 0);
	ck_assert_uint_eq(vdd_status(&k.d), live(&k));
	disk_close(&k);
}
END_TEST

/*
 * What is written is what is read, through direct and indirect chains, with and without EVENT_IDX,
 * in split and packed rings.
 */
static const uint64_t ring_rows[] = { 0, VDD_INDIRECT, VDD_EVENT_IDX,
				      VDD_INDIRECT | VDD_EVENT_IDX, VDD_PACKED,
				      VDD_PACKED | VDD_INDIRECT, VDD_PACKED | VDD_EVENT_IDX,
				      VDD_PACKED | VDD_INDIRECT | VDD_EVENT_IDX };
#define RING_ROWS Q_ARRAY_LEN(ring_rows)
START_TEST(content)
{
	struct disk k;
	uint64_t seed = 42 + (uint64_t)_i;
	uint8_t data[4096], back[4096];
	uint32_t written;

	if (_i / RING_ROWS >= PCI_LEGACY && (ring_rows[_i % RING_ROWS] & VDD_PACKED))
		return;		/* not offered */
	disk_open(&k, _i / RING_ROWS, ring_rows[_i % RING_ROWS] | 1ull << VIRTIO_BLK_F_FLUSH);
	for (unsigned n = 0; n < 200; n++) {
		uint64_t sector = fixture_rand(&seed) % 2041;

		for (unsigned i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)fixture_rand(&seed);
		qmem_write(k.h.mem, gpa(slot(0) + 0x200), data, sizeof(data));
		ck_assert_uint_eq(one(&k, OUT, sector, sizeof(data), false, &written), OK);
		ck_assert_mem_eq(k.h.disk + sector * 512, data, sizeof(data));
		memset(back, 0, sizeof(back));
		qmem_write(k.h.mem, gpa(slot(0) + 0x200), back, sizeof(back));
		ck_assert_uint_eq(one(&k, IN, sector, sizeof(data), true, &written), OK);
		qmem_read(k.h.mem, gpa(slot(0) + 0x200), back, sizeof(back));
		ck_assert_mem_eq(back, data, sizeof(data));
	}
	ck_assert_uint_eq(k.h.n_faults, 0);
	disk_close(&k);
}
END_TEST

START_TEST(serial_is_the_name)
{
	struct disk k;
	char id[20];
	uint32_t written;

	disk_open(&k, false, 0);
	ck_assert_uint_eq(one(&k, VIRTIO_BLK_T_GET_ID, 0, 20, true, &written), OK);
	qmem_read(k.h.mem, gpa(slot(0) + 0x200), id, sizeof(id));
	ck_assert_mem_eq(id, "test0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	disk_close(&k);
}
END_TEST

/* Many at once: submitted in a batch with one kick of the host, more than a budget in several. */
START_TEST(batches)
{
	struct disk k;
	void *token;
	uint32_t written;
	unsigned seen = 0;

	disk_open(&k, _i, 0);
	k.h.n_kicks = 0;
	for (unsigned n = 0; n < 16; n++)
		queue_req(&k, n, IN, n, 512, true);
	run_queued(&k);
	ck_assert_uint_eq(k.h.n_submits, 16);
	ck_assert_uint_le(k.h.n_kicks, 3);
	while (qdriver_poll(&k.q, &token, &written) == QDRIVER_OK)
		seen |= 1u << ((uintptr_t)token - 1);
	ck_assert_uint_eq(seen, 0xffff);
	disk_close(&k);
}
END_TEST

/* ---- features of the host's file ---- */

#define BLK_F_LIFETIME 15	/* of virtio 1.2; the kernel's header has no name for it */

static const struct { bool ro, discard, zero; uint32_t block; uint64_t want; } feature_rows[] = {
	{ false, false, false, 512, 0 },
	{ true, true, true, 512, 1ull << VIRTIO_BLK_F_RO },
	{ false, true, false, 4096, 1ull << VIRTIO_BLK_F_DISCARD },
	{ false, true, true, 512,
	  1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES },
};
START_TEST(offered)
{
	const uint64_t asked = 1ull << VIRTIO_BLK_F_RO | 1ull << VIRTIO_BLK_F_DISCARD |
			       1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	const uint64_t never = 1ull << BLK_F_LIFETIME | 1ull << VIRTIO_BLK_F_SECURE_ERASE;
	const uint64_t always = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
				1ull << VIRTIO_BLK_F_FLUSH;
	struct vdh h;
	struct vdd d;

	vdh_init(&h);
	vdh_arg(&h, "hostdev", "disk", 0);
	h.disk_info = (struct vd_blk_info){ 1 << 20, feature_rows[_i].ro, feature_rows[_i].discard,
					    feature_rows[_i].zero, feature_rows[_i].block };
	ck_assert_int_eq(vdh_create(&h, "virtio-blk", VD_PCI, 0, 0), 0);
	vdd_init(&d, &h);
	ck_assert_uint_eq(vdd_offered(&d) & asked, feature_rows[_i].want);
	ck_assert_uint_eq(vdd_offered(&d) & always, always);
	ck_assert_uint_eq(vdd_offered(&d) & never, 0);
	ck_assert_uint_eq(vdd_config(&d, offsetof(struct virtio_blk_config, blk_size), 4),
			  feature_rows[_i].block);
	ck_assert_uint_eq(vdd_config(&d, offsetof(struct virtio_blk_config, seg_max), 4), 128);
	vdh_fini(&h);
}
END_TEST

/* ---- topology ---- */

static uint64_t field(struct vdd *d, size_t off, unsigned size)
{
	return vdd_config(d, (unsigned)off, size);
}
#define FIELD(d, name) field(d, offsetof(struct virtio_blk_config, name), \
			     sizeof(((struct virtio_blk_config *)0)->name))

static const struct {
	uint32_t block, physical, min, best, discard;
	unsigned want_exp, want_min, want_best, want_align;
} topology_rows[] = {
	{ 512, 0, 0, 0, 0, 0, 0, 0, 1 },
	{ 512, 512, 512, 0, 512, 0, 1, 0, 1 },
	{ 512, 4096, 4096, 1 << 20, 65536, 3, 8, 2048, 128 },
	{ 4096, 4096, 4096, 4096, 0, 0, 1, 1, 8 },
	{ 512, 3072, 512, 0, 0, 0, 1, 0, 1 },		/* no power of 2 */
	{ 4096, 512, 512, 512, 512, 0, 0, 0, 8 },	/* smaller than a block */
	{ 512, 4096, 1u << 31, 1u << 31, 0, 3, 65535, 1 << 22, 1 },
};
START_TEST(topology)
{
	struct vdh h;
	struct vdd d;

	vdh_init(&h);
	vdh_arg(&h, "hostdev", "disk", 0);
	h.disk_info = (struct vd_blk_info){
		.len_bytes = 1 << 20, .can_discard = true,
		.block_bytes = topology_rows[_i].block,
		.physical_bytes = topology_rows[_i].physical,
		.io_min_bytes = topology_rows[_i].min, .io_best_bytes = topology_rows[_i].best,
		.discard_bytes = topology_rows[_i].discard,
	};
	ck_assert_int_eq(vdh_create(&h, "virtio-blk", VD_PCI, 0, 0), 0);
	vdd_init(&d, &h);
	ck_assert(vdd_offered(&d) & 1ull << VIRTIO_BLK_F_TOPOLOGY);
	ck_assert_uint_eq(FIELD(&d, capacity), 2048);
	ck_assert_uint_eq(FIELD(&d, physical_block_exp), topology_rows[_i].want_exp);
	ck_assert_uint_eq(FIELD(&d, alignment_offset), 0);
	ck_assert_uint_eq(FIELD(&d, min_io_size), topology_rows[_i].want_min);
	ck_assert_uint_eq(FIELD(&d, opt_io_size), topology_rows[_i].want_best);
	ck_assert_uint_eq(FIELD(&d, discard_sector_alignment), topology_rows[_i].want_align);
	vdh_fini(&h);
}
END_TEST

/* ---- a file that comes later ---- */

static void wait_open(struct vdh *h, struct vdd *d, const char *hostdev, const char *delay)
{
	vdh_init(h);
	vdh_arg(h, "hostdev", hostdev, 0);
	vdh_arg(h, "delayed", delay, 0);
	h->disk_err = -ENOENT;
	h->disk_info.can_discard = true;
	h->disk_info.block_bytes = 4096;
	h->disk_info.read_only = hostdev[0] == '<';
	ck_assert_int_eq(vdh_create(h, "virtio-blk", VD_PCI, 0, 0), 0);
	vdd_init(d, h);
	ck_assert_uint_eq(FIELD(d, capacity), 0);
}

/* Until it looks the next time. */
static void wait_look(struct vdh *h)
{
	nanosleep(&(struct timespec){ .tv_nsec = 110000000 }, NULL);
	vdh_settle(h);
}

START_TEST(delayed)
{
	static const struct { bool live; const char *hostdev; } rows[] = {
		{ false, "disk" }, { true, "disk" }, { true, "<disk" },
	};
	struct disk k;
	uint32_t written;
	bool ro = rows[_i].hostdev[0] == '<';

	wait_open(&k.h, &k.d, rows[_i].hostdev, "forever");
	ck_assert_uint_eq(!!(vdd_offered(&k.d) & 1ull << VIRTIO_BLK_F_RO), ro);
	if (rows[_i].live) {
		vdd_live(&k.d, VDD_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH, &k.q, RING, 64);
		ck_assert_uint_eq(one(&k, IN, 0, 512, true, &written), IOERR);
		ck_assert_uint_eq(one(&k, OUT, 0, 512, false, &written), IOERR);
		ck_assert_uint_eq(one(&k, VIRTIO_BLK_T_FLUSH, 0, 0, false, &written), IOERR);
		ck_assert_uint_eq(one(&k, VIRTIO_BLK_T_GET_ID, 0, 20, true, &written), OK);
		vdd_interrupts(&k.d);
	}
	wait_look(&k.h);
	ck_assert_uint_eq(FIELD(&k.d, capacity), 0);
	k.h.disk_err = 0;
	wait_look(&k.h);
	ck_assert_uint_eq(FIELD(&k.d, capacity), 2048);
	ck_assert_ptr_nonnull(strstr(k.h.logged, "ev=disk_there"));
	/* Before a driver came it is what it is; then what the driver was promised. */
	ck_assert_uint_eq(FIELD(&k.d, blk_size), rows[_i].live ? 512 : 4096);
	ck_assert_uint_eq(!!(vdd_offered(&k.d) & 1ull << VIRTIO_BLK_F_DISCARD), !rows[_i].live);
	if (rows[_i].live) {
		ck_assert_uint_eq(one(&k, IN, 0, 512, true, &written), OK);
		ck_assert_uint_eq(one(&k, OUT, 0, 512, false, &written), ro ? IOERR : OK);
		qdriver_fini(&k.q);
	}
	vdh_fini(&k.h);
}
END_TEST

START_TEST(delayed_tells)
{
	struct disk k;

	wait_open(&k.h, &k.d, "disk", "100");
	vdd_live(&k.d, VDD_VERSION_1, &k.q, RING, 64);
	vdh_settle(&k.h);
	vdh_msis(&k.h, 0);
	k.h.disk_err = 0;
	vdh_write(&k.h, VD_MEM, k.d.common + 0x10, 2, 0);	/* vector 0 for changes */
	wait_look(&k.h);
	ck_assert_uint_eq(vdh_msis(&k.h, 0), 1);
	qdriver_fini(&k.q);
	vdh_fini(&k.h);
}
END_TEST

START_TEST(delayed_in_vain)
{
	struct vdh h;
	struct vdd d;

	wait_open(&h, &d, "disk", "0");
	wait_look(&h);
	ck_assert_ptr_nonnull(strstr(h.logged, "ev=disk_missing"));
	ck_assert_ptr_nonnull(strstr(h.logged, "No such file"));
	h.disk_err = 0;
	wait_look(&h);
	ck_assert_uint_eq(FIELD(&d, capacity), 0);
	vdh_fini(&h);
}
END_TEST

/* What is there and cannot be had is said at the start, `delayed` or not. */
START_TEST(delayed_not)
{
	struct vdh h;

	vdh_init(&h);
	vdh_arg(&h, "hostdev", "disk", 0);
	vdh_arg(&h, "delayed", "forever", 0);
	h.disk_err = -EBUSY;
	ck_assert_int_eq(vdh_create(&h, "virtio-blk", VD_PCI, 0, 0), -EBUSY);
	ck_assert_uint_eq(h.errs.n_errors, 1);
	ck_assert_ptr_nonnull(strstr(h.errs.v[0].text, "hostdev disk"));
	vdh_fini(&h);
}
END_TEST

START_TEST(discard_and_zero)
{
	const struct virtio_blk_discard_write_zeroes seg = { .sector = 4, .num_sectors = 8 };
	static const uint8_t zeroes[8 * 512];
	struct disk k;
	uint32_t written;

	disk_open(&k, false, 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES |
			     1ull << VIRTIO_BLK_F_FLUSH);
	memset(k.h.disk, 0xff, 1 << 20);
	qmem_write(k.h.mem, gpa(slot(0) + 0x200), &seg, sizeof(seg));
	ck_assert_uint_eq(one(&k, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(seg), false, &written), OK);
	ck_assert_mem_eq(k.h.disk + 4 * 512, zeroes, sizeof(zeroes));
	ck_assert_uint_eq(k.h.disk[4 * 512 - 1], 0xff);
	ck_assert_uint_eq(k.h.disk[12 * 512], 0xff);
	ck_assert_uint_eq(k.h.n_ops[VD_BLK_ZERO], 1);
	ck_assert_uint_eq(one(&k, VIRTIO_BLK_T_DISCARD, 0, sizeof(seg), false, &written), OK);
	ck_assert_uint_eq(k.h.n_ops[VD_BLK_DISCARD], 1);
	disk_close(&k);
}
END_TEST

/* A driver without FLUSH gets each write on the disk before its answer. */
START_TEST(write_through)
{
	struct disk k;
	uint32_t written;

	disk_open(&k, false, _i ? 1ull << VIRTIO_BLK_F_FLUSH : 0);
	ck_assert_uint_eq(one(&k, OUT, 0, 512, false, &written), OK);
	ck_assert_uint_eq(k.h.n_ops[VD_BLK_FLUSH], _i ? 0 : 1);
	disk_close(&k);
}
END_TEST

/* The driver's switch: written through while it is 0, and a reset puts it back. */
START_TEST(write_cache)
{
	const uint64_t wce = offsetof(struct virtio_blk_config, wce);
	struct disk k;
	uint32_t written;

	disk_open(&k, PCI, 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_CONFIG_WCE);
	ck_assert_uint_eq(FIELD(&k.d, wce), 1);
	ck_assert_uint_eq(one(&k, OUT, 0, 512, false, &written), OK);
	ck_assert_uint_eq(k.h.n_ops[VD_BLK_FLUSH], 0);
	vdh_write(&k.h, VD_MEM, k.d.device + wce, 1, 0);
	ck_assert_uint_eq(FIELD(&k.d, wce), 0);
	ck_assert_uint_eq(one(&k, OUT, 0, 512, false, &written), OK);
	ck_assert_uint_eq(k.h.n_ops[VD_BLK_FLUSH], 1);
	ck_assert_uint_eq(k.h.n_faults, 0);
	vdh_write(&k.h, VD_MEM, k.d.device + wce, 1, 2);	/* neither */
	vdh_write(&k.h, VD_MEM, k.d.device + wce, 2, 1);	/* the next field is not its */
	vdh_write(&k.h, VD_MEM, k.d.device, 4, 1);		/* the capacity */
	ck_assert_uint_eq(FIELD(&k.d, wce), 0);
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), 3);
	vdd_set_status(&k.d, 0);
	vdh_settle(&k.h);
	ck_assert_uint_eq(FIELD(&k.d, wce), 1);
	ck_assert_uint_eq(FIELD(&k.d, capacity), 2048);
	disk_close(&k);
}
END_TEST

START_TEST(host_errors)
{
	struct disk k;
	uint32_t written;

	disk_open(&k, false, 1ull << VIRTIO_BLK_F_FLUSH);
	k.h.io_err = -EIO;
	ck_assert_uint_eq(one(&k, IN, 0, 512, true, &written), IOERR);
	k.h.io_err = -EOPNOTSUPP;
	ck_assert_uint_eq(one(&k, OUT, 0, 512, false, &written), UNSUPP);
	k.h.io_err = 0;
	k.h.submit_fails = true;
	ck_assert_uint_eq(one(&k, IN, 0, 512, true, &written), IOERR);
	k.h.submit_fails = false;
	ck_assert_uint_eq(one(&k, IN, 0, 512, true, &written), OK);
	ck_assert_uint_eq(vdd_status(&k.d), VDD_STATUS_LIVE);
	disk_close(&k);
}
END_TEST

/* ---- drivers that break the rules ---- */

START_TEST(no_status_byte)
{
	const struct virtio_blk_outhdr hdr = { .type = IN };
	const struct qdriver_buf bufs[] = { { gpa(slot(0)), 16, false } };
	struct disk k;

	disk_open(&k, false, 0);
	qmem_write(k.h.mem, gpa(slot(0)), &hdr, sizeof(hdr));
	ck_assert_int_eq(qdriver_add(&k.q, bufs, 1, &k), QDRIVER_OK);
	run_queued(&k);
	ck_assert_uint_eq(vdh_fault_count(&k.h, VD_FAULT_BAD_REQUEST), 1);
	ck_assert_uint_eq(vdd_status(&k.d) & 0x40, 0x40);
	disk_close(&k);
}
END_TEST

/* The same head made available more often than the ring has room: nothing of ours may run out. */
START_TEST(head_again_and_again)
{
	struct disk k;
	uint16_t idx = 0;

	disk_open(&k, false, 0);
	k.h.hold = true;
	queue_req(&k, 0, IN, 0, 512, true);
	run_queued(&k);
	for (unsigned round = 0; round < 10; round++) {
		qmem_read(k.h.mem, gpa(k.q.cfg.avail.v + 2), &idx, 2);
		idx += 64;
		qmem_write(k.h.mem, gpa(k.q.cfg.avail.v + 2), &idx, 2);
		vdd_notify(&k.d, 0);
		vdh_settle(&k.h);
	}
	ck_assert_uint_le(k.h.n_submits, 256);
	ck_assert_uint_eq(vdd_status(&k.d) & 0x40, 0x40);
	k.h.hold = false;
	vdh_settle(&k.h);
	vdd_set_status(&k.d, 0);
	ck_assert_uint_eq(vdd_status(&k.d), 0);
	disk_close(&k);
}
END_TEST

/* The VM ends with requests out. */
START_TEST(end_in_flight)
{
	struct disk k;

	disk_open(&k, _i, 0);
	k.h.hold = true;
	for (unsigned n = 0; n < 4; n++)
		queue_req(&k, n, OUT, n, 512, false);
	run_queued(&k);
	ck_assert_uint_eq(k.h.n_io, 4);
	disk_close(&k);
}
END_TEST

/* ---- configuration ---- */

static const struct {
	const char *hostdev, *opt, *text;
	enum vd_blk_form form;
	bool ok;
} cfg_rows[] = {
	{ "disk.img", NULL, NULL, VD_BLK_FILE, true },
	{ "<disk.img", NULL, NULL, VD_BLK_FILE, true },
	{ "disk.img", "dio", "disable", VD_BLK_FILE, true },
	{ "disk.img", "dio", "enable", VD_BLK_FILE, true },
	{ "disk.img", "dio", "on", VD_BLK_FILE, false },
	{ "disk.img", "delayed", "5", VD_BLK_FILE, true },
	{ "disk.img", "delayed", "forever", VD_BLK_FILE, true },
	{ "disk.img", "delayed", "soon", VD_BLK_FILE, false },
	{ "disk.img", "delayed", "-1", VD_BLK_FILE, false },
	{ "mediator:disk", "dio", "enable", VD_BLK_BACKEND, false },
	{ "mediator:disk", "delayed", "5", VD_BLK_BACKEND, false },
	{ "disk.img", "legacy", NULL, VD_BLK_FILE, true },
	{ "", NULL, NULL, VD_BLK_UNKNOWN, false },
	{ "<", NULL, NULL, VD_BLK_UNKNOWN, false },
	{ "mediator:", NULL, NULL, VD_BLK_UNKNOWN, false },
	{ "refer:ivi/disk", NULL, NULL, VD_BLK_UNKNOWN, false },
	{ NULL, NULL, NULL, VD_BLK_UNKNOWN, false },
};
START_TEST(configuration)
{
	struct vdh h;

	vdh_init(&h);
	if (cfg_rows[_i].hostdev) {
		vdh_arg(&h, "hostdev", cfg_rows[_i].hostdev, 0);
		ck_assert_int_eq(vd_blk_form(cfg_rows[_i].hostdev), cfg_rows[_i].form);
	}
	if (cfg_rows[_i].opt)
		vdh_arg(&h, cfg_rows[_i].opt, cfg_rows[_i].text, 0);
	ck_assert_int_eq(vdh_create(&h, "virtio-blk", VD_PCI, 0, 0) == 0, cfg_rows[_i].ok);
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_blk");
	TCase *tc = fixture_case(s, "virtio-blk");

	tcase_add_loop_test(tc, requests, 0, HOWS * Q_ARRAY_LEN(req_rows));
	tcase_add_loop_test(tc, content, 0, HOWS * RING_ROWS);
	tcase_add_test(tc, serial_is_the_name);
	tcase_add_loop_test(tc, batches, 0, 2);
	tcase_add_loop_test(tc, offered, 0, Q_ARRAY_LEN(feature_rows));
	tcase_add_loop_test(tc, topology, 0, Q_ARRAY_LEN(topology_rows));
	tcase_add_loop_test(tc, delayed, 0, 3);
	tcase_add_test(tc, delayed_tells);
	tcase_add_test(tc, delayed_in_vain);
	tcase_add_test(tc, delayed_not);
	tcase_add_test(tc, write_cache);
	tcase_add_test(tc, discard_and_zero);
	tcase_add_loop_test(tc, write_through, 0, 2);
	tcase_add_test(tc, host_errors);
	tcase_add_test(tc, no_status_byte);
	tcase_add_test(tc, head_again_and_again);
	tcase_add_loop_test(tc, end_in_flight, 0, 2);
	tcase_add_loop_test(tc, configuration, 0, Q_ARRAY_LEN(cfg_rows));
	return fixture_main(s);
}
