/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qhist.h: the buckets' edges, the error bound, quantiles of sorted values, merge, diff. */
#include "lib/qhist.h"

#include <pthread.h>

#include "tests/unit/fixture.h"

#define LAST (QHIST_BUCKETS - 1)

START_TEST(buckets_tile_the_line)
{
	uint64_t bottom = 0;

	for (unsigned b = 0; b < LAST; b++) {
		uint64_t top = qhist_bucket_top(b);

		ck_assert_uint_ge(top, bottom);
		ck_assert_uint_eq(qhist_bucket_of(bottom), b);
		ck_assert_uint_eq(qhist_bucket_of(top), b);
		bottom = top + 1;
	}
	ck_assert_uint_eq(qhist_bucket_of(bottom), LAST);
	ck_assert_uint_eq(qhist_bucket_top(LAST), UINT64_MAX);
	ck_assert_uint_lt(bottom, 1ull << 40);
}
END_TEST

static const struct {
	uint64_t ns;
	unsigned bucket;
} bucket_rows[] = {
	{ 0, 0 }, { 1, 1 }, { 31, 31 }, { 32, 32 }, { 63, 63 },	/* a nanosecond each */
	{ 64, 64 }, { 65, 64 }, { 66, 65 }, { 127, 95 }, { 128, 96 },
	{ (1ull << 40) - 1, LAST }, { 1ull << 40, LAST }, { 1ull << 41, LAST },
	{ UINT64_MAX, LAST },
};

START_TEST(bucket_row)
{
	ck_assert_uint_eq(qhist_bucket_of(bucket_rows[_i].ns), bucket_rows[_i].bucket);
}
END_TEST

/* Values of every magnitude, not mostly huge ones. */
static uint64_t some_ns(uint64_t *seed, unsigned bits)
{
	uint64_t r = fixture_rand(seed);

	return (r >> 6) >> (58 - 1 - (r & 63) % bits);
}

START_TEST(error_bound)
{
	uint64_t seed = 7;
	double worst = 0;

	for (int i = 0; i < 1000000; i++) {
		uint64_t v = some_ns(&seed, 40) & ((1ull << 39) - 1);
		uint64_t top = qhist_bucket_top(qhist_bucket_of(v));

		ck_assert_uint_ge(top, v);
		if (v > 0)
			worst = Q_MAX(worst, (double)(top - v) / (double)v);
	}
	ck_assert_double_le(worst, 0.032);
	ck_assert_double_gt(worst, 0.025);	/* else the values tried were no test */
}
END_TEST

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static const struct {
	size_t n;
	unsigned bits;
} quantile_rows[] = { { 1, 20 }, { 2, 20 }, { 10, 4 }, { 999, 30 }, { 1000, 40 }, { 50000, 24 } };

START_TEST(quantiles_are_upper_bounds_within_the_error)
{
	static const unsigned permilles[] = { 0, 1, 10, 500, 900, 990, 999, 1000, 4000 };
	static uint64_t v[50000];
	static struct qhist h;
	uint64_t seed = 11 + (uint64_t)_i, sum = 0;
	size_t n = quantile_rows[_i].n;

	qhist_reset(&h);
	for (size_t i = 0; i < n; i++) {
		v[i] = some_ns(&seed, quantile_rows[_i].bits);
		sum += v[i];
		qhist_add(&h, v[i]);
	}
	qsort(v, n, sizeof(v[0]), by_value);
	ck_assert_uint_eq(h.n, n);
	ck_assert_uint_eq(h.sum_ns, sum);
	ck_assert_uint_eq(h.min_ns, v[0]);
	ck_assert_uint_eq(h.max_ns, v[n - 1]);
	for (size_t i = 0; i < Q_ARRAY_LEN(permilles); i++) {
		unsigned p = Q_MIN(permilles[i], 1000u);
		size_t rank = (n * p + 999) / 1000;
		uint64_t real = v[rank ? rank - 1 : 0];
		uint64_t got = qhist_quantile(&h, permilles[i]);

		ck_assert_uint_ge(got, real);
		ck_assert_uint_le(got, real + real * 32 / 1000);
	}
	ck_assert_uint_eq(qhist_quantile(&h, 1000), v[n - 1]);	/* exact */
}
END_TEST

START_TEST(empty)
{
	struct qhist h;

	qhist_reset(&h);
	ck_assert_uint_eq(h.n, 0);
	ck_assert_uint_eq(h.max_ns, 0);
	ck_assert_uint_eq(h.min_ns, UINT64_MAX);
	ck_assert_uint_eq(qhist_quantile(&h, 500), 0);
	ck_assert_uint_eq(qhist_quantile(&h, 1000), 0);
}
END_TEST

START_TEST(the_rest_is_in_the_last_bucket)
{
	struct qhist h;

	qhist_reset(&h);
	qhist_add(&h, 1ull << 50);
	qhist_add(&h, 1);
	ck_assert_uint_eq(h.bucket[LAST], 1);
	ck_assert_uint_eq(qhist_quantile(&h, 500), 1);
	ck_assert_uint_eq(qhist_quantile(&h, 501), 1ull << 50);	/* never above max */
}
END_TEST

