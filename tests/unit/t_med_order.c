/* SPDX-License-Identifier: Apache-2.0 */
/* mediator/order.h: rows for single decisions, and what holds for any queue. */
#include "mediator/order.h"

#include "tests/unit/fixture.h"

#define RT(level)   (1u << 13 | (level))
#define BE(level)   (2u << 13 | (level))
#define IDLE	    (3u << 13)
#define REQS_MAX    300u

static void share_init(struct med_share *sh)
{
	*sh = (struct med_share){ .queued = 0 };
	sh->tail = &sh->head;
}

START_TEST(ranks)
{
	static const uint16_t better[] = {
		RT(0), RT(1), RT(7), BE(0), BE(3), 0, BE(5), BE(7), IDLE,
	};

	for (unsigned i = 0; i + 1 < Q_ARRAY_LEN(better); i++)
		ck_assert_uint_lt(order_rank(better[i]), order_rank(better[i + 1]));
	/* None at all is the middle of best-effort; what no guest can mean is as none. */
	ck_assert_uint_eq(order_rank(0), order_rank(BE(4)));
	ck_assert_uint_eq(order_rank(7u << 13), order_rank(0));
}
END_TEST

/* A queue as it came, one request after the other; and the order in which it stands. */
struct came {
	char name;
	uint16_t prio;
	enum qblk_op op;
	uint64_t sector, sectors;
	bool begun, promised;
};

static const struct {
	struct came came[6];
	const char *stands;
} rows[] = {
	{ { { 'a', BE(4), QBLK_READ, 0, 8 }, { 'b', 0, QBLK_READ, 8, 8 } }, "ab" },
	{ { { 'a', BE(4), QBLK_READ, 0, 8 }, { 'b', RT(0), QBLK_READ, 8, 8 } }, "ba" },
	{ { { 'a', RT(1), QBLK_READ, 0, 8 }, { 'b', RT(0), QBLK_READ, 8, 8 },
	    { 'c', RT(0), QBLK_READ, 16, 8 }, { 'd', IDLE, QBLK_READ, 24, 8 },
	    { 'e', BE(0), QBLK_READ, 32, 8 } }, "bcaed" },
	/* Reads of the same sectors may be exchanged, a write may not. */
	{ { { 'a', 0, QBLK_READ, 0, 8 }, { 'b', RT(0), QBLK_READ, 4, 8 } }, "ba" },
	{ { { 'a', 0, QBLK_WRITE, 0, 8 }, { 'b', RT(0), QBLK_READ, 7, 8 } }, "ab" },
	{ { { 'a', 0, QBLK_READ, 0, 8 }, { 'b', RT(0), QBLK_WRITE, 7, 8 } }, "ab" },
	{ { { 'a', 0, QBLK_WRITE, 0, 8 }, { 'b', RT(0), QBLK_READ, 8, 8 } }, "ba" },
	/* Behind what it overlaps, before what it does not. */
	{ { { 'a', 0, QBLK_WRITE, 0, 8 }, { 'b', 0, QBLK_WRITE, 100, 8 },
	    { 'c', RT(0), QBLK_WRITE, 0, 8 } }, "acb" },
	/* A flush covers what was before it, and nothing else: both sides stay. */
	{ { { 'a', 0, QBLK_WRITE, 0, 8 }, { 'f', 0, QBLK_FLUSH, 0, 0 },
	    { 'b', 0, QBLK_READ, 50, 8 }, { 'c', RT(0), QBLK_READ, 100, 8 } }, "afcb" },
	{ { { 'a', 0, QBLK_WRITE, 0, 8 }, { 'f', RT(0), QBLK_FLUSH, 0, 0 } }, "af" },
	{ { { 'd', 0, QBLK_DISCARD, 0, 8 }, { 'b', RT(0), QBLK_READ, 50, 8 } }, "db" },
	{ { { 'z', 0, QBLK_WRITE_ZEROES, 0, 8 }, { 'b', RT(0), QBLK_READ, 50, 8 } }, "zb" },
	/* What has begun, or is promised something, is not passed. */
	{ { { 'a', 0, QBLK_READ, 0, 8, .begun = true }, { 'b', 0, QBLK_READ, 8, 8 },
	    { 'c', RT(0), QBLK_READ, 16, 8 } }, "acb" },
	{ { { 'a', 0, QBLK_READ, 0, 8, .promised = true }, { 'b', RT(0), QBLK_READ, 8, 8 } },
	  "ab" },
};

