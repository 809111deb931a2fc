/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/shmem.c: its PCI function, its options, and a host that cannot give what it asks for.
 */
#include <errno.h>
#include <sys/stat.h>

#include "tests/unit/vd_shmem_guest.h"
#include "vdevs/shmem.h"

/* ---- PCI ---- */

static const struct { unsigned off, size; uint32_t want; } id_rows[] = {
	{ PCI_VENDOR_ID, 4, 0x00011c05 },
	{ PCI_CLASS_REVISION, 4, 0x05800000 },
	{ PCI_HEADER_TYPE, 1, 0 },
	{ PCI_SUBSYSTEM_VENDOR_ID, 4, 0x00011c05 },
	{ PCI_INTERRUPT_PIN, 1, 1 },
	{ PCI_BASE_ADDRESS_0, 4, 0 },
	{ PCI_BASE_ADDRESS_1, 4, 0 },
	{ PCI_BASE_ADDRESS_2, 4, 0xc },
	{ PCI_BASE_ADDRESS_3, 4, 0 },
	{ PCI_BASE_ADDRESS_4, 4, 0 },
	{ PCI_STATUS, 2, 0 },
};
START_TEST(pci_identity)
{
	struct guest g;

	regions_open();
	guest_init(&g);
	ck_assert_int_eq(vdh_create(&g.h, "shmem", VD_PCI, 0, 0), 0);
	ck_assert_uint_eq(vdh_cfg_read(&g.h, id_rows[_i].off, id_rows[_i].size), id_rows[_i].want);
	vdh_cfg_write(&g.h, PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	vdh_cfg_write(&g.h, PCI_BASE_ADDRESS_2, 4, UINT32_MAX);
	vdh_cfg_write(&g.h, PCI_BASE_ADDRESS_3, 4, UINT32_MAX);
	ck_assert_uint_eq(vdh_cfg_read(&g.h, PCI_BASE_ADDRESS_0, 4), 0xfffff000);
	ck_assert_uint_eq(vdh_cfg_read(&g.h, PCI_BASE_ADDRESS_2, 4), 0xfff0000c);
	ck_assert_uint_eq(vdh_cfg_read(&g.h, PCI_BASE_ADDRESS_3, 4), 0xffffffff);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

/* The window moves, with the regions in it; over RAM they are nowhere, and come back. */
START_TEST(bar_moves)
{
	struct guest g;

	regions_open();
	guest_start(&g, VD_PCI);
	uint64_t page = created(&g, "x", 2);
	ck_assert_uint_eq(page, BAR2_AT);
	*vdh_ram(&g.h, page + 4096, 1) = 'm';
	vdh_cfg_write(&g.h, PCI_COMMAND, 2, 0);
	ck_assert_uint_eq(vdh_rams(&g.h), 0);
	ck_assert_uint_eq(create(&g, "y", 1), UINT32_MAX);	/* the factory is gone as well */
	vdh_cfg_write(&g.h, PCI_BASE_ADDRESS_2, 4, 0x40000000);
	vdh_cfg_write(&g.h, PCI_BASE_ADDRESS_3, 4, 1);
	vdh_cfg_write(&g.h, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(reg(&g, 8, 8), 0x140000000);
	ck_assert_int_eq(*vdh_ram(&g.h, 0x140001000, 2 * 4096), 'm');
	ck_assert_uint_eq(ctl(&g, 0x140000000, 0), 1 << 16);
	/* A BAR of 0 is nowhere: the factory answers, and has no room. */
	vdh_cfg_write(&g.h, PCI_BASE_ADDRESS_2, 4, 0);
	vdh_cfg_write(&g.h, PCI_BASE_ADDRESS_3, 4, 0);
	ck_assert_uint_eq(reg(&g, 8, 8), 0);
	ck_assert_uint_eq(create(&g, "y", 1), NOMEM);
	ck_assert_uint_eq(vdh_fault_count(&g.h, VD_FAULT_BAD_ADDR), 0);
	vdh_cfg_write(&g.h, PCI_BASE_ADDRESS_2, 4, VDH_RAM_GPA);
	ck_assert_uint_eq(vdh_rams(&g.h), 0);
	ck_assert_uint_eq(vdh_fault_count(&g.h, VD_FAULT_BAD_ADDR), 1);
	ck_assert_uint_eq(create(&g, "y", 1), UNKNOWN_FAILURE);
	vdh_cfg_write(&g.h, PCI_BASE_ADDRESS_2, 4, (uint32_t)BAR2_AT);
	ck_assert_int_eq(*vdh_ram(&g.h, page + 4096, 1), 'm');
	created(&g, "y", 1);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

START_TEST(pci_interrupt_disable)
{
	struct guest g;

	regions_open();
	guest_start(&g, VD_PCI);
	uint64_t page = created(&g, "x", 1);
	ctl_set(&g, page, 8, 1);
	ck_assert(g.h.level[0]);
	ck_assert_uint_eq(vdh_cfg_read(&g.h, PCI_STATUS, 2), PCI_STATUS_INTERRUPT);
	vdh_cfg_write(&g.h, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	ck_assert(!g.h.level[0]);
	ck_assert_uint_eq(vdh_cfg_read(&g.h, PCI_STATUS, 2), PCI_STATUS_INTERRUPT);
	vdh_cfg_write(&g.h, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	ck_assert(g.h.level[0]);
	ctl(&g, page, 0);
	ck_assert(!g.h.level[0]);
	ck_assert_uint_eq(vdh_cfg_read(&g.h, PCI_STATUS, 2), 0);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

/* ---- what the host cannot give ---- */

START_TEST(host_is_full)
{
	struct guest g;

	regions_open();
	guest_start(&g, VD_MEM);
	g.h.no_rams = true;
	ck_assert_uint_eq(create(&g, "x", 1), NOMEM);
	ck_assert_uint_eq(reg(&g, 8, 8), 0);
	ck_assert_uint_eq(find(&g, "x"), DOES_NOT_EXIST);	/* it did not stay */
	g.h.no_rams = false;
	created(&g, "x", 1);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

START_TEST(no_hub)
{
	struct vdh h;

	vdh_init(&h);
	ck_assert_int_eq(vdh_create(&h, "shmem", VD_MEM, MMIO_BASE, 1), -ENOENT);
	vdh_fini(&h);
}
END_TEST

/* The host's window is taken away: 10,000 times, nothing is left. */
START_TEST(ten_thousand_creates)
{
	struct guest g;

	regions_open();
	guest_start(&g, VD_MEM);
	uint64_t first = 0;
	unsigned fds = 0;
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t page = created(&g, "x", 1 + i % 3);

		if (i == 0) {
			first = page;
			fds = fixture_count_fds();
		}
		ck_assert_uint_eq(page, first);
		ck_assert_uint_eq(ctl(&g, page, 4), 0);
		ctl_set(&g, page, 0xc, 0);
	}
	ck_assert_uint_le(fixture_count_fds(), fds);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

/* ---- options ---- */

static const struct {
	const char *opt1, *text1, *opt2, *text2;
	const char *name;
	bool want;
} permit_rows[] = {
	{ NULL, NULL, NULL, NULL, "any", true },
	{ "allow", "fb_*", NULL, NULL, "fb_shared", true },
	{ "allow", "fb_*", NULL, NULL, "fb", false },
	{ "allow", "fb_*", "allow", "x?", "xy", true },
	{ "allow", "fb_*", "allow", "x?", "xyz", false },
	{ "allow", "[a-c]1", NULL, NULL, "b1", true },
	{ "allow", "[a-c]1", NULL, NULL, "d1", false },
	{ "deny", "fb_*", NULL, NULL, "fb_shared", false },
	{ "deny", "fb_*", NULL, NULL, "other", true },
	{ "deny", "fb_*", "deny", "*", "other", false },
};
START_TEST(permits)
{
	struct guest g;

	regions_open();
	guest_init(&g);
	if (permit_rows[_i].opt1)
		vdh_arg(&g.h, permit_rows[_i].opt1, permit_rows[_i].text1, 0);
	if (permit_rows[_i].opt2)
		vdh_arg(&g.h, permit_rows[_i].opt2, permit_rows[_i].text2, 0);
	guest_open(&g, VD_MEM);
	ck_assert_uint_eq(create(&g, permit_rows[_i].name, 1),
			  permit_rows[_i].want ? OK : NO_PERMISSION);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

static const struct {
	const char *opt, *text;
	uint64_t num;
	const char *want;	/* what is said; NULL: nothing */
} option_rows[] = {
	{ "create", "x,4k", 0, NULL },
	{ "create", "x,0x1000", 0, NULL },
	{ "create", "x,0d4096", 0, NULL },
	{ "create", "a,b,1", 0, NULL },
	{ "create", "x", 0, "expected name,size" },
	{ "create", "x,", 0, "expected name,size" },
	{ "create", "x,0x", 0, "expected name,size" },
	{ "create", "x,4q", 0, "expected name,size" },
	{ "create", "x,4kk", 0, "expected name,size" },
	{ "create", "x,-1", 0, "expected name,size" },
	{ "create", "x,99999999999999999999", 0, "expected name,size" },
	{ "create", "x,99999999999999g", 0, "expected name,size" },
	{ "create", ",4k", 0, "the name of a region" },
	{ "create", "a/b,4k", 0, "the name of a region" },
	{ "create", "0123456789abcdef0123456789abcdefg,4k", 0, "the name of a region" },
	{ "create", "0123456789abcdef0123456789abcdef,4k", 0, NULL },
	{ "create", "x,0", 0, "1 byte to 256 MiB" },
	{ "create", "x,1g", 0, "1 byte to 256 MiB" },
	{ "create", "x,1m", 0, "larger than the window" },
	{ "create", "x,1020k", 0, NULL },
	{ "create", "twice,2k", 0, "of this name already" },
	{ "deny", "x", 0, "not used together" },
	{ "window", "4k", 4096, "a power of 2 from 64k to 256m" },
	{ "window", "100k", 102400, "a power of 2 from 64k to 256m" },
	{ "window", "512m", 512 << 20, "a power of 2 from 64k to 256m" },
	{ "window", "256m", 256 << 20, NULL },
};
START_TEST(options)
{
	struct guest g;

	regions_open();
	guest_init(&g);
	vdh_arg(&g.h, "create", "twice,1k", 0);
	vdh_arg(&g.h, "allow", "*", 0);
	vdh_arg(&g.h, option_rows[_i].opt, option_rows[_i].text, option_rows[_i].num);
	int r = vdh_create(&g.h, "shmem", VD_MEM, MMIO_BASE, 1);
	ck_assert_int_eq(r, option_rows[_i].want ? -EINVAL : 0);
	if (option_rows[_i].want) {
		ck_assert_uint_eq(g.h.errs.n_errors, 1);
		ck_assert_msg(strstr(g.h.errs.v[0].text, option_rows[_i].want) != NULL, "%s",
			      g.h.errs.v[0].text);
	}
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

START_TEST(too_many_creates)
{
	static const char *const text[] = { "a,1", "b,1", "c,1", "d,1", "e,1", "f,1", "g,1" };
	struct guest g;

	regions_open();
	guest_init(&g);
	for (unsigned i = 0; i < Q_ARRAY_LEN(text); i++)
		vdh_arg(&g.h, "create", text[i], 0);
	struct vd_arg args[10];
	memcpy(args, g.h.args, sizeof(g.h.args));
	args[8] = args[9] = args[1];
	args[8].text = "h,1";
	args[9].text = "i,1";
	struct cf_errors errs = CF_ERRORS_NULL;
	struct vd_config cfg = g.h.cfg;
	cfg.args = args;
	cfg.n_args = 9;
	shmem_check(&cfg, &errs);
	ck_assert(cf_errors_ok(&errs));
	cfg.n_args = 10;
	shmem_check(&cfg, &errs);
	ck_assert_uint_eq(errs.n_errors, 1);
	cf_errors_fini(&errs);
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

/* create makes the region for others before anybody connects, and keeps it when all have left. */
START_TEST(created_at_start)
{
	struct guest g, other;
	struct qshm_conn *c = NULL;

	regions_open();
	guest_init(&g);
	vdh_arg(&g.h, "create", "x,5000", 0);
	guest_open(&g, VD_MEM);
	ck_assert_int_eq(qshm_join(hub, "x", 0, &c), 0);
	ck_assert_uint_eq(qshm_pages(c), 2);
	ck_assert_uint_eq(qshm_index(c), 0);	/* it is no client by that */
	qshm_leave(c);
	ck_assert_uint_eq(find(&g, "x"), OK);
	uint64_t page = reg(&g, 8, 8);
	*vdh_ram(&g.h, page + 4096, 1) = 'c';
	ctl_set(&g, page, 0xc, 0);
	ck_assert_uint_eq(find(&g, "x"), OK);
	ck_assert_int_eq(*vdh_ram(&g.h, page + 4096, 1), 'c');
	/* Another VM that says the same with another size is told so, and gets this one. */
	guest_init(&other);
	vdh_arg(&other.h, "create", "x,4k", 0);
	guest_open(&other, VD_MEM);
	ck_assert_msg(strstr(other.h.logged, "ev=shmem_size region=x pages=2 asked=1") != NULL,
		      "%s", other.h.logged);
	vdh_fini(&other.h);
	vdh_fini(&g.h);
	ck_assert_int_eq(qshm_join(hub, "x", 0, &c), QSHM_ABSENT);
	regions_close();
}
END_TEST

/* Sixteen VMs may keep a region; one more does not start, and says why. */
START_TEST(too_many_keep)
{
	struct guest g;
	struct qshm_conn *k[QSHM_KEEPERS];

	regions_open();
	for (unsigned i = 0; i < QSHM_KEEPERS; i++)
		ck_assert_int_eq(qshm_keep(hub, "x", 1, &k[i]), 0);
	guest_init(&g);
	vdh_arg(&g.h, "create", "x,4k", 0);
	ck_assert_int_eq(vdh_create(&g.h, "shmem", VD_MEM, MMIO_BASE, 1), -EBUSY);
	vdh_fini(&g.h);
	for (unsigned i = 0; i < QSHM_KEEPERS; i++)
		qshm_leave(k[i]);
	regions_close();
}
END_TEST

START_TEST(status_text)
{
	struct guest g;
	char text[512], small[20];

	regions_open();
	guest_start(&g, VD_MEM);
	g.h.v->ops->status(g.h.v, text, sizeof(text));
	ck_assert_str_eq(text, "irq=0");
	created(&g, "x", 3);
	g.h.v->ops->status(g.h.v, text, sizeof(text));
	ck_assert_str_eq(text,
			 "region=x index=0 pages=3 addr=0xd0000000 status=0x10000 irq=0");
	g.h.v->ops->status(g.h.v, small, sizeof(small));
	ck_assert_uint_lt(strlen(small), sizeof(small));
	vdh_fini(&g.h);
	regions_close();
}
END_TEST

START_TEST(device_tree)
{
	struct vd_fdt fdt = { 0 };
	const struct vd_type *t = vdev_type_find("shmem");

	t->fdt(&(struct vd_config){ 0 }, &fdt);
	ck_assert_str_eq(fdt.node, "shmem");
	ck_assert_mem_eq(fdt.compatible, "qvm,guest_shm\0", 15);
	ck_assert(!fdt.irq_edge);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_shmem_host");
	TCase *tc = fixture_case(s, "vd_shmem_host");

	tcase_add_loop_test(tc, pci_identity, 0, Q_ARRAY_LEN(id_rows));
	tcase_add_test(tc, bar_moves);
	tcase_add_test(tc, pci_interrupt_disable);
	tcase_add_test(tc, host_is_full);
	tcase_add_test(tc, no_hub);
	tcase_add_test(tc, ten_thousand_creates);
	tcase_add_loop_test(tc, permits, 0, Q_ARRAY_LEN(permit_rows));
	tcase_add_loop_test(tc, options, 0, Q_ARRAY_LEN(option_rows));
	tcase_add_test(tc, too_many_creates);
	tcase_add_test(tc, created_at_start);
	tcase_add_test(tc, too_many_keep);
	tcase_add_test(tc, status_text);
	tcase_add_test(tc, device_tree);
	return fixture_main(s);
}
