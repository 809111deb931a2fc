/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a ring against a driver that writes raw memory: rows for every verdict,
 * notification arithmetic, and a peer that scribbles while we read. The two sides against each
 * other: t_qdriver.c.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lib/qmem.h"
#include "lib/qring.h"
#include "lib/qring_wire.h"
#include "tests/unit/fixture.h"

/* The guest: ram for rings, two regions that touch, a hole, a page that touches a rom. */
#define RAM 0x0ull
#define A 0x100000ull
#define B 0x110000ull
#define A_BYTES 0x10000ull
#define HOLE 0x180000ull
#define EDGE 0x1ff000ull
#define ROM 0x200000ull
#define ROM_BYTES 0x4000ull
#define DESC_AT 0x1000ull
#define AVAIL_AT 0x3000ull
#define USED_AT 0x4000ull
#define TABLE_AT 0x8000ull	/* an indirect table in plain ram */

#define NUM 8u
#define N VRING_DESC_F_NEXT
#define W VRING_DESC_F_WRITE
#define I VRING_DESC_F_INDIRECT

/* For what runs a million times: an assertion of Check's is a system call, passed or not. */
#define expect(cond) ((cond) ? (void)0 : ck_abort_msg("%s", #cond))

static struct qmem *mem;
static struct qring ring;
static struct qring_avail *avail;
static struct qring_used *used;

struct row_desc {
	uint64_t addr;
	uint32_t len;
	unsigned flags;
	unsigned next;
};

static void setup(void)
{
	mem = qmem_new();
	ck_assert_ptr_nonnull(mem);
	ck_assert_int_eq(qmem_add(mem, gpa(RAM), 0x10000, 0, "ram"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(B), A_BYTES, 0, "b"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(A), A_BYTES, 0, "a"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(ROM), ROM_BYTES, QMEM_READONLY, "rom"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(EDGE), 0x1000, 0, "edge"), 0);
	avail = qmem_ptr(mem, gpa(AVAIL_AT), 4096, true);
	used = qmem_ptr(mem, gpa(USED_AT), 4096, true);
}

static void teardown(void)
{
	mem = qmem_unref(mem);
}

static void open_ring(uint32_t num, unsigned features, uint16_t base)
{
	struct qring_cfg cfg = {
		.num = num, .features = features, .base = base,
		.desc = gpa(DESC_AT), .avail = gpa(AVAIL_AT), .used = gpa(USED_AT),
	};

	ck_assert_int_eq(qring_init(&ring, mem, &cfg), 0);
}

/* Writes descriptors, into rom as well. */
static void put(uint64_t at, const struct row_desc *d, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct qring_desc w = {
			.w_addr = htole64(d[i].addr), .w_len = htole32(d[i].len),
			.w_flags = htole16(d[i].flags), .w_next = htole16(d[i].next),
		};

		expect(qmem_fill(mem, gpa(at + 16 * i), &w, sizeof(w)) == 0);
	}
}

static void offer(uint16_t head)
{
	uint16_t idx = qring_load(&avail->w_idx, memory_order_relaxed);

	qring_store(&avail->w_ring[idx & (ring.num - 1)], head, memory_order_relaxed);
	qring_store(&avail->w_idx, idx + 1, memory_order_release);
}

/* Every iovec lies in guest memory, and in writable memory when the device may write to it. */
static bool iov_is_guests(const struct iovec *v, bool write)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct qmem_region *r = &mem->r[i];
		uint64_t off = (uint64_t)((char *)v->iov_base - r->host);

		if (qspan_inside(off, v->iov_len, r->len_bytes))
			return v->iov_len > 0 && !(write && (r->flags & QMEM_READONLY));
	}
	return false;
}

static void check_chain(const struct qring_chain *c, const struct iovec *iov)
{
	uint64_t out = 0, in = 0;

	for (unsigned i = 0; i < c->n_out + c->n_in; i++) {
		expect(iov_is_guests(&iov[i], i >= c->n_out));
		*(i < c->n_out ? &out : &in) += iov[i].iov_len;
	}
	expect(out == c->out_bytes);
	expect(in == c->in_bytes);
}

