/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: a sorted table of mapped regions, and the translations over it.
 *
 * Owns every region's descriptor and mapping, from the moment a descriptor is passed in. Built by
 * one thread, read by any afterwards; nothing here changes a table that is in use.
 * Invariants: r[0..n) is sorted by gpa and disjoint, no region wraps in gpa, in user_addr or in
 * fd_off, and each lies wholly inside its file as the file was when it was added. So every check
 * below is a subtraction that cannot overflow.
 *
 * How it is mapped, and why:
 * - MAP_SHARED: guest, qvm and mediator must see one memory.
 * - MADV_DONTDUMP: a memfd counts as anonymous shared memory for the core filter. Without it, each
 *   core file would hold the guest's whole memory, which is as large as it is secret.
 * - Not MADV_DONTFORK. Its use elsewhere is to keep copy-on-write from pinned pages; a shared
 *   mapping has no copy-on-write, fork() copies no page table for it, and children exec at once.
 * - Read-only regions are mapped PROT_READ: a stray store of ours cannot change a guest's rom.
 *   qmem_fill() goes through the descriptor there.
 *
 * SIGBUS: a load from a page beyond the end of its file kills the reader. That is the peer's choice
 * for any file that it can truncate, so a process that serves several peers asks for QMEM_SEALED.
 * qfd_check_no_shrink() says what that takes.
 */
#include "lib/qmem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/qfd.h"

#define FORGET_BYTES ((size_t)16 << 20)	/* less than a millisecond's work */
#define GRAIN_BYTES 4096u	/* of addresses and lengths, whatever the host's page is */

/* Linux 5.14; older C libraries do not name them. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

struct qmem *qmem_new(void)
{
	struct qmem *m = calloc(1, sizeof(*m));

	if (m)
		m->refs = 1;
	return m;
}

struct qmem *qmem_ref(struct qmem *m)
{
	qassert(m->refs > 0);
	m->refs++;
	return m;
}

static void region_fini(struct qmem_region *r)
{
	if (r->map)
		munmap(r->map, r->map_bytes);
	r->map = r->host = NULL;
	qfd_close(&r->fd);
}

struct qmem *qmem_unref(struct qmem *m)
{
	if (!m)
		return NULL;
	qassert(m->refs > 0);
	if (m->refs == 1 && m->heir) {
		struct qmem_heir *h = m->heir;

		m->heir = NULL;
		h->take(h, m);
		return NULL;
	}
	if (--m->refs > 0)
		return NULL;
	for (unsigned i = 0; i < m->n; i++)
		region_fini(&m->r[i]);
	free(m);
	return NULL;
}

/* May a region stand at [at, at + len)? 0, or qmem_add()'s refusals. */
static int check_place(const struct qmem *m, uint64_t at, uint64_t len)
{
	if (len == 0 || len % GRAIN_BYTES || at % GRAIN_BYTES || len > UINT64_MAX - at)
		return -EINVAL;
	for (unsigned i = 0; i < m->n; i++)
		if (qspan_overlap(at, len, m->r[i].gpa, m->r[i].len_bytes))
			return -EEXIST;
	return m->n < QMEM_REGIONS_MAX ? 0 : -ENOSPC;
}

static int check_file(int fd, uint64_t off, uint64_t len, unsigned flags)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || !qspan_inside(off, len, (uint64_t)st.st_size))
		return -ERANGE;
	return flags & QMEM_SEALED ? qfd_check_no_shrink(fd) : 0;
}

/* Maps @r, whose other members are set. The file system wants offsets that are multiples of @grain:
 * where that is more than ours, the mapping begins before the region. */
