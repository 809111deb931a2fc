/* SPDX-License-Identifier: Apache-2.0 */
/* vdevs/mc146818.c: the time in all its notations, setting it, the three interrupts, the memory. */
#include <errno.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vdharness.h"

#define PORT 0x70u
#define START_S 951782399ull	/* Monday, 2000-02-28 23:59:59 UTC */

enum { A = 10, B, C, D, CENTURY = 0x32 };
enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, BINARY = 4, H24 = 2 };

static void open_rtc(struct vdh *h, unsigned n_irqs)
{
	ck_assert_int_eq(vdh_create(h, "mc146818", VD_IO, PORT, n_irqs), 0);
}

/* At the first moment of START_S. */
static void open_at_start(struct vdh *h)
{
	vdh_init(h);
	vdh_advance(h, 1);
	h->utc_ns = START_S * Q_NSEC_PER_SEC - h->now_ns;
	open_rtc(h, 1);
}

static uint8_t rd(struct vdh *h, unsigned reg)
{
	vdh_write(h, VD_IO, PORT, 1, reg);
	return (uint8_t)vdh_read(h, VD_IO, PORT + 1, 1);
}

static void wr(struct vdh *h, unsigned reg, uint8_t val)
{
	vdh_write(h, VD_IO, PORT, 1, reg);
	vdh_write(h, VD_IO, PORT + 1, 1, val);
}

/* Seconds to the year, and the century. */
struct when { uint8_t sec, min, hour, weekday, day, month, year, century; };

static void time_is(struct vdh *h, const struct when *w, const char *what)
{
	const struct when got = { rd(h, 0), rd(h, 2), rd(h, 4), rd(h, 6), rd(h, 7), rd(h, 8),
				  rd(h, 9), rd(h, CENTURY) };

	ck_assert_msg(!memcmp(&got, w, sizeof(got)),
		      "%s: %x:%x:%x, day %x of the week, %x.%x.%x/%x", what, got.hour, got.min,
		      got.sec, got.weekday, got.day, got.month, got.year, got.century);
}

static const struct {
	const char *what;
	uint8_t b;
	uint64_t later_s;
	struct when want;
} time_rows[] = {
	{ "24 hours, BCD", H24, 0, { 0x59, 0x59, 0x23, 0x02, 0x28, 0x02, 0x00, 0x20 } },
	{ "24 hours, binary", H24 | BINARY, 0, { 59, 59, 23, 2, 28, 2, 0, 20 } },
	{ "12 hours, BCD", 0, 0, { 0x59, 0x59, 0x91, 0x02, 0x28, 0x02, 0x00, 0x20 } },
	{ "12 hours, binary", BINARY, 0, { 59, 59, 0x80 | 11, 2, 28, 2, 0, 20 } },
	{ "a leap day begins", H24, 1, { 0, 0, 0, 0x03, 0x29, 0x02, 0x00, 0x20 } },
	{ "midnight in 12 hours", 0, 1, { 0, 0, 0x12, 0x03, 0x29, 0x02, 0x00, 0x20 } },
	{ "noon in 12 hours", 0, 1 + 43200, { 0, 0, 0x92, 0x03, 0x29, 0x02, 0x00, 0x20 } },
	{ "March begins", H24, 1 + 86400, { 0, 0, 0, 0x04, 0x01, 0x03, 0x00, 0x20 } },
};
START_TEST(time_row)
{
	struct vdh h;

	open_at_start(&h);
	wr(&h, B, time_rows[_i].b);
	vdh_advance(&h, time_rows[_i].later_s * Q_NSEC_PER_SEC);
	time_is(&h, &time_rows[_i].want, time_rows[_i].what);
	vdh_fini(&h);
}
END_TEST

