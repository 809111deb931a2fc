/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/shmem.c: every register and result, of one guest and of several on one set of regions, by
 * PCI and by MMIO. What PCI adds, options and a host that cannot are in t_vd_shmem_host.c.
 */
#include "tests/unit/vd_shmem_guest.h"

static const enum vd_space buses[] = { VD_MEM, VD_PCI };

/* ---- the factory ---- */

static const struct { uint64_t off; unsigned size; uint64_t want; } factory_rows[] = {
	{ 0x00, 8, 0x4d534732474d5651 },
	{ 0x00, 4, 0x474d5651 },
	{ 0x04, 4, 0x4d534732 },
	{ 0x00, 1, 'Q' },
	{ 0x07, 1, 'M' },
	{ 0x02, 2, 0x474d },
	{ 0x08, 8, 0 },
	{ 0x10, 4, 38 },
	{ 0x10, 1, 38 },
	{ 0x10, 8, 38 },
	{ 0x14, 4, 0 },
	{ 0x18, 4, 0 },
	{ 0x1c, 8, 0 },
	{ 0x3c, 4, 0 },
	{ 0x3c, 8, 0 },
	{ 0x40, 8, 0 },
	{ 0xff8, 8, 0 },
	{ 0xfff, 1, 0 },
};
START_TEST(factory_at_first)
{
	for (unsigned b = 0; b < 2; b++) {
		struct guest g;

		regions_open();
		guest_start(&g, buses[b]);
		ck_assert_uint_eq(reg(&g, factory_rows[_i].off, factory_rows[_i].size),
				  factory_rows[_i].want);
		vdh_fini(&g.h);
		regions_close();
	}
}
END_TEST