static int region_map(struct qmem_region *r, uint64_t grain)
{
	uint64_t lead = r->fd_off % grain;
	int prot = r->flags & QMEM_READONLY ? PROT_READ : PROT_READ | PROT_WRITE;

	if (r->len_bytes > SIZE_MAX - lead - grain)
		return -ENOMEM;
	size_t bytes = Q_ALIGN_UP(lead + r->len_bytes, grain);
	void *p = mmap(NULL, bytes, prot, MAP_SHARED, r->fd, (off_t)(r->fd_off - lead));
	if (p == MAP_FAILED)
		return -errno;
	/* Kernels without core dumps refuse; then there is nothing to keep out of one. */
	(void)madvise(p, bytes, MADV_DONTDUMP);
	r->map = p;
	r->map_bytes = bytes;
	r->host = r->map + lead;
	return 0;
}

static void region_insert(struct qmem *m, const struct qmem_region *r)
{
	unsigned i = m->n;

	for (; i > 0 && m->r[i - 1].gpa > r->gpa; i--)
		m->r[i] = m->r[i - 1];
	m->r[i] = *r;
	m->n++;
}

int qmem_add_fd(struct qmem *m, gpa_t at, uint64_t len_bytes, unsigned flags, uint64_t user_addr,
		int take_fd, uint64_t fd_off)
{
	struct qmem_region reg = {
		.gpa = at.v, .len_bytes = len_bytes, .user_addr = user_addr,
		.flags = flags, .fd = take_fd, .fd_off = fd_off,
	};
	struct statfs fs;
	uint64_t grain = (uint64_t)sysconf(_SC_PAGESIZE);
	int r = check_place(m, at.v, len_bytes);

	if (r == 0 && (fd_off % GRAIN_BYTES || (user_addr && len_bytes > UINT64_MAX - user_addr)))
		r = -EINVAL;
	if (r == 0 && fstatfs(take_fd, &fs) < 0)
		r = -errno;
	if (r == 0) {
		if ((uint64_t)fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0)
			grain = Q_MAX(grain, (uint64_t)fs.f_bsize);
		r = check_file(take_fd, fd_off, len_bytes, flags);
	}
	if (r == 0)
		r = region_map(&reg, grain);
	if (r < 0) {
		region_fini(&reg);
		return r;
	}
	region_insert(m, &reg);
	return 0;
}

int qmem_add(struct qmem *m, gpa_t at, uint64_t len_bytes, unsigned flags, const char *name)
{
	int r = check_place(m, at.v, len_bytes);

	if (r < 0)
		return r;
	int fd = qfd_memfd(name, len_bytes);
	if (fd < 0)
		return fd;
	return qmem_add_fd(m, at, len_bytes, flags, 0, fd, 0);
}

/* The region that holds @addr, or NULL. On the data path, hence the bisection. */
static const struct qmem_region *find(const struct qmem *m, uint64_t addr)
{
	unsigned lo = 0, hi = m->n;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;
		const struct qmem_region *r = &m->r[mid];

		if (addr < r->gpa)
			hi = mid;
		else if (addr - r->gpa >= r->len_bytes)
			lo = mid + 1;
		else
			return r;
	}
	return NULL;
}

void *qmem_ptr(const struct qmem *m, gpa_t at, uint64_t len_bytes, bool write)
{
	const struct qmem_region *r = find(m, at.v);

	if (!r || len_bytes == 0 || (write && (r->flags & QMEM_READONLY)))
		return NULL;
	uint64_t off = at.v - r->gpa;
	return qspan_inside(off, len_bytes, r->len_bytes) ? r->host + off : NULL;
}

uint64_t qmem_run(const struct qmem *m, gpa_t at, uint64_t max)
{
	const struct qmem_region *r = find(m, at.v);

	return r ? Q_MIN(max, r->len_bytes - (at.v - r->gpa)) : 0;
}

int qmem_uaddr_to_gpa(const struct qmem *m, uint64_t uaddr, uint64_t len_bytes, gpa_t *ret_gpa)
{
	/* A peer whose regions overlap in its own addresses gets the lowest gpa: it is its own
	 * memory in every case. */
	for (unsigned i = 0; i < m->n && len_bytes > 0; i++) {
		const struct qmem_region *r = &m->r[i];

		if (r->user_addr == 0 || uaddr < r->user_addr)
			continue;
		if (!qspan_inside(uaddr - r->user_addr, len_bytes, r->len_bytes))
			continue;
		*ret_gpa = gpa(r->gpa + (uaddr - r->user_addr));
		return 0;
	}
	return -EFAULT;
}