/* One chain each: what stands in the ring's table from 0 on, what in an indirect table, and what
 * comes out. */
static const struct chain_row {
	const char *what;
	struct row_desc ring[NUM];
	struct row_desc table[NUM];
	uint64_t table_at;
	bool no_indirect;
	unsigned max_iov;	/* 0 = 16 */
	enum qring_verdict want;
	unsigned n_out, n_in;
	uint64_t out_bytes, in_bytes;
} chain_rows[] = {
	{ "one readable", { { A, 7, 0, 0 } }, .n_out = 1, .out_bytes = 7 },
	{ "one writable", { { A, 9, W, 0 } }, .n_in = 1, .in_bytes = 9 },
	{ "header, data, status",
	  { { A, 16, N, 3 }, [3] = { A + 512, 512, N | W, 1 }, [1] = { A + 16, 1, W, 0 } },
	  .n_out = 1, .n_in = 2, .out_bytes = 16, .in_bytes = 513 },
	{ "next without its flag", { { A, 7, 0, 0xffff } }, .n_out = 1, .out_bytes = 7 },
	{ "unknown flags mean nothing", { { A, 7, 0xfff8, 0 } }, .n_out = 1, .out_bytes = 7 },
	{ "as long as the ring",
	  { { A, 1, N, 1 }, { A, 1, N, 2 }, { A, 1, N, 3 }, { A, 1, N, 4 }, { A, 1, N, 5 },
	    { A, 1, N, 6 }, { A, 1, N, 7 }, { A, 1, 0, 0 } },
	  .n_out = 8, .out_bytes = 8 },
	{ "zero length", { { A, 0, 0, 0 } }, .want = QRING_BAD_CHAIN },
	{ "zero length behind", { { A, 1, N, 1 }, { A, 0, W, 0 } }, .want = QRING_BAD_CHAIN },
	{ "readable after writable", { { A, 1, N | W, 1 }, { A, 1, 0, 0 } },
	  .want = QRING_BAD_CHAIN },
	{ "loop to itself", { { A, 1, N, 0 } }, .want = QRING_BAD_CHAIN },
	{ "loop of two", { { A, 1, N, 1 }, { A, 1, N, 0 } }, .want = QRING_BAD_CHAIN },
	{ "loop behind a lead", { { A, 1, N, 1 }, { A, 1, N, 2 }, { A, 1, N, 1 } },
	  .want = QRING_BAD_CHAIN },
	{ "loop, array as long as the ring", { { A, 1, N, 0 } }, .max_iov = NUM,
	  .want = QRING_BAD_CHAIN },
	{ "loop, small array", { { A, 1, N, 0 } }, .max_iov = 4, .want = QRING_TOO_MANY },
	{ "link to num", { { A, 1, N, NUM } }, .want = QRING_BAD_INDEX },
	{ "link far outside", { { A, 1, N, 0xffff } }, .want = QRING_BAD_INDEX },
	{ "hole", { { HOLE, 1, 0, 0 } }, .want = QRING_BAD_ADDR },
	{ "last byte before a hole", { { B + A_BYTES - 1, 1, 0, 0 } }, .n_out = 1, .out_bytes = 1 },
	{ "one byte into a hole", { { B + A_BYTES - 1, 2, 0, 0 } }, .want = QRING_BAD_ADDR },
	{ "ends where a region begins", { { A - 1, 2, 0, 0 } }, .want = QRING_BAD_ADDR },
	{ "longest length", { { A, UINT32_MAX, 0, 0 } }, .want = QRING_BAD_ADDR },
	{ "wraps to address 0", { { UINT64_MAX, 2, 0, 0 } }, .want = QRING_BAD_ADDR },
	{ "wraps far", { { UINT64_MAX - 0xfff, 0x2000, W, 0 } }, .want = QRING_BAD_ADDR },
	{ "last address of all", { { UINT64_MAX, 1, 0, 0 } }, .want = QRING_BAD_ADDR },
	{ "two regions", { { B - 3, 8, 0, 0 } }, .n_out = 2, .out_bytes = 8 },
	{ "two regions, written", { { B - 3, 8, W, 0 } }, .n_in = 2, .in_bytes = 8 },
	{ "two whole regions", { { A, 2 * A_BYTES, W, 0 } }, .n_in = 2, .in_bytes = 2 * A_BYTES },
	{ "two regions, one part", { { B - 3, 8, 0, 0 } }, .max_iov = 1, .want = QRING_TOO_MANY },
	{ "array just full", { { A, 1, N, 1 }, { A, 1, 0, 0 } }, .max_iov = 2, .n_out = 2,
	  .out_bytes = 2 },
	{ "array overfull", { { A, 1, N, 1 }, { A, 1, W, 0 } }, .max_iov = 1,
	  .want = QRING_TOO_MANY },
	{ "rom is read", { { ROM, 16, 0, 0 } }, .n_out = 1, .out_bytes = 16 },
	{ "rom is not written", { { ROM, 16, W, 0 } }, .want = QRING_BAD_ADDR },
	{ "read on into rom", { { ROM - 4, 8, 0, 0 } }, .n_out = 2, .out_bytes = 8 },
	{ "write on into rom", { { ROM - 4, 8, W, 0 } }, .want = QRING_BAD_ADDR },

	{ "indirect", { { TABLE_AT, 48, I, 0 } },
	  { { A, 16, N, 2 }, { A + 16, 1, W, 0 }, { B, 512, N | W, 1 } }, TABLE_AT,
	  .n_out = 1, .n_in = 2, .out_bytes = 16, .in_bytes = 513 },
	{ "indirect, write flag means nothing", { { TABLE_AT, 16, I | W, 0 } }, { { A, 1, 0, 0 } },
	  TABLE_AT, .n_out = 1, .out_bytes = 1 },
	{ "indirect behind direct", { { A, 4, N, 1 }, { TABLE_AT, 16, I, 0 } }, { { A, 1, W, 0 } },
	  TABLE_AT, .n_out = 1, .n_in = 1, .out_bytes = 4, .in_bytes = 1 },
	{ "indirect behind all the others",
	  { { A, 1, N, 1 }, { A, 1, N, 2 }, { A, 1, N, 3 }, { A, 1, N, 4 }, { A, 1, N, 5 },
	    { A, 1, N, 6 }, { A, 1, N, 7 }, { TABLE_AT, 32, I, 0 } },
	  { { A, 1, N, 1 }, { A, 1, 0, 0 } }, TABLE_AT, .n_out = 9, .out_bytes = 9 },
	{ "indirect not negotiated", { { TABLE_AT, 16, I, 0 } }, { { A, 1, 0, 0 } }, TABLE_AT,
	  .no_indirect = true, .want = QRING_BAD_CHAIN },
	{ "indirect with next", { { TABLE_AT, 16, I | N, 1 }, { A, 1, 0, 0 } }, { { A, 1, 0, 0 } },
	  TABLE_AT, .want = QRING_BAD_CHAIN },
	{ "indirect in indirect", { { TABLE_AT, 16, I, 0 } }, { { TABLE_AT, 16, I, 0 } }, TABLE_AT,
	  .want = QRING_BAD_CHAIN },
	{ "indirect, no entry", { { TABLE_AT, 0, I, 0 } }, { { A, 1, 0, 0 } }, TABLE_AT,
	  .want = QRING_BAD_CHAIN },
	{ "indirect, a byte short", { { TABLE_AT, 15, I, 0 } }, { { A, 1, 0, 0 } }, TABLE_AT,
	  .want = QRING_BAD_CHAIN },
	{ "indirect, a byte long", { { TABLE_AT, 17, I, 0 } }, { { A, 1, 0, 0 } }, TABLE_AT,
	  .want = QRING_BAD_CHAIN },
	{ "indirect, more than any ring", { { A, 16 * (QRING_SIZE_MAX + 1), I, 0 } },
	  { { A, 1, 0, 0 } }, A, .want = QRING_BAD_CHAIN },
	{ "indirect in a hole", { { HOLE, 16, I, 0 } }, .want = QRING_BAD_ADDR },
	{ "indirect ends in a hole", { { B + A_BYTES - 16, 32, I, 0 } }, { { A, 1, 0, 0 } },
	  B + A_BYTES - 16, .want = QRING_BAD_ADDR },
	{ "indirect wraps", { { UINT64_MAX - 15, 32, I, 0 } }, .want = QRING_BAD_ADDR },
	{ "indirect over two regions", { { B - 16, 48, I, 0 } },
	  { { A, 1, N, 1 }, { A, 2, N, 2 }, { A, 4, 0, 0 } }, B - 16, .n_out = 3, .out_bytes = 7 },
	{ "indirect, an entry over two regions", { { B - 21, 48, I, 0 } },
	  { { A, 1, N, 1 }, { A, 2, N, 2 }, { A, 4, 0, 0 } }, B - 21, .n_out = 3, .out_bytes = 7 },
	{ "indirect at an odd address", { { TABLE_AT + 3, 32, I, 0 } },
	  { { A, 1, N, 1 }, { A, 2, 0, 0 } }, TABLE_AT + 3, .n_out = 2, .out_bytes = 3 },
	{ "indirect in rom", { { ROM, 16, I, 0 } }, { { A, 1, 0, 0 } }, ROM, .n_out = 1,
	  .out_bytes = 1 },
	{ "indirect, link outside", { { TABLE_AT, 32, I, 0 } }, { { A, 1, N, 2 }, { A, 1, 0, 0 } },
	  TABLE_AT, .want = QRING_BAD_INDEX },
	{ "indirect, loop", { { TABLE_AT, 32, I, 0 } }, { { A, 1, N, 1 }, { A, 1, N, 0 } },
	  TABLE_AT, .want = QRING_BAD_CHAIN },
	{ "indirect, loop, array as long as the table", { { TABLE_AT, 32, I, 0 } },
	  { { A, 1, N, 1 }, { A, 1, N, 0 } }, TABLE_AT, .max_iov = 2, .want = QRING_BAD_CHAIN },
	{ "indirect, zero length", { { TABLE_AT, 16, I, 0 } }, { { A, 0, 0, 0 } }, TABLE_AT,
	  .want = QRING_BAD_CHAIN },
	{ "indirect, hole inside", { { TABLE_AT, 32, I, 0 } },
	  { { A, 1, N, 1 }, { HOLE, 1, W, 0 } }, TABLE_AT, .want = QRING_BAD_ADDR },
	{ "readable in indirect after writable", { { A, 4, N | W, 1 }, { TABLE_AT, 16, I, 0 } },
	  { { A, 1, 0, 0 } }, TABLE_AT, .want = QRING_BAD_CHAIN },
};

