/* SPDX-License-Identifier: Apache-2.0 */
/* vdevs/hpet.c: counter, comparators in their modes, lines, legacy replacement, every width. */
#include <inttypes.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vdharness.h"

#define HPET 0xfed00000ull
#define ID (HPET + 0x00)
#define CONF (HPET + 0x10)
#define STATUS (HPET + 0x20)
#define COUNTER (HPET + 0xf0)
#define TN_CONF(n) (HPET + 0x100 + 0x20 * (n))
#define TN_CMP(n) (HPET + 0x108 + 0x20 * (n))
#define TN_FSB(n) (HPET + 0x110 + 0x20 * (n))

enum { LEVEL = 2, ENABLE = 4, PERIODIC = 8, VAL_SET = 0x40, MODE32 = 0x100 };
#define ROUTE(line) ((line) << 9)
#define CAPS 0x30u	/* periodic, 64 bits */
#define MSEC 100000u	/* in ticks of 10 ns */

static void open_with(struct vdh *h, unsigned n_irqs, const char *frequency, uint64_t hz)
{
	static const int lines[] = { 0, 8, 10, 11 };

	vdh_init(h);
	if (frequency)
		vdh_arg(h, "frequency", frequency, hz);
	for (unsigned i = 0; i < n_irqs; i++)
		h->irq_number[i] = lines[i];
	ck_assert_int_eq(vdh_create(h, "hpet", VD_MEM, HPET, n_irqs), 0);
	vdh_advance(h, 1);	/* time is the test's from here on */
}

static void open_hpet(struct vdh *h)
{
	open_with(h, 3, NULL, 0);
}

static uint64_t rd(struct vdh *h, uint64_t at)
{
	return vdh_read(h, VD_MEM, at, 8);
}

static void wr(struct vdh *h, uint64_t at, uint64_t val)
{
	vdh_write(h, VD_MEM, at, 8, val);
}

static unsigned fired(struct vdh *h, unsigned n)
{
	unsigned raises = h->raises[n];

	h->raises[n] = 0;
	return raises;
}

START_TEST(identity)
{
	struct vdh h;

	open_hpet(&h);
	/* 10 ns, three comparators, legacy replacement, 64 bits, revision 1 */
	ck_assert_uint_eq(rd(&h, ID), 10000000ull << 32 | 0x1c05a201);
	for (unsigned n = 0; n < 3; n++) {
		ck_assert_uint_eq(rd(&h, TN_CONF(n)), 0x501ull << 32 | CAPS);
		ck_assert_uint_eq(rd(&h, TN_CMP(n)), UINT64_MAX);
		ck_assert_uint_eq(rd(&h, TN_FSB(n)), 0);
	}
	ck_assert_uint_eq(rd(&h, TN_CONF(3)), 0);
	ck_assert_uint_eq(rd(&h, HPET + 0x3f8), 0);
	vdh_fini(&h);
}
END_TEST

static const struct {
	unsigned n_irqs;
	const char *frequency;
	uint64_t hz, id;
} id_rows[] = {
	{ 0, NULL, 0, 10000000ull << 32 | 0x1c052201 },
	{ 1, NULL, 0, 10000000ull << 32 | 0x1c052201 },	/* legacy needs two lines */
	{ 2, "14318180", 14318180, 69841278ull << 32 | 0x1c05a201 },
	{ 4, "1000000000", 1000000000, 1000000ull << 32 | 0x1c05a301 },
	{ 0, "10000000", 10000000, 100000000ull << 32 | 0x1c052201 },
};
START_TEST(id_row)
{
	struct vdh h;

	open_with(&h, id_rows[_i].n_irqs, id_rows[_i].frequency, id_rows[_i].hz);
	ck_assert_uint_eq(rd(&h, ID), id_rows[_i].id);
	vdh_fini(&h);
}
END_TEST