int qmem_read(const struct qmem *m, gpa_t at, void *buf, uint64_t len_bytes)
{
	char *to = buf;

	while (len_bytes > 0) {
		uint64_t run = qmem_run(m, at, len_bytes);

		if (run == 0)
			return -EFAULT;
		memcpy(to, qmem_ptr(m, at, run, false), run);
		to += run;
		at.v += run;
		len_bytes -= run;
	}
	return 0;
}

int qmem_write(const struct qmem *m, gpa_t at, const void *buf, uint64_t len_bytes)
{
	const char *from = buf;

	while (len_bytes > 0) {
		uint64_t run = qmem_run(m, at, len_bytes);
		void *to = qmem_ptr(m, at, run, true);

		if (!to)
			return -EFAULT;
		memcpy(to, from, run);
		from += run;
		at.v += run;
		len_bytes -= run;
	}
	return 0;
}

/* Writes through the descriptor of a read-only region, whose mapping refuses. */
static int fill_file(const struct qmem_region *r, uint64_t off, const char *from, uint64_t len)
{
	while (len > 0) {
		ssize_t n = pwrite(r->fd, from, len, (off_t)(r->fd_off + off));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EFAULT;
		from += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int qmem_fill(const struct qmem *m, gpa_t at, const void *buf, uint64_t len_bytes)
{
	const char *from = buf;

	while (len_bytes > 0) {
		const struct qmem_region *r = find(m, at.v);

		if (!r)
			return -EFAULT;
		uint64_t off = at.v - r->gpa;
		uint64_t run = Q_MIN(len_bytes, r->len_bytes - off);
		if (!(r->flags & QMEM_READONLY))
			memcpy(r->host + off, from, run);
		else if (fill_file(r, off, from, run) < 0)
			return -EFAULT;
		from += run;
		at.v += run;
		len_bytes -= run;
	}
	return 0;
}

/* What MADV_POPULATE_* does, for kernels before 5.14. The guest may run meanwhile: adding zero is
 * one atomic read-modify-write, so no store of its is lost. */
static void touch_pages(const struct qmem_region *r)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t off = 0; off < r->map_bytes; off += page) {
		if (r->flags & QMEM_READONLY)
			(void)*(const volatile char *)(r->map + off);
		else
			(void)__atomic_fetch_add(r->map + off, 0, __ATOMIC_RELAXED);
	}
}

static int region_populate(const struct qmem_region *r, bool lock)
{
	int advice = r->flags & QMEM_READONLY ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
	int e;

	do
		e = madvise(r->map, r->map_bytes, advice) < 0 ? errno : 0;
	while (e == EINTR);
	if (e == EINVAL)
		touch_pages(r);
	else if (e)
		return -e;
	return lock && mlock(r->map, r->map_bytes) < 0 ? -errno : 0;
}

int qmem_populate(const struct qmem *m, bool lock)
{
	for (unsigned i = 0; i < m->n; i++) {
		int r = region_populate(&m->r[i], lock);

		if (r < 0)
			return r;
	}
	return 0;
}

void qmem_forget_pages(const struct qmem *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct qmem_region *r = &m->r[i];

		/* Where it is refused (locked, huge pages), unmapping does it all. */
		for (size_t off = 0; off < r->map_bytes; off += FORGET_BYTES)
			if (madvise(r->map + off, Q_MIN(FORGET_BYTES, r->map_bytes - off),
				    MADV_DONTNEED) < 0)
				break;
	}
}

uint64_t qmem_total(const struct qmem *m)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < m->n; i++)
		sum += m->r[i].len_bytes;
	return sum;
}
