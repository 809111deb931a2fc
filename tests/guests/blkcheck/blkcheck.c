/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every kind of block request once, good and bad, one at a time, with the answer that the
 * specification wants; then the switch of the write cache. On a disk that may be written: sectors
 * 64 to 127 hold 0xa5, but 72 to 79 and 96 to 111 nothing. With wait=1 a disk without sectors is
 * waited for first.
 */
#include "tests/guests/drv/blk.h"

#define SECTOR		512u
#define T_UNKNOWN	99
#define S_IOERR		1
#define S_UNSUPP	2
#define F_BLK_SIZE	(UINT64_C(1) << 6)
#define F_TOPOLOGY	(UINT64_C(1) << 10)
#define F_CONFIG_WCE	(UINT64_C(1) << 11)
#define F_DISCARD	(UINT64_C(1) << 13)
#define F_WRITE_ZEROES	(UINT64_C(1) << 14)
#define C_BLK_SIZE	20
#define C_PHYSICAL_EXP	24
#define C_WCE		32
#define FIRST		64u
#define N_SECTORS	64u
#define ANSWER_NS	(30 * RT_NS_PER_S)

struct range {
	uint64_t sector;
	uint32_t n, flags;
};

static struct blk blk;
static uint8_t *data;		/* N_SECTORS */

/* One request to its answer. */
static uint8_t ask(uint32_t type, uint64_t sector, void *buf, uint32_t len)
{
	static struct blk_req r;
	uint64_t until = arch_ticks() + rt_ticks(ANSWER_NS);

	r.header = (struct blk_header){ .type = type, .sector = sector };
	r.data = buf;
	r.len = len;
	if (!blk_submit(&blk, &r))
		rt_fail("no room for one request");
	blk_kick(&blk);
	for (;;) {
		uint32_t seen = rt_wake;
		if (blk_reap(&blk))
			return r.status;
		if (arch_ticks() > until)
			rt_fail("no answer to type %u sector %lu", type, sector);
		if (!vq_arm(&blk.q))
			rt_wait(seen, arch_ticks() + rt_ticks(10 * RT_NS_PER_MS));
		vq_disarm(&blk.q);
	}
}

static void want(const char *what, uint8_t got, uint8_t status)
{
	if (got != status)
		rt_fail("%s: status %u, want %u", what, got, status);
}

/* Reads @n sectors from @sector: each byte must be @value. */
static void want_bytes(const char *what, uint64_t sector, uint32_t n, uint8_t value)
{
	memset(data, ~value, n * SECTOR);
	want(what, ask(BLK_T_IN, sector, data, n * SECTOR), BLK_S_OK);
	for (uint32_t i = 0; i < n * SECTOR; i++)
		if (data[i] != value)
			rt_fail("%s: byte %u from sector %lu is 0x%x, want 0x%x", what, i, sector,
				data[i], value);
}

static void check_id(void)
{
	char id[21] = "";

	want("id", ask(BLK_T_GET_ID, 0, id, 20), BLK_S_OK);
	rt_printf("blkcheck: id %s\n", id);
}

static void check_write(void)
{
	memset(data, 0xa5, N_SECTORS * SECTOR);
	want("write", ask(BLK_T_OUT, FIRST, data, N_SECTORS * SECTOR), BLK_S_OK);
	want_bytes("read back", FIRST, N_SECTORS, 0xa5);
	rt_printf("blkcheck: write ok\n");
}

/* A range that reads as zeroes afterwards, its neighbours as they were; or is not served. */
static void check_range(const char *what, uint32_t type, uint64_t feature, uint64_t sector,
			uint32_t n)
{
	struct range r = { sector, n, 0 };

	if (!(blk.dev->features & feature)) {
		want(what, ask(type, 0, &r, sizeof(r)), S_UNSUPP);
		rt_printf("blkcheck: %s none\n", what);
		return;
	}
	want(what, ask(type, 0, &r, sizeof(r)), BLK_S_OK);
	want_bytes(what, sector, n, 0);
	want_bytes(what, sector - 1, 1, 0xa5);
	want_bytes(what, sector + n, 1, 0xa5);
	r.sector = blk.capacity - 1;
	r.n = 2;
	want("a range behind the end", ask(type, 0, &r, sizeof(r)), S_IOERR);
	r.n = 0;
	want("an empty range", ask(type, 0, &r, sizeof(r)), S_IOERR);
	r = (struct range){ sector, 1, 2 };
	want("an unknown flag", ask(type, 0, &r, sizeof(r)), S_UNSUPP);
	want("half a range", ask(type, 0, &r, 8), S_IOERR);
	rt_printf("blkcheck: %s ok\n", what);
}