START_TEST(chain_row)
{
	const struct chain_row *row = &chain_rows[_i];
	struct qring_chain c;
	struct iovec iov[17];
	unsigned max = row->max_iov ? row->max_iov : 16;

	open_ring(NUM, row->no_indirect ? 0 : QRING_INDIRECT, 0);
	put(DESC_AT, row->ring, NUM);
	if (row->table_at)
		put(row->table_at, row->table, row->table[0].flags & N ? 3 : 1);
	offer(0);
	iov[max].iov_len = 0x5a5a;
	enum qring_verdict v = qring_pop(&ring, iov, max, &c);
	ck_assert_msg(v == row->want, "%s: %s", row->what, qring_verdict_str(v));
	ck_assert_uint_eq(iov[max].iov_len, 0x5a5a);
	ck_assert_uint_eq(c.head, 0);
	ck_assert_uint_eq(c.n_out, row->n_out);
	ck_assert_uint_eq(c.n_in, row->n_in);
	ck_assert_uint_eq(c.out_bytes, row->out_bytes);
	ck_assert_uint_eq(c.in_bytes, row->in_bytes);
	check_chain(&c, iov);

	/* Whatever it was, it is consumed and may be given back; the next chain is none the
	 * worse. */
	ck_assert(!qring_pending(&ring));
	qring_push(&ring, c.head, 0);
	ck_assert(qring_publish(&ring));
	put(DESC_AT, (struct row_desc[]){ { A, 3, 0, 0 } }, 1);
	offer(0);
	ck_assert_int_eq(qring_pop(&ring, iov, 16, &c), QRING_OK);
	ck_assert_uint_eq(c.out_bytes, 3);
}
END_TEST

