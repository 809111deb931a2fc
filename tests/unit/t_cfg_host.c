/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration may name of the host: whatever /proc and /sys say, there is an answer. */
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qvm/cfg_host.h"
#include "tests/unit/fixture.h"

static char root[] = "/tmp/t_cfg_host.XXXXXX";

/* Makes the folders on the way; @path is below the root. */
static void put(const char *path, const void *bytes, size_t len)
{
	char full[512];
	int n = snprintf(full, sizeof(full), "%s%s", root, path);
	ck_assert_int_lt(n, (int)sizeof(full));
	for (char *at = full + strlen(root); (at = strchr(at + 1, '/'));) {
		*at = '\0';
		mkdir(full, 0700);
		*at = '/';
	}
	FILE *f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, len, f), len);
	fclose(f);
}

static void setup(void)
{
	memcpy(root + sizeof(root) - 7, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(root));
	cfg_host_root_set(root);
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *where)
{
	return remove(path);
}

static void teardown(void)
{
	ck_assert_int_eq(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	cfg_host_root_set("");
}

static const struct {
	const char *list;
	bool want;
	uint64_t mask[4];
} cpu_rows[] = {
	{ "0\n", true, { 1 } },
	{ "0-3,8\n", true, { 0x10f } },
	{ "63-64,255", true, { 1ull << 63, 1, 0, 1ull << 63 } },
	{ "", false, { 0 } },
	{ "\n", false, { 0 } },
	{ "3-1\n", false, { 0 } },
	{ "0-\n", false, { 0 } },
	{ "0,x\n", false, { 0 } },
	{ "256\n", false, { 0 } },
	{ "0-99999999999999999999\n", false, { 0 } },
	{ "0;1\n", false, { 0 } },
};

START_TEST(cpulist)
{
	uint64_t mask[CFG_HOST_CPUS / 64] = { 7, 7, 7, 7 };
	put("/sys/devices/system/node/node0/cpulist", cpu_rows[_i].list, strlen(cpu_rows[_i].list));
	ck_assert_int_eq(cfg_host_cpus("node0", mask), cpu_rows[_i].want);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(mask[i], cpu_rows[_i].want ? cpu_rows[_i].mask[i] : 7);
}
END_TEST

START_TEST(groups_by_topology)
{
	uint64_t mask[CFG_HOST_CPUS / 64];
	put("/sys/devices/system/cpu/cpu0/topology/cluster_id", "0\n", 2);
	put("/sys/devices/system/cpu/cpu5/topology/cluster_id", "10\n", 3);
	put("/sys/devices/system/cpu/cpu200/topology/cluster_id", "10\n", 3);
	put("/sys/devices/system/cpu/cpu1/topology/physical_package_id", "0\n", 2);
	put("/sys/bus/event_source/devices/armv8_cortex_a72/cpus", "4-5\n", 4);
	ck_assert(cfg_host_cpus("cluster10", mask));
	ck_assert_uint_eq(mask[0], 1 << 5);
	ck_assert_uint_eq(mask[3], 1ull << (200 - 192));
	ck_assert(cfg_host_cpus("package0", mask));
	ck_assert_uint_eq(mask[0], 2);
	ck_assert(cfg_host_cpus("armv8_cortex_a72", mask));
	ck_assert_uint_eq(mask[0], 0x30);
	ck_assert(!cfg_host_cpus("cluster1", mask));
	ck_assert(!cfg_host_cpus("cluster", mask));
	ck_assert(!cfg_host_cpus("../cpu/cpu0", mask));
	ck_assert(!cfg_host_cpus("..", mask));
	ck_assert(!cfg_host_cpus("isolated", mask));
}
END_TEST

static const char iomem[] = "00100000-3fffffff : System RAM\n"
			    "  40000000-40ffffff : a : b\n"
			    "no line at all\n"
			    "5-4 : backwards\n"
			    "50000000-5fffffff : twice\n60000000-6fffffff : twice\n"
			    "00000000-00000000 : hidden\n"
			    "fffffffffffff000-ffffffffffffffff : top\n70000000-70000fff :";

static const struct {
	const char *name;
	enum cfg_region_is want;
	uint64_t start, len_bytes;
} region_rows[] = {
	{ "System RAM", CFG_REGION_OK, 0x100000, 0x3ff00000 },
	{ "a : b", CFG_REGION_OK, 0x40000000, 0x1000000 },
	{ "a", CFG_REGION_NONE, 0, 0 },
	{ "backwards", CFG_REGION_NONE, 0, 0 },
	{ "twice", CFG_REGION_SEVERAL, 0, 0 },
	{ "twice@60000000", CFG_REGION_OK, 0x60000000, 0x10000000 },
	{ "twice@70000000", CFG_REGION_NONE, 0, 0 },
	{ "twice@x", CFG_REGION_NONE, 0, 0 },
	{ "hidden", CFG_REGION_HIDDEN, 0, 0 },
	{ "top", CFG_REGION_OK, 0xfffffffffffff000, 0x1000 },
	{ "", CFG_REGION_NONE, 0, 0 },
	{ "@", CFG_REGION_NONE, 0, 0 },
};

START_TEST(regions_of_iomem)
{
	struct cfg_region r = { 1, 1 };
	put("/proc/iomem", iomem, sizeof(iomem) - 1);
	ck_assert_int_eq(cfg_host_region(region_rows[_i].name, &r), region_rows[_i].want);
	if (region_rows[_i].want == CFG_REGION_OK) {
		ck_assert_uint_eq(r.start, region_rows[_i].start);
		ck_assert_uint_eq(r.len_bytes, region_rows[_i].len_bytes);
	}
}
END_TEST

#define TREE "/proc/device-tree/reserved-memory/"

/* One cell or two; what is short or says something else has no regions. */
START_TEST(regions_of_the_tree)
{
	struct cfg_region r;
	put("/proc/iomem", "1000-1fff : pool\n", 17);
	put(TREE "pool@1000/reg", "\0\0\x30\0\0\0\x10\0", 8);
	ck_assert_int_eq(cfg_host_region("pool", &r), CFG_REGION_OK);
	ck_assert_uint_eq(r.start, 0x1000);	/* no cells: /proc/iomem it is */
	put(TREE "#address-cells", "\0\0\0\1", 4);
	put(TREE "#size-cells", "\0\0\0\1", 4);
	ck_assert_int_eq(cfg_host_region("pool", &r), CFG_REGION_OK);
	ck_assert_uint_eq(r.start, 0x3000);
	ck_assert_uint_eq(r.len_bytes, 0x1000);
	put(TREE "#size-cells", "\0\0\0\2", 4);
	ck_assert_int_eq(cfg_host_region("pool", &r), CFG_REGION_UNPLACED);
	put(TREE "#size-cells", "\0\0\0\3", 4);
	ck_assert_int_eq(cfg_host_region("pool", &r), CFG_REGION_OK);
	ck_assert_uint_eq(r.start, 0x1000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cfg_host");
	TCase *tc = fixture_case(s, "cfg_host");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, cpulist, 0, Q_ARRAY_LEN(cpu_rows));
	tcase_add_test(tc, groups_by_topology);
	tcase_add_loop_test(tc, regions_of_iomem, 0, Q_ARRAY_LEN(region_rows));
	tcase_add_test(tc, regions_of_the_tree);
	return fixture_main(s);
}
