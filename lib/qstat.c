/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the memory of a state page, on the side that writes it and on that which reads it. The page
 * is read word by word with relaxed atomics: its writer goes on meanwhile, or is hostile; what
 * decides (offsets, numbers) is copied once and checked.
 */
#include "lib/qstat.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"

#define RECORD_ALIGN 64u
#define READ_TRIES 1000u	/* each takes microseconds, a write of a record less than one */

#define ROUND_UP(n) (((n) + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN)

static_assert(sizeof(struct qstat_device) % sizeof(uint64_t) == 0, "is copied by words");
static_assert(sizeof(struct qstat_share) % sizeof(uint64_t) == 0, "is copied by words");

/* ---- the writer ---- */

static int page_map(struct qstat_page *p)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

	p->fd = memfd_create("parley-stats", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (p->fd < 0 || ftruncate(p->fd, (off_t)p->len_bytes) < 0)
		return -errno;
	void *map = mmap(NULL, p->len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	p->head = map;
	/* No page is to be missing when a device's thread first counts something. */
	memset(map, 0, p->len_bytes);
	return fcntl(p->fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

int qstat_page_init(struct qstat_page *p, unsigned n_devices, unsigned n_shares)
{
	uint32_t head = ROUND_UP(sizeof(struct qstat_head));
	uint32_t device = ROUND_UP(sizeof(struct qstat_device));
	uint32_t share = ROUND_UP(sizeof(struct qstat_share));

	*p = QSTAT_PAGE_NULL;
	if (n_devices > QSTAT_DEVICES_MAX || n_shares > QSTAT_SHARES_MAX)
		return -E2BIG;
	p->len_bytes = head + (uint64_t)n_devices * device + (uint64_t)n_shares * share;
	int r = page_map(p);
	if (r < 0) {
		qstat_page_fini(p);
		return r;
	}
	*p->head = (struct qstat_head){
		.magic = QSTAT_MAGIC, .layout = QSTAT_LAYOUT,
		.n_devices = n_devices, .n_shares = n_shares,
		.devices_at = head, .device_bytes = device,
		.shares_at = head + n_devices * device, .share_bytes = share,
		.writer_pid = (uint32_t)getpid(), .start_ns = qnow_ns(),
	};
	for (unsigned i = 0; i < n_devices; i++)
		qhist_reset(&qstat_page_device(p, i)->service);
	for (unsigned i = 0; i < n_shares; i++) {
		qhist_reset(&qstat_page_share(p, i)->latency);
		qhist_reset(&qstat_page_share(p, i)->wait);
	}
	return 0;
}

void qstat_page_fini(struct qstat_page *p)
{
	if (p->head)
		munmap(p->head, p->len_bytes);
	qfd_close(&p->fd);
	*p = QSTAT_PAGE_NULL;
}

static void *at(const void *base, uint32_t from, uint32_t bytes, unsigned i)
{
	return (char *)(uintptr_t)base + from + (size_t)i * bytes;
}

struct qstat_device *qstat_page_device(const struct qstat_page *p, unsigned i)
{
	qassert(i < p->head->n_devices);
	return at(p->head, p->head->devices_at, p->head->device_bytes, i);
}

struct qstat_share *qstat_page_share(const struct qstat_page *p, unsigned i)
{
	qassert(i < p->head->n_shares);
	return at(p->head, p->head->shares_at, p->head->share_bytes, i);
}

void qstat_set_name(char name[QSTAT_NAME_BYTES], const char *text)
{
	snprintf(name, QSTAT_NAME_BYTES, "%s", text);
}

/* ---- a reader ---- */

static void copy_words(void *to, const void *from, size_t bytes)
{
	uint64_t *t = to;
	const uint64_t *f = from;

	for (size_t i = 0; i < bytes / sizeof(*t); i++)
		t[i] = __atomic_load_n(&f[i], __ATOMIC_RELAXED);
}

/* The records lie inside the page, and are as long as those that we know. */
static bool records_fit(const struct qstat_view *v, uint32_t from, uint32_t bytes, uint32_t n,
			size_t known)
{
	return bytes >= known && bytes <= (1u << 20) && bytes % sizeof(uint64_t) == 0 &&
	       from % sizeof(uint64_t) == 0 && from <= v->len_bytes &&
	       (uint64_t)n * bytes <= v->len_bytes - from;
}

static bool head_ok(const struct qstat_view *v)
{
	const struct qstat_head *h = &v->head;

	return h->magic == QSTAT_MAGIC && h->layout == QSTAT_LAYOUT &&
	       h->n_devices <= QSTAT_DEVICES_MAX && h->n_shares <= QSTAT_SHARES_MAX &&
	       records_fit(v, h->devices_at, h->device_bytes, h->n_devices,
			   sizeof(struct qstat_device)) &&
	       records_fit(v, h->shares_at, h->share_bytes, h->n_shares,
			   sizeof(struct qstat_share));
}

int qstat_view_init(struct qstat_view *v, int fd)
{
	struct stat st;
	int r = qfd_check_no_shrink(fd);

	*v = (struct qstat_view){ 0 };
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)sizeof(v->head))
		return -EPROTO;
	void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	v->map = map;
	v->len_bytes = (uint64_t)st.st_size;
	copy_words(&v->head, v->map, sizeof(v->head));
	if (head_ok(v))
		return 0;
	qstat_view_fini(v);
	return -EPROTO;
}

void qstat_view_fini(struct qstat_view *v)
{
	if (v->map)
		munmap((void *)(uintptr_t)v->map, v->len_bytes);
	*v = (struct qstat_view){ 0 };
}

/* Copies a record whose first word is its seq. */
static bool copy_record(void *to, const void *from, size_t bytes)
{
	const _Atomic uint64_t *seq = from;

	for (unsigned i = 0; i < READ_TRIES; i++) {
		/* Pairs with the release store of qstat_end(). */
		uint64_t before = atomic_load_explicit(seq, memory_order_acquire);

		copy_words(to, from, bytes);
		/* Pairs with the release fence of qstat_begin(). */
		atomic_thread_fence(memory_order_acquire);
		if (before % 2 == 0 && atomic_load_explicit(seq, memory_order_relaxed) == before)
			return true;
	}
	return false;
}

/* Whoever wrote it: a string that may be shown. */
static void clean_name(char name[QSTAT_NAME_BYTES])
{
	name[QSTAT_NAME_BYTES - 1] = '\0';
	for (char *s = name; *s; s++)
		if (!isascii((unsigned char)*s) || !isprint((unsigned char)*s))
			*s = '?';
}

bool qstat_view_device(const struct qstat_view *v, unsigned i, struct qstat_device *ret)
{
	qassert(i < v->head.n_devices);
	bool whole = copy_record(ret, at(v->map, v->head.devices_at, v->head.device_bytes, i),
				 sizeof(*ret));
	clean_name(ret->name);
	return whole;
}

bool qstat_view_share(const struct qstat_view *v, unsigned i, struct qstat_share *ret)
{
	qassert(i < v->head.n_shares);
	bool whole = copy_record(ret, at(v->map, v->head.shares_at, v->head.share_bytes, i),
				 sizeof(*ret));
	clean_name(ret->name);
	return whole;
}
