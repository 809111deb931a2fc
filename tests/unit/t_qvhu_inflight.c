/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/qvhu_inflight.h: a process that dies between any two stores, and the next one's view of the
 * region. The test plays driver and device in one thread, knows what is true, and after every store
 * maps a copy of the region as the next process would.
 */
#include "lib/qvhu_inflight.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "lib/qfd.h"
#include "tests/unit/fixture.h"

#define NUM 8u
#define HEADER 16u
/* The specification's layout, restated: this is what other back ends read. */
#define OFF_VERSION 8u
#define OFF_DESC_NUM 10u
#define OFF_LAST 12u
#define OFF_USED 14u
#define OFF_ENTRY(head) (HEADER + 16u * (head))
#define OFF_NEXT(head) (OFF_ENTRY(head) + 6u)
#define OFF_COUNTER(head) (OFF_ENTRY(head) + 8u)
#define REGION_BYTES 192u	/* 16 + 8 * 16, up to a multiple of 64 */

/* What is true, and the region under test. */
struct model {
	struct qvhu_inflight in;
	int fd;
	uint8_t *bytes;			/* the region, as a file's mapping of our own */
	struct qvhu_inflight_region *region;
	struct qvhu_inflight_queue *q;
	uint16_t used_idx;		/* published */
	uint16_t taken_idx;		/* next of the avail ring */
	uint16_t out[NUM];		/* taken and not published, in order */
	unsigned n_out;
	bool busy[NUM];			/* with the device, as the driver sees it */
	unsigned n_checks;
};

static void model_map(struct model *m)
{
	const char *why;
	uint16_t base;

	ck_assert_int_eq(qvhu_inflight_map(&m->in, qfd_dup(m->fd), &why, &m->region), QVHU_OK);
	m->q = qvhu_inflight_of(m->region, 0);
	ck_assert_ptr_nonnull(m->q);
	ck_assert_int_eq(qvhu_inflight_begin(m->q, NUM, m->used_idx, m->taken_idx, &base),
			 QVHU_OK);
	ck_assert_uint_eq(base, m->taken_idx);
}

static void model_open(struct model *m, uint16_t idx)
{
	*m = (struct model){ .used_idx = idx, .taken_idx = idx };
	ck_assert_int_eq(qvhu_inflight_create(1, NUM, 0, &m->in, &m->fd), 0);
	ck_assert_uint_eq(m->in.mmap_len, REGION_BYTES);
	m->bytes = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	ck_assert_ptr_ne(m->bytes, MAP_FAILED);
	model_map(m);
}

static void model_close(struct model *m)
{
	qvhu_inflight_unmap(m->region);
	munmap(m->bytes, REGION_BYTES);
	qfd_close(&m->fd);
}

/* The next process maps @bytes: it must find exactly what is true, also when it dies and is
 * followed itself. */
static void check_bytes(struct model *m, const uint8_t *bytes)
{
	int fd = qfd_memfd("copy", REGION_BYTES);

	ck_assert_int_eq(pwrite(fd, bytes, REGION_BYTES, 0), REGION_BYTES);
	for (unsigned life = 0; life < 2; life++) {
		struct qvhu_inflight_region *r;
		const char *why;
		uint16_t base, heads[NUM];

		ck_assert_int_eq(qvhu_inflight_map(&m->in, qfd_dup(fd), &why, &r), QVHU_OK);
		struct qvhu_inflight_queue *q = qvhu_inflight_of(r, 0);
		ck_assert_int_eq(qvhu_inflight_begin(q, NUM, m->used_idx, 0xdead, &base), QVHU_OK);
		unsigned n = qvhu_inflight_recover(q, m->used_idx, heads, NUM);
		ck_assert_uint_eq(n, m->n_out);
		for (unsigned i = 0; i < n; i++)
			ck_assert_uint_eq(heads[i], m->out[i]);
		ck_assert_uint_eq(base, m->taken_idx);
		qvhu_inflight_unmap(r);
	}
	qfd_close(&fd);
	m->n_checks++;
}

static void check(struct model *m)
{
	check_bytes(m, m->bytes);
}

/* The same with only bytes [off, off + len) changed since @before: a step that was cut in the
 * middle. */
