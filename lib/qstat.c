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
	return fcntl(p->fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

/* No page is to be missing when a device's thread first counts something. */
static int make_there(const struct qstat_page *p, uint64_t from, uint64_t bytes)
{
	if (bytes == 0)
		return 0;
	if (fallocate(p->fd, 0, (off_t)from, (off_t)bytes) < 0)
		return -errno;
	memset((char *)p->head + from, 0, bytes);
	return 0;
}

int qstat_page_init(struct qstat_page *p, unsigned n_devices, unsigned n_shares)
{
	return qstat_page_init_room(p, n_devices, n_shares, 0, 0);
}

int qstat_page_init_room(struct qstat_page *p, unsigned n_devices, unsigned n_shares,
			 unsigned more_devices, unsigned more_shares)
{
	uint32_t head = ROUND_UP(sizeof(struct qstat_head));
	uint32_t device = ROUND_UP(sizeof(struct qstat_device));
	uint32_t share = ROUND_UP(sizeof(struct qstat_share));

	*p = QSTAT_PAGE_NULL;
	if (n_devices > QSTAT_DEVICES_MAX || n_shares > QSTAT_SHARES_MAX ||
	    more_devices > QSTAT_DEVICES_MAX - n_devices ||
	    more_shares > QSTAT_SHARES_MAX - n_shares)
		return -E2BIG;
	p->room_devices = n_devices + more_devices;
	p->room_shares = n_shares + more_shares;
	uint64_t shares_at = head + (uint64_t)p->room_devices * device;
	p->len_bytes = shares_at + (uint64_t)p->room_shares * share;
	int r = page_map(p);
	if (r == 0)
		r = make_there(p, 0, head);
	if (r < 0) {
		qstat_page_fini(p);
		return r;
	}
	*p->head = (struct qstat_head){
		.magic = QSTAT_MAGIC, .layout = QSTAT_LAYOUT,
		.devices_at = head, .device_bytes = device,
		.shares_at = (uint32_t)shares_at, .share_bytes = share,
		.writer_pid = (uint32_t)getpid(), .start_ns = qnow_ns(),
	};
	for (unsigned i = 0; r == 0 && i < n_devices; i++)
		r = qstat_page_add_device(p);
	for (unsigned i = 0; r == 0 && i < n_shares; i++)
		r = qstat_page_add_share(p);
	if (r < 0)
		qstat_page_fini(p);
	return r;
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

int qstat_page_add_device(struct qstat_page *p)
{
	struct qstat_head *h = p->head;
	uint32_t n = h->n_devices;

	if (n == p->room_devices)
		return -ENOSPC;
	int r = make_there(p, h->devices_at + (uint64_t)n * h->device_bytes, h->device_bytes);
	if (r < 0)
		return r;
	struct qstat_device *d = at(h, h->devices_at, h->device_bytes, n);
	qhist_reset(&d->service);
	/* Pairs with the acquire load of qstat_view_n_devices(). */
	atomic_store_explicit(&h->n_devices, n + 1, memory_order_release);
	return 0;
}

int qstat_page_add_share(struct qstat_page *p)
{
	struct qstat_head *h = p->head;
	uint32_t n = h->n_shares;

	if (n == p->room_shares)
		return -ENOSPC;
	int r = make_there(p, h->shares_at + (uint64_t)n * h->share_bytes, h->share_bytes);
	if (r < 0)
		return r;
	struct qstat_share *s = at(h, h->shares_at, h->share_bytes, n);
	qhist_reset(&s->latency);
	qhist_reset(&s->wait);
	/* Pairs with the acquire load of qstat_view_n_shares(). */
	atomic_store_explicit(&h->n_shares, n + 1, memory_order_release);
	return 0;
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

/* Records of @bytes that there is room for between @from and @to; what was checked, not what is. */
static unsigned room(const struct qstat_view *v, uint32_t from, uint64_t to, uint32_t bytes,
		     unsigned most)
{
	to = to > from ? Q_MIN(to, v->len_bytes) : v->len_bytes;
	return (unsigned)Q_MIN((to - from) / bytes, (uint64_t)most);
}

static unsigned room_of_devices(const struct qstat_view *v)
{
	return room(v, v->head.devices_at, v->head.shares_at, v->head.device_bytes,
		    QSTAT_DEVICES_MAX);
}

static unsigned room_of_shares(const struct qstat_view *v)
{
	return room(v, v->head.shares_at, v->head.devices_at, v->head.share_bytes,
		    QSTAT_SHARES_MAX);
}

unsigned qstat_view_n_devices(const struct qstat_view *v)
{
	/* Pairs with the release store of qstat_page_add_device(). */
	unsigned n = atomic_load_explicit(&v->map->n_devices, memory_order_acquire);

	return Q_MIN(n, room_of_devices(v));
}

unsigned qstat_view_n_shares(const struct qstat_view *v)
{
	/* Pairs with the release store of qstat_page_add_share(). */
	unsigned n = atomic_load_explicit(&v->map->n_shares, memory_order_acquire);

	return Q_MIN(n, room_of_shares(v));
}

bool qstat_view_device(const struct qstat_view *v, unsigned i, struct qstat_device *ret)
{
	qassert(i < room_of_devices(v));
	bool whole = copy_record(ret, at(v->map, v->head.devices_at, v->head.device_bytes, i),
				 sizeof(*ret));
	clean_name(ret->name);
	return whole;
}

bool qstat_view_share(const struct qstat_view *v, unsigned i, struct qstat_share *ret)
{
	qassert(i < room_of_shares(v));
	bool whole = copy_record(ret, at(v->map, v->head.shares_at, v->head.share_bytes, i),
				 sizeof(*ret));
	clean_name(ret->name);
	return whole;
}
