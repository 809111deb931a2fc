/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed ring, each side against a peer that writes raw memory: rows for every verdict and for
 * every order of places, laps and ids, notification arithmetic, and a peer that scribbles while we
 * read. The two sides against each other: t_qdriver.c and t_qring_race.c.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lib/qdriver.h"
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
#define DESC_AT 0x1000ull
#define DRV_AT 0x3000ull	/* what the driver asks for */
#define DEV_AT 0x3010ull	/* what the device asks for */
#define TABLE_AT 0x8000ull

#define NUM 6u			/* no power of 2 */
#define N VRING_DESC_F_NEXT
#define W VRING_DESC_F_WRITE
#define I VRING_DESC_F_INDIRECT
#define ENABLE VRING_PACKED_EVENT_FLAG_ENABLE
#define DISABLE VRING_PACKED_EVENT_FLAG_DISABLE
#define DESC VRING_PACKED_EVENT_FLAG_DESC

/* For what runs a million times: an assertion of Check's is a system call, passed or not. */
#define expect(cond) ((cond) ? (void)0 : ck_abort_msg("%s", #cond))

static struct qmem *mem;
static struct qring ring;
static struct qring_pdesc *desc;
static qring_pevent *drv_event, *dev_event;

struct row_desc {
	uint64_t addr;
	uint32_t len;
	unsigned flags;		/* without AVAIL and USED */
	unsigned id;
};

static void setup(void)
{
	mem = qmem_new();
	ck_assert_ptr_nonnull(mem);
	ck_assert_int_eq(qmem_add(mem, gpa(RAM), 0x10000, 0, "ram"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(B), A_BYTES, 0, "b"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(A), A_BYTES, 0, "a"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(ROM), 0x1000, QMEM_READONLY, "rom"), 0);
	ck_assert_int_eq(qmem_add(mem, gpa(EDGE), 0x1000, 0, "edge"), 0);
	desc = qmem_ptr(mem, gpa(DESC_AT), 4096, true);
	drv_event = qmem_ptr(mem, gpa(DRV_AT), 4, true);
	dev_event = qmem_ptr(mem, gpa(DEV_AT), 4, true);
}

static void teardown(void)
{
	qring_fini(&ring);
	qring_fini(&ring);
	mem = qmem_unref(mem);
}

static void open_ring(uint32_t num, unsigned features)
{
	struct qring_cfg cfg = {
		.num = num, .features = features | QRING_PACKED, .base = 77,
		.desc = gpa(DESC_AT), .avail = gpa(DRV_AT), .used = gpa(DEV_AT),
	};

	ck_assert_int_eq(qring_init(&ring, mem, &cfg), 0);
}

/* Writes @d at place @at, available in lap @wrap. */
static void offer(unsigned at, bool wrap, const struct row_desc *d)
{
	desc[at].w_addr = htole64(d->addr);
	desc[at].w_len = htole32(d->len);
	desc[at].w_id = htole16(d->id);
	qring_store(&desc[at].w_flags, d->flags | (wrap ? QRING_PDESC_AVAIL : QRING_PDESC_USED),
		    memory_order_release);
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
	uint64_t sum[2] = { 0, 0 };

	for (unsigned i = 0; i < c->n_out + c->n_in; i++) {
		expect(iov_is_guests(&iov[i], i >= c->n_out));
		sum[i >= c->n_out] += iov[i].iov_len;
	}
	expect(sum[0] == c->out_bytes);
	expect(sum[1] == c->in_bytes);
}

/* What stands in place @at of the ring: a used element of lap @wrap with this id and length. */
static bool is_used(unsigned at, bool wrap, unsigned id, uint32_t len)
{
	unsigned bits = QRING_PDESC_AVAIL | QRING_PDESC_USED;
	uint16_t flags = qring_load(&desc[at].w_flags, memory_order_acquire);

	return (flags & bits) == (wrap ? bits : 0) && le16toh(desc[at].w_id) == id &&
	       le32toh(desc[at].w_len) == len && !!(flags & W) == (len > 0);
}

/* One chain each: what stands in the ring from 0 on, what in an indirect table, what comes out, and
 * how many places it took (0 = it is no chain's fault, but the ring's). */
