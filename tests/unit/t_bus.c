/* SPDX-License-Identifier: Apache-2.0 */
/* qvm/bus: windows, accesses across their ends, and lookups while windows move. */
#include <endian.h>
#include <errno.h>
#include <pthread.h>

#include "qvm/bus.h"
#include "tests/unit/fixture.h"

static struct bus bus;

/* A device that answers with its window's number in every byte, and remembers the last access. */
struct dev {
	unsigned n_reads, n_writes, last_size;
	uint64_t last_off, last_val;
};

static uint64_t dev_read(void *ctx, unsigned win, uint64_t off, unsigned size)
{
	struct dev *d = ctx;

	d->n_reads++;
	d->last_off = off;
	d->last_size = size;
	return 0x0101010101010101ull * win;
}

static void dev_write(void *ctx, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct dev *d = ctx;

	d->n_writes++;
	d->last_off = off;
	d->last_size = size;
	d->last_val = val;
}

static const struct bus_ops ops = { .read = dev_read, .write = dev_write };

static int add(struct dev *d, unsigned win, uint64_t base, uint64_t len)
{
	const struct bus_window w = { base, len, &ops, d, win };

	return bus_add(&bus, &w);
}

static const struct {
	uint64_t base, len;
	int want;
} add_rows[] = {
	{ 0x1000, 0x100, 0 },		{ 0x1100, 0x100, 0 }, /* touches the one before */
	{ 0x0f00, 0x100, 0 },		{ 0x10ff, 1, -EEXIST },
	{ 0x0e00, 0x1000, -EEXIST },			      /* covers several */
	{ 0x5000, 0, -EINVAL },		{ UINT64_MAX, 1, 0 }, /* the last byte */
	{ UINT64_MAX - 1, 3, -EINVAL },			      /* wraps */
};

START_TEST(windows_do_not_overlap)
{
	struct dev d = { 0 };

	bus_init(&bus);
	for (size_t i = 0; i < Q_ARRAY_LEN(add_rows); i++)
		ck_assert_int_eq(add(&d, (unsigned)i, add_rows[i].base, add_rows[i].len),
				 add_rows[i].want);
	bus_fini(&bus);
}
END_TEST

START_TEST(table_has_an_end)
{
	struct dev d = { 0 };
	struct bus_window w;

	bus_init(&bus);
	for (unsigned i = 0; i < BUS_WINDOWS_MAX; i++)
		ck_assert_int_eq(add(&d, i, 0x100000 - 0x10 * i, 0x10), 0);
	ck_assert_int_eq(add(&d, 999, 0x10, 1), -ENOSPC);
	for (unsigned i = 0; i < BUS_WINDOWS_MAX; i += 2)
		bus_del(&bus, &d, i);
	for (unsigned i = 0; i < BUS_WINDOWS_MAX; i++) {
		bool found = bus_find(&bus, 0x100000 - 0x10 * i + 5, &w);
		ck_assert_int_eq(found, i % 2);
		if (found)
			ck_assert_uint_eq(w.win, i);
	}
	bus_fini(&bus);
}
END_TEST

/* Windows 1 at [0x10, 0x14) and 2 at [0x14, 0x18); 0xff is nobody's. */
static const struct {
	uint64_t addr;
	unsigned size, missed;
	uint64_t want;
} read_rows[] = {
	{ 0x10, 4, 0, 0x01010101 },
	{ 0x10, 1, 0, 0x01 },
	{ 0x12, 4, 0, 0x02020101 }, /* across both */
	{ 0x10, 8, 0, 0x0202020201010101ull },
	{ 0x16, 4, 2, 0xffff0202 }, /* beyond the end */
	{ 0x0e, 4, 2, 0x0101ffff }, /* before the start */
	{ 0x11, 3, 0, 0x010101 },
	{ 0x20, 8, 8, UINT64_MAX },
	{ UINT64_MAX - 1, 4, 4, 0xffffffff }, /* the end of everything */
};