/* As Linux sets it: SET, the divider in reset, the registers, both back. */
START_TEST(set)
{
	static const struct when want = { 0x30, 0x45, 0x12, 0x06, 0x31, 0x12, 0x99, 0x19 };
	static const struct when next = { 0x31, 0x45, 0x12, 0x06, 0x31, 0x12, 0x99, 0x19 };
	static const uint8_t regs[] = { 0, 2, 4, 7, 8, 9, CENTURY };
	static const uint8_t vals[] = { 0x30, 0x45, 0x12, 0x31, 0x12, 0x99, 0x19 };
	struct vdh h;

	open_at_start(&h);
	wr(&h, B, SET | H24);
	wr(&h, A, 0x76);
	for (unsigned i = 0; i < sizeof(regs); i++)
		wr(&h, regs[i], vals[i]);
	vdh_advance(&h, 5 * Q_NSEC_PER_SEC);	/* it stands */
	ck_assert_uint_eq(rd(&h, 0), 0x30);
	wr(&h, B, H24);
	vdh_advance(&h, 5 * Q_NSEC_PER_SEC);	/* the divider is still in reset */
	ck_assert_uint_eq(rd(&h, 0), 0x30);
	wr(&h, A, 0x26);
	time_is(&h, &want, "set");
	vdh_advance(&h, Q_NSEC_PER_SEC / 2 - Q_NSEC_PER_MSEC);
	time_is(&h, &want, "half a second less");
	vdh_advance(&h, 2 * Q_NSEC_PER_MSEC);
	time_is(&h, &next, "half a second later");
	wr(&h, 2, 0x05);	/* while it runs */
	ck_assert_uint_eq(rd(&h, 2), 0x05);
	ck_assert_uint_eq(rd(&h, 0), 0x31);
	vdh_fini(&h);
}
END_TEST

/* Values that are no time do no harm, and the clock goes on. */
START_TEST(nonsense)
{
	static const uint8_t regs[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, CENTURY };
	struct vdh h;

	for (unsigned val = 0; val < 256; val += 15) {
		open_at_start(&h);
		wr(&h, B, AIE | H24 | (val & 1 ? BINARY : 0));
		for (unsigned i = 0; i < sizeof(regs); i++)
			wr(&h, regs[i], (uint8_t)val);
		vdh_advance(&h, 3 * Q_NSEC_PER_SEC);
		for (unsigned i = 0; i < 128; i++)
			rd(&h, i);
		vdh_fini(&h);
	}
}
END_TEST

START_TEST(update_interrupt)
{
	struct vdh h;

	open_at_start(&h);
	wr(&h, 5, 0x12);	/* no alarm at midnight */
	vdh_advance(&h, Q_NSEC_PER_SEC / 4);
	wr(&h, B, UIE | H24);
	vdh_advance(&h, Q_NSEC_PER_SEC / 2);
	ck_assert(!h.level[0]);
	vdh_advance(&h, Q_NSEC_PER_SEC / 2);
	ck_assert(h.level[0]);
	vdh_advance(&h, 10 * Q_NSEC_PER_SEC);	/* nothing more until C is read */
	ck_assert_uint_eq(h.raises[0], 1);
	ck_assert_uint_eq(rd(&h, C), 0x90 | 0x40);	/* IRQF, UF; the divider ticks as well */
	ck_assert(!h.level[0]);
	ck_assert_uint_eq(rd(&h, C), 0);
	vdh_advance(&h, Q_NSEC_PER_SEC);
	ck_assert_uint_eq(h.raises[0], 2);
	wr(&h, B, SET | UIE | H24);	/* SET takes UIE away */
	ck_assert_uint_eq(rd(&h, B), SET | H24);
	ck_assert(!h.level[0]);
	vdh_fini(&h);
}
END_TEST