START_TEST(counts_beyond_32_bits)
{
	struct qhist h;

	qhist_reset(&h);
	qhist_add(&h, 1000);
	h.n = h.bucket[qhist_bucket_of(1000)] = 6ull << 32;
	for (int i = 0; i < 10; i++)
		qhist_add(&h, 50000);
	ck_assert_uint_eq(qhist_quantile(&h, 500), qhist_bucket_top(qhist_bucket_of(1000)));
	ck_assert_uint_eq(qhist_quantile(&h, 1000), 50000);
}
END_TEST

START_TEST(merge_is_adding_to_one)
{
	struct qhist a, b, both;
	uint64_t seed = 3;

	qhist_reset(&a);
	qhist_reset(&b);
	qhist_reset(&both);
	qhist_merge(&a, &b);	/* two empty ones are an empty one */
	ck_assert_mem_eq(&a, &b, sizeof(a));
	for (int i = 0; i < 5000; i++) {
		uint64_t v = some_ns(&seed, 45);

		qhist_add(i % 3 ? &a : &b, v);
		qhist_add(&both, v);
	}
	qhist_merge(&a, &b);
	ck_assert_mem_eq(&a, &both, sizeof(a));
}
END_TEST

START_TEST(diff_is_what_came_between)
{
	struct qhist h, before, between, d;
	uint64_t seed = 5;

	qhist_reset(&h);
	qhist_reset(&before);
	qhist_reset(&between);
	qhist_add(&h, 3);	/* the least and the most of all come first */
	qhist_add(&h, 1ull << 38);
	for (int i = 0; i < 1000; i++)
		qhist_add(&h, some_ns(&seed, 30));
	qhist_merge(&before, &h);
	for (int i = 0; i < 1000; i++) {
		uint64_t v = 1000 + some_ns(&seed, 20);

		qhist_add(&h, v);
		qhist_add(&between, v);
	}
	qhist_diff(&d, &h, &before);
	ck_assert_uint_eq(d.n, 1000);
	ck_assert_uint_eq(d.sum_ns, between.sum_ns);
	ck_assert_mem_eq(d.bucket, between.bucket, sizeof(d.bucket));
	ck_assert_uint_eq(d.max_ns, qhist_bucket_top(qhist_bucket_of(between.max_ns)));
	ck_assert_uint_le(d.min_ns, between.min_ns);
	ck_assert_uint_eq(qhist_bucket_of(d.min_ns), qhist_bucket_of(between.min_ns));
	ck_assert_uint_eq(qhist_quantile(&d, 1000), d.max_ns);
	qhist_diff(&before, &h, &before);	/* in place */
	ck_assert_mem_eq(&before, &d, sizeof(d));
}
END_TEST

START_TEST(diff_of_the_same_is_empty)
{
	struct qhist h, d, none;

	qhist_reset(&h);
	qhist_reset(&none);
	qhist_add(&h, 77);
	qhist_diff(&d, &h, &h);
	ck_assert_mem_eq(&d, &none, sizeof(d));
}
END_TEST

START_TEST(diff_edges_stay_within_what_was_seen)
{
	struct qhist h, none, d;

	qhist_reset(&h);
	qhist_reset(&none);
	qhist_add(&h, 1000003);
	qhist_diff(&d, &h, &none);
	ck_assert_uint_eq(d.min_ns, 1000003);	/* no wider than the whole */
	ck_assert_uint_eq(d.max_ns, 1000003);
}
END_TEST

enum { EVENTS = 300000, VALUE = 5000 };
static struct qhist shared;

static void *add_events(void *arg)
{
	for (int i = 0; i < EVENTS; i++)
		qhist_add(&shared, VALUE);
	return NULL;
}

START_TEST(a_reader_beside_the_writer_sees_no_garbage)
{
	static struct qhist before, now, d;
	pthread_t t;
	uint64_t seen = 0;

	qhist_reset(&shared);
	ck_assert_int_eq(pthread_create(&t, NULL, add_events, NULL), 0);
	qhist_reset(&before);
	while (seen < EVENTS) {
		uint64_t q = qhist_quantile(&shared, 990);

		ck_assert(q == 0 || q == VALUE);
		qhist_reset(&now);
		qhist_merge(&now, &shared);
		qhist_diff(&d, &now, &before);
		seen += d.n;
		ck_assert_uint_le(seen, EVENTS);
		before = now;
	}
	pthread_join(t, NULL);
	ck_assert_uint_eq(shared.n, EVENTS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qhist");
	TCase *tc = fixture_case(s, "buckets");

	tcase_add_test(tc, buckets_tile_the_line);
	tcase_add_loop_test(tc, bucket_row, 0, Q_ARRAY_LEN(bucket_rows));
	tcase_add_test(tc, error_bound);
	tc = fixture_case(s, "values");
	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(tc, quantiles_are_upper_bounds_within_the_error, 0,
			    Q_ARRAY_LEN(quantile_rows));
	tcase_add_test(tc, empty);
	tcase_add_test(tc, the_rest_is_in_the_last_bucket);
	tcase_add_test(tc, counts_beyond_32_bits);
	tcase_add_test(tc, merge_is_adding_to_one);
	tcase_add_test(tc, diff_is_what_came_between);
	tcase_add_test(tc, diff_of_the_same_is_empty);
	tcase_add_test(tc, diff_edges_stay_within_what_was_seen);
	tcase_add_test(tc, a_reader_beside_the_writer_sees_no_garbage);
	return fixture_main(s);
}