START_TEST(no_interrupt_no_vector)
{
	struct guest g;

	regions_open();
	guest_init(&g);
	g.h.irq_number[0] = -1;
	guest_open(&g, VD_MEM);
	ck_assert_uint_eq(reg(&g, 0x10, 4), 0);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

/* What is read-only stays; the name takes bytes of any width. */
START_TEST(factory_writes)
{
	struct guest g;

	regions_open();
	guest_start(&g, VD_MEM);
	for (uint64_t off = 0; off < 0x18; off += 4)
		reg_set(&g, off, 4, 0xffffffff);
	reg_set(&g, 0x40, 8, ~0ull);
	reg_set(&g, 0xff8, 8, ~0ull);
	for (unsigned i = 0; i < Q_ARRAY_LEN(factory_rows); i++)
		ck_assert_uint_eq(reg(&g, factory_rows[i].off, factory_rows[i].size),
				  factory_rows[i].want);
	reg_set(&g, 0x1c, 4, 0x64636261);
	reg_set(&g, 0x20, 8, 0x6c6b6a6968676665);
	reg_set(&g, 0x28, 2, 0x6e6d);
	reg_set(&g, 0x2a, 1, 'o');
	ck_assert_uint_eq(reg(&g, 0x1c, 8), 0x6867666564636261);
	ck_assert_uint_eq(reg(&g, 0x24, 8), 0x6f6e6d6c6b6a69);
	ck_assert_uint_eq(reg(&g, 0x2a, 1), 'o');
	ck_assert_uint_eq(vdh_fault_count(&g.h, VD_FAULT_BAD_ADDR), 0);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

/* Widths that a compiler may make of "shm->size = n", and one that writes to the name as well. */
START_TEST(size_widths)
{
	static const struct { uint64_t off; unsigned size; uint64_t val; uint32_t want; } rows[] = {
		{ 0x18, 4, 3, 3 }, { 0x18, 1, 4, 4 }, { 0x18, 2, 5, 5 },
		{ 0x18, 8, (uint64_t)'z' << 32 | 6, 6 }, { 0x14, 8, 7ull << 32, 7 },
	};

	for (unsigned i = 0; i < Q_ARRAY_LEN(rows); i++) {
		struct guest g;

		regions_open();
		guest_start(&g, VD_MEM);
		name_set(&g, "abcd");
		reg_set(&g, rows[i].off, rows[i].size, rows[i].val);
		ck_assert_uint_eq(reg(&g, 0x14, 4), OK);
		ck_assert_uint_eq(reg(&g, 0x18, 4), rows[i].want);
		/* Names are stored before what the same access starts. */
		ck_assert_uint_eq(find(&g, "z"), rows[i].val >> 32 == 'z' ? OK : DOES_NOT_EXIST);
		vdh_fini(&g.h);
		regions_close();
	}
}
END_TEST

/* ---- results ---- */

START_TEST(results)
{
	for (unsigned b = 0; b < 2; b++) {
		struct guest g;

		regions_open();
		guest_init(&g);
		vdh_arg(&g.h, "deny", "secret*", 0);
		guest_open(&g, buses[b]);
		ck_assert_uint_eq(find(&g, "x"), DOES_NOT_EXIST);
		ck_assert_uint_eq(create(&g, "x", 0), UNKNOWN_FAILURE);
		ck_assert_uint_eq(create(&g, "", 1), ILLEGAL_NAME);
		ck_assert_uint_eq(create(&g, "a/b", 1), ILLEGAL_NAME);
		ck_assert_uint_eq(create(&g, "..", 1), ILLEGAL_NAME);
		ck_assert_uint_eq(find(&g, "a b"), ILLEGAL_NAME);
		ck_assert_uint_eq(create(&g, "secret", 1), NO_PERMISSION);
		ck_assert_uint_eq(find(&g, "secret7"), NO_PERMISSION);
		ck_assert_uint_eq(create(&g, "x", 256), NOMEM);	/* and a control page: too much */
		ck_assert_uint_eq(create(&g, "x", UINT32_MAX), NOMEM);
		ck_assert_uint_eq(reg(&g, 8, 8), 0);
		ck_assert_uint_eq(reg(&g, 0x18, 4), 0);
		ck_assert_uint_eq(find(&g, "x"), DOES_NOT_EXIST);
		/* A name that fills its field has no NUL. */
		ck_assert_uint_eq(create(&g, "0123456789abcdef0123456789abcdef", 1), OK);
		ck_assert_uint_eq(create(&g, "x", 2), OK);
		ck_assert_uint_eq(reg(&g, 0x18, 4), 2);
		ck_assert_uint_ne(reg(&g, 8, 8), 0);
		ck_assert_uint_eq(find(&g, "x"), OK);
		ck_assert_uint_eq(reg(&g, 0x18, 4), 2);
		/* A failure is the last result: no address of before. */
		ck_assert_uint_eq(find(&g, "y"), DOES_NOT_EXIST);
		ck_assert_uint_eq(reg(&g, 8, 8), 0);
		vdh_fini(&g.h);
		regions_close();
	}
}
END_TEST

START_TEST(connections_are_bounded)
{
	struct guest g;
	char name[16];

	regions_open();
	guest_start(&g, VD_MEM);
	uint64_t page[16];
	for (unsigned i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		page[i] = created(&g, name, 1);
		ck_assert_uint_eq(page[i], VDH_MORE_BASE + i * 8192);
	}
	ck_assert_uint_eq(create(&g, "more", 1), CLIENT_MAX);
	ck_assert_uint_eq(create(&g, "r0", 1), CLIENT_MAX);
	ck_assert_uint_eq(vdh_rams(&g.h), 16);
	ctl_set(&g, page[5], 0xc, 0);
	ck_assert_uint_eq(vdh_rams(&g.h), 15);
	ck_assert_uint_eq(created(&g, "more", 1), page[5]);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

/* Sixteen of one region, in two guests; the seventeenth is refused, by either. */
START_TEST(seventeenth)
{
	struct guest a, b;

	regions_open();
	guest_start(&a, VD_MEM);
	guest_start(&b, VD_PCI);
	uint64_t last = 0;
	for (unsigned i = 0; i < 16; i++) {
		struct guest *g = i % 2 ? &a : &b;
		last = created(g, "x", 1);
		ck_assert_uint_eq(ctl(g, last, 4), i);
	}
	ck_assert_uint_eq(create(&a, "x", 1), CLIENT_MAX);
	ck_assert_uint_eq(find(&b, "x"), CLIENT_MAX);
	ctl_set(&a, last, 0xc, 1);
	ck_assert_uint_eq(find(&b, "x"), OK);
	ck_assert_uint_eq(ctl(&b, reg(&b, 8, 8), 4), 15);
	vdh_fini(&a.h);
	vdh_fini(&b.h);
	regions_close();
}
END_TEST

/* The first creator fixes the size; one that does not fit is not shown. */
START_TEST(sizes)
{
	struct guest a, b;
	struct qshm_conn *host = NULL;

	regions_open();
	guest_start(&a, VD_MEM);
	guest_start(&b, VD_PCI);
	created(&a, "x", 7);
	created(&b, "x", 100);
	ck_assert_uint_eq(reg(&b, 0x18, 4), 7);
	/* Too large to make, but it is there. */
	ck_assert_uint_eq(create(&b, "x", UINT32_MAX), OK);
	ck_assert_uint_eq(reg(&b, 0x18, 4), 7);
	ck_assert_int_eq(qshm_join(hub, "large", 1000, &host), 0);
	ck_assert_uint_eq(find(&a, "large"), NOMEM);
	ck_assert_uint_eq(create(&a, "large", 1), NOMEM);
	qshm_leave(host);
	vdh_fini(&a.h);
	vdh_fini(&b.h);
	regions_close();
}
END_TEST

/* Holes of any size are used again: first fit. */
START_TEST(window_is_shared)
{
	struct guest g;

	regions_open();
	guest_start(&g, VD_MEM);
	uint64_t a = created(&g, "a", 100), b = created(&g, "b", 50), c = created(&g, "c", 102);
	ck_assert_uint_eq(b, a + 101 * 4096);
	ck_assert_uint_eq(c, b + 51 * 4096);
	ck_assert_uint_eq(create(&g, "d", 1), NOMEM);	/* a page is left, two are needed */
	ctl_set(&g, b, 0xc, 0);
	ck_assert_uint_eq(create(&g, "d", 51), NOMEM);
	ck_assert_uint_eq(created(&g, "d", 24), b);
	ck_assert_uint_eq(created(&g, "e", 25), b + 25 * 4096);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

/* ---- a connection ---- */

START_TEST(data_and_bells)
{
	struct guest a, b;

	regions_open();
	guest_start(&a, buses[_i % 2]);
	guest_start(&b, buses[_i / 2]);
	uint64_t pa = created(&a, "x", 3);
	ck_assert_uint_eq(ctl(&a, pa, 0), 1 << 16);
	ck_assert_uint_eq(ctl(&a, pa, 4), 0);
	ck_assert_uint_eq(ctl(&a, pa, 8), 0);
	ck_assert_uint_eq(ctl(&a, pa, 0xc), 0);
	ck_assert_uint_eq(ctl(&a, pa, 0x10), 0);
	ck_assert_uint_eq(ctl(&a, pa, 0xffc), 0);
	ck_assert(!a.h.level[0]);
	uint64_t pb = created(&b, "x", 3);
	/* Somebody came: the first is told, and only by reading status it goes down. */
	until_irq(&a);
	ck_assert_uint_eq(ctl(&a, pa, 4), 0);
	ck_assert(a.h.level[0]);
	ck_assert_uint_eq(ctl(&a, pa, 0), 3 << 16);
	ck_assert(!a.h.level[0]);
	ck_assert(!b.h.level[0]);
	/* The same memory. */
	char *ma = vdh_ram(&a.h, pa + 4096, 3 * 4096), *mb = vdh_ram(&b.h, pb + 4096, 3 * 4096);
	ck_assert(ma && mb && ma != mb);
	ck_assert_ptr_null(vdh_ram(&a.h, pa, 1));	/* not the control page */
	memset(ma, 'q', 3 * 4096);
	ck_assert_int_eq(mb[3 * 4096 - 1], 'q');
	/* Bells. */
	ctl_set(&a, pa, 8, 1 << 1);
	until_irq(&b);
	ck_assert_uint_eq(ctl(&b, pb, 0), 3 << 16 | 1);
	ck_assert(!b.h.level[0]);
	ck_assert_uint_eq(ctl(&b, pb, 0), 3 << 16);
	ctl_set(&b, pb, 8, ~0u);
	until_irq(&a);
	ck_assert(!b.h.level[0]);
	ck_assert_uint_eq(ctl(&a, pa, 0), 3 << 16 | 2);
	ctl_set(&a, pa, 8, 0xfffc);	/* nobody there */
	ctl_set(&a, pa, 8, 1);		/* itself */
	ck_assert(a.h.level[0]);
	ck_assert_uint_eq(ctl(&a, pa, 0), 3 << 16 | 1);
	/* Detach: the other is told, the window is closed. */
	ctl_set(&b, pb, 0xc, 0);
	until_irq(&a);
	ck_assert_uint_eq(ctl(&a, pa, 0), 1 << 16);
	ck_assert_ptr_null(vdh_ram(&b.h, pb + 4096, 1));
	ck_assert_uint_eq(ctl(&b, pb, 0), UINT32_MAX);
	ck_assert_uint_eq(ctl(&b, pb, 4096), UINT32_MAX);
	ctl_set(&b, pb, 8, ~0u);
	ck_assert_uint_eq(vdh_fault_count(&b.h, VD_FAULT_BAD_ADDR), 3);
	ck_assert_uint_eq(reg(&b, 8, 8), 0);
	/* It comes back to the same data, which the other kept. */
	pb = created(&b, "x", 1);
	ck_assert_int_eq(*vdh_ram(&b.h, pb + 4096, 3 * 4096), 'q');
	until_status(&a, pa, 3 << 16);
	vdh_fini(&b.h);
	until_status(&a, pa, 1 << 16);
	vdh_fini(&a.h);
	regions_close();
}
END_TEST

/* A driver that reads a part of status clears that part, and lets the interrupt go down. */
START_TEST(status_widths)
{
	static const struct {
		uint64_t off;
		unsigned size;
		uint64_t want;
		uint32_t left;	/* bells that are still there afterwards */
	} rows[] = {
		{ 0, 4, 0x301 << 16 | 0x201, 0 },
		{ 0, 2, 0x201, 0 },
		{ 0, 1, 0x01, 0x200 },
		{ 1, 1, 0x02, 0x001 },
		{ 2, 2, 0x301, 0x201 },
		{ 0, 8, 0x301 << 16 | 0x201, 0 },
		{ 3, 1, 0x03, 0x201 },
		{ 4, 4, 0, 0x201 },
	};
	struct guest g;
	struct qshm_conn *c[9];

	regions_open();
	guest_start(&g, VD_MEM);
	uint64_t page = created(&g, "x", 1);
	for (unsigned i = 0; i < 9; i++)
		ck_assert_int_eq(qshm_join(hub, "x", 1, &c[i]), 0);
	for (unsigned i = 0; i < 7; i++)
		c[i] = qshm_leave(c[i]);
	until_status(&g, page, 0x301 << 16);
	ctl_set(&g, page, 8, 1);
	qshm_ring(c[8], 1);
	uint64_t end = qnow_ns() + WAIT_S * Q_NSEC_PER_SEC;
	char status[256] = "";
	while (!strstr(status, "status=0x3010201")) {
		ck_assert(qnow_ns() < end);
		g.h.v->ops->status(g.h.v, status, sizeof(status));
		vdh_step(&g.h, 10);
	}
	vdh_settle(&g.h);
	ck_assert(g.h.level[0]);
	ck_assert_uint_eq(vdh_read(&g.h, VD_MEM, page + rows[_i].off, rows[_i].size),
			  rows[_i].want);
	ck_assert_int_eq(g.h.level[0], rows[_i].left != 0);
	ck_assert_uint_eq(ctl(&g, page, 0), 0x301u << 16 | rows[_i].left);
	ck_assert(!g.h.level[0]);
	qshm_leave(c[7]);
	qshm_leave(c[8]);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

START_TEST(notify_widths)
{
	static const struct { uint64_t off; unsigned size; uint64_t val; uint32_t got; } rows[] = {
		{ 8, 4, 2, 2 }, { 8, 1, 2, 2 }, { 8, 2, 2, 2 }, { 8, 8, 2, 2 },
		{ 9, 1, 1, 0x100 }, { 8, 2, 0xffff, 0x102 }, { 8, 4, 0xffff0000, 0 },
		{ 8, 1, 0xff, 3 }, { 6, 2, 0xffff, 0 }, { 0xa, 2, 0xffff, 0 },
	};
	struct guest g;
	struct qshm_conn *c[8];
	bool detaches = rows[_i].size == 8;

	regions_open();
	guest_start(&g, VD_MEM);
	uint64_t page = created(&g, "x", 1);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_int_eq(qshm_join(hub, "x", 1, &c[i]), 0);
	until_status(&g, page, 0x1ff << 16);
	vdh_write(&g.h, VD_MEM, page + rows[_i].off, rows[_i].size, rows[_i].val);
	/* What came and did not, told apart by a bell behind it. */
	uint32_t self = detaches ? UINT32_MAX : ctl(&g, page, 0);
	if (!detaches)
		ck_assert_uint_eq(self & 0xffff, rows[_i].got & 1);
	for (unsigned i = 1; i <= 8; i++) {
		struct qshm_conn *d = c[i - 1];
		uint64_t end = qnow_ns() + WAIT_S * Q_NSEC_PER_SEC;
		bool want = rows[_i].got >> i & 1;

		if (!want && !detaches)
			ctl_set(&g, page, 8, 1u << i);
		while ((qshm_status(d) & 1) != (want || !detaches) && qnow_ns() < end)
			usleep(1000);
		ck_assert_uint_eq(qshm_status(d) & 1, want || !detaches);
		qshm_leave(d);
	}
	if (detaches)
		ck_assert_uint_eq(ctl(&g, page, 0), UINT32_MAX);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

/* One interrupt for all connections of the factory. */
START_TEST(two_regions_one_interrupt)
{
	struct guest a, b;

	regions_open();
	guest_start(&a, VD_MEM);
	guest_start(&b, VD_PCI);
	uint64_t ax = created(&a, "x", 1), ay = created(&a, "y", 1);
	uint64_t bx = created(&b, "x", 1), by = created(&b, "y", 1);
	until_status(&a, ax, 3 << 16);
	until_status(&a, ay, 3 << 16);
	vdh_settle(&a.h);
	ck_assert(!a.h.level[0]);
	ctl_set(&b, bx, 8, 1);
	ctl_set(&b, by, 8, 1);
	until_status(&a, ax, 3 << 16 | 2);
	until_irq(&a);
	until_status(&a, ay, 3 << 16 | 2);
	ck_assert(!a.h.level[0]);
	/* One that is pending when it is detached lets the interrupt go. */
	ctl_set(&b, bx, 8, 1);
	until_irq(&a);
	ctl_set(&a, ax, 0xc, 0);
	ck_assert(!a.h.level[0]);
	vdh_fini(&a.h);
	vdh_fini(&b.h);
	regions_close();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_shmem");
	TCase *tc = fixture_case(s, "vd_shmem");

	tcase_add_loop_test(tc, factory_at_first, 0, Q_ARRAY_LEN(factory_rows));
	tcase_add_test(tc, no_interrupt_no_vector);
	tcase_add_test(tc, factory_writes);
	tcase_add_test(tc, size_widths);
	tcase_add_test(tc, results);
	tcase_add_test(tc, connections_are_bounded);
	tcase_add_test(tc, seventeenth);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, window_is_shared);
	tcase_add_loop_test(tc, data_and_bells, 0, 4);
	tcase_add_loop_test(tc, status_widths, 0, 8);
	tcase_add_loop_test(tc, notify_widths, 0, 10);
	tcase_add_test(tc, two_regions_one_interrupt);
	return fixture_main(s);
}
