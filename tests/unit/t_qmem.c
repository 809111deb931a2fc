/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qmem.h: the region table, translation, copies, and peers' descriptors. */
#include "lib/qmem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "lib/qfd.h"
#include "tests/unit/fixture.h"

#define K 1024ull
#define M (1024 * K)
#define G (1024 * M)

/*
 * The table most tests use:
 *   0x0000 .. 0x2fff  writable, the peer's address 0x7000_0000
 *   0x3000 .. 0x3fff  read-only, adjacent
 *   0x4000 .. 0x4fff  writable, adjacent
 *   0x8000 .. 0x8fff  writable, alone, the peer's address 0x7000_3000 (next to the first, there)
 */
static struct qmem *table(void)
{
	struct qmem *m = qmem_new();

	ck_assert_ptr_nonnull(m);
	/* Not in order: the table sorts. */
	int fd = qfd_memfd("d", 4 * K);
	ck_assert_int_eq(qmem_add_fd(m, gpa(0x8000), 4 * K, 0, 0x70003000, fd, 0), 0);
	ck_assert_int_eq(qmem_add(m, gpa(0x3000), 4 * K, QMEM_READONLY, "b"), 0);
	fd = qfd_memfd("a", 12 * K);
	ck_assert_int_eq(qmem_add_fd(m, gpa(0), 12 * K, 0, 0x70000000, fd, 0), 0);
	ck_assert_int_eq(qmem_add(m, gpa(0x4000), 4 * K, 0, "c"), 0);
	return m;
}

static const struct {
	uint64_t at, len;
	int want;
} add_rows[] = {
	{ 0x10000, 4096, 0 },
	{ 0x5000, 3 * 4096, 0 },	/* fits the hole exactly */
	{ UINT64_MAX - 8191, 4096, 0 },
	{ 0x10000, 0, -EINVAL },
	{ 0x10000, 4095, -EINVAL },
	{ 0x10000, 6144, -EINVAL },
	{ 0x10001, 4096, -EINVAL },
	{ 0x10800, 4096, -EINVAL },
	{ UINT64_MAX - 4095, 4096, -EINVAL },	/* ends at 2^64 */
	{ UINT64_MAX - 4095, 8192, -EINVAL },	/* wraps */
	{ 0x10000, UINT64_MAX - 4095, -EINVAL },
	{ 0, 4096, -EEXIST },
	{ 0x2000, 4096, -EEXIST },
	{ 0x5000, 4 * 4096, -EEXIST },	/* its last page is taken */
	{ 0x7000, 3 * 4096, -EEXIST },	/* around one */
	{ 0x10000, INT64_MAX & ~4095ull, -ENOMEM },
};

START_TEST(add_row)
{
	struct qmem *m = table();

	ck_assert_int_eq(qmem_add(m, gpa(add_rows[_i].at), add_rows[_i].len, 0, "x"),
			 add_rows[_i].want);
	ck_assert_uint_eq(m->n, add_rows[_i].want ? 4 : 5);
	for (unsigned i = 1; i < m->n; i++)
		ck_assert_uint_le(m->r[i - 1].gpa + m->r[i - 1].len_bytes, m->r[i].gpa);
	ck_assert_ptr_null(qmem_unref(m));
}
END_TEST

START_TEST(table_fills_up)
{
	struct qmem *m = qmem_new();

	for (unsigned i = QMEM_REGIONS_MAX; i > 0; i--)
		ck_assert_int_eq(qmem_add(m, gpa(i * 8192ull), 4096, 0, "x"), 0);
	ck_assert_int_eq(qmem_add(m, gpa(0), 4096, 0, "x"), -ENOSPC);
	ck_assert_uint_eq(qmem_total(m), QMEM_REGIONS_MAX * 4096ull);
	for (unsigned i = 1; i <= QMEM_REGIONS_MAX; i++) {
		ck_assert_ptr_nonnull(qmem_ptr(m, gpa(i * 8192ull), 4096, true));
		ck_assert_ptr_null(qmem_ptr(m, gpa(i * 8192ull + 4096), 1, false));
	}
	qmem_unref(m);
}
END_TEST

struct heir {
	struct qmem_heir heir;
	struct qmem *got;
};

static void inherit(struct qmem_heir *h, struct qmem *take_mem)
{
	Q_CONTAINER_OF(h, struct heir, heir)->got = take_mem;
}