/* A stock driver puts more parts into an indirect table than the ring has entries. */
START_TEST(indirect_longer_than_ring)
{
	struct row_desc t[64];
	struct iovec iov[64];
	struct qring_chain c;

	open_ring(2, QRING_INDIRECT, 0);
	for (unsigned i = 0; i < 64; i++)
		t[i] = (struct row_desc){ A + i, 1, i < 63 ? N : 0, i + 1 };
	put(TABLE_AT, t, 64);
	put(DESC_AT, (struct row_desc[]){ { 0 }, { TABLE_AT, 64 * 16, I, 0 } }, 2);
	offer(1);
	ck_assert_int_eq(qring_pop(&ring, iov, 64, &c), QRING_OK);
	ck_assert_uint_eq(c.n_out, 64);
	ck_assert_uint_eq(c.head, 1);
	offer(1);
	ck_assert_int_eq(qring_pop(&ring, iov, 63, &c), QRING_TOO_MANY);
}
END_TEST

/* avail.idx and heads: @ahead entries more than @base, all with @head. */
static const struct {
	uint16_t base, ahead, head;
	enum qring_verdict want;
} avail_rows[] = {
	{ 0, 0, 0, QRING_EMPTY },
	{ 0, 1, 0, QRING_OK },
	{ 0, NUM, NUM - 1, QRING_OK },
	{ 0, NUM + 1, 0, QRING_BAD_AVAIL },
	{ 0, 0xffff, 0, QRING_BAD_AVAIL },
	{ 0, 0x8000, 0, QRING_BAD_AVAIL },
	{ 0, 1, NUM, QRING_BAD_AVAIL },
	{ 0, 1, 0xffff, QRING_BAD_AVAIL },
	{ 0xffff, 0, 0, QRING_EMPTY },
	{ 0xffff, 1, 0, QRING_OK },
	{ 0xffff, NUM, 0, QRING_OK },
	{ 0xffff, NUM + 1, 0, QRING_BAD_AVAIL },
	{ 0x8000, NUM, 0, QRING_OK },
	{ 5, 0xfffb, 0, QRING_BAD_AVAIL },	/* the driver starts at 0, we were told 5 */
};