static void check_torn(struct model *m, const uint8_t *before, unsigned off, unsigned len)
{
	uint8_t torn[REGION_BYTES];

	memcpy(torn, before, REGION_BYTES);
	memcpy(torn + off, m->bytes + off, len);
	check_bytes(m, torn);
}

/* Pops one and takes it. Dead in the middle, it has not been taken: the avail ring still holds
 * it. */
static void model_take(struct model *m, uint16_t head)
{
	uint8_t before[REGION_BYTES];

	memcpy(before, m->bytes, REGION_BYTES);
	ck_assert(qvhu_inflight_take(m->q, head));
	check_torn(m, before, OFF_COUNTER(head), 8);
	m->busy[head] = true;
	m->out[m->n_out++] = head;
	m->taken_idx++;
	check(m);
	ck_assert(!qvhu_inflight_take(m->q, head));
}

/* Completes the heads at @at[0 .. n) of the list of those out, as one batch. */
static void model_complete(struct model *m, const unsigned *at, unsigned n)
{
	uint16_t batch[NUM], left[NUM];
	unsigned n_left = 0;
	uint8_t before[REGION_BYTES];

	for (unsigned i = 0; i < n; i++) {
		batch[i] = m->out[at[i]];
		memcpy(before, m->bytes, REGION_BYTES);
		qvhu_inflight_batch(m->q, batch[i]);
		check_torn(m, before, OFF_NEXT(batch[i]), 2);
		check(m);
	}
	/* Publish: this instant the driver owns them again, whatever the region says. */
	m->used_idx = (uint16_t)(m->used_idx + n);
	for (unsigned i = 0; i < m->n_out; i++) {
		bool done = false;
		for (unsigned j = 0; j < n; j++)
			done |= m->out[i] == batch[j];
		if (!done)
			left[n_left++] = m->out[i];
	}
	memcpy(m->out, left, sizeof(left));
	m->n_out = n_left;
	check(m);
	for (unsigned i = 0; i < n; i++) {
		qvhu_inflight_done(m->q, batch[i]);
		check(m);
		m->busy[batch[i]] = false;
	}
	qvhu_inflight_used(m->q, m->used_idx);
	check(m);
}

static void shuffle(unsigned *at, unsigned n, uint64_t *seed)
{
	for (unsigned i = 0; i < n; i++)
		at[i] = i;
	for (unsigned i = n; i > 1; i--) {
		unsigned j = (unsigned)(fixture_rand(seed) % i), t = at[i - 1];
		at[i - 1] = at[j];
		at[j] = t;
	}
}

/* The process dies here for good; its heir replays first, in any order. */
static void model_die(struct model *m)
{
	uint16_t heads[NUM];

	qvhu_inflight_unmap(m->region);
	model_map(m);
	ck_assert_uint_eq(qvhu_inflight_recover(m->q, m->used_idx, heads, NUM), m->n_out);
}

/* Dies in the middle of a batch that was published, which the heir finishes by recovering. */
static void model_die_publishing(struct model *m, uint64_t *seed)
{
	unsigned at[NUM], n = m->n_out ? 1 + (unsigned)(fixture_rand(seed) % m->n_out) : 0;
	uint16_t left[NUM];
	unsigned n_left = 0;
	bool done[NUM] = { false };

	shuffle(at, m->n_out, seed);
	for (unsigned i = 0; i < n; i++) {
		qvhu_inflight_batch(m->q, m->out[at[i]]);
		done[m->out[at[i]]] = true;
	}
	m->used_idx = (uint16_t)(m->used_idx + n);
	for (unsigned i = 0; i < m->n_out; i++) {
		if (done[m->out[i]])
			m->busy[m->out[i]] = false;
		else
			left[n_left++] = m->out[i];
	}
	memcpy(m->out, left, sizeof(left));
	m->n_out = n_left;
	model_die(m);
}

/* Chained, never published: the heir must still find them in flight. */
static void model_die_batching(struct model *m, uint64_t *seed)
{
	unsigned at[NUM], n = m->n_out;

	shuffle(at, n, seed);
	for (unsigned i = 0; i < n; i += 2)
		qvhu_inflight_batch(m->q, m->out[at[i]]);
	model_die(m);
}