/* The last reference, and no other, goes to the heir, with all that was mapped. */
START_TEST(the_heir_gets_the_last_reference)
{
	struct heir h = { .heir.take = inherit };
	struct qmem *m = table();
	char *p = qmem_ptr(m, gpa(0), 4 * K, true);

	m->heir = &h.heir;
	p[0] = 7;
	qmem_ref(m);
	qmem_unref(m);
	ck_assert_ptr_null(h.got);
	qmem_unref(m);
	ck_assert_ptr_eq(h.got, m);
	ck_assert_int_eq(p[0], 7);
	qmem_forget_pages(m);
	ck_assert_int_eq(p[0], 7);
	qmem_unref(m);
}
END_TEST

START_TEST(references)
{
	struct qmem *m = table();
	unsigned open_fds = fixture_count_fds();
	char c;

	ck_assert_ptr_eq(qmem_ref(m), m);
	ck_assert_ptr_null(qmem_unref(m));
	ck_assert_int_eq(qmem_read(m, gpa(0), &c, 1), 0);	/* still mapped */
	ck_assert_ptr_null(qmem_unref(m));
	ck_assert_uint_eq(fixture_count_fds(), open_fds - 4);
	ck_assert_ptr_null(qmem_unref(NULL));
}
END_TEST

static const struct {
	uint64_t at, len;
	bool read, write;
} ptr_rows[] = {
	{ 0, 1, true, true },
	{ 0, 0x3000, true, true },
	{ 0x2fff, 1, true, true },
	{ 0, 0x3001, false, false },	/* into the next region */
	{ 0x2fff, 2, false, false },
	{ 0x3000, 0x1000, true, false },	/* read-only */
	{ 0x3000, 0, false, false },
	{ 0, 0, false, false },
	{ 0x4fff, 1, true, true },
	{ 0x5000, 1, false, false },	/* hole */
	{ 0x7fff, 2, false, false },
	{ 0x8000, 0x1000, true, true },
	{ 0x9000, 1, false, false },
	{ 0x8001, UINT64_MAX, false, false },	/* wraps to 0x8000 */
	{ 0x1000, UINT64_MAX - 0xfff, false, false },
	{ UINT64_MAX, 1, false, false },
	{ UINT64_MAX, UINT64_MAX, false, false },
};

START_TEST(ptr_row)
{
	struct qmem *m = table();
	uint64_t at = ptr_rows[_i].at, len = ptr_rows[_i].len;

	ck_assert_int_eq(qmem_ptr(m, gpa(at), len, false) != NULL, ptr_rows[_i].read);
	ck_assert_int_eq(qmem_ptr(m, gpa(at), len, true) != NULL, ptr_rows[_i].write);
	if (ptr_rows[_i].write) {
		char *p = qmem_ptr(m, gpa(at), len, true);

		p[0] = 'a';
		p[len - 1] = 'z';
		char c;
		ck_assert_int_eq(qmem_read(m, gpa(at + len - 1), &c, 1), 0);
		ck_assert_int_eq(c, 'z');
	}
	qmem_unref(m);
}
END_TEST

static const struct {
	uint64_t at, max, want;
} run_rows[] = {
	{ 0, UINT64_MAX, 0x3000 },
	{ 0, 10, 10 },
	{ 0x2ffe, 10, 2 },
	{ 0x3000, UINT64_MAX, 0x1000 },
	{ 0x5000, 10, 0 },
	{ 0x8fff, UINT64_MAX, 1 },
	{ 0x9000, UINT64_MAX, 0 },
	{ UINT64_MAX, 10, 0 },
	{ 0, 0, 0 },
};

START_TEST(run_row)
{
	struct qmem *m = table();

	ck_assert_uint_eq(qmem_run(m, gpa(run_rows[_i].at), run_rows[_i].max), run_rows[_i].want);
	qmem_unref(m);
}
END_TEST

static const struct {
	uint64_t uaddr, len;
	int want;
	uint64_t want_gpa;
} uaddr_rows[] = {
	{ 0x70000000, 1, 0, 0 },
	{ 0x70000000, 0x3000, 0, 0 },
	{ 0x70002fff, 1, 0, 0x2fff },
	{ 0x70003000, 0x1000, 0, 0x8000 },
	{ 0x70002fff, 2, -EFAULT, 0 },	/* adjacent there, not here */
	{ 0x70000000, 0x3001, -EFAULT, 0 },
	{ 0x70000000, 0, -EFAULT, 0 },
	{ 0x6fffffff, 1, -EFAULT, 0 },
	{ 0x70004000, 1, -EFAULT, 0 },
	{ 0x70000001, UINT64_MAX, -EFAULT, 0 },	/* wraps */
	{ UINT64_MAX, 2, -EFAULT, 0 },
	{ 0, 1, -EFAULT, 0 },	/* regions without an address are not at address 0 */
	{ 0x3000, 1, -EFAULT, 0 },
};