static const struct chain_row {
	const char *what;
	struct row_desc ring[NUM];
	struct row_desc table[NUM];
	uint64_t table_at;
	bool no_indirect;
	unsigned max_iov;	/* 0 = 16 */
	unsigned n_desc;
	enum qring_verdict want;
	unsigned n_out, n_in;
	uint64_t out_bytes, in_bytes;
} chain_rows[] = {
	{ "one readable", { { A, 7, 0, 3 } }, .n_desc = 1, .n_out = 1, .out_bytes = 7 },
	{ "one writable", { { A, 9, W, 3 } }, .n_desc = 1, .n_in = 1, .in_bytes = 9 },
	{ "an id that is no place", { { A, 7, 0, 0xfffe } }, .n_desc = 1, .n_out = 1,
	  .out_bytes = 7 },
	{ "header, data, status",
	  { { A, 16, N, 3 }, { A + 512, 512, N | W, 3 }, { A + 16, 1, W, 3 } },
	  .n_desc = 3, .n_out = 1, .n_in = 2, .out_bytes = 16, .in_bytes = 513 },
	{ "the id of the last counts", { { A, 1, N, 9 }, { A, 1, 0, 3 } }, .n_desc = 2, .n_out = 2,
	  .out_bytes = 2 },
	{ "unknown flags mean nothing", { { A, 7, 0x7f78, 3 } }, .n_desc = 1, .n_out = 1,
	  .out_bytes = 7 },
	{ "as long as the ring",
	  { { A, 1, N, 3 }, { A, 1, N, 3 }, { A, 1, N, 3 }, { A, 1, N, 3 }, { A, 1, N, 3 },
	    { A, 1, W, 3 } },
	  .n_desc = NUM, .n_out = 5, .n_in = 1, .out_bytes = 5, .in_bytes = 1 },
	{ "no end",
	  { { A, 1, N, 3 }, { A, 1, N, 3 }, { A, 1, N, 3 }, { A, 1, N, 3 }, { A, 1, N, 3 },
	    { A, 1, N, 3 } },
	  .want = QRING_BAD_AVAIL },
	{ "zero length", { { A, 0, 0, 3 } }, .n_desc = 1, .want = QRING_BAD_CHAIN },
	{ "zero length behind", { { A, 1, N, 3 }, { A, 0, W, 3 } }, .n_desc = 2,
	  .want = QRING_BAD_CHAIN },
	{ "fault first, end later", { { HOLE, 1, N, 3 }, { A, 0, N, 3 }, { A, 1, W, 3 } },
	  .n_desc = 3, .want = QRING_BAD_ADDR },
	{ "readable after writable", { { A, 1, N | W, 3 }, { A, 1, 0, 3 } }, .n_desc = 2,
	  .want = QRING_BAD_CHAIN },
	{ "hole", { { HOLE, 1, 0, 3 } }, .n_desc = 1, .want = QRING_BAD_ADDR },
	{ "one byte into a hole", { { B + A_BYTES - 1, 2, 0, 3 } }, .n_desc = 1,
	  .want = QRING_BAD_ADDR },
	{ "wraps to address 0", { { UINT64_MAX, 2, 0, 3 } }, .n_desc = 1, .want = QRING_BAD_ADDR },
	{ "longest length", { { A, UINT32_MAX, 0, 3 } }, .n_desc = 1, .want = QRING_BAD_ADDR },
	{ "two regions", { { B - 3, 8, W, 3 } }, .n_desc = 1, .n_in = 2, .in_bytes = 8 },
	{ "two regions, one part", { { B - 3, 8, 0, 3 } }, .max_iov = 1, .n_desc = 1,
	  .want = QRING_TOO_MANY },
	{ "array overfull", { { A, 1, N, 3 }, { A, 1, W, 3 } }, .max_iov = 1, .n_desc = 2,
	  .want = QRING_TOO_MANY },
	{ "rom is read", { { ROM, 16, 0, 3 } }, .n_desc = 1, .n_out = 1, .out_bytes = 16 },
	{ "rom is not written", { { ROM, 16, W, 3 } }, .n_desc = 1, .want = QRING_BAD_ADDR },

	{ "indirect", { { TABLE_AT, 48, I, 3 } },
	  { { A, 16, 0, 0 }, { A + 16, 1, W, 0 }, { B, 512, W, 0 } }, TABLE_AT,
	  .n_desc = 1, .n_out = 1, .n_in = 2, .out_bytes = 16, .in_bytes = 513 },
	{ "indirect, next means nothing there", { { TABLE_AT, 32, I, 3 } },
	  { { A, 16, N, 5 }, { A, 1, W | N, 0 } }, TABLE_AT,
	  .n_desc = 1, .n_out = 1, .n_in = 1, .out_bytes = 16, .in_bytes = 1 },
	{ "indirect behind direct", { { A, 4, N, 3 }, { TABLE_AT, 16, I, 3 } },
	  { { A, 1, W, 0 } }, TABLE_AT, .n_desc = 2, .n_out = 1, .n_in = 1, .out_bytes = 4,
	  .in_bytes = 1 },
	{ "indirect not negotiated", { { TABLE_AT, 16, I, 3 } }, { { A, 1, 0, 0 } }, TABLE_AT,
	  .no_indirect = true, .n_desc = 1, .want = QRING_BAD_CHAIN },
	{ "indirect with next", { { TABLE_AT, 16, I | N, 3 }, { A, 1, 0, 3 } },
	  { { A, 1, 0, 0 } }, TABLE_AT, .n_desc = 2, .want = QRING_BAD_CHAIN },
	{ "indirect in indirect", { { TABLE_AT, 16, I, 3 } }, { { TABLE_AT, 16, I, 0 } }, TABLE_AT,
	  .n_desc = 1, .want = QRING_BAD_CHAIN },
	{ "indirect, no entry", { { TABLE_AT, 0, I, 3 } }, .n_desc = 1, .want = QRING_BAD_CHAIN },
	{ "indirect, a byte long", { { TABLE_AT, 17, I, 3 } }, { { A, 1, 0, 0 } }, TABLE_AT,
	  .n_desc = 1, .want = QRING_BAD_CHAIN },
	{ "indirect, more than any ring", { { A, 16 * (QRING_SIZE_MAX + 1), I, 3 } }, .n_desc = 1,
	  .want = QRING_BAD_CHAIN },
	{ "indirect in a hole", { { HOLE, 16, I, 3 } }, .n_desc = 1, .want = QRING_BAD_ADDR },
	{ "indirect ends in a hole", { { B + A_BYTES - 16, 32, I, 3 } }, { { A, 1, 0, 0 } },
	  B + A_BYTES - 16, .n_desc = 1, .want = QRING_BAD_ADDR },
	{ "indirect wraps", { { UINT64_MAX - 15, 32, I, 3 } }, .n_desc = 1,
	  .want = QRING_BAD_ADDR },
	{ "indirect over two regions, odd", { { B - 21, 48, I, 3 } },
	  { { A, 1, 0, 0 }, { A, 2, 0, 0 }, { A, 4, 0, 0 } }, B - 21,
	  .n_desc = 1, .n_out = 3, .out_bytes = 7 },
	{ "indirect, zero length", { { TABLE_AT, 16, I, 3 } }, { { A, 0, 0, 0 } }, TABLE_AT,
	  .n_desc = 1, .want = QRING_BAD_CHAIN },
	{ "indirect, hole inside", { { TABLE_AT, 32, I, 3 } },
	  { { A, 1, 0, 0 }, { HOLE, 1, W, 0 } }, TABLE_AT, .n_desc = 1, .want = QRING_BAD_ADDR },
	{ "indirect, too many parts", { { TABLE_AT, 48, I, 3 } },
	  { { A, 1, 0, 0 }, { A, 1, 0, 0 }, { A, 1, 0, 0 } }, TABLE_AT, .max_iov = 2,
	  .n_desc = 1, .want = QRING_TOO_MANY },
};