START_TEST(avail_row)
{
	struct qring_chain c = { .head = 0xdead };
	struct iovec iov[4];
	enum qring_verdict want = avail_rows[_i].want;

	open_ring(NUM, 0, avail_rows[_i].base);
	for (unsigned i = 0; i < NUM; i++) {
		put(DESC_AT + 16 * i, (struct row_desc[]){ { A, 5, 0, 0 } }, 1);
		qring_store(&avail->w_ring[i], avail_rows[_i].head, memory_order_relaxed);
	}
	qring_store(&avail->w_idx, avail_rows[_i].base + avail_rows[_i].ahead,
		    memory_order_release);
	ck_assert_int_eq(qring_pending(&ring), avail_rows[_i].ahead != 0);
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), want);
	if (want != QRING_OK) {
		/* Nothing is consumed, nothing is told, and it stays so. */
		ck_assert_uint_eq(c.head, 0xdead);
		ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), want);
		ck_assert_int_eq(qring_chain_fault(want), false);
		return;
	}
	for (unsigned i = 1; i < avail_rows[_i].ahead; i++)
		ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_OK);
	ck_assert_uint_eq(c.head, avail_rows[_i].head);
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_EMPTY);
}
END_TEST

START_TEST(fetch_replays)
{
	struct qring_chain c = { .head = 0xdead };
	struct iovec iov[4];

	open_ring(NUM, 0, 0);
	put(DESC_AT + 16 * 3, (struct row_desc[]){ { A, 5, W, 0 }, { HOLE, 5, W, 0 } }, 2);
	ck_assert_int_eq(qring_fetch(&ring, NUM, iov, 4, &c), QRING_BAD_AVAIL);
	ck_assert_uint_eq(c.head, 0xdead);
	ck_assert_int_eq(qring_fetch(&ring, 3, iov, 4, &c), QRING_OK);
	ck_assert_uint_eq(c.head, 3);
	ck_assert_uint_eq(c.in_bytes, 5);
	ck_assert_int_eq(qring_fetch(&ring, 4, iov, 4, &c), QRING_BAD_ADDR);
	ck_assert_uint_eq(c.head, 4);
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_EMPTY);
}
END_TEST