START_TEST(uaddr_row)
{
	struct qmem *m = table();
	gpa_t got = gpa(0x1234);

	ck_assert_int_eq(qmem_uaddr_to_gpa(m, uaddr_rows[_i].uaddr, uaddr_rows[_i].len, &got),
			 uaddr_rows[_i].want);
	ck_assert_uint_eq(got.v, uaddr_rows[_i].want ? 0x1234 : uaddr_rows[_i].want_gpa);
	qmem_unref(m);
}
END_TEST

static const struct {
	uint64_t at, len;
	int read, write, fill;
} copy_rows[] = {
	{ 0, 0x3000, 0, 0, 0 },
	{ 0x2ffc, 8, 0, -EFAULT, 0 },	/* crosses into the rom */
	{ 0x2ffc, 0x1008, 0, -EFAULT, 0 },	/* across it into the third */
	{ 0x3000, 0x1000, 0, -EFAULT, 0 },
	{ 0x3ff0, 0x20, 0, -EFAULT, 0 },
	{ 0, 0x5000, 0, -EFAULT, 0 },
	{ 0x4000, 0x1001, -EFAULT, -EFAULT, -EFAULT },	/* into the hole */
	{ 0x5000, 1, -EFAULT, -EFAULT, -EFAULT },
	{ 0x7fff, 2, -EFAULT, -EFAULT, -EFAULT },
	{ 0x8ff0, 16, 0, 0, 0 },
	{ 0x8ff0, 17, -EFAULT, -EFAULT, -EFAULT },
	{ 0xffff0000, 0, 0, 0, 0 },	/* nothing is nowhere */
	{ UINT64_MAX, 2, -EFAULT, -EFAULT, -EFAULT },
};

START_TEST(copy_row)
{
	struct qmem *m = table();
	uint64_t at = copy_rows[_i].at, len = copy_rows[_i].len;
	static unsigned char out[0x6000], in[0x6000];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 7 + i / 251 + 1);
	ck_assert_int_eq(qmem_read(m, gpa(at), in, len), copy_rows[_i].read);
	ck_assert_int_eq(qmem_write(m, gpa(at), out, len), copy_rows[_i].write);
	ck_assert_int_eq(qmem_fill(m, gpa(at), out, len), copy_rows[_i].fill);
	if (copy_rows[_i].fill == 0 && len > 0) {
		ck_assert_int_eq(qmem_read(m, gpa(at), in, len), 0);
		ck_assert_mem_eq(in, out, len);
	}
	qmem_unref(m);
}
END_TEST

START_TEST(writes_cross_adjacent_regions)
{
	struct qmem *m = qmem_new();
	char in[9] = { 0 };

	for (uint64_t i = 0; i < 3; i++)
		ck_assert_int_eq(qmem_add(m, gpa(1 * M + i * 4 * K), 4 * K, 0, "x"), 0);
	ck_assert_int_eq(qmem_write(m, gpa(1 * M + 4 * K - 4), "01234567", 8), 0);
	ck_assert_mem_eq(qmem_ptr(m, gpa(1 * M + 4 * K - 4), 4, false), "0123", 4);
	ck_assert_mem_eq(qmem_ptr(m, gpa(1 * M + 4 * K), 4, false), "4567", 4);
	ck_assert_int_eq(qmem_read(m, gpa(1 * M + 4 * K - 4), in, 8), 0);
	ck_assert_str_eq(in, "01234567");
	ck_assert_int_eq(qmem_write(m, gpa(1 * M + 12 * K - 4), "01234567", 8), -EFAULT);
	qmem_unref(m);
}
END_TEST

