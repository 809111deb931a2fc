/* SPDX-License-Identifier: Apache-2.0 */
/* lib/qmem.h when memory, descriptors or the kernel's favours run out. */
#include "lib/qmem.h"

#include <errno.h>
#include <sys/mman.h>

#include "lib/qfd.h"
#include "tests/fault/fault.h"
#include "tests/unit/fixture.h"

#define RAM_BYTES (64 * 1024ull)
#define ROM_BYTES 8192ull
#define ROM_AT 0x10000000ull

/* A table of ram, rom and a peer's memory: what a refused region leaves is the table as it was. */
static int add_all(struct qmem *m)
{
	int r = qmem_add(m, gpa(0), RAM_BYTES, 0, "ram");

	FAULT_CHECK(m->n == (r == 0));
	if (r < 0)
		return r;
	r = qmem_add(m, gpa(ROM_AT), ROM_BYTES, QMEM_READONLY, "rom");
	FAULT_CHECK(m->n == 1u + (r == 0));
	if (r < 0)
		return r;
	QCLEAN(qfd_close) int peer = qfd_memfd("peer", ROM_BYTES);
	if (peer < 0)
		return peer;
	int fd = qfd_dup(peer);
	if (fd < 0)
		return fd;
	/* Between the two, so that a failure half-way would show in the order. */
	r = qmem_add_fd(m, gpa(RAM_BYTES), ROM_BYTES, QMEM_SEALED, 0x1000, fd, 0);
	FAULT_CHECK(m->n == 2u + (r == 0));
	FAULT_CHECK(m->r[1].gpa == (r == 0 ? RAM_BYTES : ROM_AT));
	return r;
}

static int use(const struct qmem *m)
{
	char buf[16] = { 0 };
	int r = qmem_fill(m, gpa(ROM_AT + 4090), "0123456789", 10);

	if (r < 0)
		return r;
	FAULT_CHECK(qmem_read(m, gpa(ROM_AT + 4090), buf, 10) == 0);
	FAULT_CHECK(!strcmp(buf, "0123456789"));
	FAULT_CHECK(qmem_write(m, gpa(RAM_BYTES - 2), "abcd", 4) == 0);
	r = qmem_populate(m, true);
	if (r < 0)
		return r;
	FAULT_CHECK(qmem_read(m, gpa(RAM_BYTES - 2), buf, 4) == 0);
	FAULT_CHECK(!memcmp(buf, "abcd", 4));
	return 0;
}

static int life(void)
{
	struct qmem *m = qmem_new();

	if (!m)
		return -ENOMEM;
	int r = add_all(m);
	if (r == 0)
		r = use(m);
	qmem_unref(m);
	return r;
}

/* Without MADV_POPULATE_*, the pages are there all the same. */
static int populate_by_touch(void)
{
	static unsigned char vec[RAM_BYTES / 4096];
	size_t n = RAM_BYTES / (size_t)sysconf(_SC_PAGESIZE);
	struct qmem *m = qmem_new();

	if (!m)
		return -ENOMEM;
	FAULT_CHECK(qmem_add(m, gpa(0), RAM_BYTES, 0, "ram") == 0);
	FAULT_CHECK(qmem_add(m, gpa(ROM_AT), RAM_BYTES, QMEM_READONLY, "rom") == 0);
	FAULT_CHECK(qmem_write(m, gpa(7), "keep", 4) == 0);
	int r = qmem_populate(m, false);
	for (unsigned i = 0; i < m->n; i++) {
		FAULT_CHECK(mincore(m->r[i].host, RAM_BYTES, vec) == 0);
		for (size_t j = 0; j < n; j++)
			FAULT_CHECK(vec[j] & 1);
	}
	FAULT_CHECK(!memcmp(qmem_ptr(m, gpa(7), 4, false), "keep", 4));
	qmem_unref(m);
	return r;
}

static const struct fault_row rows[] = {
	{ "no memory", life, FAULT_ALLOC, ENOMEM, -ENOMEM },
	{ "no address space", life, FAULT_MAP, ENOMEM, -ENOMEM },
	{ "no descriptors", life, FAULT_FD, EMFILE, -EMFILE },
	{ "no file information", life, FAULT_FILE, EIO, -EIO },
	{ "no room for the file", life, FAULT_SIZE, EFBIG, -EFBIG },
	{ "file size interrupted", life, FAULT_SIZE, EINTR, 0 },
	{ "no seals", life, FAULT_SEAL, EINVAL, -EINVAL },
	{ "no locked memory", life, FAULT_LOCK, EPERM, -EPERM },
	{ "rom not writable", life, FAULT_WRITE, ENOSPC, -EFAULT },
	{ "rom write interrupted", life, FAULT_WRITE, EINTR, 0 },
	/* Keeping memory out of core files is a favour, populating it is a promise. */
	{ "no pages", life, FAULT_ADVICE, ENOMEM, FAULT_EITHER },
	{ "populate interrupted", life, FAULT_ADVICE, EINTR, 0 },
	{ "a kernel without populate", populate_by_touch, FAULT_ADVICE, EINVAL, 0 },
	{ "all at once", life, ~0u, ENOMEM, FAULT_EITHER },
};

START_TEST(row)
{
	fault_walk(&rows[_i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fault: qmem");
	TCase *tc = fixture_case(s, "rows");

	tcase_add_loop_test(tc, row, 0, Q_ARRAY_LEN(rows));
	return fixture_main(s);
}