static void put_table(uint64_t at, const struct row_desc *d)
{
	for (unsigned i = 0; i < NUM; i++) {
		struct qring_ptable_desc w = {
			.w_addr = htole64(d[i].addr), .w_len = htole32(d[i].len),
			.w_flags = htole16(d[i].flags), .w_id = htole16(d[i].id),
		};

		if (d[i].addr)
			ck_assert_int_eq(qmem_fill(mem, gpa(at + 16 * i), &w, sizeof(w)), 0);
	}
}

START_TEST(chain_row)
{
	const struct chain_row *row = &chain_rows[_i];
	struct qring_chain c = { .head = 0xdead };
	struct iovec iov[17];
	unsigned max = row->max_iov ? row->max_iov : 16, n_desc = 0;

	open_ring(NUM, row->no_indirect ? 0 : QRING_INDIRECT);
	for (unsigned i = NUM; i-- > 0;)
		if (row->ring[i].len || row->ring[i].addr)
			offer(i, true, &row->ring[i]);
	if (row->table_at)
		put_table(row->table_at, row->table);
	ck_assert(qring_pending(&ring));
	iov[max].iov_len = 0x5a5a;
	enum qring_verdict v = qring_pop(&ring, iov, max, &c);
	ck_assert_msg(v == row->want, "%s: %s", row->what, qring_verdict_str(v));
	ck_assert_uint_eq(iov[max].iov_len, 0x5a5a);
	if (!row->n_desc) {	/* the ring's fault: nothing consumed, nothing told, for ever */
		ck_assert_uint_eq(c.head, 0xdead);
		ck_assert_int_eq(qring_pop(&ring, iov, max, &c), v);
		return;
	}
	ck_assert_uint_lt(c.head, NUM);
	ck_assert_uint_eq(c.n_out, row->n_out);
	ck_assert_uint_eq(c.n_in, row->n_in);
	ck_assert_uint_eq(c.out_bytes, row->out_bytes);
	ck_assert_uint_eq(c.in_bytes, row->in_bytes);
	check_chain(&c, iov);
	n_desc = row->n_desc;
	ck_assert(!qring_pending(&ring));

	/* Whatever it was, it goes back under its id, and the next one, behind its places, is none
	 * the worse. */
	qring_push(&ring, c.head, 0);
	ck_assert(qring_publish(&ring));
	ck_assert(is_used(0, true, row->ring[n_desc - 1].id, 0));
	offer(n_desc % NUM, n_desc < NUM, &(struct row_desc){ A, 3, 0, 1 });
	ck_assert_int_eq(qring_pop(&ring, iov, 16, &c), QRING_OK);
	ck_assert_uint_eq(c.out_bytes, 3);
}
END_TEST