/* The table against a flat array, at random places with random lengths. */
START_TEST(copies_agree_with_a_flat_model)
{
	static unsigned char model[0xa000], buf[0x6000];
	static bool mapped[sizeof(model)], rom[sizeof(model)];
	struct qmem *m = table();
	uint64_t seed = 20240611;

	for (uint64_t i = 0; i < sizeof(model); i++) {
		mapped[i] = i < 0x5000 || (i >= 0x8000 && i < 0x9000);
		rom[i] = i >= 0x3000 && i < 0x4000;
	}
	for (int round = 0; round < 20000; round++) {
		uint64_t at = fixture_rand(&seed) % 0x9800;
		uint64_t len = fixture_rand(&seed) % (round % 4 ? 64 : sizeof(buf));
		bool ok_read = true, ok_write = true;

		len = Q_MIN(len, sizeof(model) - at);
		for (uint64_t i = at; i < at + len; i++) {
			ok_read = ok_read && mapped[i];
			ok_write = ok_write && mapped[i] && !rom[i];
		}
		if (round % 2) {
			int r = qmem_read(m, gpa(at), buf, len);

			ck_assert_int_eq(r, ok_read ? 0 : -EFAULT);
			if (r == 0)
				ck_assert_mem_eq(buf, model + at, len);
			continue;
		}
		if (!ok_write)	/* a refused copy may be partial: the model would not know */
			continue;
		memset(buf, (int)(fixture_rand(&seed) & 0xff), len);
		ck_assert_int_eq(qmem_write(m, gpa(at), buf, len), 0);
		memcpy(model + at, buf, len);
	}
	qmem_unref(m);
}
END_TEST

enum file_kind { UNSEALED, SEALED, SHRINK_ONLY, WRITE_SEALED, TMPFILE, TMPFILE_RDONLY, NONE };

