/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where files go in guest memory: the first free place, above the first MiB where there is room,
 * never onto what the machine keeps for itself or another file has; what does not fit is refused
 * with a sentence. Formats are tested with damaged files in tests/kvm/t_start.py and tests/fuzz.
 */
#include <errno.h>

#include "lib/qfd.h"
#include "qvm/cfg_arch.h"
#include "qvm/load.h"
#include "tests/unit/fixture.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static char folder[256];
static struct qmem *mem;
static uint64_t base;
static struct load_result res;
static char text[512];

static void setup(void)
{
	fixture_mkdir(folder, sizeof(folder));
	ck_assert_int_eq(chdir(folder), 0);
	memset(&res, 0, sizeof(res));
	text[0] = '\0';
	base = cfg_arch_native()->ram_base;
	mem = qmem_new();
	ck_assert_ptr_nonnull(mem);
}

static void teardown(void)
{
	mem = qmem_unref(mem);
	ck_assert_int_eq(chdir("/"), 0);
	fixture_rmdir(folder);
}

static void make_file(const char *name, size_t bytes, char filled_with)
{
	FILE *f = fopen(name, "w");

	ck_assert_ptr_nonnull(f);
	for (size_t i = 0; i < bytes; i++)
		fputc(filled_with, f);
	ck_assert_int_eq(fclose(f), 0);
}

static char byte_at(uint64_t at)
{
	char c;

	ck_assert_int_eq(qmem_read(mem, gpa(at), &c, 1), 0);
	return c;
}

/* Offsets are from the first byte of RAM; AUTO: none is given. */
#define AUTO UINT64_MAX
static const struct {
	const char *what;
	uint64_t ram_bytes, own_at, own_bytes; /* what there is, what the machine keeps */
	uint64_t data_at;			/* given to the data file of 8 KiB */
	uint64_t want_at;			/* where it must be found; AUTO: refused */
	const char *say;			/* then */
} place_rows[] = {
	/* The guest, 4 KiB of 'G', takes the first place itself. */
	{ "behind the guest", 4 * MIB, 0, 192 * KIB, AUTO, MIB + 4096, NULL },
	{ "low when there is no more", 320 * KIB, 0, 192 * KIB, AUTO, 196 * KIB, NULL },
	{ "behind what is kept", 256 * KIB, 4096, 64 * KIB, AUTO, 68 * KIB, NULL },
	{ "no room at all", 64 * KIB, 8192, 56 * KIB, AUTO, AUTO, "no free RAM" },
	{ "where it is told", 4 * MIB, 0, 192 * KIB, 2 * MIB, 2 * MIB, NULL },
	{ "not on the machine's", 4 * MIB, 0, 192 * KIB, 188 * KIB, AUTO, "kept things" },
	{ "not on the guest", 4 * MIB, 0, 192 * KIB, MIB + 2048, AUTO, "guest" },
	{ "not beyond memory", 4 * MIB, 0, 192 * KIB, 4 * MIB - 4096, AUTO, "no memory" },
};

START_TEST(place_row)
{
	const __typeof__(place_rows[0]) *row = &place_rows[_i];
	struct cfg_load loads[] = {
		{ .type = CFG_LOAD_GUEST, .path = "guest" },
		{ .type = CFG_LOAD_DATA, .path = "data" },
	};
	const struct vm_cfg cfg = { .system = "t", .loads = loads, .n_loads = 2 };

	ck_assert_int_eq(qmem_add(mem, gpa(base), row->ram_bytes, 0, "ram"), 0);
	ck_assert_int_eq(load_own(&res, base + row->own_at, row->own_bytes, "kept things"), 0);
	make_file("guest", 4096, 'G');
	make_file("data", 8192, 'D');
	loads[1].has_addr = row->data_at != AUTO;
	loads[1].gpa = base + row->data_at;
	int r = load_all(&cfg, mem, &res, text, sizeof(text));
	ck_assert_msg((r == 0) == (row->want_at != AUTO), "%s: %d %s", row->what, r, text);
	if (r < 0) {
		ck_assert_msg(strstr(text, row->say) != NULL, "%s: %s", row->what, text);
		return;
	}
	ck_assert_int_eq(res.kind, LOAD_RAW);
	ck_assert_int_eq(byte_at(res.entry), 'G');
	ck_assert_msg(byte_at(base + row->want_at) == 'D' &&
		      byte_at(base + row->want_at + 8191) == 'D', "%s", row->what);
	for (uint64_t i = 0; i < row->own_bytes; i += 512)
		ck_assert_msg(byte_at(base + row->own_at + i) == 0, "%s: overwritten", row->what);
}
END_TEST

/* An initrd goes as high as it may. */
START_TEST(initrd)
{
	const struct cfg_load loads[] = {
		{ .type = CFG_LOAD_INITRD, .path = "initrd" },
		{ .type = CFG_LOAD_SNIFF, .path = "guest" },
	};
	const struct vm_cfg cfg = { .system = "t", .loads = (struct cfg_load *)loads,
				    .n_loads = 2 };

	ck_assert_int_eq(qmem_add(mem, gpa(base), 4 * MIB, 0, "ram"), 0);
	make_file("guest", 100, 'G');
	make_file("initrd", 5000, 'I');
	ck_assert_int_eq(load_all(&cfg, mem, &res, text, sizeof(text)), 0);
	ck_assert_uint_eq(res.initrd_gpa, base + 4 * MIB - 8192);
	ck_assert_uint_eq(res.initrd_bytes, 5000);
	ck_assert_int_eq(byte_at(res.initrd_gpa + 4999), 'I');
}
END_TEST

/* The list of what is taken has an end, and says so. */
START_TEST(spans_full)
{
	for (unsigned i = 0; i < LOAD_SPANS_MAX; i++)
		ck_assert_int_eq(load_own(&res, base + 4096 * i, 4096, "part"), 0);
	ck_assert_int_eq(load_own(&res, base, 0, "nothing"), 0);
	ck_assert_int_eq(load_own(&res, base + 4096 * LOAD_SPANS_MAX, 1, "one more"), -ENOSPC);
	ck_assert_uint_eq(res.n_spans, LOAD_SPANS_MAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("load");
	TCase *tc = fixture_case(s, "places");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, place_row, 0, Q_ARRAY_LEN(place_rows));
	tcase_add_test(tc, initrd);
	tcase_add_test(tc, spans_full);
	return fixture_main(s);
}
