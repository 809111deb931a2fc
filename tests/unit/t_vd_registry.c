/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdevs/registry.c: names, arguments, words of faults; and that every type says what its flags
 * promise.
 */
#include "tests/unit/fixture.h"
#include "vdevs/vdev.h"

static const struct { const char *name, *want; } name_rows[] = {
	{ "pl011", "pl011" },
	{ "vdev-pl011", "pl011" },
	{ "vdev-pl011.so", "pl011" },
	{ "vdev-virtio-blk.so", "virtio-blk" },
	{ "acpi-pm", "acpi-pm" },
	{ "ser8250", "ser8250" },
	{ "pl011.so", NULL },		/* the suffix goes with the prefix */
	{ "vdev-", NULL },
	{ "vdev-.so", NULL },
	{ "pl01", NULL },
	{ "pl0111", NULL },
	{ "", NULL },
	{ "VDEV-pl011", NULL },
};
START_TEST(names)
{
	const struct vd_type *t = vdev_type_find(name_rows[_i].name);

	if (!name_rows[_i].want)
		ck_assert_ptr_null(t);
	else
		ck_assert_str_eq(t ? t->name : "(none)", name_rows[_i].want);
}
END_TEST

START_TEST(types_are_whole)
{
	for (unsigned i = 0; vdev_registry[i]; i++) {
		const struct vd_type *t = vdev_registry[i];

		ck_assert_ptr_eq(vdev_type_find(t->name), t);
		ck_assert_ptr_nonnull(t->options);
		ck_assert((t->flags & VD_HOST_MADE) || t->create);
		ck_assert(!(t->flags & VD_NEEDS_LOC) || t->len_bytes);
		ck_assert(!(t->flags & VD_PCI_CAPABLE) || t->default_space == VD_PCI);
		for (unsigned j = i + 1; vdev_registry[j]; j++)
			ck_assert_str_ne(t->name, vdev_registry[j]->name);
	}
}
END_TEST

START_TEST(last_argument_decides)
{
	static const struct vd_option a = { "a", VD_ARG_NUMBER, false };
	static const struct vd_option b = { "b", VD_ARG_NUMBER, false };
	const struct vd_arg args[] = { { &a, NULL, 1 }, { &b, NULL, 2 }, { &a, NULL, 3 } };
	const struct vd_config cfg = { .args = args, .n_args = 3 };

	ck_assert_uint_eq(vd_arg_find(&cfg, "a")->num, 3);
	ck_assert_uint_eq(vd_arg_find(&cfg, "b")->num, 2);
	ck_assert_ptr_null(vd_arg_find(&cfg, "c"));
}
END_TEST

START_TEST(fault_words)
{
	for (unsigned i = 0; i < VD_FAULTS; i++) {
		ck_assert_ptr_nonnull(vd_fault_str(i));
		for (unsigned j = 0; j < i; j++)
			ck_assert_str_ne(vd_fault_str(i), vd_fault_str(j));
	}
	ck_assert_str_eq(vd_fault_str(VD_FAULTS), "unknown");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_registry");
	TCase *tc = fixture_case(s, "registry");

	tcase_add_loop_test(tc, names, 0, Q_ARRAY_LEN(name_rows));
	tcase_add_test(tc, types_are_whole);
	tcase_add_test(tc, last_argument_decides);
	tcase_add_test(tc, fault_words);
	return fixture_main(s);
}
