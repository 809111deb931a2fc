/* SPDX-License-Identifier: Apache-2.0 */
/* mediator/recorder.h: which requests stay, and that a reader never sees half of one. */
#include "mediator/recorder.h"

#include <pthread.h>
#include <stdlib.h>

#include "tests/unit/fixture.h"

START_TEST(the_slowest_stay)
{
	static struct recorder r;
	struct flight got[RECORDER_WORST];
	uint64_t rng = 7, all[500], top = 0;

	ck_assert_uint_eq(recorder_read(&r, got), 0);
	for (unsigned i = 0; i < 500; i++) {
		struct flight f = { .sector = i };

		f.latency_ns = all[i] = fixture_rand(&rng) % 100000;
		recorder_add(&r, &f);
		ck_assert_uint_eq(recorder_read(&r, got), Q_MIN(i + 1, RECORDER_WORST));
	}
	for (unsigned i = 0; i < RECORDER_WORST; i++) {
		/* Each is what it was, and exactly i of all were slower, but for equals. */
		unsigned slower = 0;

		ck_assert_uint_eq(got[i].latency_ns, all[got[i].sector]);
		for (unsigned k = 0; k < 500; k++)
			slower += all[k] > got[i].latency_ns;
		ck_assert_uint_le(slower, i);
		ck_assert(i == 0 || got[i].latency_ns <= top);
		top = got[i].latency_ns;
	}
	recorder_reset(&r);
	ck_assert_uint_eq(recorder_read(&r, got), 0);
	recorder_add(&r, &(struct flight){ .latency_ns = 1 });
	ck_assert_uint_eq(recorder_read(&r, got), 1);
}
END_TEST

static struct recorder shared;
static _Atomic bool stop;

/* All words of a flight are one number. */
static void *write_on(void *arg)
{
	for (uint64_t v = 1; !atomic_load(&stop); v++) {
		struct flight f;
		uint64_t *w = (uint64_t *)&f;

		for (size_t i = 0; i < sizeof(f) / sizeof(*w); i++)
			w[i] = v;
		recorder_add(&shared, &f);
		if (v % 1000 == 0)
			recorder_reset(&shared);
	}
	return NULL;
}

static bool is_whole(const struct flight *f)
{
	const uint64_t *w = (const uint64_t *)f;

	for (size_t i = 1; i < sizeof(*f) / sizeof(*w); i++)
		if (w[i] != w[0])
			return false;
	return true;
}

START_TEST(a_reader_never_sees_half)
{
	struct flight got[RECORDER_WORST];
	uint64_t seen = 0;
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, write_on, NULL), 0);
	while (seen < 20000) {
		unsigned count = recorder_read(&shared, got);

		for (unsigned i = 0; i < count; i++, seen++)
			if (!is_whole(&got[i]))
				ck_abort_msg("a flight of two halves");
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("recorder");
	TCase *t = tcase_create("recorder");

	fixture_add(t);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, the_slowest_stay);
	tcase_add_test(t, a_reader_never_sees_half);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return fixture_main(suite());
}
