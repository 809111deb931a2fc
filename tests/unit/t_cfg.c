/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program gets from cfg.h: the structure, ownership, and what holds for every configuration.
 * What is said of which mistake is in tests/golden.
 */
#include <errno.h>

#include "qvm/cfg_int.h"
#include "qvm/hosttypes.h"
#include "qvm/memmap.h"
#include "tests/unit/fixture.h"

static char folder[256];
static struct cf_errors errs;

static void setup(void)
{
	errs = CF_ERRORS_NULL;
	fixture_mkdir(folder, sizeof(folder));
	ck_assert_int_eq(chdir(folder), 0);
	FILE *f = fopen("linux", "w");
	ck_assert_ptr_nonnull(f);
	fputs("x", f);
	ck_assert_int_eq(fclose(f), 0);
}

static void teardown(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	fixture_rmdir(folder);
	cf_errors_fini(&errs);
}

static struct vm_cfg *parse(const struct cfg_arch *arch, const char *text)
{
	struct vm_cfg *cfg = NULL;
	int r = cfg_parse_text(arch, "t", text, strlen(text), &errs, &cfg);
	if (r < 0)
		cf_errors_print(&errs, stderr);
	ck_assert_int_eq(r, 0);
	return cfg;
}

START_TEST(everything)
{
	struct vm_cfg *cfg = parse(&cfg_arch_x86,
		"system vm ram 0x100000000,1g ram 0,64m cpu sched 7f runmask 65 cpu "
		"load 0x1000,linux initrd load linux cmdline \"a\n   b\" "
		"vdev ioapic intr apic name pic "
		"vdev ser8250 loc 0x2f8 intr pic:3 hostdev >a hostdev <b "
		"vdev virtio-blk hostdev linux loc pci:0:9 "
		"reserve intr 7 logger error stdout set exit-on-halt off dryrun");
	ck_assert_str_eq(cfg->system, "vm");
	ck_assert(cfg->system_given && cfg->dryrun && !cfg->exit_on_halt && !cfg->dryrun_json);
	ck_assert_uint_eq(cfg->n_ram, 2);
	ck_assert_uint_eq(cfg->ram[0].gpa, 0);
	ck_assert_uint_eq(cfg->ram[1].len_bytes, 1 << 30);
	ck_assert_uint_eq(cfg->n_cpus, 2);
	ck_assert_int_eq(cfg->cpus[0].policy, CFG_SCHED_FIFO);
	ck_assert_uint_eq(cfg->cpus[0].prio, 7);
	ck_assert_uint_eq(cfg->cpus[0].runmask[1], 2);
	ck_assert_int_eq(cfg->cpus[1].policy, CFG_SCHED_INHERIT);
	ck_assert_uint_eq(cfg->n_loads, 2);
	ck_assert(cfg->loads[0].has_addr && cfg->loads[0].gpa == 0x1000);
	ck_assert_int_eq(cfg->loads[1].type, CFG_LOAD_INITRD);
	ck_assert_str_eq(cfg->cmdline, "a b");
	ck_assert_uint_eq(cfg->n_vdevs, 3);
	ck_assert_ptr_eq(cfg->vdevs[0].type, &qvm_type_ioapic);
	ck_assert(cfg->vdevs[0].irqs[0].none);
	const struct cfg_vdev *uart = &cfg->vdevs[1];
	ck_assert_str_eq(uart->cfg.name, "ser8250-0");
	ck_assert(uart->cfg.space == VD_IO && uart->cfg.base == 0x2f8);
	ck_assert(uart->n_irqs == 1 && uart->irqs[0].line == 3 && !uart->irqs[0].automatic);
	ck_assert_uint_eq(uart->cfg.n_args, 2);
	ck_assert_str_eq(uart->cfg.args[0].text, ">a");
	ck_assert_str_eq(vd_arg_find(&uart->cfg, "hostdev")->text, "<b");
	ck_assert(cfg->vdevs[2].on_pci && cfg->vdevs[2].pci_dev == 9);
	ck_assert_uint_eq(cfg->vdevs[2].irqs[0].line, MM_X86_IRQ_INTX + 1);
	ck_assert(cfg->n_reserves == 1 && cfg->reserves[0].is_irq && cfg->reserves[0].irq == 7);
	ck_assert(cfg->n_loggers == 1 && cfg->loggers[0].mask == QLOG_BIT(QLOG_ERROR));
	ck_assert_ptr_eq(cfg_vdev_of_type(cfg, "virtio-blk"), &cfg->vdevs[2]);
	ck_assert_ptr_null(cfg_vdev_of_type(cfg, "gic"));
	ck_assert_ptr_null(cfg_free(cfg));
}
END_TEST

START_TEST(defaults)
{
	struct vm_cfg *cfg = parse(&cfg_arch_arm64, "ram 64m load linux");
	ck_assert_str_eq(cfg->system, "qvm-guest");
	ck_assert(!cfg->system_given && cfg->exit_on_halt && !cfg->dryrun);
	ck_assert_uint_eq(cfg->ram[0].gpa, MM_ARM64_RAM_BASE);
	ck_assert_uint_eq(cfg->n_cpus, 1);
	ck_assert(cfg->n_vdevs == 0 && !cfg->cmdline && cfg->n_loggers == 0);
	cfg_free(cfg);
}
END_TEST

