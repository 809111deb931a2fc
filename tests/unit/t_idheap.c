/* SPDX-License-Identifier: Apache-2.0 */
/* mediator/idheap.h against a list that is searched from end to end. */
#include "mediator/idheap.h"

#include <string.h>

#include "tests/unit/fixture.h"

#define IDS 300u

struct room {
	struct idheap h[2];
	struct idheap_entry e[2][IDS];
	uint32_t pos[IDS];
	uint64_t key[IDS];
	int in[IDS];	/* the heap where it stands; -1: none */
};

static void room_init(struct room *r)
{
	memset(r, 0, sizeof(*r));
	for (unsigned i = 0; i < 2; i++)
		r->h[i].e = r->e[i];
	for (unsigned i = 0; i < IDS; i++)
		r->in[i] = -1;
}

/* The first of heap @h by searching; IDS: it is empty. */
static unsigned least(const struct room *r, int h)
{
	unsigned best = IDS;

	for (unsigned i = 0; i < IDS; i++)
		if (r->in[i] == h && (best == IDS || idheap_before(r->key[i], r->key[best])))
			best = i;
	return best;
}

static void check(const struct room *r)
{
	for (int h = 0; h < 2; h++) {
		unsigned want = least(r, h), n = 0;

		for (unsigned i = 0; i < IDS; i++)
			n += r->in[i] == h;
		ck_assert_uint_eq(r->h[h].n, n);
		if (want < IDS)
			ck_assert_uint_eq(r->h[h].e[0].id, want);
	}
}

static void change(struct room *r, uint64_t *rng, uint64_t base)
{
	unsigned id = (unsigned)(fixture_rand(rng) % IDS);
	int to = (int)(fixture_rand(rng) % 3) - 1;
	/* Few keys: many are equal. */
	uint64_t key = base + fixture_rand(rng) % 64;

	if (r->in[id] >= 0 && r->in[id] == to) {
		idheap_rekey(&r->h[to], r->pos, id, key);
	} else {
		if (r->in[id] >= 0)
			idheap_take(&r->h[r->in[id]], r->pos, id);
		if (to >= 0)
			idheap_put(&r->h[to], r->pos, id, key);
	}
	r->in[id] = to;
	r->key[id] = key;
}

static const uint64_t bases[] = { 0, UINT64_MAX - 32, (uint64_t)INT64_MAX - 32 };

START_TEST(the_first_is_the_least)
{
	static struct room r;
	uint64_t rng = 5 + (uint64_t)_i;

	room_init(&r);
	for (unsigned i = 0; i < 20000; i++) {
		change(&r, &rng, bases[_i]);
		check(&r);
	}
}
END_TEST

START_TEST(all_come_out_in_order)
{
	static struct room r;
	uint64_t rng = 77;

	room_init(&r);
	for (unsigned i = 0; i < IDS; i++) {
		r.in[i] = 0;
		r.key[i] = fixture_rand(&rng) % 100;
		idheap_put(&r.h[0], r.pos, i, r.key[i]);
	}
	for (unsigned n = IDS; n > 0; n--) {
		unsigned id = r.h[0].e[0].id;

		check(&r);
		idheap_take(&r.h[0], r.pos, id);
		r.in[id] = -1;
	}
	ck_assert_uint_eq(r.h[0].n, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("idheap");
	TCase *tc = fixture_case(s, "heap");

	tcase_add_loop_test(tc, the_first_is_the_least, 0, Q_ARRAY_LEN(bases));
	tcase_add_test(tc, all_come_out_in_order);
	return fixture_main(s);
}