START_TEST(read_is_cut)
{
	struct dev d = { 0 };
	uint64_t val = 0;

	bus_init(&bus);
	ck_assert_int_eq(add(&d, 1, 0x10, 4), 0);
	ck_assert_int_eq(add(&d, 2, 0x14, 4), 0);
	ck_assert_uint_eq(bus_read(&bus, read_rows[_i].addr, &val, read_rows[_i].size),
			  read_rows[_i].missed);
	ck_assert_uint_eq(le64toh(val), read_rows[_i].want);
	bus_fini(&bus);
}
END_TEST

START_TEST(write_is_cut)
{
	struct dev a = { 0 }, b = { 0 };
	const uint8_t bytes[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	bus_init(&bus);
	ck_assert_int_eq(add(&a, 1, 0x10, 4), 0);
	ck_assert_int_eq(add(&b, 2, 0x14, 2), 0);
	ck_assert_uint_eq(bus_write(&bus, 0x12, bytes, 8), 4);
	ck_assert_uint_eq(a.n_writes, 1);
	ck_assert_uint_eq(a.last_off, 2);
	ck_assert_uint_eq(a.last_val, 0x0201);
	ck_assert_uint_eq(b.n_writes, 1);
	ck_assert_uint_eq(b.last_off, 0);
	ck_assert_uint_eq(b.last_val, 0x0403);
	bus_fini(&bus);
}
END_TEST

#define N_MOVES 20000u

static void *mover(void *arg)
{
	struct dev *d = arg;

	for (unsigned i = 0; i < N_MOVES; i++) {
		bus_del(&bus, d, 7);
		ck_assert_int_eq(add(d, 7, i % 2 ? 0x500 : 0x1500, 0x100), 0);
	}
	return NULL;
}

/* A window that stands still is always found, whatever moves before and behind it in the table. */
START_TEST(lookup_while_windows_move)
{
	struct dev d = { 0 };
	struct bus_window w;
	pthread_t t;
	unsigned n = 0;

	bus_init(&bus);
	ck_assert_int_eq(add(&d, 1, 0x1000, 0x100), 0);
	ck_assert_int_eq(add(&d, 7, 0x500, 0x100), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, mover, &d), 0);
	for (; n < N_MOVES; n++) {
		ck_assert(bus_find(&bus, 0x1080, &w));
		ck_assert_uint_eq(w.win, 1);
		ck_assert_uint_eq(w.base, 0x1000);
		if (bus_find(&bus, 0x580, &w))
			ck_assert_uint_eq(w.win, 7);
	}
	pthread_join(t, NULL);
	bus_fini(&bus);
}
END_TEST

static const struct {
	uint64_t addr;
	unsigned n;
	uint64_t base[2];
} around_rows[] = {
	{ 0x0fff, 1, { 0x1000 } },
	{ 0x1000, 2, { 0x1000, 0x3000 } },
	{ 0x2fff, 2, { 0x1000, 0x3000 } },
	{ 0x4000, 1, { 0x3000 } },
};

START_TEST(what_is_around)
{
	struct bus_window w = { .len_bytes = 0x100 }, got[2];

	bus_init(&bus);
	ck_assert_uint_eq(bus_around(&bus, around_rows[_i].addr, got), 0);
	w.base = 0x3000;
	ck_assert_int_eq(bus_add(&bus, &w), 0);
	w.base = 0x1000;
	w.name = "low";
	ck_assert_int_eq(bus_add(&bus, &w), 0);
	ck_assert_uint_eq(bus_around(&bus, around_rows[_i].addr, got), around_rows[_i].n);
	for (unsigned i = 0; i < around_rows[_i].n; i++) {
		ck_assert_uint_eq(got[i].base, around_rows[_i].base[i]);
		ck_assert_str_eq(got[i].name, got[i].base == 0x1000 ? "low" : "a device");
	}
	bus_fini(&bus);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bus");
	TCase *tc = fixture_case(s, "bus");

	tcase_add_test(tc, windows_do_not_overlap);
	tcase_add_test(tc, table_has_an_end);
	tcase_add_loop_test(tc, read_is_cut, 0, Q_ARRAY_LEN(read_rows));
	tcase_add_test(tc, write_is_cut);
	tcase_add_test(tc, lookup_while_windows_move);
	tcase_add_loop_test(tc, what_is_around, 0, Q_ARRAY_LEN(around_rows));
	return fixture_main(s);
}