static const struct {
	uint32_t num;
	uint64_t desc, drv, dev;
	int want;
} init_rows[] = {
	{ 1, DESC_AT, DRV_AT, DEV_AT, 0 },
	{ 7, DESC_AT, DRV_AT, DEV_AT, 0 },
	{ 256, DESC_AT, DRV_AT, DEV_AT, 0 },
	{ 0, DESC_AT, DRV_AT, DEV_AT, -EINVAL },
	{ 32769, DESC_AT, DRV_AT, DEV_AT, -EINVAL },
	{ UINT32_MAX, DESC_AT, DRV_AT, DEV_AT, -EINVAL },
	{ 32768, DESC_AT, DRV_AT, DEV_AT, -EFAULT },
	{ 8, DESC_AT + 8, DRV_AT, DEV_AT, -EINVAL },
	{ 8, DESC_AT, DRV_AT + 2, DEV_AT, -EINVAL },
	{ 8, DESC_AT, DRV_AT, DEV_AT + 1, -EINVAL },
	{ 8, HOLE, DRV_AT, DEV_AT, -EFAULT },
	{ 8, DESC_AT, HOLE, DEV_AT, -EFAULT },
	{ 8, DESC_AT, DRV_AT, HOLE, -EFAULT },
	{ 8, ROM, DRV_AT, DEV_AT, -EFAULT },	/* used elements stand where the others do */
	{ 8, DESC_AT, ROM, DEV_AT, 0 },
	{ 8, DESC_AT, DRV_AT, ROM, -EFAULT },
	{ 8, B - 16, DRV_AT, DEV_AT, -EFAULT },
	{ 8, B + A_BYTES - 128, DRV_AT, DEV_AT, 0 },
	{ 8, B + A_BYTES - 112, DRV_AT, DEV_AT, -EFAULT },
	{ 8, UINT64_MAX - 15, DRV_AT, DEV_AT, -EFAULT },
	{ 8, DESC_AT, UINT64_MAX - 3, DEV_AT, -EFAULT },
};
START_TEST(init_row)
{
	struct qring_cfg cfg = {
		.num = init_rows[_i].num, .features = QRING_PACKED,
		.desc = gpa(init_rows[_i].desc), .avail = gpa(init_rows[_i].drv),
		.used = gpa(init_rows[_i].dev),
	};
	struct qring r = { .num = 99 };

	ck_assert_int_eq(qring_init(&r, mem, &cfg), init_rows[_i].want);
	ck_assert_uint_eq(r.num, init_rows[_i].want ? 99 : cfg.num);
	qring_fini(&r);
}
END_TEST

