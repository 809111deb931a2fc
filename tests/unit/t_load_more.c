/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are not plain images: multiboot by addresses and as ELF, device trees, files taken
 * whole. Where the rows say so a sentence refuses them. Multiboot is for x86: on arm64 each of its
 * rows is refused.
 */
#include <elf.h>
#include <endian.h>
#include <errno.h>

#include "lib/qfd.h"
#include "qvm/cfg_arch.h"
#include "qvm/load.h"
#include "tests/unit/fixture.h"

#define MIB 0x100000ull
#define MAGIC 0x1badb002u

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
	ck_assert_int_eq(qmem_add(mem, gpa(base), 8 * MIB, 0, "ram"), 0);
}

static void teardown(void)
{
	mem = qmem_unref(mem);
	ck_assert_int_eq(chdir("/"), 0);
	fixture_rmdir(folder);
}

static void write_file(const char *name, const void *bytes, size_t len)
{
	FILE *f = fopen(name, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static int load_guest_file(const void *bytes, size_t len)
{
	struct cfg_load load = { .type = CFG_LOAD_GUEST, .path = "guest" };
	const struct vm_cfg cfg = { .system = "t", .loads = &load, .n_loads = 1 };

	write_file("guest", bytes, len);
	return load_all(&cfg, mem, &res, text, sizeof(text));
}

/* ---- multiboot by addresses: 64 bytes, the header, 'C' to the end of 4 KiB ---- */

#define HEADER_AT 64u
static const struct {
	const char *what;
	uint32_t flags, header, load, load_end, bss_end, entry;
	bool loads;
	const char *say;
} address_rows[] = {
	{ "from its first byte", 0x10003, 0x200040, 0x200000, 0, 0, 0x200060, true, NULL },
	{ "from the header on", 0x10000, 0x200040, 0x200040, 0, 0, 0x200060, true, NULL },
	{ "with room behind", 0x10000, 0x200040, 0x200000, 0x200800, 0x300000, 0x200060, true,
	  NULL },
	{ "before the file", 0x10000, 0x200041, 0x200000, 0, 0, 0x200060, false,
	  "not in the file" },
	{ "behind the header", 0x10000, 0x200040, 0x200044, 0, 0, 0x200060, false,
	  "not in the file" },
	{ "no length", 0x10000, 0x200040, 0x200000, 0x1fffff, 0, 0x200060, false,
	  "before it begins" },
	{ "longer than the file", 0x10000, 0x200040, 0x200000, 0x201001, 0, 0x200060, false,
	  "not inside the file" },
	{ "zeroes inside the file", 0x10000, 0x200040, 0x200000, 0, 0x200fff, 0x200060, false,
	  "inside the file" },
	{ "zeroes beyond memory", 0x10000, 0x200040, 0x200000, 0, 0xffffffff, 0x200060, false,
	  "no memory" },
	{ "entry beyond memory", 0x10000, 0x200040, 0x200000, 0, 0, 0x80000000, false,
	  "starts at" },
	{ "a need that nobody knows", 0x10008, 0x200040, 0x200000, 0, 0, 0x200060, false, "0x8" },
	{ "a wish that nobody knows", 0x110000, 0x200040, 0x200000, 0, 0, 0x200060, true, NULL },
};

START_TEST(address_row)
{
	const __typeof__(address_rows[0]) *row = &address_rows[_i];
	const uint32_t header[] = {
		htole32(MAGIC), htole32(row->flags), htole32(-(MAGIC + row->flags)),
		htole32(row->header), htole32(row->load), htole32(row->load_end),
		htole32(row->bss_end), htole32(row->entry),
	};
	static uint8_t file[4096];
	bool loads = row->loads && cfg_arch_native()->has_io;

	memset(file, 'C', sizeof(file));
	memcpy(file + HEADER_AT, header, sizeof(header));
	int r = load_guest_file(file, sizeof(file));
	ck_assert_msg((r == 0) == loads, "%s: %d %s", row->what, r, text);
	if (!loads) {
		ck_assert_msg(!cfg_arch_native()->has_io || strstr(text, row->say), "%s: %s",
			      row->what, text);
		return;
	}
	uint8_t got[sizeof(header)];
	ck_assert_int_eq(res.kind, LOAD_MULTIBOOT);
	ck_assert_uint_eq(res.entry, row->entry);
	ck_assert_int_eq(qmem_read(mem, gpa(row->header), got, sizeof(got)), 0);
	ck_assert(!memcmp(got, header, sizeof(got)));
}
END_TEST

/* A header that does not add up, or stands too far behind, is none: the file is as it is. */
START_TEST(no_header)
{
	static uint8_t file[16384];
	const uint32_t header[] = { htole32(MAGIC), htole32(0x10000), htole32(-(MAGIC + 0x10000)) };
	const uint32_t wrong[] = { htole32(MAGIC), htole32(0x10000), 0 };

	memcpy(file + 8192, header, sizeof(header));
	memcpy(file + 64, wrong, sizeof(wrong));
	memcpy(file + 130, header, sizeof(header));	/* at no multiple of 4 */
	ck_assert_int_eq(load_guest_file(file, sizeof(file)), 0);
	ck_assert_int_eq(res.kind, LOAD_RAW);
}
END_TEST

/* ---- ELF of 32 bits ---- */

struct elf32 {
	Elf32_Ehdr e;
	Elf32_Phdr ph;
	uint32_t header[3];
	uint8_t code[64];
};

START_TEST(elf32)
{
	struct elf32 f = {
		.e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
		       .e_type = ET_EXEC, .e_machine = EM_386, .e_entry = 0x300010,
		       .e_phoff = offsetof(struct elf32, ph), .e_phentsize = sizeof(Elf32_Phdr),
		       .e_phnum = 1 },
		.ph = { .p_type = PT_LOAD, .p_offset = offsetof(struct elf32, code),
			.p_paddr = 0x300000, .p_filesz = 64, .p_memsz = 8192 },
		.header = { MAGIC, 3, -(MAGIC + 3u) },
		.code = "code",
	};
	char got[5] = "";

	if (!cfg_arch_native()->has_io)
		return;
	ck_assert_int_eq(load_guest_file(&f, sizeof(f)), 0);
	ck_assert_int_eq(res.kind, LOAD_MULTIBOOT);
	ck_assert_uint_eq(res.entry, 0x300010);
	ck_assert_int_eq(qmem_read(mem, gpa(0x300000), got, 4), 0);
	ck_assert_str_eq(got, "code");
	memset(&res, 0, sizeof(res));
	f.header[2]++;
	ck_assert_int_eq(load_guest_file(&f, sizeof(f)), -EINVAL);
	ck_assert_msg(strstr(text, "without a multiboot header") != NULL, "%s", text);
}
END_TEST

/* ---- device trees ---- */

static const struct {
	const char *what;
	uint32_t magic, total, file_bytes;
	uint64_t at;	/* given, from the start of memory; 0: not */
	bool want;
} fdt_rows[] = {
	{ "anywhere", 0xd00dfeed, 100, 100, 0, true },
	{ "where it is told", 0xd00dfeed, 100, 100, 2 * MIB, true },
	{ "with bytes behind", 0xd00dfeed, 100, 200, 0, true },
	{ "cut short", 0xd00dfeed, 101, 100, 0, false },
	{ "no tree", 0xd00dfeee, 100, 100, 0, false },
	{ "hardly a file", 0xd00dfeed, 4, 4, 0, false },
	{ "aside", 0xd00dfeed, 100, 100, 2 * MIB + 4, false },
	{ "beyond memory", 0xd00dfeed, 100, 100, 8 * MIB, false },
};

START_TEST(fdt_row)
{
	const __typeof__(fdt_rows[0]) *row = &fdt_rows[_i];
	struct cfg_load loads[] = {
		{ .type = CFG_LOAD_FDT, .path = "tree", .has_addr = row->at != 0,
		  .gpa = base + row->at },
		{ .type = CFG_LOAD_GUEST, .path = "guest" },
	};
	const struct vm_cfg cfg = { .system = "t", .loads = loads, .n_loads = 2 };
	const uint32_t head[] = { htobe32(row->magic), htobe32(row->total) };
	uint8_t file[256] = { 0 };
	uint32_t got = 0;

	if (cfg_arch_native()->has_fdt)	/* there it is a part of the guest's own tree */
		return;
	memcpy(file, head, sizeof(head));
	write_file("tree", file, row->file_bytes);
	write_file("guest", "guest", 5);
	int r = load_all(&cfg, mem, &res, text, sizeof(text));
	ck_assert_msg((r == 0) == row->want, "%s: %d %s", row->what, r, text);
	if (!row->want)
		return;
	ck_assert_uint_eq(res.fdt_bytes, row->file_bytes);
	ck_assert(!row->at || res.fdt_gpa == base + row->at);
	ck_assert_uint_eq(res.fdt_gpa % 8, 0);
	ck_assert_int_eq(qmem_read(mem, gpa(res.fdt_gpa), &got, sizeof(got)), 0);
	ck_assert_uint_eq(be32toh(got), row->magic);
	for (unsigned i = 0; i < 4; i++) {	/* what is before it is free */
		ck_assert_int_eq(qmem_read(mem, gpa(res.fdt_gpa - LOAD_FDT_HEAD + 4 * i), &got,
					   sizeof(got)), 0);
		ck_assert_uint_eq(got, 0);
	}
}
END_TEST

/* ---- whole files ---- */

START_TEST(slurp)
{
	const struct cfg_load load = { .path = "table" }, none = { .path = "nothing" };
	const struct cfg_load dir = { .path = "." };
	void *bytes = NULL;
	size_t n = 0;

	write_file("table", "twelve bytes", 12);
	ck_assert_int_eq(load_slurp(&load, 12, &bytes, &n, text, sizeof(text)), 0);
	ck_assert_uint_eq(n, 12);
	ck_assert(!memcmp(bytes, "twelve bytes", 12));
	free(bytes);
	ck_assert_int_eq(load_slurp(&load, 11, &bytes, &n, text, sizeof(text)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(text, "at most 0xb"));
	ck_assert_int_eq(load_slurp(&none, 12, &bytes, &n, text, sizeof(text)), -ENOENT);
	ck_assert_int_eq(load_slurp(&dir, 12, &bytes, &n, text, sizeof(text)), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("load_more");
	TCase *tc = fixture_case(s, "formats");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, address_row, 0, Q_ARRAY_LEN(address_rows));
	tcase_add_test(tc, no_header);
	tcase_add_test(tc, elf32);
	tcase_add_loop_test(tc, fdt_row, 0, Q_ARRAY_LEN(fdt_rows));
	tcase_add_test(tc, slurp);
	return fixture_main(s);
}