static int make_file(enum file_kind kind, uint64_t len)
{
	char path[] = "/tmp/parley-qmem.XXXXXX";

	if (kind == NONE)
		return -1;
	if (kind == SEALED)
		return qfd_memfd("peer", len);
	if (kind == TMPFILE || kind == TMPFILE_RDONLY) {
		int fd = mkostemp(path, O_CLOEXEC);

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
		if (kind == TMPFILE_RDONLY) {
			qfd_close(&fd);
			fd = open(path, O_RDONLY | O_CLOEXEC);
		}
		ck_assert_int_eq(unlink(path), 0);
		return fd;
	}
	int fd = memfd_create("peer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
	if (kind == SHRINK_ONLY)
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	if (kind == WRITE_SEALED)
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
	return fd;
}

static const struct {
	enum file_kind kind;
	uint64_t file_len, off, len;
	unsigned flags;
	uint64_t user_addr;
	int want;
} peer_rows[] = {
	{ SEALED, 16 * K, 0, 16 * K, QMEM_SEALED, 0x1000, 0 },
	{ SEALED, 16 * K, 4 * K, 12 * K, QMEM_SEALED, 0x1000, 0 },
	{ SHRINK_ONLY, 16 * K, 0, 16 * K, QMEM_SEALED, 0x1000, 0 },
	{ UNSEALED, 16 * K, 0, 16 * K, 0, 0x1000, 0 },
	{ UNSEALED, 16 * K, 0, 16 * K, QMEM_SEALED, 0x1000, -EPERM },
	{ TMPFILE, 16 * K, 0, 16 * K, 0, 0x1000, 0 },
	{ TMPFILE, 16 * K, 0, 16 * K, QMEM_SEALED, 0x1000, -EPERM },
	{ TMPFILE_RDONLY, 16 * K, 0, 16 * K, QMEM_READONLY, 0x1000, 0 },
	{ TMPFILE_RDONLY, 16 * K, 0, 16 * K, 0, 0x1000, -EACCES },
	{ WRITE_SEALED, 16 * K, 0, 16 * K, QMEM_SEALED, 0x1000, -EPERM },
	/* Shorter than it said. */
	{ SEALED, 12 * K, 0, 16 * K, QMEM_SEALED, 0x1000, -ERANGE },
	{ SEALED, 16 * K, 4 * K, 16 * K, QMEM_SEALED, 0x1000, -ERANGE },
	{ SEALED, 16 * K, 16 * K, 4 * K, QMEM_SEALED, 0x1000, -ERANGE },
	{ UNSEALED, 16 * K - 1, 0, 16 * K, 0, 0x1000, -ERANGE },
	{ SEALED, 0, 0, 4 * K, 0, 0x1000, -ERANGE },
	{ SEALED, 16 * K, UINT64_MAX - 4095, 4 * K, 0, 0x1000, -ERANGE },	/* wraps */
	{ SEALED, 16 * K, UINT64_MAX - 4095, 8 * K, 0, 0x1000, -ERANGE },
	{ SEALED, 16 * K, 512, 4 * K, 0, 0x1000, -EINVAL },
	{ SEALED, 16 * K, 0, 8 * K, 0, UINT64_MAX - 4095, -EINVAL },	/* user_addr wraps */
	{ SEALED, 16 * K, 0, 0, 0, 0x1000, -EINVAL },
	{ NONE, 0, 0, 4 * K, 0, 0x1000, -EBADF },
};

START_TEST(peer_row)
{
	struct qmem *m = qmem_new();
	unsigned before = fixture_count_fds();
	int fd = make_file(peer_rows[_i].kind, peer_rows[_i].file_len);
	int r = qmem_add_fd(m, gpa(1 * G), peer_rows[_i].len, peer_rows[_i].flags,
			    peer_rows[_i].user_addr, fd, peer_rows[_i].off);

	ck_assert_int_eq(r, peer_rows[_i].want);
	ck_assert_uint_eq(m->n, r == 0);
	/* Consumed on success and on failure. */
	ck_assert_uint_eq(fixture_count_fds(), before + (r == 0));
	qmem_unref(m);
	ck_assert_uint_eq(fixture_count_fds(), before);
}
END_TEST

START_TEST(peer_descriptor_is_consumed_by_a_full_or_taken_place)
{
	struct qmem *m = table();
	unsigned before = fixture_count_fds();

	ck_assert_int_eq(qmem_add_fd(m, gpa(0), 4 * K, 0, 0, qfd_memfd("x", 4 * K), 0), -EEXIST);
	ck_assert_uint_eq(fixture_count_fds(), before);
	qmem_unref(m);
}
END_TEST

START_TEST(peer_memory_is_shared_at_its_offset)
{
	struct qmem *m = qmem_new();
	QCLEAN(qfd_close) int peer = qfd_memfd("peer", 16 * K);
	char buf[4] = { 0 };

	int fd = qfd_dup(peer);
	ck_assert_int_eq(qmem_add_fd(m, gpa(1 * M), 8 * K, QMEM_SEALED, 0, fd, 8 * K), 0);
	ck_assert_int_eq(pwrite(peer, "abc", 3, 8 * K + 5), 3);
	ck_assert_int_eq(qmem_read(m, gpa(1 * M + 5), buf, 3), 0);
	ck_assert_str_eq(buf, "abc");
	ck_assert_int_eq(qmem_write(m, gpa(1 * M + 8 * K - 3), "xyz", 3), 0);
	ck_assert_int_eq(pread(peer, buf, 3, 16 * K - 3), 3);
	ck_assert_str_eq(buf, "xyz");
	/* What QMEM_SEALED asked for: nobody can take the pages from under us. */
	ck_assert_int_eq(ftruncate(peer, 0), -1);
	ck_assert_int_eq(errno, EPERM);
	qmem_unref(m);
}
END_TEST

START_TEST(fill_of_a_rom_goes_to_its_offset)
{
	struct qmem *m = qmem_new();
	QCLEAN(qfd_close) int file = qfd_memfd("rom", 16 * K);
	char buf[4] = { 0 };

	ck_assert_int_eq(qmem_add_fd(m, gpa(1 * M), 8 * K, QMEM_READONLY, 0, qfd_dup(file), 4 * K),
			 0);
	ck_assert_int_eq(qmem_fill(m, gpa(1 * M + 4 * K - 1), "rom", 3), 0);
	ck_assert_int_eq(pread(file, buf, 3, 8 * K - 1), 3);
	ck_assert_str_eq(buf, "rom");
	ck_assert_int_eq(qmem_read(m, gpa(1 * M + 4 * K - 1), buf, 3), 0);
	ck_assert_str_eq(buf, "rom");
	qmem_unref(m);
}
END_TEST

/* Does the mapping that begins at @p carry @flag ("dd": not in core files, "wr": writable)? */
static bool vma_has(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[1024], start[32];
	bool here = false, found = false;

	ck_assert_ptr_nonnull(f);
	int n = snprintf(start, sizeof(start), "%" PRIxPTR "-", (uintptr_t)p);
	while (!found && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, start, (size_t)n))
			here = true;
		else if (here && !strncmp(line, "VmFlags:", 8)) {
			found = strstr(line, flag);
			break;
		}
	}
	fclose(f);
	return found;
}