/* Flags that the first place may hold in the first lap: available in one way only. */
static const struct { unsigned flags; bool want; } lap_rows[] = {
	{ QRING_PDESC_AVAIL, true },
	{ QRING_PDESC_USED, false },
	{ QRING_PDESC_AVAIL | QRING_PDESC_USED, false },
	{ 0, false },
	{ W | N | I, false },
};
START_TEST(lap_row)
{
	const struct row_desc d = { A, 7, W, 5 };
	struct qring_chain c;
	struct iovec iov[4];

	open_ring(1, 0);
	offer(0, true, &d);
	qring_store(&desc[0].w_flags, lap_rows[_i].flags, memory_order_release);
	ck_assert_int_eq(qring_pending(&ring), lap_rows[_i].want);
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &c),
			 lap_rows[_i].want ? QRING_OK : QRING_EMPTY);
	/* A ring of one: every chain is another lap, and the place is not available twice. */
	for (unsigned lap = 1; lap_rows[_i].want && lap < 9; lap++) {
		ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_EMPTY);
		qring_push(&ring, c.head, 7);
		ck_assert(!is_used(0, lap % 2, 5, 7));
		ck_assert(qring_publish(&ring));
		ck_assert(is_used(0, lap % 2, 5, 7));
		ck_assert(!qring_pending(&ring));
		offer(0, lap % 2 == 0, &d);
		ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_OK);
	}
}
END_TEST

/* Out of order: what is done first stands first, whatever place it came from, and a place whose
 * chain is still out may be filled again. Chains a (1 place), b (2), c (1) of 6. */
START_TEST(out_of_order)
{
	struct qring_chain a, b, c, d, e;
	struct iovec iov[4];

	open_ring(4, 0);
	offer(3, true, &(struct row_desc){ A, 1, 0, 12 });
	offer(2, true, &(struct row_desc){ A, 1, 0, 11 });
	offer(1, true, &(struct row_desc){ A, 1, N, 11 });
	offer(0, true, &(struct row_desc){ A, 1, 0, 10 });
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &a), QRING_OK);
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &b), QRING_OK);
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_OK);
	ck_assert_uint_eq(b.n_out, 2);
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &d), QRING_EMPTY);

	qring_push(&ring, c.head, 0);
	qring_push(&ring, b.head, 0);
	ck_assert_msg(!is_used(0, true, 12, 0), "before it is published");
	qring_publish(&ring);
	ck_assert(is_used(0, true, 12, 0));
	ck_assert(is_used(1, true, 11, 0));
	/* Two places are free in lap 2, one is a's, which stood at 0: two chains go there. */
	offer(0, false, &(struct row_desc){ A, 1, 0, 13 });
	offer(1, false, &(struct row_desc){ A, 1, 0, 14 });
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &d), QRING_OK);
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &e), QRING_OK);
	ck_assert_uint_ne(d.head, a.head);
	ck_assert_uint_ne(e.head, a.head);
	qring_push(&ring, e.head, 0);
	qring_push(&ring, a.head, 0);
	qring_push(&ring, d.head, 0);
	qring_publish(&ring);
	ck_assert(is_used(3, true, 14, 0));
	ck_assert(is_used(0, false, 10, 0));
	ck_assert(is_used(1, false, 13, 0));
}
END_TEST