static void put(struct med_share *sh, struct med_req *r, const struct came *c, bool by_rank)
{
	*r = (struct med_req){
		.share = sh,
		.op = c->op,
		.sector = c->sector,
		.len_bytes = c->sectors * Q_SECTOR_BYTES,
		.rank = order_rank(c->prio),
		.in_depth = c->promised,
		.seq = (uint64_t)c->name,
	};
	order_insert(sh, r, by_rank);
	r->given_ns = c->begun;
}

static void check_stands(const struct med_share *sh, const char *want)
{
	const struct med_req *r = sh->head;

	for (const char *w = want; *w; w++, r = r->next) {
		ck_assert_ptr_nonnull(r);
		ck_assert_msg(r->seq == (uint64_t)*w, "'%c' where '%c' is wanted", (char)r->seq,
			      *w);
	}
	ck_assert_ptr_null(r);
}

START_TEST(where_it_goes)
{
	struct med_req req[6];
	struct med_share sh;
	char came[7] = "";

	for (int by_rank = 0; by_rank < 2; by_rank++) {
		share_init(&sh);
		for (unsigned i = 0; i < 6 && rows[_i].came[i].name; i++) {
			put(&sh, &req[i], &rows[_i].came[i], by_rank);
			came[i] = rows[_i].came[i].name;
		}
		check_stands(&sh, by_rank ? rows[_i].stands : came);
	}
}
END_TEST

static struct med_req store[REQS_MAX];

static unsigned place_of(const struct med_share *sh, const struct med_req *wanted)
{
	unsigned n = 0;

	for (const struct med_req *r = sh->head; r && r != wanted; r = r->next)
		n++;
	return n;
}

/* However many better ones come, an idle request lets only so many pass. */
START_TEST(nobody_starves)
{
	const struct came idle = { 'i', IDLE, QBLK_READ, 0, 8, false, false };
	const struct came good = { 'r', RT(0), QBLK_READ, 100, 8, false, false };
	struct med_share sh;

	share_init(&sh);
	put(&sh, &store[0], &idle, true);
	for (unsigned i = 1; i < REQS_MAX; i++) {
		put(&sh, &store[i], &good, true);
		/* One is given meanwhile: the queue does not grow beyond the look. */
		if (sh.head != &store[0] && i % 2)
			sh.head = sh.head->next;
	}
	ck_assert_uint_eq(store[0].passed, ORDER_PASSED_MAX);
	ck_assert_uint_lt(place_of(&sh, &store[0]), ORDER_PASSED_MAX);
}
END_TEST

/* Whatever came: nothing passes what it must not, and all are there once. */
START_TEST(random_queues)
{
	uint64_t rng = 17 + (uint64_t)_i;
	struct med_share sh;

	share_init(&sh);
	for (unsigned i = 0; i < REQS_MAX; i++) {
		uint64_t d = fixture_rand(&rng);
		const struct came c = {
			.prio = (uint16_t)((d & 3) << 13 | (d >> 2 & 7)),
			.op = d >> 5 & 15 ? (d >> 9 & 1 ? QBLK_READ : QBLK_WRITE) : QBLK_FLUSH,
			.sector = d >> 16 & 63,
			.sectors = 1 + (d >> 32 & 7),
		};

		put(&sh, &store[i], &c, true);
		store[i].seq = i;
	}
	unsigned n = 0;
	for (const struct med_req *a = sh.head; a; a = a->next, n++)
		for (const struct med_req *b = a->next; b; b = b->next) {
			if (a->seq < b->seq)
				continue;
			/* a came later and stands before b. */
			ck_assert_uint_lt(a->rank, b->rank);
			ck_assert_uint_lt(a->op, QBLK_FLUSH);
			ck_assert_uint_lt(b->op, QBLK_FLUSH);
			ck_assert(a->op == QBLK_READ || b->op == QBLK_READ ||
				  !qspan_overlap(a->sector, a->len_bytes / Q_SECTOR_BYTES,
						 b->sector, b->len_bytes / Q_SECTOR_BYTES));
		}
	ck_assert_uint_eq(n, REQS_MAX);
	ck_assert_ptr_null(*sh.tail);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("med_order");
	TCase *tc = fixture_case(s, "order");

	tcase_add_test(tc, ranks);
	tcase_add_loop_test(tc, where_it_goes, 0, Q_ARRAY_LEN(rows));
	tcase_add_test(tc, nobody_starves);
	tcase_add_loop_test(tc, random_queues, 0, 20);
	return fixture_main(s);
}