static const struct {
	const char *what;
	uint8_t b, sec, min, hour;
	uint64_t want_s;	/* after START_S; 0: not in two days */
} alarm_rows[] = {
	{ "at a time of the day", H24, 0x10, 0x20, 0x03, 1 + 3 * 3600 + 20 * 60 + 10 },
	{ "in binary", H24 | BINARY, 10, 20, 3, 1 + 3 * 3600 + 20 * 60 + 10 },
	{ "in the afternoon of 12 hours", 0, 0x00, 0x00, 0x81, 1 + 13 * 3600 },
	{ "each second", H24, 0xff, 0xff, 0xff, 1 },
	{ "each minute", H24, 0x05, 0xc0, 0xc0, 6 },
	{ "each hour", H24, 0x05, 0x01, 0xc0, 66 },
	{ "in the second just gone by: tomorrow", H24, 0x59, 0x59, 0x23, 86400 },
	{ "never: second 60", H24, 0x60, 0xff, 0xff, 0 },
	{ "never: hour 24", H24, 0xff, 0xff, 0x24, 0 },
};
START_TEST(alarm_row)
{
	const __typeof__(alarm_rows[0]) *row = &alarm_rows[_i];
	struct vdh h;

	open_at_start(&h);
	wr(&h, 1, row->sec);
	wr(&h, 3, row->min);
	wr(&h, 5, row->hour);
	wr(&h, B, AIE | row->b);
	vdh_advance(&h, (row->want_s ? row->want_s : 2 * 86400) * Q_NSEC_PER_SEC - Q_NSEC_PER_MSEC);
	ck_assert_msg(!h.level[0], "%s: too early", row->what);
	vdh_advance(&h, 2 * Q_NSEC_PER_MSEC);
	ck_assert_msg(h.level[0] == (row->want_s != 0), "%s", row->what);
	ck_assert_uint_eq(rd(&h, C) & 0xa0, row->want_s ? 0xa0 : 0);
	vdh_fini(&h);
}
END_TEST

static const struct { uint8_t rate; uint64_t want; } rate_rows[] = {
	{ 0, 0 }, { 1, 256 }, { 2, 128 }, { 3, 8192 }, { 6, 1024 }, { 10, 64 }, { 15, 2 },
};
START_TEST(periodic_row)
{
	struct vdh h;
	uint64_t n = 0;

	open_at_start(&h);
	wr(&h, A, 0x20 | rate_rows[_i].rate);
	wr(&h, B, PIE | H24);
	for (uint64_t ms_64 = 0; ms_64 < 64000; ms_64++) {	/* a second in steps of 1/64 ms */
		vdh_advance(&h, Q_NSEC_PER_MSEC / 64);
		if (h.level[0]) {
			n++;
			ck_assert_uint_eq(rd(&h, C) & 0xc0, 0xc0);
		}
	}
	ck_assert_msg(n + 2 >= rate_rows[_i].want && n <= rate_rows[_i].want + 2,
		      "rate %u: %u a second", rate_rows[_i].rate, (unsigned)n);
	vdh_fini(&h);
}
END_TEST

/* Without interrupts the flags tell all the same: guests poll them. */
START_TEST(polled)
{
	struct vdh h;

	open_at_start(&h);
	wr(&h, 5, 0x12);	/* no alarm at midnight */
	ck_assert_uint_eq(rd(&h, C), 0);
	vdh_advance(&h, Q_NSEC_PER_SEC);
	ck_assert_uint_eq(rd(&h, C), 0x50);
	ck_assert_uint_eq(rd(&h, C), 0);
	vdh_advance(&h, Q_NSEC_PER_SEC - 200000);
	ck_assert_uint_eq(rd(&h, A), 0xa6);	/* the update is near */
	vdh_advance(&h, 300000);
	ck_assert_uint_eq(rd(&h, A), 0x26);
	ck_assert_uint_eq(h.raises[0], 0);
	vdh_fini(&h);
}
END_TEST