/* A driver that makes more available than there are places: none of ours is lost. */
START_TEST(overrun)
{
	struct qring_chain c, first;
	struct iovec iov[4];

	open_ring(4, 0);
	for (unsigned i = 0; i < 4; i++)
		offer(i, true, &(struct row_desc){ A, 1, i == 1 ? N : 0, i });
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &first), QRING_OK);
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_OK);
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_OK);
	offer(0, false, &(struct row_desc){ A, 1, 0, 9 });
	ck_assert(qring_pending(&ring));
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_BAD_AVAIL);
	/* One place is free: a chain of two is too long for it. */
	qring_push(&ring, first.head, 0);
	qring_publish(&ring);
	offer(0, false, &(struct row_desc){ A, 1, N, 9 });
	offer(1, false, &(struct row_desc){ A, 1, 0, 9 });
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_BAD_AVAIL);
	ck_assert_int_eq(qring_fetch(&ring, 0, iov, 4, &c), QRING_BAD_AVAIL);
}
END_TEST

/* Ring of 8. At place @at of the lap @lap, @n chains are given back in one go: is the driver that
 * asked for @word interrupted? */
#define WORD(flags, off, wrap) ((uint32_t)(flags) << 16 | (wrap) << 15 | (off))
static const struct {
	unsigned before, n;	/* chains since the start: before % 8 is the place */
	uint32_t word;
	bool no_event_idx, want;
} event_rows[] = {
	{ 0, 1, WORD(ENABLE, 0, 0), false, true },
	{ 0, 1, WORD(DISABLE, 0, 1), false, false },
	{ 0, 1, WORD(3, 0, 1), false, true },		/* reserved */
	{ 0, 1, WORD(DESC, 5, 1), true, true },		/* not negotiated */
	{ 0, 1, WORD(DESC, 0, 1), false, true },
	{ 0, 1, WORD(DESC, 1, 1), false, false },
	{ 0, 2, WORD(DESC, 1, 1), false, true },
	{ 0, 8, WORD(DESC, 7, 1), false, true },
	{ 0, 7, WORD(DESC, 7, 1), false, false },
	{ 0, 8, WORD(DESC, 0, 0), false, false },	/* the next lap's first */
	{ 7, 1, WORD(DESC, 7, 1), false, true },
	{ 7, 1, WORD(DESC, 0, 0), false, false },
	{ 7, 2, WORD(DESC, 0, 0), false, true },
	{ 7, 2, WORD(DESC, 7, 1), false, true },
	{ 7, 2, WORD(DESC, 6, 1), false, false },
	{ 8, 1, WORD(DESC, 0, 0), false, true },
	{ 8, 1, WORD(DESC, 0, 1), false, false },	/* two laps from now */
	{ 8, 4, WORD(DESC, 2, 0), false, true },
	{ 15, 3, WORD(DESC, 1, 1), false, true },
	{ 15, 3, WORD(DESC, 2, 1), false, false },
	{ 12, 8, WORD(DESC, 4, 0), false, true },
	{ 12, 8, WORD(DESC, 3, 1), false, true },
	{ 12, 8, WORD(DESC, 4, 1), false, false },
	{ 0, 1, WORD(DESC, 0x7fff, 1), false, false },	/* no place at all: the driver's loss */
};

static void give_back(unsigned n, unsigned *count)
{
	struct qring_chain c;
	struct iovec iov[1];

	for (unsigned i = 0; i < n; i++, ++*count) {
		offer(*count % 8, *count / 8 % 2 == 0, &(struct row_desc){ A, 1, 0, 1 });
		ck_assert_int_eq(qring_pop(&ring, iov, 1, &c), QRING_OK);
		qring_push(&ring, c.head, 0);
	}
}

START_TEST(event_row)
{
	unsigned count = 0;

	open_ring(8, event_rows[_i].no_event_idx ? 0 : QRING_EVENT_IDX);
	for (unsigned i = 0; i < event_rows[_i].before; i++) {
		give_back(1, &count);
		qring_publish(&ring);
	}
	atomic_store(drv_event, htole32(event_rows[_i].word));
	give_back(event_rows[_i].n, &count);
	ck_assert_int_eq(qring_publish(&ring), event_rows[_i].want);
	ck_assert(!qring_publish(&ring));
}
END_TEST