START_TEST(nothing_given)
{
	struct vm_cfg *cfg = (void *)&errs;
	ck_assert_int_eq(cfg_parse(0, NULL, &errs, &cfg), -EINVAL);
	ck_assert_ptr_eq(cfg, (void *)&errs);	/* not written */
	ck_assert_uint_eq(errs.n_errors, 1);
	ck_assert_ptr_null(cfg_free(NULL));
}
END_TEST

/* The arguments alone, for the architecture of this build. */
START_TEST(native)
{
	const char *const argv[] = { "ram", "64m", "load", "linux" };
	struct vm_cfg *cfg = NULL;
	ck_assert_int_eq(cfg_parse(4, (char *const *)argv, &errs, &cfg), 0);
	ck_assert_ptr_eq(cfg->arch, cfg_arch_native());
	cfg_free(cfg);
}
END_TEST

static const struct {
	const char *word, *type;
} type_rows[] = {
	{ "ioapic", "ioapic" },	      { "vdev-ioapic", "ioapic" },  { "vdev-ioapic.so", "ioapic" },
	{ "gic", "gic" },	      { "vdev-gic.so", "gic" },	    { "ser8250", "ser8250" },
	{ "vdev-pl011.so", "pl011" }, { "vdev-pl011", "pl011" },    { "ioapic.so", NULL },
	{ "vdev-", NULL },	      { "vdev-.so", NULL },	    { "", NULL },
	{ "ioapi", NULL },	      { "ioapic2", NULL },	    { "smmu", NULL },
};

START_TEST(type_row)
{
	const struct vd_type *type = cfg_type_find(type_rows[_i].word);
	ck_assert_msg(!type == !type_rows[_i].type, "'%s'", type_rows[_i].word);
	if (type)
		ck_assert_str_eq(type->name, type_rows[_i].type);
}
END_TEST

/* The table itself: what the machine keeps lies inside its space, and no two share a byte but for
 * the hole, which is about RAM. */
START_TEST(arch_tables)
{
	const struct cfg_arch *a = _i ? &cfg_arch_arm64 : &cfg_arch_x86;
	for (size_t i = 0; i < a->n_windows; i++) {
		const struct cfg_window *w = &a->windows[i];
		ck_assert(qspan_inside(w->base, w->len_bytes,
				       w->space == VD_IO ? 0x10000 : a->addr_limit));
		for (size_t k = 0; k < i; k++)
			ck_assert_msg(w->space != a->windows[k].space || a->windows[k].vdevs_may ||
				      !qspan_overlap(w->base, w->len_bytes, a->windows[k].base,
						     a->windows[k].len_bytes), "%s and %s",
				      w->what, a->windows[k].what);
	}
	for (size_t i = 0; i < a->n_auto_lines; i++) {
		ck_assert_uint_ge(a->auto_lines[i], a->line_first);
		ck_assert_uint_lt(a->auto_lines[i], a->line_end);
		ck_assert(a->auto_lines[i] - a->intx_first >= MM_INTX_LINES);
		for (size_t k = 0; k < a->n_held_lines; k++)
			ck_assert_uint_ne(a->auto_lines[i], a->held_lines[k].line);
	}
	ck_assert_uint_le(a->intx_first + MM_INTX_LINES, a->line_end);
	ck_assert_ptr_eq(cfg_arch_find(a->name), a);
	ck_assert_ptr_null(cfg_arch_find("mips"));
}
END_TEST

/* 256 of a kind are read, more are told, and nothing is left open or leaks. */
START_TEST(many)
{
	char *text = NULL;
	size_t len = 0;
	struct vm_cfg *cfg = NULL;
	FILE *f = open_memstream(&text, &len);
	fputs("ram 64m load linux ", f);
	for (unsigned i = 1; i < CFG_ITEMS_MAX + (unsigned)_i; i++)
		fputs("data load linux ", f);
	fclose(f);
	int r = cfg_parse_text(&cfg_arch_x86, "t", text, len, &errs, &cfg);
	ck_assert_int_eq(r, _i ? -EINVAL : 0);
	ck_assert_uint_eq(errs.n_errors, (unsigned)_i);
	cfg_free(cfg);
	free(text);
}
END_TEST

static void arrays_add(Suite *s, TCase *tc)
{
	tcase_add_loop_test(tc, type_row, 0, Q_ARRAY_LEN(type_rows));
	tcase_add_loop_test(tc, arch_tables, 0, 2);
	tcase_add_loop_test(tc, many, 0, 2);
}

int main(void)
{
	Suite *s = suite_create("cfg");
	TCase *tc = fixture_case(s, "configuration");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, everything);
	tcase_add_test(tc, defaults);
	tcase_add_test(tc, nothing_given);
	tcase_add_test(tc, native);
	arrays_add(s, tc);
	return fixture_main(s);
}