static void check_bounds(void)
{
	static const struct { uint64_t from_end, n_bytes; } rows[] = {
		{ 0, SECTOR }, { 1, 2 * SECTOR }, { UINT64_C(1) << 62, SECTOR }, { 8, 100 },
	};

	for (unsigned i = 0; i < RT_ARRAY_LEN(rows); i++)
		want("read out of bounds", ask(BLK_T_IN, blk.capacity - rows[i].from_end, data,
					       (uint32_t)rows[i].n_bytes), S_IOERR);
	want("read of the last", ask(BLK_T_IN, blk.capacity - 1, data, SECTOR), BLK_S_OK);
	rt_printf("blkcheck: bounds ok\n");
}

static void check_write_cache(void)
{
	struct vio_dev *d = blk.dev;

	if (!(d->features & F_CONFIG_WCE)) {
		rt_printf("blkcheck: write_cache none\n");
		return;
	}
	if (d->ops->config_read(d, C_WCE, 1) != 1)
		rt_fail("the write cache is off at the start");
	d->ops->config_write(d, C_WCE, 1, 0);
	memset(data, 0xa5, SECTOR);
	want("write through", ask(BLK_T_OUT, FIRST, data, SECTOR), BLK_S_OK);
	if (d->ops->config_read(d, C_WCE, 1) != 0)
		rt_fail("the write cache does not go off");
	d->ops->config_write(d, C_WCE, 1, 1);
	want_bytes("written through", FIRST, 1, 0xa5);
	rt_printf("blkcheck: write_cache ok\n");
}

static void check_all(void)
{
	check_id();
	want("flush", ask(BLK_T_FLUSH, 0, NULL, 0), BLK_S_OK);
	rt_printf("blkcheck: flush ok\n");
	if (blk.read_only) {
		want("write", ask(BLK_T_OUT, FIRST, data, SECTOR), S_IOERR);
		rt_printf("blkcheck: write refused ok\n");
	} else {
		check_write();
		check_range("write_zeroes", BLK_T_WRITE_ZEROES, F_WRITE_ZEROES, 72, 8);
		check_range("discard", BLK_T_DISCARD, F_DISCARD, 96, 16);
		check_write_cache();
	}
	check_bounds();
	want("an unknown type", ask(T_UNKNOWN, 0, data, SECTOR), S_UNSUPP);
	rt_printf("blkcheck: unknown ok\n");
}

/* Until the device says that it has sectors; false when the power button came first. */
static bool wait_for_disk(void)
{
	want("read of nothing", ask(BLK_T_IN, 0, data, SECTOR), S_IOERR);
	while (blk.capacity == 0) {
		if (rt_power_button(true))
			return false;
		rt_wait(rt_wake, arch_ticks() + rt_ticks(20 * RT_NS_PER_MS));
		blk.capacity = vio_config_read64(blk.dev, 0);
	}
	rt_printf("blkcheck: came capacity=%lu\n", blk.capacity);
	return true;
}

void guest_main(void)
{
	uint64_t features = VIO_F_INDIRECT | VIO_F_EVENT_IDX | F_BLK_SIZE | F_TOPOLOGY |
			    F_CONFIG_WCE | F_DISCARD | F_WRITE_ZEROES |
			    (rt_arg_u64("packed", 0) ? VIO_F_PACKED : 0);
	struct vio_dev *d = vio_find(VIO_ID_BLK, 0);
	const char *why = blk_open(&blk, d, features, 0);

	if (why)
		rt_fail("%s: %s", d->name, why);
	data = rt_need(N_SECTORS * SECTOR, 4096, "data");
	rt_printf("blkcheck: capacity=%lu blk_size=%u physical_exp=%u ro=%u packed=%u legacy=%u\n",
		  blk.capacity, d->ops->config_read(d, C_BLK_SIZE, 4),
		  d->ops->config_read(d, C_PHYSICAL_EXP, 1), blk.read_only, blk.q.packed,
		  d->legacy);
	if (blk.capacity || !rt_arg_u64("wait", 0) || wait_for_disk())
		check_all();
}