START_TEST(arm_says_where)
{
	struct qring_chain c;
	struct iovec iov[4];

	open_ring(1, _i ? QRING_EVENT_IDX : 0);
	qring_disarm(&ring);
	ck_assert_uint_eq(le32toh(atomic_load(dev_event)), WORD(DISABLE, 0, 0));
	ck_assert(!qring_arm(&ring));
	ck_assert_uint_eq(le32toh(atomic_load(dev_event)), _i ? WORD(DESC, 0, 1) : 0);
	offer(0, true, &(struct row_desc){ A, 5, 0, 0 });
	ck_assert_msg(qring_arm(&ring), "more came");
	ck_assert_int_eq(qring_pop(&ring, iov, 4, &c), QRING_OK);
	ck_assert(!qring_arm(&ring));
	ck_assert_uint_eq(le32toh(atomic_load(dev_event)), _i ? WORD(DESC, 0, 0) : 0);
}
END_TEST

/* ---- the driver's side against a device that lies ---- */

/* Ring of 4: id 0 takes 10 bytes and 2 places, id 1 none and 1; id 2 is added and not published.
 * The device writes this at the first place. */
static const struct {
	unsigned bits, id;
	uint32_t len;
	enum qdriver_verdict want;
} used_rows[] = {
	{ QRING_PDESC_AVAIL | QRING_PDESC_USED, 0, 10, QDRIVER_OK },
	{ QRING_PDESC_AVAIL | QRING_PDESC_USED, 0, 0, QDRIVER_OK },
	{ QRING_PDESC_AVAIL | QRING_PDESC_USED, 1, 0, QDRIVER_OK },
	{ QRING_PDESC_AVAIL | QRING_PDESC_USED, 0, 11, QDRIVER_BAD_USED },
	{ QRING_PDESC_AVAIL | QRING_PDESC_USED, 1, 1, QDRIVER_BAD_USED },
	{ QRING_PDESC_AVAIL | QRING_PDESC_USED, 0, UINT32_MAX, QDRIVER_BAD_USED },
	{ QRING_PDESC_AVAIL | QRING_PDESC_USED, 3, 0, QDRIVER_BAD_USED },
	{ QRING_PDESC_AVAIL | QRING_PDESC_USED, 4, 0, QDRIVER_BAD_USED },
	{ QRING_PDESC_AVAIL | QRING_PDESC_USED, 0xffff, 0, QDRIVER_BAD_USED },
	{ 0, 0, 0, QDRIVER_EMPTY },
	{ QRING_PDESC_AVAIL, 0, 0, QDRIVER_EMPTY },
	{ QRING_PDESC_USED, 0, 0, QDRIVER_EMPTY },
};
START_TEST(used_row)
{
	const struct qdriver_buf b[] = { { gpa(A), 10, true }, { gpa(A), 10, false } };
	struct qdriver d;
	uint32_t written = 77;
	void *token = &written;

	ck_assert_int_eq(qdriver_init(&d, mem, gpa(0), 4, QRING_PACKED, gpa(0), 0), 0);
	struct qring_pdesc *r = d.desc;
	ck_assert_int_eq(qdriver_poll(&d, &token, &written), QDRIVER_EMPTY);
	ck_assert_int_eq(qdriver_add(&d, &b[0], 2, &mem), QDRIVER_OK);
	ck_assert_int_eq(qdriver_add(&d, &b[1], 1, &ring), QDRIVER_OK);
	ck_assert_uint_eq(qring_load(&r[0].w_flags, memory_order_acquire), 0);
	ck_assert(qdriver_publish(&d));
	ck_assert_uint_eq(qring_load(&r[0].w_flags, memory_order_acquire),
			  QRING_PDESC_AVAIL | N | W);
	ck_assert_int_eq(qdriver_add(&d, &b[1], 1, &desc), QDRIVER_OK);
	r[0].w_id = htole16(used_rows[_i].id);
	r[0].w_len = htole32(used_rows[_i].len);
	qring_store(&r[0].w_flags, used_rows[_i].bits, memory_order_release);

	ck_assert_int_eq(qdriver_poll(&d, &token, &written), used_rows[_i].want);
	if (used_rows[_i].want == QDRIVER_OK) {
		unsigned next = used_rows[_i].id ? 1 : 2;

		ck_assert_ptr_eq(token, used_rows[_i].id ? (void *)&ring : (void *)&mem);
		ck_assert_uint_eq(written, used_rows[_i].len);
		ck_assert_uint_eq(qdriver_outstanding(&d), 2);
		ck_assert_int_eq(qdriver_poll(&d, &token, &written), QDRIVER_EMPTY);
		/* A second time it is not out any more. */
		r[next].w_id = htole16(used_rows[_i].id);
		r[next].w_len = 0;
		qring_store(&r[next].w_flags, QRING_PDESC_AVAIL | QRING_PDESC_USED,
			    memory_order_release);
		ck_assert_int_eq(qdriver_poll(&d, &token, &written), QDRIVER_BAD_USED);
	} else {
		ck_assert_ptr_eq(token, &written);
		ck_assert_uint_eq(written, 77);
	}
	qdriver_fini(&d);
}
END_TEST