static const struct {
	uint32_t num;
	uint64_t desc, avail, used;
	unsigned features;
	int want;
} init_rows[] = {
	{ 8, DESC_AT, AVAIL_AT, USED_AT, 0, 0 },
	{ 1, DESC_AT, AVAIL_AT, USED_AT, 0, 0 },
	{ 0, DESC_AT, AVAIL_AT, USED_AT, 0, -EINVAL },
	{ 3, DESC_AT, AVAIL_AT, USED_AT, 0, -EINVAL },
	{ 65536, DESC_AT, AVAIL_AT, USED_AT, 0, -EINVAL },
	{ 0x80000000u, DESC_AT, AVAIL_AT, USED_AT, 0, -EINVAL },
	{ 32768, DESC_AT, AVAIL_AT, USED_AT, 0, -EFAULT },
	{ 8, DESC_AT + 8, AVAIL_AT, USED_AT, 0, -EINVAL },
	{ 8, DESC_AT, AVAIL_AT + 1, USED_AT, 0, -EINVAL },
	{ 8, DESC_AT, AVAIL_AT, USED_AT + 2, 0, -EINVAL },
	{ 8, DESC_AT, AVAIL_AT + 2, USED_AT + 4, 0, 0 },
	{ 8, HOLE, AVAIL_AT, USED_AT, 0, -EFAULT },
	{ 8, DESC_AT, HOLE, USED_AT, 0, -EFAULT },
	{ 8, DESC_AT, AVAIL_AT, HOLE, 0, -EFAULT },
	{ 8, ROM, ROM + 0x1000, USED_AT, 0, 0 },
	{ 8, DESC_AT, AVAIL_AT, ROM, 0, -EFAULT },
	{ 8, B - 16, AVAIL_AT, USED_AT, 0, -EFAULT },		/* over two regions */
	{ 8, DESC_AT, B + A_BYTES - 20, USED_AT, 0, 0 },	/* the last bytes before a hole */
	{ 8, DESC_AT, B + A_BYTES - 20, USED_AT, QRING_EVENT_IDX, -EFAULT },
	{ 8, DESC_AT, AVAIL_AT, B + A_BYTES - 68, 0, 0 },
	{ 8, DESC_AT, AVAIL_AT, B + A_BYTES - 68, QRING_EVENT_IDX, -EFAULT },
	{ 8, UINT64_MAX - 15, AVAIL_AT, USED_AT, 0, -EFAULT },
	{ 8, DESC_AT, UINT64_MAX - 1, USED_AT, 0, -EFAULT },
};

START_TEST(init_row)
{
	struct qring_cfg cfg = {
		.num = init_rows[_i].num, .features = init_rows[_i].features, .base = 7,
		.desc = gpa(init_rows[_i].desc), .avail = gpa(init_rows[_i].avail),
		.used = gpa(init_rows[_i].used),
	};
	struct qring r = { .num = 99 };

	ck_assert_int_eq(qring_init(&r, mem, &cfg), init_rows[_i].want);
	ck_assert_uint_eq(r.num, init_rows[_i].want ? 99 : cfg.num);
	ck_assert_uint_eq(r.last_avail, init_rows[_i].want ? 0 : 7);
}
END_TEST

