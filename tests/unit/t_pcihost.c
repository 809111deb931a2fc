/* SPDX-License-Identifier: Apache-2.0 */
/* qvm/pcihost.c: functions of the host by place and by identity, in a folder made like sysfs. */
#include <errno.h>
#include <sys/stat.h>

#include "qvm/pcihost.h"
#include "tests/unit/fixture.h"

static char folder[256];

static void make_function(const char *name, unsigned vendor, unsigned device, uint8_t mark,
			  size_t bytes)
{
	char path[512];
	uint8_t header[VD_PCI_HEADER_BYTES] = { (uint8_t)vendor, (uint8_t)(vendor >> 8),
						(uint8_t)device, (uint8_t)(device >> 8) };
	FILE *f;

	header[8] = mark;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/%s/config", folder, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(header, 1, bytes, f), bytes);
	ck_assert_int_eq(fclose(f), 0);
}

static void setup(void)
{
	fixture_mkdir(folder, sizeof(folder));
	make_function("0000:00:1f.0", 0x8086, 0x9d4e, 1, VD_PCI_HEADER_BYTES);
	make_function("0000:00:1f.3", 0x8086, 0x9d70, 2, VD_PCI_HEADER_BYTES);
	make_function("0000:03:00.0", 0x8086, 0x9d4e, 3, VD_PCI_HEADER_BYTES);
	make_function("0000:00:02.0", 0x8086, 0x1111, 4, 20);	/* cut short */
}

static void teardown(void)
{
	static const char *const names[] = { "0000:00:1f.0", "0000:00:1f.3", "0000:03:00.0",
					     "0000:00:02.0" };

	for (size_t i = 0; i < Q_ARRAY_LEN(names); i++) {
		char path[512];
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		fixture_rmdir(path);
	}
	fixture_rmdir(folder);
}

static const struct {
	const char *text;
	int want;	/* the mark, or -errno */
} rows[] = {
	{ "pci:0:31.0", 1 },
	{ "0:31.0", 1 },
	{ "pci:0:31", 1 },
	{ "pci:0:0x1f.3", 2 },
	{ "pci:3:0", 3 },
	{ "pci:0x8086/0x9d4e", 1 },
	{ "8086/9d4e", 1 },
	{ "pci:8086/9d4e/1", 3 },
	{ "pci:8086/9d4e/2", -ENODEV },
	{ "pci:8086/ffff", -ENODEV },
	{ "pci:0:30.0", -ENODEV },
	{ "pci:0:2.0", -EIO },
	{ "pci:", -EINVAL },
	{ "pci:0", -EINVAL },
	{ "pci:0:", -EINVAL },
	{ "pci:0:32", -EINVAL },
	{ "pci:0:1.8", -EINVAL },
	{ "pci:0:1.0.0", -EINVAL },
	{ "pci:256:0", -EINVAL },
	{ "pci:-1:0", -EINVAL },
	{ "pci:/", -EINVAL },
	{ "pci:8086/", -EINVAL },
	{ "pci:18086/1", -EINVAL },
	{ "pci:8086/1/x", -EINVAL },
	{ "pci:../../etc", -EINVAL },
	{ "", -EINVAL },
};
START_TEST(row)
{
	static const struct vd_option option = { .name = "clone" };
	const struct vd_arg arg = { .opt = &option, .text = rows[_i].text, .file = "t" };
	uint8_t header[VD_PCI_HEADER_BYTES];
	struct cf_errors errs = { 0 };
	int r = pcihost_header_at(folder, &arg, &errs, header);

	ck_assert_msg((r < 0 ? r : header[8]) == rows[_i].want, "%s: %d", rows[_i].text,
		      r < 0 ? r : header[8]);
	ck_assert_int_eq(cf_errors_ok(&errs), r == 0);
	cf_errors_fini(&errs);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pcihost");
	TCase *tc = fixture_case(s, "header");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, row, 0, Q_ARRAY_LEN(rows));
	return fixture_main(s);
}