START_TEST(counts)
{
	struct vdh h;

	open_hpet(&h);
	vdh_advance(&h, Q_NSEC_PER_SEC);
	ck_assert_uint_eq(rd(&h, COUNTER), 0);	/* it stands */
	wr(&h, COUNTER, 0x1122334455667788);
	ck_assert_uint_eq(rd(&h, COUNTER), 0x1122334455667788);
	wr(&h, CONF, 1);
	vdh_advance(&h, 1000);
	ck_assert_uint_eq(rd(&h, COUNTER), 0x1122334455667788 + 100);
	wr(&h, COUNTER, 5);	/* undefined while it runs: nothing, and counted */
	ck_assert_uint_eq(rd(&h, COUNTER), 0x1122334455667788 + 100);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_STATE), 1);
	wr(&h, CONF, 0);
	vdh_advance(&h, 1000);
	ck_assert_uint_eq(rd(&h, COUNTER), 0x1122334455667788 + 100);
	wr(&h, CONF, 1);
	vdh_advance(&h, 10);
	ck_assert_uint_eq(rd(&h, COUNTER), 0x1122334455667788 + 101);
	vdh_fini(&h);
}
END_TEST

/* Every width: parts of a register are its parts; what the specification forbids is not done. */
START_TEST(widths)
{
	struct vdh h;

	open_hpet(&h);
	vdh_write(&h, VD_MEM, COUNTER + 4, 4, 0xaabbccdd);
	vdh_write(&h, VD_MEM, COUNTER, 4, 0x11223344);
	ck_assert_uint_eq(rd(&h, COUNTER), 0xaabbccdd11223344);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, COUNTER + 4, 4) & 0xffffffff, 0xaabbccdd);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, COUNTER + 3, 2) & 0xffff, 0xdd11);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, COUNTER + 7, 1) & 0xff, 0xaa);
	ck_assert_uint_eq(vdh_read(&h, VD_MEM, COUNTER - 4, 8), 0x1122334400000000);
	vdh_write(&h, VD_MEM, COUNTER, 1, 0xff);
	vdh_write(&h, VD_MEM, COUNTER, 2, 0xffff);
	vdh_write(&h, VD_MEM, COUNTER + 2, 4, 0);
	vdh_write(&h, VD_MEM, COUNTER - 4, 8, 0);
	ck_assert_uint_eq(rd(&h, COUNTER), 0xaabbccdd11223344);
	ck_assert_uint_eq(vdh_fault_count(&h, VD_FAULT_BAD_REQUEST), 4);
	vdh_write(&h, VD_MEM, TN_CMP(1) + 4, 4, 0x12345678);
	ck_assert_uint_eq(rd(&h, TN_CMP(1)), 0x12345678ffffffff);
	wr(&h, ID, 0);		/* what is read-only stays */
	wr(&h, TN_FSB(0), UINT64_MAX);
	wr(&h, HPET + 0x3f8, UINT64_MAX);
	ck_assert_uint_eq(rd(&h, ID) >> 32, 10000000);
	ck_assert_uint_eq(rd(&h, TN_FSB(0)), 0);
	wr(&h, TN_CONF(0), UINT64_MAX);
	ck_assert_uint_eq(rd(&h, TN_CONF(0)), 0x501ull << 32 | 0x3f7e);
	vdh_fini(&h);
}
END_TEST