START_TEST(takeover_goes_on)
{
	qring_store(&used->w_idx, 0xfffe, memory_order_relaxed);
	open_ring(NUM, 0, 0xffff);
	for (unsigned i = 0; i < 3; i++)
		qring_push(&ring, i, 10 + i);
	ck_assert_uint_eq(qring_load(&used->w_idx, memory_order_relaxed), 0xfffe);
	ck_assert(qring_publish(&ring));
	ck_assert_uint_eq(qring_load(&used->w_idx, memory_order_relaxed), 1);
	ck_assert_uint_eq(le32toh(used->ring[6].w_id), 0);
	ck_assert_uint_eq(le32toh(used->ring[7].w_id), 1);
	ck_assert_uint_eq(le32toh(used->ring[0].w_id), 2);
	ck_assert_uint_eq(le32toh(used->ring[0].w_len), 12);
	ck_assert_msg(!qring_publish(&ring), "nothing new");
}
END_TEST

/* From used index @start: after @n more elements, is the driver that waits for @event
 * interrupted? */
static const struct {
	uint16_t start, event, n;
	bool want;
} event_rows[] = {
	{ 1, 1, 1, true },	    { 1, 2, 1, false },		  { 1, 2, 2, true },
	{ 1, 0, 1, false },	    { 1, 0, 8, false },		  { 1, 8, 7, false },
	{ 1, 8, 8, true },	    { 1, 0x8000, 8, false },	  { 0xffff, 0xffff, 1, true },
	{ 0xffff, 0, 1, false },    { 0xffff, 0, 2, true },	  { 0xffff, 0xfffe, 8, false },
	{ 0xfffe, 2, 4, false },    { 0xfffe, 2, 5, true },	  { 0, 0xffff, 8, false },
	{ 0, 0, 1, true },	    { 0x7fff, 0x8000, 1, false }, { 0x7fff, 0x8000, 2, true },
};

START_TEST(event_row)
{
	uint16_t start = event_rows[_i].start;

	qring_store(&used->w_idx, start - 1, memory_order_relaxed);
	open_ring(NUM, QRING_EVENT_IDX, 0);
	_Atomic uint16_t *event = qring_used_event(avail, NUM);
	qring_store(event, start + 0x4000, memory_order_relaxed);
	/* The first is always told: what was signalled before us is unknown. */
	qring_push(&ring, 0, 0);
	ck_assert(qring_publish(&ring));

	qring_store(event, event_rows[_i].event, memory_order_relaxed);
	for (unsigned i = 0; i < event_rows[_i].n; i++)
		qring_push(&ring, 0, 0);
	ck_assert_int_eq(qring_publish(&ring), event_rows[_i].want);
	ck_assert(!qring_publish(&ring));
}
END_TEST

START_TEST(flags_suppress)
{
	open_ring(NUM, 0, 0);
	qring_push(&ring, 0, 0);
	ck_assert(qring_publish(&ring));
	qring_store(&avail->w_flags, VRING_AVAIL_F_NO_INTERRUPT, memory_order_relaxed);
	qring_push(&ring, 0, 0);
	ck_assert(!qring_publish(&ring));
	qring_store(&avail->w_flags, 0xfffe, memory_order_relaxed);
	qring_push(&ring, 0, 0);
	ck_assert(qring_publish(&ring));

	qring_disarm(&ring);
	ck_assert_uint_eq(qring_load(&used->w_flags, memory_order_relaxed), VRING_USED_F_NO_NOTIFY);
	ck_assert(!qring_arm(&ring));
	ck_assert_uint_eq(qring_load(&used->w_flags, memory_order_relaxed), 0);
	offer(0);
	ck_assert(qring_arm(&ring));
}
END_TEST

START_TEST(arm_says_where)
{
	struct qring_chain c;
	struct iovec iov[4];

	open_ring(NUM, QRING_EVENT_IDX, 0xffff);
	qring_store(&avail->w_idx, 0xffff, memory_order_relaxed);
	put(DESC_AT, (struct row_desc[]){ { A, 5, 0, 0 } }, 1);
	ck_assert(!qring_arm(&ring));
	ck_assert_uint_eq(qring_load(qring_avail_event(used, NUM), memory_order_relaxed), 0xffff);
	offer(0);
	ck_assert_msg(qring_arm(&ring), "more came");
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_OK);
	ck_assert(!qring_arm(&ring));
	ck_assert_uint_eq(qring_load(qring_avail_event(used, NUM), memory_order_relaxed), 0);
	qring_disarm(&ring);
	ck_assert_uint_eq(qring_load(&used->w_flags, memory_order_relaxed), 0);
}
END_TEST