/* ---- a peer that writes while we read ---- */

/* Another process that writes descriptors, flags of both laps included, as fast as it can. */
static void scribble(void)
{
	static const struct row_desc d[] = {
		{ A, 64, N, 1 },	 { B - 8, 64, W, 0 },	  { HOLE, 8, 0, 0xffff },
		{ ROM, 8, W | N, 3 },	 { UINT64_MAX, 8, N, 2 }, { A, UINT32_MAX, 0, 0 },
		{ TABLE_AT, 128, I, 0 }, { B - 24, 48, I, 0 },	  { A, 1, N, 0xffff },
	};
	unsigned seed = 1;

	for (;;) {
		const struct row_desc *one = &d[(seed >> 16) % Q_ARRAY_LEN(d)];

		if (seed & 64)
			offer((seed >> 8) % NUM, seed >> 12 & 1, one);
		else
			put_table(TABLE_AT + 16 * ((seed >> 8) % 8),
				  (struct row_desc[NUM]){ *one });
		seed = seed * 1103515245u + 12345u;
	}
}

static bool seen_all(const unsigned *seen)
{
	return seen[QRING_OK] && seen[QRING_BAD_AVAIL] && seen[QRING_BAD_CHAIN] &&
	       seen[QRING_BAD_ADDR];
}

START_TEST(ring_changes_while_read)
{
	struct qring_chain c;
	struct iovec iov[16];
	unsigned seen[QRING_VERDICTS] = { 0 }, n = 0;

	open_ring(NUM, QRING_INDIRECT);
	pid_t pid = fork();
	expect(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		scribble();
	}
	/* Until it has done its worst in every way, which is at once when there is a second CPU. */
	uint64_t deadline = qnow_ns() + 20 * Q_NSEC_PER_SEC;
	for (; n < 200000 || !seen_all(seen); n++) {
		enum qring_verdict v = qring_pop(&ring, iov, 16, &c);

		seen[v]++;
		expect(v != QRING_BAD_INDEX);
		if (v == QRING_OK || qring_chain_fault(v)) {
			check_chain(&c, iov);
			qring_push(&ring, c.head, 0);
			qring_publish(&ring);
		} else if (v == QRING_BAD_AVAIL) {	/* the device is reset */
			qring_fini(&ring);
			open_ring(NUM, QRING_INDIRECT);
		}
		expect(n % 1024 || qnow_ns() < deadline);
	}
	kill(pid, SIGKILL);
	expect(waitpid(pid, NULL, 0) == pid);
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
	Suite *s = suite_create("qring_packed");
	TCase *tc = add_case(s, "device");

	tcase_add_loop_test(tc, chain_row, 0, Q_ARRAY_LEN(chain_rows));
	tcase_add_loop_test(tc, init_row, 0, Q_ARRAY_LEN(init_rows));
	tcase_add_loop_test(tc, lap_row, 0, Q_ARRAY_LEN(lap_rows));
	tcase_add_test(tc, out_of_order);
	tcase_add_test(tc, overrun);
	tcase_add_test(tc, ring_changes_while_read);
	tc = add_case(s, "notification");
	tcase_add_loop_test(tc, event_row, 0, Q_ARRAY_LEN(event_rows));
	tcase_add_loop_test(tc, arm_says_where, 0, 2);
	tc = add_case(s, "driver");
	tcase_add_loop_test(tc, used_row, 0, Q_ARRAY_LEN(used_rows));
	return fixture_main(s);
}