START_TEST(one_shot)
{
	struct vdh h;

	open_hpet(&h);
	wr(&h, TN_CONF(2), ENABLE | ROUTE(10));
	wr(&h, TN_CMP(2), MSEC);
	vdh_advance(&h, 10 * Q_NSEC_PER_MSEC);
	ck_assert_uint_eq(fired(&h, 2), 0);	/* the counter stands */
	wr(&h, CONF, 1);
	vdh_advance(&h, Q_NSEC_PER_MSEC - 1000);
	ck_assert_uint_eq(fired(&h, 2), 0);
	vdh_advance(&h, 2000);
	ck_assert_uint_eq(fired(&h, 2), 1);
	ck_assert(!h.level[2]);			/* an edge */
	ck_assert_uint_eq(rd(&h, STATUS), 0);
	vdh_advance(&h, 100 * Q_NSEC_PER_SEC);
	ck_assert_uint_eq(fired(&h, 2), 0);	/* once */
	wr(&h, TN_CMP(2), 5);			/* gone by: after 5,800 years */
	vdh_advance(&h, Q_NSEC_PER_SEC);
	ck_assert_uint_eq(fired(&h, 2), 0);
	wr(&h, TN_CMP(2), rd(&h, COUNTER) + MSEC);
	wr(&h, TN_CONF(2), ROUTE(10));		/* not enabled any more */
	vdh_advance(&h, Q_NSEC_PER_SEC);
	ck_assert_uint_eq(fired(&h, 2), 0);
	wr(&h, TN_CONF(2), ENABLE | ROUTE(9));	/* to a line that it does not have */
	wr(&h, TN_CMP(2), rd(&h, COUNTER) + MSEC);
	vdh_advance(&h, Q_NSEC_PER_SEC);
	ck_assert_uint_eq(fired(&h, 0) + fired(&h, 1) + fired(&h, 2), 0);
	vdh_fini(&h);
}
END_TEST

/* In 32 bits the comparator is met again each time the low half comes round. */
START_TEST(mode_32)
{
	struct vdh h;

	open_hpet(&h);
	wr(&h, COUNTER, 0x5ffffff00);
	wr(&h, TN_CONF(0), ENABLE | MODE32 | ROUTE(8));
	ck_assert_uint_eq(rd(&h, TN_CMP(0)), UINT32_MAX);
	wr(&h, TN_CMP(0), 0xabc00000100);
	ck_assert_uint_eq(rd(&h, TN_CMP(0)), 0x100);
	wr(&h, CONF, 1);
	vdh_advance(&h, 0x1ff * 10);
	ck_assert_uint_eq(fired(&h, 1), 0);
	vdh_advance(&h, 20);
	ck_assert_uint_eq(fired(&h, 1), 1);
	vdh_advance(&h, 42 * Q_NSEC_PER_SEC);
	ck_assert_uint_eq(fired(&h, 1), 0);
	vdh_advance(&h, Q_NSEC_PER_SEC);
	ck_assert_uint_eq(fired(&h, 1), 1);
	vdh_fini(&h);
}
END_TEST

/* As Linux sets it: first time with VAL_SET, then the period. */
START_TEST(periodic)
{
	struct vdh h;

	open_hpet(&h);
	wr(&h, CONF, 1);
	wr(&h, TN_CONF(0), ENABLE | PERIODIC | VAL_SET | MODE32 | ROUTE(10));
	ck_assert_uint_eq(rd(&h, TN_CONF(0)) & VAL_SET, VAL_SET);
	vdh_write(&h, VD_MEM, TN_CMP(0), 4, 5 * MSEC);
	ck_assert_uint_eq(rd(&h, TN_CONF(0)) & VAL_SET, 0);
	vdh_write(&h, VD_MEM, TN_CMP(0), 4, MSEC);
	ck_assert_uint_eq(rd(&h, TN_CMP(0)), 5 * MSEC);
	vdh_advance(&h, 5 * Q_NSEC_PER_MSEC - 10);
	ck_assert_uint_eq(fired(&h, 2), 0);
	vdh_advance(&h, 20);
	ck_assert_uint_eq(fired(&h, 2), 1);
	ck_assert_uint_eq(rd(&h, TN_CMP(0)), 6 * MSEC);
	vdh_advance(&h, 10 * Q_NSEC_PER_MSEC);
	ck_assert_uint_eq(fired(&h, 2), 10);
	/* A period of one tick is not served that often. */
	vdh_write(&h, VD_MEM, TN_CMP(0), 4, 1);
	vdh_advance(&h, 10 * Q_NSEC_PER_MSEC);
	unsigned n = fired(&h, 2);
	ck_assert_msg(n > 100 && n <= 201, "%u", n);
	/* A period of 0 is none. */
	wr(&h, TN_CONF(0), ENABLE | PERIODIC | VAL_SET | ROUTE(10));
	wr(&h, TN_CMP(0), 0);
	vdh_advance(&h, 10 * Q_NSEC_PER_MSEC);
	ck_assert_uint_le(fired(&h, 2), 1);
	vdh_fini(&h);
}
END_TEST