START_TEST(verdicts_have_names)
{
	for (int v = 0; v < QRING_VERDICTS; v++)
		ck_assert_int_gt(strlen(qring_verdict_str(v)), 1);
	ck_assert_str_eq(qring_verdict_str(QRING_VERDICTS), "?");
	ck_assert_str_eq(qring_verdict_str(-1), "?");
}
END_TEST

/* The hostile peer: another process that writes descriptors and both indices as fast as it can. */
static void scribble(void)
{
	static const struct row_desc d[] = {
		{ A, 64, N, 1 },	{ B - 8, 64, W, 0 },	   { HOLE, 8, 0, 0 },
		{ ROM, 8, W | N, 3 },	{ UINT64_MAX, 8, N, 2 },   { A, UINT32_MAX, 0, 0 },
		{ TABLE_AT, 128, I, 0 }, { B - 24, 48, I, 0 },	   { A, 1, N, 0xffff },
	};
	unsigned seed = 1;

	for (;;) {
		uint64_t at = seed & 1 ? TABLE_AT : DESC_AT;

		put(at + 16 * ((seed >> 8) % NUM), &d[(seed >> 16) % Q_ARRAY_LEN(d)], 1);
		qring_store(&used->w_idx, seed >> 4, memory_order_relaxed);
		seed = seed * 1103515245u + 12345u;
	}
}

static bool seen_all(const unsigned *seen)
{
	return seen[QRING_OK] && seen[QRING_BAD_INDEX] && seen[QRING_BAD_CHAIN] &&
	       seen[QRING_BAD_ADDR];
}

START_TEST(table_changes_while_read)
{
	struct qring_chain c;
	struct iovec iov[16];
	unsigned seen[QRING_VERDICTS] = { 0 };

	open_ring(NUM, QRING_INDIRECT, 0);
	pid_t pid = fork();
	expect(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		scribble();
	}
	/* Until it has done its worst in every way, which is at once when there is a second CPU. */
	uint64_t deadline = qnow_ns() + 20 * Q_NSEC_PER_SEC;
	unsigned n = 0;
	for (; n < 200000 || !seen_all(seen); n++) {
		offer(n % NUM);
		enum qring_verdict v = qring_pop(&ring, iov, 16, &c);

		seen[v]++;
		expect(v != QRING_EMPTY);
		expect(v != QRING_BAD_AVAIL);
		check_chain(&c, iov);
		qring_push(&ring, c.head, 0);
		qring_publish(&ring);
		expect(n % 1024 || qnow_ns() < deadline);
	}
	kill(pid, SIGKILL);
	expect(waitpid(pid, NULL, 0) == pid);
	expect(ring.used_idx == (uint16_t)n);
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
	TCase *tc = fixture_case(s, name);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("qring");
	TCase *tc = add_case(s, "chains");

	tcase_add_loop_test(tc, chain_row, 0, Q_ARRAY_LEN(chain_rows));
	tcase_add_test(tc, indirect_longer_than_ring);
	tcase_add_loop_test(tc, avail_row, 0, Q_ARRAY_LEN(avail_rows));
	tcase_add_test(tc, fetch_replays);
	tcase_add_test(tc, verdicts_have_names);
	tcase_add_test(tc, table_changes_while_read);
	tc = add_case(s, "life");
	tcase_add_loop_test(tc, init_row, 0, Q_ARRAY_LEN(init_rows));
	tcase_add_test(tc, takeover_goes_on);
	tc = add_case(s, "notification");
	tcase_add_loop_test(tc, event_row, 0, Q_ARRAY_LEN(event_rows));
	tcase_add_test(tc, flags_suppress);
	tcase_add_test(tc, arm_says_where);
	return fixture_main(s);
}