/* The host's clock goes back: no event, no harm. */
START_TEST(host_goes_back)
{
	struct vdh h;

	open_at_start(&h);
	wr(&h, B, UIE | AIE | PIE | H24);
	h.utc_ns -= 3600 * Q_NSEC_PER_SEC;
	vdh_advance(&h, 1000);
	ck_assert_uint_eq(rd(&h, 4), 0x22);
	rd(&h, C);
	vdh_advance(&h, Q_NSEC_PER_SEC);
	ck_assert(h.level[0]);
	vdh_fini(&h);
}
END_TEST

START_TEST(memory)
{
	struct vdh h;

	vdh_init(&h);
	vdh_arg(&h, "reg", "0x0b,0x06", 0);
	vdh_arg(&h, "reg", "127,255", 0);
	vdh_arg(&h, "reg", "0x7f,0d17", 0);
	open_rtc(&h, 0);
	ck_assert_uint_eq(rd(&h, B), 6);
	ck_assert_uint_eq(rd(&h, 0x7f), 17);
	ck_assert_uint_eq(rd(&h, D), 0x80);
	/* No RAM below 640 KiB, 4 MiB above the first: none above 16 MiB or 4 GiB */
	ck_assert_uint_eq(rd(&h, 0x15) | rd(&h, 0x16) << 8, 0);
	ck_assert_uint_eq(rd(&h, 0x17) | rd(&h, 0x18) << 8, 4096);
	ck_assert_uint_eq(rd(&h, 0x30) | rd(&h, 0x31) << 8, 4096);
	ck_assert_uint_eq(rd(&h, 0x34) | rd(&h, 0x35) << 8, 0);
	unsigned sum = 0;
	for (unsigned i = 0x10; i < 0x2e; i++)
		sum += rd(&h, i);
	ck_assert_uint_eq(rd(&h, 0x2e) << 8 | rd(&h, 0x2f), sum);
	wr(&h, 0x40, 0x5a);
	ck_assert_uint_eq(rd(&h, 0xc0), 0x5a);	/* bit 7 of the index is the gate of the NMI */
	wr(&h, C, 0xff);
	wr(&h, D, 0);
	/* What was written is not there; flags are, when this machine is slow. */
	ck_assert_uint_eq(rd(&h, C) & 0x0f, 0);
	ck_assert_uint_eq(rd(&h, D), 0x80);
	wr(&h, A, 0xff);
	ck_assert_uint_eq(rd(&h, A), 0x7f);
	/* A word is an index and its data; the index cannot be read. */
	vdh_write(&h, VD_IO, PORT, 2, 0x3340);
	ck_assert_uint_eq(rd(&h, 0x40), 0x33);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, PORT, 2), 0x33ff);
	vdh_fini(&h);
}
END_TEST

static const char *const bad_regs[] = { "", ",", "1", "0x0b,", "0x0b,0x100", "128,0", "1,2,3",
					"0x,1", "0x0b 2", "-1,0", "0,0", "0x0c,1", "0x32,0x20" };
START_TEST(bad_reg)
{
	struct vdh h;

	vdh_init(&h);
	vdh_arg(&h, "reg", bad_regs[_i], 0);
	ck_assert_msg(vdh_create(&h, "mc146818", VD_IO, PORT, 0) == -EINVAL, "%s", bad_regs[_i]);
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_rtc");
	TCase *tc = fixture_case(s, "mc146818");

	tcase_add_loop_test(tc, time_row, 0, Q_ARRAY_LEN(time_rows));
	tcase_add_test(tc, set);
	tcase_add_test(tc, nonsense);
	tcase_add_test(tc, update_interrupt);
	tcase_add_loop_test(tc, alarm_row, 0, Q_ARRAY_LEN(alarm_rows));
	tcase_add_loop_test(tc, periodic_row, 0, Q_ARRAY_LEN(rate_rows));
	tcase_add_test(tc, polled);
	tcase_add_test(tc, host_goes_back);
	tcase_add_test(tc, memory);
	tcase_add_loop_test(tc, bad_reg, 0, Q_ARRAY_LEN(bad_regs));
	return fixture_main(s);
}