START_TEST(mappings_are_as_promised)
{
	struct qmem *m = table();

	for (unsigned i = 0; i < m->n; i++) {
		ck_assert(vma_has(m->r[i].map, " dd"));
		ck_assert(vma_has(m->r[i].map, " sh"));
		ck_assert_int_eq(vma_has(m->r[i].map, " wr"), !(m->r[i].flags & QMEM_READONLY));
	}
	qmem_unref(m);
}
END_TEST

static unsigned resident(const struct qmem_region *r)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n_pages = r->map_bytes / page;
	static unsigned char vec[1024];
	unsigned n = 0;

	ck_assert_uint_le(n_pages, sizeof(vec));
	ck_assert_int_eq(mincore(r->map, r->map_bytes, vec), 0);
	for (size_t i = 0; i < n_pages; i++)
		n += vec[i] & 1;
	return n;
}

START_TEST(populate_leaves_no_page_out)
{
	struct qmem *m = qmem_new();
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	bool lock = _i;

	ck_assert_int_eq(qmem_populate(m, lock), 0);	/* nothing to do */
	ck_assert_int_eq(qmem_add(m, gpa(0), 2 * M, 0, "ram"), 0);
	ck_assert_int_eq(qmem_add(m, gpa(4 * G), 64 * K, QMEM_READONLY, "rom"), 0);
	ck_assert_int_eq(qmem_fill(m, gpa(100), "keep", 4), 0);
	ck_assert_uint_le(resident(&m->r[0]), 1);
	ck_assert_int_eq(qmem_populate(m, lock), 0);
	ck_assert_uint_eq(resident(&m->r[0]), 2 * M / page);
	ck_assert_uint_eq(resident(&m->r[1]), 64 * K / page);
	ck_assert_int_eq(vma_has(m->r[0].map, " lo"), lock);
	ck_assert_mem_eq(qmem_ptr(m, gpa(100), 4, false), "keep", 4);
	ck_assert_uint_eq(qmem_total(m), 2 * M + 64 * K);
	qmem_unref(m);
}
END_TEST

START_TEST(populate_respects_the_lock_limit)
{
	const struct rlimit none = { 0, 0 };
	struct qmem *m = qmem_new();

	ck_assert_int_eq(qmem_add(m, gpa(0), 64 * K, 0, "ram"), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
	if (geteuid() == 0)	/* with CAP_IPC_LOCK there is no limit */
		ck_assert_int_eq(seteuid(65534), 0);
	int r = qmem_populate(m, true);
	ck_assert_msg(r == -EPERM || r == -ENOMEM, "%d", r);
	ck_assert_int_eq(qmem_populate(m, false), 0);
	qmem_unref(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("qmem");
	TCase *tc = fixture_case(s, "table");

	tcase_add_loop_test(tc, add_row, 0, Q_ARRAY_LEN(add_rows));
	tcase_add_test(tc, table_fills_up);
	tcase_add_test(tc, references);
	tc = fixture_case(s, "translation");
	tcase_add_loop_test(tc, ptr_row, 0, Q_ARRAY_LEN(ptr_rows));
	tcase_add_loop_test(tc, run_row, 0, Q_ARRAY_LEN(run_rows));
	tcase_add_loop_test(tc, uaddr_row, 0, Q_ARRAY_LEN(uaddr_rows));
	tcase_add_loop_test(tc, copy_row, 0, Q_ARRAY_LEN(copy_rows));
	tcase_add_test(tc, writes_cross_adjacent_regions);
	tcase_add_test(tc, copies_agree_with_a_flat_model);
	tc = fixture_case(s, "peers");
	tcase_add_loop_test(tc, peer_row, 0, Q_ARRAY_LEN(peer_rows));
	tcase_add_test(tc, the_heir_gets_the_last_reference);
	tcase_add_test(tc, peer_descriptor_is_consumed_by_a_full_or_taken_place);
	tcase_add_test(tc, peer_memory_is_shared_at_its_offset);
	tcase_add_test(tc, fill_of_a_rom_goes_to_its_offset);
	tc = fixture_case(s, "mappings");
	tcase_add_test(tc, mappings_are_as_promised);
	tcase_add_loop_test(tc, populate_leaves_no_page_out, 0, FIXTURE_HAS_MLOCK ? 2 : 1);
	if (FIXTURE_HAS_MLOCK)
		tcase_add_test(tc, populate_respects_the_lock_limit);
	return fixture_main(s);
}