START_TEST(dies_between_any_two_stores)
{
	static const uint16_t first_idx[] = { 0, 1, 0xfffe, 0x7fff };
	uint64_t seed = 0x9e3779b97f4a7c15ull + (uint64_t)_i;
	struct model m;

	model_open(&m, first_idx[_i % 4]);
	for (unsigned step = 0; step < 300; step++) {
		unsigned at[NUM], free_heads[NUM], n_free = 0;

		for (unsigned h = 0; h < NUM; h++)
			if (!m.busy[h])
				free_heads[n_free++] = h;
		switch (fixture_rand(&seed) % 8) {
		case 0:
			model_die(&m);
			break;
		case 1:
			model_die_publishing(&m, &seed);
			break;
		case 2:
			model_die_batching(&m, &seed);
			break;
		case 3:
		case 4:
			shuffle(at, m.n_out, &seed);
			if (m.n_out)
				model_complete(&m, at,
					       1 + (unsigned)(fixture_rand(&seed) % m.n_out));
			break;
		default:
			if (n_free)
				model_take(&m, (uint16_t)free_heads[fixture_rand(&seed) % n_free]);
		}
		check(&m);
	}
	ck_assert_uint_gt(m.n_checks, 300);
	model_close(&m);
}
END_TEST

/* The batch that was cut off crosses the end of the index; older links of the chain are none of
 * its. */
START_TEST(dies_at_the_wrap)
{
	static const unsigned first[] = { 0 }, all_but_last[] = { 0, 1, 2 };
	struct model m;

	model_open(&m, 0xfffd);
	model_take(&m, 5);
	model_complete(&m, first, 1);
	model_take(&m, 0);
	model_take(&m, 1);
	model_take(&m, 2);
	model_take(&m, 5);	/* in flight again, and still linked from its last time */
	model_complete(&m, all_but_last, 3);
	ck_assert_uint_eq(m.used_idx, 1);
	ck_assert_uint_eq(m.n_out, 1);
	model_close(&m);
}
END_TEST

/* A crash while a fresh region is formatted leaves one that is formatted again. */
START_TEST(dies_while_formatting)
{
	struct model m;
	uint8_t torn[REGION_BYTES] = { 0 };

	model_open(&m, 77);
	ck_assert_uint_eq(m.bytes[OFF_VERSION], 1);
	ck_assert_uint_eq(m.bytes[OFF_DESC_NUM], NUM);
	ck_assert_uint_eq(m.bytes[OFF_USED], 77);
	check(&m);
	memcpy(torn + OFF_DESC_NUM, m.bytes + OFF_DESC_NUM, 2);
	int fd = qfd_memfd("torn", REGION_BYTES);
	ck_assert_int_eq(pwrite(fd, torn, sizeof(torn), 0), sizeof(torn));
	struct qvhu_inflight_region *r;
	const char *why;
	uint16_t base, heads[1];
	ck_assert_int_eq(qvhu_inflight_map(&m.in, fd, &why, &r), QVHU_OK);
	struct qvhu_inflight_queue *q = qvhu_inflight_of(r, 0);
	ck_assert_int_eq(qvhu_inflight_begin(q, NUM, 77, 80, &base), QVHU_OK);
	ck_assert_uint_eq(base, 80);
	ck_assert_uint_eq(qvhu_inflight_recover(q, 77, heads, 1), 0);
	qvhu_inflight_unmap(r);
	model_close(&m);
}
END_TEST