START_TEST(level)
{
	struct vdh h;

	open_hpet(&h);
	wr(&h, CONF, 1);
	wr(&h, TN_CONF(1), LEVEL | ENABLE | PERIODIC | VAL_SET | ROUTE(10));
	wr(&h, TN_CMP(1), MSEC);
	wr(&h, TN_CONF(2), LEVEL | ENABLE | ROUTE(10));
	wr(&h, TN_CMP(2), 2 * MSEC);
	vdh_advance(&h, Q_NSEC_PER_MSEC);
	ck_assert(h.level[2]);
	ck_assert_uint_eq(rd(&h, STATUS), 2);
	vdh_advance(&h, 3 * Q_NSEC_PER_MSEC);	/* up is up */
	ck_assert_uint_eq(fired(&h, 2), 1);
	ck_assert_uint_eq(rd(&h, STATUS), 6);
	wr(&h, STATUS, 2);
	ck_assert(h.level[2]);			/* the other holds it */
	wr(&h, STATUS, 4);
	ck_assert(!h.level[2]);
	vdh_advance(&h, Q_NSEC_PER_MSEC);
	ck_assert(h.level[2]);
	wr(&h, TN_CONF(1), ENABLE | ROUTE(10));	/* an edge leaves no status */
	ck_assert(!h.level[2]);
	ck_assert_uint_eq(rd(&h, STATUS), 0);
	vdh_fini(&h);
}
END_TEST

START_TEST(legacy)
{
	struct vdh h;

	open_hpet(&h);
	for (unsigned n = 0; n < 2; n++) {
		wr(&h, TN_CONF(n), ENABLE | ROUTE(10));
		wr(&h, TN_CMP(n), (n + 1) * MSEC);
	}
	wr(&h, CONF, 3);
	ck_assert_uint_eq(rd(&h, CONF), 3);
	ck_assert(h.pit_cut);
	vdh_advance(&h, Q_NSEC_PER_MSEC);
	ck_assert_uint_eq(fired(&h, 0), 1);
	vdh_advance(&h, Q_NSEC_PER_MSEC);
	ck_assert_uint_eq(fired(&h, 1), 1);
	ck_assert_uint_eq(fired(&h, 2), 0);
	wr(&h, CONF, 0);
	ck_assert(!h.pit_cut);
	vdh_fini(&h);
	open_with(&h, 1, NULL, 0);	/* it cannot */
	wr(&h, CONF, 3);
	ck_assert_uint_eq(rd(&h, CONF), 1);
	ck_assert(!h.pit_cut);
	vdh_fini(&h);
}
END_TEST

START_TEST(status)
{
	struct vdh h;
	char text[256];

	open_hpet(&h);
	wr(&h, CONF, 1);
	vdh_advance(&h, 1000);
	h.v->ops->status(h.v, text, sizeof(text));
	ck_assert_str_eq(text, "enabled=1 legacy=0 counter=0x64 status=0 fired=0");
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_hpet");
	TCase *tc = fixture_case(s, "hpet");

	tcase_add_test(tc, identity);
	tcase_add_loop_test(tc, id_row, 0, Q_ARRAY_LEN(id_rows));
	tcase_add_test(tc, counts);
	tcase_add_test(tc, widths);
	tcase_add_test(tc, one_shot);
	tcase_add_test(tc, mode_32);
	tcase_add_test(tc, periodic);
	tcase_add_test(tc, level);
	tcase_add_test(tc, legacy);
	tcase_add_test(tc, status);
	return fixture_main(s);
}