/* Whatever stands in it: heads in range, each once, and no access outside (the sanitizers look). */
START_TEST(scribbled_region)
{
	uint64_t seed = 77 + (uint64_t)_i;
	struct model m;

	model_open(&m, 0);
	for (unsigned round = 0; round < 200; round++) {
		uint16_t heads[NUM], base, used = (uint16_t)fixture_rand(&seed);
		bool seen[NUM] = { false };

		for (unsigned i = OFF_LAST; i < REGION_BYTES; i++)
			m.bytes[i] = (uint8_t)(fixture_rand(&seed) >> 32);
		if (round % 2)	/* a chain that stays inside, and loops */
			for (unsigned h = 0; h < NUM; h++)
				m.bytes[OFF_NEXT(h)] %= NUM, m.bytes[OFF_NEXT(h) + 1] = 0;
		ck_assert_int_eq(qvhu_inflight_begin(m.q, NUM / 2, used, 0, &base), QVHU_OK);
		unsigned n = qvhu_inflight_recover(m.q, used, heads, NUM);
		ck_assert_uint_le(n, NUM / 2);
		ck_assert_uint_eq(base, (uint16_t)(used + n));
		for (unsigned i = 0; i < n; i++) {
			ck_assert_uint_lt(heads[i], NUM / 2);
			ck_assert(!seen[heads[i]]);
			seen[heads[i]] = true;
		}
		qvhu_inflight_batch(m.q, (uint16_t)fixture_rand(&seed));
		qvhu_inflight_done(m.q, (uint16_t)fixture_rand(&seed));
		qvhu_inflight_take(m.q, (uint16_t)fixture_rand(&seed));
	}
	model_close(&m);
}
END_TEST

START_TEST(queues_do_not_touch)
{
	struct qvhu_inflight in;
	struct qvhu_inflight_region *r;
	struct qvhu_inflight_queue *q;
	const char *why;
	int fd;
	uint16_t base, heads[4];

	ck_assert_int_eq(qvhu_inflight_create(3, 4, 100, &in, &fd), 0);
	ck_assert_uint_eq(in.mmap_len, 3 * 128 + 100);
	ck_assert_int_eq(qvhu_inflight_map(&in, fd, &why, &r), QVHU_OK);
	ck_assert_ptr_null(qvhu_inflight_extra(r, 101));
	ck_assert_ptr_null(qvhu_inflight_extra(NULL, 1));
	memset(qvhu_inflight_extra(r, 100), 0xff, 100);	/* the device's own */
	for (unsigned i = 0; i < 3; i++) {
		q = qvhu_inflight_of(r, i);
		ck_assert_int_eq(qvhu_inflight_begin(q, 4, 0, 0, &base), QVHU_OK);
		ck_assert_int_eq(qvhu_inflight_begin(q, 8, 0, 0, &base), QVHU_FAULT);
		ck_assert(qvhu_inflight_take(q, 3));
		for (unsigned h = 0; h < i; h++)
			ck_assert(qvhu_inflight_take(q, (uint16_t)h));
	}
	for (unsigned i = 0; i < 3; i++) {
		q = qvhu_inflight_of(r, i);
		ck_assert_uint_eq(qvhu_inflight_recover(q, 0, heads, 4), i + 1);
		ck_assert_uint_eq(heads[0], 3);
	}
	/* More than fit: the number is true, and what fits is the oldest. */
	ck_assert_uint_eq(qvhu_inflight_recover(qvhu_inflight_of(r, 2), 0, heads, 1), 3);
	ck_assert_ptr_null(qvhu_inflight_of(r, 3));
	ck_assert_ptr_null(qvhu_inflight_of(NULL, 0));
	ck_assert_ptr_null(qvhu_inflight_unmap(r));
}
END_TEST

/* A sealed file of huge pages can still be pulled from under us: its owner punches a hole. */
START_TEST(no_huge_pages)
{
	struct qvhu_inflight in = { .mmap_len = REGION_BYTES, .n_queues = 1, .queue_size = NUM };
	struct qvhu_inflight_region *region = NULL;
	const char *why = "";
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);

	if (fd < 0)
		return;	/* this kernel has none */
	ck_assert_int_eq(ftruncate(fd, 32 << 20), 0);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	ck_assert_int_eq(qvhu_inflight_map(&in, fd, &why, &region), QVHU_FAULT);
	ck_assert_str_eq(why, "in-flight file can shrink");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qvhu_inflight");
	TCase *tc = fixture_case(s, "region");

	tcase_add_loop_test(tc, dies_between_any_two_stores, 0, 8);
	tcase_add_test(tc, dies_at_the_wrap);
	tcase_add_test(tc, dies_while_formatting);
	tcase_add_loop_test(tc, scribbled_region, 0, 4);
	tcase_add_test(tc, queues_do_not_touch);
	tcase_add_test(tc, no_huge_pages);
	return fixture_main(s);
}
